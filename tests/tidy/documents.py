"""Rules about texts: words that do not belong, missing documents, links that lead nowhere."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Where words are discussed as words.
ABOUT_WORDS = {"tests/tidy/documents.py", "tests/tidy/test_documents.py"}

BANNED_WORDS: dict[str, str] = {
    r"\bTODO\b|\bFIXME\b|\bXXX\b": "finish it, or say in the README what is not supported",
    r"(?<![\w./>-])/(?:work|root|opt/pypi)(?![\w-])": "a path of one machine; use a relative one",
    r"(?i)\bissues? #?\d+\b|\b(?:fixes|closes) #\d+": "say what it is about, not its number",
    r"(?i)\bas an ai\b|\b(?:claude|chatgpt|llm)\b": "texts speak of the product",
    r"(?i)\bcontract\.md\b|\bnotes/rules\b|\.\./shared/": "name a file that a clone holds",
}
_BANNED = [(re.compile(pattern), instead) for pattern, instead in BANNED_WORDS.items()]

README_LINES_MAX = 150
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def banned_words(texts: Mapping[str, str]) -> Iterator[str]:
    for name, text in texts.items():
        if name in ABOUT_WORDS:
            continue
        for pattern, instead in _BANNED:
            for hit in pattern.finditer(text):
                line = text.count("\n", 0, hit.start()) + 1
                yield f"{name}:{line}: {hit.group()!r} does not belong here; {instead}"


def package_readmes(texts: Mapping[str, str]) -> Iterator[str]:
    """Every package with code explains itself, in at most 150 lines."""
    with_code = {
        PurePosixPath(*PurePosixPath(name).parts[:3])
        for name, text in texts.items()
        if name.startswith("src/daos/") and name.count("/") >= 3 and _is_code(name, text)
    }
    for package in sorted(with_code):
        readme = f"{package}/README.md"
        if readme not in texts:
            yield f"{readme}: missing; purpose, data structures, invariants, cost, divergences"
        elif (lines := texts[readme].count("\n")) > README_LINES_MAX:
            yield f"{readme}: {lines} lines, at most {README_LINES_MAX}"


def _is_code(name: str, text: str) -> bool:
    return name.endswith(".py") and bool(text.strip())


def format_pages(texts: Mapping[str, str]) -> Iterator[str]:
    """Every page of docs/format is linked from its index."""
    index = texts.get("docs/format/README.md")
    if index is None:
        return
    linked = {target.partition("#")[0].removeprefix("./") for target in _LINK.findall(index)}
    for name in texts:
        path = PurePosixPath(name)
        is_page = path.parent == PurePosixPath("docs/format") and path.suffix == ".md"
        if is_page and path.name != "README.md" and path.name not in linked:
            yield f"{name}: not linked from docs/format/README.md"


def dead_links(texts: Mapping[str, str], root: Path) -> Iterator[str]:
    """Relative links of the documents lead to something."""
    for name, text in texts.items():
        if not name.endswith(".md"):
            continue
        prose = _FENCE.sub(lambda fence: "\n" * fence.group().count("\n"), text)
        for hit in _LINK.finditer(prose):
            target = hit.group(1).partition("#")[0]
            if not target or ":" in target:
                continue
            if not (root / PurePosixPath(name).parent / target).exists():
                line = prose.count("\n", 0, hit.start()) + 1
                yield f"{name}:{line}: link to {target}, which does not exist"

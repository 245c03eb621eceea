"""The Python in the documents runs, and prints what stands below it.

A document's ```python blocks are one program, run in order in an empty directory. A ```text block
behind one is its output, to the letter. Blocks without one may print what they like.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
RUNNABLE = ["README.md", "docs/tour.md"]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    line: int
    code: str
    output: str | None


def blocks(text: str) -> list[Block]:
    """The Python of a document, each block with the output that follows it."""
    found: list[Block] = []
    for hit in _BLOCK.finditer(text):
        line = text.count("\n", 0, hit.start()) + 2
        if hit[1] == "python":
            found.append(Block(line, hit[2], None))
        elif hit[1] == "text" and found:
            assert found[-1].output is None, f"line {line}: a second output"
            found[-1] = found[-1]._replace(output=hit[2])
    return found


def run(path: Path, capsys: pytest.CaptureFixture[str]) -> int:
    """Run a document; the number of blocks whose output was compared."""
    names: dict[str, object] = {"__name__": "__main__"}
    compared = 0
    for block in blocks(path.read_text()):
        # Lines of the document in the traceback.
        exec(compile("\n" * (block.line - 1) + block.code, str(path), "exec"), names)
        printed = capsys.readouterr().out
        if block.output is not None:
            assert printed == block.output, f"{path.name}, line {block.line}"
            compared += 1
    return compared


@pytest.mark.parametrize("document", RUNNABLE)
def test_the_code_runs(
    document: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(ROOT / document, capsys) >= 1


def test_a_wrong_output_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("x\n```python\nn = 1\n```\n```python\nprint(n + 1)\n```\n\n```text\n3\n```\n")
    with pytest.raises(AssertionError, match=r"page.md, line 6"):
        run(page, capsys)


_NAMES = re.compile(r"\]\((src/[\w/.]+\.py)\)((?:,? \(?`[\w.]+`\)?)+)")


def named(text: str) -> list[tuple[str, str]]:
    """(file, name) for each [`file`](path) `name`, `name` of a document."""
    return [
        (path, name)
        for path, names in _NAMES.findall(text)
        for name in re.findall(r"`([\w.]+)`", names)
    ]


def test_architecture_names_what_there_is() -> None:
    pairs = named((ROOT / "ARCHITECTURE.md").read_text())
    assert len(pairs) > 40
    for path, name in pairs:
        code = (ROOT / path).read_text()
        for part in name.split("."):
            assert re.search(rf"\b(?:def|class) {part}\b", code), f"{path} has no {name}"

"""The Python in the documents runs, and prints what stands below it.

A document's ```python blocks are one program, run in order in an empty directory. A ```text block
behind one is its output, to the letter. Blocks without one may print what they like.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import NamedTuple

import pytest

import daos

ROOT = Path(__file__).parents[2]
RUNNABLE = ["README.md", "docs/tour.md", "docs/files.md"]

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


_CALL = re.compile(r"`(?:with )?(system\.admin|\w+)\.(\w+)")


def test_the_table_for_c_names_what_there_is() -> None:
    from daos.client import event, sync
    from daos.dfs.mount import Mount
    from daos.dfs.node import Directory, File, Node
    from daos.embedded.local import LocalSystem

    faces: dict[str, type] = {
        "system": LocalSystem,
        "system.admin": sync.Admin,
        "client": sync.Client,
        "pool": sync.Pool,
        "cont": sync.Container,
        "obj": sync.Object,
        "kv": sync.KeyValue,
        "array": sync.Array,
        "eq": event.EventQueue,
        "event": event.Event,
        "parent": event.Event,
        "mount": Mount,
        "node": Node,
        "directory": Directory,
        "file": File,
    }
    text = (ROOT / "docs/c-to-python.md").read_text()
    named = {(owner, name) for owner, name in _CALL.findall(text) if owner in faces}
    assert len(named) > 60
    missing = [f"{owner}.{name}" for owner, name in named if not hasattr(faces[owner], name)]
    assert missing == []
    for name in re.findall(r"`daos\.([A-Z]\w+)", text):
        assert hasattr(daos, name), name


def test_the_vocabulary_names_types_there_are() -> None:
    text = (ROOT / "docs/vocabulary.md").read_text()
    packages = "|".join(path.parent.name for path in (ROOT / "src/daos").glob("*/__init__.py"))
    names = re.findall(rf"`((?:{packages})(?:\.\w+)+)`", text)
    assert len(names) > 40
    for name in names:
        assert _resolves(name), name


def _resolves(name: str) -> bool:
    package, module, *rest = name.split(".")
    found: object = importlib.import_module(f"daos.{package}.{module}")
    for attribute in rest:
        if not hasattr(found, attribute):
            return False
        found = getattr(found, attribute)
    return True

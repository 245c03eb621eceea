"""The demo on small trees: the whole of it, and each way in which it can end."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
FILES = 40


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for number in range(FILES):
        path = root / f"d{number % 4}" / f"file {number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"%d " % number * (97 * number % 1013))
    (root / "empty").touch()
    (root / "large").write_bytes(bytes(range(256)) * 12_000)  # three chunks
    (root / os.fsdecode(b"not utf-8 \xff")).write_bytes(b"as well")
    (root / "__pycache__").mkdir()
    (root / "__pycache__" / "left out").touch()
    (root / "link").symlink_to("empty")
    return root


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules["demo"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "examples"))
    return module


@pytest.fixture
def servers(tmp_path: Path, demo: ModuleType) -> Iterator[object]:
    with demo.Servers(tmp_path) as running:
        yield running


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_whole_demo(tree: Path, tmp_path: Path, demo: ModuleType) -> None:
    done = run("--source", tree, "--path", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    assert f"{FILES + 3} files, " in done.stdout
    assert f"all equal: {FILES + 3} files, " in done.stdout
    assert f"DFS scanner: {FILES + 3} files\n" in done.stdout
    assert "the old version in the snapshot, the new one now" in done.stdout
    assert "acknowledged files are whole" in done.stdout
    assert "What to try next" in done.stdout
    assert "$ dmg pool query demo\n     Pool " in done.stdout
    assert "     DAOS Control Server (pid " in done.stdout
    # It is still there, and the pool is what `daos` works with.
    with demo.Servers(tmp_path / "store"):
        demo.tool("daos", "fs", "get-attr", "daos://demo/files/tree/d3/file 7.txt")
        with pytest.raises(demo.UsageError, match="link"):
            demo.tool("daos", "fs", "get-attr", "daos://demo/files/tree/link")

    again = run("--source", tree, "--path", tmp_path / "store")
    assert again.returncode == 2
    assert "holds a demo already" in again.stderr


def test_ended_in_the_middle_it_stops_its_servers(tree: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, str(ROOT / "examples/demo.py"), "--source", tree, "--path", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdout is not None
        said = ""
        for line in child.stdout:
            said += line
            if line.startswith("4. "):
                child.terminate()
    assert child.returncode == 128 + signal.SIGTERM
    assert said.endswith(") has stopped\n")


def test_a_file_that_is_not_as_stored_is_a_difference(
    tree: Path, tmp_path: Path, demo: ModuleType, servers: object
) -> None:
    files = demo.Tree.scan(tree, 1 << 30, skip=set())
    demo.store(tmp_path, files)
    demo.read(tmp_path, files)
    (tmp_path / "large").write_bytes(b"something else")
    demo.tool("daos", "fs", "copy", "-s", str(tmp_path / "large"), "-d", demo.STORED)
    with pytest.raises(demo.DifferenceError, match="large is not what was stored"):
        demo.read(tmp_path, files)
    more = replace(files, sizes={**files.sizes, "one more": 0})
    with pytest.raises(demo.DifferenceError, match="files came back"):
        demo.read(tmp_path, more)
    with pytest.raises(demo.DifferenceError, match="large: has 14 bytes"):
        demo.tool(
            *("daos", "fs", "copy", "--only-verify", "-s", str(tree), "-d", demo.STORED),
            wrong="in a test",
        )


def test_an_acknowledged_file_that_is_gone_is_a_difference(
    tree: Path,
    tmp_path: Path,
    demo: ModuleType,
    servers: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = demo.Tree.scan(tree, 1 << 30, skip=set())
    demo.store(tmp_path, files)
    found = demo.opened

    def forgetful(label: str, flags: str = "rw") -> object:
        with found(label) as store:
            del store.names["0/empty"]
        return found(label, flags)

    monkeypatch.setattr(demo, "opened", forgetful)
    monkeypatch.setattr(demo, "enough", len)  # all of them: "0/empty" is acknowledged
    with pytest.raises(demo.DifferenceError, match="acknowledged, but lost: 0/empty"):
        demo.kill(servers, files)


def test_limit(tree: Path, demo: ModuleType) -> None:
    files = demo.Tree.scan(tree, 100_000, skip=set())
    assert "large" not in files.sizes
    assert files.left_out >= 1
    assert files.nbytes <= 100_000
    with pytest.raises(demo.UsageError, match="no files below"):
        demo.Tree.scan(tree / "d0" / "nothing", 1 << 20, skip=set())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--source", "/nowhere/at all"], "is no directory"),
        (["--limit", "much"], "DER_INVAL"),
    ],
)
def test_wrong_usage(arguments: list[str], complaint: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_disk_full(
    tree: Path, tmp_path: Path, demo: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = demo.Tree.scan(tree, 1 << 30, skip=set())
    usage = demo.shutil._ntuple_diskusage(1 << 30, 1 << 30, 1 << 20)
    monkeypatch.setattr(demo.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(demo.UsageError, match="give a smaller --limit"):
        demo.store(tmp_path, files)


def test_progress_on_a_terminal_and_elsewhere(
    demo: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with demo.Progress("counting", 10) as progress:
        for _ in range(10):
            progress.advance(1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines] == [f"counting {n} %" for n in (25, 50, 75, 100)]
    assert progress.speed.endswith("MB/s")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with demo.Progress("counting", 10) as progress:
        progress.advance(10)
    assert "%" not in capsys.readouterr().out

"""`daos filesystem copy` as a process of its own, which is killed, and goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import daos
from daos.dfs.mount import Mount
from daos.embedded.remote import connect
from daos.testing.served import Served
from tests.system.test_copy import Files, look
from tests.system.test_daos_tool import SmallAgent

DIRECTORIES, FILES = 20, 100
LARGE = 24 << 20


@pytest.fixture(scope="module")
def source() -> Iterator[Path]:
    """2,000 files in 20 directories, and a large one that takes longer than some of them."""
    rng = random.Random(3)
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        top = Path(name, "tree")
        for number in range(DIRECTORIES):
            (top / f"d{number}").mkdir(parents=True)
            for each in range(FILES):
                data = rng.randbytes(rng.randrange(3000))
                (top / f"d{number}" / f"f{each}").write_bytes(data)
        (top / "large").write_bytes(rng.randbytes(LARGE))
        yield top


@pytest.fixture(scope="module")
def served(source: Path) -> Iterator[tuple[Path, daos.Pool]]:
    """A system in a process of its own, the directory of its agent, a pool."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = Path(name)
        with (
            Served(directory, "--targets", "2") as served,
            SmallAgent(directory, directory / "s"),
            connect(served.address) as system,
        ):
            system.admin.pool_create("tank", size="512MiB")
            with system.connect() as client, client.pool("tank") as pool:
                yield directory, pool


def start(served: tuple[Path, daos.Pool], *words: object) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "daos.cli.daos", "filesystem", "copy", *map(str, words), "--json"]
    environ = os.environ | {"DAOS_AGENT_DRPC_DIR": str(served[0])}
    return subprocess.Popen(line, env=environ, stdout=subprocess.PIPE, text=True)


def told(served: tuple[Path, daos.Pool], *words: object, status: int = 0) -> dict[str, object]:
    with start(served, *words) as child:
        assert child.stdout is not None
        response: dict[str, object] = json.loads(child.stdout.read())["response"]
    assert child.returncode == status
    return response


def kill_when(child: subprocess.Popen[str], far: object) -> None:
    """Kill it once `far()` says that it is far enough, while it still runs."""
    assert callable(far)
    while not far():
        assert child.poll() is None, "it was done before it was far enough"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL


def test_in_killed_and_resumed(served: tuple[Path, daos.Pool], source: Path) -> None:
    with served[1].create_container("in", type="POSIX") as container:
        files = Files(container)

        def far() -> bool:
            try:
                return len(files.call(_names, files.mount, "/copy/d7")) > FILES // 3
            except FileNotFoundError:
                return False

        goal = ("-s", source, "-d", "daos://tank/in/copy")
        kill_when(start(served, *goal, "--workers", 4), far)
        assert told(served, *goal, "--only-verify", status=1)["verified"]

        response = told(served, *goal, "--resume", "--verify")
        stats = response["copy_stats"]
        assert isinstance(stats, dict)
        assert isinstance(response["skipped"], int)
        assert response["skipped"] > FILES // 3
        assert stats["num_files"] + response["skipped"] == DIRECTORIES * FILES + 1
        assert response["verified"] == {
            "num_files": DIRECTORIES * FILES + 1,
            "num_bytes": sum(path.stat().st_size for path in source.rglob("*f*") if path.is_file())
            + LARGE,
            "num_differences": 0,
            "differences": [],
        }

        node = files.call(files.mount.lookup, "/copy/large")
        files.call(node.write, LARGE // 2, bytes([(source / "large").read_bytes()[LARGE // 2] ^ 4]))
        verified = told(served, *goal, "--only-verify", status=1)["verified"]
        assert isinstance(verified, dict)
        assert verified["differences"] == [
            {"path": f"{source}/large", "what": f"differs at byte {LARGE // 2}"}
        ]


def test_out_killed_and_resumed(
    served: tuple[Path, daos.Pool], source: Path, tmp_path: Path
) -> None:
    with served[1].create_container("out", type="POSIX") as container:
        Files(container).store(source, "/copy")
        goal = ("-s", "daos://tank/out/copy", "-d", tmp_path / "back")
        child = start(served, *goal)
        kill_when(child, lambda: len(list(tmp_path.rglob("f*"))) > 2 * FILES)
        response = told(served, *goal, "--resume", "--verify")
        assert isinstance(response["skipped"], int)
        assert response["skipped"] > 0
        assert look(tmp_path / "back") == look(source)


async def _names(mount: Mount, path: str) -> list[str]:
    return [name async for name in mount.readdir(await mount.lookup(path))]

"""`daos filesystem` and paths that name containers, through an agent."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import daos
from daos.cli.daos import TOOL
from daos.cli.frame import main
from daos.embedded.remote import connect
from daos.testing.served import Served
from tests.system.test_daos_tool import SmallAgent, ok

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def served(directory: Path) -> Iterator[Served]:
    """A system with a pool, `tank`."""
    with Served(directory, "--targets", "2") as served:
        with connect(served.address) as system:
            system.admin.pool_create("tank", size="256MiB")
        yield served


@pytest.fixture(scope="module")
def agent(directory: Path, served: Served) -> Iterator[SmallAgent]:
    with SmallAgent(directory, directory / "s") as agent:
        yield agent


@pytest.fixture
def run(
    agent: SmallAgent, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.setenv("DAOS_AGENT_DRPC_DIR", str(agent.socket.parent))

    def runner(*words: object) -> tuple[int, str, str]:
        status = main(TOOL, [part for word in words for part in str(word).split()])
        out, err = capsys.readouterr()
        return status, out, err

    return runner


@contextmanager
def opened(served: Served, label: str) -> Iterator[daos.Container]:
    """A container of the pool, for another client than the command line."""
    with (
        connect(served.address) as system,
        system.connect() as client,
        client.pool("tank") as pool,
        pool.container(label) as cont,
    ):
        yield cont


def wrong(result: tuple[int, str, str], text: str) -> None:
    status, out, err = result
    assert (status, out) == (1, ""), result
    assert err.startswith("ERROR: daos: ")
    assert text in err


def told(result: tuple[int, str, str]) -> dict[str, Any]:
    envelope = json.loads(ok(result))
    assert (envelope["status"], envelope["error"]) == (0, None)
    response: dict[str, Any] = envelope["response"]
    return response


class TestPathsOfContainers:
    def test_made_used_and_destroyed_by_path(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "life"
        made = ok(run("container create tank --type POSIX by-path --path", path))
        uuid = made.split()[3]
        assert made.startswith(f"Successfully created container {uuid} type POSIX\n")
        mark = os.getxattr(path, "user.daos")
        assert mark.startswith(b"DAOS.POSIX://")
        assert mark.endswith(f"/{uuid}\0".encode())
        assert told(run("fs get-attr --json", path)) == told(
            run("filesystem get-attr -j tank by-path --dfs-path /")
        )
        wrong(run("container create tank --type POSIX other --path", path), "life: File exists")
        wrong(run("container destroy --path", path / "below"), "is in a container")
        ok(run("container destroy --path", path))
        assert not path.exists()
        assert "by-path" not in ok(run("container list tank"))

    def test_nothing_is_left_of_what_fails(self, run: Run, tmp_path: Path) -> None:
        wrong(run("container create tank nothing --path", tmp_path / "p"), "--path needs a --type")
        wrong(
            run("container create tank nothing -t POSIX -M balanced --path", tmp_path / "p"),
            "balanced",
        )
        wrong(run("container create tank nothing -t PYTHON --path", tmp_path / "p"), "PYTHON")
        wrong(run("container create tank nothing -t POSIX --path", tmp_path / "no/p"), "no/p")
        assert list(tmp_path.iterdir()) == []
        assert "nothing" not in ok(run("container list tank"))

    def test_hdf5_is_a_file(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "data.h5"
        ok(run("container create --pool tank h5 --type HDF5 --path", path))
        assert path.is_file()
        ok(run("container destroy --path", path))
        assert not path.exists()

    def test_a_link_to_a_container(self, run: Run, tmp_path: Path) -> None:
        ok(run("container create tank --type POSIX linked"))
        ok(run("container link tank linked --path", tmp_path / "l"))
        assert told(run("fs get-attr -j --path", tmp_path / "l"))
        (tmp_path / "l" / "local").touch()
        wrong(run("container destroy --path", tmp_path / "l"), "is not empty")
        (tmp_path / "l" / "local").unlink()
        ok(run("container destroy tank linked"))
        ok(run("container destroy --path", tmp_path / "l"))  # the mark that was left
        assert not (tmp_path / "l").exists()

    def test_every_command_takes_a_path(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "all"
        ok(run("container create tank every -t POSIX --path", path))
        at = f"--path {path}"
        uuids = {
            told(run("container query -j", which))["container_uuid"] for which in (at, "tank every")
        }
        assert len(uuids) == 1
        assert "label" in ok(run("container get-prop", at, "label"))
        assert "status" in ok(run("container get-prop", at))
        ok(run("container set-prop", at, "label:renamed"))
        ok(run("container set-attr", at, "color:red,size:2"))
        assert "color" in ok(run("container list-attr", at))
        assert "red" in ok(run("container get-attr", at, "color"))
        ok(run("container del-attr", at, "color"))
        ok(run("container create-snap -s one", at))
        assert "one" in ok(run("container list-snap", at))
        ok(run("container destroy-snap -s one", at))
        assert ok(run("container list-objects", at))
        wrong(run("container rollback", at), "not supported")
        wrong(run("container query tank", at), "'tank' is too many")
        wrong(run("container set-prop", at), "missing argument")
        wrong(run("container set-prop tank renamed"), "missing argument")
        wrong(run("container query tank"), "POOL CONTAINER, or --path")
        ok(run("container destroy", at))

    def test_nothing_is_marked(self, run: Run, tmp_path: Path) -> None:
        wrong(run("container destroy --path", tmp_path), "leads to no container")
        wrong(run("container destroy tank"), "name a container: POOL CONTAINER, or --path PATH")


class TestAttributes:
    def test_from_defaults_and_back(self, run: Run) -> None:
        ok(run("container create tank attributes -t POSIX -z 64KiB -d S1 -f S2"))
        root = "tank attributes --dfs-path /"
        assert told(run("fs get-attr -j", root))["directory"] == {
            "dir_oclass": "S1",
            "file_oclass": "S2",
            "chunk_size": 65536,
        }
        assert ok(run("fs set-attr -z 1MiB -o S1", root)) == ""
        assert "File Creation Object Class = S1\nFile Creation Chunk Size = 1048576\n" in ok(
            run("fs get-attr", root)
        )
        ok(run("fs reset-chunk-size", root))
        assert "Class = S1\nFile Creation Chunk Size = 65536\n" in ok(run("fs get-attr", root))
        ok(run("fs set-attr -z 1MiB", root))
        ok(run("fs reset-oclass", root))
        assert "Class = S2\nFile Creation Chunk Size = 1048576\n" in ok(run("fs get-attr", root))
        ok(run("fs reset-attr", root))
        assert "Class = S2\nFile Creation Chunk Size = 65536\n" in ok(run("fs get-attr", root))

        # A path that is not there becomes a file.
        ok(run("fs set-attr -z 4KiB -o S1 tank attributes --dfs-path /new"))
        assert told(run("fs get-attr -j daos://tank/attributes/new")) == {
            "oid": told(run("fs get-attr -j daos://tank/attributes/new"))["oid"],
            "oclass": "S1",
            "chunk_size": 4096,
        }
        ok(run("fs chmod -m 0400 tank attributes -H /mnt/new -I /mnt"))
        wrong(run("fs reset-attr daos://tank/attributes/new"), "is no directory")
        wrong(run("fs set-attr -z 4KiB daos://tank/attributes/new"), "is no directory")

    def test_used_wrongly(self, run: Run) -> None:
        wrong(run("fs get-attr tank attributes"), "--dfs-path is required")
        wrong(run("fs get-attr"), "name what is meant")
        wrong(run("fs get-attr daos://tank"), "names a pool")
        wrong(run("fs get-attr --path daos://tank/attributes -H /x"), "either")
        wrong(run("fs get-attr tank attributes -H /a -I /b"), "does not begin with")
        wrong(run("fs get-attr tank attributes -H a"), "absolute")
        wrong(run("fs get-attr daos://tank/attributes/none"), "none")
        wrong(run("fs set-attr daos://tank/attributes"), "--chunk-size, --oclass")
        wrong(run("fs chmod -m 999 daos://tank/attributes"), "octal")
        wrong(run("fs chmod -m 4755 daos://tank/attributes"), "set-user-id")


class TestTrees:
    def test_copied_and_scanned(self, run: Run, tmp_path: Path) -> None:
        tree = tmp_path / "tree"
        (tree / "a" / "b").mkdir(parents=True)
        (tree / "a" / "b" / "deep").write_bytes(b"12345")
        (tree / "large").write_bytes(bytes(4096))
        (tree / "link").symlink_to("large")
        made = ok(run("fs copy -s", tree, "-d daos://tank/trees"))
        assert re.fullmatch(
            "Successfully created container [0-9a-f-]{36}\\n"
            "Successfully copied to DAOS: daos://tank/trees\\n"
            "    Directories: 3\\n    Files:       2\\n    Links:       1\\n",
            made,
        )
        lines = ok(run("fs scan tank trees")).splitlines()
        assert re.fullmatch(r"DFS scanner: Start \(\d{4}(-\d\d){3}(:\d\d){2}\)", lines[0])
        assert told(run("fs scan -j --path daos://tank/trees")) == {
            "num_objects": 6,
            "num_files": 2,
            "num_symlinks": 1,
            "num_dirs": 3,
            "max_depth": 4,
            "total_bytes": 4101,
            "average_file_bytes": 2050,
            "largest_file_bytes": 4096,
            "largest_dir_entries": 3,
        }
        assert told(run("fs scan -j tank trees --dir-name /tree/a"))["num_objects"] == 2
        wrong(run("fs scan tank trees -n /tree/large"), "is no directory")
        copied = told(run("fs cp -j --verify -s daos://tank/trees/tree -d", tmp_path / "back"))
        assert copied["copy_stats"] == {"num_dirs": 3, "num_files": 2, "num_links": 1}
        assert copied["verified"]["num_differences"] == 0

    def test_as_of_a_snapshot(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("old")
        ok(run("fs copy -s", tmp_path / "file", "-d daos://tank/snapped"))
        ok(run("container create-snap tank snapped --snap first"))
        epoch = ok(run("container list-snap tank snapped")).split("0x")[1].split()[0]
        (tmp_path / "file").write_text("new")
        ok(run("fs copy -s", tmp_path / "file", "-d daos://tank/snapped"))
        for snap, wanted in ((" --snap first", "old"), (f" --snap 0x{epoch}", "old"), ("", "new")):
            ok(run(f"fs copy -s daos://tank/snapped/file{snap} -d", tmp_path / "back"))
            assert (tmp_path / "back").read_text() == wanted
        line = "fs copy -s daos://tank/snapped/file --snap second -d"
        wrong(run(line, tmp_path / "x"), "second")
        wrong(run("fs copy --snap first -d daos://tank/snapped -s", tmp_path), "is none")

    def test_by_a_path_that_is_marked(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("content")
        ok(run("container create tank marked -t POSIX --path", tmp_path / "m"))
        assert told(run("fs copy -j -s", tmp_path / "file", "-d", tmp_path / "m" / "copy"))[
            "dst_pool"
        ]
        ok(run("fs copy -s", tmp_path / "m" / "copy", "-d", tmp_path / "back"))
        assert (tmp_path / "back").read_text() == "content"

    def test_used_wrongly(self, run: Run, tmp_path: Path) -> None:
        source, target = f"fs copy -s {tmp_path}", "-d daos://tank/trees"
        wrong(run(source, "-d", tmp_path / "x"), "neither side is in a container")
        wrong(run(source, "-d daos://none/x"), "none")
        wrong(run("fs copy -s daos://tank -d", tmp_path / "x"), "names a pool")
        wrong(run("fs copy -s daos://tank/none -d", tmp_path / "x"), "none")
        wrong(run(source, target, "--only-verify --resume"), "copies nothing")
        wrong(run(source, target, "--workers 0"), "workers must be")
        wrong(run("fs copy -s x"), "--dst")


class TestChecking:
    def test_a_leak_is_found_relinked_and_removed(
        self, run: Run, served: Served, tmp_path: Path
    ) -> None:
        ok(run("container create tank checked --type POSIX"))
        (tmp_path / "f").write_text("content")
        ok(run("fs copy -s", tmp_path / "f", "-d daos://tank/checked"))
        clean = ok(run("fs check tank checked"))
        assert clean.endswith("DFS checker: Number of leaked OIDs in namespace = 0\n")
        with opened(served, "checked") as cont:
            with cont.filesystem() as fs:
                root = fs._core.mount.root.oid
            wrong(run("fs check tank checked"), "DER_BUSY")
            cont.object(root).punch_dkeys([b"f"])
        found = ok(run("fs check --path daos://tank/checked"))
        (leaked,) = re.findall(r"oid\[0\]: (\d+\.\d+)\n", found)
        told_ = told(run("fs check -j tank checked -f relink,verify,print -n saved"))
        assert (told_["leaked"], told_["num_relinked"]) == ([leaked], 1)
        ok(run("fs fix-entry -t -z 64KiB tank checked -H", f"/lost+found/saved/{leaked}"))
        ok(run(f"fs copy -s daos://tank/checked/lost+found/saved/{leaked} -d", tmp_path / "g"))
        assert (tmp_path / "g").read_text() == "content"
        assert "= 0\n" in ok(run("fs check tank checked --flags remove"))

    def test_a_lost_superblock_and_root(self, run: Run, served: Served) -> None:
        ok(run("container create tank lost -t POSIX -z 64KiB"))
        wrong(run("fs fix-sb tank lost"), "has a superblock")
        wrong(run("fs fix-root tank lost"), "has a root directory")
        with opened(served, "lost") as cont:
            with cont.filesystem() as fs:
                superblock = cont.object(fs._core.mount.root.parent_oid)
            superblock.punch_dkeys([b"DFS_SB_METADATA", b"/"])
        wrong(run("fs check tank lost"), "superblock")
        ok(run("fs fix-sb tank lost -z 64KiB"))
        wrong(run("fs check tank lost"), "root")
        ok(run("fs fix-root tank lost"))
        ok(run("fs check tank lost"))

    def test_used_wrongly(self, run: Run) -> None:
        ok(run("container create tank plain"))
        wrong(run("fs check tank plain"), "not POSIX")
        wrong(run("fs check tank plain -f remove,relink"), "not both")
        wrong(run("fs check tank plain -f delete"), "none of print, remove")
        wrong(run("fs check tank plain -f print,evict"), "evict")
        wrong(run("fs fix-entry daos://tank/plain/x"), "--type, --chunk-size")

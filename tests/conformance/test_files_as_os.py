"""The same calls, one after the other, of a `FileSystem` and of `os` on a directory of this host.

What they give has to be equal, and so have the numbers of their errors, and the trees that they
leave behind. Where they differ on purpose, the call stands in DIFFERENT, and in docs/files.md.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

import daos
from tests.model.local_files import LocalFiles, told, tree_of

LONG: Final = "n" * 255

# Name of a call, its arguments, the path that it makes.
Step = tuple[str, tuple[object, ...], str]

TREE: Final[list[Step]] = [
    ("makedirs", ("/dir/sub/deep",), "/dir/sub/deep"),
    ("mkdir", ("/empty",), "/empty"),
    ("write_bytes", ("/file", b"content"), "/file"),
    ("setxattr", ("/file", "user.a", b"1"), "/file"),
    ("write_bytes", ("/dir/other", b"more of it"), "/dir/other"),
    ("write_text", ("/dir/sub/läuft", "ä\nö\n"), "/dir/sub/läuft"),
    ("symlink", ("file", "/to-file"), "/to-file"),
    ("symlink", ("/dir", "/to-dir"), "/to-dir"),
    ("symlink", ("empty/", "/to-empty"), "/to-empty"),
    ("symlink", ("../file", "/dir/up"), "/dir/up"),
    ("symlink", ("nowhere", "/to-nothing"), "/to-nothing"),
    ("symlink", ("/to-nothing", "/to-to-nothing"), "/to-to-nothing"),
    ("symlink", ("loop-b", "/loop-a"), "/loop-a"),
    ("symlink", ("loop-a", "/loop-b"), "/loop-b"),
    ("symlink", (".", "/here"), "/here"),
    ("symlink", ("file/", "/to-file-slash"), "/to-file-slash"),
    ("symlink", ("nowhere/", "/to-nothing-slash"), "/to-nothing-slash"),
]
CHAIN: Final[list[Step]] = [
    ("symlink", (f"chain{at + 1}" if at < 41 else "file", f"/chain{at}"), f"/chain{at}")
    for at in range(42)
]

PATHS: Final = [
    "/",
    "/dir",
    "/dir/",
    "/dir/.",
    "/dir/..",
    "/dir/sub/../../file",
    "/dir/other",
    "/empty",
    "/empty/",
    "/empty/.",
    "/empty/..",
    "/file",
    "/file/",
    "/file/.",
    "/file/x",
    "/missing",
    "/missing/",
    "/missing/.",
    "/missing/x",
    "/missing/../file",
    "/to-file",
    "/to-file/",
    "/to-file/x",
    "/to-dir",
    "/to-dir/",
    "/to-dir/sub",
    "/to-dir/missing",
    "/to-empty",
    "/to-empty/",
    "/to-nothing",
    "/to-nothing/",
    "/to-nothing/x",
    "/to-to-nothing",
    "/loop-a",
    "/loop-a/x",
    "/" + LONG + "n",
    "",
]
MORE_PATHS: Final = [
    "//",
    "///dir///sub",
    "/dir//sub///deep",
    "/dir/../dir/sub",
    "/empty/../empty/",
    "/file/..",
    "/file/../file",
    "/missing/..",
    "/to-dir/.",
    "/to-dir/..",
    "/to-dir/up",
    "/to-dir/up/x",
    "/loop-a/",
    "/to-file-slash",
    "/to-file-slash/",
    "/to-nothing-slash",
    "/here/here/here/file",
    "/here/here/dir/",
    "/chain0",
    "/chain1",
    "/chain2",
    "/chain3",
    "/chain3/",
    "/here/chain1",
    "/here/chain2",
    "/missing/" + LONG + "n",
    "/" + LONG,
    "/" + LONG + "/x",
    "/dir/sub/läuft",
    "/dir/sub/l\udce4uft",
]
READS: Final[list[tuple[object, ...]]] = [
    ("stat",),
    ("lstat",),
    ("exists",),
    ("isfile",),
    ("isdir",),
    ("islink",),
    ("listdir",),
    ("readlink",),
    ("read_bytes",),
    ("open", "r"),
    ("open", "rb+"),
    ("listxattr",),
    ("getxattr", "user.a"),
    ("getxattr", "user.b"),
]
CHANGES: Final[list[tuple[object, ...]]] = [
    ("mkdir",),
    ("makedirs",),
    ("makedirs", 0o755, True),
    ("rmdir",),
    ("remove",),
    ("write_bytes", b"new"),
    ("open", "x"),
    ("open", "ab"),
    ("open", "w+"),
    ("truncate", 3),
    ("truncate", 10),
    ("truncate", -1),
    ("chmod", 0o700),
    ("setxattr", "user.b", b"2"),
    ("setxattr", "user.a", b"", os.XATTR_CREATE),
    ("setxattr", "user.a", b"2", os.XATTR_REPLACE),
    ("removexattr", "user.a"),
]
# Without the root, which is a directory like others on their side.
ENDS: Final = [
    "/dir",
    "/dir/",
    "/dir/.",
    "/dir/sub",
    "/dir/sub/deep/new",
    "/empty",
    "/empty/..",
    "/file",
    "/file/",
    "/file/x",
    "/missing",
    "/missing/",
    "/missing/x",
    "/to-file",
    "/to-dir/",
    "/to-dir/sub/new",
    "/dir/other",
    "/loop-a/x",
    "/" + LONG + "n",
    "",
]

_ROOT: Final = "their root is a directory like others, with a name and a parent"
DIFFERENT: Final[dict[tuple[object, ...], str]] = {
    ("rmdir", "/"): _ROOT,
    ("open", "/", "x"): _ROOT,
}


class Both:
    """A file system and a directory with the same in them."""

    def __init__(self, fs: daos.FileSystem, local: LocalFiles) -> None:
        self.fs = fs
        self.local = local
        self.before = tree_of(local)

    def call(self, name: str, *args: object) -> tuple[object, object]:
        """What each of them says."""
        ours = told(lambda: getattr(self.fs, name)(*args))
        return ours, told(lambda: getattr(self.local, name)(*args))

    def build(self, steps: Sequence[Step]) -> None:
        for name, args, _ in steps:
            ours, theirs = self.call(name, *args)
            assert ours == theirs, (name, args)
        self.before = tree_of(self.local)

    def compare(self, calls: Sequence[tuple[object, ...]]) -> list[object]:
        """Where they disagree; what a call changed is set right again."""
        found: list[object] = []
        for call in calls:
            if call in DIFFERENT:
                continue
            name, *args = call
            ours, theirs = self.call(str(name), *args)
            if ours != theirs:
                found.append({"call": call, "ours": ours, "os": theirs})
            after = tree_of(self.local)
            if ours != theirs or after != self.before:
                mine = tree_of(self.fs)
                wrong = {at for at in mine.keys() | after.keys() if mine.get(at) != after.get(at)}
                if wrong:
                    found.append({"call": call, "leaves": sorted(wrong)})
                self._restore(mine, after)
        assert tree_of(self.fs) == tree_of(self.local) == self.before
        return found

    def _restore(self, mine: dict[str, object], after: dict[str, object]) -> None:
        trees: tuple[tuple[daos.FileSystem | LocalFiles, dict[str, object]], ...] = (
            (self.fs, mine),
            (self.local, after),
        )
        for files, tree in trees:
            there: list[str] = []
            gone = "\0"
            for at in sorted(tree):
                if at.startswith(gone):
                    continue
                if tree[at] == self.before.get(at):
                    there.append(at)
                elif files.isdir(at) and not files.islink(at):
                    files.rmtree(at)
                    gone = at + "/"
                else:
                    files.remove(at)
            for name, args, makes in TREE:
                if makes not in there:
                    getattr(files, name)(*args)


@pytest.fixture(scope="module")
def pool() -> Iterator[daos.Pool]:
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with (
        tempfile.TemporaryDirectory(dir=memory, prefix="daos-") as directory,
        daos.local(directory) as system,
    ):
        system.admin.pool_create("tank", "256MiB")
        with system.connect() as client, client.pool("tank") as pool:
            yield pool


@pytest.fixture(scope="module")
def both(pool: daos.Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """For calls that change something: what is changed is set right again."""
    yield from _both(pool, tmp_path_factory.mktemp("root"), TREE)


@pytest.fixture(scope="module")
def both_read(pool: daos.Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    yield from _both(pool, tmp_path_factory.mktemp("root"), [*TREE, *CHAIN])


def _both(pool: daos.Pool, root: Path, steps: Sequence[Step]) -> Iterator[Both]:
    root.chmod(0o755)
    with pool.create_container(type="POSIX") as cont, cont.filesystem() as fs:
        both = Both(fs, LocalFiles(root))
        both.build(steps)
        yield both


def name_of(call: tuple[object, ...]) -> str:
    return "-".join(map(str, call))


@pytest.mark.parametrize("call", READS, ids=name_of)
def test_reading(both_read: Both, call: tuple[object, ...]) -> None:
    name, *args = call
    assert not both_read.compare([(name, path, *args) for path in PATHS + MORE_PATHS])


@pytest.mark.parametrize("call", CHANGES, ids=name_of)
def test_changing(both: Both, call: tuple[object, ...]) -> None:
    name, *args = call
    assert not both.compare([(name, path, *args) for path in PATHS])


@pytest.mark.parametrize("source", ENDS, ids=lambda path: path[:20] or "empty path")
def test_renaming(both: Both, source: str) -> None:
    assert not both.compare([("rename", source, target) for target in ENDS])


@pytest.mark.parametrize("target", ["file", "", "/dir", "x" * 4095, "x" * 4096])
def test_symlinks(both: Both, target: str) -> None:
    assert not both.compare([("symlink", target, path) for path in PATHS])


def test_trees(both: Both) -> None:
    paths = (
        "/dir",
        "/dir/sub",
        "/empty/",
        "/file",
        "/missing",
        "/missing/x",
        "/file/x",
        "/loop-a/x",
    )
    assert not both.compare([("rmtree", path) for path in paths])


def test_walks(both_read: Both) -> None:
    for top in ("/", "/dir", "/to-dir", "/missing", "/file", "/dir/sub/"):
        for topdown in (True, False):
            ours = told(lambda: list(both_read.fs.walk(top, topdown)))  # noqa: B023  # called at once
            theirs = told(lambda: both_read.local.walk(top, topdown))  # noqa: B023
            assert ours == theirs, (top, topdown)


def test_the_table_is_of_calls_that_are_made() -> None:
    made = {(name, path, *args) for name, *args in CHANGES for path in PATHS}
    made |= {("rename", source, target) for source in ENDS for target in ENDS}
    assert made >= DIFFERENT.keys()

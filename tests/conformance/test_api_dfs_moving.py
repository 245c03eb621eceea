"""Rename and exchange by handle, over any system.

Source: DAOS src/tests/suite/dfs_unit_test.c; rename(2)
"""

from __future__ import annotations

import errno
import stat

import pytest

import daos
from daos.client.portal import Portal
from daos.dfs.errors import NotEmptyError, StaleFileError
from daos.dfs.layout import Kind
from daos.dfs.mount import Mount
from daos.dfs.node import Directory, File, Symlink
from tests.conformance.files import CREATE, listed, refused, together


@pytest.fixture
def dirs(mount: Mount, portal: Portal) -> tuple[Directory, Directory]:
    return portal.call(mount.mkdir, mount.root, "one"), portal.call(mount.mkdir, mount.root, "two")


def make(mount: Mount, portal: Portal, parent: Directory, name: str, data: bytes) -> File:
    file = portal.call(mount.open_file, parent, name, CREATE)
    portal.call(file.write, 0, data)
    return file


def content(mount: Mount, portal: Portal, path: str) -> bytes:
    found = portal.call(mount.lookup, path)
    assert isinstance(found, File)
    return portal.call(found.read, 0, 1000)


def names(mount: Mount, portal: Portal, directory: Directory) -> list[str]:
    return sorted(portal.call(listed, mount.readdir(directory)))


class TestMoving:
    def test_a_file_with_all_it_has(
        self, mount: Mount, portal: Portal, dirs: tuple[Directory, Directory]
    ) -> None:
        one, two = dirs
        file = make(mount, portal, one, "f", b"content")
        portal.call(file.setxattr, "user.a", b"1")
        portal.call(file.setxattr, "user.empty", b"")
        before = portal.call(file.stat)
        assert portal.call(mount.move, one, "f", two, "g") is None
        assert (names(mount, portal, one), names(mount, portal, two)) == ([], ["g"])
        moved = portal.call(mount.lookup, "/two/g")
        assert moved.oid == file.oid
        after = portal.call(moved.stat)
        assert after.st_ctime_ns > before.st_ctime_ns
        assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, 7)
        assert portal.call(moved.listxattr) == ["user.a", "user.empty"]
        assert portal.call(moved.getxattr, "user.a") == b"1"
        assert portal.call(file.read, 0, 10) == b"content"
        with pytest.raises(StaleFileError):
            portal.call(file.stat)
        file.moved(two, "g")
        assert portal.call(file.stat) == after

    def test_over_another_file(self, mount: Mount, portal: Portal) -> None:
        old = make(mount, portal, mount.root, "f1", b"old")
        portal.call(old.setxattr, "user.old", b"1")
        portal.call(old.setxattr, "user.both", b"1")
        new = make(mount, portal, mount.root, "f2", b"x" * 128)
        portal.call(new.setxattr, "user.both", b"2")
        assert portal.call(mount.move, mount.root, "f2", mount.root, "f1") == old.oid
        for handle in (old, new):
            with pytest.raises(StaleFileError):
                portal.call(handle.stat)
        assert names(mount, portal, mount.root) == ["f1"]
        found = portal.call(mount.lookup, "/f1")
        assert (found.oid, portal.call(found.stat).st_size) == (new.oid, 128)
        assert portal.call(found.listxattr) == ["user.both"]
        assert portal.call(old.read, 0, 10) == b""

    def test_links_and_files_over_each_other(self, mount: Mount, portal: Portal) -> None:
        portal.call(mount.symlink, mount.root, "l", "somewhere")
        make(mount, portal, mount.root, "f", b"file")
        link = portal.call(mount.lookup, "/l", follow=False)
        portal.call(link.setxattr, "user.of", b"link")
        portal.call(mount.move, mount.root, "l", mount.root, "f")
        found = portal.call(mount.lookup, "/f", follow=False)
        assert isinstance(found, Symlink)
        assert (found.target, portal.call(found.getxattr, "user.of")) == ("somewhere", b"link")
        make(mount, portal, mount.root, "g", b"again")
        portal.call(mount.move, mount.root, "g", mount.root, "f")
        assert content(mount, portal, "/f") == b"again"
        assert portal.call(portal.call(mount.lookup, "/f").listxattr) == []

    def test_directories(
        self, mount: Mount, portal: Portal, dirs: tuple[Directory, Directory]
    ) -> None:
        one, two = dirs
        make(mount, portal, one, "f", b"content")
        file = make(mount, portal, mount.root, "file", b"")
        refused(errno.EISDIR, portal.call, mount.move, mount.root, "file", mount.root, "one")
        refused(errno.ENOTDIR, portal.call, mount.move, mount.root, "one", mount.root, "file")
        refused(errno.ENOTDIR, portal.call, mount.move, mount.root, "one", file, "x")
        with pytest.raises(NotEmptyError):
            portal.call(mount.move, mount.root, "two", mount.root, "one")
        assert portal.call(mount.move, mount.root, "one", mount.root, "two") == two.oid
        assert content(mount, portal, "/two/f") == b"content"
        assert names(mount, portal, mount.root) == ["file", "two"]

    def test_what_is_refused(
        self, mount: Mount, portal: Portal, dirs: tuple[Directory, Directory]
    ) -> None:
        one, two = dirs
        make(mount, portal, one, "f", b"f")
        make(mount, portal, two, "g", b"g")
        refused(errno.ENOENT, portal.call, mount.move, one, "no", two, "x")
        refused(errno.EEXIST, portal.call, mount.move, one, "f", two, "g", replace=False)
        refused(errno.EINVAL, portal.call, mount.move, one, "f", two, "a/b")
        refused(errno.ENAMETOOLONG, portal.call, mount.move, one, "f", two, "x" * 256)
        inner = portal.call(mount.mkdir, one, "inner")
        refused(errno.EINVAL, portal.call, mount.move, mount.root, "one", inner, "x")
        refused(errno.EINVAL, portal.call, mount.move, mount.root, "one", one, "x")
        assert portal.call(mount.move, one, "f", one, "f") is None
        refused(errno.ENOENT, portal.call, mount.move, one, "no", one, "no")
        assert names(mount, portal, one) == ["f", "inner"]
        assert (content(mount, portal, "/one/f"), content(mount, portal, "/two/g")) == (b"f", b"g")

    def test_other_mounts(self, files: daos.Container, mount: Mount, portal: Portal) -> None:
        make(mount, portal, mount.root, "f", b"")
        other = portal.call(Mount.open, files._core)
        refused(errno.EXDEV, portal.call, mount.move, mount.root, "f", other.root, "g")
        reader = portal.call(Mount.open, files._core, "r")
        refused(errno.EPERM, portal.call, reader.move, reader.root, "f", reader.root, "g")

    def test_nothing_is_left_of_a_move(
        self, files: daos.Container, mount: Mount, portal: Portal
    ) -> None:
        make(mount, portal, mount.root, "f", b"")
        make(mount, portal, mount.root, "g", b"")
        root = files.object(mount.root.oid)
        portal.call(mount.move, mount.root, "f", mount.root, "h")
        portal.call(mount.move, mount.root, "h", mount.root, "g")
        assert list(root.dkeys()) == [b"g"]
        assert sorted(root.akeys(b"g")) == [b"DFS_INODE"]

    def test_one_of_several_movers_wins(self, mount: Mount, portal: Portal) -> None:
        make(mount, portal, mount.root, "f", b"content")
        ends = together(
            6, lambda number: portal.call(mount.move, mount.root, "f", mount.root, f"to{number}")
        )
        assert ends.count(None) == 1
        assert sum(isinstance(each, FileNotFoundError) for each in ends) == 5
        (name,) = names(mount, portal, mount.root)
        assert content(mount, portal, f"/{name}") == b"content"

    def test_to_and_fro(self, mount: Mount, portal: Portal) -> None:
        """Each the way of the other: one file is replaced, none is lost."""
        make(mount, portal, mount.root, "a", b"a")
        make(mount, portal, mount.root, "b", b"b")
        pairs = [("a", "b"), ("b", "a")]

        def run(number: int) -> object:
            one, other = pairs[number % 2]
            return portal.call(mount.move, mount.root, one, mount.root, other)

        ends = together(2, run)
        assert len(names(mount, portal, mount.root)) == 1
        assert sum(isinstance(each, daos.ObjectId) for each in ends) == 1


class TestExchange:
    def test_files_and_directories(
        self, mount: Mount, portal: Portal, dirs: tuple[Directory, Directory]
    ) -> None:
        one, two = dirs
        file = make(mount, portal, one, "f", b"file")
        portal.call(file.setxattr, "user.a", b"1")
        inner = portal.call(mount.mkdir, two, "d")
        portal.call(mount.exchange, one, "f", two, "d")
        assert portal.call(mount.lookup, "/one/f").oid == inner.oid
        assert portal.call(mount.lookup, "/one/f").kind is Kind.DIRECTORY
        assert portal.call(portal.call(mount.lookup, "/two/d").getxattr, "user.a") == b"1"
        assert content(mount, portal, "/two/d") == b"file"
        assert (names(mount, portal, one), names(mount, portal, two)) == (["f"], ["d"])
        assert stat.S_ISDIR(portal.call(mount.stat, one, "f").st_mode)

    def test_what_is_refused(
        self, mount: Mount, portal: Portal, dirs: tuple[Directory, Directory]
    ) -> None:
        one, two = dirs
        make(mount, portal, one, "f", b"f")
        refused(errno.ENOENT, portal.call, mount.exchange, one, "f", two, "no")
        refused(errno.ENOENT, portal.call, mount.exchange, two, "no", one, "f")
        refused(errno.EINVAL, portal.call, mount.exchange, one, "f", mount.root, "one")
        portal.call(mount.exchange, one, "f", one, "f")
        assert content(mount, portal, "/one/f") == b"f"

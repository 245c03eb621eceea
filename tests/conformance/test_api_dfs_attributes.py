"""What stat tells, and what changes it: times, owners, permissions, extended attributes.

Source: DAOS src/tests/suite/dfs_unit_test.c; dfs_block §9.3 of the reference's scenarios
"""

from __future__ import annotations

import errno
import os
import stat
from datetime import UTC, datetime

import pytest

import daos
from daos.client.portal import Portal
from daos.dfs.attributes import SetAttr, check_access
from daos.dfs.errors import NoAttributeError, PermissionDeniedError, StaleFileError
from daos.dfs.layout import Entry
from daos.dfs.mount import Mount
from daos.dfs.node import File, Node
from daos.dfs.xattrs import Setting
from tests.conformance.files import CREATE, refused

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def year(number: int) -> int:
    """Its first moment, ns since 1970."""
    return int((datetime(number, 1, 1, tzinfo=UTC) - EPOCH).total_seconds()) * 10**9


@pytest.fixture
def file(mount: Mount, portal: Portal) -> File:
    return portal.call(mount.open_file, mount.root, "f", CREATE)


class TestTimes:
    @pytest.mark.parametrize("what", ["file", "directory"])
    def test_what_moves_which(self, mount: Mount, portal: Portal, what: str) -> None:
        file = portal.call(mount.open_file, mount.root, "f", CREATE)
        directory = portal.call(mount.mkdir, mount.root, "d")
        node: Node = file if what == "file" else directory

        def write() -> None:
            if what == "file":
                portal.call(file.write, 0, b"x" * 64)
            else:
                portal.call(mount.mkdir, directory, "child")

        def undo() -> None:
            if what == "file":
                portal.call(file.truncate, 0)
            else:
                portal.call(mount.remove, directory, "child")

        first = portal.call(node.stat)
        write()
        second = portal.call(node.stat)
        assert second.st_mtime_ns > first.st_mtime_ns
        assert second.st_ctime_ns > first.st_ctime_ns
        portal.call(file.read, 0, 64)
        assert portal.call(node.stat) == second

        wanted = SetAttr(mtime_ns=first.st_mtime_ns)
        told = portal.call(node.setattr, wanted)
        third = portal.call(node.stat)
        assert told == third
        assert third.st_mtime_ns == first.st_mtime_ns
        assert third.st_ctime_ns > second.st_ctime_ns
        assert third.st_atime_ns == third.st_ctime_ns
        undo()
        fourth = portal.call(node.stat)
        assert fourth.st_mtime_ns > second.st_mtime_ns
        assert fourth == portal.call(mount.stat, mount.root, node.name)

    def test_size_and_time(self, file: File, portal: Portal) -> None:
        newyears_eve = year(2024) - 24 * 3600 * 10**9
        found = portal.call(file.setattr, SetAttr(size=1000, mtime_ns=newyears_eve))
        assert (found.st_size, found.st_mtime_ns) == (1000, newyears_eve)
        assert portal.call(file.stat) == found
        found = portal.call(file.setattr, SetAttr(size=1024))
        assert found.st_size == 1024
        assert found.st_mtime_ns > newyears_eve

    @pytest.mark.parametrize("number", [1900, 1969, 1970, 2020, 2999])
    def test_any_year(self, file: File, portal: Portal, number: int) -> None:
        portal.call(file.write, 0, b"x")
        wanted = year(number) + 123_456_789
        portal.call(file.setattr, SetAttr(mtime_ns=wanted))
        assert portal.call(file.stat).st_mtime_ns == wanted
        refused(errno.EINVAL, portal.call, file.setattr, SetAttr(mtime_ns=2**94))

    def test_the_rest_moves_ctime_alone(self, file: File, portal: Portal) -> None:
        before = portal.call(file.stat)
        for change in (
            lambda: portal.call(file.setattr, SetAttr(mode=0o600)),
            lambda: portal.call(file.setattr, SetAttr(uid=1)),
            lambda: portal.call(file.setxattr, "user.a", b"1"),
            lambda: portal.call(file.removexattr, "user.a"),
        ):
            change()
            after = portal.call(file.stat)
            assert after.st_ctime_ns > before.st_ctime_ns
            assert after.st_mtime_ns == before.st_mtime_ns
            before = after
        assert portal.call(file.setattr, SetAttr()) == before


class TestOwnersAndModes:
    def test_each_for_itself(self, file: File, portal: Portal) -> None:
        found = portal.call(file.setattr, SetAttr(uid=3, gid=4))
        assert (found.st_uid, found.st_gid) == (3, 4)
        portal.call(file.setattr, SetAttr(uid=1))
        portal.call(file.setattr, SetAttr(gid=2))
        found = portal.call(file.setattr, SetAttr(mode=0o640))
        assert (found.st_uid, found.st_gid, found.st_mode) == (1, 2, stat.S_IFREG | 0o640)
        assert (
            portal.call(file.setattr, SetAttr(mode=stat.S_IFREG | 0o600)).st_mode & 0o777 == 0o600
        )

    def test_the_root(self, files: daos.Container, mount: Mount, portal: Portal) -> None:
        before = portal.call(mount.root.stat)
        wanted = SetAttr(uid=7, gid=8, mode=0o711, mtime_ns=year(2020))
        portal.call(mount.root.setattr, wanted)
        again = portal.call(Mount.open, files._core)
        found = portal.call(again.root.stat)
        assert (found.st_uid, found.st_gid, found.st_mode) == (7, 8, stat.S_IFDIR | 0o711)
        assert found.st_mtime_ns == year(2020)
        assert found.st_ctime_ns > before.st_ctime_ns

    def test_links(self, mount: Mount, file: File, portal: Portal) -> None:
        link = portal.call(mount.symlink, mount.root, "l", "f")
        portal.call(link.setattr, SetAttr(uid=5, gid=6, mtime_ns=year(2000)))
        found = portal.call(mount.stat, mount.root, "l")
        assert (found.st_uid, found.st_mtime_ns) == (5, year(2000))
        assert portal.call(file.stat).st_uid == os.geteuid()
        followed = portal.call(mount.lookup_rel, mount.root, "l")
        portal.call(followed.setattr, SetAttr(uid=9))
        assert portal.call(file.stat).st_uid == 9

    @pytest.mark.parametrize(
        ("wanted", "number"),
        [
            (SetAttr(mode=stat.S_IFDIR | 0o700), errno.EINVAL),
            (SetAttr(mode=0o4755), errno.ENOTSUP),
            (SetAttr(mode=0o1777), errno.ENOTSUP),
            (SetAttr(mode=-1), errno.EINVAL),
            (SetAttr(uid=2**32), errno.EINVAL),
            (SetAttr(gid=-1), errno.EINVAL),
            (SetAttr(size=-1), errno.EINVAL),
        ],
    )
    def test_what_cannot_be_set(
        self, file: File, portal: Portal, wanted: SetAttr, number: int
    ) -> None:
        before = portal.call(file.stat)
        refused(number, portal.call, file.setattr, wanted)
        assert portal.call(file.stat) == before

    def test_only_files_have_a_size(self, mount: Mount, portal: Portal) -> None:
        refused(errno.EINVAL, portal.call, mount.root.setattr, SetAttr(size=0))

    def test_through_a_read_only_mount(self, files: daos.Container, portal: Portal) -> None:
        mount = portal.call(Mount.open, files._core, "r")
        refused(errno.EPERM, portal.call, mount.root.setattr, SetAttr(uid=1))
        refused(errno.EPERM, portal.call, mount.root.setxattr, "user.a", b"")
        refused(errno.EPERM, portal.call, mount.root.removexattr, "user.a")
        refused(errno.EPERM, portal.call, mount.root.access, os.W_OK)
        portal.call(mount.root.access, os.F_OK)

    def test_a_name_that_is_gone(self, mount: Mount, file: File, portal: Portal) -> None:
        portal.call(mount.remove, mount.root, "f")
        for again in (False, True):
            if again:
                portal.call(mount.mkdir, mount.root, "f")
            for call in (
                lambda: portal.call(file.stat),
                lambda: portal.call(file.setattr, SetAttr(uid=1)),
                lambda: portal.call(file.setxattr, "user.a", b""),
                lambda: portal.call(file.getxattr, "user.a"),
                lambda: portal.call(file.listxattr),
                lambda: portal.call(file.removexattr, "user.a"),
                lambda: portal.call(file.access, os.F_OK),
            ):
                with pytest.raises(StaleFileError):
                    call()
        assert portal.call(mount.stat, mount.root, "f").st_uid == os.geteuid()

    @pytest.mark.parametrize(
        ("mode", "owner", "group", "mask", "granted"),
        [
            (0o000, 1, 1, os.F_OK, True),
            (0o000, 1, 1, os.R_OK, False),
            (0o600, 1, 9, os.R_OK | os.W_OK, True),
            (0o600, 9, 1, os.R_OK, False),
            (0o060, 9, 1, os.R_OK | os.W_OK, True),
            (0o006, 9, 9, os.R_OK | os.W_OK, True),
            (0o006, 9, 9, os.X_OK, False),
            (0o412, 1, 1, os.R_OK | os.W_OK | os.X_OK, True),
        ],
    )
    def test_access(self, mode: int, owner: int, group: int, mask: int, *, granted: bool) -> None:
        entry = Entry(
            mode=stat.S_IFREG | mode, oid=daos.ObjectId(13 << 56, 1), uid=owner, gid=group
        )
        if granted:
            check_access(entry, mask, uid=1, gid=1)
        else:
            with pytest.raises(PermissionDeniedError) as caught:
                check_access(entry, mask, uid=1, gid=1)
            assert caught.value.errno == errno.EACCES
        with pytest.raises(daos.InvalidError):
            check_access(entry, 8, uid=1, gid=1)


class TestExtendedAttributes:
    @pytest.mark.parametrize("what", ["file", "directory", "symlink", "root"])
    def test_life(self, mount: Mount, portal: Portal, what: str) -> None:
        node: Node = mount.root
        if what == "file":
            node = portal.call(mount.open_file, mount.root, "n", CREATE)
        elif what == "directory":
            node = portal.call(mount.mkdir, mount.root, "n")
        elif what == "symlink":
            node = portal.call(mount.symlink, mount.root, "n", "target")
        with pytest.raises(NoAttributeError) as caught:
            portal.call(node.getxattr, "user.empty")
        assert caught.value.errno == errno.ENODATA
        portal.call(node.setxattr, "user.empty", b"")
        assert portal.call(node.getxattr, "user.empty") == b""
        portal.call(node.setxattr, "user.with_value", b"some value\0")
        assert portal.call(node.getxattr, "user.with_value") == b"some value\0"
        assert portal.call(node.listxattr) == ["user.empty", "user.with_value"]
        portal.call(node.setxattr, "user.with_value", b"x" * 65536)
        assert portal.call(node.getxattr, "user.with_value") == b"x" * 65536
        portal.call(node.removexattr, "user.empty")
        portal.call(node.removexattr, "user.with_value")
        assert portal.call(node.listxattr) == []
        with pytest.raises(NoAttributeError):
            portal.call(node.removexattr, "user.empty")

    def test_conditions_and_limits(self, file: File, portal: Portal) -> None:
        with pytest.raises(NoAttributeError):
            portal.call(file.setxattr, "a", b"1", Setting.REPLACE)
        portal.call(file.setxattr, "a", b"1", Setting.CREATE)
        refused(errno.EEXIST, portal.call, file.setxattr, "a", b"2", Setting.CREATE)
        portal.call(file.setxattr, "a", b"3", Setting.REPLACE)
        assert portal.call(file.getxattr, "a") == b"3"
        portal.call(file.setxattr, "x" * 255, b"")
        for name in ("", "x" * 256, "nul\0"):
            refused(errno.EINVAL, portal.call, file.setxattr, name, b"")
            refused(errno.EINVAL, portal.call, file.getxattr, name)
        refused(errno.E2BIG, portal.call, file.setxattr, "a", b"x" * 65537)

    def test_more_than_a_page(
        self, files: daos.Container, mount: Mount, file: File, portal: Portal
    ) -> None:
        root = files.object(mount.root.oid)
        names = [f"n{number:04}" for number in range(1100)]
        for some in (names[:600], names[600:]):
            root.update_many(b"f", {f"x:{name}".encode(): b"" for name in some})
        assert portal.call(file.listxattr) == names


class TestDefaults:
    def test_directories_hand_theirs_down(self, mount: Mount, portal: Portal) -> None:
        directory = portal.call(mount.mkdir, mount.root, "d")
        portal.call(directory.set_chunk_size, 4096)
        portal.call(directory.set_oclass, "S2")
        inner = portal.call(mount.mkdir, directory, "inner")
        file = portal.call(mount.open_file, inner, "f", CREATE)
        assert (file.chunk_size, file.oid.groups, inner.oid.groups) == (4096, 2, 2)
        portal.call(inner.set_chunk_size, None)
        portal.call(inner.set_oclass, None)
        again = portal.call(mount.lookup, "/d/inner")
        file = portal.call(mount.open_file, again, "g", CREATE)
        assert file.chunk_size == 1 << 20
        refused(errno.EINVAL, portal.call, directory.set_oclass, "S7Z")
        refused(errno.EINVAL, portal.call, directory.set_chunk_size, -1)

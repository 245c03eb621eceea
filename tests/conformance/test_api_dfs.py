"""Files by handle over any system: `daos.dfs.mount`.

Source: DAOS src/tests/suite/dfs_unit_test.c; dfs_block §9.3 of the reference's scenarios
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import stat
from typing import Any

import pytest

import daos
from daos.client.portal import Portal
from daos.dfs import format
from daos.dfs.attributes import SetAttr
from daos.dfs.errors import (
    IsDirectoryError,
    LoopError,
    NotDirectoryError,
    NotEmptyError,
    StaleFileError,
)
from daos.dfs.layout import FILE_SIZE_MAX, Kind
from daos.dfs.mount import Mount
from daos.dfs.node import Directory, File, Symlink
from tests.conformance.conftest import System
from tests.conformance.files import CREATE, labels, listed, refused, together


class TestMounting:
    def test_other_layouts_are_refused(self, cont: daos.Container, portal: Portal) -> None:
        refused(errno.EINVAL, portal.call, Mount.open, cont._core)

    def test_what_is_created_is_a_file_system(
        self, pool: daos.Pool, files: daos.Container, portal: Portal
    ) -> None:
        with pool.container(files.uuid, "r") as again:
            mount = portal.call(Mount.open, again._core)
            found = portal.call(mount.root.stat)
            assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())
            assert stat.S_ISDIR(found.st_mode)
            assert (found.st_size, found.st_nlink, found.st_ino) == (104, 1, 1)
            assert not mount.writable
            refused(errno.EPERM, portal.call, mount.mkdir, mount.root, "d")
            refused(errno.EPERM, portal.call, mount.open_file, mount.root, "f", CREATE)
            refused(errno.EPERM, portal.call, mount.remove, mount.root, "f")
            refused(errno.EPERM, portal.call, Mount.open, again._core, "rw")

    def test_modes(self, pool: daos.Pool, files: daos.Container, portal: Portal) -> None:
        assert portal.call(Mount.open, files._core, "rw").writable
        assert not portal.call(Mount.open, files._core, "r").writable
        refused(errno.ENOTSUP, pool.create_container, next(labels), "POSIX", mode="balanced")
        refused(errno.EINVAL, pool.create_container, next(labels), "POSIX", mode="fast")
        refused(errno.EINVAL, pool.create_container, next(labels), "HDF5", chunk_size=1)
        refused(errno.EINVAL, pool.create_container, "invalid:-/label", "POSIX")
        refused(errno.EINVAL, pool.create_container, next(labels), "POSIX", hints="file:wide")
        with pytest.raises((daos.InvalidError, daos.NotSupportedError)):
            pool.create_container(next(labels), "POSIX", oclass="RP_2G1")

    def test_nothing_is_left_of_what_cannot_be_made(self, pool: daos.Pool) -> None:
        label = next(labels)
        refused(errno.ENOTSUP, pool.create_container, label, "POSIX", mode="balanced")
        assert label not in [each.label for each in pool.containers()]

    def test_one_label_in_two_pools(
        self, system: System, client: daos.Client, pool: daos.Pool
    ) -> None:
        label, other = next(labels), f"other-{next(labels)}"
        system.admin.pool_create(other, "64MiB")
        with client.pool(other) as second:
            for each, name in ((pool, "here"), (second, "there")):
                with each.create_container(label, "POSIX") as made:
                    mount = made._portal.call(Mount.open, made._core)
                    made._portal.call(mount.mkdir, mount.root, name)
            for each, name in ((pool, "here"), (second, "there")):
                with each.container(label) as found:
                    mount = found._portal.call(Mount.open, found._core)
                    assert found._portal.call(listed, mount.readdir(mount.root)) == [name]
                each.destroy_container(label)
        system.admin.pool_destroy(other)

    def test_a_closed_container_closes_its_mounts(
        self, files: daos.Container, mount: Mount, portal: Portal
    ) -> None:
        file = portal.call(mount.open_file, mount.root, "f", CREATE)
        files.close()
        refused(errno.EINVAL, portal.call, mount.lookup, "/f")
        refused(errno.EINVAL, portal.call, file.write, 0, b"x")

    def test_a_lost_superblock_and_root(
        self, files: daos.Container, mount: Mount, portal: Portal
    ) -> None:
        portal.call(mount.mkdir, mount.root, "kept")
        refused(errno.EEXIST, portal.call, format.recreate_superblock, files._core, {})
        superblock = files.object(mount.root.parent_oid)
        superblock.punch_dkeys([b"DFS_SB_METADATA"])
        refused(errno.ENOENT, portal.call, Mount.open, files._core)
        portal.call(format.recreate_superblock, files._core, {"chunk_size": 8192})
        superblock.punch_dkeys([b"/"])
        refused(errno.ENOENT, portal.call, Mount.open, files._core)
        refused(errno.ENOENT, portal.call, mount.root.stat)
        portal.call(format.relink_root, files._core)
        again = portal.call(Mount.open, files._core)
        assert again.defaults.chunk_size == 8192
        assert portal.call(listed, again.readdir(again.root)) == ["kept"]

    def test_a_view_shows_what_was(
        self, files: daos.Container, mount: Mount, portal: Portal
    ) -> None:
        file = portal.call(mount.open_file, mount.root, "f", CREATE)
        portal.call(file.write, 0, b"before")
        with files.at(files.snapshot()) as view:
            portal.call(file.write, 0, b"after!!")
            portal.call(mount.remove, mount.root, "f")
            old = portal.call(Mount.open, view._core)
            assert not old.writable
            found = portal.call(old.lookup, "/f")
            assert isinstance(found, File)
            assert portal.call(found.read, 0, 100) == b"before"
            assert portal.call(found.stat).st_size == 6
            refused(errno.EPERM, portal.call, found.write, 0, b"x")
        refused(errno.ENOENT, portal.call, mount.lookup, "/f")


class TestOpening:
    def test_files(self, mount: Mount, portal: Portal) -> None:
        root = mount.root
        refused(errno.ENOENT, portal.call, mount.open_file, root, "f")
        made = portal.call(mount.open_file, root, "f", CREATE | os.O_EXCL, 0o600)
        refused(errno.EEXIST, portal.call, mount.open_file, root, "f", CREATE | os.O_EXCL)
        again = portal.call(mount.open_file, root, "f", CREATE)
        assert again.oid == made.oid
        assert stat.S_IMODE(again.mode) == 0o600
        portal.call(made.write, 0, b"content")
        assert portal.call(again.read, 3, 100) == b"tent"
        cut = portal.call(mount.open_file, root, "f", os.O_RDWR | os.O_TRUNC)
        assert portal.call(cut.size) == 0

    def test_flags(self, mount: Mount, portal: Portal) -> None:
        refused(errno.ENOTSUP, portal.call, mount.open_file, mount.root, "f", os.O_APPEND)
        refused(errno.EINVAL, portal.call, mount.open_file, mount.root, "f", 3)
        writer = portal.call(mount.open_file, mount.root, "f", os.O_CREAT | os.O_WRONLY)
        refused(errno.EPERM, portal.call, writer.read, 0, 1)
        reader = portal.call(mount.open_file, mount.root, "f")
        refused(errno.EPERM, portal.call, reader.write, 0, b"x")
        refused(errno.EPERM, portal.call, reader.truncate, 0)

    def test_what_is_no_file(self, mount: Mount, portal: Portal) -> None:
        portal.call(mount.mkdir, mount.root, "d")
        portal.call(mount.symlink, mount.root, "l", "d")
        for flags in (os.O_RDONLY, CREATE):
            with pytest.raises(IsDirectoryError):
                portal.call(mount.open_file, mount.root, "d", flags)
            with pytest.raises(LoopError):
                portal.call(mount.open_file, mount.root, "l", flags)
        file = portal.call(mount.open_file, mount.root, "f", CREATE)
        for call in (mount.mkdir, mount.open_file, mount.stat, mount.remove, mount.lookup_rel):
            with pytest.raises(NotDirectoryError):
                portal.call(call, file, "x")
            refused(errno.EINVAL, portal.call, call, mount.root, "a/b")
            refused(errno.EINVAL, portal.call, call, mount.root, "")
            refused(errno.ENAMETOOLONG, portal.call, call, mount.root, "x" * 256)

    def test_wrong_types_are_told_in_words(self, mount: Mount, portal: Portal) -> None:
        root: Any = mount.root
        wrong: list[tuple[Any, ...]] = [
            (mount.lookup, None),
            (mount.lookup_rel, root, 7),
            (mount.mkdir, root, "x", "rwx"),
            (mount.mkdir, root, "x", -1),
            (mount.open_file, root, "f", "r"),
            (mount.symlink, root, "l", 7),
            (mount.remove, root, "f", "file"),
            (root.setattr, {"mode": 0o600}),
            (root.setattr, SetAttr(mode="rwx")),  # type: ignore[arg-type]  # on purpose
            (root.setxattr, "user.a", "text"),
            (root.setxattr, 7, b""),
            (root.set_chunk_size, "1MiB"),
            (root.set_oclass, 1.5),
        ]
        for call, *args in wrong:
            refused(errno.EINVAL, portal.call, call, *args)
        for uid in (-1, 2**32, "root"):
            refused(errno.EINVAL, portal.call, mount.open_file, root, "f", CREATE, uid=uid)
        for parent in (None, "/"):
            refused(errno.ENOTDIR, portal.call, mount.move, root, "f", parent, "g")
            refused(errno.ENOTDIR, portal.call, mount.mkdir, parent, "g")

    def test_everything_that_exists_is_in_the_way(self, mount: Mount, portal: Portal) -> None:
        portal.call(mount.mkdir, mount.root, "d")
        portal.call(mount.open_file, mount.root, "f", CREATE)
        portal.call(mount.symlink, mount.root, "l", "nowhere")
        for name in "dfl":
            refused(errno.EEXIST, portal.call, mount.mkdir, mount.root, name)
            refused(errno.EEXIST, portal.call, mount.symlink, mount.root, name, "t")

    def test_one_of_several_makers_wins(self, mount: Mount, portal: Portal) -> None:
        made = together(8, lambda _: portal.call(mount.mkdir, mount.root, "d"))
        assert sum(isinstance(each, Directory) for each in made) == 1
        assert sum(isinstance(each, FileExistsError) for each in made) == 7
        opened = together(8, lambda _: portal.call(mount.open_file, mount.root, "f", CREATE))
        assert len({each.oid for each in opened if isinstance(each, File)}) == 1
        assert all(isinstance(each, File) for each in opened)

    def test_who_and_how(self, mount: Mount, portal: Portal) -> None:
        portal.call(mount.open_file, mount.root, "f", CREATE, 0o640, uid=14, gid=15)
        found = portal.call(mount.stat, mount.root, "f")
        assert (found.st_uid, found.st_gid, found.st_mode) == (14, 15, stat.S_IFREG | 0o640)
        assert (found.st_blksize, found.st_blocks, found.st_size) == (1 << 20, 0, 0)
        refused(errno.EINVAL, portal.call, mount.mkdir, mount.root, "x", stat.S_IFREG | 0o600)
        refused(errno.EINVAL, portal.call, mount.mkdir, mount.root, "x", oclass="S7Z")
        with pytest.raises((daos.InvalidError, daos.NotSupportedError)):
            portal.call(mount.mkdir, mount.root, "x", oclass="RP_2G1")

    def test_chunks_come_from_the_container(self, pool: daos.Pool) -> None:
        with pool.create_container(
            next(labels), "POSIX", chunk_size="64KiB", file_oclass="S1"
        ) as c:
            portal = c._portal
            mount = portal.call(Mount.open, c._core)
            file = portal.call(mount.open_file, mount.root, "f", CREATE)
            own = portal.call(mount.open_file, mount.root, "g", CREATE, chunk_size=7, oclass="S2")
            assert (file.chunk_size, own.chunk_size) == (64 << 10, 7)
            assert (file.oid.groups, own.oid.groups) == (1, 2)
            portal.call(own.write, 0, b"longer than a chunk")
            assert portal.call(own.read, 5, 6) == b"r than"
            assert portal.call(own.stat).st_blksize == 7
        pool.destroy_container(c.uuid)

    def test_one_of_several_containers(self, pool: daos.Pool) -> None:
        """Creators of one label: one makes it, the others hear that it is there."""
        label = next(labels)
        made = together(4, lambda _: pool.create_container(label, "POSIX"))
        (one,) = [each for each in made if isinstance(each, daos.Container)]
        assert sum(isinstance(each, FileExistsError) for each in made) == 3
        mount = one._portal.call(Mount.open, one._core)
        assert (mount.default_class(Kind.FILE), mount.default_class(Kind.DIRECTORY)) == ("SX", "S1")
        one.close()
        pool.destroy_container(label)


class TestLookup:
    @pytest.fixture
    def tree(self, mount: Mount, portal: Portal) -> Mount:
        """dir1/dir2, dir1/file2, file1, and links: sym1 -> dir1, chain -> sym1, self -> self."""
        dir1 = portal.call(mount.mkdir, mount.root, "dir1")
        portal.call(mount.mkdir, dir1, "dir2")
        portal.call(mount.open_file, dir1, "file2", CREATE)
        portal.call(mount.open_file, mount.root, "file1", CREATE)
        portal.call(mount.symlink, dir1, "up", "../file1")
        for name, target in (("sym1", "dir1"), ("chain", "/sym1/"), ("self", "self")):
            portal.call(mount.symlink, mount.root, name, target)
        return mount

    @pytest.mark.parametrize(
        ("path", "name", "kind"),
        [
            ("/", "/", Kind.DIRECTORY),
            ("/..", "/", Kind.DIRECTORY),
            ("//dir1//dir2/", "dir2", Kind.DIRECTORY),
            ("/dir1/./dir2/../file2", "file2", Kind.FILE),
            ("/sym1/dir2/../file2", "file2", Kind.FILE),
            ("/sym1", "dir1", Kind.DIRECTORY),
            ("/chain", "dir1", Kind.DIRECTORY),
            ("/chain/up", "file1", Kind.FILE),
            (b"/dir1/file2", "file2", Kind.FILE),
            ("/dir1/../../../dir1/dir2/..", "dir1", Kind.DIRECTORY),
        ],
    )
    def test_paths(
        self, tree: Mount, portal: Portal, path: str | bytes, name: str, kind: Kind
    ) -> None:
        found = portal.call(tree.lookup, path)
        assert (found.name, found.kind) == (name, kind)

    @pytest.mark.parametrize(
        ("path", "number"),
        [
            ("", errno.EINVAL),
            ("dir1", errno.EINVAL),
            ("/nul\0", errno.EINVAL),
            ("/no", errno.ENOENT),
            ("/no/dir1", errno.ENOENT),
            ("/file1/x", errno.ENOTDIR),
            ("/file1/", errno.ENOTDIR),
            ("/file1/..", errno.ENOTDIR),
            ("/self", errno.ELOOP),
            ("/self/x", errno.ELOOP),
            ("/" + "x" * 256, errno.ENAMETOOLONG),
            ("/" + "x/" * 2048, errno.ENAMETOOLONG),
        ],
    )
    def test_paths_that_lead_nowhere(
        self, tree: Mount, portal: Portal, path: str, number: int
    ) -> None:
        refused(number, portal.call, tree.lookup, path)

    def test_links_themselves(self, tree: Mount, portal: Portal) -> None:
        link = portal.call(tree.lookup, "/sym1", follow=False)
        assert isinstance(link, Symlink)
        assert link.target == "dir1"
        found = portal.call(link.stat)
        assert (found.st_size, found.st_mode) == (4, stat.S_IFLNK | 0o777)
        assert isinstance(portal.call(tree.lookup, "/sym1/", follow=False), Directory)
        assert isinstance(portal.call(tree.lookup_rel, tree.root, "self", follow=False), Symlink)
        refused(errno.ELOOP, portal.call, tree.lookup_rel, tree.root, "self")
        dir1 = portal.call(tree.lookup_rel, tree.root, "chain")
        assert dir1.name == "dir1"
        assert portal.call(tree.lookup_rel, dir1, "up").name == "file1"

    def test_bad_targets(self, mount: Mount, portal: Portal) -> None:
        for target in ("", "x" * 4096, "nul\0"):
            refused(errno.EINVAL, portal.call, mount.symlink, mount.root, "l", target)
        longest = "y" * 4095
        made = portal.call(mount.symlink, mount.root, "l", longest)
        assert made.target == longest
        found = portal.call(mount.lookup, "/l", follow=False)
        assert isinstance(found, Symlink)
        assert found.target == longest

    def test_names_of_any_bytes(self, mount: Mount, portal: Portal) -> None:
        raw = bytes(range(1, 256)).replace(b"/", b"")
        portal.call(mount.mkdir, mount.root, raw)
        (name,) = portal.call(listed, mount.readdir(mount.root))
        assert portal.call(mount.lookup_rel, mount.root, name).kind is Kind.DIRECTORY


class TestRemoving:
    def test_kinds(self, mount: Mount, portal: Portal) -> None:
        d = portal.call(mount.mkdir, mount.root, "d")
        f = portal.call(mount.open_file, d, "f", CREATE)
        portal.call(f.write, 0, b"data")
        portal.call(mount.symlink, mount.root, "l", "d")
        refused(errno.ENOENT, portal.call, mount.remove, mount.root, "no")
        refused(errno.EISDIR, portal.call, mount.remove, mount.root, "d", Kind.FILE)
        refused(errno.ENOTDIR, portal.call, mount.remove, d, "f", Kind.DIRECTORY)
        refused(errno.ENOTDIR, portal.call, mount.remove, mount.root, "l", Kind.DIRECTORY)
        with pytest.raises(NotEmptyError):
            portal.call(mount.remove, mount.root, "d")
        assert portal.call(mount.remove, mount.root, "l", Kind.FILE)
        assert portal.call(mount.remove, d, "f") == f.oid
        refused(errno.ENOENT, portal.call, f.stat)
        assert portal.call(f.read, 0, 10) == b""
        assert portal.call(mount.remove, mount.root, "d", Kind.DIRECTORY) == d.oid
        assert portal.call(listed, mount.readdir(mount.root)) == []

    def test_nothing_is_left_of_a_tree(
        self, files: daos.Container, mount: Mount, portal: Portal
    ) -> None:
        before = list(files.objects())
        d = portal.call(mount.mkdir, mount.root, "d")
        for name in "abc":
            inner = portal.call(mount.mkdir, d, name)
            file = portal.call(mount.open_file, inner, "f", CREATE)
            portal.call(file.write, 0, b"data")
            portal.call(mount.symlink, inner, "l", "f")
        portal.call(mount.remove, mount.root, "d", force=True)
        assert portal.call(listed, mount.readdir(mount.root)) == []
        # The root directory has been written to: it holds something now, if nothing but a past.
        assert set(files.objects()) - set(before) <= {mount.root.oid}

    def test_one_of_several_removers_wins(self, mount: Mount, portal: Portal) -> None:
        portal.call(mount.open_file, mount.root, "f", CREATE)
        ends = together(8, lambda _: portal.call(mount.remove, mount.root, "f"))
        assert sum(isinstance(each, daos.ObjectId) for each in ends) == 1
        assert sum(isinstance(each, FileNotFoundError) for each in ends) == 7

    def test_a_name_that_names_something_else(self, mount: Mount, portal: Portal) -> None:
        old = portal.call(mount.open_file, mount.root, "f", CREATE)
        portal.call(mount.remove, mount.root, "f")
        portal.call(mount.open_file, mount.root, "f", CREATE)
        with pytest.raises(StaleFileError):
            portal.call(old.stat)


class TestData:
    def test_punch(self, mount: Mount, portal: Portal) -> None:
        file = portal.call(mount.open_file, mount.root, "f", CREATE)
        for offset, count, size in (
            (10, FILE_SIZE_MAX, 10),
            (9, FILE_SIZE_MAX - 1, 9),
            (9, 5, 9),
            (0, FILE_SIZE_MAX, 0),
        ):
            portal.call(file.punch, offset, count)
            assert portal.call(file.size) == size
        portal.call(file.write, 0, b"0123456789")
        portal.call(file.punch, 2, 3)
        assert portal.call(file.read, 0, 100) == b"01\0\0\x0056789"

    def test_readers_in_strides(self, mount: Mount, portal: Portal) -> None:
        data = os.urandom(25_600)
        file = portal.call(mount.open_file, mount.root, "f", CREATE, chunk_size=64, oclass="S1")
        portal.call(file.write, 0, data)

        def read(number: int) -> bool:
            for offset in range(77 * number, len(data), 77 * 8):
                if portal.call(file.read, offset, 77) != data[offset : offset + 77]:
                    return False
            return True

        assert together(8, read) == [True] * 8

    def test_many_ranges(self, mount: Mount, portal: Portal) -> None:
        file = portal.call(mount.open_file, mount.root, "f", CREATE)
        portal.call(file.array.write_many, [(0, 3), (10, 2)], b"abcde")
        assert portal.call(file.read, 0, 100) == b"abc\0\0\0\0\0\0\0de"
        memory = bytearray(10)
        refused(errno.EINVAL, portal.call, file.array.read_many, [(0, 5)], memory)
        ranges = [(2 * number, 1) for number in range(16385)]
        refused(errno.ENOTSUP, portal.call, file.array.read_many, ranges, bytearray(16385))
        refused(errno.ENOTSUP, portal.call, file.array.write_many, ranges, bytes(16385))

    def test_readers_at_once(self, mount: Mount, portal: Portal) -> None:
        data = os.urandom(256 << 10)
        file = portal.call(mount.open_file, mount.root, "f", CREATE)
        portal.call(file.write, 0, data)

        async def read() -> bool:
            parts = await asyncio.gather(*(file.read(8192 * n, 8192) for n in range(32)))
            return b"".join(parts) == data

        assert together(8, lambda _: portal.call(read)) == [True] * 8

    def test_readers_that_give_up(self, mount: Mount, portal: Portal) -> None:
        size = 1 << 20
        file = portal.call(mount.open_file, mount.root, "f", CREATE)
        portal.call(file.write, 0, bytes(size))

        async def run() -> set[int]:
            sizes = set[int]()
            for number in range(8):
                memory = [bytearray(size) for _ in range(8)]
                reads = [asyncio.ensure_future(file.read(0, size, each)) for each in memory]
                await asyncio.sleep(0.001 * number)
                for read in reads[:-1]:
                    read.cancel()
                ends = await asyncio.gather(*reads, return_exceptions=True)
                sizes.add(ends[-1] if isinstance(ends[-1], int) else -1)
            return sizes

        assert portal.call(run) == {size}

    def test_into_memory(self, mount: Mount, portal: Portal) -> None:
        file = portal.call(mount.open_file, mount.root, "f", CREATE)
        portal.call(file.write, 5, b"there")
        memory = bytearray(b"x" * 20)
        assert portal.call(file.read, 3, 10, memory) == 7
        assert memory == b"\0\0there" + b"x" * 13


class TestListing:
    def test_pages_and_anchors(self, mount: Mount, portal: Portal) -> None:
        for number in range(20):
            portal.call(mount.open_file, mount.root, f"file{number}", CREATE)
            portal.call(mount.mkdir, mount.root, f"dir{number}")
        names = portal.call(listed, mount.readdir(mount.root))
        assert len(set(names)) == len(names) == 40

        async def page(anchor: bytes) -> tuple[list[tuple[str, Kind]], bytes]:
            listing = mount.readdirplus(mount.root, anchor)
            found = []
            async for name, seen in listing:
                found.append((name, Kind(stat.S_IFMT(seen.st_mode))))
                if len(found) == 7:
                    break
            return found, listing.anchor

        seen: dict[str, Kind] = {}
        anchor = b""
        while True:
            found, anchor = portal.call(page, anchor)
            assert not seen.keys() & dict(found).keys()
            seen |= found
            if not found:
                break
        assert list(seen) == names
        assert all((kind is Kind.FILE) == name.startswith("file") for name, kind in seen.items())

    def test_a_split_directory(self, mount: Mount, portal: Portal) -> None:
        wide = portal.call(mount.mkdir, mount.root, "wide", oclass="SX")
        for number in range(40):
            portal.call(mount.mkdir, wide, str(number))
        anchors = mount.anchor_split(wide)
        assert len(anchors) == wide.oid.groups > 1
        parts = [portal.call(listed, mount.readdir(wide, anchor)) for anchor in anchors]
        assert all(parts)
        assert sorted(itertools.chain.from_iterable(parts)) == sorted(map(str, range(40)))

    def test_an_anchor_of_a_name(self, mount: Mount, portal: Portal) -> None:
        for number in range(30):
            portal.call(mount.mkdir, mount.root, str(number))
        names = portal.call(listed, mount.readdir(mount.root))
        name = names[12]
        anchor = portal.call(mount.anchor_at, mount.root, name)
        assert portal.call(listed, mount.readdir(mount.root, anchor)) == names[12:]
        portal.call(mount.remove, mount.root, name)
        assert portal.call(listed, mount.readdir(mount.root, anchor)) == names[13:]
        refused(errno.ENOENT, portal.call, mount.anchor_at, mount.root, name)
        first = portal.call(mount.anchor_at, mount.root, names[0])
        assert len(portal.call(listed, mount.readdir(mount.root, first))) == 29

    def test_what_is_gone_is_left_out(self, mount: Mount, portal: Portal) -> None:
        async def run() -> list[str]:
            for name in "abc":
                await mount.mkdir(mount.root, name)
            listing = mount.readdirplus(mount.root)
            await mount.remove(mount.root, "b")
            return [name async for name, _ in listing]

        assert sorted(portal.call(run)) == ["a", "c"]

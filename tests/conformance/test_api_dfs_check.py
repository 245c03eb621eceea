"""The checker of file systems over any system: `daos.dfs.checker`.

Source: DAOS src/tests/suite/dfs_unit_test.c; dfs_block §9.3 U23, U26
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import Final
from unittest.mock import ANY

import pytest

import daos
from daos.base.ids import ObjectId
from daos.client.append import claims_of
from daos.client.portal import Portal
from daos.dfs import mend
from daos.dfs.checker import Checked, Repair
from daos.dfs.layout import Mark, Role
from daos.dfs.mount import Mount
from daos.dfs.node import File
from daos.dfs.sync import check
from tests.conformance.files import CREATE, refused

KiB, MiB = 1 << 10, 1 << 20
BOTH: Final = Repair.REMOVE | Repair.RELINK


def checked(
    pool: daos.Pool, files: daos.Container, repair: Repair = Repair.NONE, name: str | None = None
) -> Checked:
    """What a check finds of a container that everybody has closed."""
    files.close()
    with pool.container(files.uuid, "ex") as alone:
        return check(alone, repair, name)


def objects(pool: daos.Pool, files: daos.Container) -> int:
    with pool.container(files.uuid, "r") as cont:
        return len(list(cont.objects()))


def lose(files: daos.Container, *names: str, above: ObjectId | None = None) -> None:
    """Take names away and leave their objects."""
    with files.filesystem() as fs:
        root = fs._core.mount.root.oid
    files.object(above or root).punch_dkeys([name.encode() for name in names])


def spoil(files: daos.Container, name: str, offset: int, data: bytes) -> None:
    """Write over a part of an entry in the root."""
    with files.filesystem() as fs:
        root = fs._core.mount.root.oid
    files.object(root).write(name.encode(), b"DFS_INODE", offset, data, record_size=1)


class TestLeaks:
    def test_removed_and_relinked(self, pool: daos.Pool, files: daos.Container) -> None:
        with files.filesystem() as fs:
            for number in range(100):
                fs.mkdir(f"/d{number}")
                fs.write_bytes(f"/d{number}/inner", b"1")
                fs.write_bytes(f"/f{number}", b"2")
        assert objects(pool, files) == 302
        lose(files, *(f"{kind}{number}" for kind in "df" for number in range(10)))
        refused(errno.EBUSY, pool.container, files.uuid, "ex")
        looked = checked(pool, files)
        assert (looked.directories, looked.files, looked.entries) == (90, 180, 270)
        assert len(looked.leaked) == 30
        assert objects(pool, files) == 302  # looked at, no more
        removed = checked(pool, files, Repair.REMOVE | Repair.VERIFY)
        assert (removed.removed, removed.leaked, removed.nbytes) == (30, looked.leaked, 180)
        assert objects(pool, files) == 272
        assert checked(pool, files, Repair.REMOVE).clean

        with pool.container(files.uuid) as again:
            lose(again, *(f"{kind}{number}" for kind in "df" for number in range(10, 20)))
        relinked = checked(pool, files, Repair.RELINK, "tlf")
        assert (len(relinked.leaked), relinked.relinked) == (30, 20)
        assert relinked.below == "/lost+found/tlf"
        assert objects(pool, files) == 274
        with pool.container(files.uuid) as again, again.filesystem() as fs:
            found = list(fs.scandir("/lost+found/tlf"))
            assert sum(each.is_dir() for each in found) == 10
            for each in found:
                mode = 0o40700 if each.is_dir() else 0o100600
                assert (each.stat().st_mode, each.stat().st_uid) == (mode, os.geteuid())
                assert each.name in map(str, relinked.leaked)
                content = f"{each.path}/inner" if each.is_dir() else each.path
                assert fs.read_bytes(content) == (b"1" if each.is_dir() else b"2")
        assert checked(pool, files, Repair.RELINK).clean
        assert objects(pool, files) == 274
        with pool.container(files.uuid, "ex") as alone:
            refused(errno.EEXIST, check, alone, Repair.RELINK, "tlf")

    def test_chunk_sizes(
        self, pool: daos.Pool, files: daos.Container, mount: Mount, portal: Portal
    ) -> None:
        data = [MiB + 1, 32 * KiB, MiB, MiB - 1, 2 * MiB - 3]
        cut = [None, 64 * KiB, 64 * KiB, 2 * MiB, 2 * MiB]
        ids = []
        for number, (size, chunk) in enumerate(zip(data, cut, strict=True)):
            file = portal.call(
                mount.open_file, mount.root, f"f{number}", CREATE, 0o600, chunk_size=chunk
            )
            portal.call(file.write, 0, bytes([number + 1]) * size)
            ids.append(file.oid)
        assert objects(pool, files) == 7
        lose(files, *(f"f{number}" for number in range(5)))
        checked(pool, files, Repair.RELINK, "lost")
        assert objects(pool, files) == 9
        with pool.container(files.uuid) as again:
            files_ = again._portal.call(Mount.open, again._core)
            call = again._portal.call

            def found() -> list[File]:
                nodes = [call(files_.lookup, f"/lost+found/lost/{oid}") for oid in ids]
                return [node for node in nodes if isinstance(node, File)]

            sizes = [MiB + 1, 32 * KiB, 15 * MiB + 64 * KiB, MiB - 1, 2 * MiB - 3]
            assert [call(file.size) for file in found()] == sizes
            assert [file.chunk_size for file in found()] == [MiB, MiB, MiB, MiB, 2 * MiB - 3]
            for oid, chunk in zip(ids, cut, strict=True):
                path = f"/lost+found/lost/{oid}"
                call(mend.fix_chunk_size, files_, path, chunk or MiB)
            assert [call(file.size) for file in found()] == data
            assert call(found()[2].read, 0, 2 * MiB) == b"\3" * MiB
            refused(errno.EINVAL, call, mend.fix_chunk_size, files_, "/lost+found", 4096)
            refused(errno.EINVAL, call, mend.fix_chunk_size, files_, "/lost+found/lost/x", 0)

    def test_trees_and_rings(self, pool: daos.Pool, files: daos.Container) -> None:
        """A tree comes by its top; of directories that name each other one becomes the top."""
        with files.filesystem() as fs:
            fs.makedirs("/top/middle/low")
            fs.write_bytes("/top/middle/low/file", b"x")
            fs.makedirs("/ring/a/b")
            fs.write_bytes("/ring/a/b/file", b"y")
            fs.symlink("nowhere", "/ring/a/link")
            top, ring = fs.info("/top").oid, fs.info("/ring").oid
            low = fs.info("/ring/a").oid
            entry = files.object(ring).read(b"a", b"DFS_INODE", 0, 88)
            inner = fs.info("/ring/a/b").oid
            files.object(inner).write(b"back", b"DFS_INODE", 0, entry, record_size=1)
        lose(files, "top")
        lose(files, "a", above=ring)
        found = checked(pool, files, Repair.RELINK, "x")
        assert (len(found.leaked), found.relinked) == (7, 2)
        (problem,) = found.damaged  # the ring is told of
        assert problem[0] == f"/lost+found/x/{min(low, inner)}"
        with pool.container(files.uuid) as again, again.filesystem() as fs:
            inside = "b/file" if low < inner else "file"
            assert fs.read_bytes(f"/lost+found/x/{min(low, inner)}/{inside}") == b"y"
            assert fs.read_bytes(f"/lost+found/x/{top}/middle/low/file") == b"x"

    def test_claims_are_of_their_file(self, pool: daos.Pool, files: daos.Container) -> None:
        """What appenders that died left beside a file is no leak, and goes with it."""
        with files.filesystem() as fs:
            for name in ("kept", "lost"):
                fs.write_bytes(f"/{name}", b"x")
                claims = claims_of(fs.info(f"/{name}").oid)
                files.object(claims).update(0, b"0", bytes(8))
        assert checked(pool, files).clean
        with pool.container(files.uuid) as again:
            lose(again, "lost")
        assert len(checked(pool, files, Repair.REMOVE).leaked) == 1
        assert objects(pool, files) == 4  # superblock, root, file and claims

    def test_what_no_file_can_be(self, pool: daos.Pool, files: daos.Container) -> None:
        """It is told, left alone by RELINK, which makes no directory for it, and removed."""
        other = files.new_oid("KV_LEXICAL")
        files.object(other).update(b"key", b"0", b"value")
        for _ in range(2):
            found = checked(pool, files, Repair.RELINK, "same")
            assert (found.leaked, found.relinked, found.below) == ((other,), 0, "")
        assert checked(pool, files, Repair.REMOVE).removed == 1
        assert checked(pool, files).clean

    def test_used_wrongly(
        self, pool: daos.Pool, files: daos.Container, cont: daos.Container
    ) -> None:
        refused(errno.EINVAL, check, files)  # not alone
        files.close()
        cont.close()
        with pool.container(files.uuid, "ex") as alone:
            refused(errno.EINVAL, check, alone, BOTH)
            refused(errno.EINVAL, check, alone, Repair.RELINK, "a/b")
            refused(errno.EINVAL, check, alone, Repair.RELINK, "")
        with pool.container(cont.uuid, "ex") as other:
            refused(errno.EINVAL, check, other)  # no file system


class TestDamage:
    def test_a_wrong_type(self, pool: daos.Pool, files: daos.Container) -> None:
        """Its object, and what is below, do not pass for nameless; fix-entry puts it right."""
        with files.filesystem() as fs:
            fs.makedirs("/d/e")
            fs.write_bytes("/d/e/f", b"content")
            fs.write_bytes("/f", b"content")
        spoil(files, "d", 0, (0o100644).to_bytes(4, "little"))
        spoil(files, "f", 0, bytes(4))
        before = objects(pool, files)
        found = checked(pool, files, Repair.REMOVE)
        assert [path for path, _ in found.damaged] == ["/d", "/f"]
        assert (found.leaked, objects(pool, files)) == ((), before)
        with pool.container(files.uuid) as again:
            call = again._portal.call
            mount = call(Mount.open, again._core)
            refused(errno.ENOENT, call, mend.fix_type, mount, "/none")
            for path in ("/d", "/f"):
                assert call(mend.fix_type, mount, path)
                assert not call(mend.fix_type, mount, path)
            with again.filesystem() as fs:
                assert fs.read_bytes("/d/e/f") == fs.read_bytes("/f") == b"content"
                assert fs.stat("/d").st_mode == 0o40700
        assert checked(pool, files).clean

    def test_an_id_without_a_class(self, pool: daos.Pool, files: daos.Container) -> None:
        """The file's object seems to have no name: it is not removed."""
        with files.filesystem() as fs:
            fs.write_bytes("/f", b"content")
            oid = fs.info("/f").oid
        spoil(files, "f", 12, (13 << 56).to_bytes(8, "little"))
        for _ in range(2):
            looked = checked(pool, files, Repair.VERIFY)
            assert [path for path, _ in looked.damaged] == ["/f"]
            assert looked.leaked == (oid,)
            with pool.container(files.uuid, "ex") as alone:
                refused(errno.EIO, check, alone, Repair.REMOVE)

    @pytest.mark.parametrize("hi", [0xFF << 56, 0])
    def test_nothing_is_removed_where_the_tree_cannot_be_read(
        self, pool: daos.Pool, files: daos.Container, hi: int
    ) -> None:
        with files.filesystem() as fs:
            fs.makedirs("/d/e")
            fs.write_bytes("/d/e/f", b"content")
        spoil(files, "d", 12, hi.to_bytes(8, "little"))
        looked = checked(pool, files)
        assert [path for path, _ in looked.damaged] == ["/d"]
        assert len(looked.leaked) == 3
        with pool.container(files.uuid, "ex") as alone:
            error = refused(errno.EIO, check, alone, Repair.REMOVE)
            assert "/d" in error.message
        assert objects(pool, files) == 5
        relinked = checked(pool, files, Repair.RELINK, "saved")
        assert relinked.relinked == 1
        with pool.container(files.uuid) as again, again.filesystem() as fs:
            (top,) = fs.listdir("/lost+found/saved")
            assert fs.read_bytes(f"/lost+found/saved/{top}/e/f") == b"content"

    def test_two_names(self, pool: daos.Pool, files: daos.Container) -> None:
        with files.filesystem() as fs:
            fs.write_bytes("/a", b"content")
            root = fs._core.mount.root.oid
        obj = files.object(root)
        obj.write(b"b", b"DFS_INODE", 0, obj.read(b"a", b"DFS_INODE", 0, 88), record_size=1)
        for repair in (Repair.NONE, Repair.REMOVE):
            assert checked(pool, files, repair).damaged == (
                ("/a", "its object is also that of /b"),
            )

    def test_marks(self, pool: daos.Pool, files: daos.Container) -> None:
        """Of two names of which one is marked that one goes; a mark alone goes, and its name stays.

        A mark that says nothing is damage.
        """
        with files.filesystem() as fs:
            for name in ("plain", "alone", "odd"):
                fs.write_bytes(f"/{name}", name.encode())
            root = fs._core.mount.root.oid
        obj = files.object(root)
        entry = obj.read(b"plain", b"DFS_INODE", 0, 88)
        obj.write(b"marked", b"DFS_INODE", 0, entry, record_size=1)
        mark = Mark(role=Role.SOURCE, token=bytes(16), until_ns=1, directory=root, name=b"none")
        for marked in (b"marked", b"alone"):
            obj.update(marked, b"DFS_MOVE", mark.emit())
        obj.update(b"odd", b"DFS_MOVE", b"?" * 60)
        looked = checked(pool, files)
        assert looked.moves == 2
        assert [path for path, _ in looked.damaged] == ["/marked", "/odd"]
        assert checked(pool, files) == replace(looked, marked_ns=ANY)
        assert [path for path, _ in checked(pool, files, Repair.REMOVE).damaged] == ["/odd"]
        assert checked(pool, files).moves == 0
        with pool.container(files.uuid) as again, again.filesystem() as fs:
            assert {name: fs.read_bytes(f"/{name}") for name in fs.listdir()} == {
                "plain": b"plain",
                "alone": b"alone",
                "odd": b"odd",
            }

    def test_data_behind_its_chunks(self, pool: daos.Pool, files: daos.Container) -> None:
        with files.filesystem() as fs:
            fs.write_bytes("/f", bytes(10_000))
        spoil(files, "f", 36, (4096).to_bytes(8, "little"))
        found = checked(pool, files, Repair.VERIFY)
        assert found.damaged == (
            ("/f", "data lies behind its chunks of 4096 bytes: another chunk size"),
        )

"""Files by path over any system: `daos.FileSystem`.

Source: DAOS src/tests/suite/dfs_sys_unit_test.c, dfs_par_test.c
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import pytest

import daos
from tests.conformance.files import refused, together


@pytest.fixture
def fs(files: daos.Container) -> Iterator[daos.FileSystem]:
    with files.filesystem() as fs:
        yield fs


class TestNames:
    def test_made_and_removed(self, fs: daos.FileSystem) -> None:
        for path in ("/dir1", "/dir1/dir2", "/dir1/dir2/dir3"):
            fs.mkdir(path)
        fs.symlink("dir1", "/link")
        for path in ("/dir1", "/dir1/dir2", "/link"):
            refused(errno.EEXIST, fs.mkdir, path)
            refused(errno.EEXIST, fs.symlink, "x", path)
        refused(errno.ENOTEMPTY, fs.rmdir, "/dir1")
        refused(errno.EISDIR, fs.remove, "/dir1")
        refused(errno.ENOTDIR, fs.rmdir, "/link")
        fs.open("/dir1/file", "x").close()
        refused(errno.EEXIST, fs.open, "/dir1/file", "x")
        refused(errno.EEXIST, fs.mkdir, "/dir1/file")
        fs.remove("/dir1/file")
        for path in ("/dir1/dir2/dir3", "/dir1/dir2", "/dir1"):
            fs.rmdir(path)
        fs.unlink("/link")
        assert fs.listdir() == []

    def test_a_tree_goes_at_once(self, fs: daos.FileSystem) -> None:
        fs.makedirs("/a/b/c/d")
        for number in range(20):
            fs.write_bytes(f"/a/b/{number}", b"x" * number)
        fs.rmtree("/a/b")
        assert fs.listdir("/a") == []
        refused(errno.ENOENT, fs.rmtree, "/a/b")
        fs.rmtree("/a/b", True)
        refused(errno.EBUSY, fs.rmtree, "/")

    def test_makedirs(self, fs: daos.FileSystem) -> None:
        fs.makedirs("/a/b/c")
        refused(errno.EEXIST, fs.makedirs, "/a/b/c")
        fs.makedirs("/a/b/c", exist_ok=True)
        fs.makedirs("/", exist_ok=True)
        fs.touch("/a/file")
        refused(errno.ENOTDIR, fs.makedirs, "/a/file/x/y")
        refused(errno.EEXIST, fs.makedirs, "/a/file", 0o755, True)

    def test_many_names(self, fs: daos.FileSystem) -> None:
        names = [f"sub{number:02}" for number in range(25)]
        for name in names:
            fs.mkdir(f"/{name}")
        assert sorted(fs.listdir("/")) == names
        with fs.scandir() as entries:
            first = next(entries)
            assert first.is_dir()
            assert first.path == f"/{first.name}"
        assert next(entries, None) is None
        assert sorted(entry.name for entry in fs.scandir("/")) == names

    def test_names_of_other_bytes(self, fs: daos.FileSystem) -> None:
        fs.touch(b"/\xff\xfe")
        fs.touch("/größe")
        assert sorted(fs.listdir(b"/")) == ["größe".encode(), b"\xff\xfe"]
        assert sorted(fs.listdir("/")) == ["größe", "\udcff\udcfe"]
        assert fs.exists("/\udcff\udcfe")
        fs.symlink(b"\xff\xfe", b"/link")
        assert fs.readlink(b"/link") == b"\xff\xfe"
        assert fs.readlink("/link") == "\udcff\udcfe"
        assert fs.isfile(PurePosixPath("/link"))

    def test_links(self, fs: daos.FileSystem) -> None:
        fs.write_text("/file1", "content")
        fs.symlink("file1", "/link")
        fs.symlink("/gone", "/broken")
        refused(errno.EINVAL, fs.readlink, "/file1")
        assert fs.readlink("/link") == "file1"
        assert stat.S_ISREG(fs.stat("/link").st_mode)
        assert stat.S_ISLNK(fs.lstat("/link").st_mode)
        assert fs.lstat("/link").st_size == len("file1")
        assert fs.read_text("/link") == "content"
        refused(errno.ENOENT, fs.stat, "/broken")
        entries = {entry.name: entry for entry in fs.scandir("/")}
        assert entries["link"].is_file()
        assert entries["link"].is_symlink()
        assert not entries["link"].is_file(follow_symlinks=False)
        assert entries["link"].stat() == fs.stat("/file1")
        assert entries["link"].stat(follow_symlinks=False) == fs.lstat("/link")
        assert entries["link"].inode() == fs.lstat("/link").st_ino
        assert not entries["broken"].is_file()
        refused(errno.ENOENT, entries["broken"].stat)
        fs.write_text("/broken", "made where it points to")
        assert fs.read_text("/gone") == "made where it points to"

    def test_paths_that_are_none(self, fs: daos.FileSystem) -> None:
        with pytest.raises(ValueError, match="must begin with /"):
            fs.mkdir("relative")
        with pytest.raises(ValueError, match="must begin with /"):
            fs.exists("relative")
        with pytest.raises(ValueError, match="null byte"):
            fs.stat("/a\0b")
        with pytest.raises(FileNotFoundError):
            fs.stat("")
        with pytest.raises(TypeError):
            fs.stat(3)  # type: ignore[arg-type]  # a mistake
        refused(errno.ENAMETOOLONG, fs.mkdir, "/" + "n" * 256)
        refused(errno.ENAMETOOLONG, fs.stat, "/n" * 2048)
        fs.mkdir("/" + "n" * 255)

    def test_errors_name_the_path(self, fs: daos.FileSystem) -> None:
        error = refused(errno.ENOENT, fs.open, "/no/such/file")
        assert isinstance(error, FileNotFoundError)
        assert error.filename == "/no/such/file"
        assert "'/no/such/file'" in str(error)
        error = refused(errno.ENOENT, fs.symlink, "target", "/no/link")
        assert (error.filename, error.filename2) == ("target", "/no/link")
        assert refused(errno.ENOENT, fs.listdir, b"/no").filename == b"/no"

    def test_renamed(self, fs: daos.FileSystem) -> None:
        fs.makedirs("/a/b")
        fs.write_text("/a/f", "one")
        fs.write_text("/g", "two")
        fs.setxattr("/a/f", "user.x", b"goes along")
        fs.rename("/a/f", "/g")
        assert (fs.read_text("/g"), fs.getxattr("/g", "user.x")) == ("one", b"goes along")
        refused(errno.EINVAL, fs.rename, "/a", "/a/b/c")
        refused(errno.EBUSY, fs.rename, "/", "/b")
        error = refused(errno.ENOENT, fs.rename, "/a/f", "/h")
        assert (error.filename, error.filename2) == ("/a/f", "/h")
        fs.rename("/a", "/z")
        assert fs.listdir("/z") == ["b"]
        fs.exchange("/z", "/g")
        assert fs.read_text("/z") == "one"
        assert fs.listdir("/g") == ["b"]
        refused(errno.ENOENT, fs.exchange, "/z", "/missing")
        assert fs.path("/z").rename("/g/z").read_text() == "one"


class TestAttributes:
    def test_access(self, fs: daos.FileSystem) -> None:
        fs.mkdir("/dir", 0o755)
        fs.open("/file", "x", permissions=0).close()
        fs.symlink("file", "/link")
        assert fs.access("/dir", os.R_OK | os.W_OK)
        assert fs.access("/file")
        assert not fs.access("/file", os.R_OK)
        assert not fs.access("/link", os.R_OK | os.W_OK)
        assert fs.access("/link", os.R_OK, follow_symlinks=False)
        assert not fs.access("/missing")
        fs.chmod("/link", 0o600)
        assert fs.access("/file", os.R_OK | os.W_OK)
        assert not fs.access("/file", os.X_OK)
        assert fs.access("/link", os.R_OK | os.W_OK)

    def test_times(self, fs: daos.FileSystem) -> None:
        fs.touch("/file")
        fs.symlink("file", "/link")
        fs.utime("/link", ns=(1, 2_000_000_003))
        assert fs.stat("/file").st_mtime_ns == 2_000_000_003
        fs.utime("/link", (5, 7.5), follow_symlinks=False)
        assert fs.lstat("/link").st_mtime == 7.5
        assert fs.stat("/file").st_mtime_ns == 2_000_000_003
        before = fs.stat("/file").st_ctime_ns
        fs.touch("/file")
        assert fs.stat("/file").st_mtime_ns > before
        refused(errno.EEXIST, fs.touch, "/file", 0o644, False)
        refused(errno.EINVAL, lambda: fs.utime("/file", (1, 1), ns=(1, 1)))

    def test_owners(self, fs: daos.FileSystem) -> None:
        fs.touch("/file")
        fs.symlink("file", "/link")
        fs.chown("/link", 3, -1)
        fs.chown("/link", -1, 4)
        before = fs.stat("/file")
        assert (before.st_uid, before.st_gid) == (3, 4)
        fs.chown("/file", -1, -1)
        assert fs.stat("/file") == before
        fs.chown("/link", 5, 6, follow_symlinks=False)
        assert (fs.lstat("/link").st_uid, fs.stat("/link").st_uid) == (5, 3)

    def test_attributes(self, fs: daos.FileSystem) -> None:
        fs.touch("/file")
        fs.symlink("file", "/link")
        assert fs.listxattr("/link") == []
        refused(errno.ENODATA, fs.getxattr, "/link", "user.a")
        fs.setxattr("/link", "user.a", b"")
        fs.setxattr("/link", b"user.b", b"value")
        fs.setxattr("/link", "user.l", b"of the link", follow_symlinks=False)
        assert fs.listxattr("/file") == ["user.a", "user.b"]
        assert fs.listxattr("/link", follow_symlinks=False) == ["user.l"]
        assert (fs.getxattr("/link", "user.a"), fs.getxattr("/file", "user.b")) == (b"", b"value")
        refused(errno.EEXIST, fs.setxattr, "/file", "user.a", b"", os.XATTR_CREATE)
        refused(errno.ENODATA, fs.setxattr, "/file", "user.c", b"", os.XATTR_REPLACE)
        refused(errno.EINVAL, fs.setxattr, "/file", "user.c", b"", 7)
        refused(errno.E2BIG, fs.setxattr, "/file", "user.c", bytes(65537))
        for name in ("user.a", "user.b"):
            fs.removexattr("/link", name)
        refused(errno.ENODATA, fs.removexattr, "/link", "user.a")
        assert fs.listxattr("/file") == []

    def test_what_is_stored_how(self, fs: daos.FileSystem) -> None:
        fs.mkdir("/dir")
        assert fs.info("/dir").chunk_size == 1 << 20
        fs.set_chunk_size("/dir", 1 << 16)
        fs.set_object_class("/dir", "S1")
        fs.touch("/dir/file")
        fs.mkdir("/dir/sub")
        found = fs.info("/dir/file")
        assert (found.chunk_size, found.oclass) == (1 << 16, "S1")
        assert found.oid == fs.stat("/dir/file").oid
        below = fs.info("/dir/sub")
        assert (below.chunk_size, below.file_oclass, below.dir_oclass) == (1 << 16, "S1", "S1")
        fs.set_chunk_size("/dir", None)
        fs.set_object_class("/dir", None)
        assert fs.info("/dir").chunk_size == 1 << 20
        fs.open("/dir/other", "xb", chunk_size=4096, oclass="S1").close()
        assert fs.info("/dir/other").chunk_size == 4096
        refused(errno.ENOTDIR, fs.set_chunk_size, "/dir/file", 1)
        refused(errno.EINVAL, fs.set_object_class, "/dir", "S0")
        fs.symlink("dir", "/link")
        assert fs.info("/link", follow_symlinks=False).chunk_size == 0

    def test_the_root_as_others_have_changed_it(
        self, files: daos.Container, fs: daos.FileSystem
    ) -> None:
        with files.filesystem() as other:
            for mode in (0o700, 0o755):
                other.chmod("/", mode)
                assert stat.S_IMODE(fs.stat("/").st_mode) == mode
                assert stat.S_IMODE(other.stat("/").st_mode) == mode
            other.chmod("/", 0)
            assert not fs.access("/", os.R_OK)
            other.set_chunk_size("/", 1 << 14)
            assert fs.info("/").chunk_size == 1 << 14
            other.set_chunk_size("/", 1 << 15)
            fs.touch("/f")
            fs.mkdir("/d")
            assert fs.info("/f").chunk_size == fs.info("/d").chunk_size == 1 << 15

    def test_space(self, fs: daos.FileSystem) -> None:
        space = fs.statvfs()
        assert space.f_bsize == space.f_frsize == 1 << 20
        assert space.f_blocks >= space.f_bfree == space.f_bavail > 0
        assert space.f_namemax == 255
        refused(errno.ENOENT, fs.statvfs, "/missing")


class TestContent:
    def test_bytes(self, fs: daos.FileSystem) -> None:
        data = bytes(range(256)) * 9000  # over two chunks
        assert fs.write_bytes("/f", data) == len(data)
        assert fs.read_bytes("/f") == data
        with fs.open("/f", "rb") as file:
            assert file.read() == data
            file.seek(1 << 20)
            assert file.read(10) == data[1 << 20 : (1 << 20) + 10]
        with fs.open("/f", "r+b") as file:
            file.seek(100)
            file.write(b"here")
            file.seek(98)
            assert file.read(8) == data[98:100] + b"here" + data[104:106]
            assert file.truncate(200) == 200
        assert fs.stat("/f").st_size == 200
        fs.truncate("/f", 0)
        assert fs.read_bytes("/f") == b""
        fs.truncate("/f", 3)
        assert fs.read_bytes("/f") == bytes(3)
        refused(errno.EISDIR, fs.read_bytes, "/")
        refused(errno.EISDIR, fs.open, "/", "rb")
        refused(errno.EISDIR, fs.truncate, "/", 1)
        fs.write_bytes("/f", b"short")
        assert fs.read_bytes("/f") == b"short"

    def test_text(self, fs: daos.FileSystem) -> None:
        with fs.open("/t", "w", newline="\r\n") as file:
            print("über", file=file)
            print("fluss", file=file)
        assert fs.read_bytes("/t") == "über\r\nfluss\r\n".encode()
        assert fs.read_text("/t") == "über\nfluss\n"
        with fs.open("/t", encoding="latin-1") as file:
            assert file.readline() == "Ã¼ber\n"
            assert (file.name, file.mode) == ("/t", "r")
            with pytest.raises(io.UnsupportedOperation):
                file.fileno()
            with pytest.raises(io.UnsupportedOperation):
                file.write("x")
        assert fs.write_text("/t", "ä\n", "latin-1", newline="\r\n") == 2
        assert fs.read_bytes("/t") == b"\xe4\r\n"
        with pytest.raises(UnicodeDecodeError):
            fs.read_text("/t")
        with pytest.raises(TypeError):
            fs.write_text("/t", b"bytes")  # type: ignore[arg-type]  # a mistake

    def test_in_place(self, fs: daos.FileSystem) -> None:
        fs.write_bytes("/f", b"0123456789")
        memory = bytearray(b"-" * 12)
        with fs.open("/f", "rb", 0) as file:
            assert isinstance(file, io.RawIOBase)
            assert file.readinto(memoryview(memory)[:4]) == 4
            assert file.readinto(memoryview(memory)[4:]) == 6
            assert file.readinto(memory) == 0
        assert memory == b"0123456789--"

    def test_modes(self, fs: daos.FileSystem) -> None:
        for mode in ("", "rw", "rbt", "z"):
            with pytest.raises(ValueError, match="mode"):
                fs.open("/f", mode)
        with pytest.raises(ValueError, match="encoding"):
            fs.open("/f", "rb", encoding="utf-8")
        with pytest.raises(ValueError, match="unbuffered"):
            fs.open("/f", "w", 0)
        assert not fs.exists("/f")

    def test_appending(self, fs: daos.FileSystem) -> None:
        with fs.open("/log", "a") as one, fs.open("/log", "a") as other:
            one.write("1\n")
            other.write("2\n")
            other.flush()
            one.flush()
            other.write("3\n")
        assert fs.read_text("/log") == "2\n1\n3\n"
        with fs.open("/log", "a+b") as file:
            assert file.tell() == 6
            file.seek(0)
            assert file.read(1) == b"2"
            file.write(b"end")
        assert fs.read_bytes("/log").endswith(b"3\nend")

    def test_several_who_append_lose_nothing(self, fs: daos.FileSystem) -> None:
        def write(who: int) -> None:
            with fs.open("/log", "ab") as file:
                for line in range(10):
                    file.write(b"%d:%d\n" % (who, line))
                    file.flush()

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(write, range(4)))
        lines = fs.read_text("/log").splitlines()
        assert sorted(lines) == sorted(f"{who}:{line}" for who in range(4) for line in range(10))

    def test_short_reads(self, fs: daos.FileSystem) -> None:
        with fs.open("/f", "w+b", 0, chunk_size=2000) as file:
            assert file.read(1024) == b""
            file.write(b"x" * 1024)
            file.seek(0)
            assert file.read(1124) == b"x" * 1024
            file.seek(2048)
            file.write(b"y" * 1024)
            file.seek(0)
            assert file.read(1 << 16) == b"x" * 1024 + bytes(1024) + b"y" * 1024
            file.truncate(2 << 20)
            file.seek(5000)
            assert file.read(10240) == bytes(10240)
            file.truncate(0)
            assert file.read(1) == b""
            file.seek(0)
            file.write(b"z")
            file.seek(3 << 20)
            file.write(b"z")
            file.seek(1 << 20)
            assert file.read(1024) == bytes(1024)


class TestTogether:
    def test_one_of_several_makers_wins(self, fs: daos.FileSystem) -> None:
        for make in (lambda _: fs.open("/f", "x").close(), lambda _: fs.mkdir("/d")):
            assert sorted(together(8, make), key=repr).count(None) == 1
        for remove in (lambda _: fs.remove("/f"), lambda _: fs.rmdir("/d")):
            assert sorted(together(8, remove), key=repr).count(None) == 1
        assert fs.listdir() == []

    def test_one_of_several_renamers_wins(self, fs: daos.FileSystem) -> None:
        fs.write_text("/f", "once")
        found = together(6, lambda number: fs.rename("/f", f"/to{number}"))
        assert found.count(None) == 1
        errors = [error for error in found if error is not None]
        assert all(isinstance(error, FileNotFoundError) for error in errors), errors
        (name,) = fs.listdir()
        assert name == f"to{found.index(None)}"
        assert fs.read_text(f"/{name}") == "once"

    def test_makers_who_do_not_mind_get_the_same(self, fs: daos.FileSystem) -> None:
        ids = set[object]()
        for _ in range(2):
            found = together(8, lambda _: (fs.open("/f", "a").close(), fs.info("/f").oid)[1])
            assert len(set(found)) == 1
            ids.add(found[0])
            fs.remove("/f")
        assert len(ids) == 2

    def test_one_of_several_creators_of_a_container_wins(self, pool: daos.Pool) -> None:
        found = together(4, lambda _: pool.create_container("several", type="POSIX"))
        made = [cont for cont in found if isinstance(cont, daos.Container)]
        assert len(made) == 1
        for cont in (made[0], pool.container("several")):
            with cont.filesystem() as fs:
                assert fs.listdir() == []
            cont.close()
        pool.destroy_container("several")

    def test_threads_share_one(self, fs: daos.FileSystem) -> None:
        numbers = itertools.count()
        lock = threading.Lock()

        def work(_: int) -> None:
            for _ in range(5):
                with lock:
                    number = next(numbers)
                fs.makedirs(f"/{number % 3}/{number}")
                fs.write_bytes(f"/{number % 3}/{number}/f", b"%d" % number)
                assert fs.read_bytes(f"/{number % 3}/{number}/f") == b"%d" % number

        together(6, work)
        assert sum(len(fs.listdir(f"/{top}")) for top in range(3)) == 30


class TestLife:
    def test_a_view_is_read_only(self, files: daos.Container, fs: daos.FileSystem) -> None:
        fs.write_text("/f", "before")
        files.snapshot("one")
        fs.write_text("/f", "after")
        fs.touch("/new")
        with files.at("one") as view, view.filesystem() as then:
            assert then.read_text("/f") == "before"
            assert then.listdir() == ["f"]
            assert not then.access("/f", os.W_OK)
            assert then.statvfs().f_flag & os.ST_RDONLY
            for change in (
                lambda: then.open("/f", "w"),
                lambda: then.mkdir("/d"),
                lambda: then.remove("/f"),
                lambda: then.touch("/f"),
                lambda: then.chmod("/f", 0o600),
            ):
                error = refused(errno.EPERM, change)
                assert error.filename in ("/f", "/d")

    def test_closed(self, files: daos.Container) -> None:
        fs = files.filesystem("r")
        refused(errno.EPERM, fs.mkdir, "/d")
        fs.close()
        with pytest.raises(daos.StaleHandleError):
            fs.listdir()
        with files.filesystem() as fs:
            file = fs.open("/f", "wb", 0)
        with pytest.raises(daos.StaleHandleError):
            file.write(b"x")
        with pytest.raises(ValueError, match="mode"):
            files.filesystem("w")  # type: ignore[arg-type]  # a mistake

    def test_a_container_without_files(self, cont: daos.Container) -> None:
        with pytest.raises(daos.InvalidError, match="POSIX"):
            cont.filesystem()

    def test_every_call_has_a_deadline(self, fs: daos.FileSystem) -> None:
        with pytest.raises(daos.DeadlineError) as caught:
            fs.stat("/", timeout=1e-9)
        assert caught.value.filename == "/"
        with pytest.raises(daos.InvalidError, match="timeout"):
            fs.exists("/", timeout=-1)

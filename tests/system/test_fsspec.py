"""`daos://` by an agent, as programs use it: threads, loops, processes, mistakes."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import fsspec
import pytest
from fsspec.callbacks import Callback

import daos
from daos.dfs import whole
from daos.dfs.node import File
from daos.dfs.spec import DaosFileSystem
from daos.embedded.remote import connect
from daos.testing.served import Served
from tests.system.agent import SmallAgent

HOME = "daos://tank/home"


@contextmanager
def served_home() -> Iterator[Path]:
    """A served system with a container, `daos://tank/home`; where its agent listens."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = Path(name)
        with (
            Served(directory, "--targets", "2") as served,
            SmallAgent(directory, directory / "s") as agent,
        ):
            with connect(served.address) as system:
                system.admin.pool_create("tank", size="256MiB")
                with system.connect() as client, client.pool("tank") as pool:
                    pool.create_container("home", type="POSIX").close()
            yield agent.socket.parent


@pytest.fixture(scope="module")
def fs() -> Iterator[DaosFileSystem]:
    with served_home() as sockets, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAOS_AGENT_DRPC_DIR", str(sockets))
        fs = DaosFileSystem("tank", "home")
        yield fs
        DaosFileSystem.clear_instance_cache()
        fs.close()


def test_by_address(fs: DaosFileSystem) -> None:
    with fsspec.open(f"{HOME}/by/address.txt", "w") as file:
        file.write("öne\ntwo\n")
    with fsspec.open(f"{HOME}/by/address.txt", "r", encoding="utf-8") as file:
        assert file.readlines() == ["öne\n", "two\n"]
    with fsspec.open(f"{HOME}/by/a.gz", "wb", compression="gzip") as file:
        file.write(b"x" * 10000)
    assert fs.size("/by/a.gz") < 1000
    assert fs.glob("/by/*.txt") == ["/by/address.txt"]
    mapper = fsspec.get_mapper(f"{HOME}/mapped")
    mapper["a/b"] = b"value"
    assert dict(mapper) == {"a/b": b"value"}
    assert fs.files.read_bytes("/mapped/a/b") == b"value"


def test_ranges_as_slices(fs: DaosFileSystem) -> None:
    data = bytes(range(100))
    fs.pipe_file("/ranges", data)
    bounds = [None, 0, 1, 50, 99, 100, 200, -1, -50, -100, -200]
    for start, end in product(bounds, bounds):
        assert fs.cat_file("/ranges", start, end) == data[start:end], (start, end)
    assert fs.cat_ranges(["/ranges", "/none"], [3, 0], [5, 1])[0] == data[3:5]
    assert isinstance(fs.cat_ranges(["/none"], [0], [1])[0], FileNotFoundError)


def test_modes_of_files(fs: DaosFileSystem) -> None:
    with fs.open("/modes", "xb") as file:
        file.write(b"0123456789")
    with fs.open("/modes", "r+b") as file:
        file.seek(5)
        file.write(b"five")
    with fs.open("/modes", "ab") as file:
        file.write(b"end")
    with fs.open("/modes", "rb", block_size=4) as file:
        assert (file.size, file.path, file.read()) == (13, "/modes", b"01234five9end")
        file.seek(-3, 2)
        assert file.read1(2) == b"en"
    fs.touch("/modes", truncate=False)
    assert fs.size("/modes") == 13
    fs.touch("/modes")
    assert fs.size("/modes") == 0


def test_readers_see_whole_contents(fs: DaosFileSystem) -> None:
    contents = [b"a" * 30_000, b"b" * 50]
    fs.pipe_file("/whole", contents[1])
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(lambda: [fs.pipe_file("/whole", each) for each in contents * 10])
        while not written.done():
            assert fs.cat_file("/whole") in contents
        written.result()
    assert [name for name in fs.files.listdir("/") if "draft" in name] == []


@pytest.mark.parametrize("start", [None, 1])
def test_a_file_replaced_between_its_opening_and_its_reading(
    fs: DaosFileSystem, monkeypatch: pytest.MonkeyPatch, start: int | None
) -> None:
    fs.pipe_file("/raced", b"old")
    plain, news = whole._read, [b"newer", b"new"]

    async def racing(file: File, first: int, last: int | None) -> tuple[bytes, bool]:
        if news:
            await whole.write(fs.files._core, "/raced", news.pop(), replace=True)
        return await plain(file, first, last)

    monkeypatch.setattr(whole, "_read", racing)
    assert fs.cat_file("/raced", start, 100) == b"newer"[start:]
    news.extend([b"again"] * 8)
    with pytest.raises(daos.BusyError, match="replaced all the time"):
        fs.cat_file("/raced")


def test_a_transaction_is_seen_at_its_end(fs: DaosFileSystem) -> None:
    fs.makedirs("/tx")
    fs.pipe_file("/tx/old", b"old")
    with fs.transaction:
        for name in ("old", "new"):
            with fs.open(f"/tx/{name}", "wb") as file:
                file.write(b"new")
        assert (fs.exists("/tx/new"), fs.cat_file("/tx/old")) == (False, b"old")
        with pytest.raises(FileExistsError):
            fs.open("/tx/old", "xb")
        with pytest.raises(ValueError, match="only whole files"):
            fs.open("/tx/old", "ab")
    assert fs.cat("/tx/*") == {"/tx/old": b"new", "/tx/new": b"new"}
    fs.start_transaction()
    fs.open("/tx/old", "wb").write(b"lost")
    fs.transaction.complete(commit=False)
    assert fs.cat_file("/tx/old") == b"new"
    assert sorted(fs.ls("/tx", detail=False)) == ["/tx/new", "/tx/old"]


def test_large_files_in_and_out(fs: DaosFileSystem, tmp_path: Path) -> None:
    data = os.urandom(1 << 16) * (whole.PIECE // (1 << 16)) + b"tail"
    (tmp_path / "in").write_bytes(data)
    there, back = Callback(), Callback()
    fs.put_file(tmp_path / "in", "/large/in", callback=there)
    with pytest.raises(FileExistsError):
        fs.put_file(tmp_path / "in", "/large/in", mode="create")
    fs.cp_file("/large/in", "/large/copy")
    fs.get_file("/large/copy", str(tmp_path / "out"), callback=back)
    assert (tmp_path / "out").read_bytes() == data
    assert (there.size, there.value) == (back.size, back.value) == (len(data), len(data))
    memory = io.BytesIO()
    fs.get_file("/large/in", memory)
    assert memory.getvalue() == data
    assert sorted(fs.ls("/large", detail=False)) == ["/large/copy", "/large/in"]
    with pytest.raises(FileNotFoundError):
        fs.get_file("/none", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_symlinks(fs: DaosFileSystem) -> None:
    fs.pipe_file("/links/tree/file", b"content")
    fs.files.symlink("/links", "/links/tree/loop")
    fs.files.symlink("file", "/links/tree/same")
    fs.files.symlink("nowhere", "/links/tree/dead")
    kinds = {each["name"]: (each["type"], each["islink"]) for each in fs.ls("/links/tree")}
    assert kinds == {
        "/links/tree/file": ("file", False),
        "/links/tree/same": ("file", True),
        "/links/tree/loop": ("other", True),
        "/links/tree/dead": ("other", True),
    }
    assert fs.find("/links") == sorted(kinds)
    assert fs.info("/links/tree/loop")["type"] == "directory"
    assert (fs.exists("/links/tree/dead"), fs.lexists("/links/tree/dead")) == (False, True)
    fs.rm("/links/tree/loop", recursive=True)
    assert fs.cat_file("/links/tree/same") == b"content"
    fs.rm("/links", recursive=True)
    assert not fs.lexists("/links")


def test_moves_are_renames(fs: DaosFileSystem) -> None:
    fs.pipe({"/mv/a/one": b"1", "/mv/a/two": b"2"})
    before = fs.info("/mv/a/one")["ino"]
    fs.mv("/mv/a", "/mv/fresh/b")
    fs.makedirs("/mv/into")
    fs.mv("/mv/fresh/b/one", "/mv/into")
    fs.mv("/mv/fresh/b/two", "/mv/into/named")
    assert fs.info("/mv/into/one")["ino"] == before
    assert fs.find("/mv") == ["/mv/into/named", "/mv/into/one"]
    with pytest.raises(FileNotFoundError):
        fs.mv("/mv/a", "/mv/c")
    assert fs.modified("/mv/into/one").tzinfo is not None


def test_mistakes_are_those_of_os(fs: DaosFileSystem) -> None:
    fs.pipe_file("/wrong/file", b"")
    for call, error in [
        (lambda: fs.cat_file("/none"), FileNotFoundError),
        (lambda: fs.ls("/none"), FileNotFoundError),
        (lambda: fs.ls("/none", detail=False), FileNotFoundError),
        (lambda: fs.open("/none", "r+b"), FileNotFoundError),
        (lambda: fs.cat_file("/wrong"), IsADirectoryError),
        (lambda: fs.pipe_file("/wrong", b""), IsADirectoryError),
        (lambda: fs.rm("/wrong"), IsADirectoryError),
        (lambda: fs.pipe_file("/wrong/file/x", b""), NotADirectoryError),
        (lambda: fs.mkdir("/wrong"), FileExistsError),
        (lambda: fs.makedirs("/wrong"), FileExistsError),
        (lambda: fs.rmdir("/wrong"), OSError),
        (lambda: fs.pipe_file("/wrong/x", b"", mode="add"), ValueError),
    ]:
        with pytest.raises(error):
            call()
    assert fs.ls("/wrong/file", detail=False) == ["/wrong/file"]
    strict = DaosFileSystem("tank", "home", auto_mkdir=False)
    with pytest.raises(FileNotFoundError):
        strict.pipe_file("/not/there", b"")
    strict.close()
    with pytest.raises(FileNotFoundError, match="no-such"):
        DaosFileSystem("tank", "no-such").ls("/")


def test_a_snapshot_is_read_only(fs: DaosFileSystem) -> None:
    fs.pipe_file("/snap", b"then")
    with daos.connect() as client, client.pool("tank") as pool, pool.container("home") as cont:
        cont.snapshot("before")
    fs.pipe_file("/snap", b"now")
    then = DaosFileSystem("tank", "home", snapshot="before")
    assert (then.cat_file("/snap"), fs.cat_file("/snap")) == (b"then", b"now")
    with pytest.raises(PermissionError):
        then.pipe_file("/snap", b"")
    then.close()


def test_one_instance_in_loops_one_after_the_other(fs: DaosFileSystem) -> None:
    own = DaosFileSystem("tank", "home", asynchronous=True)

    async def use(name: str) -> list[bytes]:
        await asyncio.gather(*(own._pipe_file(f"/loops/{name}{n}", b"x") for n in range(5)))
        async with await own.open_async(f"/loops/{name}0", "ab") as file:
            await file.write(b"yz")
        file = await own.open_async(f"/loops/{name}0")
        assert (file.size, await file.seek(1), await file.read(1), file.tell()) == (3, 1, b"y", 2)
        await file.close()
        with pytest.raises(ValueError, match="of bytes"):
            await own.open_async("/loops/text", "r")
        return [await own._cat_file(path) for path in await own._glob(f"/loops/{name}*")]

    for name in ("a", "b"):
        assert asyncio.run(use(name)) == [b"xyz", *[b"x"] * 4]
    own.close()


def test_through_a_client_it_stays_here(fs: DaosFileSystem) -> None:
    with daos.connect() as one, daos.connect() as other:
        first = DaosFileSystem("tank", "home", client=one)
        assert first is not DaosFileSystem("tank", "home", client=other)
        first.pipe_file("/client", b"")
        with pytest.raises(TypeError, match="leave `client` out"):
            pickle.dumps(first)
        first.close()
        assert one.pools()


def test_parquet_by_pyarrow(fs: DaosFileSystem) -> None:
    arrow = pytest.importorskip(
        "pyarrow", reason="pyarrow is not installed: too heavy to be needed"
    )
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"n": list(range(1000)), "text": [str(n) for n in range(1000)]})
    parquet.write_to_dataset(table, "/parquet", filesystem=fs)
    assert parquet.read_table("/parquet", filesystem=fs).equals(table)
    parquet.write_table(table, "/parquet/one", filesystem=fs)
    assert parquet.read_table("/parquet/one", columns=["n"], filesystem=fs).num_rows == 1000


CHILDREN = """
import multiprocessing, os, sys
import fsspec


def read(fs):
    return fs.cat_file(path)

fs, path = fsspec.core.url_to_fs(sys.argv[1])
fs.pipe_file(path, b"by the parent")
child = os.fork()
if child == 0:  # with what the parent has, in use
    ok = fs.cat_file(path) == b"by the parent"
    fs.pipe_file(path, b"by the child")
    os._exit(0 if ok else 1)
assert os.waitpid(child, 0)[1] == 0
print(fs.cat_file(path))
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(read, [fs] * 4))
"""


def test_children_connect_anew(fs: DaosFileSystem) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILDREN, f"{HOME}/forked"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = b"by the child"
    assert done.stdout.splitlines() == [repr(expected), repr([expected] * 4)]

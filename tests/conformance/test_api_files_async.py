"""Files for asyncio, over an embedded system: what differs in form from the blocking face."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import daos
from daos import aio


@asynccontextmanager
async def filesystem() -> AsyncIterator[aio.FileSystem]:
    async with aio.local(targets=4) as system:
        await system.admin.pool_create("tank", "128MiB")
        client = await system.connect()
        async with (
            client.pool("tank") as pool,
            pool.create_container("c1", type="POSIX") as cont,
            cont.filesystem() as fs,
        ):
            yield fs
        assert fs.closed
        assert fs.mount.closed


def test_files() -> None:
    async def run() -> None:
        async with filesystem() as fs:
            async with fs.open("/f", "wb") as file:
                assert await file.write(b"0123456789") == 10
                assert await file.write(memoryview(b"ab")) == 2
                assert (file.tell(), file.name, file.mode) == (12, "/f", "wb")
                with pytest.raises(io.UnsupportedOperation, match="not readable"):
                    await file.read()
                await file.flush()
            with pytest.raises(ValueError, match="closed"):
                await file.write(b"x")
            file = await fs.open("/f", "r+b")
            assert await file.read(4) == b"0123"
            memory = bytearray(5)
            assert await file.readinto(memory) == 5
            assert memory == b"45678"
            assert await file.read() == b"9ab"
            assert await file.read() == await file.read(10) == b""
            assert await file.seek(-2, os.SEEK_END) == 10
            assert await file.seek(-1, os.SEEK_CUR) == 9
            assert await file.truncate() == 9
            assert await file.seek(100) == 100
            assert await file.read() == b""
            for offset, whence in ((-1, os.SEEK_SET), (-200, os.SEEK_CUR), (0, 9)):
                with pytest.raises(daos.InvalidError):
                    await file.seek(offset, whence)
            assert (file.readable(), file.writable, file.seekable()) == (True, True, True)
            await file.close()
            async with fs.open("/f", "ab") as one, fs.open("/f", "ab") as other:
                assert one.tell() == 9
                await one.write(b"A")
                await other.write(b"B")
                await one.write(b"C")
            assert await fs.read_bytes("/f") == b"012345678ABC"
            with pytest.raises(daos.InvalidError, match="bytes"):
                fs.open("/f", "r")
            with pytest.raises(FileExistsError):
                await fs.open("/f", "xb")
            with pytest.raises(io.UnsupportedOperation, match="not writable"):
                await (await fs.open("/f")).write(b"x")

    asyncio.run(run())


def test_trees() -> None:
    async def run() -> None:
        async with filesystem() as fs:
            await fs.makedirs("/a/b")
            await asyncio.gather(*(fs.write_text(f"/a/{n}", "x" * n) for n in range(20)))
            sizes = {entry.name: entry.stat().st_size async for entry in fs.scandir("/a")}
            assert sizes == {"b": 104, **{str(n): n for n in range(20)}}
            walked = [(top, dirs) async for top, dirs, _ in fs.walk("/")]
            assert walked == [("/", ["a"]), ("/a", ["b"]), ("/a/b", [])]
            with pytest.raises(NotADirectoryError):
                async for _ in fs.scandir("/a/1"):
                    pass
            errors: list[OSError] = []
            assert not [each async for each in fs.walk("/none", onerror=errors.append)]
            assert isinstance(errors[0], FileNotFoundError)
            await fs.rmtree("/a")
            assert await fs.listdir() == []
            with pytest.raises(FileNotFoundError) as caught:
                await fs.stat("/a")
            assert caught.value.filename == "/a"

    asyncio.run(run())


def test_many_appenders() -> None:
    async def run() -> None:
        async with filesystem() as fs:

            async def write(who: int) -> None:
                async with fs.open("/log", "ab") as file:
                    for line in range(8):
                        await file.write(b"%d:%d\n" % (who, line))

            await asyncio.gather(*(write(who) for who in range(8)))
            lines = (await fs.read_text("/log")).splitlines()
            assert sorted(lines) == [f"{who}:{line}" for who in range(8) for line in range(8)]

    asyncio.run(run())

"""The floor script: what updates and fetches cost when nothing but the work itself is done.

Two processes, one Unix socket, the payload inline, three LMDB puts or gets for each operation, a
checksum over the payload, no flush, no versions, no rights, no recovery:

    u32 size of the rest | u8 operation | u64 key | payload        request, and reply of a fetch
    u32 size of the rest | u8 operation | u64 key                  request of a fetch, other replies

The client keeps `depth` requests on their way and writes those of a turn in one call; so does the
server with its replies. What a real store reaches of this is what its features cost.

    python -m bench.floor --serve SOCKET DIRECTORY      (started by `Floor`)
"""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, cast

import lmdb
import xxhash

from bench.machine import loop_factory

UPDATE: Final = 1
FETCH: Final = 2
ANSWER: Final = 3
_SIZE: Final = struct.Struct("<I")
_HEAD: Final = struct.Struct("<IBQ")
_REST: Final = _HEAD.size - _SIZE.size
_BUFFER_BYTES: Final = 1 << 20
_BATCH: Final = 256
# Odd: keys come in no order, as hashed ones do.
_SPREAD: Final = 0x9E3779B97F4A7C15
_U64: Final = (1 << 64) - 1
_KEY: Final = struct.Struct(">BQ")


class _Framed(asyncio.BufferedProtocol):
    """Frames out of a buffer; what they give back leaves in one write."""

    def __init__(self) -> None:
        self._view = memoryview(bytearray(_BUFFER_BYTES))
        self._start = self._end = 0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # of uvloop it is no subclass

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        have = self._end - self._start
        if self._start:
            self._view[:have] = self._view[self._start : self._end]
            self._start, self._end = 0, have
        return self._view[have:]

    def buffer_updated(self, nbytes: int) -> None:
        self._end += nbytes
        view, start, end = self._view, self._start, self._end
        out: list[bytes] = []
        while end - start >= _HEAD.size:
            size, operation, key = _HEAD.unpack_from(view, start)
            stop = start + _SIZE.size + size
            if stop > end:
                break
            self.take(operation, key, view[start + _HEAD.size : stop], out)
            start = stop
        self._start = start
        if out:
            self.transport.write(b"".join(out))

    def take(self, operation: int, key: int, payload: memoryview, out: list[bytes]) -> None:
        """Act on a frame; append what is to be sent."""
        raise NotImplementedError


class _Server(_Framed):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._env = lmdb.open(path, map_size=4 << 30, sync=False, metasync=False)
        self._txn = self._env.begin(write=True)
        self._puts = 0

    def take(self, operation: int, key: int, payload: memoryview, out: list[bytes]) -> None:
        if operation == UPDATE:
            checksum = xxhash.xxh3_64_digest(payload)
            put = self._txn.put
            put(_KEY.pack(0, key), checksum)
            put(_KEY.pack(1, key), checksum)
            put(_KEY.pack(2, key), payload)
            self._puts += 1
            if self._puts % _BATCH == 0:
                self._txn.commit()
                self._txn = self._env.begin(write=True)
            out.append(_HEAD.pack(_REST, ANSWER, key))
            return
        get = self._txn.get
        expected = get(_KEY.pack(0, key))
        get(_KEY.pack(1, key))
        value = get(_KEY.pack(2, key))
        assert value is not None, key
        assert xxhash.xxh3_64_digest(value) == expected
        out += (_HEAD.pack(_REST + len(value), ANSWER, key), value)

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._txn.abort()
        self._env.close()
        asyncio.get_running_loop().stop()


class _Client(_Framed):
    def __init__(self) -> None:
        super().__init__()
        self._over: asyncio.Future[None]
        self._next = self._count = self._left = 0
        self._operation = UPDATE
        self._payload = b""
        self.server = 0  # process id

    def processor_s(self) -> float:
        """Processor time of both processes so far."""
        spent = Path(f"/proc/{self.server}/schedstat").read_text(encoding="ascii")
        return time.process_time() + int(spent.split()[0]) / 1e9

    async def run(self, operation: int, count: int, depth: int, payload: bytes) -> float:
        """Operations a second on keys number 0..count - 1."""
        self._over = asyncio.get_running_loop().create_future()
        self._operation, self._count, self._left = operation, count, count
        self._payload = payload if operation == UPDATE else b""
        self._next = 0
        out: list[bytes] = []
        began = time.perf_counter()
        for _ in range(min(depth, count)):
            self._send(out)
        self.transport.write(b"".join(out))
        await self._over
        return count / (time.perf_counter() - began)

    def take(self, operation: int, key: int, payload: memoryview, out: list[bytes]) -> None:
        assert operation == ANSWER
        bytes(payload)  # a reader wants them in memory of its own
        self._left -= 1
        if self._next < self._count:
            self._send(out)
        elif not self._left:
            self._over.set_result(None)

    def _send(self, out: list[bytes]) -> None:
        payload = self._payload
        key = self._next * _SPREAD & _U64
        out.append(_HEAD.pack(_REST + len(payload), self._operation, key))
        if payload:
            out.append(payload)
        self._next += 1


@asynccontextmanager
async def open_floor(directory: Path, loop: str) -> AsyncIterator[_Client]:
    """The server in a process of its own, on the CPUs this one may use; and a client of it."""
    path = directory / "floor.socket"
    data = directory / "floor"
    data.mkdir()
    command = [sys.executable, "-m", "bench.floor", "--serve", str(path), str(data), loop]
    # It starts while nothing is measured: that the loop waits does not matter.
    process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: ASYNC220
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it listens
        transport, client = await asyncio.get_running_loop().create_unix_connection(
            _Client, str(path)
        )
        client.server = process.pid
        yield client
        transport.close()
        await asyncio.sleep(0)
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def serve(path: str, data: str, loop_name: str) -> None:
    """Until the one client leaves."""
    loop = loop_factory(loop_name)()
    server = loop.run_until_complete(loop.create_unix_server(lambda: _Server(data), path))
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    loop.run_forever()
    server.close()
    loop.close()


if __name__ == "__main__":
    serve(*sys.argv[2:5])

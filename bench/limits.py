"""What this machine can do without a store: the limits that measurements stand beside.

    device    write 256 KiB + flush, write 4 KiB + flush, 1 MiB writes and reads, random 4 KiB reads
    wire      a bare asyncio + msgspec echo, over a pair of Unix sockets and by call-backs

All by plain system calls on a file of the same file system, preallocated and written once, opened
with O_DIRECT where the file system takes it, as the store's own devices are.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, cast

import msgspec

from bench.machine import loop_factory

KiB: Final = 1 << 10
MiB: Final = 1 << 20
_FILE_BYTES: Final = 256 * MiB


class DeviceLimits:
    """Measures on one scratch file; each figure the best of a few rounds."""

    def __init__(self, path: Path, rounds: int) -> None:
        self.path = path
        self.direct = True
        self._rounds = rounds
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _FILE_BYTES)
            ones = b"\1" * MiB
            for at in range(0, _FILE_BYTES, MiB):
                os.pwrite(descriptor, ones, at)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor, O_DIRECT if possible."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_DIRECT)
        except OSError:
            self.direct = False
            descriptor = os.open(self.path, os.O_RDWR)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def write_flush_s(self, nbytes: int, count: int = 100) -> float:
        """Seconds for one write and one flush, at places next to each other."""

        def one_round() -> float:
            buffer = mmap.mmap(-1, nbytes)
            with self.opened() as descriptor:
                began = time.perf_counter()
                for index in range(count):
                    os.pwritev(descriptor, (buffer,), index * nbytes % _FILE_BYTES)
                    os.fdatasync(descriptor)
                return (time.perf_counter() - began) / count

        return min(one_round() for _ in range(self._rounds))

    def stream(
        self, *, write: bool, depth: int = 1, count: int = 200, fresh: bool = False
    ) -> float:
        """1 MiB blocks a second in a row, `depth` at once; a flush behind each write.

        With `fresh` the blocks were allocated, and never written: then each flush brings metadata
        of the file system to disk as well. A store that overwrites nothing writes such blocks.
        """
        work = [range(thread, count, depth) for thread in range(depth)]

        def one_round() -> float:
            if fresh:
                self._allocate_anew()
            return count / _in_threads(lambda indices: self._stream(indices, write=write), work)

        return max(one_round() for _ in range(self._rounds))

    def random_reads(self, depth: int, count: int = 4000) -> float:
        """4 KiB blocks a second from random places, past the page cache."""
        rng = random.Random(1)
        blocks = _FILE_BYTES // (4 * KiB)
        places = [[rng.randrange(blocks) for _ in range(count // depth)] for _ in range(depth)]

        def one_round() -> float:
            return count // depth * depth / _in_threads(self._read_blocks, places)

        return max(one_round() for _ in range(self._rounds))

    def _allocate_anew(self) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_TRUNC)
        try:
            os.posix_fallocate(descriptor, 0, _FILE_BYTES)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _stream(self, indices: Sequence[int], *, write: bool) -> None:
        buffer = mmap.mmap(-1, MiB)
        with self.opened() as descriptor:
            for index in indices:
                if write:
                    os.pwritev(descriptor, (buffer,), index * MiB % _FILE_BYTES)
                    os.fdatasync(descriptor)
                else:
                    os.preadv(descriptor, (buffer,), index * MiB % _FILE_BYTES)

    def _read_blocks(self, blocks: Sequence[int]) -> None:
        buffer = mmap.mmap(-1, 4 * KiB)
        with self.opened() as descriptor:
            for block in blocks:
                os.preadv(descriptor, (buffer,), block * 4 * KiB)


def _in_threads(work: Callable[[Sequence[int]], None], parts: Sequence[Sequence[int]]) -> float:
    """Seconds until all parts are done, one thread each."""
    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def fio(path: Path, *, write: bool, seconds: int = 2) -> float | None:
    """1 MiB blocks a second by fio at depth 1, with a flush behind each write; None without fio."""
    program = shutil.which("fio")
    if program is None:
        return None
    options = ["--fdatasync=1"] if write else []
    command = [
        *(program, "--name=bench", f"--filename={path}", "--bs=1M", f"--size={_FILE_BYTES}"),
        *(f"--rw={'write' if write else 'read'}", "--direct=1", "--ioengine=psync"),
        *("--time_based", f"--runtime={seconds}", "--output-format=json", *options),
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        return None
    job = json.loads(done.stdout)["jobs"][0]["write" if write else "read"]
    return float(job["iops"])


class _Echo(asyncio.BufferedProtocol):
    """Takes whole messages apart, decodes, encodes, and answers a read's messages by one write."""

    HEADER: Final = 4

    def __init__(self) -> None:
        self._memory = bytearray(256 * KiB)
        self._view = memoryview(self._memory)
        self._start = self._end = 0
        self._decode = msgspec.msgpack.Decoder(tuple[int, bytes]).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # of uvloop it is no subclass

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        have = self._end - self._start
        self._view[:have] = self._view[self._start : self._end]
        self._start, self._end = 0, have
        return self._view[have:]

    def buffer_updated(self, nbytes: int) -> None:
        self._end += nbytes
        answers: list[bytes] = []
        while self._end - self._start >= self.HEADER:
            at = self._start + self.HEADER
            end = at + int.from_bytes(self._view[self._start : at], "little")
            if end > self._end:
                break
            answers += self.answer(*self._decode(self._view[at:end]))
            self._start = end
        if answers:
            self.transport.write(b"".join(answers))

    def answer(self, number: int, text: bytes) -> Sequence[bytes]:
        """The parts of the answer."""
        return self.message(number, text)

    def message(self, number: int, text: bytes) -> tuple[bytes, bytes]:
        """Length and body."""
        body = self._encode((number, text))
        return len(body).to_bytes(self.HEADER, "little"), body


class _Caller(_Echo):
    def __init__(self, count: int, depth: int) -> None:
        super().__init__()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left_to_send = count - depth
        self._left = count
        self._depth = depth

    def begin(self) -> None:
        """Put the first messages on their way."""
        self.transport.write(
            b"".join([p for i in range(self._depth) for p in self.message(i, b"x")])
        )

    def answer(self, number: int, text: bytes) -> Sequence[bytes]:
        self._left -= 1
        if not self._left:
            self.over.set_result(None)
        if self._left_to_send <= 0:
            return ()
        self._left_to_send -= 1
        return self.message(number, text)


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
    for end in (here, there):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return here, there


async def echoes(depth: int, count: int, *, tcp: bool = False, apart: str = "") -> float:
    """Round trips a second of a bare asyncio + msgspec echo, over two sockets.

    Both ends are in this loop; with `apart` the server is a process with a loop of that kind.
    """
    loop = asyncio.get_running_loop()
    here, there = _tcp_pair() if tcp else socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    here.setblocking(False)
    there.setblocking(False)
    with ExitStack() as stack:
        if apart:
            stack.enter_context(_echo_process(there, apart))
        else:
            server, _ = await loop.create_connection(_Echo, sock=there)
            stack.callback(server.close)
        client, caller = await loop.create_connection(lambda: _Caller(count, depth), sock=here)
        began = time.perf_counter()
        caller.begin()
        await caller.over
        seconds = time.perf_counter() - began
        client.close()
    await asyncio.sleep(0)
    return count / seconds


@contextmanager
def _echo_process(end: socket.socket, loop: str) -> Iterator[None]:
    """The other end of a bare echo, in a process of its own."""
    descriptor = end.fileno()
    command = [sys.executable, "-m", "bench.limits", str(descriptor), loop]
    with end:
        process = subprocess.Popen(command, pass_fds=(descriptor,), stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process:
        try:
            process.stdout.readline()
            yield
        finally:
            process.kill()


def _serve_echoes(descriptor: int, loop_name: str) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(_Echo, sock=socket.socket(fileno=descriptor))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await loop.create_future()

    with asyncio.Runner(loop_factory=loop_factory(loop_name)) as runner:
        runner.run(serve())


if __name__ == "__main__":
    _serve_echoes(int(sys.argv[1]), sys.argv[2])

"""The load of one client, here or in a process of its own; and that process, seen from outside.

    python -m bench.client AGENT_SOCKET LABEL BLOCKS LOOP      (started by `ClientProcess`)

    "update tcp 0.25"  --stdin-->  runs it for so long  --stdout-->  operations a second

Keys and blocks are those of the client alone. Key-values and arrays lie on all targets (SX). What
is fetched is in the page cache; blocks that are read are not.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple

from bench.echo import run_echoes
from bench.load import run_for
from bench.machine import loop_factory
from daos.base.clock import SystemClock
from daos.base.hlc import Hlc
from daos.base.ids import Rank, TargetIndex, tag_of
from daos.cart.context import Context, Endpoint
from daos.cart.transport.ranks import Places, RankNetwork
from daos.client.agent import Agent, Attachment
from daos.client.array import Array
from daos.client.client import Client
from daos.client.container import Container
from daos.client.kv import KeyValue
from daos.control.places import SYSTEM

POOL: Final = "bench"
KiB: Final = 1 << 10
MiB: Final = 1 << 20
_KEYS: Final = 256
TRANSPORTS: Final = ("sm", "tcp")
_ECHOES: Final = 256  # between two looks at the clock
_WITHIN_S: Final = 60.0
_DEADLINE_NS: Final = 600 * 10**9


class Work(NamedTuple):
    """What a client can be told to do."""

    what: str
    depth: int
    nbytes: int = 0


WORKS: Final[Mapping[str, Work]] = {
    "ping": Work("echo", 1),
    "echo": Work("echo", 16),
    "update": Work("4 KiB update", 16, 4 * KiB),
    "fetch": Work("4 KiB fetch", 16, 4 * KiB),
    "write": Work("1 MiB write", 1, MiB),
    "read": Work("1 MiB read", 1, MiB),
}


class Load:
    """One client's key-value and array, filled. `blocks`: of 1 MiB, the most of one run."""

    def __init__(self, kv: KeyValue[bytes], array: Array, blocks: int) -> None:
        self._kv = kv
        self._array = array
        self._blocks = blocks
        self._value = bytes(range(256)) * (4 * KiB // 256)
        self._block = memoryview(bytearray(b"x" * MiB))

    async def fill(self) -> None:
        """What is read has to be there."""
        for index in range(self._blocks):
            await self._write(index)
        for index in range(_KEYS):
            await self._kv.put(b"fetch%d" % index, self._value)
        await self._run("fetch", _WITHIN_S, _KEYS)

    async def rate(self, name: str, seconds: float) -> float:
        """Operations a second, for so long."""
        most = self._blocks if WORKS[name].nbytes == MiB else sys.maxsize
        count, took = await self._run(name, seconds, most)
        return count / took

    async def _run(self, name: str, seconds: float, most: int) -> tuple[int, float]:
        operate = {
            "update": self._update,
            "fetch": self._fetch,
            "write": self._write,
            "read": self._read,
        }[name]
        return await run_for(seconds, WORKS[name].depth, operate, most=most)

    async def _update(self, index: int) -> None:
        await self._kv.put(b"update%d" % (index % _KEYS), self._value)

    async def _fetch(self, index: int) -> None:
        await self._kv.get(b"fetch%d" % (index % _KEYS))

    async def _write(self, index: int) -> None:
        await self._array.write(index * MiB, self._block)

    async def _read(self, index: int) -> None:
        await self._array.read(index * MiB, MiB, into=self._block)


@asynccontextmanager
async def opened_load(container: Container, blocks: int) -> AsyncIterator[Load]:
    """A load in this container."""
    async with container.kv(oclass="SX") as kv, container.array(oclass="SX") as array:
        load = Load(kv, array, blocks)
        await load.fill()
        yield load


async def echo_rate(context: Context, endpoints: Sequence[Endpoint], work: Work, s: float) -> float:
    """Round trips a second to these in turn, for so long."""
    clock, count, took = SystemClock(), 0, 0.0
    until = time.perf_counter() + s
    while not count or time.perf_counter() < until:
        late = clock.now_ns() + _DEADLINE_NS
        took += await run_echoes(context, endpoints, _ECHOES, work.depth, deadline_ns=late)
        count += _ECHOES
    return count / took


class ClientProcess:
    """A client in a process of its own, of a system that an agent knows."""

    def __init__(self, agent: Path, label: str, *, blocks: int, loop: str) -> None:
        command = (sys.executable, "-m", "bench.client", str(agent), label, str(blocks), loop)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to: IO[str] = self._process.stdin
        self._from: IO[str] = self._process.stdout
        self.pid: Final = self._process.pid

    def wait(self) -> None:
        """Until it has filled what it reads."""
        if self._from.readline() != "ready\n":
            raise AssertionError("a client of the benchmark could not begin; it said why")

    def begin(self, name: str, transport: str, seconds: float) -> None:
        """Have it work; several of them at once."""
        self._to.write(f"{name} {transport} {seconds}\n")
        self._to.flush()

    def rate(self) -> float:
        """What it reached."""
        return float(self._from.readline())

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def main(agent: Path, label: str, blocks: int, loop: str) -> None:
    """Until standard input ends."""
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(_serve(agent, label, blocks))


class _Way(NamedTuple):
    """A client by one transport."""

    context: Context
    endpoints: Sequence[Endpoint]
    load: Load

    async def rate(self, name: str, seconds: float) -> float:
        if WORKS[name].nbytes:
            return await self.load.rate(name, seconds)
        return await echo_rate(self.context, self.endpoints, WORKS[name], seconds)


async def _serve(agent: Path, label: str, blocks: int) -> None:
    found = await Agent(agent, SYSTEM).attach_info(_WITHIN_S)
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        ways = {
            transport: await stack.enter_async_context(_opened_way(found, transport, label, blocks))
            for transport in TRANSPORTS
        }
        _tell("ready")
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            name, transport, seconds = line.split()
            _tell(str(await ways[transport].rate(name, float(seconds))))


@asynccontextmanager
async def _opened_way(
    found: Attachment, transport: str, label: str, blocks: int
) -> AsyncIterator[_Way]:
    clock, loop = SystemClock(), asyncio.get_running_loop()
    places, rng = Places(), random.Random()
    # The same ranks, as if this were another host.
    far = {rank: uri._replace(directory=None) for rank, uri in found.ranks.items()}
    places.update(1, found.ranks if transport == "sm" else far)
    context = Context(
        RankNetwork(loop, places), None, clock=clock, hlc=Hlc(clock), rng=rng, loop=loop
    )
    async with (
        Client(context, clock=clock, rng=rng, service=found.service) as client,
        client.pool(POOL) as pool,
        pool.create_container(f"{label}-{transport}") as container,
        opened_load(container, blocks) as load,
    ):
        yield _Way(context, _endpoints(found, targets=(await pool.query()).targets), load)


def _endpoints(found: Attachment, *, targets: int) -> list[Endpoint]:
    each = targets // len(found.ranks)
    return [
        Endpoint(Rank(rank), tag_of(TargetIndex(n))) for rank in found.ranks for n in range(each)
    ]


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])

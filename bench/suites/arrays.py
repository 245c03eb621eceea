"""1 MiB writes and reads through the Array of `daos.aio`, one at a time and four at once.

The limit is a plain loop over the same disk: O_DIRECT, the same size and depth, a flush behind each
write; by fio where it is installed. That loop overwrites blocks, as fio does; the store never does:
it takes blocks that were never written, and each flush then brings metadata of the file system to
disk as well. A second limit says what the loop does on such blocks. A store that is idle for a
moment writes zeros ahead of itself: so there is a row of bursts behind pauses, which do not count.
Reads are cold: what was just written passed the page cache by.

Then 1 MiB and 4 MiB, one at a time, to a system in a process of its own: over TCP and over a Unix
socket, there out of plain memory and out of `client.buffer`, beside the same of the embedded one.
"""

from __future__ import annotations

import asyncio
from typing import Final

from bench.limits import MiB, fio
from bench.load import run_awaited
from bench.public import open_container, open_served
from bench.report import at_least
from bench.run import Run
from daos.client.array import Array
from daos.client.container import Container
from daos.client.memory import Buffer

_RATIO: Final = 0.7
_DEPTHS: Final = (1, 4)
_PORT: Final = 31716  # of the first endpoint
_SIZES: Final = (MiB, 4 * MiB)
_BURST: Final = 48  # MiB, less than a shard prepares
_PAUSE_S: Final = 1.0
_WAYS: Final = ("embedded", "tcp", "sm", "sm, client.buffer")


def run(run: Run) -> None:
    """Budget of the design: 70 % of the disk."""
    device = run.device()
    count = run.scaled(512)
    best: dict[tuple[str, int], float] = {}
    limits: dict[tuple[str, int], float] = {}
    bursts = 0.0
    for _ in range(run.rounds):
        for (what, depth), rate in run.in_loop(_rates, run, count).items():
            best[what, depth] = max(best.get((what, depth), 0), rate)
        bursts = max(bursts, run.in_loop(_burst_rate, run))
        run.clear()
        for depth in _DEPTHS:  # beside the store, so that a neighbour's load hits both
            for what, write in (("write", True), ("read", False)):
                rate = device.stream(write=write, depth=depth)
                limits[what, depth] = max(limits.get((what, depth), 0), rate)
        for depth in _DEPTHS:
            limits["fresh", depth] = max(limits.get(("fresh", depth), 0), run.fresh_writes(depth))
    for (what, depth), rate in best.items():
        limit, name = limits[what, depth], "plain O_DIRECT loop"
        by_fio = fio(device.path, write=what == "write") if depth == 1 else None
        if by_fio is not None:
            limit, name = by_fio, "fio"
        run.row(
            f"1 MiB array {what}, {depth} in flight",
            rate,
            "MiB/s",
            limit=(limit, name),
            budget=at_least(_RATIO) if device.direct else None,
        )
        if what == "write":
            limit = limits["fresh", depth]
            name = f"1 MiB array write, {depth} in flight"
            run.row(name, rate, "MiB/s", limit=(limit, "the loop on blocks never written"))

    limit = limits["write", 1]
    name = f"1 MiB array write, 1 in flight, bursts of {_BURST}"
    run.row(name, bursts, "MiB/s", limit=(limit, "plain O_DIRECT loop"))
    _served(run, count)


def _served(run: Run, count: int) -> None:
    """Rows without a budget: two processes share the CPUs with whatever else is running."""
    best: dict[tuple[str, str, int], float] = {}
    for _ in range(run.rounds):
        for way in _WAYS:
            for (what, size), rate in run.in_loop(_rates_of, run, way, count // 4).items():
                best[way, what, size] = max(best.get((way, what, size), 0), rate)
            run.clear()
    for (way, what, size), rate in best.items():
        if way != "embedded":
            name = f"{size // MiB} MiB array {what}, {way}"
            run.row(name, rate, "MiB/s", limit=(best["embedded", what, size], "embedded"))


async def _rates_of(run: Run, way: str, count: int) -> dict[tuple[str, int], float]:
    """MiB a second by direction and size, one at a time."""
    place = run.new_directory()
    if way == "embedded":
        opened = open_container(place)
    else:
        opened = open_served(place, tcp=f"127.0.0.1:{_PORT}" if way == "tcp" else None)
    async with opened as container:
        return {
            (what, size): rate
            for size in _SIZES
            for what, rate in (await _rates_at(container, way, size, count)).items()
        }


async def _rates_at(container: Container, way: str, size: int, count: int) -> dict[str, float]:
    memory: bytearray | Buffer = bytearray(size)
    if way.endswith("client.buffer"):
        memory = Buffer(size, container._session.context.shared)
    view = memoryview(memory)
    view[:] = b"x" * size
    operations = max(8, count * MiB // size)
    async with container.array(oclass="S1", chunk_size=size) as array:

        async def write(index: int) -> None:
            await array.write(index * size, view)

        async def read(index: int) -> None:
            await array.read(index * size, size, into=view)

        seconds = await run_awaited(operations, 1, write), await run_awaited(operations, 1, read)
    return {
        what: operations * size / MiB / each
        for what, each in zip(("write", "read"), seconds, strict=True)
    }


async def _rates(run: Run, count: int) -> dict[tuple[str, int], float]:
    """MiB a second by direction and depth."""
    rates: dict[tuple[str, int], float] = {}
    data = memoryview(bytearray(b"x" * MiB))
    into = [bytearray(MiB) for _ in range(max(_DEPTHS))]
    async with open_container(run.new_directory()) as container:
        for depth in _DEPTHS:
            async with container.array(oclass="S1") as array:

                async def write(index: int, array: Array = array) -> None:
                    await array.write(index * MiB, data)

                async def read(index: int, array: Array = array) -> None:
                    await array.read(index * MiB, MiB, into=into[index % len(into)])

                rates["write", depth] = count / await run_awaited(count, depth, write)
                rates["read", depth] = count / await run_awaited(count, depth, read)
    return rates


async def _burst_rate(run: Run) -> float:
    """MiB a second, one at a time, of the faster of two bursts, each behind a pause."""
    data = memoryview(bytearray(b"x" * MiB))
    rates: list[float] = []
    async with (
        open_container(run.new_directory()) as container,
        container.array(oclass="S1") as array,
    ):
        for first in (1, 1 + _BURST):

            async def write(index: int, first: int = first) -> None:
                await array.write((first + index) * MiB, data)

            await array.write(0, data)
            await asyncio.sleep(_PAUSE_S)
            rates.append(_BURST / await run_awaited(_BURST, 1, write))
    return max(rates)

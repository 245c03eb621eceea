"""Updates and fetches of single values, 100 B and 4 KiB, 1, 16 and 64 in flight.

    floor      the same by `bench.floor`: two processes, nothing but the work itself
    no flush   the store on its disk with the flushes left out, which the floor does not do either
    flushed    as it is. At depth 1 the limit is the disk's write + flush of 4 KiB; at 64, for 4 KiB
               values, 64 updates in the time of (write 256 KiB + flush) + 64 x 25 µs
    cached     blocks in the page cache
    cold       not there: the limit is random reads by as many threads, past the page cache

    processor  time of all threads and processes for one operation, 64 in flight: what a neighbour's
               load does not change much

Rounds of the floor and of the store alternate, so that a neighbour's load hits both; the best of
each counts. By call-back, one target; `daos.aio` adds a task and a handle's bookkeeping to each
operation, and is the last block of rows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from bench.counts import BLOCK_VALUE, SMALL, Shape
from bench.floor import FETCH, UPDATE, open_floor
from bench.limits import KiB
from bench.load import Ended, run_awaited, run_started
from bench.public import open_container
from bench.report import Budget, at_least
from bench.run import Run
from bench.stand import Stand, UnflushedDirectory, get, open_stand, put
from daos.bio.device import DeviceDirectory
from daos.bio.file_directory import FileDirectory

DEPTHS: Final = (1, 16, 64)
_SIZE: Final = 1 << 30
_SERVER_S: Final = 25e-6  # of an update, which the flushed budget allows for
Rates = dict[tuple[str, int], float]  # by name and depth: operations a second


def run(run: Run) -> None:
    """Budgets: 40 % of the floor without flush, 50 % cached, 60 % and 70 % of the disk."""
    for shape in (SMALL, BLOCK_VALUE):
        rates = run.in_loop(_measure, run, shape)
        _report_floor(run, shape, rates)
        _report_device(run, shape, rates)
        for what in ("update, flushed", "fetch, cached"):
            for depth in DEPTHS:
                limit = (rates[what, depth], "by call-back")
                rate = rates[f"daos.aio {what}", depth]
                run.row(_what(shape, f"daos.aio {what}", depth), rate, "1/s", limit=limit)


def _what(shape: Shape, what: str, depth: int) -> str:
    return f"{shape.name}, {what}, {depth} in flight"


def _report_floor(run: Run, shape: Shape, rates: Rates) -> None:
    judged = shape is BLOCK_VALUE
    for what, floor, ratio in (
        ("update, no flush", "update", 0.4),
        ("fetch, cached", "fetch", 0.5),
    ):
        for depth in DEPTHS:
            budget = at_least(ratio) if judged and depth == 64 else None
            limit = (rates[f"floor {floor}", depth], "floor")
            run.row(
                _what(shape, what, depth), rates[what, depth], "1/s", limit=limit, budget=budget
            )
    for what in ("update", "fetch"):
        limit = (1e6 / rates[f"floor {what}, processor", 64], "floor, both processes")
        cost = 1e6 / rates[f"{what}, processor", 64]
        run.row(f"{shape.name}, {what}, processor", cost, "µs", limit=limit)


def _report_device(run: Run, shape: Shape, rates: Rates) -> None:
    device = run.device()
    for depth in DEPTHS:
        limit: tuple[float, str] | None = None
        budget: Budget | None = None
        if depth == 1:
            limit = (1 / device.write_flush_s(4 * KiB), "write 4 KiB + flush")
        elif shape is BLOCK_VALUE and depth == 64:
            group_s = device.write_flush_s(depth * shape.nbytes) + depth * _SERVER_S
            limit = (depth / group_s, "write 256 KiB + flush + 64·25 µs")
            budget = at_least(0.6)
        what = "update, flushed"
        run.row(_what(shape, what, depth), rates[what, depth], "1/s", limit=limit, budget=budget)
    if shape is not BLOCK_VALUE:
        return
    for depth in DEPTHS:
        limit = (device.random_reads(depth), "random reads")
        budget = at_least(0.7) if device.direct else None
        what = "fetch, cold"
        run.row(_what(shape, what, depth), rates[what, depth], "1/s", limit=limit, budget=budget)


async def _measure(run: Run, shape: Shape) -> Rates:
    rates: Rates = {}
    count = run.scaled(8192)

    def keep(what: str, depth: int, rate: float) -> None:
        rates[what, depth] = max(rates.get((what, depth), 0.0), rate)

    for number in range(run.rounds):
        place = run.new_directory()
        async with open_floor(run.new_directory(), run.loop) as floor:
            for depth in DEPTHS:
                n = _count(count, depth)
                value = bytes(shape.nbytes)
                for what, operation, payload in (("update", UPDATE, value), ("fetch", FETCH, b"")):
                    spent = floor.processor_s()
                    keep(f"floor {what}", depth, await floor.run(operation, n, depth, payload))
                    keep(f"floor {what}, processor", depth, n / (floor.processor_s() - spent))
        files = FileDirectory(_made(place / f"unflushed-{number}"))
        async with _stand(UnflushedDirectory(files), place) as stand:
            for depth in DEPTHS:
                n, spent = _count(count, depth), time.process_time()
                keep("update, no flush", depth, await _rate(stand, shape, n, depth, update=True))
                keep("update, processor", depth, n / (time.process_time() - spent))
        devices = _made(place / f"flushed-{number}")
        async with _stand(FileDirectory(devices), place) as stand:
            for depth in DEPTHS:
                n = _count(count, depth)
                keep("update, flushed", depth, await _rate(stand, shape, n, depth, update=True))
                _forget_pages(devices)
                keep("fetch, cold", depth, await _rate(stand, shape, n, depth, update=False))
                spent = time.process_time()
                keep("fetch, cached", depth, await _rate(stand, shape, n, depth, update=False))
                keep("fetch, processor", depth, n / (time.process_time() - spent))
        await _public_rates(run, shape, count, keep)
        run.clear()
    return rates


async def _public_rates(
    run: Run, shape: Shape, count: int, keep: Callable[[str, int, float], None]
) -> None:
    """The same through `daos.aio`; one shard, as above."""
    value, into = bytes(shape.nbytes), bytearray(shape.nbytes)
    async with open_container(run.new_directory(), size="2GiB") as container:
        oid = await container.new_oid(oclass="S1")
        async with container.object(oid) as target:
            for depth in DEPTHS:
                n = _count(count, depth)

                async def update(index: int, depth: int = depth) -> None:
                    await target.update(b"%02d-%08d" % (depth, index), b"a", value)

                async def fetch(index: int, depth: int = depth) -> None:
                    await target.fetch(b"%02d-%08d" % (depth, index), b"a", into=into)

                seconds = await run_awaited(n, depth, update)
                keep("daos.aio update, flushed", depth, n / seconds)
                await run_awaited(n, depth, fetch)  # brings the blocks into the page cache
                keep("daos.aio fetch, cached", depth, n / await run_awaited(n, depth, fetch))


async def _rate(stand: Stand, shape: Shape, count: int, depth: int, *, update: bool) -> float:
    """Operations a second, by call-back, on dkeys of this depth's own."""
    target, call = stand.object(shape.number), stand.call()
    iods, operate = shape.iods, put if update else get
    value = memoryview(bytearray(shape.nbytes))

    def start(index: int, ended: Ended) -> None:
        operate(target, iods, b"%02d-%08d" % (depth, index), value, call, ended)

    return count / await run_started(count, depth, start)


def _count(count: int, depth: int) -> int:
    """Fewer where each waits for a flush of its own."""
    return max(64, count // 8) if depth == 1 else count


def _stand(directory: DeviceDirectory, place: Path) -> AbstractAsyncContextManager[Stand]:
    return open_stand(directory, _made(place / "live"), size_bytes=_SIZE)


def _made(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def _forget_pages(directory: Path) -> None:
    """Drop the devices' blocks from the page cache."""
    for path in directory.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)

"""Aggregation: the longest turn of the loop, and the time that a pass takes.

    versions    10^5 versions of one single value, all but the newest hidden
    extents     10^5 adjacent extents of one array, 4 KiB each, put together in windows

100 B updates of new dkeys, 16 in flight, beside the pass and before it: how long the loop was away
at most, as a callback of its own sees it. The row before the pass tells what the machine and the
updates alone do. The disk, its flushes included.

The garbage collector is set as in a process that serves: in another one, whose thresholds are its
application's, a full collection of 10 to 16 ms comes now and then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from bench.counts import SMALL
from bench.load import Ended, LagMeter, run_started
from bench.machine import collector_as_served
from bench.report import at_most
from bench.run import Run
from bench.stand import MiB, Stand, open_stand, put
from daos.base.iod import Iod, IodType, Recx
from daos.bio.file_directory import FileDirectory
from daos.bio.meta import MetaConfig
from daos.testing.shard import unit

_TURN_MS: Final = 5
_COUNT: Final = 100_000
_DEPTH: Final = 16
_CONFIG: Final = MetaConfig(wal_bytes=256 * MiB)
_OID: Final = unit(7)
_EXTENT: Final = 4096

_Write = Callable[[Stand, int], Awaitable[None]]


def run(run: Run) -> None:
    """Budget of the design: no turn above 5 ms."""
    count = run.scaled(_COUNT)
    writes: tuple[tuple[str, _Write], ...] = (("versions", _versions), ("extents", _extents))
    for what, write in writes:
        rounds = []
        for _ in range(run.rounds):
            with collector_as_served():
                rounds.append(run.in_loop(_pass, run, write, count))
            run.clear()
        calm, busy, processor, seconds = (min(each[i] for each in rounds) for i in range(4))
        run.row(f"longest turn, updates alone, {what}", calm * 1e3, "ms")
        label = f"longest turn, updates beside a pass over {count:,} {what}"
        run.row(label, busy * 1e3, "ms", budget=at_most(_TURN_MS))
        run.row(f"the same, of the processor, {what}", processor * 1e3, "ms")
        run.row(f"pass over {count:,} {what}", seconds, "s")


async def _pass(run: Run, write: _Write, count: int) -> tuple[float, float, float, float]:
    """Longest turn without a pass and with one, of the processor with one; seconds it took."""
    place = run.new_directory()
    (place / "devices").mkdir()
    async with open_stand(
        FileDirectory(place / "devices"),
        place / "live",
        size_bytes=2048 * MiB,
        config=_CONFIG,
    ) as stand:
        await write(stand, count)
        await stand.meta.checkpoint()
        with LagMeter() as calm:
            await _update(stand, range(4096))
        began = time.perf_counter()
        with LagMeter() as busy:
            task = asyncio.ensure_future(stand.aggregate())
            first = 4096
            while not task.done():
                await _update(stand, range(first, first + 256))
                first += 256
            await task
        return calm.longest_s, busy.longest_s, busy.processor_s, time.perf_counter() - began


async def _versions(stand: Stand, count: int) -> None:
    iods = [Iod(b"akey", IodType.SINGLE, 100)]
    for number in range(count):
        await _write_one(stand, iods, number)


async def _extents(stand: Stand, count: int) -> None:
    for number in range(count):
        iods = [Iod(b"akey", IodType.ARRAY, 1, (Recx(number * _EXTENT, _EXTENT),))]
        await _write_one(stand, iods, number)


async def _write_one(stand: Stand, iods: list[Iod], number: int) -> None:
    container, meta = stand.container, stand.meta
    update = container.update_begin(_OID, b"dkey", iods)
    lsn = container.update_end(update, stand.hlc.now())
    if number % 256 == 255:
        await meta.durable(lsn)
        if not meta.log_has_room:
            await meta.checkpoint()


async def _update(stand: Stand, keys: range) -> None:
    target, call = stand.object(SMALL.number), stand.call()
    value = memoryview(bytes(SMALL.nbytes))

    def start(index: int, ended: Ended) -> None:
        put(target, SMALL.iods, b"%08d" % keys[index], value, call, ended)

    await run_started(len(keys), _DEPTH, start)

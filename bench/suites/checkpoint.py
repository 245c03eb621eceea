"""Checkpoints and recovery: the longest turn of the loop, the time to open after a kill.

    turns    100 B updates of new dkeys, 16 in flight, with and without a checkpoint of the shard
             beside them: how long the loop was away at most, as a callback of its own sees it. The
             row without a checkpoint tells what the machine and the updates alone do
    open     a shard whose log holds n updates and that was never closed in order

The disk, its flushes included; one CPU for the loop, the copying thread wherever it likes.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from bench.counts import SMALL
from bench.load import Ended, LagMeter, run_started
from bench.report import at_most
from bench.run import Run
from bench.stand import MiB, Stand, open_stand, put
from daos.bio.file_directory import FileDirectory
from daos.bio.meta import MetaConfig, MetaContext

_TURN_MS: Final = 5
_UPDATES: Final = 32_000
_DEPTH: Final = 16
_CONFIG: Final = MetaConfig(wal_bytes=256 * MiB)


def run(run: Run) -> None:
    """Budget of the design: no turn above 5 ms."""
    count = run.scaled(_UPDATES)
    turns = []
    for _ in range(run.rounds):
        turns.append(run.in_loop(_turns, run, count))
        run.clear()
    calm, busy, seconds = (min(each[i] for each in turns) for i in range(3))
    run.row("longest turn, updates alone", calm * 1e3, "ms")
    what = f"longest turn, updates beside the checkpoint of {count:,}"
    run.row(what, busy * 1e3, "ms", budget=at_most(_TURN_MS))
    run.row(f"checkpoint of {count:,} updates", seconds * 1e3, "ms")
    for updates in (count // 10, count):
        place = run.new_directory()
        run.in_loop(_fill, place, updates)
        seconds = min(run.in_loop(_open_s, place) for _ in range(run.rounds))
        run.row(f"open, {updates:,} updates in the log", seconds * 1e3, "ms")
        run.clear()
        run.row("  each", seconds / updates * 1e6, "µs")


async def _turns(run: Run, count: int) -> tuple[float, float, float]:
    """Longest turn without and with a checkpoint; seconds that the checkpoint took."""
    place = run.new_directory()
    (place / "devices").mkdir()
    directory = FileDirectory(place / "devices")
    async with open_stand(
        directory, place / "live", size_bytes=2048 * MiB, config=_CONFIG
    ) as stand:
        await _update(stand, range(count))
        with LagMeter() as calm:
            await _update(stand, range(count, count + count // 8))
        began = time.perf_counter()
        with LagMeter() as busy:
            task = asyncio.ensure_future(stand.meta.checkpoint())
            first = count + count // 8
            while not task.done():
                await _update(stand, range(first, first + 256))
                first += 256
            await task
        return calm.longest_s, busy.longest_s, time.perf_counter() - began


async def _fill(place: Path, updates: int) -> None:
    """A shard with a log to replay, left as a kill would leave it."""
    (place / "devices").mkdir()
    async with open_stand(
        FileDirectory(place / "devices"),
        place / "live",
        size_bytes=2048 * MiB,
        config=_CONFIG,
    ) as stand:
        await _update(stand, range(updates))


async def _open_s(place: Path) -> float:
    directory = FileDirectory(place / "devices")
    (name,) = directory.names()
    device = await directory.open(name)
    # Opening writes a superblock, but no checkpoint: the next open replays the same log.
    began = time.perf_counter()
    meta = await MetaContext.open(device, config=_CONFIG, live_path=place / "again")
    seconds = time.perf_counter() - began
    await meta.close(checkpoint=False)
    await directory.close()
    return seconds


async def _update(stand: Stand, keys: range) -> None:
    target, call = stand.object(SMALL.number), stand.call()
    value = memoryview(bytes(SMALL.nbytes))

    def start(index: int, ended: Ended) -> None:
        put(target, SMALL.iods, b"%08d" % keys[index], value, call, ended)

    await run_started(len(keys), _DEPTH, start)

"""Cost of one operation as the store fills: dkeys, extents of one akey, versions of one value.

    keys      10^4 to 10^6 100 B single values below dkeys in no order, and 10^7 where the suite is
              asked for by name; updates of new dkeys, of known ones at random and fetches at
              random: the cache of nodes misses as the store grows. Then a checkpoint of all of it,
              and the time to open from that
    extents   one akey of `n` extents; a write over a random place, and a read of 256 records there
    versions  one 100 B value written 10^3 to 10^5 times; a fetch now, a fetch at a random epoch
    log       the time to open from a log of a quarter of a GiB, by its size

Processor time of the loop's thread in VOS and its log; the device's threads and flushes are left
out. The limit of each row is the same operation at 10^4.

Shapes of extents, by what they ask of an index of ranges:

    blocks   equal, one behind the other                       the ordinary file
    mixed    nine powers of two, one more or less              every width class is probed
    stair    each overlaps the three before it                 many candidates for one place
    nested   eight inside each other, the later the smaller    a wide one is hidden everywhere
    stack    a hundred versions of each place                  one place, long history
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.report import Budget
from bench.run import Run
from bench.stand import MiB, Stand, UnflushedDirectory, object_id, open_stand
from daos.base.errors import DaosError
from daos.base.ids import Epoch, ShardIndex, UnitOid
from daos.base.iod import Iod, IodType, Recx
from daos.bio.device import BLOCK
from daos.bio.file_directory import FileDirectory
from daos.bio.meta import MetaConfig, MetaContext

_SIZES: Final = (10**4, 10**5, 10**6)
_SIZE_WHOLE: Final = 10**7
_VERSIONS: Final = (10**3, 10**4, 10**5)
_LOG_UPDATES: Final = 800_000  # about a quarter of a GiB of log
_TURN: Final = 64
_SAMPLES: Final = 1024  # operations of one measurement
_RECXS: Final = 1024  # extents of one update while filling
_READ_RECORDS: Final = 256
_KEYS_GROWTH: Final = Budget(sign="≤", bound=2.0)
_EXTENTS_GROWTH: Final = Budget(sign="≤", bound=1.3)
_CONFIG: Final = MetaConfig(wal_bytes=256 * MiB)
GiB: Final = 1 << 30

Layers = Iterator[Iterator[tuple[int, int]]]  # (lo, width), disjoint within a layer


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtentShape:
    """How `count` extents lie; `width` is what one more write takes."""

    name: str
    width: int
    layers: Callable[[int], Layers]


def run(run: Run) -> None:
    """Budgets of the design: keys at most twice, extents at most 1.3 times the cost at 10^4."""
    sizes = _SIZES[:-1] if run.quick else _SIZES
    place = run.new_directory()
    run.in_loop(_keys, run, place, (*sizes, _SIZE_WHOLE) if run.whole else sizes)
    gib, seconds = run.in_loop(_open_s, place)
    run.row("open from a checkpoint", seconds / gib, "s/GiB")
    run.clear()
    run.in_loop(_versions, run)
    run.clear()
    place = run.new_directory()
    gib = run.in_loop(_fill_log, place, run.scaled(_LOG_UPDATES))
    _, seconds = run.in_loop(_open_s, place)
    run.row("open from a log", seconds / gib, "s/GiB")
    run.clear()
    for shape in SHAPES:
        run.in_loop(_extents, run, shape, sizes if shape is SHAPES[0] else sizes[:2])


async def _keys(run: Run, place: Path, sizes: tuple[int, ...]) -> None:
    (place / "devices").mkdir()
    directory = UnflushedDirectory(FileDirectory(place / "devices"))
    rng = random.Random(1)
    costs: dict[str, float] = {}
    # Room for the tree, twice: the checkpoint in force and the next one.
    size_bytes = (2048 + sizes[-1] // 550) * MiB
    async with open_stand(
        directory, place / "live", size_bytes=size_bytes, config=_config(sizes[-1])
    ) as stand:
        there = 0
        for size in sizes:
            await _updates_s(stand, range(there, size - _SAMPLES))
            there = size
            known = [rng.randrange(size - _SAMPLES) for _ in range(_SAMPLES)]
            found = {
                "update of a new dkey": await _updates_s(stand, range(size - _SAMPLES, size)),
                "update of a known dkey": await _updates_s(stand, known),
                "fetch": await _fetches_s(stand, [rng.randrange(size) for _ in range(_SAMPLES)]),
            }
            for what, seconds in found.items():
                _row(run, costs, f"{what} among", f"{size:,} dkeys", seconds, _KEYS_GROWTH)
        began = time.perf_counter()
        await stand.meta.checkpoint()
        seconds = time.perf_counter() - began
        run.row(f"checkpoint of {sizes[-1]:,} dkeys", seconds / _tree_gib(stand.meta), "s/GiB")


async def _versions(run: Run) -> None:
    place = run.new_directory()
    (place / "devices").mkdir()
    directory = UnflushedDirectory(FileDirectory(place / "devices"))
    rng = random.Random(1)
    costs: dict[str, float] = {}
    async with open_stand(
        directory, place / "live", size_bytes=2048 * MiB, config=_CONFIG
    ) as stand:
        epochs = [stand.hlc.now()]
        there = 0
        for size in _VERSIONS:
            while there < size - _SAMPLES // 2:
                count = min(_SAMPLES, size - _SAMPLES // 2 - there)
                await _updates_s(stand, [0] * count)
                epochs.append(stand.hlc.now())
                there += count
            now = [stand.hlc.now()] * _SAMPLES
            past = [epochs[rng.randrange(1, len(epochs))] for _ in range(_SAMPLES)]
            found = {
                "fetch now": await _fetches_s(stand, [0] * _SAMPLES, now),
                "fetch in the past": await _fetches_s(stand, [0] * _SAMPLES, past),
                "update": await _updates_s(stand, [0] * _SAMPLES),
            }
            there += _SAMPLES
            for what, seconds in found.items():
                _row(run, costs, f"{what} among", f"{size:,} versions", seconds, None)


async def _fill_log(place: Path, updates: int) -> float:
    """A shard with a log to replay, as a kill would leave it; the log's size in GiB."""
    (place / "devices").mkdir()
    directory = UnflushedDirectory(FileDirectory(place / "devices"))
    config = MetaConfig(wal_bytes=2048 * MiB, checkpoint_percent=75)
    async with open_stand(directory, place / "live", size_bytes=6144 * MiB, config=config) as stand:
        await _updates_s(stand, range(updates))
        return stand.meta.statistics().wal.blocks_used * BLOCK / GiB


async def _open_s(place: Path) -> tuple[float, float]:
    """GiB of the tree, and seconds to have it back from the device."""
    directory = FileDirectory(place / "devices")
    (name,) = directory.names()
    device = await directory.open(name)
    began = time.perf_counter()
    meta = await MetaContext.open(device, config=MetaConfig(), live_path=place / "again")
    seconds = time.perf_counter() - began
    gib = _tree_gib(meta)
    await meta.close(checkpoint=False)
    await directory.close()
    return gib, seconds


def _config(keys: int) -> MetaConfig:
    """A log of a quarter of the tree, as the design asks for, and 256 MiB at least."""
    return MetaConfig(wal_bytes=max(256, keys // 7000) * MiB)


def _tree_gib(meta: MetaContext) -> float:
    return meta.statistics().tree_pages * BLOCK / GiB


async def _extents(run: Run, shape: ExtentShape, sizes: tuple[int, ...]) -> None:
    costs: dict[str, float] = {}
    for size in sizes:
        place = run.new_directory()
        (place / "devices").mkdir()
        directory = UnflushedDirectory(FileDirectory(place / "devices"))
        async with open_stand(
            directory, place / "live", size_bytes=3072 * MiB, config=_CONFIG
        ) as stand:
            rng = random.Random(1)
            end = await _fill(stand, shape, size)
            places = [rng.randrange(end) for _ in range(_SAMPLES)]
            reads = min([await _reads_s(stand, places) for _ in range(run.rounds)])
            writes = await _writes_s(stand, shape.width, places)
        run.clear()
        where = f"{size:,} extents, {shape.name}"
        budget = _EXTENTS_GROWTH if shape is SHAPES[0] else None
        _row(run, costs, "read in", where, reads, budget)
        _row(run, costs, "write in", where, writes, budget)


def _row(
    run: Run,
    costs: dict[str, float],
    what: str,
    where: str,
    seconds: float,
    budget: Budget | None,
) -> None:
    cost = seconds / _SAMPLES * 1e6
    limit = (costs[what], "at the smallest") if what in costs else None
    costs.setdefault(what, cost)
    run.row(f"{what} {where}", cost, "µs", limit=limit, budget=budget if limit else None)


_KEY_IODS: Final = (Iod(b"a", IodType.SINGLE, 100),)
_KEYS: Final = UnitOid(object_id(1), ShardIndex(0))
_ARRAY: Final = UnitOid(object_id(2), ShardIndex(0))


async def _updates_s(stand: Stand, numbers: range | list[int]) -> float:
    """Processor seconds."""
    container, value = stand.container, bytes(100)
    began = time.thread_time()
    for first in range(0, len(numbers), _TURN):
        for number in numbers[first : first + _TURN]:
            update = container.update_begin(_KEYS, b"%08d" % number, _KEY_IODS)
            update.destinations[0][:] = value
            container.update_end(update, stand.hlc.now())
        await _settle(stand)
    return time.thread_time() - began


async def _fetches_s(stand: Stand, numbers: list[int], epochs: list[Epoch] | None = None) -> float:
    container, into = stand.container, bytearray(100)
    epochs = epochs or [stand.hlc.now()] * len(numbers)
    began = time.thread_time()
    for number, epoch in zip(numbers, epochs, strict=True):
        fetch = container.fetch_begin(_KEYS, b"%08d" % number, _KEY_IODS, epoch)
        container.fetch_read(fetch, _raise)
        into[:] = fetch.views[0]
        container.fetch_end(fetch)
    return time.thread_time() - began


async def _fill(stand: Stand, shape: ExtentShape, count: int) -> int:
    """Write the extents of a shape; one past their last record."""
    end = 0
    for layer in shape.layers(count):
        extents = list(layer)
        end = max(end, *(lo + width for lo, width in extents))
        for first in range(0, len(extents), _RECXS):
            _write(stand, extents[first : first + _RECXS])
            await _settle(stand)
    return end


async def _writes_s(stand: Stand, width: int, places: list[int]) -> float:
    began = time.thread_time()
    for first in range(0, len(places), _TURN):
        for lo in places[first : first + _TURN]:
            _write(stand, [(lo, width)])
        await _settle(stand)
    return time.thread_time() - began


async def _reads_s(stand: Stand, places: list[int]) -> float:
    container = stand.container
    began = time.thread_time()
    for lo in places:
        iods = (Iod(b"a", IodType.ARRAY, 1, (Recx(lo, _READ_RECORDS),)),)
        fetch = container.fetch_begin(_ARRAY, b"d", iods, stand.hlc.now())
        container.fetch_read(fetch, _raise)
        container.fetch_end(fetch)
    return time.thread_time() - began


def _write(stand: Stand, extents: list[tuple[int, int]]) -> None:
    iods = (Iod(b"a", IodType.ARRAY, 1, tuple([Recx(lo, width) for lo, width in extents])),)
    update = stand.container.update_begin(_ARRAY, b"d", iods)
    stand.container.update_end(update, stand.hlc.now())


async def _settle(stand: Stand) -> None:
    """Let the log go out; wait for its room, as the target does before an update."""
    meta = stand.meta
    await meta.durable(meta.lsn_last)
    if not meta.log_has_room:
        await meta.checkpoint()


def _raise(error: DaosError | None) -> None:
    if error is not None:
        raise error


def _blocks(count: int) -> Layers:
    yield ((i * 64, 64) for i in range(count))


def _mixed(count: int) -> Layers:
    rng = random.Random(2)
    yield (
        (i * 512, max(1, (1 << rng.randrange(9)) + rng.choice((-1, 0, 1)))) for i in range(count)
    )


def _stair(count: int) -> Layers:
    for step in range(4):
        yield ((i * 16, 64) for i in range(step, count, 4))


def _nested(count: int) -> Layers:
    for depth in range(8):
        yield ((i * 256 + 16 * depth, 256 - 32 * depth) for i in range(count // 8))


def _stack(count: int) -> Layers:
    for _ in range(100):
        yield ((i * 64, 64) for i in range(count // 100))


SHAPES: Final = (
    ExtentShape(name="blocks", width=64, layers=_blocks),
    ExtentShape(name="mixed", width=65, layers=_mixed),
    ExtentShape(name="stair", width=64, layers=_stair),
    ExtentShape(name="nested", width=64, layers=_nested),
    ExtentShape(name="stack", width=64, layers=_stack),
)

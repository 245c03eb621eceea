"""Large updates hashed ahead, slice by slice: the end finds what it would have computed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from daos.base import checksum
from daos.base.checksum import ChecksumType, compute
from daos.base.errors import NoSpaceError
from daos.base.ids import Epoch
from daos.base.iod import Iod, IodType, Recx
from daos.bio import descriptor, one_value
from daos.bio.space import Extent, Hint, Space
from daos.testing.shard import MemoryShard, memory_shard, on_shard, unit
from daos.vos import dedup, hashing
from daos.vos import update as vos_update
from daos.vos.container import VosContainer
from daos.vos.dedup_record import DedupMode, DedupSetting
from daos.vos.update import Update

OID = unit(1)
FAST, SLOW = 16 << 10, 4 << 10
SIZE = 100_000
RANGES = (Recx(0, SIZE), Recx(200_000, 30_000), Recx(300_000, 2 * 4096), Recx(400_000, 10))
SHAPES = {
    "single": [Iod(b"a", IodType.SINGLE, SIZE)],
    "whole blocks": [Iod(b"a", IodType.SINGLE, 25 * 4096)],
    "ranges": [Iod(b"a", IodType.ARRAY, 1, RANGES)],
    "both": [
        Iod(b"a", IodType.SINGLE, SIZE),
        Iod(b"b", IodType.ARRAY, 2, RANGES),
        Iod(b"c", IodType.ARRAY, 0, (Recx(0, 9),)),
        Iod(b"d", IodType.SINGLE, 0),
        Iod(b"e", IodType.SINGLE, 50),
    ],
}
DEDUPS = [None, DedupSetting(DedupMode.HASH, 4096), DedupSetting(DedupMode.MEMCMP, 4096)]


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksum, "_SLICE", FAST)
    monkeypatch.setattr(checksum, "_SLICE_SLOW", SLOW)


def scattered(space: Space, patch: pytest.MonkeyPatch) -> None:
    """No more than three blocks are free in a row."""
    reserve = space.reserve

    def short(count: int, hint: Hint | None = None) -> Extent:
        if count > 3:
            raise NoSpaceError("three in a row")
        return reserve(count, hint)

    patch.setattr(space, "reserve", short)


def begun(c: VosContainer, iods: list[Iod], kind: ChecksumType) -> Update:
    update = c.update_begin(OID, b"d", iods, csum_type=kind, csum_chunk=10_000)
    source = random.Random(1)
    for destination in update.destinations:
        destination[:] = source.randbytes(len(destination))
    return update


async def stored(
    iods: list[Iod],
    kind: ChecksumType,
    setting: DedupSetting | None,
    *,
    ahead: bool,
    scatter: bool,
) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
    """The tree, and the bytes of the values, after two equal updates and a cut of the power."""
    async with memory_shard() as shard:
        c = shard.container()
        c.deduplicate(setting)
        with pytest.MonkeyPatch.context() as patch:
            if scatter:
                scattered(shard.meta.space, patch)
            for epoch in (10, 20):
                update = begun(c, iods, kind)
                if ahead:
                    steps = c.update_hash(update, ChecksumType.CRC32)
                    assert steps is not None
                    assert len(list(steps)) >= update.nbytes // FAST
                    values = update.destinations
                    assert update.way == [compute(ChecksumType.CRC32, each) for each in values]
                for match in c.dedup_matches(update):
                    match.span.equal = match.run
                await shard.meta.durable(c.update_end(update, Epoch(epoch)))
        await shard.reopen()
        c = shard.container()
        _, views = await shard.fetch(c, OID, b"d", iods[:1], epoch=30)
        tree = [(bytes(key), bytes(value)) for key, value in shard.meta.cursor()]
        return tree, views


@pytest.mark.parametrize("scatter", [False, True])
@pytest.mark.parametrize("setting", DEDUPS, ids=["", "hash", "memcmp"])
@pytest.mark.parametrize("kind", [ChecksumType.OFF, ChecksumType.CRC64, ChecksumType.SHA256])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_stored_is_the_same(
    shape: str, kind: ChecksumType, setting: DedupSetting | None, scatter: bool
) -> None:
    both = [
        asyncio.run(stored(SHAPES[shape], kind, setting, ahead=ahead, scatter=scatter))
        for ahead in (False, True)
    ]
    assert both[0] == both[1]


@pytest.mark.parametrize("setting", DEDUPS, ids=["", "hash", "memcmp"])
@pytest.mark.parametrize("kind", [ChecksumType.OFF, ChecksumType.SHA256])
@pytest.mark.parametrize("shape", SHAPES)
@on_shard
async def test_the_end_reads_no_payload(
    shard: MemoryShard,
    c: VosContainer,
    shape: str,
    kind: ChecksumType,
    setting: DedupSetting | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So it takes no longer however large the payload is, and by whatever algorithm."""
    c.deduplicate(setting)
    await shard.put(c, OID, b"d", {b"x": b"1"}, epoch=5)
    update = begun(c, SHAPES[shape], kind)
    for _ in c.update_hash(update, ChecksumType.XXH3) or ():
        pass

    def refuse(*_arguments: object, **_options: object) -> bytes:
        raise AssertionError("the payload is read once more")

    for module in (descriptor, one_value):
        monkeypatch.setattr(module, "xxh3", refuse)
    for name in ("compute", "compute_chunks", "xxh3_64_intdigest"):
        monkeypatch.setattr(vos_update, name, refuse)
    monkeypatch.setattr(dedup, "sha256", refuse)
    monkeypatch.setattr(dedup.xxhash, "xxh3_128", refuse)
    await shard.meta.durable(c.update_end(update, Epoch(10)))


@on_shard
async def test_small_ones_are_not_worth_it(shard: MemoryShard, c: VosContainer) -> None:
    for kind, nbytes in ((ChecksumType.XXH3, FAST), (ChecksumType.SHA1, SLOW)):
        for more in (0, 1):
            update = begun(c, [Iod(b"a", IodType.SINGLE, nbytes + more)], kind)
            steps = c.update_hash(update, ChecksumType.XXH3)
            assert (steps is None) is (not more)
            c.update_cancel(update)
    c.deduplicate(DEDUPS[1])
    update = begun(c, [Iod(b"a", IodType.SINGLE, SLOW + 1)], ChecksumType.XXH3)
    assert c.update_hash(update, ChecksumType.XXH3) is not None
    c.update_cancel(update)
    assert hashing.HASHED_MIN == 512 << 10


@on_shard
async def test_many_small_values_share_a_turn(shard: MemoryShard, c: VosContainer) -> None:
    ranges = tuple(Recx(1000 * number, 100) for number in range(1000))
    update = begun(c, [Iod(b"a", IodType.ARRAY, 1, ranges)], ChecksumType.OFF)
    steps: Iterator[None] | None = c.update_hash(update, ChecksumType.XXH3)
    assert steps is not None
    assert len(list(steps)) == 2 * (100_000 // FAST)
    c.update_cancel(update)


@on_shard
async def test_every_run_that_may_be_shared_has_room_for_its_records(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fragmented value is as many extents, each with a place and a content of its own."""
    c.deduplicate(DEDUPS[1])
    ranges = tuple(Recx(number * 12_288, 12_288) for number in range(60))
    several = c.update_begin(OID, b"d", [Iod(b"a", IodType.ARRAY, 1, ranges)])
    scattered(shard.meta.space, monkeypatch)
    iods = [Iod(b"a", IodType.ARRAY, 1, (Recx(0, 60 * 12_288),))]
    one = c.update_begin(OID, b"d", iods)
    assert len(one.taken.runs) >= 60
    assert one.hold.tree_pages >= several.hold.tree_pages
    c.update_cancel(one)
    c.update_cancel(several)

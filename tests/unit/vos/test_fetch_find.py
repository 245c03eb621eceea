"""Fetches that take more than one turn of the loop: found in steps, as if all at once."""

from __future__ import annotations

import random

import pytest

from daos.base.errors import BusyError, InvalidError, NotFoundError, StaleHandleError
from daos.base.ids import Epoch
from daos.base.iod import Cond, Iod, IodType, Recx
from daos.bio.pieces import Inline, Stored
from daos.bio.space import Extent
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos import fetch as vos_fetch
from daos.vos import fetch_steps
from daos.vos.aggregate import AggregateConfig
from daos.vos.container import VosContainer
from daos.vos.fetch import Fetch
from daos.vos.merge import MergeConfig
from tests.unit.vos.tree_calls import Counts

OID = unit(1)
NAMES = (b"d", b"a")
WHOLE = Iod(b"a", IodType.ARRAY, 1, (Recx(0, 4000),))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vos_fetch, "PATIENCE", 5)
    monkeypatch.setattr(fetch_steps, "PATIENCE", 5)
    monkeypatch.setattr(fetch_steps, "_STACKS", 3)


def told(fetch: Fetch) -> tuple[object, ...]:
    """All that a fetch says."""
    return fetch.sizes, fetch.segments, fetch.pieces, fetch.spans, fetch.nbytes, fetch.is_stored


def content(shard: MemoryShard, fetch: Fetch, size: int) -> bytes:
    """What the reader of one range gets; read without the store's own reading."""
    data = bytearray(size)
    parts = iter(fetch.parts)
    for _, _, first, count in fetch.pieces:
        part = next(parts)
        if isinstance(part, Inline):
            data[first : first + count] = part.data
        else:
            block = memoryview(bytearray(part.blocks.count * 4096))
            assert shard.meta.device.read_nowait(part.blocks.block * 4096, block)
            data[first : first + count] = block[part.offset : part.offset + count]
    return bytes(data)


def blocks_free(shard: MemoryShard) -> set[int]:
    """Every block that somebody could get now."""
    space, runs = shard.meta.space, list[Extent]()
    while space.blocks_longest:
        runs.append(space.reserve(space.blocks_longest))
    for run in runs:
        space.cancel(run)
    return {block + at for block, count in runs for at in range(count)}


async def write_some(shard: MemoryShard, c: VosContainer, rng: random.Random, epoch: int) -> None:
    lo, nbytes = rng.randrange(3000), rng.choice((1, 7, 60, 900))
    await shard.write(c, OID, NAMES, {lo: rng.randbytes(nbytes)}, epoch=epoch)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("seed", range(20))
@on_shard
async def test_it_is_the_same_as_at_once(shard: MemoryShard, c: VosContainer, seed: int) -> None:
    rng = random.Random(seed)
    for epoch in range(10, 10 + rng.choice((3, 30, 60))):
        await write_some(shard, c, rng, epoch)
    if rng.random() < 0.3:
        c.punch(OID, Epoch(99), dkey=b"d", akeys=[b"a"])
    iods = []
    for number in range(rng.choice((1, 4, 12))):
        akey = rng.choice((b"a", b"single", b"none"))
        ranges = tuple(Recx(lo, 300) for lo in range(0, 300 * rng.choice((1, 3, 9)), 300))
        iods.append(
            Iod(akey, IodType.ARRAY, 0, ranges) if akey == b"a" else Iod(akey, IodType.SINGLE, 0)
        )
        await shard.put(c, OID, b"d", {b"single": b"%d" % number}, epoch=100 + number)
    iods.append(WHOLE)
    epoch = Epoch(rng.randrange(10, 120))
    want = c.fetch_begin(OID, b"d", iods, epoch)
    fetch = c.fetch_begin(OID, b"d", iods, epoch, patience=5)
    if fetch.asked is not None:
        assert fetch.pin is not None
        for step, _ in enumerate(c.fetch_find(fetch)):
            if step % 3 == 0:
                await shard.put(c, OID, b"d", {b"single": b"later"}, epoch=300 + step)
    assert fetch.asked is None
    assert told(fetch) == told(want)
    assert fetch.lsn >= want.lsn
    c.fetch_end(fetch)
    c.fetch_end(want)
    assert shard.meta.space.statistics().pins == 0


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("seed", range(10))
@on_shard
async def test_aggregation_and_writes_between_two_steps(
    shard: MemoryShard, c: VosContainer, seed: int
) -> None:
    """What is merged meanwhile lies elsewhere, and in other width classes; the bytes are the same,
    and the blocks of those that were found before are not written again."""
    rng = random.Random(seed)
    for epoch in range(10, 60):
        await write_some(shard, c, rng, epoch)
    for lo in range(5000, 40_000, 5000):  # in blocks
        await shard.write(c, OID, NAMES, {lo: rng.randbytes(5000)}, epoch=60)
    iods = [Iod(b"a", IodType.ARRAY, 1, (Recx(0, 45_000),))]
    whole = c.fetch_begin(OID, b"d", iods, Epoch(100))
    want = content(shard, whole, 45_000)
    c.fetch_end(whole)
    dry = c.fetch_begin(OID, b"d", iods, Epoch(100), patience=5)
    steps = len(list(c.fetch_find(dry)))
    c.fetch_end(dry)
    at = rng.choice((2, steps - 3))
    fetch = c.fetch_begin(OID, b"d", iods, Epoch(100), patience=5)
    lsn, free = fetch.lsn, set[int]()
    for step, _ in enumerate(c.fetch_find(fetch)):
        if step == at:
            config = AggregateConfig(merge=MergeConfig(force=True))
            await shard.finish(c.aggregate(0, 100, config=config))
            for epoch in range(200, 230):
                await write_some(shard, c, rng, epoch)
            free = blocks_free(shard)
    assert content(shard, fetch, 45_000) == want
    used = [part.blocks for part in fetch.parts if isinstance(part, Stored)]
    assert not free & {block + at for block, count in used for at in range(count)}
    assert fetch.lsn > lsn  # what was merged must be durable before it is shown
    c.fetch_end(fetch)


@pytest.mark.usefixtures("impatient")
@on_shard
async def test_what_ends_it_early(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(40):
        await shard.write(c, OID, NAMES, {10 * number: b"x"}, epoch=10 + number)

    def finish(*iods: Iod, cond: int = 0) -> list[None]:
        fetch = c.fetch_begin(OID, b"d", iods, Epoch(100), cond=cond, patience=5)
        assert fetch.asked is not None
        try:
            return list(c.fetch_find(fetch))
        finally:
            c.fetch_end(fetch)
            assert shard.meta.space.statistics().pins == 0

    with pytest.raises(InvalidError, match="records of this akey have 1 bytes"):
        finish(Iod(b"a", IodType.ARRAY, 3, (Recx(0, 400),)))
    none = Iod(b"none", IodType.ARRAY, 1, (Recx(0, 1),))
    with pytest.raises(NotFoundError, match="akey not found") as caught:
        finish(WHOLE, none, cond=int(Cond.AKEY_FETCH))
    assert caught.value.lsn > 0
    fetch = c.fetch_begin(OID, b"d", [WHOLE], Epoch(100), patience=5)
    steps = c.fetch_find(fetch)
    next(steps)
    next(steps)
    c.delete_key(OID, b"d", b"a")
    assert list(steps) == []
    assert fetch.sizes == [0]
    c.fetch_end(fetch)
    fetch = c.fetch_begin(OID, b"d", [none] * 9, Epoch(100), patience=5)
    steps = c.fetch_find(fetch)
    next(steps)
    shard.pool.destroy_container(c.uuid)
    with pytest.raises(StaleHandleError):
        next(steps)


@on_shard
async def test_a_turn_is_bounded(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,000 extents, visible or all hidden by a wide one; 500 ranges; 1,000 akeys."""
    for number in range(2000):
        await shard.write(c, OID, NAMES, {2 * number: b"x"}, epoch=10 + number)
    await shard.write(c, OID, NAMES, {0: bytes(4000)}, epoch=5000)
    ranges = Iod(b"a", IodType.ARRAY, 1, tuple(Recx(8 * at, 1) for at in range(500)))
    akeys = [Iod(b"%d" % number, IodType.SINGLE, 0) for number in range(1000)]
    counts = Counts(shard, monkeypatch)
    for iods, epoch in (([WHOLE], 4000), ([WHOLE], 6000), ([ranges], 4000), (akeys, 6000)):
        counts.take()
        fetch = c.fetch_begin(OID, b"d", iods, Epoch(epoch), patience=vos_fetch.PATIENCE)
        taken = [counts.take()]
        assert fetch.asked is not None
        taken += [counts.take() for _ in c.fetch_find(fetch)]
        taken.append(counts.take())
        assert max(taken) < 2000
        assert len(taken) > 5
        if iods == [ranges]:  # each looks at its own stacks, not at 128 of those behind it
            assert sum(taken) < 40 * len(ranges.recxs)
            assert len(taken) < len(ranges.recxs) / 10
        c.fetch_end(fetch)


@on_shard
async def test_a_short_one_is_through_at_once(shard: MemoryShard, c: VosContainer) -> None:
    await shard.write(c, OID, NAMES, {0: b"x" * 4000}, epoch=10)
    fetch = c.fetch_begin(OID, b"d", [WHOLE], Epoch(100), patience=vos_fetch.PATIENCE)
    assert (fetch.asked, fetch.sizes) == (None, [1])


@pytest.mark.usefixtures("impatient")
@on_shard
async def test_what_is_looked_for_in_steps_is_not_forgotten_between_them(
    shard: MemoryShard, c: VosContainer
) -> None:
    """An aggregation up to now, which a reader of before is in the way of."""
    for lo in range(0, 4000, 100):
        await shard.write(c, OID, NAMES, {lo: b"old" * 33 + b"."}, epoch=10)
    whole = c.fetch_begin(OID, b"d", [WHOLE], Epoch(20))
    want = content(shard, whole, 4000)
    c.fetch_end(whole)
    fetch = c.fetch_begin(OID, b"d", [WHOLE], Epoch(20), patience=5)
    for step, _ in enumerate(c.fetch_find(fetch)):
        if step == 3:
            await shard.write(c, OID, NAMES, {0: b"n" * 4000}, epoch=30)
            await shard.finish(c.aggregate(0, 19))
            await shard.finish(c.aggregate(21, 40))
            with pytest.raises(BusyError, match="read"):
                c.aggregate(0, 40)
    assert content(shard, fetch, 4000) == want
    c.fetch_end(fetch)
    await shard.finish(c.aggregate(0, 40))


@pytest.mark.usefixtures("impatient")
@on_shard
async def test_a_search_that_is_given_up_is_in_nobodys_way(
    shard: MemoryShard, c: VosContainer
) -> None:
    for lo in range(0, 4000, 100):
        await shard.write(c, OID, NAMES, {lo: b"old" * 33 + b"."}, epoch=10)
    fetch = c.fetch_begin(OID, b"d", [WHOLE], Epoch(20), patience=5)
    steps = c.fetch_find(fetch)
    next(steps)
    with pytest.raises(BusyError):
        c.aggregate(0, 40)
    del steps
    c.fetch_end(fetch)
    await shard.finish(c.aggregate(0, 40))

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from daos.base.errors import ChecksumError, InvalidError, NotFoundError
from daos.base.ids import Epoch
from daos.base.iod import Cond, Iod, IodType, Recx
from daos.bio.descriptor import Hole, Inline, Stored
from daos.bio.device import BLOCK
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.container import VosContainer

OID = unit(1)
SINGLE, ARRAY = IodType.SINGLE, IodType.ARRAY


@on_shard
async def test_segments(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"i": b"inline", b"s": b"s" * 5000}, epoch=10)
    await shard.write(c, OID, (b"d", b"a"), {10: b"i" * 10, 30: b"s" * 6000}, epoch=10)
    iods = [
        Iod(b"s", SINGLE, 0),
        Iod(b"none", SINGLE, 0),
        Iod(b"a", ARRAY, 1, (Recx(0, 5), Recx(5, 10), Recx(18, 20))),
        Iod(b"i", SINGLE, 0),
    ]
    fetch, views = await shard.fetch(c, OID, b"d", iods, epoch=10)
    assert fetch.sizes == [5000, 0, 1, 6]
    assert fetch.pieces == [(0, 0, 0, 1), (2, 1, 5, 5), (2, 2, 0, 2), (2, 2, 12, 8), (3, 0, 0, 1)]
    assert views == [b"s" * 5000, b"i" * 5, b"ii", b"s" * 8, b"inline"]
    assert fetch.nbytes == sum(map(len, views))
    kinds = [[[type(part) for part in found] for found in iod] for iod in fetch.segments]
    assert kinds == [
        [[Stored]],
        [],
        [[Hole], [Hole, Inline], [Inline, Hole, Stored]],
        [[Inline]],
    ]


@on_shard
async def test_conditions(shard: MemoryShard, c: VosContainer) -> None:
    lsn = await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    get = partial(shard.get, c)
    assert await get(OID, b"d", b"a", epoch=10, cond=Cond.DKEY_FETCH | Cond.AKEY_FETCH) == b"x"
    assert await get(OID, b"d", b"b", epoch=10, cond=Cond.DKEY_FETCH) is None
    for oid, dkey, akey, epoch, cond in (
        (OID, b"d", b"b", 10, Cond.AKEY_FETCH),
        (OID, b"d", b"a", 9, Cond.AKEY_FETCH),
        (OID, b"e", b"a", 10, Cond.AKEY_FETCH),
        (OID, b"e", b"a", 10, Cond.DKEY_FETCH),
        (OID, b"d", b"a", 9, Cond.DKEY_FETCH),
        (unit(2), b"d", b"a", 10, Cond.DKEY_FETCH),
    ):
        with pytest.raises(NotFoundError) as caught:
            await get(oid, dkey, akey, epoch=epoch, cond=cond)
        assert caught.value.lsn == (lsn if (oid, dkey) == (OID, b"d") else 0)
    assert shard.meta.space.statistics().pins == 0


@pytest.mark.parametrize("epoch", [0, -1, 1 << 64])
@on_shard
async def test_epochs_that_are_none(shard: MemoryShard, c: VosContainer, epoch: int) -> None:
    with pytest.raises(InvalidError):
        c.fetch_begin(OID, b"d", [Iod(b"a", SINGLE, 0)], Epoch(epoch))


@on_shard
async def test_lsn_is_that_of_what_was_seen(shard: MemoryShard, c: VosContainer) -> None:
    first = await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    second = await shard.put(c, OID, b"e", {b"a": b"x"}, epoch=11)
    assert first < second
    iods = [Iod(b"a", SINGLE, 0)]
    assert (await shard.fetch(c, OID, b"d", iods, epoch=12))[0].lsn == first
    assert (await shard.fetch(c, OID, b"e", iods, epoch=12))[0].lsn == second
    punched = c.punch(OID, Epoch(20))
    for dkey in (b"d", b"e"):
        assert (await shard.fetch(c, OID, dkey, iods, epoch=25))[0].lsn == punched


def flip(shard: MemoryShard, block: int, byte: int = 0) -> None:
    shard.device.image.flip(block * BLOCK + byte)


@on_shard
async def test_damaged_blocks_are_never_shown(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"s": b"s" * 9000}, epoch=10)
    await shard.write(c, OID, (b"d", b"a"), {0: b"a" * 100_000}, epoch=10)
    ((block, count),) = shard.meta.space.snapshot()
    assert count == 3 + 25
    flip(shard, block + 2, 9000 - 8192 - 1)
    flip(shard, block + 3)
    with pytest.raises(ChecksumError):
        await shard.get(c, OID, b"d", b"s", epoch=10)
    with pytest.raises(ChecksumError):
        await shard.read(c, OID, (b"d", b"a"), (0, 100_000), epoch=10)
    # The chunks of 32 KiB that are intact can be read.
    assert await shard.read(c, OID, (b"d", b"a"), (70_000, 80_000), epoch=10) == b"a" * 10_000
    assert shard.meta.space.statistics().pins == 0
    assert shard.meta.memory.statistics().buffers_in_use == 0


@on_shard
async def test_damage_in_the_tree(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"s": b"value"}, epoch=10)
    await shard.write(c, OID, (b"d", b"a"), {0: b"value"}, epoch=10)
    cursor = shard.meta.cursor()
    found = [(bytes(key), bytes(value)) for key, value in cursor if value.endswith(b"value")]
    assert len(found) == 2
    tx = shard.meta.begin()
    for key, value in found:
        tx.put(key, value[:-1] + b"E")
    tx.commit()
    with pytest.raises(ChecksumError):
        await shard.get(c, OID, b"d", b"s", epoch=10)
    with pytest.raises(ChecksumError):
        await shard.read(c, OID, (b"d", b"a"), (0, 5), epoch=10)


@on_shard
async def test_pins_keep_what_is_being_read(shard: MemoryShard, c: VosContainer) -> None:
    """Blocks that are freed while a fetch is on its way are not handed out again."""
    await shard.write(c, OID, (b"d", b"a"), {0: b"1" * 8192}, epoch=10)
    fetch = c.fetch_begin(OID, b"d", [Iod(b"a", ARRAY, 1, (Recx(0, 8192),))], Epoch(10))
    for value in (b"2", b"3", b"4", b"5"):
        await shard.write(c, OID, (b"d", b"a"), {0: value * 8192}, epoch=10)
    assert shard.meta.space.blocks_aging == 4 * 2
    done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    c.fetch_read(fetch, done.set_result)
    assert await done is None
    assert bytes(fetch.views[0]) == b"1" * 8192
    c.fetch_end(fetch)
    c.fetch_end(fetch)
    await shard.put(c, OID, b"d", {b"x": b"x"}, epoch=11)
    await shard.put(c, OID, b"d", {b"x": b"x"}, epoch=12)
    assert shard.meta.space.blocks_aging == 0


@on_shard
async def test_slow_reads_and_an_early_end(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"s": b"s" * 9000}, epoch=10)
    shard.device.cached = False
    assert await shard.get(c, OID, b"d", b"s", epoch=10) == b"s" * 9000
    fetch = c.fetch_begin(OID, b"d", [Iod(b"s", SINGLE, 0)], Epoch(10))
    c.fetch_read(fetch, lambda error: None)
    c.fetch_end(fetch)
    await shard.put(c, OID, b"d", {b"t": b"t"}, epoch=11)
    assert shard.meta.memory.statistics().buffers_in_use == 0
    assert shard.meta.space.statistics().pins == 0


@on_shard
async def test_nothing_for_this_reader(shard: MemoryShard, c: VosContainer) -> None:
    """The other type; ranges that were punched, or never written."""
    await shard.put(c, OID, b"d", {b"s": b"x", b"p": b"x"}, epoch=10)
    await shard.write(c, OID, (b"d", b"a"), {0: b"1234", 8: b"5678"}, epoch=10)
    await shard.update(c, OID, b"d", [Iod(b"a", ARRAY, 0, (Recx(0, 6),))], b"", epoch=11)
    await shard.put(c, OID, b"d", {b"p": b""}, epoch=11)
    iods = [
        Iod(b"a", SINGLE, 0),
        Iod(b"s", ARRAY, 0, (Recx(0, 1),)),
        Iod(b"p", SINGLE, 0),
        Iod(b"a", ARRAY, 0, (Recx(0, 6), Recx(100, 5))),
    ]
    fetch, views = await shard.fetch(c, OID, b"d", iods, epoch=11)
    assert fetch.sizes == [0, 0, 0, 0]
    assert fetch.segments == [[], [], [], []]
    assert views == []


@on_shard
async def test_wrong_record_size(shard: MemoryShard, c: VosContainer) -> None:
    await shard.write(c, OID, (b"d", b"a"), {0: b"1234"}, epoch=10, record_size=4)
    iod = Iod(b"a", ARRAY, 2, (Recx(0, 1),))
    with pytest.raises(InvalidError):
        c.fetch_begin(OID, b"d", [iod], Epoch(10))
    fetch, _ = await shard.fetch(c, OID, b"d", [iod], epoch=9)
    assert fetch.sizes == [0]
    fetch, _ = await shard.fetch(c, OID, b"d", [Iod(b"a", ARRAY, 4, (Recx(0, 1),))], epoch=10)
    assert fetch.sizes == [4]

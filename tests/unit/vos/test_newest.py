from __future__ import annotations

import random

import pytest

from daos.base.errors import InvalidError, StaleHandleError
from daos.base.ids import EPOCH_MAX, Epoch
from daos.base.iod import Iod, IodType, Recx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.container import VosContainer

OID = unit(1)


def newest(c: VosContainer, epoch: int, credits: int = 3) -> int:
    search = c.newest_epoch(OID, Epoch(epoch))
    while search.step(credits):
        pass
    return search.epoch


@pytest.mark.parametrize("seed", range(6))
@on_shard
async def test_every_change_counts(shard: MemoryShard, c: VosContainer, seed: int) -> None:
    """Values, holes and punches of all levels, at random epochs, some of another object."""
    c.modification_bound = Epoch(0)
    rng = random.Random(seed)
    changes = sorted(rng.sample(range(1, 500), 60))
    ours = []
    for epoch in changes:
        oid = OID if rng.random() < 0.7 else unit(2)
        dkey, akey = b"d%d" % rng.randrange(3), b"%d" % rng.randrange(2)
        match rng.randrange(6):
            case 0:
                c.punch(oid, Epoch(epoch), dkey=dkey)
            case 1:
                c.punch(oid, Epoch(epoch), dkey=dkey, akeys=[akey])
            case 2:
                hole = Iod(b"a" + akey, IodType.ARRAY, 0, (Recx(rng.randrange(99), 9),))
                await shard.update(c, oid, dkey, [hole], b"", epoch=epoch)
            case 3 | 4:
                data = bytes(rng.randrange(1, 200))
                where = {rng.randrange(1 << rng.randrange(20)): data}
                await shard.write(c, oid, (dkey, b"a" + akey), where, epoch=epoch)
            case _:
                await shard.put(c, oid, dkey, {b"s" + akey: b"value"}, epoch=epoch)
        if oid == OID:
            ours.append(epoch)
    if 1 not in ours:
        assert newest(c, 1) == 0
    for epoch in (*range(1, 520, 7), EPOCH_MAX):
        expected = max([each for each in ours if each <= epoch], default=0)
        assert newest(c, epoch, rng.randrange(1, 9)) == expected


@on_shard
async def test_it_goes_in_steps_and_waits_for_what_it_saw(
    shard: MemoryShard, c: VosContainer
) -> None:
    for number in range(40):
        lsn = await shard.put(c, OID, b"%d" % number, {b"a": b"x"}, epoch=10 + number)
    search = c.newest_epoch(OID, Epoch(100))
    steps = 1
    while search.step(8):
        steps += 1
    assert search.epoch == 49
    assert search.lsn == lsn
    assert 10 <= steps <= 20
    search = c.newest_epoch(OID, Epoch(100))
    assert search.step(8)
    shard.pool.destroy_container(c.uuid)
    with pytest.raises(StaleHandleError):
        search.step(8)


@on_shard
async def test_nothing_there(shard: MemoryShard, c: VosContainer) -> None:
    assert newest(c, 99) == 0
    for epoch in (0, EPOCH_MAX + 1):
        with pytest.raises(InvalidError):
            c.newest_epoch(OID, Epoch(epoch))

from __future__ import annotations

import uuid

import pytest

from daos.base.errors import CorruptError
from daos.base.ids import ContainerUuid, Epoch
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos import gc, keys
from daos.vos.container import VosContainer


async def fill(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(3):
        for dkey in (b"d1", b"d2"):
            await shard.put(c, unit(number), dkey, {b"s": b"x" * 5000, b"t": b"y"}, epoch=10)
            await shard.put(c, unit(number), dkey, {b"s": b"x" * 6000}, epoch=20)
            await shard.write(c, unit(number), (dkey, b"a"), {0: bytes(5000), 9000: b"q"}, epoch=21)
    c.punch(unit(7), Epoch(30), dkey=b"never")


@pytest.mark.parametrize("credits", [1, 2, 3, 10, 10_000])
@on_shard
async def test_nothing_is_left(shard: MemoryShard, c: VosContainer, credits: int) -> None:
    empty = shard.meta.statistics().tree_entries - 1
    await fill(shard, c)
    full = shard.meta.statistics().tree_entries
    shard.pool.destroy_container(c.uuid)
    steps, before = 0, full
    while shard.pool.gc_step(credits):
        steps += 1
        entries = shard.meta.statistics().tree_entries
        assert before - entries <= credits
        before = entries
        if steps % 50 == 0:
            await shard.meta.durable(shard.meta.lsn_next - 1)
    assert steps >= (full - empty) / credits
    assert shard.meta.statistics().tree_entries == empty
    assert shard.meta.space.blocks_allocated == 0
    assert not gc.step(shard.meta, 1)


@on_shard
async def test_last_values_of_the_tree(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, unit(1), b"d", {b"a": b"x"}, epoch=10)
    shard.pool.destroy_container(c.uuid)
    assert shard.pool.gc_step(100)
    assert not shard.pool.gc_step(100)


@on_shard
async def test_neighbours_stay(shard: MemoryShard, c: VosContainer) -> None:
    others = [shard.container(ContainerUuid(uuid.UUID(int=50 + i))) for i in range(2)]
    for other in others:
        await fill(shard, other)
    await fill(shard, c)
    shard.pool.destroy_container(c.uuid)
    shard.pool.destroy_container(others[0].uuid)
    more = True
    while more:
        more = shard.pool.gc_step(100)
    for number in range(3):
        got = await shard.get(others[1], unit(number), b"d2", b"s", epoch=25)
        assert got == b"x" * 6000
    # The same uuid again is another container.
    again = shard.container(c.uuid)
    assert not again.list_objects(Epoch(99), limit=5).entries
    assert again.node_id != c.node_id


@on_shard
async def test_damaged_record(shard: MemoryShard, c: VosContainer) -> None:
    tx = shard.meta.begin()
    tx.put(keys.garbage_key(77), b"nonsense")
    tx.commit()
    with pytest.raises(CorruptError):
        shard.pool.gc_step(5)

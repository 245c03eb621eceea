"""Garbage collection as the reference tests it: `vos/tests/vts_gc.c`.

What is deleted or destroyed is collected until nothing is left to do; the statistics name exactly
what was made, and its space is back.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final

from daos.base.ids import ContainerUuid
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.container import VosContainer
from daos.vos.statistics import GcStatistics

CREDITS: Final = 64
OBJECTS: Final = 4
DKEYS: Final = 3
AKEYS: Final = 16  # of a dkey
DKEY_NAMES: Final = [b"d%d" % number for number in range(DKEYS)]


async def fill(
    shard: MemoryShard, c: VosContainer, objects: Sequence[int], *, arrays: bool = False
) -> None:
    """16 akeys a dkey, each with a value."""
    epoch = int(c.modification_bound)
    for number in objects:
        for dkey in DKEY_NAMES:
            epoch += 1
            names = [b"a%d" % akey for akey in range(AKEYS)]
            if not arrays:
                await shard.put(c, unit(number), dkey, dict.fromkeys(names, b"v" * 40), epoch=epoch)
                continue
            for name in names:
                epoch += 1
                await shard.write(c, unit(number), (dkey, name), {7: bytes(5000)}, epoch=epoch)


def collect(shard: MemoryShard) -> GcStatistics:
    while shard.pool.gc_step(CREDITS):
        pass
    return shard.pool.collected


def of_objects(count: int, *, arrays: bool = False) -> GcStatistics:
    """What is in so many objects."""
    dkeys = count * DKEYS
    values = dkeys * AKEYS
    return GcStatistics(
        objs=count,
        dkeys=dkeys,
        akeys=values,
        singvs=0 if arrays else values,
        recxs=values if arrays else 0,
    )


def with_containers(found: GcStatistics, count: int) -> GcStatistics:
    found.add(GcStatistics(conts=count))
    return found


@on_shard
async def test_gc01_deleted_dkeys(shard: MemoryShard, c: VosContainer) -> None:
    await fill(shard, c, [1])
    for dkey in DKEY_NAMES:
        c.delete_key(unit(1), dkey)
    expected = of_objects(1)
    expected.objs = 0
    assert collect(shard) == expected
    assert await shard.get(c, unit(1), DKEY_NAMES[0], b"a1", epoch=1 << 60) is None


@on_shard
async def test_gc02_deleted_objects_of_single_values(shard: MemoryShard, c: VosContainer) -> None:
    entries = shard.meta.statistics().tree_entries
    await fill(shard, c, range(OBJECTS))
    for number in range(OBJECTS):
        c.delete_object(unit(number))
    assert collect(shard) == of_objects(OBJECTS)
    assert shard.meta.statistics().tree_entries == entries


@on_shard
async def test_gc03_deleted_objects_of_arrays(shard: MemoryShard, c: VosContainer) -> None:
    await fill(shard, c, range(OBJECTS), arrays=True)
    assert shard.meta.space.blocks_allocated == 2 * OBJECTS * DKEYS * AKEYS
    for number in range(OBJECTS):
        c.delete_object(unit(number))
    assert collect(shard) == of_objects(OBJECTS, arrays=True)
    assert shard.meta.space.blocks_allocated == 0
    shard.meta.space.check()


@on_shard
async def test_gc04_destroyed_containers(shard: MemoryShard, c: VosContainer) -> None:
    assert c.node_id
    for number in range(4):
        name = ContainerUuid(uuid.UUID(int=50 + number))
        await fill(shard, shard.container(name), range(OBJECTS))
        shard.pool.destroy_container(name)
    assert collect(shard) == with_containers(of_objects(4 * OBJECTS), 4)


@on_shard
async def test_gc05_deleted_objects_and_a_destroyed_container(
    shard: MemoryShard, c: VosContainer
) -> None:
    await fill(shard, c, range(OBJECTS))
    for number in range(OBJECTS):
        c.delete_object(unit(number))
    await fill(shard, c, range(OBJECTS, 2 * OBJECTS))
    shard.pool.destroy_container(c.uuid)
    assert collect(shard) == with_containers(of_objects(2 * OBJECTS), 1)
    assert shard.meta.statistics().tree_entries == 1, "the root record"


@on_shard
async def test_gc06_deleted_objects_of_a_reopened_shard(
    shard: MemoryShard, c: VosContainer
) -> None:
    await fill(shard, c, range(OBJECTS))
    for number in range(OBJECTS):
        c.delete_object(unit(number))
    shard.pool.gc_step(CREDITS)
    before = shard.pool.collected
    await shard.meta.durable(shard.meta.lsn_last)
    await shard.reopen()
    total = collect(shard)
    total.add(before)
    assert total == of_objects(OBJECTS)
    assert not shard.container().list_objects(shard.hlc.now(), limit=9).entries

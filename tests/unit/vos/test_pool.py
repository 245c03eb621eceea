from __future__ import annotations

import uuid

import pytest

from daos.base.errors import CorruptError, ExistsError, InvalidError, NotFoundError
from daos.base.hlc import Hlc
from daos.base.ids import ContainerUuid, Epoch
from daos.base.iod import Iod, IodType
from daos.testing.shard import POOL, MemoryShard, StoppedClock, on_shard, unit
from daos.vos import keys
from daos.vos.container import VosContainer
from daos.vos.pool import VosPool
from daos.vos.records import RootRecord

OTHER = ContainerUuid(uuid.UUID(int=9))


@on_shard
async def test_containers(shard: MemoryShard, c: VosContainer) -> None:
    pool = shard.pool
    assert set(pool.containers()) == {c.uuid}
    lsn = pool.create_container(OTHER)
    with pytest.raises(ExistsError):
        pool.create_container(OTHER)
    assert pool.open_container(OTHER) is pool.open_container(OTHER)
    await shard.meta.durable(lsn)
    await shard.reopen()
    assert set(shard.pool.containers()) == {c.uuid, OTHER}
    await shard.meta.durable(shard.pool.destroy_container(OTHER))
    for missing in (shard.pool.destroy_container, shard.pool.open_container):
        with pytest.raises(NotFoundError):
            missing(OTHER)
    await shard.reopen(clean=True)
    assert set(shard.pool.containers()) == {c.uuid}
    assert shard.pool.gc_step(10)


@on_shard
async def test_the_clock_never_goes_back(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, unit(1), b"d", {b"a": b"x"}, epoch=1 << 50)
    await shard.reopen()
    assert shard.hlc.now() > 1 << 50
    assert shard.container().modification_bound > 1 << 50


@on_shard
async def test_raised_bounds_survive(shard: MemoryShard, c: VosContainer) -> None:
    lsn = c.raise_bound(Epoch(500))
    assert lsn > shard.meta.durable_lsn
    assert c.raise_bound(Epoch(400)) == lsn  # what it stands on is not durable yet
    await shard.meta.durable(lsn)
    update = c.update_begin(unit(1), b"d", [Iod(b"a", IodType.SINGLE, 1)])
    lsn = c.update_end(update, Epoch(900))
    assert c.raise_bound(Epoch(600)) == lsn
    assert c.modification_bound == 600
    await shard.meta.durable(lsn)
    await shard.reopen()
    assert shard.container().modification_bound >= 900


@on_shard
async def test_a_bound_that_only_the_clock_knew(shard: MemoryShard, c: VosContainer) -> None:
    """The bound of an open is what the clock said; the clock of the next run may say less."""
    bound = c.modification_bound
    assert shard.meta.epoch_highest < bound
    lsn = c.raise_bound(bound)
    await shard.meta.durable(lsn)
    assert c.modification_bound == bound
    assert shard.meta.epoch_highest == bound
    await shard.reopen()
    assert shard.meta.epoch_highest == bound


@on_shard
async def test_space(shard: MemoryShard, c: VosContainer) -> None:
    before = shard.pool.query()
    assert before.nvme.total == shard.meta.space.block_count * 4096
    assert 0 < before.nvme.free <= before.nvme.total
    assert 0 < before.scm.free <= before.scm.total
    await shard.put(c, unit(1), b"d", {b"a": bytes(1 << 20)}, epoch=10)
    after = shard.pool.query()
    assert after.nvme.free <= before.nvme.free - (1 << 20)
    assert after.nvme.total == before.nvme.total


@on_shard
async def test_threshold(shard: MemoryShard, c: VosContainer) -> None:
    with pytest.raises(InvalidError):
        VosPool(shard.meta, hlc=shard.hlc, data_thresh=-1)
    for threshold, blocks in ((0, 0), (100, 1), (5000, 0)):
        pool = VosPool(shard.meta, hlc=shard.hlc, data_thresh=threshold)
        name = ContainerUuid(uuid.UUID(int=100 + threshold))
        pool.create_container(name)
        before = shard.meta.space.blocks_allocated
        opened = pool.open_container(name)
        epoch = opened.modification_bound + 1
        await shard.put(opened, unit(1), b"d", {b"a": bytes(200)}, epoch=epoch)
        assert shard.meta.space.blocks_allocated - before == blocks


@on_shard
async def test_another_pools_root(shard: MemoryShard, c: VosContainer) -> None:
    tx = shard.meta.begin()
    tx.put(keys.ROOT_KEY, RootRecord(bytes(16), 1).emit())
    tx.commit()
    with pytest.raises(CorruptError, match="pool"):
        VosPool(shard.meta, hlc=Hlc(StoppedClock()))


@on_shard
async def test_root_is_written_once(shard: MemoryShard, c: VosContainer) -> None:
    assert shard.pool.root.record.pool == POOL.bytes
    lsn = shard.meta.lsn_next
    VosPool(shard.meta, hlc=Hlc(StoppedClock()))
    assert shard.meta.lsn_next == lsn

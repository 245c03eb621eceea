"""The durable tree of one shard: transactions, holds, room, checkpoints, closing, failures.

What survives a power cut is tested in tests/crash, what recovery accepts in test_replay.py.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from pathlib import Path
from uuid import UUID

import pytest

from daos.base.errors import (
    AgainError,
    DaosError,
    InvalidError,
    KeyTooBigError,
    NoSpaceError,
    RecordTooBigError,
)
from daos.base.ids import Epoch
from daos.bio.checkpoint import InlineCopy
from daos.bio.device import BLOCK, BlockDevice
from daos.bio.layout import checksum_of
from daos.bio.meta import MetaConfig, MetaContext
from daos.bio.space import Extent
from daos.testing.devices import MemoryDevice

SHARD = UUID(int=21)
CONFIG = MetaConfig(wal_bytes=32 * BLOCK, batch_sets=5)
SIZE = 512 * BLOCK


async def opened(
    live: Path, *, config: MetaConfig = CONFIG, device: BlockDevice | None = None
) -> MetaContext:
    device = MemoryDevice(SIZE) if device is None else device
    await MetaContext.format(device, uuid=SHARD, config=config)
    return await MetaContext.open(device, config=config, live_path=live)


async def reopened(meta: MetaContext, live: Path, *, checkpoint: bool = True) -> MetaContext:
    await meta.close(checkpoint=checkpoint)
    return await MetaContext.open(meta.device, config=CONFIG, live_path=live)


def put(meta: MetaContext, **pairs: str) -> int:
    tx = meta.begin()
    for key, value in pairs.items():
        tx.put(key.encode(), value.encode())
    return tx.commit()


def store(meta: MetaContext, key: bytes, data: bytes) -> tuple[int, Extent]:
    hold = meta.hold(tree_bytes=100, data_blocks=len(data) // BLOCK)
    extent = meta.space.reserve(len(data) // BLOCK)
    tx = meta.begin()
    tx.put(key, b"%d+%d" % extent)
    tx.write(extent, [memoryview(data)], checksum_of([memoryview(data)]))
    lsn = tx.commit()
    meta.release(hold)
    return lsn, extent


def run(story: Awaitable[None]) -> None:
    async def main() -> None:
        await story

    asyncio.run(main())


# Transactions


def test_a_transaction_sees_itself_and_others_see_it_once_committed(tmp_path: Path) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        put(meta, a="1", b="2")
        tx = meta.begin()
        tx.put(b"a", b"new")
        tx.delete(b"b")
        tx.delete(b"never there")
        assert (tx.get(b"a"), tx.get(b"b"), tx.get(b"c")) == (b"new", None, None)
        assert (meta.get(b"a"), meta.get(b"b")) == (b"1", b"2")
        lsn = tx.commit()
        assert (meta.get(b"a"), meta.get(b"b")) == (b"new", None)
        assert list(meta.cursor()) == [(b"a", b"new")]
        assert lsn == meta.lsn_last == meta.lsn_next
        assert meta.durable_lsn < lsn
        await meta.durable(lsn)
        assert meta.durable_lsn == lsn
        with pytest.raises(InvalidError, match="twice"):
            tx.commit()
        assert meta.begin().commit() == lsn  # nothing in it
        meta.begin().put(b"dropped", b"")
        assert meta.get(b"dropped") is None
        meta = await reopened(meta, tmp_path)
        assert list(meta.cursor()) == [(b"a", b"new")]
        await meta.close()

    run(story())


def test_bad_arguments_change_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        tx = meta.begin()
        for call in (lambda key: tx.put(key, b""), tx.delete):
            with pytest.raises(InvalidError, match="empty key"):
                call(b"")
            with pytest.raises(KeyTooBigError, match="512 bytes, the limit is 511"):
                call(b"k" * 512)
        tx.put(b"k" * 511, b"")
        block = memoryview(bytes(BLOCK))
        for extent, buffers in (
            (Extent(60, 1), [block[1:]]),
            (Extent(60, 2), [block]),
            (Extent(60, 0), []),
        ):
            with pytest.raises(InvalidError, match="bytes for an extent"):
                tx.write(extent, buffers, 0)
        with pytest.raises(InvalidError):
            meta.hold(tree_bytes=-1, data_blocks=0)
        with pytest.raises(InvalidError):
            meta.when_durable(1, lambda error: None)
        tx.commit()
        assert meta.get(b"k" * 511) == b""
        await meta.close()

    run(story())


def test_a_transaction_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        _, old = store(meta, b"old", bytes(2 * BLOCK))
        lsn = put(meta, a="1")
        free = meta.space.statistics()
        new = meta.space.reserve(1)
        for frees in ([old, Extent(old.block, 1)], [Extent(400, 1)]):
            tx = meta.begin()
            tx.put(b"a", b"2")
            tx.write(new, [memoryview(bytes(BLOCK))], 0)
            for extent in frees:
                tx.free(extent)
            with pytest.raises(InvalidError, match="not allocated"):
                tx.commit()
            assert meta.get(b"a") == b"1"
        tx = meta.begin()
        tx.free(old)
        tx.write(new, [memoryview(bytes(BLOCK))], 0)
        tx.write(Extent(450, 1), [memoryview(bytes(BLOCK))], 0)
        with pytest.raises(InvalidError, match="not reserved"):
            tx.commit()
        meta.space.cancel(new)
        assert meta.space.statistics().blocks_free == free.blocks_free
        assert meta.space.snapshot() == [old]
        assert meta.lsn_last == lsn
        meta = await reopened(meta, tmp_path, checkpoint=False)
        assert meta.space.snapshot() == [old]
        meta.space.check()
        await meta.close()

    run(story())


@pytest.mark.parametrize("checkpoint", [True, False])
def test_the_highest_epoch_survives(tmp_path: Path, checkpoint: bool) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        for epoch in (70, 99, 3):
            tx = meta.begin()
            tx.put(b"k", b"v")
            tx.raise_epoch(Epoch(epoch))
            tx.commit()
        meta = await reopened(meta, tmp_path, checkpoint=checkpoint)
        assert meta.epoch_highest == 99
        await meta.close()

    run(story())


def test_one_flush_and_two_writes_per_group(tmp_path: Path) -> None:
    async def story() -> None:
        config = MetaConfig(wal_bytes=256 * BLOCK)
        meta = await opened(tmp_path, config=config, device=MemoryDevice(4096 * BLOCK))
        before = meta.device.statistics()
        for _ in range(4):
            for i in range(16):
                lsn, _ = store(meta, b"key%d" % i, bytes(BLOCK))
            await meta.durable(lsn)
        after = meta.device.statistics()
        assert after.flushes - before.flushes == 4
        assert after.writes - before.writes == 8
        assert meta.statistics().wal.groups == 4
        await meta.close()

    run(story())


# Room


def test_holds_keep_room_for_the_next_checkpoint(tmp_path: Path) -> None:
    """Fill the shard to the brim with both kinds of bytes; the checkpoint must always fit."""

    async def story() -> None:
        rng = random.Random(5)
        config = MetaConfig(wal_bytes=32 * BLOCK, start_copy=InlineCopy)
        meta = await opened(tmp_path, config=config)
        keys: list[tuple[bytes, Extent | None]] = []
        refused = 0
        while refused < 3:
            if not meta.log_has_room:
                await meta.checkpoint()
            key, blocks = b"%06d" % len(keys), rng.choice((0, 0, 0, 1, 4))
            value = bytes(rng.choice((100, 1000, 6000)))
            try:
                hold = meta.hold(tree_bytes=len(key) + len(value), data_blocks=blocks)
            except NoSpaceError:
                refused += 1
                await meta.checkpoint()
                continue
            extent = meta.space.reserve(blocks) if blocks else None
            tx = meta.begin()
            tx.put(key, value)
            if extent is not None:
                data = memoryview(bytes(extent.count * BLOCK))
                tx.write(extent, [data], checksum_of([data]))
            tx.commit()
            meta.release(hold)
            keys.append((key, extent))
        assert meta.statistics().checkpoints_failed == 0
        assert meta.statistics().blocks_left < 40
        assert len(keys) > 40
        for key, extent in keys:
            if not meta.log_has_room:
                await meta.checkpoint()
            tx = meta.begin()
            tx.delete(key)
            if extent is not None:
                tx.free(extent)
            lsn = tx.commit()
        await meta.durable(lsn)
        await meta.checkpoint()
        await meta.checkpoint()
        assert meta.statistics().tree_entries == 0
        assert meta.statistics().blocks_left > 400
        meta.release(meta.hold(tree_bytes=0, data_blocks=300))
        meta.space.check()
        await meta.close()

    run(story())


@pytest.mark.parametrize("restart", [False, True])
def test_single_free_blocks_take_a_checkpoint(tmp_path: Path, restart: bool) -> None:
    """Thousands of blocks free, no two in a row: the log is cut all the same, and space used up."""

    async def story() -> None:
        config = MetaConfig(wal_bytes=256 * BLOCK, start_copy=InlineCopy)
        meta = await opened(tmp_path, config=config, device=MemoryDevice(4096 * BLOCK))
        where: dict[bytes, Extent] = {}
        fragments = 0

        async def fill() -> None:
            while True:
                try:
                    hold = meta.hold(tree_bytes=700, data_blocks=1)
                except NoSpaceError:
                    return
                key = b"%08d" % (len(where) + meta.lsn_next * 10_000)
                extent = where[key] = meta.space.reserve(1)
                data = memoryview(bytes(BLOCK))
                tx = meta.begin()
                tx.put(key, bytes(600))
                tx.write(extent, [data], checksum_of([data]))
                tx.commit()
                meta.release(hold)
                if not meta.log_has_room:
                    await meta.checkpoint()

        await fill()
        for parity in (0, 1, 1):
            for key in sorted(where, key=lambda key: where[key].block)[parity::2]:
                tx = meta.begin()
                tx.delete(key)
                tx.free(where.pop(key))
                tx.commit()
                if not meta.log_has_room:
                    await meta.checkpoint()
            await meta.durable(put(meta, turn="1"))
            fragments = max(fragments, meta.space.statistics().fragments_free)
            if restart:
                await meta.checkpoint()
                await meta.close(checkpoint=False)
                meta = await MetaContext.open(meta.device, config=config, live_path=tmp_path)
            await fill()
            await meta.checkpoint()
            meta.space.check()
        assert meta.statistics().checkpoints_failed == 0
        assert meta.statistics().tree_pages > 300
        assert fragments > 500
        await meta.close()

    run(story())


def test_a_checkpoint_that_copies_nothing_frees_nothing(tmp_path: Path) -> None:
    """A new superblock for the same checkpoint: no hold may count on the blocks of the old one."""

    async def story() -> None:
        meta = await opened(tmp_path)
        put(meta, **{f"key{i}": "v" * 400 for i in range(80)})
        await meta.checkpoint()
        left = meta.statistics().blocks_left
        running = asyncio.ensure_future(meta.checkpoint())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert meta._checkpoint_lsn >= 0
        assert meta.statistics().blocks_left == left
        await running
        await meta.close()

    run(story())


def test_released_holds_do_not_count_for_ever(tmp_path: Path) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        left = meta.statistics().blocks_left
        for _ in range(1000):
            meta.release(meta.hold(tree_bytes=20_000, data_blocks=3))
        assert meta._room.blocks_left() > left - 600
        assert meta.statistics().blocks_left == left
        await meta.close()

    run(story())


def test_checkpoints_that_grow_leave_room_for_the_next(tmp_path: Path) -> None:
    """The first stands beside none, the second beside the first, of a device as good as full."""

    async def story() -> None:
        config = MetaConfig(wal_bytes=1024 * BLOCK, start_copy=InlineCopy)
        meta = await opened(tmp_path, config=config, device=MemoryDevice(2048 * BLOCK))
        count = 0
        with pytest.raises(NoSpaceError):  # noqa: PT012
            while True:
                blocks = 4 if count % 2 else 0
                hold = meta.hold(tree_bytes=1006, data_blocks=blocks)
                tx = meta.begin()
                tx.put(b"%06d" % count, bytes(1000))
                if blocks:
                    tx.write(meta.space.reserve(blocks), [memoryview(bytes(blocks * BLOCK))], 0)
                await meta.durable(tx.commit())
                meta.release(hold)
                count += 1
        assert meta.statistics().checkpoints == 0
        for i in range(3):
            await meta.checkpoint()
            assert meta.statistics().blocks_left >= 0
            put(meta, last=f"{i}")
        await meta.close()

    run(story())


def test_what_was_freed_last_comes_back_when_space_is_short(tmp_path: Path) -> None:
    """An empty group makes the freeing group one that is not the last."""

    async def story() -> None:
        meta = await opened(tmp_path)
        left = meta.statistics().blocks_left
        _, extent = store(meta, b"big", bytes((left - 20) * BLOCK))
        with pytest.raises(NoSpaceError, match="blocks left beside the next checkpoint"):
            meta.hold(tree_bytes=0, data_blocks=100)
        tx = meta.begin()
        tx.delete(b"big")
        tx.free(extent)
        lsn = tx.commit()
        await meta.durable(lsn)
        await meta.durable(meta.lsn_last)
        assert meta.durable_lsn == lsn + 1
        meta.release(meta.hold(tree_bytes=0, data_blocks=100))
        for _ in range(20):
            await asyncio.sleep(0)
        assert meta.lsn_last == lsn + 1
        await meta.close()

    run(story())


def test_the_log_makes_room_by_itself(tmp_path: Path) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        for i in range(400):
            if not meta.log_has_room:
                room: asyncio.Future[DaosError | None] = asyncio.get_running_loop().create_future()
                meta.when_room(room.set_result)
                assert await room is None
            lsn = put(meta, **{f"key{i % 20}": "v" * 3000})
            if i % 3 == 0:
                await meta.durable(lsn)
        assert meta.statistics().checkpoints >= 5
        assert meta.statistics().wal.blocks_used <= 32
        told: list[DaosError | None] = []
        await meta.checkpoint()
        meta.when_room(told.append)
        assert told == [None]
        await meta.close()

    run(story())


def test_a_full_log_refuses_and_recovers(tmp_path: Path) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        count = 0
        with pytest.raises(AgainError, match="log full"):  # noqa: PT012
            for i in range(100):
                put(meta, **{f"key{i}": "v" * 4050})
                count += 1
        assert meta.get(b"key%d" % count) is None
        assert meta.get(b"key%d" % (count - 1)) is not None
        room: asyncio.Future[DaosError | None] = asyncio.get_running_loop().create_future()
        meta.when_room(room.set_result)
        assert await room is None
        put(meta, **{f"key{count}": "v"})
        with pytest.raises(RecordTooBigError):
            put(meta, big="v" * (meta.record_size_max + 1))
        meta = await reopened(meta, tmp_path)
        assert meta.statistics().tree_entries == count + 1
        await meta.close()

    run(story())


@pytest.mark.expects_warning("checkpoint failed")
def test_a_checkpoint_that_finds_no_space(tmp_path: Path) -> None:
    """Nobody held the room: it fails, tells, changes nothing, and works once there is room."""

    async def story() -> None:
        meta = await opened(tmp_path)
        lsn = put(meta, a="1")
        extent = meta.space.reserve(meta.space.blocks_free - 2)
        meta.space.hold(extent.count)  # else what is reserved counts as available
        with pytest.raises(NoSpaceError):
            await meta.checkpoint()
        assert meta.statistics().checkpoints_failed == 1
        with pytest.raises(AgainError):  # noqa: PT012
            for i in range(100):
                lsn = put(meta, **{f"key{i}": "v" * 4050})
        room: asyncio.Future[DaosError | None] = asyncio.get_running_loop().create_future()
        meta.when_room(room.set_result)
        await meta.durable(lsn)
        assert isinstance(await room, NoSpaceError)
        meta.space.unhold(extent.count)
        meta.space.cancel(extent)
        room = asyncio.get_running_loop().create_future()
        meta.when_room(room.set_result)
        assert await room is None
        await meta.close()

    run(story())

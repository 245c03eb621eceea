"""The log while the shard is open: places in the ring, groups, order, room, poison.

Recovery of the log is tested in test_replay.py.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import (
    AgainError,
    DaosError,
    InvalidError,
    NvmeIoError,
    RecordTooBigError,
)
from daos.bio.device import BLOCK, BlockDevice, Write
from daos.bio.layout import GROUP_HEADER_SIZE, GroupHeader, emit_record, parse_records
from daos.bio.wal import GROUP_BLOCKS_MAX, Ring, Wal, group_blocks_max
from daos.testing.devices import FaultPlan, FaultyDevice, MemoryDevice

SHARD = UUID(int=3)
FIRST, COUNT = 2, 24


def wal_on(device: BlockDevice, *, durable: list[int] | None = None, **limits: int) -> Wal:
    return Wal(
        device,
        Ring(limits.pop("count", COUNT), tail=0, head=0),
        uuid=SHARD,
        first_block=FIRST,
        generation=6,
        lsn=10,
        epoch=5,
        group_bytes=limits.pop("group_bytes", 3 * BLOCK),
        data_bytes=limits.pop("data_bytes", 1 << 20),
        on_durable=lambda lsn, data_bytes: None if durable is None else durable.append(lsn),
    )


def record_of(nbytes: int) -> bytes:
    record = emit_record([(b"k", bytes(nbytes - 12))], [], [])
    assert len(record) == nbytes
    return record


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await story()

    asyncio.run(main())


async def turns(count: int = 4) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def block_of(device: MemoryDevice, block: int) -> GroupHeader:
    return GroupHeader.parse(device.image.read((FIRST + block) * BLOCK, BLOCK))


# Places


@given(sizes=st.lists(st.integers(1, 8)), count=st.integers(24, 40))
def test_ring_places_never_overlap_nor_straddle(sizes: list[int], count: int) -> None:
    ring = Ring(count, tail=0, head=0)
    live: list[tuple[int, int]] = []
    for blocks in sizes:
        while ring.used_with(blocks) > count:
            start, size = live.pop(0)
            ring.tail = start + size
        start = ring.place(blocks)
        assert start % count + blocks <= count
        assert start >= (sum(live[-1]) if live else 0)
        live.append((start, blocks))
        taken = [(lo + i) % count for lo, size in live for i in range(size)]
        assert len(taken) == len(set(taken))


def test_an_empty_ring_takes_the_largest_group_anywhere() -> None:
    for count in range(12, 60):
        blocks = group_blocks_max(count)
        for head in range(count):
            assert Ring(count, tail=head, head=head).used_with(blocks) <= count
    assert group_blocks_max(1 << 18) == GROUP_BLOCKS_MAX


# Groups


def test_commits_of_one_turn_share_a_group_one_write_and_one_flush() -> None:
    async def story() -> None:
        device, durable = MemoryDevice(1 << 20), list[int]()
        wal = wal_on(device, durable=durable)
        assert (wal.lsn_next, wal.lsn_last, wal.idle) == (11, 10, True)
        records = [emit_record([(b"key%d" % i, b"v")], [], []) for i in range(5)]
        assert {wal.append(record, [], 0) for record in records} == {11}
        assert (wal.lsn_next, wal.lsn_last, wal.idle) == (11, 11, False)
        wal.epoch = 99
        await turns()
        assert durable == [11]
        assert wal.durable_lsn == 11
        statistics = device.statistics()
        assert (statistics.writes, statistics.flushes) == (1, 1)
        header = block_of(device, 0)
        assert header == GroupHeader(
            uuid=SHARD,
            generation=6,
            lsn=11,
            durable_lsn=10,
            epoch=99,
            block=0,
            payload_size=sum(map(len, records)),
            record_count=5,
            payload_sum=header.payload_sum,
        )
        stored = device.image.read(FIRST * BLOCK, BLOCK)
        payload = stored[GROUP_HEADER_SIZE : GROUP_HEADER_SIZE + header.payload_size]
        assert len(parse_records(payload, 5)) == 5
        assert not stored[GROUP_HEADER_SIZE + header.payload_size :].strip(b"\0")
        assert wal.statistics().records == 5

    run(story)


@pytest.mark.parametrize("depth", [1, 16, 64])
def test_writes_and_flushes_per_group(depth: int) -> None:
    """One flush; the data of all transactions in one write, if it was reserved in a row."""

    async def story() -> None:
        device = MemoryDevice(1 << 24)
        wal = wal_on(device, count=600, group_bytes=64 * BLOCK)
        for turn in range(8):
            for i in range(depth):
                at = (1000 + turn * depth + i) * BLOCK
                wal.append(record_of(100), [Write(at, [memoryview(bytes(BLOCK))])], BLOCK)
            await turns(10)
        statistics = device.statistics()
        assert wal.statistics().groups == 8
        assert statistics.flushes == 8
        assert statistics.writes == 16
        assert wal.statistics().data_bytes == 8 * depth * BLOCK

    run(story)


def test_one_group_in_flight_the_next_gathers_behind_it() -> None:
    async def story() -> None:
        device = MemoryDevice(1 << 20)
        wal = wal_on(device)
        order: list[int] = []
        assert wal.append(record_of(50), [], 0) == 11
        wal.when_durable(11, lambda error: order.append(11))
        wal._kick()
        assert wal.append(record_of(50), [], 0) == 12
        assert wal.append(record_of(50), [], 0) == 12
        for lsn in (12, 11, 12):
            wal.when_durable(lsn, lambda error, lsn=lsn: order.append(lsn))  # type: ignore[misc]
        assert order == []
        await turns()
        assert order == [11, 11, 12, 12]
        assert block_of(device, 1).durable_lsn == 11
        wal.when_durable(3, lambda error: order.append(3))
        assert order[-1] == 3
        with pytest.raises(InvalidError, match="13 has no transaction"):
            wal.when_durable(13, lambda error: None)

    run(story)


def test_a_group_ends_at_its_limits() -> None:
    async def story() -> None:
        device = MemoryDevice(1 << 20)
        wal = wal_on(device, group_bytes=1000, data_bytes=2 * BLOCK)
        assert [wal.append(record_of(400), [], 0) for _ in range(5)] == [11, 11, 12, 12, 13]
        write = [Write(100 * BLOCK, [memoryview(bytes(2 * BLOCK))])]
        assert wal.append(record_of(50), write, 2 * BLOCK) == 13
        assert wal.append(record_of(50), write, 2 * BLOCK) == 14
        order: list[int] = []
        for lsn in (14, 13, 12, 11):
            wal.when_durable(lsn, lambda error, lsn=lsn: order.append(lsn))  # type: ignore[misc]
        assert wal.statistics().groups_waiting == 3
        await turns(8)
        assert order == [11, 12, 13, 14]
        # More than the limit on its own: a group of its own.
        assert wal.append(record_of(1500), [], 0) == 15

    run(story)


def test_callbacks_may_append() -> None:
    async def story() -> None:
        wal = wal_on(MemoryDevice(1 << 20))
        lsns: list[int] = []

        def again(error: DaosError | None) -> None:
            assert error is None
            if len(lsns) < 20:
                lsns.append(wal.append(record_of(30), [], 0))
                wal.when_durable(lsns[-1], again)
                wal.trim(wal.head - wal.head % 8)

        again(None)
        await turns(60)
        assert lsns == list(range(11, 31))

    run(story)


def test_retract_takes_the_last_record_back() -> None:
    async def story() -> None:
        device = MemoryDevice(1 << 20)
        wal = wal_on(device)
        wal.append(record_of(40), [], 0)
        write = [Write(100 * BLOCK, [memoryview(bytes(BLOCK))])]
        record = record_of(60)
        wal.append(record, write, BLOCK)
        wal.retract(record, write, BLOCK)
        await turns()
        assert block_of(device, 0).record_count == 1
        assert device.statistics().bytes_written == BLOCK
        record = record_of(60)
        wal.append(record, [], 0)
        wal.retract(record, [], 0)
        await turns()
        assert device.statistics().flushes == 1
        assert wal.idle

    run(story)


def test_seal_and_empty_groups() -> None:
    async def story() -> None:
        device, durable = MemoryDevice(1 << 20), list[int]()
        wal = wal_on(device, durable=durable)
        wal.seal()
        assert wal.lsn_next == 11
        wal.seal(empty=True)
        assert (wal.lsn_next, wal.lsn_last) == (12, 11)
        await turns()
        assert durable == [11]
        assert block_of(device, 0).record_count == 0
        for _ in range(40):
            wal.seal(empty=True)
        assert wal.lsn_last == 10 + COUNT  # a full ring takes no more
        await turns(60)
        assert wal.durable_lsn == 10 + COUNT

    run(story)


# Room


def test_many_laps() -> None:
    async def story() -> None:
        device = MemoryDevice(1 << 20)
        wal = wal_on(device, group_bytes=8 * BLOCK)
        rng = random.Random(4)
        for _ in range(300):
            record = record_of(rng.choice((100, 5000, 30000)))
            try:
                wal.append(record, [], 0)
            except AgainError:
                wal.trim(wal.head)
                wal.append(record, [], 0)
            await turns()
        assert wal.head > 20 * COUNT
        assert wal.idle

    run(story)


def test_a_full_ring_refuses_and_says_when_there_is_room() -> None:
    async def story() -> None:
        wal = wal_on(MemoryDevice(1 << 20), group_bytes=BLOCK)
        told: list[DaosError | None] = []
        wal.when_room(told.append)
        assert told == [None]
        lsns = [wal.append(record_of(3000), [], 0) for _ in range(COUNT)]
        with pytest.raises(AgainError, match="log full"):
            wal.append(record_of(3000), [], 0)
        assert not wal.has_room
        wal.when_room(told.append)
        await turns(60)
        assert wal.durable_lsn == lsns[-1]
        assert told == [None]
        wal.trim(4)
        assert told == [None]
        assert not wal.has_room
        wal.trim(10)
        assert told == [None, None]
        wal.append(record_of(3000), [], 0)

    run(story)


def test_a_refused_record_means_no_room_however_little_is_used() -> None:
    """Otherwise its owner, told that there is room, would try for ever."""

    async def story() -> None:
        wal = wal_on(MemoryDevice(1 << 20), group_bytes=BLOCK)
        for _ in range(2):
            wal.append(record_of(8 * BLOCK - GROUP_HEADER_SIZE), [], 0)
            await turns()
        wal.trim(7)
        wal.append(record_of(BLOCK), [], 0)
        await turns()
        assert wal.has_room
        with pytest.raises(AgainError):  # neither behind block 18 nor before block 7
            wal.append(record_of(8 * BLOCK - GROUP_HEADER_SIZE), [], 0)
        assert not wal.has_room
        wal.trim(wal.head)
        assert wal.has_room
        wal.append(record_of(8 * BLOCK - GROUP_HEADER_SIZE), [], 0)

    run(story)


def test_a_record_that_no_ring_takes() -> None:
    async def story() -> None:
        wal = wal_on(MemoryDevice(1 << 20))
        limit = wal.record_size_max
        assert limit == COUNT // 3 * BLOCK - GROUP_HEADER_SIZE
        for _ in range(2):
            with pytest.raises(RecordTooBigError, match=f"the limit is {limit}"):
                wal.append(record_of(limit + 1), [], 0)
            wal.append(record_of(20), [], 0)
        assert wal.append(record_of(limit), [], 0) == 12

    run(story)


# Failure


@pytest.mark.parametrize("plan", [FaultPlan(fail_flush=2), FaultPlan(fail_write=2)])
def test_a_failed_flush_fails_the_group_and_all_its_followers(plan: FaultPlan) -> None:
    async def story() -> None:
        device = FaultyDevice(MemoryDevice(1 << 20), random.Random(1), plan)
        wal = wal_on(device, group_bytes=100)
        told: list[tuple[int, object]] = []

        def watch(lsn: int) -> None:
            wal.when_durable(lsn, lambda error: told.append((lsn, error and type(error))))

        room: list[DaosError | None] = []
        while wal.has_room:
            watch(wal.append(record_of(80), [], 0))
        wal.when_room(room.append)
        await turns(20)
        assert told[0] == (11, None)
        assert told[1:] == [(lsn, NvmeIoError) for lsn in range(12, 12 + len(told) - 1)]
        assert len(told) > 4
        assert isinstance(room[0], NvmeIoError)
        assert wal.durable_lsn == 11
        assert not wal.has_room
        assert wal.failure is not None
        with pytest.raises(NvmeIoError):
            wal.append(record_of(20), [], 0)
        watch(12)
        assert told[-1] == (12, NvmeIoError)
        watch(11)
        assert told[-1][1] is None
        wal.when_room(room.append)
        assert isinstance(room[1], NvmeIoError)
        await turns()
        assert device.flushes_seen <= 2  # nothing retries
        wal.fail(NvmeIoError("again"))
        assert wal.failure.message != "again"

    run(story)


def test_a_group_that_completes_after_the_log_failed() -> None:
    """The superblock's write failed while a group was in flight: it counts, nothing new is sent."""

    async def story() -> None:
        device = MemoryDevice(1 << 20)
        wal = wal_on(device)
        told: list[DaosError | None] = []
        wal.when_durable(wal.append(record_of(20), [], 0), told.append)
        wal._kick()
        wal.when_durable(wal.append(record_of(20), [], 0), told.append)
        wal.fail(NvmeIoError("superblock"))
        await turns()
        assert [type(error) for error in told] == [type(None), NvmeIoError]
        assert device.statistics().flushes == 1

    run(story)

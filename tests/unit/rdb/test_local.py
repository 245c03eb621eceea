"""What the local store promises about its disk: answers wait for the log, failures change nothing.

Semantics are tested by the kit and against the model, power cuts in tests/crash/test_rdb.py.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from daos.base.errors import (
    CorruptError,
    DaosError,
    NoSpaceError,
    NotFoundError,
    NvmeIoError,
    RecordTooBigError,
    ShutdownError,
)
from daos.bio.checkpoint import InlineCopy
from daos.bio.device import BlockDevice, Done, Write
from daos.bio.meta import MetaConfig, MetaContext
from daos.rdb.interface import (
    UNBOUNDED,
    Delete,
    EventKind,
    Put,
    Rdb,
    absent,
    exists,
    prefix_end,
)
from daos.rdb.layout import PAIR_PREFIX, ROOT_KEY
from daos.rdb.local import LocalRdb
from daos.testing.devices import FaultPlan, FaultyDevice, MemoryDevice

MIB = 1 << 20
SECOND = 10**9


class GateDevice(MemoryDevice):
    """Writes begin only while the gate is open."""

    closed_gate = False

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._held: list[tuple[list[Write], bool, Done]] = []

    def submit_write(self, writes: Sequence[Write], *, flush: bool, done: Done) -> None:
        if self.closed_gate:
            self._held.append((list(writes), flush, done))
        else:
            super().submit_write(writes, flush=flush, done=done)

    def open_gate(self) -> None:
        self.closed_gate = False
        held, self._held = self._held, []
        for writes, flush, done in held:
            super().submit_write(writes, flush=flush, done=done)

    def fail_held(self) -> None:
        held, self._held = self._held, []
        for _, _, done in held:
            asyncio.get_running_loop().call_soon(done, NvmeIoError("the medium is gone"))


class Clock:
    monotonic = 1000 * SECOND

    def now_ns(self) -> int:
        return 0

    def monotonic_ns(self) -> int:
        return self.monotonic


class Fixture:
    def __init__(self, device: BlockDevice, meta: MetaContext) -> None:
        self.device = device
        self.meta = meta
        self.clock = Clock()
        self.rdb = LocalRdb(meta, self.clock)


def run(
    test: Callable[[Fixture], Coroutine[Any, Any, None]],  # Any: what coroutines send is nothing
    device: BlockDevice,
    *,
    wal_bytes: int = 8 * MIB,
) -> None:
    config = MetaConfig(wal_bytes=wal_bytes, start_copy=InlineCopy)

    async def main() -> None:
        await MetaContext.format(device, uuid=uuid.UUID(int=3), config=config)
        with TemporaryDirectory() as path:
            meta = await MetaContext.open(device, config=config, live_path=Path(path))
            await test(Fixture(device, meta))
            await meta.close(checkpoint=False)

    asyncio.run(main())


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def put(rdb: Rdb, key: bytes, value: bytes = b"", lease: int = 0) -> int:
    return (await rdb.txn((), (Put(key, value, lease),))).revision


async def outcome(call: Awaitable[object]) -> object:
    """What the call returned or raised."""
    try:
        return await call
    except DaosError as error:
        return error


def test_nothing_is_told_before_it_is_durable() -> None:
    """The write, who reads it, who fails a compare on it, who misses a key it deleted, who hears
    that a lease is gone, who watches."""
    device = GateDevice(64 * MIB)

    async def test(at: Fixture) -> None:
        rdb = at.rdb
        await put(rdb, b"old")
        lease = await rdb.grant(SECOND)
        watch = rdb.watch(b"", UNBOUNDED, after_revision=rdb.revision, events_max=9)
        device.closed_gate = True
        told: list[str] = []

        async def tell(name: str, call: Awaitable[object]) -> object:
            found = await outcome(call)
            told.append(name)
            return found

        async with asyncio.TaskGroup() as group:
            calls = {
                "write": rdb.txn((), (Put(b"new", b"1"), Delete(b"old"))),
                "revoke": rdb.revoke(lease),
                "read": rdb.range(b"new"),
                "miss": rdb.range(b"old"),
                "failed compare": rdb.txn((exists(b"old"),), ()),
                "keepalive": rdb.keepalive(lease),
                "put with lease": put(rdb, b"x", b"", lease),
                "grant": rdb.grant(SECOND),
                "event": anext(watch),
            }
            tasks = {name: group.create_task(tell(name, call)) for name, call in calls.items()}
            await turns()
            assert told == []
            device.open_gate()
        assert set(told) == set(calls)
        assert isinstance(tasks["keepalive"].result(), NotFoundError)
        assert isinstance(tasks["put with lease"].result(), NotFoundError)

    run(test, device)


def test_a_read_waits_for_nobody_once_all_is_durable() -> None:
    device = GateDevice(64 * MIB)

    async def test(at: Fixture) -> None:
        await put(at.rdb, b"a")
        lease = await at.rdb.grant(SECOND)
        device.closed_gate = True
        assert len((await at.rdb.range(b"a")).pairs) == 1
        assert not (await at.rdb.txn((absent(b"a"),), ())).succeeded
        await at.rdb.keepalive(lease)
        device.open_gate()

    run(test, device)


def test_transactions_of_one_turn_share_a_flush() -> None:
    device = MemoryDevice(64 * MIB)

    async def test(at: Fixture) -> None:
        before = device.statistics()
        await asyncio.gather(*(put(at.rdb, b"%d" % n) for n in range(50)))
        after = device.statistics()
        assert (after.flushes - before.flushes, after.writes - before.writes) == (1, 1)
        await at.rdb.range(b"", UNBOUNDED)
        assert device.statistics() == after

    run(test, device)


def test_a_failed_flush_is_told_to_everyone_and_for_good() -> None:
    device = FaultyDevice(MemoryDevice(64 * MIB), random.Random(1))

    async def test(at: Fixture) -> None:
        rdb = at.rdb
        await put(rdb, b"a", b"1")
        lease = await rdb.grant(SECOND)
        watch = rdb.watch(b"", UNBOUNDED, after_revision=rdb.revision, events_max=9)
        device.plan = FaultPlan(fail_flush=device.flushes_seen + 1)
        found = await asyncio.gather(
            outcome(put(rdb, b"a", b"2")), outcome(rdb.range(b"a")), outcome(anext(watch))
        )
        assert [type(each) for each in found] == [NvmeIoError] * 3
        for call in (put(rdb, b"b"), rdb.range(b"a"), rdb.grant(1), rdb.revoke(lease)):
            assert isinstance(await outcome(call), NvmeIoError)
        at.clock.monotonic += 2 * SECOND
        assert isinstance(await outcome(rdb.range(b"a")), NvmeIoError)

    run(test, device)


def test_a_full_store_refuses_and_can_be_emptied() -> None:
    async def test(at: Fixture) -> None:
        rdb = at.rdb
        stored = 0
        while True:
            found = await outcome(put(rdb, b"%06d" % stored, bytes(20_000)))
            if isinstance(found, NoSpaceError):
                break
            assert isinstance(found, int)
            stored += 1
        assert stored > 20
        full = await rdb.range(b"", UNBOUNDED)
        assert len(full.pairs) == stored
        assert full.revision == rdb.revision == 1 + stored
        for number in range(stored):
            await rdb.txn((), (Delete(b"%06d" % number),))
        await at.meta.checkpoint()
        await put(rdb, b"again", bytes(20_000))
        assert [pair.key for pair in (await rdb.range(b"", UNBOUNDED)).pairs] == [b"again"]

    run(test, MemoryDevice(9 * MIB), wal_bytes=4 * MIB)


def test_a_transaction_larger_than_a_group_of_a_small_log_is_refused() -> None:
    async def test(at: Fixture) -> None:
        revision = await put(at.rdb, b"a")
        found = await outcome(put(at.rdb, b"b", bytes(1 << 20)))
        assert isinstance(found, RecordTooBigError)
        assert await put(at.rdb, b"b") == revision + 1

    run(test, MemoryDevice(16 * MIB), wal_bytes=64 * 4096)


def test_a_full_log_makes_writers_wait_and_readers_not() -> None:
    device = GateDevice(64 * MIB)

    async def test(at: Fixture) -> None:
        rdb = at.rdb
        lease = await rdb.grant(SECOND)
        await put(rdb, b"leased", b"", lease)
        device.closed_gate = True
        async with asyncio.TaskGroup() as group:
            writers: list[asyncio.Task[Any]] = []  # Any: int, or an outcome
            while at.meta.log_has_room:
                key = b"%d" % len(writers)
                writers.append(group.create_task(put(rdb, key, bytes(100_000))))
                await turns(3)
            revision = rdb.revision
            late = group.create_task(put(rdb, b"late"))
            reader = group.create_task(rdb.range(b"0", prefix_end(b"9")))
            at.clock.monotonic += 2 * SECOND
            assert rdb.expire(at.clock.monotonic) == 0
            of_leased = group.create_task(rdb.range(b"leased"))
            await turns()
            assert rdb.revision == revision
            assert not any(task.done() for task in (*writers, late, reader, of_leased))
            device.open_gate()
        assert len(reader.result().pairs) == len(writers)
        assert of_leased.result().pairs == []
        assert rdb.expire(at.clock.monotonic) == 0
        assert late.result() > revision

    run(test, device, wal_bytes=4 * MIB)


def test_closing_while_writers_wait_for_room() -> None:
    device = GateDevice(64 * MIB)

    async def test(at: Fixture) -> None:
        device.closed_gate = True
        async with asyncio.TaskGroup() as group:
            writers: list[asyncio.Task[Any]] = []  # Any: int, or an outcome
            while at.meta.log_has_room:
                writers.append(group.create_task(put(at.rdb, b"%d" % len(writers), bytes(100_000))))
                await turns(3)
            late = group.create_task(outcome(put(at.rdb, b"late")))
            await turns()
            at.rdb.close()
            device.open_gate()
        assert isinstance(late.result(), ShutdownError)
        assert all(task.result() > 1 for task in writers)

    run(test, device, wal_bytes=4 * MIB)


@pytest.mark.expects_warning("checkpoint failed")
def test_the_log_fails_under_waiting_writers() -> None:
    device = GateDevice(64 * MIB)

    async def test(at: Fixture) -> None:
        device.closed_gate = True
        async with asyncio.TaskGroup() as group:
            writers: list[asyncio.Task[Any]] = []  # Any: int, or an outcome
            while at.meta.log_has_room:
                call = outcome(put(at.rdb, b"%d" % len(writers), bytes(100_000)))
                writers.append(group.create_task(call))
                await turns(3)
            cancelled = group.create_task(put(at.rdb, b"cancelled"))
            late = group.create_task(outcome(put(at.rdb, b"late")))
            await turns()
            cancelled.cancel()
            await turns()
            device.fail_held()
        for task in (late, *writers):
            assert isinstance(task.result(), NvmeIoError)
        device.open_gate()

    run(test, device, wal_bytes=4 * MIB)


def test_a_closed_store() -> None:
    async def test(at: Fixture) -> None:
        rdb = at.rdb
        revision = await put(rdb, b"a")
        watch = rdb.watch(b"a", after_revision=0, events_max=3)
        rdb.close()
        rdb.close()
        assert (await anext(watch)).pair.mod_revision == revision
        with pytest.raises(ShutdownError):
            await anext(watch)
        for call in (
            rdb.range(b"a"),
            put(rdb, b"a"),
            rdb.grant(1),
            rdb.keepalive(1),
            rdb.revoke(1),
        ):
            assert isinstance(await outcome(call), ShutdownError)
        with pytest.raises(ShutdownError):
            rdb.expire(0)
        with pytest.raises(ShutdownError):
            rdb.watch(b"a", after_revision=0, events_max=3)

    run(test, MemoryDevice(64 * MIB))


def test_a_call_in_flight_when_the_store_closes_is_answered() -> None:
    device = GateDevice(64 * MIB)

    async def test(at: Fixture) -> None:
        device.closed_gate = True
        async with asyncio.TaskGroup() as group:
            write = group.create_task(put(at.rdb, b"a"))
            await turns(3)
            at.rdb.close()
            device.open_gate()
        assert write.result() == 2

    run(test, device)


def test_next_expiry_and_the_order_in_which_leases_end() -> None:
    async def test(at: Fixture) -> None:
        rdb, start = at.rdb, at.clock.monotonic
        assert rdb.next_expiry_ns is None
        long, short = await rdb.grant(5 * SECOND), await rdb.grant(2 * SECOND)
        names = [b"s" * 500 + b"%d" % number for number in range(9)]
        for key in reversed(names):
            await put(rdb, key, b"", short)
        await put(rdb, b"l", b"", long)
        assert rdb.next_expiry_ns == start + 2 * SECOND
        watch = rdb.watch(b"", UNBOUNDED, after_revision=rdb.revision, events_max=99)
        assert rdb.expire(start + 2 * SECOND - 1) == 0
        assert rdb.expire(start + 2 * SECOND) == 1
        assert rdb.next_expiry_ns == start + 5 * SECOND
        at.clock.monotonic = start + 9 * SECOND
        await rdb.range(b"l")
        events = [await anext(watch) for _ in range(10)]
        assert [event.pair.key for event in events] == [*names, b"l"]
        assert {event.kind for event in events} == {EventKind.DELETE}
        assert rdb.next_expiry_ns is None

    run(test, MemoryDevice(64 * MIB))


def test_a_tree_that_is_not_a_store_is_refused() -> None:
    async def test(at: Fixture) -> None:
        await put(at.rdb, b"a")
        tx = at.meta.begin()
        tx.put(PAIR_PREFIX + b"a", b"junk")
        tx.commit()
        with pytest.raises(CorruptError, match="rdb pair size"):
            await at.rdb.range(b"a")
        with pytest.raises(CorruptError, match="rdb pair size"):
            await at.rdb.range(b"", UNBOUNDED)
        tx = at.meta.begin()
        tx.put(ROOT_KEY, b"junk")
        tx.commit()
        with pytest.raises(CorruptError, match="rdb root size"):
            LocalRdb(at.meta, at.clock)

    run(test, MemoryDevice(64 * MIB))


def test_a_watch_from_the_beginning_needs_a_store_without_a_past() -> None:
    async def test(at: Fixture) -> None:
        fresh = at.rdb.watch(b"a", after_revision=0, events_max=1)
        await put(at.rdb, b"a")
        assert (await anext(fresh)).pair.key == b"a"
        with pytest.raises(DaosError, match="watch lost"):
            await anext(LocalRdb(at.meta, at.clock).watch(b"a", after_revision=1, events_max=1))

    run(test, MemoryDevice(64 * MIB))

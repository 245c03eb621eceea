from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from daos.base.clock import SystemClock
from daos.base.errors import (
    DER,
    AgainError,
    CanceledError,
    DaosError,
    InvalidError,
    ShutdownError,
    StaleHandleError,
)
from daos.base.hlc import START_UNIX_NS, Hlc
from daos.base.ids import ContainerUuid, Epoch
from daos.engine.aggregation import ShardAggregation
from daos.engine.core import AggregationConfig, Reclaim, segments, still_done, sum_of
from daos.engine.sched import Scheduler, State
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos import keys
from daos.vos.container import VosContainer
from daos.vos.records import AggregationRecord

OID, DKEY, AKEY = unit(1), b"dkey", b"akey"


@pytest.mark.parametrize(
    ("done", "snapshots", "top", "expected"),
    [
        (0, (), 50, [(0, 50)]),
        (50, (), 50, []),
        (60, (), 50, []),
        (20, (), 50, [(0, 50)]),
        (0, (10, 20), 50, [(0, 10), (11, 20), (21, 50)]),
        (15, (10, 20), 50, [(11, 20), (21, 50)]),
        (20, (10, 20), 50, [(11, 20), (21, 50)]),
        (21, (10, 20), 50, [(21, 50)]),
        (0, (10, 20), 20, [(0, 10), (11, 20)]),
        (0, (10, 20), 5, [(0, 5)]),
        (30, (10, 20, 60), 50, [(21, 50)]),
    ],
)
def test_segments(
    done: int, snapshots: tuple[int, ...], top: int, expected: list[tuple[int, int]]
) -> None:
    found = segments(done, snapshots, top)
    assert found == expected
    for lo, hi in found:
        assert not any(lo <= snapshot < hi for snapshot in snapshots), "a snapshot would be lost"


def test_a_destroyed_snapshot_is_done_again_from_the_one_before() -> None:
    assert still_done(90, (10, 20, 30), (10, 20, 30, 40)) == 90
    assert still_done(90, (10, 20, 30), (10, 30)) == 10
    assert still_done(90, (10, 20, 30), (20, 30)) == 0
    assert still_done(25, (10, 20, 30), (10, 20)) == 25, "nothing was kept for it yet"


def test_the_sum_tells_which_snapshots_were_kept() -> None:
    assert sum_of((), 50) == sum_of((60,), 50) == 0
    assert sum_of((10, 20, 60), 50) == sum_of((10, 20), 50) != sum_of((10, 30), 50)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gap_ns": -1},
        {"gap_ns": 5, "gap_short_ns": 6},
        {"period_ns": 5, "period_pressed_ns": 6},
        {"busy_groups": 0},
    ],
)
def test_config_checks_itself(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        AggregationConfig(**wrong)


MS = 1_000_000
WITHIN_S = 60.0  # of a machine that does much else
EAGER = AggregationConfig(gap_ns=0, gap_short_ns=0, period_ns=MS, period_pressed_ns=MS)


def driver(
    shard: MemoryShard, config: AggregationConfig = EAGER, reclaim: str = "time"
) -> ShardAggregation:
    loop = asyncio.get_running_loop()
    sched = Scheduler(loop, SystemClock())
    xstream: Any = SimpleNamespace(hlc=shard.hlc, loop=loop, sched=sched)
    made = ShardAggregation("pool", shard.meta, shard.pool, xstream, config)
    made.set_reclaim(reclaim)
    return made


async def until(condition: Callable[[], bool]) -> None:
    """Looks in every turn of the loop: what it waits for may be over in the next one."""
    loop = asyncio.get_running_loop()
    late = loop.time() + WITHIN_S
    while not condition():
        assert loop.time() < late, "it does not come to that"
        await asyncio.sleep(0)


async def write(shard: MemoryShard, c: VosContainer, count: int) -> list[int]:
    epochs = []
    for number in range(count):
        epochs.append(shard.hlc.now())
        await shard.put(c, OID, DKEY, {AKEY: b"%d" % number}, epoch=epochs[-1])
    return epochs


def versions(shard: MemoryShard) -> int:
    return sum(value[0] == 0xD9 for _, value in shard.meta.cursor())


@on_shard
async def test_it_begins_by_itself_once_the_snapshots_are_known(
    shard: MemoryShard, c: VosContainer
) -> None:
    await write(shard, c, 9)
    aggregation = driver(shard)
    for _ in range(50):
        await asyncio.sleep(0)
    assert versions(shard) == 9
    aggregation.protect(c, (), revision=1)
    await until(lambda: versions(shard) == 1)
    assert await shard.get(c, OID, DKEY, AKEY, epoch=1 << 60) == b"8"
    await until(lambda: c.aggregation.epoch > 0)
    aggregation.close()


@on_shard
async def test_every_snapshot_is_kept(shard: MemoryShard, c: VosContainer) -> None:
    epochs = await write(shard, c, 9)
    aggregation = driver(shard)
    aggregation.protect(c, (epochs[2], epochs[5]), revision=1)
    await aggregation.aggregate(c, 0)
    assert versions(shard) == 3
    for number in (2, 5, 8):
        assert await shard.get(c, OID, DKEY, AKEY, epoch=epochs[number]) == b"%d" % number
    aggregation.protect(c, (epochs[5],), revision=2)
    await aggregation.aggregate(c, 0)
    assert versions(shard) == 2
    aggregation.protect(c, (epochs[2], epochs[5]), revision=1)  # older news
    aggregation.protect(c, (), revision=3)
    await aggregation.aggregate(c, 0)
    assert versions(shard) == 1
    aggregation.close()


@on_shard
async def test_a_snapshot_that_is_destroyed_while_the_shard_is_closed(
    shard: MemoryShard, c: VosContainer
) -> None:
    epochs = await write(shard, c, 6)
    aggregation = driver(shard, reclaim="disabled")
    aggregation.protect(c, (epochs[2],), revision=1)
    await aggregation.aggregate(c, 0)
    await shard.meta.durable(shard.meta.lsn_last)
    aggregation.close()
    await shard.reopen()
    c = shard.container()
    aggregation = driver(shard, reclaim="disabled")
    aggregation.protect(c, (), revision=2)
    await aggregation.aggregate(c, 0)
    assert versions(shard) == 1
    aggregation.close()


@on_shard
async def test_a_snapshot_being_made_is_kept_until_its_fate_is_known(
    shard: MemoryShard, c: VosContainer
) -> None:
    await write(shard, c, 3)
    aggregation = driver(shard, reclaim="disabled")
    aggregation.protect(c, (), revision=1)
    made = shard.hlc.now()
    aggregation.begin_snapshot(c, made)
    await write(shard, c, 3)
    await aggregation.aggregate(c, 0)
    assert versions(shard) == 4
    assert await shard.get(c, OID, DKEY, AKEY, epoch=made) == b"2"
    assert aggregation.pending() == [c.uuid]
    # A target that starts meanwhile hears of it, too.
    aggregation.protect(c, (), revision=2, making=(made,), drawn=made + 1)
    assert aggregation.pending() == [c.uuid]
    aggregation.protect(c, (made,), revision=3, drawn=made + 3)
    assert aggregation.pending() == []
    await aggregation.aggregate(c, 0)
    assert versions(shard) == 2
    assert await shard.get(c, OID, DKEY, AKEY, epoch=made) == b"2"
    aggregation.close()


@on_shard
async def test_messages_about_a_snapshot_come_in_any_order(
    shard: MemoryShard, c: VosContainer
) -> None:
    await write(shard, c, 3)
    aggregation = driver(shard, reclaim="disabled")
    first, second = shard.hlc.now(), shard.hlc.now()
    # Older news than what was begun say nothing of it.
    aggregation.begin_snapshot(c, second)
    aggregation.protect(c, (), revision=1, drawn=first - 1)
    assert aggregation.pending() == [c.uuid]
    # News of a later one tell its fate, too, were its own lost.
    aggregation.protect(c, (), revision=1, drawn=second + 1)
    assert aggregation.pending() == []
    # What comes behind news of its fate is refused: nobody would ever tell it again.
    for late in (first, second):
        with pytest.raises(DaosError) as caught:
            aggregation.begin_snapshot(c, late)
        assert caught.value.code == DER.EP_OLD
    # Older news that come last change nothing.
    aggregation.protect(c, (), revision=1, making=(first, second), drawn=second)
    assert aggregation.pending() == []
    # One that was told to be in the making may begin behind that.
    third = shard.hlc.now()
    aggregation.protect(c, (), revision=1, making=(third,), drawn=third + 1)
    aggregation.begin_snapshot(c, third)
    assert aggregation.pending() == [c.uuid]
    aggregation.close()


@on_shard
async def test_no_snapshot_is_made_where_versions_are_gone(
    shard: MemoryShard, c: VosContainer
) -> None:
    epochs = await write(shard, c, 3)
    aggregation = driver(shard)
    aggregation.protect(c, (), revision=1)
    await aggregation.aggregate(c, epochs[2])
    with pytest.raises(DaosError) as caught:
        aggregation.begin_snapshot(c, Epoch(epochs[1]))
    assert caught.value.code == DER.EP_OLD
    aggregation.begin_snapshot(c, shard.hlc.now())
    aggregation.close()


@on_shard
async def test_disabled_means_when_asked(shard: MemoryShard, c: VosContainer) -> None:
    await write(shard, c, 5)
    aggregation = driver(shard, reclaim="disabled")
    aggregation.protect(c, (), revision=1)
    assert not aggregation.relieve(c)
    for _ in range(200):
        await asyncio.sleep(0)
    assert versions(shard) == 5
    await aggregation.aggregate(c, 0)
    assert versions(shard) == 1
    with pytest.raises(InvalidError, match="disabled, lazy, time"):
        aggregation.set_reclaim("sometimes")
    aggregation.close()


@on_shard
async def test_lazy_waits_while_the_target_is_busy(shard: MemoryShard, c: VosContainer) -> None:
    config = AggregationConfig(
        gap_ns=0, gap_short_ns=0, period_ns=MS, period_pressed_ns=MS, busy_groups=1
    )
    aggregation = driver(shard, config, reclaim="lazy")
    await write(shard, c, 5)
    aggregation.protect(c, (), revision=1)
    aggregation._lsn_before = -10
    aggregation._begin(shard.hlc.now(), busy=True)
    assert aggregation._pass is None
    aggregation.set_reclaim("time")
    aggregation._begin(shard.hlc.now(), busy=True)
    assert aggregation._pass is not None
    aggregation.close()


@on_shard
async def test_the_gap_leaves_what_is_new(shard: MemoryShard, c: VosContainer) -> None:
    """The clock stands: everything is newer than a gap."""
    await write(shard, c, 5)
    config = AggregationConfig(gap_ns=20 * 1000 * MS, gap_short_ns=0, period_ns=MS,
                               period_pressed_ns=MS)  # fmt: skip
    aggregation = driver(shard, config)
    aggregation.protect(c, (), revision=1)
    for _ in range(200):
        await asyncio.sleep(0)
    assert versions(shard) == 5
    c.crowded = True
    assert aggregation.relieve(c)
    await until(lambda: versions(shard) == 1)
    assert not c.crowded
    aggregation.close()


class SteppingClock:
    """Two tenths of a second later each time that somebody looks."""

    def __init__(self) -> None:
        self.now = START_UNIX_NS

    def now_ns(self) -> int:
        self.now += 200 * MS
        return self.now

    def monotonic_ns(self) -> int:
        return self.now


@on_shard
async def test_an_update_without_space_does_not_wait_for_the_gap(
    shard: MemoryShard, c: VosContainer
) -> None:
    await write(shard, c, 5)
    clock = SteppingClock()
    shard.hlc = Hlc(clock)
    config = AggregationConfig(period_ns=900 * MS, period_pressed_ns=MS)
    aggregation = driver(shard, config)
    assert not aggregation.make_room(), "nobody knows which snapshots there are"
    aggregation.protect(c, (), revision=1)
    assert aggregation.make_room()
    assert 0 < aggregation._ticks.left_s <= 0.001
    await until(lambda: not aggregation.make_room())
    assert versions(shard) == 1
    assert clock.now - START_UNIX_NS < config.gap_ns
    await shard.put(c, OID, DKEY, {AKEY: b"more"}, epoch=shard.hlc.now())
    assert aggregation.make_room()
    aggregation.set_reclaim("disabled")
    assert not aggregation.make_room()
    aggregation.set_reclaim("time")
    aggregation.close()
    assert not aggregation.make_room()


@on_shard
async def test_a_full_history_that_snapshots_keep_is_not_waited_for(
    shard: MemoryShard, c: VosContainer
) -> None:
    epochs = await write(shard, c, 5)
    shard.hlc = Hlc(SteppingClock())
    aggregation = driver(shard, AggregationConfig(period_ns=900 * MS, period_pressed_ns=MS))
    aggregation.protect(c, epochs, revision=1)
    assert aggregation.relieve(c)
    await until(lambda: not aggregation.relieve(c))
    assert versions(shard) == 5
    await shard.put(c, OID, DKEY, {AKEY: b"more"}, epoch=shard.hlc.now())
    assert aggregation.relieve(c)
    aggregation.close()


@on_shard
async def test_an_update_waits_for_blocks_on_their_way(shard: MemoryShard, c: VosContainer) -> None:
    aggregation = driver(shard)
    aggregation.protect(c, (), revision=1)
    await shard.put(c, OID, DKEY, {AKEY: bytes(9000)}, epoch=shard.hlc.now())
    await shard.put(c, OID, DKEY, {AKEY: b"small"}, epoch=shard.hlc.now())
    await until(lambda: aggregation.asleep)
    await until(lambda: not shard.meta.space.lsn_freed or not aggregation.make_room())
    assert not aggregation.make_room()
    pin = shard.meta.space.pin()
    run = shard.meta.space.reserve(1)
    shard.meta.space.publish(run)
    shard.meta.space.free(run, lsn=shard.meta.lsn_last)
    assert aggregation.make_room(), "somebody reads them still"
    shard.meta.space.unpin(pin)
    shard.meta.space.reclaim(durable_lsn=shard.meta.lsn_last + 1)
    assert not aggregation.make_room()
    aggregation.close()


@on_shard
async def test_few_blocks_on_their_way_come_where_nobody_writes(
    shard: MemoryShard, c: VosContainer
) -> None:
    """Free ones are many, and stand so scattered that an update found no place."""
    aggregation = driver(shard, reclaim="disabled")
    aggregation.protect(c, (), revision=1)
    await shard.put(c, OID, DKEY, {AKEY: bytes(9000)}, epoch=shard.hlc.now())
    await shard.put(c, OID, DKEY, {AKEY: b"small"}, epoch=shard.hlc.now())
    await aggregation.aggregate(c, 0)
    await shard.meta.durable(shard.meta.lsn_last)
    for _ in range(100):
        await asyncio.sleep(0)
    assert shard.meta.space.lsn_freed == shard.meta.lsn_last
    await until(lambda: not aggregation.make_room())
    aggregation.close()


@on_shard
async def test_damage_does_not_make_an_update_wait_for_ever(
    shard: MemoryShard, c: VosContainer
) -> None:
    await write(shard, c, 3)
    (key,) = [key for key, value in shard.meta.cursor() if value[0] == 0xD9][:1]
    tx = shard.meta.begin()
    tx.put(key, b"\xd9damage")
    tx.commit()
    aggregation = driver(shard)
    aggregation.protect(c, (), revision=1)
    assert aggregation.make_room()
    await until(lambda: not aggregation.make_room())
    assert aggregation.statistics.damaged
    aggregation.close()


async def at_rest(shard: MemoryShard, c: VosContainer) -> None:
    """Old versions of a container, and the shard opened anew."""
    await write(shard, c, 9)
    await shard.reopen()
    shard.hlc.raise_to(Epoch(shard.meta.epoch_highest + 1))


@on_shard
async def test_a_container_at_rest_has_one_pass(shard: MemoryShard, c: VosContainer) -> None:
    await at_rest(shard, c)
    aggregation = driver(shard)
    aggregation.protect_closed(c.uuid, (), revision=1)
    assert aggregation.make_room(), "nobody has looked at it"
    await until(lambda: aggregation.asleep)
    assert versions(shard) == 1
    assert shard.pool.opened(c.uuid) is None
    assert aggregation.passes == 1
    aggregation.protect_closed(c.uuid, (), revision=1)
    aggregation.forget(c.uuid)
    await until(lambda: aggregation.asleep)
    assert aggregation.passes == 1
    aggregation.close()


@on_shard
async def test_a_container_that_is_opened_meanwhile_stays_open(
    shard: MemoryShard, c: VosContainer
) -> None:
    await at_rest(shard, c)
    aggregation = driver(shard)
    aggregation.protect_closed(c.uuid, (), revision=1)
    await until(lambda: shard.pool.opened(c.uuid) is not None)
    opened = shard.container()
    aggregation.protect(opened, (), revision=2)
    await until(lambda: aggregation.asleep)
    assert shard.pool.opened(c.uuid) is opened
    assert versions(shard) == 1
    assert await shard.get(opened, OID, DKEY, AKEY, epoch=1 << 60) == b"8"
    aggregation.close()


@on_shard
async def test_a_container_at_rest_whose_pass_is_broken_off_keeps_in_mind_how_far_it_came(
    shard: MemoryShard, c: VosContainer
) -> None:
    epochs = await write(shard, c, 9)
    await shard.reopen()
    shard.hlc.raise_to(Epoch(shard.meta.epoch_highest + 1))
    aggregation = driver(shard)
    aggregation.protect_closed(c.uuid, (), revision=1)
    await until(lambda: aggregation._work is not None)
    aggregation._fail(AgainError("the log is full"))
    aggregation.set_reclaim("disabled")
    await until(lambda: aggregation.asleep)
    opened = shard.container()
    with pytest.raises(DaosError, match="are being aggregated"):
        aggregation.begin_snapshot(opened, Epoch(epochs[4]))
    aggregation.close()


@on_shard
async def test_what_is_known_of_a_container_at_rest_holds_once_it_is_open(
    shard: MemoryShard, c: VosContainer
) -> None:
    epochs = await write(shard, c, 9)
    await shard.reopen()
    shard.hlc.raise_to(Epoch(shard.meta.epoch_highest + 1))
    aggregation = driver(shard, reclaim="disabled")
    made, drawn = epochs[6], epochs[8]
    aggregation.protect_closed(c.uuid, (epochs[2],), revision=5, making=(made,), drawn=drawn)
    for _ in range(50):
        await asyncio.sleep(0)
    assert shard.pool.opened(c.uuid) is None
    opened = shard.container()
    aggregation.protect(opened, (), revision=4)  # older news
    await aggregation.aggregate(opened, 0)
    assert versions(shard) == 4, "the snapshot, what may become one, and two behind it"
    aggregation.protect(opened, (epochs[2],), revision=6, drawn=drawn + 1)
    await aggregation.aggregate(opened, 0)
    assert versions(shard) == 2
    aggregation.close()


@on_shard
async def test_a_container_at_rest_that_is_not_there_or_damaged(
    shard: MemoryShard, c: VosContainer, caplog: pytest.LogCaptureFixture
) -> None:
    await at_rest(shard, c)
    tx = shard.meta.begin()
    tx.put(keys.aggregation_key(c.node_id), b"damage")
    tx.commit()
    aggregation = driver(shard)
    aggregation.protect_closed(ContainerUuid(UUID(int=9)), (), revision=1)
    aggregation.protect_closed(c.uuid, (), revision=1)
    await until(lambda: aggregation.asleep)
    assert versions(shard) == 9
    assert shard.pool.opened(c.uuid) is None
    assert caplog.text.count("stays as it is") == 2
    aggregation.close()


@on_shard
async def test_what_ends_while_somebody_waits(shard: MemoryShard, c: VosContainer) -> None:
    await write(shard, c, 5)
    aggregation = driver(shard, reclaim="disabled")
    aggregation.protect(c, (), revision=1)
    waiting = asyncio.ensure_future(aggregation.aggregate(c, 0))
    await asyncio.sleep(0)
    shard.pool.destroy_container(c.uuid)
    aggregation.forget(c.uuid)
    with pytest.raises(StaleHandleError):
        await waiting
    c = shard.container()
    aggregation.protect(c, (), revision=2)
    waiting = asyncio.ensure_future(aggregation.aggregate(c, 0))
    await asyncio.sleep(0)
    aggregation.close()
    with pytest.raises(CanceledError):
        await waiting


@pytest.mark.expects_warning("aggregation ended")
@on_shard
async def test_a_pass_that_cannot_note_how_far_it_came(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for it hears why, and a later pass goes on."""
    noted = VosContainer.note_aggregated
    failures: list[DaosError] = [ShutdownError("the log takes nothing more")]

    def failing(container: VosContainer, record: AggregationRecord) -> object:
        if failures:
            raise failures.pop()
        return noted(container, record)

    monkeypatch.setattr(VosContainer, "note_aggregated", failing)
    await write(shard, c, 5)
    aggregation = driver(shard, reclaim="disabled")
    aggregation.protect(c, (), revision=1)
    with pytest.raises(ShutdownError, match="takes nothing more"):
        await aggregation.aggregate(c, 0)
    await aggregation.aggregate(c, 0)
    assert versions(shard) == 1
    assert c.aggregation.epoch > 0
    aggregation.close()


@on_shard
async def test_an_idle_container_costs_nothing(shard: MemoryShard, c: VosContainer) -> None:
    await write(shard, c, 5)
    aggregation = driver(shard)
    aggregation.protect(c, (), revision=1)
    await until(lambda: aggregation.asleep)
    passes = aggregation.passes
    assert aggregation._ticks.state is State.BLOCKED
    assert aggregation.statistics.deleted_sv == 4
    aggregation.wake()
    await shard.put(c, OID, DKEY, {AKEY: b"new"}, epoch=shard.hlc.now())
    await until(lambda: aggregation.passes > passes and aggregation.asleep)
    assert versions(shard) == 1
    aggregation.close()


def test_reclaim_has_the_names_of_the_property() -> None:
    assert [str(each) for each in Reclaim] == ["disabled", "lazy", "time"]

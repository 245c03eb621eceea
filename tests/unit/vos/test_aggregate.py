from __future__ import annotations

import asyncio

import pytest

from daos.base.errors import (
    DER,
    BusyError,
    DaosError,
    InvalidError,
    NoSpaceError,
    NotFoundError,
    StaleHandleError,
    TxRestartError,
)
from daos.base.ids import EPOCH_MAX, Epoch, ObjectType
from daos.base.iod import Iod, IodType, Recx
from daos.bio.pieces import Inline
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos import keys
from daos.vos.aggregate import AggregateConfig
from daos.vos.container import VosContainer
from daos.vos.ilog import ENTRIES_MAX
from daos.vos.iterate import Where
from daos.vos.merge import MergeConfig
from daos.vos.records import AggregationRecord, NodeRecord
from daos.vos.visit import Action, Callbacks
from daos.vos.work import StepLimits, Want

OID, DKEY, AKEY = unit(1), b"dkey", b"akey"
FORCED = AggregateConfig(merge=MergeConfig(force=True))


async def array(shard: MemoryShard, c: VosContainer, text: bytes, lo: int, epoch: int) -> None:
    await shard.write(c, OID, (DKEY, AKEY), {lo: text}, epoch=epoch)


@on_shard
async def test_one_at_a_time(shard: MemoryShard, c: VosContainer) -> None:
    first = c.aggregate(0, 50)
    with pytest.raises(BusyError, match="aggregated"):
        c.aggregate(0, 60)
    with pytest.raises(BusyError):
        c.discard(50, 60)
    later = c.discard(51, 60)
    with pytest.raises(BusyError, match="discarded"):
        c.discard(100, 110)
    later.close()
    one = c.discard(51, 60, unit(1))
    other = c.discard(51, 60, unit(2))
    with pytest.raises(BusyError):
        c.discard(70, 80, unit(1))
    for work in (one, other, first):
        await shard.finish(work)
    c.aggregate(0, 60).close()
    with pytest.raises(InvalidError):
        c.aggregate(9, 8)
    assert not c.exclusions


@on_shard
async def test_a_write_of_a_new_width_beside_a_merge(shard: MemoryShard, c: VosContainer) -> None:
    """It stands before the merged extent in one stack, narrower: its reach has to tell of it."""
    block = 64 << 10
    for number in range(3):
        await array(shard, c, bytes([1 + number]) * block, number * block // 2, 10 + number)
    aggregation = c.aggregate(0, 50)
    while aggregation.step() is not Want.READ:
        pass
    await array(shard, c, b"n" * (block + 1), 0, 60)  # of the class that the merged one will have
    done = asyncio.get_running_loop().create_future()
    aggregation.read(done.set_result)
    assert await done is None
    await shard.finish(aggregation)
    expected = b"n" * (block + 1) + bytes([3]) * (block - 1)
    assert await read_array(shard, c, 2 * block, 70) == expected
    await shard.finish(c.aggregate(0, 65))
    assert await read_array(shard, c, 2 * block, 70) == expected


async def read_array(shard: MemoryShard, c: VosContainer, count: int, epoch: int) -> bytes:
    iod = Iod(AKEY, IodType.ARRAY, 1, (Recx(0, count),))
    _, views = await shard.fetch(c, OID, DKEY, [iod], epoch=epoch)
    return b"".join(views)


@on_shard
async def test_nothing_is_unlinked_beside_it(shard: MemoryShard, c: VosContainer) -> None:
    """A merge frees the blocks of what it has read; if garbage is collected first, twice."""
    block = 64 << 10
    for number in range(3):
        text = bytes([number]) * block
        await array(shard, c, text, number * block // 2, 10 + number)
    aggregation = c.aggregate(0, 50)
    while aggregation.step() is not Want.READ:
        pass
    with pytest.raises(BusyError, match="aggregated"):
        c.delete_object(OID)
    with pytest.raises(BusyError, match="aggregated"):
        c.delete_key(OID, DKEY, AKEY)
    visit = c.visit(Where(OID, DKEY, AKEY), Callbacks(pre=lambda _: Action.DELETE))
    with pytest.raises(BusyError, match="aggregated"):
        visit.step()
    aggregation.close()
    discard = c.discard(51, 60)
    c.delete_object(OID)
    await shard.finish(discard)


@on_shard
async def test_a_discard_is_durable_before_it_is_told_of(
    shard: MemoryShard, c: VosContainer
) -> None:
    for epoch, text in ((10, b"old"), (20, b"new")):
        await shard.put(c, OID, DKEY, {AKEY: text}, epoch=epoch)
    work = c.discard(15, 25, limits=StepLimits(scan=1))
    shown, want = b"new", Want.TURN
    while want is not Want.NOTHING:
        want, before = work.step(), shown
        fetch = c.fetch_begin(OID, DKEY, [Iod(AKEY, IodType.SINGLE, 0)], Epoch(50))
        assert isinstance(fetch.parts[0], Inline)
        shown = bytes(fetch.parts[0].data)
        c.fetch_end(fetch)
        if shown != before:
            assert fetch.lsn == shard.meta.lsn_last > shard.meta.durable_lsn
    assert shown == b"old"


@on_shard
async def test_nothing_is_written_beside_a_discard(shard: MemoryShard, c: VosContainer) -> None:
    """Above its range neither: in whatever step it comes, a write keeps what it relies on."""
    for steps in range(12):
        first = 100 * (steps + 1)
        await shard.put(c, OID, DKEY, {AKEY: b"old"}, epoch=first + 20)
        work = c.discard(first + 15, first + 25, limits=StepLimits(scan=1))
        for _ in range(steps):
            work.step()
        if c.exclusions:
            with pytest.raises(DaosError, match="DER_UPDATE_AGAIN"):
                await shard.put(c, OID, DKEY, {AKEY: b"new"}, epoch=first + 50)
        await shard.finish(work)
        await shard.put(c, OID, DKEY, {AKEY: b"new"}, epoch=first + 50)
        assert await shard.get(c, OID, DKEY, AKEY, epoch=first + 60) == b"new"
        await shard.finish(c.discard(first + 50, first + 50))
        assert await shard.get(c, OID, DKEY, AKEY, epoch=first + 60) is None


@on_shard
async def test_nothing_is_written_into_the_range(shard: MemoryShard, c: VosContainer) -> None:
    aggregation = c.aggregate(0, 50)
    with pytest.raises(TxRestartError):
        await shard.put(c, OID, DKEY, {AKEY: b"x"}, epoch=50)
    await shard.put(c, OID, DKEY, {AKEY: b"x"}, epoch=51)
    await shard.finish(aggregation)
    discard = c.discard(60, EPOCH_MAX)
    with pytest.raises(DaosError) as caught:
        await shard.put(c, OID, DKEY, {AKEY: b"y"}, epoch=61)
    assert caught.value.code == DER.UPDATE_AGAIN
    await shard.finish(discard)
    await shard.put(c, OID, DKEY, {AKEY: b"y"}, epoch=61)
    assert await shard.get(c, OID, DKEY, AKEY, epoch=61) == b"y"


@on_shard
async def test_a_destroyed_container_ends_it(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, DKEY, {AKEY: b"x"}, epoch=10)
    work = c.aggregate(0, 50)
    shard.pool.destroy_container(c.uuid)
    with pytest.raises(StaleHandleError):
        work.step()
    assert work.step() is Want.NOTHING


@on_shard
async def test_space_is_that_of_a_fresh_store(shard: MemoryShard, c: VosContainer) -> None:
    """Whatever was overwritten and punched before: entries and blocks of what is visible."""
    for epoch in range(10, 60):
        await shard.put(c, OID, DKEY, {b"s": b"%d" % epoch * 3000, b"t": b"t"}, epoch=epoch)
        await array(shard, c, b"%04d" % epoch * 2500, epoch * 100, epoch)
        await shard.put(c, unit(2), b"%d" % epoch, {AKEY: bytes(5000)}, epoch=epoch)
        c.punch(unit(2), Epoch(epoch), dkey=b"%d" % (epoch - 1))
    c.punch(unit(2), Epoch(60))
    content = await shard.read(c, OID, (DKEY, AKEY), (0, 20_000), epoch=70)
    await shard.finish(c.aggregate(0, 70))
    assert await shard.read(c, OID, (DKEY, AKEY), (0, 20_000), epoch=70) == content
    # Root, container, object, dkey, three akeys, two values, one extent.
    assert shard.meta.statistics().tree_entries == 10
    assert shard.meta.space.blocks_allocated == 2 + 4  # of 6,000 and of 14,900 bytes
    shard.meta.space.check()


@on_shard
async def test_a_key_may_be_made_anew_for_ever(shard: MemoryShard, c: VosContainer) -> None:
    epoch, times = 11, 0
    while times < ENTRIES_MAX:
        for _ in range(100):
            times += 1
            update = c.update_begin(OID, DKEY, [Iod(AKEY, IodType.SINGLE, 1)])
            update.destinations[0][:] = b"x"
            c.update_end(update, Epoch(epoch))
            c.punch(OID, Epoch(epoch + 1), dkey=DKEY)
            epoch += 2
        await shard.finish(c.aggregate(0, epoch - 1))
    assert not c.list_dkeys(OID, Epoch(epoch), limit=9).entries
    assert shard.meta.statistics().tree_entries == 4, "root, container, object, when it was changed"


@on_shard
async def test_a_damaged_source_is_left_alone(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(4):
        await array(shard, c, b"%d" % number * 5000, 4000 * number, 10 + number)
    damaged = next(
        block
        for block, content in shard.device.image.blocks.items()
        if content.startswith(b"1" * 4096)
    )
    shard.device.image.flip(damaged * 4096 + 5)
    work = c.aggregate(0, 50, config=FORCED)
    await shard.finish(work)
    assert (work.statistics.csum_errors, work.statistics.merged_recs) == (1, 0)
    for lo, hi, want in ((0, 4000, b"0"), (8000, 12_000, b"2"), (12_000, 17_000, b"3")):
        assert await shard.read(c, OID, (DKEY, AKEY), (lo, hi), epoch=60) == want * (hi - lo)
    shard.device.image.flip(damaged * 4096 + 5)
    assert await shard.read(c, OID, (DKEY, AKEY), (4000, 8000), epoch=60) == b"1" * 4000
    work = c.aggregate(0, 51, config=FORCED)
    await shard.finish(work)
    assert (work.statistics.csum_errors, work.statistics.merged_recs) == (0, 4)
    assert shard.meta.space.blocks_allocated == 5


@on_shard
async def test_what_was_not_written_to_is_passed_over(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(8):
        await shard.put(c, unit(number), DKEY, {AKEY: b"x"}, epoch=10)
    await shard.finish(c.aggregate(0, 20))
    since = shard.meta.lsn_last
    await shard.put(c, unit(3), DKEY, {AKEY: b"y"}, epoch=30)
    work = c.aggregate(0, 40, changed_since=since)
    await shard.finish(work)
    counts = work.statistics
    assert (counts.obj_scanned, counts.obj_skipped, counts.deleted_sv) == (1, 7, 1)


@on_shard
async def test_a_step_is_bounded(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(40):
        await shard.put(c, OID, b"%d" % number, {AKEY: b"x", b"b": b"y"}, epoch=10 + number)
    work = c.aggregate(0, 90, config=AggregateConfig(limits=StepLimits(scan=5)))
    steps = await shard.finish(work)
    assert steps > 40 * 2 / 5


@on_shard
async def test_a_fetch_in_flight_keeps_its_blocks(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(6):
        await array(shard, c, b"%d" % number * 6000, 5000 * number, 10 + number)
    iods = [Iod(AKEY, IodType.ARRAY, 0, (Recx(0, 31_000),))]
    fetch = c.fetch_begin(OID, DKEY, iods, Epoch(60))
    await shard.finish(c.aggregate(0, 50, config=FORCED))
    for epoch in range(70, 90):  # whatever was freed would be written to
        await shard.put(c, unit(2), b"%d" % epoch, {AKEY: b"z" * 40_000}, epoch=epoch)
    ended: list[DaosError | None] = []
    c.fetch_read(fetch, ended.append)
    assert ended == [None]
    content = b"".join(fetch.views)
    c.fetch_end(fetch)
    assert content == b"".join(b"%d" % n * 5000 for n in range(5)) + b"5" * 6000


@on_shard
async def test_ties_have_no_gaps(shard: MemoryShard, c: VosContainer) -> None:
    """Keys with one hash: the first of them goes, the others are found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "hash128", lambda key: bytes(16))
        for number in range(4):
            await shard.put(c, OID, b"%d" % number, {AKEY: b"x"}, epoch=10 + number)
        for number in (0, 1, 3):
            c.punch(OID, Epoch(20 + number), dkey=b"%d" % number)
        await shard.finish(c.aggregate(0, 30))
        c.nodes.cache.clear()
        assert await shard.get(c, OID, b"2", AKEY, epoch=40) == b"x"
        assert c.list_dkeys(OID, Epoch(40), limit=9).entries == [b"2"]
        await shard.put(c, OID, b"0", {AKEY: b"again"}, epoch=50)
        assert await shard.get(c, OID, b"0", AKEY, epoch=50) == b"again"
        c.punch(OID, Epoch(60))
        for hi in (70, 71, 72, 73):
            await shard.finish(c.aggregate(0, hi))
    assert shard.meta.statistics().tree_entries == 2


@on_shard
async def test_how_far_it_came_is_known_after_a_restart(
    shard: MemoryShard, c: VosContainer
) -> None:
    assert c.aggregation == AggregationRecord()
    c.note_aggregated(AggregationRecord(77, 5))
    await shard.meta.durable(shard.meta.lsn_last)
    await shard.reopen()
    c = shard.container()
    assert (c.aggregation, c.aggregated) == (AggregationRecord(77, 5), 77)
    assert c.modification_bound >= 77
    shard.pool.destroy_container(c.uuid)
    while shard.pool.gc_step(9):
        pass
    assert shard.meta.statistics().tree_entries == 1


@on_shard
async def test_a_damaged_node_does_not_stop_it(shard: MemoryShard, c: VosContainer) -> None:
    for number in (1, 2):
        for epoch in (10, 20):
            await shard.put(c, unit(number), DKEY, {AKEY: b"x"}, epoch=epoch + number)
    key = keys.node_prefix(c.node_id, keys.OBJECT) + keys.object_order(unit(1))
    tx = shard.meta.begin()
    tx.put(key, NodeRecord.emit(NodeRecord(keys.OBJECT, 99))[:-1] + b"?")
    tx.commit()
    work = c.aggregate(0, 50)
    await shard.finish(work)
    assert not work.clean
    assert (work.statistics.damaged, work.statistics.deleted_sv) == (1, 1)


@on_shard
async def test_a_full_shard_is_cleaned_without_merging(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(3):
        await array(shard, c, b"%d" % number * 6000, 5000 * number, 10 + number)
    holds = [shard.meta.hold(tree_bytes=0, data_blocks=shard.meta.statistics().blocks_left)]
    with pytest.raises(NoSpaceError):  # noqa: PT012
        while True:
            holds.append(shard.meta.hold(tree_bytes=0, data_blocks=1, last=True))
    work = c.aggregate(0, 50, config=FORCED)
    await shard.finish(work)
    for hold in holds:
        shard.meta.release(hold)
    assert (work.statistics.no_space, work.statistics.merged_recs) == (1, 0)
    content = await shard.read(c, OID, (DKEY, AKEY), (0, 16_000), epoch=60)
    assert content == b"0" * 5000 + b"1" * 5000 + b"2" * 6000


@on_shard
async def test_discard_moves_a_creation_that_later_writes_need(
    shard: MemoryShard, c: VosContainer
) -> None:
    oid = unit(5, ObjectType.MULTI_LEXICAL)
    for epoch in (10, 20, 30):
        await shard.put(c, oid, DKEY, {AKEY: b"%d" % epoch}, epoch=epoch)
    await shard.finish(c.discard(10, 15))
    assert await shard.get(c, oid, DKEY, AKEY, epoch=15) is None
    assert await shard.get(c, oid, DKEY, AKEY, epoch=25) == b"20"
    assert c.list_dkeys(oid, Epoch(19), limit=9).entries == []
    assert c.list_dkeys(oid, Epoch(20), limit=9).entries == [DKEY]


@on_shard
async def test_deleting_what_is_not_there(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, DKEY, {AKEY: b"x"}, epoch=10)
    for where in (
        (unit(9), None, None),
        (OID, b"no", None),
        (OID, DKEY, b"no"),
        (OID, b"no", AKEY),
    ):
        oid, dkey, akey = where
        with pytest.raises(NotFoundError):
            c.delete_key(oid, dkey, akey) if dkey else c.delete_object(oid)
    c.delete_key(OID, DKEY, AKEY)
    assert await shard.get(c, OID, DKEY, AKEY, epoch=10) is None

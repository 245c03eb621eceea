from __future__ import annotations

import random

import pytest

from daos.base.errors import CorruptError, InvalidError, StaleHandleError
from daos.base.ids import EPOCH_MAX, Epoch
from daos.base.iod import Iod, IodType, Recx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos import keys
from daos.vos.aggregate import AggregateConfig
from daos.vos.container import VosContainer
from daos.vos.merge import MergeConfig
from daos.vos.newest_table import NewestTable
from daos.vos.work import StepLimits, Want

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
    c.newest.forget(b"")
    search = c.newest_epoch(OID, Epoch(100))
    steps = 1
    while search.step(8):
        steps += 1
    assert search.epoch == 49
    assert search.lsn == lsn
    assert 10 <= steps <= 20
    search = c.newest_epoch(OID, Epoch(20))
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


def steps_of(c: VosContainer, epoch: int) -> tuple[int, int]:
    """The newest epoch, and how many steps of one record it took."""
    search, steps = c.newest_epoch(OID, Epoch(epoch)), 1
    while search.step(1):
        steps += 1
    return search.epoch, steps


def notes(shard: MemoryShard) -> list[int]:
    """The epochs of all notes in the tree, newest first."""
    return [keys.parse_newest_key(key) for key, value in shard.meta.cursor() if value[0] == 0xD6]


@on_shard
async def test_what_was_made_or_asked_about_is_known(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(20):
        await shard.put(c, OID, b"%d" % number, {b"a": b"x"}, epoch=10 + number)
    assert steps_of(c, 100) == (29, 1)
    c.punch(OID, Epoch(40), dkey=b"3")
    assert steps_of(c, 100) == steps_of(c, 40) == (40, 1)
    below, steps = steps_of(c, 39)
    assert (below, steps > 20) == (29, True)
    assert steps_of(c, 100) == (40, 1)  # who reads below changes nothing
    await shard.reopen()
    c = shard.container()
    assert steps_of(c, 25)[0] == 25
    for known in (False, True):
        newest, steps = steps_of(c, 100)
        assert (newest, steps == 1) == (40, known)
    epoch = c.modification_bound + 10
    await shard.put(c, OID, b"5", {b"a": b"x"}, epoch=epoch)
    assert steps_of(c, epoch) == (epoch, 1)


@on_shard
async def test_writes_beside_a_search_count(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(20):
        await shard.put(c, OID, b"%02d" % number, {b"a": b"x"}, epoch=10 + number)
    c.newest.forget(b"")
    search, given_up = c.newest_epoch(OID, Epoch(60)), c.newest_epoch(OID, Epoch(60))
    assert search.step(30)
    assert given_up.step(3)
    given_up.close()
    assert len(c.newest) == 0
    await shard.put(c, OID, b"00", {b"a": b"x"}, epoch=50)
    await shard.put(c, OID, b"00", {b"a": b"x"}, epoch=70)
    await shard.put(c, unit(2), b"00", {b"a": b"x"}, epoch=90)
    while search.step(3):
        pass
    assert search.epoch == 50
    assert steps_of(c, 99) == (70, 1)


@on_shard
async def test_a_search_that_something_was_taken_from_fills_nothing(
    shard: MemoryShard, c: VosContainer
) -> None:
    for number in range(20):
        await shard.put(c, OID, b"%02d" % number, {b"a": b"x"}, epoch=10 + number)
    c.newest.forget(b"")
    search = c.newest_epoch(OID, Epoch(60))
    assert search.step(20)
    c.delete_key(OID, b"19")
    while search.step(9):
        pass
    assert len(c.newest) == 0
    assert newest(c, 60) == 28
    await shard.finish(c.discard(25, 40))
    assert newest(c, 60) == 24


@on_shard
async def test_merged_behind_the_back_of_a_search(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(20):
        data = {10 * number: bytes([number + 1]) * 10}
        await shard.write(c, OID, (b"d", b"a"), data, epoch=10 + number)
    c.newest.forget(b"")
    search = c.newest_epoch(OID, Epoch(60))
    for _ in range(5):
        assert search.step(1)
    assert search.epoch < 29
    await shard.finish(c.aggregate(0, 40, config=AggregateConfig(merge=MergeConfig(force=True))))
    while search.step(1):
        pass
    assert search.epoch == newest(c, 60) == 29


async def hole(shard: MemoryShard, c: VosContainer, dkey: bytes, epoch: int) -> None:
    iods = [Iod(b"a", IodType.ARRAY, 0, (Recx(0, 100),))]
    await shard.update(c, OID, dkey, iods, b"", epoch=epoch)


@pytest.mark.parametrize("how", ["hole", "value", "akey", "dkey"])
@pytest.mark.parametrize("known", [True, False])
@on_shard
async def test_aggregation_does_not_take_it_back(
    shard: MemoryShard, c: VosContainer, how: str, known: bool
) -> None:
    """Written, taken away, aggregated: nothing else tells of it any more."""
    await shard.put(c, OID, b"other", {b"s": b"x"}, epoch=9)
    if how == "hole":
        await shard.write(c, OID, (b"d", b"a"), {0: b"y" * 100}, epoch=10)
        await hole(shard, c, b"d", 20)
    else:
        await shard.put(c, OID, b"d", {b"s": b"y"}, epoch=10)
        if how == "value":
            await shard.put(c, OID, b"d", {b"s": b""}, epoch=20)
        else:
            akeys = [b"s"] if how == "akey" else []
            c.punch(OID, Epoch(20), dkey=b"d", akeys=akeys)
    if not known:
        c.newest.forget(b"")
    await shard.finish(c.aggregate(0, 30))
    assert notes(shard) == [20]
    for _ in range(2):
        assert newest(c, 30) == newest(c, 99) == 20
        await shard.reopen()
        c = shard.container()
        await shard.finish(c.aggregate(0, 31))


@on_shard
async def test_what_hides_and_stays_needs_no_note(shard: MemoryShard, c: VosContainer) -> None:
    for epoch in (10, 20, 30):
        await shard.put(c, OID, b"d", {b"s": b"x"}, epoch=epoch)
        await shard.write(c, OID, (b"d", b"a"), {epoch // 10: b"y" * 100}, epoch=epoch)
    c.punch(OID, Epoch(40), dkey=b"e")
    await shard.put(c, OID, b"d", {b"s": b"x"}, epoch=50)
    await shard.finish(c.aggregate(0, 60))
    assert (newest(c, 70), notes(shard)) == (50, [])  # the table knows that 50 stays
    c.punch(OID, Epoch(70), dkey=b"e")
    await shard.put(c, OID, b"d", {b"s": b"x"}, epoch=90)
    await shard.finish(c.aggregate(0, 80))
    assert (newest(c, 80), newest(c, 99), notes(shard)) == (70, 90, [70])


@on_shard
async def test_each_snapshot_has_its_own(shard: MemoryShard, c: VosContainer) -> None:
    """Of a range that nobody reads within, only the newest stays."""
    await shard.put(c, OID, b"other", {b"s": b"x"}, epoch=5)
    for first in (10, 20, 30):
        for number in range(3):
            await shard.put(c, OID, b"%d" % number, {b"s": b"x"}, epoch=first + number)
            c.punch(OID, Epoch(first + 4 + number), dkey=b"%d" % number)
        c.newest.forget(b"")
        limits = StepLimits(scan=1, delete=1)
        config = AggregateConfig(limits=limits)
        await shard.finish(c.aggregate(0 if first == 10 else first - 1, first + 8, config=config))
    assert notes(shard) == [36, 26, 16]
    await shard.reopen()
    c = shard.container()
    assert [newest(c, epoch) for epoch in (18, 28, 38, 99)] == [16, 26, 36, 36]
    await shard.finish(c.aggregate(0, 28, config=config))
    assert notes(shard) == [36, 26]
    assert [newest(c, epoch) for epoch in (28, 99)] == [26, 36]
    await shard.finish(c.discard(30, 40))
    assert notes(shard) == [26]
    assert newest(c, 99) == 26


@on_shard
async def test_notes_go_with_their_object(shard: MemoryShard, c: VosContainer) -> None:
    for lo in (1, 2, 3):
        await shard.put(c, unit(lo), b"other", {b"s": b"x"}, epoch=9)
        await shard.put(c, unit(lo), b"d", {b"s": b"x"}, epoch=10)
        c.punch(unit(lo), Epoch(20), dkey=b"d")
    c.newest.forget(b"")
    await shard.finish(c.aggregate(0, 30))
    assert notes(shard) == [20, 20, 20]
    c.punch(OID, Epoch(40))
    assert newest(c, 99) == 40
    await shard.finish(c.aggregate(0, 50))
    assert newest(c, 99) == 0  # as one that never was
    assert notes(shard) == [20, 20]
    await shard.put(c, OID, b"d", {b"s": b"x"}, epoch=60)
    assert newest(c, 99) == 60
    c.delete_object(unit(2))
    while shard.pool.gc_step(1):
        pass
    assert notes(shard) == [20]
    shard.pool.destroy_container(c.uuid)
    while shard.pool.gc_step(1):
        pass
    assert shard.meta.statistics().tree_entries == 1


@on_shard
async def test_a_discard_that_leaves_nothing_takes_the_notes(
    shard: MemoryShard, c: VosContainer
) -> None:
    await shard.put(c, OID, b"d", {b"s": b"x"}, epoch=10)
    c.punch(OID, Epoch(20))
    await shard.put(c, OID, b"d", {b"s": b"x"}, epoch=30)
    await shard.finish(c.aggregate(0, 25))
    assert notes(shard) == [20]
    assert newest(c, 25) == 20
    await shard.finish(c.discard(26, 40))
    assert notes(shard) == []
    assert newest(c, 99) == 0


@on_shard
async def test_a_damaged_note(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"other", {b"s": b"x"}, epoch=9)
    await shard.put(c, OID, b"d", {b"s": b"x"}, epoch=10)
    c.punch(OID, Epoch(20), dkey=b"d")
    await shard.finish(c.aggregate(0, 30))
    (key,) = [key for key, value in shard.meta.cursor() if value[0] == 0xD6]
    value = shard.meta.get(key)
    assert value is not None
    other = keys.newest_key(int.from_bytes(key[:8], "big"), 21)
    for place, content in ((key, b"damage"), (other, value)):
        tx = shard.meta.begin()
        tx.put(place, content)
        tx.commit()
        c.newest.forget(b"")
        with pytest.raises(CorruptError, match="newest record"):
            newest(c, 99)
        work = c.aggregate(0, 31)
        await shard.finish(work)
        assert work.clean
    assert newest(c, 9) == 9


def test_the_table_forgets_who_was_not_asked_about() -> None:
    table = NewestTable(size=3)
    for number in range(3):
        table.created(b"%d" % number, 10 + number)
    assert table.ask(b"0") == 10
    table.wrote(b"1", 20)  # a write is no question
    table.created(b"3", 9)
    assert [table.peek(b"%d" % number) for number in range(4)] == [10, None, 12, 9]
    table.wrote(b"1", 30)
    assert len(table) == 3
    table.wrote(b"0", 9)
    assert table.peek(b"0") == 10
    table.forget(b"0")
    assert (table.ask(b"0"), len(table)) == (None, 2)
    table.forget(b"")
    assert len(table) == 0


@pytest.mark.parametrize("noted", [False, True])
@on_shard
async def test_an_object_that_is_written_while_it_is_about_to_go(
    shard: MemoryShard, c: VosContainer, noted: bool
) -> None:
    """At whatever step the write comes."""
    config = AggregateConfig(limits=StepLimits(scan=1, delete=1))
    late, epoch = 0, 10
    ended = False
    while not ended:
        oid = unit(100 + late)
        if noted:
            await shard.put(c, oid, b"d", {b"s": b"x"}, epoch=epoch)
            c.punch(oid, Epoch(epoch + 1))
            await shard.put(c, oid, b"d", {b"s": b"x"}, epoch=epoch + 3)
            c.newest.forget(b"")
            await shard.finish(c.aggregate(0, epoch + 2))
        await shard.put(c, oid, b"d", {b"s": b"x"}, epoch=epoch + 4)
        c.punch(oid, Epoch(epoch + 5))
        work = c.aggregate(0, epoch + 6, config=config)
        for _ in range(late):
            ended = work.step() is Want.NOTHING
        await shard.put(c, oid, b"d", {b"s": b"late"}, epoch=epoch + 9)
        await shard.finish(work)
        assert await shard.get(c, oid, b"d", b"s", epoch=epoch + 9) == b"late"
        assert len(c.list_dkeys(oid, Epoch(epoch + 9), limit=9).entries) == 1
        await shard.finish(c.discard(epoch + 7, epoch + 10, oid))
        await shard.finish(c.aggregate(0, epoch + 11))
        late, epoch = late + 1, epoch + 20
    assert late > 4
    assert notes(shard) == []

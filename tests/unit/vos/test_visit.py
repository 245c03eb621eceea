"""Visits: what call-backs can ask for, where a visit begins, and what it makes of changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from daos.base.errors import DaosError, InvalidError, NotFoundError, StaleHandleError
from daos.base.ids import Epoch, ObjectType
from daos.base.iod import Iod, IodType
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos import keys, pieces
from daos.vos.container import VosContainer
from daos.vos.dedup_record import DedupMode, DedupSetting
from daos.vos.iterate import Where
from daos.vos.versions import Epochs
from daos.vos.visit import VALUE, Action, Callbacks, Entry, Epc, Flag, Visit, Wanted

OID = unit(1, ObjectType.MULTI_LEXICAL)
OTHER = unit(2, ObjectType.MULTI_UINT64)
NAMES = {keys.OBJECT: "o", keys.DKEY: "d", keys.AKEY: "a", VALUE: "v"}


async def fill(shard: MemoryShard, c: VosContainer) -> None:
    for dkey in (b"d1", b"d2", b"d3"):
        await shard.put(c, OID, dkey, {b"a1": b"x", b"a2": b"yy"}, epoch=10)
    await shard.write(c, OID, (b"d1", b"a3"), {5: b"zzz"}, epoch=11)
    await shard.put(c, OTHER, bytes(8), {bytes(8): b"u"}, epoch=12)


def run(visit: Visit, credits: int = 1 << 20) -> int:
    """How many steps it takes."""
    steps = 1
    while visit.step(credits):
        steps += 1
    return steps


def said(entries: list[Entry]) -> str:
    """The way that was taken, a letter an entry."""
    return "".join(NAMES[entry.level] for entry in entries)


def noting(entries: list[Entry], answer: Callable[[Entry], int] = lambda _: 0) -> Callbacks:
    def pre(entry: Entry) -> int:
        entries.append(entry)
        return answer(entry)

    return Callbacks(pre)


@on_shard
async def test_depth_first_whatever_the_steps(shard: MemoryShard, c: VosContainer) -> None:
    await fill(shard, c)
    for credits in (1, 2, 5, 100):
        entries: list[Entry] = []
        steps = run(c.visit(None, noting(entries)), credits)
        assert said(entries) == "odav" + "o" + "davavav" + "davav" * 2
        assert steps >= len(entries) // credits
    assert entries[3][:4] == (VALUE, OTHER, bytes(8), bytes(8))
    assert entries[4].oid == OID
    backwards: list[Entry] = []
    run(c.visit(None, noting(backwards), wanted=Wanted(flags=Flag.REVERSE)))
    assert said(backwards) == "o" + "davav" * 2 + "davavav" + "odav"


@pytest.mark.parametrize(
    ("where", "way"),
    [
        (Where(OID), "davavav" + "davav" * 2),
        (Where(OID, b"d1"), "avavav"),
        (Where(OID, b"d1", b"a3"), "v"),
        (Where(OID, b"d9"), ""),
        (Where(OID, b"d1", b"a9"), ""),
        (Where(unit(9)), ""),
    ],
)
@on_shard
async def test_where_it_begins(shard: MemoryShard, c: VosContainer, where: Where, way: str) -> None:
    await fill(shard, c)
    entries: list[Entry] = []
    run(c.visit(where, noting(entries)))
    assert said(entries) == way
    entries.clear()
    run(c.visit(where, noting(entries), recursive=False))
    assert said(entries) == (way[:1] * way.count(way[0]) if way else "")


@on_shard
async def test_restart_and_exit(shard: MemoryShard, c: VosContainer) -> None:
    await fill(shard, c)
    entries: list[Entry] = []
    again = iter([True, True, False])

    def restart(entry: Entry) -> int:
        return Action.RESTART if entry.akey == b"a2" and next(again, False) else 0

    run(c.visit(Where(OID, b"d1"), noting(entries, restart), recursive=False))
    assert [entry.akey for entry in entries] == [b"a1", b"a2"] * 3 + [b"a3"]
    entries.clear()
    run(c.visit(None, noting(entries, lambda e: Action.EXIT if e.dkey == b"d2" else 0)))
    assert said(entries) == "odav" + "o" + "davavav" + "d"
    entries.clear()
    visit = c.visit(None, noting(entries, lambda _: Action.EXIT | Action.YIELD))
    assert visit.step()
    assert not visit.step()
    assert not visit.step()
    assert len(entries) == 1


@on_shard
async def test_punched_keys_on_request(shard: MemoryShard, c: VosContainer) -> None:
    await fill(shard, c)
    c.punch(OID, Epoch(20), dkey=b"d1")
    c.punch(OID, Epoch(30), dkey=b"d2", akeys=[b"a1"])
    entries: list[Entry] = []
    run(c.visit(Where(OID), noting(entries)))
    assert said(entries) == "dav" + "davav"
    for lo, way in ((0, "davavav" + "davav" * 2), (25, "davav" * 2), (31, "dav" + "davav")):
        entries.clear()
        wanted = Wanted(Epochs(lo, 50), Epc.LE, Flag.PUNCHED)
        run(c.visit(Where(OID), noting(entries), wanted=wanted))
        assert said(entries) == way
    run(c.visit(Where(OID), noting(entries), wanted=Wanted(Epochs(0, 50), flags=Flag.PUNCHED)))
    gone = [entry for entry in entries if entry.covered]
    assert {entry.punched for entry in gone if entry.level != VALUE} == {20, 30}
    assert {(entry.dkey, entry.akey) for entry in gone if entry.level == VALUE} == {
        (b"d1", b"a1"),
        (b"d1", b"a2"),
        (b"d1", b"a3"),
        (b"d2", b"a1"),
    }


@on_shard
async def test_changes_in_pauses(shard: MemoryShard, c: VosContainer) -> None:
    """New keys behind the position are visited, a parent that went ends its level."""
    await fill(shard, c)
    entries: list[Entry] = []
    visit = c.visit(Where(OID), noting(entries, lambda _: Action.YIELD))
    epoch = 100
    while visit.step():
        if entries[-1].level == keys.DKEY and epoch < 104:
            epoch += 1
            await shard.put(c, OID, b"d2%d" % epoch, {b"a1": b"x"}, epoch=epoch)
            await shard.put(c, OID, b"d0", {b"a%d" % epoch: b"x"}, epoch=epoch)
    dkeys = [entry.dkey for entry in entries if entry.level == keys.DKEY]
    assert dkeys == [b"d1", b"d2", b"d2101", b"d2102", b"d2103", b"d2104", b"d3"]
    entries.clear()
    visit = c.visit(Where(OID, b"d1"), noting(entries, lambda _: Action.YIELD))
    assert visit.step()
    shard.pool.destroy_container(c.uuid)
    with pytest.raises(StaleHandleError):
        visit.step()


@on_shard
async def test_deleting(shard: MemoryShard, c: VosContainer) -> None:
    await fill(shard, c)
    await shard.put(c, OID, b"d1", {b"a1": b"L" * 9000}, epoch=20)
    before = shard.meta.space.blocks_allocated
    entries: list[Entry] = []
    where = Where(OID, b"d1", b"a1")
    wanted = Wanted(Epochs(20, 20))
    run(c.visit(where, noting(entries, lambda _: Action.DELETE), wanted=wanted))
    assert await shard.get(c, OID, b"d1", b"a1", epoch=99) == b"x"
    assert shard.meta.space.blocks_allocated == before - 3
    visit = c.visit(Where(OID), noting([], lambda e: Action.DELETE if e.dkey == b"d2" else 0))
    run(visit)
    assert c.list_dkeys(OID, Epoch(99), limit=9).entries == [b"d1", b"d3"]
    run(c.visit(Where(OID, b"d3"), noting([], lambda e: Action.DELETE if e.akey == b"a1" else 0)))
    assert c.list_akeys(OID, b"d3", Epoch(99), limit=9).entries == [b"a2"]
    run(c.visit(None, noting([], lambda e: Action.DELETE if e.oid == OTHER else 0)))
    assert c.list_objects(Epoch(99), limit=9).entries == [OID]
    assert visit.lsn == c.lsns.container

    def twice(entry: Entry) -> int:
        run(c.visit(where, noting([], lambda _: Action.DELETE)))
        return Action.DELETE

    with pytest.raises(NotFoundError):
        run(c.visit(where, noting([], twice)))


@on_shard
async def test_deleting_what_shares_its_blocks(shard: MemoryShard, c: VosContainer) -> None:
    c.deduplicate(DedupSetting(DedupMode.HASH, 4096))
    where = Where(OID, b"d", b"a")
    for number in range(2):
        await shard.write(c, OID, (b"d", b"a"), {8192 * number: b"s" * 8192}, epoch=10 + number)
    assert shard.meta.space.blocks_allocated == 2
    for left in (1, 0):
        run(c.visit(where, noting([], lambda _: Action.DELETE | Action.ABORT)))
        assert shard.meta.space.blocks_allocated == 2 * left
        want = b"." * 8192 + (b"s" if left else b".") * 8192
        assert await shard.read(c, OID, (b"d", b"a"), (0, 16384), epoch=99) == want


@on_shard
async def test_more_pieces_than_a_list_holds(shard: MemoryShard, c: VosContainer) -> None:
    extents = {2 * number: b"x" for number in range(20)}
    await shard.write(c, OID, (b"d", b"a"), extents, epoch=10)
    where = Where(OID, b"d", b"a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "EXTENTS_MAX", 10)
        for flags in (Flag.VISIBLE, Flag.COVERED):
            with pytest.raises(DaosError, match="fewer records"):
                run(c.visit(where, Callbacks(), wanted=Wanted(flags=flags)))
            few: list[Entry] = []
            run(c.visit(where, noting(few), wanted=Wanted(flags=flags, recx=(4, 10))))
            assert [entry.lo for entry in few] == [4, 6, 8]


@pytest.mark.parametrize(
    "wanted", [Wanted(Epochs(5, 4)), Wanted(Epochs(0, 1 << 64)), Wanted(recx=(5, 5))]
)
@on_shard
async def test_bad_ranges(shard: MemoryShard, c: VosContainer, wanted: Wanted) -> None:
    with pytest.raises(InvalidError):
        c.visit(None, Callbacks(), wanted=wanted)


@on_shard
async def test_more_keys_than_a_page(shard: MemoryShard, c: VosContainer) -> None:
    names = [b"%03d" % number for number in range(100)]
    names += [b"k" * 400 + b"%03d" % number for number in range(100)]
    for name in names:
        update = c.update_begin(OID, name, [Iod(b"a", IodType.SINGLE, 1)])
        update.destinations[0][:] = b"x"
        c.update_end(update, Epoch(10))
    for flags in (0, Flag.REVERSE):
        entries: list[Entry] = []
        visit = c.visit(Where(OID), noting(entries), wanted=Wanted(flags=flags), recursive=False)
        run(visit, 7)
        assert [entry.dkey for entry in entries] == sorted(names, reverse=bool(flags))


@on_shard
async def test_akeys_without_values(shard: MemoryShard, c: VosContainer) -> None:
    await fill(shard, c)
    c.punch(OID, Epoch(20), dkey=b"d2", akeys=[b"never"])
    entries: list[Entry] = []
    wanted = Wanted(Epochs(0, 50), flags=Flag.PUNCHED)
    run(c.visit(Where(OID, b"d2"), noting(entries), wanted=wanted))
    assert [(NAMES[entry.level], entry.akey) for entry in entries] == [
        ("a", b"a1"),
        ("v", b"a1"),
        ("a", b"a2"),
        ("v", b"a2"),
        ("a", b"never"),
    ]

    def gone(entry: Entry) -> int:
        c.delete_key(OID, b"d2", b"a1")
        return Action.DELETE

    with pytest.raises(NotFoundError, match="akey"):
        run(c.visit(Where(OID, b"d2", b"a1"), noting([], gone)))

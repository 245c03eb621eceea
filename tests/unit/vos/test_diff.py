from __future__ import annotations

import pytest

from daos.base.errors import InvalidError
from daos.base.ids import Epoch, ObjectType
from daos.base.iod import Iod, IodType, Recx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos import diff
from daos.vos.container import VosContainer
from daos.vos.diff import ChangedRange, ChangeEntry, ChangeKind

OID, DKEY, AKEY = unit(1), b"dkey", b"akey"
A, B = 20, 40


def changes(
    c: VosContainer, a: int = A, b: int = B, *, limit: int = 100
) -> tuple[list[ChangeEntry], int]:
    """All entries, and the number of pages."""
    found: list[ChangeEntry] = []
    anchor, eof, pages = b"", False, 0
    while not eof:
        page = c.list_changes(Epoch(a), Epoch(b), anchor=anchor, limit=limit)
        found += page.entries
        anchor, eof = page.anchor, page.eof
        pages += 1
    return found, pages


def kinds(entries: list[ChangeEntry]) -> dict[tuple[bytes, bytes], str]:
    return {(entry.dkey, entry.akey): entry.kind.name for entry in entries}


@on_shard
async def test_single_values(shard: MemoryShard, c: VosContainer) -> None:
    for name in (b"same", b"other", b"emptied", b"punched"):
        await shard.put(c, OID, DKEY, {name: b"old"}, epoch=10)
    await shard.put(c, OID, DKEY, {b"other": b"new", b"made": b"x", b"emptied": b""}, epoch=30)
    c.punch(OID, Epoch(31), dkey=DKEY, akeys=[b"punched"])
    await shard.put(c, OID, DKEY, {b"same": b"later"}, epoch=50)
    found, _ = changes(c)
    assert kinds(found) == {
        (DKEY, b"other"): "CHANGED",
        (DKEY, b"emptied"): "CHANGED",
        (DKEY, b"made"): "CREATED",
        (DKEY, b"punched"): "PUNCHED",
    }
    assert {entry.akey: entry.size for entry in found}[b"other"] == 3


@pytest.mark.parametrize("level", ["object", "dkey"])
@on_shard
async def test_a_punch_above_punches_all(shard: MemoryShard, c: VosContainer, level: str) -> None:
    await shard.put(c, OID, DKEY, {b"a": b"1", b"b": b"2"}, epoch=10)
    c.punch(OID, Epoch(30), dkey=DKEY if level == "dkey" else None)
    await shard.put(c, OID, DKEY, {b"b": b"3"}, epoch=35)
    found, _ = changes(c)
    assert kinds(found) == {(DKEY, b"a"): "PUNCHED", (DKEY, b"b"): "CHANGED"}


@on_shard
async def test_records_of_an_array(shard: MemoryShard, c: VosContainer) -> None:
    await shard.write(c, OID, (DKEY, AKEY), {0: b"a" * 100}, epoch=10)
    await shard.write(c, OID, (DKEY, AKEY), {20: b"b" * 5, 25: b"c" * 5, 200: b"d"}, epoch=30)
    update = c.update_begin(OID, DKEY, [_hole(AKEY, 50, 60)])
    c.update_end(update, Epoch(31))
    ((_, _, _, kind, size, ranges),), _ = changes(c)
    assert (kind, size) == (ChangeKind.CHANGED, 1)
    assert ranges == (
        ChangedRange(20, 30, written=True),
        ChangedRange(50, 60, written=False),
        ChangedRange(200, 201, written=True),
    )
    assert changes(c, 31, 40)[0] == []


@on_shard
async def test_aggregation_changes_nothing(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(8):
        await shard.write(c, OID, (DKEY, AKEY), {10 * number: b"x" * 15}, epoch=10 + number)
    for number in range(4):
        await shard.write(c, OID, (DKEY, AKEY), {40 + 3 * number: b"y" * 2}, epoch=30 + number)
    before = changes(c)[0]
    await shard.finish(c.aggregate(0, A))
    await shard.finish(c.aggregate(A + 1, B))
    ((*_, ranges),) = changes(c)[0]
    assert ranges == before[0].ranges
    assert [tuple(each) for each in ranges] == [(40 + 3 * n, 42 + 3 * n, True) for n in range(4)]


@on_shard
async def test_pages_go_on_in_the_middle_of_everything(shard: MemoryShard, c: VosContainer) -> None:
    oids = [unit(number, ObjectType.MULTI_LEXICAL) for number in range(3)]
    for oid in oids:
        for number in range(4):
            await shard.put(c, oid, b"%d" % number, {b"k" * 450: b"x", b"short": b"y"}, epoch=10)
            await shard.put(c, oid, b"%d" % number, {b"k" * 450: b"z"}, epoch=30)
    wide = {7 * number: b"w" * 3 for number in range(900)}
    await shard.write(c, oids[1], (b"1", b"wide"), wide, epoch=31)
    whole, _ = changes(c)
    assert len([entry for entry in whole if entry.akey != b"wide"]) == 12
    for limit in (1, 2, 5):
        found, pages = changes(c, limit=limit)
        assert pages >= len(found) / limit
        assert [entry[:4] for entry in found] == [entry[:4] for entry in whole]
        ranges = [each for entry in found for each in entry.ranges]
        assert [(each.lo, each.hi) for each in ranges] == [(lo, lo + 3) for lo in wide]


@on_shard
async def test_a_page_takes_a_bounded_look_at_a_large_array(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing has changed: a page is one turn of the target's loop."""
    array = {4 * number: b"x" for number in range(4000)}
    for epoch in (10, 30):
        await shard.write(c, OID, (DKEY, AKEY), array, epoch=epoch)
    looked: list[int] = []

    class Counted(diff._Walk):
        def _step(self, record: int) -> None:
            looked[-1] += 2 * 256 if record else 1
            super()._step(record)

    monkeypatch.setattr(diff, "_Walk", Counted)
    for a, b, ranges in ((A, B, 4000), (B, B + 1, 0)):
        anchor, eof, found = b"", False, 0
        while not eof:
            looked.append(0)
            page = c.list_changes(Epoch(a), Epoch(b), anchor=anchor, limit=1024)
            anchor, eof = page.anchor, page.eof
            found += sum([len(entry.ranges) for entry in page.entries])
        assert found == ranges
    assert max(looked) <= 1024
    assert len(looked) > 10


@on_shard
async def test_a_page_of_long_keys_fits_a_reply(shard: MemoryShard, c: VosContainer) -> None:
    akeys = [bytes([number]) * 200_000 for number in range(40)]
    for akey in akeys:
        await shard.put(c, OID, DKEY, {akey: b"x"}, epoch=30)
    anchor, eof, found = b"", False, list[bytes]()
    while not eof:
        page = c.list_changes(Epoch(A), Epoch(B), anchor=anchor, limit=1024)
        assert sum([len(entry.akey) for entry in page.entries]) < 1_000_000
        anchor, eof = page.anchor, page.eof
        found += [entry.akey for entry in page.entries]
    assert sorted(found) == akeys


@on_shard
async def test_what_is_refused(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(5):
        await shard.put(c, OID, b"%d" % number, {AKEY: b"x"}, epoch=30)
    for a, b in ((40, 40), (41, 40), (0, 40)):
        with pytest.raises(InvalidError, match="the older one first"):
            changes(c, a, b)
    with pytest.raises(InvalidError, match="a page holds"):
        changes(c, limit=0)
    anchor = c.list_changes(Epoch(A), Epoch(B), limit=2).anchor
    with pytest.raises(InvalidError, match="another listing"):
        c.list_changes(Epoch(A + 1), Epoch(B), anchor=anchor, limit=2)
    for damaged in (anchor[:-1], anchor[:5], anchor[:20] + b"?" + anchor[21:], b"x" * 3000):
        with pytest.raises(InvalidError):
            c.list_changes(Epoch(A), Epoch(B), anchor=damaged, limit=2)


def _hole(akey: bytes, lo: int, hi: int) -> Iod:
    return Iod(akey, IodType.ARRAY, 0, (Recx(lo, hi - lo),))

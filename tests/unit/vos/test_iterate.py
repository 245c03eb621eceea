from __future__ import annotations

import random

import pytest

from daos.base.errors import DaosError, InvalidError
from daos.base.ids import Epoch, ObjectType
from daos.base.iod import Iod, IodType, Recx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos import anchor as anchors
from daos.vos import iterate
from daos.vos.container import VosContainer
from daos.vos.iterate import Page
from daos.vos.versions import Epochs

OID = unit(1)
LEXICAL, UINT64 = unit(2, ObjectType.MULTI_LEXICAL), unit(3, ObjectType.MULTI_UINT64)
AT = Epoch(100)


def all_dkeys(
    c: VosContainer,
    oid: object = OID,
    *,
    limit: int = 3,
    prefix: bytes = b"",
    bytes_max: int = 1 << 20,
    epoch: int = 100,
) -> list[bytes]:
    found: list[bytes] = []
    anchor, eof = b"", False
    while not eof:
        page: Page[bytes] = c.list_dkeys(
            oid,  # type: ignore[arg-type]
            Epoch(epoch),
            anchor=anchor,
            limit=limit,
            prefix=prefix,
            bytes_max=bytes_max,
        )
        entries, anchor, eof, _ = page
        assert len(entries) <= limit
        assert sum(map(len, entries)) <= bytes_max or len(entries) == 1
        assert eof == (anchor == b"")
        found += entries
    assert len(found) == len(set(found)), "an entry twice"
    return found


@pytest.mark.parametrize("limit", [1, 2, 5, 1000])
@on_shard
async def test_orders(shard: MemoryShard, c: VosContainer, limit: int) -> None:
    rng = random.Random(5)
    numbers = [rng.getrandbits(rng.choice((4, 32, 64))) for _ in range(30)]
    for number in set(numbers):
        await shard.put(c, UINT64, number.to_bytes(8, "little"), {bytes(8): b"x"}, epoch=10)
    want = [number.to_bytes(8, "little") for number in sorted(set(numbers))]
    assert all_dkeys(c, UINT64, limit=limit) == want
    names = {rng.randbytes(rng.randint(1, 12)) for _ in range(30)} | {b"\xff" * 9, b"\0"}
    for name in names:
        await shard.put(c, LEXICAL, name, {b"a": b"x"}, epoch=10)
        await shard.put(c, OID, name, {b"a": b"x"}, epoch=10)
    assert all_dkeys(c, LEXICAL, limit=limit) == sorted(names)
    assert sorted(all_dkeys(c, limit=limit)) == sorted(names)


@pytest.mark.parametrize("head", [b"h" * 400, b"\xff" * 400])
@pytest.mark.parametrize("limit", [1, 4, 1000])
@on_shard
async def test_long_lexical_keys_are_in_order(
    shard: MemoryShard, c: VosContainer, head: bytes, limit: int
) -> None:
    rng = random.Random(7)
    names = {head + rng.randbytes(rng.randint(1, 40)) for _ in range(12)}
    names |= {head, head[:-1], head[:-1] + b"a", head[:-1] + b"z", b"a", b"z" * 3, b"\xff" * 401}
    names |= {b"i" * 500, b"g" * 500}
    for name in names:
        await shard.put(c, LEXICAL, name, {b"a": b"x"}, epoch=10)
    hidden = min(name for name in names if len(name) > 400)
    c.punch(LEXICAL, Epoch(20), dkey=hidden)
    names.discard(hidden)
    for bytes_max in (1, 900, 1 << 20):
        assert all_dkeys(c, LEXICAL, limit=limit, bytes_max=bytes_max) == sorted(names)
    for prefix in (head[:3], head, head + b"\x80", b"g", b"none"):
        want = sorted(name for name in names if name.startswith(prefix))
        assert all_dkeys(c, LEXICAL, limit=limit, prefix=prefix) == want


@on_shard
async def test_prefixes(shard: MemoryShard, c: VosContainer) -> None:
    names = [b"%s%d" % (head, number) for head in (b"a", b"ab", b"b") for number in range(9)]
    for oid in (OID, LEXICAL):
        for name in names:
            await shard.put(c, oid, name, {name: b"x"}, epoch=10)
        for prefix in (b"", b"a", b"ab", b"ab3", b"c"):
            want = sorted(name for name in names if name.startswith(prefix))
            assert sorted(all_dkeys(c, oid, prefix=prefix)) == want
    page = c.list_akeys(LEXICAL, b"a1", AT, limit=9, prefix=b"a")
    assert page.entries == [b"a1"]
    with pytest.raises(InvalidError):
        c.list_dkeys(UINT64, AT, limit=9, prefix=b"a")
    with pytest.raises(InvalidError):
        c.list_dkeys(OID, AT, limit=9, prefix=bytes((1 << 20) + 1))


@on_shard
async def test_invisible_entries_are_passed_in_bounded_steps(
    shard: MemoryShard, c: VosContainer
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iterate, "_SKIP_MAX", 5)
        for number in range(40):
            name = b"%03d" % number
            await shard.put(c, LEXICAL, name, {b"a": b"x"}, epoch=10)
            if number not in (20, 39):
                c.punch(LEXICAL, Epoch(20), dkey=name)
        page = c.list_dkeys(LEXICAL, AT, limit=2)
        assert (page.entries, page.eof) == ([], False)
        assert all_dkeys(c, LEXICAL, limit=2) == [b"020", b"039"]
        assert len(all_dkeys(c, LEXICAL, epoch=19)) == 40


@on_shard
async def test_changes_between_pages(shard: MemoryShard, c: VosContainer) -> None:
    """What is there all the time is listed once, whatever comes and goes."""
    for number in range(0, 40, 2):
        await shard.put(c, LEXICAL, b"%03d" % number, {b"a": b"x"}, epoch=10)
    found: list[bytes] = []
    anchor, eof, epoch = b"", False, 20
    while not eof:
        entries, anchor, eof, _ = c.list_dkeys(LEXICAL, AT, anchor=anchor, limit=3)
        found += entries
        await shard.put(c, LEXICAL, b"%03d" % (epoch % 40 | 1), {b"a": b"x"}, epoch=epoch)
        if entries and entries[-1] != b"004":
            c.punch(LEXICAL, Epoch(epoch), dkey=entries[-1])
        epoch += 1
    assert {b"%03d" % number for number in range(0, 40, 2)} <= set(found)
    assert found == sorted(set(found))


@on_shard
async def test_anchors_survive_a_restart(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(6):
        await shard.put(c, LEXICAL, b"%03d" % number, {b"a": b"x"}, epoch=10)
    page = c.list_dkeys(LEXICAL, AT, limit=3)
    await shard.reopen()
    again = shard.container().list_dkeys(LEXICAL, AT, limit=3, anchor=page.anchor)
    assert page.entries + again.entries == [b"%03d" % number for number in range(6)]


@on_shard
async def test_bad_anchors(shard: MemoryShard, c: VosContainer) -> None:
    for oid in (OID, LEXICAL):
        for name in (b"1", b"2", b"3"):
            await shard.put(c, oid, name, {b"1": b"x", b"2": b"x"}, epoch=10)
    await shard.write(c, OID, (b"1", b"r"), {0: b"x", 5: b"y"}, epoch=10)
    good = c.list_dkeys(OID, AT, limit=1).anchor
    extents = c.list_extents(OID, b"1", b"r", AT, limit=1).anchor
    assert c.list_extents(OID, b"1", b"r", AT, limit=1, anchor=extents).entries[0].lo == 5
    flipped = bytes([good[0] ^ 1]) + good[1:]
    long = c.list_dkeys(LEXICAL, AT, limit=1).anchor
    for anchor in (b"x", bytes(17), bytes(5000), good[:-1], flipped, extents, long):
        with pytest.raises(InvalidError, match="anchor"):
            c.list_dkeys(OID, AT, anchor=anchor, limit=1)
    for anchor in (b"x", good):
        with pytest.raises(InvalidError):
            c.list_objects(AT, anchor=anchor, limit=1)
        with pytest.raises(InvalidError):
            c.list_akeys(OID, b"1", AT, anchor=anchor, limit=1)
        with pytest.raises(InvalidError):
            c.list_extents(OID, b"1", b"r", AT, anchor=anchor, limit=1)
        with pytest.raises(InvalidError):
            c.list_dkeys(OID, AT, anchor=anchor, limit=1, prefix=b"1")
    akeys = c.list_akeys(OID, b"1", AT, limit=1).anchor
    with pytest.raises(InvalidError):
        c.list_akeys(OID, b"2", AT, anchor=akeys, limit=1)


@on_shard
async def test_anchor_of_a_later_version(shard: MemoryShard, c: VosContainer) -> None:
    for name in (b"1", b"2"):
        await shard.put(c, OID, name, {b"a": b"x"}, epoch=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anchors, "BEHIND", 3)
        later = c.list_dkeys(OID, AT, limit=1).anchor
    with pytest.raises(InvalidError, match="version 3"):
        c.list_dkeys(OID, AT, limit=1, anchor=later)


@on_shard
async def test_anchor_of_a_long_key_that_is_gone(shard: MemoryShard, c: VosContainer) -> None:
    """Its place among those that share 400 bytes cannot be told: they come again."""
    for number in range(3):
        await shard.put(c, LEXICAL, b"k" * 500 + b"%d" % number, {b"a": b"x"}, epoch=10)
    good = c.list_dkeys(LEXICAL, AT, limit=1).anchor
    context = int.from_bytes(good[1:9], "big")
    gone = anchors.emit(context, b"k" * 418)
    page = c.list_dkeys(LEXICAL, AT, limit=9, anchor=gone)
    assert page.entries == [b"k" * 500 + b"%d" % number for number in range(3)]


@on_shard
async def test_nothing_there(shard: MemoryShard, c: VosContainer) -> None:
    empty = (list[object](), b"", True, c.lsns.container)
    assert tuple(c.list_objects(AT, limit=1)) == empty
    assert tuple(c.list_dkeys(OID, AT, limit=1)) == empty
    assert tuple(c.list_akeys(OID, b"d", AT, limit=1)) == empty
    assert tuple(c.list_extents(OID, b"d", b"a", AT, limit=1)) == empty
    await shard.put(c, OID, b"d", {b"s": b"x"}, epoch=10)
    assert c.list_dkeys(OID, Epoch(9), limit=1).entries == []
    assert c.list_akeys(OID, b"e", AT, limit=1).entries == []
    assert c.list_akeys(OID, b"d", Epoch(9), limit=1).entries == []
    for dkey, akey, epoch in ((b"d", b"s", 100), (b"d", b"a", 100), (b"d", b"s", 9)):
        assert c.list_extents(OID, dkey, akey, Epoch(epoch), limit=1).entries == []
    c.punch(OID, Epoch(20), dkey=b"d", akeys=[b"s"])
    assert c.list_extents(OID, b"d", b"s", AT, limit=1).entries == []


@on_shard
async def test_arguments(shard: MemoryShard, c: VosContainer) -> None:
    for limit, bytes_max in ((0, 1), (-1, 1), (iterate.LIMIT_MAX + 1, 1), (1, 0)):
        with pytest.raises(InvalidError):
            c.list_objects(AT, limit=limit, bytes_max=bytes_max)
        with pytest.raises(InvalidError):
            c.list_dkeys(OID, AT, limit=limit, bytes_max=bytes_max)
        with pytest.raises(InvalidError):
            c.list_akeys(OID, b"d", AT, limit=limit, bytes_max=bytes_max)
    with pytest.raises(InvalidError):
        c.list_extents(OID, b"d", b"a", AT, limit=0)
    for epoch in (0, 1 << 64):
        with pytest.raises(InvalidError):
            c.list_objects(Epoch(epoch), limit=1)
        with pytest.raises(InvalidError):
            c.list_extents(OID, b"d", b"a", Epoch(epoch), limit=1)
    with pytest.raises(InvalidError):
        c.list_akeys(OID, b"", AT, limit=1)
    with pytest.raises(InvalidError):
        c.list_extents(OID, b"d", b"", AT, limit=1)


@on_shard
async def test_key_anchors(shard: MemoryShard, c: VosContainer) -> None:
    """A listing begins with the key that an anchor was made for, either way."""
    names = [b"a", b"b", b"c" * 401, b"c" * 402, b"d"]
    for oid in (OID, LEXICAL):
        for name in names:
            await shard.put(c, oid, name, {b"x": b"1"}, epoch=10)
            await shard.put(c, oid, b"a", {name: b"1"}, epoch=11)
        for reverse in (False, True):
            there = c.list_dkeys(oid, AT, limit=9, reverse=reverse).entries
            below = c.list_akeys(oid, b"a", AT, limit=9, reverse=reverse).entries
            for name in names:
                anchor, eof = c.key_anchor(oid, name, reverse=reverse)
                page = c.list_dkeys(oid, AT, limit=9, anchor=anchor, reverse=reverse)
                assert not eof
                assert page.entries == there[there.index(name) :]
                anchor, eof = c.key_anchor(oid, b"a", name, reverse=reverse)
                page = c.list_akeys(oid, b"a", AT, limit=9, anchor=anchor, reverse=reverse)
                assert not eof
                assert page.entries == below[below.index(name) :]
    for missing in ((unit(9), b"a"), (OID, b"z"), (OID, b"z", b"a"), (OID, b"a", b"z")):
        assert c.key_anchor(*missing) == (b"", True)
    with pytest.raises(InvalidError):
        c.key_anchor(OID, b"")
    forwards, _ = c.key_anchor(OID, b"a")
    with pytest.raises(InvalidError, match="another listing"):
        c.list_dkeys(OID, AT, limit=9, anchor=forwards, reverse=True)


@on_shard
async def test_starts(shard: MemoryShard, c: VosContainer) -> None:
    long = [b"m" * 400 + tail for tail in (b"", b"\0", b"5", b"9", b"\xff")]
    names = sorted([b"a", b"b", b"m", b"n", b"\xff" * 500, *long])
    for name in names:
        await shard.put(c, LEXICAL, name, {b"x": b"1"}, epoch=10)
    starts = [*names, b"\0", b"m" * 400 + b"4", b"m" * 401, b"m" * 399, b"z" * 600, b"\xff" * 501]
    for start in starts:
        for prefix in (b"", b"m", b"m" * 400, b"m" * 400 + b"5", b"\xff", b"none"):
            for limit in (1, 3, 100):
                for reverse in (False, True):
                    found, anchor, eof = list[bytes](), b"", False
                    while not eof:
                        page = c.list_dkeys(
                            LEXICAL,
                            AT,
                            anchor=anchor,
                            limit=limit,
                            prefix=prefix,
                            start=start,
                            reverse=reverse,
                        )
                        found += page.entries
                        _, anchor, eof, _ = page
                    want = [name for name in names if name.startswith(prefix)]
                    if reverse:
                        want = [name for name in want if name <= start][::-1]
                    else:
                        want = [name for name in want if name >= start]
                    assert found == want, (start[:9], prefix[:9], limit, reverse)
    for oid, bad in ((OID, b"a"), (LEXICAL, bytes((1 << 20) + 1)), (UINT64, b"a")):
        with pytest.raises(DaosError):
            c.list_dkeys(oid, AT, limit=9, start=bad)


@on_shard
async def test_versions_are_passed_in_bounded_steps(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(30):
        await shard.write(c, OID, (b"d", b"a"), {number: b"x"}, epoch=10 + number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iterate, "_SKIP_MAX", 3)
        for reverse in (False, True):
            found, anchor, eof, pages = list[int](), b"", False, 0
            while not eof:
                page = c.list_versions(
                    OID, b"d", b"a", Epochs(35, 36), anchor=anchor, limit=2, reverse=reverse
                )
                found += [entry.lo for entry in page.entries]
                anchor, eof, pages = page.anchor, page.eof, pages + 1
            assert sorted(found) == [25, 26]
            assert pages > 6
    for epochs in (Epochs(-1, 5), Epochs(0, 1 << 64)):
        with pytest.raises(InvalidError):
            c.list_versions(OID, b"d", b"a", epochs, limit=2)
    anchor = c.list_versions(OID, b"d", b"a", Epochs(), limit=2).anchor
    other = shard.container()
    c.punch(OID, Epoch(90), dkey=b"d")
    assert all(entry.covered for entry in c.list_versions(OID, b"d", b"a", Epochs(), limit=99)[0])
    assert other.list_versions(OID, b"d", b"a", Epochs(), limit=2, anchor=anchor).entries[0].lo == 2


@on_shard
async def test_objects_backwards(shard: MemoryShard, c: VosContainer) -> None:
    units = [unit(number) for number in (5, 1, 9, 3)]
    for oid in units:
        await shard.put(c, oid, b"d", {b"a": b"x"}, epoch=10)
    there = c.list_objects(AT, limit=9).entries
    first = c.list_objects(AT, limit=3, reverse=True)
    second = c.list_objects(AT, limit=3, reverse=True, anchor=first.anchor)
    assert first.entries + second.entries == there[::-1]


@pytest.mark.parametrize("reverse", [False, True])
@on_shard
async def test_pages_of_an_array_with_many_holes(
    shard: MemoryShard, c: VosContainer, reverse: bool
) -> None:
    """A page passes few of them, and may be empty; nothing is lost, or comes twice."""
    data = {4 * number: b"x" * 2 for number in range(2000)}
    await shard.write(c, OID, (b"d", b"holes"), data, epoch=10)
    holes = tuple(Recx(lo, 2) for lo in data if lo % 3200)
    update = c.update_begin(OID, b"d", [Iod(b"holes", IodType.ARRAY, 0, holes)])
    await shard.meta.durable(c.update_end(update, Epoch(20)))
    found, anchor, eof, pages = [], b"", False, 0
    while not eof:
        page = c.list_extents(
            OID, b"d", b"holes", Epoch(30), anchor=anchor, limit=1, reverse=reverse
        )
        found += [(entry.lo, entry.hi) for entry in page.entries]
        anchor, eof, pages = page.anchor, page.eof, pages + 1
    expected = [(lo, lo + 2) for lo in (0, 3200, 6400)]
    assert found == (expected[::-1] if reverse else expected)
    assert pages > 2000 // 512

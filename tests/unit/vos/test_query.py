from __future__ import annotations

import pytest

from daos.base.errors import InvalidError, NotFoundError, StaleHandleError
from daos.base.ids import Epoch, ObjectType
from daos.base.iod import QueryFlag, Recx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.container import VosContainer

OID = unit(1, ObjectType.MULTI_UINT64)
ARRAY = unit(2, ObjectType.ARRAY)
MAX, MIN = QueryFlag.MAX, QueryFlag.MIN
DKEY, AKEY, RECX = QueryFlag.DKEY, QueryFlag.AKEY, QueryFlag.RECX
AT = Epoch(100)


def key(number: int) -> bytes:
    return number.to_bytes(8, "little")


@on_shard
async def test_array_size(shard: MemoryShard, c: VosContainer) -> None:
    """What an array asks: the last record of its last chunk that has any."""
    flags = MAX | DKEY | RECX
    for chunk, data in ((1, b"x" * 10), (2, b"y" * 5), (300, b"z" * 7)):
        await shard.write(c, ARRAY, (key(chunk), b"0"), {chunk: data}, epoch=10)
    await shard.put(c, ARRAY, key(0), {b"0": b"metadata"}, epoch=10)
    found = c.query_key(ARRAY, flags, AT, akey=b"0")
    assert found[:4] == (key(300), None, Recx(300, 7), 1)
    assert c.query_key(ARRAY, MIN | DKEY | RECX, AT, akey=b"0")[:3] == (key(1), None, Recx(1, 10))
    # The metadata at dkey 0 is a single value: no record there.
    assert c.query_key(ARRAY, MIN | DKEY, AT).dkey == key(0)
    with pytest.raises(NotFoundError):
        c.query_key(ARRAY, MIN | RECX, AT, dkey=key(0), akey=b"0")
    assert c.query_key(ARRAY, MAX | RECX, AT, dkey=key(2), akey=b"0").recx == Recx(2, 5)
    c.punch(ARRAY, Epoch(20), dkey=key(300))
    assert c.query_key(ARRAY, flags, AT, akey=b"0").dkey == key(2)
    assert c.query_key(ARRAY, flags, Epoch(19), akey=b"0").dkey == key(300)


@on_shard
async def test_last_of_the_tree(shard: MemoryShard, c: VosContainer) -> None:
    """Keys with the highest numbers, nothing behind them in the tree."""
    top = key(2**64 - 1)
    await shard.put(c, OID, top, {top: b"x", key(2**64 - 2): b"y"}, epoch=10)
    assert c.query_key(OID, MAX | DKEY | AKEY, AT)[:2] == (top, top)
    assert c.query_key(OID, MIN | AKEY, AT, dkey=top).akey == key(2**64 - 2)


@on_shard
async def test_first_of_the_tree_without_records(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, key(1), {key(1): b"single"}, epoch=10)
    for end in (MIN, MAX):
        with pytest.raises(NotFoundError):
            c.query_key(OID, end | DKEY | AKEY | RECX, AT)
        with pytest.raises(NotFoundError):
            c.query_key(OID, end | AKEY | RECX, AT, dkey=key(1))


@on_shard
async def test_nothing_visible(shard: MemoryShard, c: VosContainer) -> None:
    lsn = await shard.write(c, OID, (key(5), key(6)), {0: b"x"}, epoch=10)
    for flags, epoch, dkey, akey in (
        (MAX | DKEY, 9, None, None),
        (MAX | AKEY, 10, key(4), None),
        (MAX | RECX, 10, key(5), key(7)),
        (MAX | RECX, 10, key(4), key(6)),
        (MAX | DKEY | RECX, 10, None, key(7)),
    ):
        with pytest.raises(NotFoundError) as caught:
            c.query_key(OID, flags, Epoch(epoch), dkey=dkey, akey=akey)
        assert caught.value.lsn == (0 if dkey == key(4) else lsn)
    with pytest.raises(NotFoundError):
        c.query_key(unit(9, ObjectType.MULTI_UINT64), MAX | DKEY, AT)
    c.punch(OID, Epoch(20), dkey=key(5), akeys=[key(6)])
    with pytest.raises(NotFoundError):
        c.query_key(OID, MAX | RECX, AT, dkey=key(5), akey=key(6))


@on_shard
async def test_lsn(shard: MemoryShard, c: VosContainer) -> None:
    first = await shard.write(c, OID, (key(1), key(1)), {0: b"x"}, epoch=10)
    second = await shard.write(c, OID, (key(2), key(1)), {0: b"x"}, epoch=10)
    assert c.query_key(OID, MAX | DKEY, AT).lsn == second
    assert c.query_key(OID, MAX | AKEY, AT, dkey=key(1)).lsn == first


@on_shard
async def test_arguments(shard: MemoryShard, c: VosContainer) -> None:
    for oid, flags, dkey, akey in (
        (OID, MAX | MIN | DKEY, None, None),
        (OID, DKEY, None, None),
        (OID, MAX, None, None),
        (OID, MAX | DKEY | 0x40, None, None),
        (OID, MAX | AKEY, None, None),
        (OID, MAX | AKEY, b"short", None),
        (OID, MAX | DKEY | RECX, None, None),
        (unit(3), MAX | DKEY, None, None),
        (unit(3), MAX | AKEY, b"d", None),
        (unit(3), MAX | RECX, b"d", b""),
    ):
        with pytest.raises(InvalidError):
            c.query_key(oid, flags, AT, dkey=dkey, akey=akey)
    with pytest.raises(InvalidError):
        c.query_key(OID, MAX | DKEY, Epoch(0))
    with pytest.raises(NotFoundError):
        c.query_key(unit(3), MAX | RECX, AT, dkey=b"d", akey=b"a")


@pytest.mark.parametrize("end", [MAX, MIN])
@on_shard
async def test_what_was_cut_is_passed_over_in_steps(
    shard: MemoryShard, c: VosContainer, end: QueryFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few keys a turn; what is written, aggregated and removed meanwhile changes no answer."""
    c.modification_bound = Epoch(0)
    for chunk in range(1, 42):
        await shard.write(c, ARRAY, (key(chunk), b"0"), {chunk: b"x"}, epoch=10)
    for chunk in (*range(1, 21), *range(22, 42)):
        c.punch(ARRAY, Epoch(20), dkey=key(chunk))
    search = c.key_search(ARRAY, end | DKEY | RECX, AT, akey=b"0")
    made: list[object] = []  # cursors: one is good for the step in which it was made
    cursor = c.meta.cursor
    with monkeypatch.context() as patch:
        patch.setattr(type(c.meta), "cursor", lambda meta: made.append(meta) or cursor())
        assert search.step(4)
        assert search.step(4)
    assert len(made) == 2
    await shard.write(c, ARRAY, (key(30), b"0"), {7: b"later"}, epoch=200)
    await shard.write(c, ARRAY, (key(8), b"0"), {7: b"later"}, epoch=200)
    steps = 2
    while search.step(4):
        steps += 1
        if steps == 3:
            await shard.finish(c.aggregate(0, 50))
    assert steps >= 3
    assert search.result()[:3] == (key(21), None, Recx(21, 1))
    assert c.query_key(ARRAY, end | DKEY | RECX, AT, akey=b"0")[:3] == search.result()[:3]


@on_shard
async def test_a_search_ends_with_its_container(shard: MemoryShard, c: VosContainer) -> None:
    for chunk in range(9):
        await shard.write(c, ARRAY, (key(chunk), b"0"), {chunk: b"x"}, epoch=10)
        c.punch(ARRAY, Epoch(20), dkey=key(chunk))
    search = c.key_search(ARRAY, MAX | DKEY, AT)
    assert search.step(2)
    shard.pool.destroy_container(c.uuid)
    with pytest.raises(StaleHandleError):
        search.step(2)

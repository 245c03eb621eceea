"""Scenarios of the reference's store tests, on the real store over a memory device.

Named after what they show; the numbers are those of src/vos/tests of DAOS (vts_io.c, vts_pm.c,
vts_container.c, vts_gc.c) and of src/tests/suite (daos_obj.c "IO", daos_obj_array.c "ARRAY").
"""

from __future__ import annotations

import random
import uuid

import pytest

from daos.base.errors import (
    DER,
    AccessError,
    DaosError,
    ExistsError,
    InvalidError,
    NoSpaceError,
    NotFoundError,
)
from daos.base.ids import ContainerUuid, Epoch, ObjectType
from daos.base.iod import Cond, Iod, IodType, QueryFlag, Recx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.container import VosContainer

OID = unit(1)
OTYPES = [ObjectType.MULTI_HASHED, ObjectType.MULTI_LEXICAL, ObjectType.MULTI_UINT64]
SINGLE, ARRAY = IodType.SINGLE, IodType.ARRAY


def key(number: int) -> bytes:
    return number.to_bytes(8, "little")


@on_shard
async def test_203_to_205_update_and_fetch(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"dkey", {b"akey": b"v" * 64}, epoch=10)
    assert await shard.get(c, OID, b"dkey", b"akey", epoch=10) == b"v" * 64
    assert await shard.get(c, OID, b"dkey", b"akey", epoch=1010) == b"v" * 64
    assert await shard.get(c, OID, b"dkey", b"akey", epoch=9) is None


@on_shard
async def test_208_partial_overwrite(shard: MemoryShard, c: VosContainer) -> None:
    old, new = b"o" * 1024, b"n" * 1024
    keys = (b"d", b"a")
    await shard.write(c, OID, keys, {0: old, 1024: old, 2048: old}, epoch=10)
    await shard.write(c, OID, keys, {0: new, 2048: new}, epoch=20)
    assert await shard.read(c, OID, keys, (0, 3072), epoch=20) == new + old + new
    assert await shard.read(c, OID, keys, (0, 3072), epoch=19) == old * 3


@on_shard
async def test_222_same_epoch_rewrites(shard: MemoryShard, c: VosContainer) -> None:
    """A single value is refused; the same extent is replaced, and its blocks come back."""
    await shard.put(c, OID, b"d", {b"a": b"one"}, epoch=10)
    with pytest.raises(DaosError) as caught:
        await shard.put(c, OID, b"d", {b"a": b"two"}, epoch=10)
    assert caught.value.code is DER.NO_PERM
    assert await shard.get(c, OID, b"d", b"a", epoch=10) == b"one"
    await shard.write(c, OID, (b"d", b"b"), {0: b"1" * 8192}, epoch=10)
    allocated = shard.meta.space.blocks_allocated
    await shard.write(c, OID, (b"d", b"b"), {0: b"2" * 8192}, epoch=10)
    assert await shard.read(c, OID, (b"d", b"b"), (0, 8192), epoch=10) == b"2" * 8192
    assert shard.meta.space.blocks_allocated == allocated


@pytest.mark.parametrize("otype", OTYPES)
@on_shard
async def test_240_iteration_with_anchors(
    shard: MemoryShard, c: VosContainer, otype: ObjectType
) -> None:
    oid = unit(7, otype)
    names = [key(i) for i in range(40)]
    for name in names:
        await shard.put(c, oid, name, {key(1): b"x"}, epoch=10)
    for limit in (1, 7, 100):
        found, anchor, eof = list[bytes](), b"", False
        while not eof:
            entries, anchor, eof, _ = c.list_dkeys(oid, Epoch(10), anchor=anchor, limit=limit)
            found += entries
        assert sorted(found) == sorted(names)
        assert len(set(found)) == len(names)


@on_shard
async def test_245_objects(shard: MemoryShard, c: VosContainer) -> None:
    units = [unit(i, shard=i % 3) for i in range(20)]
    for oid in units:
        await shard.put(c, oid, b"d", {b"a": b"x"}, epoch=10)
    found, anchor, eof = list[object](), b"", False
    while not eof:
        entries, anchor, eof, _ = c.list_objects(Epoch(10), anchor=anchor, limit=3)
        found += entries
    assert sorted(map(str, found)) == sorted(map(str, units))
    assert not c.list_objects(Epoch(9), limit=3).entries


@on_shard
async def test_280_containers_are_apart(shard: MemoryShard, c: VosContainer) -> None:
    other = shard.container(ContainerUuid(uuid.UUID(int=77)))
    await shard.put(c, OID, b"d", {b"a": b"here"}, epoch=10)
    assert await shard.get(other, OID, b"d", b"a", epoch=10) is None
    await shard.put(other, OID, b"d", {b"a": b"there"}, epoch=10)
    assert await shard.get(c, OID, b"d", b"a", epoch=10) == b"here"


@on_shard
async def test_281_282_missing_things_are_empty(shard: MemoryShard, c: VosContainer) -> None:
    assert await shard.get(c, OID, b"d", b"a", epoch=10) is None
    await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    assert await shard.get(c, OID, b"other", b"a", epoch=10) is None
    iods = [Iod(name, SINGLE, 0) for name in (b"none", b"a", b"nothing", b"a")]
    fetch, views = await shard.fetch(c, OID, b"d", iods, epoch=10)
    assert fetch.sizes == [0, 1, 0, 1]
    assert views == [b"x", b"x"]
    # A fetch of the other type finds nothing.
    fetch, _ = await shard.fetch(c, OID, b"d", [Iod(b"a", ARRAY, 0, (Recx(0, 1),))], epoch=10)
    assert fetch.sizes == [0]


@on_shard
async def test_299_full(shard: MemoryShard, c: VosContainer) -> None:
    """Only NoSpaceError, nothing half there; what is freed can be used again."""

    async def fill() -> int:
        for number in range(10_000):
            value = bytes([number % 251]) * 300_000
            try:
                await shard.put(c, OID, key(number), {b"a": value}, epoch=10)
            except NoSpaceError:
                return number
        return 0

    kept = await fill()
    assert kept > 100
    free = shard.pool.query().nvme.free
    assert await shard.get(c, OID, key(kept), b"a", epoch=10) is None
    for number in range(0, kept, 17):
        value = await shard.get(c, OID, key(number), b"a", epoch=10)
        assert value == bytes([number % 251]) * 300_000
    assert len(c.list_dkeys(OID, Epoch(10), limit=10_000).entries) == kept
    shard.meta.space.check()
    assert shard.meta.space.statistics().blocks_held == 0
    lsn = shard.pool.destroy_container(c.uuid)
    more = True
    while more:
        more = shard.pool.gc_step(64)
    await shard.meta.durable(lsn)
    await shard.meta.durable(shard.meta.lsn_next - 1)
    assert shard.pool.query().nvme.free > free + kept * 300_000 // 2


@on_shard
async def test_300_1_query_after_punch(shard: MemoryShard, c: VosContainer) -> None:
    oid, akey = unit(3, ObjectType.DKEY_UINT64), b"akey"
    flags = QueryFlag.MAX | QueryFlag.DKEY | QueryFlag.RECX

    def query(epoch: int) -> tuple[bytes | None, Recx | None]:
        found = c.query_key(oid, flags, Epoch(epoch), akey=akey)
        return found.dkey, found.recx

    await shard.write(c, oid, (key(0), akey), {0: b"World "}, epoch=10)
    await shard.write(c, oid, (key(12), akey), {0: b"Goodbye "}, epoch=11)
    assert query(11) == (key(12), Recx(0, 8))
    c.punch(oid, Epoch(12), dkey=key(12))
    assert query(12) == (key(0), Recx(0, 6))
    assert query(11) == (key(12), Recx(0, 8))
    await shard.write(c, oid, (key(12), akey), {0: b"Hello "}, epoch=13)
    assert query(13) == (key(12), Recx(0, 6))


@on_shard
async def test_300_2_query_key(shard: MemoryShard, c: VosContainer) -> None:
    oid, epoch = unit(4, ObjectType.MULTI_UINT64), 10
    for i in range(1, 16):
        for j in range(1, 16, 7):
            names = (key(127 * i), key(127 * j))
            for number in range(3):
                await shard.write(c, oid, names, {number: b"x"}, epoch=epoch + number)
            hole = Iod(names[1], ARRAY, 0, (Recx(1, 2),))
            await shard.update(c, oid, names[0], [hole], b"", epoch=epoch + 3)
    all_levels = QueryFlag.DKEY | QueryFlag.AKEY | QueryFlag.RECX
    last, first = (key(127 * 15), key(127 * 15)), (key(127), key(127))

    def query(flags: int, at: int, dkey: bytes | None = None) -> tuple[object, ...]:
        return c.query_key(oid, flags, Epoch(at), dkey=dkey)[:3]

    assert query(QueryFlag.MAX | all_levels, epoch + 3) == (*last, Recx(0, 1))
    assert query(QueryFlag.MAX | all_levels, epoch + 2) == (*last, Recx(2, 1))
    assert query(QueryFlag.MIN | all_levels, epoch + 3) == (*first, Recx(0, 1))
    # An akey without data is passed over where a record is asked for, and found where it is not.
    whole = Iod(last[1], ARRAY, 0, (Recx(0, 100),))
    await shard.update(c, oid, last[0], [whole], b"", epoch=epoch + 4)
    keys_only = QueryFlag.MAX | QueryFlag.DKEY | QueryFlag.AKEY
    assert query(keys_only, epoch + 4)[:2] == last
    assert query(QueryFlag.MAX | all_levels, epoch + 4) == (last[0], key(127 * 8), Recx(0, 1))
    akeys = [key(127 * j) for j in range(1, 16, 7)]
    c.punch(oid, Epoch(epoch + 5), dkey=last[0], akeys=akeys[-1:])
    assert query(QueryFlag.MAX | QueryFlag.AKEY, epoch + 5, last[0]) == (None, key(127 * 8), None)
    c.punch(oid, Epoch(epoch + 6), dkey=last[0], akeys=akeys)
    with pytest.raises(NotFoundError):
        query(QueryFlag.MAX | QueryFlag.AKEY, epoch + 6, last[0])
    assert query(keys_only, epoch + 6)[:2] == (key(127 * 14), last[1])
    c.punch(oid, Epoch(epoch + 7))
    with pytest.raises(NotFoundError):
        query(QueryFlag.MIN | QueryFlag.DKEY, epoch + 7)


@on_shard
async def test_300_3_query_errors(shard: MemoryShard, c: VosContainer) -> None:
    oid = unit(4, ObjectType.MULTI_UINT64)
    for end in (QueryFlag.MAX, QueryFlag.MIN):
        with pytest.raises(NotFoundError):
            c.query_key(oid, end | QueryFlag.DKEY, Epoch(10))
    dkey, akey, recx = QueryFlag.DKEY, QueryFlag.AKEY, QueryFlag.RECX
    both = QueryFlag.MAX | QueryFlag.MIN
    for flags in (dkey, QueryFlag.MAX, both | dkey, both, akey | QueryFlag.MAX, recx | both, 64):
        with pytest.raises(InvalidError):
            c.query_key(oid, flags, Epoch(10))
    with pytest.raises(InvalidError):
        c.query_key(OID, QueryFlag.MAX | dkey, Epoch(10))


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 131071, 27 << 20])
@on_shard
async def test_io3_sizes(shard: MemoryShard, c: VosContainer, size: int) -> None:
    value = random.Random(size).randbytes(size)
    await shard.put(c, OID, b"d", {b"a": value}, epoch=10)
    assert await shard.get(c, OID, b"d", b"a", epoch=10) == value
    if size <= 131071:
        await shard.write(c, OID, (b"d", b"b"), {11: value * 3}, epoch=10, record_size=size)
        fetch, views = await shard.fetch(
            c, OID, b"d", [Iod(b"b", ARRAY, size, (Recx(12, 2),))], epoch=10
        )
        assert fetch.sizes == [size]
        assert views == [value * 2]


@on_shard
async def test_io5_key_sizes(shard: MemoryShard, c: VosContainer) -> None:
    for otype in (ObjectType.MULTI_HASHED, ObjectType.MULTI_LEXICAL):
        oid = unit(5, otype)
        sizes = [4**n for n in range(11)]
        for size in sizes:
            await shard.put(c, oid, b"k" * size, {b"a" * size: b"%d" % size}, epoch=10)
        for size in sizes:
            got = await shard.get(c, oid, b"k" * size, b"a" * size, epoch=10)
            assert got == b"%d" % size
        found = c.list_dkeys(oid, Epoch(10), limit=100, bytes_max=16 << 20).entries
        assert sorted(map(len, found)) == sizes


@on_shard
async def test_io7_large_indices(shard: MemoryShard, c: VosContainer) -> None:
    index = (1 << 63) - 1
    epoch = 10
    while index:
        await shard.write(c, OID, (b"d", b"a"), {index: b"%d" % (epoch % 10)}, epoch=epoch)
        got = await shard.read(c, OID, (b"d", b"a"), (index, index + 1), epoch=epoch)
        assert got == b"%d" % (epoch % 10)
        index >>= 8
        epoch += 1


@on_shard
async def test_io8_media(shard: MemoryShard, c: VosContainer) -> None:
    """Only values of 4 KiB or more take blocks."""
    taken = []
    for epoch, size in enumerate((12288, 3072, 4096, 5120), 10):
        before = shard.meta.space.blocks_allocated
        await shard.write(c, OID, (b"d", b"a"), {0: b"x" * size}, epoch=epoch)
        taken.append(shard.meta.space.blocks_allocated - before)
    assert taken == [3, 0, 1, 2]


@on_shard
async def test_io10_punches(shard: MemoryShard, c: VosContainer) -> None:
    data = {number * 1024: b"%04d" % number for number in range(50)}
    for akey in (b"akey0", b"akey1", b"akey2"):
        await shard.write(c, OID, (b"d", akey), data, epoch=10)
    hole = tuple(Recx(lo, 4) for lo in data)
    iods = [Iod(b"akey0", ARRAY, 0, hole), Iod(b"akey1", ARRAY, 0, (Recx(0, 1 << 20),))]
    await shard.update(c, OID, b"d", iods, b"", epoch=11)
    for akey, count in ((b"akey0", 0), (b"akey1", 0), (b"akey2", 50)):
        fetch, _ = await shard.fetch(c, OID, b"d", [Iod(akey, ARRAY, 0, hole)], epoch=11)
        assert (fetch.sizes, len(fetch.pieces)) == ([1 if count else 0], count)
        assert len(c.list_extents(OID, b"d", akey, Epoch(11), limit=100).entries) == count
    c.punch(OID, Epoch(12), dkey=b"d", akeys=[b"akey0", b"akey1", b"akey2"])
    assert not c.list_akeys(OID, b"d", Epoch(12), limit=10).entries
    assert not c.list_dkeys(OID, Epoch(12), limit=10).entries
    assert c.list_dkeys(OID, Epoch(11), limit=10).entries == [b"d"]
    await shard.put(c, OID, b"e", {b"a": b"x"}, epoch=13)
    c.punch(OID, Epoch(14))
    assert not c.list_dkeys(OID, Epoch(14), limit=10).entries
    assert not c.list_objects(Epoch(14), limit=10).entries
    assert c.list_objects(Epoch(13), limit=10).entries == [OID]


@on_shard
async def test_io13_array21_gaps(shard: MemoryShard, c: VosContainer) -> None:
    iod = Iod(b"a", ARRAY, 1, (Recx(0, 10), Recx(20, 10), Recx(40, 10)))
    data = b"a" * 10 + b"b" * 10 + b"c" * 10
    await shard.update(c, OID, b"d", [iod], data, epoch=10)
    fetch, views = await shard.fetch(
        c, OID, b"d", [Iod(b"a", ARRAY, 0, (Recx(5, 40), Recx(60, 5), Recx(45, 2)))], epoch=10
    )
    assert fetch.pieces == [(0, 0, 0, 5), (0, 0, 15, 10), (0, 0, 35, 5), (0, 2, 0, 2)]
    assert views == [b"a" * 5, b"b" * 10, b"c" * 5, b"cc"]
    fetch, views = await shard.fetch(c, OID, b"d", [Iod(b"a", ARRAY, 0, (Recx(60, 5),))], epoch=10)
    assert (fetch.sizes, views) == ([0], [])


@on_shard
async def test_io32_overlapping_ranges(shard: MemoryShard, c: VosContainer) -> None:
    for recxs in (((0, 3), (4, 1), (3, 2)), ((1, 2), (1, 2)), ((8, 4), (0, 9))):
        with pytest.raises(InvalidError):
            c.update_begin(OID, b"d", [Iod(b"a", ARRAY, 1, tuple(Recx(*r) for r in recxs))])


@on_shard
async def test_io40_hole_in_the_middle(shard: MemoryShard, c: VosContainer) -> None:
    await shard.write(c, OID, (b"d", b"a"), {0: b"x" * 100}, epoch=10)
    hole = Iod(b"a", ARRAY, 0, (Recx(50, 10),))
    await shard.update(c, OID, b"d", [hole], b"", epoch=11)
    got = await shard.read(c, OID, (b"d", b"a"), (0, 100), epoch=11)
    assert got == b"x" * 50 + b"." * 10 + b"x" * 40
    entries = c.list_extents(OID, b"d", b"a", Epoch(11), limit=10).entries
    assert [(e.lo, e.hi, e.epoch) for e in entries] == [(0, 50, 10), (60, 100, 10)]


@on_shard
async def test_io44_integer_keys_have_8_bytes(shard: MemoryShard, c: VosContainer) -> None:
    oid, good = unit(9, ObjectType.MULTI_UINT64), key(1)
    for dkey, akey in ((b"abc", good), (b"x" * 128, good), (good, b"abc"), (good, b"x" * 128)):
        iods = [Iod(akey, SINGLE, 1)]
        with pytest.raises(InvalidError):
            c.update_begin(oid, dkey, iods)
        with pytest.raises(InvalidError):
            c.fetch_begin(oid, dkey, iods, Epoch(10))
        with pytest.raises(InvalidError):
            c.punch(oid, Epoch(10), dkey=dkey, akeys=[akey])


@on_shard
async def test_array13_adjacent_extents_stay_apart(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(100):
        await shard.write(c, OID, (b"d", b"a"), {number * 10: b"x" * 10}, epoch=10)
    hole = Iod(b"a", ARRAY, 0, tuple(Recx(number * 10, 10) for number in range(10)))
    await shard.update(c, OID, b"d", [hole], b"", epoch=20)
    for epoch, count in ((10, 100), (20, 90)):
        found, anchor, eof = list[int](), b"", False
        while not eof:
            entries, anchor, eof, _ = c.list_extents(
                OID, b"d", b"a", Epoch(epoch), anchor=anchor, limit=7
            )
            found += [entry.lo for entry in entries]
        assert len(found) == count
        assert found == sorted(set(found))


CONDS = {
    "insert": Cond.AKEY_INSERT,
    "update": Cond.AKEY_UPDATE,
    "any": Cond.NONE,
}


@on_shard
async def test_array18_863_conditions(shard: MemoryShard, c: VosContainer) -> None:
    async def update(cond: int, a: str, b: str, epoch: int, names: bytes = b"ab") -> None:
        iods = [
            Iod(names[:1], SINGLE, 1, (), CONDS[a]),
            Iod(names[1:], SINGLE, 1, (), CONDS[b]),
        ]
        await shard.update(c, OID, b"d", iods, b"xy", epoch=epoch, cond=cond)

    per = Cond.PER_AKEY
    for cond in (Cond.DKEY_UPDATE | Cond.AKEY_INSERT, Cond.DKEY_INSERT | Cond.AKEY_UPDATE):
        with pytest.raises(NotFoundError):
            await update(cond, "any", "any", 10)
    with pytest.raises(NotFoundError):
        await update(Cond.DKEY_INSERT | per, "insert", "update", 11)
    assert not c.list_objects(Epoch(99), limit=10).entries
    await update(Cond.DKEY_INSERT | per, "insert", "insert", 12)
    with pytest.raises(ExistsError):
        await update(Cond.DKEY_UPDATE | per, "insert", "update", 13)
    with pytest.raises(ExistsError):
        await update(Cond.DKEY_UPDATE | Cond.AKEY_INSERT, "any", "any", 14)
    with pytest.raises(NotFoundError):
        await update(Cond.DKEY_UPDATE | Cond.AKEY_UPDATE, "any", "any", 15, b"az")
    with pytest.raises(ExistsError):
        await update(Cond.DKEY_INSERT, "any", "any", 16)
    await update(Cond.DKEY_UPDATE | Cond.AKEY_UPDATE, "any", "any", 17)
    # Nothing of what failed is there.
    assert await shard.get(c, OID, b"d", b"z", epoch=99) is None
    per_akey = [Iod(b"a", SINGLE, 0, (), Cond.AKEY_FETCH), Iod(b"z", SINGLE, 0)]
    fetch, _ = await shard.fetch(c, OID, b"d", per_akey, epoch=20, cond=per)
    assert fetch.sizes == [1, 0]
    per_akey = [Iod(b"a", SINGLE, 0), Iod(b"z", SINGLE, 0, (), Cond.AKEY_FETCH)]
    with pytest.raises(NotFoundError):
        c.fetch_begin(OID, b"d", per_akey, Epoch(20), cond=per)


@pytest.mark.parametrize("otype", OTYPES)
@on_shard
async def test_805_punch_model(shard: MemoryShard, c: VosContainer, otype: ObjectType) -> None:
    oid, names = unit(8, otype), (key(1), key(2))
    long, short = b"HelloLonelyWorld", b"HelloWorld"
    await shard.write(c, oid, names, {0: long}, epoch=11)
    c.punch(oid, Epoch(12), dkey=names[0], akeys=[names[1]])
    await shard.write(c, oid, names, {0: short}, epoch=13)
    assert await shard.read(c, oid, names, (0, 16), epoch=14) == short + b"......"
    await shard.write(c, oid, names, {0: long}, epoch=15)
    c.punch(oid, Epoch(16), dkey=names[0])
    await shard.write(c, oid, names, {0: short}, epoch=17)
    assert await shard.read(c, oid, names, (0, 16), epoch=18) == short + b"......"
    await shard.write(c, oid, names, {0: long}, epoch=19)
    c.punch(oid, Epoch(20))
    await shard.write(c, oid, names, {0: b"Goodbye"}, epoch=21)
    assert await shard.read(c, oid, names, (0, 16), epoch=15) == long
    assert await shard.read(c, oid, names, (0, 16), epoch=21) == b"Goodbye" + b"." * 9
    for epoch, extents in ((11, 1), (12, 0), (18, 1), (20, 0), (21, 1)):
        page = c.list_extents(oid, *names, Epoch(epoch), limit=10)
        assert len(page.entries) == extents
        assert len(c.list_akeys(oid, names[0], Epoch(epoch), limit=10).entries) == bool(extents)


@on_shard
async def test_808_punched_values(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"a": b"x", b"b": b"y"}, epoch=10)
    await shard.put(c, OID, b"d", {b"a": b""}, epoch=11)
    c.punch(OID, Epoch(12), dkey=b"d", akeys=[b"b"])
    assert await shard.get(c, OID, b"d", b"a", epoch=12) is None
    assert await shard.get(c, OID, b"d", b"a", epoch=10) == b"x"


@on_shard
async def test_815_many_akeys(shard: MemoryShard, c: VosContainer) -> None:
    names = [b"file.mdtest.0.%d" % number for number in range(3000)]
    for at in range(0, len(names), 100):
        await shard.put(c, OID, b"d", dict.fromkeys(names[at : at + 100], b"x"), epoch=10)
    found, anchor, eof = list[bytes](), b"", False
    while not eof:
        entries, anchor, eof, _ = c.list_akeys(OID, b"d", Epoch(10), anchor=anchor, limit=512)
        found += entries
    assert sorted(found) == sorted(names)


@on_shard
async def test_860_conditional_punches(shard: MemoryShard, c: VosContainer) -> None:
    for dkey, akeys in ((None, []), (b"d", []), (b"d", [b"a"])):
        with pytest.raises(NotFoundError):
            c.punch(OID, Epoch(10), dkey=dkey, akeys=akeys, cond=Cond.PUNCH)
    await shard.put(c, OID, b"d", {b"a": b"x", b"b": b"y"}, epoch=11)
    with pytest.raises(NotFoundError):
        c.punch(OID, Epoch(12), dkey=b"d", akeys=[b"a", b"none"], cond=Cond.PUNCH)
    assert await shard.get(c, OID, b"d", b"a", epoch=12) == b"x"
    c.punch(OID, Epoch(13), dkey=b"d", akeys=[b"a"], cond=Cond.PUNCH)
    assert c.list_akeys(OID, b"d", Epoch(13), limit=9).entries == [b"b"]
    c.punch(OID, Epoch(14), dkey=b"d", cond=Cond.PUNCH)
    with pytest.raises(NotFoundError):
        c.punch(OID, Epoch(15), dkey=b"d", cond=Cond.PUNCH)
    c.punch(OID, Epoch(16), cond=Cond.PUNCH)
    with pytest.raises(NotFoundError):
        c.punch(OID, Epoch(17), cond=Cond.PUNCH)
    # Without the condition it succeeds on what is not there.
    c.punch(OID, Epoch(18), dkey=b"new", akeys=[b"a"])
    assert not c.list_objects(Epoch(18), limit=9).entries


@on_shard
async def test_types_and_record_sizes_are_for_life(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"s": b"x"}, epoch=10)
    await shard.write(c, OID, (b"d", b"a"), {0: b"xyzw"}, epoch=10, record_size=4)
    with pytest.raises(AccessError):
        await shard.write(c, OID, (b"d", b"s"), {0: b"x"}, epoch=11)
    with pytest.raises(AccessError):
        await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=12)
    with pytest.raises(InvalidError):
        await shard.write(c, OID, (b"d", b"a"), {0: b"xy"}, epoch=13, record_size=2)
    with pytest.raises(InvalidError):
        c.fetch_begin(OID, b"d", [Iod(b"a", ARRAY, 2, (Recx(0, 1),))], Epoch(14))
    with pytest.raises(AccessError):
        c.update_begin(OID, b"d", [Iod(b"a", SINGLE, 1), Iod(b"a", SINGLE, 1)])
    c.punch(OID, Epoch(15))
    with pytest.raises(AccessError):
        await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=16)


@on_shard
async def test_100_104_containers(shard: MemoryShard, c: VosContainer) -> None:
    made = [ContainerUuid(uuid.UUID(int=100 + i)) for i in range(20)]
    for name in made:
        shard.pool.create_container(name)
    with pytest.raises(ExistsError):
        shard.pool.create_container(made[0])
    assert set(shard.pool.containers()) == {*made, c.uuid}
    assert shard.pool.open_container(made[0]) is shard.pool.open_container(made[0])
    for name in made[1:]:
        await shard.meta.durable(shard.pool.destroy_container(name))
    with pytest.raises(NotFoundError):
        shard.pool.destroy_container(made[1])
    with pytest.raises(NotFoundError):
        shard.pool.open_container(made[1])
    await shard.reopen()
    assert set(shard.pool.containers()) == {made[0], c.uuid}


@pytest.mark.parametrize("restart", [False, True])
@on_shard
async def test_gc_returns_everything(shard: MemoryShard, c: VosContainer, restart: bool) -> None:
    """GC01 to GC06: destroyed in steps, over a restart, and nothing is left."""
    keeper = shard.container(ContainerUuid(uuid.UUID(int=50)))
    await shard.put(keeper, OID, b"d", {b"a": b"k" * 5000}, epoch=10)
    entries, blocks = shard.meta.statistics().tree_entries, shard.meta.space.blocks_allocated
    for number in range(5):
        oid = unit(number)
        for dkey in (b"d1", b"d2"):
            await shard.put(c, oid, dkey, {b"s": b"x" * 9000, b"t": b"y"}, epoch=10)
            await shard.write(c, oid, (dkey, b"a"), {0: b"z" * 5000, 9000: b"small"}, epoch=11)
    await shard.meta.durable(shard.pool.destroy_container(c.uuid))
    with pytest.raises(DaosError) as caught:
        await shard.get(c, OID, b"d", b"a", epoch=10)
    assert caught.value.code is DER.NO_HDL
    steps = 0
    while shard.pool.gc_step(7):
        steps += 1
        if restart and steps % 4 == 0:
            await shard.meta.durable(shard.meta.lsn_next - 1)
            await shard.reopen(clean=steps % 8 == 0)
    assert 12 < steps < 20
    # The record of the container is gone as well.
    assert shard.meta.statistics().tree_entries == entries - 1
    assert shard.meta.space.blocks_allocated == blocks
    again = shard.container(ContainerUuid(uuid.UUID(int=50)))
    assert await shard.get(again, OID, b"d", b"a", epoch=1 << 40) == b"k" * 5000

"""VOS800–VOS816: the punch model, and arrays on top of it, through a container.

The reference's test keeps arrays as its client does: record i lies under dkey i // per_dkey + 1,
whose records are dealt out to akeys, and a single value under dkey 0 says that the array exists.
Its iterators also tell when an entity is punched later on; listings here tell what is visible.
"""

from __future__ import annotations

import pytest

from daos.base.errors import DER, DaosError, InvalidError, NotFoundError
from daos.base.ids import EPOCH_MAX, Epoch, ObjectType
from daos.base.iod import Iod, IodType, QueryFlag, Recx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.container import VosContainer
from daos.vos.ilog_view import MINOR_REPLAY
from daos.vos.timestamps import Operation
from daos.vos.versions import Epochs

OID = unit(1)
SINGLE, ARRAY = IodType.SINGLE, IodType.ARRAY
TX = Operation(b"one transaction")
HELLO = b"HelloWorld"
LONG = b"HelloLonelyWorld"


def key(number: int) -> bytes:
    return number.to_bytes(8, "little")


class VtsArray:
    """An array as the reference's test keeps it."""

    OID = unit(800, ObjectType.MULTI_UINT64)
    META = key(0)

    def __init__(
        self,
        shard: MemoryShard,
        c: VosContainer,
        *,
        per_dkey: int,
        per_akey: int,
        record_size: int = 1,
    ) -> None:
        self.shard, self.c = shard, c
        self.per_dkey, self.per_akey, self.record_size = per_dkey, per_akey, record_size

    async def create(self, epoch: int) -> None:
        await self.shard.put(self.c, self.OID, self.META, {self.META: b"meta"}, epoch=epoch)

    async def reset(self, punch: int, create: int) -> None:
        self.c.punch(self.OID, Epoch(punch))
        await self.create(create)

    def _ranges(self, lo: int, hi: int) -> list[tuple[int, bytes, Recx]]:
        """(dkey number, akey, records) that hold [lo, hi)."""
        found = []
        while lo < hi:
            chunk, at = divmod(lo, self.per_dkey)
            part, first = divmod(at, self.per_akey)
            room = min(self.per_akey - first, self.per_dkey - at)
            count = min(room, hi - lo)
            found.append((chunk + 1, key(part), Recx(first, count)))
            lo += count
        return found

    async def write(self, lo: int, data: bytes, epoch: int) -> None:
        size = self.record_size
        at = 0
        by_dkey: dict[int, list[tuple[bytes, Recx]]] = {}
        for dkey, akey, recx in self._ranges(lo, lo + len(data) // size):
            by_dkey.setdefault(dkey, []).append((akey, recx))
        for dkey, parts in by_dkey.items():
            iods = [Iod(akey, ARRAY, size, (recx,)) for akey, recx in parts]
            nbytes = sum(iod.nbytes for iod in iods)
            chunk = data[at : at + nbytes]
            await self.shard.update(self.c, self.OID, key(dkey), iods, chunk, epoch=epoch)
            at += nbytes

    async def read(self, count: int, epoch: int) -> bytes:
        """Records [0, count) over a buffer full of 0x0a."""
        size = self.record_size
        buffer = bytearray(b"\x0a" * count * size)
        at = 0
        for dkey, akey, recx in self._ranges(0, count):
            iods = [Iod(akey, ARRAY, 0, (recx,))]
            fetch, views = await self.shard.fetch(self.c, self.OID, key(dkey), iods, epoch=epoch)
            for (_, _, index, _), view in zip(fetch.pieces, views, strict=True):
                first = (at + index) * size
                buffer[first : first + len(view)] = view
            at += recx.count
        return bytes(buffer)

    def size(self, epoch: int) -> int:
        flags = QueryFlag.MAX | QueryFlag.DKEY | QueryFlag.AKEY | QueryFlag.RECX
        try:
            found = self.c.query_key(self.OID, flags, Epoch(epoch))
        except NotFoundError:
            return 0
        assert found.dkey is not None
        assert found.akey is not None
        assert found.recx is not None
        dkey, akey = (int.from_bytes(name, "little") for name in (found.dkey, found.akey))
        return (dkey - 1) * self.per_dkey + akey * self.per_akey + found.recx.end

    async def set_size(self, count: int, epoch: int) -> None:
        """Punch what lies behind, and write the last record where there is none."""
        before = self.size(epoch)
        for dkey, akey, recx in self._ranges(count, before):
            if not recx.index:
                self.c.punch(self.OID, Epoch(epoch), dkey=key(dkey), akeys=[akey])
            else:
                behind = Recx(recx.index, self.per_akey - recx.index)
                iods = [Iod(akey, ARRAY, 0, (behind,))]
                await self.shard.update(self.c, self.OID, key(dkey), iods, b"", epoch=epoch)
        if count and (before < count or self.size(epoch) < count):
            await self.write(count - 1, bytes(self.record_size), epoch)

    def counts(self, epoch: int) -> tuple[int, int, int, int]:
        """Visible objects, dkeys, akeys, and stored extents that are not punched away."""
        c, at = self.c, Epoch(epoch)
        objects = c.list_objects(at, limit=9).entries
        dkeys = c.list_dkeys(self.OID, at, limit=99).entries
        akeys = [(d, a) for d in dkeys for a in c.list_akeys(self.OID, d, at, limit=99).entries]
        extents = sum([len(c.list_extents(self.OID, d, a, at, limit=99).entries) for d, a in akeys])
        return len(objects), len(dkeys), len(akeys), extents


@on_shard
async def test_vos800_array_set_get_size_and_what_is_listed(
    shard: MemoryShard, c: VosContainer
) -> None:
    c.modification_bound = Epoch(0)  # the reference begins at epoch 1
    array = VtsArray(shard, c, per_dkey=1 << 16, per_akey=1 << 16)
    await array.create(1)
    await array.set_size(1000, 2)
    assert array.size(3) == 1000
    await array.set_size(5, 4)
    assert array.size(5) == 5
    await array.reset(6, 7)
    assert array.size(8) == 0
    assert array.counts(9) == (1, 1, 1, 0)
    assert array.counts(3) == (1, 2, 2, 1)
    # The reference counts two records at 5, one of them the hole; what is visible is one.
    assert array.counts(5) == (1, 2, 2, 1)
    versions = c.list_versions(array.OID, key(1), key(0), Epochs(0, 5), limit=9)
    assert [entry.epoch for entry in versions.entries] == [4, 4, 2]
    assert (array.size(3), array.size(5)) == (1000, 5)


@pytest.mark.parametrize(
    ("name", "per_dkey", "per_akey", "record_size"),
    [
        ("801", 10, 10, 1),
        ("802", 100, 10, 1),
        ("803", 10, 10, 4),
        ("804", 7, 3, 4),
        ("807", 1, 1, 1),
    ],
)
@on_shard
async def test_vos801_to_804_and_807_arrays_grow_shrink_and_start_again(
    shard: MemoryShard,
    c: VosContainer,
    name: str,
    per_dkey: int,
    per_akey: int,
    record_size: int,
) -> None:
    c.modification_bound = Epoch(0)  # the reference begins at epoch 1
    array = VtsArray(shard, c, per_dkey=per_dkey, per_akey=per_akey, record_size=record_size)
    epoch = 1
    await array.create(epoch)
    for turn, count in enumerate((1, 9, 34, 50)):
        data = bytes((turn * 7 + at) % 250 + 1 for at in range(count * record_size))
        await array.write(0, data, epoch + 1)
        assert array.size(epoch + 2) == count
        assert await array.read(count, epoch + 2) == data
        for step, smaller in enumerate((count - count // 3, count // 2)):
            await array.set_size(smaller, epoch + 3 + step)
            at = epoch + 3 + step
            assert array.size(at) == smaller
            kept = smaller * record_size
            rest = b"\x0a" * (len(data) - kept)
            assert await array.read(count, at) == data[:kept] + rest
        assert await array.read(count, epoch + 2) == data
        await array.reset(epoch + 8, epoch + 9)
        epoch += 10
        assert array.size(epoch) == 0
        assert await array.read(count, epoch) == b"\x0a" * len(data)


async def words(shard: MemoryShard, c: VosContainer, epoch: int) -> bytes:
    return await shard.read(c, OID, (b"d", b"a"), (0, 16), epoch=epoch)


@on_shard
async def test_vos805_punch_model(shard: MemoryShard, c: VosContainer) -> None:
    c.modification_bound = Epoch(0)  # the reference begins at epoch 1

    async def write(data: bytes, epoch: int) -> None:
        await shard.write(c, OID, (b"d", b"a"), {0: data}, epoch=epoch)

    await write(LONG, 1)
    c.punch(OID, Epoch(2), dkey=b"d", akeys=[b"a"])
    await write(HELLO, 3)
    assert await words(shard, c, 4) == HELLO + b"." * 6
    await write(LONG, 5)
    c.punch(OID, Epoch(6), dkey=b"d")
    await write(HELLO, 7)
    assert await words(shard, c, 8) == HELLO + b"." * 6
    await write(LONG, 9)
    c.punch(OID, Epoch(10))
    await write(b"Goodbye", 11)
    assert await words(shard, c, 5) == LONG

    for epoch, visible in ((1, 1), (8, 1), (10, 0), (11, 1)):
        at = Epoch(epoch)
        assert len(c.list_objects(at, limit=9).entries) == visible
        assert len(c.list_dkeys(OID, at, limit=9).entries) == visible
        assert len(c.list_akeys(OID, b"d", at, limit=9).entries) == visible
        assert len(c.list_extents(OID, b"d", b"a", at, limit=9).entries) == visible
    for hi, written in ((8, 4), (10, 5)):  # the reference's VOS_IT_PUNCHED
        versions = c.list_versions(OID, b"d", b"a", Epochs(0, hi), limit=9).entries
        assert len(versions) == written

    fetch, views = await shard.fetch(c, OID, b"d", [Iod(b"a", ARRAY, 0, (Recx(0, 16),))], epoch=11)
    assert (fetch.nbytes, views) == (7, [b"Goodbye"])
    flags = QueryFlag.MAX | QueryFlag.RECX
    assert c.query_key(OID, flags, Epoch(11), dkey=b"d", akey=b"a").recx == Recx(0, 7)
    for wrong in (QueryFlag.MAX | QueryFlag.DKEY, QueryFlag.MAX, QueryFlag.MIN | QueryFlag.MAX, 0):
        with pytest.raises(InvalidError):
            c.query_key(OID, int(wrong), Epoch(11))

    def newest(epoch: int) -> int:
        """The reference's max_write; ours is as of an epoch, and comes in steps."""
        search = c.newest_epoch(OID, Epoch(epoch))
        while search.step(1):
            pass
        return search.epoch

    assert newest(11) == 11
    assert [newest(epoch) for epoch in range(1, 13)] == [1, 2, 3, 3, 5, 6, 7, 7, 9, 10, 11, 11]


@on_shard
async def test_vos806_two_single_values_punched_and_written_again(
    shard: MemoryShard, c: VosContainer
) -> None:
    """A second value at one epoch is a transaction's, with a newer minor epoch; nobody else's."""
    c.modification_bound = Epoch(0)  # the reference begins at epoch 1
    await shard.put(c, OID, b"d", {b"a": b"first", b"b": b"second value"}, epoch=1, minor=1)
    iods = [Iod(b"a", SINGLE, 0), Iod(b"b", SINGLE, 0)]
    fetch, views = await shard.fetch(c, OID, b"d", iods, epoch=1)
    assert (fetch.sizes, views) == ([5, 12], [b"first", b"second value"])
    c.punch(OID, Epoch(2))
    again = {b"a": b"longer than the first", b"b": b"short"}
    with pytest.raises(DaosError) as caught:
        await shard.put(c, OID, b"d", again, epoch=1)
    assert caught.value.code == DER.NO_PERM
    await shard.put(c, OID, b"d", again, epoch=1, op=TX)
    fetch, views = await shard.fetch(c, OID, b"d", iods, epoch=1)
    assert views == list(again.values())
    fetch, views = await shard.fetch(c, OID, b"d", iods, epoch=2)
    assert fetch.sizes == [0, 0]


@on_shard
async def test_vos808_a_value_of_no_bytes(shard: MemoryShard, c: VosContainer) -> None:
    c.modification_bound = Epoch(0)  # the reference begins at epoch 1
    await shard.put(c, OID, b"d", {b"a": b""}, epoch=1)
    c.punch(OID, Epoch(2), dkey=b"d", akeys=[b"other"])
    c.punch(OID, Epoch(2), dkey=b"other")
    for epoch in (1, 2, 3):
        fetch, views = await shard.fetch(c, OID, b"d", [Iod(b"a", SINGLE, 0)], epoch=epoch)
        assert (fetch.sizes, views) == ([0], [])


@on_shard
async def test_vos809_single_records_land_in_their_places(
    shard: MemoryShard, c: VosContainer
) -> None:
    c.modification_bound = Epoch(0)  # the reference begins at epoch 1
    await shard.write(c, OID, (b"d", b"a"), {2: b"x"}, epoch=1)
    assert await shard.read(c, OID, (b"d", b"a"), (0, 64), epoch=1) == b"..x" + b"." * 61
    fetch, _ = await shard.fetch(c, OID, b"d", [Iod(b"a", ARRAY, 0, (Recx(0, 64),))], epoch=1)
    assert fetch.sizes == [1]

    data = {2 * at: bytes((at + 1,)) for at in range(32)}
    await shard.write(c, OID, (b"d", b"b"), data, epoch=2)
    recxs = tuple(Recx(lo, 1) for lo in data)
    fetch, views = await shard.fetch(c, OID, b"d", [Iod(b"b", ARRAY, 0, recxs)], epoch=2)
    assert [recx for _, recx, _, _ in fetch.pieces] == list(range(32))
    assert b"".join(views) == bytes(range(1, 33))


@on_shard
async def test_vos812_written_and_punched_by_one_transaction(
    shard: MemoryShard, c: VosContainer
) -> None:
    c.modification_bound = Epoch(0)  # the reference begins at epoch 1
    await shard.put(c, OID, b"d", {b"a": b"value"}, epoch=10, minor=1, op=TX)
    c.punch(OID, Epoch(10), dkey=b"d", akeys=[b"a"], minor=2, op=TX)
    assert await shard.get(c, OID, b"d", b"a", epoch=10) is None


@on_shard
async def test_vos813_written_punched_and_written_by_one_transaction(
    shard: MemoryShard, c: VosContainer
) -> None:
    c.modification_bound = Epoch(0)  # the reference begins at epoch 1

    def part(lo: int, data: bytes) -> list[Iod]:
        return [Iod(b"a", ARRAY, 1, (Recx(lo, len(data)),))]

    first, rest = b"Hello", b"LonelyWorld"
    await shard.update(c, OID, b"d", part(0, first), first, epoch=10, minor=1, op=TX)
    c.punch(OID, Epoch(10), dkey=b"d", akeys=[b"a"], minor=2, op=TX)
    await shard.update(c, OID, b"d", part(5, rest), rest, epoch=10, minor=3, op=TX)
    assert await words(shard, c, 11) == b"....." + rest


@on_shard
async def test_vos814_replayed_punch(shard: MemoryShard, c: VosContainer) -> None:
    """It comes before the updates of its epoch, whatever the order of arrival."""
    c.modification_bound = Epoch(0)  # the reference begins at epoch 1
    await shard.write(c, OID, (b"d", b"a"), {0: b"Hello"}, epoch=1)
    c.punch(OID, Epoch(2), dkey=b"d", akeys=[b"a"], minor=MINOR_REPLAY)
    await shard.write(c, OID, (b"d", b"a"), {5: b"LonelyWorld"}, epoch=2)
    assert await words(shard, c, 2) == b"....." + b"LonelyWorld"
    assert await words(shard, c, 1) == b"Hello" + b"." * 11


@on_shard
async def test_vos815_many_akeys_of_one_dkey(shard: MemoryShard, c: VosContainer) -> None:
    """5,000 of the reference's 100,000, which by hand take 3 s and a device of 2 GiB."""
    c.modification_bound = Epoch(0)  # the reference begins at epoch 1
    names = [b"file.mdtest.%d.%d" % (rank, at) for rank in range(10) for at in range(500)]
    for first in range(0, len(names), 250):
        values = dict.fromkeys(names[first : first + 250], b"v")
        await shard.put(c, OID, b"d", values, epoch=1 + first)
    listed: list[bytes] = []
    anchor, eof = b"", False
    while not eof:
        page = c.list_akeys(OID, b"d", EPOCH_MAX, anchor=anchor, limit=512)
        listed += page.entries
        anchor, eof = page.anchor, page.eof
    assert sorted(listed) == sorted(names)
    for name in names[::37]:
        assert await shard.get(c, OID, b"d", name, epoch=1 << 20) == b"v"

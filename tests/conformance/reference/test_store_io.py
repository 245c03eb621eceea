"""Scenarios of the reference that reach below its API, on the real store over a memory device.

Source: DAOS src/vos/tests/vts_io.c (VOS2xx to VOS4xx), src/tests/suite/daos_obj_array.c (I/O maps);
internals §9.6, §9.15
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from daos.base.checksum import ChecksumType, compute
from daos.base.errors import DER, DaosError
from daos.base.ids import EPOCH_MAX, ContainerUuid, Epoch, ObjectType
from daos.base.iod import Iod, IodType, Recx
from daos.testing.shard import POOL, MemoryShard, memory_shard, on_shard, unit
from daos.vos import keys
from daos.vos.aggregate import AggregateConfig
from daos.vos.container import VosContainer
from daos.vos.iterate import Where
from daos.vos.merge import MergeConfig
from daos.vos.versions import Epochs, extents, singles
from daos.vos.visit import VALUE, Action, Callbacks, Entry, Epc, Flag, Wanted

OID = unit(1)
SINGLE, ARRAY = IodType.SINGLE, IodType.ARRAY


def ranges(*each: tuple[int, int]) -> Iod:
    return Iod(b"a", ARRAY, 0, tuple(Recx(index, count) for index, count in each))


@on_shard
async def test_array15_pieces_of_a_fetch(shard: MemoryShard, c: VosContainer) -> None:
    """What the reference's I/O map says: which of the records asked for exist, and their size."""
    await shard.write(
        c, OID, (b"d", b"a"), {2: b"two.", 4: b"four", 6: b"six."}, epoch=10, record_size=4
    )
    fetch, views = await shard.fetch(c, OID, b"d", [ranges((0, 10))], epoch=10)
    assert fetch.sizes == [4]
    assert fetch.pieces == [(0, 0, 2, 1), (0, 0, 4, 1), (0, 0, 6, 1)]
    assert views == [b"two.", b"four", b"six."]


@on_shard
async def test_array16_pieces_are_what_was_asked_for(shard: MemoryShard, c: VosContainer) -> None:
    await shard.write(c, OID, (b"d", b"a"), {10: b"0123456789"}, epoch=10)
    for first, count in ((10, 10), (12, 8)):
        fetch, views = await shard.fetch(c, OID, b"d", [ranges((first, count))], epoch=10)
        assert fetch.pieces == [(0, 0, 0, count)]
        assert views == [b"0123456789"[first - 10 :]]


@on_shard
async def test_array17_pieces_of_three_ranges(shard: MemoryShard, c: VosContainer) -> None:
    await shard.write(c, OID, (b"d", b"a"), {0: bytes(range(100))}, epoch=10)
    fetch, views = await shard.fetch(c, OID, b"d", [ranges((2, 8), (40, 8), (60, 8))], epoch=10)
    assert fetch.pieces == [(0, 0, 0, 8), (0, 1, 0, 8), (0, 2, 0, 8)]
    assert views == [bytes(range(lo, lo + 8)) for lo in (2, 40, 60)]


def key(number: int) -> bytes:
    return number.to_bytes(8, "little")


def all_of(
    c: VosContainer, where: Where, wanted: Wanted, *, recursive: bool = False
) -> list[Entry]:
    """What a visit shows."""
    found: list[Entry] = []

    def pre(entry: Entry) -> int:
        found.append(entry)
        return Action.NONE

    visit = c.visit(where, Callbacks(pre), wanted=wanted, recursive=recursive)
    while visit.step(3):
        pass
    return found


@on_shard
async def test_201_one_object_whatever_the_epochs(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"a": b"1"}, epoch=10)
    first = c.nodes.object(keys.object_order(OID))
    await shard.put(c, OID, b"d", {b"a": b"2"}, epoch=20)
    again = c.nodes.object(keys.object_order(OID))
    assert first is not None
    assert again is not None
    assert first.id == again.id
    assert c.list_objects(Epoch(20), limit=9).entries == [OID]


@pytest.mark.parametrize("kind", [SINGLE, ARRAY])
@on_shard
async def test_206_207_values_in_several_buffers(
    shard: MemoryShard, c: VosContainer, kind: IodType
) -> None:
    """Four ranges of 1 KiB land one after the other, and are read as one; a value is one buffer."""
    data = random.Random(206).randbytes(4096)
    if kind is SINGLE:
        await shard.update(c, OID, b"d", [Iod(b"a", SINGLE, 4096)], data, epoch=10)
        assert await shard.get(c, OID, b"d", b"a", epoch=10) == data
        return
    recxs = tuple(Recx(1024 * number, 1024) for number in range(4))
    update = c.update_begin(OID, b"d", [Iod(b"a", ARRAY, 1, recxs)])
    assert [len(each) for each in update.destinations] == [1024] * 4
    for number, destination in enumerate(update.destinations):
        destination[:] = data[1024 * number : 1024 * number + 1024]
    c.update_end(update, Epoch(10))
    assert await shard.read(c, OID, (b"d", b"a"), (0, 4096), epoch=10) == data
    _, views = await shard.fetch(c, OID, b"d", [Iod(b"a", ARRAY, 0, recxs)], epoch=10)
    assert b"".join(views) == data


@pytest.mark.parametrize("kind", [SINGLE, ARRAY])
@on_shard
async def test_220_many_keys_at_one_epoch(
    shard: MemoryShard, c: VosContainer, kind: IodType
) -> None:
    """5,000 keys where the reference has 100,000: the store is the same, the time is not."""
    recxs = () if kind is SINGLE else (Recx(0, 64),)
    size = 64 if kind is SINGLE else 1
    for number in range(5000):
        update = c.update_begin(OID, key(number), [Iod(b"a", kind, size, recxs)])
        update.destinations[0][:] = key(number) * 8
        lsn = c.update_end(update, Epoch(10))
        if not shard.meta.log_has_room:
            await shard.meta.checkpoint()
    await shard.meta.durable(lsn)
    for number in range(0, 5000, 7):
        iod = Iod(b"a", kind, 0, recxs)
        fetch, views = await shard.fetch(c, OID, key(number), [iod], epoch=10)
        assert (fetch.sizes, views) == ([size], [key(number) * 8])


@on_shard
async def test_240_0_240_1_dkeys_of_an_epoch_range(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(50):
        await shard.put(c, OID, key(number), {b"a": b"x"}, epoch=20 + number)
    for hi, count in ((int(EPOCH_MAX), 50), (69, 50), (40, 21), (19, 0)):
        wanted = Wanted(Epochs(10, hi), Epc.GE)
        assert len(all_of(c, Where(OID), wanted)) == count


@pytest.mark.parametrize("epc", [Epc.RE, Epc.RR])
@on_shard
async def test_240_3_240_4_versions_of_a_range(
    shard: MemoryShard, c: VosContainer, epc: Epc
) -> None:
    """Every second of 40 epochs has an overwrite: a window of 20 shows ten."""
    for epoch in range(100, 140, 2):
        await shard.put(c, OID, b"d", {b"a": b"%d" % epoch}, epoch=epoch)
    where = Where(OID, b"d", b"a")
    found = [entry.epoch for entry in all_of(c, where, Wanted(Epochs(100, 119), epc))]
    assert found == sorted(range(100, 120, 2), reverse=epc is Epc.RR)
    wanted = Wanted(Epochs(100, 119))
    assert [e.epoch for e in all_of(c, where, wanted._replace(epc=Epc.LE))] == [118]
    assert [e.epoch for e in all_of(c, where, wanted._replace(epc=Epc.EQ))] == [100]
    assert len(all_of(c, where, wanted._replace(epc=Epc.GE))) == 20
    assert [e.epoch for e in all_of(c, where, wanted._replace(flags=Flag.VISIBLE))] == [118]
    assert all_of(c, where, Wanted(Epochs(101, 101), Epc.EQ)) == []
    assert all_of(c, where, Wanted(Epochs(1, 99), Epc.LE)) == []


@on_shard
async def test_240_5_240_6_extents_of_a_range(shard: MemoryShard, c: VosContainer) -> None:
    for epoch in range(100, 140):
        await shard.write(c, OID, (b"d", b"a"), {0: b"%03d" % epoch}, epoch=epoch)
    where = Where(OID, b"d", b"a")
    for lo, hi in ((100, 139), (110, 110), (95, 120), (139, 200), (1, 99)):
        written = [epoch for epoch in range(100, 140) if lo <= epoch <= hi]
        found = all_of(c, where, Wanted(Epochs(lo, hi)))
        assert [entry.epoch for entry in found] == written[::-1]  # one stack, newest first
        back = all_of(c, where, Wanted(Epochs(lo, hi), flags=Flag.REVERSE))
        assert back == found[::-1]
        assert len(all_of(c, where, Wanted(Epochs(lo, hi), recx=(1, 2)))) == len(written)
        assert all_of(c, where, Wanted(Epochs(lo, hi), recx=(3, 9))) == []


@pytest.mark.parametrize("otype", [ObjectType.MULTI_HASHED, ObjectType.MULTI_LEXICAL])
@on_shard
async def test_240_7_an_anchor_from_a_key(
    shard: MemoryShard, c: VosContainer, otype: ObjectType
) -> None:
    oid, count = unit(7, otype), 40
    for number in range(count):
        await shard.put(c, oid, key(number), {b"a": b"x"}, epoch=10)
    there = c.list_dkeys(oid, Epoch(10), limit=100).entries
    first = c.list_dkeys(oid, Epoch(10), limit=10)
    anchor, eof = c.key_anchor(oid, there[1])
    assert not eof
    resumed = c.list_dkeys(oid, Epoch(10), limit=100, anchor=anchor).entries
    assert resumed == there[1:]
    assert len(first.entries) + len(resumed) == count + 9
    assert c.key_anchor(unit(8, otype), there[1]) == (b"", True)


@on_shard
async def test_250_callbacks(shard: MemoryShard, c: VosContainer) -> None:
    """10 objects of 10 dkeys of 10 single values and 10 arrays; what each answer leaves out."""
    for number in range(10):
        for dkey in range(10):
            iods = [Iod(b"s%d" % n, SINGLE, 1) for n in range(10)]
            iods += [Iod(b"e%d" % n, ARRAY, 1, (Recx(0, 1),)) for n in range(10)]
            await shard.update(c, unit(number), key(dkey), iods, b"x" * 20, epoch=10)
    # What to answer the n-th time that a call-back of a level is asked; which n, is ours.
    answers: dict[tuple[str, int], dict[int, int]] = {
        ("filter", keys.OBJECT): {2: Action.SKIP, 9: Action.ABORT},
        ("pre", keys.OBJECT): {4: Action.SKIP},
        ("filter", keys.DKEY): {18: Action.ABORT},
        ("pre", keys.DKEY): {30: Action.SKIP, 46: Action.ABORT},
        ("filter", keys.AKEY): {59: Action.ABORT},
        ("pre", keys.AKEY): {70: Action.SKIP, 93: Action.ABORT},
        ("pre", VALUE): {5: Action.SKIP, 11: Action.ABORT},
    }
    calls = Counter[tuple[str, int]]()
    pauses = 0

    def callback(name: str) -> Callable[[Entry], int]:
        def call(entry: Entry) -> int:
            nonlocal pauses
            calls[name, entry.level] += 1
            answer = answers.get((name, entry.level), {}).get(calls[name, entry.level], 0)
            pauses += sum(calls.values()) % 2
            return answer | (Action.YIELD if sum(calls.values()) % 2 else 0)

        return call

    visit = c.visit(None, Callbacks(callback("pre"), callback("post"), callback("filter")))
    steps = 1
    while visit.step():
        steps += 1
    assert steps == pauses + 1
    assert [calls[name, keys.OBJECT] for name in ("filter", "pre", "post")] == [9, 7, 6]
    assert [calls[name, keys.DKEY] for name in ("filter", "pre", "post")] == [57, 56, 54]
    assert [calls[name, keys.AKEY] for name in ("filter", "pre", "post")] == [1074, 1073, 1071]
    assert [calls[name, VALUE] for name in ("filter", "pre", "post")] == [0, 1071, 1069]


@on_shard
async def test_282_2_pool_and_container_share_a_uuid(shard: MemoryShard, c: VosContainer) -> None:
    c = shard.container(ContainerUuid(POOL))
    await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    assert await shard.get(c, OID, b"d", b"a", epoch=10) == b"x"
    await shard.reopen()
    c = shard.container(ContainerUuid(POOL))
    assert await shard.get(c, OID, b"d", b"a", epoch=10) == b"x"
    shard.pool.destroy_container(c.uuid)
    assert POOL not in shard.pool.containers()


def test_300_4_a_value_of_27_megabytes() -> None:
    """In one run and in many; a second write at its epoch is refused, as for every single value."""

    async def run() -> None:
        async with memory_shard(256 << 20) as shard:
            c = shard.container()
            value = random.Random(27).randbytes(1 << 20) * 27
            await shard.put(c, OID, b"d", {b"a": value}, epoch=10)
            assert await shard.get(c, OID, b"d", b"a", epoch=10) == value
            with pytest.raises(DaosError) as caught:
                await shard.put(c, OID, b"d", {b"a": value}, epoch=10)
            assert caught.value.code is DER.NO_PERM
            await shard.put(c, OID, b"d", {b"a": value[::-1]}, epoch=11)
            assert await shard.get(c, OID, b"d", b"a", epoch=11) == value[::-1]
            assert await shard.get(c, OID, b"d", b"a", epoch=10) == value

    asyncio.run(run())


@on_shard
async def test_400_1_400_2_checksums_of_single_values(shard: MemoryShard, c: VosContainer) -> None:
    """The stored checksum is that of the container's type, and of the version that is read."""
    values = {10: b"ten", 20: b"twenty"}
    for epoch, value in values.items():
        update = c.update_begin(
            OID, b"d", [Iod(b"a", SINGLE, len(value))], csum_type=ChecksumType.CRC64
        )
        update.destinations[0][:] = value
        c.update_end(update, Epoch(epoch))
    where = Where(OID, b"d", b"a")
    for epoch, want in ((int(EPOCH_MAX), 20), (20, 20), (15, 10), (10, 10), (9, 0)):
        (*found,) = all_of(c, where, Wanted(Epochs(0, epoch), Epc.LE))
        assert [entry.epoch for entry in found] == ([want] if want else [])
        if want:
            _, stored = next(singles(shard.meta, node_id(c), Epochs(want, want)))
            assert stored.record.csum_type == int(ChecksumType.CRC64)
            assert stored.record.csums == compute(ChecksumType.CRC64, values[want])
    assert await shard.get(c, OID, b"d", b"a", epoch=9) is None


@on_shard
async def test_401_1_checksums_of_whole_extents(shard: MemoryShard, c: VosContainer) -> None:
    """Chunks of 64 bytes: two checksums of [0, 128), and what is read is found to have them."""
    data = {(0, 128): random.Random(1).randbytes(128), (32, 160): random.Random(2).randbytes(128)}
    for epoch, ((lo, hi), value) in enumerate(data.items(), 10):
        update = c.update_begin(
            OID,
            b"d",
            [Iod(b"a", ARRAY, 1, (Recx(lo, hi - lo),))],
            csum_type=ChecksumType.CRC32,
            csum_chunk=64,
        )
        update.destinations[0][:] = value
        c.update_end(update, Epoch(epoch))
    found = extents(shard.meta, node_id(c), Epochs(), classes=(1 << 64) - 1)
    stored = [each for _, each in found if each is not None]
    assert [(each.lo, each.hi, each.epoch) for each in stored] == [(0, 128, 10), (32, 160, 11)]
    for each, value in zip(stored, data.values(), strict=True):
        want = b"".join(compute(ChecksumType.CRC32, value[at : at + 64]) for at in (0, 64))
        assert each.record.csums == want
    want = data[0, 128][:32] + data[32, 160]
    assert await shard.read(c, OID, (b"d", b"a"), (0, 160), epoch=11) == want


@on_shard
async def test_401_2_without_checksums_of_the_container(
    shard: MemoryShard, c: VosContainer
) -> None:
    """Every value has one all the same: XXH3."""
    await shard.write(c, OID, (b"d", b"a"), {0: b"x" * 128}, epoch=10)
    await shard.write(c, OID, (b"d", b"a"), {32: b"y" * 128}, epoch=11)
    found = extents(shard.meta, node_id(c), Epochs(), classes=(1 << 64) - 1)
    stored = [each for _, each in found if each is not None]
    assert len(stored) == 2
    assert {each.record.csum_type for each in stored} == {int(ChecksumType.XXH3)}


def node_id(c: VosContainer) -> int:
    """The node of the one akey."""
    order = keys.object_order(OID)
    node = c.nodes.object(order)
    for level, name in ((keys.DKEY, b"d"), (keys.AKEY, b"a")):
        assert node is not None
        node = c.nodes.key(node.id, level, name, ObjectType.MULTI_HASHED.dkey_kind)
    assert node is not None
    return node.id


@pytest.mark.parametrize("reverse", [False, True])
@on_shard
async def test_io45_listing_while_aggregation_merges(
    shard: MemoryShard, c: VosContainer, *, reverse: bool
) -> None:
    """Ten records in as many extents, merged between the pages: each record is listed once."""
    for number in range(10):
        await shard.write(c, OID, (b"d", b"a"), {number: b"%d" % number}, epoch=10 + number)
    found, anchor, eof = list[int](), b"", False
    while not eof:
        page = c.list_extents(OID, b"d", b"a", EPOCH_MAX, anchor=anchor, limit=2, reverse=reverse)
        for entry in page.entries:
            found += range(entry.lo, entry.hi)
        anchor, eof = page.anchor, page.eof
        await shard.finish(
            c.aggregate(0, 19, config=AggregateConfig(merge=MergeConfig(force=True)))
        )
    assert sorted(found) == list(range(10))
    assert len(c.list_extents(OID, b"d", b"a", EPOCH_MAX, limit=99).entries) == 1

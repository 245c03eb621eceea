"""Extents that share blocks: found, compared, counted, and freed with the last of them."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from pathlib import Path

import pytest

from daos.base.errors import CorruptError
from daos.base.ids import ContainerUuid, Epoch
from daos.base.iod import Iod, IodType, Recx
from daos.bio.meta import MetaContext
from daos.bio.space import Extent
from daos.testing.devices import MemoryDirectory
from daos.testing.recording import RecordingDirectory
from daos.testing.shard import POOL, MemoryShard, on_shard, unit
from daos.vos import dedup, dedup_record, keys
from daos.vos.aggregate import AggregateConfig
from daos.vos.container import VosContainer
from daos.vos.dedup_record import DedupMode, DedupSetting, Place
from daos.vos.extent_record import ExtentRecord
from daos.vos.merge import MergeConfig
from daos.vos.records import NodeRecord

OID = unit(1)
FORCED = AggregateConfig(merge=MergeConfig(force=True))
MEMCMP = DedupSetting(DedupMode.MEMCMP, 4096)
HASH = DedupSetting(DedupMode.HASH, 4096)
A, B = b"a" * 8192, b"b" * 8192


def content(index: int, nbytes: int = 8192) -> bytes:
    return random.Random(index).randbytes(nbytes)


async def write(
    shard: MemoryShard,
    c: VosContainer,
    lo: int,
    *values: bytes,
    epoch: int,
    akey: bytes = b"a",
    compare: bool = True,
) -> None:
    """Ranges of an array of bytes, one behind the other; compared as the service does."""
    recxs = []
    for value in values:
        recxs.append(Recx(lo, len(value)))
        lo += len(value)
    update = c.update_begin(OID, b"d", [Iod(akey, IodType.ARRAY, 1, tuple(recxs))])
    for destination, value in zip(update.destinations, values, strict=True):
        destination[:] = value
    for match in c.dedup_matches(update):
        await shard.meta.durable(shard.meta.lsn_last)
        stored = memoryview(bytearray(match.run.count * 4096))
        assert shard.meta.device.read_nowait(match.run.block * 4096, stored)
        if compare and stored[: match.span.nbytes] == match.span.memory:
            match.span.equal = match.run
    await shard.meta.durable(c.update_end(update, Epoch(epoch)))


async def read(shard: MemoryShard, c: VosContainer, lo: int, hi: int, *, epoch: int) -> bytes:
    return await shard.read(c, OID, (b"d", b"a"), (lo, hi), epoch=epoch)


def check(shard: MemoryShard) -> int:
    """What the tree says of shared runs fits its extents; blocks that are named."""
    named, places, contents = Counter[Extent](), dict[Extent, int](), set[Extent]()
    arrays = set[int]()
    pairs = [(bytes(key), bytes(value)) for key, value in shard.meta.cursor()]
    for key, value in pairs:
        if key[8] == keys.AKEY and value[:1] == b"\xd7" and value[5] == 2:
            arrays.add(NodeRecord.parse(value).node_id)
    for key, value in pairs:
        owner = int.from_bytes(key[:8], "big")
        if owner in arrays:
            run = ExtentRecord.parse(value).run
            if run is not None:
                named[run] += 1
        elif key[:10] == bytes(8) + b"\x07\x00":
            contents.add(dedup_record.parse_content(key, value))
        elif key[:10] == bytes(8) + b"\x07\x01":
            run = Extent(int.from_bytes(key[10:18], "big"), int.from_bytes(key[18:], "big"))
            places[run] = Place.parse(key, value).references
    assert places.keys() == contents
    assert places == {run: named[run] for run in places}
    assert all(count == 1 for run, count in named.items() if run not in places)
    blocks = sum(run.count for run in named)
    assert shard.meta.space.blocks_allocated == blocks
    return blocks


@pytest.mark.parametrize("setting", [MEMCMP, HASH])
@on_shard
async def test_equal_extents_share_their_blocks(
    shard: MemoryShard, c: VosContainer, setting: DedupSetting
) -> None:
    c.deduplicate(setting)
    for number in range(5):
        await write(shard, c, 10_000 * number, A, epoch=10 + number)
    await write(shard, c, 100_000, B, epoch=20)
    assert check(shard) == 4
    for _ in range(2):
        for number in range(5):
            lo = 10_000 * number
            assert await read(shard, c, lo, lo + 8192, epoch=30) == A
        assert await read(shard, c, 100_000, 108_192, epoch=30) == B
        await shard.reopen()
        c = shard.container()
        assert c.dedup == setting
    bound = c.modification_bound
    await write(shard, c, 200_000, A, epoch=bound + 10)  # found also after a restart
    assert check(shard) == 4
    assert shard.meta.space.statistics().blocks_reserved == 0


@on_shard
async def test_a_container_that_wants_nothing_shares_nothing(
    shard: MemoryShard, c: VosContainer
) -> None:
    assert c.dedup is None
    await write(shard, c, 0, A, epoch=10)
    await write(shard, c, 10_000, A, epoch=11)
    assert check(shard) == 4
    assert not [key for key, _ in shard.meta.cursor() if key[8] == keys.DEDUP]


@on_shard
async def test_only_long_extents_in_blocks_are_shared(shard: MemoryShard, c: VosContainer) -> None:
    c.deduplicate(DedupSetting(DedupMode.HASH, 8192))
    for number, value in enumerate((b"s" * 100, b"m" * 8191, A)):
        for time in range(2):
            lo = 100_000 * number + 20_000 * time
            await write(shard, c, lo, value, epoch=10 + 2 * number + time)
        await shard.put(c, OID, b"d", {b"single%d" % number: value}, epoch=50 + number)
        await shard.put(c, OID, b"d", {b"single%d" % number: value}, epoch=60 + number)
    places = [key for key, _ in shard.meta.cursor() if key[:10] == bytes(8) + b"\x07\x01"]
    assert len(places) == 1
    assert shard.meta.space.blocks_allocated == 2 * 2 + 2 + 2 * (2 + 2)


@on_shard
async def test_what_is_not_equal_is_not_shared(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two contents with one digest: memcmp tells them apart."""
    monkeypatch.setattr(dedup, "digest_of", lambda _setting, _memory: bytes(32))
    c.deduplicate(MEMCMP)
    await write(shard, c, 0, A, epoch=10)
    await write(shard, c, 10_000, B, epoch=11)
    await write(shard, c, 20_000, A, epoch=12)
    await write(shard, c, 30_000, A, epoch=13, compare=False)  # there was no memory for it
    assert check(shard) == 6
    for lo, value in ((0, A), (10_000, B), (20_000, A), (30_000, A)):
        assert await read(shard, c, lo, lo + 8192, epoch=20) == value


@pytest.mark.parametrize("setting", [MEMCMP, HASH])
@on_shard
async def test_equal_extents_of_one_update(
    shard: MemoryShard, c: VosContainer, setting: DedupSetting
) -> None:
    c.deduplicate(setting)
    await write(shard, c, 0, A, B, A, epoch=10)
    assert check(shard) == (4 if setting is HASH else 6)
    await write(shard, c, 50_000, B, content(1), A, B, epoch=11)
    assert check(shard) == (6 if setting is HASH else 8)
    assert await read(shard, c, 0, 3 * 8192, epoch=20) == A + B + A
    got = await read(shard, c, 50_000, 50_000 + 4 * 8192, epoch=20)
    assert got == B + content(1) + A + B
    await shard.reopen()
    assert check(shard) == (6 if setting is HASH else 8)


@on_shard
async def test_an_extent_written_twice_at_one_epoch(shard: MemoryShard, c: VosContainer) -> None:
    c.deduplicate(HASH)
    await write(shard, c, 0, A, epoch=10)
    await write(shard, c, 10_000, A, epoch=11)
    update = c.update_begin(OID, b"d", [Iod(b"a", IodType.ARRAY, 1, (Recx(10_000, 8192),))])
    update.destinations[0][:] = B
    await shard.meta.durable(c.update_end(update, Epoch(11)))
    assert check(shard) == 4
    assert await read(shard, c, 10_000, 18_192, epoch=20) == B


@on_shard
async def test_an_update_that_fails_leaves_no_reference(
    shard: MemoryShard, c: VosContainer
) -> None:
    c.deduplicate(HASH)
    await write(shard, c, 0, A, epoch=10)
    before = [(bytes(key), bytes(value)) for key, value in shard.meta.cursor()]
    iods = [
        Iod(b"a", IodType.ARRAY, 1, (Recx(20_000, 8192), Recx(40_000, 8192))),
        Iod(b"b", IodType.SINGLE, 1),
    ]
    await shard.put(c, OID, b"d2", {b"x": b"y"}, epoch=11)
    update = c.update_begin(OID, b"d", iods)
    for destination, value in zip(update.destinations, (A, B, b"x"), strict=True):
        destination[:] = value
    c.update_cancel(update)
    update = c.update_begin(OID, b"d", iods)
    for destination, value in zip(update.destinations, (A, B, b"x"), strict=True):
        destination[:] = value
    with pytest.raises(Exception, match="TX_RESTART"):
        c.update_end(update, c.modification_bound)
    c.update_cancel(update)
    kept = {key: value for key, value in before if key[8] == keys.DEDUP}
    now = {bytes(key): bytes(value) for key, value in shard.meta.cursor()}
    assert kept == {key: value for key, value in now.items() if key[8:9] == b"\x07"}
    assert check(shard) == 2
    assert shard.meta.space.statistics().blocks_reserved == 0


@pytest.mark.parametrize("credits", [1, 3, 1000])
@on_shard
async def test_blocks_go_with_the_last_reference(
    shard: MemoryShard, c: VosContainer, credits: int
) -> None:
    other = shard.container(ContainerUuid(uuid.UUID(int=77)))
    for each in (c, other):
        each.deduplicate(HASH)
    for number in range(4):
        await write(shard, c, 10_000 * number, A, epoch=10 + number)
        await write(shard, other, 10_000 * number, content(number % 2), epoch=20 + number)
    await write(shard, other, 100_000, A, epoch=30)
    assert check(shard) == 2 * 3
    shard.pool.destroy_container(c.uuid)
    step = 0
    while shard.pool.gc_step(credits):
        step += 1
        await shard.meta.durable(shard.meta.lsn_last)
        if step % 3 == 0:
            await shard.reopen()
        check(shard)
    other = shard.container(other.uuid)
    assert await read(shard, other, 100_000, 108_192, epoch=40) == A
    assert check(shard) == 2 * 3
    shard.pool.destroy_container(other.uuid)
    while shard.pool.gc_step(credits):
        pass
    assert check(shard) == 0
    assert {bytes(key) for key, _ in shard.meta.cursor()} == {keys.ROOT_KEY}


@on_shard
async def test_damaged_records_are_named(shard: MemoryShard, c: VosContainer) -> None:
    c.deduplicate(HASH)
    await write(shard, c, 0, A, epoch=10)
    for lo, what in ((b"\x00", "dedup content"), (b"\x01", "dedup place")):
        prefix = bytes(8) + b"\x07" + lo
        cursor = shard.meta.cursor()
        assert cursor.set_range(prefix)
        key, value = bytes(cursor.key()), bytes(cursor.value())
        tx = shard.meta.begin()
        tx.put(key, value[:-1] + bytes([value[-1] ^ 1]))
        await shard.meta.durable(tx.commit())
        with pytest.raises(CorruptError, match=what):
            await write(shard, c, 50_000, A, epoch=20)
        tx = shard.meta.begin()
        tx.put(key, value)
        await shard.meta.durable(tx.commit())
    tx = shard.meta.begin()
    tx.delete(key)
    await shard.meta.durable(tx.commit())
    with pytest.raises(CorruptError, match="dedup place"):
        await write(shard, c, 50_000, A, epoch=20)


@pytest.mark.parametrize("seed", range(3))
@on_shard
async def test_any_sequence(shard: MemoryShard, c: VosContainer, seed: int) -> None:
    """Writes, overwrites and restarts, against a plain array."""
    rng = random.Random(seed)
    c.deduplicate(rng.choice((MEMCMP, HASH)))
    plain, epoch = bytearray(b"." * 60_000), 10
    for _ in range(40):
        epoch += 1
        values = [content(rng.randrange(4), rng.choice((4096, 5000))) for _ in range(2)]
        lo = rng.randrange(40_000)
        await write(shard, c, lo, *values, epoch=epoch)
        for value in values:
            plain[lo : lo + len(value)] = value
            lo += len(value)
        if rng.random() < 0.1:
            await shard.reopen(clean=rng.random() < 0.5)
            c = shard.container()
            epoch = max(epoch, c.modification_bound)
        assert await read(shard, c, 0, 60_000, epoch=epoch) == plain
    assert check(shard) <= 2 * 8


@on_shard
async def test_a_setting_is_kept_and_taken_back(shard: MemoryShard, c: VosContainer) -> None:
    c.deduplicate(MEMCMP)
    c.deduplicate(MEMCMP)
    await write(shard, c, 0, A, epoch=10)
    await shard.reopen()
    c = shard.container()
    assert c.dedup == MEMCMP
    c.deduplicate(None)
    assert c.dedup is None
    await write(shard, c, 50_000, A, epoch=c.modification_bound + 1)
    assert check(shard) == 4
    await shard.reopen()
    assert shard.container().dedup is None


def test_power_cuts(tmp_path: Path) -> None:
    """Whenever the power fails, counts fit the extents, and blocks are those that are named."""

    async def run() -> None:
        directory = RecordingDirectory()
        device = await directory.create("shard", 16 << 20)
        shard = MemoryShard(device, tmp_path / "first", 4096)
        await MetaContext.format(device, uuid=POOL, config=shard.config)
        await shard.open()
        c = shard.container()
        c.deduplicate(HASH)
        await shard.meta.durable(shard.meta.lsn_last)
        first, durable = len(directory.journal), list[tuple[int, int, int]]()
        for number in range(12):
            await write(shard, c, 10_000 * number, content(number % 3), epoch=10 + number)
            durable.append((len(directory.journal), 10_000 * number, number % 3))
        shard.pool.destroy_container(c.uuid)
        while shard.pool.gc_step(2):
            await shard.meta.durable(shard.meta.lsn_last)
        await shard.meta.close(checkpoint=False)
        rng = random.Random(1)
        for cut in range(first, len(directory.journal) + 1):
            images = directory.journal.image(cut, rng)
            again = await MemoryDirectory(images).open("shard")
            found = MemoryShard(again, tmp_path / str(cut), 4096)
            await found.open()
            check(found)
            if found.pool.containers():
                for at, lo, index in durable:
                    if at <= cut:
                        value = await read(found, found.container(), lo, lo + 8192, epoch=50)
                        assert value == content(index)
            await found.meta.close(checkpoint=False)
            await again.close()
        await device.close()

    asyncio.run(run())


@on_shard
async def test_old_versions_give_their_shares_back(shard: MemoryShard, c: VosContainer) -> None:
    """Hidden as a whole: released. Hidden in part: kept as long as somebody else names it."""
    c.deduplicate(HASH)
    await write(shard, c, 0, A, epoch=10)
    await write(shard, c, 100_000, A, epoch=11)
    await write(shard, c, 0, B, epoch=12)
    await shard.finish(c.aggregate(0, 20))
    assert check(shard) == 4
    await write(shard, c, 100_000, B, epoch=21)
    await shard.finish(c.aggregate(0, 30))
    assert check(shard) == 2, "one run is left, named twice"
    for lo in (0, 100_000):
        assert await read(shard, c, lo, lo + 8192, epoch=40) == B
    await write(shard, c, 100, b"s" * 10, epoch=31)
    await shard.finish(c.aggregate(0, 40))
    assert check(shard) == 2, "not written apart"
    await write(shard, c, 100_100, b"s" * 10, epoch=41)
    await write(shard, c, 0, bytes(8192), epoch=42)
    await shard.finish(c.aggregate(0, 50))
    assert check(shard) == 2 + 2
    work = c.aggregate(0, 60)
    await shard.finish(work)
    assert work.statistics.merged_recs, "nobody else names it any more"
    assert await read(shard, c, 100_000, 108_192, epoch=60) == b"b" * 100 + b"s" * 10 + b"b" * 8082
    check(shard)


@pytest.mark.parametrize("setting", [MEMCMP, HASH])
@pytest.mark.parametrize("seed", range(4))
@on_shard
async def test_aggregation_keeps_the_counts(
    shard: MemoryShard, c: VosContainer, seed: int, setting: DedupSetting
) -> None:
    """Overwrites of few contents, aggregated up to snapshots: what they show, and every count."""
    rng = random.Random(seed)
    c.deduplicate(setting)
    epoch, done = max(c.modification_bound, 10), 0
    snapshots: dict[int, bytes] = {}
    plain = bytearray(b"." * 60_000)
    for _ in range(80):
        epoch += 1
        lo = rng.choice((0, 8192, 20_000, 40_000)) + rng.choice((0, 0, 0, 7))
        value = content(rng.randrange(4), rng.choice((4096, 8192, 500)))
        await write(shard, c, lo, value, epoch=epoch)
        plain[lo : lo + len(value)] = value
        if rng.random() < 0.1:
            snapshots[epoch] = bytes(plain)
            await shard.finish(c.aggregate(done, epoch, config=FORCED if seed % 2 else None))
            done = epoch + 1
            check(shard)
        if rng.random() < 0.05:
            work = c.aggregate(done, epoch)
            work.step()
            work.close()  # as if the power failed in between
            check(shard)
            await shard.reopen()
            c = shard.container()
            epoch = max(epoch, c.modification_bound)
    for at, seen in snapshots.items():
        assert await read(shard, c, 0, 60_000, epoch=at) == seen
    await shard.finish(c.aggregate(0, epoch))
    assert await read(shard, c, 0, 60_000, epoch=epoch) == plain
    check(shard)
    shard.pool.destroy_container(c.uuid)
    while shard.pool.gc_step(99):
        pass
    assert shard.meta.space.blocks_allocated == 0
    assert shard.meta.statistics().tree_entries == 1

"""Recovery of the log: what counts, where it ends, and what is damage."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError, NotSupportedError
from daos.bio import replay as replay_module
from daos.bio.checkpoint import InlineCopy
from daos.bio.device import BLOCK
from daos.bio.layout import (
    GROUP_HEADER_SIZE,
    DataRun,
    GroupHeader,
    Superblock,
    checksum_of,
    emit_record,
)
from daos.bio.meta import MetaConfig, MetaContext
from daos.bio.space import Extent
from daos.testing.devices import Image, MemoryDevice

SHARD = UUID(int=9)
RING = 24
# No checkpoint but those that a test asks for.
CONFIG = MetaConfig(wal_bytes=RING * BLOCK, checkpoint_percent=75, start_copy=InlineCopy)
SIZE = 128 * BLOCK

Story = Callable[["Shard"], Awaitable[None]]


class Shard:
    """A device and the context on it, closed and opened at will."""

    def __init__(self, live: Path) -> None:
        self.device = MemoryDevice(SIZE)
        self.live = live
        self.meta: MetaContext

    @property
    def image(self) -> Image:
        return self.device.image

    async def format(self) -> None:
        await MetaContext.format(self.device, uuid=SHARD, config=CONFIG)

    async def open(self, image: Image | None = None) -> MetaContext:
        if image is not None:
            self.device = MemoryDevice(SIZE, image=image)
        self.meta = await MetaContext.open(self.device, config=CONFIG, live_path=self.live)
        return self.meta

    async def put(self, key: bytes, *, data: bytes = b"", value: bytes = b"v") -> Extent | None:
        """One transaction, durable on return."""
        tx, extent = self.meta.begin(), None
        tx.put(key, value)
        if data:
            extent = self.meta.space.reserve(len(data) // BLOCK)
            tx.write(extent, [memoryview(data)], checksum_of([memoryview(data)]))
        await self.meta.durable(tx.commit())
        return extent

    def listed(self) -> list[bytes]:
        return [bytes(key) for key, _ in self.meta.cursor()]

    async def stop(self, *, checkpoint: bool = False) -> None:
        await self.meta.close(checkpoint=checkpoint)

    def superblocks(self) -> list[Superblock]:
        """By slot."""
        return [Superblock.parse(self.image.read(slot * BLOCK, BLOCK)) for slot in (0, 1)]

    def write_superblock(self, superblock: Superblock, slot: int | None = None) -> None:
        at = superblock.slot if slot is None else slot
        self.image.write(at * BLOCK, superblock.emit())

    def write_group(
        self, block: int, records: Sequence[bytes], *, count: int | None = None, **fields: int
    ) -> None:
        payload = b"".join(records)
        header = GroupHeader(
            uuid=SHARD,
            generation=fields.pop("generation", 2),
            lsn=fields["lsn"],
            durable_lsn=fields["lsn"] - 1,
            epoch=0,
            block=block,
            payload_size=len(payload),
            record_count=len(records) if count is None else count,
            payload_sum=xxh3(payload),
        )
        self.image.write((2 + block) * BLOCK, header.emit() + payload)


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Story], None]:
    def run(story: Story) -> None:
        async def main() -> None:
            shard = Shard(tmp_path / "live")
            await shard.format()
            await shard.open()
            await story(shard)

        asyncio.run(main())

    return run


Play = Callable[[Story], None]


@pytest.mark.parametrize("offset", [0, 40, 70, 85, GROUP_HEADER_SIZE + 6])
@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_damaged_group_before_a_good_one(play: Play, victim: int, offset: int) -> None:
    async def story(shard: Shard) -> None:
        for i in range(4):
            await shard.put(b"k%d" % i)
        await shard.stop()
        before = shard.image.copy()
        shard.image.flip((2 + victim) * BLOCK + offset)
        damaged = shard.image.copy()
        with pytest.raises(CorruptError, match=f"log group {victim + 1} "):
            await shard.open()
        assert shard.image == damaged, "a refused open changes nothing"
        await shard.open(before)
        assert shard.listed() == [b"k0", b"k1", b"k2", b"k3"]
        await shard.stop()

    play(story)


def test_the_last_group_torn_or_damaged_ends_the_log(play: Play) -> None:
    async def story(shard: Shard) -> None:
        await shard.put(b"a")
        await shard.put(b"b")
        await shard.stop()
        shard.image.flip(3 * BLOCK + GROUP_HEADER_SIZE)
        await shard.open()
        assert shard.listed() == [b"a"]
        assert (shard.meta.durable_lsn, shard.meta.lsn_next) == (1, 2)
        await shard.put(b"c")
        await shard.stop()
        await shard.open()
        assert shard.listed() == [b"a", b"c"]
        await shard.stop()

    play(story)


def test_what_a_recovery_accepted_is_known_durable_from_then_on(play: Play) -> None:
    async def story(shard: Shard) -> None:
        await shard.put(b"a")
        await shard.stop()
        await shard.open()
        await shard.stop()
        shard.image.flip(2 * BLOCK + GROUP_HEADER_SIZE)
        with pytest.raises(CorruptError, match="log group 1 "):
            await shard.open()

    play(story)


def test_damage_after_a_clean_stop_is_found(play: Play) -> None:
    async def story(shard: Shard) -> None:
        await shard.put(b"a", data=bytes(2 * BLOCK))
        await shard.stop(checkpoint=True)
        newest = max(shard.superblocks(), key=lambda superblock: superblock.generation)
        assert newest.clean
        shard.image.flip(2 * BLOCK + GROUP_HEADER_SIZE)  # nobody needs the log any more
        await shard.open()
        assert shard.listed() == [b"a"]
        await shard.stop()
        assert not max(shard.superblocks(), key=lambda s: s.generation).clean

    play(story)


def test_data_of_the_last_group_is_verified_and_only_of_the_last(play: Play) -> None:
    async def story(shard: Shard) -> None:
        first = await shard.put(b"a", data=b"a" * BLOCK)
        last = await shard.put(b"b", data=b"b" * 9 * BLOCK)
        assert first is not None
        assert last is not None
        await shard.stop()
        torn = shard.image.copy()
        torn.flip(sum(last) * BLOCK - 1)
        torn.flip(first.block * BLOCK)  # an older group's data may be anything by now
        await shard.open(torn)
        assert shard.listed() == [b"a"]
        assert shard.meta.space.snapshot() == [first]
        shard.meta.space.check()
        await shard.stop()

    play(story)


@pytest.mark.parametrize("wiped", [True, False])
def test_debris_of_a_torn_group_stays_dead(
    play: Play, wiped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data of the torn group come to the medium after all, written by the client's retry."""

    async def story(shard: Shard) -> None:
        await shard.put(b"a")
        before = shard.image.copy()
        extent = await shard.put(b"old", data=b"d" * BLOCK)
        assert extent is not None
        await shard.stop()
        shard.image.write(extent.block * BLOCK, bytes(BLOCK))  # log landed, data did not
        await shard.open()
        assert shard.listed() == [b"a"]
        opened = shard.image.copy()
        assert await shard.put(b"new", data=b"d" * BLOCK) == extent
        await shard.stop()
        opened.write(extent.block * BLOCK, b"d" * BLOCK)  # data landed, log did not
        await shard.open(opened)
        assert shard.listed() == ([b"a"] if wiped else [b"a", b"old"])
        await shard.stop()
        assert before.read(3 * BLOCK, 4) == bytes(4)

    if not wiped:  # the mutant: without the wipe, the debris comes to life
        monkeypatch.setattr(replay_module, "_starts", lambda ring: iter(()))
    play(story)


def test_debris_at_the_start_of_the_ring_is_wiped_too(play: Play) -> None:
    async def story(shard: Shard) -> None:
        for i in range(RING - 3):
            await shard.put(b"k%02d" % i)
        await shard.meta.checkpoint()
        await shard.put(b"x")
        # Does not fit into the last two blocks, so it starts over; its data do not land.
        extent = await shard.put(b"debris", data=b"d" * BLOCK, value=bytes(2 * BLOCK))
        assert extent is not None
        assert shard.meta._wal.head == RING + 3
        await shard.stop()
        shard.image.write(extent.block * BLOCK, bytes(BLOCK))
        await shard.open()
        assert b"debris" not in shard.listed()
        assert shard.image.read(2 * BLOCK, 4) == bytes(4)
        await shard.put(b"y", data=b"d" * BLOCK)  # fits where the ring ends
        await shard.stop()
        # Were the debris still there, damage to this group would bring it to life.
        shard.image.flip((2 + RING - 2) * BLOCK + 100)
        await shard.open()
        assert shard.listed()[-1] == b"x"
        assert b"y" not in shard.listed()
        assert b"debris" not in shard.listed()
        await shard.stop()

    play(story)


@pytest.mark.parametrize("victim", ["before the end", "wrapped"])
def test_damage_around_the_end_of_the_ring(play: Play, victim: str) -> None:
    async def story(shard: Shard) -> None:
        for i in range(RING - 3):
            await shard.put(b"k%02d" % i)
        await shard.meta.checkpoint()
        await shard.put(b"x")
        await shard.put(b"wrapped", value=bytes(2 * BLOCK))
        await shard.put(b"after")
        await shard.stop()
        good = shard.image.copy()
        block = 2 + RING - 3 if victim == "before the end" else 2
        shard.image.flip(block * BLOCK + 100)
        with pytest.raises(CorruptError, match="log group"):
            await shard.open()
        await shard.open(good)
        assert {b"after", b"wrapped", b"x"} < set(shard.listed())
        await shard.stop()

    play(story)


def test_a_later_group_that_starts_over_is_found_from_far_away(play: Play) -> None:
    """The bad group is small and well before the end; the next was too large for what is left."""

    async def story(shard: Shard) -> None:
        for i in range(RING - 9):
            await shard.put(b"k%02d" % i)
        await shard.meta.checkpoint()
        await shard.put(b"bad", value=bytes(BLOCK))
        await shard.put(b"large", value=bytes(8 * BLOCK - 200))
        assert shard.meta._wal.head == RING + 8
        await shard.stop()
        shard.image.flip((2 + RING - 9) * BLOCK + 5)
        with pytest.raises(CorruptError, match="log group"):
            await shard.open()

    play(story)


def test_many_laps_and_reopens(play: Play) -> None:
    async def story(shard: Shard) -> None:
        expected: dict[bytes, bytes] = {}
        for i in range(150):
            key, value = b"key%d" % (i % 7), bytes([i]) * (1 + i * 37 % (3 * BLOCK))
            await shard.put(key, value=value)
            expected[key] = value
            if i % 11 == 0:
                await shard.stop(checkpoint=i % 2 == 0)
                await shard.open()
                assert dict(shard.meta.cursor()) == expected
            if not shard.meta.log_has_room:
                await shard.meta.checkpoint()
        assert shard.meta.durable_lsn == 150
        await shard.stop()

    play(story)


# Superblocks


@pytest.mark.parametrize("age", ["newer", "older"])
def test_one_damaged_slot_of_a_quiet_shard(play: Play, age: str) -> None:
    async def story(shard: Shard) -> None:
        await shard.put(b"a", data=b"a" * BLOCK)
        await shard.meta.checkpoint()
        await shard.stop(checkpoint=True)
        newest = max(shard.superblocks(), key=lambda superblock: superblock.generation)
        shard.image.flip((newest.slot if age == "newer" else 1 - newest.slot) * BLOCK + 90)
        await shard.open()
        assert shard.listed() == [b"a"]
        await shard.put(b"b")
        await shard.stop()
        assert len(shard.superblocks()) == 2

    play(story)


def test_a_damaged_slot_that_the_log_knows_of_is_not_passed_over(play: Play) -> None:
    async def story(shard: Shard) -> None:
        await shard.put(b"a")
        await shard.meta.checkpoint()
        await shard.put(b"b")
        await shard.stop()
        newest = max(shard.superblocks(), key=lambda superblock: superblock.generation)
        good = shard.image.copy()
        shard.image.flip(newest.slot * BLOCK + 90)
        with pytest.raises(CorruptError, match=f"superblock slot {newest.slot} "):
            await shard.open()
        good.flip((1 - newest.slot) * BLOCK + 90)
        await shard.open(good)
        assert shard.listed() == [b"a", b"b"]
        await shard.stop()

    play(story)


def test_a_lost_superblock_write_is_noticed(play: Play) -> None:
    async def story(shard: Shard) -> None:
        await shard.put(b"a")
        slots = shard.image.read(0, 2 * BLOCK)
        await shard.meta.checkpoint()
        await shard.put(b"b")
        await shard.stop()
        shard.image.write(0, slots)
        with pytest.raises(CorruptError):
            await shard.open()

    play(story)


def test_the_log_may_not_be_newer_than_the_superblock(play: Play) -> None:
    async def story(shard: Shard) -> None:
        await shard.stop()
        shard.write_group(0, [emit_record([(b"k", b"v")], [], [])], lsn=1, generation=99)
        with pytest.raises(CorruptError, match="superblock is older than the log"):
            await shard.open()

    play(story)


def test_both_slots_damaged_and_never_formatted(play: Play) -> None:
    async def story(shard: Shard) -> None:
        await shard.stop()
        for slot in (0, 1):
            shard.image.flip(slot * BLOCK + 30)
        with pytest.raises(CorruptError, match="superblock checksum"):
            await shard.open()
        with pytest.raises(CorruptError, match="superblock magic"):
            await shard.open(Image(SIZE))

    play(story)


def test_a_misplaced_superblock(play: Play) -> None:
    async def story(shard: Shard) -> None:
        await shard.stop()
        old, new = sorted(shard.superblocks(), key=lambda superblock: superblock.generation)
        shard.write_superblock(old, new.slot)
        shard.write_superblock(new, old.slot)
        with pytest.raises(CorruptError, match="superblock slot at byte 32"):
            await shard.open()

    play(story)


def test_a_newer_program_is_never_passed_over(play: Play) -> None:
    async def story(shard: Shard) -> None:
        await shard.stop()
        newest = max(shard.superblocks(), key=lambda superblock: superblock.generation)
        stored = bytearray(newest.emit())
        stored[8] = 2
        stored[-8:] = xxh3(bytes(stored[:-8])).to_bytes(8, "little")
        shard.image.write(newest.slot * BLOCK, bytes(stored))
        with pytest.raises(NotSupportedError, match="version 2"):
            await shard.open()

    play(story)


def test_a_device_that_shrank(play: Play) -> None:
    async def story(shard: Shard) -> None:
        await shard.stop()
        newest = max(shard.superblocks(), key=lambda superblock: superblock.generation)
        shard.write_superblock(replace(newest, size_bytes=SIZE + BLOCK))
        with pytest.raises(CorruptError, match="superblock size_bytes"):
            await shard.open()

    play(story)


def test_groups_of_an_earlier_life_do_not_count(play: Play) -> None:
    async def story(shard: Shard) -> None:
        for i in range(5):
            await shard.put(b"old%d" % i)
        await shard.stop()
        await shard.format()
        await shard.open()
        assert shard.listed() == []
        await shard.put(b"new")
        await shard.stop()
        await shard.open()
        assert shard.listed() == [b"new"]
        await shard.stop()

    play(story)


# Groups whose checksums are right and whose content is not: a program with a bug wrote them.


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (b"\1\0\0\0\x09", "log operation at byte 4"),
        (emit_record([], [], [Extent(60, 1)]), "log record against the space map"),
        (emit_record([], [DataRun(Extent(1, 1), 0)], []), "log data extent"),
        (emit_record([], [DataRun(Extent(127, 2), 0)], []), "log data extent"),
    ],
)
def test_records_that_make_no_sense(play: Play, record: bytes, text: str) -> None:
    async def story(shard: Shard) -> None:
        await shard.stop()
        shard.write_group(0, [record], lsn=1)
        with pytest.raises(CorruptError, match=text):
            await shard.open()

    play(story)


def test_a_record_may_not_take_blocks_of_the_checkpoint(play: Play) -> None:
    async def story(shard: Shard) -> None:
        await shard.put(b"a")
        await shard.meta.checkpoint()
        await shard.stop()
        newest = max(shard.superblocks(), key=lambda superblock: superblock.generation)
        block = newest.manifest.block
        checksum = xxh3(shard.image.read(block * BLOCK, BLOCK))
        record = emit_record([], [DataRun(Extent(block, 1), checksum)], [])
        shard.write_group(newest.replay_block, [record], lsn=2, generation=newest.generation)
        with pytest.raises(CorruptError, match="checkpoint extents"):
            await shard.open()

    play(story)


def test_a_payload_that_claims_more_records(play: Play) -> None:
    async def story(shard: Shard) -> None:
        await shard.stop()
        shard.write_group(0, [emit_record([(b"k", b"v")], [], [])], lsn=1, count=5)
        with pytest.raises(CorruptError, match="log record count"):
            await shard.open()

    play(story)


def test_headers_of_others_are_not_groups_of_this_log(play: Play) -> None:
    """Right checksum, but another shard's, or copied to another block: debris, not damage."""

    async def story(shard: Shard) -> None:
        await shard.put(b"a")
        await shard.stop()
        stored = shard.image.read(2 * BLOCK, BLOCK)
        other = replace(GroupHeader.parse(stored), uuid=UUID(int=1), lsn=7, durable_lsn=6, block=3)
        shard.image.write(5 * BLOCK, other.emit())
        moved = replace(GroupHeader.parse(stored), lsn=7, durable_lsn=6)
        shard.image.write(6 * BLOCK, moved.emit())
        torn = bytearray(moved.emit())
        torn[50] ^= 1
        shard.image.write(7 * BLOCK, bytes(torn))
        await shard.open()
        assert shard.listed() == [b"a"]
        await shard.stop()

    play(story)


def test_a_group_larger_than_any_is_not_read(play: Play) -> None:
    async def story(shard: Shard) -> None:
        await shard.stop()
        record = emit_record([(b"k", bytes(9 * BLOCK))], [], [])
        shard.write_group(0, [record], lsn=1)
        await shard.open()
        assert shard.listed() == []
        await shard.stop()

    play(story)

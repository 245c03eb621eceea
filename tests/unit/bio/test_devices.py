"""The fakes themselves: images, faults as planned, and everything a power cut may leave."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from daos.base.errors import InvalidError, NoSpaceError, NvmeIoError
from daos.bio.device import BLOCK, Write, read, write
from daos.testing.devices import FaultPlan, FaultyDevice, Image, Left, MemoryDevice, MemoryDirectory
from daos.testing.kits.block_device import Outcomes, blocks, content, pattern
from daos.testing.recording import (
    SECTOR,
    CreateEvent,
    DestroyEvent,
    FlushEvent,
    RecordingDirectory,
    WriteEvent,
)

MIB = 1 << 20


# Images.


def test_an_image_is_an_array_of_bytes() -> None:
    rng = random.Random(1)
    image, model = Image(16 * BLOCK), bytearray(16 * BLOCK)
    for _ in range(300):
        lo = rng.randrange(len(model))
        hi = rng.randint(lo, min(len(model), lo + rng.choice((10, 5000, 30_000))))
        data = rng.randbytes(hi - lo)
        image.write(lo, data)
        model[lo:hi] = data
        lo, hi = sorted(rng.sample(range(len(model) + 1), 2))
        assert image.read(lo, hi - lo) == model[lo:hi]
    assert bytes(image) == model
    assert Image.of(model) == image
    assert image.copy() == image


def test_copies_of_an_image_are_independent() -> None:
    image = Image(4 * BLOCK)
    image.write(0, b"old")
    copy = image.copy()
    copy.write(0, b"new")
    image.write(BLOCK, b"more")
    assert image.read(0, 3) == b"old"
    assert copy.read(0, 3) == b"new"
    assert copy.read(BLOCK, 4) == bytes(4)
    assert copy != image
    assert image != "image"


def test_a_large_image_costs_what_was_written() -> None:
    image = Image(1 << 40)
    image.write((1 << 40) - 10, b"0123456789")
    assert len(image.blocks) == 1
    assert image.read((1 << 40) - 11, 11) == b"\0" + b"0123456789"
    zeros = Image(1 << 40)
    zeros.write(0, bytes(BLOCK))
    assert zeros == Image(1 << 40)


def test_flipping_bits() -> None:
    image = Image(BLOCK)
    image.flip(100, bit=3)
    assert image.read(99, 3) == b"\0\x08\0"
    image.flip(100, bit=3)
    assert image == Image(BLOCK)


def test_bad_images() -> None:
    for size in (0, -BLOCK, BLOCK + 1):
        with pytest.raises(InvalidError):
            Image(size)
    image = Image(BLOCK)
    for offset, nbytes in ((-1, 1), (BLOCK, 1), (0, BLOCK + 1), (0, -1)):
        with pytest.raises(InvalidError):
            image.read(offset, nbytes)
    with pytest.raises(InvalidError):
        image.write(BLOCK - 1, b"ab")
    with pytest.raises(InvalidError):
        MemoryDevice(2 * BLOCK, image=image)


# Memory.


def test_buffers_are_taken_at_completion_not_before() -> None:
    """So a caller who reuses a buffer too early is found out."""

    async def main() -> None:
        device = MemoryDevice(MIB)
        outcomes = Outcomes()
        buffer = bytearray(b"a" * BLOCK)
        device.submit_write([Write(0, [memoryview(buffer)])], flush=True, done=outcomes.done(1))
        buffer[:] = b"b" * BLOCK
        await outcomes.wait(1)
        assert await content(device, 0) == b"b" * BLOCK
        await device.close()

    asyncio.run(main())


def test_order_holds_whatever_the_loop_runs_first() -> None:
    """A simulated loop shuffles its ready callbacks; the device's promises stand above that."""

    class Shuffled:
        def __init__(self) -> None:
            self.ready: list[Callable[[], None]] = []

        def call_soon(self, callback: Callable[[], None]) -> None:
            self.ready.append(callback)

    shuffled = Shuffled()
    device = MemoryDevice(MIB)
    outcomes = Outcomes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", lambda: shuffled)
        for n in range(10):
            device.submit_write([Write(0, blocks(pattern(n)))], flush=True, done=outcomes.done(n))
        random.Random(1).shuffle(shuffled.ready)
        for callback in shuffled.ready:
            callback()
    assert outcomes.labels == list(range(10))
    assert device.image.read(0, BLOCK) == pattern(9)


def test_a_directory_reopens_from_images() -> None:
    async def main() -> None:
        image = Image(MIB)
        image.write(0, pattern(1))
        directory = MemoryDirectory({"one": image})
        assert directory.names() == ["one"]
        device = await directory.open("one")
        assert await content(device, 0) == pattern(1)
        await write(device, [Write(0, blocks(pattern(2)))], flush=True)
        await directory.close()
        assert directory.images["one"].read(0, BLOCK) == pattern(2)

    asyncio.run(main())


# Faults.


def test_faults_hit_the_call_they_name() -> None:
    async def main() -> None:
        for number in (1, 2, 5):
            for plan, error in (
                (FaultPlan(fail_write=number), NvmeIoError),
                (FaultPlan(full_write=number), NoSpaceError),
            ):
                device = FaultyDevice(MemoryDevice(MIB), random.Random(0), plan)
                for n in range(1, number):
                    await write(device, [], flush=True)
                    await write(device, [Write(n * BLOCK, blocks(pattern(n)))], flush=True)
                with pytest.raises(error):
                    await write(device, [Write(0, blocks(pattern(0)))], flush=True)
                with pytest.raises(NvmeIoError, match="poisoned"):
                    await write(device, [Write(0, blocks(pattern(0)))], flush=True)
                assert await content(device, 0) == bytes(BLOCK)
                assert device.statistics().poisoned
                await device.close()

    asyncio.run(main())


def test_a_failed_flush_leaves_its_writes() -> None:
    async def main() -> None:
        inner = MemoryDevice(MIB)
        device = FaultyDevice(inner, random.Random(0), FaultPlan(fail_flush=2))
        await write(device, [], flush=True)
        await write(device, [Write(0, blocks(pattern(1)))], flush=False)
        with pytest.raises(NvmeIoError, match="flush failed"):
            await write(device, [Write(BLOCK, blocks(pattern(2)))], flush=True)
        assert await content(device, BLOCK) == pattern(2)
        assert inner.statistics().flushes == 1
        await device.close()

    asyncio.run(main())


@pytest.mark.parametrize("left", list(Left))
def test_what_a_failing_write_leaves(left: Left) -> None:
    data = pattern(1, 8 * BLOCK)
    seen = set()

    async def main(seed: int) -> None:
        plan = FaultPlan(fail_write=1, left=left)
        inner = MemoryDevice(MIB)
        device = FaultyDevice(inner, random.Random(seed), plan)
        with pytest.raises(NvmeIoError):
            await write(device, [Write(BLOCK, blocks(data))], flush=True)
        found = inner.image.read(BLOCK, len(data))
        kept = []
        for lo in range(0, len(data), BLOCK):
            piece = found[lo : lo + BLOCK]
            assert piece in (bytes(BLOCK), data[lo : lo + BLOCK])
            kept.append(piece != bytes(BLOCK))
        seen.add(tuple(kept))
        await device.close()

    for seed in range(60):
        asyncio.run(main(seed))
    nothing = (False,) * 8
    match left:
        case Left.NOTHING:
            assert seen == {nothing}
        case Left.SHORT:
            assert seen == {tuple(n < length for n in range(8)) for length in range(8)}
        case Left.TORN:
            assert len(seen) > 40
            assert any(list(kept) != sorted(kept, reverse=True) for kept in seen)


@pytest.mark.parametrize("cached", [True, False])
def test_faults_of_reads(cached: bool) -> None:
    async def main() -> None:
        inner = MemoryDevice(MIB)
        inner.cached = cached
        plan = FaultPlan(fail_reads=frozenset({2}), flip_reads=frozenset({3}))
        device = FaultyDevice(inner, random.Random(0), plan)
        await write(device, [Write(0, blocks(pattern(1)))], flush=True)
        assert await content(device, 0) == pattern(1)
        with pytest.raises(NvmeIoError, match="read of 0 failed"):
            await content(device, 0)
        flipped = await content(device, 0)
        difference = int.from_bytes(flipped, "big") ^ int.from_bytes(pattern(1), "big")
        assert difference.bit_count() == 1
        assert await content(device, 0) == pattern(1)
        assert not device.statistics().poisoned
        await device.close()

    asyncio.run(main())


def test_a_failing_submission_keeps_its_place() -> None:
    async def main() -> None:
        device = FaultyDevice(MemoryDevice(MIB), random.Random(0), FaultPlan(fail_write=2))
        outcomes = Outcomes()
        for n in range(4):
            writes = [Write(n * BLOCK, blocks(pattern(n)))]
            device.submit_write(writes, flush=True, done=outcomes.done(n))
        await outcomes.wait(4)
        assert outcomes.labels == [0, 1, 2, 3]
        assert [error is None for _, error in outcomes.told] == [True, False, False, False]
        await device.close()

    asyncio.run(main())


# Power cuts.


def test_the_journal_is_what_happened_on_all_devices() -> None:
    async def main() -> None:
        directory = RecordingDirectory()
        one = await directory.create("one", MIB)
        two = await directory.create("two", 2 * MIB)
        writes = [Write(BLOCK, blocks(pattern(2))), Write(0, blocks(pattern(1)))]
        await write(one, [*writes, Write(8 * BLOCK, blocks(pattern(3)))], flush=True)
        await write(two, [Write(0, blocks(pattern(4)))], flush=False)
        await one.close()
        await directory.destroy("one")
        assert directory.journal.events == [
            CreateEvent("one", MIB),
            CreateEvent("two", 2 * MIB),
            WriteEvent("one", 0, pattern(1) + pattern(2)),
            WriteEvent("one", 8 * BLOCK, pattern(3)),
            FlushEvent("one"),
            WriteEvent("two", 0, pattern(4)),
            DestroyEvent("one"),
        ]
        await directory.close()

    asyncio.run(main())


def test_an_event_is_recorded_before_its_caller_is_told() -> None:
    async def main() -> None:
        directory = RecordingDirectory()
        device = await directory.create("one", MIB)
        outcomes: list[int] = []
        device.submit_write(
            [Write(0, blocks(pattern(1)))],
            flush=True,
            done=lambda _: outcomes.append(len(directory.journal)),
        )
        assert len(directory.journal) == 1
        await write(device, [], flush=False)
        assert outcomes == [3]
        await directory.close()

    asyncio.run(main())


async def recorded() -> RecordingDirectory:
    """Events: 1 create, 2 and 3 flushed writes, 4 flush, 5 to 7 writes in doubt."""
    directory = RecordingDirectory()
    device = await directory.create("one", MIB)
    await write(device, [Write(0, blocks(b"a" * BLOCK))], flush=False)
    await write(device, [Write(BLOCK, blocks(b"b" * BLOCK))], flush=True)
    await write(device, [Write(0, blocks(b"c" * BLOCK))], flush=False)
    await write(device, [Write(2 * BLOCK, blocks(b"d" * BLOCK))], flush=False)
    await write(device, [Write(0, blocks(b"e" * BLOCK))], flush=False)
    await directory.close()
    return directory


def heads(image: Image) -> bytes:
    """The first byte of each of the first three blocks, which must be whole."""
    found = [image.read(n * BLOCK, BLOCK) for n in range(3)]
    assert all(len(set(block)) == 1 for block in found)
    return bytes(block[0] for block in found)


def test_cuts_that_keep_all_or_nothing() -> None:
    journal = asyncio.run(recorded()).journal
    assert len(journal) == 7
    none = [journal.image(cut, keep="none") for cut in range(8)]
    every = [journal.image(cut, keep="all") for cut in range(8)]
    assert none[0] == every[0] == {}
    expected = [b"\0\0\0", b"\0\0\0", b"\0\0\0", b"ab\0", b"ab\0", b"ab\0", b"ab\0"]
    assert [heads(images["one"]) for images in none[1:]] == expected
    expected = [b"\0\0\0", b"a\0\0", b"ab\0", b"ab\0", b"cb\0", b"cbd", b"ebd"]
    assert [heads(images["one"]) for images in every[1:]] == expected
    # Backwards too, and what a caller does to an image stays with him.
    every[4]["one"].write(0, b"damage")
    assert heads(journal.image(4, keep="all")["one"]) == b"ab\0"
    assert heads(journal.image(3, keep="none")["one"]) == b"\0\0\0"


def test_cuts_reach_every_subset() -> None:
    journal = asyncio.run(recorded()).journal
    seen = set()
    for seed in range(300):
        image = journal.image(7, random.Random(seed), torn=False)["one"]
        assert image.read(BLOCK, BLOCK) == b"b" * BLOCK, "flushed"
        seen.add(heads(image))
    # Block 0 is old, or any of the two versions in doubt; block 2 is there or not.
    assert seen == {bytes((zero, ord("b"), two)) for zero in b"ace" for two in b"\0d"}


def test_what_was_overwritten_and_flushed_never_returns() -> None:
    async def main() -> None:
        directory = RecordingDirectory()
        device = await directory.create("one", MIB)
        for fill in (b"a", b"b"):
            await write(device, [Write(0, blocks(fill * BLOCK))], flush=False)
        await write(device, [], flush=True)
        await write(device, [Write(BLOCK, blocks(b"c" * BLOCK))], flush=False)
        await directory.close()
        for seed in range(50):
            for cut in (4, 5):
                image = directory.journal.image(cut, random.Random(seed))["one"]
                assert image.read(0, BLOCK) == b"b" * BLOCK

    asyncio.run(main())


def test_torn_blocks_change_at_sectors() -> None:
    journal = asyncio.run(recorded()).journal
    mixed = 0
    for seed in range(100):
        image = journal.image(7, random.Random(seed))["one"]
        assert image.read(BLOCK, BLOCK) == b"b" * BLOCK
        for block, allowed in ((0, b"ace"), (2, b"\0d")):
            data = image.read(block * BLOCK, BLOCK)
            sectors = [set(data[lo : lo + SECTOR]) for lo in range(0, BLOCK, SECTOR)]
            assert all(len(sector) == 1 and sector <= set(allowed) for sector in sectors)
            mixed += len(set(data)) > 1
    assert mixed > 20


def test_a_cut_is_repeated_by_its_seed() -> None:
    journal = asyncio.run(recorded()).journal
    assert journal.image(7, random.Random(5)) == journal.image(7, random.Random(5))


def test_devices_that_were_there_before_and_that_went_away() -> None:
    async def main() -> None:
        image = Image(MIB)
        image.write(0, pattern(1))
        directory = RecordingDirectory({"old": image})
        old = await directory.open("old")
        await write(old, [Write(0, blocks(pattern(2)))], flush=False)
        await write(old, [], flush=True)
        await old.close()
        await directory.destroy("old")
        new = await directory.create("old", 2 * MIB)
        await write(new, [Write(BLOCK, blocks(pattern(3)))], flush=True)
        await directory.close()
        journal = directory.journal
        assert len(journal) == 6
        assert journal.image(0, keep="all")["old"].read(0, BLOCK) == pattern(1)
        assert journal.image(1, keep="none")["old"].read(0, BLOCK) == pattern(1)
        assert journal.image(2, keep="none")["old"].read(0, BLOCK) == pattern(2)
        assert journal.image(3, keep="all") == {}
        again = journal.image(6, keep="none")["old"]
        assert again.size_bytes == 2 * MIB
        assert again.read(0, BLOCK) == bytes(BLOCK)
        assert again.read(BLOCK, BLOCK) == pattern(3)

    asyncio.run(main())


def test_a_second_life_from_a_cut() -> None:
    """What a cut left is the base of the next recording."""

    async def main() -> None:
        first = await recorded()
        images = first.journal.image(7, keep="none")
        second = RecordingDirectory(images)
        device = await second.open("one")
        into = memoryview(bytearray(BLOCK))
        await read(device, 0, into)
        assert bytes(into) == b"a" * BLOCK
        await write(device, [Write(0, blocks(b"z" * BLOCK))], flush=True)
        await second.close()
        assert heads(second.journal.image(0, keep="all")["one"]) == b"ab\0"
        assert heads(second.journal.image(2, keep="none")["one"]) == b"zb\0"

    asyncio.run(main())

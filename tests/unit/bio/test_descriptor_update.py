"""The way in: where payload lands, what is checked, and that memory comes back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from daos.base.checksum import ChecksumType, compute_chunks, xxh3
from daos.base.errors import (
    DER,
    AgainError,
    ChecksumError,
    DaosError,
    InvalidError,
)
from daos.bio.descriptor import State, UpdateDescriptor
from daos.bio.device import BLOCK
from daos.bio.memory import AlignedPool, Buffer
from daos.bio.one_value import OneValue
from daos.bio.space import Extent
from daos.testing.devices import MemoryDevice

KIB = 1 << 10
MIB = 1 << 20
SIZE = 8 * MIB
TYPES = [kind for kind in ChecksumType if kind is not ChecksumType.OFF]


class Sink:
    """A transaction as far as payload goes."""

    def __init__(self) -> None:
        self.writes: list[tuple[Extent, bytes, int]] = []

    def write(self, extent: Extent, buffers: Sequence[memoryview], checksum: int) -> None:
        self.writes.append((extent, b"".join(buffers), checksum))

    def wrote(self, extent: Extent, checksum: int) -> None:
        self.writes.append((extent, b"", checksum))


def test_an_update_lands_in_place_and_is_posted_padded() -> None:
    pool = AlignedPool(MIB)
    stale = pool.acquire(4 * BLOCK)
    assert stale is not None
    stale.view[:] = b"\xff" * (4 * BLOCK)
    stale.release()

    update = UpdateDescriptor(pool)
    sizes = [10, BLOCK + 1, 0, 2 * BLOCK]
    extents = [None, Extent(7, 2), None, Extent(40, 2)]
    destinations = update.prepare(sizes, extents)
    assert [len(view) for view in destinations] == sizes
    assert update.state is State.PREPARED
    values = [random.Random(n).randbytes(size) for n, size in enumerate(sizes)]
    for view, value in zip(destinations, values, strict=True):
        view[:] = value
    csums = update.verify(ChecksumType.CRC32, BLOCK)
    assert csums == [
        compute_chunks(ChecksumType.CRC32, value, chunk_nbytes=BLOCK) for value in values
    ]
    assert [len(csum) for csum in csums] == [4, 8, 0, 8]
    sink = Sink()
    update.post(sink)
    padded = values[1] + bytes(BLOCK - 1)
    assert sink.writes == [
        (Extent(7, 2), padded, xxh3(padded)),
        (Extent(40, 2), values[3], xxh3(values[3])),
    ]
    assert (update.copies, update.bytes_copied) == (0, 0)
    assert pool.statistics().buffers_in_use == 1, "the log may still need them"
    update.finish(None)
    assert pool.statistics().buffers_in_use == 0


@pytest.mark.parametrize("nbytes", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK])
def test_one_value_is_prepared_as_it_is_among_others(nbytes: int) -> None:
    pool = AlignedPool(MIB)
    extent = Extent(7, -(-nbytes // BLOCK))
    value = random.Random(nbytes).randbytes(nbytes)
    posted = []
    for one in (False, True):
        stale = pool.acquire(extent.count * BLOCK)
        assert stale is not None
        stale.view[:] = b"\xff" * stale.nbytes
        stale.release()
        update: UpdateDescriptor | OneValue
        if one:
            update = OneValue.prepare(pool, nbytes, extent)
            update.destination[:] = value
            assert len(update.destination) == nbytes
        else:
            update = UpdateDescriptor(pool)
            update.prepare([nbytes], [extent])[0][:] = value
            update.trust()
        sink = Sink()
        update.post(sink)
        posted.append(sink.writes)
        update.finish()
        assert pool.statistics().buffers_in_use == 0
    assert posted[0] == posted[1]


def test_one_value_waits_for_memory_like_others() -> None:
    pool = AlignedPool(BLOCK)
    held = pool.acquire(1)
    assert held is not None
    with pytest.raises(AgainError):
        OneValue.prepare(pool, 5, Extent(1, 1))
    with pytest.raises(AssertionError):
        OneValue.prepare(pool, BLOCK + 1, Extent(1, 1))
    held.release()
    update = OneValue.prepare(pool, 5, Extent(1, 1))
    update.cancel()
    update.cancel()
    assert pool.statistics().buffers_in_use == 0
    with pytest.raises(AssertionError):
        update.post(Sink())


def test_the_memory_of_nvme_values_is_aligned_and_one_piece() -> None:
    pool = AlignedPool(MIB)
    update = UpdateDescriptor(pool)
    extents = [Extent(1, 1), Extent(9, 3)]
    assert update.buffer_nbytes([None, *extents]) == 4 * BLOCK
    update.prepare([100, 3 * BLOCK], extents)
    assert pool.statistics().acquired_total == 1
    update.cancel()


def test_values_already_in_memory_are_copied_and_counted() -> None:
    pool = AlignedPool(MIB)
    update = UpdateDescriptor(pool)
    update.prepare([8, 0, BLOCK], [None, None, Extent(3, 1)])
    numbers = memoryview(bytes(range(8))).cast("H")
    update.fill([numbers, memoryview(b""), memoryview(b"x" * BLOCK)])
    assert [bytes(view) for view in update.destinations] == [bytes(range(8)), b"", b"x" * BLOCK]
    assert (update.copies, update.bytes_copied) == (3, BLOCK + 8)
    update.cancel()


def test_an_update_without_nvme_values_takes_no_aligned_memory() -> None:
    pool = AlignedPool(BLOCK)
    held = pool.acquire(1)
    assert held is not None
    update = UpdateDescriptor(pool)
    update.prepare([100_000], [None])
    assert update.verify(ChecksumType.OFF, 0) == [b""]
    sink = Sink()
    update.post(sink)
    assert sink.writes == []
    update.finish()
    held.release()


@pytest.mark.parametrize("kind", TYPES)
def test_what_the_sender_computed_is_compared(kind: ChecksumType) -> None:
    pool = AlignedPool(MIB)
    value = random.Random(1).randbytes(3 * BLOCK)
    sent = compute_chunks(kind, value, chunk_nbytes=BLOCK)
    for damaged_at in (None, 0, BLOCK, 3 * BLOCK - 1):
        update = UpdateDescriptor(pool)
        update.prepare([4, 3 * BLOCK], [None, Extent(1, 3)])
        update.fill([memoryview(b"good"), memoryview(value)])
        expected = [compute_chunks(kind, b"good", chunk_nbytes=BLOCK), sent]
        if damaged_at is None:
            assert update.verify(kind, BLOCK, expected) == expected
        else:
            update.destinations[1][damaged_at] ^= 1
            where = damaged_at // BLOCK * BLOCK
            with pytest.raises(ChecksumError, match=rf"value 1 .* at byte {where}$"):
                update.verify(kind, BLOCK, expected)
            with pytest.raises(AssertionError):
                update.post(Sink())
        update.cancel()
    assert pool.statistics().buffers_in_use == 0


def test_checksums_of_another_length_are_damage() -> None:
    pool = AlignedPool(MIB)
    update = UpdateDescriptor(pool)
    update.prepare([4], [None])
    with pytest.raises(ChecksumError, match="value 0"):
        update.verify(ChecksumType.CRC32, BLOCK, [b""])
    with pytest.raises(InvalidError):
        update.verify(ChecksumType.CRC32, 0)
    update.cancel()


def test_no_memory_now_and_never() -> None:
    async def main() -> None:
        pool = AlignedPool(64 * KIB)
        held = pool.acquire(64 * KIB)
        assert held is not None
        update = UpdateDescriptor(pool)
        extents = [Extent(1, 2)]
        with pytest.raises(AgainError):
            update.prepare([2 * BLOCK], extents)
        assert update.state is State.NEW
        with pytest.raises(DaosError) as caught:
            update.prepare([MIB], [Extent(1, 256)])
        assert caught.value.code is DER.OVERFLOW
        # Wait, and bring the memory along.
        got: list[Buffer] = []
        pool.when_available(update.buffer_nbytes(extents), got.append)
        held.release()
        await asyncio.sleep(0)
        update.prepare([2 * BLOCK], extents, buffer=got[0])
        update.cancel()
        assert pool.statistics().buffers_in_use == 0

    asyncio.run(main())


def test_an_update_is_cancelled_in_any_state() -> None:
    pool = AlignedPool(MIB)
    for steps in range(5):
        update = UpdateDescriptor(pool)
        if steps >= 1:
            update.prepare([BLOCK], [Extent(1, 1)])
        if steps >= 2:
            update.verify(ChecksumType.XXH3, BLOCK)
        if steps >= 3:
            update.post(Sink())
        if steps >= 4:
            update.finish()
        update.cancel()
        update.cancel()
        assert update.state is (State.DONE if steps == 4 else State.CANCELED)
        assert pool.statistics().buffers_in_use == 0


def test_steps_out_of_order_are_bugs() -> None:
    pool = AlignedPool(MIB)
    update = UpdateDescriptor(pool)
    with pytest.raises(AssertionError):
        update.verify(ChecksumType.OFF, 0)
    with pytest.raises(AssertionError):
        update.fill([])
    update.prepare([1], [None])
    for step in (lambda: update.prepare([1], [None]), lambda: update.post(Sink()), update.finish):
        with pytest.raises(AssertionError):
            step()
    update.verify(ChecksumType.OFF, 0)
    with pytest.raises(AssertionError):
        update.verify(ChecksumType.OFF, 0)
    with pytest.raises(AssertionError):
        UpdateDescriptor(pool).prepare([2 * BLOCK], [Extent(1, 1)])


@pytest.mark.parametrize("ending", ["finish", "cancel"])
@pytest.mark.parametrize("left_first", [True, False])
def test_memory_of_a_value_that_was_sent_ahead_comes_back_when_the_device_let_go_of_it(
    ending: str, *, left_first: bool
) -> None:
    async def run() -> None:
        pool, device, sink = AlignedPool(MIB), MemoryDevice(SIZE), Sink()
        update = OneValue.prepare(pool, BLOCK + 1, Extent(7, 2))
        update.destination[:] = b"x" * (BLOCK + 1)
        update.send(device)
        update.post(sink)
        padded = b"x" * (BLOCK + 1) + bytes(BLOCK - 1)
        assert sink.writes == [(Extent(7, 2), b"", xxh3(padded))]
        if left_first:
            await device.close()
            assert pool.statistics().bytes_in_use
        getattr(update, ending)()
        if not left_first:
            update.cancel()
            assert pool.statistics().bytes_in_use
            await device.close()
        assert not pool.statistics().bytes_in_use
        assert device.image.read(7 * BLOCK, 2 * BLOCK) == padded
        update.cancel()

    asyncio.run(run())

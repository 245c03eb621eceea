"""The way out: what is read, what is checked before it is shown, and that memory comes back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import msgspec
import pytest

from daos.base.checksum import ChecksumType, compute_chunks, xxh3
from daos.base.errors import (
    DER,
    ChecksumError,
    CorruptError,
    DaosError,
    NvmeIoError,
    RecordTooBigError,
    ShutdownError,
)
from daos.bio.descriptor import (
    FetchDescriptor,
    Hole,
    Inline,
    Piece,
    State,
    Stored,
    UpdateDescriptor,
)
from daos.bio.device import BLOCK, round_up
from daos.bio.memory import AlignedPool
from daos.bio.space import Extent
from daos.testing.devices import FaultPlan, FaultyDevice, MemoryDevice
from daos.testing.kits.block_device import Outcomes

KIB = 1 << 10
MIB = 1 << 20
SIZE = 8 * MIB
TYPES = [kind for kind in ChecksumType if kind is not ChecksumType.OFF]


class Bench:
    """A device with values on it, and a pool that must be empty-handed at the end."""

    def __init__(self, *, pool_bytes: int = 4 * MIB) -> None:
        self.device = MemoryDevice(SIZE)
        self.pool = AlignedPool(pool_bytes)
        self.next_block = 1

    def store(
        self,
        data: bytes,
        *,
        csum_type: ChecksumType = ChecksumType.XXH3,
        csum_chunk: int = 32 * KIB,
    ) -> Stored:
        """Put a value on the device, by other means than an UpdateDescriptor."""
        blocks = Extent(self.next_block, round_up(len(data)) // BLOCK)
        self.next_block += blocks.count
        self.device.image.write(blocks.block * BLOCK, data)
        csums = b""
        if csum_type is not ChecksumType.OFF:
            csums = compute_chunks(csum_type, data, chunk_nbytes=csum_chunk)
        return Stored(blocks, len(data), 0, len(data), csum_type, csum_chunk, csums)

    def write(self, extent: Extent, buffers: Sequence[memoryview], checksum: int) -> None:
        """A transaction, as far as payload goes."""
        data = b"".join(buffers)
        assert checksum == xxh3(data)
        self.device.image.write(extent.block * BLOCK, data)

    def fetch(self, pieces: Sequence[Piece]) -> FetchDescriptor:
        fetch = FetchDescriptor(self.device, self.pool)
        fetch.prepare(pieces)
        return fetch

    def check(self) -> None:
        self.pool.check()
        assert self.pool.statistics().buffers_in_use == 0
        assert self.pool.statistics().waiting == 0


async def finished(fetch: FetchDescriptor) -> DaosError | None:
    outcomes = Outcomes()
    fetch.read(outcomes.done("fetch"))
    await outcomes.wait(1)
    assert len(outcomes.told) == 1
    return outcomes.told[0][1]


def part(stored: Stored, offset: int, nbytes: int) -> Stored:
    return msgspec.structs.replace(stored, offset=offset, nbytes=nbytes)


@pytest.mark.parametrize("cached", [True, False])
def test_an_answer_of_all_kinds_of_pieces(cached: bool) -> None:
    async def main() -> None:
        bench = Bench()
        bench.device.cached = cached
        data = random.Random(1).randbytes(100_000)
        stored = bench.store(data)
        pieces: list[Piece] = [
            Inline(b"head"),
            part(stored, 50_000, 7),
            Hole(5),
            Inline(memoryview(b"-tail")[1:]),
            stored,
            Hole(MIB),
        ]
        fetch = bench.fetch(pieces)
        assert await finished(fetch) is None
        assert fetch.state is State.READY
        views = [bytes(view) for view in fetch.views]
        assert views == [b"head", data[50_000:50_007], bytes(5), b"tail", data, bytes(MIB)]
        assert fetch.nbytes == sum(len(view) for view in views)
        assert fetch.copies == 0
        whole = bytearray(fetch.nbytes + 10)
        assert fetch.copy_into([memoryview(whole)]) == fetch.nbytes
        assert bytes(whole) == b"".join(views) + bytes(10)
        assert (fetch.copies, fetch.bytes_copied) == (6, fetch.nbytes)
        fetch.finish()
        assert fetch.views == []
        bench.check()

    asyncio.run(main())


def test_what_is_at_hand_needs_no_turn_of_the_loop() -> None:
    async def main() -> None:
        bench = Bench()
        stored = bench.store(b"x" * 5000)
        answers: list[list[Piece]] = [[], [Inline(b"a"), Hole(3)], [stored]]
        for pieces in answers:
            outcomes = Outcomes()
            fetch = bench.fetch(pieces)
            fetch.read(outcomes.done("now"))
            assert outcomes.told == [("now", None)]
            fetch.finish()
        bench.check()

    asyncio.run(main())


def test_only_the_chunks_around_the_wanted_bytes_are_read() -> None:
    async def main() -> None:
        bench = Bench()
        data = random.Random(2).randbytes(64 * BLOCK)
        for csum_type, chunk, offset, nbytes, expected in (
            (ChecksumType.OFF, 0, 10 * BLOCK + 5, 1, 1),
            (ChecksumType.OFF, 0, 10 * BLOCK - 1, 2, 2),
            (ChecksumType.CRC32, BLOCK, 10 * BLOCK + 5, 1, 1),
            (ChecksumType.CRC32, 8 * BLOCK, 10 * BLOCK + 5, 1, 8),
            (ChecksumType.CRC32, 8 * BLOCK, 15 * BLOCK, BLOCK + 1, 16),
            (ChecksumType.CRC32, 1000, 2 * BLOCK, 10, 2),  # 8000..9000
            (ChecksumType.CRC32, 1 << 30, 0, 1, 64),
        ):
            stored = bench.store(data, csum_type=csum_type, csum_chunk=chunk)
            fetch = bench.fetch([part(stored, offset, nbytes)])
            assert fetch.buffer_nbytes == expected * BLOCK
            assert await finished(fetch) is None
            assert bytes(fetch.views[0]) == data[offset : offset + nbytes]
            fetch.finish()
        bench.check()

    asyncio.run(main())


def test_neighbours_are_one_read() -> None:
    async def main() -> None:
        bench = Bench()
        values = [random.Random(n).randbytes(BLOCK * (1 + n % 3) - n) for n in range(20)]
        stored = [bench.store(value) for value in values]
        fetch = bench.fetch([*stored, stored[3], stored[4]])
        assert await finished(fetch) is None
        assert bench.device.statistics().reads == 2
        expected = [*values, values[3], values[4]]
        assert [bytes(view) for view in fetch.views] == expected
        fetch.finish()
        bench.check()

    asyncio.run(main())


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("cached", [True, False])
def test_damage_is_named_and_never_shown(kind: ChecksumType, cached: bool) -> None:
    async def main() -> None:
        bench = Bench()
        bench.device.cached = cached
        bench.store(b"first")
        data = random.Random(3).randbytes(5 * BLOCK - 100)
        stored = bench.store(data, csum_type=kind, csum_chunk=BLOCK)
        for damaged in (0, BLOCK - 1, BLOCK, 3 * BLOCK + 7, len(data) - 1):
            at = stored.blocks.block * BLOCK + damaged
            bench.device.image.flip(at, bit=damaged % 8)
            fetch = bench.fetch([Inline(b"good"), stored])
            error = await finished(fetch)
            assert isinstance(error, ChecksumError)
            assert f"[{stored.blocks.block}, +5)" in str(error)
            assert f"at byte {damaged // BLOCK * BLOCK} " in str(error)
            assert fetch.state is State.FAILED
            assert fetch.views == []
            with pytest.raises(AssertionError):
                fetch.copy_into([memoryview(bytearray(100_000))])
            fetch.cancel()
            assert fetch.state is State.FAILED
            # Damage beside what is wanted is not this reader's business.
            other = 2 * BLOCK if damaged // BLOCK != 2 else 0
            fetch = bench.fetch([part(stored, other, 5)])
            assert await finished(fetch) is None
            fetch.finish()
            bench.device.image.flip(at, bit=damaged % 8)
        fetch = bench.fetch([stored])
        assert await finished(fetch) is None
        fetch.finish()
        bench.check()

    asyncio.run(main())


def test_exchanged_values_are_damage() -> None:
    async def main() -> None:
        bench = Bench()
        one, two = bench.store(b"1" * BLOCK), bench.store(b"2" * BLOCK)
        fetch = bench.fetch([msgspec.structs.replace(one, blocks=two.blocks)])
        assert isinstance(await finished(fetch), ChecksumError)
        bench.check()

    asyncio.run(main())


@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": -1},
        {"nbytes": 0},
        {"nbytes": 10_001},
        {"offset": 9_999, "nbytes": 2},
        {"value_nbytes": 3 * BLOCK + 1},
        {"csum_chunk": 0},
        {"csums": b""},
        {"csums": bytes(9)},
        {"csum_chunk": BLOCK},
        {"blocks": Extent(SIZE // BLOCK - 2, 3)},
        {"blocks": Extent(-1, 3)},
    ],
)
def test_a_record_that_contradicts_itself(wrong: dict[str, int]) -> None:
    bench = Bench()
    stored = bench.store(bytes(10_000))
    with pytest.raises(CorruptError):
        bench.fetch([msgspec.structs.replace(stored, **wrong)])
    bench.check()


def test_errors_of_the_device() -> None:
    async def main() -> None:
        bench = Bench()
        values = [bench.store(b"x" * BLOCK) for _ in range(6)]
        pieces = values[::2]  # three reads
        bench.device.cached = False
        faulty = FaultyDevice(bench.device, random.Random(0), FaultPlan(fail_reads=frozenset({2})))
        fetch = FetchDescriptor(faulty, bench.pool)
        fetch.prepare(pieces)
        assert isinstance(await finished(fetch), NvmeIoError)
        bench.check()
        flip = FaultPlan(flip_reads=frozenset({4, 5, 6}))
        faulty.plan = flip
        fetch = FetchDescriptor(faulty, bench.pool)
        fetch.prepare(pieces)
        assert isinstance(await finished(fetch), ChecksumError)
        bench.check()
        await bench.device.close()
        fetch = bench.fetch(pieces)
        assert isinstance(await finished(fetch), ShutdownError)
        bench.check()

    asyncio.run(main())


def test_a_fetch_waits_for_memory() -> None:
    async def main() -> None:
        bench = Bench(pool_bytes=64 * KIB)
        stored = bench.store(b"x" * 40_000)
        held = bench.pool.acquire(1)
        assert held is not None
        outcomes = Outcomes()
        fetch = bench.fetch([stored])
        fetch.read(outcomes.done("read"))
        assert fetch.state is State.READING
        await asyncio.sleep(0)
        assert outcomes.told == []
        held.release()
        await outcomes.wait(1)
        assert outcomes.told == [("read", None)]
        assert bytes(fetch.views[0]) == b"x" * 40_000
        fetch.finish()
        with pytest.raises(DaosError) as caught:
            bench.fetch([stored, stored]).read(outcomes.done("never"))
        assert caught.value.code is DER.OVERFLOW
        bench.check()

    asyncio.run(main())


def test_too_small_destinations_are_left_alone() -> None:
    async def main() -> None:
        bench = Bench()
        fetch = bench.fetch([bench.store(b"x" * 10), Inline(b"yz")])
        assert await finished(fetch) is None
        target = bytearray(11)
        with pytest.raises(RecordTooBigError, match="12 bytes into 11"):
            fetch.copy_into([memoryview(target)])
        assert target == bytes(11)
        parts = [bytearray(n) for n in (0, 3, 0, 6, 3)]
        fetch.copy_into([memoryview(part) for part in parts])
        assert b"".join(parts) == b"x" * 10 + b"yz"
        assert (fetch.copies, fetch.bytes_copied) == (4, 12)
        fetch.finish()
        bench.check()

    asyncio.run(main())


def test_a_fetch_is_cancelled_in_any_state() -> None:
    async def main() -> None:
        outcomes = Outcomes()
        bench = Bench(pool_bytes=64 * KIB)
        stored = bench.store(b"x" * 40_000)
        bench.device.cached = False

        FetchDescriptor(bench.device, bench.pool).cancel()
        bench.fetch([stored]).cancel()
        bench.check()

        waiting = bench.pool.acquire(1)
        assert waiting is not None
        fetch = bench.fetch([stored])
        fetch.read(outcomes.done("waiting for memory"))
        fetch.cancel()
        waiting.release()
        bench.check()

        fetch = bench.fetch([stored])
        fetch.read(outcomes.done("reading"))
        fetch.cancel()
        assert bench.pool.statistics().buffers_in_use == 1, "the device still writes into it"
        await bench.device.close()
        bench.check()
        assert fetch.state is State.CANCELED

        bench.device = MemoryDevice(SIZE, image=bench.device.image)
        fetch = bench.fetch([stored])
        assert await finished(fetch) is None
        fetch.cancel()
        fetch.cancel()
        bench.check()
        await asyncio.sleep(0)
        assert outcomes.told == []

    asyncio.run(main())


def stored_by_update(
    bench: Bench, rng: random.Random, values: Sequence[bytes], kind: ChecksumType, chunk: int
) -> list[Stored]:
    """Bring the values in by an update, with gaps between some of their extents."""
    extents = []
    block = 0
    for value in values:
        block += rng.choice((0, 0, 3))
        extents.append(Extent(block, round_up(len(value)) // BLOCK))
        block += extents[-1].count
    update = UpdateDescriptor(bench.pool)
    update.prepare([len(value) for value in values], extents)
    update.fill([memoryview(value) for value in values])
    csums = update.verify(kind, chunk)
    update.post(bench)
    update.finish()
    return [
        Stored(extent, len(value), 0, len(value), kind, chunk, csum)
        for extent, value, csum in zip(extents, values, csums, strict=True)
    ]


def random_answer(
    rng: random.Random, values: Sequence[bytes], stored: Sequence[Stored]
) -> tuple[list[Piece], bytes]:
    pieces: list[Piece] = []
    expected = b""
    for _ in range(rng.randint(1, 12)):
        index = rng.randrange(len(values))
        value = values[index]
        match rng.choice(("stored", "stored", "inline", "hole")):
            case "stored":
                lo = rng.randrange(len(value))
                hi = rng.randint(lo + 1, len(value))
                pieces.append(part(stored[index], lo, hi - lo))
                expected += value[lo:hi]
            case "inline":
                pieces.append(Inline(value[:50]))
                expected += value[:50]
            case _:
                pieces.append(Hole(len(value)))
                expected += bytes(len(value))
    return pieces, expected


@pytest.mark.parametrize("seed", range(60))
def test_random_values_and_pieces(seed: int) -> None:
    """What goes in by updates comes out by fetches, whatever the cut; oracle: plain bytes."""

    async def main() -> None:
        rng = random.Random(seed)
        bench = Bench()
        bench.device.cached = rng.random() < 0.5
        kind = rng.choice(list(ChecksumType))
        chunk = rng.choice((100, BLOCK, 5000, 32 * KIB))
        values = [
            rng.randbytes(rng.choice((1, 100, BLOCK, 70_000, rng.randint(1, 20_000))))
            for _ in range(rng.randint(1, 8))
        ]
        stored = stored_by_update(bench, rng, values, kind, chunk)
        pieces, expected = random_answer(rng, values, stored)
        fetch = bench.fetch(pieces)
        assert await finished(fetch) is None
        assert b"".join(fetch.views) == expected
        target = memoryview(bytearray(len(expected)))
        cut = rng.randint(0, len(expected))
        fetch.copy_into([target[:cut], target[cut:]])
        assert bytes(target) == expected
        fetch.finish()
        bench.check()

    asyncio.run(main())

"""The pool of aligned memory: its bound, its order, its address arithmetic."""

from __future__ import annotations

import asyncio
import mmap
import random
from functools import partial
from itertools import pairwise

import pytest

from daos.base.errors import DER, AgainError, DaosError, InvalidError
from daos.bio.memory import MIB, AlignedPool, Buffer, Waiting, address_of, class_of

KIB = 1 << 10


def acquired(pool: AlignedPool, nbytes: int) -> Buffer:
    buffer = pool.acquire(nbytes)
    assert buffer is not None
    return buffer


@pytest.mark.parametrize(
    ("nbytes", "size"),
    [
        (1, 4096),
        (4096, 4096),
        (4097, 8192),
        (8193, 16384),
        (MIB - 1, MIB),
        (MIB, MIB),
        (MIB + 1, 2 * MIB),
        (5 * MIB, 5 * MIB),
    ],
)
def test_classes(nbytes: int, size: int) -> None:
    assert class_of(nbytes) == size


def test_a_buffer_is_aligned_writable_and_of_the_size_asked_for() -> None:
    pool = AlignedPool(8 * MIB)
    for nbytes in (1, 4096, 5000, MIB, 3 * MIB):
        buffer = acquired(pool, nbytes)
        assert buffer.nbytes == len(buffer.view) == nbytes
        assert buffer.address % 4096 == 0
        assert address_of(buffer.view) == buffer.address
        buffer.view[:] = b"\xff" * nbytes
        buffer.release()
        pool.check()
    assert pool.statistics().buffers_in_use == 0
    assert pool.statistics().acquired_total == 5


def test_memory_is_reused_by_class() -> None:
    pool = AlignedPool(MIB)
    first = acquired(pool, 5000)
    address = first.address
    first.release()
    again = acquired(pool, 8000)
    assert again.address == address
    assert pool.statistics().bytes_mapped == 8192
    again.release()


def test_the_bound_counts_classes() -> None:
    pool = AlignedPool(64 * KIB)
    held = [acquired(pool, 9000) for _ in range(4)]  # 16 KiB each
    assert pool.acquire(1) is None
    statistics = pool.statistics()
    assert statistics.bytes_in_use == statistics.bytes_mapped == statistics.bytes_max == 64 * KIB
    held.pop().release()
    acquired(pool, 1).release()
    for buffer in held:
        buffer.release()
    pool.check()
    assert pool.statistics().bytes_in_use == 0
    assert pool.statistics().bytes_in_use_peak == 64 * KIB


def test_free_memory_of_another_class_makes_room() -> None:
    pool = AlignedPool(64 * KIB)
    for buffer in [acquired(pool, 4 * KIB) for _ in range(16)]:
        buffer.release()
    assert pool.statistics().bytes_mapped == 64 * KIB
    large = acquired(pool, 64 * KIB)
    pool.check()
    large.release()
    small = acquired(pool, 4 * KIB)
    pool.check()
    assert pool.statistics().bytes_mapped == 4 * KIB
    small.release()


def test_bad_requests() -> None:
    pool = AlignedPool(64 * KIB)
    for nbytes in (0, -1):
        with pytest.raises(InvalidError):
            pool.acquire(nbytes)
    with pytest.raises(DaosError) as caught:
        pool.acquire(64 * KIB + 1)
    assert caught.value.code is DER.OVERFLOW
    with pytest.raises(DaosError) as caught:
        pool.when_available(MIB, lambda _: None)
    assert caught.value.code is DER.OVERFLOW
    for bytes_max in (0, -4096, 100, 12 * KIB, MIB + 4096):
        with pytest.raises(InvalidError):
            AlignedPool(bytes_max)


def test_the_system_has_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    pool = AlignedPool(64 * KIB)
    with monkeypatch.context() as patch:
        patch.setattr(mmap, "mmap", refuse)
        with pytest.raises(DaosError) as caught:
            pool.acquire(1)
    assert caught.value.code is DER.NOMEM
    pool.check()
    acquired(pool, 1).release()


def test_a_second_release_is_a_bug() -> None:
    buffer = acquired(AlignedPool(64 * KIB), 1)
    buffer.release()
    with pytest.raises(AssertionError):
        buffer.release()


def test_waiting_is_first_come_first_served() -> None:
    async def main() -> None:
        pool = AlignedPool(64 * KIB)
        order: list[str] = []
        buffers: list[Buffer] = []

        def note(label: str, buffer: Buffer) -> None:
            order.append(label)
            buffers.append(buffer)

        held = acquired(pool, 64 * KIB)
        pool.when_available(64 * KIB, lambda b: note("large", b))
        pool.when_available(4 * KIB, lambda b: note("small", b))
        assert pool.acquire(1) is None
        assert pool.statistics().waiting == 2
        held.release()
        assert order == []  # never inside the releasing call
        await asyncio.sleep(0)
        assert order == ["large"]
        assert pool.acquire(1) is None, "nobody overtakes"
        buffers.pop().release()
        await asyncio.sleep(0)
        assert order == ["large", "small"]
        acquired(pool, 1).release()
        buffers.pop().release()
        assert pool.statistics().waiting == 0
        assert pool.statistics().waited_total == 2
        pool.check()

    asyncio.run(main())


def test_a_small_request_does_not_slip_past_a_large_one() -> None:
    async def main() -> None:
        pool = AlignedPool(64 * KIB)
        got: list[Buffer] = []
        held = acquired(pool, 32 * KIB)
        pool.when_available(64 * KIB, got.append)
        assert pool.acquire(1) is None
        pool.when_available(1, got.append)
        await asyncio.sleep(0)
        assert got == []
        held.release()
        await asyncio.sleep(0)
        assert [buffer.nbytes for buffer in got] == [64 * KIB]
        got.pop().release()
        await asyncio.sleep(0)
        got.pop().release()
        pool.check()

    asyncio.run(main())


def test_who_need_not_wait_is_served_in_the_next_turn() -> None:
    async def main() -> None:
        pool = AlignedPool(64 * KIB)
        got: list[Buffer] = []
        pool.when_available(5000, got.append)
        assert got == []
        await asyncio.sleep(0)
        assert got[0].nbytes == 5000
        got[0].release()
        assert pool.statistics().waited_total == 0

    asyncio.run(main())


def test_leaving_the_queue() -> None:
    async def main() -> None:
        pool = AlignedPool(64 * KIB)
        got: list[Buffer] = []
        held = [acquired(pool, 32 * KIB), acquired(pool, 16 * KIB)]
        large = pool.when_available(64 * KIB, got.append)
        pool.when_available(16 * KIB, got.append)
        large.cancel()  # it was what the small one waited behind
        await asyncio.sleep(0)
        assert [buffer.nbytes for buffer in got] == [16 * KIB]
        # Cancelled between grant and delivery: the memory comes back.
        late = pool.when_available(32 * KIB, got.append)
        held[0].release()
        late.cancel()
        late.cancel()
        await asyncio.sleep(0)
        assert len(got) == 1
        held[1].release()
        got[0].release()
        pool.check()
        assert pool.statistics().buffers_in_use == 0

    asyncio.run(main())


def test_the_queue_is_bounded() -> None:
    async def main() -> None:
        pool = AlignedPool(4 * KIB, waiters_max=2)
        held = acquired(pool, 1)
        waiting = [pool.when_available(1, lambda _: None) for _ in range(2)]
        with pytest.raises(AgainError):
            pool.when_available(1, lambda _: None)
        for place in waiting:
            place.cancel()
        held.release()
        pool.check()

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(20))
def test_random_traffic(seed: int) -> None:
    """Nobody is forgotten or overtaken, the bound holds, buffers in use never share memory."""

    async def main() -> None:
        rng = random.Random(seed)
        pool = AlignedPool(256 * KIB)
        in_use: list[Buffer] = []
        waiting: list[tuple[int, Waiting]] = []
        served: list[int] = []

        def serve(number: int, buffer: Buffer) -> None:
            served.append(number)
            waiting.remove(next(entry for entry in waiting if entry[0] == number))
            in_use.append(buffer)

        for number in range(300):
            match rng.choice(("acquire", "wait", "release", "release", "leave", "turn")):
                case "acquire":
                    buffer = pool.acquire(rng.randint(1, 100 * KIB))
                    if buffer is not None:
                        in_use.append(buffer)
                case "wait":
                    nbytes = rng.randint(1, 256 * KIB)
                    place = pool.when_available(nbytes, partial(serve, number))
                    waiting.append((number, place))
                case "release" if in_use:
                    in_use.pop(rng.randrange(len(in_use))).release()
                case "leave" if waiting:
                    waiting.pop(rng.randrange(len(waiting)))[1].cancel()
                case _:
                    await asyncio.sleep(0)
            pool.check()
            spans = sorted((buffer.address, buffer.nbytes) for buffer in in_use)
            for (low, nbytes), (high, _) in pairwise(spans):
                assert low + nbytes <= high
        for _ in range(1000):
            if not waiting and not in_use:
                break
            while in_use:
                in_use.pop().release()
            await asyncio.sleep(0)
        assert not waiting
        assert served == sorted(served)
        assert pool.statistics().buffers_in_use == 0
        assert pool.statistics().bytes_in_use == 0

    asyncio.run(main())

"""The simulated loop; also the tripwire for what it leans on in asyncio."""

from __future__ import annotations

import asyncio

import pytest

from daos.testing.simloop import (
    START_UNIX_NS,
    DeadlockError,
    SimClock,
    StepLimitError,
    simulate,
)


async def order() -> str:
    out: list[str] = []

    async def worker(name: str) -> None:
        for _ in range(4):
            out.append(name)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(worker(name))
    return "".join(out)


def test_time_is_virtual_and_costs_nothing() -> None:
    async def main() -> tuple[float, int, int]:
        loop = asyncio.get_running_loop()
        clock = SimClock(loop, skew_ns=-5)
        before = clock.monotonic_ns()
        await asyncio.sleep(3600)
        return loop.time(), clock.now_ns(), clock.monotonic_ns() - before

    passed_s, now_ns, monotonic_ns = simulate(main(), 0)
    assert passed_s == pytest.approx(3600)
    assert now_ns == pytest.approx(START_UNIX_NS + 3600 * 10**9 - 5, abs=1000)
    assert monotonic_ns == pytest.approx(3600 * 10**9, abs=1000)


def test_a_clock_may_drift() -> None:
    async def main() -> int:
        clock = SimClock(asyncio.get_running_loop(), drift=0.01)
        await asyncio.sleep(100)
        return clock.monotonic_ns()

    assert simulate(main(), 0) == pytest.approx(101 * 10**9)


def test_a_seed_is_an_order_and_seeds_differ() -> None:
    runs = [simulate(order(), seed) for seed in range(20)]
    assert runs == [simulate(order(), seed) for seed in range(20)]
    assert len(set(runs)) > 10


def test_a_deadlock_is_an_error() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError):
        simulate(main(), 0)


def test_turns_are_bounded() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def again() -> None:
            loop.call_soon(again)

        again()
        await loop.create_future()

    with pytest.raises(StepLimitError, match="1000 turns"):
        simulate(main(), 0, steps_max=1000)


def test_a_timeout_fires_in_virtual_time() -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        simulate(main(), 3)


def test_threads_are_refused() -> None:
    async def main() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(RuntimeError, match="no threads"):
        simulate(main(), 0)

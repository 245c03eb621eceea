"""The drivers of load: how many operations are in flight, and how a batch ends."""

from __future__ import annotations

import asyncio

import pytest

from bench.load import Ended, LagMeter, run_awaited, run_for, run_started
from daos.base.errors import BusyError


def test_started_operations_stay_within_the_depth() -> None:
    async def run() -> tuple[list[int], int]:
        loop = asyncio.get_running_loop()
        begun: list[int] = []
        running = most = 0

        def start(index: int, ended: Ended) -> None:
            nonlocal running, most
            begun.append(index)
            running += 1
            most = max(most, running)
            loop.call_soon(end, ended)

        def end(ended: Ended) -> None:
            nonlocal running
            running -= 1
            ended(None)

        assert await run_started(10, 3, start) > 0
        return begun, most

    assert asyncio.run(run()) == (list(range(10)), 3)


def test_the_first_error_of_a_started_batch_is_raised() -> None:
    def start(index: int, ended: Ended) -> None:
        error = BusyError(f"operation {index}") if index == 2 else None
        asyncio.get_running_loop().call_soon(ended, error)

    with pytest.raises(BusyError, match="operation 2"):
        asyncio.run(run_started(5, 1, start))


def test_awaited_operations_stay_within_the_depth() -> None:
    async def run() -> tuple[list[int], int]:
        begun: list[int] = []
        running = most = 0

        async def operate(index: int) -> None:
            nonlocal running, most
            begun.append(index)
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

        assert await run_awaited(10, 4, operate) > 0
        return begun, most

    assert asyncio.run(run()) == (list(range(10)), 4)


def test_the_lag_meter_sees_a_long_turn() -> None:
    async def run() -> LagMeter:
        with LagMeter() as lag:
            await asyncio.sleep(0)
            sum(range(1_000_000))  # some milliseconds
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return lag

    lag = asyncio.run(run())
    assert lag.longest_s > 0.001
    assert lag.processor_s > 0.001


def test_a_run_for_a_time_counts_what_was_done() -> None:
    done: list[int] = []

    async def operate(index: int) -> None:
        await asyncio.sleep(0)
        done.append(index)

    count, seconds = asyncio.run(run_for(60, 3, operate, most=10))
    assert (count, sorted(done)) == (10, list(range(10)))
    assert seconds < 60
    assert asyncio.run(run_for(0, 3, operate, most=10))[0] == 0

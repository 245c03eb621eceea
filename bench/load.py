"""Load on an event loop: n operations, at most so many in flight, by call-back or by coroutine.

Times are of the whole batch; each operation's start is asked for when one before it has ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from daos.base.errors import DaosError

Ended = Callable[[DaosError | None], None]
Start = Callable[[int, Ended], object]


async def run_started(count: int, depth: int, start: Start) -> float:
    """Seconds for `start(0..count-1, ended)`, `depth` of them in flight.

    Raises:     the first error that an operation ended with
    """
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    next_index = over = 0

    def ended(error: DaosError | None) -> None:
        nonlocal next_index, over
        over += 1
        if error is not None:
            if not future.done():
                future.set_exception(error)
        elif next_index < count:
            index, next_index = next_index, next_index + 1
            start(index, ended)
        elif over == count and not future.done():
            future.set_result(None)

    began = time.perf_counter()
    for index in range(min(depth, count)):
        next_index = index + 1
        start(index, ended)
    await future
    return time.perf_counter() - began


async def run_awaited(count: int, depth: int, operate: Callable[[int], Awaitable[object]]) -> float:
    """Seconds for `await operate(0..count-1)` by `depth` tasks."""
    indices = iter(range(count))

    async def work() -> None:
        for index in indices:
            await operate(index)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(depth, count)):
            group.create_task(work())
    return time.perf_counter() - began


async def run_for(
    seconds: float, depth: int, operate: Callable[[int], Awaitable[object]], *, most: int
) -> tuple[int, float]:
    """`await operate(0, 1, ...)` by `depth` tasks until the time is over; how many, and seconds.

    At most `most` of them, which is for what takes space.
    """
    began = time.perf_counter()
    count = 0

    async def work() -> None:
        nonlocal count
        while count < most and time.perf_counter() - began < seconds:
            index, count = count, count + 1
            await operate(index)

    async with asyncio.TaskGroup() as group:
        for _ in range(depth):
            group.create_task(work())
    return count, time.perf_counter() - began


class LagMeter:
    """Longest turn of the running loop while it is entered: a call-back that asks for the next.

    The loop never sleeps then, so every turn is seen; it costs the others about 1 µs a turn.
    `processor_s` is the same without what the neighbours of the process, and its other threads,
    had the processor for.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.processor_s = 0.0
        self._on = False
        self._last = 0.0
        self._last_processor = 0.0

    def __enter__(self) -> LagMeter:
        self._on, self._last = True, time.perf_counter()
        self._last_processor = time.thread_time()
        asyncio.get_running_loop().call_soon(self._tick)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._on = False

    def _tick(self) -> None:
        now, processor = time.perf_counter(), time.thread_time()
        self.longest_s = max(self.longest_s, now - self._last)
        self.processor_s = max(self.processor_s, processor - self._last_processor)
        self._last, self._last_processor = now, processor
        if self._on:
            asyncio.get_running_loop().call_soon(self._tick)

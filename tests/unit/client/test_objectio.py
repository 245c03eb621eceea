"""One request awaited: its end, and what a cancellation waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from daos.base.errors import CanceledError, NotFoundError
from daos.client.objectio import settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from daos.base.errors import DaosError

    Report = Callable[[object, DaosError | None], None]


class Request:
    """A request that ends when the test says so."""

    report: Report

    def __init__(self) -> None:
        self.cancels = 0

    def start(self, report: Report) -> Callable[[], None]:
        self.report = report
        return self._cancel

    def _cancel(self) -> None:
        self.cancels += 1


async def begun() -> tuple[Request, asyncio.Task[object]]:
    request = Request()
    task = asyncio.ensure_future(settle(request.start))
    await asyncio.sleep(0)
    return request, task


def test_an_end() -> None:
    async def run() -> None:
        request, task = await begun()
        request.report(7, None)
        assert await task == 7
        request, task = await begun()
        request.report(None, NotFoundError("gone"))
        with pytest.raises(NotFoundError):
            await task

    asyncio.run(run())


def test_a_cancellation_waits_for_the_end() -> None:
    async def run() -> None:
        request, task = await begun()
        task.cancel()
        await asyncio.sleep(0)
        assert (request.cancels, task.done()) == (1, False)
        request.report(None, CanceledError("given up"))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_a_second_cancellation_waits_as_well() -> None:
    async def run() -> None:
        request, task = await begun()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert (request.cancels, task.done()) == (1, False)
        request.report(None, CanceledError("given up"))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_an_end_in_the_turn_of_the_cancellation() -> None:
    """Nothing is left to wait for: it waited for ever."""

    async def run() -> None:
        request, task = await begun()
        task.cancel()
        request.report(7, None)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 60)
        assert request.cancels == 0

    asyncio.run(run())

"""Work that is owed: how often it is tried, and when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from daos.base.errors import DER, DaosError, NotFoundError
from daos.engine.later import PAUSE_MAX_S, PAUSE_S, Later
from daos.engine.sched import Scheduler
from daos.engine.xstream import Xstream
from daos.testing.simloop import SimClock, simulate


class _Xstream:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.sched = Scheduler(self.loop, SimClock(self.loop))


def run(scenario: Callable[[Later, asyncio.AbstractEventLoop], Awaitable[None]]) -> None:
    """In virtual time."""

    async def main() -> None:
        xstream = _Xstream()
        later = Later(cast("Xstream", xstream))
        await scenario(later, xstream.loop)
        later.close()

    simulate(main(), 1)


def test_it_is_tried_until_it_is_done_with_longer_and_longer_pauses() -> None:
    async def scenario(later: Later, loop: asyncio.AbstractEventLoop) -> None:
        tried: list[float] = []

        async def work() -> None:
            tried.append(loop.time())
            if len(tried) < 9:
                raise DaosError("rank 1", code=DER.UNREACH)

        later.add(b"x", work)
        later.add(b"x", work)
        assert len(later) == 1
        await asyncio.sleep(1000 * PAUSE_S)
        assert len(later) == 0
        gaps = [round(b - a) for a, b in zip([0.0, *tried], tried, strict=False)]
        assert gaps == [1, 2, 4, 8, 16, 32, PAUSE_MAX_S, PAUSE_MAX_S, PAUSE_MAX_S]

    run(scenario)


def test_what_was_not_tried_yet_is_tried_at_once() -> None:
    async def scenario(later: Later, loop: asyncio.AbstractEventLoop) -> None:
        tried: list[float] = []

        async def work() -> None:
            tried.append(loop.time())
            if len(tried) < 4:
                raise DaosError("rank 1", code=DER.UNREACH)

        later.add(b"x", work, at_once=True)
        await asyncio.sleep(100 * PAUSE_S)
        assert [round(at) for at in tried] == [0, 1, 3, 7]
        assert len(later) == 0

    run(scenario)


def test_what_is_gone_is_not_owed() -> None:
    async def scenario(later: Later, _loop: asyncio.AbstractEventLoop) -> None:
        async def work() -> None:
            raise NotFoundError("no such pool")

        later.add(b"x", work)
        await asyncio.sleep(2 * PAUSE_S)
        assert len(later) == 0

    run(scenario)


@pytest.mark.parametrize("closed_first", [True, False])
def test_nothing_is_tried_after_close(closed_first: bool) -> None:
    async def scenario(later: Later, _loop: asyncio.AbstractEventLoop) -> None:
        tried: list[bool] = []

        async def work() -> None:
            tried.append(True)

        if closed_first:
            later.close()
        later.add(b"x", work)
        await asyncio.sleep(PAUSE_S / 2)
        later.close()
        later.close()
        await asyncio.sleep(2 * PAUSE_S)
        assert not tried
        assert len(later) == 0

    run(scenario)

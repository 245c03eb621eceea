"""Workers on a stack of jobs."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from daos.base.errors import NoSpaceError
from daos.dfs.crew import Crew


def test_what_was_added_last_is_done_first() -> None:
    done: list[int] = []
    crew = Crew(1)

    async def job(number: int) -> None:
        done.append(number)
        if number < 3:
            crew.add(partial(job, 10 * number + 1))
            crew.add(partial(job, 10 * number + 2))

    crew.add(partial(job, 1))
    crew.add(partial(job, 2))
    asyncio.run(crew.run())
    assert done == [2, 22, 21, 1, 12, 11]


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_no_more_at_once_than_workers_and_all_of_them(workers: int) -> None:
    crew, now, most, done = Crew(workers), 0, 0, 0

    async def job(depth: int) -> None:
        nonlocal now, most, done
        now += 1
        most = max(most, now)
        for _ in range(2 if depth else 0):
            crew.add(partial(job, depth - 1))
        await asyncio.sleep(0)
        now -= 1
        done += 1

    crew.add(partial(job, 6))
    asyncio.run(crew.run())
    assert (most, done) == (workers, 127)


def test_the_first_error_ends_it_and_what_runs() -> None:
    crew, ended = Crew(2), []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("waits")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise NoSpaceError("full")

    crew.add(fails)
    crew.add(waits)
    with pytest.raises(NoSpaceError, match="full"):
        asyncio.run(crew.run())
    assert ended == ["waits"]


def test_nothing_to_do() -> None:
    asyncio.run(Crew(4).run())

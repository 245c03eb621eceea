"""Questions about handles that a target has not met."""

from __future__ import annotations

import asyncio

from daos.base.clock import SystemClock
from daos.base.errors import AgainError, StaleHandleError
from daos.engine.questions import Questions
from daos.engine.sched import Scheduler

HANDLE = b"h" * 16


def test_a_bug_in_a_question_is_told() -> None:
    """Else every request by that handle would be told to come again, until its deadline."""

    async def main() -> None:
        bugs: list[Exception] = []
        loop = asyncio.get_running_loop()
        told: list[dict[str, object]] = []
        loop.set_exception_handler(lambda _loop, context: told.append(context))
        questions = Questions(Scheduler(loop, SystemClock(), on_bug=bugs.append))

        async def find() -> None:
            raise ZeroDivisionError

        assert isinstance(questions.ask(HANDLE, find), AgainError)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not len(questions)
        assert [type(bug) for bug in bugs] == [ZeroDivisionError]

    asyncio.run(main())


def test_a_question_is_asked_once_and_its_answer_is_told() -> None:
    async def main() -> None:
        questions = Questions(Scheduler(asyncio.get_running_loop(), SystemClock()))
        asked = 0

        async def find() -> None:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0)
            raise StaleHandleError("closed")

        for _ in range(3):
            assert isinstance(questions.ask(HANDLE, find), AgainError)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not len(questions)
        for _ in range(2):
            assert isinstance(questions.ask(HANDLE, find), StaleHandleError)
        assert asked == 1

    asyncio.run(main())

"""Handles that a target has not met yet: it asks for each once, and answers "not now" meanwhile.

    request --unknown--> AGAIN, and the question is asked --> opened: the next request is served
                                                          --> closed: DER_NO_HDL, from now on
                                                          --> failed: the next request hears why
    forgotten meanwhile: the question is given up, and its answer with it

Source: ours
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from daos.base.errors import AgainError, DaosError, StaleHandleError
from daos.engine.sched import Scheduler
from daos.engine.service import NOT_THERE

# Questions at the same time. Who asks for more, by whatever handles, comes again.
ASKING_MAX: Final = 256
# Of handles that are closed, and of failures that nobody has heard of yet.
REMEMBERED_MAX: Final = 1 << 12


class Questions:
    """See the module. `close` it with its target."""

    def __init__(self, sched: Scheduler) -> None:
        self._loop = sched.loop
        self._sched = sched
        self._tasks: dict[bytes, asyncio.Task[None]] = {}
        self._answers: dict[bytes, DaosError] = {}  # oldest first

    def __len__(self) -> int:
        """How many are asked."""
        return len(self._tasks)

    def ask(self, handle: bytes, find: Callable[[], Awaitable[None]]) -> DaosError:
        """What to answer to a request by an unknown handle; `find` is called unless it is known."""
        answer = self._answers.get(handle)
        if answer is not None:
            if not isinstance(answer, StaleHandleError):
                del self._answers[handle]
            return answer
        if handle not in self._tasks and len(self._tasks) < ASKING_MAX:
            self._tasks[handle] = self._loop.create_task(self._find(handle, find))
        return AgainError("this target has just met the container handle; ask again in a moment")

    def give_up(self, handle: bytes) -> None:
        """It may have been closed since it was asked for."""
        task = self._tasks.pop(handle, None)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """Give up all."""
        for handle in list(self._tasks):
            self.give_up(handle)

    async def _find(self, handle: bytes, find: Callable[[], Awaitable[None]]) -> None:
        own = asyncio.current_task()
        try:
            await find()
        except DaosError as error:
            if self._tasks.get(handle) is own and error.code not in NOT_THERE:
                self._answers[handle] = error
                if len(self._answers) > REMEMBERED_MAX:
                    del self._answers[next(iter(self._answers))]
        except Exception as bug:  # the supervisor's place: on_bug decides whether to go on
            if self._sched.on_bug is not None:
                self._sched.on_bug(bug)
            raise
        finally:
            if self._tasks.get(handle) is own:
                del self._tasks[handle]

"""So many workers on a stack of jobs that grows while they work.

What was added last is done first: a tree is gone through depth first, and of each directory on the
way only a page is at hand.

Source: ours
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from daos.base.errors import DaosError
from daos.client.objectio import first_error

Job = Callable[[], Awaitable[None]]


class Crew:
    """`add` jobs, from outside or from a job, and `run`."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._jobs: list[Job] = []
        self._running = 0
        self._changed = asyncio.Event()

    def add(self, job: Job) -> None:
        """A job, to be done before those that are waiting."""
        self._jobs.append(job)
        self._changed.set()

    async def run(self) -> None:
        """Until nothing is left. Raises: the first DaosError of a job; what runs is given up."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())
        except* DaosError as errors:
            raise first_error(errors) from None

    async def _work(self) -> None:
        while self._jobs or self._running:
            if not self._jobs:
                self._changed.clear()
                await self._changed.wait()
                continue
            job = self._jobs.pop()
            self._running += 1
            try:
                await job()
            finally:
                self._running -= 1
                self._changed.set()

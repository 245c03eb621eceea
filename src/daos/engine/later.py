"""Work that a service owes and could not do: tried again until it is done, or the engine stops.

    removal fails --add(key, work)--> pause --> work() --> done, and forgotten
                                        ^         |
                                        +-- failed, twice the pause

What is owed is recorded by the service that adds it (a mark in its store), and looked for at its
start: here it is only remembered. A key is owed once, however often it is added.

Source: ours; DAOS leaves a half destroyed container to the next destroy (srv_container.c).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from daos.base.errors import DaosError, NotFoundError
from daos.engine.sched import UltPool
from daos.engine.xstream import Xstream

log = logging.getLogger(__name__)

PAUSE_S: Final = 1.0
PAUSE_MAX_S: Final = 64.0


class Later:
    """What one service owes. `close` it when the engine stops."""

    def __init__(self, xstream: Xstream) -> None:
        self._xstream = xstream
        self._tasks: dict[bytes, asyncio.Task[None]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def add(
        self, key: bytes, work: Callable[[], Awaitable[None]], *, at_once: bool = False
    ) -> None:
        """Owe `work`, which may be repeated. NotFoundError says that there is nothing to do.

        `at_once`: it has not been tried yet
        """
        if not self._closed and key not in self._tasks:
            do = self._do(key, work, 0.0 if at_once else PAUSE_S)
            spawn = self._xstream.sched.spawn
            self._tasks[key] = spawn("owed work", key.hex(), do, UltPool.NET_POLL)

    def close(self) -> None:
        """Give up; idempotent."""
        self._closed = True
        for task in self._tasks.values():
            task.cancel()

    async def _do(self, key: bytes, work: Callable[[], Awaitable[None]], pause_s: float) -> None:
        try:
            while True:
                await asyncio.sleep(pause_s)
                pause_s = min(max(2 * pause_s, PAUSE_S), PAUSE_MAX_S)
                try:
                    await work()
                except NotFoundError:
                    return
                except DaosError as error:
                    log.info("%s is tried again in %.0f s: %s", key.hex(), pause_s, error)
                else:
                    return
        finally:
            del self._tasks[key]

"""Watches on a store in this process: recent events, and who waits for them.

    publish(events) -> kept in `EventLog` (bounded) -> offered to each LocalWatch -> its queue
                                                                                    (bounded)

A watch whose queue is full is lost: it still hands out what it holds, all in order, then raises
AgainError. So does one that asks for events older than those kept. Events come here when they are
durable, in order of revision.

Concurrency: one event loop; every method is synchronous except `__anext__`, which awaits only with
an empty queue. One consumer a watch; a second one at the same time is refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from daos.base.errors import AgainError, BusyError, DaosError, InvalidError
from daos.rdb.interface import Event, check_range, covers

HISTORY_EVENTS_MAX: Final = 1024
HISTORY_BYTES_MAX: Final = 4 << 20


class LocalWatch:
    """One consumer's stream. Made by `EventLog.open`."""

    def __init__(
        self,
        lo: bytes,
        hi: bytes | None,
        *,
        after_revision: int,
        events_max: int,
        detach: Callable[[LocalWatch], None],
    ) -> None:
        self._lo = lo
        self._hi = hi
        self._after_revision = after_revision
        self._events_max = events_max
        self._detach = detach
        self._queue: deque[Event] = deque()
        self._end: DaosError | StopAsyncIteration | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> LocalWatch:
        return self

    async def __anext__(self) -> Event:
        if self._waiter is not None:
            raise BusyError("a watch has one consumer, and it is waiting already")
        while not self._queue:
            if self._end is not None:
                raise self._end
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._queue.popleft()

    def close(self) -> None:
        self._queue.clear()
        self.end(StopAsyncIteration())

    def offer(self, event: Event) -> None:
        """Queue `event` if it is one of this watch's; full: the watch is lost."""
        if self._end is not None or event.pair.mod_revision <= self._after_revision:
            return
        if not covers(self._lo, self._hi, event.pair.key):
            return
        if len(self._queue) >= self._events_max:
            self.lose(f"{self._events_max} events wait, and another came")
            return
        self._queue.append(event)
        self._wake()

    def lose(self, why: str) -> None:
        self.end(AgainError(f"watch lost: {why}; read the range again, watch from its revision"))

    def end(self, error: DaosError | StopAsyncIteration) -> None:
        """Nothing more will come; what waits is still handed out. The first reason stands."""
        if self._end is None:
            self._end = error
            self._detach(self)
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class EventLog:
    """The latest events, from `revision_kept` on, and the watches that are open."""

    def __init__(self, revision_kept: int) -> None:
        self._revision_kept = revision_kept  # events with a higher revision are all here
        self._events: deque[Event] = deque()
        self._nbytes = 0
        self._watches: list[LocalWatch] = []  # in order of opening

    @property
    def watches(self) -> int:
        """How many are open and not lost."""
        return len(self._watches)

    def open(
        self, lo: bytes, hi: bytes | None, *, after_revision: int, events_max: int
    ) -> LocalWatch:
        """Raises: InvalidError, KeyTooBigError"""
        check_range(lo, hi)
        if events_max < 1:
            raise InvalidError(f"watch: events_max must be at least 1, got {events_max}")
        watch = LocalWatch(
            lo,
            hi,
            after_revision=after_revision,
            events_max=events_max,
            detach=self._watches.remove,
        )
        self._watches.append(watch)
        if after_revision < self._revision_kept:
            watch.lose(f"events up to revision {self._revision_kept} are not kept")
        for event in self._events:
            watch.offer(event)
        return watch

    def publish(self, events: Sequence[Event]) -> None:
        """Keep and hand out events that became durable, in order."""
        for event in events:
            self._events.append(event)
            self._nbytes += _nbytes(event)
            for watch in list(self._watches):
                watch.offer(event)
        while len(self._events) > HISTORY_EVENTS_MAX or self._nbytes > HISTORY_BYTES_MAX:
            dropped = self._events.popleft()
            self._nbytes -= _nbytes(dropped)
            self._revision_kept = dropped.pair.mod_revision

    def end(self, error: DaosError) -> None:
        """Nothing more will be published: every watch ends with `error`."""
        for watch in list(self._watches):
            watch.end(error)


def _nbytes(event: Event) -> int:
    return len(event.pair.key) + len(event.pair.value)

"""Readiness of a transport's descriptors: one epoll set of ours, which the loop watches as one.

    loop --add_reader(set)--> Poller --poll(0)--> handler(events) of each that is ready

Why not the loop's own `add_reader` for each: libuv stops watching a descriptor that has an error,
a reset connection say, and tells nobody, so under uvloop the end of a peer would not be noticed.
One set costs a system call a turn, 1 µs, and spares the loop a handle for each socket.

    E1  a handler hears of what is ready until it has dealt with it (level-triggered)
    E2  errors and the peer's end are told to whoever watches anything; who watches nothing is not
        in the set, so that they cannot keep the loop busy
    E3  an event may be late: a handler must bear that nothing is there

Source: ours
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
_EVENTS_MAX: Final = 64  # dealt with in one turn of the loop

Handler = Callable[[int], None]


class Poller:
    """For one loop. It needs no end: without descriptors it holds nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handlers: dict[int, Handler] = {}
        self._set: select.epoll | None = None

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Tell `handler` when `fd` is ready for `events` of READ and WRITE; 0: not any more."""
        known = fd in self._handlers
        if not events:
            if known:
                self._forget(fd)
            return
        if self._set is None:
            self._set = select.epoll()
            self._loop.add_reader(self._set.fileno(), self._ready)
        if known:
            self._set.modify(fd, events)
        else:
            self._set.register(fd, events)
        self._handlers[fd] = handler

    def _forget(self, fd: int) -> None:
        assert self._set is not None
        del self._handlers[fd]
        self._set.unregister(fd)
        if not self._handlers:
            self._loop.remove_reader(self._set.fileno())
            self._set.close()
            self._set = None

    def _ready(self) -> None:
        if self._set is None:
            return
        handlers = self._handlers
        for fd, events in self._set.poll(0, _EVENTS_MAX):
            handler = handlers.get(fd)
            if handler is not None:  # an earlier one may have ended this one
                handler(events)

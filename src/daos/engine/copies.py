"""Copies of one request at a service: one after the other, and none behind the end of it.

A request that makes something is named by an id that its client has drawn (a handle, a container),
and is sent again when the connection is lost. So copies of it may be worked on at the same time,
and one of a connection that was given up may come when its client has gone on.

    turn(id)      the lock of an id: what a copy that fails takes back, no other copy has made
    over(id)      what was made is closed or destroyed
    is_over(id)   a copy comes behind that

Invariants:
    Y1  a copy is answered by the state that it leaves, not by one that another is about to change
    Y2  behind `over` nothing is made under that id. In memory: connections do not outlive a service

Source: ours; DAOS relies on the resend bit of its handles' records (srv_container.c).
"""

from __future__ import annotations

import asyncio
from typing import Final
from weakref import WeakValueDictionary

# Of ids that are over. A copy under way is from a connection that broke, seconds ago at most.
OVER_MAX: Final = 1 << 12


class Turns:
    """A lock for each name; it lives as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[object, asyncio.Lock] = WeakValueDictionary()

    def turn(self, name: object) -> asyncio.Lock:
        """The lock of a name."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock


class Copies(Turns):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self._over: dict[bytes, None] = {}  # oldest first

    def over(self, drawn: bytes) -> None:
        """Nobody waits for another copy of the request that made this."""
        self._over.pop(drawn, None)
        self._over[drawn] = None
        if len(self._over) > OVER_MAX:
            del self._over[next(iter(self._over))]

    def is_over(self, drawn: bytes) -> bool:
        """Whether a copy has come too late."""
        return drawn in self._over

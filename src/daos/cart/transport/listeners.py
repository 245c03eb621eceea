"""Listening at several places as if they were one.

Source: ours
"""

from __future__ import annotations

from collections.abc import Callable

from daos.cart.transport import Listener


class Listeners:
    """A `Listener` made of others. `closed` is told of the end."""

    def __init__(self, closed: Callable[[], object] | None = None) -> None:
        self._each: list[Listener] = []
        self._closed = closed

    def add(self, listener: Listener) -> None:
        """One more, closed with the others."""
        self._each.append(listener)

    def close(self) -> None:
        if self._closed is not None:
            self._closed()
        for listener in self._each:
            listener.close()

"""A line on a terminal that tells how far a copy or a check is; nothing where nobody looks.

Source: ours
"""

from __future__ import annotations

import sys
from typing import Final, Protocol, Self

from daos.base.clock import SystemClock
from daos.base.sizes import format_size

_EVERY_NS: Final = 200_000_000
_CLEAR: Final = "\r\x1b[K"


class Counted(Protocol):
    """What is counted while it is done."""

    files: int
    nbytes: int


class Meter:
    """`with Meter("copied") as meter: … meter.tell(stats)`."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._clock = SystemClock()
        self._begun_ns = self._next_ns = self._clock.monotonic_ns()
        self._shown = False
        self._wanted = sys.stderr.isatty()

    def tell(self, stats: Counted) -> None:
        """How far it is; at most five times a second."""
        if not self._wanted or (now_ns := self._clock.monotonic_ns()) < self._next_ns:
            return
        seconds = max((now_ns - self._begun_ns) / 1e9, 1e-3)
        text = (
            f"{self._what} {stats.files} files, {format_size(stats.nbytes)}, "
            f"{stats.files / seconds:,.0f} files/s, {format_size(int(stats.nbytes / seconds))}/s"
        )
        print(f"{_CLEAR}{text}", end="", file=sys.stderr, flush=True)
        self._next_ns, self._shown = now_ns + _EVERY_NS, True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown:
            print(_CLEAR, end="", file=sys.stderr, flush=True)

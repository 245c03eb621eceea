"""Object ids of a mount: one number of the container's service serves 2**32 objects; pure.

    (lo, hi)  ->  (lo, hi + 999999937)  ->  ...      modulo 2**32, until the first hi comes again

`lo` is this mount's alone. `hi` begins anywhere: not all mounts that come and go begin at the same
place of the ring on which objects lie. Below lo 0 the first two are superblock and root directory.

Source: DAOS src/client/dfs/common.c oid_gen
"""

from __future__ import annotations

from typing import Final

from daos.base.ids import U32_MAX
from daos.dfs.layout import ROOT_USER

STEP: Final = 999_999_937  # odd: it visits all of 2**32


class OidCursor:
    """What is left of one number."""

    __slots__ = ("_first", "_hi", "_lo")

    def __init__(self, first: int) -> None:
        """Shapes: first is a random u32."""
        self._first = first if first > ROOT_USER else ROOT_USER + 1
        self._hi = self._first
        self._lo: int | None = None

    def next(self) -> tuple[int, int] | None:
        """(lo, user bits of hi) of a new object; None: `refill` first."""
        if self._lo is None:
            return None
        found = self._lo, self._hi
        self._hi = self._after(self._hi)
        if self._hi == self._first:
            self._lo = None
        return found

    def refill(self, lo: int) -> None:
        """Go on with this number."""
        self._lo, self._hi = lo, self._first

    def _after(self, hi: int) -> int:
        hi = (hi + STEP) & U32_MAX
        while self._lo == 0 and hi <= ROOT_USER:
            hi = (hi + STEP) & U32_MAX
        return hi

"""A page of what is visible of an array, either way, in bounded work.

A page looks at the stacks of versions window by window, so many each, and ends after so many
windows, whatever it has found by then. A piece that goes on behind the last one is `joined` to the
next page: it is told once, as a whole. That this works needs nothing but that what a reader at one
epoch sees does not change.

Source: DAOS src/vos/evt_iter.c, EVT_ITER_VISIBLE | EVT_ITER_SKIP_HOLES, EVT_ITER_REVERSE. Ours: an
end that does not depend on how much is hidden.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from daos.vos.extent_scan import Cursor, Look, Piece, Reader, classes_of, nth_before, pieces_of
from daos.vos.runs import horizon

# Of one page, stacks of each class in a window: 5 us each.
_WINDOWS: Final = 4
_STACKS: Final = 128


class ExtentPage(NamedTuple):
    """Visible data in order. The next page begins at `anchor`, unless `eof`.

    `joined`: the first record, or backwards the last, of the piece that goes on there.
    """

    pieces: list[Piece]
    anchor: int
    joined: int | None
    eof: bool


class _Listing:
    """One page that is being made."""

    def __init__(self, limit: int, joined: int | None, *, reverse: bool) -> None:
        self.pieces: list[Piece] = []
        self.open: Piece | None = None  # what was found last; it may go on
        self._limit = limit
        self._joined = joined
        self._reverse = reverse

    def add(self, piece: Piece) -> bool:
        """The next piece; False: the page was full before it."""
        last = self.open
        if self._joined is not None:
            joined, self._joined = self._joined, None
            if piece.is_data:  # else it was discarded since
                lo, hi = (piece.lo, joined + 1) if self._reverse else (joined, piece.hi)
                piece = piece._replace(lo=lo, hi=hi)
        if last is not None and last[2:] == piece[2:]:
            lo, hi = min(last.lo, piece.lo), max(last.hi, piece.hi)
            self.open = last._replace(lo=lo, hi=hi)
            return True
        if not self.close():
            return False
        self.open = piece
        return True

    def close(self) -> bool:
        """What is open ends; False: there is no room for it."""
        last, self.open = self.open, None
        if last is not None and last.is_data:
            if len(self.pieces) == self._limit:
                return False
            self.pieces.append(last)
        return True

    def full(self) -> ExtentPage:
        last = self.pieces[-1]
        return ExtentPage(self.pieces, last.lo if self._reverse else last.hi, None, False)


def visible_page(
    reader: Reader,
    look: Look,
    within: tuple[int, int],
    limit: int,
    *,
    reverse: bool,
    joined: int | None = None,
) -> ExtentPage:
    """The next pieces of visible data, at most `limit` > 0, without holes and gaps.

    Go on with `within` from the anchor on, backwards up to it, and with `joined`. Pieces that touch
    are not joined otherwise: they belong to different extents.

    Cost:       four windows of 128 stacks of each class, and what is wide enough to reach into them
    """
    lo, hi = within
    page = _Listing(limit, joined, reverse=reverse)
    cursor = reader.cursor()
    for _ in range(_WINDOWS):
        if lo >= hi:
            break
        if reverse:
            begin, end = _before(cursor, look, lo, hi), hi
            hi = begin
        else:
            begin, end = lo, min(hi, horizon(cursor, look, lo, _STACKS))
            lo = end
        found = pieces_of(cursor, look, begin, end)
        for piece in reversed(found) if reverse else found:
            if not page.add(piece):
                return page.full()
    anchor, last = hi if reverse else lo, page.open
    if lo < hi and last is not None and last.is_data:
        at = hi - 1 if reverse else lo
        if pieces_of(cursor, look, at, at + 1)[0][2:] == last[2:]:
            return ExtentPage(page.pieces, anchor, last.hi - 1 if reverse else last.lo, False)
    return ExtentPage(page.pieces, anchor, None, lo >= hi) if page.close() else page.full()


def _before(cursor: Cursor, look: Look, lo: int, hi: int) -> int:
    """A record in front of `hi` from which on so many stacks of each class begin."""
    begins = [nth_before(cursor, look, cls, hi, _STACKS) for cls in classes_of(look.classes)]
    return max([lo, *begins])

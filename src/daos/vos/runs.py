"""What of an array can become one extent: visible pieces, as they come, made into runs. Pure.

    piece   part of an extent, or of a gap, as a reader sees it (extent_scan.py)
    run     pieces that touch, of the range that is aggregated, all of them data or all holes; at
            most one window of data, so that one step can read and write it

Source: DAOS src/vos/vos_aggregate.c join_merge_window. Ours: pieces come in order, so that the
window is the run that is being put together, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from daos.base.ids import U64_MAX
from daos.vos.extent_record import ExtentRecord
from daos.vos.extent_scan import (
    CLASS,
    CLASS_END,
    KEY,
    RECORDS_MAX,
    STACK_END,
    U16_MAX,
    Cursor,
    Look,
    Piece,
    classes_of,
)


class Found(NamedTuple):
    """An extent as it is stored."""

    key: bytes
    lo: int
    hi: int
    epoch: int
    minor: int
    record: ExtentRecord

    @classmethod
    def parse(cls, key: bytes, value: bytes) -> Found:
        """Raises: CorruptError."""
        _, _, first, inv, inv_minor = KEY.unpack(key)
        record = ExtentRecord.parse(value)
        return cls(key, first, first + record.width, inv ^ U64_MAX, inv_minor ^ U16_MAX, record)

    def is_of(self, piece: Piece) -> bool:
        """Whether a piece is part of this extent."""
        return (
            (piece.extent_lo, piece.epoch, piece.minor) == (self.lo, self.epoch, self.minor)
            and piece.record is not None
            and piece.record.width == self.record.width
        )


class Runs:
    """Pieces as they come, in order, made into runs that may become one extent each.

    Neighbouring pieces of one extent are joined first: it may have been looked at in parts.
    What `stays` says so of is in no run.
    """

    def __init__(
        self,
        lo: int,
        window_bytes: int,
        pieces_max: int,
        *,
        stays: Callable[[Piece], bool] | None = None,
    ) -> None:
        self._lo = lo
        self._window = window_bytes
        self._pieces_max = pieces_max
        self._stays = stays
        self._run: list[Piece] = []
        self._nbytes = 0
        self._last: Piece | None = None
        # Extents that are visible as a whole, and too large to be merged or to stay.
        self.large = 0
        self.cut = False  # one stays that is visible in part

    def add(self, piece: Piece | None) -> Iterator[list[Piece]]:
        """The next piece, None behind the last; the runs that are complete."""
        last = self._last
        if last is not None and piece is not None and last[2:] == piece[2:]:
            self._last = last._replace(hi=piece.hi)
            return
        self._last = piece
        if last is not None:
            yield from self._take(last)
        if piece is None:
            yield from self._close()

    def _take(self, piece: Piece) -> Iterator[list[Piece]]:
        record = piece.record
        if record is None or piece.epoch < self._lo:
            yield from self._close()
            return
        if self._run and (self._run[-1].hi != piece.lo or self._run[0].is_data != piece.is_data):
            yield from self._close()
        if not piece.is_data:
            yield from self._append(piece)
            return
        if self._stays is not None and self._stays(piece):
            yield from self._close()
            self.large += is_whole(piece)
            self.cut |= not is_whole(piece)
            return
        if is_whole(piece):
            if piece.nbytes >= self._window:
                yield from self._close()
                self.large += 1
                return
            if piece.nbytes > self._window - self._nbytes:
                yield from self._close()
            yield from self._append(piece)
            return
        size = record.record_size
        while piece.lo < piece.hi:
            room = max(1, (self._window - self._nbytes) // size)
            head = piece._replace(hi=min(piece.hi, piece.lo + room))
            yield from self._append(head)
            piece = piece._replace(lo=head.hi)

    def _append(self, piece: Piece) -> Iterator[list[Piece]]:
        self._run.append(piece)
        self._nbytes += piece.nbytes
        size = piece.record.record_size if piece.record is not None else 0
        if len(self._run) >= self._pieces_max or self._nbytes + size > self._window:
            yield from self._close()

    def _close(self) -> Iterator[list[Piece]]:
        run, self._run, self._nbytes = self._run, [], 0
        if run:
            yield run


def horizon(cursor: Cursor, look: Look, at: int, count: int) -> int:
    """A record behind `at` up to which at most `count` stacks of each class begin, newer ones too.

    Cost:       O(classes * count)
    """
    return horizon_within(cursor, look, (at, RECORDS_MAX), count)[0]


def horizon_within(
    cursor: Cursor, look: Look, within: tuple[int, int], count: int
) -> tuple[int, int]:
    """The same in [lo, hi), at most hi; and how many stacks of all classes were looked at.

    Cost:       O(classes * count), and no more than what begins there
    """
    at, end = within
    seen = 0
    for cls in classes_of(look.classes):
        prefix = CLASS.pack(look.akey_id, cls)
        stack = b""
        left, more = (
            count,
            at <= U64_MAX and cursor.set_range(KEY.pack(look.akey_id, cls, at, 0, 0)),
        )
        while more:
            key = cursor.key()
            if key[:CLASS_END] != prefix:
                break
            first = KEY.unpack(key)[2]
            if first >= end:
                break
            if key[:STACK_END] != stack:
                stack = key[:STACK_END]
                seen += 1
                left -= 1
                if left < 0:
                    end = max(first, at + 1)
                    break
                more = cursor.next()
            else:  # one more version: pass over all of them
                more = first < U64_MAX and cursor.set_range(
                    KEY.pack(look.akey_id, cls, first + 1, 0, 0)
                )
    return end, seen


def is_whole(piece: Piece) -> bool:
    """Whether all of an extent is visible."""
    record = piece.record
    return (
        record is not None and piece.lo == piece.extent_lo and piece.hi - piece.lo == record.width
    )

"""Pieces of an array in order of its records: what a reader sees, what is hidden, or both.

    epoch 9              +---------+              visible  [0,4) @7  [4,9) @9  [9,12) @7
    epoch 7     +----------------------+          hidden   [4,9) @7
    record      0        4         9   12

Only extents of the epochs asked for count, for hiding too. What a punch of the key hides is hidden
as a whole. The answer is made at once and does not change with the array.

Source: DAOS src/vos/evt_iter.c, sorted iterators; evtree.c evt_ent_array_sort. Ours: hidden parts
that touch are one piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from daos.base.errors import DER, DaosError
from daos.vos import extents
from daos.vos.extent_record import ExtentRecord
from daos.vos.extent_scan import RECORDS_MAX, U16_MAX, Reader, forwards, look_at
from daos.vos.versions import Epochs

# What one list holds, about 0.4 KiB an extent.
EXTENTS_MAX: Final = 1 << 18


class PieceEntry(NamedTuple):
    """Records [lo, hi) of the extent that begins at `extent_lo`."""

    lo: int
    hi: int
    epoch: int
    minor: int
    extent_lo: int
    record: ExtentRecord
    covered: bool

    @property
    def is_partial(self) -> bool:
        """Whether the extent has more records than these."""
        return self.hi - self.lo < self.record.width


class Show(NamedTuple):
    """Which pieces are asked for."""

    visible: bool = True
    hidden: bool = False
    holes: bool = True


def pieces(
    reader: Reader,
    akey_id: int,
    epochs: Epochs,
    show: Show,
    *,
    classes: int,
    floor: tuple[int, int] = extents.NO_FLOOR,
    lo: int = 0,
    hi: int = RECORDS_MAX,
) -> list[PieceEntry]:
    """The pieces of records [lo, hi), by first record, then newest first.

    Raises:     DaosError   OVERFLOW: more than 2**18 of them; ask for fewer records
    Cost:       O(n log n) in the extents of the range
    """
    below = max(floor, (epochs.lo - 1, U16_MAX)) if epochs.lo else floor
    look = look_at(akey_id, classes, epochs.hi, below)
    seen = [piece for piece in forwards(reader, look, lo, hi) if piece.record is not None]
    found: list[PieceEntry] = []
    if show.visible:
        for piece in seen:
            assert piece.record is not None
            entry = PieceEntry(*piece[:2], *piece[4:], piece.extent_lo, piece.record, False)
            found.append(entry)
    if show.hidden:
        shown: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        for piece in seen:
            key = (piece.extent_lo, piece.epoch, piece.minor)
            shown.setdefault(key, []).append((piece.lo, piece.hi))
        stored = extents.versions(
            reader,
            akey_id,
            lo,
            hi,
            classes=classes,
            epoch_lo=epochs.lo,
            epoch_hi=epochs.hi,
        )
        for each in stored:
            mine = shown.get((each.lo, each.epoch, each.minor), [])
            for first, end in _gaps(max(lo, each.lo), min(hi, each.hi), mine):
                entry = PieceEntry(first, end, *each[2:4], each.lo, each.record, True)
                found.append(entry)
            _check_size(found)
    if not show.holes:
        found = [entry for entry in found if not entry.record.is_hole]
    _check_size(found)
    found.sort(key=_order_of)
    return found


def _gaps(lo: int, hi: int, taken: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What ascending ranges leave of [lo, hi)."""
    for first, end in taken:
        if lo < first:
            yield lo, first
        lo = end
    if lo < hi:
        yield lo, hi


def _check_size(found: list[PieceEntry]) -> None:
    if len(found) > EXTENTS_MAX:
        raise DaosError(
            f"more than {EXTENTS_MAX} pieces in one list; ask for fewer records",
            code=DER.OVERFLOW,
        )


def _order_of(entry: PieceEntry) -> tuple[int, int, int, int]:
    return entry.lo, -entry.epoch, -entry.minor, entry.hi

"""How stored extents are searched: stacks of versions, and the sweep that picks what is visible.

The machinery under extents.py, which says what it is all for. Positions within one search:

    stack    the versions with one class and one `lo`, newest first in the tree
    reach    of a version: how wide the stack is from there down; nothing to find beyond
    top      the newest version of a stack that the search may see
    window   of class c: the stacks that begin in (lo - 2**c, hi), the only ones to overlap [lo, hi)

Epochs and minors stay inverted in here, as they are in keys: the smallest is the newest.

Invariants:
    S1  every step moves a cursor forward by at least one stack, so that a search ends
    S2  the pieces of a sweep cover [lo, hi) in order, without overlap
    S3  a record that decides anything has had its checksum verified

Source: ours; DAOS src/vos/evtree.c evt_ent_array_sort sweeps what an R-tree found.
"""

from __future__ import annotations

import struct
from heapq import heappop, heappush, heapreplace, merge
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from daos.base.ids import U64_MAX, Epoch
from daos.vos.extent_record import ExtentRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY: Final = struct.Struct(">QBQQH")
KEY_SIZE: Final = 27
assert KEY.size == KEY_SIZE
CLASS: Final = struct.Struct(">QB")
CLASS_END: Final = 9  # of akey and class in a key
STACK_END: Final = 17  # of akey, class and lo
assert CLASS.size == CLASS_END

RECORDS_MAX: Final = 1 << 64
CLASS_MAX: Final = 63
U16_MAX: Final = (1 << 16) - 1
_BACKWARD_STEP_MAX: Final = 1024
_LO_OF_TOP: Final = itemgetter(2)

# ~epoch, ~minor, lo, hi, class, record: the heap's smallest is the newest. No two are equal
# before the record.
Top = tuple[int, int, int, int, int, ExtentRecord]


class Cursor(Protocol):
    """What is used of an lmdb.Cursor."""

    def set_range(self, key: bytes, /) -> bool: ...
    def next(self) -> bool: ...
    def prev(self) -> bool: ...
    def last(self) -> bool: ...
    def key(self) -> bytes: ...
    def value(self) -> bytes: ...


class Reader(Protocol):
    """What is used of a MetaContext. Cursors live until the next commit."""

    def cursor(self) -> Cursor: ...


class Look(NamedTuple):
    """What a search may see: one akey's extents up to an epoch and above a floor, inverted."""

    akey_id: int
    classes: int
    inv_epoch: int
    inv_floor: tuple[int, int]


class Piece(NamedTuple):
    """Records [lo, hi) as a reader finds them: part of one extent, or a gap if there is none."""

    lo: int
    hi: int
    record: ExtentRecord | None = None
    extent_lo: int = 0
    epoch: int = 0
    minor: int = 0

    @property
    def is_data(self) -> bool:
        """Neither a gap nor a hole."""
        return self.record is not None and not self.record.is_hole

    @property
    def offset(self) -> int:
        """Where the piece begins in the value of its extent, in bytes."""
        return (self.lo - self.extent_lo) * self.record.record_size if self.record else 0

    @property
    def nbytes(self) -> int:
        return (self.hi - self.lo) * self.record.record_size if self.record else 0


class Version(NamedTuple):
    """An extent as it is stored."""

    lo: int
    hi: int
    epoch: int
    minor: int
    record: ExtentRecord


def look_at(akey_id: int, classes: int, epoch: Epoch | int, floor: tuple[int, int]) -> Look:
    """What a reader at `epoch` may see."""
    return Look(akey_id, classes, epoch ^ U64_MAX, (floor[0] ^ U64_MAX, floor[1] ^ U16_MAX))


class ManyStacksError(Exception):
    """More stacks lie on the way than the caller has patience for."""


def pieces_of(cursor: Cursor, look: Look, lo: int, hi: int, *, patience: int = 0) -> list[Piece]:
    """All pieces of [lo, hi), gaps included.

    Raises: ManyStacksError  a class has more stacks there than `patience`; 0: there is no end to it
    """
    tops: list[Top] = []
    for cls in classes_of(look.classes):
        tops += _tops(cursor, look, cls, lo, hi, patience=patience)
    if not tops:
        return [Piece(lo, hi)]
    if len(tops) == 1 and tops[0][2] <= lo and hi <= tops[0][3]:
        return [_piece(lo, hi, tops[0])]
    tops.sort(key=_LO_OF_TOP)
    return list(_sweep(cursor, look, iter(tops), lo, hi))


def forwards(reader: Reader, look: Look, lo: int, hi: int) -> Iterator[Piece]:
    """All pieces of [lo, hi), found as they are asked for."""
    tops = merge(
        *(_tops(reader.cursor(), look, cls, lo, hi) for cls in classes_of(look.classes)),
        key=_LO_OF_TOP,
    )
    return _sweep(reader.cursor(), look, tops, lo, hi)


def backwards(reader: Reader, look: Look, lo: int, hi: int) -> Iterator[Piece]:
    """The same pieces, the highest first: `pieces_of` ranges that end where the last one began."""
    cursor = reader.cursor()
    steps = 1
    joined: Piece | None = None
    while lo < hi:
        begins = [nth_before(cursor, look, cls, hi, steps) for cls in classes_of(look.classes)]
        begin = max([lo, *begins])
        for piece in reversed(pieces_of(cursor, look, begin, hi)):
            if joined is None:
                joined = piece
            elif piece[3:] == joined[3:]:
                joined = joined._replace(lo=piece.lo)
            else:
                yield joined
                joined = piece
        if joined is not None and joined.record is not None and joined.lo == joined.extent_lo:
            yield joined  # it cannot go on to the left
            joined = None
        hi = begin
        steps = min(2 * steps, _BACKWARD_STEP_MAX)
    if joined is not None:
        yield joined


def classes_of(mask: int) -> Iterator[int]:
    """The classes of a mask, ascending."""
    while mask:
        bit = mask & -mask
        mask ^= bit
        yield bit.bit_length() - 1


def stacks(
    cursor: Cursor, look: Look, cls: int, lo: int, hi: int
) -> Iterator[tuple[int, int, int]]:
    """The stacks in the window of a class: lo, and ~epoch and ~minor of what stands on top.

    The top is the newest version that is not newer than asked, under the floor perhaps; the
    cursor stands on it, and may be moved. Stacks with only newer versions are passed over.
    """
    akey_id, _, inv_epoch, _ = look
    first = 0 if cls == CLASS_MAX else max(lo - (1 << cls) + 1, 0)
    prefix = CLASS.pack(akey_id, cls)
    found = cursor.set_range(KEY.pack(akey_id, cls, first, inv_epoch, 0))
    while found:
        key = cursor.key()
        if key[:CLASS_END] != prefix:
            return
        _, _, start, inv, inv_minor = KEY.unpack(key)
        if start >= hi:
            return
        if inv >= inv_epoch:
            yield start, inv, inv_minor
            if start + 1 >= hi:
                return
            # Mostly a stack has one version, and a step costs 0.04 µs where a seek costs 0.6
            # (10**6 extents).
            if (
                cursor.key() == key
                and cursor.next()
                and cursor.key()[:STACK_END] != key[:STACK_END]
            ):
                continue
            start += 1
        found = cursor.set_range(KEY.pack(akey_id, cls, start, inv_epoch, 0))


def _tops(
    cursor: Cursor, look: Look, cls: int, lo: int, hi: int, *, patience: int = 0
) -> Iterator[Top]:
    """The tops of the stacks that reach into [lo, hi) and are newer than the floor, by lo."""
    inv_floor = look.inv_floor
    for start, inv, inv_minor in stacks(cursor, look, cls, lo, hi):
        patience -= 1
        if not patience:
            raise ManyStacksError
        if (inv, inv_minor) >= inv_floor:
            continue
        record = ExtentRecord.parse(cursor.value())
        if start + max(record.width, record.reach) > lo:
            yield inv, inv_minor, start, start + record.width, cls, record


def _sweep(cursor: Cursor, look: Look, tops: Iterator[Top], lo: int, hi: int) -> Iterator[Piece]:
    """Cut [lo, hi) into pieces: at every record the newest of what covers it.

    `heap` holds one version of each stack that began so far. One that has ended stays until it is
    the newest of all: only then does it matter what lies below it in its stack, and only if the
    stack reaches further, and only down to the newest version that has not ended.
    """
    heap: list[Top] = []
    upcoming = next(tops, None)
    current: Top | None = None
    begin = at = lo
    while at < hi:
        while upcoming is not None and upcoming[2] <= at:
            heappush(heap, upcoming)
            upcoming = next(tops, None)
        while heap and heap[0][3] <= at:
            top = heap[0]
            older = None
            if top[2] + top[5].reach > at:
                limit = min((each[:2] for each in heap if each[3] > at), default=look.inv_floor)
                older = _older(cursor, look, top, at, limit)
            if older is None:
                heappop(heap)
            else:
                heapreplace(heap, older)
        newest = heap[0] if heap else None
        if newest is not current:
            if begin < at:
                yield _piece(begin, at, current)
            begin, current = at, newest
        at = min(hi, newest[3]) if newest is not None else hi
        if upcoming is not None and upcoming[2] < at:
            at = upcoming[2]
    yield _piece(begin, hi, current)


def _older(cursor: Cursor, look: Look, top: Top, at: int, limit: tuple[int, int]) -> Top | None:
    """The next version below `top` in its stack that goes beyond `at` or is older than `limit`."""
    inv, inv_minor, lo, _, cls, _ = top
    key = KEY.pack(look.akey_id, cls, lo, inv, inv_minor)
    cursor.set_range(key)
    while cursor.next():
        found = cursor.key()
        if found[:STACK_END] != key[:STACK_END]:
            break
        _, _, _, inv, inv_minor = KEY.unpack(found)
        if (inv, inv_minor) >= look.inv_floor:
            break
        record = ExtentRecord.parse(cursor.value())
        if lo + record.width > at or (inv, inv_minor) > limit:
            return inv, inv_minor, lo, lo + record.width, cls, record
    return None


def _piece(lo: int, hi: int, top: Top | None) -> Piece:
    if top is None:
        return Piece(lo, hi)
    inv, inv_minor, extent_lo, _, _, record = top
    return Piece(lo, hi, record, extent_lo, inv ^ U64_MAX, inv_minor ^ U16_MAX)


def nth_before(cursor: Cursor, look: Look, cls: int, hi: int, n: int) -> int:
    """Where the n-th stack of the class before `hi` begins; 0 if there are fewer."""
    akey_id = look.akey_id
    prefix = CLASS.pack(akey_id, cls)
    for _ in range(n):
        key = CLASS.pack(akey_id, cls + 1) if hi > U64_MAX else KEY.pack(akey_id, cls, hi, 0, 0)
        if not (cursor.prev() if cursor.set_range(key) else cursor.last()):
            return 0
        key = cursor.key()
        if key[:CLASS_END] != prefix:
            return 0
        hi = KEY.unpack(key)[2]
    return hi

"""Array values: extents of records, each visible from its epoch on, in width classes over the tree.

    tree key   akey u64 | class u8 | lo u64 | ~epoch u64 | ~minor u16, big-endian, 27 bytes
    value      extent_record.py

The class of an extent is ceil(log2(width)), so that one of class c which covers record r begins in
(r - 2**c, r]. A search looks, in each class that has extents, at the keys of (lo - 2**c, hi). At
one `lo` the versions of an array stand newest first: a *stack*. A search seeks to the epoch it
reads at, takes the top of the stack and goes on to the next `lo`; it climbs down only where the top
turns out to be too narrow. The tops are then swept from left to right, newest first:

    epoch 9              +---------+              find(0, 12) at 9:
    epoch 7     +----------------------+            [0,2) gap  [2,4) @7  [4,7) @9  [7,10) @7
    record      0  2  4  .  .  7   .   10  12       [10,12) gap

Which classes have extents is known to the caller: a mask with bit c for class c, kept in the akey's
record; `insert` tells the bit to add. Bits that are set for nothing cost one seek.

Ranges are half-open, [lo, hi) with hi up to 2**64; the reference's are inclusive. `floor` is the
(epoch, minor) of the newest punch above the values: whatever is not newer belongs to an earlier
incarnation of the akey and is not seen.

Invariants:
    X1  extents of one (epoch, minor) do not overlap; extents of one epoch may, higher minors win
    X2  an extent is stored whole, in the class of its width; no class above 48 has data
    X3  what is visible depends on the set of extents, not on the order of insertion

A hole up to 2**64 wide is one extent of its class, the widest share class 63. (The reference cuts
a hole wider than 2**48 - 1 into one hole over each visible extent.)

A search costs O(classes * log n) plus one step for each `lo` within the windows, visible or not.
Two shapes are worse: many extents that begin less than 2**c before `lo` and end before it, and a
stack of many versions whose newest are narrower, by less than half, than an old one.

Source: DAOS src/vos/evtree.c, for what is visible. Ours: width classes for an R-tree, because the
tree below orders bytes and nothing else.
"""

from __future__ import annotations

import struct
from heapq import heappop, heappush, heapreplace, merge
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from daos.base.errors import (
    DER,
    AccessError,
    DaosError,
    InvalidError,
    NotFoundError,
    TxRestartError,
)
from daos.base.ids import EPOCH_MAX, U64_MAX, Epoch
from daos.vos.extent_record import ExtentRecord as ExtentRecord
from daos.vos.extent_record import hole as hole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_KEY: Final = struct.Struct(">QBQQH")
KEY_SIZE: Final = 27
assert _KEY.size == KEY_SIZE
_CLASS: Final = struct.Struct(">QB")
_CLASS_END: Final = 9  # of akey and class in a key
_STACK_END: Final = 17  # of akey, class and lo

RECORDS_MAX: Final = 1 << 64
DATA_WIDTH_MAX: Final = (1 << 48) - 1
CLASS_MAX: Final = 63
# Records from here on hold parity, where an object has any.
PARITY_LO: Final = 1 << 63
# Minor epochs. Source: DAOS src/vos/evt_priv.h EVT_REBUILD_MINOR_MIN
MINOR_REBUILD: Final = 16384
MINOR_MAX: Final = 2 * MINOR_REBUILD - 1

NO_FLOOR: Final = (0, 0)
_LO_OF_TOP: Final = itemgetter(2)
_U16_MAX: Final = (1 << 16) - 1
_TOUCH_STEPS_MAX: Final = 16
_BACKWARD_STEP_MAX: Final = 1024

# ~epoch, ~minor, lo, hi, class, record: the heap's smallest is the newest. No two are equal
# before the record.
_Top = tuple[int, int, int, int, int, ExtentRecord]


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


class Writer(Protocol):
    """What is used of a Tx."""

    def get(self, key: bytes, /) -> bytes | None: ...
    def put(self, key: bytes, value: bytes, /) -> None: ...
    def delete(self, key: bytes, /) -> None: ...


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


class Inserted(NamedTuple):
    """What became of an insert, for the caller to act on."""

    class_bit: int  # to be added to the akey's mask
    minor: int  # as asked, or the next free one of a rebuild
    aggregatable: bool  # touches other extents, so that aggregation has something to do here
    replaced: ExtentRecord | None  # overwritten in place; its blocks are free now


class VisiblePage(NamedTuple):
    """Visible data in order. The next page begins at `anchor`, unless `eof`."""

    pieces: list[Piece]
    anchor: int
    eof: bool


def class_of(width: int) -> int:
    """The width class: ceil(log2(width)), at most 63."""
    return min((width - 1).bit_length(), CLASS_MAX)


def extent_key(akey_id: int, lo: int, width: int, *, epoch: Epoch | int, minor: int) -> bytes:
    """Tree key of an extent."""
    return _KEY.pack(akey_id, class_of(width), lo, epoch ^ U64_MAX, minor ^ _U16_MAX)


def check_disjoint(ranges: Iterable[tuple[int, int]]) -> None:
    """Refuse [lo, hi) ranges of one update that overlap: `insert` does not see its own transaction.

    Raises:     DaosError   VOS_PARTIAL_UPDATE
    """
    end = 0
    for lo, hi in sorted(ranges):
        if lo < end:
            raise DaosError(
                f"records [{lo}, {hi}) are in one update twice", code=DER.VOS_PARTIAL_UPDATE
            )
        end = hi


def insert(
    reader: Reader,
    tx: Writer,
    akey_id: int,
    lo: int,
    record: ExtentRecord,
    *,
    epoch: Epoch | int,
    minor: int,
    classes: int,
    record_size: int = 0,
    epoch_newest: Epoch | int = EPOCH_MAX,
    bound: Epoch | int = 0,
) -> Inserted:
    """Write, or punch, records [lo, lo + record.width) as of (`epoch`, `minor`).

    Older and newer versions stay as they are. The same extent at the same (epoch, minor) is
    replaced. A minor of MINOR_REBUILD takes the next one where it is taken.

    Shapes:     classes is the akey's mask; record_size that of its data, 0 = undecided
    Units:      epoch_newest: no extent of the akey is newer; above it, nothing need be searched for
                conflicts, which a punch of a whole array of a million extents will notice
    Raises:     DaosError        VOS_PARTIAL_UPDATE: overlaps another extent of (epoch, minor)
                TxRestartError   overlaps an extent within (epoch, bound]
                AccessError      data wider than 2**48 - 1 records
                InvalidError     another record size; out of the 2**64 records; bad epoch or minor
    Cost:       O(classes * log n), plus the extents of `epoch` and stacks it covers if
                epoch <= epoch_newest
    Source:     DAOS src/vos/evtree.c evt_insert; internals §1.7 "Insert"
    """
    hi = lo + record.width
    _check_insert(lo, record, epoch, minor, record_size)
    replaced = None
    bound = max(bound, epoch)
    if epoch <= epoch_newest:
        found = versions(reader, akey_id, lo, hi, classes=classes, epoch_lo=epoch, epoch_hi=bound)
        minor, replaced = _settle_conflicts(found, lo, hi, epoch, minor)
    if replaced is None or not (replaced.is_hole and record.is_hole):
        key = extent_key(akey_id, lo, record.width, epoch=epoch, minor=minor)
        tx.put(key, record.emit())
    return Inserted(
        1 << class_of(record.width),
        minor,
        replaced is not None or _touches(reader.cursor(), akey_id, classes, lo, hi),
        replaced,
    )


def delete(
    tx: Writer, akey_id: int, lo: int, hi: int, *, epoch: Epoch | int, minor: int
) -> ExtentRecord:
    """Remove one stored extent; what it hid shows again. Its blocks are the caller's to free.

    Raises:     NotFoundError   no extent is exactly this one
    """
    if not 0 <= lo < hi <= RECORDS_MAX:
        raise NotFoundError(f"no extent has records [{lo}, {hi})")
    key = extent_key(akey_id, lo, hi - lo, epoch=epoch, minor=minor)
    value = tx.get(key)
    record = ExtentRecord.parse(value) if value is not None else None
    if record is None or lo + record.width != hi:
        raise NotFoundError(f"no extent has records [{lo}, {hi}) at epoch {epoch}.{minor}")
    tx.delete(key)
    return record


def find(
    reader: Reader,
    akey_id: int,
    lo: int,
    hi: int,
    *,
    classes: int,
    epoch: Epoch | int,
    floor: tuple[int, int] = NO_FLOOR,
    bound: Epoch | int = 0,
) -> list[Piece]:
    """What a reader at `epoch` finds in records [lo, hi): pieces in order, gaps and holes included.

    The pieces cover [lo, hi) without overlap; neighbours belong to different extents.

    Raises:     TxRestartError   an extent within (epoch, bound]
                InvalidError     an empty range, or one outside of the 2**64 records
                CorruptError     a record is damaged
    Cost:       O(classes * log n + k), k stacks in the windows; see the module
    Source:     DAOS src/vos/evtree.c evt_find, evt_ent_array_fill, evt_ent_array_sort
    """
    _check_range(lo, hi)
    if bound > epoch:
        _refuse_uncertain(reader, akey_id, lo, hi, classes=classes, epoch=epoch, bound=bound)
    cursor = reader.cursor()
    inv_epoch = epoch ^ U64_MAX
    inv_floor = _inverse(floor)
    tops: list[_Top] = []
    while classes:
        bit = classes & -classes
        classes ^= bit
        tops += _tops(cursor, akey_id, bit.bit_length() - 1, lo, hi, inv_epoch, inv_floor)
    if not tops:
        return [Piece(lo, hi)]
    if len(tops) == 1:
        inv, inv_minor, extent_lo, extent_hi, _, record = tops[0]
        if extent_lo <= lo and hi <= extent_hi:
            return [Piece(lo, hi, record, extent_lo, inv ^ U64_MAX, inv_minor ^ _U16_MAX)]
    tops.sort(key=_LO_OF_TOP)
    return list(_sweep(cursor, akey_id, iter(tops), lo, hi, inv_floor))


def visible(
    reader: Reader,
    akey_id: int,
    *,
    classes: int,
    epoch: Epoch | int,
    limit: int,
    lo: int = 0,
    hi: int = RECORDS_MAX,
    floor: tuple[int, int] = NO_FLOOR,
    reverse: bool = False,
) -> VisiblePage:
    """The next `limit` pieces of visible data within [lo, hi), clipped, without holes and gaps.

    A page ends at `anchor`: go on with lo=anchor, in reverse with hi=anchor. Pieces that touch are
    not joined, they belong to different extents.

    Cost:       O(classes * log n) plus a step for every stack on the way, hidden ones included
    Source:     DAOS src/vos/evt_iter.c, EVT_ITER_VISIBLE | EVT_ITER_SKIP_HOLES, EVT_ITER_REVERSE
    """
    if lo >= hi:
        return VisiblePage([], lo if reverse else hi, eof=True)
    _check_range(lo, hi)
    scan = _backwards if reverse else _forwards
    found = scan(reader, akey_id, lo, hi, classes, epoch, floor)
    pieces = list(islice((piece for piece in found if piece.is_data), limit + 1))
    if len(pieces) <= limit:
        return VisiblePage(pieces, lo if reverse else hi, eof=True)
    pieces.pop()
    if not pieces:
        return VisiblePage([], hi if reverse else lo, eof=False)
    return VisiblePage(pieces, pieces[-1].lo if reverse else pieces[-1].hi, eof=False)


def first_visible(
    reader: Reader,
    akey_id: int,
    *,
    classes: int,
    epoch: Epoch | int,
    floor: tuple[int, int] = NO_FLOOR,
) -> Piece | None:
    """The visible data with the lowest records; None if there is none. Cost: as `visible`."""
    found = _forwards(reader, akey_id, 0, RECORDS_MAX, classes, epoch, floor)
    return next((piece for piece in found if piece.is_data), None)


def last_visible(
    reader: Reader,
    akey_id: int,
    *,
    classes: int,
    epoch: Epoch | int,
    floor: tuple[int, int] = NO_FLOOR,
) -> Piece | None:
    """The visible data with the highest records; None if there is none. Cost: as `visible`."""
    found = _backwards(reader, akey_id, 0, RECORDS_MAX, classes, epoch, floor)
    return next((piece for piece in found if piece.is_data), None)


def versions(
    reader: Reader,
    akey_id: int,
    lo: int = 0,
    hi: int = RECORDS_MAX,
    *,
    classes: int,
    epoch_lo: Epoch | int = 0,
    epoch_hi: Epoch | int = EPOCH_MAX,
) -> Iterator[Version]:
    """Every stored extent that overlaps [lo, hi), with an epoch in [epoch_lo, epoch_hi].

    Whole, hidden or not, in the order of the tree: by class, then lo, newest first.

    Cost:       O(classes * log n), a step for each stack in the windows and each extent found
    Source:     DAOS src/vos/evt_iter.c, an unsorted iterator
    """
    _check_range(lo, hi)
    cursor = reader.cursor()
    inv_last = epoch_lo ^ U64_MAX
    for cls in _classes(classes):
        for start, inv, inv_minor in _stacks(cursor, akey_id, cls, lo, hi, epoch_hi ^ U64_MAX):
            stack = cursor.key()[:_STACK_END]
            while inv <= inv_last:
                record = ExtentRecord.parse(cursor.value())
                end = start + record.width
                if end > lo:
                    yield Version(start, end, inv ^ U64_MAX, inv_minor ^ _U16_MAX, record)
                if not cursor.next() or cursor.key()[:_STACK_END] != stack:
                    break
                _, _, _, inv, inv_minor = _KEY.unpack(cursor.key())


def _check_range(lo: int, hi: int) -> None:
    if not 0 <= lo < hi <= RECORDS_MAX:
        raise InvalidError(f"records [{lo}, {hi}) are not a range within [0, 2**64)")


def _check_insert(lo: int, record: ExtentRecord, epoch: int, minor: int, record_size: int) -> None:
    _check_range(lo, lo + record.width)
    if not 0 < epoch <= U64_MAX or not 0 < minor <= MINOR_MAX:
        raise InvalidError(f"no extent can have epoch {epoch} minor {minor}")
    if record.is_hole:
        return
    if record.width > DATA_WIDTH_MAX:
        raise AccessError(f"an extent has at most 2**48 - 1 records of data, got {record.width}")
    if record_size and record.record_size != record_size:
        raise InvalidError(
            f"records of this array have {record_size} bytes, got {record.record_size}"
        )


def _settle_conflicts(
    found: Iterable[Version], lo: int, hi: int, epoch: int, minor: int
) -> tuple[int, ExtentRecord | None]:
    """The minor to use and the record to replace, given the extents that overlap at `epoch`."""
    replaced = None
    rebuild = minor == MINOR_REBUILD
    for version in found:
        if version.epoch > epoch:
            raise TxRestartError(f"records [{lo}, {hi}) were written at {version.epoch}, in doubt")
        if rebuild:
            minor = max(minor, version.minor + 1)
        elif version.minor == minor:
            if (version.lo, version.hi) != (lo, hi):
                raise DaosError(
                    f"records [{lo}, {hi}) overlap [{version.lo}, {version.hi}) of the same epoch",
                    code=DER.VOS_PARTIAL_UPDATE,
                )
            replaced = version.record
    if minor > MINOR_MAX:
        raise DaosError(f"no minor epoch is left at epoch {epoch}", code=DER.OVERFLOW)
    return minor, replaced


def _refuse_uncertain(
    reader: Reader, akey_id: int, lo: int, hi: int, *, classes: int, epoch: int, bound: int
) -> None:
    found = versions(reader, akey_id, lo, hi, classes=classes, epoch_lo=epoch + 1, epoch_hi=bound)
    for version in found:
        raise TxRestartError(f"records [{lo}, {hi}) were written at {version.epoch}, in doubt")


def _touches(cursor: Cursor, akey_id: int, classes: int, lo: int, hi: int) -> bool:
    """Whether an extent overlaps or meets [lo, hi), or data and parity come together.

    A hint: it looks at the tops of stacks only, and says yes when it has seen enough of them.
    """
    for cls in _classes(classes):
        steps = 0
        near = _stacks(cursor, akey_id, cls, max(lo - 1, 0), min(hi + 1, RECORDS_MAX), 0)
        for start, _, _ in near:
            steps += 1
            if start + ExtentRecord.parse(cursor.value()).width >= lo or steps > _TOUCH_STEPS_MAX:
                return True
        other = (PARITY_LO, RECORDS_MAX) if lo < PARITY_LO else (0, PARITY_LO)
        if cursor.set_range(_KEY.pack(akey_id, cls, other[0], 0, 0)):
            found = cursor.key()
            if found[:_CLASS_END] == _CLASS.pack(akey_id, cls) and _KEY.unpack(found)[2] < other[1]:
                return True
    return False


def _classes(mask: int) -> Iterator[int]:
    while mask:
        bit = mask & -mask
        mask ^= bit
        yield bit.bit_length() - 1


def _stacks(
    cursor: Cursor, akey_id: int, cls: int, lo: int, hi: int, inv_epoch: int
) -> Iterator[tuple[int, int, int]]:
    """Each stack of the class that could overlap [lo, hi): its lo, and ~epoch and ~minor of its top.

    The top is the newest version that is not newer than asked; the cursor stands on it, and may
    be moved. Stacks with only newer versions are passed over.
    """
    first = 0 if cls == CLASS_MAX else max(lo - (1 << cls) + 1, 0)
    prefix = _CLASS.pack(akey_id, cls)
    found = cursor.set_range(_KEY.pack(akey_id, cls, first, inv_epoch, 0))
    while found:
        key = cursor.key()
        if key[:_CLASS_END] != prefix:
            return
        _, _, start, inv, inv_minor = _KEY.unpack(key)
        if start >= hi:
            return
        if inv >= inv_epoch:
            yield start, inv, inv_minor
            if start + 1 >= hi:
                return
            # Mostly a stack has one version: a step is four times cheaper than a seek.
            if (
                cursor.key() == key
                and cursor.next()
                and cursor.key()[:_STACK_END] != key[:_STACK_END]
            ):
                continue
            start += 1
        found = cursor.set_range(_KEY.pack(akey_id, cls, start, inv_epoch, 0))


def _tops(
    cursor: Cursor,
    akey_id: int,
    cls: int,
    lo: int,
    hi: int,
    inv_epoch: int,
    inv_floor: tuple[int, int],
) -> Iterator[_Top]:
    """The tops of the stacks of a class that are newer than the floor, by lo."""
    for start, inv, inv_minor in _stacks(cursor, akey_id, cls, lo, hi, inv_epoch):
        if (inv, inv_minor) < inv_floor:
            record = ExtentRecord.parse(cursor.value())
            yield inv, inv_minor, start, start + record.width, cls, record


def _sweep(
    cursor: Cursor,
    akey_id: int,
    tops: Iterator[_Top],
    lo: int,
    hi: int,
    inv_floor: tuple[int, int],
) -> Iterator[Piece]:
    """Cut [lo, hi) into pieces: at every record the newest of what covers it.

    `heap` holds one version of each stack that began so far. One that has ended stays until it is
    the newest of all: only then does it matter what lies below it in its stack.
    """
    heap: list[_Top] = []
    upcoming = next(tops, None)
    current: _Top | None = None
    begin = at = lo
    while at < hi:
        while upcoming is not None and upcoming[2] <= at:
            heappush(heap, upcoming)
            upcoming = next(tops, None)
        while heap and heap[0][3] <= at:
            older = _older(cursor, akey_id, heap[0], at, inv_floor)
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


def _older(
    cursor: Cursor, akey_id: int, top: _Top, at: int, inv_floor: tuple[int, int]
) -> _Top | None:
    """The next version below `top` in its stack that goes beyond `at`."""
    inv, inv_minor, lo, _, cls, _ = top
    key = _KEY.pack(akey_id, cls, lo, inv, inv_minor)
    cursor.set_range(key)
    while cursor.next():
        found = cursor.key()
        if found[:_STACK_END] != key[:_STACK_END]:
            break
        _, _, _, inv, inv_minor = _KEY.unpack(found)
        if (inv, inv_minor) >= inv_floor:
            break
        record = ExtentRecord.parse(cursor.value())
        if lo + record.width > at:
            return inv, inv_minor, lo, lo + record.width, cls, record
    return None


def _piece(lo: int, hi: int, top: _Top | None) -> Piece:
    if top is None:
        return Piece(lo, hi)
    inv, inv_minor, extent_lo, _, _, record = top
    return Piece(lo, hi, record, extent_lo, inv ^ U64_MAX, inv_minor ^ _U16_MAX)


def _forwards(
    reader: Reader,
    akey_id: int,
    lo: int,
    hi: int,
    classes: int,
    epoch: int,
    floor: tuple[int, int],
) -> Iterator[Piece]:
    """All pieces of [lo, hi), found as they are asked for."""
    inv_floor = _inverse(floor)
    tops = merge(
        *(
            _tops(reader.cursor(), akey_id, cls, lo, hi, epoch ^ U64_MAX, inv_floor)
            for cls in _classes(classes)
        ),
        key=_LO_OF_TOP,
    )
    return _sweep(reader.cursor(), akey_id, tops, lo, hi, inv_floor)


def _backwards(
    reader: Reader,
    akey_id: int,
    lo: int,
    hi: int,
    classes: int,
    epoch: int,
    floor: tuple[int, int],
) -> Iterator[Piece]:
    """The same pieces, the highest first: `find` on ranges that end where the last one began."""
    cursor = reader.cursor()
    steps = 1
    joined: Piece | None = None
    while lo < hi:
        begin = max(
            [lo, *(_nth_before(cursor, akey_id, cls, hi, steps) for cls in _classes(classes))]
        )
        found = find(reader, akey_id, begin, hi, classes=classes, epoch=epoch, floor=floor)
        for piece in reversed(found):
            if joined is None:
                joined = piece
            elif piece[3:] == joined[3:]:
                joined = joined._replace(lo=piece.lo)
            else:
                yield joined
                joined = piece
        hi = begin
        steps = min(2 * steps, _BACKWARD_STEP_MAX)
    if joined is not None:
        yield joined


def _nth_before(cursor: Cursor, akey_id: int, cls: int, hi: int, n: int) -> int:
    """Where the n-th stack of the class before `hi` begins; 0 if there are fewer."""
    prefix = _CLASS.pack(akey_id, cls)
    for _ in range(n):
        key = _CLASS.pack(akey_id, cls + 1) if hi > U64_MAX else _KEY.pack(akey_id, cls, hi, 0, 0)
        if not (cursor.prev() if cursor.set_range(key) else cursor.last()):
            return 0
        key = cursor.key()
        if key[:_CLASS_END] != prefix:
            return 0
        hi = _KEY.unpack(key)[2]
    return hi


def _inverse(floor: tuple[int, int]) -> tuple[int, int]:
    return floor[0] ^ U64_MAX, floor[1] ^ _U16_MAX

"""Array values: extents of records, each visible from its epoch on, in width classes over the tree.

    tree key   akey u64 | class u8 | lo u64 | ~epoch u64 | ~minor u16, big-endian, 27 bytes
    value      extent_record.py

The class of an extent is ceil(log2(width)), so that one of class c which covers record r begins in
(r - 2**c, r]. A search looks, in each class that has extents, at the keys of (lo - 2**c, hi). At
one `lo` the versions of an array stand newest first: a *stack*. A search seeks to the epoch it
reads at, takes the top of the stack and goes on to the next `lo`; it climbs down only where the top
turns out to be too narrow, and its `reach` says that an older one is wider. The tops are then swept
from left to right, newest first:

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
    X3  the reach of an extent is 0, or above the width of every older one of its stack, or equal
    X4  what is visible depends on the set of extents, not on the order of insertion

A hole up to 2**64 wide is one extent of its class, the widest share class 63. (The reference cuts
a hole wider than 2**48 - 1 into one hole over each visible extent.)

A search costs O(classes * log n) plus one step for each `lo` within the windows, visible or not.
Two shapes are worse: many extents that begin less than 2**c before `lo` and end before it, and a
stack whose newest versions, many of them, are narrower than an old one that is still visible behind
their end.

Source: DAOS src/vos/evtree.c, for what is visible. Ours: width classes for an R-tree, because the
tree below orders bytes and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

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
from daos.vos.extent_scan import (
    CLASS,
    CLASS_END,
    CLASS_MAX,
    KEY,
    STACK_END,
    U16_MAX,
    Cursor,
    Version,
    backwards,
    classes_of,
    forwards,
    look_at,
    pieces_of,
    stacks,
)
from daos.vos.extent_scan import RECORDS_MAX as RECORDS_MAX
from daos.vos.extent_scan import Piece as Piece
from daos.vos.extent_scan import Reader as Reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DATA_WIDTH_MAX: Final = (1 << 48) - 1
# Records from here on hold parity, where an object has any.
PARITY_LO: Final = 1 << 63
# Minor epochs. Source: DAOS src/vos/evt_priv.h EVT_REBUILD_MINOR_MIN
MINOR_REBUILD: Final = 16384
MINOR_MAX: Final = 2 * MINOR_REBUILD - 1

NO_FLOOR: Final = (0, 0)
_TOUCH_STEPS_MAX: Final = 16
# Holes, and gaps, that a page of visible data passes beside the pieces it has: 4 ms.
_HOLES_MAX: Final = 512


class Writer(Protocol):
    """What is used of a Tx."""

    def get(self, key: bytes, /) -> bytes | None: ...
    def put(self, key: bytes, value: bytes, /) -> None: ...
    def delete(self, key: bytes, /) -> None: ...


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
    return KEY.pack(akey_id, class_of(width), lo, epoch ^ U64_MAX, minor ^ U16_MAX)


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
    replaced. A minor of MINOR_REBUILD takes the next one where it is taken. What the transaction
    itself has put is not seen: give it disjoint extents only (`check_disjoint`).

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
    class_bit = 1 << class_of(record.width)
    cursor = reader.cursor()
    replaced = None
    bound = max(bound, epoch)
    if epoch <= epoch_newest:
        found = versions(reader, akey_id, lo, hi, classes=classes, epoch_lo=epoch, epoch_hi=bound)
        minor, replaced = _settle_conflicts(found, lo, hi, epoch, minor)
    key = extent_key(akey_id, lo, record.width, epoch=epoch, minor=minor)
    below = _widest_below(cursor, key) if classes & class_bit else 0
    aggregatable = bool(below) or replaced is not None or _touches(cursor, akey_id, classes, lo, hi)
    if replaced is None or not (replaced.is_hole and record.is_hole):
        reach = below if below > record.width else 0
        if reach != record.reach:
            record = msgspec.structs.replace(record, reach=reach)
        if classes & class_bit and epoch <= epoch_newest:
            _raise_reach(cursor, tx, key, reach or record.width)
        tx.put(key, record.emit())
    return Inserted(class_bit, minor, aggregatable, replaced)


def place(
    reader: Reader,
    tx: Writer,
    akey_id: int,
    lo: int,
    record: ExtentRecord,
    *,
    epoch: Epoch | int,
    minor: int,
    classes: int,
) -> int:
    """Write an extent that takes the place of others, looking for no conflicts; its class bit.

    What the transaction deletes has to be deleted after this: it may be put again here.

    Cost:       a seek, and a put for each newer version of its stack that is narrower
    """
    cursor = reader.cursor()
    class_bit = 1 << class_of(record.width)
    key = extent_key(akey_id, lo, record.width, epoch=epoch, minor=minor)
    below = _widest_below(cursor, key) if classes & class_bit else 0
    reach = below if below > record.width else 0
    if classes & class_bit:
        _raise_reach(cursor, tx, key, reach or record.width)
    tx.put(key, msgspec.structs.replace(record, reach=reach).emit())
    return class_bit


def classes_in_use(reader: Reader, akey_id: int, classes: int) -> int:
    """The classes of a mask that have extents. Cost: a seek a class."""
    cursor = reader.cursor()
    for cls in classes_of(classes):
        prefix = CLASS.pack(akey_id, cls)
        if not cursor.set_range(prefix) or cursor.key()[:CLASS_END] != prefix:
            classes ^= 1 << cls
    return classes


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
    patience: int = 0,
) -> list[Piece]:
    """What a reader at `epoch` finds in records [lo, hi): pieces in order, gaps and holes included.

    The pieces cover [lo, hi) without overlap; neighbours belong to different extents.

    Raises:     TxRestartError   an extent within (epoch, bound]
                InvalidError     an empty range, or one outside of the 2**64 records
                CorruptError     a record is damaged
                ManyStacksError  more than `patience`, unless that is 0
    Cost:       O(classes * log n + k), k stacks in the windows; see the module
    Source:     DAOS src/vos/evtree.c evt_find, evt_ent_array_fill, evt_ent_array_sort
    """
    _check_range(lo, hi)
    if bound > epoch:
        refuse_uncertain(reader, akey_id, lo, hi, classes=classes, epoch=epoch, bound=bound)
    look = look_at(akey_id, classes, epoch, floor)
    return pieces_of(reader.cursor(), look, lo, hi, patience=patience)


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

    Fewer, or none, where there are many holes on the way.

    A page ends at `anchor`: go on with lo=anchor, in reverse with hi=anchor. Pieces that touch are
    not joined, they belong to different extents.

    Cost:       O(classes * log n) plus a step for every stack on the way, hidden ones included;
                at most `limit` and 512 pieces, gaps and holes among them
    Source:     DAOS src/vos/evt_iter.c, EVT_ITER_VISIBLE | EVT_ITER_SKIP_HOLES, EVT_ITER_REVERSE
    """
    if lo >= hi:
        return VisiblePage([], lo if reverse else hi, eof=True)
    _check_range(lo, hi)
    scan = backwards if reverse else forwards
    found = scan(reader, look_at(akey_id, classes, epoch, floor), lo, hi)
    pieces: list[Piece] = []
    for steps, piece in enumerate(found):
        if piece.is_data:
            if len(pieces) == limit:
                if not pieces:
                    return VisiblePage([], hi if reverse else lo, eof=False)
                return VisiblePage(pieces, pieces[-1].lo if reverse else pieces[-1].hi, eof=False)
            pieces.append(piece)
        elif steps >= limit + _HOLES_MAX:
            return VisiblePage(pieces, piece.lo if reverse else piece.hi, eof=False)
    return VisiblePage(pieces, lo if reverse else hi, eof=True)


def first_visible(
    reader: Reader,
    akey_id: int,
    *,
    classes: int,
    epoch: Epoch | int,
    floor: tuple[int, int] = NO_FLOOR,
) -> Piece | None:
    """The visible data with the lowest records; None if there is none. Cost: as `visible`."""
    found = forwards(reader, look_at(akey_id, classes, epoch, floor), 0, RECORDS_MAX)
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
    found = backwards(reader, look_at(akey_id, classes, epoch, floor), 0, RECORDS_MAX)
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
    look = look_at(akey_id, classes, epoch_hi, NO_FLOOR)
    for cls in classes_of(classes):
        for start, inv, inv_minor in stacks(cursor, look, cls, lo, hi):
            stack = cursor.key()[:STACK_END]
            while inv <= inv_last:
                record = ExtentRecord.parse(cursor.value())
                end = start + record.width
                if end > lo:
                    yield Version(start, end, inv ^ U64_MAX, inv_minor ^ U16_MAX, record)
                if not cursor.next() or cursor.key()[:STACK_END] != stack:
                    break
                _, _, _, inv, inv_minor = KEY.unpack(cursor.key())


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


def _widest_below(cursor: Cursor, key: bytes) -> int:
    """The width of the widest extent below `key` in its stack; 0 if there is none."""
    found = cursor.set_range(key)
    if found and cursor.key() == key:
        found = cursor.next()
    if not found or cursor.key()[:STACK_END] != key[:STACK_END]:
        return 0
    older = ExtentRecord.parse(cursor.value())
    return max(older.width, older.reach)


def _raise_reach(cursor: Cursor, tx: Writer, key: bytes, reach: int) -> None:
    """Keep X3 for the newer extents of the stack of `key`; only writes out of order have any."""
    found = cursor.prev() if cursor.set_range(key) else cursor.last()
    while found and cursor.key()[:STACK_END] == key[:STACK_END]:
        newer = ExtentRecord.parse(cursor.value())
        if max(newer.width, newer.reach) >= reach:
            break
        tx.put(cursor.key(), msgspec.structs.replace(newer, reach=reach).emit())
        found = cursor.prev()


def refuse_uncertain(
    reader: Reader, akey_id: int, lo: int, hi: int, *, classes: int, epoch: int, bound: int
) -> None:
    """Refuse to look at [lo, hi) where an extent was written in (epoch, bound].

    Raises:     TxRestartError
    """
    found = versions(reader, akey_id, lo, hi, classes=classes, epoch_lo=epoch + 1, epoch_hi=bound)
    for version in found:
        raise TxRestartError(f"records [{lo}, {hi}) were written at {version.epoch}, in doubt")


def _touches(cursor: Cursor, akey_id: int, classes: int, lo: int, hi: int) -> bool:
    """Whether an extent overlaps or meets [lo, hi), or data and parity come together.

    A hint: it looks at the tops of stacks only, and says yes when it has seen enough of them.
    """
    look = look_at(akey_id, classes, EPOCH_MAX, NO_FLOOR)
    other_lo, other_hi = (PARITY_LO, RECORDS_MAX) if lo < PARITY_LO else (0, PARITY_LO)
    for cls in classes_of(classes):
        near = stacks(cursor, look, cls, max(lo - 1, 0), min(hi + 1, RECORDS_MAX))
        for steps, (start, _, _) in enumerate(near):
            top = ExtentRecord.parse(cursor.value())
            if start + max(top.width, top.reach) >= lo or steps >= _TOUCH_STEPS_MAX:
                return True
        if cursor.set_range(KEY.pack(akey_id, cls, other_lo, 0, 0)):
            found = cursor.key()
            if found[:CLASS_END] == CLASS.pack(akey_id, cls) and KEY.unpack(found)[2] < other_hi:
                return True
    return False

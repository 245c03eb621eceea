"""What changed between two epochs a < b: keys that came and went, values and records written.

Both sides are looked at by the rules of every reader, node by node:

    CREATED    the akey exists at b, not at a
    PUNCHED    it exists at a, not at b
    CHANGED    it exists at both, and of its value
                   what is visible at b was written after a, or
                   what was visible at a is not there at b

"Written" counts, not the bytes: a value that was written again with the same content has changed.
An array says which records: those written after a and visible at b, and those that are gone.

No version is compared with another, only epochs with a: aggregation, which gives merged extents the
newest epoch of what it merged, never merges across a snapshot, so that for snapshots the answer is
exact, before and after it.

A page goes on where the one before ended, also in the middle of an array. Its anchor:

     0  u8   version       1
     1  u64  context       XXH3-64 of container, a and the kind of listing
     9  u64  record        of the array that goes on; else 0
    17  3 x (u16 size, key order)   of object, dkey, akey looked at last
        u64  checksum      XXH3-64 of everything before it

Source: ours, in place of DAOS's rollback, which does not exist.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from daos.base.checksum import xxh3
from daos.base.errors import InvalidError
from daos.base.ids import Epoch, KeyKind, UnitOid
from daos.base.iod import IodType
from daos.vos import anchor as anchors
from daos.vos import extents, keys
from daos.vos.extent_scan import RECORDS_MAX, Piece
from daos.vos.ilog_view import ROOT, IlogView
from daos.vos.iterate import PAGE_BYTES, Page, unit_of
from daos.vos.nodes import Node, load
from daos.vos.records import NodeRecord
from daos.vos.single import Version, newest
from daos.vos.state import ContainerState

# Nodes that one page looks at, 10 to 20 us each; and pieces of arrays, 8 us each, two a step.
_STEPS_MAX: Final = 256
_PIECES_A_STEP: Final = 2
# Pieces of an array that one look takes in, of each side.
_PIECES_MAX: Final = 256
# Of keys and ranges; what passes it ends the page, so that a reply fits whatever the keys are.
_BYTES_MAX: Final = PAGE_BYTES
_RANGE_BYTES: Final = 20

_DEPTH_MAX: Final = 2  # of akeys, below objects
_VERSION: Final = 1
_HEAD: Final = struct.Struct(">BQQ")
_SIZE: Final = struct.Struct(">H")
_U64: Final = struct.Struct(">Q")
_ANCHOR_SIZE_MAX: Final = _HEAD.size + 3 * (_SIZE.size + keys.KEY_SIZE_MAX) + _U64.size
_KIND_OF_LISTING: Final = 0xD1


class ChangeKind(IntEnum):
    """What became of an akey."""

    CREATED = 1
    CHANGED = 2
    PUNCHED = 3


class ChangedRange(NamedTuple):
    """Records [lo, hi) of an array; written, or else gone."""

    lo: int
    hi: int
    written: bool


class ChangeEntry(NamedTuple):
    """One akey. `size`: bytes of the single value at b, or of a record; ranges: of an array.

    A long list of ranges goes on in the next entry, of the same akey.
    """

    unit: UnitOid
    dkey: bytes
    akey: bytes
    kind: ChangeKind
    size: int
    ranges: tuple[ChangedRange, ...]


class _Spot(NamedTuple):
    """Key orders of the nodes looked at last, from the object down, and a record of the akey."""

    orders: tuple[bytes, bytes, bytes] = (b"", b"", b"")
    record: int = 0


class _Side(NamedTuple):
    """A node as a reader of one side sees it."""

    seen: IlogView
    alive: bool


class _FullError(Exception):
    """The page ends here."""


def changes(
    state: ContainerState, a: Epoch, b: Epoch, anchor: bytes, limit: int
) -> Page[ChangeEntry]:
    """See VosContainer.list_changes. Cost: O(nodes looked at), which are all below what exists."""
    if not 0 < a < b:
        raise InvalidError(f"a difference is of two epochs, the older one first: {a}, {b}")
    if not 0 < limit <= _STEPS_MAX * 16:
        raise InvalidError(f"a page holds 1 to {_STEPS_MAX * 16} entries, not {limit}")
    context = anchors.context_of(state, _KIND_OF_LISTING, _U64.pack(a))
    walk = _Walk(state, (int(a), int(b)), limit, _parse(anchor, context))
    lsn = state.lsns.container
    try:
        top = _Side(ROOT, True)
        walk.level(state.node_id, keys.OBJECT, (top, top), (KeyKind.LEXICAL, KeyKind.LEXICAL))
    except _FullError:
        return Page(walk.found, _emit(context, walk.spot), False, lsn)
    return Page(walk.found, b"", True, lsn)


class _Walk:
    """One page on its way through the tree."""

    def __init__(
        self, state: ContainerState, epochs: tuple[int, int], limit: int, start: _Spot
    ) -> None:
        self.state = state
        self.epochs = epochs
        self.limit = limit
        self.found: list[ChangeEntry] = []
        self.spot = start
        self._resume = start if start.orders[0] else None
        self._steps = 0
        self._nbytes = 0  # of what was found
        self._path: list[bytes] = []  # key orders, from the object down
        self._keys: list[bytes] = [b"", b""]  # dkey and akey

    def level(
        self,
        parent_id: int,
        level: int,
        sides: tuple[_Side, _Side],
        kinds: tuple[KeyKind, KeyKind],
    ) -> None:
        """Every child of a node, from where the last page ended."""
        prefix = seek = keys.node_prefix(parent_id, level)
        depth = level - keys.OBJECT
        spot = self._resume
        if spot is not None:
            deeper = spot.orders[depth + 1] if depth < _DEPTH_MAX else spot.record
            seek = prefix + spot.orders[depth] + (b"" if deeper else b"\0")
            self._resume = spot if deeper else None
        cursor = self.state.meta.cursor()
        more = cursor.set_range(seek)
        while more:
            key, value = cursor.item()
            if not key.startswith(prefix):
                return
            order = key[len(prefix) :]
            if self._resume is not None and order != self._resume.orders[depth]:
                self._resume = None  # what the last page was in has gone
            self._path[depth:] = [order]
            self._look(load(key, value), level, sides, kinds)
            self._resume = None
            self._path[depth + 1 :] = []
            self._step(0)
            more = cursor.next()

    def _look(
        self,
        node: Node,
        level: int,
        sides: tuple[_Side, _Side],
        kinds: tuple[KeyKind, KeyKind],
    ) -> None:
        a, b = (_side(node, epoch, side) for epoch, side in zip(self.epochs, sides, strict=True))
        if not a.alive and not b.alive:
            return
        if level == keys.OBJECT:
            kinds = keys.key_kinds(unit_of(self._path[0]))
        else:
            index = level - keys.DKEY
            self._keys[index] = node.record.key or keys.user_key(self._path[-1], kinds[index])
        if level == keys.AKEY:
            self._akey(node.record, a, b, self._resume.record if self._resume is not None else 0)
        else:
            self.level(node.id, level + 1, (a, b), kinds)

    def _step(self, record: int) -> None:
        """One node is seen to, or an array up to a record; ends the page if that was enough."""
        orders = [*self._path, b"", b""]
        self.spot = _Spot((orders[0], orders[1], orders[2]), record)
        self._steps += 1
        found = self.found
        if self._steps >= _STEPS_MAX or len(found) >= self.limit or self._nbytes >= _BYTES_MAX:
            raise _FullError

    def _akey(self, record: NodeRecord, a: _Side, b: _Side, lo: int) -> None:
        kind = ChangeKind.CHANGED
        if a.alive is not b.alive:
            kind = ChangeKind.CREATED if b.alive else ChangeKind.PUNCHED
        if record.value_type == IodType.SINGLE:
            old, new = self._single(record, a, 0), self._single(record, b, 1)
            changed = new.epoch > self.epochs[0] if new is not None else old is not None
            if changed or kind is not ChangeKind.CHANGED:
                self._add(kind, new.record.size if new is not None else 0, ())
            return
        while True:
            ranges, lo = self._ranges(record, a, b, lo)
            if ranges or (kind is not ChangeKind.CHANGED and lo >= RECORDS_MAX):
                self._add(kind, record.record_size, tuple(ranges))
            if lo >= RECORDS_MAX:
                return
            self._step(lo)

    def _single(self, record: NodeRecord, side: _Side, which: int) -> Version | None:
        """The value that a reader finds."""
        if not side.alive:
            return None
        found = newest(self.state.meta, record.node_id, self.epochs[which], side.seen.prior_punch)
        return None if found is None or found.record.is_punch else found

    def _ranges(
        self, record: NodeRecord, a: _Side, b: _Side, lo: int
    ) -> tuple[list[ChangedRange], int]:
        """What changed of the records from `lo` on, and up to where it was looked at."""
        pages = []
        end = RECORDS_MAX
        for side, epoch in zip((a, b), self.epochs, strict=True):
            pieces: list[Piece] = []
            if side.alive and record.class_mask:
                page = extents.visible(
                    self.state.meta,
                    record.node_id,
                    classes=record.class_mask,
                    epoch=epoch,
                    limit=_PIECES_MAX,
                    lo=lo,
                    floor=side.seen.prior_punch,
                )
                pieces = page.pieces
                self._steps += (len(pieces) if page.eof else _PIECES_MAX) // _PIECES_A_STEP
                if not page.eof:
                    end = min(end, page.anchor)
            pages.append(pieces)
        old, new = ([(p.lo, min(p.hi, end), p.epoch) for p in page if p.lo < end] for page in pages)
        ranges = [ChangedRange(p, q, True) for p, q, epoch in new if epoch > self.epochs[0]]
        ranges += [ChangedRange(p, q, False) for p, q in _without(old, new)]
        return _joined(sorted(ranges)), end

    def _add(self, kind: ChangeKind, size: int, ranges: tuple[ChangedRange, ...]) -> None:
        dkey, akey = self._keys
        self._nbytes += len(dkey) + len(akey) + _RANGE_BYTES * len(ranges)
        self.found.append(ChangeEntry(unit_of(self._path[0]), dkey, akey, kind, size, ranges))


def _side(node: Node, epoch: int, above: _Side) -> _Side:
    if not above.alive:
        return above
    seen = node.look(epoch, above.seen)
    return _Side(seen, seen.visible)


def _without(
    old: list[tuple[int, int, int]], new: list[tuple[int, int, int]]
) -> list[tuple[int, int]]:
    """The parts of `old` ranges that no `new` one covers; both ascend and do not overlap."""
    left: list[tuple[int, int]] = []
    index = 0
    for lo, hi, _ in old:
        at = lo
        while index < len(new) and new[index][1] <= at:
            index += 1
        after = index
        while at < hi:
            if after == len(new) or new[after][0] >= hi:
                left.append((at, hi))
                break
            if at < new[after][0]:
                left.append((at, new[after][0]))
            at = new[after][1]
            after += 1
    return left


def _joined(ranges: list[ChangedRange]) -> list[ChangedRange]:
    """Neighbours of one kind as one."""
    joined: list[ChangedRange] = []
    for each in ranges:
        last = joined[-1] if joined else None
        if last is not None and last.hi == each.lo and last.written == each.written:
            joined[-1] = last._replace(hi=each.hi)
        else:
            joined.append(each)
    return joined


def _emit(context: int, spot: _Spot) -> bytes:
    body = _HEAD.pack(_VERSION, context, spot.record)
    body += b"".join([_SIZE.pack(len(order)) + order for order in spot.orders])
    return body + _U64.pack(xxh3(body))


def _parse(anchor: bytes, context: int) -> _Spot:
    """Raises: InvalidError."""
    if not anchor:
        return _Spot()
    body = anchor[:-8]
    if not _HEAD.size + _U64.size < len(anchor) <= _ANCHOR_SIZE_MAX:
        raise InvalidError(f"an anchor of {len(anchor)} bytes is none of ours")
    if _U64.pack(xxh3(body)) != anchor[-8:]:
        raise InvalidError("the anchor is damaged")
    version, made_for, record = _HEAD.unpack_from(body)
    if (version, made_for) != (_VERSION, context):
        raise InvalidError("the anchor belongs to another listing")
    orders: list[bytes] = []
    at = _HEAD.size
    for _ in range(3):
        if at + _SIZE.size > len(body):
            raise InvalidError("the anchor is too short")
        (size,) = _SIZE.unpack_from(body, at)
        at += _SIZE.size + size
        orders.append(body[at - size : at])
    if at != len(body) or not orders[0]:
        raise InvalidError("the anchor names no place")
    return _Spot((orders[0], orders[1], orders[2]), record)

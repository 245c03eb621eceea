"""Enumeration: pages of objects, dkeys, akeys, extents and versions, resumed by opaque anchors.

Both directions; keys by prefix and from a start on. A page ends at `limit` entries, at `bytes_max`
bytes of keys (but it has one entry), at the end, or after a bounded number of entries that the
reader does not see: then it may be empty with eof False.

Order and positions of keys: scan.py; of versions: versions.py; anchors: anchor.py.

Invariants:
    I1  every entry that is visible through all pages is listed exactly once; only where a page
        ended at a long lexical key that was punched, and aggregated, since then, those that share
        its first 400 bytes may come again
    I2  a step is bounded: `_SKIP_MAX` entries, or one group of long keys
Source: DAOS src/vos/vos_iterator.c, vos_obj.c; src/object/srv_enum.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, Generic, NamedTuple, TypeVar

from daos.base.checksum import xxh3
from daos.base.errors import InvalidError
from daos.base.ids import EPOCH_MAX, U64_MAX, Epoch, KeyKind, Lsn, ObjectId, ShardIndex, UnitOid
from daos.base.iod import IodType
from daos.vos import anchor as anchors
from daos.vos import extents, keys, versions
from daos.vos.anchor import Position
from daos.vos.extent_page import visible_page
from daos.vos.extent_scan import look_at
from daos.vos.fetch import walk
from daos.vos.ilog_view import ROOT, IlogView
from daos.vos.nodes import Node, view
from daos.vos.scan import Bounds, KeyScan
from daos.vos.state import ContainerState
from daos.vos.versions import Epochs

PAGE_BYTES: Final = 512 << 10
LIMIT_MAX: Final = 1 << 16
# Entries that a page passes beside those it lists: 4 ms.
_SKIP_MAX: Final = 256

_U64: Final = struct.Struct(">Q")
_BACKWARDS: Final = b"backwards"

Entry = TypeVar("Entry")


class Page(NamedTuple, Generic[Entry]):
    """Entries in order; the next page begins at `anchor`, unless `eof`.

    `lsn`: what the page says may be told once the log is durable up to here.
    """

    entries: list[Entry]
    anchor: bytes
    eof: bool
    lsn: Lsn


class ExtentEntry(NamedTuple):
    """Visible records [lo, hi), and the epoch that wrote them."""

    lo: int
    hi: int
    epoch: int
    record_size: int


class VersionEntry(NamedTuple):
    """What one update wrote: records [lo, hi), or a single value ([0, 1)).

    `size`: bytes a record, or of the value; 0: a punch, or an empty value. `covered`: a punch of
    the akey, or of what is above it, hides it at the newest epoch asked for.
    """

    lo: int
    hi: int
    epoch: int
    minor: int
    size: int
    covered: bool


class Where(NamedTuple):
    """What is listed: below the object, the dkey, the akey."""

    oid: UnitOid
    dkey: bytes | None = None
    akey: bytes | None = None


class Choice(NamedTuple):
    """Which keys, and in which direction; see scan.KeyScan."""

    prefix: bytes = b""
    start: bytes = b""
    reverse: bool = False


ALL: Final = Choice()


def objects(
    state: ContainerState, epoch: Epoch, anchor: bytes, bounds: Bounds, *, reverse: bool
) -> Page[UnitOid]:
    """See VosContainer.list_objects. Cost: O(entries looked at)."""
    _check_bounds(bounds)
    _check_epoch(epoch)
    context = anchors.context_of(state, keys.OBJECT, *((_BACKWARDS,) if reverse else ()))
    scan = KeyScan(state, state.node_id, keys.OBJECT, KeyKind.LEXICAL, reverse=reverse)
    position = anchors.parse(anchor, context)
    found, order, eof = _page(scan, position, (int(epoch), ROOT), bounds)
    entries = [unit_of(order) for order in found]
    return Page(entries, anchors.emit(context, order), eof, state.lsns.container)


def dkeys(
    state: ContainerState,
    oid: UnitOid,
    epoch: Epoch,
    anchor: bytes,
    bounds: Bounds,
    *,
    choice: Choice,
) -> Page[bytes]:
    """See VosContainer.list_dkeys. Cost: O(entries looked at)."""
    _check_bounds(bounds)
    _check_epoch(epoch)
    kind = keys.key_kinds(oid)[0]
    _check_choice(choice, kind)
    order = keys.object_order(oid)
    context = _key_context(state, keys.DKEY, choice, order)
    position = anchors.parse(anchor, context)
    lsn = state.lsns.of_object(xxh3(order))
    node = state.nodes.object(order)
    seen = ROOT if node is None else node.look(int(epoch))
    if node is None or not seen.visible:
        return Page([], b"", True, lsn)
    scan = KeyScan(state, node.id, keys.DKEY, kind, **choice._asdict())
    found, order, eof = _page(scan, position, (int(epoch), seen), bounds)
    return Page(found, anchors.emit(context, order), eof, lsn)


def akeys(
    state: ContainerState,
    where: Where,
    epoch: Epoch,
    anchor: bytes,
    bounds: Bounds,
    *,
    choice: Choice,
) -> Page[bytes]:
    """See VosContainer.list_akeys. Cost: O(entries looked at)."""
    _check_bounds(bounds)
    _check_epoch(epoch)
    kinds = keys.key_kinds(where.oid)
    _check_choice(choice, kinds[1])
    dkey = where.dkey or b""
    keys.check_user_key(dkey, kinds[0], "dkey")
    order = keys.object_order(where.oid)
    context = _key_context(state, keys.AKEY, choice, order, dkey)
    position = anchors.parse(anchor, context)
    lsn = state.lsns.of_dkey(xxh3(order), xxh3(dkey))
    node, seen = walk(state, order, dkey, kinds[0], int(epoch))
    if node is None:
        return Page([], b"", True, lsn)
    scan = KeyScan(state, node.id, keys.AKEY, kinds[1], **choice._asdict())
    found, order, eof = _page(scan, position, (int(epoch), seen), bounds)
    return Page(found, anchors.emit(context, order), eof, lsn)


def extents_of(
    state: ContainerState,
    where: Where,
    epoch: Epoch,
    anchor: bytes,
    limit: int,
    *,
    reverse: bool,
) -> Page[ExtentEntry]:
    """See VosContainer.list_extents. Cost: as `visible_page`, whatever is hidden."""
    _check_bounds(Bounds(limit, PAGE_BYTES))
    _check_epoch(epoch)
    order, context = _value_context(state, 0, where, reverse=reverse)
    position = anchors.parse(anchor, context).order
    lsn = state.lsns.of_dkey(xxh3(order), xxh3(where.dkey or b""))
    node, seen = find_akey(state, order, where, int(epoch))
    if node is None or node.record.value_type != IodType.ARRAY:
        return Page([], b"", True, lsn)
    within, joined = _rest_of(position, reverse=reverse)
    record = node.record
    look = look_at(node.id, record.class_mask, epoch, seen.prior_punch)
    page = visible_page(state.meta, look, within, limit, reverse=reverse, joined=joined)
    entries = [ExtentEntry(p.lo, p.hi, p.epoch, record.record_size) for p in page.pieces]
    if page.eof:
        return Page(entries, b"", True, lsn)
    after = _U64.pack(page.anchor) + (b"" if page.joined is None else _U64.pack(page.joined))
    return Page(entries, anchors.emit(context, after), False, lsn)


def versions_of(
    state: ContainerState,
    where: Where,
    epochs: Epochs,
    anchor: bytes,
    limit: int,
    *,
    reverse: bool,
) -> Page[VersionEntry]:
    """See VosContainer.list_versions. Cost: O(versions, and stacks of extents passed)."""
    _check_bounds(Bounds(limit, PAGE_BYTES))
    if not (0 <= epochs.lo <= U64_MAX and 0 <= epochs.hi <= U64_MAX):
        raise InvalidError(f"epochs [{epochs.lo}, {epochs.hi}] are no u64")
    order, context = _value_context(state, 1, where, reverse=reverse)
    after = anchors.parse(anchor, context).order
    lsn = state.lsns.of_dkey(xxh3(order), xxh3(where.dkey or b""))
    node, floor = _find_written(state, order, where, epochs.hi)
    if node is None or not node.record.value_type or epochs.lo > epochs.hi:
        return Page([], b"", True, lsn)
    is_single = node.record.value_type == IodType.SINGLE
    if after and not versions.is_place(after, single=is_single):
        raise InvalidError("the anchor is of values of another type")
    entries: list[VersionEntry] = []
    found = stored_versions(state, node, epochs, after, reverse=reverse)
    for step, (place, entry) in enumerate(found, 1):
        if entry is not None:
            entries.append(entry._replace(covered=(entry.epoch, entry.minor) <= floor))
        if len(entries) >= limit or step >= _SKIP_MAX + limit:
            return Page(entries, anchors.emit(context, place), False, lsn)
    return Page(entries, b"", True, lsn)


def key_anchor(state: ContainerState, where: Where, choice: Choice = ALL) -> tuple[bytes, bool]:
    """The anchor at which a listing of dkeys, or of akeys, begins with the key of `where`.

    The second result: there is no such key, so that nothing begins there.

    Source:     DAOS src/vos/vos_obj.c vos_obj_key2anchor
    """
    kinds = keys.key_kinds(where.oid)
    order, dkey = keys.object_order(where.oid), where.dkey or b""
    keys.check_user_key(dkey, kinds[0], "dkey")
    level, above = keys.DKEY, [order]
    parent = state.nodes.object(order)
    node = None if parent is None else state.nodes.key(parent.id, keys.DKEY, dkey, kinds[0])
    if where.akey is not None:
        keys.check_user_key(where.akey, kinds[1], "akey")
        level, above = keys.AKEY, [order, dkey]
        if node is not None:
            node = state.nodes.key(node.id, keys.AKEY, where.akey, kinds[1])
    if node is None:
        return b"", True
    position = node.key[keys.NODE_PREFIX_SIZE :]
    context = _key_context(state, level, choice, *above)
    return anchors.emit(context, position, included=True), False


def find_akey(
    state: ContainerState, order: bytes, where: Where, epoch: int
) -> tuple[Node | None, IlogView]:
    """The akey's node, None if a reader at `epoch` does not find it, and its view."""
    kinds = keys.key_kinds(where.oid)
    assert where.dkey is not None
    assert where.akey is not None
    node, seen = walk(state, order, where.dkey, kinds[0], epoch)
    if node is None:
        return None, seen
    node = state.nodes.key(node.id, keys.AKEY, where.akey, kinds[1])
    if node is None:
        return None, seen
    seen = node.look(epoch, seen)
    return (node if seen.visible else None), seen


def unit_of(order: bytes) -> UnitOid:
    """The object of a key order."""
    hi, lo, shard = keys.parse_object_order(order)
    return UnitOid(ObjectId(hi, lo), ShardIndex(shard))


def _page(
    scan: KeyScan, position: Position, at: tuple[int, IlogView], bounds: Bounds
) -> tuple[list[bytes], bytes, bool]:
    """User keys, the position after them, and whether that is the end."""
    epoch, parent = at

    def sees(node: Node) -> bool:
        return node.look(epoch, parent).visible

    found: list[bytes] = []
    order, room = position.order, bounds.bytes_max
    for step, child in enumerate(scan.walk(position, sees, bounds), 1):
        if child is None:
            return found, order, False  # a group of long keys goes on behind this page
        if child.node is not None:
            room -= len(child.key)
            if found and room < 0:
                return found, order, False
            found.append(child.key)
        order = child.order
        if len(found) >= bounds.limit or step >= _SKIP_MAX + bounds.limit:
            return found, order, False
    return found, b"", True


def stored_versions(
    state: ContainerState, node: Node, epochs: Epochs, after: bytes, *, reverse: bool
) -> Iterator[tuple[bytes, VersionEntry | None]]:
    """Versions of either kind with their places, behind a place; None: passed over."""
    if node.record.value_type == IodType.SINGLE:
        walk = versions.singles(state.meta, node.id, epochs, after=after, newest_first=reverse)
        for place, one in walk:
            yield place, VersionEntry(0, 1, one.epoch, one.minor, one.record.size, False)
        return
    classes = node.record.class_mask
    for place, found in versions.extents(
        state.meta, node.id, epochs, classes=classes, after=after, reverse=reverse
    ):
        if found is None:
            yield place, None
            continue
        size = found.record.record_size
        yield place, VersionEntry(found.lo, found.hi, found.epoch, found.minor, size, False)


def _find_written(
    state: ContainerState, order: bytes, where: Where, epoch: int
) -> tuple[Node | None, tuple[int, int]]:
    """The akey's node, whoever sees it, and the newest punch above its values at `epoch`."""
    assert where.dkey is not None
    assert where.akey is not None
    kinds = keys.key_kinds(where.oid)
    node, seen = state.nodes.object(order), ROOT
    for level, key, kind in (
        (keys.DKEY, where.dkey, kinds[0]),
        (keys.AKEY, where.akey, kinds[1]),
    ):
        if node is None:
            return None, extents.NO_FLOOR
        seen = view(node, epoch, seen)
        node = state.nodes.key(node.id, level, key, kind)
    if node is None:
        return None, extents.NO_FLOOR
    return node, view(node, epoch, seen).prior_punch


def _rest_of(position: bytes, *, reverse: bool) -> tuple[tuple[int, int], int | None]:
    """The records that are left behind a position, and what goes on there. Raises: InvalidError."""
    if not position:
        return (0, extents.RECORDS_MAX), None
    if len(position) not in (_U64.size, 2 * _U64.size):
        raise InvalidError(f"a position of {len(position)} bytes is none among extents")
    (edge,) = _U64.unpack_from(position)
    within = (0, edge) if reverse else (edge, extents.RECORDS_MAX)
    if len(position) == _U64.size:
        return within, None
    (joined,) = _U64.unpack_from(position, _U64.size)
    if joined < edge if reverse else joined >= edge:
        raise InvalidError(f"an extent that goes on at {edge} does not begin, or end, at {joined}")
    return within, joined


def _key_context(state: ContainerState, level: int, choice: Choice, *parts: bytes) -> int:
    backwards = (_BACKWARDS,) if choice.reverse else ()
    return anchors.context_of(state, level, *parts, choice.prefix, *backwards)


def _value_context(
    state: ContainerState, level: int, where: Where, *, reverse: bool
) -> tuple[bytes, int]:
    """The object's key order, and what anchors of a listing below an akey are made for."""
    kinds = keys.key_kinds(where.oid)
    dkey, akey = where.dkey or b"", where.akey or b""
    keys.check_user_key(dkey, kinds[0], "dkey")
    keys.check_user_key(akey, kinds[1], "akey")
    order = keys.object_order(where.oid)
    backwards = (_BACKWARDS,) if reverse else ()
    return order, anchors.context_of(state, level, order, dkey, akey, *backwards)


def _check_bounds(bounds: Bounds) -> None:
    if not 0 < bounds.limit <= LIMIT_MAX:
        raise InvalidError(f"a page holds 1 to {LIMIT_MAX} entries, not {bounds.limit}")
    if bounds.bytes_max < 1:
        raise InvalidError(f"a page of {bounds.bytes_max} bytes holds nothing")


def _check_choice(choice: Choice, kind: KeyKind) -> None:
    if choice.prefix and kind is KeyKind.UINT64:
        raise InvalidError("integer keys have no prefixes")
    if len(choice.prefix) > keys.USER_KEY_SIZE_MAX:
        raise InvalidError(f"a prefix of {len(choice.prefix)} bytes is longer than any key")
    if choice.start:
        if kind is KeyKind.HASHED:
            raise InvalidError("hashed keys have no order to start in")
        keys.check_user_key(choice.start, kind, "start")


def _check_epoch(epoch: int) -> None:
    if not 0 < epoch <= EPOCH_MAX:
        raise InvalidError(f"nothing is read at epoch {epoch}")

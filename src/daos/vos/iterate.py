"""Enumeration: pages of objects, dkeys, akeys and extents, resumed by opaque anchors.

An anchor says where the page before ended, and what it listed:

     0  u8   version      1
     1  u64  context      XXH3-64 of container, kind of listing, object, dkey, akey and prefix
     9       position     key order of the last entry looked at; of extents: u64 next record
             u64 checksum XXH3-64 of everything before it

Integers big-endian. An anchor of another listing, or a damaged one, is refused; keys that came or
went since then do not matter, since a position need not exist. An empty anchor is the beginning.

A page ends at `limit` entries, at `bytes_max` bytes of keys (but it has one entry), at the end, or
after a bounded number of entries that the reader does not see: then it may be empty with eof False.

Order: bytes of the key order. Long lexical keys that share their first 400 bytes stand there by
hash; each page reads the whole group and picks the next ones by the full keys in the records.

Invariants:
    I1  every entry that is visible through all pages is listed exactly once
    I2  a step is bounded: `_SKIP_MAX` entries, or one group of long keys
Source: DAOS src/vos/vos_iterator.c, vos_obj.c; src/object/srv_enum.c.
"""

from __future__ import annotations

import struct
from bisect import insort
from collections.abc import Iterator
from typing import Final, Generic, NamedTuple, TypeVar

from daos.base.checksum import xxh3
from daos.base.errors import InvalidError
from daos.base.ids import EPOCH_MAX, Epoch, KeyKind, Lsn, ObjectId, ShardIndex, UnitOid
from daos.base.iod import IodType
from daos.vos import extents, keys
from daos.vos.fetch import walk
from daos.vos.ilog_view import ROOT, IlogView
from daos.vos.nodes import Node, load
from daos.vos.state import ContainerState

PAGE_BYTES: Final = 512 << 10
LIMIT_MAX: Final = 1 << 16
_SKIP_MAX: Final = 4096

_VERSION: Final = 1
_ANCHOR_HEAD: Final = struct.Struct(">BQ")
_U64: Final = struct.Struct(">Q")
_ANCHOR_SIZE_MIN: Final = _ANCHOR_HEAD.size + _U64.size
_POSITION_SIZE_MAX: Final = keys.KEY_SIZE_MAX

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


class Bounds(NamedTuple):
    """What a page may hold. Raises (check): InvalidError."""

    limit: int
    bytes_max: int

    def check(self) -> None:
        if not 0 < self.limit <= LIMIT_MAX:
            raise InvalidError(f"a page holds 1 to {LIMIT_MAX} entries, not {self.limit}")
        if self.bytes_max < 1:
            raise InvalidError(f"a page of {self.bytes_max} bytes holds nothing")


class Where(NamedTuple):
    """What is listed: below the object, the dkey, the akey."""

    oid: UnitOid
    dkey: bytes | None = None
    akey: bytes | None = None


def objects(state: ContainerState, epoch: Epoch, anchor: bytes, bounds: Bounds) -> Page[UnitOid]:
    """See VosContainer.list_objects. Cost: O(entries looked at)."""
    bounds.check()
    _check_epoch(epoch)
    context = _context(state, keys.OBJECT)
    scan = _Scan(state, state.node_id, keys.OBJECT, KeyKind.LEXICAL, b"")
    found, position, eof = scan.page(_parse(anchor, context), int(epoch), ROOT, bounds)
    return Page(
        [_unit(order) for order in found], _emit(context, position), eof, state.lsns.container
    )


def dkeys(
    state: ContainerState,
    oid: UnitOid,
    epoch: Epoch,
    anchor: bytes,
    bounds: Bounds,
    *,
    prefix: bytes,
) -> Page[bytes]:
    """See VosContainer.list_dkeys. Cost: O(entries looked at)."""
    bounds.check()
    _check_epoch(epoch)
    kind = keys.key_kinds(oid)[0]
    _check_prefix(prefix, kind)
    order = keys.object_order(oid)
    context = _context(state, keys.DKEY, order, prefix)
    position = _parse(anchor, context)
    lsn = state.lsns.of_object(xxh3(order))
    node = state.nodes.object(order)
    seen = ROOT if node is None else node.look(int(epoch))
    if node is None or not seen.visible:
        return Page([], b"", True, lsn)
    scan = _Scan(state, node.id, keys.DKEY, kind, prefix)
    found, position, eof = scan.page(position, int(epoch), seen, bounds)
    return Page(found, _emit(context, position), eof, lsn)


def akeys(
    state: ContainerState,
    where: Where,
    epoch: Epoch,
    anchor: bytes,
    bounds: Bounds,
    *,
    prefix: bytes,
) -> Page[bytes]:
    """See VosContainer.list_akeys. Cost: O(entries looked at)."""
    bounds.check()
    _check_epoch(epoch)
    kinds = keys.key_kinds(where.oid)
    _check_prefix(prefix, kinds[1])
    dkey = where.dkey or b""
    keys.check_user_key(dkey, kinds[0], "dkey")
    order = keys.object_order(where.oid)
    context = _context(state, keys.AKEY, order, dkey, prefix)
    position = _parse(anchor, context)
    lsn = state.lsns.of_dkey(xxh3(order), xxh3(dkey))
    node, seen = walk(state, order, dkey, kinds[0], int(epoch))
    if node is None:
        return Page([], b"", True, lsn)
    scan = _Scan(state, node.id, keys.AKEY, kinds[1], prefix)
    found, position, eof = scan.page(position, int(epoch), seen, bounds)
    return Page(found, _emit(context, position), eof, lsn)


def extents_of(
    state: ContainerState, where: Where, epoch: Epoch, anchor: bytes, limit: int
) -> Page[ExtentEntry]:
    """See VosContainer.list_extents. Cost: O(extents passed)."""
    Bounds(limit, PAGE_BYTES).check()
    _check_epoch(epoch)
    kinds = keys.key_kinds(where.oid)
    dkey, akey = where.dkey or b"", where.akey or b""
    keys.check_user_key(dkey, kinds[0], "dkey")
    keys.check_user_key(akey, kinds[1], "akey")
    order = keys.object_order(where.oid)
    context = _context(state, 0, order, dkey, akey)
    position = _parse(anchor, context)
    lo = _U64.unpack(position)[0] if len(position) == _U64.size else 0
    lsn = state.lsns.of_dkey(xxh3(order), xxh3(dkey))
    node, seen = find_akey(state, order, where, int(epoch))
    if node is None or node.record.value_type != IodType.ARRAY:
        return Page([], b"", True, lsn)
    record = node.record
    page = extents.visible(
        state.meta,
        node.id,
        classes=record.class_mask,
        epoch=int(epoch),
        limit=limit,
        lo=lo,
        floor=seen.prior_punch,
    )
    entries = [ExtentEntry(p.lo, p.hi, p.epoch, record.record_size) for p in page.pieces]
    if page.eof:
        return Page(entries, b"", True, lsn)
    return Page(entries, _emit(context, _U64.pack(page.anchor)), False, lsn)


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


class _Scan:
    """The children of one node, in key order."""

    __slots__ = ("base", "kind", "level", "prefix", "state")

    def __init__(
        self, state: ContainerState, parent_id: int, level: int, kind: KeyKind, prefix: bytes
    ) -> None:
        self.state = state
        self.level = level
        self.kind = kind
        self.prefix = prefix
        self.base = keys.node_prefix(parent_id, level)

    def page(
        self, position: bytes, epoch: int, parent: IlogView, bounds: Bounds
    ) -> tuple[list[bytes], bytes, bool]:
        """User keys, the position after them, and whether that is the end."""
        found: list[bytes] = []
        room = bounds.bytes_max
        for step, (order, key) in enumerate(self._walk(position, epoch, parent, bounds), 1):
            if order is None:
                return found, position, False  # a group of long keys goes on behind this page
            if key is not None:
                room -= len(key)
                if found and room < 0:
                    return found, position, False
                found.append(key)
            position = order
            if len(found) >= bounds.limit or step >= _SKIP_MAX + bounds.limit:
                return found, position, False
        return found, b"", True

    def _walk(
        self, position: bytes, epoch: int, parent: IlogView, bounds: Bounds
    ) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Key order and user key behind `position`; no user key: looked at, but not listed."""
        base, kind, prefix = self.base, self.kind, self.prefix
        # Lexical keys with one prefix are neighbours; all others are compared one by one.
        stop = base + prefix[: keys.LEXICAL_INLINE_MAX] if kind is KeyKind.LEXICAL else base
        seek = base + position + b"\0" if position else stop
        group = position if keys.is_long_order(position, kind) else b""
        while True:
            if group:
                yield from self._group(group, epoch, parent, bounds)
                head = group[: keys.LEXICAL_INLINE_MAX]
                if not head.strip(b"\xff"):
                    return  # nothing sorts behind it
                seek, group = base + keys.after(head), b""
            cursor = self.state.meta.cursor()
            more = cursor.set_range(max(seek, stop))
            while more:
                tree_key, value = cursor.item()
                if not tree_key.startswith(stop):
                    return
                order = tree_key[len(base) :]
                if keys.is_long_order(order, kind):
                    group = order[: keys.LEXICAL_INLINE_MAX]
                    break
                node = load(tree_key, value)
                key = node.record.key or keys.user_key(order, kind)
                seen = key.startswith(prefix) and node.look(epoch, parent).visible
                yield order, key if seen else None
                more = cursor.next()
            if not group:
                return

    def _group(
        self, position: bytes, epoch: int, parent: IlogView, bounds: Bounds
    ) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Long keys that share 400 bytes, in order of the full keys, behind `position`.

        Ends with (None, None) if a page does not hold them all.

        Cost:       O(keys of the group) to read, memory for one page of them
        """
        get, size = self.state.meta.get, len(self.base)
        head = self.base + position[: keys.LEXICAL_INLINE_MAX]
        lowest = b""
        if len(position) > keys.LEXICAL_INLINE_MAX:
            last = get(self.base + position)
            if last is None:
                raise InvalidError("the anchor names a key that was never there")
            lowest = load(self.base + position, last).record.key
        best: list[tuple[bytes, bytes]] = []
        nbytes, cut = 0, False
        cursor = self.state.meta.cursor()
        more = cursor.set_range(head + b"\0")  # behind the key of just these 400 bytes
        while more:
            tree_key, value = cursor.item()
            if not tree_key.startswith(head):
                break
            node = load(tree_key, value)
            key = node.record.key
            listed = key > lowest and key.startswith(self.prefix)
            if listed and node.look(epoch, parent).visible:
                insort(best, (key, tree_key[size:]))
                nbytes += len(key)
                while len(best) > bounds.limit or (len(best) > 1 and nbytes > bounds.bytes_max):
                    nbytes -= len(best.pop()[0])
                    cut = True
            more = cursor.next()
        for key, order in best:
            yield order, key
        if cut:
            yield None, None


def _unit(order: bytes) -> UnitOid:
    hi, lo, shard = keys.parse_object_order(order)
    return UnitOid(ObjectId(hi, lo), ShardIndex(shard))


def _check_prefix(prefix: bytes, kind: KeyKind) -> None:
    if prefix and kind is KeyKind.UINT64:
        raise InvalidError("integer keys have no prefixes")
    if len(prefix) > keys.USER_KEY_SIZE_MAX:
        raise InvalidError(f"a prefix of {len(prefix)} bytes is longer than any key")


def _check_epoch(epoch: int) -> None:
    if not 0 < epoch <= EPOCH_MAX:
        raise InvalidError(f"nothing is read at epoch {epoch}")


def _context(state: ContainerState, level: int, *parts: bytes) -> int:
    return xxh3(
        b"".join(
            [
                state.uuid.bytes,
                bytes((level,)),
                *[_U64.pack(len(part)) + part for part in parts],
            ]
        )
    )


def _emit(context: int, position: bytes) -> bytes:
    if not position:
        return b""
    body = _ANCHOR_HEAD.pack(_VERSION, context) + position
    return body + _U64.pack(xxh3(body))


def _parse(anchor: bytes, context: int) -> bytes:
    """The position of an anchor. Raises: InvalidError."""
    if not anchor:
        return b""
    if not _ANCHOR_SIZE_MIN < len(anchor) <= _ANCHOR_SIZE_MIN + _POSITION_SIZE_MAX:
        raise InvalidError(f"an anchor of {len(anchor)} bytes is none of ours")
    body = anchor[:-8]
    if _U64.pack(xxh3(body)) != anchor[-8:]:
        raise InvalidError("the anchor is damaged")
    version, made_for = _ANCHOR_HEAD.unpack_from(anchor)
    if version != _VERSION:
        raise InvalidError(f"the anchor has version {version}, not {_VERSION}")
    if made_for != context:
        raise InvalidError("the anchor belongs to another listing")
    return body[_ANCHOR_HEAD.size :]

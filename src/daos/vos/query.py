"""Key queries: the largest or smallest integer dkey, integer akey, and record of an object.

    flags        asks for                                 must be given
    DKEY         the outermost visible dkey               -
    DKEY AKEY    ... that has a visible akey              -
    AKEY         the outermost visible akey               dkey
    ... RECX     ... that has visible data; its range     dkey, akey unless asked for

A candidate with nothing below it is passed over, and the next one looked at, as long as its level
is asked for. The range is one visible piece: what one update wrote, less what newer ones hide.

Source: DAOS src/vos/vos_query.c vos_obj_query_key. Ours: no `max_write`, which newest.py finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from daos.base.checksum import xxh3
from daos.base.errors import InvalidError, NotFoundError
from daos.base.ids import EPOCH_MAX, Epoch, KeyKind, Lsn
from daos.base.iod import IodType, QueryFlag, Recx
from daos.vos import extents, keys
from daos.vos.ilog_view import IlogView
from daos.vos.iterate import Where
from daos.vos.nodes import Node, load
from daos.vos.state import ContainerState

_ENDS: Final = int(QueryFlag.MAX | QueryFlag.MIN)
_WHAT: Final = int(QueryFlag.DKEY | QueryFlag.AKEY | QueryFlag.RECX)


class KeyQuery(NamedTuple):
    """What was found; None at the levels that were not asked for."""

    dkey: bytes | None
    akey: bytes | None
    recx: Recx | None
    record_size: int
    lsn: Lsn


class _Found(NamedTuple):
    node: Node
    key: bytes
    seen: IlogView


def query_key(state: ContainerState, where: Where, flags: int, epoch: Epoch) -> KeyQuery:
    """See VosContainer.query_key. Cost: O(keys and extents passed over)."""
    flags = int(flags)
    _check(where, flags, epoch)
    order = keys.object_order(where.oid)
    if flags & QueryFlag.DKEY or where.dkey is None:
        lsn = state.lsns.of_object(xxh3(order))
    else:
        lsn = state.lsns.of_dkey(xxh3(order), xxh3(where.dkey))
    found = _Query(state, where, flags, int(epoch)).run(order)
    if found is None:
        error = NotFoundError(f"nothing visible at epoch {epoch}")
        error.lsn = lsn
        raise error
    return found._replace(lsn=lsn)


class _Query:
    __slots__ = ("akey_kind", "dkey_kind", "epoch", "flags", "state", "where")

    def __init__(self, state: ContainerState, where: Where, flags: int, epoch: int) -> None:
        self.state = state
        self.where = where
        self.flags = flags
        self.epoch = epoch
        self.dkey_kind, self.akey_kind = keys.key_kinds(where.oid)

    def run(self, order: bytes) -> KeyQuery | None:
        """The first dkey, from the end asked for, below which all else is found."""
        node = self.state.nodes.object(order)
        if node is None:
            return None
        seen = node.look(self.epoch)
        if not seen.visible:
            return None
        for dkey in self._candidates(node.id, seen, keys.DKEY):
            asked = dkey.key if self.flags & QueryFlag.DKEY else None
            if not self.flags & (QueryFlag.AKEY | QueryFlag.RECX):
                return KeyQuery(asked, None, None, 0, Lsn(0))
            for akey in self._candidates(dkey.node.id, dkey.seen, keys.AKEY):
                name = akey.key if self.flags & QueryFlag.AKEY else None
                if not self.flags & QueryFlag.RECX:
                    return KeyQuery(asked, name, None, 0, Lsn(0))
                piece = self._outermost(akey)
                if piece is not None:
                    recx = Recx(piece.lo, piece.hi - piece.lo)
                    size = akey.node.record.record_size
                    return KeyQuery(asked, name, recx, size, Lsn(0))
        return None

    def _candidates(self, parent_id: int, parent: IlogView, level: int) -> Iterator[_Found]:
        """Visible keys of one level: all from the end asked for, or the one that was given."""
        is_dkey = level == keys.DKEY
        kind = self.dkey_kind if is_dkey else self.akey_kind
        if self.flags & (QueryFlag.DKEY if is_dkey else QueryFlag.AKEY):
            yield from self._all(parent_id, parent, level)
            return
        key = self.where.dkey if is_dkey else self.where.akey
        assert key is not None
        node = self.state.nodes.key(parent_id, level, key, kind)
        if node is not None:
            seen = node.look(self.epoch, parent)
            if seen.visible:
                yield _Found(node, key, seen)

    def _all(self, parent_id: int, parent: IlogView, level: int) -> Iterator[_Found]:
        prefix = keys.node_prefix(parent_id, level)
        cursor = self.state.meta.cursor()
        if self.flags & QueryFlag.MIN:
            more, step = cursor.set_range(prefix), cursor.next
        else:
            behind = cursor.set_range(keys.after(prefix))
            more, step = (cursor.prev() if behind else cursor.last()), cursor.prev
        while more:
            tree_key, value = cursor.item()
            if not tree_key.startswith(prefix):
                return
            node = load(tree_key, value)
            seen = node.look(self.epoch, parent)
            if seen.visible:
                key = keys.user_key(tree_key[len(prefix) :], KeyKind.UINT64)
                yield _Found(node, key, seen)
            more = step()

    def _outermost(self, akey: _Found) -> extents.Piece | None:
        record = akey.node.record
        if record.value_type != IodType.ARRAY:
            return None
        find = extents.first_visible if self.flags & QueryFlag.MIN else extents.last_visible
        return find(
            self.state.meta,
            akey.node.id,
            classes=record.class_mask,
            epoch=self.epoch,
            floor=akey.seen.prior_punch,
        )


def _check(where: Where, flags: int, epoch: int) -> None:
    if not 0 < epoch <= EPOCH_MAX:
        raise InvalidError(f"nothing is read at epoch {epoch}")
    if flags & ~(_ENDS | _WHAT):
        raise InvalidError(f"query: unknown flags {flags & ~(_ENDS | _WHAT):#x}")
    if flags & _ENDS not in (QueryFlag.MAX, QueryFlag.MIN):
        raise InvalidError("query: exactly one of MAX and MIN is expected")
    if not flags & _WHAT:
        raise InvalidError("query: at least one of DKEY, AKEY and RECX is expected")
    dkey_kind, akey_kind = keys.key_kinds(where.oid)
    if flags & QueryFlag.DKEY:
        if dkey_kind is not KeyKind.UINT64:
            raise InvalidError("query: the dkeys of this object are not integers")
    else:
        keys.check_user_key(where.dkey or b"", dkey_kind, "dkey")
    if flags & QueryFlag.AKEY:
        if akey_kind is not KeyKind.UINT64:
            raise InvalidError("query: the akeys of this object are not integers")
    elif flags & QueryFlag.RECX:
        keys.check_user_key(where.akey or b"", akey_kind, "akey")

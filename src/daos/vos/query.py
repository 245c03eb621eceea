"""Key queries: the largest or smallest integer dkey, integer akey, and record of an object.

    flags        asks for                                 must be given
    DKEY         the outermost visible dkey               -
    DKEY AKEY    ... that has a visible akey              -
    AKEY         the outermost visible akey               dkey
    ... RECX     ... that has visible data; its range     dkey, akey unless asked for

A candidate with nothing below it is passed over, and the next one looked at, as long as its level
is asked for. The range is one visible piece: what one update wrote, less what newer ones hide.

There may be many to pass over: what is left of an array that was cut. So a search goes in steps,
between which anything may be written or aggregated; its reader's epoch decides what it sees.

Cost: 13 us a candidate that is passed over.

Source: DAOS src/vos/vos_query.c vos_obj_query_key. Ours: no `max_write`, which newest.py finds.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
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
_CREDITS: Final = 1 << 30  # of a search that is not divided


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
    search = KeySearch(state, where, flags, epoch)
    while search.step(_CREDITS):
        pass
    return search.result()


class KeySearch:
    """One query, in steps."""

    __slots__ = (
        "_left",
        "_turn",
        "_walk",
        "akey_kind",
        "dkey_kind",
        "epoch",
        "flags",
        "found",
        "order",
        "state",
        "where",
    )

    def __init__(self, state: ContainerState, where: Where, flags: int, epoch: Epoch) -> None:
        """Raises: InvalidError."""
        flags = int(flags)
        _check(where, flags, epoch)
        self.state = state
        self.where = where
        self.flags = flags
        self.epoch = int(epoch)
        self.order = keys.object_order(where.oid)
        self.dkey_kind, self.akey_kind = keys.key_kinds(where.oid)
        self.found: KeyQuery | None = None
        self._left = 0
        self._turn = 0
        self._walk: Generator[None, None, KeyQuery | None] | None = self._run()

    @property
    def lsn(self) -> Lsn:
        """What the answer depends on."""
        lsns, where = self.state.lsns, self.where
        if self.flags & QueryFlag.DKEY or where.dkey is None:
            return lsns.of_object(xxh3(self.order))
        return lsns.of_dkey(xxh3(self.order), xxh3(where.dkey))

    def step(self, credits: int) -> bool:
        """Look at some `credits` candidates; whether to come again.

        Raises: StaleHandleError (the container was destroyed), CorruptError
        """
        self.state.check_alive()
        self._left = credits
        self._turn += 1
        if self._walk is not None:
            try:
                next(self._walk)
                return True
            except StopIteration as end:
                self.found = end.value
        self._walk = None
        return False

    def close(self) -> None:
        """Give up. Idempotent."""
        self._walk = None

    def result(self) -> KeyQuery:
        """After the last step. Raises: NotFoundError."""
        if self.found is None:
            error = NotFoundError(f"nothing visible at epoch {self.epoch}")
            error.lsn = self.lsn
            raise error
        return self.found._replace(lsn=self.lsn)

    def _run(self) -> Generator[None, None, KeyQuery | None]:
        """The first dkey, from the end asked for, below which all else is found."""
        node = self.state.nodes.object(self.order)
        if node is None:
            return None
        seen = node.look(self.epoch)
        if not seen.visible:
            return None
        for dkey in self._candidates(node.id, seen, keys.DKEY):
            if dkey is None:
                yield
                continue
            asked = dkey.key if self.flags & QueryFlag.DKEY else None
            if not self.flags & (QueryFlag.AKEY | QueryFlag.RECX):
                return KeyQuery(asked, None, None, 0, Lsn(0))
            for akey in self._candidates(dkey.node.id, dkey.seen, keys.AKEY):
                if akey is None:
                    yield
                    continue
                name = akey.key if self.flags & QueryFlag.AKEY else None
                if not self.flags & QueryFlag.RECX:
                    return KeyQuery(asked, name, None, 0, Lsn(0))
                piece = self._outermost(akey)
                if piece is not None:
                    recx = Recx(piece.lo, piece.hi - piece.lo)
                    size = akey.node.record.record_size
                    return KeyQuery(asked, name, recx, size, Lsn(0))
        return None

    def _candidates(self, parent_id: int, parent: IlogView, level: int) -> Iterator[_Found | None]:
        """Visible keys of one level: all from the end asked for, or the one that was given.

        None: the turn is over.
        """
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

    def _all(self, parent_id: int, parent: IlogView, level: int) -> Iterator[_Found | None]:
        prefix = keys.node_prefix(parent_id, level)
        minimum = bool(self.flags & QueryFlag.MIN)
        behind = prefix if minimum else keys.after(prefix)
        turn = 0  # in which the cursor was made: no cursor outlives it
        while True:
            if self._left <= 0:
                yield None
            self._left -= 1
            if turn != self._turn:
                turn, cursor = self._turn, self.state.meta.cursor()
                more = cursor.set_range(behind)
                if not minimum:
                    more = cursor.prev() if more else cursor.last()
            else:
                more = cursor.next() if minimum else cursor.prev()
            if not more or not cursor.key().startswith(prefix):
                return
            tree_key, value = cursor.item()
            behind = tree_key + b"\0" if minimum else tree_key
            node = load(tree_key, value)
            seen = node.look(self.epoch, parent)
            if seen.visible:
                key = keys.user_key(tree_key[len(prefix) :], KeyKind.UINT64)
                yield _Found(node, key, seen)

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

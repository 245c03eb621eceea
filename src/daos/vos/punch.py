"""Punch: hide an object, a dkey or akeys from an epoch on. Nothing is deleted; reads below see all.

    punch(object)            log of the object
    punch(dkey)              log of the dkey; the object's is not touched
    punch(dkey, akeys)       logs of the akeys; and of the dkey, when no akey is left visible

A punch below a dkey may ask that nothing there was written after an epoch, such as that of the
fetch which it relies on: compare and punch. Where what was written is not remembered that long,
the answer is that something was; the caller fetches again.

What was never written gets a node with nothing but the punch: a write that arrives late, with an
epoch below it, must stay hidden.

Three rules about late arrivals, all TX_RESTART, so that the caller comes again with a new epoch:
    R1  nothing is written at or below the container's modification bound
    R2  no punch below a later write to the same node or below it: the write may rely on the
        creation that the punch would hide
    R3  a punch of akeys looks whether the dkey is empty, which is a read of the dkey: no write of
        any kind below it afterwards
Conditions come first: NONEXIST has precedence over TX_RESTART.

Source: DAOS src/vos/vos_obj.c vos_obj_punch, key_punch, vos_propagate_check.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from daos.base.errors import (
    AccessError,
    DaosError,
    ExistsError,
    InvalidError,
    NotFoundError,
    TxRestartError,
)
from daos.base.ids import Epoch, KeyKind, Lsn, UnitOid
from daos.base.iod import Cond
from daos.vos import ilog_view, keys
from daos.vos.conflicts import asked, refuse_doubt
from daos.vos.dtx_table import DTX_BYTES
from daos.vos.edit import Edit, Place, changed, tree_bytes
from daos.vos.ilog import EMPTY, Ilog
from daos.vos.ilog_view import IlogView
from daos.vos.nodes import Node, load, view
from daos.vos.state import ContainerState
from daos.vos.timestamps import Operation, Path, Who

AKEYS_MAX: Final = 1024
# Entries of a log from which on it pays to aggregate at once: each change rewrites all of it.
_CROWDED: Final = 128
# Known akeys are hints: beyond this many they are forgotten and found again.
_KNOWN_MAX: Final = 1 << 14


class Target(NamedTuple):
    """What is punched: the object, or the dkey, or akeys of the dkey.

    `unchanged_since`: only if nothing of the dkey was written after this epoch; 0: in any case.
    """

    dkey: bytes | None = None
    akeys: tuple[bytes, ...] = ()
    unchanged_since: int = 0


class _Stamp(NamedTuple):
    epoch: int
    minor: int
    conditional: bool
    op: Operation | None
    dtx: bytes


def punch(
    state: ContainerState,
    oid: UnitOid,
    epoch: Epoch,
    target: Target,
    *,
    cond: int,
    minor: int,
    op: Operation | None,
    dtx: bytes,
) -> Lsn:
    """See VosContainer.punch.

    Cost:       one seek and one put a key; akeys: and the search for one that is still visible
    """
    _check(oid, target, cond)
    state.check_write_epoch(epoch, minor)
    stamp = _Stamp(int(epoch), minor, bool(cond & Cond.PUNCH), op, dtx)
    work = _Punch(state, oid, stamp, target)
    names = work.names
    nodes = tree_bytes((names.order, names.dkey or b"", *names.akeys))
    hold = state.meta.hold(tree_bytes=nodes + DTX_BYTES, data_blocks=0, last=True)
    object_hash, *rest = work.path
    try:
        lsn = work.run()
    except DaosError as error:
        if rest:
            error.lsn = state.lsns.of_dkey(object_hash, rest[0])
        else:
            error.lsn = state.lsns.of_object(object_hash)
        raise
    finally:
        state.meta.release(hold)
    if rest:
        state.lsns.wrote_dkey(object_hash, rest[0], lsn)
    else:
        state.lsns.wrote_object(object_hash, lsn)
    return lsn


class _Punch:
    """One punch on its way down."""

    __slots__ = ("edit", "names", "path", "since", "stamp", "state")

    def __init__(self, state: ContainerState, oid: UnitOid, stamp: _Stamp, target: Target) -> None:
        self.state = state
        self.stamp = stamp
        self.edit = Edit(state.meta, state.root)
        self.names = asked(oid, target.dkey, dict.fromkeys(target.akeys))
        self.path = self.names.path
        self.since = target.unchanged_since

    def run(self) -> Lsn:
        """The punch; of a transaction refused in doubt, and with a condition a read as well."""
        timestamps, (epoch, _, conditional, op, _) = self.state.timestamps, self.stamp
        if op is None:
            return self._run()
        refuse_doubt(self.state, self.names, epoch, op, must_know=conditional)
        try:
            lsn = self._run()
        except NotFoundError:
            timestamps.read(self.path, epoch, op.id)
            raise
        except AccessError:  # whoever read here at this epoch explains it better
            timestamps.check(self.path, epoch, op.id)
            raise
        if conditional:
            timestamps.read(self.path, epoch, op.id)
        return lsn

    def _run(self) -> Lsn:
        """Down to the leaf; conditions on the way, then what came later, puts at the end."""
        state, epoch, names = self.state, self.stamp.epoch, self.names
        object_ = Place(state.node_id, keys.OBJECT, names.order, KeyKind.LEXICAL)
        node = state.nodes.object(names.order)
        seen = view(node, epoch)
        log = self._decide(node, seen, "object", leaf=names.dkey is None)
        if names.dkey is None:
            self._put(object_, node, log)
            return self._commit(self.path)
        object_id = self._ensure(object_, node)
        dkey = Place(object_id, keys.DKEY, names.dkey, names.kinds[0])
        node = self._find(dkey, node)
        seen = view(node, epoch, seen)
        log = self._decide(node, seen, "dkey", leaf=not names.akeys)
        if self.since and state.timestamps.later_write(self.path[:2], self.since):
            raise ExistsError(f"something of the dkey was written after {self.since}")
        if not names.akeys:
            self._put(dkey, node, log)
            return self._commit(self.path)
        return self._punch_akeys(dkey, node, seen)

    def _punch_akeys(self, dkey: Place, node: Node | None, seen: IlogView) -> Lsn:
        """The akeys, and their dkey where none is left: then that is written as well."""
        epoch = self.stamp.epoch
        dkey_id = self._id(node)
        punched: set[bytes] = set()
        for name in self.names.akeys:
            akey = Place(dkey_id, keys.AKEY, name, self.names.kinds[1])
            child = self._find(akey, node)
            log = self._decide(child, view(child, epoch, seen), "akey", leaf=True)
            punched.add(self._put(akey, child, log))
        path = self.path
        if seen.visible and not self._any_visible(dkey_id, seen, punched):
            self._put(dkey, node, self._decide(node, seen, "dkey", leaf=True))
            self._refuse_late(path[:2])
        elif node is None:
            self._put(dkey, None, EMPTY, dkey_id)
        lsn = self._commit(path)
        # A dkey that does not exist is one that was not found empty: only a transaction has to
        # keep it so.
        if seen.visible or self.stamp.op is not None:
            self.state.timestamps.read(path[:2], epoch, self._who)
        return lsn

    def _commit(self, path: Path) -> Lsn:
        state, epoch = self.state, self.stamp.epoch
        self._refuse_late(path)
        dtx = self.stamp.dtx
        if dtx:
            state.dtxs.put(self.edit.tx, dtx, epoch)
        lsn = self.edit.commit(epoch, state.nodes.cache)
        if dtx:
            state.dtxs.executed(dtx, epoch)
        state.timestamps.wrote((epoch, *path))
        state.newest.wrote(self.names.order, epoch)
        return lsn

    @property
    def _who(self) -> Who:
        return None if self.stamp.op is None else self.stamp.op.id

    def _refuse_late(self, path: Path) -> None:
        """Raises: TxRestartError (R2, R3, and whatever else was read)."""
        timestamps, epoch = self.state.timestamps, self.stamp.epoch
        if timestamps.later_write(path, epoch):
            raise TxRestartError(f"a punch at {epoch} under a later write")
        if epoch <= timestamps.newest_read:
            timestamps.check(path, epoch, self._who)

    def _decide(self, node: Node | None, seen: IlogView, what: str, *, leaf: bool) -> Ilog:
        """The log to be stored. Raises: NotFoundError, AccessError."""
        return ilog_view.punch(
            EMPTY if node is None else node.ilog,
            seen,
            self.stamp.minor,
            leaf=leaf,
            conditional=self.stamp.conditional,
            what=what,
        )

    def _find(self, place: Place, parent: Node | None) -> Node | None:
        if parent is None:
            return None
        return self.state.nodes.key(place.parent_id, place.level, place.key, place.kind)

    def _id(self, node: Node | None) -> int:
        return self.edit.new_id() if node is None else node.id

    def _ensure(self, place: Place, node: Node | None) -> int:
        """The node's id; one that was never written gets a record without any creation."""
        if node is not None:
            return node.id
        node_id = self.edit.new_id()
        self._put(place, None, EMPTY, node_id)
        return node_id

    def _put(self, place: Place, node: Node | None, log: Ilog, node_id: int = 0) -> bytes:
        """Store the log; the tree key of the node."""
        if len(log.entries) >= _CROWDED:
            self.state.crowded = True
        if node is not None:
            if log is not node.ilog:
                self.edit.put(place.cache_key, node.key, changed(node.record, ilog=log.emit()))
            return node.key
        return self.edit.create(place, log.emit(), node_id or self.edit.new_id())

    def _any_visible(self, dkey_id: int, seen: IlogView, punched: set[bytes]) -> bool:
        """Whether an akey that is not being punched exists, starting where one did before.

        Cost:       O(1) where the akey seen last is still there; else akeys up to the next one
        """
        known = self.state.known_akeys
        prefix = keys.node_prefix(dkey_id, keys.AKEY)
        hint = known.get(dkey_id, prefix)
        for lo, hi in ((hint, keys.after(prefix)), (prefix, hint)):
            cursor = self.state.meta.cursor()
            more = lo < hi and cursor.set_range(lo)
            while more:
                key, value = cursor.item()
                if key >= hi:
                    break
                if key not in punched and load(key, value).look(self.stamp.epoch, seen).visible:
                    if len(known) >= _KNOWN_MAX:
                        known.clear()
                    known[dkey_id] = key
                    return True
                more = cursor.next()
        return False


def _check(oid: UnitOid, target: Target, cond: int) -> None:
    if cond & ~Cond.PUNCH:
        raise InvalidError(f"condition bits {cond & ~Cond.PUNCH:#x} have no meaning for a punch")
    dkey_kind, akey_kind = keys.key_kinds(oid)
    if target.dkey is None:
        if target.akeys or target.unchanged_since:
            raise InvalidError("a punch of akeys, or what was not changed, needs a dkey")
        return
    keys.check_user_key(target.dkey, dkey_kind, "dkey")
    if len(target.akeys) > AKEYS_MAX:
        raise InvalidError(f"a punch of {len(target.akeys)} akeys; at most {AKEYS_MAX} at once")
    for akey in target.akeys:
        keys.check_user_key(akey, akey_kind, "akey")

"""Visit everything below a container, an object, a dkey or an akey, depth first, with call-backs.

    for each entry:   filter --> pre --> entries below it --> post

A call-back answers with what to do (`Action`), several bits at once:

    SKIP      nothing more of this entry: after the filter no pre; after pre nothing below, no post
    ABORT     nothing more of this level; the level above goes on
    RESTART   the level from its beginning, once more
    EXIT      end the visit
    DELETE    remove the entry for good, with what is below it; it counts as skipped
    YIELD     pause: `step` returns, and goes on later

Values have no filter. Between two calls of `step`, and so after YIELD, the store may change in any
way: the visit keeps positions, not cursors, and looks again for what lies behind them. What was
visited is not visited again; what came in front of the position meanwhile is not visited. A level
whose parent is gone ends. A call-back that changes the store itself says YIELD, or what it did may
be missed.

What is visited, by `Wanted`:

    keys      those that a reader at epochs.hi finds; PUNCHED: those punched since epochs.lo as well
    single    by `epc`: LE the newest up to hi; EQ that of lo; GE from lo on; RE those of [lo, hi]
              from the oldest on, RR backwards. VISIBLE: the one that a reader at hi finds
    extents   all that were written in [lo, hi] and overlap recx; VISIBLE, COVERED: pieces of them
              (pieces.py), listed at once when their level begins; SKIP_HOLES: without punched ones

Source: DAOS src/vos/vos_iterator.c vos_iterate. Ours: it can be paused, since nothing here awaits;
REVERSE goes for keys too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from enum import Enum, IntFlag
from itertools import islice
from typing import Final, NamedTuple

from daos.base.checksum import xxh3
from daos.base.errors import AccessError, InvalidError, NotFoundError
from daos.base.ids import EPOCH_MAX, KeyKind, Lsn, UnitOid
from daos.base.iod import IodType
from daos.vos import extents, ilog_view, iterate, keys, unlink
from daos.vos.anchor import BEGINNING, Position
from daos.vos.dedup import release
from daos.vos.extent_scan import RECORDS_MAX
from daos.vos.ilog_view import ROOT, IlogView
from daos.vos.iterate import PAGE_BYTES, VersionEntry, Where, unit_of
from daos.vos.nodes import Node, view
from daos.vos.pieces import Show, pieces
from daos.vos.scan import Bounds, Child, KeyScan
from daos.vos.single import SingleRecord
from daos.vos.state import ContainerState
from daos.vos.versions import Epochs

VALUE: Final = keys.AKEY + 1
_PAGE: Final = Bounds(64, PAGE_BYTES)


class Action(IntFlag):
    """What to do after a call-back."""

    NONE = 0
    DELETE = 1
    SKIP = 2
    RESTART = 4
    ABORT = 8
    YIELD = 16
    EXIT = 32


class Flag(IntFlag):
    """What is visited. COVERED includes VISIBLE, as in the reference."""

    NONE = 0
    VISIBLE = 1
    COVERED = 3
    SKIP_HOLES = 4
    REVERSE = 8
    PUNCHED = 64


class Epc(Enum):
    """Which versions of a single value."""

    LE = "newest up to hi"
    GE = "from lo on"
    EQ = "at lo"
    RE = "of [lo, hi], ascending"
    RR = "of [lo, hi], descending"


class Wanted(NamedTuple):
    """What is visited; see the module."""

    epochs: Epochs = Epochs()
    epc: Epc = Epc.RE
    flags: int = 0
    recx: tuple[int, int] = (0, RECORDS_MAX)


EVERYTHING: Final = Wanted()


class Entry(NamedTuple):
    """An object, a dkey, an akey (`level` is its kind in keys.py), or a value (VALUE).

    `epoch`: when it was created or written; `punched`: of keys, the newest punch that hides it, 0
    if none does. `covered`: a reader at epochs.hi does not see it. Values: records [lo, hi), or a
    single value [0, 1), of `size` bytes each, 0 for what was punched.
    """

    level: int
    oid: UnitOid
    dkey: bytes = b""
    akey: bytes = b""
    epoch: int = 0
    punched: int = 0
    covered: bool = False
    lo: int = 0
    hi: int = 0
    minor: int = 0
    size: int = 0


Callback = Callable[[Entry], int]


class Callbacks(NamedTuple):
    """What is asked at each entry; None: nothing."""

    pre: Callback | None = None
    post: Callback | None = None
    filter: Callback | None = None


class _Above(NamedTuple):
    """The way down to a level: the node above it, and what is known of it."""

    level: int
    node_id: int
    seen: IlogView
    entry: Entry | None


# A level ends with the actions that its parent has to hear of: EXIT or nothing.
_Steps = Generator[None, None, int]


class Visit:
    """One visit. `where` None: the whole container; else below that object, dkey or akey.

    Raises: InvalidError (bad range, type or key)
    """

    def __init__(
        self,
        state: ContainerState,
        where: Where | None,
        callbacks: Callbacks,
        *,
        wanted: Wanted = EVERYTHING,
        recursive: bool = True,
    ) -> None:
        epochs, (lo, hi) = wanted.epochs, wanted.recx
        if not (0 <= epochs.lo <= epochs.hi <= EPOCH_MAX and 0 <= lo < hi <= RECORDS_MAX):
            raise InvalidError(f"epochs {epochs}, records {wanted.recx}: an empty or wrong range")
        self._state = state
        self._callbacks = callbacks
        self._wanted = wanted
        self._recursive = recursive
        self._reverse = bool(wanted.flags & Flag.REVERSE)
        self._credits = 0
        self._changes = 0  # how often the store may have changed
        above = self._find(where)
        self._work = None if above is None else self._level(above)

    @property
    def lsn(self) -> Lsn:
        """What call-backs were told may be told on once the log is durable up to here."""
        return self._state.lsns.container

    def step(self, credits: int = 1 << 30) -> bool:
        """Look at up to `credits` entries, or until a call-back says YIELD; is there more?

        Raises:     StaleHandleError, CorruptError; AccessError (DELETE where it is not allowed),
                    BusyError (DELETE beside an aggregation)
        """
        self._state.check_alive()
        self._credits = credits
        self._changes += 1
        if self._work is None:
            return False
        try:
            next(self._work)
        except StopIteration:
            self._work = None
            return False
        return True

    def _level(self, above: _Above) -> _Steps:
        """All entries of one level, and what is below them."""
        restart = True
        while restart:
            restart = False
            entries = self._values(above) if above.level == VALUE else self._children(above)
            for entry, below in entries:
                if self._credits <= 0:
                    yield
                self._credits -= 1
                act = yield from self._one(entry, below)
                if act & Action.EXIT:
                    return int(Action.EXIT)
                if act & Action.ABORT:
                    return 0
                if act & Action.RESTART:
                    restart = True
                    break
        return 0

    def _one(self, entry: Entry, below: _Above | None) -> _Steps:
        """One entry, and what is below it; the actions that its level has to hear of."""
        filter_, pre, post = self._callbacks.filter, self._callbacks.pre, self._callbacks.post
        for call in (filter_ if entry.level != VALUE else None, pre):
            if call is not None:
                act = yield from self._ask(call, entry)
                if act & (
                    Action.SKIP | Action.ABORT | Action.EXIT | Action.RESTART | Action.DELETE
                ):
                    return act
        if below is not None:
            act = yield from self._level(below)
            if act:
                return act
        return 0 if post is None else (yield from self._ask(post, entry))

    def _ask(self, call: Callback, entry: Entry) -> _Steps:
        act = int(call(entry))
        if act & Action.DELETE:
            self._delete(entry)
            self._changes += 1
        if act & Action.YIELD:
            yield
        return act

    def _children(self, above: _Above) -> Iterator[tuple[Entry, _Above | None]]:
        """The keys below a node, page by page; a page is dropped when the store has changed."""
        scan = KeyScan(
            self._state, above.node_id, above.level, self._kind(above), reverse=self._reverse
        )
        position, more = BEGINNING, True
        while more and self._is_there(above):
            stamp, more = self._changes, False
            page: list[Child] = []
            for child in scan.walk(position, lambda node: self._sees(node, above.seen), _PAGE):
                more = child is None or len(page) == _PAGE.limit
                if more or child is None:
                    break
                page.append(child)
            for child in page:
                position = Position(child.order)
                if child.node is not None:
                    yield self._entry_of(above, child.key, child.node)
                if self._changes != stamp:
                    more = True
                    break

    def _entry_of(self, above: _Above, key: bytes, node: Node) -> tuple[Entry, _Above | None]:
        seen = view(node, self._wanted.epochs.hi, above.seen)
        up = above.entry
        oid = unit_of(key) if up is None else up.oid
        names = {keys.OBJECT: (b"", b""), keys.DKEY: (key, b"")}.get(above.level)
        dkey, akey = names or (up.dkey if up else b"", key)
        punched = 0 if seen.visible else seen.prior_punch.epoch
        entry = Entry(above.level, oid, dkey, akey, seen.create, punched, not seen.visible)
        below = _Above(above.level + 1, node.id, seen, entry) if self._recursive else None
        return entry, below

    def _values(self, above: _Above) -> Iterator[tuple[Entry, None]]:
        """What was written under an akey, or the pieces of it that are asked for."""
        up, flags, floor = above.entry, self._wanted.flags, above.seen.prior_punch
        assert up is not None
        node = self._written_node(above)
        if node is None or not node.record.value_type:
            return
        found: Iterator[VersionEntry]
        if node.record.value_type == IodType.SINGLE:
            found = self._singles(above, node, floor)
        elif flags & Flag.COVERED:
            found = self._pieces(node, floor)
        else:
            found = self._extents(above, node, floor)
        for each in found:
            if each.size or not flags & Flag.SKIP_HOLES:
                written = each._asdict()
                yield up._replace(level=VALUE, punched=0, **written), None

    def _singles(self, above: _Above, node: Node, floor: tuple[int, int]) -> Iterator[VersionEntry]:
        (lo, hi), epc = self._wanted.epochs, self._wanted.epc
        visible = self._wanted.flags & Flag.COVERED == Flag.VISIBLE
        if visible or epc is Epc.LE:
            found = iterate.stored_versions(self._state, node, Epochs(0, hi), b"", reverse=True)
            for _, version in islice(found, 1):
                covered = version is None or (version.epoch, version.minor) <= floor
                if version is not None and not (visible and covered):
                    yield version._replace(covered=covered)
            return
        epochs = {Epc.GE: Epochs(lo, int(EPOCH_MAX)), Epc.EQ: Epochs(lo, lo)}.get(
            epc, Epochs(lo, hi)
        )
        reverse = epc is Epc.RR or self._reverse
        yield from self._stored(above, node, epochs, floor, reverse=reverse)

    def _extents(self, above: _Above, node: Node, floor: tuple[int, int]) -> Iterator[VersionEntry]:
        lo, hi = self._wanted.recx
        found = self._stored(above, node, self._wanted.epochs, floor, reverse=self._reverse)
        return (version for version in found if version.lo < hi and lo < version.hi)

    def _stored(
        self,
        above: _Above,
        node: Node | None,
        epochs: Epochs,
        floor: tuple[int, int],
        *,
        reverse: bool,
    ) -> Iterator[VersionEntry]:
        """Versions page by page; a page is dropped when the store has changed."""
        place, more = b"", True
        while more and node is not None:
            stamp = self._changes
            found = iterate.stored_versions(self._state, node, epochs, place, reverse=reverse)
            page = list(islice(found, _PAGE.limit))
            more = len(page) == _PAGE.limit
            for place, version in page:  # noqa: B007 (where the next page begins)
                if version is not None:
                    covered = (version.epoch, version.minor) <= floor
                    yield version._replace(covered=covered)
                if self._changes != stamp:
                    more, node = True, self._written_node(above)
                    break

    def _pieces(self, node: Node, floor: tuple[int, int]) -> Iterator[VersionEntry]:
        flags, (lo, hi) = self._wanted.flags, self._wanted.recx
        show = Show(visible=True, hidden=flags & Flag.COVERED == Flag.COVERED)
        found = pieces(
            self._state.meta,
            node.id,
            self._wanted.epochs,
            show,
            classes=node.record.class_mask,
            floor=floor,
            lo=lo,
            hi=hi,
        )
        for each in reversed(found) if self._reverse else found:
            size = each.record.record_size
            yield VersionEntry(each.lo, each.hi, each.epoch, each.minor, size, each.covered)

    def _sees(self, node: Node, parent: IlogView) -> bool:
        lo, hi = self._wanted.epochs
        if not self._wanted.flags & Flag.PUNCHED:
            return node.look(hi, parent).visible
        try:
            ilog_view.epoch_lo(view(node, hi, parent), lo, punched=True)
        except NotFoundError:
            return False
        return True

    def _kind(self, above: _Above) -> KeyKind:
        if above.entry is None:
            return KeyKind.LEXICAL
        kinds = keys.key_kinds(above.entry.oid)
        return kinds[0] if above.level == keys.DKEY else kinds[1]

    def _find(self, where: Where | None) -> _Above | None:
        """Where the visit begins; None if nothing is there for this reader."""
        above = _Above(keys.OBJECT, self._state.node_id, ROOT, None)
        if where is None:
            return above
        order = keys.object_order(where.oid)
        node = self._state.nodes.object(order)
        for key in (order, where.dkey, where.akey):
            if key is None:
                break
            if above.entry is not None:
                keys.check_user_key(key, self._kind(above), "key")
                node = self._state.nodes.key(above.node_id, above.level, key, self._kind(above))
            if node is None or not self._sees(node, above.seen):
                return None
            entry = self._entry_of(above, key, node)[0]
            seen = view(node, self._wanted.epochs.hi, above.seen)
            above = _Above(above.level + 1, node.id, seen, entry)
        return above

    def _node_of(self, entry: Entry) -> Node | None:
        """The node of an entry, of a value that of its akey, if it is there now."""
        nodes = self._state.nodes
        kinds = keys.key_kinds(entry.oid)
        node = nodes.object(keys.object_order(entry.oid))
        if node is not None and entry.level >= keys.DKEY:
            node = nodes.key(node.id, keys.DKEY, entry.dkey, kinds[0])
            if node is not None and entry.level >= keys.AKEY:
                node = nodes.key(node.id, keys.AKEY, entry.akey, kinds[1])
        return node

    def _is_there(self, above: _Above) -> bool:
        """Whether what is above a level is still what it was."""
        if above.entry is None:
            return True
        node = self._node_of(above.entry)
        return node is not None and node.id == above.node_id

    def _written_node(self, above: _Above) -> Node | None:
        assert above.entry is not None
        node = self._node_of(above.entry)
        return node if node is not None and node.id == above.node_id else None

    def _delete(self, entry: Entry) -> None:
        """Remove an entry for good."""
        if entry.level == VALUE:
            self._delete_value(entry)
            return
        dkey = entry.dkey if entry.level >= keys.DKEY else None
        akey = entry.akey if entry.level >= keys.AKEY else None
        unlink.delete(self._state, entry.oid, dkey, akey)

    def _delete_value(self, entry: Entry) -> None:
        if self._wanted.flags & Flag.COVERED:
            raise AccessError("pieces cannot be deleted; visit what was written, without VISIBLE")
        state = self._state
        state.check_not_aggregated()
        node = self._node_of(entry)
        if node is None:
            raise NotFoundError("the akey of the value is gone")
        tx = state.meta.begin()
        if node.record.value_type == IodType.SINGLE:
            key = keys.single_key(node.id, entry.epoch, entry.minor)
            value = tx.get(key)
            if value is None:
                raise NotFoundError(f"there is no value at epoch {entry.epoch}")
            tx.delete(key)
            runs = SingleRecord.parse(value).runs
        else:
            record = extents.delete(
                tx, node.id, entry.lo, entry.hi, epoch=entry.epoch, minor=entry.minor
            )
            runs = () if record.run is None else (record.run,)
        for run in runs:
            release(tx, run)
        order = keys.object_order(entry.oid)
        state.lsns.wrote_dkey(xxh3(order), xxh3(entry.dkey), tx.commit())

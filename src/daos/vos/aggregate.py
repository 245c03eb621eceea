"""Aggregation: versions that nobody can ask for any more make room for others.

Of a range of epochs [lo, hi], both ends included: whoever reads at hi or above, or below lo, finds
afterwards what he found before. What only a reader between them could tell apart is gone.

    container -> objects -> dkeys -> akeys       each: what is below it first, then its own
        single values   the newest up to hi      incarnation log, then itself where nothing is left
        arrays          see merge.py

A punch is forgotten after what it hides; that is why a node's log comes after everything below it,
and is left alone where something below could not be seen to (damage, undecided entries).

Nothing at or below hi is written once this has begun: the modification bound rises to hi. So what
one step has looked at is still true in the next, whatever is written meanwhile.

    steps     see work.py; the longest are a look at 96 records, or a merge of one window
    filter    an object or a dkey to which nothing was written since the log position
              `changed_since` is passed over. The buckets of lsn.py tell: they cost a write nothing
              more, and two things that share one cost a look at something unchanged

Invariants:
    A1  a view at or above hi, or below lo, never changes, in whatever step the power fails
    A2  one aggregation of a container at a time, and none beside a discard that it could meet
    A3  what a failed checksum keeps from being merged stays as it is
Source: DAOS src/vos/vos_aggregate.c vos_aggregate; internals §1.13 of the reference. Ours: what a
punch hides goes value by value; the punch of a single value with nothing older goes, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from daos.base.checksum import xxh3
from daos.base.errors import DER, DaosError
from daos.base.ids import EPOCH_MAX, KeyKind, ObjectId, ShardIndex, UnitOid
from daos.bio.device import Done
from daos.vos import extents, keys, newest_notes
from daos.vos.edit import Edit, changed
from daos.vos.ilog import Ilog
from daos.vos.ilog_view import ROOT, IlogView
from daos.vos.merge import ArrayMerge, Below, MergeConfig
from daos.vos.newest_notes import NewestNotes
from daos.vos.nodes import Node, load
from daos.vos.records import NodeRecord
from daos.vos.single import SingleRecord
from daos.vos.state import ContainerState
from daos.vos.statistics import AggregationStatistics
from daos.vos.work import DAMAGE, EpochRange, StepLimits, Steps, Where, Work, drop

_SINGLE: Final = 1
_U16_MAX: Final = (1 << 16) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateConfig:
    """How an aggregation works."""

    limits: StepLimits = field(default_factory=StepLimits)
    merge: MergeConfig = field(default_factory=MergeConfig)


class _Above(NamedTuple):
    """What is known on the way down of the node whose children come next."""

    node_id: int
    level: int  # of the children
    kinds: tuple[KeyKind, KeyKind]  # of dkeys and akeys
    seen: IlogView  # of the node, at hi
    alive: bool  # a reader at hi finds it
    object_hash: int
    dkey_hash: int


_NO_KINDS: Final = (KeyKind.LEXICAL, KeyKind.LEXICAL)


class Aggregation(Work):
    """One pass over a container. Made by `VosContainer.aggregate`; call `step` until `NOTHING`.

    `clean`, once it is done: everything could be seen to.
    """

    def __init__(
        self,
        state: ContainerState,
        epochs: EpochRange,
        config: AggregateConfig,
        *,
        changed_since: int,
    ) -> None:
        super().__init__(state, epochs, config.limits, discard=False)
        self.merge = config.merge
        self.changed_since = changed_since
        self.statistics = AggregationStatistics()
        self.clean = True
        self.notes = NewestNotes(state, epochs)
        self._reading: ArrayMerge | None = None
        self.start(self._walk())

    def read(self, done: Done) -> None:
        assert self._reading is not None
        self._reading.read(done)

    def _walk(self) -> Steps:
        top = _Above(self.state.node_id, keys.OBJECT, _NO_KINDS, ROOT, True, 0, 0)
        self.clean = yield from self._level(top)
        return self.clean

    def _level(self, above: _Above) -> Steps:
        """Every child of a node; whether all could be seen to."""
        clean = True
        prefix = seek = keys.node_prefix(above.node_id, above.level)
        while True:
            yield from self.turn()
            found = self.next_key(seek, prefix)
            if found is None:
                return clean
            seek = found[0] + b"\0"
            try:
                node = load(*found)
                down = self._below(above, node)
            except DAMAGE:
                self.statistics.damaged += 1
                clean = False
                continue
            if down is None:
                continue  # unchanged
            where = _where(above, node)
            if above.level == keys.OBJECT:
                self.notes.begin(node.id, node.key[keys.NODE_PREFIX_SIZE :])
            if above.level == keys.AKEY:
                below_clean = yield from self._values(node, where, down)
            else:
                below_clean = yield from self._level(down)
            if above.level == keys.OBJECT:
                yield from newest_notes.drop(self, node.id, self.epochs, but_newest=True)
            clean &= (yield from self._finish(above, where, below_clean)) and below_clean

    def _below(self, above: _Above, node: Node) -> _Above | None:
        """What to know below a node; None if nothing was written there. Raises: CorruptError."""
        counts, lsns = self.statistics, self.state.lsns
        order = node.key[keys.NODE_PREFIX_SIZE :]
        kinds, object_hash, dkey_hash = above.kinds, above.object_hash, above.dkey_hash
        if above.level == keys.OBJECT:
            object_hash = xxh3(order)
            if lsns.of_object(object_hash) <= self.changed_since:
                counts.obj_skipped += 1
                return None
            counts.obj_scanned += 1
            kinds = _kinds(order)
        elif above.level == keys.DKEY:
            dkey_hash = xxh3(node.record.key or keys.user_key(order, kinds[0]))
            if lsns.of_dkey(object_hash, dkey_hash) <= self.changed_since:
                counts.dkey_skipped += 1
                return None
            counts.dkey_scanned += 1
        else:
            counts.akey_scanned += 1
        seen = node.look(self.epochs.hi, above.seen)
        alive = above.alive and seen.visible
        return _Above(node.id, above.level + 1, kinds, seen, alive, object_hash, dkey_hash)

    def _finish(self, above: _Above, where: Where, below_clean: bool) -> Steps:
        """The node itself, once everything below it is seen to; whether its log was."""
        yield from self.turn()
        value = self.meta.get(where.tree_key)
        if value is None:
            return True
        node = load(where.tree_key, value)
        log, clean = node.ilog, True
        if below_clean:
            try:
                log = log.aggregate(*self.epochs, parent_punch=above.seen.prior_punch)
            except DaosError as error:
                if error.code != DER.TX_BUSY:
                    raise
                self.statistics.uncommitted += 1
                clean = False
        nothing = not log.entries and not log.flags and not self.has_children(node.record)
        if nothing and above.level == keys.OBJECT:
            if newest_notes.noted(self.meta, node.id, EPOCH_MAX):
                yield from newest_notes.drop(self, node.id, newest_notes.EVERY)
                return (yield from self._finish(above, where, below_clean))  # time has passed
            self.notes.gone()
        edit = Edit(self.meta, self.state.root)
        if nothing:
            if drop(edit, self.meta, where, node.record):
                self._count_dropped(above.level)
        else:
            record = self._updated(node, log)
            if record is not node.record:
                edit.put(where.cache_key, where.tree_key, record)
        if not nothing or above.level != keys.OBJECT:
            self._note_entries(edit, node.ilog, log, above.seen.prior_punch)
        edit.commit(0, self.state.nodes.cache)
        return clean

    def _note_entries(self, edit: Edit, old: Ilog, new: Ilog, hidden_by: tuple[int, int]) -> None:
        """Note the newest of the entries that go, unless one that stays is newer."""
        gone = set(old.entries).difference(new.entries)
        newest = max([entry.epoch for entry in gone], default=0)
        stay = [entry.epoch for entry in new.entries if entry.epoch <= self.epochs.hi]
        if newest > max([hidden_by[0], *stay]):
            self.notes.removed(edit, newest)

    def _updated(self, node: Node, log: Ilog) -> NodeRecord:
        record = node.record
        if log is not node.ilog and log.entries != node.ilog.entries:
            record = changed(record, ilog=log.emit())
        classes = extents.classes_in_use(self.meta, node.id, record.class_mask)
        if classes != record.class_mask:
            record = changed(record, class_mask=classes)
        return record

    def _count_dropped(self, level: int) -> None:
        counts = self.statistics
        counts.obj_deleted += level == keys.OBJECT
        counts.dkey_deleted += level == keys.DKEY
        counts.akey_deleted += level == keys.AKEY

    def _values(self, node: Node, where: Where, at: _Above) -> Steps:
        """The values of an akey; whether all could be seen to."""
        floor = at.seen.prior_punch if at.alive else None
        if node.record.value_type == _SINGLE:
            return (yield from self._singles(node.id, floor))
        if not node.record.class_mask:
            return True
        below = Below(floor, (at.object_hash, at.dkey_hash), where)
        merge = ArrayMerge(self, node.record, below)
        self._reading = merge
        try:
            return (yield from merge.run())
        finally:
            self._reading = None

    def _singles(self, akey_id: int, floor: tuple[int, int] | None) -> Steps:
        """Delete the versions of the range but for the newest. floor None: all are hidden."""
        clean = True
        seek = keys.single_key(akey_id, self.epochs.hi, _U16_MAX)
        kept: bytes | None = None
        more = True
        while more:
            yield from self.turn()
            edit = Edit(self.meta, self.state.root)
            cursor = self.meta.cursor()
            more = cursor.set_range(seek)
            deleted = 0
            while more and deleted < self.deletes_max and self.left > 0:
                key = cursor.key()
                more = len(key) == keys.SINGLE_KEY_SIZE and key[:8] == seek[:8]
                if not more:
                    break
                _, epoch, minor = keys.parse_single_key(key)
                if epoch < self.epochs.lo:
                    kept = None  # something older is there, for a punch to hide
                    more = False
                    break
                self.left -= 1
                seek = key + b"\0"
                if floor is not None and kept is None and (epoch, minor) > floor:
                    kept = key
                elif self._delete_single(edit, key, cursor.value()):
                    deleted += 1
                else:
                    clean = False
                more = cursor.next()
            edit.commit(0)
        if kept is not None and clean:
            yield from self.turn()
            self._drop_punch(kept)
        return clean

    def _delete_single(self, edit: Edit, key: bytes, value: bytes) -> bool:
        try:
            record = SingleRecord.parse(value)
        except DAMAGE:  # what blocks it has is not known
            self.statistics.damaged += 1
            return False
        edit.tx.delete(key)
        for run in record.runs:
            edit.tx.free(run)
        self.statistics.deleted_sv += 1
        return True

    def _drop_punch(self, key: bytes) -> None:
        """The oldest version of all need not say that there is no value."""
        value = self.meta.get(key)
        if value is not None:
            edit = Edit(self.meta, self.state.root)
            try:
                if SingleRecord.parse(value).is_punch:
                    self._delete_single(edit, key, value)
                    self.notes.removed(edit, keys.parse_single_key(key)[1])
            except DAMAGE:
                self.statistics.damaged += 1
            edit.commit(0)


def _kinds(order: bytes) -> tuple[KeyKind, KeyKind]:
    hi, lo, shard = keys.parse_object_order(order)
    return keys.key_kinds(UnitOid(ObjectId(hi, lo), ShardIndex(shard)))


def _where(above: _Above, node: Node) -> Where:
    order = node.key[keys.NODE_PREFIX_SIZE :]
    if above.level == keys.OBJECT:
        return Where((above.node_id, order), node.key)
    kind = above.kinds[above.level - keys.DKEY]
    return Where((above.node_id, node.record.key or keys.user_key(order, kind)), node.key)

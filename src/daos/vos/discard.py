"""Discard: what was written in a range of epochs never happened.

Of a container, or of one object of it: values and log entries with an epoch in [lo, hi], both ends
included, are deleted; what they hid shows again, and keys and objects of which nothing is left go.
A creation in the range may have served later writes as well, which logged none of their own: it
moves to the first of those that are left.

In steps, as aggregation (work.py), and like it whole after each of them; what a reader finds
changes with every step. As long as it runs, all writes are refused with UPDATE_AGAIN: one above the
range would rely on a creation that is about to go.

Source: DAOS src/vos/vos_aggregate.c vos_discard. Ours: creations move; there later writes would be
left without one.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, NamedTuple

from daos.base.checksum import xxh3
from daos.base.ids import EPOCH_MAX, U64_MAX, KeyKind, ObjectId, ShardIndex, UnitOid
from daos.vos import keys, newest_notes
from daos.vos.dedup import release
from daos.vos.edit import Edit, changed
from daos.vos.extent_record import ExtentRecord
from daos.vos.extent_scan import KEY, KEY_SIZE
from daos.vos.ilog import MINOR_MAX, Ilog
from daos.vos.nodes import Node, load
from daos.vos.records import NodeRecord
from daos.vos.single import SingleRecord
from daos.vos.state import ContainerState
from daos.vos.work import EpochRange, StepLimits, Want, Where, Work, drop

_SINGLE: Final = 1

# A part of the work; what it returns is the first epoch above the range at which something was
# written below, EPOCH_MAX for none.
Part = Generator[Want, None, int]


class _Above(NamedTuple):
    node_id: int
    level: int  # of the children
    kinds: tuple[KeyKind, KeyKind]
    object_hash: int
    dkey_hash: int


class Discard(Work):
    """One discard. Made by `VosContainer.discard`; call `step` until `NOTHING`.

    `order`: the object it is of; b"": of all.
    """

    def __init__(
        self, state: ContainerState, epochs: EpochRange, limits: StepLimits, order: bytes
    ) -> None:
        super().__init__(state, epochs, limits, order=order, discard=True)
        self.order = order
        self.deleted = 0
        self.start(self._walk())

    def _walk(self) -> Generator[Want, None, bool]:
        kinds = (KeyKind.LEXICAL, KeyKind.LEXICAL)
        yield from self._level(_Above(self.state.node_id, keys.OBJECT, kinds, 0, 0))
        return True

    def _level(self, above: _Above) -> Part:
        first = int(EPOCH_MAX)
        prefix = keys.node_prefix(above.node_id, above.level)
        if above.level == keys.OBJECT:
            prefix += self.order
        seek = prefix
        while True:
            yield from self.turn()
            found = self.next_key(seek, prefix)
            if found is None:
                return first
            seek = found[0] + b"\0"
            node = load(*found)
            down, where = _below(above, node)
            if above.level == keys.AKEY:
                written = yield from self._values(node.record, down)
            else:
                written = yield from self._level(down)
            first = min(first, written)
            if above.level == keys.OBJECT:
                yield from newest_notes.drop(self, node.id, self.epochs)
            yield from self._finish(above, down, where, written)

    def _finish(
        self, above: _Above, down: _Above, where: Where, written: int
    ) -> Generator[Want, None, None]:
        yield from self.turn()
        value = self.meta.get(where.tree_key)
        if value is None:
            return
        node = load(where.tree_key, value)
        log = self._log(node.ilog, written)
        nothing = not log.entries and not log.flags and not self.has_children(node.record)
        if nothing and above.level == keys.OBJECT:  # and nothing is written meanwhile
            yield from newest_notes.drop(self, node.id, newest_notes.EVERY)
        edit = Edit(self.meta, self.state.root)
        if nothing:
            drop(edit, self.meta, where, node.record)
        elif log is not node.ilog:
            edit.put(where.cache_key, where.tree_key, changed(node.record, ilog=log.emit()))
        lsn = edit.commit(0, self.state.nodes.cache)
        if above.level == keys.OBJECT:
            self.state.lsns.wrote_object(down.object_hash, lsn)
        else:
            self.state.lsns.wrote_dkey(down.object_hash, down.dkey_hash, lsn)

    def _log(self, old: Ilog, written: int) -> Ilog:
        """Without the range; a creation that later writes need moves to the first of them."""
        lo, hi = self.epochs
        log = old.discard(lo, hi)
        created = any(lo <= entry.epoch <= hi and not entry.is_punch for entry in old.entries)
        later = [entry.epoch for entry in log.entries if entry.epoch > hi]
        if created and written < min(later, default=int(EPOCH_MAX)):
            floor = max([e.epoch for e in log.entries if e.epoch < written], default=0)
            log = log.update(written, MINOR_MAX, punch=False, lo_epoch=floor + 1)
        return log

    def _values(self, record: NodeRecord, down: _Above) -> Part:
        """Delete the values of an akey that are of the range."""
        lo, hi = self.epochs
        first = int(EPOCH_MAX)
        prefix = seek = record.node_id.to_bytes(8, "big")
        single = record.value_type == _SINGLE
        more = True
        while more:
            yield from self.turn()
            edit = Edit(self.meta, self.state.root)
            cursor = self.meta.cursor()
            more = cursor.set_range(seek)
            deleted = 0
            while more and deleted < self.deletes_max and self.left > 0:
                key = cursor.key()
                if not key.startswith(prefix):
                    more = False
                    break
                self.left -= 1
                seek = key + b"\0"
                epoch = _epoch_of(key)
                if lo <= epoch <= hi:
                    edit.tx.delete(key)
                    runs = SingleRecord.parse(cursor.value()).runs if single else ()
                    if not single and (run := ExtentRecord.parse(cursor.value()).run) is not None:
                        runs = (run,)
                    for run in runs:
                        release(edit.tx, run)
                    deleted += 1
                elif epoch > hi:
                    first = min(first, epoch)
                more = cursor.next()
            lsn = edit.commit(0)
            if deleted:  # what they hid shows from now on
                self.state.lsns.wrote_dkey(down.object_hash, down.dkey_hash, lsn)
            self.deleted += deleted
        return first


def _epoch_of(key: bytes) -> int:
    if len(key) == KEY_SIZE:
        return int(KEY.unpack(key)[3]) ^ U64_MAX
    return keys.parse_single_key(key)[1]


def _below(above: _Above, node: Node) -> tuple[_Above, Where]:
    order = node.key[keys.NODE_PREFIX_SIZE :]
    kinds, object_hash, dkey_hash = above.kinds, above.object_hash, above.dkey_hash
    key = order
    if above.level == keys.OBJECT:
        hi, lo, shard = keys.parse_object_order(order)
        kinds = keys.key_kinds(UnitOid(ObjectId(hi, lo), ShardIndex(shard)))
        object_hash = xxh3(order)
    else:
        key = node.record.key or keys.user_key(order, kinds[above.level - keys.DKEY])
        if above.level == keys.DKEY:
            dkey_hash = xxh3(key)
    down = _Above(node.id, above.level + 1, kinds, object_hash, dkey_hash)
    return down, Where((above.node_id, key), node.key)

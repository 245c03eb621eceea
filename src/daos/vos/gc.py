"""Space of what nothing reaches any more comes back: in bounded steps, and also after a restart.

    unlink:  its record -> garbage record, one transaction: destroyed containers, deleted objects
             and keys
    step:    leaves first, then the nodes above them, each step one transaction
    last:    the garbage record itself

The tree is the only state: a step starts at the first garbage record, goes down to the first leaf
that is left and deletes from there. A step that a crash took back is done again.

Invariants:
    D1  a node is deleted only when nothing is below it
    D2  blocks are freed in the transaction that deletes the record naming them
Source: DAOS src/vos/vos_gc.c gc_reclaim_pool. Ours: no bags of items; a walk finds what is left.
"""

from __future__ import annotations

from typing import Final

from daos.bio.meta import MetaContext, Tx
from daos.bio.space import Extent
from daos.vos import keys
from daos.vos.dedup import release
from daos.vos.extent_record import ExtentRecord
from daos.vos.records import GarbageRecord, NodeRecord
from daos.vos.single import SingleRecord
from daos.vos.statistics import GcStatistics

_GARBAGE_PREFIX: Final = keys.node_prefix(0, keys.GARBAGE)
_CHILD: Final = {keys.CONTAINER: keys.OBJECT, keys.OBJECT: keys.DKEY, keys.DKEY: keys.AKEY}


class _Step:
    """One step: a transaction and what it may still delete."""

    __slots__ = ("credits", "meta", "statistics", "tx")

    def __init__(self, meta: MetaContext, credits: int) -> None:
        self.meta = meta
        self.tx: Tx = meta.begin()
        self.credits = credits
        self.statistics = GcStatistics()

    def delete(self, key: bytes) -> None:
        self.tx.delete(key)
        self.credits -= 1

    def delete_node(self, key: bytes, kind: int) -> None:
        self.delete(key)
        self.statistics.count(kind)

    def drain(self, record: NodeRecord) -> bool:
        """Delete what is below a node, as far as credits go; whether nothing is left."""
        if record.kind == keys.AKEY:
            return self._drain_values(record)
        drained = self._drain_children(record)
        # What containers and objects have beside their children.
        return drained and (record.kind == keys.DKEY or self._drain_rest(record))

    def _drain_children(self, record: NodeRecord) -> bool:
        level = _CHILD[record.kind]
        prefix = keys.node_prefix(record.node_id, level)
        seek = prefix
        while self.credits > 0:
            # A new cursor each time: the walk below used another one.
            cursor = self.meta.cursor()
            if not cursor.set_range(seek):
                return True
            key = cursor.key()
            if not key.startswith(prefix):
                return True
            if not self.drain(NodeRecord.parse(cursor.value())) or self.credits <= 0:
                return False
            self.delete_node(key, level)
            seek = key + b"\0"
        return False

    def _drain_values(self, record: NodeRecord) -> bool:
        prefix = record.node_id.to_bytes(8, "big")
        counts = self.statistics
        cursor = self.meta.cursor()
        more = cursor.set_range(prefix)
        while more:
            key, value = cursor.item()
            if not key.startswith(prefix):
                return True
            if self.credits <= 0:
                return False
            # The length of the key tells: a garbage record does not say what an akey holds.
            single = len(key) == keys.SINGLE_KEY_SIZE
            for run in _runs(value, single=single):
                release(self.tx, run)
            self.delete(key)
            counts.singvs += single
            counts.recxs += not single
            more = cursor.next()
        return True

    def _drain_rest(self, record: NodeRecord) -> bool:
        """Records of kinds above those of the children; they own no blocks."""
        prefix = record.node_id.to_bytes(8, "big")
        cursor = self.meta.cursor()
        more = cursor.set_range(prefix + bytes((_CHILD[record.kind] + 1,)))
        while more and cursor.key().startswith(prefix):
            if self.credits <= 0:
                return False
            self.delete(cursor.key())
            more = cursor.next()
        return True


def step(meta: MetaContext, credits: int, total: GcStatistics | None = None) -> bool:
    """Delete up to `credits` records that nothing reaches; whether there is more to do.

    `total` learns what was deleted.

    Raises:     CorruptError
    Cost:       O(credits)
    """
    assert credits > 0
    cursor = meta.cursor()
    if not cursor.set_range(_GARBAGE_PREFIX):
        return False
    key = cursor.key()
    if not key.startswith(_GARBAGE_PREFIX):
        return False
    kind = GarbageRecord.parse(cursor.value()).kind
    node_id = int.from_bytes(key[len(_GARBAGE_PREFIX) :], "big")
    work = _Step(meta, credits)
    if work.drain(NodeRecord(kind, node_id)) and work.credits > 0:
        work.delete_node(key, kind)
    work.tx.commit()
    if total is not None:
        total.add(work.statistics)
    return True


def _runs(value: bytes, *, single: bool) -> tuple[Extent, ...]:
    if single:
        return SingleRecord.parse(value).runs
    run = ExtentRecord.parse(value).run
    return () if run is None else (run,)

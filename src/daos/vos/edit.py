"""One modifying operation: what it changes in the tree, all or nothing.

An operation checks and decides first, then fills an `Edit`, then commits it. Dropping an edit is an
abort: neither the tree, nor the root, nor the cache have changed.

The root record is written rarely: its limit of node ids is taken ahead in steps, ids below it cost
nothing, and a restart skips what is left of a step.

Invariants:
    E1  a node id in the tree is below `RootRecord.node_limit`, from the same transaction on or an
        earlier one
    E2  node ids are never reused, whatever crashes or fails
    E3  the log knows an epoch that is not below any epoch in the tree (`Tx.raise_epoch`)
Source: ours; DAOS names the things of its trees by their place in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from daos.base.ids import Epoch, KeyKind, Lsn
from daos.bio.meta import MetaContext, Tx
from daos.vos import keys
from daos.vos.nodes import CacheKey, Node, NodeCache, free_place
from daos.vos.records import NodeRecord, RootRecord

_NODE_STEP: Final = 1024


# Tree and log bytes that one node may take: key, record, and its share of a split page.
# Source: DAOS src/vos/vos_space.c, 1,024 a key.
_NODE_BYTES: Final = 1024


class Place(NamedTuple):
    """Where a node belongs, whether there is one or not."""

    parent_id: int
    level: int
    key: bytes  # the user's key; of an object its key order
    kind: KeyKind

    @property
    def cache_key(self) -> CacheKey:
        return self.parent_id, self.key


# The same without the class, for the paths on which one is looked up and rarely needed.
PlaceFields = tuple[int, int, bytes, KeyKind]


class Root:
    """The root record as it is in the tree, and the next node id."""

    __slots__ = ("next_id", "record")

    def __init__(self, record: RootRecord) -> None:
        self.record = record
        self.next_id = record.node_limit


class Edit:
    """The changes of one operation. Used once, within one synchronous section."""

    __slots__ = ("_dropped", "_nodes", "_root", "next_id", "tx")

    def __init__(self, meta: MetaContext, root: Root) -> None:
        self.tx: Tx = meta.begin()
        self.next_id = root.next_id
        self._root = root
        self._nodes: list[tuple[CacheKey, Node]] = []
        self._dropped: list[CacheKey] = []

    def new_id(self) -> int:
        node_id = self.next_id
        self.next_id += 1
        return node_id

    def put(self, cache_key: CacheKey, tree_key: bytes, record: NodeRecord) -> None:
        """Write a node."""
        self.add(cache_key, Node.of(tree_key, record))

    def add(self, cache_key: CacheKey, node: Node) -> None:
        """Write a node that is ready made."""
        self.tx.put(node.key, node.record.emit())
        self._nodes.append((cache_key, node))

    def drop(self, cache_key: CacheKey, tree_key: bytes) -> None:
        """Delete a node, whatever is below it."""
        self.tx.delete(tree_key)
        self._dropped.append(cache_key)

    def create(
        self, place: PlaceFields, ilog: bytes, node_id: int, free: bytes | None = None
    ) -> bytes:
        """Write a node that is not in the tree yet; its tree key. `free`: as `draft`."""
        key, record = self.draft(place, ilog, node_id, free)
        self.put((place[0], place[2]), key, record)
        return key

    def draft(
        self,
        place: PlaceFields,
        ilog: bytes,
        node_id: int,
        free: bytes | None = None,
        values: tuple[int, ...] = (),
    ) -> tuple[bytes, NodeRecord]:
        """Tree key and record of a node that is not in the tree yet; nothing is written.

        `free`: a tree key for it that was free before this operation. `values`: of an akey, the
        fields of its record from `value_type` on.
        """
        parent_id, level, user_key, kind = place
        key = free
        if key is None or key in self.tx.pairs:
            # Below a parent that this operation creates, nothing is in the tree.
            below_new = parent_id >= self._root.next_id
            key = free_place(self.tx.pairs.get if below_new else self.tx.get, *place)
        kept = b"" if keys.is_exact(user_key, kind) else user_key
        return key, NodeRecord(level, node_id, ilog, kept, *values)

    def commit(self, epoch: Epoch | int, cache: NodeCache | None = None) -> Lsn:
        """Make everything visible at once; durable when the log is, up to the LSN returned.

        Atomicity:  all or nothing
        """
        root = self._root
        record = root.record
        if self.next_id > record.node_limit:
            record = RootRecord(record.pool, self.next_id + _NODE_STEP)
            self.tx.put(keys.ROOT_KEY, record.emit())
        if epoch:
            self.tx.raise_epoch(Epoch(epoch))
        lsn = self.tx.commit()
        root.record = record
        root.next_id = self.next_id
        if cache is not None:
            for cache_key, node in self._nodes:
                cache.put(cache_key, node)
            for cache_key in self._dropped:
                cache.drop(cache_key)
        return lsn


def tree_bytes(user_keys: Iterable[bytes]) -> int:
    """What the nodes of these keys may take of the tree and the log at most."""
    return sum([_NODE_BYTES + 2 * len(key) for key in user_keys])


def changed(record: NodeRecord, **fields: int | bytes) -> NodeRecord:
    """The record with some fields replaced."""
    return msgspec.structs.replace(record, **fields)

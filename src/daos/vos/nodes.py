"""Nodes of the tree as the operations see them: found by user key, cached, created.

    find --> cache (a dict hit) --> tree (one get; a bucket of colliding hashes: one get a tie)

A `Node` is a value: it never changes. An operation makes new nodes and hands them to an `Edit`
(edit.py); the cache learns of them only when the edit's transaction is in, so that a failed
operation leaves no trace here.

Invariants:
    N1  what the cache holds is what the tree holds
    N2  the cache holds no absence: a miss is looked up again
    N3  the cache has a bound, in nodes and in bytes of key each
Source: ours; DAOS caches objects only (src/vos/vos_obj_cache.c) and walks its trees for keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from daos.base.errors import DER, CorruptError, DaosError
from daos.base.ids import EPOCH_MAX, KeyKind
from daos.vos import ilog_view, keys
from daos.vos.ilog import EMPTY, Ilog, created_at
from daos.vos.ilog_view import IlogView
from daos.vos.records import NodeRecord

# Two generations of this many nodes, about 0.6 KiB each: 20 MiB a container at most.
_GENERATION: Final = 16_384
# Longer keys are looked up in the tree every time: they must not fill memory.
_CACHED_KEY_SIZE_MAX: Final = 256

CacheKey = tuple[int, bytes]


class Node(msgspec.Struct, eq=False, gc=False):
    """A record of the tree, its tree key, and its incarnation log ready to be asked.

    Not looked at by the garbage collector, as it is in no cycle: a cache of 30,000 nodes kept the
    loop away for 25 ms now and then.
    """

    key: bytes
    record: NodeRecord
    id: int
    # The epoch of creation, if the log is one committed creation and nothing else; else 0.
    created: int
    _ilog: Ilog | None = None
    _plain: IlogView | None = None

    @staticmethod
    def of(key: bytes, record: NodeRecord) -> Node:
        """The node of a record."""
        return Node(key, record, record.node_id, created_at(record.ilog, EPOCH_MAX))

    @property
    def ilog(self) -> Ilog:
        """Raises: CorruptError."""
        ilog = self._ilog
        if ilog is None:
            self._ilog = ilog = Ilog.parse(self.record.ilog)
        return ilog

    def look(self, epoch: int, parent: IlogView = ilog_view.ROOT) -> IlogView:
        """What a reader at `epoch` makes of the node. Its `epoch` and `bound` may be lower.

        Cost:       0.2 us for a node created once and never punched, nor its parents
        """
        if 0 < self.created <= epoch and not parent.prior_any_punch.epoch:
            plain = self._plain
            if plain is None:
                self._plain = plain = ilog_view.view(self.ilog, self.created)
            return plain
        return ilog_view.view(self.ilog, epoch, parent=parent)


class NodeCache:
    """The nodes used last, by (parent id, user key); two generations instead of a list.

    A hit is one dict look-up; when the young generation is full it becomes the old one and the
    old one is dropped, so that at least the last `_GENERATION` nodes used are here. What is dropped
    is freed node by node, one each `put`: all at once took 10 ms. It is gone before the next
    generation follows, so there are never more than twice `size` nodes.
    """

    __slots__ = ("_dropped", "_old", "_size", "young")

    def __init__(self, size: int = _GENERATION) -> None:
        self._size = size
        self.young: dict[CacheKey, Node] = {}
        self._old: dict[CacheKey, Node] = {}
        self._dropped: dict[CacheKey, Node] = {}

    def get(self, key: CacheKey) -> Node | None:
        node = self.young.get(key)
        if node is None:
            node = self._old.get(key)
            if node is not None:
                self.put(key, node)
        return node

    def put(self, key: CacheKey, node: Node) -> None:
        """Remember `node`, replacing what was there."""
        if len(key[1]) > _CACHED_KEY_SIZE_MAX:
            return
        if len(self.young) >= self._size:
            self._dropped = self._old
            self._old = self.young
            self.young = {}
        if self._dropped:
            self._dropped.popitem()
        self.young[key] = node

    def drop(self, key: CacheKey) -> None:
        """Forget a node that is not in the tree any more."""
        self.young.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        self.young = {}
        self._old = {}
        self._dropped = {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)


class Nodes:
    """Look-ups of one container."""

    __slots__ = ("_free", "_get", "cache", "container_id")

    def __init__(self, get: Callable[[bytes], bytes | None], container_id: int) -> None:
        self._get = get
        self._free: tuple[CacheKey, bytes] | None = None  # what `key` missed last, and where
        self.container_id = container_id
        self.cache = NodeCache()

    def object(self, order: bytes) -> Node | None:
        """The object of a key order (keys.object_order). Raises: CorruptError."""
        cache_key = (self.container_id, order)
        node = self.cache.young.get(cache_key) or self.cache.get(cache_key)
        if node is None:
            node = self._load(keys.node_prefix(self.container_id, keys.OBJECT) + order)
            if node is not None:
                self.cache.put(cache_key, node)
        return node

    def key(self, parent_id: int, level: int, user_key: bytes, kind: KeyKind) -> Node | None:
        """The dkey or akey (`level`) of a user's key. Raises: CorruptError."""
        cache_key = (parent_id, user_key)
        node = self.cache.young.get(cache_key) or self.cache.get(cache_key)
        if node is not None:
            return node
        prefix = keys.node_prefix(parent_id, level)
        if keys.is_exact(user_key, kind):
            place = prefix + keys.exact_order(user_key, kind)
            node = self._load(place)
        else:
            bucket = prefix + keys.bucket_order(user_key, kind)
            for tie in range(keys.TIES_MAX):
                place = keys.with_tie(bucket, tie)
                node = self._load(place)
                # Equal hashes do not make equal keys.
                if node is None or node.record.key == user_key:
                    break
            else:
                self._free = None
                return None
        if node is not None:
            self.cache.put(cache_key, node)
        else:
            self._free = cache_key, place
        return node

    def take_free(self, parent_id: int, user_key: bytes) -> bytes | None:
        """The free tree key that `key` has just found in place of this one's, if it did."""
        free, self._free = self._free, None
        return free[1] if free is not None and free[0] == (parent_id, user_key) else None

    def _load(self, tree_key: bytes) -> Node | None:
        value = self._get(tree_key)
        return None if value is None else load(tree_key, value)


def load(tree_key: bytes, value: bytes) -> Node:
    """A node of the tree. Raises: CorruptError if the record does not fit its key."""
    record = NodeRecord.parse(value)
    if record.kind != tree_key[8]:
        raise CorruptError("node record kind", offset=4, want=tree_key[8], got=record.kind)
    return Node.of(tree_key, record)


def view(
    node: Node | None, epoch: int, parent: IlogView = ilog_view.ROOT, bound: int = 0
) -> IlogView:
    """The full view of a node, or of one that was never written."""
    log = EMPTY if node is None else node.ilog
    return ilog_view.view(log, epoch, bound=bound, parent=parent)


def free_place(
    get: Callable[[bytes], bytes | None],
    parent_id: int,
    level: int,
    user_key: bytes,
    kind: KeyKind,
) -> bytes:
    """The tree key for a user's key that has none yet. `get` must see the operation's own writes.

    Raises:     DaosError DOS   65,536 keys share the hash: somebody makes collisions on purpose
    """
    prefix = keys.node_prefix(parent_id, level)
    if keys.is_exact(user_key, kind):
        return prefix + keys.exact_order(user_key, kind)
    bucket = prefix + keys.bucket_order(user_key, kind)
    for tie in range(keys.TIES_MAX):
        place = keys.with_tie(bucket, tie)
        if get(place) is None:
            return place
    raise DaosError("too many keys share one hash", code=DER.DOS)

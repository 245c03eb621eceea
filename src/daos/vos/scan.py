"""The children of one node in key order, either way: what enumerations step through.

    forwards     from a position, behind it                to the last key
    backwards    from a position, in front of it           to the first key

A position is the key order of an entry (keys.py), which is given too if it is `included`; it need
not exist. The walk reads what is in the tree
as it goes: cursors live until the next commit, so a walk is used up within one synchronous section,
and continued by a new one from the last position.

Order: bytes of the key order. Long lexical keys that share their first 400 bytes stand there by
hash; a walk reads the whole group and gives the next ones by the full keys in the records.

Invariants:
    W1  every child that `sees` accepts, behind the position and within prefix and start, is given
        once, in key order
    W2  memory is bounded by one page, whatever the group
Source: ours; DAOS src/vos/vos_tree.c iterates B+trees in both directions.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from daos.base.ids import KeyKind
from daos.vos import keys
from daos.vos.anchor import Position
from daos.vos.nodes import Node, load
from daos.vos.state import ContainerState

_HEAD: Final = keys.LEXICAL_INLINE_MAX

Sees = Callable[[Node], bool]


class Bounds(NamedTuple):
    """What a page may hold: entries, and bytes of keys (but it has one entry)."""

    limit: int
    bytes_max: int


class Child(NamedTuple):
    """A child that was looked at. `node` is None if the caller does not see it."""

    order: bytes
    key: bytes
    node: Node | None


class KeyScan:
    """The children of one node: of those that begin with `prefix`, from `start` on.

    `start` is a user key of an ordered kind, included whether it exists or not; backwards it is the
    highest one. Integers have no prefixes, hashed keys no start: the caller has checked that.
    """

    __slots__ = ("_base", "_kind", "_prefix", "_reverse", "_start", "_state", "_stop")

    def __init__(
        self,
        state: ContainerState,
        parent_id: int,
        level: int,
        kind: KeyKind,
        *,
        prefix: bytes = b"",
        start: bytes = b"",
        reverse: bool = False,
    ) -> None:
        self._state = state
        self._kind = kind
        self._prefix = prefix
        self._start = start
        self._reverse = reverse
        self._base = base = keys.node_prefix(parent_id, level)
        # Lexical keys with one prefix are neighbours; all others are compared one by one.
        self._stop = base + prefix[:_HEAD] if kind is KeyKind.LEXICAL else base

    def walk(self, position: Position, sees: Sees, bounds: Bounds) -> Iterator[Child | None]:
        """Children from `position` on; None and the end if a group of long keys goes on.

        Raises:     CorruptError
        Cost:       a step a child; a group of long keys is read whole
        """
        group, seek = self._begin(position)
        while True:
            if group:
                yield from self._group(group, position, sees, bounds)
                group, seek = b"", self._beyond(group)
            for child in self._plain(seek):
                if keys.is_long_order(child[0], self._kind):
                    group = child[0][:_HEAD]
                    break
                order, key, node = child
                wanted = key.startswith(self._prefix) and sees(node)
                yield Child(order, key, node if wanted else None)
            if not group:
                return

    def _begin(self, position: Position) -> tuple[bytes, bytes]:
        """The group to begin in, if any, and the tree key to seek otherwise."""
        base, kind = self._base, self._kind
        order = position.order
        if order:
            if keys.is_long_order(order, kind):
                return order[:_HEAD], b""
            beyond = position.included is self._reverse
            return b"", base + order + b"\0" if beyond else base + order
        start = self._start
        if start and kind is KeyKind.LEXICAL and len(start) > _HEAD:
            return start[:_HEAD], b""
        if start:
            key = base + keys.exact_order(start, kind)
            return b"", key + b"\0" if self._reverse else key
        return b"", keys.after(base) if self._reverse else base

    def _beyond(self, head: bytes) -> bytes:
        """Where to go on after the long keys that share `head`; b"" ends the walk."""
        if self._reverse:
            return self._base + head + b"\0"  # in front of it stands the key that is the head
        return self._base + keys.after(head) if head.strip(b"\xff") else b""

    def _plain(self, seek: bytes) -> Iterator[tuple[bytes, bytes, Node]]:
        """Key order, user key and node from `seek` on, or backwards from just below it."""
        if not seek:
            return
        size, stop, kind = len(self._base), self._stop, self._kind
        cursor = self._state.meta.cursor()
        if self._reverse:
            step = cursor.prev
            more = cursor.prev() if cursor.set_range(min(seek, keys.after(stop))) else cursor.last()
        else:
            step = cursor.next
            more = cursor.set_range(max(seek, stop))
        while more:
            tree_key, value = cursor.item()
            if not tree_key.startswith(stop):
                return
            node = load(tree_key, value)
            order = tree_key[size:]
            yield order, node.record.key or keys.user_key(order, kind), node
            more = step()

    def _group(
        self, head: bytes, position: Position, sees: Sees, bounds: Bounds
    ) -> Iterator[Child | None]:
        """Long keys that share `head`, in order of the full keys, from `position` on.

        Cost:       O(keys of the group) to read, memory for one page of them
        """
        size, reverse = len(self._base), self._reverse
        edge, included = self._edge(head, position)
        best: list[tuple[bytes, bytes, Node]] = []
        nbytes, cut = 0, False
        first = self._base + head
        cursor = self._state.meta.cursor()
        more = cursor.set_range(first + b"\0")  # behind the key of just these 400 bytes
        while more:
            tree_key, value = cursor.item()
            if not tree_key.startswith(first):
                break
            node = load(tree_key, value)
            key = node.record.key
            inside = not edge or (key < edge if reverse else key > edge)
            inside = inside or (included and key == edge)
            if inside and key.startswith(self._prefix) and sees(node):
                insort(best, (key, tree_key[size:], node), key=_key_of)
                nbytes += len(key)
                while len(best) > bounds.limit or (len(best) > 1 and nbytes > bounds.bytes_max):
                    nbytes -= len(best.pop(0 if reverse else -1)[0])
                    cut = True
            more = cursor.next()
        for key, order, node in reversed(best) if reverse else best:
            yield Child(order, key, node)
        if cut:
            yield None

    def _edge(self, head: bytes, position: Position) -> tuple[bytes, bool]:
        """The full key at which a group begins, b"" if at its first; and whether it is in."""
        order = position.order
        if keys.is_long_order(order, self._kind) and order.startswith(head):
            last = self._state.meta.get(self._base + order)
            if last is None:
                return b"", False  # punched and aggregated since: the group comes again
            return load(self._base + order, last).record.key, position.included
        if not order and len(self._start) > _HEAD and self._start.startswith(head):
            return self._start, True
        return b"", False


def _key_of(entry: tuple[bytes, bytes, Node]) -> bytes:
    return entry[0]

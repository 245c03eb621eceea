"""The newest epoch at which an object was changed, as of a reader's epoch.

    known     newest_table.py has it, and it is not above the reader's epoch: no step
    else      object -> dkeys -> akeys      creations and punches, in the logs of the nodes
                  single value              the newest version up to the reader's epoch: one seek
                  array                     the top of each stack: two seeks each
              notes of the object           what aggregation has removed (newest_notes.py), last:
                                            it notes what it removes before the search comes there

Writes and punches count, whether a reader sees them. An object of which aggregation has left
nothing is as one that never was.

A search is told of what is written meanwhile, and of what aggregation moves to where it has been.
Where its reader is above everything that there was when it began, the table knows the object
afterwards.

Cost: 6 us a step, 5 steps a chunk of an array; from the table 1 us.
Source: DAOS src/vos/vos_query.c, vos_obj_df.vo_max_write. Ours: as of any epoch; kept in memory.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from daos.base.checksum import xxh3
from daos.base.errors import InvalidError
from daos.base.ids import EPOCH_MAX, U64_MAX, Epoch, Lsn, UnitOid
from daos.base.iod import IodType
from daos.vos import keys, newest_notes
from daos.vos.extent_scan import CLASS, KEY, classes_of
from daos.vos.nodes import Node, load
from daos.vos.state import ContainerState

_U16_MAX: Final = (1 << 16) - 1


class NewestEpoch:
    """One search, in steps between which anything may be written."""

    def __init__(self, state: ContainerState, oid: UnitOid, epoch: Epoch) -> None:
        """Raises: InvalidError."""
        if not 0 < epoch <= EPOCH_MAX:
            raise InvalidError(f"nothing is read at epoch {epoch}")
        self.epoch = Epoch(0)  # the newest so far; 0: there is nothing
        self.order = keys.object_order(oid)
        self.fills = epoch >= state.meta.epoch_highest  # of all that there is by now
        self._state = state
        self._limit = int(epoch)
        self._latest = 0  # of what was written meanwhile, also above the reader's epoch
        self._left = 0
        known = state.newest.ask(self.order)
        self._walk: Generator[None, None, None] | None = None
        if known is not None and known <= epoch:
            self.epoch = Epoch(known)
        else:
            self._walk = self._object()
            state.newest.begin(self)

    @property
    def lsn(self) -> Lsn:
        """What the answer depends on."""
        return self._state.lsns.of_object(xxh3(self.order))

    def step(self, credits: int) -> bool:
        """Look at some `credits` records; whether to come again.

        Raises: StaleHandleError (the container was destroyed), CorruptError
        """
        walk = self._walk
        try:
            self._state.check_alive()
            if walk is None:
                return False
            self._left = credits
            if next(walk, self) is not self:
                return True
        except BaseException:
            self.close()
            raise
        self._walk = None
        self._state.newest.end(self, max(self.epoch, self._latest))
        return False

    def close(self) -> None:
        """Give up. Idempotent."""
        if self._walk is not None:
            self._walk.close()
            self._walk = None
            self._state.newest.end(self, None)

    def saw(self, epoch: int) -> None:
        """See newest_table.Search."""
        self._latest = max(self._latest, epoch)
        self._note(epoch)

    def _turn(self) -> Generator[None, None, None]:
        self._left -= 1
        if self._left < 0:
            yield

    def _object(self) -> Generator[None, None, None]:
        state = self._state
        node = state.nodes.object(self.order)
        if node is not None:
            self._log(node)
            yield from self._level(node.id, keys.DKEY)
            self._note(newest_notes.verified(state.meta, node.id, self._limit))

    def _level(self, parent_id: int, level: int) -> Generator[None, None, None]:
        prefix = seek = keys.node_prefix(parent_id, level)
        while True:
            yield from self._turn()
            found = self._next(seek, prefix)
            if found is None:
                return
            node = load(*found)
            seek = node.key + b"\0"
            self._log(node)
            if level == keys.DKEY:
                yield from self._level(node.id, keys.AKEY)
            elif node.record.value_type == IodType.SINGLE:
                self._single(node.id)
            else:
                for cls in classes_of(node.record.class_mask):
                    yield from self._extents(node.id, cls)

    def _next(self, seek: bytes, prefix: bytes) -> tuple[bytes, bytes] | None:
        """What comes next in the tree. No cursor outlives a step: the shard may be closed."""
        cursor = self._state.meta.cursor()
        if not cursor.set_range(seek) or not cursor.key().startswith(prefix):
            return None
        return cursor.item()

    def _note(self, epoch: int) -> None:
        if self.epoch < epoch <= self._limit:
            self.epoch = Epoch(epoch)

    def _log(self, node: Node) -> None:
        if node.created:  # nothing else in it, as mostly
            self._note(node.created)
            return
        for entry in node.ilog.entries:
            self._note(entry.epoch)

    def _single(self, akey_id: int) -> None:
        seek = keys.single_key(akey_id, self._limit, _U16_MAX)
        cursor = self._state.meta.cursor()
        if cursor.set_range(seek):
            key = cursor.key()
            if len(key) == keys.SINGLE_KEY_SIZE and key[:8] == seek[:8]:
                self._note(keys.parse_single_key(key)[1])

    def _extents(self, akey_id: int, cls: int) -> Generator[None, None, None]:
        prefix, lo = CLASS.pack(akey_id, cls), 0
        while lo <= U64_MAX:
            yield from self._turn()
            found = self._next(KEY.pack(akey_id, cls, lo, self._limit ^ U64_MAX, 0), prefix)
            if found is None:
                return
            _, _, first, inv, _ = KEY.unpack(found[0])
            epoch = inv ^ U64_MAX
            self._note(epoch)
            # The top of the next stack may be too new: then look into it.
            lo = first if first > lo and epoch > self._limit else first + 1

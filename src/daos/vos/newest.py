"""The newest epoch at which an object was changed, as of a reader's epoch; looked for when asked.

    object -> dkeys -> akeys      creations and punches, in the logs of the nodes
        single value              the newest version up to the reader's epoch: one seek
        array                     the top of each stack: two seeks each

To keep it would cost each write a put. Writes and punches count, whether a reader sees them; what
aggregation has removed together with all that it hid does not.

Source: DAOS src/vos/vos_query.c, vos_obj_df.vo_max_write. Ours: found by a walk.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from daos.base.checksum import xxh3
from daos.base.errors import InvalidError
from daos.base.ids import EPOCH_MAX, U64_MAX, Epoch, Lsn, UnitOid
from daos.base.iod import IodType
from daos.vos import keys
from daos.vos.extent_scan import CLASS, CLASS_END, KEY, classes_of
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
        self._state = state
        self._limit = int(epoch)
        self._order = keys.object_order(oid)
        self._left = 0
        self._walk: Generator[None, None, None] = self._object()

    @property
    def lsn(self) -> Lsn:
        """What the answer depends on."""
        return self._state.lsns.of_object(xxh3(self._order))

    def step(self, credits: int) -> bool:
        """Look at some `credits` records; whether to come again.

        Raises: StaleHandleError (the container was destroyed), CorruptError
        """
        self._state.check_alive()
        self._left = credits
        return next(self._walk, self) is not self

    def _turn(self) -> Generator[None, None, None]:
        self._left -= 1
        if self._left < 0:
            yield

    def _object(self) -> Generator[None, None, None]:
        node = self._state.nodes.object(self._order)
        if node is not None:
            self._log(node)
            yield from self._level(node.id, keys.DKEY)

    def _level(self, parent_id: int, level: int) -> Generator[None, None, None]:
        prefix = seek = keys.node_prefix(parent_id, level)
        while True:
            yield from self._turn()
            cursor = self._state.meta.cursor()
            if not cursor.set_range(seek) or not cursor.key().startswith(prefix):
                return
            node = load(*cursor.item())
            seek = node.key + b"\0"
            self._log(node)
            if level == keys.DKEY:
                yield from self._level(node.id, keys.AKEY)
            elif node.record.value_type == IodType.SINGLE:
                self._single(node.id)
            else:
                for cls in classes_of(node.record.class_mask):
                    yield from self._extents(node.id, cls)

    def _note(self, epoch: int) -> None:
        if self.epoch < epoch <= self._limit:
            self.epoch = Epoch(epoch)

    def _log(self, node: Node) -> None:
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
            cursor = self._state.meta.cursor()
            seek = KEY.pack(akey_id, cls, lo, self._limit ^ U64_MAX, 0)
            if not cursor.set_range(seek) or cursor.key()[:CLASS_END] != prefix:
                return
            _, _, first, inv, _ = KEY.unpack(cursor.key())
            epoch = inv ^ U64_MAX
            self._note(epoch)
            # The top of the next stack may be too new: then look into it.
            lo = first if first > lo and epoch > self._limit else first + 1

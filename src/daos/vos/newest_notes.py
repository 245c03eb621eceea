"""What the newest epoch of an object stands on once aggregation has removed what was written then.

Where a hole goes with all that it hid, or a punch, nothing in the tree tells of its epoch any more;
the object was changed then nevertheless. So the transaction that removes such a thing leaves a note
at the object, unless something newer of the range is known to stay. Notes are told apart by their
epochs as versions of a value are: of a range of epochs that nobody reads the newest stays, and a
reader below it finds older ones.

    hidden by what stays, or merged with it    no note: that has the same epoch, or a newer one
    a hole over nothing, the punch of a        a note of their epoch
      single value, entries of a log
    nothing is left of the object              its notes go with it

Invariants:
    O1  for a reader at the end of the range or above, and below its begin, the newest epoch is the
        same after each transaction, as long as anything is left of the object
    O2  a note's epoch is one at which the object was changed
Source: DAOS src/vos/vos_layout.h vo_max_write, which the object keeps. Ours: an epoch a range.
"""

from __future__ import annotations

from collections.abc import Generator

from daos.base.errors import CorruptError
from daos.base.ids import EPOCH_MAX
from daos.bio.meta import MetaContext
from daos.vos import keys
from daos.vos.edit import Edit
from daos.vos.records import NewestRecord
from daos.vos.state import ContainerState
from daos.vos.work import EpochRange, Want, Work

EVERY: EpochRange = EpochRange(0, EPOCH_MAX)


class NewestNotes:
    """What one aggregation notes, object by object."""

    def __init__(self, state: ContainerState, epochs: EpochRange) -> None:
        self._state = state
        self._epochs = epochs
        self._order = b""
        self._object_id = 0
        self._noted: int | None = None  # the newest up to the end of the range; not looked for yet

    def begin(self, object_id: int, order: bytes) -> None:
        """Whose things are removed from now on."""
        self._object_id, self._order, self._noted = object_id, order, None

    def removed(self, edit: Edit, epoch: int) -> None:
        """`edit` removes what was written at `epoch`, and that may have been the newest.

        Cost:       a look-up; the first one of an object a seek; a put where it is noted
        """
        lo, hi = self._epochs
        newest = self._state.newest.peek(self._order)
        if newest is not None and epoch < newest <= hi:
            return  # that stays, or is noted when it goes
        if self._noted is None:
            self._noted = noted(self._state.meta, self._object_id, hi)
        if epoch <= self._noted:
            return
        key = keys.newest_key(self._object_id, epoch)
        edit.tx.put(key, NewestRecord(epoch).emit())
        if self._noted >= lo:
            edit.tx.delete(keys.newest_key(self._object_id, self._noted))
        self._noted = epoch

    def moved(self, epoch: int) -> None:
        """What was written at `epoch` stands elsewhere: a search may have been there."""
        self._state.newest.moved(self._order, epoch)

    def gone(self) -> None:
        """Nothing is left of the object."""
        self._state.newest.forget(self._order)


def noted(meta: MetaContext, object_id: int, epoch: int) -> int:
    """The newest note of an object up to `epoch`; 0: there is none. Its record is not looked at."""
    found = _next(meta, keys.newest_key(object_id, epoch))
    return 0 if found is None else keys.parse_newest_key(found[0])


def verified(meta: MetaContext, object_id: int, epoch: int) -> int:
    """The same, of a record that is intact. Raises: CorruptError."""
    found = _next(meta, keys.newest_key(object_id, epoch))
    if found is None:
        return 0
    record, want = NewestRecord.parse(found[1]), keys.parse_newest_key(found[0])
    if record.epoch != want:
        raise CorruptError("newest record epoch", offset=8, want=want, got=record.epoch)
    return want


def drop(
    work: Work, object_id: int, epochs: EpochRange, *, but_newest: bool = False
) -> Generator[Want, None, None]:
    """Delete the notes of a range, all or but for its newest."""
    lo, hi = epochs
    seek = keys.newest_key(object_id, hi)
    if but_newest:
        newest = noted(work.meta, object_id, hi)
        if newest <= lo:
            return
        seek = keys.newest_key(object_id, newest - 1)
    while True:
        yield from work.turn()
        edit = Edit(work.meta, work.state.root)
        for _ in range(work.deletes_max):
            work.left -= 1
            found = _next(work.meta, seek)
            if found is None or keys.parse_newest_key(found[0]) < lo:
                edit.commit(0)
                return
            edit.tx.delete(found[0])
            seek = found[0] + b"\0"
        edit.commit(0)


def _next(meta: MetaContext, seek: bytes) -> tuple[bytes, bytes] | None:
    """The first note from a tree key on, of the object that the key is of."""
    cursor = meta.cursor()
    if not cursor.set_range(seek):
        return None
    key, value = cursor.item()
    return (key, value) if key[: keys.NODE_PREFIX_SIZE] == seek[: keys.NODE_PREFIX_SIZE] else None

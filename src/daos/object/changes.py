"""Changes of a container as the store finds them, in the words of the protocol."""

from __future__ import annotations

from typing import Final

from daos.base.ids import Epoch, Lsn
from daos.object import wire
from daos.vos.container import VosContainer
from daos.vos.diff import ChangeEntry

_ENTRIES_MAX: Final = 1024  # of one reply: some have hundreds of ranges


def listed(
    container: VosContainer, request: wire.ChangeListRequest, epoch: Epoch
) -> tuple[wire.ChangeListReply, Lsn]:
    """The answer to a request, and the log position it hangs on. Raises: InvalidError."""
    limit = min(request.limit, _ENTRIES_MAX)
    page = container.list_changes(Epoch(request.since), epoch, anchor=request.anchor, limit=limit)
    found = tuple(map(_change, page.entries))
    return wire.ChangeListReply(found, page.anchor, page.eof, int(epoch)), page.lsn


def _change(entry: ChangeEntry) -> wire.Change:
    unit, dkey, akey, kind, size, ranges = entry
    changed = tuple(wire.ChangedRange(*each) for each in ranges)
    return wire.Change(unit.oid.hi, unit.oid.lo, dkey, akey, int(kind), size, changed)

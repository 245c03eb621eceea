"""The client's side of bulk: which memory a request names, until when.

An update that does not go into a frame registers its values; a fetch registers room for its result,
where there may be so much: at once if the caller knows how much, else after a first answer that
tells the sizes. The memory is registered from before the request is sent, for all of its copies,
until its end is told: nothing is read or written after that.

Source: DAOS src/object/cli_shard.c dc_rw_cb, src/object/cli_obj.c obj_bulk_prep
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from daos.cart.bulk import Mode
from daos.object import wire

if TYPE_CHECKING:
    from daos.cart.bulk_service import Bulk, BulkService

# Memory for each value and range of a fetch, in the order of the descriptors; asked with None
# before anything is known (None: can't say), and with the size of each value or record after that.
Room = Callable[[Sequence[int] | None], Sequence[memoryview] | None]


def lend_values(bulk: BulkService, values: Sequence[memoryview]) -> Bulk | None:
    """Register the values of an update that do not go into its frame. Raises: AgainError."""
    if _goes_along(bulk, values, sum([value.nbytes for value in values])):
        return None
    return bulk.create(values, Mode.READ)


def lend_room(
    bulk: BulkService, request: wire.FetchRequest, room: Sequence[memoryview]
) -> tuple[wire.FetchRequest, Bulk | None]:
    """Register where a result goes that may not fit into a frame. Raises: AgainError."""
    sizes = [view.nbytes for view in room]
    if _goes_along(bulk, room, sum(sizes)):
        return request, None
    lent = bulk.create(room, Mode.WRITE)
    return msgspec.structs.replace(request, bulk=lent.handle, room=tuple(sizes)), lent


def _goes_along(bulk: BulkService, memory: Sequence[memoryview], nbytes: int) -> bool:
    """Whether so many bytes travel in a frame."""
    if nbytes <= wire.BORROW_MIN:
        return True
    return nbytes <= wire.INLINE_MAX and not bulk.shares(memory)

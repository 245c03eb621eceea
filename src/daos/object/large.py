"""When a reply leaves, and what becomes of a fetch whose result does not go into one.

Source: DAOS src/object/srv_obj.c ds_obj_rw_handler
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from daos.base.errors import DaosError, RecordTooBigError, TxUncertainError
from daos.base.ids import Epoch
from daos.cart.context import Limits, Rpc
from daos.object import wire
from daos.object.push import Push

if TYPE_CHECKING:
    from daos.base.ids import Lsn
    from daos.engine.target import ContainerHandle
    from daos.engine.xstream import Xstream
    from daos.vos.fetch import Fetch

FRAME_BYTES_MAX: Final = Limits().payload_size_max  # of a fetch reply without bulk
# Of the pieces that a fetch reply names: what its body carries, beside the sizes.
PIECES_BYTES_MAX: Final = Limits().body_size_max - (64 << 10)
# A piece in MessagePack and the head of its checksum: many pieces have small counts.
_PIECE_BYTES: Final = 22
# So many go into a body whatever their checksums are.
FEW_PIECES: Final = 8


class Executed(msgspec.Struct, eq=False):
    """A modification that waits for the log."""

    rpc: Rpc
    epoch: Epoch

    def durable(self, error: DaosError | None) -> None:
        """It cannot be taken back, or what becomes of it is not known: say so."""
        if error is None:
            self.rpc.reply(wire.UpdateReply(self.epoch))
            return
        # Perhaps the log has it all the same, and the next start replays it.
        text = f"the change was made, and may be lost with this run: {error.message}"
        self.rpc.fail(TxUncertainError(text))


def answer(rpc: Rpc, handle: ContainerHandle, lsn: Lsn, reply: Callable[[], None]) -> None:
    """Reply once the log is durable up to `lsn`; say so if it never will be."""

    def durable(error: DaosError | None) -> None:
        if error is None:
            reply()
        else:
            rpc.fail(error)

    handle.shard.meta.when_durable(lsn, durable)


def answered_otherwise(
    xstream: Xstream, rpc: Rpc, handle: ContainerHandle, fetch: Fetch, *, epoch: Epoch
) -> bool:
    """Answer, and end, a fetch whose result does not go into its reply; False if it does."""
    request: wire.FetchRequest = rpc.request
    in_place = request.bulk is not None and request.bulk.shared
    text = ""
    if len(fetch.pieces) * (_PIECE_BYTES + handle.checksum_type.size) > PIECES_BYTES_MAX:
        text = f"what is there lies in {len(fetch.pieces)} pieces; fetch less of it at once"
    elif fetch.nbytes > wire.FETCH_BYTES_MAX:
        text = f"{fetch.nbytes} bytes are there; one fetch brings {wire.FETCH_BYTES_MAX}"
    elif fetch.nbytes <= (wire.BORROW_MIN if in_place else wire.INLINE_MAX):
        return False
    elif request.bulk is not None:
        push = Push(xstream, rpc, handle, fetch, epoch)
        handle.shard.meta.when_durable(fetch.lsn, push.start)
        return True
    elif 0 < request.inline_max < fetch.nbytes:
        reply = wire.FetchReply(epoch, tuple(fetch.sizes), large=True)
        handle.container.fetch_end(fetch)
        answer(rpc, handle, fetch.lsn, lambda: rpc.reply(reply))
        return True
    elif fetch.nbytes > FRAME_BYTES_MAX:
        text = f"{fetch.nbytes} bytes are there, a frame takes {FRAME_BYTES_MAX}: name memory"
    else:
        return False
    handle.container.fetch_end(fetch)
    answer(rpc, handle, fetch.lsn, lambda: rpc.fail(RecordTooBigError(text)))
    return True

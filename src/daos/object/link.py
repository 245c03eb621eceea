"""What every request of an object's client needs: a call's deadline, an open container."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

from daos.base.checksum import ChecksumType
from daos.base.ids import DtxId, Epoch, MapVersion, Rank, TargetIndex, tag_of
from daos.cart.context import Context, Endpoint
from daos.cart.protocol import Procedure
from daos.object.attempts import Cancel, Done, Pacing, ask
from daos.placement.layout import Shard

_RequestT = TypeVar("_RequestT")
_ReplyT = TypeVar("_ReplyT")


class Call(NamedTuple):
    """What every request carries: when to give up, and which trace it belongs to."""

    deadline_ns: int  # unix time
    trace_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerLink:
    """What an object needs of the open container it is in."""

    context: Context
    pacing: Pacing
    new_dtx: Callable[[], DtxId]  # an id for one modification
    handle: bytes  # 16 bytes
    writable: bool
    checksum_type: ChecksumType
    map_version: MapVersion
    epoch: Epoch  # of a snapshot; 0: now

    def endpoint(self, shard: Shard) -> Endpoint:
        """Where the shard's target listens."""
        return _endpoint(shard.rank, shard.target)

    async def ask(
        self,
        endpoint: Endpoint,
        procedure: Procedure[_RequestT, _ReplyT],
        request: _RequestT,
        call: Call,
    ) -> _ReplyT:
        """A request that reads, awaited; sent as often as it takes (`attempts`)."""

        def send(unanswered: int, done: Done[_ReplyT]) -> Cancel:
            del unanswered
            return self.context.send(
                endpoint,
                procedure,
                request,
                deadline_ns=call.deadline_ns,
                trace_id=call.trace_id,
                done=done,
            ).cancel

        return await ask(self.pacing, send, deadline_ns=call.deadline_ns)


@lru_cache(maxsize=1024)
def _endpoint(rank: Rank, target: TargetIndex) -> Endpoint:
    return Endpoint(rank, tag_of(target))

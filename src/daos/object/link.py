"""What every request of an object's client needs: a call's deadline, an open container."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgspec

from daos.base.checksum import ChecksumType
from daos.base.ids import DtxId, Epoch, ObjectId, Rank, TargetIndex, tag_of
from daos.cart.context import Context, Endpoint
from daos.cart.protocol import Procedure
from daos.object.attempts import Before, Cancel, Done, Pacing, ask
from daos.object.maps import PoolMaps
from daos.object.wire import Question, ShardAddress
from daos.placement.layout import Layout, Shard
from daos.placement.pool_map import Level

_QuestionT = TypeVar("_QuestionT", bound=Question)
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
    pool: bytes  # 16 bytes
    handle: bytes  # 16 bytes
    writable: bool
    checksum_type: ChecksumType
    maps: PoolMaps
    level: Level = Level.NODE  # of fault domains
    epoch: Epoch  # of a snapshot; 0: now

    def endpoint(self, shard: Shard) -> Endpoint:
        """Where the shard's target listens."""
        return _endpoint(shard.rank, shard.target)

    def place(self, oid: ObjectId) -> Layout:
        """By the pool map of now. Raises: InvalidError (the id's class)"""
        return self.maps.jump(self.level).place(oid)

    def address(self, epoch: Epoch) -> ShardAddress:
        """Of the container alone, for what concerns no object. 0: now"""
        return ShardAddress(self.handle, 0, 0, 0, self.maps.version, epoch, self.pool)

    def refresh(self, endpoint: Endpoint) -> None:
        """Learn the newer pool map that this target has told of."""
        self.maps.refresh(self.context, self.pacing.clock, endpoint, self.address(Epoch(0)))

    async def ask(
        self,
        endpoint: Endpoint,
        procedure: Procedure[_QuestionT, _ReplyT],
        request: _QuestionT,
        call: Call,
        *,
        now: Callable[[], Endpoint] | None = None,
    ) -> _ReplyT:
        """A request that reads, awaited; sent as often as it takes (`attempts`).

        `now`: where it goes by a newer map
        """

        def send(before: Before, done: Done[_ReplyT]) -> Cancel:
            del before  # these never wait in a queue
            nonlocal endpoint, request
            version = self.maps.version
            if request.address.map_version != version:
                address = msgspec.structs.replace(request.address, map_version=version)
                request = msgspec.structs.replace(request, address=address)
                endpoint = endpoint if now is None else now()
            return self.context.send(
                endpoint,
                procedure,
                request,
                deadline_ns=call.deadline_ns,
                trace_id=call.trace_id,
                done=done,
            ).cancel

        return await ask(
            self.pacing,
            send,
            deadline_ns=call.deadline_ns,
            stale=lambda: self.refresh(endpoint),
        )


@lru_cache(maxsize=1024)
def _endpoint(rank: Rank, target: TargetIndex) -> Endpoint:
    return Endpoint(rank, tag_of(target))

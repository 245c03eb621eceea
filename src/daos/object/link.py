"""What every request of an object's client needs: a call's deadline, an open container."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from daos.base.checksum import ChecksumType
from daos.base.ids import DtxId, Epoch, MapVersion, tag_of
from daos.cart.context import Context, Endpoint
from daos.object.attempts import Pacing
from daos.placement.layout import Shard


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
        return Endpoint(shard.rank, tag_of(shard.target))

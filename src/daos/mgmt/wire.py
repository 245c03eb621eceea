"""Management RPCs. Protocol `mgmt`, module 1, version 2; bodies are MessagePack arrays.

POOL_* come from administrators and clients to the management service, RANK_* from engines; TGT_* go
from it to every target of a pool. UUIDs travel as 16 bytes; `name` is a pool's label or its UUID in
text form.
Source: DAOS src/mgmt/rpc.h, src/control/server/mgmt_pool.go (who does what in which order).
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from daos.cart.protocol import Procedure, Protocol, opcode
from daos.pool.wire import Empty

MODULE_ID: Final = 1
VERSION: Final = 2
# Pools of one page of a listing.
PAGE_ENTRIES: Final = 1024
_opcode: Final = partial(opcode, MODULE_ID, VERSION)


class PoolCreateRequest(msgspec.Struct, array_like=True, frozen=True):
    """`size_bytes` over all targets together; `uuid` is drawn by the caller."""

    uuid: bytes
    label: str
    size_bytes: int
    props: dict[str, str]
    owner: str
    group: str


class PoolRecord(msgspec.Struct, array_like=True, frozen=True):
    """A pool as the management service knows it. state: `core.PoolState`, as text."""

    uuid: bytes
    label: str
    state: str
    size_bytes: int
    targets: int
    service_ranks: tuple[int, ...]


class PoolDestroyRequest(msgspec.Struct, array_like=True, frozen=True):
    """BUSY while connected unless forced."""

    name: str
    force: bool


class PoolListRequest(msgspec.Struct, array_like=True, frozen=True):
    """A page of pools, behind the place `after` that the page before gave."""

    after: bytes = b""


class PoolListReply(msgspec.Struct, array_like=True, frozen=True):
    """Each page in order of labels. `after` b"": that was all."""

    pools: tuple[PoolRecord, ...]
    after: bytes = b""


class PoolFindRequest(msgspec.Struct, array_like=True, frozen=True):
    name: str


class TargetCreateRequest(msgspec.Struct, array_like=True, frozen=True):
    """Make this target's shard. EXIST if there is one: every pool has a uuid of its own."""

    pool: bytes
    size_bytes: int


class TargetOpenRequest(msgspec.Struct, array_like=True, frozen=True):
    """Recover this target's shard after a start; open already is no error."""

    pool: bytes


class TargetDestroyRequest(msgspec.Struct, array_like=True, frozen=True):
    """Remove this target's shard; absent is no error."""

    pool: bytes


class RankJoinRequest(msgspec.Struct, array_like=True, frozen=True):
    """An engine has started: what its targets forgot is told to them before the answer."""

    rank: int


POOL_CREATE: Final = Procedure("mgmt_pool_create", _opcode(0), PoolCreateRequest, PoolRecord)
POOL_DESTROY: Final = Procedure("mgmt_pool_destroy", _opcode(1), PoolDestroyRequest, Empty)
POOL_LIST: Final = Procedure("mgmt_pool_list", _opcode(2), PoolListRequest, PoolListReply)
POOL_FIND: Final = Procedure("mgmt_pool_find", _opcode(3), PoolFindRequest, PoolRecord)
TGT_CREATE: Final = Procedure("mgmt_tgt_create", _opcode(32), TargetCreateRequest, Empty)
TGT_DESTROY: Final = Procedure("mgmt_tgt_destroy", _opcode(33), TargetDestroyRequest, Empty)
TGT_OPEN: Final = Procedure("mgmt_tgt_open", _opcode(34), TargetOpenRequest, Empty)
RANK_JOIN: Final = Procedure("mgmt_rank_join", _opcode(35), RankJoinRequest, Empty)

PROTOCOL: Final = Protocol(
    "mgmt",
    MODULE_ID,
    VERSION,
    (
        POOL_CREATE,
        POOL_DESTROY,
        POOL_LIST,
        POOL_FIND,
        TGT_CREATE,
        TGT_DESTROY,
        TGT_OPEN,
        RANK_JOIN,
    ),
)

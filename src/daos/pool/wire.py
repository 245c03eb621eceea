"""Pool RPCs. Protocol `pool`, module 2, version 2; bodies are MessagePack arrays.

SVC_* and EVICT come from the management service to the rank that keeps a pool's metadata; TGT_*
go from the pool service to every target; the rest come from clients to the pool service. UUIDs
travel as 16 bytes. The messages of properties and attributes serve containers too: `handle` is then
a container's.
Source: DAOS src/pool/rpc.h (operations).
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from daos.cart.protocol import Procedure, Protocol, opcode

MODULE_ID: Final = 2
VERSION: Final = 2
_opcode: Final = partial(opcode, MODULE_ID, VERSION)


class Empty(msgspec.Struct, array_like=True, frozen=True):
    """Nothing but success."""


class SvcCreateRequest(msgspec.Struct, array_like=True, frozen=True):
    """Make the metadata store of a new pool; repeated with the same content it is a no-op."""

    pool: bytes
    label: str
    pool_map: bytes  # placement.pool_map, encoded
    size_bytes: int  # of all targets together, as asked for
    props: dict[str, str]
    owner: str
    group: str


class SvcDestroyRequest(msgspec.Struct, array_like=True, frozen=True):
    """Remove the metadata store, whoever is connected. Absent: no error."""

    pool: bytes


class SvcLeaveRequest(msgspec.Struct, array_like=True, frozen=True):
    """Refuse new handles from now on, if none is connected; the pool is to be destroyed."""

    pool: bytes


class SvcLeaveReply(msgspec.Struct, array_like=True, frozen=True):
    """`handles` connected; only where there is none, new ones are refused now."""

    handles: int


class ConnectRequest(msgspec.Struct, array_like=True, frozen=True):
    """Open a handle. flags: "r", "rw" or "ex" (nobody else may be connected)."""

    pool: bytes
    handle: bytes  # 16 bytes, drawn by the client: a repeated connect finds it
    client: bytes  # 16 bytes, the client instance
    flags: str
    machine: str = ""  # the client's host


class ConnectReply(msgspec.Struct, array_like=True, frozen=True):
    label: str
    pool_map: bytes
    map_version: int


class HandleRequest(msgspec.Struct, array_like=True, frozen=True):
    """An operation on an open handle that needs nothing more."""

    pool: bytes
    handle: bytes


class EvictRequest(msgspec.Struct, array_like=True, frozen=True):
    """Revoke handles, and what was opened through them: one client's, or all for b""."""

    pool: bytes
    client: bytes = b""


class EvictReply(msgspec.Struct, array_like=True, frozen=True):
    count: int


class TierSpace(msgspec.Struct, array_like=True, frozen=True):
    """One storage tier over the targets that answered, in bytes."""

    total: int
    free: int
    free_min: int  # of the fullest target
    free_max: int


class QueryReply(msgspec.Struct, array_like=True, frozen=True):
    label: str
    map_version: int
    targets: int
    targets_disabled: int
    ranks: int
    handles: int
    containers: int
    tiers: tuple[TierSpace, ...]  # 0: metadata (SCM), 1: data


class QueryTargetsRequest(msgspec.Struct, array_like=True, frozen=True):
    """What targets of one rank have; no targets: all of them."""

    pool: bytes
    handle: bytes
    rank: int
    targets: tuple[int, ...] = ()


class TargetInfo(msgspec.Struct, array_like=True, frozen=True):
    """State of a target as the pool map has it (its number there), and what it said of itself."""

    index: int
    state: int
    tiers: tuple[tuple[int, int], ...]  # (total, free), bytes


class QueryTargetsReply(msgspec.Struct, array_like=True, frozen=True):
    targets: tuple[TargetInfo, ...]


class TargetReclaimRequest(msgspec.Struct, array_like=True, frozen=True):
    """The pool's property `reclaim` from now on."""

    pool: bytes
    reclaim: str


class TargetMapRequest(msgspec.Struct, array_like=True, frozen=True):
    """The pool map from now on, unless the target knows a newer one."""

    pool: bytes
    version: int
    pool_map: bytes


class TargetQueryRequest(msgspec.Struct, array_like=True, frozen=True):
    pool: bytes


class TargetQueryReply(msgspec.Struct, array_like=True, frozen=True):
    """(total, free) of each tier of one target, bytes."""

    tiers: tuple[tuple[int, int], ...]


class PropsReply(msgspec.Struct, array_like=True, frozen=True):
    """Every property in the text form that users meet."""

    props: dict[str, str]


class SetPropsRequest(msgspec.Struct, array_like=True, frozen=True):
    """All or nothing."""

    pool: bytes
    handle: bytes
    props: dict[str, str]


class AttrsRequest(msgspec.Struct, array_like=True, frozen=True):
    """Named attributes; no names: all of them."""

    pool: bytes
    handle: bytes
    names: tuple[str, ...] = ()


class AttrsReply(msgspec.Struct, array_like=True, frozen=True):
    attrs: dict[str, bytes]


class SetAttrsRequest(msgspec.Struct, array_like=True, frozen=True):
    """Set and delete, all or nothing; deleting an absent one is NONEXIST."""

    pool: bytes
    handle: bytes
    put: dict[str, bytes]
    delete: tuple[str, ...] = ()


CONNECT: Final = Procedure("pool_connect", _opcode(1), ConnectRequest, ConnectReply)
DISCONNECT: Final = Procedure("pool_disconnect", _opcode(2), HandleRequest, Empty)
QUERY: Final = Procedure("pool_query", _opcode(3), HandleRequest, QueryReply)
QUERY_TARGETS: Final = Procedure(
    "pool_query_targets", _opcode(4), QueryTargetsRequest, QueryTargetsReply
)
EVICT: Final = Procedure("pool_evict", _opcode(8), EvictRequest, EvictReply)
ATTRS: Final = Procedure("pool_attrs", _opcode(13), AttrsRequest, AttrsReply)
SET_ATTRS: Final = Procedure("pool_set_attrs", _opcode(15), SetAttrsRequest, Empty)
TGT_QUERY: Final = Procedure("pool_tgt_query", _opcode(24), TargetQueryRequest, TargetQueryReply)
TGT_RECLAIM: Final = Procedure("pool_tgt_reclaim", _opcode(33), TargetReclaimRequest, Empty)
TGT_MAP: Final = Procedure("pool_tgt_map", _opcode(34), TargetMapRequest, Empty)
PROPS: Final = Procedure("pool_props", _opcode(25), HandleRequest, PropsReply)
SET_PROPS: Final = Procedure("pool_set_props", _opcode(27), SetPropsRequest, Empty)
SVC_CREATE: Final = Procedure("pool_svc_create", _opcode(40), SvcCreateRequest, Empty)
SVC_DESTROY: Final = Procedure("pool_svc_destroy", _opcode(41), SvcDestroyRequest, Empty)
SVC_LEAVE: Final = Procedure("pool_svc_leave", _opcode(42), SvcLeaveRequest, SvcLeaveReply)

PROTOCOL: Final = Protocol(
    "pool",
    MODULE_ID,
    VERSION,
    (
        CONNECT,
        DISCONNECT,
        QUERY,
        QUERY_TARGETS,
        EVICT,
        ATTRS,
        SET_ATTRS,
        TGT_QUERY,
        TGT_RECLAIM,
        TGT_MAP,
        PROPS,
        SET_PROPS,
        SVC_CREATE,
        SVC_DESTROY,
        SVC_LEAVE,
    ),
)

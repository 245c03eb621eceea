"""Container RPCs. Protocol `container`, module 3, version 3; bodies are MessagePack arrays.

Clients talk to the pool's service, naming the pool handle they came with; TGT_* go from the
service to every target of the pool, TGT_CLOSE from each rank to its own. UUIDs travel as 16 bytes.
A container is named by `name`: its label or its UUID in text form. What a handle alone can ask for
(properties, attributes) has the messages of the pool's own, with a container's handle in them.
Source: DAOS src/container/rpc.h (operations).
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from daos.cart.protocol import Procedure, Protocol, opcode
from daos.pool.wire import (
    AttrsReply,
    AttrsRequest,
    Empty,
    HandleRequest,
    PropsReply,
    SetAttrsRequest,
    SetPropsRequest,
)

MODULE_ID: Final = 3
VERSION: Final = 3
# Containers of one page of a listing: with labels 0.2 MiB.
PAGE_ENTRIES: Final = 1024
_opcode: Final = partial(opcode, MODULE_ID, VERSION)


class CreateRequest(msgspec.Struct, array_like=True, frozen=True):
    """`label` may be empty; `uuid` is drawn by the client: a repeated create finds it.

    `roots`: the property root_oids, of a layout that begins somewhere.
    """

    pool: bytes
    pool_handle: bytes
    uuid: bytes
    label: str
    props: dict[str, str]  # text form, as users give them
    roots: str = ""


class DestroyRequest(msgspec.Struct, array_like=True, frozen=True):
    """BUSY while open unless forced."""

    pool: bytes
    pool_handle: bytes
    name: str
    force: bool


class OpenRequest(msgspec.Struct, array_like=True, frozen=True):
    """flags: "r", "rw" or "ex" (nobody else may have it open)."""

    pool: bytes
    pool_handle: bytes
    name: str
    handle: bytes  # 16 bytes, drawn by the client
    flags: str


class OpenReply(msgspec.Struct, array_like=True, frozen=True):
    uuid: bytes
    label: str
    checksum_type: int  # base.checksum.ChecksumType
    checksum_chunk: int  # bytes
    redundancy_factor: int
    redundancy_level: int  # 1 rank, 2 node


class ContainerRecord(msgspec.Struct, array_like=True, frozen=True):
    uuid: bytes
    label: str


class ListRequest(msgspec.Struct, array_like=True, frozen=True):
    """A page of containers, behind the place `after` that the page before gave."""

    pool: bytes
    pool_handle: bytes
    after: bytes = b""


class ListReply(msgspec.Struct, array_like=True, frozen=True):
    """Each page in order of labels. `after` b"": that was all; a page may be empty before."""

    containers: tuple[ContainerRecord, ...]
    after: bytes = b""


class QueryReply(msgspec.Struct, array_like=True, frozen=True):
    uuid: bytes
    label: str
    handles: int
    snapshots: int
    newest_snapshot: int  # epoch, 0: none
    opened: int  # epoch of the last open
    modified: int  # epoch of the last change to the container's metadata


class SnapshotCreateRequest(msgspec.Struct, array_like=True, frozen=True):
    """`name` may be empty, else at most 128 characters and unique."""

    pool: bytes
    handle: bytes
    name: str


class SnapshotRecord(msgspec.Struct, array_like=True, frozen=True):
    epoch: int
    name: str


class SnapshotListReply(msgspec.Struct, array_like=True, frozen=True):
    """Ascending by epoch."""

    snapshots: tuple[SnapshotRecord, ...]


class SnapshotDestroyRequest(msgspec.Struct, array_like=True, frozen=True):
    """By epoch, or by name where epoch is 0."""

    pool: bytes
    handle: bytes
    epoch: int
    name: str = ""


class AllocOidsRequest(msgspec.Struct, array_like=True, frozen=True):
    pool: bytes
    handle: bytes
    count: int


class AllocOidsReply(msgspec.Struct, array_like=True, frozen=True):
    """[first, first + count) is the caller's alone, for ever."""

    first: int


class AggregateRequest(msgspec.Struct, array_like=True, frozen=True):
    """Forget the versions that no snapshot needs, up to `epoch`, 0 for now; answered when done."""

    pool: bytes
    handle: bytes
    epoch: int


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """What of a container targets must keep; as an incast variable, class CONT_SNAP."""

    snapshots: tuple[int, ...]  # epochs, ascending
    revision: int  # of the service's store when they were read: a higher one is newer
    reclaim: str  # the pool's property
    making: tuple[int, ...] = ()  # epochs that may become snapshots
    drawn: int = 0  # epoch: what was drawn up to here is in `making`, or its fate is told


class Capability(msgspec.Struct, array_like=True, frozen=True):
    """What requests by a handle may do, and to what; as an incast variable, class CONT_CAPA."""

    container: bytes
    writable: bool
    checksum_type: int
    checksum_chunk: int
    dedup: str = "off"
    dedup_threshold: int = 0


class TargetCloseRequest(msgspec.Struct, array_like=True, frozen=True):
    """Forget these handles."""

    handles: tuple[bytes, ...]


class TargetDestroyRequest(msgspec.Struct, array_like=True, frozen=True):
    pool: bytes
    container: bytes


class TargetSnapshotRequest(msgspec.Struct, array_like=True, frozen=True):
    """Everything this target writes from now on is newer than `epoch`, and what stands there stays.

    EP_OLD if versions up to there are being aggregated already, or its fate has been told.
    """

    pool: bytes
    container: bytes
    epoch: int


class TargetKeepRequest(msgspec.Struct, array_like=True, frozen=True):
    """The snapshots that there are now, and may be."""

    pool: bytes
    container: bytes
    kept: Kept


class TargetPendingRequest(msgspec.Struct, array_like=True, frozen=True):
    """Which containers have epochs whose fate this target has not been told."""

    pool: bytes


class TargetPendingReply(msgspec.Struct, array_like=True, frozen=True):
    containers: tuple[bytes, ...]


class TargetAggregateRequest(msgspec.Struct, array_like=True, frozen=True):
    """As AggregateRequest, of one target."""

    pool: bytes
    container: bytes
    epoch: int


CREATE: Final = Procedure("cont_create", _opcode(0), CreateRequest, ContainerRecord)
DESTROY: Final = Procedure("cont_destroy", _opcode(1), DestroyRequest, Empty)
OPEN: Final = Procedure("cont_open", _opcode(2), OpenRequest, OpenReply)
CLOSE: Final = Procedure("cont_close", _opcode(3), HandleRequest, Empty)
QUERY: Final = Procedure("cont_query", _opcode(4), HandleRequest, QueryReply)
ALLOC_OIDS: Final = Procedure("cont_alloc_oids", _opcode(5), AllocOidsRequest, AllocOidsReply)
ATTRS: Final = Procedure("cont_attrs", _opcode(6), AttrsRequest, AttrsReply)
SET_ATTRS: Final = Procedure("cont_set_attrs", _opcode(8), SetAttrsRequest, Empty)
AGGREGATE: Final = Procedure("cont_aggregate", _opcode(10), AggregateRequest, Empty)
SNAP_LIST: Final = Procedure("cont_snap_list", _opcode(11), HandleRequest, SnapshotListReply)
SNAP_CREATE: Final = Procedure(
    "cont_snap_create", _opcode(12), SnapshotCreateRequest, SnapshotRecord
)
SNAP_DESTROY: Final = Procedure("cont_snap_destroy", _opcode(13), SnapshotDestroyRequest, Empty)
PROPS: Final = Procedure("cont_props", _opcode(14), HandleRequest, PropsReply)
SET_PROPS: Final = Procedure("cont_set_props", _opcode(15), SetPropsRequest, Empty)
LIST: Final = Procedure("cont_list", _opcode(16), ListRequest, ListReply)
TGT_CLOSE: Final = Procedure("cont_tgt_close", _opcode(33), TargetCloseRequest, Empty)
TGT_DESTROY: Final = Procedure("cont_tgt_destroy", _opcode(34), TargetDestroyRequest, Empty)
TGT_SNAPSHOT: Final = Procedure("cont_tgt_snapshot", _opcode(35), TargetSnapshotRequest, Empty)
TGT_KEEP: Final = Procedure("cont_tgt_keep", _opcode(36), TargetKeepRequest, Empty)
TGT_PENDING: Final = Procedure(
    "cont_tgt_pending", _opcode(38), TargetPendingRequest, TargetPendingReply
)
TGT_AGGREGATE: Final = Procedure("cont_tgt_aggregate", _opcode(37), TargetAggregateRequest, Empty)

PROTOCOL: Final = Protocol(
    "container",
    MODULE_ID,
    VERSION,
    (
        CREATE,
        DESTROY,
        OPEN,
        CLOSE,
        QUERY,
        ALLOC_OIDS,
        ATTRS,
        SET_ATTRS,
        SNAP_LIST,
        SNAP_CREATE,
        SNAP_DESTROY,
        PROPS,
        SET_PROPS,
        LIST,
        TGT_CLOSE,
        TGT_DESTROY,
        TGT_SNAPSHOT,
        TGT_KEEP,
        TGT_AGGREGATE,
        TGT_PENDING,
        AGGREGATE,
    ),
)

"""Object RPCs: what travels between a client and the target that owns a shard.

Protocol `object`, module 4, version 4. Bodies are MessagePack arrays (field order is the format);
a 128-bit id travels as two u64. Values travel as the frame's payload, concatenated in the order
of the descriptors: per iod the single value, or each extent's records; or, above INLINE_MAX bytes
(BORROW_MIN, in shared memory), by bulk: the request names memory of the client, which the target
reads (UPDATE) or writes (FETCH: room for each value and range, in the order of the descriptors),
and no payload comes.

    UPDATE     payload request -> target   size of every value known from the iods
    FETCH      payload target -> client    only what exists; `FetchReply.pieces` says what and where
    *_LIST     a page a request, resumed by the opaque anchor of the page before, either way
    PUNCH      object (dkey empty), dkey (no akeys) or akeys
    QUERY_KEY  largest or smallest integer dkey, integer akey, record
    NEWEST_EPOCH  when a shard was changed last
    POOL_MAP      the pool map that the target knows

Every reply carries the epoch at which the target worked; a modifying request leaves the choice
of its epoch to the target (epoch 0), a reading one says 0 for "now".

A modifying request carries an id (`base.ids.DtxId`), the same however often it is sent: the target
executes it once, and answers later copies with the epoch of the first. `resend` says how many
copies left before and were not answered. Without an id (empty) nothing is remembered.
Source: DAOS src/object/obj_rpc.h (operations, order of the opcodes). Ours: no separate opcodes
for punching an object, a dkey and akeys; pieces instead of an I/O map.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from daos.base.iod import Iod, Recx
from daos.cart.bulk import BulkHandle
from daos.cart.protocol import Procedure, Protocol, opcode

# What one request carries in its frame, and a reply in its own; more goes by bulk. Bulk takes one
# more round trip, some 50 to 80 µs of both ends together: measured against inline, updates one at
# a time, it costs 24 % more at 64 KiB, 21 % at 256 KiB, 12 % at 1 MiB over inproc and TCP. A chunk
# of bulk is as long, so that smaller frames would let nobody through earlier.
INLINE_MAX: Final = 1 << 20
# Memory that both ends have mapped goes by bulk from here on: out of it and into it that costs 3 %
# less one at a time, four at a time 18 % (1 MiB) to 35 % (256 KiB).
BORROW_MIN: Final = 256 << 10
# All values and ranges of one request: an update lies in a target's payload memory as a whole, a
# fetch goes through it in steps.
UPDATE_BYTES_MAX: Final = 64 << 20
FETCH_BYTES_MAX: Final = 1 << 30

MODULE_ID: Final = 4
VERSION: Final = 4
_opcode: Final = partial(opcode, MODULE_ID, VERSION)


class ShardAddress(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Which shard of which object, through which handle, by which pool map."""

    handle: bytes  # 16 bytes, the container handle's uuid
    oid_hi: int
    oid_lo: int
    shard: int
    map_version: int
    epoch: int  # 0: the target's clock decides
    pool: bytes  # 16 bytes: where a target asks that has not met the handle


class UpdateRequest(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Values of akeys below one dkey; atomic."""

    address: ShardAddress
    dkey: bytes
    iods: tuple[Iod, ...]
    cond: int = 0
    # One a value, in payload order, by the container's algorithm, or XXH3 where it has none.
    checksums: tuple[bytes, ...] = ()
    dtx: bytes = b""
    resend: int = 0
    bulk: BulkHandle | None = None  # where the values lie, one after the other
    enqueue_id: int = 0  # of the refusal (OVERLOAD_RETRY) that this follows


class UpdateReply(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The epoch the update, or punch, was stamped with."""

    epoch: int


class FetchRequest(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Values of akeys below one dkey; with `size_only` nothing but their sizes."""

    address: ShardAddress
    dkey: bytes
    iods: tuple[Iod, ...]
    cond: int = 0
    size_only: bool = False
    # The bytes that may come in the reply's frame; 0: what a frame carries. Of a larger result come
    # the sizes alone, unless there is room for it.
    inline_max: int = 0
    bulk: BulkHandle | None = None
    room: tuple[int, ...] = ()  # bytes of it for each value and range; together all of it
    enqueue_id: int = 0  # as in UpdateRequest


class Piece(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A run of existing records: `count` of them, `index` records into range `recx` of an iod."""

    iod: int
    recx: int
    index: int
    count: int


class FetchReply(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Record or value size of each iod (0: nothing there), and the pieces the payload holds."""

    epoch: int
    sizes: tuple[int, ...]
    pieces: tuple[Piece, ...] = ()
    checksums: tuple[bytes, ...] = ()  # one a piece, as in UpdateRequest
    large: bool = False  # more is there than inline_max: ask again with room for it, at this epoch


class PunchRequest(msgspec.Struct, array_like=True, frozen=True):
    """Hide an object, a dkey, or akeys from now on.

    `unchanged_since`: only if nothing of the dkey was written after this epoch, else EXIST; 0: in
    any case.
    """

    address: ShardAddress
    dkey: bytes = b""
    akeys: tuple[bytes, ...] = ()
    cond: int = 0
    dtx: bytes = b""
    resend: int = 0
    enqueue_id: int = 0  # as in UpdateRequest
    unchanged_since: int = 0


class KeyListRequest(msgspec.Struct, array_like=True, frozen=True):
    """A page of dkeys or, with a dkey given, of its akeys.

    Those that begin with `prefix`, from `start` on (ordered kinds only); `reverse`: backwards.
    """

    address: ShardAddress
    anchor: bytes
    limit: int
    dkey: bytes = b""
    prefix: bytes = b""
    start: bytes = b""
    reverse: bool = False


class KeyListReply(msgspec.Struct, array_like=True, frozen=True):
    """Keys in the order of the object's type; `eof` when the shard has no more."""

    keys: tuple[bytes, ...]
    anchor: bytes
    eof: bool
    epoch: int


class RecxListRequest(msgspec.Struct, array_like=True, frozen=True):
    """A page of the visible extents of an array akey."""

    address: ShardAddress
    dkey: bytes
    akey: bytes
    anchor: bytes
    limit: int
    reverse: bool = False


class RecxListReply(msgspec.Struct, array_like=True, frozen=True):
    """Extents in order, never overlapping, with the epoch that wrote each."""

    record_size: int
    recxs: tuple[Recx, ...]
    epochs: tuple[int, ...]
    anchor: bytes
    eof: bool
    epoch: int


class ObjectListRequest(msgspec.Struct, array_like=True, frozen=True):
    """A page of the object shards that one target holds of a container."""

    address: ShardAddress  # oid and shard are not looked at
    anchor: bytes
    limit: int
    reverse: bool = False


class ObjectListReply(msgspec.Struct, array_like=True, frozen=True):
    """(hi, lo, shard) of each."""

    objects: tuple[tuple[int, int, int], ...]
    anchor: bytes
    eof: bool
    epoch: int


class VersionListRequest(msgspec.Struct, array_like=True, frozen=True):
    """A page of what was ever written under one akey in the epochs [epoch_lo, epoch_hi].

    `epoch_hi` 0: up to the epoch of the address. Nothing newer than that is told.
    """

    address: ShardAddress
    dkey: bytes
    akey: bytes
    anchor: bytes
    limit: int
    epoch_lo: int = 0
    epoch_hi: int = 0
    reverse: bool = False


class Version(msgspec.Struct, array_like=True, frozen=True):
    """Records [index, index + count), or a single value (0, 1), as one update wrote them.

    `size`: bytes of a record or of the value, 0 where nothing is from `epoch` on; `covered`: a
    punch of the akey, or above it, hides them now.
    """

    index: int
    count: int
    epoch: int
    minor: int
    size: int
    covered: bool


class VersionListReply(msgspec.Struct, array_like=True, frozen=True):
    """Single values by epoch; extents by index, newest first. Backwards the opposite."""

    versions: tuple[Version, ...]
    anchor: bytes
    eof: bool
    epoch: int


class ChangeListRequest(msgspec.Struct, array_like=True, frozen=True):
    """A page of what one target holds of a container that differs between two epochs.

    The newer one is that of the address.
    """

    address: ShardAddress  # oid and shard are not looked at
    since: int
    anchor: bytes
    limit: int


class ChangedRange(msgspec.Struct, array_like=True, frozen=True):
    """Records [lo, hi) of an array: written since, or else gone."""

    lo: int
    hi: int
    written: bool


class Change(msgspec.Struct, array_like=True, frozen=True):
    """One akey; `kind`: 1 created, 2 changed, 3 punched. `size`: of the value, or of a record."""

    oid_hi: int
    oid_lo: int
    dkey: bytes
    akey: bytes
    kind: int
    size: int
    ranges: tuple[ChangedRange, ...]


class ChangeListReply(msgspec.Struct, array_like=True, frozen=True):
    """In order of the target's tree; a long array goes on in a further entry."""

    changes: tuple[Change, ...]
    anchor: bytes
    eof: bool
    epoch: int


class QueryKeyRequest(msgspec.Struct, array_like=True, frozen=True):
    """The largest or smallest key or record, by `QueryFlag`."""

    address: ShardAddress
    flags: int
    dkey: bytes = b""
    akey: bytes = b""
    newest: bool = False  # the shard's newest epoch as well


class QueryKeyReply(msgspec.Struct, array_like=True, frozen=True):
    """`found` False: nothing visible at the queried level on this shard.

    `newest`: when the shard was changed last, where that was asked for; 0: nothing is there.
    """

    found: bool
    dkey: bytes = b""
    akey: bytes = b""
    recx: Recx | None = None
    record_size: int = 0
    epoch: int = 0
    newest: int = 0


class NewestEpochRequest(msgspec.Struct, array_like=True, frozen=True):
    """When a shard was changed last, up to the reader's epoch: takes a walk over it."""

    address: ShardAddress


class NewestEpochReply(msgspec.Struct, array_like=True, frozen=True):
    """`newest` 0: nothing is there."""

    newest: int
    epoch: int


class PoolMapRequest(msgspec.Struct, array_like=True, frozen=True):
    """The pool map, for who was told that there is a newer one. No shard, no object."""

    address: ShardAddress


class PoolMapReply(msgspec.Struct, array_like=True, frozen=True):
    """placement.pool_map, encoded; b"": the target has not been told yet."""

    pool_map: bytes


# What only asks, and may be asked as often as it takes.
Question = (
    KeyListRequest
    | RecxListRequest
    | ObjectListRequest
    | VersionListRequest
    | QueryKeyRequest
    | ChangeListRequest
    | NewestEpochRequest
)

UPDATE: Final = Procedure("obj_update", _opcode(0), UpdateRequest, UpdateReply)
FETCH: Final = Procedure("obj_fetch", _opcode(1), FetchRequest, FetchReply)
DKEY_LIST: Final = Procedure("obj_dkey_list", _opcode(2), KeyListRequest, KeyListReply)
AKEY_LIST: Final = Procedure("obj_akey_list", _opcode(3), KeyListRequest, KeyListReply)
RECX_LIST: Final = Procedure("obj_recx_list", _opcode(4), RecxListRequest, RecxListReply)
OBJECT_LIST: Final = Procedure("obj_object_list", _opcode(5), ObjectListRequest, ObjectListReply)
PUNCH: Final = Procedure("obj_punch", _opcode(6), PunchRequest, UpdateReply)
VERSION_LIST: Final = Procedure(
    "obj_version_list", _opcode(7), VersionListRequest, VersionListReply
)
CHANGE_LIST: Final = Procedure("obj_change_list", _opcode(11), ChangeListRequest, ChangeListReply)
QUERY_KEY: Final = Procedure("obj_query_key", _opcode(9), QueryKeyRequest, QueryKeyReply)
NEWEST_EPOCH: Final = Procedure(
    "obj_newest_epoch", _opcode(12), NewestEpochRequest, NewestEpochReply
)
POOL_MAP: Final = Procedure("obj_pool_map", _opcode(13), PoolMapRequest, PoolMapReply)

PROTOCOL: Final = Protocol(
    "object",
    MODULE_ID,
    VERSION,
    (
        UPDATE,
        FETCH,
        DKEY_LIST,
        AKEY_LIST,
        RECX_LIST,
        OBJECT_LIST,
        PUNCH,
        VERSION_LIST,
        QUERY_KEY,
        CHANGE_LIST,
        NEWEST_EPOCH,
        POOL_MAP,
    ),
)

"""Records of the tree: the root of a shard, nodes, what is freed or forgotten. Disk format v1.

All integers little-endian, no padding. Every record ends with the XXH3-64 of what stands before it.

Root record, one a shard, under `keys.ROOT_KEY`:

     0  u32  magic          "VOSR"
     4  u16  version        1
     6  u16  flags          0; unknown bits are refused
     8  16B  pool uuid
    24  u64  node_limit     every node id in the tree is below it; ids restart here
    32  u64  checksum

Node record, one a container, object, dkey and akey:

     0  u8   magic          0xD7
     1  u8   version        1
     2  u16  flags          1 = KEY: the user's key follows; unknown bits are refused
     4  u8   kind           keys.CONTAINER ... keys.AKEY
     5  u8   value_type     of an akey: 1 single, 2 array, for life; 0 not decided yet
     6  u8   csum_type      of an akey: checksum type of its first value
     7  u8   reserved       0
     8  u64  node_id
    16  u64  record_size    of an array akey: bytes a record, decided by its first data; else 0
    24  u64  class_mask     of an array akey: bit c set = the width class c may hold extents
    32  u32  csum_chunk     of an akey: bytes a checksum of its first value covers
    36  u32  map_version    0; reserved for the pool map version
    40  u64  dtx            0; reserved for a distributed transaction
    48  u16  ilog_size
    50  u16  reserved       0
    52  u32  key_size       0 unless KEY
    56       ilog           incarnation log, see ilog.py
             key            the user's key, where the tree key does not tell it
             u64 checksum

Garbage record, one a subtree that is being freed:

     0  u8   magic          0xD8
     1  u8   version        1
     2  u8   kind           of the node whose id is in the tree key
     3  u8   reserved       0
     4  u32  reserved       0
     8  u64  checksum

Aggregation record, at most one a container: how far its aggregation has come:

     0  u8   magic          0xDB
     1  u8   version        1
     2  u16  reserved       0
     4  u32  reserved       0
     8  u64  epoch          everything up to here is aggregated
    16  u64  snapshots      XXH3-64 of the snapshots at or below `epoch` that were kept, each a
                            u64, ascending
    24  u64  checksum

Newest record, of an object: aggregation removed what was written at an epoch, and nothing newer of
the range that it went through was known to stay:

     0  u8   magic          0xD6
     1  u8   version        1
     2  u16  reserved       0
     4  u32  reserved       0
     8  u64  epoch          that of the tree key; not 0
    16  u64  checksum

Worked examples: docs/format/node_record.md. A change bumps a version and adds golden files.
Source: ours; DAOS src/vos/vos_layout.h vos_pool_df, vos_cont_df, vos_obj_df, vos_krec_df.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError
from daos.vos import keys

ROOT_MAGIC: Final = int.from_bytes(b"VOSR", "little")
ROOT_VERSION: Final = 1
NODE_MAGIC: Final = 0xD7
NODE_VERSION: Final = 1
GARBAGE_MAGIC: Final = 0xD8
GARBAGE_VERSION: Final = 1
AGGREGATION_MAGIC: Final = 0xDB
AGGREGATION_VERSION: Final = 1
NEWEST_MAGIC: Final = 0xD6
NEWEST_VERSION: Final = 1

FLAG_KEY: Final = 1

_ROOT: Final = struct.Struct("<IHH16sQ")
_NODE: Final = struct.Struct("<BBHBBBBQQQIIQHHI")
_GARBAGE: Final = struct.Struct("<BBBBI")
_AGGREGATION: Final = struct.Struct("<BBHIQQ")
_NEWEST: Final = struct.Struct("<BBHIQ")
_CHECKSUM: Final = struct.Struct("<Q")

ROOT_SIZE: Final = 40
NODE_SIZE_MIN: Final = 64
GARBAGE_SIZE: Final = 16
AGGREGATION_SIZE: Final = 32
NEWEST_SIZE: Final = 24
ILOG_SIZE_MAX: Final = (1 << 16) - 1
assert _ROOT.size + _CHECKSUM.size == ROOT_SIZE
assert _NODE.size + _CHECKSUM.size == NODE_SIZE_MIN
assert _GARBAGE.size + _CHECKSUM.size == GARBAGE_SIZE
assert _AGGREGATION.size + _CHECKSUM.size == AGGREGATION_SIZE
assert _NEWEST.size + _CHECKSUM.size == NEWEST_SIZE

_NODE_KINDS: Final = frozenset({keys.CONTAINER, keys.OBJECT, keys.DKEY, keys.AKEY})
_VALUE_TYPE_MAX: Final = 2


class RootRecord(msgspec.Struct, frozen=True):
    """What the shard knows of itself. What `parse` accepts, `emit` gives back bit for bit.

    Shapes:     pool is the 16 bytes of its UUID
    """

    pool: bytes
    node_limit: int

    def emit(self) -> bytes:
        return seal(_ROOT.pack(ROOT_MAGIC, ROOT_VERSION, 0, self.pool, self.node_limit))

    @classmethod
    def parse(cls, buffer: bytes) -> RootRecord:
        """Read a root record. Raises: CorruptError if it is not one of this version."""
        if len(buffer) != ROOT_SIZE:
            raise CorruptError("root record size", offset=0, want=ROOT_SIZE, got=len(buffer))
        body = unseal(buffer, "root record")
        magic, version, flags, pool, node_limit = _ROOT.unpack(body)
        _expect("root record magic", 0, ROOT_MAGIC, magic)
        _expect("root record version", 4, ROOT_VERSION, version)
        _expect("root record flags", 6, 0, flags)
        return cls(pool, node_limit)


class NodeRecord(msgspec.Struct, frozen=True):
    """A container, object, dkey or akey. What `parse` accepts, `emit` gives back bit for bit."""

    kind: int
    node_id: int
    ilog: bytes = b""
    key: bytes = b""
    value_type: int = 0
    record_size: int = 0
    class_mask: int = 0
    csum_type: int = 0
    csum_chunk: int = 0

    def emit(self) -> bytes:
        assert len(self.ilog) <= ILOG_SIZE_MAX
        head = _NODE.pack(
            NODE_MAGIC,
            NODE_VERSION,
            FLAG_KEY if self.key else 0,
            self.kind,
            self.value_type,
            self.csum_type,
            0,
            self.node_id,
            self.record_size,
            self.class_mask,
            self.csum_chunk,
            0,
            0,
            len(self.ilog),
            0,
            len(self.key),
        )
        # As `seal`, without the calls: twice for each new key.
        body = b"".join((head, self.ilog, self.key))
        return body + _CHECKSUM.pack(xxh3_64_intdigest(body))

    @classmethod
    def parse(cls, buffer: bytes) -> NodeRecord:
        """Read a node record. Raises: CorruptError if it is not one of this version."""
        if len(buffer) < NODE_SIZE_MIN:
            raise CorruptError("node record size", offset=0, want=NODE_SIZE_MIN, got=len(buffer))
        body = unseal(buffer, "node record")
        (
            magic,
            version,
            flags,
            kind,
            value_type,
            csum_type,
            reserved,
            node_id,
            record_size,
            class_mask,
            csum_chunk,
            map_version,
            dtx,
            ilog_size,
            reserved2,
            key_size,
        ) = _NODE.unpack_from(body)
        _expect("node record magic", 0, NODE_MAGIC, magic)
        _expect("node record version", 1, NODE_VERSION, version)
        _expect("node record flags", 2, FLAG_KEY if key_size else 0, flags)
        _expect("node record reserved", 7, 0, reserved | reserved2)
        _expect("node record map version", 36, 0, map_version)
        _expect("node record dtx", 40, 0, dtx)
        _expect("node record size", 48, _NODE.size + ilog_size + key_size, len(body))
        if kind not in _NODE_KINDS:
            raise CorruptError("node record kind", offset=4, want="1, 3, 4 or 5", got=kind)
        if value_type > _VALUE_TYPE_MAX:
            raise CorruptError("node record value type", offset=5, want="0 to 2", got=value_type)
        if node_id == 0:
            raise CorruptError("node record id", offset=8, want="not 0", got=0)
        ilog_end = _NODE.size + ilog_size
        return cls(
            kind,
            node_id,
            body[_NODE.size : ilog_end],
            body[ilog_end:],
            value_type,
            record_size,
            class_mask,
            csum_type,
            csum_chunk,
        )


class GarbageRecord(msgspec.Struct, frozen=True):
    """A subtree that nothing reaches any more. Its node id stands in the tree key."""

    kind: int

    def emit(self) -> bytes:
        return seal(_GARBAGE.pack(GARBAGE_MAGIC, GARBAGE_VERSION, self.kind, 0, 0))

    @classmethod
    def parse(cls, buffer: bytes) -> GarbageRecord:
        """Read a garbage record. Raises: CorruptError if it is not one of this version."""
        if len(buffer) != GARBAGE_SIZE:
            raise CorruptError("garbage record size", offset=0, want=GARBAGE_SIZE, got=len(buffer))
        magic, version, kind, reserved, reserved2 = _GARBAGE.unpack(
            unseal(buffer, "garbage record")
        )
        _expect("garbage record magic", 0, GARBAGE_MAGIC, magic)
        _expect("garbage record version", 1, GARBAGE_VERSION, version)
        _expect("garbage record reserved", 3, 0, reserved | reserved2)
        if kind not in _NODE_KINDS:
            raise CorruptError("garbage record kind", offset=2, want="1, 3, 4 or 5", got=kind)
        return cls(kind)


class AggregationRecord(msgspec.Struct, frozen=True):
    """How far a container is aggregated. What `parse` accepts, `emit` gives back bit for bit."""

    epoch: int = 0
    snapshots: int = 0

    def emit(self) -> bytes:
        return seal(
            _AGGREGATION.pack(
                AGGREGATION_MAGIC, AGGREGATION_VERSION, 0, 0, self.epoch, self.snapshots
            )
        )

    @classmethod
    def parse(cls, buffer: bytes) -> AggregationRecord:
        """Read an aggregation record. Raises: CorruptError if it is not one of this version."""
        if len(buffer) != AGGREGATION_SIZE:
            want = AGGREGATION_SIZE
            raise CorruptError("aggregation record size", offset=0, want=want, got=len(buffer))
        magic, version, reserved, reserved2, epoch, snapshots = _AGGREGATION.unpack(
            unseal(buffer, "aggregation record")
        )
        _expect("aggregation record magic", 0, AGGREGATION_MAGIC, magic)
        _expect("aggregation record version", 1, AGGREGATION_VERSION, version)
        _expect("aggregation record reserved", 2, 0, reserved | reserved2)
        return cls(epoch, snapshots)


class NewestRecord(msgspec.Struct, frozen=True):
    """An epoch at which an object was changed. What `parse` accepts, `emit` gives back."""

    epoch: int

    def emit(self) -> bytes:
        return seal(_NEWEST.pack(NEWEST_MAGIC, NEWEST_VERSION, 0, 0, self.epoch))

    @classmethod
    def parse(cls, buffer: bytes) -> NewestRecord:
        """Read a newest record. Raises: CorruptError if it is not one of this version."""
        if len(buffer) != NEWEST_SIZE:
            raise CorruptError("newest record size", offset=0, want=NEWEST_SIZE, got=len(buffer))
        magic, version, reserved, reserved2, epoch = _NEWEST.unpack(unseal(buffer, "newest record"))
        _expect("newest record magic", 0, NEWEST_MAGIC, magic)
        _expect("newest record version", 1, NEWEST_VERSION, version)
        _expect("newest record reserved", 2, 0, reserved | reserved2)
        if not epoch:
            raise CorruptError("newest record epoch", offset=8, want="not 0", got=0)
        return cls(epoch)


def seal(body: bytes) -> bytes:
    """`body` followed by its checksum."""
    return body + _CHECKSUM.pack(xxh3(body))


def unseal(buffer: bytes, what: str) -> bytes:
    """What `seal` was given. Raises: CorruptError."""
    body = buffer[:-8]
    want = xxh3(body)
    (got,) = _CHECKSUM.unpack(buffer[-8:])
    if got != want:
        raise CorruptError(f"{what} checksum", offset=len(body), want=want, got=got)
    return body


def _expect(what: str, offset: int, want: int, got: int) -> None:
    if got != want:
        raise CorruptError(what, offset=offset, want=want, got=got)

"""Keys of the tree: how every node and value of a shard is named. Disk format v1.

The tree orders bytes, so order lives in the key. All integers in keys are big-endian:

    node            parent u64 | kind u8 | key order          -> node record
    single value    akey u64   | ~epoch u64 | ~minor u16      -> single value record, newest first
    extent          akey u64   | class u8 | lo u64 | ...      -> see extents.py

    parent          kind          key order
    0               ROOT      0   nothing: the root record of the shard
    0               CONTAINER 1   UUID, 16 bytes
    0               GARBAGE   2   node id of a subtree that is being freed
    container       OBJECT    3   oid.hi u64 | oid.lo u64 | shard u32
    object          DKEY      4   a user's key, see below
    dkey            AKEY      5   a user's key
    container       DTX       6   see dtx_record.py
    0, container    DEDUP     7   see dedup_record.py
    container       AGGREGATION  8    nothing: how far its aggregation has come
    object          NEWEST    9   ~epoch u64: newest first, see newest_notes.py

Every container, object, dkey and akey gets a node id (u64, never 0, never reused) at first use, so
that a key of the tree stays short however deep it is. An akey is single-valued or an array for
life, so that its two kinds of value keys never mix.

The order of a user's key, by the object's type:

    UINT64     8 bytes, big-endian (users give 8 bytes little-endian)
    LEXICAL    the key itself up to 400 bytes; longer: its first 400 bytes | hash128 | tie u16
    HASHED     hash128 | tie u16

A hash names a bucket, not a key: the full key stands in the record and is compared. Keys that share
a bucket take ties 0, 1, 2 ... without gaps, so that a search ends at the first free one.

Invariants:
    K1  no key of the tree is longer than 511 bytes, the limit of LMDB
    K2  different user keys have different tree keys; equal ones have equal tree keys
    K3  bytes order = key order, except among long lexical keys that share 400 bytes
Source: ours; DAOS src/vos/vos_tree.c (hkey, uint and direct keys) orders inside its B+trees.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

import xxhash

from daos.base.errors import InvalidError, KeyTooBigError
from daos.base.ids import INTEGER_KEY_SIZE, Epoch, KeyKind, ObjectType, UnitOid

KEY_SIZE_MAX: Final = 511
USER_KEY_SIZE_MAX: Final = 1 << 20
LEXICAL_INLINE_MAX: Final = 400
HASH_SIZE: Final = 16
TIE_SIZE: Final = 2
TIES_MAX: Final = 1 << 16

ROOT: Final = 0
CONTAINER: Final = 1
GARBAGE: Final = 2
OBJECT: Final = 3
DKEY: Final = 4
AKEY: Final = 5
DTX: Final = 6
DEDUP: Final = 7
AGGREGATION: Final = 8
NEWEST: Final = 9

_NODE: Final = struct.Struct(">QB")
_OBJECT: Final = struct.Struct(">QQI")
_SINGLE: Final = struct.Struct(">QQH")
_NEWEST: Final = struct.Struct(">QBQ")
_U64: Final = struct.Struct(">Q")
_TIE: Final = struct.Struct(">H")
_MASK64: Final = (1 << 64) - 1
_MASK16: Final = (1 << 16) - 1

NODE_PREFIX_SIZE: Final = _NODE.size
OBJECT_ORDER_SIZE: Final = _OBJECT.size
SINGLE_KEY_SIZE: Final = _SINGLE.size
assert NODE_PREFIX_SIZE + LEXICAL_INLINE_MAX + HASH_SIZE + TIE_SIZE <= KEY_SIZE_MAX

ROOT_KEY: Final = _NODE.pack(0, ROOT)

# Members of enums are looked up by name each time; these are not.
_UINT64: Final = KeyKind.UINT64
_LEXICAL: Final = KeyKind.LEXICAL

# Kinds of dkeys and akeys, by the number of the object's type.
_KINDS: Final[dict[int, tuple[KeyKind, KeyKind]]] = {
    int(otype): (otype.dkey_kind, otype.akey_kind) for otype in ObjectType
}

node_prefix = _NODE.pack
_pack_single: Final = _SINGLE.pack


def hash128(key: bytes) -> bytes:
    """The bucket of a hashed or long key."""
    return xxhash.xxh3_128_digest(key)


def key_kinds(oid: UnitOid) -> tuple[KeyKind, KeyKind]:
    """What the dkeys and akeys of an object are. Raises: InvalidError for an unknown type."""
    kinds = _KINDS.get(oid.oid.hi >> 56)
    if kinds is None:
        raise InvalidError(f"object {oid.oid}: no such object type {oid.oid.hi >> 56}")
    return kinds


def object_order(oid: UnitOid) -> bytes:
    """The key order of an object: (hi, lo, shard)."""
    public = oid.oid
    return _OBJECT.pack(public.hi, public.lo, oid.shard)


class ObjectFacts(NamedTuple):
    """What every operation on an object asks of its id."""

    order: bytes
    hash: int  # XXH3 of the order
    kinds: tuple[KeyKind, KeyKind]  # of dkeys, of akeys
    dkey_size: int  # bytes of integer keys; 0: of any size
    akey_size: int


@lru_cache(maxsize=1024)
def object_facts(oid: UnitOid) -> ObjectFacts:
    """Raises: InvalidError for an unknown type. Cost: 0.2 us for the objects in use."""
    order = object_order(oid)
    kinds = key_kinds(oid)
    sizes = [INTEGER_KEY_SIZE if kind is _UINT64 else 0 for kind in kinds]
    return ObjectFacts(order, xxhash.xxh3_64_intdigest(order), kinds, *sizes)


def parse_object_order(order: bytes) -> tuple[int, int, int]:
    """(hi, lo, shard) of an object's key order."""
    hi, lo, shard = _OBJECT.unpack(order)
    return hi, lo, shard


def container_key(uuid: UUID) -> bytes:
    """Tree key of a container's record."""
    return node_prefix(0, CONTAINER) + uuid.bytes


def garbage_key(node_id: int) -> bytes:
    """Tree key of the record that names a subtree to be freed."""
    return node_prefix(0, GARBAGE) + _U64.pack(node_id)


def aggregation_key(container_id: int) -> bytes:
    """Tree key of the record that says how far a container is aggregated."""
    return node_prefix(container_id, AGGREGATION)


def newest_key(object_id: int, epoch: Epoch | int) -> bytes:
    """Tree key of the note that an object was changed at an epoch; newer ones sort first."""
    return _NEWEST.pack(object_id, NEWEST, epoch ^ _MASK64)


def parse_newest_key(key: bytes) -> int:
    """The epoch of a note's tree key."""
    return int(_NEWEST.unpack(key)[2]) ^ _MASK64


def check_user_key(key: bytes, kind: KeyKind, what: str) -> None:
    """Refuse a key that no level of `kind` can hold.

    Raises:     InvalidError     empty, or not 8 bytes where keys are integers
                KeyTooBigError   over 1 MiB
    """
    size = len(key)
    if 0 < size <= USER_KEY_SIZE_MAX and (size == 8 or kind is not _UINT64):
        return
    if size == 0:
        raise InvalidError(f"{what}: a key must not be empty")
    if size > USER_KEY_SIZE_MAX:
        raise KeyTooBigError(f"{what}: a key has at most {USER_KEY_SIZE_MAX} bytes, got {size}")
    raise InvalidError(f"{what}: keys of this object are 8-byte integers, got {size} bytes")


def is_exact(key: bytes, kind: KeyKind) -> bool:
    """Whether the tree key alone tells the user's key, so that the record need not repeat it."""
    return kind is _UINT64 or (kind is _LEXICAL and len(key) <= LEXICAL_INLINE_MAX)


def exact_order(key: bytes, kind: KeyKind) -> bytes:
    """Key order of a key that `is_exact`."""
    return key[::-1] if kind is _UINT64 else key


def bucket_order(key: bytes, kind: KeyKind) -> bytes:
    """Key order, without the tie, of a key that is not `is_exact`."""
    if kind is KeyKind.HASHED:
        return hash128(key)
    return key[:LEXICAL_INLINE_MAX] + hash128(key)


def with_tie(bucket: bytes, tie: int) -> bytes:
    """Key order of the `tie`-th key of a bucket."""
    return bucket + _TIE.pack(tie)


def user_key(order: bytes, kind: KeyKind) -> bytes:
    """The user's key of an exact key order."""
    return order[::-1] if kind is _UINT64 else order


def is_long_order(order: bytes, kind: KeyKind) -> bool:
    """Whether a lexical key order stands for a key over 400 bytes."""
    return kind is KeyKind.LEXICAL and len(order) > LEXICAL_INLINE_MAX


def single_key(akey_id: int, epoch: Epoch | int, minor: int) -> bytes:
    """Tree key of a single value; newer versions sort first."""
    return _pack_single(akey_id, epoch ^ _MASK64, minor ^ _MASK16)


def parse_single_key(key: bytes) -> tuple[int, int, int]:
    """(akey id, epoch, minor) of a single value's tree key."""
    akey_id, epoch, minor = _SINGLE.unpack(key)
    return akey_id, epoch ^ _MASK64, minor ^ _MASK16


def after(key: bytes) -> bytes:
    """The smallest byte string greater than every string that starts with `key`.

    `key` must not be all 0xff.
    """
    stripped = key.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,))

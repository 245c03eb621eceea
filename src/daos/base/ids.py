"""Identifiers. Distinct types over int and UUID: free at run time, and mypy catches a swapped pair.

Object id, 128 bits as two u64:

    hi  63..56  object type           ObjectType, what the keys look like
        55..48  redundancy            code of the object class (1 = none, 8 = two replicas, ...)
        47..32  redundancy groups     concrete count; 0xFFFF only as the request "everything"
        31..0   user
    lo  63..0   user

Applications own 96 bits: `lo` and the low half of `hi`; the rest is filled in once, when the id is
generated, and never changes: growing a pool does not grow its objects. The text form is
`hi.lo`, both decimal.

A msgspec struct and not a dataclass: made in 0.2 µs instead of 0.6, hashed in 60 ns instead of 170,
and messages carry it as it is.

Source: DAOS src/include/daos_obj.h daos_obj_id_t, enum daos_otype_t
"""

from __future__ import annotations

import uuid
from enum import Enum, IntEnum
from typing import Final, NamedTuple, NewType

import msgspec

from daos.base.errors import InvalidError

Epoch = NewType("Epoch", int)
Rank = NewType("Rank", int)
Tag = NewType("Tag", int)
TargetIndex = NewType("TargetIndex", int)
ShardIndex = NewType("ShardIndex", int)
GroupIndex = NewType("GroupIndex", int)
MapVersion = NewType("MapVersion", int)
Lsn = NewType("Lsn", int)

PoolUuid = NewType("PoolUuid", uuid.UUID)
ContainerUuid = NewType("ContainerUuid", uuid.UUID)
HandleUuid = NewType("HandleUuid", uuid.UUID)

# A modification, however often it is sent: its client's UUID, and a stamp of that client's clock
# which no other one of it has. Source: DAOS src/include/daos/dtx.h struct dtx_id
DtxId = NewType("DtxId", bytes)
DTX_ID_SIZE: Final = 24


def dtx_id(client: bytes, stamp: Epoch | int) -> DtxId:
    """16 bytes of a client's UUID, then the stamp as u64, big-endian."""
    return DtxId(client + stamp.to_bytes(8, "big"))


def dtx_stamp(dtx: bytes) -> Epoch:
    """What the client's clock said when it drew the id."""
    return Epoch(int.from_bytes(dtx[16:], "big"))


# Who listens where on a rank: the system services at tag 0, target i at tag i + 1.
SYSTEM_TAG: Final = Tag(0)


def tag_of(target: TargetIndex) -> Tag:
    """The tag at which a target listens. Source: DAOS src/engine/srv.c, one context a target."""
    return Tag(target + 1)


EPOCH_MAX: Final = Epoch((1 << 64) - 1)

U32_MAX: Final = (1 << 32) - 1
U64_MAX: Final = (1 << 64) - 1
GROUPS_MAX: Final = 0xFFFF
INTEGER_KEY_SIZE: Final = 8  # bytes of a key of kind UINT64

_TYPE_SHIFT: Final = 56
_REDUNDANCY_SHIFT: Final = 48
_GROUPS_SHIFT: Final = 32
_TEXT_SIZE_MAX: Final = 41  # 20 digits, a dot, 20 digits


class KeyKind(Enum):
    """How the keys of one level are compared and enumerated."""

    HASHED = "hashed"  # any bytes; enumerated in hash order
    LEXICAL = "lexical"  # any bytes; enumerated in memcmp order
    UINT64 = "uint64"  # exactly 8 bytes, little-endian; enumerated ascending


class ObjectType(IntEnum):
    """What the keys of an object look like; fixed in its id."""

    MULTI_HASHED = 0
    OIT = 1
    DKEY_UINT64 = 2
    AKEY_UINT64 = 3
    MULTI_UINT64 = 4
    DKEY_LEXICAL = 5
    AKEY_LEXICAL = 6
    MULTI_LEXICAL = 7
    KV_HASHED = 8
    KV_UINT64 = 9
    KV_LEXICAL = 10
    ARRAY = 11
    ARRAY_ATTR = 12
    ARRAY_BYTE = 13
    OIT_V2 = 14

    @property
    def dkey_kind(self) -> KeyKind:
        return _DKEY_KIND.get(self, KeyKind.HASHED)

    @property
    def akey_kind(self) -> KeyKind:
        return _AKEY_KIND.get(self, KeyKind.HASHED)

    @property
    def is_kv(self) -> bool:
        """One level of keys, one value each."""
        return ObjectType.KV_HASHED <= self <= ObjectType.KV_LEXICAL

    @property
    def is_array(self) -> bool:
        """Records by index, cut into chunks over integer dkeys."""
        return ObjectType.ARRAY <= self <= ObjectType.ARRAY_BYTE


_TYPES: Final = {int(otype): otype for otype in ObjectType}

_DKEY_KIND: Final[dict[int, KeyKind]] = {
    ObjectType.DKEY_UINT64: KeyKind.UINT64,
    ObjectType.MULTI_UINT64: KeyKind.UINT64,
    ObjectType.KV_UINT64: KeyKind.UINT64,
    ObjectType.ARRAY: KeyKind.UINT64,
    ObjectType.ARRAY_ATTR: KeyKind.UINT64,
    ObjectType.ARRAY_BYTE: KeyKind.UINT64,
    ObjectType.DKEY_LEXICAL: KeyKind.LEXICAL,
    ObjectType.MULTI_LEXICAL: KeyKind.LEXICAL,
    ObjectType.KV_LEXICAL: KeyKind.LEXICAL,
}

_AKEY_KIND: Final[dict[int, KeyKind]] = {
    ObjectType.AKEY_UINT64: KeyKind.UINT64,
    ObjectType.MULTI_UINT64: KeyKind.UINT64,
    ObjectType.AKEY_LEXICAL: KeyKind.LEXICAL,
    ObjectType.MULTI_LEXICAL: KeyKind.LEXICAL,
}


class ObjectId(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A 128-bit object id; ordered by (hi, lo); [hi, lo] on the wire.

    Raises:     InvalidError   hi or lo is not a u64
    """

    hi: int
    lo: int

    def __post_init__(self) -> None:
        if not (0 <= self.hi <= U64_MAX and 0 <= self.lo <= U64_MAX):
            raise InvalidError(f"object id {self.hi}.{self.lo}: each half must be in [0, 2**64)")

    @classmethod
    def parse(cls, text: str) -> ObjectId:
        """Read `hi.lo`, both decimal.

        Raises:     InvalidError   anything else: signs, spaces, other digits, halves over 64 bits
        """
        hi, dot, lo = text.partition(".")
        if (
            len(text) > _TEXT_SIZE_MAX
            or not dot
            or not all(half.isascii() and half.isdigit() for half in (hi, lo))
        ):
            raise InvalidError(f"object id {text[:64]!r}: expected 'hi.lo' with decimal numbers")
        return cls(int(hi), int(lo))

    @classmethod
    def encode(
        cls,
        *,
        user_hi: int,
        lo: int,
        type: ObjectType,
        redundancy: int,
        groups: int,
    ) -> ObjectId:
        """The id with all fields in place.

        Raises:     InvalidError   a field does not fit its bits
        Source:     DAOS src/include/daos_obj.h daos_obj_set_oid
        """
        for name, value, limit in (
            ("user_hi", user_hi, U32_MAX),
            ("redundancy", redundancy, 0xFF),
            ("groups", groups, GROUPS_MAX),
        ):
            if not 0 <= value <= limit:
                raise InvalidError(f"object id: {name} must be in [0, {limit}], got {value}")
        hi = (
            type << _TYPE_SHIFT
            | redundancy << _REDUNDANCY_SHIFT
            | groups << _GROUPS_SHIFT
            | user_hi
        )
        return cls(hi, lo)

    @property
    def type(self) -> ObjectType:
        """The object type. Raises: InvalidError if the 8 bits name none."""
        number = self.hi >> _TYPE_SHIFT
        otype = _TYPES.get(number)  # 0.1 µs; calling the enum takes 0.6
        if otype is None:
            raise InvalidError(f"object id {self}: unknown object type {number}")
        return otype

    @property
    def redundancy(self) -> int:
        """The redundancy code of the class, 8 bits; 0 = not generated yet."""
        return self.hi >> _REDUNDANCY_SHIFT & 0xFF

    @property
    def groups(self) -> int:
        """Number of redundancy groups, 16 bits."""
        return self.hi >> _GROUPS_SHIFT & GROUPS_MAX

    @property
    def user_hi(self) -> int:
        """The application's half of `hi`, 32 bits."""
        return self.hi & U32_MAX

    def __str__(self) -> str:
        return f"{self.hi}.{self.lo}"


class UnitOid(NamedTuple):
    """What one shard of an object is called where it is stored.

    Source:     DAOS src/include/daos_srv/daos_engine.h daos_unit_oid_t
    """

    oid: ObjectId
    shard: ShardIndex

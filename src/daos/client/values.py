"""What calls take and give: frozen values, and how keys are written.

Keys. A key is bytes; where the object's type has integer keys it may be an int, which travels as
8 bytes little-endian, and enumeration gives ints back.

Source: DAOS src/include/daos_types.h daos_pool_info_t, daos_cont_info_t; features §5.1-5.2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypedDict, TypeVar
from uuid import UUID

from daos.base.errors import InvalidError
from daos.base.ids import INTEGER_KEY_SIZE, U64_MAX, Epoch, KeyKind
from daos.base.iod import Iod, IodType, Recx
from daos.client.memory import BufferLike, readable


class FileDefaults(TypedDict, total=False):
    """What `create_container(type="POSIX", ...)` takes of the file system to be.

    Classes by name or id ("S1", "SX"); `oclass` for files and directories, the others for one of
    them. `chunk_size` of files, in bytes or as text ("4MiB"). `hints`: "file:max,dir:single".
    `mode`: "relaxed".
    """

    oclass: str | int | None
    dir_oclass: str | int | None
    file_oclass: str | int | None
    chunk_size: str | int | None
    hints: str | None
    mode: str | None


Key: TypeAlias = bytes | int
# What enumerations give: bytes, or int where keys are integers. Which of them, the caller knows and
# a checker cannot; it takes either without a question.
GivenKey: TypeAlias = bytes | Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TierInfo:
    """One storage tier of a pool over all its targets, in bytes."""

    name: str  # "SCM": metadata and small values; "NVMe": data
    total: int
    free: int
    free_min: int  # of the fullest target: what an object on all targets can still take is near it
    free_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceInfo:
    """Space of a pool, in bytes, all tiers together and each."""

    total: int
    free: int
    tiers: tuple[TierInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolInfo:
    """What `pool.query()` tells."""

    uuid: UUID
    label: str
    map_version: int
    ranks: int
    targets: int
    targets_disabled: int
    handles: int  # connected now, this one included
    containers: int
    space: SpaceInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTier:
    """One storage tier of one target, in bytes."""

    name: str  # "SCM", "NVMe"
    total: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetInfo:
    """What `pool.query_targets()` tells of each target."""

    rank: int
    index: int  # of the rank
    state: str  # "up_in": serves; "new", "up", "down", "down_out", "drain"
    tiers: tuple[TargetTier, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolListing:
    """One pool as the management service knows it."""

    uuid: UUID
    label: str
    state: str
    size: int  # bytes, as created
    targets: int
    service_ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerInfo:
    """What `container.query()` tells. Times are epochs (hybrid logical clock)."""

    uuid: UUID
    label: str
    handles: int
    snapshots: int
    newest_snapshot: Epoch  # 0: none
    opened: Epoch
    modified: Epoch  # the metadata, not the data


class ContainerListing(NamedTuple):
    """One container of a pool; `label` may be empty."""

    uuid: UUID
    label: str


class Snapshot(NamedTuple):
    """A point in time that stays readable; `name` may be empty."""

    epoch: Epoch
    name: str


class ArrayStat(NamedTuple):
    """What `array.stat()` tells."""

    size: int  # records
    newest: Epoch  # when it was changed last; 0: there is nothing


@dataclass(frozen=True, slots=True)
class Extents:
    """Array records for `update_many`: data at offsets, both in records of `record_size` bytes."""

    record_size: int
    pieces: Sequence[tuple[int, BufferLike]]


@dataclass(frozen=True, slots=True)
class Range:
    """Records [offset, offset + count) of an array akey, for `fetch_many`."""

    akey: Key
    offset: int
    count: int


@dataclass(frozen=True, slots=True, order=True)
class Extent:
    """Records [offset, offset + count) that exist, and the epoch that wrote them."""

    offset: int
    count: int
    record_size: int  # bytes
    epoch: Epoch


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """What one update wrote, whether it is seen today or not.

    An array's records [offset, offset + count) of `size` bytes each; a single value is offset 0,
    count 1 and its bytes. `size` 0: punched (or an empty value). `covered`: the akey, or what is
    above it, was punched since then, at the newest epoch asked for or before it.
    """

    epoch: Epoch
    offset: int
    count: int
    size: int
    covered: bool


Value: TypeAlias = BufferLike | Extents
# For mappings by key: a Mapping's key type is invariant, a dict[bytes, bytes] is no
# Mapping[bytes | int, bytes].
KeyT = TypeVar("KeyT", bound=Key)


def encode_key(key: Key, kind: KeyKind, what: str) -> bytes:
    """The bytes of a key on the wire.

    Raises: InvalidError  no bytes and no int, an int where keys are none or that is no u64
    """
    if type(key) is bytes:
        return key
    if isinstance(key, bytes | bytearray | memoryview):  # of a class derived from bytes, too
        return bytes(key)
    if isinstance(key, int) and not isinstance(key, bool):
        if kind is not KeyKind.UINT64:
            raise InvalidError(f"{what} {key}: only objects of an integer-key type take ints")
        return encode_integer(key, what)
    expected = "bytes or int" if kind is KeyKind.UINT64 else "bytes"
    raise InvalidError(f"{what}: expected {expected}, got {type(key).__name__}")


def encode_integer(key: int, what: str) -> bytes:
    """A u64, little-endian. Raises: InvalidError."""
    if not 0 <= key <= U64_MAX:
        raise InvalidError(f"{what} {key}: an integer key is a u64")
    return key.to_bytes(INTEGER_KEY_SIZE, "little")


def decode_key(key: bytes, kind: KeyKind) -> Key:
    """What a user sees of a key."""
    return int.from_bytes(key, "little") if kind is KeyKind.UINT64 else key


def check_count(value: int, what: str, *, least: int = 0) -> int:
    """`value`, an index or count of records. Raises: InvalidError."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise InvalidError(f"{what} must be an integer, got {type(value).__name__}")
    number = value.__index__()
    if not least <= number <= U64_MAX:
        raise InvalidError(f"{what} must be in [{least}, 2**64), got {number}")
    return number


def array_iod(akey: bytes, extents: Extents, *, cond: int = 0) -> tuple[Iod, list[memoryview]]:
    """The descriptor and the payload of array records; empty pieces are left out."""
    size = check_count(extents.record_size, "record_size", least=1)
    recxs: list[Recx] = []
    views: list[memoryview] = []
    for offset, data in extents.pieces:
        view = readable(data)
        index = check_count(offset, "offset")
        if view.nbytes % size:
            raise InvalidError(f"{view.nbytes} bytes are no whole number of {size}-byte records")
        if view.nbytes:
            recxs.append(Recx(index, view.nbytes // size))
            views.append(view)
    return Iod(akey, IodType.ARRAY, size, tuple(recxs), cond), views


def check_named(conds: Mapping[bytes, int], iods: Sequence[Iod], what: str) -> None:
    """Refuse what is no condition, and those of akeys in no descriptor. Raises: InvalidError."""
    if odd := [cond for cond in conds.values() if not isinstance(cond, int)]:
        raise InvalidError(f"conditions are members of Cond, joined by |, not {odd[0]!r}")
    if missing := list(conds.keys() - {iod.akey for iod in iods}):
        raise InvalidError(f"conditions on akeys that are not {what}: {missing}")

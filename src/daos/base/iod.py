"""What an object operation names: I/O descriptors, extents of records, conditions.

The same values travel on the wire and go into the store, as msgspec arrays (MessagePack):

    Recx    [index, count]
    Iod     [akey, type, size, [recx, ...], cond]

An I/O descriptor names one akey and what is done with its value:

    type    SINGLE   one value; `size` is its bytes, `recxs` is empty
            ARRAY    records of `size` bytes each, in the ranges of `recxs`
    size    update: 0 punches the value or the ranges; fetch: 0 asks for any size
    cond    conditions of this akey alone, used when the call says PER_AKEY

The structs hold what they are given. A service checks what came from outside: `check_iod`.

Source: DAOS src/include/daos_obj.h daos_iod_t, daos_recx_t, DAOS_COND_*, DAOS_GET_*
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, IntFlag
from typing import Final

import msgspec

from daos.base.errors import InvalidError
from daos.base.ids import U64_MAX


class IodType(IntEnum):
    """What the value of an akey is. One akey keeps one type for life."""

    NONE = 0
    SINGLE = 1
    ARRAY = 2


class Cond(IntFlag):
    """Conditions on an operation: INSERT = must not exist yet, the others = must exist.

    A failed INSERT is ExistsError, any other NotFoundError. The KEY_ names are those of flat
    key-values, where the key is the dkey.
    """

    NONE = 0
    PUNCH = 1
    DKEY_INSERT = 2
    DKEY_UPDATE = 4
    DKEY_FETCH = 8
    AKEY_INSERT = 0x10
    AKEY_UPDATE = 0x20
    AKEY_FETCH = 0x40
    PER_AKEY = 0x80

    KEY_INSERT = 2
    KEY_UPDATE = 4
    KEY_GET = 8
    KEY_REMOVE = 1


COND_MASK: Final = 0xFF


class QueryFlag(IntFlag):
    """What a key query asks for: exactly one of MAX and MIN, and at least one of the others."""

    MAX = 1
    MIN = 2
    DKEY = 4
    AKEY = 8
    RECX = 0x10


class Recx(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Records [index, index + count) of an array akey."""

    index: int
    count: int

    @property
    def end(self) -> int:
        """One past the last record."""
        return self.index + self.count


class Iod(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One akey of an operation. See the module for the meaning of each field."""

    akey: bytes
    type: IodType
    size: int
    recxs: tuple[Recx, ...] = ()
    cond: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of payload that an update of this descriptor carries."""
        if self.type != IodType.ARRAY:
            return self.size
        return self.size * sum(recx.count for recx in self.recxs)


# Above all sizes that are common, below every bound that a service has.
_PLAIN_BYTES_MAX: Final = 1 << 30
_PLAIN_KEY_MAX: Final = 1 << 20
_PLAIN_RECORDS_MAX: Final = 1 << 63
_SINGLE: Final = IodType.SINGLE
_ARRAY: Final = IodType.ARRAY


def is_plain(dkey: bytes, iods: Sequence[Iod], dkey_size: int, akey_size: int) -> bool:
    """Whether an operation is of the common kind, at which no check of anybody's takes offence.

    One akey, without conditions of its own; a single value, or one range, of moderate size.

    Units:      dkey_size, akey_size: bytes that keys have where they are integers; 0: any
    Cost:       0.5 us, against 2 for the checks it makes superfluous
    """
    if len(iods) != 1:
        return False
    iod = iods[0]
    if not (
        0 < len(dkey) <= _PLAIN_KEY_MAX
        and 0 < len(iod.akey) <= _PLAIN_KEY_MAX
        and (not dkey_size or len(dkey) == dkey_size)
        and (not akey_size or len(iod.akey) == akey_size)
        and not iod.cond
        and 0 <= iod.size <= _PLAIN_BYTES_MAX
    ):
        return False
    recxs = iod.recxs
    if not recxs:
        return iod.type == _SINGLE
    if len(recxs) != 1 or iod.type != _ARRAY:
        return False
    index, count = recxs[0].index, recxs[0].count
    return (
        index >= 0
        and count > 0
        and index + count <= _PLAIN_RECORDS_MAX
        and iod.size * count <= _PLAIN_BYTES_MAX
    )


def check_iod(iod: Iod) -> None:
    """Refuse a descriptor that no operation accepts.

    Raises:     InvalidError   type NONE; a size, index or count that is not a u64; an empty range
                               or one past 2**64; ranges on a single value; none on an array;
                               unknown condition bits
    Cost:       O(ranges)
    Source:     DAOS src/object/cli_obj.c obj_iod_check; src/include/daos_obj.h
    """
    if not 0 <= iod.size <= U64_MAX:
        raise InvalidError(f"iod: size must be in [0, 2**64), got {iod.size}")
    if iod.cond & ~COND_MASK:
        raise InvalidError(f"iod: unknown condition bits {iod.cond & ~COND_MASK:#x}")
    if iod.type == IodType.SINGLE:
        if iod.recxs:
            raise InvalidError("iod: a single value takes no record ranges")
        return
    if iod.type != IodType.ARRAY:
        raise InvalidError("iod: type must be SINGLE or ARRAY")
    if not iod.recxs:
        raise InvalidError("iod: an array value needs at least one record range")
    for recx in iod.recxs:
        if recx.index < 0 or recx.count < 1 or recx.end > U64_MAX + 1:
            raise InvalidError(
                f"iod: records [{recx.index}, +{recx.count}) must be a non-empty range of u64"
            )

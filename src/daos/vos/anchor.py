"""Anchors: where a listing of one page goes on with the next, opaque to whoever carries them.

     0  u8   version      1: behind the position; 2: at the position, which is listed too
     1  u64  context      XXH3-64 of container, kind of listing, object, keys, direction and filter
     9       position     of keys and objects: key order of the last entry looked at
                          of extents: u64 record to go on from, or backwards, in front of which;
                          u64 where the extent begins, or backwards ends, that goes on there
                          of versions: tree key of the last one looked at, without the akey
             u64 checksum XXH3-64 of everything before it

Integers big-endian. An anchor of another listing, or a damaged one, is refused; what came or went
since then does not matter, since a position need not exist. An empty anchor is the beginning.

Source: ours; DAOS src/include/daos_types.h daos_anchor_t.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from daos.base.checksum import xxh3
from daos.base.errors import InvalidError
from daos.vos import keys
from daos.vos.state import ContainerState

BEHIND: Final = 1
AT: Final = 2

_HEAD: Final = struct.Struct(">BQ")
_U64: Final = struct.Struct(">Q")
_SIZE_MIN: Final = _HEAD.size + _U64.size


class Position(NamedTuple):
    """Where to go on. No order: at the beginning."""

    order: bytes = b""
    included: bool = False


BEGINNING: Final = Position()


def context_of(state: ContainerState, level: int, *parts: bytes) -> int:
    """What an anchor was made for, as a number."""
    return xxh3(
        b"".join(
            [
                state.uuid.bytes,
                bytes((level,)),
                *[_U64.pack(len(part)) + part for part in parts],
            ]
        )
    )


def emit(context: int, order: bytes, *, included: bool = False) -> bytes:
    """The anchor of a position; that of the beginning is empty."""
    if not order:
        return b""
    body = _HEAD.pack(AT if included else BEHIND, context) + order
    return body + _U64.pack(xxh3(body))


def parse(anchor: bytes, context: int) -> Position:
    """The position of an anchor. Raises: InvalidError."""
    if not anchor:
        return BEGINNING
    if not _SIZE_MIN < len(anchor) <= _SIZE_MIN + keys.KEY_SIZE_MAX:
        raise InvalidError(f"an anchor of {len(anchor)} bytes is none of ours")
    body = anchor[:-8]
    if _U64.pack(xxh3(body)) != anchor[-8:]:
        raise InvalidError("the anchor is damaged")
    version, made_for = _HEAD.unpack_from(anchor)
    if version not in (BEHIND, AT):
        raise InvalidError(f"the anchor has version {version}, not {BEHIND} or {AT}")
    if made_for != context:
        raise InvalidError("the anchor belongs to another listing")
    return Position(body[_HEAD.size :], version == AT)

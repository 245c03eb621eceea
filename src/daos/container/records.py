"""Records of containers in the rdb of their pool: keys, and what stands under them.

Container and handle ids stand as 16 raw bytes in the keys:

    cont/<uuid>                ContainerMeta
    contlabel/<label>          the uuid, raw
    contprop/<uuid>/<name>     text, UTF-8
    contattr/<uuid>/<name>     raw bytes
    contoid/<uuid>             u64 big-endian: the next object id that was never handed out
    conthdl/<uuid>/<handle>    HandleRecord
    conthdl-of/<handle>        the uuid, raw
    snap/<uuid>/<epoch>        name, UTF-8; epoch as u64 big-endian
    snapname/<uuid>/<name>     epoch, u64 big-endian

A record is read back as it was written, or raises CorruptError. docs/format/pool_records.md has the
fields. Source: DAOS src/container/srv_layout.h (what is kept); the keys are ours.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from daos.base.errors import CorruptError

CONTAINER: Final = b"cont/"
LABEL: Final = b"contlabel/"
HANDLE: Final = b"conthdl/"
HANDLE_OF: Final = b"conthdl-of/"
OID: Final = b"contoid/"
_U64: Final = struct.Struct(">Q")
_HANDLE_AT: Final = len(HANDLE) + 16 + 1


class ContainerMeta(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What changes of a container's existence. Epochs say when."""

    label: str
    destroying: bool
    opened: int
    modified: int


class HandleRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Through which pool handle a container was opened, and how."""

    pool_handle: bytes
    flags: str


def prop_prefix(uuid: bytes) -> bytes:
    return b"contprop/" + uuid + b"/"


def attr_prefix(uuid: bytes) -> bytes:
    return b"contattr/" + uuid + b"/"


def handle_prefix(uuid: bytes) -> bytes:
    return HANDLE + uuid + b"/"


def handle_of_key(key: bytes) -> bytes:
    """The handle that a key below HANDLE is of."""
    return key[_HANDLE_AT:]


def snap_prefix(uuid: bytes) -> bytes:
    return b"snap/" + uuid + b"/"


def snap_key(uuid: bytes, epoch: int) -> bytes:
    return snap_prefix(uuid) + _U64.pack(epoch)


def snap_name(uuid: bytes, name: str) -> bytes:
    return b"snapname/" + uuid + b"/" + name.encode()


def emit_u64(value: int) -> bytes:
    """Big-endian, so that epochs sort in keys."""
    return _U64.pack(value)


def parse_u64(raw: bytes, what: str) -> int:
    """Raises: CorruptError."""
    if len(raw) != _U64.size:
        raise CorruptError(f"{what} record", offset=0, want=_U64.size, got=len(raw))
    value: int = _U64.unpack(raw)[0]
    return value

"""What a container remembers of modifications that were executed. Disk format v1.

One record a modification that came with an id, written by its own transaction. The key says it
all, so that a scan meets the records in the order of their epochs, oldest first:

    container u64 | DTX u8 | epoch u64 | client 16 B | stamp u64          big-endian

    value  0  u8   magic       0xDC
           1  u8   version     1
           2  u8   state       2 committed; others are refused
           3  u8   reserved    0
           4  u32  reserved    0
           8  u64  checksum    XXH3-64 of the tree key and of bytes 0..8

One floor record a container, as soon as a record was removed, under its first two fields:

    value  0  u8   magic       0xDD
           1  u8   version     1
           2  u16  reserved    0
           4  u32  reserved    0
           8  u64  epoch       of the newest record that was removed
          16  u64  checksum    XXH3-64 of the tree key and of bytes 0..16

All integers of a value little-endian. Worked examples: docs/format/dtx_record.md.
Source: ours; DAOS src/vos/vos_layout.h vos_dtx_cmt_ent_df, vos_cont_df cd_newest_aggregated.
"""

from __future__ import annotations

import struct
from typing import Final

from xxhash import xxh3_64_intdigest

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError
from daos.base.ids import DTX_ID_SIZE, DtxId, Epoch
from daos.vos import keys

DTX_MAGIC: Final = 0xDC
DTX_VERSION: Final = 1
COMMITTED: Final = 2  # Source: DAOS src/include/daos/dtx.h enum dtx_status
FLOOR_MAGIC: Final = 0xDD
FLOOR_VERSION: Final = 1

_HEAD: Final = struct.Struct("<BBBBI")
_FLOOR: Final = struct.Struct("<BBHIQ")
_CHECKSUM: Final = struct.Struct("<Q")
_KEY: Final = struct.Struct(">QBQ")

DTX_SIZE: Final = 16
FLOOR_SIZE: Final = 24
DTX_KEY_SIZE: Final = _KEY.size + DTX_ID_SIZE
assert _HEAD.size + _CHECKSUM.size == DTX_SIZE
assert _FLOOR.size + _CHECKSUM.size == FLOOR_SIZE

_COMMITTED_HEAD: Final = _HEAD.pack(DTX_MAGIC, DTX_VERSION, COMMITTED, 0, 0)


def dtx_key(container_id: int, epoch: Epoch | int, dtx: DtxId) -> bytes:
    """Tree key of the record of one modification."""
    return _KEY.pack(container_id, keys.DTX, epoch) + dtx


def emit_pair(container_id: int, epoch: Epoch | int, dtx: bytes) -> tuple[bytes, bytes]:
    """`dtx_key` and `emit_dtx` in one step: every modification takes it."""
    key = _KEY.pack(container_id, keys.DTX, epoch) + dtx
    return key, _COMMITTED_HEAD + _CHECKSUM.pack(xxh3_64_intdigest(key + _COMMITTED_HEAD))


def floor_key(container_id: int) -> bytes:
    """Tree key of a container's floor; it sorts before all of its records."""
    return keys.node_prefix(container_id, keys.DTX)


def emit_dtx(key: bytes) -> bytes:
    """The value that says: committed."""
    return _COMMITTED_HEAD + _CHECKSUM.pack(xxh3(key + _COMMITTED_HEAD))


def parse_dtx(key: bytes, value: bytes) -> tuple[Epoch, DtxId]:
    """What a record tells. Raises: CorruptError if it is not one of this version."""
    if len(key) != DTX_KEY_SIZE:
        raise CorruptError("dtx record key size", offset=0, want=DTX_KEY_SIZE, got=len(key))
    if len(value) != DTX_SIZE:
        raise CorruptError("dtx record size", offset=0, want=DTX_SIZE, got=len(value))
    _unseal(key, value, "dtx record")
    magic, version, state, reserved, reserved2 = _HEAD.unpack_from(value)
    _expect("dtx record magic", 0, DTX_MAGIC, magic)
    _expect("dtx record version", 1, DTX_VERSION, version)
    _expect("dtx record state", 2, COMMITTED, state)
    _expect("dtx record reserved", 3, 0, reserved | reserved2)
    _, kind, epoch = _KEY.unpack_from(key)
    _expect("dtx record kind", 8, keys.DTX, kind)
    return Epoch(epoch), DtxId(key[_KEY.size :])


def emit_floor(key: bytes, epoch: Epoch | int) -> bytes:
    """The value of a floor."""
    body = _FLOOR.pack(FLOOR_MAGIC, FLOOR_VERSION, 0, 0, epoch)
    return body + _CHECKSUM.pack(xxh3(key + body))


def parse_floor(key: bytes, value: bytes) -> Epoch:
    """The epoch of a floor. Raises: CorruptError if it is not one of this version."""
    if len(value) != FLOOR_SIZE:
        raise CorruptError("dtx floor size", offset=0, want=FLOOR_SIZE, got=len(value))
    _unseal(key, value, "dtx floor")
    magic, version, reserved, reserved2, epoch = _FLOOR.unpack_from(value)
    _expect("dtx floor magic", 0, FLOOR_MAGIC, magic)
    _expect("dtx floor version", 1, FLOOR_VERSION, version)
    _expect("dtx floor reserved", 2, 0, reserved | reserved2)
    return Epoch(epoch)


def is_sealed(key: bytes, value: bytes) -> bool:
    """Whether the value of a record, or of a floor, is as it was put under this key."""
    size = len(value) - _CHECKSUM.size
    return size >= 0 and _CHECKSUM.unpack_from(value, size)[0] == xxh3(key + value[:size])


def _unseal(key: bytes, value: bytes, what: str) -> None:
    size = len(value) - _CHECKSUM.size
    (got,) = _CHECKSUM.unpack_from(value, size)
    want = xxh3(key + value[:size])
    if got != want:
        raise CorruptError(f"{what} checksum", offset=size, want=want, got=got)


def _expect(what: str, offset: int, want: int, got: int) -> None:
    if got != want:
        raise CorruptError(what, offset=offset, want=want, got=got)

"""Blocks that extents share: found by their content, counted by their place. Disk format v1.

All under kind DEDUP. Keys big-endian, values little-endian, every value ends with the XXH3-64 of
its key and of what stands before.

    content   0 u64 | DEDUP u8 | 0 u8 | digest 32 B | nbytes u64     where such bytes are stored

     0  u8   magic       0xDE           8  u64  block
     1  u8   version     1             16  u64  checksum
     2  u16  reserved    0
     4  u32  count       of blocks

    place     0 u64 | DEDUP u8 | 1 u8 | block u64 | count u32        how many extents name the run

     0  u8   magic       0xDF           8  u64  references, 1 or more
     1  u8   version     1             16  u64  nbytes
     2  u16  reserved    0             24  32B  digest
     4  u32  reserved    0             56  u64  checksum

    setting   container u64 | DEDUP u8                               what a container wants

     0  u8   magic       0xE0           8  u64  threshold, bytes
     1  u8   version     1             16  u64  checksum
     2  u8   mode        1 memcmp, 2 hash
     3  u8   reserved    0
     4  u32  reserved    0

Worked examples: docs/format/dedup_record.md.
Source: ours; DAOS src/vos/vos_io.c struct dedup_entry, which lives in memory only.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

import msgspec

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError
from daos.bio.space_map import Extent
from daos.vos import keys

DIGEST_SIZE: Final = 32

CONTENT_MAGIC: Final = 0xDE
PLACE_MAGIC: Final = 0xDF
SETTING_MAGIC: Final = 0xE0
VERSION: Final = 1

_CONTENT_KEY: Final = struct.Struct(">QBB32sQ")
_PLACE_KEY: Final = struct.Struct(">QBBQI")
_CONTENT: Final = struct.Struct("<BBHIQ")
_PLACE: Final = struct.Struct("<BBHIQQ32s")
_SETTING: Final = struct.Struct("<BBBBIQ")
_CHECKSUM: Final = struct.Struct("<Q")

CONTENT_SIZE: Final = 24
PLACE_SIZE: Final = 64
SETTING_SIZE: Final = 24
assert _CONTENT.size + _CHECKSUM.size == CONTENT_SIZE
assert _PLACE.size + _CHECKSUM.size == PLACE_SIZE
assert _SETTING.size + _CHECKSUM.size == SETTING_SIZE


class DedupMode(IntEnum):
    """How much equality is asked for."""

    OFF = 0
    MEMCMP = 1  # every byte was compared
    HASH = 2  # equal SHA-256


class DedupSetting(msgspec.Struct, frozen=True):
    """What a container wants. `threshold` in bytes: shorter extents are stored as they come."""

    mode: DedupMode
    threshold: int

    def emit(self, key: bytes) -> bytes:
        return _seal(key, _SETTING.pack(SETTING_MAGIC, VERSION, self.mode, 0, 0, self.threshold))

    @classmethod
    def parse(cls, key: bytes, value: bytes) -> DedupSetting:
        """Raises: CorruptError."""
        _check(key, value, SETTING_SIZE, "dedup setting")
        magic, version, mode, reserved, reserved2, threshold = _SETTING.unpack_from(value)
        _expect("dedup setting magic", 0, SETTING_MAGIC, magic)
        _expect("dedup setting version", 1, VERSION, version)
        _expect("dedup setting reserved", 3, 0, reserved | reserved2)
        if mode not in (DedupMode.MEMCMP, DedupMode.HASH):
            raise CorruptError("dedup setting mode", offset=2, want="1 or 2", got=mode)
        return cls(DedupMode(mode), threshold)


class Place(msgspec.Struct, frozen=True):
    """A run that was found by its content once: who finds it there, and how many name it."""

    references: int
    nbytes: int
    digest: bytes

    def emit(self, key: bytes) -> bytes:
        body = _PLACE.pack(PLACE_MAGIC, VERSION, 0, 0, self.references, self.nbytes, self.digest)
        return _seal(key, body)

    @classmethod
    def parse(cls, key: bytes, value: bytes) -> Place:
        """Raises: CorruptError."""
        _check(key, value, PLACE_SIZE, "dedup place")
        magic, version, reserved, reserved2, references, nbytes, digest = _PLACE.unpack_from(value)
        _expect("dedup place magic", 0, PLACE_MAGIC, magic)
        _expect("dedup place version", 1, VERSION, version)
        _expect("dedup place reserved", 2, 0, reserved | reserved2)
        if not references:
            raise CorruptError("dedup place references", offset=8, want="1 or more", got=0)
        return cls(references, nbytes, digest)


def content_key(digest: bytes, nbytes: int) -> bytes:
    """Where it is written that these bytes are stored."""
    return _CONTENT_KEY.pack(0, keys.DEDUP, 0, digest, nbytes)


def place_key(run: Extent) -> bytes:
    """Where it is written how many extents name this run."""
    return _PLACE_KEY.pack(0, keys.DEDUP, 1, run.block, run.count)


def setting_key(container_id: int) -> bytes:
    """Where it is written what a container wants."""
    return keys.node_prefix(container_id, keys.DEDUP)


def emit_content(key: bytes, run: Extent) -> bytes:
    """The value that names the run."""
    return _seal(key, _CONTENT.pack(CONTENT_MAGIC, VERSION, 0, run.count, run.block))


def parse_content(key: bytes, value: bytes) -> Extent:
    """The run that is named. Raises: CorruptError."""
    _check(key, value, CONTENT_SIZE, "dedup content")
    magic, version, reserved, count, block = _CONTENT.unpack_from(value)
    _expect("dedup content magic", 0, CONTENT_MAGIC, magic)
    _expect("dedup content version", 1, VERSION, version)
    _expect("dedup content reserved", 2, 0, reserved)
    if not count:
        raise CorruptError("dedup content count", offset=4, want="not 0", got=0)
    return Extent(block, count)


def _seal(key: bytes, body: bytes) -> bytes:
    return body + _CHECKSUM.pack(xxh3(key + body))


def _check(key: bytes, value: bytes, size: int, what: str) -> None:
    if len(value) != size:
        raise CorruptError(f"{what} size", offset=0, want=size, got=len(value))
    at = size - _CHECKSUM.size
    (got,) = _CHECKSUM.unpack_from(value, at)
    want = xxh3(key + value[:at])
    if got != want:
        raise CorruptError(f"{what} checksum", offset=at, want=want, got=got)


def _expect(what: str, offset: int, want: int, got: int) -> None:
    if got != want:
        raise CorruptError(what, offset=offset, want=want, got=got)

"""How an array lies over dkeys; pure.

    record i  ->  dkey  u64 LE of i // chunk + 1      dkey 0 holds the metadata of type ARRAY
                  akey  "0"
                  index i % chunk

Metadata, the single value of dkey 0, akey "0", 24 bytes, little-endian:

     0  u64  magic       0xdaca55a9daca55a9
     8  u64  cell_size   bytes of a record
    16  u64  chunk_size  records below one dkey

Worked example: docs/format/array.md.
Source: DAOS src/client/array/dc_array.c; internals §5.13
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from daos.base.errors import AccessError, InvalidError

AKEY: Final = b"0"
SIZE_MAX: Final = 1 << 63  # record indices below a dkey end there
METADATA_DKEY: Final = bytes(8)
MAGIC: Final = 0xDACA55A9DACA55A9

_METADATA: Final = struct.Struct("<QQQ")
METADATA_SIZE: Final = 24
assert _METADATA.size == METADATA_SIZE


@dataclass(frozen=True, slots=True)
class Geometry:
    """Cell and chunk size of an array; what `parse` accepts, `emit` gives back bit for bit."""

    cell_size: int  # bytes
    chunk_size: int  # records

    def check(self) -> Geometry:
        """Itself. Raises: InvalidError for sizes that no array has."""
        for name, value in (("cell_size", self.cell_size), ("chunk_size", self.chunk_size)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= SIZE_MAX:
                raise InvalidError(f"{name} must be an integer in [1, 2**63], not {value!r}")
        return self

    def emit(self) -> bytes:
        """The metadata value."""
        return _METADATA.pack(MAGIC, self.cell_size, self.chunk_size)

    @classmethod
    def parse(cls, value: bytes) -> Geometry:
        """Read a metadata value. Raises: AccessError if it is none, as in the reference."""
        if len(value) != METADATA_SIZE:
            raise AccessError(f"array metadata has {len(value)} bytes, expected {METADATA_SIZE}")
        magic, cell_size, chunk_size = _METADATA.unpack(value)
        if magic != MAGIC:
            raise AccessError(f"array metadata begins with {magic:#x}, expected {MAGIC:#x}")
        if not cell_size or not chunk_size:
            raise AccessError(f"array metadata has cell size {cell_size}, chunk size {chunk_size}")
        return cls(cell_size, chunk_size)


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a range of records that lies below one dkey."""

    dkey: bytes
    index: int  # first record, within the chunk
    count: int
    position: int  # first record, within the range


def pieces(geometry: Geometry, offset: int, count: int, *, piece_max: int) -> Iterator[Piece]:
    """Cut records [offset, offset + count) at the borders of chunks, and every `piece_max`."""
    chunk = geometry.chunk_size
    position = 0
    while position < count:
        number, index = divmod(offset + position, chunk)
        length = min(chunk - index, count - position, piece_max)
        yield Piece(dkey_of(number), index, length, position)
        position += length


def dkey_of(chunk_number: int) -> bytes:
    """The dkey that holds chunk 0, 1, ..."""
    return (chunk_number + 1).to_bytes(8, "little")


def overlap(geometry: Geometry, chunk_number: int, lo: int, hi: int) -> tuple[int, int]:
    """(index, count) of the part of records [lo, hi) that lies in a chunk."""
    base = chunk_number * geometry.chunk_size
    first = max(lo - base, 0)
    return first, min(hi - base, geometry.chunk_size) - first

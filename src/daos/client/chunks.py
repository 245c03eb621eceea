"""How an array lies over dkeys; pure.

    record i  ->  dkey  u64 LE of i // chunk + 1      dkey 0 holds the metadata of type ARRAY
                  akey  "0"
                  index i % chunk

Metadata, the single value of dkey 0, akey "0", 24 bytes, little-endian:

     0  u64  magic       0xdaca55a9daca55a9
     8  u64  cell_size   bytes of a record
    16  u64  chunk_size  records below one dkey

A claim of records behind the end (`append.py`), in the object of claims: dkey u64 LE of the offset,
akey "0", a single value of 8 bytes: how many records, u64 LE.

Worked example: docs/format/array.md.
Source: DAOS src/client/array/dc_array.c; internals §5.13
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from daos.base.errors import AccessError, CorruptError, InvalidError
from daos.base.ids import U64_MAX
from daos.base.iod import Recx
from daos.object.core import RECXS_MAX

AKEY: Final = b"0"
SIZE_MAX: Final = 1 << 63  # record indices below a dkey end there
METADATA_DKEY: Final = bytes(8)
MAGIC: Final = 0xDACA55A9DACA55A9

_METADATA: Final = struct.Struct("<QQQ")
METADATA_SIZE: Final = 24
assert _METADATA.size == METADATA_SIZE
CLAIM_SIZE: Final = 8


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


@dataclass(slots=True)
class Run:
    """Consecutive parts of many ranges that lie below one dkey: what one request takes."""

    number: int  # of the chunk
    records: int = 0
    recxs: list[Recx] = field(default_factory=list)
    _sorted: list[tuple[int, int]] = field(default_factory=list)  # the same, as [lo, hi)

    @property
    def dkey(self) -> bytes:
        """The dkey of the chunk."""
        return dkey_of(self.number)

    def takes(self, index: int, count: int, records_max: int) -> bool:
        """Whether these records may go along; those of one request do not overlap."""
        if self.records + count > records_max or len(self.recxs) == RECXS_MAX:
            return False
        at = bisect_left(self._sorted, (index, index))
        behind = at == len(self._sorted) or index + count <= self._sorted[at][0]
        return behind and (not at or self._sorted[at - 1][1] <= index)

    def add(self, index: int, count: int) -> None:
        """Records that it takes."""
        at = bisect_left(self._sorted, (index, index))
        self._sorted.insert(at, (index, index + count))
        self.recxs.append(Recx(index, count))
        self.records += count


def runs(
    geometry: Geometry,
    ranges: Iterable[tuple[int, int]],
    *,
    cuts: Sequence[int] = (),
    records_max: int = U64_MAX,
) -> Iterator[Run]:
    """Cut ranges at the borders of chunks, and put what is consecutive below one dkey together.

    `cuts`: ascending positions, counted over all ranges, at which a part ends as well: where one
    buffer does and the next begins. A chunk that the ranges come back to is a run of its own.

    Source:     DAOS src/client/array/dc_array.c compute_dkey, create_sgl
    """
    run: Run | None = None
    position, cut = 0, 0
    for offset, count in ranges:
        end = position + count
        while position < end:
            number, index = divmod(offset + count - (end - position), geometry.chunk_size)
            length = min(geometry.chunk_size - index, end - position, records_max)
            while cut < len(cuts) and cuts[cut] <= position:
                cut += 1
            if cut < len(cuts):
                length = min(length, cuts[cut] - position)
            if run is None or run.number != number or not run.takes(index, length, records_max):
                if run is not None:
                    yield run
                run = Run(number)
            run.add(index, length)
            position += length
    if run is not None:
        yield run


def dkey_of(chunk_number: int) -> bytes:
    """The dkey that holds chunk 0, 1, ..."""
    return (chunk_number + 1).to_bytes(8, "little")


def claim_key(offset: int) -> bytes:
    """The dkey of a claim for the records from `offset` on."""
    return offset.to_bytes(8, "little")


def emit_claim(count: int) -> bytes:
    """The value of a claim for `count` records."""
    return count.to_bytes(CLAIM_SIZE, "little")


def parse_claim(value: bytes) -> int:
    """How many records a claim is for. Raises: CorruptError."""
    if len(value) != CLAIM_SIZE or not any(value):
        raise CorruptError("claim of records", offset=0, want="8 bytes, not zero", got=value[:16])
    return int.from_bytes(value, "little")


def overlap(geometry: Geometry, chunk_number: int, lo: int, hi: int) -> tuple[int, int]:
    """(index, count) of the part of records [lo, hi) that lies in a chunk."""
    base = chunk_number * geometry.chunk_size
    first = max(lo - base, 0)
    return first, min(hi - base, geometry.chunk_size) - first

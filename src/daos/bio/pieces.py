"""What an answer consists of, wherever its bytes are; and whether stored bytes are what they were.

    Inline    bytes at hand, from a record of the tree
    Stored    bytes of a value in blocks of the device
    Hole      zeros

Source: DAOS src/include/daos_srv/bio.h bio_iov; checksums: src/object/srv_csum.c. There the chunks
of an array extent are aligned to the array's records; ours count from the value's first byte.
"""

from __future__ import annotations

from typing import Final

import msgspec

from daos.base.checksum import ChecksumType, compute, compute_chunks, xxh3
from daos.base.errors import ChecksumError, InvalidError
from daos.bio.space import Extent

_XXH3: Final = ChecksumType.XXH3


class Inline(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are at hand; whoever had them has checked them."""

    data: bytes | memoryview

    @property
    def nbytes(self) -> int:
        return len(self.data)


class Stored(msgspec.Struct, frozen=True, gc=False):
    """Bytes [offset, offset + nbytes) of a value of `value_nbytes` that lies in `blocks`.

    `csums` are those of the whole value, back to back: chunk i covers the value's bytes
    [i * csum_chunk, min((i + 1) * csum_chunk, value_nbytes)). With OFF, chunk and csums are void.
    """

    blocks: Extent
    value_nbytes: int
    offset: int
    nbytes: int
    csum_type: ChecksumType
    csum_chunk: int
    csums: bytes


class Hole(msgspec.Struct, frozen=True, gc=False):
    """Bytes that were never written, or punched: zeros."""

    nbytes: int


Piece = Inline | Stored | Hole


def check_stored(device_name: str, piece: Stored, lo: int, data: memoryview) -> None:
    """Compare bytes [lo, ...) of a value, whole chunks, with their checksums.

    Raises: ChecksumError, which names the blocks and the byte
    """
    kind, chunk = piece.csum_type, piece.csum_chunk
    if kind is _XXH3 and lo == 0 and 0 < data.nbytes <= chunk:  # nearly always
        got, first, size = xxh3(data).to_bytes(8, "little"), 0, 8
        want = piece.csums if len(piece.csums) == 8 else piece.csums[:8]
    elif kind is ChecksumType.OFF:
        return
    else:
        size = kind.size
        got, first = chunk_checksums(kind, data, chunk), lo // chunk
        want = piece.csums[first * size : first * size + len(got)]
    if got != want:
        damaged = first + first_difference(got, want, size)
        raise ChecksumError(
            f"blocks [{piece.blocks.block}, +{piece.blocks.count}) of device {device_name}: the "
            f"value is damaged in the {chunk} bytes at byte {damaged * chunk} ({kind.name})"
        )


def chunk_checksums(kind: ChecksumType, data: memoryview, chunk_nbytes: int) -> bytes:
    if kind is ChecksumType.OFF:
        return b""
    if chunk_nbytes < 1:
        raise InvalidError(f"checksum chunks of {chunk_nbytes} bytes")
    if 0 < len(data) <= chunk_nbytes:
        return compute(kind, data)
    return compute_chunks(kind, data, chunk_nbytes=chunk_nbytes)


def first_difference(got: bytes, want: bytes, size: int) -> int:
    """Index of the first checksum that differs, or that only one of the two has."""
    count = -(-max(len(got), len(want)) // size)
    return next(i for i in range(count) if got[i * size :][:size] != want[i * size :][:size])

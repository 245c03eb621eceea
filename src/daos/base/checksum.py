"""Checksum algorithms by the reference's names and numbers.

    name      number  bytes  algorithm
    off            0      0  none
    crc16          1      2  CRC-16/T10-DIF
    crc32          2      4  CRC-32C (iSCSI), started with 0 and not inverted
    crc64          3      8  CRC-64/XZ (ECMA, reflected)
    sha1           4     20  SHA-1
    sha256         5     32  SHA-256
    sha512         6     64  SHA-512
    adler32        7      4  Adler-32, started with 0
    -            128      8  XXH3, 64 bit: ours, for everything we store; not a property value

A checksum is bytes of fixed size; the integers among them are little-endian. The reference starts
every CRC and Adler context with 0, and so do we, although CRC-32C and Adler-32 are usually started
with all ones and 1: started with 0 they cannot tell n zero bytes from m, which is harmless where
the length is stored beside them. SHA-1 and SHA-256 are the standard digests; the reference uses
ISA-L's multi-hash variants, which no other program computes.

Nothing is copied; see `isal` for what a call costs. XXH3 makes 90 GB/s, CRCs 30, Adler-32 4, SHA 2
or less.

Source: DAOS src/common/multihash.c, multihash_isal.c; src/include/daos_prop.h DAOS_PROP_CO_CSUM_*
"""

from __future__ import annotations

import hashlib
import zlib
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol

import xxhash

from daos.base import isal
from daos.base.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from typing_extensions import Buffer


class ChecksumType(IntEnum):
    """An algorithm. The number is stored with every value: never renumber."""

    OFF = 0
    CRC16 = 1
    CRC32 = 2
    CRC64 = 3
    SHA1 = 4
    SHA256 = 5
    SHA512 = 6
    ADLER32 = 7
    XXH3 = 128

    @property
    def size(self) -> int:
        """Bytes of one checksum; 0 for OFF."""
        return _SIZE[self]


_SIZE: Final[dict[int, int]] = {
    ChecksumType.OFF: 0,
    ChecksumType.CRC16: 2,
    ChecksumType.CRC32: 4,
    ChecksumType.CRC64: 8,
    ChecksumType.SHA1: 20,
    ChecksumType.SHA256: 32,
    ChecksumType.SHA512: 64,
    ChecksumType.ADLER32: 4,
    ChecksumType.XXH3: 8,
}

_BY_NAME: Final[dict[str, ChecksumType]] = {
    kind.name.lower(): kind for kind in ChecksumType if kind is not ChecksumType.XXH3
}


def checksum_type(name: str) -> ChecksumType:
    """The algorithm for a value of the container property `cksum`, in any case.

    Raises:     InvalidError   no such name; the text lists them
    """
    kind = _BY_NAME.get(name.lower())
    if kind is None:
        raise InvalidError(f"checksum {name[:32]!r}: expected one of {', '.join(_BY_NAME)}")
    return kind


def on_the_way(kind: ChecksumType) -> ChecksumType:
    """What values carry between client and target: never nothing, whatever their container has."""
    return kind if kind is not ChecksumType.OFF else ChecksumType.XXH3


def xxh3(buffer: Buffer) -> int:
    """XXH3 of the buffer as a u64: the checksum of every structure that we store.

    Raises:     InvalidError   not a contiguous buffer
    Cost:       0.1 µs + 11 µs per MiB
    """
    try:
        return xxhash.xxh3_64_intdigest(buffer)
    except (BufferError, TypeError, ValueError) as error:
        raise InvalidError(f"checksum of something that is not a flat buffer: {error}") from None


def compute(kind: ChecksumType, buffer: Buffer) -> bytes:
    """The checksum of the whole buffer, `kind.size` bytes; empty for OFF.

    Shapes:     any contiguous buffer, of any item size, also read-only
    Raises:     InvalidError        the buffer is not contiguous
                NotSupportedError   a CRC, and ISA-L is not installed
    Cost:       about 1 µs and the time of the algorithm; no copy
    """
    return _COMPUTE[kind](buffer)


def compute_chunks(kind: ChecksumType, buffer: Buffer, *, chunk_nbytes: int) -> bytes:
    """The checksums of consecutive chunks of the buffer, back to back.

    Shapes:     the last chunk may be short; an empty buffer has none
    Raises:     as `compute`; InvalidError if chunk_nbytes < 1
    """
    if chunk_nbytes < 1:
        raise InvalidError(f"chunk_nbytes must be at least 1, got {chunk_nbytes}")
    one = _COMPUTE[kind]
    view = _flat(buffer).cast("B")
    nbytes = len(view)
    if nbytes <= chunk_nbytes:
        return one(view) if nbytes else b""
    return b"".join([one(view[lo : lo + chunk_nbytes]) for lo in range(0, nbytes, chunk_nbytes)])


class Running(Protocol):
    """A checksum of bytes that come one piece after the other."""

    def update(self, data: Buffer, /) -> None:
        """The next piece."""

    def digest(self) -> bytes:
        """What `compute` makes of all pieces."""


def running(kind: ChecksumType) -> Running:
    """A checksum that is computed piece by piece. Raises: NotSupportedError, as `compute`."""
    return _RUNNING[kind]()


def slice_bytes(kind: ChecksumType) -> int:
    """How much to compute in one turn of a loop, which takes 0.3 to 0.7 ms."""
    return _SLICE_SLOW if kind in SLOW else _SLICE


class Turn:
    """So that many small buffers go into one slice: `yield from turn.did(nbytes)` behind each."""

    __slots__ = ("_left", "_nbytes")

    def __init__(self, kind: ChecksumType) -> None:
        self._nbytes = self._left = slice_bytes(kind)

    def did(self, nbytes: int) -> Iterator[None]:
        """A yield as soon as it is a slice's worth."""
        self._left -= nbytes
        if self._left <= 0:
            self._left = self._nbytes
            yield


def compute_slowly(kind: ChecksumType, buffer: Buffer) -> Generator[None, None, bytes]:
    """`compute`, with a yield behind each slice but the last."""
    view, nbytes = _flat(buffer).cast("B"), slice_bytes(kind)
    if len(view) <= nbytes:
        return _COMPUTE[kind](view)
    checksum = running(kind)
    for lo in range(0, len(view), nbytes):
        if lo:
            yield
        checksum.update(view[lo : lo + nbytes])
    return checksum.digest()


def compute_chunks_slowly(
    kind: ChecksumType, buffer: Buffer, *, chunk_nbytes: int
) -> Generator[None, None, bytes]:
    """`compute_chunks`, with a yield behind each slice but the last."""
    view = _flat(buffer).cast("B")
    chunks: list[bytes] = []
    step = max(1, slice_bytes(kind) // chunk_nbytes) * chunk_nbytes
    for lo in range(0, len(view), step):
        if lo:
            yield
        piece = view[lo : lo + step]
        if step > chunk_nbytes:
            chunks.append(compute_chunks(kind, piece, chunk_nbytes=chunk_nbytes))
        else:
            chunks.append((yield from compute_slowly(kind, piece)))
    return b"".join(chunks)


def _flat(buffer: Buffer) -> memoryview:
    try:
        view = memoryview(buffer)
    except TypeError as error:
        raise InvalidError(f"checksum of something that is not a buffer: {error}") from None
    if not view.c_contiguous:
        raise InvalidError("checksum of a buffer that is not contiguous: copy it first")
    return view


def _off(buffer: Buffer) -> bytes:
    return b""


def _crc16(buffer: Buffer) -> bytes:
    return isal.load().crc16_t10dif(buffer).to_bytes(2, "little")


def _crc32(buffer: Buffer) -> bytes:
    return isal.load().crc32_iscsi(buffer).to_bytes(4, "little")


def _crc64(buffer: Buffer) -> bytes:
    return isal.load().crc64_ecma_refl(buffer).to_bytes(8, "little")


def _sha1(buffer: Buffer) -> bytes:
    return hashlib.sha1(_flat(buffer), usedforsecurity=False).digest()


def _sha256(buffer: Buffer) -> bytes:
    return hashlib.sha256(_flat(buffer)).digest()


def _sha512(buffer: Buffer) -> bytes:
    return hashlib.sha512(_flat(buffer)).digest()


def _adler32(buffer: Buffer) -> bytes:
    return zlib.adler32(_flat(buffer), 0).to_bytes(4, "little")


def _xxh3(buffer: Buffer) -> bytes:
    try:  # as `xxh3`, without the call: four times in an update or a fetch
        return xxhash.xxh3_64_intdigest(buffer).to_bytes(8, "little")
    except (BufferError, TypeError, ValueError):
        return xxh3(buffer).to_bytes(8, "little")


_COMPUTE: Final[dict[int, Callable[[Buffer], bytes]]] = {
    ChecksumType.OFF: _off,
    ChecksumType.CRC16: _crc16,
    ChecksumType.CRC32: _crc32,
    ChecksumType.CRC64: _crc64,
    ChecksumType.SHA1: _sha1,
    ChecksumType.SHA256: _sha256,
    ChecksumType.SHA512: _sha512,
    ChecksumType.ADLER32: _adler32,
    ChecksumType.XXH3: _xxh3,
}


class _RunningXxh3:
    def __init__(self) -> None:
        self._state = xxhash.xxh3_64()
        self.update = self._state.update

    def digest(self) -> bytes:
        return self._state.intdigest().to_bytes(8, "little")


class _RunningInteger:
    """An algorithm that goes on from an integer."""

    def __init__(self, go_on: Callable[[Buffer, int], int], size: int) -> None:
        self._go_on = go_on
        self._size = size
        self._value = 0

    def update(self, data: Buffer, /) -> None:
        self._value = self._go_on(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "little")


_SLICE: Final = 4 << 20
_SLICE_SLOW: Final = 512 << 10
SLOW: Final = frozenset(
    {ChecksumType.SHA1, ChecksumType.SHA256, ChecksumType.SHA512, ChecksumType.ADLER32}
)
_RUNNING: Final[dict[int, Callable[[], Running]]] = {
    ChecksumType.OFF: lambda: _RunningInteger(lambda _data, value: value, 0),
    ChecksumType.CRC16: lambda: _RunningInteger(isal.load().crc16_t10dif, 2),
    ChecksumType.CRC32: lambda: _RunningInteger(isal.load().crc32_iscsi, 4),
    ChecksumType.CRC64: lambda: _RunningInteger(isal.load().crc64_ecma_refl, 8),
    ChecksumType.SHA1: lambda: hashlib.sha1(usedforsecurity=False),
    ChecksumType.SHA256: hashlib.sha256,
    ChecksumType.SHA512: hashlib.sha512,
    ChecksumType.ADLER32: lambda: _RunningInteger(zlib.adler32, 4),
    ChecksumType.XXH3: _RunningXxh3,
}

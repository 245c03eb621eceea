"""The record of one extent: a run of array records written, or punched, at once. Disk format v1.

    tree key   see extents.py: it tells where the extent begins and when it was written

Record, all integers little-endian, no padding:

     0  u8   magic          0xDA
     1  u8   version        1
     2  u16  flags          1 = STORED in data blocks, 2 = HOLE: punched, no data; the other bits
                            are reserved for erasure coding and shards, and refused
     4  u8   csum_type      number of the checksum's type; 0 only in a hole
     5  u8   csum_size      bytes of one checksum
     6  u16  reserved       0
     8  u64  last           width - 1, so that a hole can be 2**64 records wide
    16  u64  record_size    bytes a record; 0 only in a hole
    24  u32  csum_chunk     bytes of the value that one checksum covers; 0 only in a hole
    28  u32  tx             0; reserved for a distributed transaction
    32  u32  map_version    0; reserved for the pool map version
    36  u32  reserved       0
    40  u64  reach          0, or width - 1 of the widest older extent in its stack, if that is
                            wider: how far a search has to look below this one (see extents.py)
    48       csums          ceil(width * record_size / csum_chunk) checksums, csum_size bytes each
             u64 block, u32 count    if STORED: the run of 4 KiB blocks that holds the value
             u64 checksum   XXH3-64 of everything before it
             payload        the value itself, width * record_size bytes, unless STORED or HOLE

Checksums cover chunks counted from the first byte of the value. They are verified on every read:
by `verify` when the payload is in the record, by `bio.descriptor` when it is in blocks.

The minor epoch stands in the key alone: a second copy could only disagree.

Worked example: docs/format/extent_record.md, whose bytes the tests read. A change bumps VERSION.
Source: DAOS src/vos/evt_priv.h evt_desc, src/include/daos_srv/evtree.h evt_entry. Ours: record size
and checksum type in every record, where the reference keeps them once a tree.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

from daos.base.checksum import ChecksumType, compute, xxh3
from daos.base.errors import ChecksumError, CorruptError
from daos.bio.device import BLOCK
from daos.bio.space import Extent

MAGIC: Final = 0xDA
VERSION: Final = 1
FLAG_STORED: Final = 1
FLAG_HOLE: Final = 2

_FIELDS: Final = struct.Struct("<BBHBBHQQIIIIQ")
_RUN: Final = struct.Struct("<QI")
_CHECKSUM: Final = struct.Struct("<Q")
HEADER_SIZE: Final = 48
RUN_SIZE: Final = 12
RECORD_SIZE_MIN: Final = HEADER_SIZE + 8
assert _FIELDS.size == HEADER_SIZE
assert _RUN.size == RUN_SIZE

# Nearly every record: one XXH3 and one run. Its first eight bytes are always the same, the rest is
# unpacked in one step.
_REST_STORED: Final = struct.Struct("<QQIIIIQ8sQIQ")
_REST: Final = struct.Struct("<QQIIIIQ8sQI")
_ONE_SUM_AT: Final = HEADER_SIZE + 8 + RUN_SIZE
_ONE_STORED_SIZE: Final = 8 + _REST_STORED.size
assert _ONE_STORED_SIZE == _ONE_SUM_AT + 8
_XXH3: Final = int(ChecksumType.XXH3)
_ONE_STORED: Final = struct.pack("<BBHBBH", MAGIC, VERSION, FLAG_STORED, _XXH3, 8, 0)

WIDTH_MAX: Final = 1 << 64
CSUM_CHUNK_MAX: Final = (1 << 32) - 1
_CSUM_SIZE: Final = {int(kind): kind.size for kind in ChecksumType}
_FLAGS_KNOWN: Final = frozenset({0, FLAG_STORED, FLAG_HOLE})


class ExtentRecord(msgspec.Struct, frozen=True, gc=False):
    """One extent. What `parse` accepts, `emit` gives back bit for bit.

    Shapes:     data has len(payload) == nbytes, or `run` of ceil(nbytes / 4096) blocks, never both;
                a hole has neither, and no checksums
    Units:      width in records; record_size, csum_chunk in bytes
                reach in records; 0 = no older extent of the stack is wider; `insert` sets it
    """

    width: int
    record_size: int = 0
    csum_type: int = 0
    csum_chunk: int = 0
    csums: bytes = b""
    run: Extent | None = None
    payload: bytes | bytearray | memoryview = b""
    reach: int = 0

    @property
    def is_hole(self) -> bool:
        return self.csum_type == 0

    @property
    def nbytes(self) -> int:
        """Bytes of the value; 0 for a hole."""
        return self.width * self.record_size

    def emit(self) -> bytes:
        run, csums = self.run, self.csums
        if run is not None and self.csum_type == _XXH3 and len(csums) == 8:  # the usual
            assert 0 < self.nbytes <= self.csum_chunk <= CSUM_CHUNK_MAX
            assert run[1] == -(-self.nbytes // BLOCK)
            assert self.reach == 0 or self.width < self.reach <= WIDTH_MAX
            head = _ONE_STORED + _REST.pack(
                self.width - 1,
                self.record_size,
                self.csum_chunk,
                0,
                0,
                0,
                self.reach - 1 if self.reach else 0,
                csums,
                *run,
            )
            return head + _CHECKSUM.pack(xxh3_64_intdigest(head))
        self.check()
        head = _FIELDS.pack(
            MAGIC,
            VERSION,
            FLAG_STORED if run else 0 if self.csum_type else FLAG_HOLE,
            self.csum_type,
            _CSUM_SIZE[self.csum_type],
            0,
            self.width - 1,
            self.record_size,
            self.csum_chunk,
            0,
            0,
            0,
            self.reach - 1 if self.reach else 0,
        )
        head += self.csums
        if run:
            head += _RUN.pack(run.block, run.count)
        return b"".join((head, _CHECKSUM.pack(xxh3(head)), self.payload))

    @classmethod
    def parse(cls, buffer: bytes) -> ExtentRecord:
        """Read a record; its payload is not verified yet.

        Raises:     CorruptError
        Cost:       0.8 µs for one run with one XXH3, 1.5 otherwise
        """
        size = len(buffer)
        if size == _ONE_STORED_SIZE and buffer[:8] == _ONE_STORED:
            rest = _REST_STORED.unpack_from(buffer, 8)
            last, record_size, csum_chunk, a, b, c, reach, csum, block, count, got = rest
            nbytes = (last + 1) * record_size
            if (
                got == xxh3_64_intdigest(buffer[:_ONE_SUM_AT])
                and not (a or b or c)
                and (not reach or reach > last)
                and 0 < nbytes <= csum_chunk
                and count == -(-nbytes // BLOCK)
            ):
                run: Extent | None = Extent(block, count)
                reach += reach > 0
                return cls(last + 1, record_size, _XXH3, csum_chunk, csum, run, b"", reach)
        if size < RECORD_SIZE_MIN:
            raise CorruptError("extent record size", offset=0, want=RECORD_SIZE_MIN, got=size)
        fields = _FIELDS.unpack_from(buffer)
        _, _, flags, csum_type, csum_size, _, last, record_size, csum_chunk, _, _, _, reach = fields
        nbytes = (last + 1) * record_size
        csum_end = HEADER_SIZE + (-(-nbytes // csum_chunk) * csum_size if csum_chunk else 0)
        head_end = csum_end + (RUN_SIZE if flags == FLAG_STORED else 0)
        payload_at = head_end + 8
        if size != payload_at + (nbytes if flags == 0 else 0):
            raise CorruptError("extent record size", offset=2, want=payload_at, got=size)
        want = xxh3(buffer[:head_end])
        (got,) = _CHECKSUM.unpack_from(buffer, head_end)
        if got != want:
            raise CorruptError("extent record checksum", offset=head_end, want=want, got=got)
        _check_fields(fields)
        run = None
        if flags == FLAG_STORED:
            run = Extent(*_RUN.unpack_from(buffer, csum_end))
            if run.count != -(-nbytes // BLOCK):
                raise CorruptError(
                    "extent record run",
                    offset=csum_end + 8,
                    want=-(-nbytes // BLOCK),
                    got=run.count,
                )
        return cls(
            last + 1,
            record_size,
            csum_type,
            csum_chunk,
            bytes(buffer[HEADER_SIZE:csum_end]),
            run,
            bytes(buffer[payload_at:]),
            reach + 1 if reach else 0,
        )

    def check(self) -> None:
        """The shapes of the class, for whoever builds a record."""
        assert 1 <= self.width <= WIDTH_MAX
        assert self.reach == 0 or self.width < self.reach <= WIDTH_MAX
        if self.is_hole:
            assert self == ExtentRecord(self.width, reach=self.reach)
            return
        nbytes = self.nbytes
        assert nbytes
        assert 0 < self.csum_chunk <= CSUM_CHUNK_MAX
        assert len(self.csums) == -(-nbytes // self.csum_chunk) * _CSUM_SIZE[self.csum_type]
        assert len(self.payload) == (0 if self.run else nbytes)
        assert not self.run or self.run.count == -(-nbytes // BLOCK)

    def verify(self) -> None:
        """Compare an inline payload with its checksums. Raises: ChecksumError."""
        chunk = self.csum_chunk
        if not len(self.payload):
            return
        payload = memoryview(self.payload)
        kind = ChecksumType(self.csum_type)
        csums = b"".join(
            [compute(kind, payload[at : at + chunk]) for at in range(0, len(payload), chunk)]
        )
        if csums != self.csums:
            raise ChecksumError(f"an extent of {self.nbytes} bytes was damaged in the tree")


def hole(width: int) -> ExtentRecord:
    """A punched range of `width` records."""
    return ExtentRecord(width)


def _check_fields(fields: tuple[int, ...]) -> None:
    """Refuse what this version does not write, in a record whose checksum is right."""
    magic, version, flags, csum_type, csum_size, reserved, last, record_size, chunk, *rest = fields
    if (magic, version) != (MAGIC, VERSION):
        raise CorruptError("extent record version", offset=0, want=VERSION, got=version)
    if flags not in _FLAGS_KNOWN:
        raise CorruptError("extent record flags", offset=2, want="0, 1 or 2", got=flags)
    reach = rest.pop()
    if reserved or any(rest):
        raise CorruptError("extent record reserved", offset=6, want=0, got=reserved or max(rest))
    if reach and reach <= last:
        raise CorruptError("extent record reach", offset=40, want=0, got=reach)
    if _CSUM_SIZE.get(csum_type) != csum_size or (csum_type == 0) != (flags == FLAG_HOLE):
        raise CorruptError("extent record csum type", offset=4, want=csum_size, got=csum_type)
    if flags == FLAG_HOLE:
        if record_size or chunk:
            raise CorruptError("extent record hole", offset=16, want=0, got=record_size or chunk)
    elif not (record_size and chunk):
        raise CorruptError("extent record size", offset=16, want="not 0", got=0)

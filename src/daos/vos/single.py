"""Single values: one record a version, newest first. Disk format v1.

    tree key   akey u64 | ~epoch u64 | ~minor u16, big-endian (keys.single_key)

Record, all integers little-endian, no padding:

     0  u8   magic          0xD9
     1  u8   version        1
     2  u16  flags          1 = STORED in data blocks, 2 = PUNCH: no value; unknown bits are refused
     4  u8   csum_type      number of the checksum's type; 0 only in a punch
     5  u8   csum_size      bytes
     6  u16  run_count      0 unless STORED
     8  u64  size           bytes of the value
    16  u64  global_size    = size; reserved for values spread over shards
    24  u64  dtx            0; reserved for a distributed transaction
    32  u32  map_version    0; reserved for the pool map version
    36  u32  reserved       0
    40       csums          checksum of the value; one a run where there are several runs
             runs           run_count times: u64 block, u32 count; blocks of 4 KiB, in value order
             u64 checksum   XXH3-64 of everything before it
             payload        the value itself unless STORED

A value has one run; only where the device is fragmented it has more. Checksums are verified on
every read: here when the payload is in the record, by `bio.descriptor` when it is in blocks.

Worked example: docs/format/single_value_record.md. A change bumps VERSION and adds a golden file.
Source: DAOS src/vos/vos_layout.h vos_irec_df, src/vos/vos_tree.c svt_rec_*. Ours: several runs, so
that a fragmented device still takes large values (the reference's "gang" records).
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

from daos.base.checksum import ChecksumType, compute, xxh3
from daos.base.errors import DER, ChecksumError, CorruptError, DaosError
from daos.base.ids import Epoch
from daos.bio.device import BLOCK
from daos.bio.meta import MetaContext
from daos.bio.space import Extent
from daos.vos.keys import SINGLE_KEY_SIZE, parse_single_key, single_key

MAGIC: Final = 0xD9
VERSION: Final = 1
FLAG_STORED: Final = 1
FLAG_PUNCH: Final = 2

_FIELDS: Final = struct.Struct("<BBHBBHQQQII")
_RUN: Final = struct.Struct("<QI")
_CHECKSUM: Final = struct.Struct("<Q")
HEADER_SIZE: Final = 40
RUN_SIZE: Final = 12
assert _FIELDS.size == HEADER_SIZE
assert _RUN.size == RUN_SIZE

# Source: DAOS src/vos/vos_internal.h VOS_GANG_SIZE_THRESH, 255 chunks of 8 MiB.
VALUE_SIZE_MAX: Final = 255 * (8 << 20)
RUNS_MAX: Final = (1 << 16) - 1

RECORD_SIZE_MIN: Final = HEADER_SIZE + 8

# Nearly every record: one XXH3, and one run or the value itself. Its first eight bytes are always
# the same, the rest is packed, and unpacked, in one step (1.4 us instead of 2.6 for `parse`).
_REST: Final = struct.Struct("<QQQQ8s")
_REST_STORED: Final = struct.Struct("<QQQQ8sQIQ")
_REST_INLINE: Final = struct.Struct("<QQQQ8sQ")
_ONE_SUM_AT: Final = HEADER_SIZE + 8
_ONE_STORED_SUM_AT: Final = _ONE_SUM_AT + RUN_SIZE
ONE_STORED_SIZE: Final = 8 + _REST_STORED.size
_ONE_INLINE_SIZE: Final = 8 + _REST_INLINE.size
assert ONE_STORED_SIZE == _ONE_STORED_SUM_AT + 8
assert _ONE_INLINE_SIZE == _ONE_SUM_AT + 8
_FLAGS_KNOWN: Final = frozenset({0, FLAG_STORED, FLAG_PUNCH})
_CSUM_SIZE: Final = {int(kind): kind.size for kind in ChecksumType}
_MINOR_MAX: Final = 0xFFFF
_XXH3: Final = int(ChecksumType.XXH3)
_ONE_STORED: Final = struct.pack("<BBHBBH", MAGIC, VERSION, FLAG_STORED, _XXH3, 8, 1)
_ONE_INLINE: Final = struct.pack("<BBHBBH", MAGIC, VERSION, 0, _XXH3, 8, 0)
_xxh3: Final = xxh3_64_intdigest


class SingleRecord(msgspec.Struct, frozen=True, gc=False):
    """One version of a single value. What `parse` accepts, `emit` gives back bit for bit."""

    size: int
    csum_type: int = 0
    csums: bytes = b""
    runs: tuple[Extent, ...] = ()
    payload: bytes | bytearray | memoryview = b""

    @property
    def is_punch(self) -> bool:
        return self.csum_type == 0

    def emit(self) -> bytes:
        runs = self.runs
        flags = FLAG_STORED if runs else 0 if self.csum_type else FLAG_PUNCH
        head = _FIELDS.pack(
            MAGIC,
            VERSION,
            flags,
            self.csum_type,
            _CSUM_SIZE[self.csum_type],
            len(runs),
            self.size,
            self.size,
            0,
            0,
            0,
        )
        head += self.csums
        if runs:
            head += b"".join([_RUN.pack(run.block, run.count) for run in runs])
        return b"".join((head, _CHECKSUM.pack(xxh3(head)), self.payload))

    @classmethod
    def parse(cls, buffer: bytes) -> SingleRecord:
        """Read a record; the payload is not verified yet. Raises: CorruptError."""
        size_all = len(buffer)
        kind = buffer[:8]
        if kind == _ONE_STORED and size_all == ONE_STORED_SIZE:
            size, same, dtx, reserved, csum, block, count, got = _REST_STORED.unpack_from(buffer, 8)
            if (
                got == _xxh3(buffer[:_ONE_STORED_SUM_AT])
                and same == size
                and not (dtx or reserved)
                and 0 < count == -(-size // BLOCK)
            ):
                return cls(size, _XXH3, csum, (Extent(block, count),))
        elif kind == _ONE_INLINE and size_all > _ONE_INLINE_SIZE:
            size, same, dtx, reserved, csum, got = _REST_INLINE.unpack_from(buffer, 8)
            if (
                got == _xxh3(buffer[:_ONE_SUM_AT])
                and same == size == size_all - _ONE_INLINE_SIZE
                and not (dtx or reserved)
            ):
                return cls(size, _XXH3, csum, (), buffer[_ONE_INLINE_SIZE:])
        if size_all < RECORD_SIZE_MIN:
            raise CorruptError("single value size", offset=0, want=RECORD_SIZE_MIN, got=size_all)
        fields = _FIELDS.unpack_from(buffer)
        _, _, flags, csum_type, csum_size, run_count, size, _, _, _, _ = fields
        csum_end = HEADER_SIZE + csum_size * (run_count or 1)
        head_end = csum_end + run_count * RUN_SIZE
        payload_at = head_end + 8
        want_size = payload_at if flags else payload_at + size
        if size_all != want_size:
            raise CorruptError("single value size", offset=6, want=want_size, got=size_all)
        want = xxh3(buffer[:head_end])
        (got,) = _CHECKSUM.unpack_from(buffer, head_end)
        if got != want:
            raise CorruptError("single value checksum", offset=head_end, want=want, got=got)
        if fields[0] != MAGIC or fields[1] != VERSION:
            raise CorruptError("single value version", offset=0, want=VERSION, got=fields[1])
        _check_fields(fields)
        runs: tuple[Extent, ...] = ()
        if run_count == 1:
            runs = (Extent(*_RUN.unpack_from(buffer, csum_end)),)
        elif run_count:
            runs = tuple(Extent(*run) for run in _RUN.iter_unpack(buffer[csum_end:head_end]))
        if runs:
            _check_runs(runs, size, csum_end)
        return cls(size, csum_type, buffer[HEADER_SIZE:csum_end], runs, buffer[payload_at:])

    def verify(self) -> None:
        """Compare the payload with its checksum. Raises: ChecksumError."""
        kind = self.csum_type
        csum = (
            xxh3_bytes(self.payload) if kind == _XXH3 else compute(ChecksumType(kind), self.payload)
        )
        if csum != self.csums:
            raise ChecksumError(f"a single value of {self.size} bytes was damaged in the tree")


def emit_one(csum: int, run: Extent | None, payload: memoryview) -> bytes:
    """What `SingleRecord.emit` gives for a value with an XXH3, in one run or in the record.

    Cost:       0.9 us, against 1.9
    """
    size = payload.nbytes
    rest = _REST.pack(size, size, 0, 0, csum.to_bytes(8, "little"))
    if run is None:
        head = _ONE_INLINE + rest
        return b"".join((head, _CHECKSUM.pack(_xxh3(head)), payload))
    head = _ONE_STORED + rest + _RUN.pack(*run)
    return head + _CHECKSUM.pack(_xxh3(head))


def xxh3_bytes(buffer: bytes | bytearray | memoryview) -> bytes:
    """`compute(ChecksumType.XXH3, buffer)` in half the time: it is on the way of every value."""
    return _CHECKSUM.pack(xxh3(buffer))


def _check_fields(fields: tuple[int, ...]) -> None:
    """Refuse what this version does not write, in a record whose checksum is right."""
    _, _, flags, csum_type, csum_size, run_count, size, global_size, dtx, version, reserved = fields
    if global_size != size or dtx or version or reserved:
        raise CorruptError("single value reserved", offset=16, want=size, got=global_size)
    if flags not in _FLAGS_KNOWN:
        raise CorruptError("single value flags", offset=2, want="0, 1 or 2", got=flags)
    if _CSUM_SIZE.get(csum_type) != csum_size:
        raise CorruptError("single value csum size", offset=5, want=csum_type, got=csum_size)
    punched = flags == FLAG_PUNCH
    if (csum_type == 0) != punched or (size == 0) != punched:
        raise CorruptError("single value punch", offset=2, want=csum_type, got=flags)
    if (run_count != 0) != (flags == FLAG_STORED):
        raise CorruptError("single value runs", offset=6, want=flags, got=run_count)


def _check_runs(runs: tuple[Extent, ...], size: int, at: int) -> None:
    blocks = 0
    for run in runs:
        if not run.count:
            raise CorruptError("single value run", offset=at, want="not 0", got=0)
        blocks += run.count
    if blocks != -(-size // BLOCK):
        raise CorruptError("single value runs", offset=at, want=-(-size // BLOCK), got=blocks)


class Version(msgspec.Struct, frozen=True, gc=False):
    """A version of a single value and when it was written."""

    epoch: int
    minor: int
    record: SingleRecord


def newest(
    meta: MetaContext, akey_id: int, epoch: Epoch | int, floor: tuple[int, int]
) -> Version | None:
    """The newest version at or before `epoch` and written after `floor`; None if there is none.

    `floor` is (epoch, minor) of the newest punch above the value: what it covers does not exist.

    Raises:     CorruptError
    Cost:       one seek
    Source:     DAOS src/vos/vos_io.c akey_fetch_single of the reference
    """
    cursor = meta.cursor()
    if not cursor.set_range(single_key(akey_id, epoch, _MINOR_MAX)):
        return None
    key, value = cursor.item()
    if len(key) != SINGLE_KEY_SIZE:
        return None
    found_id, found_epoch, minor = parse_single_key(key)
    if found_id != akey_id or (found_epoch, minor) <= floor:
        return None
    return Version(found_epoch, minor, SingleRecord.parse(value))


def check_not_written(meta: MetaContext, akey_id: int, epoch: Epoch | int, minor: int = 0) -> None:
    """Refuse a second version at one epoch, but a newer one of a transaction, above `minor`.

    Raises:     DaosError NO_PERM
    Source:     DAOS src/vos/vos_tree.c svt_rec_update
    """
    version = newest(meta, akey_id, epoch, (0, 0))
    if version is not None and version.epoch == epoch and version.minor >= minor:
        raise DaosError(f"the single value was written at epoch {epoch} already", code=DER.NO_PERM)

"""The structures that one shard keeps on its device: superblocks, log groups, checkpoint manifests.

All integers little-endian, no padding that is not named. A block is 4096 bytes; positions of data
are block numbers on the device, positions in the log are block numbers in the ring.

    block 0, 1         the two superblock slots; generation g lives in slot g % 2
    wal_first ...      the ring of log groups, `wal_count` blocks
    the rest           data space: values, checkpoint chunks and manifests

Superblock, one block:

       0  8s   magic            "DAOSBIO\\0"
       8  u16  version
      10  u16  flags            bit 0 CLEAN; any other bit is refused
      12  u32  block_size       4096
      16  16s  uuid             of the shard
      32  u64  generation       +1 with every superblock written
      40  u64  birth            generation at format; older log groups are another life's debris
      48  u64  size_bytes       of the device
      56  u64  wal_first        first block of the ring
      64  u64  wal_count        blocks of the ring
      72  u64  replay_block     in the ring: where group checkpoint_lsn + 1 is expected
      80  u64  checkpoint_lsn   last group that the checkpoint contains
      88  u64  durable_lsn      last group known durable when this was written
      96  u64  epoch            highest epoch of anything up to durable_lsn
     104  u64  manifest_block   0 with manifest_count 0: no checkpoint, the tree starts empty
     112  u64  manifest_count   blocks
     120  u64  manifest_sum     xxh3 of those blocks
     128       zeros
    4088  u64  xxh3 of bytes 0..4088

Log group, whole blocks, contiguous in the ring: header, payload, zeros to the end of the block.

       0  4s   magic            "DWAL"
       4  u16  version
       6  u16  flags            none defined; any bit is refused
       8  16s  uuid             of the shard
      24  u64  generation       of the newest superblock when the group was written
      32  u64  lsn              number of the group
      40  u64  durable_lsn      last group known durable when this one was written
      48  u64  epoch            highest epoch of anything up to this group
      56  u64  block            where in the ring this group begins
      64  u32  payload_size     bytes
      68  u32  record_count
      72  u64  payload_sum      xxh3 of the payload
      80  u64  header_sum       xxh3 of bytes 0..80

The payload is `record_count` records, one per transaction: u32 size of what follows, operations

    u8 1  u16 key size, u32 value size, key, value     put
    u8 2  u16 key size, key                            delete
    u8 3  u64 block, u32 count, u64 xxh3               data written beside this group
    u8 4  u64 block, u32 count                         extent freed

puts and deletes first, then data, then frees; each key once.

Checkpoint manifest, whole blocks: header, chunk table, zeros to the end of the block.

       0  4s   magic            "DCKP"
       4  u16  version
       6  u16  flags            none defined; any bit is refused
       8  16s  uuid
      24  u64  lsn              last group contained
      32  u64  tree_size        bytes: a compacted LMDB file
      40  u64  map_size         bytes: the space map
      48  u64  blocks_allocated in the space map, as a cross-check
      56  u32  chunk_count
      60  u32  zero
      64  u64  table_sum        xxh3 of the chunk table
      72  u64  header_sum       xxh3 of bytes 0..72

and per chunk (first those of the tree, then those of the map): u64 block, u32 count, u32 size in
bytes, u64 xxh3 of these bytes. The space map itself is described in `space.py`.

Invariants: what `parse` accepts, `emit` gives back bit for bit; `parse` raises `CorruptError`, or
`NotSupportedError` where the checksum is right but the version or a flag is not ours; it allocates
no more than the buffer it was given.

Source: DAOS src/bio/bio_wal.h (struct wal_header, wal_trans_head, wal_trans_entry); the layout is
ours: we log keys and values, not heap addresses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

import xxhash

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError, NotSupportedError
from daos.bio.device import BLOCK
from daos.bio.space_map import Extent

VERSION: Final = 1
FLAG_CLEAN: Final = 1

SUPERBLOCK_MAGIC: Final = b"DAOSBIO\0"
SUPERBLOCK_SLOTS: Final = 2
GROUP_MAGIC: Final = b"DWAL"
MANIFEST_MAGIC: Final = b"DCKP"

_SUM: Final = struct.Struct("<Q")

_SUPERBLOCK: Final = struct.Struct("<8sHHI16s12Q")
_SUPERBLOCK_SUM_AT: Final = BLOCK - _SUM.size
assert _SUPERBLOCK.size == 128

_GROUP: Final = struct.Struct("<4sHH16sQQQQQIIQ")
GROUP_HEADER_SIZE: Final = 88
assert _GROUP.size + _SUM.size == GROUP_HEADER_SIZE

_MANIFEST: Final = struct.Struct("<4sHH16sQQQQIIQ")
MANIFEST_HEADER_SIZE: Final = 80
assert _MANIFEST.size + _SUM.size == MANIFEST_HEADER_SIZE

_CHUNK: Final = struct.Struct("<QIIQ")
CHUNK_SIZE: Final = _CHUNK.size

RECORD_SIZE: Final = struct.Struct("<I")
_PUT: Final = struct.Struct("<BHI")
_DELETE: Final = struct.Struct("<BH")
_DATA: Final = struct.Struct("<BQIQ")
_FREE: Final = struct.Struct("<BQI")
_OP_PUT: Final = 1
_OP_DELETE: Final = 2
_OP_DATA: Final = 3
_OP_FREE: Final = 4

PUT_OVERHEAD: Final = _PUT.size
DATA_OVERHEAD: Final = _DATA.size
KEY_SIZE_MAX: Final = 511
# Largest chunk that is read, and so allocated, at once.
CHUNK_BLOCKS_MAX: Final = 4096
NO_EXTENT: Final = Extent(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """What `parse` accepts, `emit` gives back bit for bit."""

    uuid: UUID
    generation: int
    birth: int
    size_bytes: int
    wal_first: int
    wal_count: int
    replay_block: int = 0
    checkpoint_lsn: int = 0
    durable_lsn: int = 0
    epoch: int = 0
    manifest: Extent = NO_EXTENT
    manifest_sum: int = 0
    clean: bool = False

    @property
    def slot(self) -> int:
        return self.generation % SUPERBLOCK_SLOTS

    @property
    def data_first(self) -> int:
        return self.wal_first + self.wal_count

    @property
    def data_count(self) -> int:
        return self.size_bytes // BLOCK - self.data_first

    def emit(self) -> bytes:
        fields = _SUPERBLOCK.pack(
            SUPERBLOCK_MAGIC,
            VERSION,
            FLAG_CLEAN if self.clean else 0,
            BLOCK,
            self.uuid.bytes,
            self.generation,
            self.birth,
            self.size_bytes,
            self.wal_first,
            self.wal_count,
            self.replay_block,
            self.checkpoint_lsn,
            self.durable_lsn,
            self.epoch,
            *self.manifest,
            self.manifest_sum,
        ).ljust(_SUPERBLOCK_SUM_AT, b"\0")
        return fields + _SUM.pack(xxh3(fields))

    @classmethod
    def parse(cls, block: bytes | memoryview) -> Superblock:
        """Raises: CorruptError; NotSupportedError (intact, but of another version or flags)."""
        if len(block) != BLOCK:
            raise CorruptError("superblock size", offset=0, want=BLOCK, got=len(block))
        (want,) = _SUM.unpack_from(block, _SUPERBLOCK_SUM_AT)
        got = xxh3(memoryview(block)[:_SUPERBLOCK_SUM_AT])
        magic, version, flags, block_size, uuid, *numbers = _SUPERBLOCK.unpack_from(block)
        if magic != SUPERBLOCK_MAGIC:
            raise CorruptError("superblock magic", offset=0, want=SUPERBLOCK_MAGIC, got=magic)
        if got != want:
            raise CorruptError("superblock checksum", offset=0, want=want, got=got)
        _supported("superblock", version, flags, FLAG_CLEAN)
        if block_size != BLOCK:
            raise NotSupportedError(f"superblock: block size {block_size}, expected {BLOCK}")
        if bytes(block[_SUPERBLOCK.size : _SUPERBLOCK_SUM_AT]).strip(b"\0"):
            raise CorruptError("superblock padding", offset=_SUPERBLOCK.size, want=0, got=1)
        generation, birth, size_bytes, wal_first, wal_count, replay, *numbers = numbers
        lsn, durable, epoch, manifest_block, manifest_count, manifest_sum = numbers
        superblock = cls(
            uuid=UUID(bytes=uuid),
            generation=generation,
            birth=birth,
            size_bytes=size_bytes,
            wal_first=wal_first,
            wal_count=wal_count,
            replay_block=replay,
            checkpoint_lsn=lsn,
            durable_lsn=durable,
            epoch=epoch,
            manifest=Extent(manifest_block, manifest_count),
            manifest_sum=manifest_sum,
            clean=bool(flags & FLAG_CLEAN),
        )
        superblock._check()
        return superblock

    def _check(self) -> None:
        """Raises: CorruptError unless the numbers fit together."""
        blocks = self.size_bytes // BLOCK
        manifest_lo, manifest_hi = self.manifest.block, sum(self.manifest)
        rules = (
            ("birth", 40, 0 < self.birth <= self.generation),
            ("wal_first", 56, self.wal_first >= SUPERBLOCK_SLOTS),
            ("wal_count", 64, self.wal_count > 0 and self.data_first < blocks),
            ("replay_block", 72, self.replay_block < self.wal_count),
            ("checkpoint_lsn", 80, self.checkpoint_lsn <= self.durable_lsn),
            ("flags", 10, not self.clean or self.checkpoint_lsn == self.durable_lsn),
            (
                "manifest_block",
                104,
                self.data_first <= manifest_lo < manifest_hi <= blocks
                if self.manifest.count
                else not (manifest_lo or self.manifest_sum or self.checkpoint_lsn),
            ),
        )
        for name, offset, holds in rules:
            if not holds:
                raise CorruptError(f"superblock {name}", offset=offset, want="valid", got=str(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupHeader:
    """What `parse` accepts, `emit` gives back bit for bit."""

    uuid: UUID
    generation: int
    lsn: int
    durable_lsn: int
    epoch: int
    block: int
    payload_size: int
    record_count: int
    payload_sum: int

    @property
    def blocks(self) -> int:
        """Blocks of the group, header and payload."""
        return group_blocks(self.payload_size)

    def emit(self) -> bytes:
        fields = _GROUP.pack(
            GROUP_MAGIC,
            VERSION,
            0,
            self.uuid.bytes,
            self.generation,
            self.lsn,
            self.durable_lsn,
            self.epoch,
            self.block,
            self.payload_size,
            self.record_count,
            self.payload_sum,
        )
        return fields + _SUM.pack(xxh3(fields))

    @classmethod
    def parse(cls, buffer: bytes | memoryview) -> GroupHeader:
        """Read buffer[0:88]. Raises: CorruptError; NotSupportedError (intact, another version)."""
        if len(buffer) < GROUP_HEADER_SIZE:
            raise CorruptError("log group size", offset=0, want=GROUP_HEADER_SIZE, got=len(buffer))
        magic, version, flags, uuid, *numbers = _GROUP.unpack_from(buffer)
        if magic != GROUP_MAGIC:
            raise CorruptError("log group magic", offset=0, want=GROUP_MAGIC, got=magic)
        (want,) = _SUM.unpack_from(buffer, _GROUP.size)
        got = xxh3(memoryview(buffer)[: _GROUP.size])
        if got != want:
            raise CorruptError("log group header checksum", offset=80, want=want, got=got)
        _supported("log group", version, flags, 0)
        generation, lsn, durable_lsn, epoch, block, size, count, payload_sum = numbers
        if durable_lsn >= lsn:
            raise CorruptError("log group durable_lsn", offset=40, want=lsn - 1, got=durable_lsn)
        return cls(
            uuid=UUID(bytes=uuid),
            generation=generation,
            lsn=lsn,
            durable_lsn=durable_lsn,
            epoch=epoch,
            block=block,
            payload_size=size,
            record_count=count,
            payload_sum=payload_sum,
        )


def group_blocks(payload_size: int) -> int:
    """Blocks that a group with this much payload takes."""
    return -(-(GROUP_HEADER_SIZE + payload_size) // BLOCK)


class DataRun(NamedTuple):
    """Data written beside a log group: whole blocks and the xxh3 of all their bytes."""

    extent: Extent
    checksum: int


class Record(NamedTuple):
    """What one transaction did. A value of None deletes its key; each key occurs once."""

    pairs: Sequence[tuple[bytes, bytes | None]]
    writes: Sequence[DataRun]
    frees: Sequence[Extent]


def emit_record(
    pairs: Iterable[tuple[bytes, bytes | None]],
    writes: Iterable[DataRun],
    frees: Iterable[Extent],
) -> bytes:
    """One record, with its size in front."""
    parts = [b""]
    append = parts.append
    put, delete = _PUT.pack, _DELETE.pack
    for key, value in pairs:
        if value is None:
            append(delete(_OP_DELETE, len(key)))
            append(key)
        else:
            append(put(_OP_PUT, len(key), len(value)))
            append(key)
            append(value)
    for (block, count), checksum in writes:
        append(_DATA.pack(_OP_DATA, block, count, checksum))
    for block, count in frees:
        append(_FREE.pack(_OP_FREE, block, count))
    body = b"".join(parts)
    return RECORD_SIZE.pack(len(body)) + body


def parse_records(payload: bytes | memoryview, record_count: int) -> list[Record]:
    """The records of one group.

    Raises:     CorruptError   sizes do not add up, an operation is unknown, a key or extent empty
    Cost:       linear in len(payload), whatever `record_count` says
    """
    records: list[Record] = []
    payload = bytes(payload)
    at = 0
    while at < len(payload):
        if len(payload) - at < RECORD_SIZE.size:
            raise CorruptError("log record size", offset=at, want=4, got=len(payload) - at)
        (size,) = RECORD_SIZE.unpack_from(payload, at)
        at += RECORD_SIZE.size
        if size > len(payload) - at:
            raise CorruptError("log record size", offset=at, want=len(payload) - at, got=size)
        records.append(_parse_record(payload, at, at + size))
        at += size
    if len(records) != record_count:
        raise CorruptError("log record count", offset=68, want=record_count, got=len(records))
    return records


def _parse_record(payload: bytes, at: int, end: int) -> Record:
    pairs: list[tuple[bytes, bytes | None]] = []
    writes: list[DataRun] = []
    frees: list[Extent] = []
    least = _OP_PUT
    while at < end:
        op, start = payload[at], at
        fields = _OPERATIONS.get(op)
        if fields is None or op < least:
            raise CorruptError("log operation", offset=at, want=f"{least}..4", got=op)
        if op > _OP_DELETE:
            least = op
        at += fields.size
        if at > end:
            raise CorruptError("log operation size", offset=start, want=at, got=end)
        match fields.unpack_from(payload, start):
            case (1, key_size, value_size):
                key = payload[at : at + key_size]
                value = payload[at + key_size : at + key_size + value_size]
                at += key_size + value_size
                pairs.append((key, value))
            case (2, key_size):
                pairs.append((payload[at : at + key_size], None))
                at += key_size
            case (3, block, count, checksum):
                key_size = 1
                writes.append(DataRun(_extent(block, count, start), checksum))
            case (_, block, count):
                key_size = 1
                frees.append(_extent(block, count, start))
        if at > end or not 0 < key_size <= KEY_SIZE_MAX:
            raise CorruptError("log operation size", offset=start, want=end, got=at)
    return Record(pairs, writes, frees)


_OPERATIONS: Final = {_OP_PUT: _PUT, _OP_DELETE: _DELETE, _OP_DATA: _DATA, _OP_FREE: _FREE}


def _extent(block: int, count: int, at: int) -> Extent:
    if not count:
        raise CorruptError("log operation extent", offset=at, want="count >= 1", got=count)
    return Extent(block, count)


class Chunk(NamedTuple):
    """A piece of a checkpoint: `size` bytes in the blocks of `extent`."""

    extent: Extent
    size: int
    checksum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Where the parts of a checkpoint are. What `parse` accepts, `emit` gives back bit for bit."""

    uuid: UUID
    lsn: int
    tree_size: int
    map_size: int
    blocks_allocated: int
    chunks: tuple[Chunk, ...]

    def emit(self) -> bytes:
        """Whole blocks."""
        table = b"".join(
            _CHUNK.pack(extent.block, extent.count, size, checksum)
            for extent, size, checksum in self.chunks
        )
        fields = _MANIFEST.pack(
            MANIFEST_MAGIC,
            VERSION,
            0,
            self.uuid.bytes,
            self.lsn,
            self.tree_size,
            self.map_size,
            self.blocks_allocated,
            len(self.chunks),
            0,
            xxh3(table),
        )
        nbytes = manifest_blocks(len(self.chunks)) * BLOCK
        return (fields + _SUM.pack(xxh3(fields)) + table).ljust(nbytes, b"\0")

    @classmethod
    def parse(cls, buffer: bytes | memoryview) -> Manifest:
        """Raises: CorruptError; NotSupportedError (intact, but of another version or flags)."""
        if len(buffer) < MANIFEST_HEADER_SIZE:
            raise CorruptError(
                "manifest size", offset=0, want=MANIFEST_HEADER_SIZE, got=len(buffer)
            )
        magic, version, flags, uuid, *numbers, zero, table_sum = _MANIFEST.unpack_from(buffer)
        if magic != MANIFEST_MAGIC:
            raise CorruptError("manifest magic", offset=0, want=MANIFEST_MAGIC, got=magic)
        (want,) = _SUM.unpack_from(buffer, _MANIFEST.size)
        got = xxh3(memoryview(buffer)[: _MANIFEST.size])
        if got != want:
            raise CorruptError("manifest header checksum", offset=72, want=want, got=got)
        _supported("manifest", version, flags, 0)
        lsn, tree_size, map_size, blocks_allocated, chunk_count = numbers
        if zero or len(buffer) != manifest_blocks(chunk_count) * BLOCK:
            raise CorruptError("manifest chunk count", offset=56, want=len(buffer), got=chunk_count)
        end = MANIFEST_HEADER_SIZE + chunk_count * CHUNK_SIZE
        table = memoryview(buffer)[MANIFEST_HEADER_SIZE:end]
        if (got := xxh3(table)) != table_sum:
            raise CorruptError("manifest table checksum", offset=64, want=table_sum, got=got)
        if bytes(buffer[end:]).strip(b"\0"):
            raise CorruptError("manifest padding", offset=end, want=0, got=1)
        manifest = cls(
            uuid=UUID(bytes=uuid),
            lsn=lsn,
            tree_size=tree_size,
            map_size=map_size,
            blocks_allocated=blocks_allocated,
            chunks=tuple(
                Chunk(Extent(block, count), size, checksum)
                for block, count, size, checksum in _CHUNK.iter_unpack(table)
            ),
        )
        manifest._check()
        return manifest

    def _check(self) -> None:
        """Raises: CorruptError unless the chunks add up to exactly the tree, then the map."""
        total, boundaries = 0, {0}
        for index, (extent, size, _) in enumerate(self.chunks):
            bounded = 0 < extent.count <= CHUNK_BLOCKS_MAX
            if not bounded or not 0 <= extent.count * BLOCK - size < BLOCK:
                at = MANIFEST_HEADER_SIZE + index * CHUNK_SIZE
                raise CorruptError(
                    "manifest chunk size", offset=at, want=extent.count * BLOCK, got=size
                )
            total += size
            boundaries.add(total)
        if self.tree_size not in boundaries:
            raise CorruptError("manifest tree size", offset=32, want=total, got=self.tree_size)
        if total != self.tree_size + self.map_size:
            raise CorruptError("manifest map size", offset=40, want=total, got=self.map_size)

    def tree_chunks(self) -> Iterator[Chunk]:
        return self._chunks_between(0, self.tree_size)

    def map_chunks(self) -> Iterator[Chunk]:
        return self._chunks_between(self.tree_size, self.tree_size + self.map_size)

    def _chunks_between(self, lo: int, hi: int) -> Iterator[Chunk]:
        at = 0
        for chunk in self.chunks:
            if lo <= at < hi:
                yield chunk
            at += chunk.size


def manifest_blocks(chunk_count: int) -> int:
    """Blocks of a manifest with that many chunks."""
    return -(-(MANIFEST_HEADER_SIZE + chunk_count * CHUNK_SIZE) // BLOCK)


def checksum_of(buffers: Sequence[memoryview]) -> int:
    """The xxh3 of the bytes of `buffers`, back to back: what `Tx.write` wants."""
    if len(buffers) == 1:
        return xxh3(buffers[0])
    state = xxhash.xxh3_64()
    for buffer in buffers:
        state.update(buffer)
    return state.intdigest()


def _supported(what: str, version: int, flags: int, flags_known: int) -> None:
    if version != VERSION:
        raise NotSupportedError(f"{what}: version {version}, this program reads {VERSION}")
    if flags & ~flags_known:
        raise NotSupportedError(f"{what}: unknown flags {flags & ~flags_known:#x}")

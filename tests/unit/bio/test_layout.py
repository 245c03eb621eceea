"""The stored structures of a shard: what parse accepts, emit gives back; the rest is named."""

from __future__ import annotations

import struct
from dataclasses import replace
from uuid import UUID

import pytest

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError, NotSupportedError
from daos.bio.device import BLOCK
from daos.bio.layout import (
    CHUNK_BLOCKS_MAX,
    GROUP_HEADER_SIZE,
    MANIFEST_HEADER_SIZE,
    Chunk,
    DataRun,
    GroupHeader,
    Manifest,
    Record,
    Superblock,
    checksum_of,
    emit_record,
    group_blocks,
    manifest_blocks,
    parse_records,
)
from daos.bio.space_map import Extent

SHARD = UUID(int=0x1234)

SUPERBLOCK = Superblock(
    uuid=SHARD,
    generation=9,
    birth=2,
    size_bytes=1000 * BLOCK,
    wal_first=2,
    wal_count=100,
    replay_block=99,
    checkpoint_lsn=7,
    durable_lsn=8,
    epoch=1 << 60,
    manifest=Extent(500, 3),
    manifest_sum=0xDEADBEEF,
)
HEADER = GroupHeader(
    uuid=SHARD,
    generation=4,
    lsn=12,
    durable_lsn=11,
    epoch=77,
    block=3,
    payload_size=5000,
    record_count=2,
    payload_sum=1,
)
MANIFEST = Manifest(
    uuid=SHARD,
    lsn=7,
    tree_size=2 * BLOCK,
    map_size=100,
    blocks_allocated=5,
    chunks=(Chunk(Extent(300, 2), 2 * BLOCK, 11), Chunk(Extent(302, 1), 100, 12)),
)


def resummed(stored: bytes, offset: int, patch: bytes, summed: int) -> bytes:
    """`stored` with a patch and a right checksum behind its first `summed` bytes."""
    stored = stored[:offset] + patch + stored[offset + len(patch) :]
    return stored[:summed] + struct.pack("<Q", xxh3(stored[:summed])) + stored[summed + 8 :]


@pytest.mark.parametrize(
    "superblock",
    [
        SUPERBLOCK,
        replace(SUPERBLOCK, clean=True, durable_lsn=7),
        replace(
            SUPERBLOCK, manifest=Extent(0, 0), manifest_sum=0, checkpoint_lsn=0, replay_block=0
        ),
    ],
)
def test_superblock_round_trip(superblock: Superblock) -> None:
    stored = superblock.emit()
    assert len(stored) == BLOCK
    assert Superblock.parse(stored) == superblock
    assert Superblock.parse(memoryview(stored)).emit() == stored


def test_superblock_places() -> None:
    assert (SUPERBLOCK.slot, SUPERBLOCK.data_first, SUPERBLOCK.data_count) == (1, 102, 898)


@pytest.mark.parametrize("offset", [0, 8, 10, 16, 40, 80, 127, 200, 4087, 4090])
def test_a_flipped_bit_in_a_superblock(offset: int) -> None:
    stored = bytearray(SUPERBLOCK.emit())
    stored[offset] ^= 4
    with pytest.raises(CorruptError, match="superblock"):
        Superblock.parse(bytes(stored))


@pytest.mark.parametrize(
    ("offset", "patch", "text"),
    [
        (8, b"\2\0", "version 2, this program reads 1"),
        (10, b"\2\0", "unknown flags 0x2"),
        (12, b"\0\2\0\0", "block size 512"),
    ],
)
def test_a_superblock_of_another_program(offset: int, patch: bytes, text: str) -> None:
    with pytest.raises(NotSupportedError, match=text):
        Superblock.parse(resummed(SUPERBLOCK.emit(), offset, patch, BLOCK - 8))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"birth": 0}, "birth"),
        ({"birth": 10}, "birth"),
        ({"wal_first": 1}, "wal_first"),
        ({"wal_count": 0}, "wal_count"),
        ({"wal_count": 998}, "wal_count"),
        ({"replay_block": 100}, "replay_block"),
        ({"durable_lsn": 6}, "checkpoint_lsn"),
        ({"clean": True}, "flags"),
        ({"manifest": Extent(101, 1)}, "manifest_block"),
        ({"manifest": Extent(999, 2)}, "manifest_block"),
        ({"manifest": Extent(0, 0)}, "manifest_block"),
        ({"size_bytes": 0}, "wal_count"),
    ],
)
def test_superblock_numbers_must_fit_together(changes: dict[str, object], field: str) -> None:
    with pytest.raises(CorruptError, match=f"superblock {field} "):
        Superblock.parse(replace(SUPERBLOCK, **changes).emit())  # type: ignore[arg-type]


def test_superblock_padding_and_size() -> None:
    with pytest.raises(CorruptError, match="superblock padding"):
        Superblock.parse(resummed(SUPERBLOCK.emit(), 130, b"x", BLOCK - 8))
    with pytest.raises(CorruptError, match="superblock size"):
        Superblock.parse(SUPERBLOCK.emit()[:-1])


def test_group_header_round_trip() -> None:
    stored = HEADER.emit()
    assert len(stored) == GROUP_HEADER_SIZE
    assert GroupHeader.parse(stored + b"payload") == HEADER
    assert HEADER.blocks == group_blocks(5000) == 2
    assert group_blocks(BLOCK - GROUP_HEADER_SIZE) == 1
    assert group_blocks(BLOCK - GROUP_HEADER_SIZE + 1) == 2


@pytest.mark.parametrize("offset", range(0, GROUP_HEADER_SIZE, 7))
def test_a_flipped_bit_in_a_group_header(offset: int) -> None:
    stored = bytearray(HEADER.emit())
    stored[offset] ^= 1
    with pytest.raises(CorruptError, match="log group"):
        GroupHeader.parse(bytes(stored))


def test_group_headers_of_another_program() -> None:
    for offset, text in ((4, "version 257"), (6, "unknown flags 0x101")):
        with pytest.raises(NotSupportedError, match=text):
            GroupHeader.parse(resummed(HEADER.emit(), offset, b"\1\1", 80))
    with pytest.raises(CorruptError, match="durable_lsn"):
        GroupHeader.parse(replace(HEADER, durable_lsn=12).emit())
    with pytest.raises(CorruptError, match="size"):
        GroupHeader.parse(HEADER.emit()[:-1])


RECORDS = [
    Record([(b"a", b"1"), (b"b", None), (b"k" * 511, b"")], [], []),
    Record([], [DataRun(Extent(5, 2), 99)], [Extent(9, 1), Extent(11, 1 << 31)]),
    Record([], [], []),
]


def test_records_round_trip() -> None:
    payload = b"".join(emit_record(*record) for record in RECORDS)
    assert parse_records(payload, 3) == RECORDS
    assert parse_records(memoryview(payload), 3) == RECORDS
    assert parse_records(b"", 0) == []


_OUT_OF_ORDER = struct.pack("<IBQI", 17, 4, 1, 1) + struct.pack("<BH", 2, 1) + b"k"


@pytest.mark.parametrize(
    ("payload", "count", "what"),
    [
        (b"\1", 1, "record size"),
        (b"\5\0\0\0\1", 1, "record size"),
        (emit_record(*RECORDS[0]), 2, "record count"),
        (b"\1\0\0\0\5", 1, "operation at byte 4"),
        (b"\1\0\0\0\0", 1, "operation at byte 4"),
        (emit_record([], [], [Extent(1, 1)])[:4] + b"\0", 1, "record size"),
        (_OUT_OF_ORDER, 1, "operation at byte 17: want '4..4', got 0x2"),
        (b"\2\0\0\0\1\1", 1, "operation size"),
        (b"\x07\0\0\0" + b"\1\1\0\1\0\0\0", 1, "operation size"),
        (b"\x07\0\0\0" + b"\1\0\0\0\0\0\0", 1, "operation size"),
        (b"\3\0\0\0" + b"\2\1\0", 1, "operation size"),
        (b"\3\0\0\0" + b"\2\0\0", 1, "operation size"),
        (emit_record([(b"k" * 512, b"")], [], []), 1, "operation size"),
        (emit_record([], [], [Extent(3, 0)]), 1, "operation extent"),
        (emit_record([], [DataRun(Extent(3, 0), 1)], []), 1, "operation extent"),
    ],
)
def test_bad_records(payload: bytes, count: int, what: str) -> None:
    with pytest.raises(CorruptError, match=what):
        parse_records(payload, count)


@pytest.mark.parametrize(
    "manifest", [MANIFEST, replace(MANIFEST, tree_size=0, map_size=0, chunks=())]
)
def test_manifest_round_trip(manifest: Manifest) -> None:
    stored = manifest.emit()
    assert len(stored) == BLOCK
    assert Manifest.parse(stored) == manifest
    assert Manifest.parse(memoryview(stored)).emit() == stored


def test_manifest_streams() -> None:
    assert list(MANIFEST.tree_chunks()) == [MANIFEST.chunks[0]]
    assert list(MANIFEST.map_chunks()) == [MANIFEST.chunks[1]]
    big = replace(
        MANIFEST, tree_size=200 * BLOCK, chunks=(MANIFEST.chunks[0],) * 100 + MANIFEST.chunks[1:]
    )
    assert len(big.emit()) == manifest_blocks(101) * BLOCK
    assert manifest_blocks(200) == 2
    assert Manifest.parse(big.emit()) == big


@pytest.mark.parametrize("offset", [0, 4, 9, 24, 56, 60, 64, 75, 80, 120, 127, 128, 4095])
def test_a_flipped_bit_in_a_manifest(offset: int) -> None:
    stored = bytearray(MANIFEST.emit())
    stored[offset] ^= 1
    with pytest.raises(CorruptError, match="manifest"):
        Manifest.parse(bytes(stored))


def test_manifests_of_another_program() -> None:
    for offset, text in ((4, "version 257"), (6, "unknown flags 0x101")):
        with pytest.raises(NotSupportedError, match=text):
            Manifest.parse(resummed(MANIFEST.emit(), offset, b"\1\1", 72))
    with pytest.raises(CorruptError, match="chunk count"):
        Manifest.parse(resummed(MANIFEST.emit(), 60, b"\1", 72))
    with pytest.raises(CorruptError, match="chunk count"):
        Manifest.parse(resummed(MANIFEST.emit(), 56, b"\xff\xff\xff\xff", 72))
    with pytest.raises(CorruptError, match="manifest size"):
        Manifest.parse(MANIFEST.emit()[: MANIFEST_HEADER_SIZE - 1])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"chunks": (Chunk(Extent(1, 2), BLOCK, 0),)}, "chunk size"),
        ({"chunks": (Chunk(Extent(1, 1), BLOCK + 1, 0),)}, "chunk size"),
        ({"chunks": (Chunk(Extent(1, 0), 0, 0),)}, "chunk size"),
        (
            {
                "chunks": (
                    Chunk(Extent(1, CHUNK_BLOCKS_MAX + 1), (CHUNK_BLOCKS_MAX + 1) * BLOCK, 0),
                )
            },
            "chunk size",
        ),
        ({"tree_size": 1}, "tree size"),
        ({"map_size": 99}, "map size"),
    ],
)
def test_manifest_chunks_must_add_up(changes: dict[str, object], what: str) -> None:
    with pytest.raises(CorruptError, match=f"manifest {what}"):
        Manifest.parse(replace(MANIFEST, **changes).emit())  # type: ignore[arg-type]


def test_checksum_of_pieces_is_that_of_the_whole() -> None:
    data = memoryview(bytes(range(256)) * 40)
    assert checksum_of([data]) == checksum_of([data[:7], data[7:7], data[7:]]) == xxh3(data)

"""Everything of `bio` that parses what a device returned: a value or CorruptError."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError, NotSupportedError
from daos.bio.device import BLOCK
from daos.bio.layout import (
    Chunk,
    DataRun,
    GroupHeader,
    Manifest,
    Superblock,
    emit_record,
    parse_records,
)
from daos.bio.space_map import Extent, SpaceMap

SHARD = UUID(int=7)
STORED: dict[str, bytes] = {
    "superblock": Superblock(
        uuid=SHARD, generation=5, birth=1, size_bytes=1 << 24, wal_first=2, wal_count=99
    ).emit(),
    "group": GroupHeader(
        uuid=SHARD,
        generation=1,
        lsn=2,
        durable_lsn=1,
        epoch=3,
        block=4,
        payload_size=5,
        record_count=6,
        payload_sum=7,
    ).emit(),
    "manifest": Manifest(
        uuid=SHARD,
        lsn=7,
        tree_size=2 * BLOCK,
        map_size=100,
        blocks_allocated=5,
        chunks=(Chunk(Extent(300, 2), 2 * BLOCK, 11), Chunk(Extent(302, 1), 100, 12)),
    ).emit(),
}
PARSE: dict[str, Callable[[bytes], Superblock | GroupHeader | Manifest]] = {
    "superblock": Superblock.parse,
    "group": GroupHeader.parse,
    "manifest": Manifest.parse,
}
# Where the checksum is, and what is patched before it is made right again.
SUM_AT = {"superblock": BLOCK - 8, "group": 80, "manifest": 72}


@pytest.mark.parametrize("kind", PARSE)
@given(data=st.binary(max_size=2 * BLOCK))
def test_garbage(kind: str, data: bytes) -> None:
    with contextlib.suppress(CorruptError):
        assert PARSE[kind](data).emit() == data


@pytest.mark.parametrize("kind", PARSE)
@given(draw=st.data())
def test_patches_behind_a_right_checksum(kind: str, draw: st.DataObject) -> None:
    """The checksum keeps accidents away, not programs with bugs: the fields are checked too."""
    stored, sum_at = bytearray(STORED[kind]), SUM_AT[kind]
    for _ in range(draw.draw(st.integers(1, 3))):
        offset = draw.draw(st.integers(0, min(sum_at, 130) - 1))
        patch = draw.draw(st.binary(min_size=1, max_size=8))[: sum_at - offset]
        stored[offset : offset + len(patch)] = patch
    stored[sum_at : sum_at + 8] = struct.pack("<Q", xxh3(bytes(stored[:sum_at])))
    with contextlib.suppress(CorruptError, NotSupportedError):
        assert PARSE[kind](bytes(stored)).emit() == stored


@given(payload=st.binary(max_size=200), count=st.integers(0, 1 << 32))
def test_records(payload: bytes, count: int) -> None:
    with contextlib.suppress(CorruptError):
        records = parse_records(payload, count)
        assert b"".join(emit_record(*record) for record in records) == payload


@given(draw=st.data())
def test_damaged_records(draw: st.DataObject) -> None:
    payload = bytearray(
        emit_record([(b"key", b"value"), (b"gone", None)], [], [Extent(1, 2)])
        + emit_record([], [DataRun(Extent(5, 6), 7)], [])
    )
    offset = draw.draw(st.integers(0, len(payload) - 1))
    payload[offset] = draw.draw(st.integers(0, 255))
    with contextlib.suppress(CorruptError):
        records = parse_records(bytes(payload), 2)
        assert b"".join(emit_record(*record) for record in records) == payload


@given(stored=st.binary(max_size=400), block_count=st.integers(1, 5000))
def test_space_maps(stored: bytes, block_count: int) -> None:
    with contextlib.suppress(CorruptError):
        space_map = SpaceMap.parse(stored, first_block=3, block_count=block_count)
        assert all(3 <= lo < lo + n <= 3 + block_count for lo, n in space_map.extents())


@given(draw=st.data())
def test_nearly_right_space_maps(draw: st.DataObject) -> None:
    entries = draw.draw(
        st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.binary(max_size=128)))
    )
    stored = b"".join(
        struct.pack("<II", page, full) + (b"" if full else bits.ljust(128, b"\1"))
        for page, full, bits in entries
    )
    with contextlib.suppress(CorruptError):
        space_map = SpaceMap.parse(stored, first_block=0, block_count=5 * 1024 + 9)
        again = b"".join(space_map.emit())
        assert (
            SpaceMap.parse(again, first_block=0, block_count=5 * 1024 + 9).extents()
            == space_map.extents()
        )

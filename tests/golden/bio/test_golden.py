"""Format version 1 of everything a shard keeps on its device, read by today's code.

A difference here is a change of format: it takes a new version, a new golden file and a page in
docs/format/. `shard_v1.img.gz` is a device that lost power with a checkpoint, two log groups and
data on it; `python test_golden.py FILE LIVE_DIRECTORY` made it.
"""

from __future__ import annotations

import asyncio
import gzip
import sys
from pathlib import Path
from uuid import UUID

from daos.base.ids import Epoch
from daos.bio.checkpoint import InlineCopy
from daos.bio.device import BLOCK, read
from daos.bio.layout import (
    Chunk,
    DataRun,
    GroupHeader,
    Manifest,
    Superblock,
    checksum_of,
    emit_record,
    parse_records,
)
from daos.bio.meta import MetaConfig, MetaContext
from daos.bio.space_map import Extent, SpaceMap
from daos.testing.devices import Image, MemoryDevice

HERE = Path(__file__).parent
SHARD = UUID("00112233-4455-6677-8899-aabbccddeeff")
CONFIG = MetaConfig(wal_bytes=16 * BLOCK, start_copy=InlineCopy)
SIZE = 96 * BLOCK
VALUE = bytes(range(256)) * 32

SUPERBLOCK = Superblock(
    uuid=SHARD,
    generation=9,
    birth=2,
    size_bytes=1000 * BLOCK,
    wal_first=2,
    wal_count=100,
    replay_block=99,
    checkpoint_lsn=7,
    durable_lsn=7,
    epoch=1 << 60,
    manifest=Extent(500, 3),
    manifest_sum=0xDEADBEEF,
    clean=True,
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
RECORD = (
    [(b"key", b"value"), (b"gone", None)],
    [DataRun(Extent(300, 2), 0x1122334455667788)],
    [Extent(302, 1)],
)
MANIFEST = Manifest(
    uuid=SHARD,
    lsn=7,
    tree_size=2 * BLOCK,
    map_size=100,
    blocks_allocated=5,
    chunks=(Chunk(Extent(300, 2), 2 * BLOCK, 11), Chunk(Extent(302, 1), 100, 12)),
)


def golden(name: str) -> bytes:
    return bytes.fromhex((HERE / name).read_text())


def test_superblock() -> None:
    stored = golden("superblock_v1.hex")
    assert Superblock.parse(stored) == SUPERBLOCK
    assert SUPERBLOCK.emit() == stored


def test_log_group() -> None:
    stored = golden("group_v1.hex")
    assert GroupHeader.parse(stored) == HEADER
    assert HEADER.emit() == stored[:88]
    assert parse_records(stored[88:], 1) == [RECORD]
    assert emit_record(*RECORD) == stored[88:]


def test_manifest() -> None:
    stored = golden("manifest_v1.hex")
    assert Manifest.parse(stored) == MANIFEST
    assert MANIFEST.emit() == stored


def test_space_map() -> None:
    stored = golden("space_map_v1.hex")
    space_map = SpaceMap.parse(stored, first_block=102, block_count=5000)
    assert space_map.extents() == [Extent(102 + 3, 2), Extent(102 + 1024, 2048)]
    assert b"".join(space_map.emit()) == stored


def test_a_whole_shard(tmp_path: Path) -> None:
    async def run() -> None:
        image = Image.of(gzip.decompress((HERE / "shard_v1.img.gz").read_bytes()))
        device = MemoryDevice(image.size_bytes, image=image)
        meta = await MetaContext.open(device, config=CONFIG, live_path=tmp_path / "live")
        assert meta.uuid == SHARD
        assert (meta.durable_lsn, meta.epoch_highest) == (4, 1234)
        found = {bytes(key): bytes(value) for key, value in meta.cursor()}
        block, count = map(int, found.pop(b"data").split(b"+"))
        assert found == {b"checkpointed": b"1", b"logged": b"2", b"last": b"4"}
        assert meta.space.snapshot() == [Extent(block, count)]
        into = memoryview(bytearray(len(VALUE)))
        await read(device, block * BLOCK, into)
        assert into == VALUE
        await meta.close()

    asyncio.run(run())


async def make(live: Path) -> bytes:
    """Only ever called for a new version."""
    device = MemoryDevice(SIZE)
    await MetaContext.format(device, uuid=SHARD, config=CONFIG)
    meta = await MetaContext.open(device, config=CONFIG, live_path=live)

    for key in (b"checkpointed", b"deleted"):
        tx = meta.begin()
        tx.put(key, b"1")
        await meta.durable(tx.commit())
    await meta.checkpoint()
    tx = meta.begin()
    tx.put(b"logged", b"2")
    tx.delete(b"deleted")
    await meta.durable(tx.commit())
    tx = meta.begin()
    extent = meta.space.reserve(2)
    tx.write(extent, [memoryview(VALUE)], checksum_of([memoryview(VALUE)]))
    tx.put(b"data", b"%d+%d" % extent)
    tx.put(b"last", b"4")
    tx.raise_epoch(Epoch(1234))
    await meta.durable(tx.commit())
    image = bytes(device.image)
    await meta.close(checkpoint=False)
    return gzip.compress(image, mtime=0)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(asyncio.run(make(Path(sys.argv[2]))))

"""Keys and records of format v1, byte for byte; and a whole shard, written once, read by this code.

`tree_v1.hex` was typed field by field. `shard_v1.img.gz` is the device after `write_shard`, run
once as `python -m tests.golden.vos.test_golden_tree`; it is never written again.
"""

from __future__ import annotations

import asyncio
import gzip
import tempfile
import uuid
from pathlib import Path

import pytest

from daos.base.ids import ContainerUuid, Epoch, KeyKind, ObjectId, ObjectType, ShardIndex, UnitOid
from daos.base.iod import Cond, QueryFlag
from daos.bio.meta import MetaContext
from daos.bio.space import Extent
from daos.testing.devices import Image, MemoryDevice
from daos.testing.shard import POOL, MemoryShard, unit
from daos.vos import keys
from daos.vos.container import VosContainer
from daos.vos.ilog import EMPTY
from daos.vos.records import (
    AggregationRecord,
    GarbageRecord,
    NewestRecord,
    NodeRecord,
    RootRecord,
)
from daos.vos.single import SingleRecord

HERE = Path(__file__).parent
IMAGE = HERE / "shard_v1.img.gz"
IMAGE_SIZE = 3 << 20


def parse_golden(path: Path) -> dict[str, tuple[bytes, bytes]]:
    """Key and value of each record of a file, by name."""
    found: dict[str, tuple[bytes, bytes]] = {}
    name = ""
    for line in path.read_text().splitlines():
        if line.startswith("["):
            name = line[1:-1]
            found[name] = (b"", b"")
        elif line.startswith(("key", "value")):
            field, _, rest = line.partition(" ")
            data = bytes.fromhex(rest.strip().partition("  ")[0])
            key, value = found[name]
            found[name] = (key + data, value) if field == "key" else (key, value + data)
    return found


GOLDEN = parse_golden(HERE / "tree_v1.hex")
LOG = EMPTY.update(10, 16383, punch=False).emit()
LONG = b"k" * 401
HASHED, LEXICAL, UINT64 = KeyKind.HASHED, KeyKind.LEXICAL, KeyKind.UINT64
SINGLE_KEY = keys.single_key(5, 10, 16383)
OBJECT = UnitOid(ObjectId(0x0601_0001_0000_0000, 7), ShardIndex(2))


def node_key(parent: int, level: int, order: bytes) -> bytes:
    return keys.node_prefix(parent, level) + order


Record = RootRecord | NodeRecord | GarbageRecord | AggregationRecord | NewestRecord | SingleRecord
TODAY: dict[str, tuple[bytes, Record]] = {
    "root": (keys.ROOT_KEY, RootRecord(bytes(range(16)), 1029)),
    "container": (
        keys.container_key(uuid.UUID(bytes=bytes(range(16, 32)))),
        NodeRecord(keys.CONTAINER, 1),
    ),
    "object": (
        node_key(1, keys.OBJECT, keys.object_order(OBJECT)),
        NodeRecord(keys.OBJECT, 2, LOG),
    ),
    "lexical dkey": (
        node_key(2, keys.DKEY, keys.exact_order(b"dkey", LEXICAL)),
        NodeRecord(keys.DKEY, 3, LOG),
    ),
    "integer dkey": (
        node_key(2, keys.DKEY, keys.exact_order((258).to_bytes(8, "little"), UINT64)),
        NodeRecord(keys.DKEY, 4, LOG),
    ),
    "hashed array akey": (
        node_key(3, keys.AKEY, keys.with_tie(keys.bucket_order(b"akey", HASHED), 0)),
        NodeRecord(keys.AKEY, 5, LOG, b"akey", 2, 1, 1 << 12 | 1 << 3, 128, 32768),
    ),
    "long lexical dkey": (
        node_key(2, keys.DKEY, keys.with_tie(keys.bucket_order(LONG, LEXICAL), 1)),
        NodeRecord(keys.DKEY, 6, LOG, LONG),
    ),
    "garbage": (keys.garbage_key(9), GarbageRecord(keys.CONTAINER)),
    "aggregation": (keys.aggregation_key(1), AggregationRecord(25, 0x7FF2_4010_74AB_1285)),
    "newest": (keys.newest_key(2, 20), NewestRecord(20)),
    "inline single value": (
        SINGLE_KEY,
        SingleRecord(5, 128, bytes.fromhex("f0 f0 9d 9b 26 7e d5 87"), (), b"value"),
    ),
    "stored single value": (
        SINGLE_KEY,
        SingleRecord(5000, 2, b"\1\2\3\4", (Extent(9219, 2),)),
    ),
    "fragmented single value": (
        SINGLE_KEY,
        SingleRecord(
            8192,
            128,
            bytes(range(0x11, 0x19)) + bytes(range(0x21, 0x29)),
            (Extent(9219, 1), Extent(9300, 1)),
        ),
    ),
    "punched single value": (SINGLE_KEY, SingleRecord(0)),
}


def test_every_record_is_there() -> None:
    assert GOLDEN.keys() == TODAY.keys()


@pytest.mark.parametrize("name", TODAY)
def test_records(name: str) -> None:
    key, value = GOLDEN[name]
    want_key, want = TODAY[name]
    assert want_key == key
    parsed = type(want).parse(value)
    assert parsed == want
    assert want.emit() == value
    if isinstance(parsed, SingleRecord) and parsed.payload:
        parsed.verify()


CONTAINERS = [ContainerUuid(uuid.UUID(int=n)) for n in (2, 3)]
LONG_KEY = b"long " * 200


async def write_shard(shard: MemoryShard, c: VosContainer) -> None:
    """Every kind of record; epochs from 100 on."""
    for otype in (ObjectType.MULTI_HASHED, ObjectType.MULTI_LEXICAL, ObjectType.MULTI_UINT64):
        oid = unit(1, otype)
        for number in range(3):
            dkey = number.to_bytes(8, "little")
            await shard.put(c, oid, dkey, {b"single00": b"%d" % number}, epoch=100)
            await shard.put(c, oid, dkey, {b"single00": b"%d" % number * 5000}, epoch=110)
            await shard.write(
                c, oid, (dkey, b"array000"), {number: b"ab" * 10, 5000: b"x" * 6000}, epoch=120,
                record_size=2,
            )  # fmt: skip
        c.punch(oid, Epoch(130), dkey=bytes(8), akeys=[b"single00"])
        c.punch(oid, Epoch(140), dkey=(1).to_bytes(8, "little"))
    await shard.put(c, unit(2, ObjectType.KV_LEXICAL), LONG_KEY, {b"0": b"long"}, epoch=150)
    c.punch(unit(3), Epoch(160))
    lost = shard.container(CONTAINERS[1])
    await shard.put(lost, unit(1), b"d", {b"a": bytes(5000)}, epoch=170)
    shard.pool.destroy_container(lost.uuid)
    await shard.meta.durable(shard.meta.lsn_next - 1)


async def check_shard(shard: MemoryShard) -> None:
    assert list(shard.pool.containers()) == CONTAINERS[:1]
    c = shard.container(CONTAINERS[0])
    assert c.modification_bound >= 160
    for otype in (ObjectType.MULTI_HASHED, ObjectType.MULTI_LEXICAL, ObjectType.MULTI_UINT64):
        oid = unit(1, otype)
        names = [number.to_bytes(8, "little") for number in range(3)]
        for number, dkey in enumerate(names):
            small, large = b"%d" % number, b"%d" % number * 5000
            assert await shard.get(c, oid, dkey, b"single00", epoch=109) == small
            assert await shard.get(c, oid, dkey, b"single00", epoch=129) == large
            got = await shard.read(c, oid, (dkey, b"array000"), (number, number + 12), epoch=129)
            assert got == b"ab" * 10 + b"...."
            got = await shard.read(c, oid, (dkey, b"array000"), (4999, 5002), epoch=129)
            assert got == b"..xxxx"
        assert sorted(c.list_dkeys(oid, Epoch(139), limit=9).entries) == names
        assert sorted(c.list_dkeys(oid, Epoch(140), limit=9).entries) == [names[0], names[2]]
        assert c.list_akeys(oid, names[0], Epoch(130), limit=9).entries == [b"array000"]
    flags = QueryFlag.MAX | QueryFlag.DKEY | QueryFlag.AKEY | QueryFlag.RECX
    found = c.query_key(unit(1, ObjectType.MULTI_UINT64), flags, Epoch(200))
    assert (found.dkey, found.akey) == (names[2], b"array000")
    assert found.recx is not None
    assert found.recx.end == 8000
    kv = unit(2, ObjectType.KV_LEXICAL)
    assert await shard.get(c, kv, LONG_KEY, b"0", epoch=150, cond=Cond.DKEY_FETCH) == b"long"
    assert unit(3) not in c.list_objects(Epoch(200), limit=9).entries
    more = True
    while more:
        more = shard.pool.gc_step(10)
    await shard.put(c, kv, LONG_KEY, {b"0": b"new"}, epoch=c.modification_bound + 10)


def test_shard() -> None:
    async def run() -> None:
        image = Image.of(gzip.decompress(IMAGE.read_bytes()))
        device = MemoryDevice(IMAGE_SIZE, image=image)
        with tempfile.TemporaryDirectory() as live_path:
            shard = MemoryShard(device, Path(live_path), 4096)
            await shard.open()
            await check_shard(shard)
            await shard.meta.close()

    asyncio.run(run())


def _make_image() -> None:
    async def run() -> bytes:
        device = MemoryDevice(IMAGE_SIZE)
        with tempfile.TemporaryDirectory() as live_path:
            shard = MemoryShard(device, Path(live_path), 4096)
            shard.config = type(shard.config)(wal_bytes=1 << 20, start_copy=shard.config.start_copy)
            await MetaContext.format(device, uuid=POOL, config=shard.config)
            await shard.open()
            await write_shard(shard, shard.container(CONTAINERS[0]))
            await shard.meta.close(checkpoint=False)
        return bytes(device.image)

    IMAGE.write_bytes(gzip.compress(asyncio.run(run()), 9, mtime=0))


if __name__ == "__main__":
    _make_image()

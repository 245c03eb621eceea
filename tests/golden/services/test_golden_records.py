"""Records of the services, version 2: what today's code writes, and reads, also of version 1.

`records_v2.hex` has one line a record: store, key and value in hex. `python -m
tests.golden.services.test_golden_records` prints it anew; a change of it is a new version.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from daos.container.records import ContainerMeta
from daos.pool.module import POOL_KEY
from daos.rdb.interface import UNBOUNDED, Delete, Put
from daos.rdb.local import LocalRdb
from tests.unit.embedded.cluster import Cluster, new_id

HERE = Path(__file__).parent
POOL, CONTAINER, POOL_HANDLE, HANDLE = (new_id(n) for n in (0xA1, 0xB2, 1, 2))
EPOCH = 0x1501D7988E900000  # in place of every epoch: they depend on the order of calls
Record = tuple[str, bytes, bytes]


def stores(cluster: Cluster) -> dict[str, LocalRdb]:
    system = cluster.system
    mgmt = LocalRdb(system.engine.xstream.storage._opened["mgmt"].meta, cluster.clock)
    return {"mgmt": mgmt, "pool": system.engine.xstream.value(POOL_KEY).service(POOL).rdb}


async def make(cluster: Cluster) -> None:
    """A pool with a container, everything set that can be."""
    await cluster.create_pool(uuid=POOL)
    pool = await cluster.connect(POOL, client=new_id(3))
    request = {"cksum": "crc32", "layout_type": "POSIX"}
    await pool.create("c1", uuid=CONTAINER, props=request)
    container = await pool.open("c1")
    await container.set_attrs({"name": b"\x00value"})
    await container.alloc_oids(255)
    await container.snapshot("first")
    assert (pool.handle, container.handle) == (POOL_HANDLE, HANDLE)


def masked(store: str, key: bytes, value: bytes) -> Record:
    if key.startswith(b"cont/"):
        meta = msgspec.msgpack.decode(value, type=ContainerMeta)
        epochs = {"opened": EPOCH, "modified": EPOCH}
        value = msgspec.msgpack.encode(msgspec.structs.replace(meta, **epochs))
    elif key.startswith(b"snap/"):
        key = key[:-8] + EPOCH.to_bytes(8, "big")
    elif key.startswith(b"snapname/"):
        value = EPOCH.to_bytes(8, "big")
    return store, key, value


async def written() -> list[Record]:
    with tempfile.TemporaryDirectory() as live:
        async with Cluster(Path(live)) as cluster:
            await make(cluster)
            return [
                masked(store, pair.key, pair.value)
                for store, rdb in stores(cluster).items()
                for pair in (await rdb.range(b"\0", UNBOUNDED)).pairs
            ]


def golden(version: int) -> list[Record]:
    text = (HERE / f"records_v{version}.hex").read_text()
    lines = [line.split(" ") for line in text.splitlines()]
    return [(store, bytes.fromhex(key), bytes.fromhex(value)) for store, key, value in lines]


def test_records_are_those_of_version_2() -> None:
    assert asyncio.run(written()) == golden(2)


@pytest.mark.parametrize("version", [1, 2])
def test_records_are_read(version: int, tmp_path: Path) -> None:
    async def run() -> None:
        async with Cluster(tmp_path) as cluster:
            await cluster.create_pool("other", uuid=POOL)
            for store, rdb in stores(cluster).items():
                await rdb.txn([], [Delete(b"\0", UNBOUNDED)])
                await rdb.txn(
                    [], [Put(key, value) for each, key, value in golden(version) if each == store]
                )
            await cluster.restart(checkpoint=False)
            assert await cluster.list_pools() == {"tank": "Ready"}
            pool = await cluster.connect((await cluster.find_pool("tank")).uuid)
            container = await pool.open("c1")
            assert container.uuid == CONTAINER
            assert await container.attrs() == {"name": b"\x00value"}
            assert await container.alloc_oids(1) == 256
            assert await container.snapshots() == [(EPOCH, "first")]
            props = await container.props()
            assert (props["cksum"], props["layout_type"]) == ("crc32", "POSIX")
            assert (await container.query()).handles == 1  # the golden handles were evicted

    asyncio.run(run())


if __name__ == "__main__":
    for store, key, value in asyncio.run(written()):
        sys.stdout.write(f"{store} {key.hex()} {value.hex()}\n")

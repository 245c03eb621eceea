"""A part of a pool that is damaged keeps out no other part of its rank, and says what it is."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from daos.base.errors import DER, ChecksumError, DaosError
from daos.base.ids import ObjectType
from daos.client.kv import KeyValue
from daos.client.pool import Pool
from daos.testing.simcluster import SimCluster
from daos.testing.simloop import simulate
from daos.testing.simnet import SimNetwork

MIB = 1 << 20
KEYS = [f"key{number}".encode() for number in range(20)]


async def filled(pool: Pool) -> KeyValue[bytes]:
    container = await pool.create_container("c1")
    kv = await container.kv(await container.new_oid(ObjectType.KV_LEXICAL, "SX"))
    for key in KEYS:
        await kv.put(key, key)
    return kv


async def code_of(kv: KeyValue[bytes], key: bytes) -> DER | None:
    """Raises: AssertionError   it is there, and not what was written."""
    try:
        assert await kv.get(key) == key
    except DaosError as error:
        return error.code
    return None


async def scenario(live_path: Path) -> None:
    network = SimNetwork(asyncio.get_running_loop(), random.Random(1))
    cluster = SimCluster(live_path, random.Random(1), network=network)
    await cluster.start()
    admin = cluster.admin("admin")
    client, _ = cluster.client("a", timeout=5.0)
    for label in ("good", "bad"):
        await admin.pool_create(label, 64 * MIB)
    good, bad = await client.pool("good"), await client.pool("bad")
    well, ill = await filled(good), await filled(bad)
    host = cluster.hosts[1]
    await host.stop()
    image = host.disk.images[f"pool-{bad.uuid}-0"]
    for block in image.blocks:
        image.flip(block * 4096)
    await host.start()
    await host.joined()
    # All of the other pool, and of this one what the other targets have.
    assert [await code_of(well, key) for key in KEYS] == [None] * len(KEYS)
    codes = {await code_of(ill, key) for key in KEYS}
    assert codes == {None, DER.CSUM}
    again = await bad.container("c1")
    kv = await again.kv(ill.oid)
    with pytest.raises(ChecksumError, match="can't open its part of the pool"):
        await asyncio.gather(*(kv.get(key) for key in KEYS))
    await admin.pool_destroy("bad", force=True)
    assert [pool.label for pool in await admin.pool_list()] == ["good"]
    await cluster.close()


@pytest.mark.expects_warning("can't open its part of pool 'bad'")
def test_a_rank_with_a_damaged_part_serves_the_others(tmp_path: Path) -> None:
    simulate(scenario(tmp_path), 1)

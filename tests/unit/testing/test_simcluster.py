"""Two simulated servers: they serve, crash, come back, and time is virtual."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from daos.base.ids import ObjectType
from daos.testing.simcluster import SimCluster
from daos.testing.simloop import simulate
from daos.testing.simnet import SimNetwork

MIB = 1 << 20


async def scenario(live_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    cluster = SimCluster(live_path, rng, network=SimNetwork(loop, random.Random(seed)))
    await cluster.start()
    admin = cluster.admin("admin")
    await admin.pool_create("tank", 64 * MIB)
    client, _ = cluster.client("a")
    pool = await client.pool("tank")
    cont = await pool.create_container("c1")
    kv = await cont.kv(await cont.new_oid(ObjectType.KV_LEXICAL, "SX"))
    for key in range(20):
        await kv.put(f"key{key}", b"before")
    for host in cluster.hosts:
        host.crash()
        await host.start()
        await asyncio.sleep(1)
        assert [await kv.get(f"key{key}") for key in range(20)] == [b"before"] * 20
    await cluster.close()


def test_servers_crash_and_come_back(tmp_path: Path) -> None:
    simulate(scenario(tmp_path, 1), 1)

"""A destroy that fails in the middle is finished by the service, whoever asks again or not."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from daos.base.errors import DER, DaosError, NotFoundError
from daos.base.ids import ObjectType
from daos.testing.simcluster import SimCluster
from daos.testing.simloop import simulate
from daos.testing.simnet import SimNetwork

MIB = 1 << 20


async def destroyed_beside_a_cut(live_path: Path) -> None:
    loop = asyncio.get_running_loop()
    network = SimNetwork(loop, random.Random(1))
    cluster = SimCluster(live_path, random.Random(1), network=network)
    await cluster.start()
    admin = cluster.admin("admin")
    await admin.pool_create("tank", 64 * MIB)
    client, _ = cluster.client("a", timeout=300.0)
    pool = await client.pool("tank")
    async with pool.create_container("c1") as container:
        kv = await container.kv(await container.new_oid(ObjectType.KV_LEXICAL, "SX"))
        for key in range(20):
            await kv.put(f"key{key}", bytes(5000))
    network.cut("rank0", "rank1")
    network.cut("rank1", "rank0")
    with pytest.raises(DaosError) as failed:
        await pool.destroy_container("c1")
    assert failed.value.code in (DER.UNREACH, DER.TIMEDOUT)
    with pytest.raises(NotFoundError):
        await pool.destroy_container("c1")
    network.heal()
    await asyncio.sleep(200)  # virtual: the longest pause, and the longest request
    assert (await pool.query()).containers == 0
    for host in cluster.hosts:
        assert host.engine is not None
        for target in host.engine.targets:
            assert all(not shard.vos.containers() for shard in target._shards.values())
    await cluster.close()


def test_a_rank_that_was_not_reached_destroys_its_part_later(tmp_path: Path) -> None:
    simulate(destroyed_beside_a_cut(tmp_path), 1)

"""Every target hears in the end what became of a snapshot, whoever died or was not reached."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from daos.base.errors import DaosError
from daos.base.ids import ObjectType
from daos.client.container import Container
from daos.client.pool import Pool
from daos.container.snapshots import SnapshotService
from daos.testing.simcluster import SimCluster
from daos.testing.simloop import simulate
from daos.testing.simnet import SimNetwork

MIB = 1 << 20
SOON_S = 200  # virtual: the longest pause, and the longest request


async def started(live_path: Path) -> tuple[SimCluster, Pool]:
    loop = asyncio.get_running_loop()
    network = SimNetwork(loop, random.Random(1))
    cluster = SimCluster(live_path, random.Random(1), network=network)
    await cluster.start()
    await cluster.admin("admin").pool_create("tank", 64 * MIB)
    client, _ = cluster.client("a", timeout=5.0)
    return cluster, await client.pool("tank")


async def met(pool: Pool) -> Container:
    """An open container with a part on every target."""
    container = await pool.create_container("c1")
    kv = await container.kv(await container.new_oid(ObjectType.KV_LEXICAL, "SX"))
    for number in range(20):
        await kv.put(f"key{number}", b"value")
    return container


def waiting(cluster: SimCluster) -> int:
    """How many targets wait for the fate of a snapshot."""
    engines = [host.engine for host in cluster.hosts if host.engine is not None]
    shards = [shard for e in engines for t in e.targets for shard in t._shards.values()]
    return sum(bool(shard.aggregation.pending()) for shard in shards)


def test_a_service_that_dies_before_it_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The targets of the other rank go on; the next service finds them waiting."""
    recording = asyncio.Event()

    async def never(*_arguments: object) -> None:
        recording.set()
        await asyncio.get_running_loop().create_future()

    async def scenario() -> None:
        cluster, pool = await started(tmp_path)
        container = await met(pool)
        with monkeypatch.context() as patch:
            patch.setattr(SnapshotService, "_record_snapshot", never)
            making = asyncio.ensure_future(container.snapshot("s"))
            await recording.wait()
            assert waiting(cluster) == 4
            cluster.hosts[0].crash()
            with pytest.raises(DaosError):
                await making
        assert waiting(cluster) == 2
        await cluster.hosts[0].start()
        await asyncio.sleep(SOON_S)
        assert waiting(cluster) == 0
        assert await container.snapshots() == []
        await cluster.close()

    simulate(scenario(), 1)


def test_a_target_that_is_not_reached_is_told_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        cluster, pool = await started(tmp_path)
        container = await met(pool)
        tell = SnapshotService._settle

        async def behind_a_cut(service: SnapshotService, *arguments: object) -> None:
            cluster.network.cut("rank0", "rank1")
            cluster.network.cut("rank1", "rank0")
            await tell(service, *arguments)  # type: ignore[arg-type]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SnapshotService, "_settle", behind_a_cut)
            epoch = await container.snapshot("s", timeout=100)
        assert waiting(cluster) == 2
        cluster.network.heal()
        await asyncio.sleep(SOON_S)
        assert waiting(cluster) == 0
        assert [each.epoch for each in await container.snapshots()] == [epoch]
        await cluster.close()

    simulate(scenario(), 1)

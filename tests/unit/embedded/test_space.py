"""Space comes back: old versions make room while updates come, and what is removed is seen to be.

The systems have virtual time or a clock of their own: nothing here depends on the machine's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import daos
from daos.base.ids import ContainerUuid, ObjectId, PoolUuid
from daos.engine.target import Shard
from daos.testing.simcluster import SimCluster
from daos.testing.simloop import simulate
from daos.testing.simnet import SimNetwork
from daos.testing.simsystem import simulated_system

MiB = 1 << 20
SINGLE_MAGIC = 0xD9  # docs/format/single_value_record.md
EXTENT_MAGIC = 0xDA
POOL = 64 * MiB


@pytest.fixture
def pool() -> Iterator[daos.Pool]:
    with simulated_system() as system:
        system.admin.pool_create("tank", POOL)
        with system.connect() as client, client.pool("tank") as pool:
            yield pool


def one_value(obj: daos.Object) -> Callable[[bytes], None]:
    return lambda data: obj.update(b"d", b"single", data)


def one_extent(obj: daos.Object) -> Callable[[bytes], None]:
    return lambda data: obj.write(b"d", b"array", 0, data)


@pytest.mark.parametrize("place", [one_value, one_extent])
def test_ten_times_the_pool_goes_into_one_place(
    pool: daos.Pool, place: Callable[[daos.Object], Callable[[bytes], None]]
) -> None:
    """Faster than versions grow old: an update that finds no space waits until some comes back."""
    with pool.create_container("c") as container:
        obj = container.object(container.new_oid(oclass="S1"))
        write = place(obj)
        for number in range(10 * POOL // MiB):
            write(number.to_bytes(4, "little") * (MiB // 4))
        last = number.to_bytes(4, "little") * (MiB // 4)
        if place is one_value:
            assert obj.fetch(b"d", b"single") == last
        else:
            assert obj.read(b"d", b"array", 0, MiB) == last


def test_extents_that_hide_each_other_in_part(pool: daos.Pool) -> None:
    """No room to merge, and nothing hidden as a whole: their hidden parts have to go."""
    rng = random.Random(1)
    with pool.create_container("c") as container:
        obj = container.object(container.new_oid(oclass="S1"))
        expected = bytearray(8 * MiB)
        for number in range(2 * POOL // MiB):
            at = rng.randrange(7 * MiB)
            data = number.to_bytes(4, "little") * (MiB // 4)
            obj.write(b"d", b"array", at, data)
            expected[at : at + MiB] = data
        assert obj.read(b"d", b"array", 0, 8 * MiB) == bytes(expected)


def test_destroyed_and_aggregated_space_is_there_without_another_write() -> None:
    with daos.local(targets=2) as system:
        system.admin.pool_create("tank", POOL)
        with system.connect() as client, client.pool("tank") as pool:

            def free() -> int:
                return pool.query().space.tiers[1].free

            before = free()
            kept = pool.create_container("kept")
            obj = kept.object(kept.new_oid(oclass="SX"))
            for _ in range(5):
                obj.update(b"d", b"a", bytes(MiB))
            with pool.create_container("gone") as gone:
                many = gone.object(gone.new_oid(oclass="SX"))
                for number in range(20):
                    many.update(b"%d" % number, b"a", bytes(MiB))
            assert before - free() >= 25 * MiB
            pool.destroy_container("gone")
            kept.aggregate()
            for _ in range(10_000):  # collecting takes turns of the loop, as a query does
                if before - free() < 2 * MiB:
                    break
            assert before - free() < 2 * MiB, "a MiB is stored, and a few pages of the tree"
            kept.close()


def shards_of(cluster: SimCluster, pool: PoolUuid) -> list[Shard]:
    engines = [host.engine for host in cluster.hosts]
    return [target.shard(pool) for engine in engines if engine for target in engine.targets]


def versions(shard: Shard) -> int:
    return sum(value[0] == SINGLE_MAGIC for _, value in shard.meta.cursor())


async def containers_at_rest(live_path: Path) -> None:
    """Three of them; of one a snapshot is to be kept."""
    loop = asyncio.get_running_loop()
    cluster = SimCluster(live_path, random.Random(1), network=SimNetwork(loop, random.Random(1)))
    await cluster.start()
    uuid = PoolUuid(await cluster.admin("admin").pool_create("tank", 64 * MiB))
    client, _ = cluster.client("a")
    pool = await client.pool("tank")
    containers, oids = list[ContainerUuid](), list[ObjectId]()
    for number in range(3):
        container = await pool.create_container(f"c{number}")
        containers.append(ContainerUuid(container.uuid))
        obj = await container.object(await container.new_oid(oclass="SX"))
        for dkey in range(20):
            for value in (b"old", b"new"):
                await obj.update(b"%d" % dkey, b"a", value)
                if number == dkey == 1 and value == b"old":
                    await container.snapshot("kept")
        oids.append(obj.oid)
        await container.close()
    for host in cluster.hosts:
        host.crash()
        await host.start()
        await host.joined()
    assert sum(map(versions, shards_of(cluster, uuid))) == 120
    await asyncio.sleep(60)
    shards = shards_of(cluster, uuid)
    assert sum(map(versions, shards)) == 61, "one more for the snapshot"
    assert not any(shard.vos.opened(each) for shard in shards for each in containers)
    container = await pool.container("c1")
    view = await container.at("kept")
    obj = await view.object(oids[1])
    assert await obj.fetch(b"1", b"a") == b"old"
    await cluster.close()


def test_containers_at_rest_are_aggregated(tmp_path: Path) -> None:
    simulate(containers_at_rest(tmp_path), 1)


async def a_file_that_was_cut(live_path: Path) -> None:
    loop = asyncio.get_running_loop()
    cluster = SimCluster(live_path, random.Random(1), network=SimNetwork(loop, random.Random(1)))
    await cluster.start()
    uuid = PoolUuid(await cluster.admin("admin").pool_create("tank", 64 * MiB))
    client, _ = cluster.client("a")
    pool = await client.pool("tank")
    container = await pool.create_container("c")
    array = await container.array(chunk_size=100)
    written = []
    for size in (2000, 450, 0):
        await array.write(0, b"x" * 2000)
        await array.resize(size)
        written.append((await array.stat()).newest)
    assert written == sorted(set(written))
    oid = array.oid
    await container.close()
    for host in cluster.hosts:
        host.crash()
        await host.start()
        await host.joined()
    await asyncio.sleep(60)
    stored = [value[0] for shard in shards_of(cluster, uuid) for _, value in shard.meta.cursor()]
    assert EXTENT_MAGIC not in stored
    container = await pool.container("c")
    array = await container.array(oid)
    for _ in range(2):  # found, then known
        assert await array.stat() == (0, written[-1])
    await cluster.close()


def test_the_newest_epoch_of_what_was_cut_off_and_aggregated(tmp_path: Path) -> None:
    simulate(a_file_that_was_cut(tmp_path), 1)

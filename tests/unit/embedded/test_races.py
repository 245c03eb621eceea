"""Requests that meet each other: the metadata store yields at random, seed by seed.

In memory the store answers at once, so that a look and the write behind it hardly ever have
anything between them. Here every call to it takes a random number of turns of the loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from daos.pool.module import POOL_KEY
from daos.rdb.interface import UNBOUNDED
from daos.rdb.local import LocalRdb
from tests.unit.embedded.cluster import Cluster, PoolHandle, code_of

SEEDS = range(25)
TURNS = (0, 0, 1, 2, 3, 5, 60)  # now and then everybody else goes first


@pytest.fixture
def rng(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> random.Random:
    rng = random.Random(request.param)

    def slow(call: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        async def slowed(*args: object, **kwargs: object) -> object:
            for _ in range(rng.choice(TURNS)):
                await asyncio.sleep(0)
            result = await call(*args, **kwargs)
            for _ in range(rng.choice(TURNS)):
                await asyncio.sleep(0)
            return result

        return slowed

    monkeypatch.setattr(LocalRdb, "range", slow(LocalRdb.range))
    monkeypatch.setattr(LocalRdb, "txn", slow(LocalRdb.txn))
    return rng


def seeds(
    body: Callable[[Cluster, PoolHandle, random.Random], Coroutine[Any, Any, None]],
) -> Callable[..., None]:
    """A race in a pool with a container "c1", once a seed."""

    @pytest.mark.parametrize("rng", SEEDS, indirect=True)
    def test(tmp_path: Path, rng: random.Random) -> None:
        async def run() -> None:
            async with Cluster(tmp_path, targets=1) as cluster:
                pool = await cluster.pool()
                await pool.create("c1")
                await body(cluster, pool, rng)

        asyncio.run(run())

    test.__name__, test.__doc__ = body.__name__, body.__doc__
    return test


async def race(rng: random.Random, *calls: Coroutine[Any, Any, Any]) -> list[str]:
    """Codes of the calls, which begin in a random order and at random moments."""
    latest = rng.choice((3, 10, 40, 120))

    async def late(call: Coroutine[Any, Any, Any]) -> str:
        for _ in range(rng.randrange(latest)):
            await asyncio.sleep(0)
        return await code_of(call)

    return list(await asyncio.gather(*(late(call) for call in calls)))


async def keys(cluster: Cluster, pool: PoolHandle, *prefixes: bytes) -> list[bytes]:
    rdb = cluster.system.engine.xstream.value(POOL_KEY).service(pool.pool).rdb
    pairs = (await rdb.range(b"\0", UNBOUNDED)).pairs
    return [pair.key for pair in pairs if pair.key.startswith(prefixes)]


@seeds
async def test_one_exclusive_connect_wins(
    cluster: Cluster, pool: PoolHandle, rng: random.Random
) -> None:
    await pool.disconnect()
    codes = await race(rng, *(cluster.connect(pool.pool, "ex") for _ in range(5)))
    assert sorted(codes) == ["BUSY"] * 4 + ["SUCCESS"]


@seeds
async def test_one_exclusive_open_wins(
    cluster: Cluster, pool: PoolHandle, rng: random.Random
) -> None:
    codes = await race(rng, *(pool.open("c1", "ex") for _ in range(5)))
    assert sorted(codes) == ["BUSY"] * 4 + ["SUCCESS"]
    assert len(await keys(cluster, pool, b"conthdl/")) == 1


@seeds
async def test_a_pool_is_not_destroyed_under_who_just_connects(
    cluster: Cluster, pool: PoolHandle, rng: random.Random
) -> None:
    await pool.disconnect()
    destroyed, *connected = await race(
        rng, cluster.destroy_pool(), *(cluster.connect(pool.pool) for _ in range(3))
    )
    if "SUCCESS" in connected:
        assert destroyed == "BUSY"
        assert await cluster.list_pools() == {"tank": "Ready"}
        assert (await (await cluster.connect(pool.pool)).query()).handles > 1
    else:
        assert destroyed == "SUCCESS"
        assert set(connected) <= {"BUSY", "NONEXIST", "SHUTDOWN"}


@seeds
async def test_destroys_of_one_pool_leave_nothing(
    cluster: Cluster, pool: PoolHandle, rng: random.Random
) -> None:
    calls = [cluster.destroy_pool(force=True) for _ in range(4)]
    codes = await race(rng, *calls)
    assert "SUCCESS" in codes
    assert set(codes) <= {"SUCCESS", "NONEXIST"}
    assert await cluster.list_pools() == {}
    assert cluster.directory.names() == ["mgmt"]
    await cluster.create_pool()


@seeds
async def test_changes_beside_a_destroy_leave_nothing_behind(
    cluster: Cluster, pool: PoolHandle, rng: random.Random
) -> None:
    container = await pool.open("c1")
    await race(
        rng,
        *(container.set_attrs({f"a{i}": b"x"}) for i in range(3)),
        *(container.snapshot(f"s{i}") for i in range(3)),
        container.destroy_snapshot(0, "s0"),
        container.alloc_oids(5),
        container.set_props(label="c2"),
        pool.open("c1"),
        pool.destroy("c1", force=True),
        pool.destroy("c2", force=True),
    )
    while labels := await pool.list():  # one of the names may have been the wrong one then
        await pool.destroy(labels[0], force=True)
    assert await keys(cluster, pool, b"cont", b"snap") == []
    assert not cluster.targets[0]._handles


@seeds
async def test_an_open_does_not_outlive_its_pool_handle(
    cluster: Cluster, pool: PoolHandle, rng: random.Random
) -> None:
    mine = await cluster.connect(pool.pool)
    opens = [mine.open("c1") for _ in range(3)]
    codes = await race(rng, mine.disconnect(), *opens)
    assert codes[0] == "SUCCESS"
    assert set(codes[1:]) <= {"SUCCESS", "NO_HDL"}
    assert await keys(cluster, pool, b"conthdl") == []
    assert not cluster.targets[0]._handles


@seeds
async def test_a_label_goes_to_one(cluster: Cluster, pool: PoolHandle, rng: random.Random) -> None:
    first, second = await pool.container("x1"), await pool.container("x2")
    codes = await race(
        rng, first.set_props(label="new"), second.set_props(label="new"), pool.create("new")
    )
    assert sorted(codes) == ["EXIST", "EXIST", "SUCCESS"]
    labels = await pool.list()
    assert labels.count("new") == 1
    assert len(await keys(cluster, pool, b"contlabel/")) == len(labels)


@seeds
async def test_ids_and_attributes_of_many(
    cluster: Cluster, pool: PoolHandle, rng: random.Random
) -> None:
    container = await pool.open("c1")
    firsts = []

    async def take(count: int) -> None:
        firsts.append((await container.alloc_oids(count), count))

    codes = await race(
        rng,
        *(take(rng.randrange(1, 9)) for _ in range(6)),
        *(container.set_attrs({f"a{i}": b"x"}) for i in range(6)),
        *(container.snapshot(f"s{i}") for i in range(3)),
    )
    assert set(codes) == {"SUCCESS"}
    end = 1
    for first, count in sorted(firsts):
        assert first == end
        end = first + count
    assert len(await container.attrs()) == 6
    assert len(await container.snapshots()) == 3

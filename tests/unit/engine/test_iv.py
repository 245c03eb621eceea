"""Incast variables: terms and versions, the tree, and what six ranks know of a pool."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from daos.base.errors import DaosError
from daos.base.ids import ObjectType, Rank
from daos.client.pool import Pool
from daos.engine.iv import IV_KEY, Iv
from daos.engine.iv_core import (
    ENDED_MAX,
    Entry,
    Head,
    Id,
    IvClass,
    Known,
    Mastered,
    NameSpace,
    check_order,
    children,
    parent,
)
from daos.engine.target import Shard
from daos.testing.simcluster import SimCluster
from daos.testing.simloop import simulate
from daos.testing.simnet import SimNetwork

MIB = 1 << 20
POOL = bytes(16)
RANKS = 6  # rank 1 has rank 5 below it


def head(term: int, pool: bytes = POOL) -> Head:
    return Head(pool, Rank(0), term, ((Rank(0), 1), (Rank(1), 2)))


@pytest.mark.parametrize("count", [1, 2, 4, 5, 16, 17, 100])
def test_the_tree_reaches_each_once(count: int) -> None:
    reached, above = [0], {0: 0}
    for position in reached:
        for child in children(position, count):
            assert parent(child) == position
            above[child] = above[position] + 1
            reached.append(child)
    assert sorted(reached) == [*range(count)]
    assert 4 ** (max(above.values()) - 1) < count


def test_a_tree_is_of_members_the_master_first() -> None:
    for ranks, good in (
        ([0, 1], True),
        ([0], True),
        ([1, 0], False),
        ([0, 2], False),
        ([0, 1, 1], False),
        ([], False),
    ):
        assert check_order([Rank(rank) for rank in ranks], head(1)) is good


def test_a_newer_term_replaces_and_an_older_is_refused() -> None:
    known = Known()
    first = known.take(head(5))
    first.entries[Id(1)] = Entry(3, b"old")
    assert known.take(head(5)) is first
    second = known.take(head(6))
    assert second.entries == {}
    with pytest.raises(DaosError, match="term 5") as refused:
        known.take(head(5))
    assert refused.value.code.name == "GRPVER"


def test_behind_the_end_of_a_term_nothing_makes_it_anew() -> None:
    known = Known()
    known.end(POOL, 7)  # overtakes what began it
    for term in (6, 7):
        with pytest.raises(DaosError, match="present"):
            known.take(head(term))
    known.take(head(8))
    with pytest.raises(DaosError, match="term 7"):
        known.end(POOL, 7)
    assert len(known) == 1
    known.end(POOL, 8)
    assert len(known) == 0
    for number in range(ENDED_MAX + 1):
        known.end(number.to_bytes(16, "big"), 1)
    assert len(known._ended) == ENDED_MAX


def test_entries_only_grow() -> None:
    space = Known().take(head(1))
    assert not space.is_old(Id(1), Entry(0, b""))
    space.entries[Id(1)] = Entry(2, b"two")
    assert space.is_old(Id(1), Entry(1, b"one"))
    assert not space.is_old(Id(1), Entry(2, b"two"))
    assert not space.is_old(Id(1), Entry(3, b"three"))
    assert space.find(Id(1), 2) == Entry(2, b"two")
    assert space.find(Id(1), 3) is None
    mastered = Mastered(head(1), {Id(1): Entry(2, b"two")})
    mastered.untold.clear()
    mastered.put(Id(1), Entry(1, b"one"))
    assert (mastered.entries[Id(1)].version, mastered.untold) == (2, set())
    mastered.put(Id(1), Entry(3, b"three"))
    assert mastered.untold == {0, 1}


# Six ranks


class Bench:
    """A system of six ranks, simulated, with a pool."""

    def __init__(self, cluster: SimCluster) -> None:
        self.cluster = cluster

    def iv(self, rank: int) -> Iv:
        engine = self.cluster.hosts[rank].engine
        assert engine is not None
        return engine.xstream.value(IV_KEY)

    def shard(self, rank: int, pool: Pool) -> Shard:
        engine = self.cluster.hosts[rank].engine
        assert engine is not None
        return next(shard for uuid, shard in engine.targets[0]._shards.items() if uuid == pool.uuid)

    def space(self, rank: int, pool: Pool) -> NameSpace:
        space = self.iv(rank)._known.get(pool.uuid.bytes)
        assert space is not None
        return space

    def versions(self, pool: Pool) -> list[int]:
        return [self.shard(rank, pool).map_version for rank in range(RANKS)]

    def reclaims(self, pool: Pool) -> set[str]:
        return {self.shard(rank, pool).aggregation._reclaim for rank in range(RANKS)}

    def traces(self) -> list[int]:
        """What is left of name spaces on each rank."""
        return [len(self.iv(rank)) for rank in range(RANKS)]

    async def connect(self) -> Pool:
        client, _ = self.cluster.client(f"client{self.cluster.rng.getrandbits(32)}")
        return await client.pool("tank")


async def until(what: Callable[[], bool], seconds: float = 30) -> None:
    """Of virtual time, which costs nothing."""
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110 ranks tell nobody of what they know
            await asyncio.sleep(0.01)


def over_six_ranks(
    body: Callable[[Bench], Coroutine[Any, Any, None]],
) -> Callable[..., None]:
    @functools.wraps(body)
    def test(tmp_path: Path, seed: int) -> None:
        async def run() -> None:
            network = SimNetwork(asyncio.get_running_loop(), random.Random(seed))
            cluster = SimCluster(
                tmp_path, random.Random(seed), network=network, servers=RANKS, targets=1
            )
            await cluster.start()
            for host in cluster.hosts:
                assert await host.joined()
            await cluster.admin("admin").pool_create("tank", 32 * MIB * RANKS)
            bench = Bench(cluster)
            await body(bench)
            await cluster.close()
            assert cluster.bugs == []

        simulate(run(), seed)

    del test.__wrapped__  # type: ignore[attr-defined]
    return pytest.mark.parametrize("seed", [1, 2])(test)


@over_six_ranks
async def test_all_know_the_map_while_somebody_is_connected(bench: Bench) -> None:
    assert bench.traces() == [0] * RANKS
    first, second = await bench.connect(), await bench.connect()
    await until(lambda: bench.versions(first) == [1] * RANKS)
    await until(lambda: bench.traces() == [2] + [1] * (RANKS - 1))
    await first.close()
    await asyncio.sleep(10)
    assert bench.traces() == [2] + [1] * (RANKS - 1)
    await second.close()
    await until(lambda: bench.traces() == [0] * RANKS)


@over_six_ranks
async def test_changes_are_known_to_all_before_they_are_answered(bench: Bench) -> None:
    pool = await bench.connect()
    await pool.props.set("reclaim", "time")
    assert bench.reclaims(pool) == {"time"}
    assert await bench.cluster.bump_map(pool.uuid.bytes) == 2
    assert bench.versions(pool) == [2] * RANKS


@over_six_ranks
async def test_changes_without_a_connection_are_told_and_leave_nothing(bench: Bench) -> None:
    pool = await bench.connect()
    await pool.close()
    await until(lambda: bench.traces() == [0] * RANKS)
    assert await bench.cluster.bump_map(pool.uuid.bytes) == 2
    assert bench.versions(pool) == [2] * RANKS
    await until(lambda: bench.traces() == [0] * RANKS)


@over_six_ranks
async def test_a_rank_that_is_down_keeps_nobody_below_it_from_the_news(bench: Bench) -> None:
    pool = await bench.connect()
    await until(lambda: bench.versions(pool) == [1] * RANKS)
    host = bench.cluster.hosts[1]
    host.crash()
    with pytest.raises(DaosError, match="rank 1 was not told"):
        await bench.cluster.bump_map(pool.uuid.bytes)
    told = [bench.shard(rank, pool).map_version for rank in range(RANKS) if rank != 1]
    assert told == [2] * (RANKS - 1)
    await host.start()
    assert await host.joined()
    assert bench.versions(pool) == [2] * RANKS
    await pool.close()
    await until(lambda: bench.traces() == [0] * RANKS, 90)


@over_six_ranks
async def test_who_joins_is_told_though_its_rank_was(bench: Bench) -> None:
    """A shard that is opened when its rank has been told already."""
    pool = await bench.connect()
    await bench.cluster.bump_map(pool.uuid.bytes)
    shard = bench.shard(5, pool)
    shard.map_version, shard.pool_map = 0, b""
    await bench.iv(0).tell(pool.uuid.bytes, Rank(5))
    assert bench.versions(pool) == [2] * RANKS


@over_six_ranks
async def test_a_target_without_a_shard_keeps_no_other_from_the_news(bench: Bench) -> None:
    pool = await bench.connect()
    engine = bench.cluster.hosts[5].engine
    assert engine is not None
    shards = engine.targets[0]._shards
    uuid, shard = next(iter(shards.items()))
    del shards[uuid]  # as one that could not be opened
    await bench.cluster.bump_map(pool.uuid.bytes)
    await pool.props.set("reclaim", "time")
    shards[uuid] = shard
    assert bench.versions(pool)[:5] == [2] * 5


@over_six_ranks
async def test_the_master_starts_again_with_its_connections(bench: Bench) -> None:
    pool = await bench.connect()
    await bench.cluster.bump_map(pool.uuid.bytes)
    host = bench.cluster.hosts[0]
    host.crash()
    await host.start()
    await until(lambda: bench.versions(pool) == [2] * RANKS)
    await until(lambda: bench.traces() == [2] + [1] * (RANKS - 1))
    await bench.cluster.bump_map(pool.uuid.bytes)
    assert bench.versions(pool) == [3] * RANKS
    await pool.query()  # on a new connection
    await pool.close()
    await until(lambda: bench.traces() == [0] * RANKS)


@over_six_ranks
async def test_the_end_reaches_a_rank_that_was_cut_off(bench: Bench) -> None:
    pool = await bench.connect()
    await until(lambda: bench.traces() == [2] + [1] * (RANKS - 1))
    for other in range(RANKS):
        bench.cluster.network.cut(f"rank{other}", "rank5")
    await pool.close()
    await asyncio.sleep(20)
    assert bench.traces()[1:] == [0, 0, 0, 0, 1]
    bench.cluster.network.heal()
    await until(lambda: bench.traces() == [0] * RANKS, 90)


@over_six_ranks
async def test_an_end_that_comes_while_a_rank_is_waited_for(bench: Bench) -> None:
    bench.cluster.network.cut("rank0", "rank5")
    bench.cluster.network.cut("rank1", "rank5")
    pool = await bench.connect()
    await pool.close()  # rank 5 is still waited for
    await until(lambda: bench.traces()[1:] == [0] * (RANKS - 1), 20)
    bench.cluster.network.heal()
    await until(lambda: bench.traces() == [0] * RANKS, 90)


@over_six_ranks
async def test_many_come_and_go(bench: Bench) -> None:
    async def visit(number: int) -> None:
        await asyncio.sleep(bench.cluster.rng.random())
        pool = await bench.connect()
        await pool.props.set("reclaim", ("time", "lazy")[number % 2])
        await asyncio.sleep(bench.cluster.rng.random() / 10)
        await pool.close()

    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(visit(number))
    await until(lambda: bench.traces() == [0] * RANKS)
    pool = await bench.connect()
    kept = await pool.props.get("reclaim")
    await until(lambda: bench.reclaims(pool) == {kept})


@over_six_ranks
async def test_who_places_by_an_old_map_is_told_and_goes_on(bench: Bench) -> None:
    pool = await bench.connect()
    cont = await pool.create_container("c1")
    kv = await cont.kv(await cont.new_oid(ObjectType.KV_LEXICAL, "SX"))
    for number in range(20):
        await kv.put(f"key{number}", b"before")
    await bench.cluster.bump_map(pool.uuid.bytes)
    assert pool.pool_map.version == 1
    await asyncio.gather(*(kv.put(f"key{number}", b"after") for number in range(20)))
    assert pool.pool_map.version == 2
    await bench.cluster.bump_map(pool.uuid.bytes)
    assert [await kv.get(f"key{number}") for number in range(20)] == [b"after"] * 20
    assert pool.pool_map.version == 3
    await bench.cluster.bump_map(pool.uuid.bytes)
    assert len([key async for key in kv]) == 20
    assert pool.pool_map.version == 4
    await bench.cluster.bump_map(pool.uuid.bytes)
    assert [oid async for oid in cont.objects()] == [kv.oid]
    assert pool.pool_map.version == 5


@over_six_ranks
async def test_a_target_that_missed_the_news_asks_up_the_tree(bench: Bench) -> None:
    pool = await bench.connect()
    cont = await pool.create_container("c1")
    kv = await cont.kv(await cont.new_oid(ObjectType.KV_LEXICAL, "SX"))
    for number in range(40):
        await kv.put(f"key{number}", b"before")
    await bench.cluster.bump_map(pool.uuid.bytes)
    # As if rank 5, and rank 1 above it, had not been told.
    for rank in (1, 5):
        bench.space(rank, pool).entries.pop(Id(IvClass.POOL_MAP))
        shard = bench.shard(rank, pool)
        shard.map_version, shard.pool_map = 1, b""
    for number in range(40):
        await kv.put(f"key{number}", b"after")  # the first ones hear of the newer map
    await until(lambda: bench.versions(pool) == [2] * RANKS)
    assert bench.space(5, pool).find(Id(IvClass.POOL_MAP), 2) is not None

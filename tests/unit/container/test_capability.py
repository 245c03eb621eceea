"""Handles of containers as incast variables: who asks, who forgets, and how often."""

from __future__ import annotations

import asyncio
import functools
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from daos.base.errors import AgainError, DaosError, StaleHandleError
from daos.base.ids import ObjectType, PoolUuid
from daos.client.client import Client
from daos.client.container import Container
from daos.client.kv import KeyValue
from daos.client.pool import Pool
from daos.container import capability
from daos.container.capability import CapabilityClass
from daos.container.service import ContainerService
from daos.engine.iv import IV_KEY
from daos.engine.iv_core import Entry
from daos.engine.rank import Engine
from daos.engine.xstream import Xstream
from daos.pool.module import POOL_KEY
from daos.testing.checkers.handles import left_behind, who_knows
from daos.testing.simcluster import SimCluster
from daos.testing.simloop import simulate
from daos.testing.simnet import SimNetwork
from tests.unit.embedded.cluster import Cluster, code_of, oid_of, on_cluster

MIB = 1 << 20
KEYS = [f"key{number}" for number in range(160)]  # on every target


@on_cluster
async def test_a_close_that_overtakes_a_question_has_the_last_word(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was on its way to the target, and would have made a handle."""
    pool = await cluster.pool()
    await pool.create("c1")
    container = await pool.open("c1", met=False)
    answered, late = asyncio.Event(), asyncio.Event()
    whole = capability.fetch

    async def slow(xstream: Xstream, pool: PoolUuid, number: int, key: bytes) -> Entry:
        entry = await whole(xstream, pool, number, key)
        answered.set()
        await late.wait()
        return entry

    monkeypatch.setattr(capability, "fetch", slow)
    asking = asyncio.ensure_future(code_of(container.get(oid_of(), b"d", b"a")))
    await answered.wait()
    await container.close()
    late.set()
    assert await asking == "NO_HDL"
    assert not cluster.targets[0]._handles
    assert not cluster.shard(pool.pool).vos.containers()


# Several ranks


class Bench:
    """A system of some ranks, simulated, with a pool and a container."""

    def __init__(self, cluster: SimCluster) -> None:
        self.cluster = cluster
        self.sent: Counter[str] = Counter()  # messages of engines, by procedure
        self.to_master: Counter[str] = Counter()

    @property
    def engines(self) -> list[Engine]:
        return [host.engine for host in self.cluster.hosts if host.engine is not None]

    def client(self, timeout: float = 60) -> Client:
        name = f"client{self.cluster.rng.getrandbits(32)}"
        return self.cluster.client(name, timeout=timeout)[0]

    async def connect(self, timeout: float = 60) -> Pool:
        return await self.client(timeout).pool("tank")

    def count(self) -> None:
        """From now on what engines send."""

        def counted(send: Callable[..., Any], own: tuple[int, int]) -> Callable[..., Any]:
            def counting(endpoint: Any, procedure: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401
                self.sent[procedure.name] += tuple(endpoint) != own
                self.to_master[procedure.name] += endpoint.rank == 0
                return send(endpoint, procedure, *args, **options)

            return counting

        for engine in self.engines:
            for xstream in (engine.xstream, *(target.xstream for target in engine.targets)):
                context = xstream.context
                context.send = counted(context.send, (engine.rank, xstream.tag))  # type: ignore[method-assign]

    def left(self) -> list[str]:
        return [what for engine in self.engines for what in left_behind(engine)]

    def known(self, container: Container) -> list[str]:
        return who_knows(self.engines, container._service.handle)


def on_ranks(
    ranks: int, targets: int = 2, seeds: tuple[int, ...] = (1, 2)
) -> Callable[[Callable[[Bench], Coroutine[Any, Any, None]]], Callable[..., None]]:
    def decorate(body: Callable[[Bench], Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @functools.wraps(body)
        def test(tmp_path: Path, seed: int) -> None:
            async def run() -> None:
                network = SimNetwork(asyncio.get_running_loop(), random.Random(seed))
                cluster = SimCluster(
                    tmp_path,
                    random.Random(seed),
                    network=network,
                    servers=ranks,
                    targets=targets,
                )
                await cluster.start()
                for host in cluster.hosts:
                    assert await host.joined()
                await cluster.admin("admin").pool_create("tank", 16 * MIB * ranks * targets)
                bench = Bench(cluster)
                pool = await bench.connect()
                await pool.create_container("c1")
                await pool.close()
                await body(bench)
                await cluster.close()
                assert cluster.bugs == []

            simulate(run(), seed)

        del test.__wrapped__  # type: ignore[attr-defined]
        return pytest.mark.parametrize("seed", seeds)(test)

    return decorate


async def until(what: Callable[[], bool], seconds: float = 90) -> None:
    """Of virtual time, which costs nothing."""
    async with asyncio.timeout(seconds):
        while not what():  # noqa: ASYNC110 ranks tell nobody of what they know
            await asyncio.sleep(0.01)


async def use(container: Container) -> KeyValue[bytes]:
    """Have every target meet the handle."""
    for _ in range(2):  # one object may have nothing on some target
        kv = await container.kv(await container.new_oid(ObjectType.KV_LEXICAL, "SX"))
        await asyncio.gather(*(kv.put(key, b"value") for key in KEYS))
    return kv


@on_ranks(2)
async def test_what_an_open_its_use_and_its_close_cost(bench: Bench) -> None:
    """The table of docs/design/004-servers.md, for 2 ranks of 2 targets."""
    pool = await bench.connect()
    await until(lambda: all(len(engine.xstream.value(IV_KEY)) for engine in bench.engines))
    await asyncio.sleep(1)
    bench.count()
    container = await pool.container("c1")
    assert not bench.sent
    await use(container)
    # A question of each target, and one of the other rank; the same for what must be kept, but that
    # no copy answers.
    assert bench.sent == {"iv_fetch": (4 + 1) + (4 + 2)}
    bench.sent.clear()
    again = await pool.container("c1")
    await use(again)
    assert bench.sent == {"iv_fetch": 4 + 1}
    bench.sent.clear()
    await again.close()
    assert bench.sent == {"iv_sync": 1, "cont_tgt_close": 4}
    bench.sent.clear()
    unused = await pool.container("c1")
    await unused.close()
    assert bench.sent == {"iv_sync": 1}


@on_ranks(16, 1, seeds=(1,))
async def test_copies_on_the_way_spare_the_master(bench: Bench) -> None:
    pool = await bench.connect()
    await until(lambda: all(len(engine.xstream.value(IV_KEY)) for engine in bench.engines))
    await asyncio.sleep(1)
    bench.count()
    container = await pool.container("c1")
    await use(container)
    assert len(bench.known(container)) == 2 * 16
    # Of the handle: its own target, and the six ranks below it. Of what must be kept: all 16.
    assert bench.to_master["iv_fetch"] == (1 + 6) + 16
    bench.to_master.clear()
    await container.close()
    assert (bench.sent["iv_sync"], bench.sent["cont_tgt_close"]) == (15, 16)
    assert bench.known(container) == []


@on_ranks(6, 1)
async def test_a_close_is_known_everywhere_when_it_is_answered(bench: Bench) -> None:
    pool = await bench.connect()
    first, second = await pool.container("c1"), await pool.container("c1", "r")
    kv = await use(first)
    read_only = await second.kv(kv.oid)
    await asyncio.gather(*(read_only.get(key) for key in KEYS))
    assert len(bench.known(first)) == len(bench.known(second)) == 12
    await first.close()
    assert bench.known(first) == []
    assert len(bench.known(second)) == 12
    assert await read_only.get("key1") == b"value"
    await pool.close()
    assert bench.known(second) == []
    await until(lambda: bench.left() == [])


@on_ranks(6, 1)
async def test_a_rank_that_missed_a_close_is_purged(bench: Bench) -> None:
    """And those below it, which had asked it while it did not know better."""
    pool = await bench.connect(timeout=10)
    closed, stays = await pool.container("c1"), await pool.container("c1")
    await asyncio.gather(use(closed), use(stays))
    bench.cluster.network.cut("rank0", "rank1")
    with pytest.raises(DaosError, match="rank 1 was not told"):
        await closed.close()
    assert bench.known(closed) == ["target 0 of rank 1", "rank 1"]
    target = bench.engines[5].targets[0]
    with pytest.raises(AgainError, match="just met"):  # rank 5 is below rank 1, and asks it
        target.handle(closed._service.handle, pool.uuid.bytes, write=False)
    await until(lambda: "target 0 of rank 5" in bench.known(closed))
    bench.cluster.network.heal()
    await until(lambda: bench.known(closed) == [])
    await use(stays)
    await pool.close()
    await until(lambda: bench.left() == [])


@on_ranks(2)
async def test_handles_outlive_a_restart_of_either_rank(bench: Bench) -> None:
    pool = await bench.connect()
    stays, closed = await pool.container("c1"), await pool.container("c1")
    await asyncio.gather(use(stays), use(closed))
    for host in bench.cluster.hosts:
        host.crash()
        await host.start()
        assert await host.joined()
        await use(stays)
    await closed.close()
    assert bench.known(closed) == []
    await pool.close()
    await until(lambda: bench.left() == [])


@on_ranks(2)
async def test_a_service_that_dies_in_a_close_leaves_no_handle(bench: Bench) -> None:
    """The record is gone, and nobody was told: the new term tells them."""
    pool = await bench.connect(timeout=10)
    closed = await pool.container("c1")
    await use(closed)
    dying = asyncio.Event()

    async def never(*_arguments: object, **_options: object) -> None:
        dying.set()
        await asyncio.get_running_loop().create_future()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ContainerService, "_invalidate", never)
        closing = asyncio.ensure_future(closed.close())
        await dying.wait()
        bench.cluster.hosts[0].crash()
        with pytest.raises(DaosError):
            await closing
    assert bench.known(closed)
    await bench.cluster.hosts[0].start()
    await until(lambda: bench.known(closed) == [])
    await pool.query()
    await pool.close()
    await until(lambda: bench.left() == [])


@on_ranks(2)
async def test_a_service_that_dies_at_the_last_disconnect_leaves_nothing(bench: Bench) -> None:
    pool = await bench.connect()
    await use(await pool.container("c1"))
    bench.cluster.network.cut("rank0", "rank1")
    closing = asyncio.ensure_future(pool.close())
    await until(lambda: not bench.engines[0].xstream.value(IV_KEY).masters(pool.uuid.bytes))
    bench.cluster.hosts[0].crash()
    await asyncio.gather(closing, return_exceptions=True)
    assert bench.left()
    bench.cluster.network.heal()
    await bench.cluster.hosts[0].start()
    await until(lambda: bench.left() == [])


@on_ranks(2)
async def test_what_a_close_overtakes_on_its_way_is_asked_again(bench: Bench) -> None:
    """V6: the answer of the service was made before the close, and comes behind it."""
    pool = await bench.connect()
    container = await pool.container("c1")
    made, late = asyncio.Event(), asyncio.Event()
    whole = CapabilityClass.fetch

    async def slow(self: CapabilityClass, pool: bytes, key: bytes) -> Entry:
        entry = await whole(self, pool, key)
        made.set()
        await late.wait()
        return entry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CapabilityClass, "fetch", slow)
        kv = await container.kv(await container.new_oid(ObjectType.KV_LEXICAL, "SX"))
        asking = [asyncio.ensure_future(kv.get(key)) for key in KEYS]
        await made.wait()
        await container.close()
        late.set()
        found = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(each) for each in found} == {StaleHandleError}
    assert bench.known(container) == []
    await pool.close()
    await until(lambda: bench.left() == [])


@on_ranks(3, 1, seeds=(1, 2, 3, 4))
async def test_nothing_is_left_of_those_who_come_and_go(bench: Bench) -> None:
    """Connected, opened, used, closed in all orders; some are killed, and evicted."""
    rng = bench.cluster.rng
    first = await bench.connect()
    oid = (await use(await first.container("c1"))).oid
    await first.close()
    killed = list[tuple[bytes, bytes]]()  # pools, and handles of clients that are gone

    async def visit() -> None:
        client = bench.client()
        await asyncio.sleep(rng.random() * 3)
        pool = await client.pool("tank")
        containers = list[Container]()
        for _ in range(rng.randint(0, 3)):
            containers.append(await pool.container("c1", rng.choice(("r", "rw"))))
            if rng.random() < 0.7:
                kv = await containers[-1].kv(oid)
                await asyncio.gather(*(kv.get(key) for key in KEYS[: rng.randint(1, 20)]))
        rng.shuffle(containers)
        for container in containers[: rng.randint(0, len(containers))]:
            await container.close()
            assert bench.known(container) == []
        if rng.random() < 0.3:
            killed.append((pool.uuid.bytes, pool._service.handle))
            await client.context.close()  # without a word to anybody
        else:
            await pool.close()
            assert [bench.known(each) for each in containers] == [[]] * len(containers)

    async with asyncio.TaskGroup() as group:
        for _ in range(24):
            group.create_task(visit())
    services = bench.engines[0].xstream.value(POOL_KEY)
    for pool, handle in killed:
        deadline_ns = bench.engines[0].clock.now_ns() + 10**10
        assert await services.evict(pool, only=[handle], deadline_ns=deadline_ns) == 1
    await until(lambda: bench.left() == [])

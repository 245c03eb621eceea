"""A system of two ranks: engines on one network, services on the first."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from daos.base.errors import InvalidError
from daos.base.ids import ObjectType, Rank
from daos.bio.checkpoint import InlineCopy
from daos.bio.meta import MetaConfig
from daos.cart.transport.inproc import InprocNetwork
from daos.client.admin import Admin
from daos.client.client import Client
from daos.embedded.modules import own_modules
from daos.engine.rank import Engine, Member
from daos.mgmt.module import ManagementModule
from daos.testing.devices import MemoryDirectory
from tests.unit.embedded.cluster import Clock

MIB = 1 << 20
TARGETS = 2


class TwoRanks:
    """Engines over devices in memory, started and stopped one by one."""

    def __init__(self, live_path: Path) -> None:
        self.live_path = live_path
        self.clock = Clock()
        self.rng = random.Random(3)
        self.network = InprocNetwork(asyncio.get_running_loop())
        self.images = [MemoryDirectory().images, MemoryDirectory().images]
        self.engines: dict[int, Engine] = {}
        self.members = tuple(Member(f"host{n}", Rank(n), TARGETS) for n in range(2))
        self.starts = 0

    async def start(self, number: int, *, members: tuple[Member, ...] = ()) -> None:
        self.starts += 1
        engine = self.engines[number] = Engine(
            Rank(number),
            own_modules(),
            network=self.network,
            directory=MemoryDirectory(self.images[number]),
            live_path=self.live_path / str(self.starts),
            meta=MetaConfig(start_copy=InlineCopy),
            clock=self.clock,
            rng=self.rng,
        )
        engine.add_targets(TARGETS)
        await engine.set_up(members or self.members, evict=False)

    async def stop(self, number: int) -> None:
        await self.engines.pop(number).stop(checkpoint=False)

    async def joined(self) -> None:
        mgmts = [each.modules.find(ManagementModule) for each in self.engines.values()]
        await asyncio.gather(*(each.joining for each in mgmts if each.joining is not None))

    def client(self) -> Client:
        engine = self.engines[0]
        return Client(engine.client_context(), clock=self.clock, rng=self.rng)


def on_two_ranks(
    body: Callable[[TwoRanks], Coroutine[Any, Any, None]],
) -> Callable[[Path], None]:
    def test(tmp_path: Path) -> None:
        async def run() -> None:
            ranks = TwoRanks(tmp_path)
            await ranks.start(0)
            await ranks.start(1)
            await ranks.joined()
            try:
                await body(ranks)
            finally:
                for number in list(ranks.engines):
                    await ranks.stop(number)

        asyncio.run(run())

    test.__doc__ = body.__doc__
    return test


async def make_pool(ranks: TwoRanks) -> None:
    admin = Admin(ranks.engines[0].client_context(), clock=ranks.clock, rng=ranks.rng)
    await admin.pool_create("tank", 4 * 16 * MIB)
    await admin.close()


@on_two_ranks
async def test_a_pool_spans_the_targets_of_all_ranks(ranks: TwoRanks) -> None:
    await make_pool(ranks)
    async with ranks.client() as client, client.pool("tank") as pool:
        info = await pool.query()
        assert (info.targets, info.ranks) == (4, 2)
        async with pool.create_container("c1") as cont:
            kv = await cont.kv(await cont.new_oid(ObjectType.KV_LEXICAL, "SX"))
            for number in range(40):
                await kv.put(f"key{number}", b"%d" % number)
            assert await kv.get("key7") == b"7"
            shards = [
                target._shards[pool_uuid]
                for engine in ranks.engines.values()
                for target in engine.targets
                for pool_uuid in target._shards
            ]
            assert len(shards) == 4
            assert all(shard.vos.containers() for shard in shards)


@pytest.mark.parametrize("number", [0, 1])
def test_open_handles_outlive_a_restart_of_one_rank(number: int, tmp_path: Path) -> None:
    async def body(ranks: TwoRanks) -> None:
        await make_pool(ranks)
        client = Client(
            ranks.engines[1 - number].client_context(), clock=ranks.clock, rng=ranks.rng
        )
        async with client, client.pool("tank") as pool, pool.create_container("c1") as cont:
            kv = await cont.kv(await cont.new_oid(ObjectType.KV_LEXICAL, "SX"))
            for key in range(20):
                await kv.put(f"key{key}", b"before")
            await ranks.stop(number)
            await ranks.start(number)
            # Asked at once: who does not know the handle yet says so, and is asked again.
            assert [await kv.get(f"key{key}") for key in range(20)] == [b"before"] * 20
            for key in range(20):
                await kv.put(f"key{key}", b"after")
            await ranks.joined()
            assert [await kv.get(f"key{key}") for key in range(20)] == [b"after"] * 20

    on_two_ranks(body)(tmp_path)


@on_two_ranks
async def test_services_start_without_the_other_rank(ranks: TwoRanks) -> None:
    await make_pool(ranks)
    for number in (0, 1):
        await ranks.stop(number)
    await ranks.start(0)
    async with ranks.client() as client:
        async with client.pool("tank") as pool:
            assert await pool.containers() == []
        await ranks.start(1)
        await ranks.joined()
        async with client.pool("tank") as pool, pool.create_container("c1") as cont:
            kv = await cont.kv(await cont.new_oid(ObjectType.KV_LEXICAL, "SX"))
            for key in range(20):
                await kv.put(f"key{key}", b"value")


@on_two_ranks
async def test_members_are_for_life(ranks: TwoRanks) -> None:
    await ranks.stop(0)
    others = (*ranks.members[:1], Member("host1", Rank(1), TARGETS + 1))
    with pytest.raises(InvalidError, match="other ranks"):
        await ranks.start(0, members=others)

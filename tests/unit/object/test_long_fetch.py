"""Fetches that the service finds in more than one turn of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from daos.base.ids import Epoch
from daos.cart.context import Rpc
from daos.engine.target import ContainerHandle as Handle
from daos.object import server
from daos.vos import fetch_steps
from daos.vos.fetch import Fetch
from tests.unit.embedded.cluster import Cluster, ContainerHandle, array, code_of, on_cluster
from tests.unit.object.test_server import OID, held

COUNT = 40
RANGE = (0, 10 * COUNT)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every few pieces are another turn; an entry for each."""
    monkeypatch.setattr(server, "PATIENCE", 4)
    monkeypatch.setattr(fetch_steps, "PATIENCE", 4)
    monkeypatch.setattr(fetch_steps, "_STACKS", 4)
    monkeypatch.setattr(fetch_steps, "_PIECES_MAX", 4)
    seen, find = list[int](), server.ObjectService._find

    def counting(
        service: server.ObjectService,
        rpc: Rpc,
        handle: Handle,
        at: tuple[Fetch, Epoch],
        steps: Iterator[None],
    ) -> None:
        seen.append(len(seen))
        find(service, rpc, handle, at, steps)

    monkeypatch.setattr(server.ObjectService, "_find", counting)
    return seen


async def written(cluster: Cluster) -> ContainerHandle:
    container = await (await cluster.pool()).container()
    for number in range(COUNT):
        iods = [array(b"a", 1, (10 * number, 2))]
        await container.update(OID, b"d", iods, [b"%02d" % number])
    return container


@on_cluster
async def test_it_is_answered_as_any_other(cluster: Cluster, turns: list[int]) -> None:
    container = await written(cluster)
    before = held(container)
    reply, data = await container.fetch(OID, b"d", [array(b"a", 1, RANGE)])
    assert data == b"".join(b"%02d" % number for number in range(COUNT))
    assert [piece.index for piece in reply.pieces] == [10 * number for number in range(COUNT)]
    assert len(turns) >= COUNT // 4
    for _ in range(2):  # what a reply was made of is given back a turn later
        await asyncio.sleep(0)
    assert held(container) == before
    assert await code_of(container.fetch(OID, b"d", [array(b"a", 3, RANGE)])) == "INVAL"
    assert held(container) == before


@on_cluster
async def test_its_container_is_destroyed_meanwhile(cluster: Cluster, turns: list[int]) -> None:
    container = await written(cluster)
    fetching = asyncio.ensure_future(code_of(container.fetch(OID, b"d", [array(b"a", 1, RANGE)])))
    for _ in range(100):
        if not turns:
            await asyncio.sleep(0)
    cluster.shard(container.pool.pool).vos.destroy_container(
        next(iter(cluster.shard(container.pool.pool).vos.containers()))
    )
    assert await fetching == "NO_HDL"
    assert cluster.shard(container.pool.pool).meta.space.statistics().pins == 0

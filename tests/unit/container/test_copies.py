"""A request that makes something comes twice: at the same time, or behind the end of it."""

from __future__ import annotations

import asyncio

import pytest

from daos.container import wire
from daos.container.service import ContainerService
from daos.container.store import Found
from daos.pool import wire as pool_wire
from tests.unit.embedded.cluster import Cluster, PoolHandle, code_of, new_id, oid_of, on_cluster

HANDLE = new_id(60)


class Slow:
    """In place of `ContainerService._find`: the first one to look for a container waits."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.came = asyncio.Event()
        self.goes_on = asyncio.Event()
        first = True
        whole = ContainerService._find

        async def find(service: ContainerService, name: str) -> Found:
            nonlocal first
            if first:
                first = False
                self.came.set()
                await self.goes_on.wait()
            return await whole(service, name)

        patch.setattr(ContainerService, "_find", find)


@pytest.mark.parametrize("flags", ["rw", "ex"])
@on_cluster
async def test_copies_of_an_open_take_turns(
    cluster: Cluster, flags: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await cluster.pool()
    await pool.create("c1")
    slow = Slow(monkeypatch)
    first = asyncio.ensure_future(pool.open("c1", flags, handle=HANDLE))
    await slow.came.wait()
    second = asyncio.ensure_future(pool.open("c1", flags, handle=HANDLE))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not second.done()
    slow.goes_on.set()
    await first
    container = await second
    await container.put(oid_of(), b"d", {b"a": b"1"})
    assert await container.get(oid_of(), b"d", b"a") == b"1"
    assert (await container.query()).handles == 1


@on_cluster
async def test_a_close_waits_for_the_open_under_way(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await cluster.pool()
    await pool.create("c1")
    slow = Slow(monkeypatch)
    opening = asyncio.ensure_future(pool.open("c1", "ex", handle=HANDLE, met=False))
    await slow.came.wait()
    request = wire.HandleRequest(pool.pool, HANDLE)
    closing = asyncio.ensure_future(cluster.call(wire.CLOSE, request))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not closing.done()
    slow.goes_on.set()
    opened, _ = await asyncio.gather(opening, closing)
    assert await code_of(opened.get(oid_of(), b"d", b"a")) == "NO_HDL"
    assert (await (await pool.open("c1", "ex")).query()).handles == 1


@on_cluster
async def test_a_late_copy_of_an_open_does_not_open_what_was_closed(cluster: Cluster) -> None:
    pool = await cluster.pool()
    await pool.create("c1")
    await (await pool.open("c1", "ex", handle=HANDLE)).close()
    assert await code_of(pool.open("c1", "ex", handle=HANDLE)) == "NO_HDL"
    assert (await (await pool.open("c1", "ex")).query()).handles == 1


@on_cluster
async def test_a_late_copy_of_a_connect_does_not_connect_again(cluster: Cluster) -> None:
    pool = await cluster.pool(flags="ex")
    request = pool.named
    await pool.disconnect()
    assert await code_of(connect_as(cluster, pool, request.handle)) == "NO_HDL"
    assert (await (await cluster.connect(pool.pool, "ex")).query()).handles == 1


@on_cluster
async def test_a_late_copy_of_a_create_makes_nothing(cluster: Cluster) -> None:
    pool = await cluster.pool()
    made = await pool.create("c1", uuid=new_id(50))
    await pool.destroy("c1")
    assert await pool.create("c1", uuid=new_id(50)) == made  # as it was answered, or lost, before
    assert await pool.list() == []


async def connect_as(cluster: Cluster, pool: PoolHandle, handle: bytes) -> None:
    request = pool_wire.ConnectRequest(pool.pool, handle, cluster.new_id(), "ex")
    await cluster.call(pool_wire.CONNECT, request)

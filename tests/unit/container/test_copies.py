"""A request that makes something comes twice: at the same time, or behind the end of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from daos.base.errors import DER, DaosError
from daos.cart.context import Endpoint
from daos.cart.protocol import Procedure
from daos.container import wire
from daos.container.service import ContainerService
from daos.pool import wire as pool_wire
from tests.unit.embedded.cluster import Cluster, PoolHandle, code_of, new_id, oid_of, on_cluster

HANDLE = new_id(60)


class Slow:
    """In place of `ContainerService._ask`: the first message of a procedure waits, and fails."""

    def __init__(self, patch: pytest.MonkeyPatch, procedure: object) -> None:
        self.came = asyncio.Event()
        self.fails = asyncio.Event()
        first = True
        whole = ContainerService._ask

        async def ask(
            service: ContainerService,
            asked: Procedure,
            request: msgspec.Struct,
            *,
            deadline_ns: int,
            trace_id: int,
            to: Sequence[Endpoint] = (),
        ) -> None:
            nonlocal first
            if asked is procedure and first:
                first = False
                self.came.set()
                await self.fails.wait()
                raise DaosError("the target is gone", code=DER.UNREACH)
            await whole(service, asked, request, deadline_ns=deadline_ns, trace_id=trace_id, to=to)

        patch.setattr(ContainerService, "_ask", ask)


@pytest.mark.parametrize("flags", ["rw", "ex"])
@on_cluster
async def test_an_open_whose_first_copy_fails_beside_the_second(
    cluster: Cluster, flags: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first takes its handle back; the second has a handle that every target knows."""
    pool = await cluster.pool()
    await pool.create("c1")
    slow = Slow(monkeypatch, wire.TGT_OPEN)
    first = asyncio.ensure_future(code_of(pool.open("c1", flags, handle=HANDLE)))
    await slow.came.wait()
    second = asyncio.ensure_future(pool.open("c1", flags, handle=HANDLE))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not second.done()
    slow.fails.set()
    # What the client makes of it: UNREACH is answered with the second copy.
    assert await first == "UNREACH"
    container = await second
    await container.put(oid_of(), b"d", {b"a": b"1"})
    assert await container.get(oid_of(), b"d", b"a") == b"1"
    assert (await container.query()).handles == 1


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

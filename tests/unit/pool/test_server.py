"""The pool service: handles, properties, attributes, space."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daos.pool import wire
from daos.pool.module import POOL_KEY
from daos.rdb.interface import TxnResult
from tests.unit.embedded.cluster import (
    TARGETS,
    Cluster,
    PoolHandle,
    code_of,
    endpoint,
    new_id,
    oid_of,
    on_cluster,
)


async def set_attrs(pool: PoolHandle, put: dict[str, bytes], *delete: str) -> None:
    request = wire.SetAttrsRequest(pool.pool, pool.handle, put, delete)
    await pool.cluster.call(wire.SET_ATTRS, request)


async def attrs(pool: PoolHandle, *names: str) -> dict[str, bytes]:
    request = wire.AttrsRequest(pool.pool, pool.handle, names)
    return (await pool.cluster.call(wire.ATTRS, request)).attrs


async def set_props(pool: PoolHandle, **props: str) -> None:
    await pool.cluster.call(wire.SET_PROPS, wire.SetPropsRequest(pool.pool, pool.handle, props))


async def evict(cluster: Cluster, pool: bytes, client: bytes = b"") -> int:
    """As the management service would: from an endpoint of an engine."""
    engine = cluster.client_context(endpoint(99))
    try:
        request = wire.EvictRequest(pool, client)
        return (await cluster.call(wire.EVICT, request, context=engine)).count
    finally:
        await engine.close()


@on_cluster
async def test_connecting_to_an_unknown_pool(cluster: Cluster) -> None:
    """POOL1 (§9.34): connect to an unknown pool → NONEXIST."""
    assert await code_of(cluster.connect(new_id(404))) == "NONEXIST"


@on_cluster
async def test_exclusive_handles(cluster: Cluster) -> None:
    """POOL5 (§9.34): EX while another is connected → BUSY; RW while EX is → BUSY."""
    pool = await cluster.pool(flags="rw")
    assert await code_of(cluster.connect(pool.pool, "ex")) == "BUSY"
    await pool.disconnect()
    alone = await cluster.connect(pool.pool, "ex")
    for flags in ("r", "rw", "ex"):
        assert await code_of(cluster.connect(pool.pool, flags)) == "BUSY"
    await alone.disconnect()
    assert await code_of(cluster.connect(pool.pool, "rw")) == "SUCCESS"


@on_cluster
async def test_of_two_exclusive_connects_at_once_one_wins(cluster: Cluster) -> None:
    pool = (await cluster.create_pool()).uuid
    codes = await asyncio.gather(*(code_of(cluster.connect(pool, "ex")) for _ in range(6)))
    assert sorted(codes) == ["BUSY"] * 5 + ["SUCCESS"]


@on_cluster
async def test_a_repeated_connect_finds_its_handle(cluster: Cluster) -> None:
    pool = (await cluster.create_pool()).uuid
    request = wire.ConnectRequest(pool, new_id(5), new_id(6), "ex")
    first = await cluster.call(wire.CONNECT, request)
    assert await cluster.call(wire.CONNECT, request) == first
    assert (await PoolHandle(cluster, pool, new_id(5)).query()).handles == 1
    assert (first.label, first.map_version) == ("tank", 1)


@pytest.mark.parametrize(
    ("handle", "client", "flags"),
    [
        (b"short", new_id(1), "rw"),
        (new_id(1), b"", "rw"),
        (bytes(17), new_id(1), "rw"),
        (new_id(1), new_id(1), "w"),
        (new_id(1), new_id(1), ""),
    ],
)
@on_cluster
async def test_bad_connects(cluster: Cluster, handle: bytes, client: bytes, flags: str) -> None:
    pool = (await cluster.create_pool()).uuid
    request = wire.ConnectRequest(pool, handle, client, flags)
    assert await code_of(cluster.call(wire.CONNECT, request)) == "INVAL"
    bad_pool = wire.ConnectRequest(b"pool", new_id(1), new_id(1), "rw")
    assert await code_of(cluster.call(wire.CONNECT, bad_pool)) == "INVAL"


@on_cluster
async def test_after_disconnect_the_handle_is_stale(cluster: Cluster) -> None:
    pool = await cluster.pool()
    await pool.disconnect()
    await pool.disconnect()  # repeated: no error
    for call in (pool.query(), attrs(pool), set_props(pool), pool.list(), pool.create("c")):
        assert await code_of(call) == "NO_HDL"


@on_cluster
async def test_disconnect_closes_what_was_opened_through_the_handle(cluster: Cluster) -> None:
    pool = await cluster.pool()
    other = await cluster.connect(pool.pool)
    mine = await pool.container("c1")
    theirs = await other.open("c1")
    await pool.disconnect()
    assert await code_of(mine.query()) == "NO_HDL"
    assert await code_of(mine.put(oid_of(), b"d", {b"a": b"1"})) == "NO_HDL"
    assert (await theirs.query()).handles == 1
    assert await code_of(theirs.put(oid_of(), b"d", {b"a": b"1"})) == "SUCCESS"
    assert await code_of(mine.close()) == "SUCCESS"  # CONT34: closing an evicted handle → 0


@on_cluster
async def test_an_evicted_clients_handles_are_gone_with_their_containers(cluster: Cluster) -> None:
    pool = (await cluster.create_pool()).uuid
    evicted = await cluster.connect(pool, client=new_id(1000))
    stays = await cluster.connect(pool, client=new_id(2000))
    container = await evicted.container("c1")
    assert await evict(cluster, pool, new_id(1000)) == 1
    assert await code_of(evicted.query()) == "NO_HDL"
    assert await code_of(container.get(oid_of(), b"d", b"a")) == "NO_HDL"
    assert await code_of(evicted.open("c1")) == "NO_HDL"
    assert (await stays.query()).handles == 1
    assert await evict(cluster, pool) == 1
    assert await evict(cluster, pool) == 0


@on_cluster
async def test_an_open_cannot_outlive_the_disconnect_beside_it(cluster: Cluster) -> None:
    pool = await cluster.pool()
    await pool.create("c1")
    opened, _ = await asyncio.gather(pool.open("c1"), pool.disconnect(), return_exceptions=True)
    again = await cluster.connect(pool.pool)
    assert (await (await again.open("c1", "ex")).query()).handles == 1
    assert not cluster.targets[0]._handles.keys() - {
        handle.uuid.bytes
        for handle in cluster.targets[0]._handles.values()
        if handle.uuid.bytes != getattr(opened, "handle", b"")
    }


@on_cluster
async def test_query_tells_numbers_and_space(cluster: Cluster) -> None:
    pool = await cluster.pool()
    await pool.create("c1")
    before = await pool.query()
    assert (before.label, before.targets, before.ranks, before.handles) == ("tank", TARGETS, 1, 1)
    assert (before.containers, before.map_version, before.targets_disabled) == (1, 1, 0)
    container = await pool.open("c1")
    await container.put(oid_of(), b"d", {b"a": bytes(1 << 20)})
    after = await pool.query()
    for tier in (*before.tiers, *after.tiers):
        assert 0 < tier.free_min <= tier.free_max <= tier.free <= tier.total
    assert after.tiers[1].total == before.tiers[1].total
    assert before.tiers[1].free - after.tiers[1].free >= 1 << 20
    assert after.tiers[1].free_min < after.tiers[1].free_max  # one target has it


@on_cluster
async def test_properties(cluster: Cluster) -> None:
    pool = (await cluster.create_pool(props={"space_rb": "5"})).uuid
    handle = await cluster.connect(pool)
    props = (await cluster.call(wire.PROPS, handle.named)).props
    assert props["label"] == "tank"
    assert props["owner"] == "me@"
    assert props["owner_group"] == "us@"
    assert props["self_heal"] == "exclude;rebuild"
    await set_props(handle, reclaim="lazy", scrub="off")
    assert await code_of(set_props(handle, reclaim="time", scrub="lazy")) == "NOTSUPPORTED"
    assert await code_of(set_props(handle, nonsense="1")) == "INVAL"
    assert await code_of(set_props(handle, label="pond")) == "NO_PERM"
    assert (await cluster.call(wire.PROPS, handle.named)).props == props
    await cluster.restart(checkpoint=False)
    handle = await cluster.connect(pool)
    assert (await cluster.call(wire.PROPS, handle.named)).props == props


@on_cluster
async def test_user_attributes(cluster: Cluster) -> None:
    """POOL7/8 (§9.34): set, list, get, delete; ours: a missing name is NONEXIST."""
    pool = await cluster.pool()
    assert await attrs(pool) == {}
    await set_attrs(pool, {"first": b"1", "zweites ä": bytes(range(256))})
    assert await attrs(pool) == {"first": b"1", "zweites ä": bytes(range(256))}
    assert await attrs(pool, "first") == {"first": b"1"}
    assert await code_of(attrs(pool, "first", "missing")) == "NONEXIST"
    assert await code_of(set_attrs(pool, {"new": b""}, "missing")) == "NONEXIST"
    await set_attrs(pool, {"first": b"changed"}, "zweites ä")
    await cluster.restart(checkpoint=False)
    pool = await cluster.connect(pool.pool)
    assert await attrs(pool) == {"first": b"changed"}  # all or nothing: no "new"


@pytest.mark.parametrize(
    ("put", "delete"),
    [
        ({"": b""}, ()),
        ({"x" * 512: b""}, ()),
        ({"nul\0": b""}, ()),
        ({"big": bytes((64 << 10) + 1)}, ()),
        ({f"a{i}": b"" for i in range(101)}, ()),
        ({"both": b""}, ("both",)),
        ({}, ("",)),
    ],
)
@on_cluster
async def test_bad_attributes(
    cluster: Cluster, put: dict[str, bytes], delete: tuple[str, ...]
) -> None:
    pool = await cluster.pool()
    assert await code_of(set_attrs(pool, put, *delete)) == "INVAL"
    assert await attrs(pool) == {}


@on_cluster
async def test_too_many_names_at_once(cluster: Cluster) -> None:
    pool = await cluster.pool()
    assert await code_of(attrs(pool, *(f"n{i}" for i in range(101)))) == "INVAL"


@on_cluster
async def test_a_read_only_handle_changes_nothing(cluster: Cluster) -> None:
    pool = (await cluster.create_pool()).uuid
    handle = await cluster.connect(pool, "r")
    assert await attrs(handle) == {}
    assert (await handle.query()).handles == 1
    for call in (
        set_attrs(handle, {"a": b""}),
        set_props(handle, reclaim="lazy"),
        handle.create("c1"),
        handle.destroy("c1"),
    ):
        assert await code_of(call) == "NO_PERM"


@on_cluster
async def test_handles_end_with_the_process(cluster: Cluster) -> None:
    """Crash table: a service that died leaves handles; an embedded start evicts them."""
    pool = await cluster.pool(flags="ex")
    container = await pool.container("c1")
    await cluster.restart(checkpoint=False)
    assert await code_of(pool.query()) == "NO_HDL"
    assert await code_of(container.query()) == "NO_HDL"
    again = await cluster.connect(pool.pool, "ex")
    assert (await again.query()).handles == 1
    assert (await (await again.open("c1", "ex")).query()).handles == 1


@on_cluster
async def test_a_connect_that_looked_before_the_pool_was_to_go_loses_its_turn(
    cluster: Cluster,
) -> None:
    pool = (await cluster.create_pool()).uuid
    service = cluster.system.engine.xstream.value(POOL_KEY).service(pool)
    txn, looked, go_on = service.rdb.txn, asyncio.Event(), asyncio.Event()

    async def late(*args: Any, **options: bool) -> TxnResult:  # noqa: ANN401
        del vars(service.rdb)["txn"]
        looked.set()
        await go_on.wait()
        return await txn(*args, **options)

    vars(service.rdb)["txn"] = late
    connecting = asyncio.ensure_future(code_of(cluster.connect(pool)))
    await looked.wait()
    assert await service.leave() == 0
    go_on.set()
    assert await connecting == "BUSY"

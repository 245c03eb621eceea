"""A target: shards, handles, garbage; over a system in memory."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from daos.base.checksum import ChecksumType
from daos.base.errors import (
    AccessError,
    AgainError,
    CorruptError,
    NotFoundError,
    ShutdownError,
    StaleHandleError,
)
from daos.base.ids import ContainerUuid, Epoch, HandleUuid, PoolUuid
from daos.bio.meta import MetaContext
from daos.engine.target import Kept, Target
from daos.vos.dtx_table import DtxTable
from daos.vos.pool import VosPool
from tests.unit.embedded.cluster import MIB, Cluster, FullLog, oid_of, on_cluster

POOL = PoolUuid(UUID(int=1))
CONTAINER = ContainerUuid(UUID(int=2))
HANDLE = HandleUuid(UUID(int=3))


async def open_handle(target: Target, *, writable: bool = True, bound: int = 0) -> None:
    await target.open_handle(
        POOL,
        CONTAINER,
        handle=HANDLE,
        kept=Kept((bound,) if bound else (), 1, "lazy"),
        writable=writable,
        checksum_type=ChecksumType.OFF,
        checksum_chunk=32 << 10,
    )


@on_cluster
async def test_a_shard(cluster: Cluster) -> None:
    target = cluster.targets[0]
    with pytest.raises(NotFoundError, match="target 0 has no shard"):
        target.shard(POOL)
    with pytest.raises(NotFoundError):
        await target.open_shard(POOL)
    await target.create_shard(POOL, size_bytes=16 * MIB)
    shard = target.shard(POOL)
    await target.open_shard(POOL)
    assert target.shard(POOL) is shard
    await asyncio.gather(target.destroy_shard(POOL), target.destroy_shard(POOL))
    assert cluster.directory.names() == ["mgmt"]


@on_cluster
async def test_creating_and_destroying_at_the_same_time_take_turns(cluster: Cluster) -> None:
    target = cluster.targets[0]
    create = asyncio.ensure_future(target.create_shard(POOL, size_bytes=16 * MIB))
    await asyncio.sleep(0)
    await target.destroy_shard(POOL)
    await create
    assert cluster.directory.names() == ["mgmt"]
    with pytest.raises(NotFoundError):
        target.shard(POOL)


@on_cluster
async def test_handles_die_with_their_container_and_shard(cluster: Cluster) -> None:
    """G1: a handle names a container of an open shard."""
    target = cluster.targets[0]
    await target.create_shard(POOL, size_bytes=16 * MIB)
    await open_handle(target)
    assert target.handle(HANDLE.bytes, POOL.bytes, write=True).writable
    await target.destroy_container(POOL, CONTAINER)
    assert not target._handles
    with pytest.raises(AgainError, match="just met"):
        target.handle(HANDLE.bytes, POOL.bytes, write=False)
    await target.destroy_container(POOL, CONTAINER)
    await open_handle(target, writable=False)
    with pytest.raises(AccessError):
        target.handle(HANDLE.bytes, POOL.bytes, write=True)
    await target.destroy_shard(POOL)
    assert not target._handles


@pytest.mark.parametrize("what", ["close", "destroy container", "destroy shard"])
@on_cluster
async def test_an_open_that_is_overtaken_leaves_no_handle(cluster: Cluster, what: str) -> None:
    target = cluster.targets[0]
    await target.create_shard(POOL, size_bytes=16 * MIB)
    opening = asyncio.ensure_future(open_handle(target))
    await asyncio.sleep(0)  # it waits for the log
    assert not opening.done()
    if what == "close":
        target.close_handle(HANDLE)
    elif what == "destroy container":
        await target.destroy_container(POOL, CONTAINER)
    else:
        await target.destroy_shard(POOL)
    with pytest.raises((StaleHandleError, NotFoundError, ShutdownError)):
        await opening
    assert not target._handles
    assert not target._opening


@on_cluster
async def test_two_opens_at_once_make_one_container(cluster: Cluster) -> None:
    target = cluster.targets[0]
    await target.create_shard(POOL, size_bytes=16 * MIB)
    await asyncio.gather(open_handle(target), open_handle(target))
    assert list(target.shard(POOL).vos.containers()) == [CONTAINER]
    assert len(target._handles) == 1


@on_cluster
async def test_the_past_ends_where_it_is_told_to(cluster: Cluster) -> None:
    target = cluster.targets[0]
    await target.create_shard(POOL, size_bytes=16 * MIB)
    await target.end_past(POOL, CONTAINER, Epoch(5))  # nothing to keep
    assert list(target.shard(POOL).vos.containers()) == []
    bound = target.xstream.hlc.now() + (1 << 30)
    await open_handle(target, bound=bound)
    assert target.xstream.hlc.now() > bound
    assert target.handle(HANDLE.bytes, POOL.bytes, write=True).container.modification_bound == bound
    await target.end_past(POOL, CONTAINER, Epoch(bound + 100))
    assert target.xstream.hlc.now() > bound + 100


@pytest.mark.expects_warning("damaged outcomes")
@on_cluster
async def test_what_was_executed_is_read_in_steps_before_a_handle_is_given(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = cluster.targets[0]
    await target.create_shard(POOL, size_bytes=16 * MIB)
    vos = target.shard(POOL).vos
    vos.create_container(CONTAINER)
    turns, load = list[int](), DtxTable.load

    def slow(table: DtxTable, meta: MetaContext) -> bool:
        assert not target._handles
        turns.append(turn)
        return len(turns) < 4 or load(table, meta)

    monkeypatch.setattr(DtxTable, "load", slow)
    monkeypatch.setattr(DtxTable, "damaged", 1)
    opening, turn = asyncio.ensure_future(open_handle(target)), 0
    while not opening.done():
        await asyncio.sleep(0)
        turn += 1
    await opening
    assert len(set(turns)) == 4
    await open_handle(target)
    assert len(turns) == 4


@pytest.mark.parametrize("what", ["destroy container", "destroy shard"])
@on_cluster
async def test_what_was_executed_is_not_read_of_what_is_gone(
    cluster: Cluster, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = cluster.targets[0]
    await target.create_shard(POOL, size_bytes=16 * MIB)
    monkeypatch.setattr(DtxTable, "load", lambda _table, _meta: True)
    opening = asyncio.ensure_future(open_handle(target))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not opening.done()
    if what == "destroy container":
        await target.destroy_container(POOL, CONTAINER)
    else:
        await target.destroy_shard(POOL)
    with pytest.raises(StaleHandleError):
        await opening


@pytest.mark.expects_warning("garbage collection ended")
@on_cluster
async def test_damage_found_while_collecting_ends_the_collecting_alone(cluster: Cluster) -> None:
    pool = await cluster.pool()
    container = await pool.container("c1")
    await pool.container("c2")
    await container.put(oid_of(), b"d", {b"a": b"1"})
    shard = cluster.shard(pool.pool)

    def broken(credits: int) -> bool:
        raise CorruptError("a record", offset=0, want=1, got=credits)

    vars(shard.vos)["gc_step"] = broken
    await pool.destroy("c1", force=True)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not shard.collecting
    other = await pool.open("c2")
    await other.put(oid_of(), b"d", {b"a": b"2"})
    del vars(shard.vos)["gc_step"]
    await pool.destroy("c2", force=True)  # the next destroy collects what was left
    for _ in range(20):
        await asyncio.sleep(0)
    assert not shard.vos.gc_step(1)


@on_cluster
async def test_collecting_waits_for_room_in_the_log(cluster: Cluster) -> None:
    pool = await cluster.pool()
    await pool.container("c1")
    shard = cluster.shard(pool.pool)
    log = FullLog(shard)
    target = cluster.targets[0]
    target._start_collecting(shard)
    target._start_collecting(shard)  # one chain of steps, however many ask
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(log.waiting) == 1
    log.make_room()
    await asyncio.sleep(0)
    assert not shard.collecting


@pytest.mark.expects_warning("target stopped target=0 bug=KeyError")
@on_cluster
async def test_a_stopped_target_refuses_all_and_closes(cluster: Cluster) -> None:
    target = cluster.targets[0]
    await target.create_shard(POOL, size_bytes=16 * MIB)
    await open_handle(target)
    target.fail(KeyError("bug"))
    target.fail(ValueError("another, not told twice"))
    for call in (
        target.create_shard(PoolUuid(UUID(int=9)), size_bytes=16 * MIB),
        target.open_shard(POOL),
        open_handle(target),
        target.end_past(POOL, CONTAINER, Epoch(1)),
        target.destroy_container(POOL, CONTAINER),
    ):
        with pytest.raises(ShutdownError, match="internal error"):
            await call
    with pytest.raises(ShutdownError):
        target.handle(HANDLE.bytes, POOL.bytes, write=False)
    target.close_handle(HANDLE)
    await target.destroy_shard(POOL)
    assert cluster.directory.names() == ["mgmt"]


@pytest.mark.expects_warning("bug=ZeroDivisionError")
@on_cluster
async def test_a_bug_in_background_work_stops_the_target(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for its answer; what it left in memory may be wrong all the same."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[Exception] = loop.create_future()
    loop.set_exception_handler(lambda _, context: told.set_result(context["exception"]))
    target = cluster.targets[0]
    await target.create_shard(POOL, size_bytes=16 * MIB)
    await open_handle(target)

    def broken(_pool: VosPool, _credits: int) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(VosPool, "gc_step", broken)
    await target.destroy_container(POOL, CONTAINER)
    assert isinstance(await told, ZeroDivisionError)
    with pytest.raises(ShutdownError, match="internal error"):
        target.handle(HANDLE.bytes, POOL.bytes, write=False)

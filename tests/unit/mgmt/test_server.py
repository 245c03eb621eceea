"""Making, finding and removing pools, over a real system in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from daos.base.errors import NoSpaceError
from daos.cart.protocol import Procedure
from daos.mgmt import wire
from daos.pool import wire as pool_wire
from daos.testing.devices import Image, MemoryDevice, MemoryDirectory
from tests.unit.embedded.cluster import (
    MIB,
    POOL_BYTES,
    TARGETS,
    Cluster,
    code_of,
    endpoint,
    new_id,
    oid_of,
    on_cluster,
)


class Disk(MemoryDirectory):
    """Refuses to make devices whose name ends in one of `full`."""

    def __init__(self, images: dict[str, Image] | None = None) -> None:
        super().__init__(images)
        self.full: tuple[str, ...] = ()
        self.gate: asyncio.Event | None = None  # creates wait here
        self.waiting = asyncio.Event()
        self.empty = asyncio.Event()  # but for the management store

    async def create(self, name: str, size_bytes: int, *, zero: int = 0) -> MemoryDevice:
        if self.gate is not None:
            self.waiting.set()
            await self.gate.wait()
        if name.endswith(self.full or ("?",)):
            raise NoSpaceError(f"no room for {name}")
        return await super().create(name, size_bytes, zero=zero)

    async def destroy(self, name: str) -> None:
        await super().destroy(name)
        if self.names() == ["mgmt"]:
            self.empty.set()


@on_cluster
async def test_create_list_find_destroy(cluster: Cluster) -> None:
    record = await cluster.create_pool("tank", size=POOL_BYTES + 3)
    assert record == wire.PoolRecord(record.uuid, "tank", "Ready", POOL_BYTES, TARGETS, (0,))
    assert await cluster.list_pools() == {"tank": "Ready"}
    assert await cluster.find_pool("tank") == record
    assert await cluster.find_pool(str(UUID(bytes=record.uuid))) == record
    assert len(cluster.directory.names()) == 2 + TARGETS
    await cluster.destroy_pool("tank")
    assert await cluster.list_pools() == {}
    assert cluster.directory.names() == ["mgmt"]
    assert await code_of(cluster.find_pool("tank")) == "NONEXIST"
    assert await code_of(cluster.destroy_pool("tank")) == "NONEXIST"


@on_cluster
async def test_a_pool_gets_another_label(cluster: Cluster) -> None:
    pool = await cluster.pool()
    await cluster.create_pool("lake")
    assert await code_of(cluster.rename_pool("tank", "lake")) == "EXIST"
    assert await code_of(cluster.rename_pool("tank", "no/label")) == "INVAL"
    assert await code_of(cluster.rename_pool("brook", "stream")) == "NONEXIST"
    assert await cluster.list_pools() == {"tank": "Ready", "lake": "Ready"}
    await cluster.rename_pool("tank", "tank")
    await cluster.rename_pool(str(UUID(bytes=pool.pool)), "sea")
    assert await cluster.list_pools() == {"sea": "Ready", "lake": "Ready"}
    assert (await cluster.find_pool("sea")).uuid == pool.pool
    assert (await pool.query()).label == "sea"
    assert await code_of(cluster.find_pool("tank")) == "NONEXIST"
    await cluster.create_pool("tank", uuid=new_id(77))
    await cluster.restart()
    assert await cluster.list_pools() == {"sea": "Ready", "lake": "Ready", "tank": "Ready"}


@on_cluster
async def test_pools_are_listed_by_label(cluster: Cluster) -> None:
    for label in ("b", "c", "a"):
        await cluster.create_pool(label)
    assert list(await cluster.list_pools()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("label", "size", "props", "code"),
    [
        ("", POOL_BYTES, {}, "INVAL"),
        ("has space", POOL_BYTES, {}, "INVAL"),
        ("x" * 128, POOL_BYTES, {}, "INVAL"),
        ("11111111-2222-3333-4444-555555555555", POOL_BYTES, {}, "INVAL"),
        ("tank", POOL_BYTES - 1, {}, "INVAL"),
        ("tank", -5, {}, "INVAL"),
        ("tank", 1 << 62, {}, "INVAL"),
        ("tank", POOL_BYTES, {"nonsense": "1"}, "INVAL"),
        ("tank", POOL_BYTES, {"owner": "me"}, "NO_PERM"),
        ("tank", POOL_BYTES, {"rd_fac": "2"}, "NOTSUPPORTED"),
    ],
)
@on_cluster
async def test_bad_requests_change_nothing(
    cluster: Cluster, label: str, size: int, props: dict[str, str], code: str
) -> None:
    assert await code_of(cluster.create_pool(label, size=size, props=props)) == code
    assert await cluster.list_pools() == {}
    assert cluster.directory.names() == ["mgmt"]


@on_cluster
async def test_bad_ids_and_owners_are_refused(cluster: Cluster) -> None:
    assert await code_of(cluster.create_pool(uuid=b"short")) == "INVAL"
    request = wire.PoolCreateRequest(new_id(1), "tank", POOL_BYTES, {}, "o" * 256, "")
    assert await code_of(cluster.call(wire.POOL_CREATE, request)) == "INVAL"


@on_cluster
async def test_a_label_names_one_pool(cluster: Cluster) -> None:
    first = await cluster.create_pool("tank")
    assert await code_of(cluster.create_pool("tank")) == "EXIST"
    assert await cluster.find_pool("tank") == first
    assert len(cluster.directory.names()) == 2 + TARGETS


@on_cluster
async def test_a_repeated_create_finds_what_it_made(cluster: Cluster) -> None:
    first = await cluster.create_pool("tank", uuid=new_id(99))
    assert await cluster.create_pool("tank", uuid=new_id(99)) == first
    assert await code_of(cluster.create_pool("other", uuid=new_id(99))) == "EXIST"
    assert await cluster.list_pools() == {"tank": "Ready"}


@on_cluster
async def test_a_label_is_free_again_after_the_destroy(cluster: Cluster) -> None:
    first = await cluster.create_pool("tank")
    await cluster.destroy_pool("tank")
    second = await cluster.create_pool("tank")
    assert second.uuid != first.uuid
    assert await cluster.find_pool("tank") == second


@on_cluster
async def test_a_connected_pool_is_busy_unless_forced(cluster: Cluster) -> None:
    pool = await cluster.pool("tank")
    container = await pool.container("c1")
    assert await code_of(cluster.destroy_pool("tank")) == "BUSY"
    await container.put(oid_of(), b"d", {b"a": b"still there"})
    assert await code_of(cluster.connect(pool.pool)) == "SUCCESS"  # BUSY took nothing away
    await cluster.destroy_pool("tank", force=True)
    # The clients that were connected hear of it, whatever they try.
    assert await code_of(pool.query()) == "NONEXIST"
    assert await code_of(container.query()) == "NONEXIST"
    assert await code_of(container.get(oid_of(), b"d", b"a")) == "NO_HDL"
    assert await code_of(container.put(oid_of(), b"d", {b"a": b"1"})) == "NO_HDL"
    assert cluster.directory.names() == ["mgmt"]


@on_cluster
async def test_a_connect_cannot_slip_in_beside_a_destroy(cluster: Cluster) -> None:
    pool = (await cluster.create_pool()).uuid
    destroyed, connected = await asyncio.gather(
        code_of(cluster.destroy_pool()), code_of(cluster.connect(pool))
    )
    if connected == "SUCCESS":
        assert destroyed == "BUSY"
    else:
        assert (destroyed, connected in {"BUSY", "NONEXIST", "SHUTDOWN"}) == ("SUCCESS", True)


@on_cluster
async def test_destroys_at_the_same_time_leave_nothing(cluster: Cluster) -> None:
    await cluster.create_pool()
    codes = await asyncio.gather(*(code_of(cluster.destroy_pool()) for _ in range(5)))
    assert "SUCCESS" in codes
    assert set(codes) <= {"SUCCESS", "NONEXIST"}
    assert await cluster.list_pools() == {}
    assert cluster.directory.names() == ["mgmt"]


@on_cluster
async def test_creates_of_one_label_at_the_same_time_make_one_pool(cluster: Cluster) -> None:
    codes = await asyncio.gather(*(code_of(cluster.create_pool()) for _ in range(4)))
    assert sorted(codes) == ["EXIST", "EXIST", "EXIST", "SUCCESS"]
    assert len(cluster.directory.names()) == 2 + TARGETS


@pytest.mark.parametrize("full", ["-2", "-rdb"])
def test_no_room_on_the_third_of_four_targets_undoes_everything(tmp_path: Path, full: str) -> None:
    async def run() -> None:
        disk = Disk()
        async with Cluster(tmp_path, targets=4, directory=disk) as cluster:
            disk.full = (full,)
            assert await code_of(cluster.create_pool(size=64 * MIB)) == "NOSPACE"
            assert disk.names() == ["mgmt"]
            assert await cluster.list_pools() == {}
            disk.full = ()
            await cluster.create_pool(size=64 * MIB)
            assert len(disk.names()) == 6

    asyncio.run(run())


def test_a_create_whose_deadline_passes_is_undone(tmp_path: Path) -> None:
    async def run() -> None:
        disk = Disk()
        async with Cluster(tmp_path, directory=disk) as cluster:
            disk.gate = asyncio.Event()
            request = wire.PoolCreateRequest(cluster.new_id(), "tank", POOL_BYTES, {}, "", "")
            creating = asyncio.ensure_future(
                code_of(cluster.call(wire.POOL_CREATE, request, seconds=0.02))
            )
            await disk.waiting.wait()
            cluster.clock.advance(1)
            assert await creating == "TIMEDOUT"
            while (pools := await cluster.list_pools()) == {"tank": "Creating"}:
                pass  # the service hears of the deadline by a timer of its own
            assert pools == {"tank": "Destroying"}
            assert await code_of(cluster.find_pool()) == "NONEXIST"
            assert await code_of(cluster.find_pool(str(UUID(bytes=request.uuid)))) == "BUSY"
            assert await code_of(cluster.create_pool(uuid=request.uuid)) == "BUSY"
            # The targets are at it still: the removal waits until there is something to remove.
            disk.gate.set()
            await disk.empty.wait()
            assert set(await cluster.list_pools()) <= {"tank"}  # its record goes next

    asyncio.run(run())


def test_destroying_what_is_being_created_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        disk = Disk()
        async with Cluster(tmp_path, directory=disk) as cluster:
            disk.gate = asyncio.Event()
            creating = asyncio.ensure_future(cluster.create_pool())
            await disk.waiting.wait()
            assert await code_of(cluster.destroy_pool(force=True)) == "BUSY"
            disk.gate.set()
            await creating
            assert await cluster.list_pools() == {"tank": "Ready"}

    asyncio.run(run())


@pytest.mark.expects_warning("can't be opened")
@on_cluster
async def test_a_damaged_shard_fails_its_pool_and_no_other(cluster: Cluster) -> None:
    good = await cluster.pool("good")
    bad = await cluster.create_pool("bad")
    container = await good.container()
    await container.put(oid_of(), b"d", {b"a": b"kept"})
    await cluster.stop()
    name = f"pool-{UUID(bytes=bad.uuid)}-1"
    cluster.directory.images[name] = Image(cluster.directory.images[name].size_bytes)
    cluster.directory = MemoryDirectory(cluster.directory.images)
    await cluster.start()

    assert await cluster.list_pools() == {"good": "Ready", "bad": "Unknown"}
    assert await code_of(cluster.find_pool("bad")) == "CSUM"
    assert await code_of(cluster.connect(bad.uuid)) == "CSUM"  # never "not there"
    container = await (await cluster.connect(good.pool)).open("c1")
    assert await container.get(oid_of(), b"d", b"a") == b"kept"
    await cluster.destroy_pool("bad")
    assert await code_of(cluster.connect(bad.uuid)) == "NONEXIST"
    assert await cluster.list_pools() == {"good": "Ready"}
    assert len(cluster.directory.names()) == 2 + TARGETS


@pytest.mark.expects_warning("can't be opened")
@on_cluster
async def test_a_damaged_pool_store_fails_its_pool_alone(cluster: Cluster) -> None:
    bad = await cluster.create_pool("bad")
    await cluster.create_pool("good")
    await cluster.stop()
    name = f"pool-{UUID(bytes=bad.uuid)}-rdb"
    cluster.directory.images[name] = Image(cluster.directory.images[name].size_bytes)
    cluster.directory = MemoryDirectory(cluster.directory.images)
    await cluster.start()
    assert await cluster.list_pools() == {"good": "Ready", "bad": "Unknown"}
    assert await code_of(cluster.find_pool("bad")) == "CSUM"
    assert await code_of(cluster.find_pool("good")) == "SUCCESS"


@pytest.mark.expects_warning("can't be opened")
@pytest.mark.parametrize("part", ["rdb", "0"])
@on_cluster
async def test_a_part_that_is_missing_is_lost_not_unknown(cluster: Cluster, part: str) -> None:
    """ "Not found" would invite a program to make the pool anew, over what is left of it."""
    pool = await cluster.create_pool("tank")
    await cluster.stop()
    del cluster.directory.images[f"pool-{UUID(bytes=pool.uuid)}-{part}"]
    cluster.directory = MemoryDirectory(cluster.directory.images)
    await cluster.start()
    assert await cluster.list_pools() == {"tank": "Unknown"}
    assert await code_of(cluster.find_pool("tank")) == "DATA_LOSS"
    await cluster.destroy_pool("tank")
    assert await cluster.list_pools() == {}


@on_cluster
async def test_clients_may_not_call_what_is_between_engines(cluster: Cluster) -> None:
    pool = await cluster.pool()
    calls: list[tuple[int, Procedure[Any, Any], object]] = [
        (1, wire.TGT_CREATE, wire.TargetCreateRequest(new_id(77), 16 * MIB)),
        (1, wire.TGT_DESTROY, wire.TargetDestroyRequest(pool.pool)),
        (1, wire.TGT_OPEN, wire.TargetOpenRequest(pool.pool)),
        (1, pool_wire.TGT_QUERY, pool_wire.TargetQueryRequest(pool.pool)),
        (0, pool_wire.SVC_DESTROY, pool_wire.SvcDestroyRequest(pool.pool)),
        (0, pool_wire.SVC_LEAVE, pool_wire.SvcLeaveRequest(pool.pool)),
        (0, pool_wire.EVICT, pool_wire.EvictRequest(pool.pool)),
    ]
    for tag, procedure, request in calls:
        call = cluster.call(procedure, request, to=endpoint(tag))
        assert await code_of(call) == "NO_PERM", procedure
    assert (await pool.query()).handles == 1

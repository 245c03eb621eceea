"""A system as a whole: starting, stopping, what survives, who hears what."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from daos.base.errors import CorruptError, DaosError, InvalidError, NotSupportedError, ShutdownError
from daos.embedded.system import SystemConfig
from daos.mgmt.store import FORMAT, SystemRecord
from daos.pool import wire as pool_wire
from daos.pool.module import POOL_KEY
from daos.testing.devices import Image, MemoryDevice, MemoryDirectory
from tests.unit.embedded.cluster import Cluster, code_of, oid_of, on_cluster

OID = oid_of()


def test_the_number_of_targets_is_for_life(tmp_path: Path) -> None:
    async def run() -> None:
        async with Cluster(tmp_path / "a", targets=3) as cluster:
            assert len(cluster.targets) == 3
            images = cluster.images()
        unsaid = Cluster(tmp_path / "b", directory=MemoryDirectory(images))
        unsaid.config = SystemConfig(meta=unsaid.config.meta)
        async with unsaid:
            assert len(unsaid.targets) == 3
        other = Cluster(tmp_path / "c", targets=4, directory=MemoryDirectory(images))
        with pytest.raises(InvalidError, match="3 targets for life, 4"):
            await other.start()
        assert other.directory._open == {}

    asyncio.run(run())


@pytest.mark.parametrize("targets", [0, -1, 65])
def test_a_bad_number_of_targets(targets: int) -> None:
    with pytest.raises(InvalidError, match="1 to 64"):
        SystemConfig(targets=targets)


def test_another_format_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with Cluster(tmp_path / "a") as cluster:
            images = cluster.images()
        monkeypatch.setattr("daos.mgmt.store.FORMAT", FORMAT + 1)
        newer = Cluster(tmp_path / "b", directory=MemoryDirectory(images))
        with pytest.raises(NotSupportedError, match="format 1"):
            await newer.start()
        assert newer.directory._open == {}

    asyncio.run(run())


def test_pools_without_a_management_store_are_not_overwritten(tmp_path: Path) -> None:
    async def run() -> None:
        async with Cluster(tmp_path / "a") as cluster:
            await cluster.create_pool()
            images = cluster.images()
        del images["mgmt"]
        names = set(images)
        with pytest.raises(CorruptError, match="no management store"):
            await Cluster(tmp_path / "b", directory=MemoryDirectory(images)).start()
        assert set(images) == names

    asyncio.run(run())


def test_a_damaged_management_store_is_told_where_there_are_pools(tmp_path: Path) -> None:
    async def run() -> None:
        async with Cluster(tmp_path / "a") as cluster:
            await cluster.create_pool()
            images = cluster.images()
        images["mgmt"] = Image(images["mgmt"].size_bytes)
        with pytest.raises(CorruptError):
            await Cluster(tmp_path / "b", directory=MemoryDirectory(images)).start()

    asyncio.run(run())


@pytest.mark.parametrize("checkpoint", [True, False])
@on_cluster
async def test_everything_acknowledged_is_there_after_a_stop(
    cluster: Cluster, *, checkpoint: bool
) -> None:
    pool = await cluster.pool()
    container = await pool.container()
    for i in range(20):
        await container.put(OID, b"%d" % i, {b"a": bytes([i]) * (i * 1000)} if i else {b"a": b"0"})
    await cluster.restart(checkpoint=checkpoint)
    container = await (await cluster.connect(pool.pool)).open("c1")
    for i in range(20):
        value = bytes([i]) * (i * 1000) if i else b"0"
        assert await container.get(OID, b"%d" % i, b"a") == value


def test_everything_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """ERECOV1/2 (§9.20): what was acknowledged is durable; nothing is closed, nothing stopped."""

    async def run() -> None:
        async with Cluster(tmp_path / "a") as cluster:
            pool = await cluster.pool()
            container = await pool.container()
            await container.put(OID, b"d", {b"a": b"timestamp 1"})
            epoch = await container.snapshot("first")
            await container.put(OID, b"d", {b"a": b"timestamp 2"})
            await container.set_attrs({"k": b"v"})
            images = cluster.images()
        async with Cluster(tmp_path / "b", directory=MemoryDirectory(images)) as again:
            container = await (await again.connect(pool.pool)).open("c1", "r")
            assert await container.get(OID, b"d", b"a") == b"timestamp 2"
            assert await container.get(OID, b"d", b"a", epoch=epoch) == b"timestamp 1"
            assert await container.attrs() == {"k": b"v"}

    asyncio.run(run())


class SlowDirectory(MemoryDirectory):
    """Makes no devices before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.waiting = asyncio.Event()

    async def create(self, name: str, size_bytes: int, *, zero: int = 0) -> MemoryDevice:
        if name != "mgmt":
            self.waiting.set()
            await self.go_on.wait()
        return await super().create(name, size_bytes, zero=zero)


def test_calls_in_flight_hear_that_the_system_stops(tmp_path: Path) -> None:
    async def run() -> None:
        directory = SlowDirectory()
        cluster = Cluster(tmp_path, directory=directory)
        await cluster.start()
        admin = cluster.system.admin
        client = await cluster.system.connect()
        creating = asyncio.ensure_future(code_of(admin.pool_create("tank", "64MiB")))
        await directory.waiting.wait()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await cluster.system.stop()
        assert loop.time() - begun < 1
        assert await creating == "CANCELED"
        for call in (admin.pool_list(), client._connect("tank", "rw", None)):
            assert await code_of(call) in {"CANCELED", "SHUTDOWN"}
        with pytest.raises(ShutdownError):
            await cluster.system.connect()
        with pytest.raises(ShutdownError):
            _ = cluster.system.admin
        await cluster.system.stop()
        assert directory._open == {}
        await cluster.context.close()
        # The next start removes what was being made.
        cluster.directory = MemoryDirectory(directory.images)
        await cluster.start()
        assert await cluster.list_pools() == {}
        await cluster.stop()

    asyncio.run(run())


@on_cluster
async def test_listings_come_in_pages(cluster: Cluster) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("daos.container.wire.PAGE_ENTRIES", 3)
        patch.setattr("daos.mgmt.wire.PAGE_ENTRIES", 2)
        names = [f"name{number}" for number in range(7)]
        admin = cluster.system.admin
        for name in reversed(names[:3]):
            await admin.pool_create(name, "64MiB")
        assert [pool.label for pool in await admin.pool_list()] == names[:3]
        client = await cluster.system.connect()
        async with client.pool(names[0]) as pool:
            for name in reversed(names):
                await (await pool.create_container(name)).close()
            assert [each.label for each in await pool.containers()] == names
            for name in names[::2]:
                await pool.destroy_container(name)
            assert [each.label for each in await pool.containers()] == names[1::2]
        await client.close()


@on_cluster
async def test_closed_clients_are_forgotten(cluster: Cluster) -> None:
    for _ in range(10):
        await (await cluster.system.connect()).close()
    await cluster.system.admin.pool_list()
    await cluster.system.admin.close()
    assert await cluster.system.admin.pool_list() == []  # a new one
    kept = await cluster.system.connect()
    assert len(cluster.system._clients) == 2
    await kept.close()


@on_cluster
async def test_every_context_hears_of_the_end_once(cluster: Cluster) -> None:
    """Stopping twice at once is one stop."""
    await cluster.create_pool()
    await asyncio.gather(*(cluster.system.stop() for _ in range(3)))
    assert cluster.directory._open == {}


@pytest.mark.expects_warning("can't be opened")
def test_a_start_that_fails_closes_what_it_opened(tmp_path: Path) -> None:
    async def run() -> None:
        async with Cluster(tmp_path / "a") as cluster:
            await cluster.create_pool()
            images = cluster.images()
        broken = MemoryDirectory(images)

        async def refuse(name: str) -> MemoryDevice:
            raise DaosError("no more")

        original = broken.open

        async def open_(name: str) -> MemoryDevice:
            return await (original(name) if name == "mgmt" else refuse(name))

        broken.open = open_  # type: ignore[method-assign]
        again = Cluster(tmp_path / "b", directory=broken)
        await again.start()  # the pool fails, the system does not
        assert await again.list_pools() == {"tank": "Unknown"}
        await again.stop()
        assert broken._open == {}

    asyncio.run(run())


@pytest.mark.expects_warning("bug procedure")
@on_cluster
async def test_a_bug_in_a_service_fails_its_request_alone(cluster: Cluster) -> None:
    """The services keep nothing in memory that a request could leave half changed."""
    pool = await cluster.pool()
    service = cluster.system.engine.xstream.value(POOL_KEY).service(pool.pool)
    vars(service)["props"] = None
    assert await code_of(cluster.call(pool_wire.PROPS, pool.named)) == "MISC"
    del vars(service)["props"]
    assert (await pool.query()).handles == 1


def test_many_lives(tmp_path: Path) -> None:
    """Random work, stopped or killed at random; what was acknowledged is always there."""

    async def run() -> None:
        rng = random.Random(11)
        cluster = Cluster(tmp_path)
        await cluster.start()
        pool = await cluster.pool()
        await pool.create("c1")
        model: dict[bytes, bytes] = {}
        for life in range(6):
            container = await pool.open("c1")
            for _ in range(30):
                key = b"%d" % rng.randrange(12)
                if rng.random() < 0.2:
                    await container.punch(OID, key)
                    model.pop(key, None)
                else:
                    model[key] = rng.randbytes(rng.choice((1, 100, 5000)))
                    await container.put(OID, key, {b"a": model[key]})
            if life % 3 == 2:
                images = cluster.images()
                await cluster.stop(checkpoint=False)
                cluster.directory = MemoryDirectory(images)
                await cluster.start()
            else:
                await cluster.restart(checkpoint=life % 3 == 1)
            pool = await cluster.connect(pool.pool)
            container = await pool.open("c1", "r")
            for number in range(12):
                key = b"%d" % number
                assert await container.get(OID, key, b"a") == model.get(key)
        await cluster.stop()

    asyncio.run(run())


def test_the_system_record_has_a_format() -> None:
    assert SystemRecord(FORMAT, 4).format == 1

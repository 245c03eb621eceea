"""`daos_engine` in processes: serving, ending in order, dying. The test plays its server's part."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import resource
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.message import Message

from daos.base.clock import SystemClock
from daos.base.errors import DER, DaosError, InvalidError, StaleHandleError, StaleMapError
from daos.base.hlc import Hlc
from daos.base.ids import Epoch, ObjectType, Rank, TargetIndex, tag_of
from daos.cart.context import Endpoint
from daos.cart.transport.ranks import this_host
from daos.client.admin import Admin
from daos.client.client import Client
from daos.client.kv import KeyValue
from daos.drpc.modules import MgmtMethod
from daos.engine.layout import StopNote
from daos.engine.process import STATUS_TARGET_LOST
from daos.object.wire import (
    OBJECT_LIST,
    POOL_MAP,
    ObjectListRequest,
    PoolMapRequest,
    ShardAddress,
)
from daos.placement.pool_map import PoolMap
from daos.proto import ctl_pb2 as ctl
from daos.proto import mgmt_pb2 as pb
from daos.testing.engines import EngineProcess, EngineSystem, free_ports, install

MIB = 1 << 20
Body = Callable[[EngineSystem], Coroutine[Any, Any, None]]


def on_engines(
    ranks: int = 1, ports: Mapping[int, int] | None = None
) -> Callable[[Body], Callable[[Path], None]]:
    """A test over running engines; none is left behind."""

    def decorate(body: Body) -> Callable[[Path], None]:
        def test(tmp_path: Path) -> None:
            async def run() -> None:
                async with EngineSystem(tmp_path, ranks=ranks, ports=ports) as system:
                    await body(system)

            asyncio.run(run())

        test.__name__, test.__doc__ = body.__name__, body.__doc__
        return test

    return decorate


async def make_pool(system: EngineSystem) -> UUID:
    return await system.create_pool("tank", len(system.engines) * system.targets * 16 * MIB)


class Writer:
    """Puts one value after another into one key-value, and remembers what was acknowledged."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.acknowledged: dict[str, bytes] = {}
        self.kv: KeyValue

    async def begin(self) -> None:
        """In a new container; its handles stay open."""
        pool = await self.client.pool("tank")
        cont = await pool.create_container("c1")
        self.kv = await cont.kv(await cont.new_oid(ObjectType.KV_LEXICAL, "SX"))
        await self.put(20)

    async def put(self, count: int) -> None:
        for _ in range(count):
            number = len(self.acknowledged)
            key, value = f"key{number}", b"value %d" % number
            await self.kv.put(key, value)
            self.acknowledged[key] = value

    async def check(self) -> None:
        found = {key: await self.kv.get(key) for key in self.acknowledged}
        assert found == self.acknowledged


def sockets_left(system: EngineSystem) -> list[str]:
    names = {path.name for path in system.sockets.iterdir()}
    return sorted(names - {"daos_server.sock"})


@on_engines(ranks=2)
async def test_an_orderly_restart(system: EngineSystem) -> None:
    """Requests under way are answered, or sent again; nothing is left, nothing is lost."""
    await make_pool(system)
    async with system.client() as client:
        writer = Writer(client)
        await writer.begin()
        writing = asyncio.create_task(writer.put(200))
        first, second = system.engines
        os.killpg(second.pid, signal.SIGINT)  # as a terminal does: the targets hear it, too
        assert [await second.ended(), await first.stop()] == [0, 0]
        assert sockets_left(system) == []
        for engine in system.engines:
            await engine.start()
        await system.set_up()
        await writing
        await writer.check()


@pytest.mark.parametrize("victim", ["target", "parent"])
def test_a_killed_process_ends_its_rank(victim: str, tmp_path: Path) -> None:
    """At once, and nothing else; who writes goes on when it is back."""

    async def body(system: EngineSystem) -> None:
        await make_pool(system)
        engine = system.engines[1]
        async with system.client() as client:
            writer = Writer(client)
            await writer.begin()
            writing = asyncio.create_task(writer.put(200))
            if victim == "target":
                engine.kill_target(1)
                assert await engine.ended() == STATUS_TARGET_LOST
                assert [name for name in sockets_left(system) if name.startswith("1.")] == []
            else:
                engine.kill()
                assert await engine.ended() == -signal.SIGKILL
            await system.restart(engine)
            await writing
            await writer.check()
        for engine in system.engines:
            assert await engine.stop() == 0
        assert sockets_left(system) == []

    on_engines(ranks=2)(body)(tmp_path)


@on_engines()
async def test_all_die(system: EngineSystem) -> None:
    """The rank with the services; what was acknowledged is there for the next client."""
    await make_pool(system)
    engine = system.engines[0]
    async with system.client(timeout=1.0) as client:
        writer = Writer(client)
        await writer.begin()
        engine.kill()
        await engine.ended()
        with pytest.raises(DaosError) as caught:
            await writer.put(1)
        assert caught.value.code in {DER.TIMEDOUT, DER.UNREACH, DER.TX_UNCERTAIN}
        await system.restart(engine)
        async with system.client() as other, other.pool("tank") as pool:
            assert [each.label for each in await pool.containers()] == ["c1"]
            writer.kv = await (await pool.container("c1", "r")).kv(writer.kv.oid)
            await writer.check()


@pytest.mark.parametrize(("interface", "host"), [("lo", "127.0.0.1"), ("::1", "[::1]")])
def test_clients_of_other_hosts_come_by_tcp(tmp_path: Path, interface: str, host: str) -> None:
    async def main() -> None:
        async with EngineSystem(
            tmp_path, ports={0: port}, variables={"D_INTERFACE": interface}
        ) as system:
            await make_pool(system)
            uri = system.engines[0].ready.result().uri
            assert uri == f"sm://{this_host()}{system.sockets},tcp://{host}:{port}"
            async with system.client(by_tcp=True) as client:
                writer = Writer(client)
                await writer.begin()
                await writer.check()

    if ":" in host and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    port = free_ports(3)
    asyncio.run(main())


@on_engines()
async def test_what_a_server_may_get_wrong(system: EngineSystem) -> None:
    engine = system.engines[0]

    async def status(method: MgmtMethod, request: Message) -> int:
        reply = await engine.ask(method, request, pb.DaosResp)
        return -reply.status

    assert await status(MgmtMethod.SET_RANK, pb.SetRankReq(rank=0, key=system.key)) == 0
    assert await status(MgmtMethod.SET_RANK, pb.SetRankReq(rank=0)) == DER.INVAL
    assert await status(MgmtMethod.SET_RANK, pb.SetRankReq(rank=1)) == DER.EXIST
    assert await status(MgmtMethod.SET_UP, system.members()) == DER.ALREADY
    assert await status(MgmtMethod.PING_RANK, pb.PingRankReq(rank=0)) == 0
    assert await status(MgmtMethod.PING_RANK, pb.PingRankReq(rank=1)) == DER.INVAL
    assert await status(MgmtMethod.PREP_SHUTDOWN, pb.PrepShutdownReq(rank=0)) == 0
    told = pb.GroupUpdateReq(map_version=99)
    told.engines.add(rank=0, uri="ofi+verbs://nowhere")
    assert await status(MgmtMethod.GROUP_UPDATE, told) == DER.INVAL


def test_an_engine_that_cannot_be_set_up_ends(tmp_path: Path) -> None:
    """It says why, by its status and in its log; what the last stop noted is noted again."""

    async def body() -> None:
        async with EngineSystem(tmp_path, targets=1) as system:
            (engine,) = system.engines
            note = engine.storage / "stopped"
            assert await engine.stop() == 0
            before = StopNote.parse(note.read_bytes()).epoch
            system.targets = 2
            with pytest.raises(InvalidError, match="1 targets for life, 2 were asked for"):
                await system.restart(engine)
            assert await engine.ended() == 1
            assert StopNote.parse(note.read_bytes()).epoch > before

    asyncio.run(body())


@on_engines()
async def test_storage_is_one_engines(system: EngineSystem) -> None:
    other = EngineProcess(system, 0)
    with pytest.raises(DaosError, match=f"in use by process {system.engines[0].pid}"):
        await other.start()


@on_engines(ranks=2)
async def test_pools_by_drpc(system: EngineSystem) -> None:
    """What a server passes on for administrators."""
    first, second = system.engines
    uuid = "11111111-2222-4333-8444-555555555555"
    create = pb.PoolCreateReq(uuid=uuid, user="alice@", user_group="staff@")
    create.properties.add(number=1, strval="tank")
    create.tier_bytes.extend([8 * MIB, 24 * MIB])
    made = await first.ask(MgmtMethod.POOL_CREATE, create, pb.PoolCreateResp)
    assert (made.status, list(made.tgt_ranks), len(made.tier_bytes)) == (0, [0, 1], 2)
    elsewhere = await second.ask(MgmtMethod.POOL_CREATE, create, pb.PoolCreateResp)
    assert elsewhere.status == -DER.NOTLEADER
    listed = await first.ask(MgmtMethod.LIST_POOLS, pb.ListPoolsReq(), pb.ListPoolsResp)
    assert [(each.uuid, each.label, each.state) for each in listed.pools] == [
        (uuid, "tank", "Ready")
    ]

    async with system.client() as client:
        pool = await client.pool("tank")
        await pool.create_container("c1")
        inside = await first.ask(
            MgmtMethod.LIST_CONTAINERS, pb.ListContReq(id=uuid), pb.ListContResp
        )
        assert len(inside.containers) == 1
        busy = await first.ask(
            MgmtMethod.POOL_DESTROY, pb.PoolDestroyReq(id="tank"), pb.PoolDestroyResp
        )
        assert busy.status == -DER.BUSY
        evict = await first.ask(MgmtMethod.POOL_EVICT, pb.PoolEvictReq(id="tank"), pb.PoolEvictResp)
        assert evict.count == 1
        with pytest.raises(StaleHandleError):
            await pool.query()

    change = pb.PoolSetPropReq(id="tank")
    change.properties.add(number=5, strval="time")
    assert (await first.ask(MgmtMethod.POOL_SET_PROP, change, pb.PoolSetPropResp)).status == 0
    told = await first.ask(
        MgmtMethod.POOL_GET_PROP, pb.PoolGetPropReq(id="tank"), pb.PoolGetPropResp
    )
    assert {each.number: each.strval for each in told.properties}[5] == "time"

    numbers = await first.ask(MgmtMethod.POOL_QUERY, pb.PoolQueryReq(id="tank"), pb.PoolQueryResp)
    assert (numbers.total_targets, numbers.total_engines, numbers.enabled_ranks) == (4, 2, "0-1")
    assert [tier.total // 2 for tier in numbers.tier_stats] == list(made.tier_bytes)
    targets = pb.PoolQueryTargetReq(id="tank", rank=1)
    found = await first.ask(MgmtMethod.POOL_QUERY_TARGETS, targets, pb.PoolQueryTargetResp)
    assert len(found.infos) == 2
    targets.targets.append(2)
    found = await first.ask(MgmtMethod.POOL_QUERY_TARGETS, targets, pb.PoolQueryTargetResp)
    assert found.status == -DER.NONEXIST

    gone = pb.PoolDestroyReq(id="tank", force=True)
    assert (await first.ask(MgmtMethod.POOL_DESTROY, gone, pb.PoolDestroyResp)).status == 0
    listed = await first.ask(MgmtMethod.LIST_POOLS, pb.ListPoolsReq(), pb.ListPoolsResp)
    assert list(listed.pools) == []


@on_engines(ranks=2)
async def test_storage_by_drpc(system: EngineSystem) -> None:
    pool = await make_pool(system)
    for engine in system.engines:
        (device,) = (
            await engine.ask(MgmtMethod.SMD_LIST_DEVS, ctl.SmdDevReq(), ctl.SmdDevResp)
        ).devices
        services = [1024] if engine.number == 0 else []
        assert (device.rank, list(device.tgt_ids)) == (engine.number, [0, 1, *services])
        assert device.total_bytes >= device.avail_bytes > 0
        (shards,) = (
            await engine.ask(MgmtMethod.SMD_LIST_POOLS, ctl.SmdPoolReq(), ctl.SmdPoolResp)
        ).pools
        assert (shards.uuid, list(shards.tgt_ids), len(shards.blobs)) == (str(pool), [0, 1], 2)


@on_engines()
async def test_every_process_logs_what_it_is_told_to(system: EngineSystem) -> None:
    (engine,) = system.engines
    request = ctl.SetLogMasksReq(masks="CRIT,engine=DEBUG")
    done = await engine.ask(MgmtMethod.SET_LOG_MASKS, request, ctl.SetLogMasksResp)
    assert (done.status, list(done.errors)) == (0, [])
    pids = [engine.pid, *engine.children()]
    wrong = ctl.SetLogMasksReq(masks="LOUD")
    done = await engine.ask(MgmtMethod.SET_LOG_MASKS, wrong, ctl.SetLogMasksResp)
    assert done.status == -DER.INVAL
    assert "is none of DEBUG" in done.errors[0]
    assert await engine.stop() == 0  # by now all have heard
    told = re.findall(r"(\d+) DEBUG daos.engine.logmask: log masks: ", engine.log.read_text())
    assert sorted(map(int, told)) == sorted(pids)


@on_engines()
async def test_pools_are_made_by_administrators_only(system: EngineSystem) -> None:
    """Who are the server's: what a client asks for is not even served."""
    context, rng = system.context()
    async with Admin(context, clock=SystemClock(), rng=rng, timeout=5.0) as admin:
        for attempt in (admin.pool_create("tank", "64MiB"), admin.pool_destroy("tank", force=True)):
            with pytest.raises(DaosError) as caught:
                await attempt
            assert caught.value.code is DER.UNREG
        assert await admin.pool_list() == []


@on_engines()
async def test_handles_of_a_machine_are_evicted(system: EngineSystem) -> None:
    """Those of its clients, and no others."""
    await make_pool(system)
    async with system.client(machine="node1") as gone, system.client(machine="node2") as stays:
        theirs, ours = await gone.pool("tank"), await stays.pool("tank")
        request = pb.PoolEvictReq(id="tank", machine="node1")
        engine = system.engines[0]
        assert (await engine.ask(MgmtMethod.POOL_EVICT, request, pb.PoolEvictResp)).count == 1
        with pytest.raises(StaleHandleError):
            await theirs.query()
        assert (await ours.query()).handles == 1


@on_engines(ranks=2)
async def test_every_target_knows_the_pool_map(system: EngineSystem) -> None:
    await make_pool(system)
    client = system.client()
    pool = await client.pool("tank")
    cont = await pool.create_container("c1")
    await pool.props.set("reclaim", "time")  # all ranks have been told of the pool on return
    assert [oid async for oid in cont.objects()] == []  # every target has met the handle
    link, deadline_ns = cont._link, SystemClock().now_ns() + 10 * 10**9
    for target in pool.pool_map.targets:
        to = Endpoint(target.rank, tag_of(target.index))
        at = ShardAddress(link.handle, 0, 0, 0, 0, 0, link.pool)  # by no map at all
        known = await link.context.call(to, POOL_MAP, PoolMapRequest(at), deadline_ns=deadline_ns)
        assert PoolMap.parse(known.pool_map) == pool.pool_map
        listing = ObjectListRequest(at, b"", 1)
        with pytest.raises(StaleMapError, match="version 1, the request's 0"):
            await link.context.call(to, OBJECT_LIST, listing, deadline_ns=deadline_ns)
    await client.close()


@on_engines()
async def test_a_signal_has_every_process_write_down_what_it_is_at(system: EngineSystem) -> None:
    await make_pool(system)
    async with system.client() as client:
        await Writer(client).begin()
        (engine,) = system.engines
        os.kill(engine.pid, signal.SIGUSR2)
        files: list[Path] = []
        while len(files) < 1 + system.targets or not all(path.stat().st_size for path in files):
            await asyncio.sleep(0.01)  # files tell nobody that they are there
            files = sorted(system.sockets.glob("daos_dump_*.txt"))
        texts = [path.read_text() for path in files]
        assert sum("rank 0 tag 0: " in text for text in texts) == 1
        for tag in range(1, 1 + system.targets):
            (text,) = [each for each in texts if f"rank 0 tag {tag}: " in each]
            assert "aggregation ticks, " in text
            assert "garbage collection, " in text
        assert await engine.stop() == 0, "and it serves on"


def test_helpers_compute_checksums_of_large_values(tmp_path: Path) -> None:
    async def main() -> None:
        async with EngineSystem(tmp_path, targets=2, arguments=("-x", "3")) as system:
            await make_pool(system)
            async with system.client() as client:
                pool = await client.pool("tank")
                cont = await pool.create_container("c1", props={"cksum": "sha256"})
                kv = await cont.kv(await cont.new_oid(ObjectType.KV_LEXICAL, "SX"))
                for number in range(8):
                    await kv.put(f"{number}", bytes([number]) * 300_000)
                for number in range(8):
                    assert await kv.get(f"{number}") == bytes([number]) * 300_000
                (engine,) = system.engines
                assert await engine.stop() == 0
                log = engine.log.read_text()
                assert "target 0 has 2 helpers" in log
                assert "target 1 has 1 helpers" in log

    asyncio.run(main())


def test_a_bug_in_a_target_ends_the_rank(tmp_path: Path) -> None:
    """Its caller is told, nothing is written any more; what is started anew has all data."""
    install(Path(__file__).parent / "faulty", tmp_path)
    ask = importlib.import_module("tests.system.faulty.daos_faulty")

    async def run() -> None:
        async with EngineSystem(
            tmp_path,
            arguments=("-m", "mgmt,pool,cont,obj,faulty"),
            variables={"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        ) as system:
            engine = system.engines[0]
            pool = await system.create_pool("tank", 2 * 32 * MIB)
            async with system.client() as client:
                container = await (await client.pool(str(pool))).create_container("c")
                kv = await container.kv()
                await kv.put("before", b"1")
                oid = kv.oid
            context, _ = system.context()
            target = Endpoint(Rank(0), tag_of(TargetIndex(1)))
            late = SystemClock().now_ns() + 20 * 10**9
            good = await context.call(target, ask.ASK, ask.Ask(1), deadline_ns=late)
            assert good.key == 2
            with pytest.raises(DaosError, match="internal error, KeyError") as caught:
                await context.call(target, ask.ASK, ask.Ask(7), deadline_ns=late)
            assert caught.value.code is DER.MISC
            assert await engine.ended() == STATUS_TARGET_LOST
            await context.close()
            log = engine.log.read_text()
            assert "target 1 has gone, status 4: the rank ends" in log
            assert "KeyError: 7" in log
            await system.restart(engine)
            async with system.client() as client:
                container = await (await client.pool(str(pool))).container("c")
                assert await (await container.kv(oid)).get("before") == b"1"

    asyncio.run(run())


@on_engines()
async def test_after_an_orderly_stop_the_clock_is_not_waited_for(system: EngineSystem) -> None:
    """Each epoch is above the life before, whatever the clock says; a crash leaves no note."""
    (engine,) = system.engines
    pool = await system.create_pool("tank", 2 * 32 * MIB)
    note = engine.storage / "stopped"

    async def write() -> int:
        async with system.client() as client:
            pool_handle = await client.pool(str(pool))
            container = await pool_handle.create_container(f"c{len(epochs)}")
            return await container.snapshot()

    epochs: list[int] = []
    epochs.append(await write())
    assert await engine.stop() == 0
    last = StopNote.parse(note.read_bytes()).epoch
    assert last > epochs[-1]
    # As if the clock had been set back since, no more than clients tolerate.
    ahead = Hlc(SystemClock()).now() + 900_000_000 * 16
    note.write_bytes(StopNote(Epoch(ahead)).emit())
    await system.restart(engine)
    assert not note.exists()
    epochs.append(await write())
    assert epochs[-1] > ahead
    engine.kill()
    await engine.ended()
    assert not note.exists()


def test_an_engine_takes_all_descriptors_that_it_may_have(tmp_path: Path) -> None:
    async def main() -> None:
        async with EngineSystem(tmp_path, targets=1) as system:
            (engine,) = system.engines
            for pid in (engine.pid, *engine.children()):
                assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (most, most)

    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, most - 1), most))
    try:
        asyncio.run(main())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))

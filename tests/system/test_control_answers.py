"""What administrators, engines and clients hear of a server, and who hears nothing."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from daos.base.clock import SystemClock
from daos.base.errors import DER, AccessError, BusyError, DaosError, InvalidError, NotFoundError
from daos.base.peers import Peer
from daos.control import files
from daos.control.access import Component
from daos.control.client import ControlClient
from daos.control.faults import FaultError
from daos.control.members import MemberState
from daos.drpc.client import call
from daos.drpc.modules import MgmtMethod, ModuleId, SrvMethod
from daos.proto import ctl_pb2, mgmt_pb2
from daos.proto.srv_pb2 import NotifyReadyReq, NotifyReadyResp
from tests.system.control import WITHIN_S, Running, config, nothing, run


def test_pools_are_kept_by_rank_0(base: Path) -> None:
    uuid = str(UUID(int=1 << 70))

    async def scenario(running: Running) -> None:
        pb = mgmt_pb2
        label = pb.PoolProperty(number=1, strval="tank")
        create = pb.PoolCreateReq(uuid=uuid, properties=[label], total_bytes=1 << 30)
        made = await running.ask("PoolCreate", create, pb.PoolCreateResp)
        assert list(made.tgt_ranks) == [0, 1]
        assert list(made.tier_bytes) == [1 << 29, 0]
        found = await running.ask("ListPools", pb.ListPoolsReq(), pb.ListPoolsResp)
        assert [(each.uuid, each.label) for each in found.pools] == [(uuid, "tank")]
        query = await running.ask("PoolQuery", pb.PoolQueryReq(id="none"), pb.PoolQueryResp)
        assert query.status == -DER.NONEXIST
        query = await running.ask("PoolQuery", pb.PoolQueryReq(id="tank"), pb.PoolQueryResp)
        assert query.sys_self_heal_policy == "exclude;pool_exclude;pool_rebuild"
        with pytest.raises(FaultError, match="code = 616"):
            await running.ask("PoolCreate", pb.PoolCreateReq(uuid=uuid), pb.PoolCreateResp)
        with pytest.raises(InvalidError, match="without properties"):
            await running.ask("PoolSetProp", pb.PoolSetPropReq(id="tank"), pb.PoolSetPropResp)
        cleaned = await running.ask(
            "SystemCleanup", pb.SystemCleanupReq(machine="h9"), pb.SystemCleanupResp
        )
        assert [(each.pool_id, each.count) for each in cleaned.results] == [(uuid, 1)]
        destroy = pb.PoolDestroyReq(id="tank")
        assert (await running.ask("PoolDestroy", destroy, pb.PoolDestroyResp)).status == 0

    run(config(base, engines=2), scenario)


@pytest.mark.expects_warning("does not prepare")
def test_an_engine_that_has_just_ended_is_one_that_is_not_ready(base: Path) -> None:
    """Before its end is heard of: nothing was asked, and the caller may come again."""

    async def scenario(running: Running) -> None:
        ready = running.instances[0].ready
        assert ready is not None
        files.remove_sockets(running.config.sockets, "daos_engine*.sock")
        request, reply = mgmt_pb2.ListPoolsReq(), mgmt_pb2.ListPoolsResp
        with pytest.raises(FaultError, match="code = 612"):
            await running.admin.ask("ListPools", request, reply, timeout_s=0.1)

    run(config(base), scenario)


@pytest.mark.expects_warning("grpc denied")
def test_who_may_call_what(base: Path) -> None:
    async def scenario(running: Running) -> None:
        async with running.client(Component.AGENT) as agent:
            with pytest.raises(AccessError, match=r"agent may not call mgmt.MgmtSvc/ListPools"):
                await agent.ask("ListPools", mgmt_pb2.ListPoolsReq(), mgmt_pb2.ListPoolsResp)
        request = mgmt_pb2.SystemQueryReq(sys="bad")
        with pytest.raises(FaultError, match="code = 603") as caught:
            await running.ask("SystemQuery", request, mgmt_pb2.SystemQueryResp)
        assert caught.value.resolution == "retry the request with the correct system name"
        leader = await running.ask(
            "LeaderQuery", mgmt_pb2.LeaderQueryReq(), mgmt_pb2.LeaderQueryResp
        )
        assert (leader.current_leader, list(leader.replicas)) == ("h1:10001", ["h1:10001"])
        properties = await running.ask(
            "SystemGetProp", mgmt_pb2.SystemGetPropReq(), mgmt_pb2.SystemGetPropResp
        )
        assert properties.properties["daos_system"] == "daos_server"
        mode = (running.config.sockets / "control.sock").stat().st_mode
        assert mode & 0o077 == 0

    run(config(base), scenario)


def test_clients_are_told_where_ranks_are(base: Path) -> None:
    asked = replace(config(base, engines=2, client_env_vars=("A=1",)), crt_timeout_s=45)

    async def scenario(running: Running) -> None:
        reply = mgmt_pb2.GetAttachInfoResp
        for all_ranks in (True, False):
            request = mgmt_pb2.GetAttachInfoReq(all_ranks=all_ranks)
            found = await running.ask("GetAttachInfo", request, reply)
            assert [each.rank for each in found.rank_uris] == ([0, 1] if all_ranks else [0])
            assert {each.num_ctxs for each in found.rank_uris} == {5}
            assert list(found.ms_ranks) == [0]
            assert found.sys == "daos_server"
            assert (found.client_net_hint.crt_timeout, found.client_net_hint.env_vars) == (
                45,
                ["A=1"],
            )
            build = found.build_info
            assert (build.major, build.minor, build.patch) == (0, 1, 0)

    run(asked, scenario)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"instanceIdx": 7}, "no instance 7"),
        ({"drpcListenerSock": "/no/such.sock"}, "is no socket"),
        ({"drpcListenerSock": ""}, "is no socket"),
    ],
)
def test_an_engine_that_tells_nonsense(base: Path, change: dict[str, Any], text: str) -> None:
    async def scenario(running: Running) -> None:
        pid = running.instances[0].pid
        assert pid is not None
        request = NotifyReadyReq(drpcListenerSock=str(base / "run" / "daos_server.sock"))
        for name, value in change.items():
            setattr(request, name, value)
        with pytest.raises(DaosError, match=text):
            await running.server.harness.notify_ready(request, Peer(pid, 0, 0))

    run(config(base), scenario)


def test_only_sockets_of_engines_are_removed(base: Path) -> None:
    sockets = base / "run"
    sockets.mkdir()
    for name in ("daos_engine_1.sock", "other.sock"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as endpoint:
            endpoint.bind(str(sockets / name))
    (sockets / "daos_engine.txt").write_text("kept")
    files.remove_sockets(sockets, "daos_engine*.sock")
    assert sorted(path.name for path in sockets.iterdir()) == ["daos_engine.txt", "other.sock"]


@pytest.mark.expects_warning("is not instance 0")
def test_only_the_process_that_was_started_is_an_engine(base: Path) -> None:
    async def scenario(running: Running) -> None:
        server = running.config.sockets / "daos_server.sock"
        lie = NotifyReadyReq(uri="sm:///x", drpcListenerSock=str(server), instanceIdx=0)
        with pytest.raises(AccessError, match="is not instance 0"):
            await call(
                server, ModuleId.SRV, SrvMethod.NOTIFY_READY, lie, NotifyReadyResp, timeout_s=10
            )
        assert await running.states() == ["joined"]

    run(config(base), scenario)


def test_a_host_tells_of_its_storage(base: Path) -> None:
    async def scenario(running: Running) -> None:
        scan = await running.ask_host(
            "StorageScan", ctl_pb2.StorageScanReq(), ctl_pb2.StorageScanResp
        )
        (space,) = scan.scm.namespaces
        assert space.mount.path == f"{base}/engine0"
        assert 0 < space.mount.avail_bytes <= space.mount.total_bytes
        assert scan.sys_mem_info.mem_total_kb > 0
        query = ctl_pb2.SmdQueryReq(rank=0xFFFFFFFF)
        smd = await running.ask_host("SmdQuery", query, ctl_pb2.SmdQueryResp)
        assert [each.rank for each in smd.ranks] == [0]

    run(config(base), scenario)


def test_engines_are_told_what_to_log(base: Path) -> None:
    asked = config(base, engines=2)
    asked = replace(
        asked, engines=tuple(replace(each, log_mask="ERR,mgmt=INFO") for each in asked.engines)
    )

    async def scenario(running: Running) -> None:
        reply = ctl_pb2.SetLogMasksResp
        done = await running.ask_host(
            "SetEngineLogMasks", ctl_pb2.SetLogMasksReq(masks="DEBUG"), reply
        )
        assert (done.status, list(done.errors)) == (0, [])
        await running.ask_host("SetEngineLogMasks", ctl_pb2.SetLogMasksReq(reset_masks=True), reply)
        for index in (0, 1):
            masks = [each.get("masks") for each in running.told(index) if "masks" in each]
            assert masks == ["DEBUG", "ERR,mgmt=INFO"]
        stop = mgmt_pb2.SystemStopReq(ranks="1", force=True)
        await running.ask("SystemStop", stop, mgmt_pb2.SystemStopResp)
        done = await running.ask_host("SetEngineLogMasks", ctl_pb2.SetLogMasksReq(), reply)
        assert list(done.errors) == ["instance 1: the engine does not run"]

    run(asked, scenario)


def test_a_host_tells_of_its_interfaces(base: Path) -> None:
    async def scenario(running: Running) -> None:
        reply = ctl_pb2.NetworkScanResp
        found = await running.ask_host("NetworkScan", ctl_pb2.NetworkScanReq(), reply)
        assert ("ofi+tcp", "lo", 772) in [
            (each.provider, each.device, each.netdevclass) for each in found.interfaces
        ]
        assert found.numacount >= 1
        request = ctl_pb2.NetworkScanReq(provider="x")
        (error,) = (await running.admin.ask_hosts("NetworkScan", request, reply)).values()
        assert isinstance(error, InvalidError)
        assert "no provider 'x'" in error.message

    run(config(base), scenario)


def test_storage_that_waits_is_scanned_as_well(base: Path) -> None:
    asked = replace(config(base, engines=2), auto_format=False)

    async def scenario(running: Running) -> None:
        reply = ctl_pb2.StorageScanResp
        for usage, count in ((False, 2), (True, 0)):
            request = ctl_pb2.StorageScanReq(scm=ctl_pb2.ScanScmReq(usage=usage))
            found = await running.ask_host("StorageScan", request, reply)
            assert len(found.scm.namespaces) == count
        request = ctl_pb2.StorageScanReq()
        first, second = (await running.ask_host("StorageScan", request, reply)).scm.namespaces
        assert first.dev == second.dev  # one file system: each may take its half
        assert first.mount.usable_bytes <= first.mount.avail_bytes // 2

    run(asked, scenario, ready=False)


def test_a_system_is_erased_when_it_has_stopped(base: Path) -> None:
    async def scenario(running: Running) -> None:
        pb = mgmt_pb2
        attributes = pb.SystemSetAttrReq(attributes={"a": "1"})
        await running.ask("SystemSetAttr", attributes, pb.DaosResp)
        version = running.server.harness.record.map_version
        with pytest.raises(BusyError, match="not all ranks are stopped: 0-1 run; `dmg system stop"):
            await running.ask("SystemErase", pb.SystemEraseReq(), pb.SystemEraseResp)
        await running.ask("SystemStop", pb.SystemStopReq(ranks="0"), pb.SystemStopResp)
        with pytest.raises(BusyError, match="1 run"):
            await running.ask("SystemErase", pb.SystemEraseReq(), pb.SystemEraseResp)
        await running.ask("SystemStop", pb.SystemStopReq(), pb.SystemStopResp)
        done = await running.ask("SystemErase", pb.SystemEraseReq(), pb.SystemEraseResp)
        assert [(each.rank, each.action, each.state) for each in done.results] == [
            (0, "erase", "awaitformat"),
            (1, "erase", "awaitformat"),
        ]
        assert await running.states() == []
        again = await running.ask("SystemErase", pb.SystemEraseReq(), pb.SystemEraseResp)
        assert not again.results
        for each in running.instances:
            assert not (each.config.storage / "superblock").exists()
        await running.ask_host(
            "StorageFormat", ctl_pb2.StorageFormatReq(), ctl_pb2.StorageFormatResp
        )
        await running.server.ready(within_s=WITHIN_S)
        assert await running.states() == ["joined", "joined"]
        found = await running.ask("SystemGetAttr", pb.SystemGetAttrReq(), pb.SystemGetAttrResp)
        assert not found.attributes
        assert running.server.harness.record.map_version > version

    run(config(base, engines=2), scenario)


@pytest.mark.expects_warning("ended: killed by signal 9", "is started again in")
def test_an_engine_that_will_come_back_keeps_its_system(base: Path) -> None:
    async def scenario(running: Running) -> None:
        victim = running.instances[0]
        for _ in range(2):
            await running.until(lambda: victim.state is MemberState.JOINED)
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)
            await running.until(lambda: victim.state is not MemberState.JOINED)
        await running.until(lambda: victim.state is MemberState.ERRORED)
        with pytest.raises(BusyError):
            await running.ask("SystemErase", mgmt_pb2.SystemEraseReq(), mgmt_pb2.SystemEraseResp)
        assert victim.superblock is not None

    run(replace(config(base), restart_min_delay_s=1000.0), scenario)


def test_a_host_stops_and_starts_its_ranks(base: Path) -> None:
    """What the server with the management service asks others for."""

    async def scenario(running: Running) -> None:
        async with running.client(Component.SERVER) as server:

            async def ask(method: str) -> list[tuple[int, str, str, bool]]:
                request, reply = ctl_pb2.RanksReq(ranks="1"), ctl_pb2.RanksResp
                (answer,) = (await server.ask_hosts(method, request, reply)).values()
                assert not isinstance(answer, DaosError), answer
                return [
                    (each.rank, each.action, each.state, each.errored) for each in answer.results
                ]

            assert await ask("PrepShutdownRanks") == [(1, "prep shutdown", "stopping", False)]
            assert await ask("StopRanks") == [(1, "stop", "stopped", False)]
            assert await running.states() == ["joined", "stopped"]
            assert await ask("StartRanks") == [(1, "start", "joined", False)]

    run(config(base, engines=2), scenario)


def test_settings_of_the_system(base: Path) -> None:
    async def scenario(running: Running) -> None:
        pb = mgmt_pb2
        policy = "exclude;pool_exclude;pool_rebuild"
        for given in ({"self_heal": policy}, {}):
            await running.ask("SystemSetProp", pb.SystemSetPropReq(properties=given), pb.DaosResp)
        with pytest.raises(DaosError, match="acts on"):
            await running.ask(
                "SystemSetProp", pb.SystemSetPropReq(properties={"self_heal": "none"}), pb.DaosResp
            )
        found = await running.ask(
            "SystemGetProp", pb.SystemGetPropReq(keys=["self_heal"]), pb.SystemGetPropResp
        )
        assert dict(found.properties) == {"self_heal": policy}
        much = {f"a{number}": "x" * 4000 for number in range(300)}
        with pytest.raises(InvalidError, match="at most 1048576 bytes together"):
            await running.ask("SystemSetAttr", pb.SystemSetAttrReq(attributes=much), pb.DaosResp)
        for request, reply in (
            (pb.SystemGetAttrReq(keys=["x"]), pb.SystemGetAttrResp),
            (pb.SystemGetPropReq(keys=["x"]), pb.SystemGetPropResp),
        ):
            method = type(request).__name__.removesuffix("Req")
            with pytest.raises(NotFoundError, match="no system"):
                await running.ask(method, request, reply)

    run(config(base), scenario)


def test_tcp_only_where_it_is_allowed(base: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(InvalidError, match="allow_insecure: true"):
        run(config(base, port=port), nothing)

    async def scenario(running: Running) -> None:
        async with running.client(Component.ADMIN, f"127.0.0.1:{port}") as admin:
            found = await admin.ask(
                "SystemQuery", mgmt_pb2.SystemQueryReq(), mgmt_pb2.SystemQueryResp
            )
        assert found.members[0].addr == f"h1:{port}"

    asked = config(base, port=port, insecure=True, interface="lo")
    assert run(asked, scenario).said[0].endswith(f"listening on 127.0.0.1:{port}")


def test_nobody_there(base: Path) -> None:
    async def scenario() -> None:
        where = [f"unix:{base}/control.sock", f"unix:{base}/another.sock"]
        async with ControlClient(
            where, component=Component.ADMIN, clock=SystemClock(), rng=random.SystemRandom()
        ) as admin:
            with pytest.raises(FaultError, match="code = 506"):
                await admin.ask("ListPools", mgmt_pb2.ListPoolsReq(), mgmt_pb2.ListPoolsResp)
            answers = await admin.ask_hosts(
                "StorageScan", ctl_pb2.StorageScanReq(), ctl_pb2.StorageScanResp
            )
        assert list(answers) == where
        assert all(isinstance(each, FaultError) for each in answers.values())

    asyncio.run(scenario())


def test_a_host_that_has_no_address() -> None:
    async def scenario() -> None:
        async with ControlClient(
            ["no-such-host.invalid"],
            component=Component.ADMIN,
            clock=SystemClock(),
            rng=random.SystemRandom(),
        ) as admin:
            with pytest.raises(FaultError, match=r"code = 504 .*no-such-host.invalid:10001"):
                await admin.ask("ListPools", mgmt_pb2.ListPoolsReq(), mgmt_pb2.ListPoolsResp)

    asyncio.run(scenario())


@pytest.mark.expects_warning("the agent ended")
def test_an_agent_that_dies_is_started_again(base: Path) -> None:
    async def attach() -> mgmt_pb2.GetAttachInfoResp:
        return await call(
            base / "run" / "daos_agent.sock",
            ModuleId.MGMT,
            MgmtMethod.GET_ATTACH_INFO,
            mgmt_pb2.GetAttachInfoReq(all_ranks=True),
            mgmt_pb2.GetAttachInfoResp,
            timeout_s=20,
        )

    async def scenario(running: Running) -> None:
        assert [each.rank for each in (await attach()).rank_uris] == [0]
        pid = int((base / "run" / "daos_agent.lock").read_text())
        os.kill(pid, signal.SIGKILL)
        assert running.server.agent is not None
        await running.server.agent.ready(within_s=WITHIN_S, starts=2)
        assert [each.rank for each in (await attach()).rank_uris] == [0]

    run(config(base, agent=True), scenario)


@pytest.mark.expects_warning("the agent ended")
def test_an_agent_that_cannot_start_is_not_waited_for(base: Path) -> None:
    (base / "run").mkdir(mode=0o700)
    in_the_way = base / "run" / "daos_agent.sock"
    in_the_way.write_text("mine")
    with pytest.raises(DaosError, match="the agent ends as soon as it starts; see "):
        run(config(base, agent=True), nothing)
    assert in_the_way.read_text() == "mine"

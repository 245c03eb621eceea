"""A server with engines as processes: how they come up, die, and are stopped.

The engines are fakes that speak dRPC; everything else is real. Nothing may be left behind.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from daos.base.directory import LOCK, Lock
from daos.base.errors import DER, BusyError, DaosError, InvalidError, ShutdownError
from daos.base.peers import Peer
from daos.control import layout
from daos.control.members import MemberState
from daos.drpc.modules import ModuleId, SrvMethod
from daos.drpc.registry import Methods, Registry
from daos.drpc.server import Listener
from daos.proto import ctl_pb2, mgmt_pb2
from daos.proto.srv_pb2 import NotifyReadyReq, NotifyReadyResp
from tests.system.control import ENGINE, WITHIN_S, Running, config, nothing, run

# --- coming up ---


def test_two_engines_are_told_who_and_where_they_are(base: Path) -> None:
    async def scenario(running: Running) -> None:
        assert await running.states() == ["joined", "joined"]
        for index in (0, 1):
            rank, group, set_up = running.told(index)
            assert rank["method"] == "SET_RANK"
            assert rank.get("rank", 0) == index
            assert [each.get("rank", 0) for each in group["engines"]] == [0, 1]
            assert all(each["uri"].startswith("sm://") for each in group["engines"])
            assert set_up["members"] == [
                {"host": "h1", "targets": 4},
                {"rank": 1, "host": "h1", "targets": 4},
            ]

    running = run(config(base, engines=2), scenario)
    pids = [line.split()[5] for line in running.said[1:]]
    assert running.said == [
        f"DAOS Control Server v0.1.0 (pid {os.getpid()}) listening on unix:{base}/run/control.sock",
        f"DAOS I/O Engine (v0.1.0) process {pids[0]} started on rank 0 with 4 target, "
        "0 helper XS, firstcore 0, host h1.",
        f"DAOS I/O Engine (v0.1.0) process {pids[1]} started on rank 1 with 4 target, "
        "0 helper XS, firstcore 0, host h1.",
    ]


def test_what_it_knows_outlives_it(base: Path) -> None:
    async def first(running: Running) -> None:
        attributes = mgmt_pb2.SystemSetAttrReq(attributes={"a": "1", "b": "2"})
        await running.ask("SystemSetAttr", attributes, mgmt_pb2.DaosResp)
        remove = mgmt_pb2.SystemSetAttrReq(attributes={"b": ""})
        await running.ask("SystemSetAttr", remove, mgmt_pb2.DaosResp)

    async def second(running: Running) -> None:
        request = mgmt_pb2.SystemGetAttrReq()
        found = await running.ask("SystemGetAttr", request, mgmt_pb2.SystemGetAttrResp)
        assert dict(found.attributes) == {"a": "1"}

    one = run(config(base, engines=2), first)
    two = run(config(base, engines=2), second)
    identities = [
        [each.superblock and (each.superblock.uuid, each.rank) for each in running.instances]
        for running in (one, two)
    ]
    assert identities[0] == identities[1]
    three = run(config(base, engines=2), nothing)
    versions = [each.server.harness.record.map_version for each in (one, two, three)]
    assert versions == sorted(set(versions))


def test_storage_of_another_system_is_refused(base: Path) -> None:
    run(config(base), nothing)
    with pytest.raises(InvalidError, match="belongs to the system 'daos_server', not 'other'"):
        run(config(base, name="other"), nothing)


def test_targets_are_for_life(base: Path) -> None:
    run(config(base), nothing)
    asked = config(base)
    asked = replace(asked, engines=(replace(asked.engines[0], targets=2),))
    with pytest.raises(
        InvalidError, match="was formatted for 4 targets, for life; it can't have 2"
    ):
        run(asked, nothing)


def test_formatted_by_an_administrator(base: Path) -> None:
    asked = replace(config(base, engines=2), auto_format=False)

    async def scenario(running: Running) -> None:
        assert [each.state for each in running.instances] == [MemberState.AWAIT_FORMAT] * 2
        pools, reply = mgmt_pb2.ListPoolsReq(), mgmt_pb2.ListPoolsResp
        with pytest.raises(DaosError, match="storage format required") as caught:
            await running.ask("ListPools", pools, reply)
        assert caught.value.code is DER.UNINIT
        attach = mgmt_pb2.GetAttachInfoReq()
        with pytest.raises(DaosError, match="storage format required"):
            await running.ask("GetAttachInfo", attach, mgmt_pb2.GetAttachInfoResp)
        format_, answer = ctl_pb2.StorageFormatReq(), ctl_pb2.StorageFormatResp
        done = await running.ask_host("StorageFormat", format_, answer)
        assert [each.state.status for each in done.mrets] == [ctl_pb2.CTL_SUCCESS] * 2
        assert [each.mntpoint for each in done.mrets] == [f"{base}/engine0", f"{base}/engine1"]
        await running.server.ready(within_s=WITHIN_S)
        assert await running.states() == ["joined", "joined"]
        again = await running.ask_host("StorageFormat", format_, answer)
        assert [each.state.status for each in again.mrets] == [ctl_pb2.CTL_ERR_SCM] * 2
        assert "code = 101" in again.mrets[0].state.error
        # Nor by force, while it runs.
        forced = await running.ask_host(
            "StorageFormat", ctl_pb2.StorageFormatReq(reformat=True), answer
        )
        assert "rank 0 runs on it; `dmg system stop` stops it" in forced.mrets[0].state.error
        assert await running.states() == ["joined", "joined"]

    running = run(asked, scenario, ready=False)
    assert running.said[1:3] == [f"SCM format required on instance {index}" for index in (0, 1)]


def test_a_rank_that_lost_its_storage_waits_for_an_administrator(base: Path) -> None:
    run(config(base, engines=2), nothing)
    shutil.rmtree(base / "engine1")
    asked = replace(config(base, engines=2), auto_format=False)

    async def scenario(running: Running) -> None:
        await running.until(lambda: running.instances[0].state is MemberState.READY)
        assert await running.states() == ["ready"]  # the system is not whole
        await running.ask_host(
            "StorageFormat", ctl_pb2.StorageFormatReq(), ctl_pb2.StorageFormatResp
        )
        await running.server.ready(within_s=WITHIN_S)
        assert [each.rank for each in running.instances] == [0, 1]

    run(asked, scenario, ready=False)


@pytest.mark.parametrize(("how", "told"), [("start", "exit status 3"), ("set_up", "SetUp was")])
def test_an_engine_that_does_not_come_up(
    base: Path, how: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked = config(base, restarts=False)
    asked = replace(asked, engines=(replace(asked.engines[0], modules=f"fail:{how}"),))

    with pytest.raises(DaosError, match=f"engine 0: .*{told}.*see {base}/log/daos_engine.0.log"):
        run(asked, nothing)
    assert told in caplog.text


def test_without_rank_0_no_other_is_set_up(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = config(base, engines=2, restarts=False)
    broken = replace(asked.engines[0], modules="fail:set_up")

    async def scenario(running: Running) -> None:
        await running.until(lambda: running.instances[0].state is MemberState.ERRORED)
        assert running.instances[1].state is MemberState.READY
        assert [each["method"] for each in running.told(1)] == ["SET_RANK", "GROUP_UPDATE"]

    run(replace(asked, engines=(broken, asked.engines[1])), scenario, ready=False)
    assert "SetUp was refused" in caplog.text


# --- dying ---


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_an_engine_leaves_ends_with_it(
    base: Path, how: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    """Its targets end by themselves; one that hangs is ended. The fixture looks for it."""
    asked = config(base, restarts=False)

    async def scenario(running: Running) -> None:
        instance = running.instances[0]
        assert instance.pid is not None
        os.kill(instance.pid, how)
        await running.until(lambda: instance.state is not MemberState.JOINED)

    run(replace(asked, engines=(replace(asked.engines[0], modules="fail:child"),)), scenario)
    assert "instance 0 ended" in caplog.text


@pytest.mark.expects_warning("ended: killed by signal 9 (SIGKILL)")
def test_an_engine_that_dies_is_started_again(base: Path) -> None:
    async def scenario(running: Running) -> None:
        victim = running.instances[1]
        before = victim.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        await running.until(lambda: victim.pid not in (None, before))
        await running.until(lambda: victim.state is MemberState.JOINED)
        assert await running.states() == ["joined", "joined"]
        methods = [each["method"] for each in running.told(0)]
        assert methods == ["SET_RANK", "GROUP_UPDATE", "SET_UP", "GROUP_UPDATE"]

    run(config(base, engines=2), scenario)


@pytest.mark.expects_warning("ended: killed by signal 9", "is started again in")
def test_an_engine_that_dies_again_waits(base: Path) -> None:
    async def scenario(running: Running) -> None:
        victim = running.instances[0]
        for _ in range(2):
            await running.until(lambda: victim.state is MemberState.JOINED)
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)
            await running.until(lambda: victim.state is not MemberState.JOINED)
        await running.until(lambda: victim.state is MemberState.ERRORED)
        query = mgmt_pb2.SystemQueryReq()
        (member,) = (await running.ask("SystemQuery", query, mgmt_pb2.SystemQueryResp)).members
        assert (member.state, member.info) == ("errored", "killed by signal 9 (SIGKILL)")
        pools, reply = mgmt_pb2.ListPoolsReq(), mgmt_pb2.ListPoolsResp
        with pytest.raises(ShutdownError, match="has ended: killed by signal 9"):
            await running.ask("ListPools", pools, reply)
        # By hand it need not wait.
        request = mgmt_pb2.SystemStartReq()
        done = await running.ask("SystemStart", request, mgmt_pb2.SystemStartResp)
        assert [(each.state, each.errored) for each in done.results] == [("joined", False)]

    run(replace(config(base), restart_min_delay_s=1000.0), scenario)


@pytest.mark.expects_warning("does not stop in")
def test_an_engine_that_hears_nothing_is_killed(base: Path) -> None:
    asked = config(base)
    asked = replace(
        asked, engines=(replace(asked.engines[0], modules="fail:stop"),), stop_grace_s=0.2
    )

    async def scenario(running: Running) -> None:
        assert await running.states() == ["joined"]

    asked = replace(asked, engines=(replace(asked.engines[0], modules="fail:stop"),))
    run(asked, scenario)


@pytest.mark.parametrize(("fails", "status"), [("nothing", 0), ("stop", -signal.SIGKILL)])
def test_what_a_server_that_was_killed_left_is_ended(
    base: Path, fails: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    asked = config(base)
    run(asked, nothing)
    asked = replace(asked, stop_grace_s=0.2 if fails == "stop" else WITHIN_S)
    sockets, storage = asked.sockets, asked.engines[0].storage

    async def scenario() -> None:
        async def ready(request: NotifyReadyReq, peer: Peer) -> NotifyReadyResp:
            heard.set()
            return NotifyReadyResp()

        heard = asyncio.Event()
        methods, registry = Methods(), Registry()
        methods.add(SrvMethod.NOTIFY_READY, NotifyReadyReq, ready)
        registry.register(ModuleId.SRV, methods)
        listener = await Listener.start(sockets / "daos_server.sock", registry, mode=0o600)
        options = ("-t", "4", "-g", "x", "-d", str(sockets), "-s", str(storage), "-I", "0")
        orphan = await asyncio.create_subprocess_exec(*ENGINE, *options, "-m", f"fail:{fails}")
        await heard.wait()
        await listener.close()
        running = Running(asked)
        try:
            await running.server.start()
            await running.server.ready(within_s=WITHIN_S)
            assert await orphan.wait() == status
            assert running.instances[0].pid != orphan.pid
        finally:
            await running.admin.close()
            await running.server.close()

    asyncio.run(scenario())
    assert "was left behind by a server that died" in caplog.text
    assert ("it is killed" in caplog.text) == (fails == "stop")


def test_storage_that_somebody_else_uses_is_left_alone(base: Path) -> None:
    run(config(base), nothing)
    lock = Lock(base / "engine0" / LOCK)
    try:
        with pytest.raises(BusyError, match=f"in use by process {os.getpid()}, which is none of"):
            run(config(base), nothing)
    finally:
        lock.release()


def test_files_of_others_are_not_formatted_over(base: Path) -> None:
    (base / "engine0").mkdir()
    (base / "engine0" / "thesis.tex").write_text("x")
    with pytest.raises(
        InvalidError, match=r"engine0 holds what is none of ours: thesis.tex; empty"
    ):
        run(config(base), nothing)
    assert [path.name for path in (base / "engine0").iterdir()] == ["thesis.tex"]


def test_formatted_anew(base: Path) -> None:
    async def scenario(running: Running) -> None:
        before = running.instances[0].superblock
        stop, stopped = mgmt_pb2.SystemStopReq(), mgmt_pb2.SystemStopResp
        await running.ask("SystemStop", stop, stopped)
        (base / "engine0" / "devices").mkdir()
        anew = ctl_pb2.StorageFormatReq(reformat=True)
        done = await running.ask_host("StorageFormat", anew, ctl_pb2.StorageFormatResp)
        assert done.mrets[0].state.status == ctl_pb2.CTL_SUCCESS
        assert not (base / "engine0" / "devices").exists()
        await running.server.ready(within_s=WITHIN_S)
        after = running.instances[0].superblock
        assert before is not None
        assert after is not None
        assert (after.rank, after.uuid == before.uuid) == (0, False)

    run(config(base), scenario)


def test_a_damaged_superblock_is_not_formatted_over(base: Path) -> None:
    run(config(base), nothing)
    path = base / "engine0" / "superblock"
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"rank: 0", b"rank: 1"))
    with pytest.raises(layout.CorruptError):
        run(config(base), nothing)
    assert path.read_bytes() != raw


# --- stopping and starting ---


def test_stopped_and_started_by_an_administrator(base: Path) -> None:
    async def scenario(running: Running) -> None:
        stop = mgmt_pb2.SystemStopReq(ranks="1,7")
        done = await running.ask("SystemStop", stop, mgmt_pb2.SystemStopResp)
        assert [(each.rank, each.action, each.state, each.errored) for each in done.results] == [
            (1, "stop", "stopped", False)
        ]
        assert done.absentranks == "7"
        assert await running.states() == ["joined", "stopped"]
        assert running.told(1)[-1]["method"] == "PREP_SHUTDOWN"
        start = mgmt_pb2.SystemStartReq()
        done = await running.ask("SystemStart", start, mgmt_pb2.SystemStartResp)
        assert [(each.rank, each.state) for each in done.results] == [(0, "joined"), (1, "joined")]
        both = mgmt_pb2.SystemStopReq(ranks="0", hosts="h1")
        with pytest.raises(InvalidError, match="ranks or hosts"):
            await running.ask("SystemStop", both, mgmt_pb2.SystemStopResp)
        await running.ask("SystemStop", mgmt_pb2.SystemStopReq(), mgmt_pb2.SystemStopResp)
        with pytest.raises(ShutdownError, match="rank 0, which has the pools, is stopped"):
            await running.ask("ListPools", mgmt_pb2.ListPoolsReq(), mgmt_pb2.ListPoolsResp)
        other = mgmt_pb2.SystemStopReq(hosts="h2")
        done = await running.ask("SystemStop", other, mgmt_pb2.SystemStopResp)
        assert (list(done.results), done.absenthosts) == ([], "h2")

    run(config(base, engines=2), scenario)


@pytest.mark.expects_warning("does not prepare to stop")
def test_where_one_can_not_prepare_none_is_stopped(base: Path) -> None:
    asked = config(base, engines=2)
    broken = replace(asked.engines[1], modules="fail:prepare")
    asked = replace(asked, engines=(asked.engines[0], broken))

    async def scenario(running: Running) -> None:
        stop = mgmt_pb2.SystemStopReq()
        done = await running.ask("SystemStop", stop, mgmt_pb2.SystemStopResp)
        assert [(each.action, each.errored) for each in done.results] == [
            ("prep shutdown", False),
            ("prep shutdown", True),
        ]
        assert all(each.pid is not None for each in running.instances)
        forced = mgmt_pb2.SystemStopReq(force=True)
        done = await running.ask("SystemStop", forced, mgmt_pb2.SystemStopResp)
        assert [each.state for each in done.results] == ["stopped", "stopped"]

    run(asked, scenario)

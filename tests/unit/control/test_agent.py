"""The agent: what it tells clients, how often it asks, and whose handles it closes."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from google.protobuf.message import Message

from daos.base.errors import DER, DaosError
from daos.control import faults
from daos.control.agent import LOOK_S, Agent
from daos.control.config.model import AgentConfig
from daos.control.monitor import OF_PROCESS_MAX, Monitor, born
from daos.drpc.client import Connection
from daos.drpc.modules import MgmtMethod, ModuleId
from daos.proto.mgmt_pb2 import (
    DaosResp,
    GetAttachInfoReq,
    GetAttachInfoResp,
    PoolEvictReq,
    PoolEvictResp,
    PoolMonitorReq,
    SystemCleanupReq,
    SystemCleanupResp,
)

A, B, C = (f"a{n}111111-2222-4333-8444-555555555555" for n in "abc")
POOL, OTHER = "11111111-2222-4333-8444-555555555555", "21111111-2222-4333-8444-555555555555"
RankUri = GetAttachInfoResp.RankUri


class Control:
    """In place of a `ControlClient`: what was asked, and answers, or the error to raise."""

    def __init__(self) -> None:
        self.asked: list[Message] = []
        self.error: DaosError | None = None
        self.evict_status = 0

    async def ask(
        self, method: str, request: Message, reply: type[Message], *, timeout_s: float = 0
    ) -> Message:
        await asyncio.sleep(0)
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        match request:
            case GetAttachInfoReq():
                uris = [RankUri(rank=rank, uri=f"sm:///r{rank}") for rank in (0, 1)]
                return GetAttachInfoResp(rank_uris=uris, ms_ranks=[0], sys="daos_server")
            case PoolEvictReq():
                return PoolEvictResp(status=self.evict_status, count=len(request.handles))
            case SystemCleanupReq():
                return SystemCleanupResp()
        raise AssertionError(request)

    @property
    def evicted(self) -> list[tuple[str, list[str]]]:
        return [
            (each.id, list(each.handles)) for each in self.asked if isinstance(each, PoolEvictReq)
        ]


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir="/tmp", prefix="da"))
    yield path
    shutil.rmtree(path)


class SteppedClock:
    """Goes on when the test says so."""

    def __init__(self) -> None:
        self.elapsed_ns = 0

    def now_ns(self) -> int:
        return self.elapsed_ns

    def monotonic_ns(self) -> int:
        return self.elapsed_ns


class Looks:
    """The pauses of the agent, ended by the test."""

    def __init__(self) -> None:
        self._due = asyncio.Event()
        self._go: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        assert seconds == LOOK_S
        self._due.set()
        await self._go.get()

    async def once(self) -> None:
        """Let one pause end, and wait for the next one."""
        await self._due.wait()
        self._due.clear()
        self._go.put_nowait(None)
        await self._due.wait()


BOOT, NEXT_BOOT = (f"b{n}111111-2222-4333-8444-555555555555" for n in "12")
Scenario = Callable[[Agent, Control, Connection, "World"], Awaitable[None]]


class World:
    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.looks = Looks()
        self.born: dict[int, int] = {os.getpid(): 1}


def run(directory: Path, scenario: Scenario, *, boot: str = BOOT, **settings: object) -> Control:
    control = Control()

    async def main() -> None:
        world = World()
        agent = Agent(
            AgentConfig(directory, **settings),  # type: ignore[arg-type]
            control,  # type: ignore[arg-type]
            hostname="h1",
            boot=boot,
            clock=world.clock,
            born=world.born.get,
            sleep=world.looks.sleep,
        )
        await agent.start()
        try:
            async with await Connection.open(directory / "daos_agent.sock") as link:
                await scenario(agent, control, link, world)
        finally:
            await agent.close()
            await agent.close()
        assert not (directory / "daos_agent.sock").exists()

    asyncio.run(main())
    return control


async def attach(link: Connection, sys: str = "", all_ranks: bool = True) -> GetAttachInfoResp:
    request = GetAttachInfoReq(sys=sys, all_ranks=all_ranks)
    return await link.call(
        ModuleId.MGMT, MgmtMethod.GET_ATTACH_INFO, request, GetAttachInfoResp, timeout_s=10
    )


async def tell(link: Connection, method: MgmtMethod, handle: str = "", pool: str = POOL) -> None:
    request = PoolMonitorReq(poolUUID=pool, poolHandleUUID=handle)
    reply = await link.call(ModuleId.MGMT, method, request, DaosResp, timeout_s=10)
    assert reply.status == 0


def test_the_service_is_asked_once(directory: Path) -> None:
    async def scenario(agent: Agent, control: Control, link: Connection, _: World) -> None:
        async with await Connection.open(directory / "daos_agent.sock") as second:
            both = await asyncio.gather(attach(link), attach(second))
        assert [each.rank for each in both[0].rank_uris] == [0, 1]
        assert both[0] == both[1]
        services = await attach(link, "daos_server-2.4.0", all_ranks=False)
        assert [each.rank for each in services.rank_uris] == [0]
        assert agent.asked == 1
        agent.refresh()
        await attach(link)
        assert agent.asked == 2

    run(directory, scenario)


def test_without_a_cache_it_is_asked_each_time(directory: Path) -> None:
    async def scenario(agent: Agent, control: Control, link: Connection, _: World) -> None:
        await attach(link)
        await attach(link)
        assert agent.asked == 2

    run(directory, scenario, caching=False)


def test_what_is_too_old_is_asked_anew(directory: Path) -> None:
    async def scenario(agent: Agent, control: Control, link: Connection, world: World) -> None:
        await attach(link)
        world.clock.elapsed_ns += 60_000_000_000
        await attach(link)
        assert agent.asked == 1
        world.clock.elapsed_ns += 1
        await attach(link)
        assert agent.asked == 2

    run(directory, scenario, cache_expiration_s=60.0)


def test_another_system(directory: Path) -> None:
    async def scenario(agent: Agent, control: Control, link: Connection, _: World) -> None:
        assert (await attach(link, "bad")).status == -DER.INVAL
        assert agent.asked == 0

    run(directory, scenario)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (faults.wrong_system("a", "b"), DER.CONTROL_INCOMPAT),
        (faults.incompatible_components("a", "b"), DER.CONTROL_INCOMPAT),
        (faults.connection_refused("h"), DER.UNREACH),
        (DaosError("cert", code=DER.BAD_CERT), DER.BAD_CERT),
    ],
)
@pytest.mark.expects_warning("attach info failed")
def test_what_clients_hear_of_errors(directory: Path, error: DaosError, code: DER) -> None:
    async def scenario(agent: Agent, control: Control, link: Connection, _: World) -> None:
        control.error = error
        assert (await attach(link)).status == -code
        control.error = None
        assert (await attach(link)).status == 0  # an error is not kept

    run(directory, scenario)


def test_handles_of_a_process_that_has_gone(directory: Path) -> None:
    async def scenario(agent: Agent, control: Control, link: Connection, world: World) -> None:
        await tell(link, MgmtMethod.NOTIFY_POOL_CONNECT, A)
        await tell(link, MgmtMethod.NOTIFY_POOL_CONNECT, B)
        await tell(link, MgmtMethod.NOTIFY_POOL_CONNECT, C, OTHER)
        await tell(link, MgmtMethod.NOTIFY_POOL_DISCONNECT, A)
        await world.looks.once()
        assert control.evicted == []
        world.born[os.getpid()] = 2  # the pid, but another process
        await world.looks.once()
        assert control.evicted == [(POOL, [B]), (OTHER, [C])]
        assert agent.monitor.processes == 0

    run(directory, scenario)


def test_a_process_that_says_it_ends(directory: Path) -> None:
    async def scenario(agent: Agent, control: Control, link: Connection, _: World) -> None:
        await tell(link, MgmtMethod.NOTIFY_POOL_CONNECT, A)
        await tell(link, MgmtMethod.NOTIFY_EXIT)
        assert control.evicted == [(POOL, [A])]

    run(directory, scenario)


@pytest.mark.expects_warning("handles of process")
def test_what_could_not_be_evicted_is_tried_again(directory: Path) -> None:
    async def scenario(agent: Agent, control: Control, link: Connection, world: World) -> None:
        await tell(link, MgmtMethod.NOTIFY_POOL_CONNECT, A)
        del world.born[os.getpid()]
        control.error = faults.connection_refused("h")
        await world.looks.once()
        control.error = None
        await world.looks.once()
        assert control.evicted == [(POOL, [A])] * 2
        await world.looks.once()
        assert len(control.evicted) == 2

    run(directory, scenario)


def test_a_pool_that_has_gone_has_no_handles(directory: Path) -> None:
    async def scenario(agent: Agent, control: Control, link: Connection, _: World) -> None:
        control.evict_status = -DER.NONEXIST
        await tell(link, MgmtMethod.NOTIFY_POOL_CONNECT, A)
        await tell(link, MgmtMethod.NOTIFY_EXIT)
        assert agent.monitor.processes == 0

    run(directory, scenario)


@pytest.mark.parametrize("auto_evict", [True, False])
def test_at_the_end_handles_are_closed_unless_told_otherwise(
    directory: Path, auto_evict: bool
) -> None:
    async def scenario(agent: Agent, control: Control, link: Connection, _: World) -> None:
        await tell(link, MgmtMethod.NOTIFY_POOL_CONNECT, A)

    control = run(directory, scenario, auto_evict=auto_evict)
    assert control.evicted == ([(POOL, [A])] if auto_evict else [])


def test_at_the_start_what_this_host_left_is_closed(directory: Path) -> None:
    async def scenario(agent: Agent, control: Control, link: Connection, _: World) -> None:
        assert control.asked == [SystemCleanupReq(machine="h1")]

    run(directory, scenario, evict_on_start=True)


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_the_mode_of_the_socket(directory: Path, mode: int) -> None:
    async def scenario(agent: Agent, control: Control, link: Connection, _: World) -> None:
        assert (directory / "daos_agent.sock").stat().st_mode & 0o777 == mode

    run(directory, scenario, mode=mode)


def test_when_a_process_was_born() -> None:
    assert born(os.getpid()) == born(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert (born(child.pid) or 0) >= (born(os.getpid()) or 0) > 0
    child.communicate(b"\n")
    assert born(child.pid) is None


def test_a_handle_of_a_process_that_ended_before_it_was_noted() -> None:
    evicted: list[tuple[str, list[str]]] = []

    async def evict(pool: str, handles: list[str]) -> None:
        evicted.append((pool, handles))

    monitor = Monitor(born=lambda pid: None, evict=evict, keep=lambda handles: None, handles={})
    monitor.connected(5, UUID(POOL), UUID(A))
    asyncio.run(monitor.look())
    assert evicted == [(POOL, [A])]


async def connect(agent: Agent, control: Control, link: Connection, world: World) -> None:
    await tell(link, MgmtMethod.NOTIFY_POOL_CONNECT, A)
    await tell(link, MgmtMethod.NOTIFY_POOL_CONNECT, B, OTHER)
    await tell(link, MgmtMethod.NOTIFY_POOL_DISCONNECT, B, OTHER)


def test_the_next_agent_knows_what_one_knew_that_left_handles_open(directory: Path) -> None:
    assert run(directory, connect, auto_evict=False).evicted == []

    async def scenario(agent: Agent, control: Control, link: Connection, world: World) -> None:
        await world.looks.once()
        assert control.evicted == []  # the process is still there
        world.born[os.getpid()] = 2
        await world.looks.once()
        assert control.evicted == [(POOL, [A])]

    run(directory, scenario, auto_evict=False)

    async def after(agent: Agent, control: Control, link: Connection, world: World) -> None:
        assert agent.monitor.processes == 0

    run(directory, after)


def test_after_a_boot_all_processes_have_gone(directory: Path) -> None:
    run(directory, connect, auto_evict=False)

    async def scenario(agent: Agent, control: Control, link: Connection, world: World) -> None:
        await world.looks.once()
        assert control.evicted == [(POOL, [A])]

    run(directory, scenario, boot=NEXT_BOOT)


@pytest.mark.expects_warning("is not watched")
def test_what_clients_say_is_bounded(directory: Path) -> None:
    async def scenario(agent: Agent, control: Control, link: Connection, world: World) -> None:
        async def status(method: MgmtMethod, handle: str) -> int:
            request = PoolMonitorReq(poolUUID=POOL, poolHandleUUID=handle)
            reply = await link.call(ModuleId.MGMT, method, request, DaosResp, timeout_s=10)
            return reply.status

        for handle in ("", "x", "x" * 100_000, A + "0"):
            assert await status(MgmtMethod.NOTIFY_POOL_CONNECT, handle) == -DER.INVAL
            assert await status(MgmtMethod.NOTIFY_POOL_DISCONNECT, handle) == -DER.INVAL
        for number in range(OF_PROCESS_MAX):
            agent.monitor.connected(os.getpid(), UUID(POOL), UUID(int=number))
        assert await status(MgmtMethod.NOTIFY_POOL_CONNECT, A) == -DER.NOMEM
        await agent.flush()
        assert await status(MgmtMethod.NOTIFY_POOL_CONNECT, A) == 0

    run(directory, scenario)


@pytest.mark.expects_warning("handles of the agent before are not known")
def test_what_an_agent_knew_is_damaged(directory: Path) -> None:
    run(directory, connect, auto_evict=False)
    path = directory / "daos_agent.handles"
    path.write_bytes(path.read_bytes().replace(b"boot: b", b"boot: c"))

    async def scenario(agent: Agent, control: Control, link: Connection, world: World) -> None:
        assert agent.monitor.processes == 0

    run(directory, scenario)

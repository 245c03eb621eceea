"""The library that asks servers: what is repeated, what is not, and what each failure is called."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from daos.base.clock import SystemClock
from daos.base.errors import DER, DaosError, InvalidError
from daos.control import faults
from daos.control.access import Component
from daos.control.client import ControlClient
from daos.control.faults import FaultError
from daos.control.service import Service
from daos.proto import ctl_pb2, mgmt_pb2

LIST, POOLS = mgmt_pb2.ListPoolsReq, mgmt_pb2.ListPoolsResp
MGMT = mgmt_pb2.DESCRIPTOR.services_by_name["MgmtSvc"]
HOST = ctl_pb2.DESCRIPTOR.services_by_name["CtlSvc"]


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir="/tmp", prefix="dg"))
    yield path
    shutil.rmtree(path)


Answer = Callable[[Message], Awaitable[Message]]


class Peer:
    """A server whose answers the test makes."""

    def __init__(self, path: Path) -> None:
        self.host = f"unix:{path}"
        self.asked: list[Message] = []
        self.answer: Answer = self._empty

    async def _empty(self, request: Message) -> Message:
        return POOLS() if isinstance(request, LIST) else ctl_pb2.StorageScanResp()

    async def _respond(self, request: Message) -> Message:
        self.asked.append(request)
        return await self.answer(request)

    async def serve(self, *services: ServiceDescriptor) -> grpc.aio.Server:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(
            tuple(
                Service(each, {m.name: self._respond for m in each.methods}, version="0.1.0")
                for each in services
            )
        )
        server.add_insecure_port(self.host)
        await server.start()
        return server


class Soon(random.Random):
    """Draws that make pauses as short as they get."""

    def random(self) -> float:
        return 0.0


def run(
    directory: Path,
    scenario: Callable[[ControlClient, Peer], Awaitable[None]],
    *before: str,
    services: tuple[ServiceDescriptor, ...] = (MGMT, HOST),
) -> Peer:
    async def main() -> Peer:
        peer = Peer(directory / "s.sock")
        server = await peer.serve(*services)
        hosts = [*before, peer.host]
        try:
            async with ControlClient(
                hosts, component=Component.ADMIN, clock=SystemClock(), rng=Soon()
            ) as client:
                await scenario(client, peer)
        finally:
            await server.stop(None)
        return peer

    return asyncio.run(main())


def test_a_request_names_its_system(directory: Path) -> None:
    async def scenario(client: ControlClient, peer: Peer) -> None:
        await client.ask("ListPools", LIST(), POOLS)
        await client.ask("ListPools", LIST(sys="other"), POOLS)

    peer = run(directory, scenario)
    assert [each.sys for each in peer.asked if isinstance(each, LIST)] == [
        "daos_server-0.1.0",
        "other",
    ]


def test_an_engine_that_is_not_ready_is_asked_again(directory: Path) -> None:
    async def scenario(client: ControlClient, peer: Peer) -> None:
        async def later(request: Message) -> Message:
            if len(peer.asked) < 3:
                raise faults.data_plane_not_started()
            return POOLS(data_version=7)

        peer.answer = later
        assert (await client.ask("ListPools", LIST(), POOLS)).data_version == 7
        assert client.retries == 2

    assert len(run(directory, scenario).asked) == 3


def test_until_the_time_is_up(directory: Path) -> None:
    async def scenario(client: ControlClient, peer: Peer) -> None:
        async def never(request: Message) -> Message:
            raise faults.data_plane_not_started()

        peer.answer = never
        with pytest.raises(FaultError, match="code = 612"):
            await client.ask("ListPools", LIST(), POOLS, timeout_s=0.3)

    assert len(run(directory, scenario).asked) == 2


def test_a_refusal_is_not_asked_again(directory: Path) -> None:
    async def scenario(client: ControlClient, peer: Peer) -> None:
        async def refuse(request: Message) -> Message:
            raise InvalidError("no")

        peer.answer = refuse
        with pytest.raises(InvalidError, match="no"):
            await client.ask("ListPools", LIST(), POOLS)

    assert len(run(directory, scenario).asked) == 1


def test_no_answer_in_time(directory: Path) -> None:
    async def scenario(client: ControlClient, peer: Peer) -> None:
        hangs = asyncio.Event()

        async def hang(request: Message) -> Message:
            hangs.set()
            await asyncio.Event().wait()
            return POOLS()

        peer.answer = hang
        with pytest.raises(FaultError, match="code = 509") as caught:
            await client.ask("ListPools", LIST(), POOLS, timeout_s=0.1)
        assert caught.value.code is DER.TIMEDOUT
        hangs.clear()
        call = asyncio.ensure_future(client.ask("ListPools", LIST(), POOLS))
        await hangs.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    run(directory, scenario)


def test_the_next_host_where_nobody_listens(directory: Path) -> None:
    async def scenario(client: ControlClient, peer: Peer) -> None:
        assert await client.ask("ListPools", LIST(), POOLS) == POOLS()

    assert len(run(directory, scenario, f"unix:{directory}/none").asked) == 1


def test_a_server_that_was_away_is_found_again(directory: Path) -> None:
    async def main() -> None:
        peer = Peer(directory / "s.sock")
        async with ControlClient(
            [peer.host], component=Component.AGENT, clock=SystemClock(), rng=Soon()
        ) as client:
            request, reply = mgmt_pb2.GetAttachInfoReq(), mgmt_pb2.GetAttachInfoResp
            for _ in range(8):  # by then the pauses of gRPC would be minutes
                with pytest.raises(FaultError, match="code = 506"):
                    await client.ask("GetAttachInfo", request, reply)
            peer.answer = tell
            server = await peer.serve(MGMT)
            async with asyncio.timeout(20):
                (channel,) = client._channels.values()
                await channel.channel_ready()
            assert (await client.ask("GetAttachInfo", request, reply)).sys == "x"
            await server.stop(None)

    async def tell(request: Message) -> Message:
        return mgmt_pb2.GetAttachInfoResp(sys="x")

    asyncio.run(main())


def test_each_host_answers_for_itself(directory: Path) -> None:
    async def scenario(client: ControlClient, peer: Peer) -> None:
        scan, reply = ctl_pb2.StorageScanReq(), ctl_pb2.StorageScanResp
        answers = await client.ask_hosts("StorageScan", scan, reply)
        assert list(answers) == [f"unix:{directory}/none", peer.host]
        refused, found = answers.values()
        assert isinstance(refused, FaultError)
        assert refused.number == 506
        assert found == reply()

    run(directory, scenario, f"unix:{directory}/none")


def test_a_method_that_a_server_does_not_know(directory: Path) -> None:
    async def scenario(client: ControlClient, peer: Peer) -> None:
        with pytest.raises(DaosError, match="does not know the method") as caught:
            await client.ask("ListPools", LIST(), POOLS)
        assert caught.value.code is DER.NOTSUPPORTED

    run(directory, scenario, services=(HOST,))


def test_hosts_are_expanded_once() -> None:
    client = ControlClient(
        ["h[1-2]", "h2:10001,h3:9", "unix:/a[1].sock"],
        component=Component.ADMIN,
        clock=SystemClock(),
        rng=Soon(),
    )
    assert client.hosts == ("h1:10001", "h2:10001", "h3:9", "unix:/a[1].sock")
    with pytest.raises(InvalidError, match="no host to ask"):
        ControlClient([], component=Component.ADMIN, clock=SystemClock(), rng=Soon())


@pytest.mark.parametrize("answers", [{}, {"ListPools": Peer._empty, "More": Peer._empty}])
def test_a_service_answers_all_of_its_methods(answers: dict[str, Answer]) -> None:
    with pytest.raises(InvalidError, match="no method, or no answer"):
        Service(MGMT, answers, version="0.1.0")

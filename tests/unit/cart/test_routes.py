"""Where ranks are: URIs read and written, the nearest way taken, nobody else's sockets."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from daos.base.clock import SystemClock
from daos.base.errors import DER, DaosError, ExistsError, InvalidError
from daos.base.hlc import Hlc
from daos.base.ids import Rank, Tag
from daos.cart.context import Context, Endpoint
from daos.cart.transport.routes import (
    RoutedTransport,
    Routes,
    SmUri,
    TcpUri,
    format_uris,
    parse_uris,
    this_host,
)
from tests.unit.cart.place import ECHO, Answer, Ask

HERE, FAR = this_host(), "0c9e1a4e-0000-0000-0000-000000000000"
R0, R1 = Rank(0), Rank(1)


@pytest.mark.parametrize(
    ("text", "uris"),
    [
        ("tcp://10.0.0.1:31416", (TcpUri("10.0.0.1", 31416),)),
        ("tcp://[::1]:1", (TcpUri("::1", 1),)),
        (f"sm://{FAR}/run/daos", (SmUri(FAR, "/run/daos"),)),
        (f"sm://{FAR}/r,tcp://1.2.3.4:65535", (SmUri(FAR, "/r"), TcpUri("1.2.3.4", 65535))),
    ],
)
def test_uris(text: str, uris: tuple[SmUri | TcpUri, ...]) -> None:
    assert parse_uris(text) == uris
    assert format_uris(uris) == text


BAD_ADDRESSES = ["", "1.2.3.4", "1.2.3.4:0", "1.2.3.4:65536", "host:1", "::1:1", "[1.2.3.4]:1"]


@pytest.mark.parametrize(
    "text",
    [
        *(f"tcp://{address}" for address in BAD_ADDRESSES),
        *("tcp", "tcp://1.2.3.4:٣", "tcp://1.2.3.4:-1", "tcp://1.2.3.4:1,", "ofi+tcp://1.2.3.4:1"),
        *("", "sm://", "sm:///run", "sm://0c9e1a4e"),
    ],
)
def test_no_uris(text: str) -> None:
    with pytest.raises(InvalidError, match="URI"):
        parse_uris(text)


def test_routes() -> None:
    tcp = TcpUri("10.0.0.1", 65530)
    routes = Routes(HERE, {R0: [SmUri(HERE, "/run"), tcp], R1: [SmUri(FAR, "/run"), tcp]})
    assert (routes.is_local(R0), routes.is_local(R1)) == (True, False)
    assert routes.path(Endpoint(R0, Tag(3))) == "/run/0.3"
    assert routes.path(Endpoint(R1, Tag(3))) is None
    assert routes.port(Endpoint(R1, Tag(5))) == ("10.0.0.1", 65535)
    assert routes.port(Endpoint(R1, Tag(6))) is None
    assert routes.port(Endpoint(Rank(2), Tag(0))) is None
    routes.update({R1: [tcp]})
    assert not routes.is_local(R0)
    assert routes.port(Endpoint(R0, Tag(0))) is None


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Party:
    def __init__(self, routes: Routes, endpoint: Endpoint | None = None) -> None:
        loop, clock = asyncio.get_running_loop(), SystemClock()
        self.clock = clock
        self.transport = RoutedTransport(loop, routes)
        self.context = Context(
            self.transport,
            endpoint,
            clock=clock,
            hlc=Hlc(clock),
            rng=random.Random(1),
            loop=loop,
        )

    def connected(self, way: str) -> int:
        ways = {"sm": self.transport.sm, "tcp": self.transport.tcp}
        return ways[way].statistics().connected

    async def ask(self, endpoint: Endpoint) -> Answer:
        deadline_ns = self.clock.now_ns() + 20_000_000_000
        return await self.context.call(endpoint, ECHO, Ask(7), deadline_ns=deadline_ns)


def test_the_nearer_way_is_taken_and_others_have_theirs(directory: Path) -> None:
    sm, tcp = SmUri(HERE, str(directory)), TcpUri("127.0.0.1", free_port())
    endpoint = Endpoint(R0, Tag(0))

    async def scenario() -> None:
        server = Party(Routes(HERE, {R0: [sm, tcp]}), endpoint)
        server.context.serve(ECHO, lambda rpc: rpc.reply(Answer(8)))
        server.context.listen()
        near = Party(Routes(HERE, {R0: [tcp, sm]}))
        far = Party(Routes(FAR, {R0: [sm, tcp]}))
        nowhere = Party(Routes(FAR, {R0: [sm]}))
        for party in (near, far):
            assert (await party.ask(endpoint)).number == 8
        assert (near.connected("sm"), near.connected("tcp")) == (1, 0)
        assert (far.connected("sm"), far.connected("tcp")) == (0, 1)
        for party, target in ((nowhere, endpoint), (near, Endpoint(R1, Tag(0)))):
            with pytest.raises(DaosError) as caught:
                await party.ask(target)
            assert caught.value.code is DER.UNREACH
        for party in (near, far, nowhere, server):
            await party.context.close()

    asyncio.run(scenario())
    assert list(directory.iterdir()) == []


def test_one_way_that_is_taken_already_leaves_none(directory: Path) -> None:
    sm, tcp = SmUri(HERE, str(directory)), TcpUri("127.0.0.1", free_port())
    endpoint = Endpoint(R0, Tag(0))

    async def scenario() -> None:
        first = Party(Routes(HERE, {R0: [tcp]}), endpoint)
        first.context.listen()
        second = Party(Routes(HERE, {R0: [sm, tcp]}), endpoint)
        with pytest.raises(ExistsError):
            second.context.listen()
        assert os.listdir(directory) == []
        third = Party(Routes(HERE, {}), endpoint)
        with pytest.raises(DaosError, match="no address to listen at"):
            third.context.listen()
        for party in (first, second, third):
            await party.context.close()

    asyncio.run(scenario())

"""Where ranks are, and the way there."""

from __future__ import annotations

import asyncio
import random
import socket
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daos.base.clock import SystemClock
from daos.base.errors import DER, DaosError, InvalidError
from daos.base.hlc import Hlc
from daos.base.ids import Rank, Tag
from daos.cart.context import Context, Endpoint, Rpc
from daos.cart.protocol import Procedure, opcode
from daos.cart.transport.ranks import Places, RankNetwork, RankUri, parse_uri, this_host

FAR = "0c9e1a4e-0000-0000-0000-000000000000"  # the boot id of no host


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sm:///run/daos", RankUri(Path("/run/daos"))),
        ("tcp://10.0.0.1:31416", RankUri(None, ("10.0.0.1", 31416))),
        ("tcp://[::1]:5", RankUri(None, ("::1", 5))),
        ("sm:///d,tcp://127.0.0.1:65535", RankUri(Path("/d"), ("127.0.0.1", 65535))),
        (f"sm://{FAR}/d", RankUri(Path("/d"), None, FAR)),
    ],
)
def test_a_uri_is_read_as_it_is_written(text: str, uri: RankUri) -> None:
    assert parse_uri(text) == uri
    assert str(uri) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sm://relative",
        "sm://",
        "tcp://host:1",
        "tcp://10.0.0.1",
        "tcp://10.0.0.1:0",
        "tcp://10.0.0.1:65536",
        "tcp://10.0.0.1:x",
        "tcp://::1:5",
        "tcp://[10.0.0.1]:5",
        "ofi+tcp://10.0.0.1:5",
        "sm:///a,sm:///b",
        "sm:///a,",
    ],
)
def test_what_is_no_uri(text: str) -> None:
    with pytest.raises(InvalidError, match=r"a URI is|no port|no address|no absolute|brackets"):
        parse_uri(text)


def test_the_newest_places_count() -> None:
    places = Places()
    assert places.update(2, {Rank(1): RankUri(Path("/new"))})
    assert not places.update(2, {Rank(1): RankUri(Path("/same"))})
    assert not places.update(1, {})
    assert dict(places) == {Rank(1): RankUri(Path("/new"))}
    assert places.get(Rank(0)) is None


def test_ports_end_somewhere() -> None:
    uri = RankUri(None, ("10.0.0.1", 65535))
    assert uri.socket_address(Endpoint(Rank(0), Tag(0))) == ("10.0.0.1", 65535)
    assert uri.socket_address(Endpoint(Rank(0), Tag(1))) is None
    assert uri.socket_path(Endpoint(Rank(0), Tag(0))) is None


class Text(msgspec.Struct, array_like=True, frozen=True):
    text: str


SAY = Procedure("say", opcode(60, 1, 0), Text, Text)


def context(network: RankNetwork, endpoint: Endpoint | None) -> Context:
    clock = SystemClock()
    return Context(
        network,
        endpoint,
        clock=clock,
        hlc=Hlc(clock),
        rng=random.Random(),
        loop=asyncio.get_running_loop(),
    )


def serve(network: RankNetwork, endpoint: Endpoint) -> Context:
    """Who is called, says where."""
    server = context(network, endpoint)
    server.serve(SAY, lambda rpc: rpc.reply(Text(str(endpoint.tag))))
    server.listen()
    return server


async def say(caller: Context, endpoint: Endpoint) -> str:
    deadline_ns = SystemClock().now_ns() + 10**10
    return (await caller.call(endpoint, SAY, Text(""), deadline_ns=deadline_ns)).text


def run(body: Coroutine[Any, Any, None]) -> None:
    asyncio.run(body)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_every_way_leads_there() -> None:
    async def body(directory: Path) -> None:
        loop = asyncio.get_running_loop()
        here = RankUri(directory, ("127.0.0.1", free_port()))
        ours = Places()
        network = RankNetwork(loop, ours, here)
        endpoint = Endpoint(Rank(3), Tag(0))
        server = serve(network, endpoint)
        inside = context(network, None)
        for uri in (here, here._replace(tcp=None), here._replace(directory=None)):
            theirs = Places()
            theirs.update(1, {Rank(3): uri})
            outside = context(RankNetwork(loop, theirs), None)
            assert await say(outside, endpoint) == "0"
            with pytest.raises(DaosError) as caught:
                await say(outside, Endpoint(Rank(4), Tag(0)))
            assert caught.value.code is DER.UNREACH
            await outside.close()
        # Its own: nobody has to tell.
        assert await say(inside, endpoint) == "0"
        await inside.close()
        await server.close()

    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        run(body(Path(directory)))
        assert list(Path(directory).iterdir()) == []


def test_a_rank_without_a_socket_here_is_reached_by_tcp() -> None:
    """Its directory is that of another host."""

    async def body(directory: Path) -> None:
        loop = asyncio.get_running_loop()
        there = RankUri(None, ("127.0.0.1", free_port()))
        server = serve(RankNetwork(loop, Places(), there), Endpoint(Rank(1), Tag(0)))
        places = Places()
        places.update(1, {Rank(1): there._replace(directory=directory)})
        caller = context(RankNetwork(loop, places), None)
        assert await say(caller, Endpoint(Rank(1), Tag(0))) == "0"
        await caller.close()
        await server.close()

    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        run(body(Path(directory)))


def test_a_directory_of_another_host_is_not_ours() -> None:
    """Even if there is one of that name here, with a socket of that name."""

    async def body(directory: Path) -> None:
        loop = asyncio.get_running_loop()
        here = RankUri(directory, ("127.0.0.1", free_port()), this_host())
        endpoint = Endpoint(Rank(0), Tag(0))
        server = serve(RankNetwork(loop, Places(), here), endpoint)
        outcomes = []
        for uri in (here, here._replace(host=FAR), here._replace(host=FAR, tcp=None)):
            places = Places()
            places.update(1, {Rank(0): uri})
            network = RankNetwork(loop, places)
            caller = context(network, None)
            try:
                outcomes.append(await say(caller, endpoint))
            except DaosError as error:
                outcomes.append(error.code.name)
            outcomes.append(str([way.statistics().connected for way in network.ways]))
            await caller.close()
        assert outcomes == ["0", "[1, 0]", "0", "[0, 1]", "UNREACH", "[0, 0]"]
        await server.close()

    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        run(body(Path(directory)))


def test_draining_answers_what_was_taken() -> None:
    """And takes nothing more: who comes too late hears of the end as of a crash."""

    async def body(directory: Path) -> None:
        loop = asyncio.get_running_loop()
        here = RankUri(directory)
        endpoint = Endpoint(Rank(0), Tag(1))
        server = context(RankNetwork(loop, Places(), here), endpoint)
        taken: list[Rpc[Text, Text]] = []
        came = asyncio.Event()

        def take(rpc: Rpc[Text, Text]) -> None:
            taken.append(rpc)
            came.set()

        server.serve(SAY, take)
        server.listen()
        places = Places()
        places.update(1, {Rank(0): here})
        caller = context(RankNetwork(loop, places), None)
        first = asyncio.create_task(say(caller, endpoint))
        await came.wait()
        draining = asyncio.create_task(server.drain(10.0))
        await asyncio.sleep(0)
        late = asyncio.create_task(say(caller, endpoint))
        taken[0].reply(Text("in time"))
        assert await first == "in time"
        await draining
        assert not late.done()
        await server.close()
        with pytest.raises(DaosError) as caught:
            await late
        assert caught.value.code is DER.UNREACH
        assert len(taken) == 1
        await caller.close()

    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        run(body(Path(directory)))


def test_draining_waits_no_longer_than_it_may() -> None:
    async def body(directory: Path) -> None:
        loop = asyncio.get_running_loop()
        here = RankUri(directory)
        endpoint = Endpoint(Rank(0), Tag(1))
        server = context(RankNetwork(loop, Places(), here), endpoint)
        came = asyncio.Event()
        server.serve(SAY, lambda rpc: came.set())
        server.listen()
        places = Places()
        places.update(1, {Rank(0): here})
        caller = context(RankNetwork(loop, places), None)
        call = asyncio.create_task(say(caller, endpoint))
        await came.wait()
        await server.drain(0.02)
        await server.close()
        with pytest.raises(DaosError):
            await call
        await caller.close()

    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        run(body(Path(directory)))

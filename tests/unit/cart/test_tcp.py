"""Connections over sockets: states of a link, limits of a listener, what TCP has of its own."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest

from daos.base.errors import DER, DaosError, ExistsError, InvalidError, ProtocolError
from daos.base.ids import Rank, Tag
from daos.cart.context import Endpoint
from daos.cart.transport import Link
from daos.cart.transport.sockets import SocketAddress, SocketListener
from daos.cart.transport.stream import TURN_BYTES, StreamLink
from daos.cart.transport.tcp import TcpConfig, TcpTransport
from daos.testing.kits.transport_peers import RawChannel, loopback_hosts

PLACE = Endpoint(Rank(0), Tag(1))
_hosts = loopback_hosts()


class World:
    """A transport with one listener whose channels are kept."""

    def __init__(self, config: TcpConfig | None = None) -> None:
        self.address: SocketAddress | None = (next(_hosts), 31417)
        loop = asyncio.get_running_loop()
        self.transport = TcpTransport(loop, lambda endpoint: self.address, config)
        self.accepted: list[RawChannel] = []
        self.arrival = asyncio.Event()
        self.listener = self.transport.listen(PLACE, self.accept)

    def accept(self, link: Link) -> RawChannel:
        channel = RawChannel()
        channel.link = link
        self.accepted.append(channel)
        self.arrival.set()
        return channel

    def connect(self, *, piece: int = 1 << 30) -> RawChannel:
        channel = RawChannel(piece=piece)
        channel.link = self.transport.connect(PLACE, channel)
        return channel

    async def taken(self) -> RawChannel:
        while not self.accepted:
            self.arrival.clear()
            await self.arrival.wait()
        return self.accepted.pop()

    async def pair(self) -> tuple[RawChannel, RawChannel]:
        here = self.connect()
        return here, await self.taken()


def run(scenario: Callable[[World], Awaitable[None]], config: TcpConfig | None = None) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            world = World(config)
            await scenario(world)
            world.listener.close()
            world.listener.close()
            assert world.transport.statistics().taken == 0

    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(main())
    assert len(os.listdir("/proc/self/fd")) == before


def codes(channel: RawChannel) -> list[DER | None]:
    return [error.code if error else None for error in channel.lost]


async def turns_until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something becomes true that tells nobody."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("it never became true")


async def ended(*channels: RawChannel) -> None:
    for channel in channels:
        await channel.until(lambda channel=channel: bool(channel.lost))  # type: ignore[misc]


def test_bytes_arrive_in_order_and_the_end_after_them() -> None:
    async def scenario(world: World) -> None:
        here = world.connect(piece=3)
        here.say(b"hello ")
        here.say(b"world")
        here.link.close()
        here.link.close()
        there = await world.taken()
        await ended(here, there)
        assert there.heard == b"hello world"
        assert codes(here) == codes(there) == [None]
        there.say(b"to nobody")
        there.link.share(1, -1, 10)
        there.link.unshare(1)
        assert there.link.memory(1) is None
        there.link.close()
        statistics = world.transport.statistics()
        assert (statistics.connected, statistics.accepted) == (1, 1)
        assert statistics.bytes_in == statistics.bytes_out == 11
        assert statistics.writes == 4

    run(scenario)


def test_one_turn_is_one_system_call() -> None:
    """Counted: what a channel has queued leaves in one write, however many pieces it is."""

    async def scenario(world: World) -> None:
        here, there = await world.pair()
        pieces = [bytes([n % 251]) * 3 for n in range(900)]
        queue = [pieces]
        here.data_to_send = lambda nbytes_max: queue.pop() if queue else []  # type: ignore[method-assign]
        before = world.transport.statistics().writes
        here.link.kick()
        here.link.kick()
        await there.until(lambda: len(there.heard) == 2700)
        assert there.heard == b"".join(pieces)
        assert world.transport.statistics().writes - before == 1
        queue.append([b"ab"] * 3000)  # more than one call takes
        here.link.kick()
        await there.until(lambda: len(there.heard) == 2700 + 6000)
        assert there.heard[2700:] == b"ab" * 3000
        here.link.close()
        await ended(here, there)

    run(scenario)


def test_what_does_not_fit_waits_and_its_memory_with_it() -> None:
    async def scenario(world: World) -> None:
        here, there = await world.pair()
        there.link.pause_reading()
        size = 16 * TURN_BYTES
        here.say(bytes(size))
        await turns_until(lambda: world.transport.statistics().blocked > 0)
        sent = here.sent
        for _ in range(50):
            await asyncio.sleep(0)
        assert here.sent == sent  # it still reads what it took
        assert len(there.heard) < size
        there.link.resume_reading()
        there.link.resume_reading()
        await there.until(lambda: len(there.heard) == size)
        there.link.pause_reading()
        there.link.pause_reading()
        here.link.close()
        there.link.close()
        await ended(here, there)

    run(scenario)


def test_breaking_off_resets() -> None:
    async def scenario(world: World) -> None:
        here, there = await world.pair()
        here.say(b"never")
        here.link.close(ProtocolError("enough"))
        await ended(here, there)
        assert there.heard == b""
        assert codes(there) == [DER.UNREACH]
        assert "reset" in str(there.lost[0])
        assert codes(here) == [None]

    run(scenario)


def test_a_peer_that_never_closes_is_left_after_a_while() -> None:
    async def scenario(world: World) -> None:
        here, there = await world.pair()
        there.link.pause_reading()  # it hears no end
        here.say(b"bye")
        here.link.close()
        await ended(here)
        assert codes(here) == [None]
        there.link.resume_reading()
        await ended(there)

    run(scenario)


def test_what_comes_while_closing_is_not_heard() -> None:
    async def scenario(world: World) -> None:
        here, there = await world.pair()
        there.say(b"y")
        here.link.close()
        here.link.pause_reading()
        here.link.resume_reading()
        await ended(here, there)
        assert here.heard == b""

    run(scenario)


def test_closing_before_the_connection_is_up() -> None:
    async def scenario(world: World) -> None:
        here = world.connect()
        here.say(b"never")
        here.link.close(ProtocolError("changed my mind"))
        assert here.lost == []
        await ended(here)
        assert codes(here) == [None]
        late = world.connect()
        await asyncio.sleep(0)  # the attempt is under way
        late.link.close(ProtocolError("changed my mind"))
        await ended(late)
        paused = world.connect()
        paused.link.pause_reading()
        paused.say(b"all the same")
        paused.link.close()
        there = await world.taken()
        while there.heard != b"all the same":
            await ended(there)
            there = there if there.heard else await world.taken()
        await ended(paused)

    run(scenario)


def test_a_broken_connection_is_told_once() -> None:
    async def scenario(world: World) -> None:
        here, there = await world.pair()
        assert isinstance(there.link, StreamLink)
        reset_by_hand(there.link)
        here.say(b"x" * 10)
        await ended(here)
        assert codes(here) == [DER.UNREACH]

    run(scenario)


def reset_by_hand(link: StreamLink) -> None:
    """The process at this end dies: the kernel resets the connection."""
    sock = link._socket
    assert sock is not None
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link._finish(None)


def test_nobody_answers() -> None:
    """A listener whose queue is full lets a connection wait; that has a bound."""

    async def scenario(world: World) -> None:
        deaf = socket.socket()
        host = next(_hosts)
        deaf.bind((host, 31417))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((host, 31417))
        world.address = (host, 31417)
        here = world.connect()
        await ended(here)
        assert "no answer within 0.1 s" in str(here.lost[0])
        for each in (deaf, *fillers):
            each.close()

    run(scenario, TcpConfig(connect_s=0.1))


@pytest.mark.parametrize("address", [("127.0.0.1", 1), ("::1", 1), ("no number", 1), None])
def test_no_way_there(address: SocketAddress | None) -> None:
    async def scenario(world: World) -> None:
        world.address = address
        here = world.connect()
        await ended(here)
        assert codes(here) == [DER.UNREACH]

    run(scenario)


def test_an_address_in_use() -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(ExistsError, match=r"127\.\d+\.\d+\.\d+:31417 for rank 0 tag 1"):
            world.transport.listen(PLACE, world.accept)
        world.address = ("192.0.2.1", 31417)
        with pytest.raises(InvalidError, match="can't listen"):
            world.transport.listen(PLACE, world.accept)

    run(scenario)


@pytest.mark.expects_warning("connections are refused, there are 2 already")
def test_connections_are_bounded() -> None:
    async def scenario(world: World) -> None:
        peers = [world.connect() for _ in range(2)]
        there = [await world.taken() for _ in peers]
        third = world.connect()
        third.say(b"me too")
        await ended(third)
        assert world.transport.statistics().refused == 1
        for peer in peers:
            peer.link.close()
        await ended(*peers, *there)
        fourth, other = await world.pair()
        fourth.link.close()
        await ended(fourth, other)

    run(scenario, TcpConfig(connections_max=2))


@pytest.mark.expects_warning("no connections are taken for a while")
def test_a_process_without_descriptors_takes_connections_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accept = socket.socket.accept
    failures = [errno.EMFILE]

    def full(self: socket.socket) -> object:
        if failures:
            raise OSError(failures.pop(), "too many")
        return accept(self)

    async def scenario(world: World) -> None:
        monkeypatch.setattr(socket.socket, "accept", full)
        here, there = await world.pair()
        here.link.close()
        await ended(here, there)
        failures.append(errno.ENFILE)
        waiting = world.connect()
        await turns_until(lambda: not failures)
        world.listener.close()  # while it waits
        await ended(waiting)

    run(scenario, TcpConfig(full_s=0.01))


def test_an_acceptor_may_close_its_listener() -> None:
    async def scenario(world: World) -> None:
        listeners: list[SocketListener] = []
        peers: list[RawChannel] = []

        def only_one(link: Link) -> RawChannel:
            listeners[0].close()
            channel = RawChannel()
            channel.link = link
            peers.append(channel)
            return channel

        world.listener.close()
        listeners.append(world.transport.listen(PLACE, only_one))
        here = world.connect()
        here.say(b"hello")
        here.link.close()
        await ended(here)
        (there,) = peers
        await ended(there)
        assert there.heard == b"hello"
        again = world.connect()
        await ended(again)
        assert isinstance(again.lost[0], DaosError)

    run(scenario)


def test_options_of_a_connection() -> None:
    async def scenario(world: World) -> None:
        here, there = await world.pair()
        for channel in (here, there):
            assert isinstance(channel.link, StreamLink)
            sock = channel.link._socket
            assert sock is not None
            names = (socket.TCP_NODELAY, socket.TCP_KEEPIDLE, socket.TCP_USER_TIMEOUT)
            options = [sock.getsockopt(socket.IPPROTO_TCP, name) for name in names]
            assert options == [1, 20, 40_000]
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        here.link.close()
        await ended(here, there)

    run(scenario)


def test_bounds_are_positive() -> None:
    with pytest.raises(InvalidError, match="TCP"):
        TcpConfig(user_timeout_s=0)
    with pytest.raises(InvalidError, match="sockets"):
        TcpConfig(connect_s=0)

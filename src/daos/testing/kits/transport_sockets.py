"""What a transport over sockets has to bear besides: peers that are no contexts at all.

A test class derives from `SocketKit`, says how to `make` a transport, and how to `dial` one:
a plain socket, connected, and what has to come before the first frame has been said.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import cast

import pytest

from daos.base.errors import DER, DaosError, DeadlineError
from daos.cart.context import Limits
from daos.cart.transport import Link
from daos.cart.transport.sockets import SocketTransport
from daos.cart.transport.stream import StreamLink
from daos.cart.wire import HEADER_SIZE, Header
from daos.testing.kits.transport import Run, TransportKit
from daos.testing.kits.transport_peers import (
    ECHO,
    GET,
    OTHER,
    PUT,
    SERVER,
    Answer,
    Ask,
    Bench,
    KiB,
    MiB,
    RawChannel,
    frame,
    pattern,
)

_TURNS_MAX = 200_000


class SocketKit(TransportKit):
    """Derive, say how to `make` one and how to `dial` it."""

    def dial(self) -> socket.socket:
        """A connection to SERVER of the transport made last; not blocking."""
        raise NotImplementedError

    def test_a_peer_resets_in_the_middle_of_a_frame(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            server = bench.server()
            whole = frame(PUT, Ask(8), bytes(2000))
            for cut in (1, HEADER_SIZE - 1, HEADER_SIZE + 1, 200, len(whole) - 1):
                bench.aborted.clear()
                with self._by_hand() as peer:
                    await _say(peer, whole[:cut])
                    await _turns(lambda: server.statistics().connections == 1)
                    if cut > HEADER_SIZE + 10:
                        await _turns(lambda: server.statistics().serving == 1)
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await _turns(lambda: server.statistics().connections == 0)
                assert bench.aborted == ([8] if cut > HEADER_SIZE + 10 else [])
            assert bench.landed == []
            await _still_serves(bench)

        run(scenario)

    def test_a_peer_that_half_closes_has_gone(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            server = bench.server()
            with self._by_hand() as peer:
                await _say(peer, frame(ECHO, Ask(1)))
                answer = await _hear(peer, HEADER_SIZE)
                assert Header.parse(answer).rpc_id == 1
                peer.shutdown(socket.SHUT_WR)
                await _hear_end(peer)
                await _turns(lambda: server.statistics().connections == 0)
            await _still_serves(bench)

        run(scenario)

    def test_a_peer_that_never_reads_stops_being_read(self, run: Run) -> None:
        """What a server holds for it stays bounded, and others are served meanwhile."""

        async def scenario(bench: Bench) -> None:
            limits = Limits(outbox_size_max=MiB)
            server = bench.server(limits=limits)
            with self._by_hand() as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * KiB)
                for number in range(60):
                    await _say(peer, frame(GET, Ask(number, MiB), rpc_id=number + 1))
                    for _ in range(4):
                        await asyncio.sleep(0)
                statistics = server.statistics()
                assert 1 <= statistics.frames_in < 30  # 1 MiB, and what the kernel takes of it
                await _still_serves(bench)
                assert server.statistics().frames_in < 40
            await _turns(lambda: server.statistics().connections == 0)

        run(scenario)

    @pytest.mark.parametrize("late", [True, False])
    def test_a_call_ends_in_time_though_its_peer_does_not_read(self, run: Run, late: bool) -> None:
        """Its memory is its caller's again; what had begun to leave goes on as it was."""

        async def scenario(bench: Bench) -> None:
            peers: list[RawChannel] = []
            listener = bench.transport.listen(OTHER, partial(_accept_deaf, peers))
            client = bench.context(None)
            data = pattern(8 * MiB)
            deadline_ns = bench.soon(0.1 if late else 20)
            payload = [memoryview(data)]
            call = asyncio.ensure_future(
                client.call(OTHER, PUT, Ask(0), payload=payload, deadline_ns=deadline_ns)
            )
            if not late:
                await _turns(lambda: client.statistics().frames_out == 1)
                call.cancel()
            with pytest.raises(DeadlineError if late else asyncio.CancelledError):
                await call
            before = bytes(data)
            data[:] = bytes(len(data))
            (peer,) = peers
            peer.link.resume_reading()
            await peer.until(lambda: len(peer.heard) >= HEADER_SIZE + len(before))
            assert peer.heard.endswith(before)
            peer.link.close(DaosError("enough"))
            listener.close()

        run(scenario)

    def test_a_peer_that_takes_nothing_for_long_has_gone(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            transport = cast("SocketTransport", bench.transport)
            transport.config = replace(transport.config, stall_s=0.05)
            peers: list[RawChannel] = []
            listener = bench.transport.listen(OTHER, partial(_accept_deaf, peers))
            payload = [memoryview(bytes(8 * MiB))]
            with pytest.raises(DaosError, match="does not read") as caught:
                await bench.context(None).call(
                    OTHER, PUT, Ask(0), payload=payload, deadline_ns=bench.soon()
                )
            assert caught.value.code is DER.UNREACH
            assert caught.value.unanswered
            (peer,) = peers
            peer.link.resume_reading()
            await peer.until(lambda: bool(peer.lost))
            peer.link.close(DaosError("enough"))
            listener.close()

        run(scenario)

    def test_a_peer_that_takes_a_little_at_a_time_has_not_gone(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            peers: list[RawChannel] = []
            listener = bench.transport.listen(OTHER, partial(_accept_deaf, peers))
            client = bench.context(None)
            payload = [memoryview(bytes(48 * MiB))]
            call = asyncio.ensure_future(
                client.call(OTHER, PUT, Ask(0), payload=payload, deadline_ns=bench.soon())
            )
            await _turns(lambda: bool(peers))
            (channel,), (peer,) = client._callers, peers
            link = channel.link
            assert isinstance(link, StreamLink)
            await _turns(lambda: bool(link._unsent))
            for _ in range(3):
                heard = len(peer.heard) + 8 * MiB  # more than the kernel keeps
                peer.link.resume_reading()
                await peer.until(lambda heard=heard: len(peer.heard) > heard)  # type: ignore[misc]
                peer.link.pause_reading()
                link._look()
                assert not link.over
            while not link.over:
                link._look()
                await asyncio.sleep(0)
            with pytest.raises(DaosError, match="does not read"):
                await call
            peer.link.close(DaosError("enough"))
            listener.close()

        run(scenario)

    def test_garbage_by_hand(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            server = bench.server()
            rng = random.Random(5)
            for size in (1, 95, 96, 97, 5000, 200_000):
                with self._by_hand() as peer:
                    with suppress(OSError):
                        await _say(peer, rng.randbytes(size))
                    if size >= HEADER_SIZE:
                        await _hear_end(peer)
                await _turns(lambda: server.statistics().connections == 0)
            await _still_serves(bench)

        run(scenario)

    def test_peers_that_come_and_go_at_once(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            server = bench.server()
            for _ in range(5):
                peers = [self.dial() for _ in range(40)]
                for peer in peers:
                    peer.close()
                await _still_serves(bench)
            await _turns(lambda: server.statistics().connections == 0)

        run(scenario)

    def test_many_connections(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            server = bench.server(limits=Limits(scratch_size=4 * KiB))
            clients = [bench.context(None, Limits(scratch_size=4 * KiB)) for _ in range(150)]
            calls = [
                client.call(SERVER, ECHO, Ask(number), deadline_ns=bench.soon())
                for number, client in enumerate(clients)
            ]
            answers = await asyncio.gather(*calls)
            assert [answer.number for answer in answers] == list(range(len(clients)))
            assert server.statistics().connections == len(clients)
            await asyncio.gather(*(client.close() for client in clients[10:]))
            await _turns(lambda: server.statistics().connections == 10)

        run(scenario)

    def test_the_largest_payload_lands_in_place(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            server = bench.server()
            client = bench.context(OTHER)
            size = Limits().payload_size_max
            data = pattern(MiB) * (size // MiB)
            answer = await client.call(
                SERVER, PUT, Ask(0), payload=[memoryview(data)], deadline_ns=bench.soon()
            )
            assert answer == Answer(size)
            assert bench.landed == [data]
            statistics = server.statistics()
            assert statistics.payload_bytes_in == size
            assert statistics.payload_bytes_staged <= Limits().scratch_size

        run(scenario)

    @contextmanager
    def _by_hand(self) -> Iterator[socket.socket]:
        peer = self.dial()
        try:
            yield peer
        finally:
            peer.close()


def _accept_deaf(peers: list[RawChannel], link: Link) -> RawChannel:
    """A channel that reads nothing."""
    channel = RawChannel()
    channel.link = link
    link.pause_reading()
    peers.append(channel)
    return channel


async def _say(peer: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(peer, data)


async def _hear(peer: socket.socket, nbytes: int) -> bytes:
    heard = b""
    while len(heard) < nbytes:
        heard += await asyncio.get_running_loop().sock_recv(peer, 65536)
    return heard


async def _hear_end(peer: socket.socket) -> None:
    """Until the other side closes, in order or not."""
    with suppress(ConnectionResetError):
        while await asyncio.get_running_loop().sock_recv(peer, 65536):
            pass


async def _turns(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the kernel has told it of something."""
    for _ in range(_TURNS_MAX):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came")


async def _still_serves(bench: Bench) -> None:
    client = bench.context(None)
    answer = await client.call(SERVER, ECHO, Ask(7), deadline_ns=bench.soon())
    assert answer == Answer(7)
    await client.close()

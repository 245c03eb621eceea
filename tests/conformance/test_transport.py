"""The transport kit over every transport there is."""

from __future__ import annotations

import asyncio
import random
import socket
import tempfile
from collections.abc import Iterator

import pytest

from daos.cart.transport import Transport
from daos.cart.transport.inproc import InprocNetwork
from daos.cart.transport.sm import SmTransport
from daos.cart.transport.tcp import TcpTransport
from daos.cart.transport.wire import emit_greeting
from daos.testing.kits.transport import TransportKit
from daos.testing.kits.transport_peers import SERVER, loopback_hosts
from daos.testing.kits.transport_sockets import SocketKit
from daos.testing.simnet import SimNetwork


class TestInproc(TransportKit):
    LOOPS = ("asyncio", "uvloop", "sim")

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return InprocNetwork(loop)


class TestInprocInSegments(TransportKit):
    """The same, cut as a network would."""

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return InprocNetwork(loop, segment_size_max=1447)


class TestSimulated(TransportKit):
    LOOPS = ("sim",)

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return SimNetwork(loop, random.Random(1)).host("one")


class TestTcp(SocketKit):
    _hosts = loopback_hosts()

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        self.host = host = next(self._hosts)
        return TcpTransport(loop, lambda endpoint: (host, 31416 + endpoint.tag))

    def dial(self) -> socket.socket:
        peer = socket.create_connection((self.host, 31416 + SERVER.tag))
        peer.setblocking(False)
        return peer


class TestSm(SocketKit):
    @pytest.fixture(autouse=True)
    def _directory(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory(prefix="daos-") as self.directory:
            yield

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return SmTransport(
            loop, lambda endpoint: f"{self.directory}/{endpoint.rank}.{endpoint.tag}"
        )

    def dial(self) -> socket.socket:
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(f"{self.directory}/{SERVER.rank}.{SERVER.tag}")
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with here, there:
            socket.send_fds(peer, [emit_greeting()], [there.fileno()])
        peer.setblocking(False)
        return peer

"""The bulk kit over every transport there is."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Iterator

import pytest

from daos.cart.transport import Transport
from daos.cart.transport.inproc import InprocNetwork
from daos.cart.transport.sm import SmTransport
from daos.cart.transport.tcp import TcpTransport
from daos.testing.kits.bulk import BulkKit
from daos.testing.kits.transport_peers import loopback_hosts
from daos.testing.simnet import SimNetwork


class TestInproc(BulkKit):
    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return InprocNetwork(loop)


class TestInprocInSegments(BulkKit):
    """The same, cut as a network would."""

    LOOPS = ("asyncio",)

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return InprocNetwork(loop, segment_size_max=1447)


class TestSimulated(BulkKit):
    LOOPS = ("sim",)

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return SimNetwork(loop, random.Random(1)).host("one")


class TestTcp(BulkKit):
    _hosts = loopback_hosts()

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        host = next(self._hosts)
        return TcpTransport(loop, lambda endpoint: (host, 31416 + endpoint.tag))


class TestSm(BulkKit):
    @pytest.fixture(autouse=True)
    def _directory(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory(prefix="daos-") as self.directory:
            yield

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return SmTransport(
            loop, lambda endpoint: f"{self.directory}/{endpoint.rank}.{endpoint.tag}"
        )

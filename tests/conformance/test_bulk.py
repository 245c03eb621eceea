"""The bulk kit over every transport there is."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Iterator

import pytest

from daos.base.errors import DER, DaosError
from daos.cart.bulk import Mode
from daos.cart.framing import Limits
from daos.cart.transport import Transport
from daos.cart.transport.inproc import InprocNetwork
from daos.cart.transport.sm import SmTransport
from daos.cart.transport.tcp import TcpTransport
from daos.testing.kits.bulk import BulkBench, BulkKit
from daos.testing.kits.transport import Run
from daos.testing.kits.transport_peers import MiB, loopback_hosts
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

    @pytest.mark.parametrize("put", [True, False])
    def test_a_peer_that_stops_in_the_middle_has_gone(self, run: Run, put: bool) -> None:
        """Its deadline is far: what it owes would hold memory of ours until then."""

        async def scenario(bench: BulkBench) -> None:
            server, client = bench.taker(limits=Limits(bulk_quiet_s=5)), bench.context(None)
            bulk = client.bulk.create([memoryview(bytearray(64 * MiB))], Mode.READ_WRITE)
            rpc = await bench.hand(client, bulk.handle)
            local = bytearray(64 * MiB)
            views = [memoryview(local)]
            move = bench.move(server, bulk.handle, views, put=put, via=rpc, seconds=3600)
            (channel,) = client._callers
            channel.link.pause_reading()
            begun_ns = bench.clock.now_ns()
            error = await move.error()
            assert isinstance(error, DaosError)
            assert error.code is DER.UNREACH
            assert 5 <= (bench.clock.now_ns() - begun_ns) / 1e9 <= 11
            bulk.release()

        run(scenario)


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

"""The bulk kit over every transport there is."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections.abc import Iterator

import pytest

from daos.base.errors import DER, DaosError
from daos.cart.bulk import Mode, encode
from daos.cart.bulk_port import Port
from daos.cart.framing import Limits
from daos.cart.transport import Transport
from daos.cart.transport.inproc import InprocNetwork
from daos.cart.transport.sm import SmTransport
from daos.cart.transport.tcp import TcpTransport
from daos.cart.wire import NO_RANK, Header, checksum
from daos.testing.kits.bulk import BulkBench, BulkKit
from daos.testing.kits.transport import Run
from daos.testing.kits.transport_peers import ECHO, PUT, SERVER, Ask, MiB, loopback_hosts
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
    TIMEOUT_S = 120.0

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

    @pytest.mark.parametrize("put", [True, False])
    def test_a_peer_that_sends_other_things_instead_has_gone(self, run: Run, put: bool) -> None:
        async def scenario(bench: BulkBench) -> None:
            server, client = bench.taker(limits=Limits(bulk_quiet_s=5)), bench.context(None)
            bulk = client.bulk.create([memoryview(bytearray(8 * MiB))], Mode.READ_WRITE)
            rpc = await bench.hand(client, bulk.handle)
            (channel,) = client._callers
            channel.session.own = _Deaf(channel.bulk.port)
            views = [memoryview(bytearray(8 * MiB))]
            move = bench.move(server, bulk.handle, views, put=put, via=rpc, seconds=3600)
            begun_ns = bench.clock.now_ns()
            while not move.ends:
                await asyncio.sleep(1)
                with contextlib.suppress(DaosError):  # in the end
                    await client.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())
            error = await move.error()
            assert error is not None
            assert error.code is DER.UNREACH
            assert 35 <= (bench.clock.now_ns() - begun_ns) / 1e9 <= 46
            bulk.release()

        run(scenario)

    def test_a_peer_that_is_slow_has_not(self, run: Run) -> None:
        async def scenario(bench: BulkBench) -> None:
            server, client = bench.taker(limits=Limits(bulk_quiet_s=5)), bench.context(None)
            bulk = client.bulk.create([memoryview(bytearray(40 * MiB))], Mode.READ)
            rpc = await bench.hand(client, bulk.handle)
            (channel,) = client._callers
            views = [memoryview(bytearray(40 * MiB))]
            move = bench.move(server, bulk.handle, views, via=rpc, seconds=3600)
            begun_ns = bench.clock.now_ns()
            while not move.ends:  # some of it, every four seconds
                channel.link.resume_reading()
                for _ in range(3):
                    await asyncio.sleep(0.0001)
                channel.link.pause_reading()
                await asyncio.sleep(4)
            await move.whole()
            assert (bench.clock.now_ns() - begun_ns) / 1e9 > 20
            channel.link.resume_reading()
            bulk.release()

        run(scenario)

    @pytest.mark.parametrize(("every_s", "least", "most"), [(0, 5, 11), (1, 35, 46)])
    def test_a_payload_that_does_not_come_to_an_end(
        self, run: Run, every_s: int, least: int, most: int
    ) -> None:
        """Silent in the middle of it, or a byte a second."""

        async def scenario(bench: BulkBench) -> None:
            bench.server(limits=Limits(bulk_quiet_s=5))
            peer = bench.raw()
            peer.say(_put(bench, 64 * MiB) + b"x")
            begun_ns = bench.clock.now_ns()
            while every_s and not peer.lost:
                peer.say(b"x")
                await asyncio.sleep(every_s)
            await peer.until(lambda: bool(peer.lost))
            assert least <= (bench.clock.now_ns() - begun_ns) / 1e9 <= most
            assert bench.aborted == [1]

        run(scenario)


class _Deaf:
    """Takes bulk requests and does nothing about them."""

    expecting = False

    def __init__(self, port: Port) -> None:
        self.port = port

    def take(self, header: Header, body: bytes) -> None:
        """Nowhere goes what comes with it."""

    def landed(self, header: Header) -> None:
        raise AssertionError(header)


def _put(bench: BulkBench, nbytes: int) -> bytes:
    """The first part of a request with a payload."""
    body = encode(Ask(1))
    header = Header(
        flags=0,
        opcode=PUT.opcode,
        status=0,
        rpc_id=1,
        rank=SERVER.rank,
        tag=SERVER.tag,
        source_rank=NO_RANK,
        source_tag=9,
        deadline_ns=bench.soon(3600),
        trace_id=0,
        payload_size=nbytes,
        body_size=len(body),
        body_sum=checksum(body),
        epoch=0,
    )
    return header.emit() + body


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

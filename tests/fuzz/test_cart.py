"""Everything of `cart` that reads a peer's bytes: a value or the right error, in bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tracemalloc
import uuid
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daos.base.clock import SystemClock
from daos.base.errors import CorruptError, DaosError
from daos.base.hlc import Hlc
from daos.base.ids import Rank, Tag
from daos.cart.bulk import GET, PUT, BulkHandle, Mode, Segments, Table, encode
from daos.cart.bulk_port import Port
from daos.cart.bulk_transfer import Transfer
from daos.cart.context import Context, Endpoint, Rpc
from daos.cart.framing import Broken, Head, Landed, Limits, Message
from daos.cart.protocol import Procedure, opcode
from daos.cart.session import CallerSession, ServerSession
from daos.cart.transport.inproc import InprocNetwork
from daos.cart.wire import DECODE_ERRORS, HEADER_SIZE, REPLY, Header, checksum, parse_failure
from daos.testing.kits.transport_peers import RawChannel

SERVER = Endpoint(Rank(0), Tag(1))
CLIENT = Endpoint(Rank(7), Tag(0))
LIMITS = Limits(body_size_max=5000, payload_size_max=5000, scratch_size=512)
U64 = st.integers(0, 2**64 - 1)
SMALL = st.integers(0, 6000) | U64


class Ask(msgspec.Struct, array_like=True):
    number: int
    key: uuid.UUID
    parts: list[bytes]
    tree: Any = None


ASK: Procedure[Ask, Ask] = Procedure("ask", opcode(9, 1, 0), Ask, Ask)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Mostly well-formed frames with any content; some are damaged."""
    body = draw(st.binary(max_size=200) | st.just(ASK.encode(Ask(1, uuid.UUID(int=2), [b"x"]))))
    payload = draw(st.binary(max_size=300))
    honest = draw(st.booleans())
    header = Header(
        flags=draw(st.sampled_from((0, 0, REPLY))),
        opcode=draw(st.sampled_from((ASK.opcode, ASK.opcode + 1, 0))),
        status=0 if honest else draw(st.integers(0, 2**32 - 1)),
        rpc_id=draw(st.integers(0, 5) | U64),
        rank=0,
        tag=1,
        source_rank=draw(st.integers(0, 2**32 - 1)),
        source_tag=0,
        deadline_ns=draw(st.just(2**64 - 1) | U64),
        trace_id=draw(U64),
        payload_size=len(payload) if honest else draw(SMALL),
        body_size=len(body) if honest else draw(SMALL),
        body_sum=checksum(body),
        epoch=draw(st.just(0) | U64),
    )
    raw = bytearray(header.emit() + body + payload)
    if draw(st.integers(0, 5)) == 0:
        raw[draw(st.integers(0, len(raw) - 1))] ^= draw(st.integers(1, 255))
    return bytes(raw)


STREAMS = st.lists(frames(), max_size=6).map(b"".join) | st.binary(max_size=400)


@given(st.binary(max_size=2 * HEADER_SIZE), st.integers(0, HEADER_SIZE))
def test_header(raw: bytes, offset: int) -> None:
    if len(raw) - offset >= HEADER_SIZE:
        with contextlib.suppress(CorruptError):
            assert Header.parse(raw, offset).emit() == raw[offset : offset + HEADER_SIZE]


@given(st.integers(0, 2**32 - 1), st.binary(max_size=300))
@example(0, b"\x91\xa7\x00\x00\x00\x00\x00\x00\x80")  # text that is no UTF-8
def test_failure(status: int, body: bytes) -> None:
    assert isinstance(parse_failure(status, body), DaosError)


@given(st.binary(max_size=300) | st.integers(0, 50_000).map(lambda depth: b"\x94" * depth))
def test_messages(body: bytes) -> None:
    with contextlib.suppress(*DECODE_ERRORS):
        again = ASK.encode(ASK.decode_request(body))
        assert ASK.encode(ASK.decode_request(again)) == again


@given(STREAMS, st.booleans(), st.data())
@settings(max_examples=300)
def test_sessions(stream: bytes, serves: bool, data: st.DataObject) -> None:
    session: ServerSession | CallerSession[int]
    if serves:
        session = ServerSession(LIMITS)
    else:
        session = CallerSession(LIMITS, peer=SERVER, source=CLIENT)
        for number in range(4):
            session.request(number, ASK.opcode, b"", deadline_ns=100)
    answered = []
    while stream:
        buffer = session.get_buffer()
        assert 0 < len(buffer) <= LIMITS.body_size_max
        nbytes = min(len(buffer), len(stream), data.draw(st.integers(1, 200)))
        buffer[:nbytes] = stream[:nbytes]
        stream = stream[nbytes:]
        events: list[Any] = list(session.buffer_updated(nbytes, 50))
        while events:
            event = events.pop(0)
            if isinstance(event, Head):
                assert not events
                size = event.header.payload_size
                assert 0 < size <= LIMITS.payload_size_max
                refused = data.draw(st.booleans())
                room = [memoryview(bytearray(size))]
                events = list(session.land(None if refused else room, 50))
            elif isinstance(event, Broken):
                assert session.dead
                assert not events
            else:
                assert isinstance(event, Message | Landed)
                answered.append(event.header.rpc_id)
            if isinstance(session, CallerSession) and not session.dead:
                assert event.token == event.header.rpc_id - 1
    assert len(answered) == len(set(answered))


@given(st.binary(max_size=60) | U64.map(lambda size: encode([bytes(16), size, 1, None, False])))
def test_handles(raw: bytes) -> None:
    with contextlib.suppress(CorruptError):
        handle = BulkHandle.parse(raw)
        assert BulkHandle.parse(handle.emit()) == handle


@st.composite
def bulk_frames(draw: st.DrawFn, key: bytes = b"K" * 16) -> bytes:
    """Bulk frames of any honesty, at a region of 300 bytes."""
    offset, size = draw(st.integers(0, 320)), draw(st.integers(0, 320))
    body = draw(st.just(encode([key, [[offset, size]]])) | st.just(b"") | st.binary(max_size=40))
    number = draw(st.sampled_from((GET, PUT)))
    payload = bytes(size if number == PUT else 0)
    flags = draw(st.sampled_from((0, 0, REPLY)))
    if flags or not draw(st.booleans()):
        payload = draw(st.binary(max_size=120))
    header = Header(
        flags=flags,
        opcode=draw(st.just(number) | st.integers(0xFF00_0000, 2**32 - 1)),
        status=draw(st.just(0) | st.integers(0, 2**32 - 1)),
        rpc_id=(1 << 63) + draw(st.integers(0, 6)),
        rank=0,
        tag=1,
        source_rank=7,
        source_tag=0,
        deadline_ns=0,
        trace_id=0,
        payload_size=len(payload),
        body_size=len(body),
        body_sum=checksum(body),
        epoch=0,
    )
    return header.emit() + body + payload


@given(st.lists(bulk_frames() | frames(), max_size=8).map(b"".join), st.data())
@settings(max_examples=300)
def test_ports(stream: bytes, data: st.DataObject) -> None:
    """Whatever a peer says, only what it may touch is touched, and each transfer ends once."""
    session = ServerSession(LIMITS)
    table = Table(LIMITS, random.Random(1))
    port = Port(session, table, source=SERVER, peer=CLIENT, wake=lambda: None)
    around = bytearray(b"." * 320)
    region = table.add([memoryview(around)[10:200], memoryview(around)[200:310]], Mode.READ_WRITE)
    table._regions[b"K" * 16] = region  # the peer was told
    rooms = [bytearray(b"." * 100) for _ in range(2)]
    local = [Segments([memoryview(room)[10:90]], writable=True) for room in rooms]
    for get in (True, False):
        port.start(
            Transfer(
                b"k" * 16,
                [(0, 80)],
                local[not get],
                get=get,
                deadline_ns=100,
                trace_id=0,
                done=lambda error: None,
            )
        )
    while stream and not session.dead:
        buffer = session.get_buffer()
        nbytes = min(len(buffer), len(stream), data.draw(st.integers(1, 200)))
        buffer[:nbytes] = stream[:nbytes]
        stream = stream[nbytes:]
        events = list(session.buffer_updated(nbytes, 50))
        while events:
            if isinstance(events.pop(0), Head):
                events = list(session.land(None, 50))
    for hook in session.end():
        hook()
    port.end(DaosError("gone"))
    assert around[:10] == around[310:] == b"." * 10
    assert all(room[:10] == room[90:] == b"." * 10 for room in rooms)
    assert rooms[1] == b"." * 100  # it was read only
    assert len(port.take_ended()) == 2


def test_claimed_sizes_take_no_memory() -> None:
    session = ServerSession(Limits())
    tracemalloc.start()
    for size in (1 << 21, 1 << 32, 1 << 63):
        for field in ("body_size", "payload_size"):
            header = Header(0, 9, 0, 1, 0, 1, 2, 3, 4, 5, 0, 0, 0, 0)
            raw = msgspec.structs.replace(header, **{field: size + (1 << 27)}).emit()
            session = ServerSession(Limits())
            session.get_buffer()[:HEADER_SIZE] = raw
            (event,) = session.buffer_updated(HEADER_SIZE, 0)
            assert isinstance(event, Broken)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@given(st.lists(STREAMS, min_size=1, max_size=3), st.integers(1, 3000))
@settings(max_examples=60)
def test_a_context_outlives_any_peer(streams: list[bytes], segment: int) -> None:
    """Whatever peers send, an honest client is served before, among and after them."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        network = InprocNetwork(loop, segment_size_max=segment)
        clock = SystemClock()
        bugs: list[Exception] = []

        def context(endpoint: Endpoint | None) -> Context:
            return Context(
                network,
                endpoint,
                clock=clock,
                hlc=Hlc(clock),
                rng=random.Random(1),
                loop=loop,
                limits=LIMITS,
                on_bug=bugs.append,
            )

        def land(rpc: Rpc[Ask, Ask]) -> list[memoryview]:
            return [memoryview(bytearray(rpc.payload_size))]

        server, client = context(SERVER), context(None)
        server.serve(ASK, lambda rpc: rpc.reply(rpc.request, rpc.payload), land=land)
        server.listen()
        ask = Ask(3, uuid.UUID(int=4), [b"part"])
        for stream in streams:
            peer = RawChannel()
            peer.link = network.connect(SERVER, peer)
            peer.say(stream)
            deadline_ns = clock.now_ns() + 20_000_000_000
            assert await client.call(SERVER, ASK, ask, deadline_ns=deadline_ns) == ask
        assert client.statistics().connections == 1
        await client.close()
        await server.close()
        assert bugs == []

    asyncio.run(main())

"""Bytes of frames of version 1: today's code writes them, and reads them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from daos.base.errors import NotFoundError, OverloadError
from daos.base.ids import Rank, Tag
from daos.cart.framing import Head, Landed, Limits, Message
from daos.cart.protocol import Procedure, opcode
from daos.cart.session import CallerSession, ServerSession
from daos.cart.wire import HEADER_SIZE, Endpoint, Header, parse_failure

LINES = (Path(__file__).parent / "rpc_frame_v1.hex").read_text().splitlines()
FRAMES = {line.split(":")[0]: bytes.fromhex(line.split(":")[1]) for line in LINES}

CLIENT = Endpoint(Rank(0xFFFFFFFF), Tag(0))
SERVER = Endpoint(Rank(0), Tag(3))
DEADLINE_NS = 1_800_000_000_000_000_000
EPOCH = 0x1234_5678_9ABC_DEF0


class Put(msgspec.Struct, array_like=True):
    key: bytes
    offset: int


class Size(msgspec.Struct, array_like=True):
    nbytes: int


PUT: Procedure[Put, Size] = Procedure("put", opcode(4, 1, 9), Put, Size)


def written() -> dict[str, bytes]:
    caller: CallerSession[str] = CallerSession(
        Limits(), peer=SERVER, source=CLIENT, rpc_id_first=(5 << 32) + 1
    )
    server = ServerSession(Limits())
    frames = {}
    for name, payload in (("request", b""), ("request with payload", b"payload")):
        views = [memoryview(payload)] if payload else []
        body = PUT.encode(Put(b"key", 70_000))
        caller.request("call", PUT.opcode, body, views, deadline_ns=DEADLINE_NS, trace_id=42)
        frames[name] = b"".join(caller.data_to_send(1 << 20, EPOCH))
        caller.data_sent()
    request = Header.parse(frames["request"])
    server.reply(request, PUT.encode(Size(7)))
    frames["reply"] = b"".join(server.data_to_send(1 << 20, EPOCH))
    server.reply(request, PUT.encode(Size(7)), [memoryview(b"payload")])
    frames["reply with payload"] = b"".join(server.data_to_send(1 << 20, EPOCH))
    server.fail(request, NotFoundError("pool 'tank' not found"))
    frames["failure"] = b"".join(server.data_to_send(1 << 20, EPOCH))
    server.fail(request, OverloadError("7 requests wait", retry_ms=40, enqueue_id=9))
    frames["overload"] = b"".join(server.data_to_send(1 << 20, EPOCH))
    return frames


def test_the_bytes_written_are_those_of_the_format() -> None:
    assert {name: raw.hex() for name, raw in written().items()} == {
        name: raw.hex() for name, raw in FRAMES.items()
    }


@pytest.mark.parametrize("name", FRAMES)
def test_headers_are_read_and_written_bit_for_bit(name: str) -> None:
    raw = FRAMES[name]
    header = Header.parse(raw)
    assert header.emit() == raw[:HEADER_SIZE]
    assert len(raw) == HEADER_SIZE + header.body_size + header.payload_size
    assert (header.opcode, header.trace_id) == (0x0401_0009, 42)
    assert header.rpc_id == 0x5_0000_0001 + (name == "request with payload")
    assert header.epoch == EPOCH
    assert header.deadline_ns == (DEADLINE_NS if name.startswith("request") else 0)


def test_requests_are_read() -> None:
    server = ServerSession(Limits())
    raw = FRAMES["request"] + FRAMES["request with payload"]
    server.get_buffer()[: len(raw)] = raw
    message, head = server.buffer_updated(len(raw), 0)
    assert isinstance(message, Message)
    assert isinstance(head, Head)
    for event in (message, head):
        assert PUT.decode_request(event.body) == Put(b"key", 70_000)
        header = event.header
        assert (header.rank, header.tag) == SERVER
        assert (header.source_rank, header.source_tag) == CLIENT
    room = bytearray(7)
    (landed,) = server.land([memoryview(room)], 0)
    assert isinstance(landed, Landed)
    assert room == b"payload"


def test_a_failure_is_read() -> None:
    raw = FRAMES["failure"]
    header = Header.parse(raw)
    error = parse_failure(header.status, raw[HEADER_SIZE:])
    assert isinstance(error, NotFoundError)
    assert str(error) == "DER_NONEXIST(-1005): pool 'tank' not found"


def test_an_overload_is_read() -> None:
    raw = FRAMES["overload"]
    assert raw[HEADER_SIZE:] == b"\x93\xaf7 requests wait\x28\x09"
    header = Header.parse(raw)
    assert header.status == 2048
    error = parse_failure(header.status, raw[HEADER_SIZE:])
    assert isinstance(error, OverloadError)
    assert (error.message, error.retry_ms, error.enqueue_id) == ("7 requests wait", 40, 9)

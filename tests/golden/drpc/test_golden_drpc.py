"""Bytes of dRPC packets, typed from docs/format/drpc.md: today's code writes and reads them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from daos.drpc.layout import MessageReader, packets
from daos.proto.drpc_pb2 import Call, Response, Status

LINES = (Path(__file__).parent / "drpc.hex").read_text().splitlines()
GOLDEN = {line.split(":")[0]: bytes.fromhex(line.split(":")[1]) for line in LINES}
CALL = Call(module=2, method=225, sequence=1, body=b"\x08\x03")
RESPONSE = Response(sequence=1, status=Status.SUCCESS)

pytestmark = pytest.mark.skipif(
    sys.byteorder != "little", reason="the golden bytes are of a little-endian machine"
)


def test_the_bytes_written_are_those_of_the_format() -> None:
    assert list(packets(CALL.SerializeToString())) == [GOLDEN["call"]]
    assert list(packets(RESPONSE.SerializeToString())) == [GOLDEN["response"]]


def test_the_bytes_are_read() -> None:
    assert Call.FromString(MessageReader().receive(GOLDEN["call"]) or b"") == CALL
    assert Response.FromString(MessageReader().receive(GOLDEN["response"]) or b"") == RESPONSE

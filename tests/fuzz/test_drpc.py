"""dRPC reads what any local process sends: a message, or the right error, in bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import struct

from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import DaosError
from daos.base.peers import Peer
from daos.drpc.layout import MESSAGE_MAX, MessageReader, packets
from daos.drpc.registry import Methods, Registry
from daos.proto.drpc_pb2 import Call, Status

SMALL = st.integers(0, 6)
HEADERS = st.builds(
    lambda total, size, index, count, data: struct.pack("=QQII", total, size, index, count) + data,
    SMALL | st.integers(0, 2**64 - 1),
    SMALL | st.integers(0, 2**64 - 1),
    SMALL | st.integers(0, 2**32 - 1),
    SMALL | st.integers(0, 2**32 - 1),
    st.binary(max_size=6),
)


@given(st.lists(HEADERS | st.binary(max_size=40), max_size=8))
def test_packets(pieces: list[bytes]) -> None:
    reader = MessageReader()
    with contextlib.suppress(DaosError):
        for piece in pieces:
            message = reader.receive(piece)
            assert message is None or len(message) <= MESSAGE_MAX


@given(st.binary(max_size=300_000), st.sampled_from([0, 8, 16, 20]), st.integers(0, 200))
def test_one_flipped_byte_of_a_header_is_no_other_message(data: bytes, at: int, add: int) -> None:
    pieces = [bytearray(piece) for piece in packets(data)]
    pieces[-1][at] = (pieces[-1][at] + add) % 256
    reader = MessageReader()
    with contextlib.suppress(DaosError):
        for piece in pieces:
            if (message := reader.receive(bytes(piece))) is not None:
                assert message == data


@given(st.binary(max_size=100))
def test_calls(message: bytes) -> None:
    async def echo(request: Call, peer: Peer) -> Call:
        return request

    methods = Methods()
    methods.add(1, Call, echo)
    registry = Registry()
    registry.register(0, methods)
    response = asyncio.run(registry.respond(message, Peer(1, 2, 3)))
    assert response.status in Status.values()

"""Messages cut into packets, and put together again; what does not fit is told apart."""

from __future__ import annotations

import struct

import pytest

from daos.base.errors import DER, DaosError
from daos.drpc.layout import CHUNK_MAX, MESSAGE_MAX, PACKET_MAX, MessageReader, packets


def packet(total: int, index: int, count: int, data: bytes, size: int | None = None) -> bytes:
    """Written down once more, by the page: u64 total, u64 chunk, u32 index, u32 count."""
    return struct.pack("=QQII", total, len(data) if size is None else size, index, count) + data


def read(*pieces: bytes) -> list[bytes]:
    reader = MessageReader()
    found = [reader.receive(piece) for piece in pieces]
    return [message for message in found if message is not None]


def test_an_empty_message_is_one_chunk_without_data() -> None:
    assert list(packets(b"")) == [packet(0, 0, 1, b"")]


def test_the_largest_single_chunk_has_131048_bytes() -> None:
    assert CHUNK_MAX == 131048
    (only,) = packets(bytes(CHUNK_MAX))
    assert len(only) == PACKET_MAX == 131072
    assert [len(each) for each in packets(bytes(CHUNK_MAX + 1))] == [PACKET_MAX, 25]


@pytest.mark.parametrize("size", [0, 1, CHUNK_MAX - 1, CHUNK_MAX, CHUNK_MAX + 1, 5 * CHUNK_MAX])
def test_what_is_sent_is_read(size: int) -> None:
    message = bytes(number % 251 for number in range(size))
    assert read(*packets(message), *packets(b"next")) == [message, b"next"]


def test_a_message_beyond_the_bound_is_not_sent() -> None:
    with pytest.raises(DaosError, match=f"at most {MESSAGE_MAX}") as caught:
        list(packets(bytes(MESSAGE_MAX + 1)))
    assert caught.value.code is DER.REC2BIG


@pytest.mark.parametrize(
    ("pieces", "code", "text"),
    [
        ([b""], DER.TRUNC, "smaller than minimum header size"),
        ([bytes(23)], DER.TRUNC, "smaller than minimum header size"),
        ([packet(5, 0, 1, b"ab", size=5)], DER.TRUNC, "a chunk of 5 bytes came with 2"),
        ([packet(5, 0, 1, b"abcde", size=4)], DER.TRUNC, "a chunk of 4 bytes came with 5"),
        ([packet(0, 0, 0, b"")], DER.PROTO, "in 0 chunks"),
        ([packet(2, 1, 2, b"b")], DER.MISMATCH, "lost chunk"),
        ([packet(3, 0, 3, b"a"), packet(3, 2, 3, b"c")], DER.MISMATCH, "lost chunk"),
        ([packet(2, 0, 2, b"a"), packet(2, 0, 2, b"a")], DER.MISMATCH, "lost chunk"),
        ([packet(3, 0, 3, b"a"), packet(3, 1, 2, b"b")], DER.PROTO, "inconsistent total chunks"),
        ([packet(2, 0, 2, b"a"), packet(3, 1, 2, b"b")], DER.PROTO, "inconsistent data size"),
        ([packet(2, 2, 2, b"a")], DER.PROTO, "chunk 2 of 2"),
        ([packet(2, 0, 2, b"a"), packet(2, 1, 2, b"bc")], DER.TRUNC, "data overflow"),
        ([packet(3, 0, 2, b"a"), packet(3, 1, 2, b"b")], DER.TRUNC, "expected message of size 3"),
        ([packet(MESSAGE_MAX + 1, 0, 200, b"a")], DER.TRUNC, f"at most {MESSAGE_MAX}"),
        ([packet(3, 0, 4_000_000_000, b"a")], DER.PROTO, "in 4000000000 chunks"),
    ],
)
def test_packets_that_make_no_message(pieces: list[bytes], code: DER, text: str) -> None:
    with pytest.raises(DaosError, match=text) as caught:
        read(*pieces)
    assert caught.value.code is code

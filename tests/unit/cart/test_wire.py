"""Frame header and failure bodies."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import (
    DER,
    CorruptError,
    DaosError,
    KeyNotFoundError,
    NotFoundError,
    OverloadError,
    StaleMapError,
)
from daos.base.ids import Rank, Tag
from daos.cart import wire
from daos.cart.wire import HEADER_SIZE, Endpoint, Header, emit_failure, parse_failure

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
HEADERS = st.builds(
    Header,
    flags=st.integers(0, 1),
    opcode=U32,
    status=U32,
    rpc_id=U64,
    rank=U32,
    tag=U32,
    source_rank=U32,
    source_tag=U32,
    deadline_ns=U64,
    trace_id=U64,
    payload_size=U64,
    body_size=U64,
    body_sum=U64,
    epoch=U64,
)
ONE = Header(0, 1, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)


@given(HEADERS, st.integers(0, 50))
def test_what_parse_accepts_emit_gives_back(header: Header, offset: int) -> None:
    raw = header.emit()
    assert len(raw) == HEADER_SIZE
    assert Header.parse(raw) == header
    assert Header.parse(memoryview(bytes(offset) + raw + b"tail"), offset) == header
    assert Header.parse(raw).emit() == raw


@given(HEADERS, st.integers(0, HEADER_SIZE * 8 - 1))
def test_one_flipped_bit_is_caught(header: Header, bit: int) -> None:
    raw = bytearray(header.emit())
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptError):
        Header.parse(raw)


def resealed(raw: bytearray) -> bytearray:
    raw[88:96] = wire.checksum(raw[:88]).to_bytes(8, "little")
    return raw


def test_refusals_name_what_is_wrong() -> None:
    def refusal(raw: bytes | bytearray) -> CorruptError:
        with pytest.raises(CorruptError) as caught:
            Header.parse(raw)
        return caught.value

    raw = ONE.emit()
    error = refusal(b"HTTP" + raw[4:])
    assert (error.what, error.offset) == ("rpc header magic", 0)
    assert (error.want, error.got) == (b"CaRT", b"HTTP")
    error = refusal(raw[:-1] + b"?")
    assert (error.what, error.offset) == ("rpc header checksum", 88)
    other = bytearray(raw)
    other[4] = 9
    error = refusal(resealed(other))
    assert (error.what, error.offset) == ("rpc header version", 4)
    assert (error.want, error.got) == (1, 9)
    other = bytearray(raw)
    other[6] = 0x42
    error = refusal(resealed(other))
    assert (error.what, error.offset, error.got) == ("rpc header flags", 6, 0x42)


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("pool 'tank' not found"),
        StaleMapError("pool map 3 is older than 5"),
        DaosError("odd", code=DER.GRPVER),
    ],
)
def test_an_error_keeps_class_code_and_text(error: DaosError) -> None:
    back = parse_failure(error.code, emit_failure(error))
    assert type(back) is type(error)
    assert str(back) == str(error)


@pytest.mark.parametrize(("told", "heard"), [(40, 40), (10**9, 60_000), (-1, 0)])
def test_an_overload_tells_when_to_come_again(told: int, heard: int) -> None:
    body = emit_failure(OverloadError("full", retry_ms=told, enqueue_id=5))
    back = parse_failure(DER.OVERLOAD_RETRY, body)
    assert isinstance(back, OverloadError)
    assert (back.message, back.retry_ms, back.enqueue_id) == ("full", heard, 5)
    bare = parse_failure(DER.OVERLOAD_RETRY, emit_failure(DaosError("full")))
    assert isinstance(bare, OverloadError)
    assert (bare.retry_ms, bare.enqueue_id) == (0, 0)
    assert type(parse_failure(DER.OVERLOAD_RETRY, b"")) is OverloadError


def test_a_subclass_without_a_code_of_its_own_comes_back_as_its_parent() -> None:
    back = parse_failure(DER.NONEXIST, emit_failure(KeyNotFoundError("no key")))
    assert type(back) is NotFoundError


@given(st.text(st.characters(), max_size=2000))
def test_any_text_becomes_a_bounded_body(text: str) -> None:
    body = emit_failure(DaosError("é" * 600 + text, code=DER.IO))
    assert len(body) <= wire.TEXT_SIZE_MAX + 4
    back = parse_failure(DER.IO, body)
    assert back.code is DER.IO
    assert back.message == "é" * 512
    assert parse_failure(DER.IO, emit_failure(DaosError(text + "x"))).code is DER.IO


@pytest.mark.parametrize("body", [b"", b"\xff", b"\x91\x05", b"\x91" * 100_000])
def test_an_unreadable_reason_does_not_hide_the_code(body: bytes) -> None:
    assert parse_failure(DER.NOSPACE, body).code is DER.NOSPACE
    assert parse_failure(424242, body).code is DER.UNKNOWN


def test_endpoint_reads_well() -> None:
    assert str(Endpoint(Rank(3), Tag(1))) == "rank 3 tag 1"
    assert str(wire.ANONYMOUS) == "a client"
    assert not dataclasses.is_dataclass(Header)  # see its docstring

"""Any bytes: a pool map that re-emits, or CorruptError."""

from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError
from daos.base.ids import Rank
from daos.placement.pool_map import HEADER_SIZE, MAGIC, PoolMap

GOOD = PoolMap.initial([("a", [(Rank(0), 3), (Rank(1), 2)]), ("b", [(Rank(2), 1)])]).emit()

JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=9),
    max_leaves=40,
)


def sealed(body: bytes) -> bytes:
    return struct.pack("<IHHIIQ", MAGIC, 1, 0, len(body), 0, xxh3(body)) + body


def parse_or_refuse(buf: bytes) -> None:
    try:
        found = PoolMap.parse(buf)
    except CorruptError:
        return
    assert PoolMap.parse(found.emit()) == found


@given(st.binary(max_size=400))
def test_noise(buf: bytes) -> None:
    with pytest.raises(CorruptError):
        PoolMap.parse(buf)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_one_byte_changed(offset: int, flip: int) -> None:
    with pytest.raises(CorruptError):
        PoolMap.parse(GOOD[:offset] + bytes([GOOD[offset] ^ flip]) + GOOD[offset + 1 :])


@given(st.binary(max_size=200) | JSON_LIKE.map(msgspec.msgpack.encode))
def test_a_body_with_a_right_checksum(body: bytes) -> None:
    parse_or_refuse(sealed(body))


@given(st.integers(HEADER_SIZE, len(GOOD) - 1), st.integers(1, 255))
def test_a_valid_body_changed_and_sealed_again(offset: int, flip: int) -> None:
    changed = GOOD[:offset] + bytes([GOOD[offset] ^ flip]) + GOOD[offset + 1 :]
    parse_or_refuse(sealed(changed[HEADER_SIZE:]))


def test_nesting_does_not_exhaust_the_stack() -> None:
    with pytest.raises(CorruptError):
        PoolMap.parse(sealed(b"\x91" * 1_000_000))
    with pytest.raises(CorruptError):
        PoolMap.parse(sealed(b"\x93\x01\x90" + b"\x91" * 1_000_000))

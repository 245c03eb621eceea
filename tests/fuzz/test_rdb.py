"""Any bytes in the tree: records that re-emit, or CorruptError."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import CorruptError
from daos.rdb import layout
from daos.rdb.interface import KeyValuePair

LONG = b"k" * 450
GOOD = layout.emit_pair(KeyValuePair(LONG, b"value", 3, 5, 7))


def pair_or_refusal(tree_key: bytes, buf: bytes) -> None:
    try:
        pair = layout.parse_pair(tree_key, buf)
    except CorruptError:
        return
    assert layout.pair_key(pair.key) == tree_key
    assert layout.emit_pair(pair) == buf


@given(st.binary(max_size=600), st.binary(max_size=600))
def test_noise(tree_key: bytes, buf: bytes) -> None:
    pair_or_refusal(tree_key, buf)
    pair_or_refusal(layout.PAIR_PREFIX + tree_key, buf)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_one_byte_changed(offset: int, flip: int) -> None:
    changed = GOOD[:offset] + bytes([GOOD[offset] ^ flip]) + GOOD[offset + 1 :]
    pair_or_refusal(layout.pair_key(LONG), changed)


@given(st.integers(0, len(GOOD)))
def test_cut_short(size: int) -> None:
    pair_or_refusal(layout.pair_key(LONG), GOOD[:size])


@given(st.binary(max_size=40))
def test_roots_and_leases(buf: bytes) -> None:
    with suppress(CorruptError):
        assert layout.Root.parse(buf).emit() == buf
    with suppress(CorruptError):
        assert layout.emit_lease(layout.parse_lease(buf)) == buf
    with suppress(CorruptError):
        key = layout.LEASE_PREFIX + buf
        assert layout.lease_key(layout.parse_lease_key(key)) == key

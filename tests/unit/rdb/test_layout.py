"""Records of the store: what parses re-emits, what does not is refused by name."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import CorruptError
from daos.rdb import layout
from daos.rdb.interface import KEY_SIZE_MAX, TTL_NS_MAX, KeyValuePair

U64 = st.integers(1, (1 << 64) - 1)
KEYS = st.binary(min_size=1, max_size=40) | st.binary(min_size=1, max_size=40).map(
    lambda tail: (b"s" * 390 + tail * 30)[:KEY_SIZE_MAX]
)


@given(KEYS, KEYS)
def test_order_keeps_the_order_up_to_the_prefix_and_tells_keys_apart(a: bytes, b: bytes) -> None:
    left, right = layout.order(a), layout.order(b)
    assert (left == right) is (a == b)
    if a[:400] != b[:400] or min(len(a), len(b)) <= 400:
        assert (left < right) is (a < b)
    assert len(layout.attachment_key((1 << 64) - 1, a)) <= 511


@given(KEYS, st.binary(max_size=300), U64, U64, st.integers(0, (1 << 64) - 1))
def test_pairs_round_trip(key: bytes, value: bytes, one: int, two: int, lease: int) -> None:
    pair = KeyValuePair(key, value, min(one, two), max(one, two), lease)
    assert layout.parse_pair(layout.pair_key(key), layout.emit_pair(pair)) == pair


@given(U64, U64)
def test_roots_round_trip(revision: int, lease_next: int) -> None:
    root = layout.Root(revision, lease_next)
    assert layout.Root.parse(root.emit()) == root


@given(st.integers(1, TTL_NS_MAX), U64)
def test_leases_round_trip(ttl_ns: int, lease: int) -> None:
    assert layout.parse_lease(layout.emit_lease(ttl_ns)) == ttl_ns
    assert layout.parse_lease_key(layout.lease_key(lease)) == lease


def test_leases_and_attachments_stand_in_order() -> None:
    assert layout.lease_key(2) < layout.lease_key(256) < layout.lease_key(1 << 40)
    assert layout.attachment_key(2, b"z") < layout.attachment_key(256, b"a")


def test_damaged_roots() -> None:
    good = layout.Root(7, 3).emit()
    for buf, text in (
        (good[:-1], "root size"),
        (good + b"\0", "root size"),
        (b"X" + good[1:], "magic"),
        (good[:4] + b"\x02" + good[5:], "format version at byte 4: want"),
        (good[:6] + b"\x01" + good[7:], "reserved"),
        (layout.Root(0, 1).emit(), "counters"),
        (layout.Root(1, 0).emit(), "counters"),
    ):
        with pytest.raises(CorruptError, match=text):
            layout.Root.parse(buf)


def test_damaged_pairs() -> None:
    def record(created: int, modified: int, key_size: int, reserved: bytes = bytes(6)) -> bytes:
        return struct.pack("<QQQH6s", created, modified, 0, key_size, reserved) + b"v" * 600

    at = layout.pair_key(b"key")
    long_key = b"k" * 401
    good = layout.emit_pair(KeyValuePair(long_key, b"", 1, 1))
    for tree_key, buf, text in (
        (at, b"", "pair size"),
        (at, record(1, 1, 0)[:31], "pair size"),
        (at, record(0, 1, 0), "revisions"),
        (at, record(2, 1, 0), "revisions"),
        (at, record(1, 1, 0, b"\0\0\0\0\0\1"), "reserved"),
        (at, record(1, 1, 400), "key size"),
        (at, record(1, 1, 601), "key size"),
        (at, record(1, 1, 500), "pair key"),
        (layout.PAIR_PREFIX, record(1, 1, 0), "pair key"),
        (layout.pair_key(long_key), record(1, 1, 0), "pair key"),
        (layout.pair_key(long_key), good[:-1], "key size"),
        (layout.pair_key(b"x" + long_key), good, "pair key"),
    ):
        with pytest.raises(CorruptError, match=text):
            layout.parse_pair(tree_key, buf)


def test_damaged_leases() -> None:
    for buf, text in (
        (bytes(15), "lease size"),
        (layout.emit_lease(0), "time to live"),
        (layout.emit_lease(TTL_NS_MAX + 1), "time to live"),
        (struct.pack("<QQ", 1, 1), "time to live"),
    ):
        with pytest.raises(CorruptError, match=text):
            layout.parse_lease(buf)
    with pytest.raises(CorruptError, match="lease key size"):
        layout.parse_lease_key(layout.lease_key(1) + b"x")

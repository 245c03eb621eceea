from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import InvalidError, KeyTooBigError
from daos.base.ids import KeyKind, ObjectId, ShardIndex, UnitOid
from daos.vos import keys

HASHED, LEXICAL, UINT64 = KeyKind.HASHED, KeyKind.LEXICAL, KeyKind.UINT64
KEYS = st.binary(min_size=1, max_size=450)


def order_of(key: bytes, kind: KeyKind) -> bytes:
    """The whole key order, of the first key in its bucket."""
    if keys.is_exact(key, kind):
        return keys.exact_order(key, kind)
    return keys.with_tie(keys.bucket_order(key, kind), 0)


@given(st.lists(KEYS, min_size=2, max_size=2))
def test_lexical_order_is_byte_order_unless_400_bytes_are_shared(pair: list[bytes]) -> None:
    a, b = pair
    if a[:400] != b[:400] or a == b:
        assert (order_of(a, LEXICAL) < order_of(b, LEXICAL)) == (a < b)
    else:
        assert order_of(a, LEXICAL)[:400] == order_of(b, LEXICAL)[:400]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_integer_order_is_numeric(a: int, b: int) -> None:
    orders = [order_of(n.to_bytes(8, "little"), UINT64) for n in (a, b)]
    assert (orders[0] < orders[1]) == (a < b)
    assert keys.user_key(orders[0], UINT64) == a.to_bytes(8, "little")


@given(KEYS)
def test_hashed_order_has_one_size(key: bytes) -> None:
    order = order_of(key, HASHED)
    assert len(order) == keys.HASH_SIZE + keys.TIE_SIZE
    assert not keys.is_long_order(order, HASHED)


@pytest.mark.parametrize("size", [1, 399, 400, 401, 5000])
def test_long_lexical_keys(size: int) -> None:
    key = b"k" * size
    order = order_of(key, LEXICAL)
    assert keys.is_exact(key, LEXICAL) == (size <= 400)
    assert keys.is_long_order(order, LEXICAL) == (size > 400)
    assert keys.NODE_PREFIX_SIZE + len(order) <= keys.KEY_SIZE_MAX
    if size <= 400:
        assert keys.user_key(order, LEXICAL) == key
    else:
        # A longer key that shares 400 bytes sorts behind the key of just these.
        assert order > order_of(key[:400], LEXICAL)


def test_ties_count_up_in_order() -> None:
    bucket = keys.bucket_order(b"x", HASHED)
    assert keys.with_tie(bucket, 255) < keys.with_tie(bucket, 256)


@pytest.mark.parametrize(
    ("key", "kind", "error"),
    [
        (b"", HASHED, InvalidError),
        (b"", UINT64, InvalidError),
        (b"1234567", UINT64, InvalidError),
        (b"123456789", UINT64, InvalidError),
        (bytes(keys.USER_KEY_SIZE_MAX + 1), LEXICAL, KeyTooBigError),
        (bytes(keys.USER_KEY_SIZE_MAX + 1), UINT64, KeyTooBigError),
    ],
)
def test_refused_user_keys(key: bytes, kind: KeyKind, error: type[Exception]) -> None:
    with pytest.raises(error, match="dkey"):
        keys.check_user_key(key, kind, "dkey")


def test_accepted_user_keys() -> None:
    keys.check_user_key(b"12345678", UINT64, "dkey")
    keys.check_user_key(bytes(keys.USER_KEY_SIZE_MAX), HASHED, "dkey")
    keys.check_user_key(b"\0", LEXICAL, "dkey")


def test_object_order() -> None:
    oid = UnitOid(ObjectId(1 << 56, 7), ShardIndex(3))
    order = keys.object_order(oid)
    assert keys.parse_object_order(order) == (1 << 56, 7, 3)
    assert order < keys.object_order(UnitOid(ObjectId(1 << 56, 7), ShardIndex(256)))
    assert keys.key_kinds(oid) == (HASHED, HASHED)
    with pytest.raises(InvalidError, match="object type 200"):
        keys.key_kinds(UnitOid(ObjectId(200 << 56, 0), ShardIndex(0)))


@given(st.integers(1, 2**64 - 1), st.integers(1, 2**16 - 1), st.integers(1, 2**64 - 1))
def test_single_keys_sort_newest_first(epoch: int, minor: int, other: int) -> None:
    key = keys.single_key(9, epoch, minor)
    assert keys.parse_single_key(key) == (9, epoch, minor)
    if other > epoch:
        assert keys.single_key(9, other, 1) < key


def test_shard_level_keys() -> None:
    a, b = uuid.UUID(int=1), uuid.UUID(int=2)
    assert keys.ROOT_KEY < keys.container_key(a) < keys.container_key(b) < keys.garbage_key(1)
    assert keys.container_key(a).endswith(a.bytes)


@given(st.binary(min_size=1, max_size=8), st.binary(max_size=8))
def test_after(prefix: bytes, more: bytes) -> None:
    if prefix.strip(b"\xff"):
        assert keys.after(prefix) > prefix + more

"""Keys as people write them, keys on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import InvalidError
from daos.base.ids import U64_MAX, KeyKind
from daos.client.values import check_count, decode_key, encode_key


@given(st.integers(0, U64_MAX))
def test_integers(key: int) -> None:
    encoded = encode_key(key, KeyKind.UINT64, "dkey")
    assert encoded == key.to_bytes(8, "little")
    assert decode_key(encoded, KeyKind.UINT64) == key


@pytest.mark.parametrize("kind", KeyKind)
def test_bytes_go_as_they_are(kind: KeyKind) -> None:
    for key in (b"12345678", bytearray(b"12345678"), memoryview(b"12345678")):
        assert encode_key(key, kind, "dkey") == b"12345678"  # type: ignore[arg-type]  # tolerated
    if kind is not KeyKind.UINT64:
        assert decode_key(b"12345678", kind) == b"12345678"


@pytest.mark.parametrize("kind", KeyKind)
@pytest.mark.parametrize("bad", ["text", None, 1.5, True, (1,)])
def test_what_is_no_key(kind: KeyKind, bad: bytes) -> None:
    with pytest.raises(InvalidError, match="dkey: expected bytes"):
        encode_key(bad, kind, "dkey")


@pytest.mark.parametrize("bad", [-1, U64_MAX + 1])
def test_integers_that_do_not_fit(bad: int) -> None:
    with pytest.raises(InvalidError, match="u64"):
        encode_key(bad, KeyKind.UINT64, "akey")


def test_an_integer_where_keys_are_none() -> None:
    with pytest.raises(InvalidError, match="integer-key type"):
        encode_key(5, KeyKind.LEXICAL, "akey")


def test_counts() -> None:
    assert check_count(0, "offset") == 0
    assert check_count(U64_MAX, "offset") == U64_MAX
    for bad in (-1, U64_MAX + 1, 1.0, "1", None, True):
        with pytest.raises(InvalidError, match="offset"):
            check_count(bad, "offset")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(InvalidError, match=r"\[1, "):
        check_count(0, "count", least=1)

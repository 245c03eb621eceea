"""Everything of `base` that reads what people or peers wrote: a value or the right error."""

from __future__ import annotations

import contextlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from daos.base.checksum import checksum_type
from daos.base.errors import DER, DaosError, InvalidError, error_for
from daos.base.ids import ObjectId
from daos.base.iod import Iod, IodType, check_iod
from daos.base.sizes import parse_percent, parse_size

# Mostly text that is nearly right.
NEAR = st.text(st.sampled_from("0123456789.,-+ kKmMgGtTiIbB%eExn_\x00٣"), max_size=80)
TEXT = NEAR | st.text(max_size=80)


@given(TEXT)
def test_sizes(text: str) -> None:
    with contextlib.suppress(InvalidError):
        assert 0 <= parse_size(text) < 2**64
    with contextlib.suppress(InvalidError):
        assert parse_size(text, binary=True) >= parse_size(text)
    with contextlib.suppress(InvalidError):
        assert 0 <= parse_percent(text) <= 100


@given(TEXT)
def test_object_ids(text: str) -> None:
    with contextlib.suppress(InvalidError):
        assert ObjectId.parse(ObjectId.parse(text).__str__()) == ObjectId.parse(text)


@given(st.text())
def test_checksum_names(text: str) -> None:
    with contextlib.suppress(InvalidError):
        checksum_type(text)


@given(st.integers(), st.text())
def test_error_numbers(number: int, text: str) -> None:
    error = error_for(number, text)
    assert isinstance(error, DaosError)
    assert error.code is DER.UNKNOWN or error.code == abs(number)


WIRE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=12,
)
NEARLY_IOD = st.tuples(
    st.binary(max_size=8),
    st.integers(-1, 4),
    st.integers(-1, 2**64 - 1),
    st.lists(st.tuples(st.integers(-1, 2**64 - 1), st.integers(-1, 2**64 - 1)), max_size=3),
    st.integers(-1, 300),
)


@given(st.binary(max_size=64) | (WIRE | NEARLY_IOD).map(msgspec.msgpack.encode))
def test_descriptors_from_a_peer(data: bytes) -> None:
    with contextlib.suppress(msgspec.DecodeError):  # ValidationError is one
        msgspec.msgpack.decode(data, type=ObjectId)
    with contextlib.suppress(msgspec.DecodeError, InvalidError):
        iod = msgspec.msgpack.decode(data, type=Iod)
        check_iod(iod)
        assert iod.type in (IodType.SINGLE, IodType.ARRAY)
        assert iod.nbytes >= 0
        assert all(recx.index < recx.end <= 2**64 for recx in iod.recxs)

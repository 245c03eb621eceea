"""Object ids and types."""

from __future__ import annotations

import copy
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import InvalidError
from daos.base.ids import EPOCH_MAX, KeyKind, ObjectId, ObjectType, ShardIndex, UnitOid

U64 = st.integers(0, 2**64 - 1)
IDS = st.builds(ObjectId, U64, U64)


def test_fields_stand_where_the_reference_has_them() -> None:
    oid = ObjectId.encode(
        user_hi=0xDDDD_EEEE, lo=7, type=ObjectType.ARRAY, redundancy=0xAB, groups=0x1234
    )
    assert oid.hi == 0x0BAB_1234_DDDD_EEEE
    assert oid.lo == 7
    assert (oid.type, oid.redundancy, oid.groups, oid.user_hi) == (
        ObjectType.ARRAY,
        0xAB,
        0x1234,
        0xDDDD_EEEE,
    )


@given(
    st.integers(0, 2**32 - 1),
    U64,
    st.sampled_from(ObjectType),
    st.integers(0, 255),
    st.integers(0, 2**16 - 1),
)
def test_encode_and_read_back(
    user_hi: int, lo: int, kind: ObjectType, redundancy: int, groups: int
) -> None:
    oid = ObjectId.encode(user_hi=user_hi, lo=lo, type=kind, redundancy=redundancy, groups=groups)
    read = (oid.user_hi, oid.lo, oid.type, oid.redundancy, oid.groups)
    assert read == (user_hi, lo, kind, redundancy, groups)


@pytest.mark.parametrize(
    "field", [{"user_hi": 2**32}, {"redundancy": 256}, {"groups": 65536}, {"groups": -1}]
)
def test_fields_that_do_not_fit(field: dict[str, int]) -> None:
    fields = {"user_hi": 0, "lo": 0, "redundancy": 1, "groups": 1} | field
    with pytest.raises(InvalidError, match=next(iter(field))):
        ObjectId.encode(type=ObjectType.ARRAY, **fields)


@given(IDS)
def test_text_round_trip(oid: ObjectId) -> None:
    assert str(oid) == f"{oid.hi}.{oid.lo}"
    assert ObjectId.parse(str(oid)) == oid


@pytest.mark.parametrize(
    "text",
    [
        ".",
        "1",
        "1.",
        ".1",
        "1.2.3",
        "-1.2",
        "+1.2",
        "1_0.2",
        "0x1.2",
        "a.b",
        "1.²",
        "١.٢",
        "1,2",
        "18446744073709551616.0",
        "0.18446744073709551616",
        "0000000000000000000000000000000000000000.1",
    ],
)
def test_text_that_is_no_id(text: str) -> None:
    for wrong in (text, "", f"{text} ", "1. 2", "1.2\n"):
        with pytest.raises(InvalidError, match="object id"):
            ObjectId.parse(wrong)


@pytest.mark.parametrize(("hi", "lo"), [(-1, 0), (0, -1), (2**64, 0), (0, 2**64)])
def test_halves_are_u64(hi: int, lo: int) -> None:
    with pytest.raises(InvalidError, match="half"):
        ObjectId(hi, lo)


def test_a_value() -> None:
    oid = ObjectId(1, 2)
    assert oid == ObjectId(1, 2)
    assert hash(oid) == hash(ObjectId(1, 2))
    assert sorted([ObjectId(2, 0), ObjectId(1, 9), ObjectId(1, 3)]) == [
        ObjectId(1, 3),
        ObjectId(1, 9),
        ObjectId(2, 0),
    ]
    assert pickle.loads(pickle.dumps(oid)) == copy.copy(oid) == oid
    with pytest.raises(AttributeError):
        oid.hi = 3  # type: ignore[misc]
    assert UnitOid(oid, ShardIndex(1)) < UnitOid(oid, ShardIndex(2))


def test_a_bad_id_in_a_message_is_a_bad_message() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode([-1, 0]), type=ObjectId)


def test_unknown_type() -> None:
    with pytest.raises(InvalidError, match="unknown object type 15"):
        _ = ObjectId(15 << 56, 0).type


def test_kinds_of_keys() -> None:
    uint64 = {kind for kind in ObjectType if kind.dkey_kind is KeyKind.UINT64}
    assert uint64 == {2, 4, 9, 11, 12, 13}
    assert {kind for kind in ObjectType if kind.akey_kind is KeyKind.UINT64} == {3, 4}
    assert {kind for kind in ObjectType if kind.dkey_kind is KeyKind.LEXICAL} == {5, 7, 10}
    assert {kind for kind in ObjectType if kind.akey_kind is KeyKind.LEXICAL} == {6, 7}
    assert {kind for kind in ObjectType if kind.is_kv} == {8, 9, 10}
    assert {kind for kind in ObjectType if kind.is_array} == {11, 12, 13}
    assert len(ObjectType) == 15
    assert EPOCH_MAX == 2**64 - 1

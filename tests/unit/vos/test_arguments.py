from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import (
    AccessError,
    InvalidError,
    KeyTooBigError,
    RecordTooBigError,
)
from daos.base.ids import U64_MAX, KeyKind, ObjectId, ObjectType, ShardIndex, UnitOid
from daos.base.iod import Cond, Iod, IodType, Recx, is_plain
from daos.vos.arguments import (
    IODS_MAX,
    RECXS_MAX,
    check_fetch,
    check_update,
    plan_plain,
    plan_values,
)
from daos.vos.keys import object_facts
from daos.vos.reserve import Value
from daos.vos.single import VALUE_SIZE_MAX


def unit_of(otype: ObjectType) -> UnitOid:
    oid = ObjectId.encode(user_hi=0, lo=1, type=otype, redundancy=1, groups=1)
    return UnitOid(oid, ShardIndex(0))


SINGLE, ARRAY = IodType.SINGLE, IodType.ARRAY
KINDS = (KeyKind.HASHED, KeyKind.HASHED)
GOOD = Iod(b"a", SINGLE, 5)


def array(*recxs: tuple[int, int], size: int = 1) -> Iod:
    return Iod(b"r", ARRAY, size, tuple(Recx(*recx) for recx in recxs))


@pytest.mark.parametrize(
    ("dkey", "iods", "cond", "error"),
    [
        (b"", [GOOD], 0, InvalidError),
        (bytes((1 << 20) + 1), [GOOD], 0, KeyTooBigError),
        (b"d", [], 0, InvalidError),
        (b"d", [Iod(b"%d" % i, SINGLE, 1) for i in range(IODS_MAX + 1)], 0, InvalidError),
        (b"d", [GOOD, Iod(b"a", ARRAY, 1, (Recx(0, 1),))], 0, AccessError),
        (b"d", [Iod(b"", SINGLE, 1)], 0, InvalidError),
        (b"d", [Iod(b"a", IodType.NONE, 1)], 0, InvalidError),
        (b"d", [Iod(b"a", SINGLE, VALUE_SIZE_MAX + 1)], 0, RecordTooBigError),
        (b"d", [array((0, VALUE_SIZE_MAX + 1))], 0, RecordTooBigError),
        (b"d", [array((0, 1), size=VALUE_SIZE_MAX + 1)], 0, RecordTooBigError),
        (b"d", [array()], 0, InvalidError),
        (b"d", [array((0, 0))], 0, InvalidError),
        (b"d", [array(((1 << 63) - 1, 2))], 0, InvalidError),
        (b"d", [array((1 << 63, 1))], 0, InvalidError),
        (b"d", [array((0, 5), (4, 1))], 0, InvalidError),
        (b"d", [array((4, 1), (0, 5), size=0)], 0, InvalidError),
        (b"d", [array(*[(i, 1) for i in range(RECXS_MAX + 1)])], 0, InvalidError),
        (b"d", [GOOD], Cond.PUNCH, InvalidError),
        (b"d", [GOOD], Cond.AKEY_FETCH, InvalidError),
        (b"d", [GOOD], 0x100, InvalidError),
        (b"d", [GOOD], Cond.PER_AKEY | Cond.AKEY_INSERT, InvalidError),
        (b"d", [GOOD], Cond.AKEY_UPDATE | Cond.AKEY_INSERT, InvalidError),
        (b"d", [GOOD], Cond.DKEY_UPDATE | Cond.DKEY_INSERT, InvalidError),
        (b"d", [Iod(b"a", SINGLE, 5, (), Cond.AKEY_FETCH)], 0, InvalidError),
        (b"d", [Iod(b"a", SINGLE, 5, (), 0x30)], Cond.PER_AKEY, InvalidError),
    ],
)
def test_refused_updates(dkey: bytes, iods: list[Iod], cond: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_update(dkey, iods, int(cond), KINDS)


def test_accepted_updates() -> None:
    check_update(b"d", [GOOD, array((10, 5), (0, 5), (5, 5))], 0, KINDS)
    check_update(b"d", [array((0, 1 << 62), size=0)], 0, KINDS)
    check_update(b"d", [array(((1 << 63) - 1, 1))], int(Cond.DKEY_INSERT), KINDS)
    iods = [Iod(b"a", SINGLE, 5, (), Cond.AKEY_INSERT)]
    check_update(b"d", iods, int(Cond.PER_AKEY | Cond.DKEY_UPDATE), KINDS)


@pytest.mark.parametrize(
    ("dkey", "iods", "cond", "error"),
    [
        (b"", [GOOD], 0, InvalidError),
        (b"d", [], 0, InvalidError),
        (b"d", [GOOD] * (IODS_MAX + 1), 0, InvalidError),
        (b"d", [Iod(b"", SINGLE, 1)], 0, InvalidError),
        (b"d", [array((0, 1 << 64), (1, 0))], 0, InvalidError),
        (b"d", [array(*[(i, 1) for i in range(RECXS_MAX + 1)])], 0, InvalidError),
        (b"d", [GOOD], Cond.AKEY_INSERT, InvalidError),
        (b"d", [GOOD], Cond.PUNCH, InvalidError),
        (b"d", [GOOD], Cond.PER_AKEY | Cond.AKEY_FETCH, InvalidError),
        (b"d", [Iod(b"a", SINGLE, 5, (), Cond.AKEY_INSERT)], Cond.PER_AKEY, InvalidError),
    ],
)
def test_refused_fetches(dkey: bytes, iods: list[Iod], cond: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_fetch(dkey, iods, int(cond), KINDS)


def test_accepted_fetches() -> None:
    check_fetch(b"d", [GOOD, GOOD, array((0, 5), (3, 9))], int(Cond.DKEY_FETCH), KINDS)
    check_fetch(b"d", [Iod(b"a", SINGLE, 0, (), Cond.AKEY_FETCH)], int(Cond.PER_AKEY), KINDS)


def test_plan() -> None:
    iods = [
        GOOD,
        Iod(b"p", SINGLE, 0),
        Iod(b"b", SINGLE, 4096),
        array((0, 4095), (5000, 4097)),
        array((0, 9), size=0),
    ]
    values, nbytes = plan_values(b"d", iods, data_thresh=4096, csum=(8, 1024))
    assert values == [
        Value(5, 0, 0),
        Value(4096, 0, 1),
        Value(4095, 1, 0),
        Value(4097, 1, 2),
    ]
    payload, csums = 5 + 4095, 8 * (4 + 5)
    assert nbytes == 2560 + 5 * 1536 + 3 * 512 + payload + csums + 2 * (1 + 5)
    values, _ = plan_values(b"d", iods, data_thresh=0, csum=(8, 1024))
    assert not any(value.blocks for value in values)


def test_one_plain_value_is_planned_as_any_other() -> None:
    """`plan_plain` says the same as `check_update` and `plan_values`, or nothing."""
    keys = (b"", b"k", bytes(8), bytes((1 << 20) + 1))
    sizes = (-1, 0, 1, 4095, 4096, 4097, VALUE_SIZE_MAX, VALUE_SIZE_MAX + 1)
    iods = [
        *[[Iod(key, SINGLE, size)] for key in keys for size in sizes],
        *[[array((0, count), size=size)] for size in sizes for count in (0, 1, 9, 5000)],
        [Iod(b"k", SINGLE, 5, (), Cond.AKEY_INSERT)],
        [Iod(b"k", SINGLE, 5, (Recx(0, 1),))],
        [Iod(b"k", IodType.ARRAY, 5)],
        [Iod(b"k", IodType.NONE, 5)],
        [array((-1, 5))],
        [array((1 << 63, 5))],
        [array(((1 << 63) - 5, 5))],
        [array((0, 5), (7, 2))],
        [Iod(b"k", SINGLE, 5), Iod(b"l", SINGLE, 5)],
        [],
    ]
    planned = 0
    facts = [object_facts(unit_of(otype)) for otype in ObjectType]
    for dkey, iod, fact, thresh in itertools.product(keys, iods, facts, (0, 4096)):
        one = plan_plain(dkey, iod, fact, data_thresh=thresh, csum=(8, 1024))
        if one is not None:
            check_update(dkey, iod, 0, fact.kinds)
            assert one == plan_values(dkey, iod, data_thresh=thresh, csum=(8, 1024))
            planned += 1
    assert planned > 500


@given(
    st.sampled_from([b"", b"k", bytes(8), bytes((1 << 20) + 1)]),
    st.builds(
        Iod,
        st.sampled_from([b"", b"k", bytes(8)]),
        st.sampled_from(IodType),
        st.sampled_from([-1, 0, 1, 1 << 30, (1 << 30) + 1, U64_MAX, U64_MAX + 1]),
        st.lists(
            st.builds(
                Recx,
                st.sampled_from([-1, 0, 5, (1 << 63) - 1, 1 << 63]),
                st.sampled_from([-1, 0, 1, 1 << 63]),
            ),
            max_size=2,
        ).map(tuple),
        st.sampled_from([0, 0, int(Cond.AKEY_FETCH), 0x100]),
    ),
    st.sampled_from(ObjectType),
)
def test_no_check_takes_offence_at_what_is_plain(dkey: bytes, iod: Iod, otype: ObjectType) -> None:
    fact = object_facts(unit_of(otype))
    if is_plain(dkey, (iod,), fact.dkey_size, fact.akey_size):
        check_update(dkey, (iod,), 0, fact.kinds)
        check_fetch(dkey, (iod,), 0, fact.kinds)

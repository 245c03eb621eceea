"""Rules of object requests, typed from internals §5.4 and features §5.2."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from daos.base.errors import (
    DER,
    AccessError,
    DaosError,
    InvalidError,
    KeyTooBigError,
    NotSupportedError,
)
from daos.base.ids import KeyKind, ObjectId, ObjectType, Rank, ShardIndex, TargetIndex
from daos.base.iod import Cond, Iod, IodType, Recx
from daos.object import core
from daos.placement.jump import JumpMap
from daos.placement.layout import dkey_hash
from daos.placement.pool_map import PoolMap
from tests.unit.embedded.cluster import array, oid_of, single

OID = oid_of()
INTEGER_DKEYS = oid_of(otype=ObjectType.DKEY_UINT64)
U64 = (1 << 64) - 1


def code_of_update(dkey: bytes, *iods: Iod, cond: int = 0, oid: ObjectId = OID) -> DER:
    with pytest.raises(DaosError) as caught:
        core.check_update(oid, dkey, iods, cond)
    return caught.value.code


def test_good_updates_pass() -> None:
    core.check_update(OID, b"d", [single(b"a", 5)], 0)
    core.check_update(OID, b"d", [single(b"a", 0)], 0)  # size 0 punches the value
    core.check_update(OID, b"d", [array(b"a", 0, (3, 4))], 0)  # or the range
    core.check_update(OID, b"d", [array(b"a", 1, (5, 5), (0, 5)), single(b"b", 1)], 0)
    core.check_update(INTEGER_DKEYS, bytes(8), [single(b"a", 5)], 0)
    core.check_update(OID, b"d", [single(b"a", 1, Cond.AKEY_INSERT)], Cond.PER_AKEY)


@pytest.mark.parametrize(
    ("dkey", "iods"),
    [
        (b"", [single(b"a", 1)]),
        (b"d", [single(b"", 1)]),
        (b"d", []),
        (b"d", [Iod(b"a", IodType.NONE, 1)]),
        (b"d", [Iod(b"a", IodType.SINGLE, 1, (Recx(0, 1),))]),
        (b"d", [Iod(b"a", IodType.ARRAY, 1)]),
        (b"d", [array(b"a", 1, (0, 0))]),
        (b"d", [array(b"a", 1, (1 << 63, 1))]),  # bit 63: parity space
        (b"d", [array(b"a", 1, ((1 << 63) - 1, 2))]),
        (b"d", [array(b"a", 1, (U64, 2))]),  # index + count overflows
        (b"d", [array(b"a", 1, (0, 5), (4, 1))]),  # overlap
        (b"d", [array(b"a", 1, (4, 2), (0, 5))]),
        (b"d", [single(b"a", -1)]),
        (b"d", [array(b"a", 1, (-1, 2))]),
        (b"d", [array(b"a", 1, *((2 * i, 1) for i in range(core.RECXS_MAX + 1)))]),
        (b"d", [single(b"%d" % i, 1) for i in range(core.IODS_MAX + 1)]),
    ],
)
def test_bad_updates_are_invalid(dkey: bytes, iods: list[Iod]) -> None:
    assert code_of_update(dkey, *iods) is DER.INVAL


def test_integer_keys_have_eight_bytes() -> None:
    assert code_of_update(b"seven77", single(b"a", 1), oid=INTEGER_DKEYS) is DER.INVAL
    both = oid_of(otype=ObjectType.MULTI_UINT64)
    assert code_of_update(bytes(8), single(b"a", 1), oid=both) is DER.INVAL


def test_an_akey_stands_once_in_an_update() -> None:
    assert code_of_update(b"d", single(b"a", 1), single(b"a", 1)) is DER.NO_PERM


def test_keys_end_at_one_mib() -> None:
    core.check_key(bytes(1 << 20), KeyKind.HASHED, "dkey")
    with pytest.raises(KeyTooBigError):
        core.check_key(bytes((1 << 20) + 1), KeyKind.HASHED, "dkey")


UPDATE_CONDS = (
    Cond.DKEY_INSERT,
    Cond.DKEY_UPDATE,
    Cond.AKEY_INSERT,
    Cond.AKEY_UPDATE,
    Cond.PER_AKEY,
)
FETCH_CONDS = (Cond.DKEY_FETCH, Cond.AKEY_FETCH, Cond.PER_AKEY)


@pytest.mark.parametrize("cond", list(Cond))
def test_conditions_match_the_class_of_the_operation(cond: Cond) -> None:
    iods = [single(b"a", 1)]
    checks: list[tuple[bool, Callable[[], None]]] = [
        (cond in UPDATE_CONDS, lambda: core.check_update(OID, b"d", iods, cond)),
        (cond in FETCH_CONDS, lambda: core.check_fetch(OID, b"d", iods, cond)),
        (cond is Cond.PUNCH, lambda: core.check_punch(OID, b"d", [], cond)),
    ]
    for allowed, check in checks:
        if allowed:
            check()
        else:
            with pytest.raises(InvalidError):
                check()


@pytest.mark.parametrize("cond", [Cond.AKEY_INSERT, Cond.AKEY_UPDATE])
def test_per_akey_excludes_one_for_all(cond: Cond) -> None:
    assert code_of_update(b"d", single(b"a", 1), cond=cond | Cond.PER_AKEY) is DER.INVAL


@pytest.mark.parametrize("cond", [-1, 1 << 8, 1 << 40])
def test_unknown_condition_bits_are_refused(cond: int) -> None:
    assert code_of_update(b"d", single(b"a", 1), cond=cond) is DER.INVAL


def test_punches() -> None:
    core.check_punch(OID, b"", [], 0)
    core.check_punch(OID, b"d", [b"a", b"b"], 0)
    for dkey, akeys in ((b"", [b"a"]), (b"d", [b""]), (b"d", [b"a"] * (core.IODS_MAX + 1))):
        with pytest.raises(InvalidError):
            core.check_punch(OID, dkey, akeys, 0)


@pytest.mark.parametrize("redundancy", [0, 8, 9, 32, 33, 255])
def test_only_classes_without_redundancy_are_stored(redundancy: int) -> None:
    with pytest.raises(NotSupportedError):
        core.check_supported(oid_of(redundancy=redundancy))
    core.check_supported(OID)


def test_sizes_of_values_in_payload_order() -> None:
    iods = [
        single(b"a", 5),
        array(b"b", 4, (0, 2), (9, 1)),
        single(b"c", 0),
        array(b"d", 0, (0, 9)),
    ]
    assert core.value_sizes(iods) == [5, 8, 4]


def test_every_dkey_has_one_shard_by_its_hash() -> None:
    # internals §5.3: group = jump_consistent_hash(murmur64(dkey), groups); an integer is its hash.
    pool_map = PoolMap.initial([("host", [(Rank(0), 4)])])
    oid = oid_of(groups=4)
    layout = JumpMap(pool_map).place(oid)
    all_shards = core.shards(layout)
    assert sorted(shard.shard for shard in all_shards) == [ShardIndex(i) for i in range(4)]
    found = {core.shard_of(layout, oid, b"%d" % i).shard for i in range(100)}
    assert found == {shard.shard for shard in all_shards}
    assert dkey_hash((7).to_bytes(8, "little"), KeyKind.UINT64) == 7
    one = JumpMap(pool_map).place(OID)
    assert core.shard_of(one, OID, b"x") == one.groups[0][0]
    assert one.groups[0][0].target in {TargetIndex(i) for i in range(4)}


@pytest.mark.parametrize("otype", list(ObjectType))
def test_flat_objects_have_one_akey(otype: ObjectType) -> None:
    oid = ObjectId.encode(user_hi=0, lo=1, type=otype, redundancy=1, groups=1)
    dkey, name = bytes(8), bytes(8)
    flat = otype.is_kv or otype.is_array
    assert core.is_flat(oid) is flat
    one = [Iod(core.FLAT_AKEY if flat else name, IodType.SINGLE, 5)]
    core.check_update(oid, dkey, one, 0)
    core.check_fetch(oid, dkey, one, 0)
    other = [Iod(name, IodType.SINGLE, 5)]
    two = [*one, Iod(bytes(7) + b"1", IodType.SINGLE, 5)]
    if not flat:
        core.check_punch(oid, dkey, [name], 0)
        return
    for check in (core.check_update, core.check_fetch):
        for cond in (0, Cond.PER_AKEY):
            with pytest.raises(InvalidError, match="only akey"):
                check(oid, dkey, other, cond)
    with pytest.raises(AccessError, match="one value a dkey"):
        core.check_update(oid, dkey, two, 0)
    with pytest.raises(InvalidError, match="no akeys"):
        core.check_punch(oid, dkey, [name], 0)

"""The pure parts: ranges and compares. Limits are tested by the kit, over every store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import InvalidError, KeyTooBigError, RecordTooBigError
from daos.rdb import interface
from daos.rdb.interface import (
    UNBOUNDED,
    Compare,
    CompareTarget,
    Delete,
    KeyValuePair,
    Put,
    Range,
    Relation,
)

PAIR = KeyValuePair(b"k", b"value", 3, 5)


@given(st.binary(max_size=4), st.binary(max_size=6))
def test_prefix_end_bounds_exactly_the_keys_with_the_prefix(prefix: bytes, key: bytes) -> None:
    end = interface.prefix_end(prefix)
    assert interface.covers(prefix, end, key) is key.startswith(prefix)


@pytest.mark.parametrize(
    ("lo", "hi", "key", "inside"),
    [
        (b"b", None, b"b", True),
        (b"b", None, b"ba", False),
        (b"b", b"d", b"b", True),
        (b"b", b"d", b"d", False),
        (b"b", b"d", b"a", False),
        (b"b", UNBOUNDED, b"\xff", True),
        (b"b", UNBOUNDED, b"a", False),
        (b"d", b"b", b"c", False),
    ],
)
def test_covers(lo: bytes, hi: bytes | None, key: bytes, inside: bool) -> None:
    assert interface.covers(lo, hi, key) is inside


def test_holds() -> None:
    def compare(target: CompareTarget, relation: Relation, operand: bytes | int) -> Compare:
        return Compare(b"k", target, relation, operand)

    created, modified = CompareTarget.CREATE_REVISION, CompareTarget.MOD_REVISION
    assert interface.holds(compare(created, Relation.EQUAL, 3), PAIR)
    assert interface.holds(compare(modified, Relation.GREATER, 4), PAIR)
    assert interface.holds(compare(modified, Relation.LESS, 6), PAIR)
    assert interface.holds(compare(created, Relation.NOT_EQUAL, 5), PAIR)
    assert interface.holds(compare(modified, Relation.EQUAL, 0), None)
    assert not interface.holds(compare(CompareTarget.VALUE, Relation.NOT_EQUAL, b"x"), None)
    for target, operand in ((CompareTarget.VALUE, 1), (created, b"1"), (modified, b"1")):
        with pytest.raises(InvalidError, match="compared with"):
            interface.holds(compare(target, Relation.EQUAL, operand), PAIR)


def test_shorthands() -> None:
    for compare, of_pair, of_nothing in (
        (interface.exists(b"k"), True, False),
        (interface.absent(b"k"), False, True),
        (interface.unchanged(PAIR), True, False),
        (interface.value_is(b"k", b"value"), True, False),
    ):
        assert interface.holds(compare, PAIR) is of_pair
        assert interface.holds(compare, None) is of_nothing


def test_limits() -> None:
    long_key = b"k" * (interface.KEY_SIZE_MAX + 1)
    cases: list[tuple[type[Exception], list[Compare], list[interface.Operation]]] = [
        (InvalidError, [interface.absent(b"a")] * 129, []),
        (InvalidError, [interface.absent(b"")], []),
        (InvalidError, [], [Range(b"a")] * 129),
        (InvalidError, [], [Range(b"a", None, -1)]),
        (InvalidError, [], [Put(b"a", b""), Put(b"a", b"")]),
        (InvalidError, [], [Put(b"a", b""), Delete(b"", UNBOUNDED)]),
        (KeyTooBigError, [], [Put(long_key, b"")]),
        (KeyTooBigError, [], [Range(b"", long_key)]),
        (RecordTooBigError, [], [Put(b"a", bytes(interface.VALUE_SIZE_MAX + 1))]),
        (RecordTooBigError, [], [Put(b"a", bytes(1 << 20)), Put(b"b", bytes(1 << 19))]),
    ]
    for error, compares, operations in cases:
        with pytest.raises(error):
            interface.check_txn(compares, operations, [])
        with pytest.raises(error):
            interface.check_txn(compares, [], operations)
    interface.check_txn([interface.absent(b"a")] * 128, [Range(b"", UNBOUNDED)] * 128, [])

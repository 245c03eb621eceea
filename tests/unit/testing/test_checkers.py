"""The judges themselves: histories that are right, and ones that are wrong by one answer."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from daos.testing.checkers import models
from daos.testing.checkers.linear import Interval, UndecidedError, explain
from daos.testing.checkers.models import (
    EXISTS,
    MISSING,
    OK,
    UNKNOWN,
    CellsCall,
    SeveralCall,
    ValueCall,
)

Value = Interval[ValueCall]


def put(value: bytes, begin: int, end: int, *, answer: object = OK) -> Value:
    return Interval(ValueCall("put", value, answer), begin, end, unknown=answer == UNKNOWN)


def get(value: bytes | None, begin: int, end: int) -> Value:
    return Interval(ValueCall("get", None, value), begin, end, pure=True)


def call(kind: str, value: bytes | None, answer: object, begin: int, end: int) -> Value:
    return Interval(ValueCall(kind, value, answer), begin, end)


@pytest.mark.parametrize(
    ("history", "right"),
    [
        ([put(b"a", 1, 2), get(b"a", 3, 4)], True),
        ([put(b"a", 1, 2), get(None, 3, 4)], False),
        ([put(b"a", 1, 4), get(None, 2, 3)], True),
        ([put(b"a", 1, 4), get(b"a", 2, 3)], True),
        ([put(b"a", 1, 9), get(b"a", 2, 3), get(None, 4, 5)], False),
        ([put(b"a", 1, 2), put(b"b", 3, 9), get(b"b", 4, 5), get(b"a", 6, 7)], False),
        ([put(b"a", 1, 2, answer=UNKNOWN), get(None, 3, 4), get(b"a", 5, 6)], True),
        ([put(b"a", 1, 2, answer=UNKNOWN), get(b"a", 3, 4), get(None, 5, 6)], False),
        ([put(b"a", 1, 2), call("insert", b"b", EXISTS, 3, 4), get(b"a", 5, 6)], True),
        ([put(b"a", 1, 2), call("insert", b"b", OK, 3, 4)], False),
        ([call("insert", b"b", EXISTS, 3, 4)], False),
        ([call("update", b"b", MISSING, 3, 4), get(None, 5, 6)], True),
        ([put(b"a", 1, 2), call("update", b"b", MISSING, 3, 4)], False),
        ([put(b"a", 1, 2), call("take", None, OK, 3, 4), get(None, 5, 6)], True),
        ([put(b"a", 1, 2), call("take", None, OK, 3, 4), get(b"a", 5, 6)], False),
        ([put(b"a", 1, 2), call("take", None, OK, 3, 6), call("take", None, OK, 4, 5)], False),
    ],
)
def test_one_key(history: list[Value], right: bool) -> None:
    assert (explain(history, None, models.value_step) is not None) is right


def test_what_a_punch_does_is_not_lost_when_it_changes_nothing_at_first() -> None:
    history = [
        Interval(ValueCall("remove", None, OK), 1, 9),
        put(b"a", 2, 3),
        get(b"a", 4, 5),
        get(None, 6, 7),
    ]
    assert explain(history, None, models.value_step) is not None


@pytest.mark.parametrize(
    ("ranks", "right"),
    [
        ((0, 0, 0), True),
        ((10, 20, 0), True),
        ((20, 10, 0), False),  # in time a was before b
        ((10, 20, 21), False),  # a snapshot behind both has a
        ((10, 20, 11), True),
        ((10, 20, 9), False),  # one before both has something
        ((0, 20, 11), True),  # whoever does not say is where it has to be
    ],
)
def test_those_with_ranks_come_in_their_order(ranks: tuple[int, int, int], right: bool) -> None:
    history = [put(b"a", 1, 2), put(b"b", 3, 6), get(b"a", 1, 9)]
    ranked = [replace(each, rank=rank) for each, rank in zip(history, ranks, strict=True)]
    assert (explain(ranked, None, models.value_step) is not None) is right


def test_several_akeys_change_together() -> None:
    def change(value: bytes, begin: int, end: int) -> Interval[SeveralCall]:
        values = ((b"a", value), (b"b", value))
        return Interval(SeveralCall("change", values, OK), begin, end)

    def seen(a: bytes | None, b: bytes | None, begin: int, end: int) -> Interval[SeveralCall]:
        answer = ((b"a", a), (b"b", b))
        return Interval(SeveralCall("get", (), answer), begin, end, pure=True)

    empty = ((b"a", None), (b"b", None))
    both = [change(b"1", 1, 8), change(b"2", 2, 7), seen(b"1", b"1", 3, 4), seen(b"2", b"2", 5, 6)]
    assert explain(both, empty, models.several_step) is not None
    half = [change(b"1", 1, 8), change(b"2", 2, 7), seen(b"1", b"2", 3, 4)]
    assert explain(half, empty, models.several_step) is None


def test_cells_overlap() -> None:
    history = [
        Interval(CellsCall("write", 0, b"aaaa", OK), 1, 2),
        Interval(CellsCall("write", 2, b"bb", OK), 3, 4),
        Interval(CellsCall("get", 1, b"", b"abb\0"), 5, 6, pure=True),
    ]
    assert explain(history, bytes(6), models.cells_step) is not None
    history[2] = Interval(CellsCall("get", 1, b"", b"aab\0"), 5, 6, pure=True)
    assert explain(history, bytes(6), models.cells_step) is None


def brute_force(history: list[Value]) -> bool:
    """Every order of every choice of the unknown calls, tried."""
    unknown = [each for each in history if each.unknown]
    known = [each for each in history if not each.unknown]
    for count in range(len(unknown) + 1):
        for some in itertools.combinations(unknown, count):
            for order in itertools.permutations([*known, *some]):
                if _fits(order):
                    return True
    return False


def _fits(order: tuple[Value, ...]) -> bool:
    for first, second in itertools.combinations(order, 2):
        if not second.unknown and second.end < first.begin:
            return False
    state: bytes | None = None
    for each in order:
        after = models.value_step(state, each.call)
        if after is None:
            return False
        (state,) = after
    return True


def test_it_agrees_with_trying_every_order() -> None:
    rng = random.Random(5)
    verdicts = []
    for _ in range(400):
        history = []
        for number in range(rng.randint(2, 5)):
            begin = rng.randrange(12)
            end = begin + rng.randint(1, 6)
            value = b"%d" % number
            kind = rng.choice(("put", "get", "get", "insert", "remove", "unknown"))
            if kind == "get":
                history.append(get(rng.choice((None, b"0", b"1", b"2")), begin, end))
            elif kind == "unknown":
                history.append(put(value, begin, end, answer=UNKNOWN))
            else:
                answer = rng.choice((OK, EXISTS)) if kind == "insert" else OK
                history.append(call(kind, value, answer, begin, end))
        verdict = explain(history, None, models.value_step) is not None
        assert verdict == brute_force(history), history
        verdicts.append(verdict)
    assert 50 < sum(verdicts) < 350


def test_too_much_at_once_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daos.testing.checkers.linear.STATES_MAX", 100)
    history = [put(b"%d" % number, 0, 99) for number in range(20)]
    history.append(get(b"no such value", 100, 101))
    with pytest.raises(UndecidedError):
        explain(history, None, models.value_step)

"""What a log means to an operation: every rule of the reference's vos_ilog.c, and an oracle."""

from __future__ import annotations

import random

import pytest

from daos.base.errors import (
    AccessError,
    DataLossError,
    ExistsError,
    InProgressError,
    NotFoundError,
    TxRestartError,
)
from daos.vos import ilog_view
from daos.vos.ilog import (
    CORRUPTED,
    EMPTY,
    MINOR_MAX,
    NO_PUNCH,
    Ilog,
    IlogEntry,
    Punch,
    Status,
    StatusOf,
)
from daos.vos.ilog_view import MINOR_REPLAY, ROOT, Condition, IlogView, epoch_lo, view

MINOR = 5


def written(words: str) -> Ilog:
    """`3C` a create at 3, `4P` a punch, `5B` a punch and then a create; `?` = undecided."""
    entries = []
    for word in words.split():
        tx = 1 if word.endswith("?") else 0
        word = word.rstrip("?")
        minors = {"C": (0, MINOR), "P": (MINOR, 0), "B": (MINOR - 2, MINOR)}[word[-1]]
        entries.append(IlogEntry(int(word[:-1]), tx, *minors))
    return Ilog(tuple(entries))


def status_is(status: Status) -> StatusOf:
    return lambda entry: status if entry.tx else Status.COMMITTED


class TestView:
    def test_nothing(self) -> None:
        assert view(EMPTY, 7) == IlogView(epoch=7, bound=7)
        assert not view(EMPTY, 7).exists
        assert not view(EMPTY, 7).visible

    @pytest.mark.parametrize(
        ("words", "epoch", "create", "punch", "next_punch"),
        [
            ("5C", 4, 0, 0, 0),
            ("5C", 5, 5, 0, 0),
            ("5C", 9, 5, 0, 0),
            ("5P", 9, 0, 5, 0),
            ("5C 7P", 6, 5, 0, 7),
            ("5C 7P", 7, 0, 7, 0),
            ("5C 7P 9C", 8, 0, 7, 0),
            ("5C 7P 9C", 9, 9, 7, 0),
            ("5C 7P 9C 11P 13P", 10, 9, 7, 11),
            ("5C 6C 7C", 9, 5, 0, 0),  # the earliest create of the incarnation
            ("5C 7B", 9, 7, 7, 0),
            ("5C 7B 8C", 9, 7, 7, 0),
            ("5C 7B", 6, 5, 0, 7),
        ],
    )
    def test_committed(
        self, words: str, epoch: int, create: int, punch: int, next_punch: int
    ) -> None:
        seen = view(written(words), epoch)
        assert (seen.create, seen.prior_punch.epoch, seen.next_punch) == (create, punch, next_punch)
        assert seen.prior_any_punch == seen.prior_punch
        assert seen.visible == seen.exists == (create > 0)
        assert seen.floor == seen.prior_punch
        assert not seen.empty
        assert not seen.uncommitted

    def test_uncertainty(self) -> None:
        with pytest.raises(TxRestartError):
            view(written("5C 9P"), 7, bound=9)
        with pytest.raises(TxRestartError):
            view(written("5C 9P?"), 7, bound=9)
        with pytest.raises(TxRestartError):
            view(written("5C 9B"), 7, bound=9)
        assert view(written("5C 9P"), 7, bound=8).next_punch == 9
        assert view(written("5C 9P?"), 7, bound=8).next_punch == 0
        assert view(written("9C"), 7, bound=9).uncertain_create == 9
        assert view(written("8C 9C"), 7, bound=9).uncertain_create == 8
        assert view(written("9C"), 7, bound=8).uncertain_create == 0
        assert view(written("9C"), 7).bound == 7

    def test_undecided(self) -> None:
        with pytest.raises(InProgressError):
            view(written("5C 7P?"), 9, status=status_is(Status.IN_PROGRESS))
        assert view(written("5C 9P?"), 7, status=status_is(Status.IN_PROGRESS)).create == 5
        seen = view(written("5C 7P?"), 9)
        assert (seen.create, seen.uncommitted) == (5, 7)
        assert seen.prior_punch == NO_PUNCH
        assert seen.prior_any_punch == (7, MINOR)
        assert seen.visible
        assert not seen.exists
        assert view(written("5C? 7C"), 9).uncommitted == 0
        assert view(written("5C? 7P"), 9).uncommitted == 0
        assert view(written("3P 5C? 7C?"), 9).uncommitted == 7
        assert view(written("5P? 7C"), 9).exists

    def test_aborted(self) -> None:
        seen = view(written("5C 7P?"), 9, status=status_is(Status.REMOVED))
        assert (seen.create, seen.prior_any_punch, seen.uncommitted) == (5, NO_PUNCH, 0)
        assert view(written("7P?"), 9, status=status_is(Status.REMOVED)).empty

    def test_parent(self) -> None:
        parent = view(written("2C 6P 8C"), 9)
        child = view(written("5C"), 9, parent=parent)
        assert not child.visible
        assert child.prior_punch == parent.prior_punch == Punch(6, MINOR)
        assert view(written("7C"), 9, parent=parent).create == 7
        assert view(written("5C 7P"), 9, parent=parent).prior_punch == Punch(7, MINOR)
        assert view(written("3C 5P"), 9, parent=parent).prior_punch == Punch(6, MINOR)
        # At the very epoch of the parent's punch, minors decide.
        assert not view(Ilog((IlogEntry(6, 0, 0, MINOR),)), 9, parent=parent).visible
        assert view(Ilog((IlogEntry(6, 0, 0, MINOR + 1),)), 9, parent=parent).visible

    def test_undecided_parent(self) -> None:
        parent = view(written("2C 6P?"), 9)
        child = view(written("5C"), 9, parent=parent)
        assert child.visible
        assert not child.exists
        assert child.prior_any_punch == Punch(6, MINOR)

    def test_damaged(self) -> None:
        log = written("5C")._replace(flags=CORRUPTED)
        with pytest.raises(DataLossError):
            view(log, 9)
        assert view(log, 9, damaged_ok=True).create == 5

    def test_full_scan(self) -> None:
        log = written("5C 7P")
        assert view(log, 9, lo=5).full_scan
        assert not view(log, 9, lo=6).full_scan
        assert not view(log, 6, lo=5).full_scan
        assert view(EMPTY, 9, lo=5).full_scan


class TestEpochLo:
    def test_visible(self) -> None:
        assert epoch_lo(view(written("5C"), 9)) == 5
        assert epoch_lo(view(written("5C"), 9), 7) == 7
        for words in ("", "5P", "9C"):
            with pytest.raises(NotFoundError):
                epoch_lo(view(written(words), 8))

    def test_punched(self) -> None:
        assert epoch_lo(view(written("5C"), 9), 7, punched=True) == 7
        assert epoch_lo(view(EMPTY, 9), 7, punched=True) == 7
        assert epoch_lo(view(written("5P"), 9), 5, punched=True) == 5
        with pytest.raises(NotFoundError):
            epoch_lo(view(written("5P"), 9), 6, punched=True)
        with pytest.raises(NotFoundError):
            epoch_lo(view(written("10C"), 9), punched=True)


def update(
    words: str, epoch: int, *, bound: int = 0, condition: Condition = Condition.NONE
) -> Ilog | None:
    """The log after an update, None if it is not to be stored."""
    log = written(words)
    after = ilog_view.update(log, view(log, epoch, bound=bound), condition=condition)
    return None if after is log else after


def punch(
    words: str, epoch: int, *, bound: int = 0, leaf: bool = True, conditional: bool = False
) -> Ilog | None:
    log = written(words)
    seen = view(log, epoch, bound=bound)
    after = ilog_view.punch(log, seen, leaf=leaf, conditional=conditional)
    return None if after is log else after


class TestUpdate:
    def test_unconditional(self) -> None:
        assert update("5C", 9) is None
        created = update("", 9)
        assert created is not None
        assert created.entries == (IlogEntry(9, 0, 0, MINOR_MAX),)
        again = update("5C 7P", 9)
        assert again is not None
        assert again.entries[-1] == IlogEntry(9, 0, 0, MINOR_MAX)
        earlier = update("5C", 3)
        assert earlier is not None
        assert [entry.epoch for entry in earlier.entries] == [3, 5]

    def test_unconditional_does_not_wait(self) -> None:
        logged = update("5C?", 9)
        assert logged is not None
        assert [entry.epoch for entry in logged.entries] == [5, 9]
        assert update("9C", 7, bound=9) is not None
        assert update("5C 7P?", 9) is not None

    @pytest.mark.parametrize(
        ("words", "bound", "condition", "error"),
        [
            ("5C", 0, Condition.INSERT, ExistsError),
            ("", 0, Condition.UPDATE, NotFoundError),
            ("5C 7P", 0, Condition.UPDATE, NotFoundError),
            ("5C?", 0, Condition.INSERT, InProgressError),
            ("5C?", 0, Condition.UPDATE, InProgressError),
            ("5C 7P?", 0, Condition.UPDATE, InProgressError),
            ("11C", 12, Condition.INSERT, TxRestartError),
            ("11C", 12, Condition.UPDATE, TxRestartError),
            ("11P", 12, Condition.NONE, TxRestartError),
        ],
    )
    def test_refused(
        self, words: str, bound: int, condition: Condition, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            update(words, 9, bound=bound, condition=condition)

    def test_conditions_met(self) -> None:
        assert update("5C", 9, condition=Condition.UPDATE) is None
        assert update("", 9, condition=Condition.INSERT) is not None
        assert update("5C 7P", 9, condition=Condition.INSERT) is not None
        assert update("5C 8C", 6, bound=9, condition=Condition.UPDATE) is None
        assert update("5C 7B", 9, condition=Condition.UPDATE) is None
        with pytest.raises(ExistsError):
            update("5C 7B", 9, condition=Condition.INSERT)

    def test_under_a_punched_parent(self) -> None:
        parent = view(written("2C 7P"), 9)
        # 7C is as old as the punch: an entry in range by its epoch, and yet hidden.
        for words in ("5C", "7C"):
            log = written(words)
            seen = view(log, 9, parent=parent)
            with pytest.raises(NotFoundError):
                ilog_view.update(log, seen, condition=Condition.UPDATE)
            after = ilog_view.update(log, seen)
            assert view(after, 9, parent=parent).create == 9
        undecided = view(written("2C 7P?"), 9)
        log = written("5C")
        after = ilog_view.update(log, view(log, 9, parent=undecided))
        assert [entry.epoch for entry in after.entries] == [5, 9]

    def test_same_epoch(self) -> None:
        log = EMPTY.update(9, MINOR_MAX, punch=True)
        with pytest.raises(AccessError):
            ilog_view.update(log, view(log, 9))

    def test_already_is_success(self) -> None:
        log = written("9P")
        assert ilog_view.punch(log, view(log, 9), leaf=True, tx=8) is log
        log = written("8C?")
        with pytest.raises(TxRestartError):
            ilog_view.update(log, view(log, 8), tx=8)


class TestPunch:
    def test_leaf(self) -> None:
        for words in ("", "5C", "5P", "5C?"):
            after = punch(words, 9)
            assert after is not None
            assert after.entries[-1] == IlogEntry(9, 0, MINOR_MAX, 0)

    def test_above_the_leaf_nothing_is_logged(self) -> None:
        assert punch("", 9, leaf=False) is None
        assert punch("5C", 9, leaf=False, conditional=True) is None

    def test_replay_leaves_updates_of_its_epoch(self) -> None:
        log = EMPTY.update(9, MINOR_MAX, punch=False)
        after = ilog_view.punch(log, view(log, 9), MINOR_REPLAY, leaf=True)
        assert view(after, 9).visible
        assert view(after, 9).floor == (9, MINOR_REPLAY)

    @pytest.mark.parametrize("leaf", [False, True])
    @pytest.mark.parametrize(
        ("words", "bound", "conditional", "error"),
        [
            ("", 0, True, NotFoundError),
            ("5C 7P", 0, True, NotFoundError),
            ("5C?", 0, True, InProgressError),
            ("11C", 11, True, TxRestartError),
            ("11C", 11, False, TxRestartError),
            ("11P", 11, False, TxRestartError),
        ],
    )
    def test_refused(
        self, words: str, bound: int, *, conditional: bool, error: type[Exception], leaf: bool
    ) -> None:
        with pytest.raises(error):
            punch(words, 9, bound=bound, conditional=conditional, leaf=leaf)

    def test_condition_met(self) -> None:
        assert punch("5C", 9, conditional=True) is not None
        assert punch("5C 7B", 9, conditional=True) is not None


def test_history_of_parent_and_child() -> None:
    """Any order of arrival: what is seen at an epoch is what a replay up to there gives.

    As the store does, a punch that arrives below a newer write of its subtree is left out.
    """
    rng = random.Random(15)
    for _ in range(1500):
        parent_log, child_log = EMPTY, EMPTY
        done: list[tuple[int, str]] = []
        epochs = rng.sample(range(1, 40), 12)
        if rng.random() < 0.5:
            epochs.sort()
        for epoch in epochs:
            op = rng.choice(("write", "write", "punch parent", "punch child"))
            if op != "write" and any(e > epoch and o == "write" for e, o in done):
                continue
            seen = view(parent_log, epoch)
            if op == "write":
                child_seen = view(child_log, epoch, parent=seen)
                parent_log = ilog_view.update(parent_log, seen)
                child_log = ilog_view.update(child_log, child_seen)
            elif op == "punch parent":
                parent_log = ilog_view.punch(parent_log, seen, leaf=True)
            else:
                parent_log = ilog_view.punch(parent_log, seen, leaf=False)
                child_seen = view(child_log, epoch, parent=seen)
                child_log = ilog_view.punch(child_log, child_seen, leaf=True)
            done.append((epoch, op))
        for epoch in range(1, 42):
            parent_lives, child_lives, floor = replay(done, epoch)
            seen = view(parent_log, epoch)
            child_seen = view(child_log, epoch, parent=seen)
            assert seen.visible == seen.exists == parent_lives, (done, epoch)
            assert child_seen.visible == child_seen.exists == child_lives, (done, epoch)
            if child_lives:
                assert child_seen.floor.epoch == floor, (done, epoch)
                assert epoch_lo(child_seen) > floor


def replay(done: list[tuple[int, str]], epoch: int) -> tuple[bool, bool, int]:
    """Whether parent and child exist at `epoch`, and where the child was punched last."""
    parent = child = False
    floor = 0
    for at, op in sorted(done):
        if at > epoch:
            break
        if op == "write":
            parent = child = True
            continue
        child = False
        floor = at
        if op == "punch parent":
            parent = False
    return parent, child, floor


def test_root_is_the_view_of_nothing() -> None:
    assert IlogView() == ROOT
    assert ROOT.floor == NO_PUNCH

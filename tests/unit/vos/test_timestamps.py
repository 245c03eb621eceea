"""The rules of timestamps, a table at a time; §9.10 of the reference's list for what is bounded."""

from __future__ import annotations

import random

import pytest

from daos.base.errors import TxRestartError
from daos.vos import timestamps
from daos.vos.timestamps import Path, Timestamps, TimestampStatistics

CONTAINER: Path = ()
OBJECT: Path = (1,)
DKEY: Path = (1, 2)
AKEY: Path = (1, 2, 3)
LEVELS = (CONTAINER, OBJECT, DKEY, AKEY)
WRITES = (OBJECT, DKEY, AKEY)
A, B = b"reader", b"other"


def refused(stamps: Timestamps, path: Path, epoch: int, who: bytes | None) -> bool:
    try:
        stamps.check(path, epoch, who)
    except TxRestartError:
        return True
    return False


@pytest.mark.parametrize("read", LEVELS)
@pytest.mark.parametrize("write", WRITES)
def test_what_was_read_stays(read: Path, write: Path) -> None:
    """Every level meets every level on one path; equal epochs only within one transaction."""
    stamps = Timestamps(0)
    stamps.read(read, 50, A)
    assert stamps.newest_read == 50
    assert [refused(stamps, write, epoch, B) for epoch in (49, 50, 51)] == [True, True, False]
    assert [refused(stamps, write, epoch, A) for epoch in (49, 50, 51)] == [True, False, False]
    assert refused(stamps, write, 50, None)


def test_neighbours_do_not_meet() -> None:
    """An entity read below does not stop writes beside it; one read as a whole does."""
    stamps = Timestamps(0)
    stamps.read(AKEY, 50, A)
    assert not refused(stamps, (1, 2, 4), 10, B)
    assert not refused(stamps, (1, 3), 10, B)
    assert not refused(stamps, (2,), 10, B)
    stamps.read(DKEY, 60, A)
    assert refused(stamps, (1, 2, 4), 10, B)
    assert not refused(stamps, (1, 3, 3), 10, B)
    stamps.read(CONTAINER, 70, A)
    assert refused(stamps, (9, 9, 9), 69, B)


def test_equal_names_on_two_levels_are_two_entities() -> None:
    stamps = Timestamps(0)
    stamps.read((1, 5, 6), 50, A)
    assert not refused(stamps, (1, 6, 5), 10, B)
    assert not refused(stamps, (1, 5, 5), 10, B)


def test_several_akeys_at_once() -> None:
    stamps = Timestamps(0)
    stamps.read((1, 2, 3, 4), 50, A)
    assert refused(stamps, (1, 2, 9, 4), 50, B)
    assert not refused(stamps, (1, 2, 9), 50, B)


def test_two_readers_of_one_epoch_stop_both_from_writing_there() -> None:
    """The reference remembers the last one, and lets it write over what the first one read."""
    stamps = Timestamps(0)
    stamps.read(AKEY, 50, A)
    stamps.read(AKEY, 50, B)
    assert refused(stamps, AKEY, 50, A)
    assert refused(stamps, AKEY, 50, B)
    stamps.read(AKEY, 51, B)
    assert not refused(stamps, AKEY, 51, B)


def test_an_earlier_read_changes_nothing() -> None:
    stamps = Timestamps(0)
    stamps.read(AKEY, 50, A)
    stamps.read(AKEY, 40, B)
    assert stamps.newest_read == 50
    assert not refused(stamps, AKEY, 50, A)


def test_later_writes_within_a_bound() -> None:
    """E and B around writes at 20, 30 and 40: only the newest two are remembered."""
    stamps = Timestamps(5)
    for epoch in (30, 20, 40, 40, 30):
        stamps.wrote((epoch, *AKEY))
    assert stamps.newest_write == 40
    for path in LEVELS:
        for epoch, bound, expected in (
            (40, 90, False),  # nothing is newer
            (39, 39, False),  # no doubt
            (30, 39, False),  # 40 is behind the bound
            (30, 40, True),
            (35, 41, True),
            (29, 39, True),  # 30 is in it
            (10, 15, True),  # 20 is forgotten: who knows what else
        ):
            assert stamps.later_write(path, epoch, bound) is expected, (path, epoch, bound)
    assert not stamps.later_write((1, 2, 4), 10, 90)
    assert not stamps.later_write((1, 3), 10, 90)
    assert not stamps.later_write((2,), 10)
    stamps.wrote((50, *OBJECT))
    assert stamps.later_write(OBJECT, 45, 50)
    assert stamps.later_write(CONTAINER, 45, 50)
    assert not stamps.later_write(DKEY, 45, 50)


def test_before_the_start_everything_counts_as_written() -> None:
    stamps = Timestamps(100)
    assert stamps.later_write(AKEY, 99, 200)
    stamps.wrote((150, 7))
    assert stamps.later_write(AKEY, 99, 200)
    assert not stamps.later_write(AKEY, 100, 200)


def test_writes_nobody_asked_for_count_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timestamps, "_RECENT_MAX", 8)
    stamps = Timestamps(0)
    for epoch in range(10, 18):
        stamps.wrote((epoch, epoch, epoch))
    # The older half of them fell out.
    assert stamps.later_write((99,), 12)
    assert not stamps.later_write((99,), 13)
    assert stamps.later_write((17,), 13)


def test_memory_is_bounded_and_errs_on_the_safe_side() -> None:
    """VOS600: the last ones keep their own entries; what falls out is merged, never forgotten."""
    stamps = Timestamps(0, (8, 8, 8))
    rng = random.Random(600)
    read: dict[Path, int] = {}
    wrote: dict[Path, int] = {}
    for epoch in range(1, 3000):
        path = tuple(rng.randrange(1 << 40) for _ in range(rng.randint(1, 3)))
        if rng.random() < 0.3 and read:
            path = rng.choice(list(read))
        if rng.random() < 0.5:
            stamps.read(path, epoch, A)
            read[path] = epoch
        else:
            stamps.wrote((epoch, *path))
            wrote[path] = epoch
        assert max(stamps.statistics()) <= 8
    assert all(refused(stamps, path, epoch, B) for path, epoch in read.items())
    assert all(stamps.later_write(path, epoch - 1) for path, epoch in wrote.items())
    assert stamps.statistics() == TimestampStatistics(8, 8, 8)


def test_the_entries_used_last_are_kept() -> None:
    """A look at an entity makes it the youngest; who is merged shares with its slot only."""
    stamps = Timestamps(0, (4, 4, 4))
    stamps.read((1,), 100, A)
    for key in range(2, 50):
        stamps.read((key,), 100 + key, A)
        stamps.read((1,), 1, A)  # used all the time
    assert not refused(stamps, (1,), 100, A)  # still its own reader
    assert refused(stamps, (2,), 102, B)  # merged
    slot = 2 + (1 << 12)
    assert refused(stamps, (slot,), 101, B)  # shares the slot, and only that
    assert not refused(stamps, (1000,), 101, B)
    stamps.read((slot,), 101, B)  # a new entry begins with what the slot holds
    assert refused(stamps, (slot,), 102, B)
    stamps.read((slot + (1 << 12),), 300, B)
    for key in range(60, 80):
        stamps.read((key,), 100, A)
    assert refused(stamps, (2,), 299, A)


def test_stress() -> None:
    stamps = Timestamps(0, (64, 64, 64))
    for epoch in range(1, 50_001):
        stamps.read((epoch, epoch % 7), epoch, A)
    assert stamps.statistics() == TimestampStatistics(64, 64, 0)
    assert all(refused(stamps, (epoch, epoch % 7), epoch, B) for epoch in range(1, 50_001, 499))

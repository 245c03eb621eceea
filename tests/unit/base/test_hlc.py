"""The hybrid logical clock: H1 to H4 of its module, under clocks of every kind."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daos.base.errors import HlcSyncError, InvalidError
from daos.base.hlc import (
    LOGICAL_MASK,
    START_UNIX_NS,
    UNITS_PER_NS,
    Hlc,
    epoch_from_unix_ns,
    unix_ns_from_epoch,
)
from daos.base.ids import EPOCH_MAX, Epoch

STEP_NS = 16_384
SECOND_NS = 10**9
NOON_NS = START_UNIX_NS + 10**10 * STEP_NS


@dataclass
class FakeClock:
    ns: int = NOON_NS

    def now_ns(self) -> int:
        return self.ns

    def monotonic_ns(self) -> int:
        raise AssertionError("epochs are made of real time")


def test_physical_part_is_the_clock() -> None:
    clock = FakeClock(NOON_NS + 5)
    assert Hlc(clock).now() == 10**10 << 18


def test_counts_while_the_clock_stands() -> None:
    clock = FakeClock()
    hlc = Hlc(clock)
    first = hlc.now()
    assert [hlc.now() - first for _ in range(3)] == [1, 2, 3]
    clock.ns += STEP_NS - 1  # not yet the next step
    assert hlc.now() == first + 4
    clock.ns += 1
    assert hlc.now() == first + (1 << 18)


def test_counter_carries_into_the_physical_part() -> None:
    hlc = Hlc(FakeClock())
    first = hlc.now()
    hlc.raise_to(Epoch(first | LOGICAL_MASK))
    assert hlc.now() == first + (1 << 18)


# What the world does to a clock: (what, by how many ns).
events = st.lists(
    st.tuples(
        st.sampled_from(["now", "step", "observe", "raise"]),
        st.integers(-3 * SECOND_NS, 3 * SECOND_NS) | st.integers(-40_000, 40_000),
    ),
    max_size=60,
)


@given(events, st.sampled_from([0, 1, STEP_NS, SECOND_NS]))
@example([("step", -(10**9)), ("now", 0), ("observe", 900_000_000), ("now", 0)], SECOND_NS)
def test_never_back_and_above_all_seen(history: list[tuple[str, int]], epsilon_ns: int) -> None:
    clock = FakeClock()
    hlc = Hlc(clock, epsilon_ns=epsilon_ns)
    highest = 0  # of everything returned, accepted or raised to
    for what, delta in history:
        remote = epoch_from_unix_ns(clock.ns + delta)
        if what == "step":
            clock.ns += delta
            continue
        if what == "raise":
            hlc.raise_to(remote)
            highest = max(highest, remote)
            continue
        if what == "now":
            got = hlc.now()
        else:
            # Whole physical steps decide: an error below one step is no skew.
            ahead_steps = (remote >> 18) - (epoch_from_unix_ns(clock.ns) >> 18)
            tolerated_steps = -(-epsilon_ns // STEP_NS)
            if ahead_steps > tolerated_steps and remote > highest:
                with pytest.raises(HlcSyncError):
                    hlc.observe(remote)
                continue
            got = hlc.observe(remote)
            assert got > remote
        assert got > highest
        # Not further ahead of the clock than what was seen explains.
        assert (
            got
            <= max(highest, remote if what == "observe" else 0, epoch_from_unix_ns(clock.ns)) + 1
        )
        highest = got


def test_skew_is_refused_and_changes_nothing() -> None:
    clock = FakeClock()
    hlc = Hlc(clock)
    first = hlc.now()
    edge = first + hlc.epsilon  # physical part exactly epsilon ahead
    with pytest.raises(HlcSyncError, match="ahead of this host"):
        hlc.observe(Epoch(edge + (1 << 18)))
    with pytest.raises(HlcSyncError):
        hlc.observe(EPOCH_MAX)
    assert hlc.now() == first + 1
    assert hlc.observe(Epoch(edge | LOGICAL_MASK)) == (edge | LOGICAL_MASK) + 1


@pytest.mark.parametrize(
    ("epsilon_ns", "steps"), [(0, 0), (1, 1), (STEP_NS, 1), (STEP_NS + 1, 2), (SECOND_NS, 61_036)]
)
def test_epsilon_is_rounded_up_to_steps(epsilon_ns: int, steps: int) -> None:
    assert Hlc(FakeClock(), epsilon_ns=epsilon_ns).epsilon == steps << 18


def test_bound() -> None:
    hlc = Hlc(FakeClock(), epsilon_ns=STEP_NS)
    assert hlc.bound(Epoch(5)) == (1 << 18) | LOGICAL_MASK
    assert hlc.bound(EPOCH_MAX) == EPOCH_MAX


@given(st.integers(0, SECOND_NS), st.integers(-SECOND_NS, SECOND_NS), st.integers(0, 1000))
def test_what_happened_before_is_within_the_bound(elapsed: int, skew: int, burst: int) -> None:
    # One host's event comes first, then one on a host whose clock differs by up to epsilon.
    here, there = FakeClock(NOON_NS), FakeClock(NOON_NS + skew)
    ours, theirs = Hlc(here), Hlc(there)
    for _ in range(burst):
        theirs.now()
    earlier = theirs.now()
    here.ns += elapsed
    assert earlier <= ours.bound(ours.now())


def test_raise_to_keeps_what_is_higher() -> None:
    hlc = Hlc(FakeClock())
    high = Epoch(epoch_from_unix_ns(NOON_NS) + (1 << 40))
    hlc.raise_to(high)
    hlc.raise_to(Epoch(1))
    assert hlc.now() == high + 1


def test_bad_arguments() -> None:
    with pytest.raises(InvalidError, match="epsilon"):
        Hlc(FakeClock(), epsilon_ns=-1)
    for epoch in (-1, EPOCH_MAX, 2**64):
        with pytest.raises(InvalidError, match="raise"):
            Hlc(FakeClock()).raise_to(Epoch(epoch))


def test_a_clock_before_the_start_stands_still() -> None:
    hlc = Hlc(FakeClock(0))
    assert [hlc.now(), hlc.now()] == [1, 2]


def test_the_range_ends() -> None:
    hlc = Hlc(FakeClock())
    hlc.raise_to(Epoch(EPOCH_MAX - 2))
    assert hlc.now() == EPOCH_MAX - 1
    with pytest.raises(HlcSyncError, match="2057"):
        hlc.now()


@given(st.integers(START_UNIX_NS, START_UNIX_NS + EPOCH_MAX // UNITS_PER_NS))
def test_time_round_trip(unix_ns: int) -> None:
    assert unix_ns_from_epoch(epoch_from_unix_ns(unix_ns)) == unix_ns


@pytest.mark.parametrize("unix_ns", [START_UNIX_NS - 1, START_UNIX_NS + (1 << 60)])
def test_time_outside_the_range(unix_ns: int) -> None:
    with pytest.raises(InvalidError, match="2021 to 2057"):
        epoch_from_unix_ns(unix_ns)


def test_a_clock_set_back_keeps_talking_to_itself() -> None:
    """After recovery the clock may stand above the host's: what it gave out comes back to it."""

    class Host:
        def now_ns(self) -> int:
            return 1_700_000_000_000_000_000

        def monotonic_ns(self) -> int:
            return 0

    hlc = Hlc(Host())
    hour_ahead = Epoch(hlc.now() + 3600 * 10**9 * 16)
    with pytest.raises(HlcSyncError):
        hlc.observe(hour_ahead)
    hlc.raise_to(hour_ahead)
    ours = hlc.now()
    assert hlc.observe(ours) > ours
    with pytest.raises(HlcSyncError):
        hlc.observe(Epoch(hour_ahead + 10**9 * 16))

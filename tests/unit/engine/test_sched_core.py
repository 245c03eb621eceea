"""What runs next. Numbers are typed from the reference, §2.6."""

from __future__ import annotations

import random
from collections import Counter
from heapq import heappop, heappush
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import InvalidError
from daos.engine.sched_core import (
    PRESSURES,
    WEIGHTS,
    RequestType,
    SchedConfig,
    SchedCore,
    pressure_of,
)

MS, S = 1_000_000, 1_000_000_000
POOL = "tank"
UPDATE, FETCH, GC = RequestType.UPDATE, RequestType.FETCH, RequestType.GC
# What the reference has: 100 MiB of 16 KiB each a cycle, and its costs.
REFERENCE = SchedConfig(
    kick_max=6400, costs_us=(10, 5, 20, 15, 10), step_count=1, queue_max=1 << 20
)


def test_numbers_of_the_reference() -> None:
    names = ("UPDATE", "FETCH", "GC", "SCRUB", "MIGRATE", "ANONYM")
    assert [RequestType[name] for name in names] == [0, 1, 2, 3, 4, 5]
    assert [WEIGHTS[kind] for kind in RequestType] == [2, 1, 4, 3, 2, 0]
    assert REFERENCE.cycle_ms_max == 128


@pytest.mark.parametrize(
    ("free", "level", "percent", "delay_s"),
    [
        (100, 0, 10, 0),
        (41, 0, 10, 0),
        (40, 1, 30, 4),
        (31, 1, 30, 4),
        (30, 2, 45, 6),
        (21, 2, 45, 6),
        (20, 3, 60, 8),
        (11, 3, 60, 8),
        (10, 4, 75, 10),
        (6, 4, 75, 10),
        (5, 5, 90, 12),
        (0, 5, 90, 12),
    ],
)
def test_space_pressure(free: int, level: int, percent: int, delay_s: int) -> None:
    found = pressure_of(free, 100)
    assert (found.level, found.gc_percent, found.delay_ms) == (level, percent, delay_s * 1000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kick_max": 0},
        {"step_count": 0},
        {"queue_max": 0},
        {"turn_ms_max": 0},
        {"costs_us": (1, 1, 1)},
        {"costs_us": (1, 1, 1, 1, 0)},
    ],
)
def test_config_checks_itself(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match=r"at least 1|positive"):
        SchedConfig(**wrong)


def add(
    core: SchedCore,
    request: object,
    kind: RequestType = UPDATE,
    *,
    enqueue_id: int = 0,
    deadline_ns: int = 60 * S,
) -> None:
    core.add(POOL, kind, request, enqueue_id=enqueue_id, deadline_ns=deadline_ns)


def due(core: SchedCore, now_ns: int = 0) -> list[Any]:
    core.next_cycle()
    return list(core.due(now_ns))


# Overload


def test_the_estimate_of_the_reference() -> None:
    """Σ queued × 10 µs, as ms × 1.5, + 128 ms + 100 ms against what is left of the timeout."""
    core = SchedCore(REFERENCE)
    assert not core.refuse(0, 1 * MS, 0), "nothing waits"
    for number in range(100_000):  # 1000 ms, 1500 with the margin
        add(core, number)
    assert not core.refuse(0, (1500 + 128 + 100) * MS, 0)
    assert core.refuse(0, (1500 + 128 + 100) * MS - 1, 0) == (1500, 100_001)
    for number in range(100_000):  # fetches cost half
        add(core, number, FETCH)
    assert core.refuse(0, 0, 0) == (2250, 200_002)
    assert core.refuse(0, 0, 100_001) == (1125, 100_001)


def test_no_more_wait_than_the_queue_takes() -> None:
    core = SchedCore(SchedConfig(queue_max=10))
    for number in range(10):
        assert not core.refuse(0, 3600 * S, 0)
        add(core, number)
    assert core.refuse(0, 3600 * S, 0) == (1, 11)
    for _ in range(10):
        assert not core.refuse(0, 3600 * S, 11), "it has a place"
        add(core, number, enqueue_id=11)
    assert core.refuse(0, 3600 * S, 11) == (1, 11)


# Order


def test_who_came_first_is_first_and_who_was_refused_has_its_place() -> None:
    core = SchedCore(SchedConfig())
    add(core, "first")
    place = core.place(0)  # refused
    add(core, "second", FETCH)
    add(core, "third")
    add(core, "refused before", enqueue_id=place)
    add(core, "of another life", enqueue_id=1000)
    assert due(core) == ["first", "refused before", "second", "third", "of another life"]
    assert not core.waiting
    assert not core.refuse(0, 0, 0), "nothing is counted any more"


def test_a_cycle_begins_so_many() -> None:
    core = SchedCore(SchedConfig(kick_max=3))
    for number in range(7):
        add(core, number)
    assert [due(core), due(core), due(core)] == [[0, 1, 2], [3, 4, 5], [6]]
    core.next_cycle()
    runs = [core.may_run(POOL, UPDATE, 0) for _ in range(4)]
    assert runs == [True, True, True, False]
    assert core.may_run(POOL, RequestType.ANONYM, 0)
    assert core.may_run(POOL, UPDATE, 0, no_delay=True)


def test_who_comes_while_others_wait_does_not_pass_them() -> None:
    core = SchedCore(SchedConfig())
    add(core, "waits")
    core.next_cycle()
    assert not core.may_run(POOL, FETCH, 0)


def test_a_request_runs_before_its_deadline_whatever_else_there_is() -> None:
    core = SchedCore(SchedConfig(kick_max=1, costs_us=(1000,) * 5))  # a cycle: 1 ms
    for number in range(5):
        add(core, number, deadline_ns=10 * MS)
    assert due(core, 8 * MS) == [0]
    assert due(core, 9 * MS) == [1, 2, 3, 4]


def test_who_has_little_time_does_not_wait_behind_who_has_much() -> None:
    """Updates are slowed, and the first one may wait for an hour: the second one may not."""
    core = SchedCore(SchedConfig())
    share = core.pool(POOL)
    share.awake = 1
    share.press(PRESSURES[-1], 0)
    share.window.did(UPDATE, 5000)
    for name, deadline_ns in (("patient", 3600 * S), ("hasty", 5 * S), ("other", 7 * S)):
        core.add(POOL, UPDATE, name, deadline_ns=deadline_ns)
    ran: dict[str, int] = {}
    for second in range(9):
        core.next_cycle()
        ran.update(dict.fromkeys(core.due(second * S), second))
        assert core.waiting == 3 - len(ran)
    assert ran == {"hasty": 5, "other": 7}
    assert core.forget(POOL) == ["patient"]
    assert core.waiting == 0


def test_who_has_to_run_is_not_lost_where_a_round_breaks_off() -> None:
    core = SchedCore(SchedConfig())
    core.fill()
    for number in range(3):
        core.add(POOL, UPDATE, number, deadline_ns=S)
    core.add("other", UPDATE, 3, deadline_ns=S)
    assert next(core.due(2 * S)) == 0
    assert core.waiting == 3
    assert core.forget("other") == [3]
    assert list(core.due(2 * S)) == [1, 2]
    assert core.waiting == 0


def test_a_target_that_stops_keeps_nothing() -> None:
    core = SchedCore(SchedConfig(kick_max=1))
    for number in range(5):
        add(core, number)
    core.drain()
    assert due(core) == [0, 1, 2, 3, 4]
    assert core.may_run(POOL, UPDATE, 0)


def test_what_waits_for_a_pool_that_goes_is_told() -> None:
    core = SchedCore(SchedConfig())
    add(core, "one")
    core.add("other", UPDATE, "two", deadline_ns=S)
    add(core, "three", FETCH)
    assert core.forget(POOL) == ["one", "three"]
    assert core.forget(POOL) == []
    assert core.waiting == 1
    assert due(core) == ["two"]


# Background work


def test_background_work_has_no_limit_without_io() -> None:
    core = SchedCore(SchedConfig())
    for _ in range(1000):
        core.next_cycle()
        assert core.may_step(POOL, GC)


def share_of_gc(core: SchedCore, cycles: int, io: int) -> float:
    """The weight of what gives space back in all that was done."""
    gc = done = 0
    for _ in range(cycles):
        core.next_cycle()
        for _ in range(io):
            done += 2 * core.may_run(POOL, UPDATE, 0)
        if core.may_step(POOL, GC):
            gc += 4
    return gc / (gc + done)


def test_io_first_background_keeps_its_percentage() -> None:
    core = SchedCore(REFERENCE)
    assert 0.09 < share_of_gc(core, 12_000, 10) <= 0.11


def test_data_on_the_move_gets_thirty_percent() -> None:
    core = SchedCore(REFERENCE)
    moved = done = 0
    for _ in range(12_000):
        core.next_cycle()
        for _ in range(2):
            done += 2 * core.may_run(POOL, UPDATE, 0)
        moved += 2 * core.may_step(POOL, RequestType.MIGRATE)
    assert 0.28 < moved / (moved + done) <= 0.31


@pytest.mark.parametrize(("free", "percent"), [(35, 30), (25, 45), (15, 60), (8, 75), (2, 90)])
def test_short_of_space_updates_are_slowed(free: int, percent: int) -> None:
    core = SchedCore(REFERENCE)
    share = core.pool(POOL)
    share.press(pressure_of(free, 100), 0)
    share.awake = 1
    assert percent - 2 <= 100 * share_of_gc(core, 5_000, 6) <= percent + 2
    core.next_cycle()
    while core.may_run(POOL, UPDATE, 0):
        pass
    assert core.may_run(POOL, FETCH, 0), "only changes are"
    share.awake = 0
    assert core.may_run(POOL, UPDATE, 0), "nothing would be won"
    assert core.may_run("another", UPDATE, 0)


def test_at_last_the_pool_may_become_full() -> None:
    core = SchedCore(REFERENCE)
    share = core.pool(POOL)
    share.press(PRESSURES[4], 0)
    share.press(PRESSURES[5], 5 * S)
    share.press(PRESSURES[5], 9 * S)
    share.awake = 1
    while core.may_run(POOL, UPDATE, 17 * S):
        pass
    core.next_cycle()
    assert not core.may_run(POOL, UPDATE, 17 * S)
    assert core.may_run(POOL, UPDATE, 17 * S + 1)
    core.next_cycle()
    assert core.may_run(POOL, UPDATE, -3600 * S), "nor does it wait for a clock that was set back"


def test_scrubbing_has_its_turn_every_256_cycles() -> None:
    core = SchedCore(REFERENCE)
    turns = []
    for cycle in range(1, 2000):
        core.next_cycle()
        for _ in range(30):
            core.may_run(POOL, UPDATE, 0)
        core.may_step(POOL, GC)
        if core.order()[0] is RequestType.SCRUB and core.may_step(POOL, RequestType.SCRUB):
            turns.append(cycle)
    assert turns == [256, 512, 768, 1024, 1280, 1536, 1792]


def test_migration_and_collection_take_turns() -> None:
    core = SchedCore(REFERENCE)
    firsts = []
    for _ in range(4):
        core.next_cycle()
        firsts.append(core.order()[0].name)
    assert firsts == ["GC", "MIGRATE", "GC", "MIGRATE"]


# Whatever comes


@given(
    rounds=st.lists(
        st.tuples(
            st.integers(0, 12),  # updates that come
            st.integers(0, 12),  # fetches
            st.integers(0, 100),  # free space
            st.booleans(),  # what gives space back can run
        ),
        max_size=60,
    ),
    kick_max=st.integers(1, 5),
)
def test_nobody_starves_and_nothing_is_lost(
    rounds: list[tuple[int, int, int, bool]], kick_max: int
) -> None:
    """A cycle is a second here: each request has left the queue before its deadline."""
    config = SchedConfig(kick_max=kick_max, costs_us=(1000,) * 5)
    core = SchedCore(config)
    came = 0
    left: list[int] = []
    deadlines: dict[int, int] = {}
    for now_s, (updates, fetches, free, awake) in enumerate(rounds):
        now_ns = now_s * S
        share = core.pool(POOL)
        share.press(pressure_of(free, 100), now_ns)
        share.awake = awake
        for request in due(core, now_ns):
            assert now_ns <= deadlines[request]
            left.append(request)
        core.may_step(POOL, GC)
        for kind in [UPDATE] * updates + [FETCH] * fetches:
            deadlines[came] = now_ns + 10 * S + kick_max * MS
            if core.may_run(POOL, kind, now_ns):
                left.append(came)
            else:
                add(core, came, kind, deadline_ns=deadlines[came])
            came += 1
        assert core.waiting == came - len(left)
        assert len({*left}) == len(left)
    assert sorted(left + due(core, 3600 * S)) == list(range(came))


def test_ten_times_the_load_keeps_memory_bounded_and_nobody_waits_for_ever() -> None:
    """Clients that come again as they are told, in virtual time; a cycle takes what it runs."""
    config = SchedConfig(kick_max=100, queue_max=500)
    core = SchedCore(config)
    rng = random.Random(3)
    burst, calm_after_ns = config.kick_max * 10, 20 * 5 * MS
    now_ns = came = peak = 0
    coming: list[tuple[int, int, int]] = []  # when, number, place in the queue
    began: dict[int, int] = {}
    took: dict[int, int] = {}
    refusals: Counter[int] = Counter()
    while came < burst * 20 or coming or core.waiting:
        core.next_cycle()
        served = len(took)
        for number in core.due(now_ns):
            took[number] = now_ns - began[number]
        if now_ns < calm_after_ns and came < burst * 20:
            for _ in range(burst):
                began[came] = now_ns
                heappush(coming, (now_ns, came, 0))
                came += 1
        while coming and coming[0][0] <= now_ns:
            _, number, place = heappop(coming)
            refused = core.refuse(now_ns, began[number] + 60 * S, place)
            if refused is not None:
                refusals[number] += 1
                pause_ns = int(refused.retry_ms * MS * (1 + rng.random() / 2))
                heappush(coming, (now_ns + pause_ns, number, refused.enqueue_id))
            elif core.may_run(POOL, UPDATE, now_ns):
                took[number] = 0
            else:
                add(core, number, enqueue_id=place, deadline_ns=began[number] + 60 * S)
        peak = max(peak, core.waiting)
        now_ns += max(1, len(took) - served) * 50_000
    assert 500 <= peak <= 1000
    assert len(took) == came == 20_000
    # All the work there is takes 1 s; nobody is served long behind that.
    assert max(took.values()) < 2 * S
    # Who was refused comes back when it is its turn, and finds it.
    assert len(refusals) > 15_000
    assert sum(refusals.values()) < 1.2 * len(refusals)
    first = [took[number] for number in range(burst)]
    assert max(first) < 0.2 * S, "few passed them"

"""What a target does next when not everything can be done at once; pure.

    request comes ──> refused (overload) | waits | runs
    cycle           I/O that waits, by enqueue id; then background work, as far as it may

A *cycle* is one round of the scheduler. Work has a type, and a type a weight; a window remembers
what the last 10,000 cycles did.

    no I/O in this cycle       background work has no limit
    enough space               background work has at most its percentage of the window's weight
    space is short             changes have at most the rest, so that what gives space back gets its
                               percentage; not where none of that can run now, nor once the highest
                               level has lasted its delay: then the pool may become full

Invariants:
    Q1  of a pool and a type, who came first is served first, but for Q2; a request that was refused
        and comes again has the place it had
    Q2  a request is never kept longer than until a cycle before its deadline, whoever is before it
    Q3  waiting requests are at most 2 × `queue_max`; who would wait too long is refused at once
    Q4  while there is I/O and enough space, background work has no more than its percentage, and is
        not starved of it

Source: DAOS src/engine/sched.c; reference §2.6. Ours: costs as measured here, one order for
updates and fetches of all pools.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import Any, Final, NamedTuple

from daos.base.errors import InvalidError
from daos.base.ids import U64_MAX


class RequestType(IntEnum):
    """What a request, or a step of work, is. Source: DAOS daos_engine.h SCHED_REQ_*"""

    UPDATE = 0
    FETCH = 1
    GC = 2
    SCRUB = 3
    MIGRATE = 4
    ANONYM = 5  # is never kept waiting


# Of the types, in their order. Source: DAOS src/engine/sched.c req_throttle
WEIGHTS: Final = (2, 1, 4, 3, 2, 0)
BACKGROUND: Final = (RequestType.GC, RequestType.MIGRATE, RequestType.SCRUB)
# Background work together has this part of the window, in percent, while data is being migrated.
MIGRATING_PERCENT: Final = 30
# Scrubbing has its turn at least so often, in cycles.
SCRUB_CYCLES: Final = 256
WINDOW_CYCLES: Final = 10_000
WINDOW_WEIGHT_MIN: Final = 2500
ROUND_TRIP_MS: Final = 100
# How often the space of a pool is looked at.
SPACE_NS: Final = 2_000_000_000

_MS: Final = 1_000_000


class Pressure(NamedTuple):
    """How short space is."""

    level: int
    free_percent: int  # more than this is free; -1: any
    gc_percent: int  # of what is done, that which gives space back
    delay_ms: int


# Source: DAOS src/engine/sched.c pressure_gauge
PRESSURES: Final = (
    Pressure(0, 40, 10, 0),
    Pressure(1, 30, 30, 4_000),
    Pressure(2, 20, 45, 6_000),
    Pressure(3, 10, 60, 8_000),
    Pressure(4, 5, 75, 10_000),
    Pressure(5, -1, 90, 12_000),
)


def pressure_of(free: int, total: int) -> Pressure:
    """The level for so much free space of a whole, in any unit."""
    for pressure in PRESSURES[:-1]:
        if free * 100 > total * pressure.free_percent:
            return pressure
    return PRESSURES[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedConfig:
    """How a target schedules. Immutable; built by the composition root."""

    # Requests a cycle: 20 ms of updates. The reference starts 6400, 128 ms at most; the fewer, the
    # smaller the groups of the log.
    kick_max: int = 400
    # Processor time of one, in µs, five times the reference's: UPDATE, FETCH, GC, SCRUB, MIGRATE.
    costs_us: tuple[int, ...] = (50, 25, 100, 75, 50)
    # A step of background work stands for so many: it looks at 96 records, in 1 ms.
    step_count: int = 8
    # Requests that wait, about 1 KiB each. The reference keeps 2^20.
    queue_max: int = 1 << 14
    # False: everything runs as it comes (DAOS_SCHED_PRIO_DISABLED).
    prioritised: bool = True
    # What runs longer without a pause is told in the log (DAOS_SCHED_UNIT_RUNTIME_MAX).
    turn_ms_max: int = 32

    def __post_init__(self) -> None:
        if min(self.kick_max, self.step_count, self.queue_max, self.turn_ms_max) < 1:
            raise InvalidError(
                "scheduler: kick_max, step_count, queue_max, turn_ms_max are at least 1"
            )
        if len(self.costs_us) != len(RequestType) - 1 or min(self.costs_us) < 1:
            raise InvalidError("scheduler: costs_us has a positive number for each type but ANONYM")

    @property
    def cycle_ms_max(self) -> int:
        """What a cycle may take."""
        return self.kick_max * max(self.costs_us) // 1000


class Refusal(NamedTuple):
    """When to come again, and with which id: then those before it have been served."""

    retry_ms: int
    enqueue_id: int


# A request in the queue: its id; a number that no other has, as two copies may have one id; when it
# runs whatever else there is; what whoever put it here calls it.
Waiting = tuple[int, int, int, Any]


class Window:
    """What was done lately, in weight: this half of the window and the one before."""

    __slots__ = ("_cycles", "_half", "before", "now")

    def __init__(self, cycles: int = WINDOW_CYCLES) -> None:
        self._half = cycles // 2
        self._cycles = 0
        self.now = [0] * len(RequestType)
        self.before = [0] * len(RequestType)

    def did(self, kind: RequestType, count: int) -> None:
        """So many of a type."""
        self.now[kind] += WEIGHTS[kind] * count

    def next_cycle(self) -> None:
        self._cycles += 1
        if self._cycles >= self._half:
            self._cycles = 0
            self.before, self.now = self.now, [0] * len(RequestType)

    def weight(self, *kinds: RequestType) -> int:
        """Of these types; of all, without."""
        return sum([self.now[kind] + self.before[kind] for kind in kinds or RequestType])

    def has_room(self, more: int, percent: int, *kinds: RequestType) -> bool:
        """Whether these types may have so much more, and are within a percentage of all."""
        total = max(self.weight() + more, WINDOW_WEIGHT_MIN)
        return (self.weight(*kinds) + more) * 100 <= total * percent


class Queue:
    """Requests of one type and pool, by their places."""

    __slots__ = ("force_ns", "heap")

    def __init__(self) -> None:
        self.heap: list[Waiting] = []
        self.force_ns = U64_MAX  # nothing has to run before that

    def add(self, waiting: Waiting) -> None:
        """One more."""
        heappush(self.heap, waiting)
        self.force_ns = min(self.force_ns, waiting[2])

    def take_forced(self, now_ns: int) -> list[Waiting]:
        """What has to run now: it leaves.

        Cost:       none before its time, then O(all that wait here)
        """
        if now_ns < self.force_ns:
            return []
        forced = [each for each in self.heap if each[2] <= now_ns]
        if forced:
            self.heap = [each for each in self.heap if each[2] > now_ns]
            heapify(self.heap)
        self.force_ns = min([each[2] for each in self.heap], default=U64_MAX)
        return forced


@dataclass(slots=True, eq=False)
class PoolShare:
    """What one pool of a target has done, and has waiting."""

    window: Window = field(default_factory=Window)
    pressure: Pressure = PRESSURES[0]
    pressed_ns: int = 0  # since when the level is what it is
    awake: int = 0  # of what gives space back: how many can run now
    queues: dict[RequestType, Queue] = field(default_factory=dict)

    def press(self, pressure: Pressure, now_ns: int) -> None:
        """So short is its space."""
        if pressure is not self.pressure:
            self.pressure, self.pressed_ns = pressure, now_ns

    def may_change(self, kind: RequestType, now_ns: int) -> bool:
        """Whether an update may run, or what gives space back comes first."""
        if not self.awake:
            return True
        level, _, gc_percent, delay_ms = self.pressure
        if not level:
            return True
        # Also where the clock has been set back: who waits for it to catch up waits too long.
        if level == PRESSURES[-1].level and abs(now_ns - self.pressed_ns) > delay_ms * _MS:
            return True
        changes = (RequestType.UPDATE, RequestType.MIGRATE)
        return self.window.has_room(WEIGHTS[kind], 100 - gc_percent, *changes)


class SchedCore:
    """The decisions of one target's scheduler. Times are absolute, of one clock."""

    def __init__(self, config: SchedConfig) -> None:
        self._config = config
        self._force_ns = config.cycle_ms_max * _MS
        self._window = Window()
        self._pools: dict[Hashable, PoolShare] = {}
        self._cycle = 0
        self._kicked = 0
        self._io = False  # in this cycle
        self._io_before = False  # in the one before
        self._scrubbed = 0  # cycle
        self._ids = 0
        self._numbers = 0
        self._queued_us = 0
        self._forced: list[tuple[Waiting, PoolShare, RequestType]] = []  # the last one first
        self._draining = False
        self.waiting = 0

    def pool(self, key: Hashable) -> PoolShare:
        """Of this pool, which is made at its first use."""
        share = self._pools.get(key)
        if share is None:
            share = self._pools[key] = PoolShare()
        return share

    def forget(self, key: Hashable) -> list[Any]:
        """The pool is gone; the requests that waited."""
        share = self._pools.pop(key, None)
        found: list[tuple[RequestType, Waiting]] = []
        for kind, queue in (share.queues if share else {}).items():
            found += [(kind, each) for each in queue.heap]
        found += [(kind, each) for each, whose, kind in self._forced if whose is share]
        self._forced = [each for each in self._forced if each[1] is not share]
        for kind, _ in found:
            self._left(kind)
        return [each[-1] for _, each in sorted(found, key=lambda one: one[1][:2])]

    def drain(self) -> None:
        """From now on nothing is kept: the target stops."""
        self._draining = True

    # Requests

    def refuse(self, now_ns: int, deadline_ns: int, enqueue_id: int) -> Refusal | None:
        """None: it may come in. Else it could not be served in time, or too many wait.

        Who has a place is let in beyond `queue_max`, up to twice that: whoever comes for the first
        time, and is many, does not keep those out that come again.
        """
        waiting = self.waiting
        if not waiting:
            return None
        # µs × 1.5 as ms
        queued_ms = self._queued_us * 3 // 2000
        late_ms = queued_ms + self._config.cycle_ms_max + ROUND_TRIP_MS
        queue_max = self._config.queue_max * (2 if 0 < enqueue_id <= self._ids else 1)
        if waiting < queue_max and late_ms * _MS <= deadline_ns - now_ns:
            return None
        place = self.place(enqueue_id)
        heaps = [queue.heap for share in self._pools.values() for queue in share.queues.values()]
        ahead = max(0, place - min([heap[0][0] for heap in heaps if heap], default=place))
        return Refusal(max(1, ahead * self._queued_us * 3 // (2000 * waiting)), place)

    def place(self, enqueue_id: int) -> int:
        """Of a request that comes now: the one it had, unless that was none, or in another life."""
        if 0 < enqueue_id <= self._ids:
            return enqueue_id
        self._ids += 1
        return self._ids

    def may_run(
        self, key: Hashable, kind: RequestType, now_ns: int, *, no_delay: bool = False
    ) -> bool:
        """Whether a request that has come may run at once; then it is counted as done."""
        if kind is RequestType.ANONYM:
            return True
        share = self._pools.get(key) or self.pool(key)
        if not (no_delay or self._draining) and (
            self.waiting
            or self._kicked >= self._config.kick_max
            or (kind is not RequestType.FETCH and not share.may_change(kind, now_ns))
        ):
            return False
        self._run(share, kind)
        return True

    def add(
        self,
        key: Hashable,
        kind: RequestType,
        request: object,
        *,
        enqueue_id: int = 0,
        deadline_ns: int,
    ) -> None:
        """A request that may not run now. `enqueue_id`: it was refused before, with that id."""
        self._numbers += 1
        share = self._pools.get(key) or self.pool(key)
        force_ns = deadline_ns - self._force_ns
        queue = share.queues.get(kind)
        if queue is None:
            queue = share.queues[kind] = Queue()
        queue.add((self.place(enqueue_id), self._numbers, force_ns, request))
        self.waiting += 1
        self._queued_us += self._config.costs_us[kind]

    # Cycles

    def next_cycle(self) -> None:
        """The next one begins."""
        self._cycle += 1
        self._kicked = 0
        self._io, self._io_before = False, self._io
        self._window.next_cycle()
        for share in self._pools.values():
            share.window.next_cycle()

    def fill(self) -> None:
        """This cycle has begun as many requests as it may."""
        self._kicked = self._config.kick_max
        self._io = True

    def due(self, now_ns: int) -> Iterator[Any]:
        """The requests that run in this cycle, in order; each has left the queue by then."""
        kick_max = self._config.kick_max
        self._force(now_ns)
        while self._forced:
            waiting, share, kind = self._forced.pop()
            self._left(kind)
            self._run(share, kind)
            yield waiting[-1]
        while self.waiting:
            first: Waiting | None = None
            for share in self._pools.values():
                for kind, queue in share.queues.items():
                    heap = queue.heap
                    if not heap or (first is not None and first < heap[0]):
                        continue
                    if self._draining or (
                        self._kicked < kick_max
                        and (kind is RequestType.FETCH or share.may_change(kind, now_ns))
                    ):
                        first, found = heap[0], (share, kind, heap)
            if first is None:
                return
            share, kind, heap = found
            heappop(heap)
            self._left(kind)
            self._run(share, kind)
            yield first[-1]

    def _force(self, now_ns: int) -> None:
        """Who can't be kept any longer is the next (Q2)."""
        forced = [
            (each, share, kind)
            for share in self._pools.values()
            for kind, queue in share.queues.items()
            for each in queue.take_forced(now_ns)
        ]
        if forced:
            self._forced = sorted(self._forced + forced, key=lambda one: one[0][:2], reverse=True)

    def _left(self, kind: RequestType) -> None:
        self.waiting -= 1
        self._queued_us -= self._config.costs_us[kind]

    def _run(self, share: PoolShare, kind: RequestType) -> None:
        self._kicked += 1
        self._io = True
        weight = WEIGHTS[kind]
        self._window.now[kind] += weight
        share.window.now[kind] += weight

    # Background work

    def order(self) -> tuple[RequestType, ...]:
        """Which background work is asked first in this cycle."""
        gc, migrate, scrub = BACKGROUND
        first = (gc, migrate) if self._cycle % 2 else (migrate, gc)
        if self._cycle - self._scrubbed >= SCRUB_CYCLES:
            return scrub, *first
        return *first, scrub

    def may_step(self, key: Hashable, kind: RequestType) -> bool:
        """Whether a step of background work may be done now; then it is counted as done."""
        pressure = self.pool(key).pressure
        pressed = pressure.level > 0 and kind is RequestType.GC
        overdue = kind is RequestType.SCRUB and self._cycle - self._scrubbed >= SCRUB_CYCLES
        if (self._io or self._io_before or self.waiting) and not (pressed or overdue):
            migrating = self._window.weight(RequestType.MIGRATE) or kind is RequestType.MIGRATE
            percent = MIGRATING_PERCENT if migrating else pressure.gc_percent
            more = WEIGHTS[kind] * self._config.step_count
            if not self._window.has_room(more, percent, *BACKGROUND):
                return False
        if kind is RequestType.SCRUB:
            self._scrubbed = self._cycle
        self._window.did(kind, self._config.step_count)
        self.pool(key).window.did(kind, self._config.step_count)
        return True

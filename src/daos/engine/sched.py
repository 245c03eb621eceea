"""The scheduler of one xstream: its user-level threads, and on a target whose turn it is.

    READY ──cycle──> RUNNING ──> READY | ASLEEP | BLOCKED | ENDED

A *ULT* is work with an owner, a pool and a state: a chain of call-backs (`ready`, `sleep`,
`block`), or a coroutine (`spawn`), which the loop runs as a task. With its owner it is aborted; a
scheduler that has stopped makes none.

The short path: while no background work can run, no request waits and no turn was too long,
requests do not come here at all (`Context.guard`): each runs as it comes. Otherwise each asks
(`takes`): it runs at once, or waits in the queue of `sched_core` for one of the next cycles. A
cycle is a turn of the loop.

    idle ──background work is ready | more requests in a turn than it may have──> busy
    busy ──nothing waits, nothing is ready──> idle

Source: DAOS src/engine/sched.c, ult.c; tasks and call-backs instead of Argobots: ours
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable, Coroutine, Hashable, Iterator, Mapping
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from daos.base.errors import DaosError, OverloadError, ShutdownError
from daos.engine.metrics import Metrics
from daos.engine.sched_core import (
    BACKGROUND,
    SPACE_NS,
    RequestType,
    SchedConfig,
    SchedCore,
    pressure_of,
)

if TYPE_CHECKING:
    from daos.base.clock import Clock
    from daos.cart.context import Context, Rpc

log = logging.getLogger(__name__)

T = TypeVar("T")

# Turns that were too long are told at most so often.
WATCHDOG_NS: Final = 2_000_000_000
_MS: Final = 1_000_000


class UltPool(IntEnum):
    """What a ULT is there for. Source: DAOS src/engine/srv_internal.h DSS_POOL_*"""

    NET_POLL = 0  # the network
    NVME_POLL = 1  # devices
    GENERIC = 2  # everything else


class State(StrEnum):
    """Of a ULT."""

    READY = "ready"
    RUNNING = "running"
    ASLEEP = "asleep"
    BLOCKED = "blocked"
    ENDED = "ended"


class Attributes(NamedTuple):
    """How requests of a procedure are scheduled; they have a field `enqueue_id`."""

    kind: RequestType
    no_delay: bool = False  # never kept
    no_reject: bool = False


class Ult:
    """A chain of call-backs. Made by `Scheduler.create`; see the module."""

    __slots__ = ("_handle", "_sched", "_then", "kind", "name", "owner", "pool", "since_ns", "state")

    def __init__(
        self, sched: Scheduler, name: str, owner: Hashable, kind: RequestType, pool: UltPool
    ) -> None:
        self._sched = sched
        self._handle: asyncio.Handle | None = None
        self._then: tuple[Callable[..., None], tuple[Any, ...]] | None = None
        self.name: Final = name
        self.owner: Final = owner
        self.kind: Final = kind
        self.pool: Final = pool
        self._become(State.BLOCKED)

    def ready(self, then: Callable[..., None], *args: object) -> None:
        """Call `then` next: background work in a cycle in which it may, else in the next turn."""
        if self.state is State.ENDED:
            return
        self._drop()
        self._then = then, args
        self._become(State.READY)
        if self.kind in BACKGROUND:
            self._sched.made_ready(self)
        else:
            self._handle = self._sched.loop.call_soon(self.run)

    def sleep(self, delay_s: float, then: Callable[[], None]) -> None:
        """Call `then` so much later."""
        if self.state is State.ENDED:
            return
        self._drop()
        self._then = then, ()
        self._become(State.ASLEEP)
        self._handle = self._sched.loop.call_later(delay_s, self.run)

    @property
    def left_s(self) -> float:
        """How long it still sleeps; 0: it does not."""
        if self.state is not State.ASLEEP or not isinstance(self._handle, asyncio.TimerHandle):
            return 0.0
        return max(0.0, self._handle.when() - self._sched.loop.time())

    def block(self) -> None:
        """Nothing is to be done until somebody calls `ready`."""
        if self.state is not State.ENDED:
            self._drop()
            self._become(State.BLOCKED)

    def end(self) -> None:
        """Never again. Idempotent."""
        self.block()
        self._become(State.ENDED)
        self._sched.ended(self)

    def run(self) -> None:
        """What is to be done, now; for its scheduler and its timer."""
        then, self._then, self._handle = self._then, None, None
        if then is None:
            return
        self._become(State.RUNNING)
        began_ns = self.since_ns
        try:
            then[0](*then[1])
        except Exception as bug:  # the supervisor's place: on_bug decides whether to go on
            if self._sched.on_bug is not None:
                self._sched.on_bug(bug)
            raise
        finally:
            if self.state is State.RUNNING:
                self._become(State.BLOCKED)
            self._sched.overran(self.name, self._sched.clock.monotonic_ns() - began_ns)

    def _drop(self) -> None:
        if self.state is State.READY:
            self._sched.not_ready(self)
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._then = None

    def _become(self, state: State) -> None:
        self.state = state
        self.since_ns = self._sched.clock.monotonic_ns()


class Scheduler:
    """Of one xstream; all methods belong to its loop. `stop` it once its work has been ended."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        *,
        config: SchedConfig | None = None,
        metrics: Metrics | None = None,
        on_bug: Callable[[Exception], None] | None = None,
    ) -> None:
        """`on_bug`: told of what a call-back raised, before the loop is."""
        self.loop: Final = loop
        self.on_bug: Final = on_bug
        self.clock: Final = clock
        self._config = config or SchedConfig()
        self._core = SchedCore(self._config)
        self._context: Context | None = None
        self._attributes: Mapping[int, Attributes] = {}
        self._pool_of: Callable[[Rpc], Hashable] = _no_pool
        self._spaces: dict[Hashable, Callable[[], tuple[int, int]]] = {}
        self._space_due_ns = 0
        self._ults: dict[Ult, None] = {}
        self._tasks: dict[asyncio.Task[Any], _Spawned] = {}
        self._ready: dict[Ult, None] = {}  # background work
        self._armed = False  # a cycle is to come
        self._stopped = False
        self._told_ns = -WATCHDOG_NS
        metrics = metrics or Metrics()
        self._cycles = metrics.add("sched/cycles")
        self._cycle_size = metrics.add("sched/cycle_size")  # requests of the last one
        self._wait_queue = metrics.add("sched/wait_queue")
        self._rejected = metrics.add("sched/total_reject")
        self._overruns = metrics.add("sched/long_turns")

    # Threads

    def create(
        self,
        name: str,
        owner: Hashable,
        kind: RequestType = RequestType.ANONYM,
        pool: UltPool = UltPool.GENERIC,
    ) -> Ult:
        """A ULT, blocked. The owner of background work is a pool. Raises: ShutdownError"""
        self._check()
        ult = Ult(self, name, owner, kind, pool)
        self._ults[ult] = None
        return ult

    def spawn(
        self,
        name: str,
        owner: Hashable,
        work: Coroutine[Any, Any, T],
        pool: UltPool = UltPool.GENERIC,
    ) -> asyncio.Task[T]:
        """A ULT that is a task of this coroutine. Raises: ShutdownError"""
        try:
            self._check()
        except ShutdownError:
            work.close()
            raise
        task = self.loop.create_task(work, name=name)
        self._tasks[task] = _Spawned(name, owner, pool, self.clock.monotonic_ns())
        task.add_done_callback(self._tasks.pop)
        return task

    def abort(self, owner: Hashable) -> None:
        """End what an owner has. Tasks are cancelled; who made them awaits them."""
        for ult in [ult for ult in self._ults if ult.owner == owner]:
            ult.end()
        for task in [task for task, spawned in self._tasks.items() if spawned.owner == owner]:
            task.cancel()

    def stop(self) -> None:
        """End everything; from now on nothing is made. Idempotent."""
        self._stopped = True
        for ult in list(self._ults):
            ult.end()
        for task in self._tasks:
            task.cancel()

    def _check(self) -> None:
        if self._stopped:
            raise ShutdownError("the execution stream stops: no new work is taken")

    # What a ULT tells

    def made_ready(self, ult: Ult) -> None:
        """Background work that may have its turn."""
        self._ready[ult] = None
        if ult.kind is RequestType.GC:
            self._core.pool(ult.owner).awake += 1
        self._arm()

    def not_ready(self, ult: Ult) -> None:
        """Not any more, or it has its turn now."""
        if ult in self._ready:
            del self._ready[ult]
            if ult.kind is RequestType.GC:
                self._core.pool(ult.owner).awake -= 1

    def ended(self, ult: Ult) -> None:
        self._ults.pop(ult, None)

    # Requests

    def guard(
        self,
        context: Context,
        attributes: Mapping[int, Attributes],
        pool_of: Callable[[Rpc], Hashable],
    ) -> None:
        """Decide when requests run, by opcode; others run as they come. `pool_of`: whose it is."""
        if self._config.prioritised:
            self._context = context
            self._attributes = attributes
            self._pool_of = pool_of
            context.guard(self, turn_ns_max=self._config.turn_ms_max * _MS)
            context.release(self._config.kick_max)

    def watch_space(self, pool: Hashable, space: Callable[[], tuple[int, int]] | None) -> None:
        """Slow changes of this pool when space is short: free, and all; None: it is gone."""
        if space is not None:
            self._spaces[pool] = space
            self._space_due_ns = 0
        elif self._spaces.pop(pool, None) is not None:
            for rpc in self._core.forget(pool):
                rpc.run()  # to hear that

    def drain(self) -> None:
        """Keep nothing any more."""
        self._core.drain()

    def refusal(self, rpc: Rpc) -> DaosError | None:
        """As `Gate.refusal`."""
        core = self._core
        attributes = self._attributes.get(rpc.header.opcode)
        if not core.waiting or attributes is None or attributes.no_reject:
            return None
        refused = core.refuse(self.clock.now_ns(), rpc.deadline_ns, rpc.request.enqueue_id)
        if refused is None:
            return None
        self._rejected.value += 1
        text = f"{core.waiting} requests wait already; come again in {refused.retry_ms} ms"
        return OverloadError(text, retry_ms=refused.retry_ms, enqueue_id=refused.enqueue_id)

    def takes(self, rpc: Rpc) -> bool:
        """As `Gate.takes`."""
        attributes = self._attributes.get(rpc.header.opcode)
        if attributes is None:
            return False
        core = self._core
        if not self._armed:  # there were too many in this turn
            core.next_cycle()
            core.fill()
            self._arm()
        pool = self._pool_of(rpc)
        kind, no_delay, _ = attributes
        if core.may_run(pool, kind, self.clock.now_ns(), no_delay=no_delay):
            return False
        if rpc.service.land is None and (refusal := self.refusal(rpc)) is not None:
            rpc.fail(refusal)
            return True
        core.add(
            pool,
            kind,
            rpc,
            enqueue_id=rpc.request.enqueue_id,
            deadline_ns=rpc.header.deadline_ns,
        )
        self._wait_queue.value = core.waiting
        return True

    def overran(self, who: str, took_ns: int) -> None:
        """As `Gate.overran`; also for ULTs."""
        if took_ns <= self._config.turn_ms_max * _MS:
            return
        self._overruns.value += 1
        now_ns = self.clock.monotonic_ns()
        if now_ns - self._told_ns >= WATCHDOG_NS:
            self._told_ns = now_ns
            log.info("a turn took %d ms: %s", took_ns // _MS, who)

    # Cycles

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            self.loop.call_soon(self._cycle)
            if self._context is not None:
                self._context.engage()

    def _cycle(self) -> None:
        self._armed = False
        core, now_ns = self._core, self.clock.now_ns()
        self._cycles.value += 1
        if not now_ns < self._space_due_ns <= now_ns + SPACE_NS:  # or the clock was set back
            self._space_due_ns = now_ns + SPACE_NS
            for pool, space in self._spaces.items():
                core.pool(pool).press(pressure_of(*space()), now_ns)
        core.next_cycle()
        try:
            size = 0
            for rpc in core.due(now_ns):
                rpc.run()
                size += 1
            self._cycle_size.value = size
            self._step()
        finally:  # whatever goes wrong in a step: the others go on
            self._wait_queue.value = core.waiting
            if self._ready or core.waiting:
                self._arm()
            elif self._context is not None and not self._armed:
                self._context.release(self._config.kick_max)

    def _step(self) -> None:
        """One step of each background ULT that may."""
        order = self._core.order()
        for ult in sorted(self._ready, key=lambda ult: order.index(ult.kind)):
            if ult in self._ready and self._core.may_step(ult.owner, ult.kind):
                self.not_ready(ult)
                ult.run()

    # What there is

    def dump(self, *, stacks: bool) -> Iterator[str]:
        """Lines for a person: every ULT, what it is at, and since when."""
        core, now_ns = self._core, self.clock.monotonic_ns()
        yield (
            f"cycles {self._cycles.value}, requests waiting {core.waiting}, "
            f"refused {self._rejected.value}, turns above {self._config.turn_ms_max} ms "
            f"{self._overruns.value}"
        )
        for ult in self._ults:
            since_s = (now_ns - ult.since_ns) / 1e9
            yield _line(ult.pool, ult.state, since_s, ult.name, ult.owner)
        for task, spawned in self._tasks.items():
            since_s = (now_ns - spawned.since_ns) / 1e9
            yield _line(spawned.pool, State.RUNNING, since_s, spawned.name, spawned.owner)
            if stacks:
                yield from stack_of(task)


class _Spawned(NamedTuple):
    name: str
    owner: Hashable
    pool: UltPool
    since_ns: int


def _no_pool(rpc: Rpc) -> Hashable:
    del rpc
    return None


def _line(pool: UltPool, state: State, since_s: float, name: str, owner: Hashable) -> str:
    return f"{pool.name:9} {state:8} {since_s:10.3f} s  {name}, {owner}"


def stack_of(task: asyncio.Task[Any]) -> Iterator[str]:
    """Where a task is in its code, line by line."""
    text = io.StringIO()
    task.print_stack(file=text)
    for line in text.getvalue().splitlines():
        yield f"    {line}"

"""An asyncio loop whose time is virtual and whose order is drawn from a seed.

    ready call-backs   run in a shuffled order: nothing may depend on who asked first
    timers             the clock jumps to the next one as soon as nothing is ready
    nothing at all     DeadlockError: what is awaited can never come
    too many turns     StepLimitError: something is busy without an end

Only this thread, no sockets, no executor: what would make a run depend on the machine is refused.
`simulate` runs a coroutine to its end; the same seed gives the same run, whatever the hash seed.

Leans on `BaseEventLoop._ready`, `_run_once` and `_selector`, private but unchanged since Python
3.4; tests/unit/testing/test_simloop.py is the tripwire.

Source: ours; FoundationDB's flow (simulated time), trio's shuffled batches.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

T = TypeVar("T")

STEPS_MAX: Final = 2_000_000
# A virtual moment in 2024: epochs and deadlines look as they do in real systems.
START_UNIX_NS: Final = 1_704_067_200 * 1_000_000_000


class DeadlockError(Exception):
    """Nothing is runnable and no timer is armed: the run can't go on."""


class StepLimitError(Exception):
    """The run took more turns of the loop than it was allowed."""


class _VirtualSelector(selectors.BaseSelector):
    """Never polls: the next timer is all that there is to wait for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.when_idle: Callable[[], None] = self._deadlock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            self.when_idle()
        elif timeout > 0:
            self.now += timeout
        return []

    def _deadlock(self) -> None:
        raise DeadlockError("nothing is runnable and no timer is armed")

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: object = None
    ) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)  # the loop's own wake-up pipe

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def get_map(self) -> dict[object, selectors.SelectorKey]:  # type: ignore[override]
        return {}


class SimTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address: a group cancels in an order."""

    def __init__(
        self,
        number: int,
        coro: Coroutine[Any, Any, Any],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._number = number
        super().__init__(coro, loop=loop, context=context)

    def __hash__(self) -> int:
        return self._number


class SimLoop(asyncio.SelectorEventLoop):
    """See the module."""

    _ready: deque[asyncio.Handle]

    def __init__(self, seed: int, *, steps_max: int = STEPS_MAX) -> None:
        self._virtual = _VirtualSelector()
        self._rng = random.Random(seed)
        self._steps_max = steps_max
        self.steps = 0
        super().__init__(self._virtual)
        self._tasks_made = 0

    def time(self) -> float:
        return self._virtual.now

    def create_task(  # type: ignore[override]  # the product makes tasks of coroutines only
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        self._tasks_made += 1
        task = SimTask(self._tasks_made, coro, self, context)
        if name is not None:
            task.set_name(name)
        return task

    def run_in_executor(
        self, executor: object, func: Callable[..., object], *args: object
    ) -> NoReturn:
        raise RuntimeError(f"no threads in a simulation: {func}")

    def _run_once(self) -> None:
        self.steps += 1
        if self.steps > self._steps_max:
            raise StepLimitError(f"{self._steps_max} turns of the loop, and no end")
        ready = self._ready
        if len(ready) > 1:
            order = list(ready)
            self._rng.shuffle(order)
            ready.clear()
            ready.extend(order)
        super()._run_once()  # type: ignore[misc]


class SimClock:
    """A `Clock` over the loop's virtual time, wrong by `skew_ns` and by `drift` of what passes."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, skew_ns: int = 0, drift: float = 0.0
    ) -> None:
        self.skew_ns = skew_ns
        self._loop = loop
        self._rate = 1e9 * (1.0 + drift)

    def now_ns(self) -> int:
        return START_UNIX_NS + self.skew_ns + int(self._loop.time() * self._rate)

    def monotonic_ns(self) -> int:
        return int(self._loop.time() * self._rate)


def simulate(main: Coroutine[Any, Any, T], seed: int, *, steps_max: int = STEPS_MAX) -> T:
    """Run `main` in a loop of its own.

    Raises:     what `main` raises; DeadlockError, StepLimitError
    """
    with asyncio.Runner(loop_factory=lambda: SimLoop(seed, steps_max=steps_max)) as runner:
        return runner.run(main)

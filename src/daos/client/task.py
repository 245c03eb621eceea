"""Task engine: operations with dependencies, run as one batch; pure, without a loop or a clock.

An array write becomes one object update per dkey, a `put_many` one update per key: each is a
`Task`, together they are a `Batch`. The batch decides what may start and what the outcome is;
whoever owns the loop starts what `ready()` hands out and reports back through `complete()`.

    WAITING --all predecessors done, prepared--> RUNNING --complete(result)--> DONE
       |                                            +-----complete(error)---> FAILED
       +--another task failed, or cancel()--> CANCELED

Rules, which `check` asserts after every step:
    T1  a task starts only after every predecessor is DONE
    T2  at most `running_max` tasks run at once
    T3  the first error is the batch's error and never changes
    T4  after an error nothing starts; what had not started is CANCELED
    T5  completion call-backs of a task run once, latest registered first, whatever its end

Preparation call-backs run just before the start, in order of registration, and may refuse by
raising `DaosError`: the task then fails without having started.
Source: DAOS src/common/tse.c (dependencies, prepare and completion call-backs). Ours: no
re-initialisation of a finished task; a retry has an owner elsewhere and is a new task.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum

from daos.base.errors import CanceledError, DaosError, InvalidError


class TaskState(Enum):
    """Where a task stands; the last three are final."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"


_FINAL = (TaskState.DONE, TaskState.FAILED, TaskState.CANCELED)

# Told when the operation ended: the result, or the error and None.
Report = Callable[[object, DaosError | None], None]
# Starts the operation. Returns what cancels it, or None where it can't be canceled.
Start = Callable[[Report], Callable[[], None] | None]


class Task:
    """One operation of a batch. Made by `Batch.add`; users read `state`, `result` and `error`."""

    __slots__ = (
        "_blockers",
        "_complete",
        "_followers",
        "_prepare",
        "cancel",
        "error",
        "result",
        "start",
        "state",
    )

    def __init__(self, start: Start) -> None:
        self.start = start
        self.cancel: Callable[[], None] | None = None  # set by whoever started it
        self.state = TaskState.WAITING
        self.result: object = None
        self.error: DaosError | None = None
        self._blockers = 0  # predecessors that are not DONE
        # Most tasks have none of these: no list is made before it is needed.
        self._followers: list[Task] | None = None
        self._prepare: list[Callable[[Task], None]] | None = None
        self._complete: list[Callable[[Task], None]] | None = None

    def on_prepare(self, call: Callable[[Task], None]) -> None:
        """Run `call(task)` just before the start; a DaosError from it fails the task."""
        if self.state is not TaskState.WAITING:
            raise InvalidError(f"preparation call-back on a task that is {self.state.value}")
        if self._prepare is None:
            self._prepare = []
        self._prepare.append(call)

    def on_complete(self, call: Callable[[Task], None]) -> None:
        """Run `call(task)` once when the task has ended, however it ended."""
        if self.state in _FINAL:
            raise InvalidError(f"completion call-back on a task that is {self.state.value}")
        if self._complete is None:
            self._complete = []
        self._complete.append(call)


class Batch:
    """Tasks scheduled together; the first error wins and cancels the rest.

    Units:  running_max in tasks
    Cost:   O(1) a task and a dependency; nothing is allocated per step
    """

    def __init__(self, *, running_max: int = 64) -> None:
        if running_max < 1:
            raise InvalidError(f"running_max must be at least 1, not {running_max}")
        self.tasks: list[Task] = []
        self.error: DaosError | None = None
        self._running_max = running_max
        self._running = 0
        self._open = 0  # tasks that have not ended
        self._startable: deque[Task] = deque()

    def add(self, start: Start, *, after: Iterable[Task] = ()) -> Task:
        """A new task, to start when every task of `after` is done.

        Raises: InvalidError  a task of `after` has failed, was canceled or is of another batch
        """
        task = Task(start)
        for earlier in after:
            if earlier.state in (TaskState.FAILED, TaskState.CANCELED):
                raise InvalidError(f"can't wait for a task that is {earlier.state.value}")
            if earlier.state is not TaskState.DONE:
                if earlier._followers is None:
                    earlier._followers = []
                earlier._followers.append(task)
                task._blockers += 1
        self.tasks.append(task)
        self._open += 1
        if self.error is not None:
            self._end(task, TaskState.CANCELED)
        elif not task._blockers:
            self._startable.append(task)
        return task

    @property
    def done(self) -> bool:
        """Whether every task has ended."""
        return not self._open

    def ready(self) -> list[Task]:
        """Tasks to start now, in order of their adding; each counts as running from here on."""
        started: list[Task] = []
        while self._startable and self._running < self._running_max:
            task = self._startable.popleft()
            if task.state is not TaskState.WAITING:
                continue  # canceled while it stood in line
            try:
                for call in task._prepare or ():
                    call(task)
            except DaosError as error:
                self._fail(task, error)
                break
            task.state = TaskState.RUNNING
            self._running += 1
            started.append(task)
        return started

    def complete(self, task: Task, result: object = None, error: DaosError | None = None) -> None:
        """Say how a running task ended. Its followers may then come out of `ready()`."""
        assert task.state is TaskState.RUNNING, task.state
        self._running -= 1
        if error is not None:
            self._fail(task, error)
            return
        task.result = result
        self._end(task, TaskState.DONE)
        for follower in task._followers or ():
            follower._blockers -= 1
            if not follower._blockers and follower.state is TaskState.WAITING:
                self._startable.append(follower)

    def cancel(self, error: DaosError | None = None) -> list[Task]:
        """Start nothing more. Returns the running tasks: their owner cancels them and still
        reports each end."""
        self._stop(error or CanceledError("batch canceled"))
        return self.running()

    def running(self) -> list[Task]:
        """The tasks that have started and not ended."""
        return [task for task in self.tasks if task.state is TaskState.RUNNING]

    def check(self) -> None:
        """Assert the rules above, O(n); for tests."""
        assert len(self.running()) == self._running <= self._running_max, "T2"
        assert self._open == sum(task.state not in _FINAL for task in self.tasks)
        for task in self.tasks:
            unstarted = (TaskState.WAITING, TaskState.CANCELED)
            assert task.state in unstarted or not task._blockers, "T1"
            assert task.state is not TaskState.WAITING or self.error is None, "T4"
            assert task.state not in _FINAL or not task._complete, "T5"

    def _fail(self, task: Task, error: DaosError) -> None:
        task.error = error
        self._end(task, TaskState.FAILED)
        self._stop(error)

    def _stop(self, error: DaosError) -> None:
        if self.error is not None:
            return
        self.error = error
        self._startable.clear()
        for task in self.tasks:
            if task.state is TaskState.WAITING:
                self._end(task, TaskState.CANCELED)

    def _end(self, task: Task, state: TaskState) -> None:
        task.state = state
        self._open -= 1
        while task._complete:
            task._complete.pop()(task)

"""Runs a batch of tasks on the event loop: call-backs in, one await out.

No task of asyncio is made for a task of the batch: each operation's own call-back completes it
and starts what has become ready. Cancelling the awaiting coroutine cancels what runs, waits until
all of it has reported, and only then lets go: no operation outlives its batch, however often its
caller is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable

from daos.base.errors import CanceledError, DaosError
from daos.client.objectio import settle
from daos.client.task import Batch, Report, Task, TaskState


async def execute(batch: Batch) -> None:
    """Run every task; return when all have ended.

    Raises: the batch's first error, after everything that ran has ended
    """
    await settle(_Runner(batch).run)


class _Runner:
    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._starting = False
        self._report: Report | None = None

    def run(self, report: Report) -> Callable[[], None]:
        """The batch as one request; returns what cancels it."""
        self._report = report
        self.start()
        return self.cancel

    def start(self) -> None:
        """Start what is ready. An operation may report from inside its start: no recursion."""
        if self._starting:
            return
        self._starting = True
        while ready := self._batch.ready():
            for task in ready:
                self._start(task)
        self._starting = False
        if self._batch.done and self._report is not None:
            report, self._report = self._report, None
            report(None, self._batch.error)

    def cancel(self) -> None:
        """Start nothing more, and cancel what runs; the end comes when all of it has reported."""
        for task in self._batch.cancel():
            if task.cancel is not None:
                task.cancel()
        self.start()

    def _start(self, task: Task) -> None:
        def report(result: object, error: DaosError | None) -> None:
            failed_now = error is not None and self._batch.error is None
            # It refers to the request, which refers to us: without the cycle, all of it goes at
            # once, and not when the garbage collector has found it.
            task.cancel = None
            self._batch.complete(task, result, error)
            if failed_now:
                self._cancel_running()
            self.start()

        if self._batch.error is not None:
            # An earlier task of the same round failed inside its start.
            report(None, CanceledError("another operation of the batch failed"))
            return
        try:
            cancel = task.start(report)
        except DaosError as error:
            report(None, error)
            return
        if task.state is TaskState.RUNNING:
            task.cancel = cancel

    def _cancel_running(self) -> None:
        for task in self._batch.running():
            if task.cancel is not None:
                task.cancel()

"""A coroutine that awaits nothing but requests, run without a task: for callers in other threads.

    step --hands out a start--> the request is sent --report--> step ... --returns, raises--> done

A task costs the loop a turn before its first step, one between a request's end and the step behind
it, and one before anybody hears of its own end; each is 5 µs or more, and the thread that waits
wants none of them. Here each step is made where its request ends.

`objectio.settle` hands its start out where no task runs, and makes a future where one does: so one
coroutine serves both faces. It must not await anything else here, nor ask for its task.

Invariants:
    D1  `done` comes once, with what the coroutine gave or raised, in the loop
    D2  a request at hand that is given up is awaited all the same: until then its memory is in use

Source: ours
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator

from daos.base.errors import CanceledError
from daos.client.task import Start

Done = Callable[[object, BaseException | None], None]


@types.coroutine
def handed(start: Start) -> Generator[Start, object, object]:
    """Await a request whose end whoever steps the coroutine hears of."""
    return (yield start)


class Asking:
    """One such coroutine on its way."""

    __slots__ = ("_cancel", "_canceled", "_coroutine", "_done", "_requests")

    def __init__(self, coroutine: Coroutine[Start, object, object], done: Done) -> None:
        self._coroutine = coroutine
        self._done = done
        self._requests = 0
        self._cancel: Callable[[], None] | None = None
        self._canceled = False

    def begin(self) -> None:
        """The first step; `done` may come from inside."""
        self._step(None, None)

    def cancel(self) -> None:
        """Give the request at hand up, and send no other."""
        self._canceled = True
        if self._cancel is not None:
            self._cancel()

    def _step(self, result: object, error: BaseException | None) -> None:
        self._cancel = None
        while True:
            try:
                send = self._coroutine.send
                start = send(result) if error is None else self._coroutine.throw(error)
            except StopIteration as end:
                self._done(end.value, None)
                return
            except BaseException as failure:  # a thread waits for it, whatever it is
                self._done(None, failure)
                return
            if self._canceled:
                error = CanceledError("the call was given up by its caller")
                continue
            self._requests = request = self._requests + 1
            try:
                cancel = start(self._step)
            except Exception as refused:  # for the coroutine, which awaits it
                error = refused
                continue
            if request == self._requests:  # it has not reported from inside its start
                self._cancel = cancel
            return

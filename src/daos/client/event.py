"""Parallelism without asyncio: launch calls, poll for those that ended.

    READY --launch / barrier--> RUNNING --> COMPLETED      it gave a result, or an error
                                   +------> ABORTED        it was given up

    ev = eq.launch(obj.update, b"d", b"a", b"v")     any call of a handle that runs in the loop
    eq.poll()                                        those that ended since
    ev.result()                                      waits

A parent event (`eq.event()`) stands for its children: `parent.launch(...)` adds one, `barrier()`
says that no more will come, and the parent has completed when all of them have. Children are not
polled; their parent is. Its error is that of the first child that failed.

Invariants:
    E1  an event ends once, and an ended event never changes
    E2  `poll` gives an event at most once; who asked `result()` has seen it, and poll gives it not

Any thread may launch, poll and wait. Source: DAOS src/client/api/event.c; features §5.6
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast

from daos.base.errors import CanceledError, DaosError, DeadlineError, InvalidError
from daos.client.face import async_of
from daos.client.portal import Job
from daos.client.sync import Client

P = ParamSpec("P")
ResultT = TypeVar("ResultT")
ChildT = TypeVar("ChildT")


class EventState(Enum):
    """Where an event stands; the last two are final."""

    READY = "ready"
    RUNNING = "running"
    COMPLETED = "completed"
    ABORTED = "aborted"


_FINAL = (EventState.COMPLETED, EventState.ABORTED)


class Event(Generic[ResultT]):
    """One launched call, or a parent of several."""

    def __init__(self, queue: EventQueue, parent: Event[None] | None) -> None:
        self._queue = queue
        self._parent = parent
        self._children: list[Event[Any]] = []
        self._unfinished = 0  # children
        self._job: Job | None = None
        self._result: object = None
        self._error: BaseException | None = None
        self.state = EventState.READY

    @property
    def children(self) -> tuple[Event[Any], ...]:
        """The calls launched under this event."""
        return tuple(self._children)

    def launch(self, call: Callable[P, ChildT], *args: P.args, **kwargs: P.kwargs) -> Event[ChildT]:
        """Start a call as a child of this event.

        Raises: InvalidError (no call of a handle; this event is itself a call, or behind its
                barrier)
        """
        if self._parent is not None or self.state is not EventState.READY:
            raise InvalidError("children are launched under a parent event, before its barrier")
        return self._queue._launch(cast("Event[None]", self), call, *args, **kwargs)

    def barrier(self) -> None:
        """No more children will come; from now on the event runs. Idempotent."""
        with self._queue._changed:
            if self.state is EventState.READY:
                self.state = EventState.RUNNING
                self._queue._running += 1
                self._queue._settle(cast("Event[None]", self))  # calls are never READY here

    def test(self) -> bool:
        """Whether it has ended."""
        return self.state in _FINAL

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, `timeout` seconds at most; whether it came."""
        with self._queue._changed:
            if self.state is EventState.READY:
                raise InvalidError("the event was never launched; a parent needs its barrier")
            return self._queue._changed.wait_for(self.test, timeout)

    def result(self, timeout: float | None = None) -> ResultT:
        """Wait, then give what the call returned, or raise what it raised.

        Raises: DeadlineError (still running after `timeout` seconds), CanceledError (aborted)
        """
        if not self.wait(timeout):
            raise DeadlineError(f"the event has not ended within {timeout} seconds")
        with self._queue._changed:
            self._queue._ended.pop(self, None)
        if self._error is not None:
            raise self._error
        return cast("ResultT", self._result)  # what the call returned

    @property
    def error(self) -> BaseException | None:
        """What the call raised; None while it runs, and when it raised nothing."""
        return self._error

    def abort(self) -> None:
        """Give the call, or all children, up. What the system did already stays done."""
        for child in self._children:
            child.abort()
        if self._job is not None:
            self._job.cancel()

    def __repr__(self) -> str:
        return f"<Event, {self.state.value}>"


class EventQueue:
    """Launches calls of one client's handles. Leaving the `with` block waits for all of them."""

    def __init__(self, client: Client, *, depth: int = 1024) -> None:
        """`depth`: calls that may run at once; a launch beyond it waits."""
        if depth < 1:
            raise InvalidError(f"an event queue holds at least one event, not {depth}")
        self._portal = client._portal
        self._depth = depth
        self._changed = threading.Condition()
        self._calls: dict[Event[Any], None] = {}  # that run, in order of launch
        self._ended: dict[Event[Any], None] = {}  # and were not given out, in order of their ends
        self._running = 0  # events that poll will give
        self._closed = False

    def launch(
        self, call: Callable[P, ResultT], *args: P.args, **kwargs: P.kwargs
    ) -> Event[ResultT]:
        """Start `call(*args, **kwargs)`, a method of a handle, such as obj.update.

        Memory given to the call must be left alone until the event has ended.

        Raises: InvalidError (no call of a handle; the queue is closed), ShutdownError
        """
        return self._launch(None, call, *args, **kwargs)

    def event(self) -> Event[None]:
        """A parent event: launch children under it, then call its `barrier`."""
        return Event(self, None)

    def poll(self, timeout: float | None = None, max: int | None = None) -> list[Event[Any]]:
        """Events that have ended and were not given before, in order of their ends.

        Waits for at least one, `timeout` seconds at most (0: not at all, None: as long as anything
        runs). Nothing runs, or the time is over: an empty list.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or not self._running, timeout)
            events = list(self._ended)[:max]
            for event in events:
                del self._ended[event]
            return events

    @property
    def running(self) -> int:
        """Events that have not ended; children are not counted."""
        return self._running

    def close(self, *, force: bool = False) -> None:
        """Take no more calls, wait for those that run; with `force` give them up first."""
        with self._changed:
            self._closed = True
            running = list(self._calls)
        for event in running if force else ():
            event.abort()
        with self._changed:
            self._changed.wait_for(lambda: not self._calls)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close(force=kind is not None)

    def _launch(
        self,
        parent: Event[None] | None,
        call: Callable[P, ResultT],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Event[ResultT]:
        handle, function, face, asks = async_of(call)
        portal, core = self._portal, handle._core
        if handle._portal is not portal:
            raise InvalidError(f"{handle!r} is of another client than this event queue")
        event: Event[ResultT] = Event(self, parent)
        with self._changed:
            self._changed.wait_for(lambda: len(self._calls) < self._depth)
            if self._closed:
                raise InvalidError("the event queue is closed")
            self._calls[event] = None
            event.state = EventState.RUNNING
            if parent is None:
                self._running += 1
            else:
                parent._children.append(event)
                parent._unfinished += 1

        def done(result: object, error: BaseException | None) -> None:
            if error is None and face is not None:
                result = face(result, portal)
            self._finish(event, result, error)

        try:
            event._job = portal.start(lambda: function(core, *args, **kwargs), done, asks=asks)
        except DaosError as error:
            self._finish(event, None, error)
            raise
        return event

    def _finish(self, event: Event[Any], result: object, error: BaseException | None) -> None:
        with self._changed:
            event._result, event._error = result, error
            event.state = _state_after(error)
            del self._calls[event]
            parent = event._parent
            if parent is None:
                self._end(event)
            else:
                parent._unfinished -= 1
                parent._error = parent._error or error
                self._settle(parent)
            self._changed.notify_all()

    def _settle(self, parent: Event[None]) -> None:
        """Let a parent end that waits for nothing more. The lock is held."""
        if parent.state is EventState.RUNNING and not parent._unfinished:
            parent.state = _state_after(parent._error)
            self._end(parent)
            self._changed.notify_all()

    def _end(self, event: Event[Any]) -> None:
        self._running -= 1
        self._ended[event] = None


def _state_after(error: BaseException | None) -> EventState:
    return EventState.ABORTED if isinstance(error, CanceledError) else EventState.COMPLETED

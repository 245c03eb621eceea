"""What all handles of one client share, and what they have in common.

A public call is an *operation*: it checks that its handle is open, turns `timeout` into one
absolute deadline, draws one trace id, and is counted while it runs. `Session.drain` waits for the
count to come down, so that closing lets work finish first and gives up on the rest.

    client ---> pool ---> container ---> object, key-value, array
       a handle is open while it and everything above it is

Concurrency note. Everything runs in the session's loop; between two awaits is a critical section.
The one thing other threads may do is to mark a leaf handle closed, which is a single store.

Source: ours. DAOS hands a deadline to nothing; its client library retries without bound.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from daos.base.clock import Clock, Rng, uuid_from
from daos.base.errors import (
    DER,
    AccessError,
    CanceledError,
    DaosError,
    InvalidError,
    NotFoundError,
    ShutdownError,
    StaleHandleError,
)
from daos.base.ids import U64_MAX, DtxId, dtx_id
from daos.cart.context import Context, Endpoint
from daos.object.attempts import Pacing
from daos.object.link import Call

__all__ = ["Call", "Handle", "Opening", "Operation", "Session"]

# How long `drain` lets operations finish, and what closing a handle at the server may take: both
# together leave a client closed within a second.
DRAIN_S: Final = 0.4
CLOSE_S: Final = 0.3
RANGES_MAX: Final = 16_384
_NS_PER_S: Final = 1_000_000_000
_TIMEOUT_PLAIN_MAX: Final = 1e6  # seconds; nobody waits longer without meaning "for ever"
# Trace ids begin anywhere and go on in odd steps: all different, and the system's source of random
# numbers, a call of 1 us, is not asked for each.
_TRACE_STEP: Final = 0x9E3779B97F4A7C15

# Codes of requests that were not answered: what became of them is not known.
NO_ANSWER: Final = frozenset({DER.TIMEDOUT, DER.CANCELED, DER.UNREACH})

ReplyT = TypeVar("ReplyT")


class Operation:
    """One public call while it runs: `with handle._operation(timeout) as call`."""

    __slots__ = ("_call", "_session")

    def __init__(self, session: Session, call: Call) -> None:
        self._session = session
        self._call = call

    def __enter__(self) -> Call:
        self._session.running += 1
        return self._call

    def __exit__(self, *_exception: object) -> None:
        self._session.ended()


@dataclass(slots=True, kw_only=True)
class Session:
    """One client instance: its context, its clock, where the services are."""

    context: Context
    clock: Clock
    rng: Rng
    service: Endpoint  # of the management service
    default_timeout: float  # seconds
    client: bytes = b""  # 16 bytes, this instance
    ranges_max: int = RANGES_MAX  # short ones in one call of an array; 0: any number
    closing: bool = False
    running: int = 0  # operations
    _idle: asyncio.Future[None] | None = field(default=None, init=False)
    _trace: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._deadline_ns(self.default_timeout)
        self._trace = self.rng.getrandbits(64)
        self.client = self.new_id()

    def new_id(self) -> bytes:
        """The 16 bytes of a new UUID."""
        return uuid_from(self.rng).bytes

    @property
    def pacing(self) -> Pacing:
        """What requests that are sent again are timed by. In the session's loop."""
        return Pacing(asyncio.get_running_loop(), self.clock, self.rng)

    def new_dtx(self) -> DtxId:
        """An id for one modification, however often it is sent. Cost: 0.4 µs."""
        return dtx_id(self.client, self.context.hlc.now())

    def operation(self, timeout: float | None) -> Operation:
        """Begin a public call. Raises: ShutdownError, InvalidError (timeout)."""
        if self.closing:
            raise ShutdownError("the client is closed")
        return Operation(self, self._call(self.default_timeout if timeout is None else timeout))

    def renewed(self, call: Call) -> Call:
        """The same call, with the default time from now on. Raises: CanceledError."""
        self.check_running()
        return Call(self._deadline_ns(self.default_timeout), call.trace_id)

    def closing_call(self) -> Call:
        """For telling the server that a handle goes away: allowed while closing, and short."""
        return self._call(CLOSE_S if self.closing else self.default_timeout)

    def check_running(self) -> None:
        """To be asked before each further request of an operation. Raises: CanceledError."""
        if self.closing:
            raise CanceledError("the client was closed while the call was running")

    def ended(self) -> None:
        """An operation has ended."""
        self.running -= 1
        if not self.running and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def drain(self) -> None:
        """Refuse new operations, and wait for those that run, but not for long."""
        self.closing = True
        if self.running:
            self._idle = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._idle,), timeout=DRAIN_S)

    def _call(self, timeout: float) -> Call:
        self._trace = trace = self._trace + _TRACE_STEP & U64_MAX
        return Call(self._deadline_ns(timeout), trace)

    def _deadline_ns(self, timeout: float) -> int:
        if type(timeout) is float and 0 < timeout < _TIMEOUT_PLAIN_MAX:
            return self.clock.now_ns() + int(timeout * _NS_PER_S)
        try:
            valid = timeout > 0 and not math.isnan(timeout)
        except TypeError:
            valid = False
        if not valid:
            raise InvalidError(f"timeout must be a positive number of seconds, not {timeout!r}")
        if timeout > U64_MAX / _NS_PER_S / 2:  # infinity, too
            return U64_MAX >> 1
        return min(self.clock.now_ns() + int(timeout * _NS_PER_S), U64_MAX >> 1)


class Handle:
    """Something open. Closing it closes what was opened through it, first."""

    def __init__(self, session: Session, parent: Handle | None, *, writable: bool) -> None:
        self._session = session
        self._parent = parent
        self._writable = writable
        self._closed = False
        # What a service knows of, opened through this handle; in order of opening.
        self._children: dict[Handle, None] = {}

    @property
    def closed(self) -> bool:
        """Whether this handle, or one it was opened through, has been closed."""
        handle: Handle | None = self
        while handle is not None:
            if handle._closed:
                return True
            handle = handle._parent
        return False

    @property
    def writable(self) -> bool:
        """Whether changes may be made through this handle."""
        return self._writable

    async def close(self) -> None:
        """Close the handle; later calls raise StaleHandleError. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._parent is not None:
            self._parent._children.pop(self, None)
        errors: list[DaosError] = []
        for close in (*[child.close for child in reversed(self._children)], self._release):
            try:
                await close()
            except (NotFoundError, ShutdownError, StaleHandleError):
                continue  # destroyed, ended or evicted: gone is what we wanted
            except DaosError as error:
                errors.append(error)
        self._children.clear()
        if errors:
            raise errors[0]

    def mark_closed(self) -> None:
        """Close a handle that no service knows of: objects, key-values, arrays."""
        self._closed = True

    async def _release(self) -> None:
        """Tell the service that the handle is gone, where one knows of it."""

    async def _opening(self, child: Handle, request: Awaitable[ReplyT]) -> ReplyT:
        """Await the request that makes a service know `child`.

        The child is on our list before that, and stays there unless the service has refused: what
        became of a request without an answer, closing us makes sure that the handle is gone.
        """
        self._children[child] = None
        try:
            return await request
        except DaosError as error:
            if error.code not in NO_ANSWER:
                del self._children[child]
            raise

    def _operation(self, timeout: float | None, *, write: bool = False) -> Operation:
        """Begin a public call.

        Raises: StaleHandleError, ShutdownError, InvalidError; AccessError (write on read-only)
        """
        handle: Handle | None = self
        while handle is not None:
            if handle._closed:
                raise StaleHandleError(f"{handle} is closed")
            handle = handle._parent
        if write and not self._writable:
            raise AccessError(f"{self} is open read-only")
        return self._session.operation(timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()


HandleT = TypeVar("HandleT", bound=Handle)


class Opening(Generic[HandleT]):
    """A handle about to be opened: `await` it, or use it in `async with`, which also closes it.

    Nothing happens before that; awaiting it twice opens two handles.
    """

    __slots__ = ("_handle", "_open")

    def __init__(self, open: Callable[[], Coroutine[Any, Any, HandleT]]) -> None:
        self._open = open
        self._handle: HandleT | None = None

    def __await__(self) -> Generator[Any, None, HandleT]:
        return self._open().__await__()

    async def __aenter__(self) -> HandleT:
        self._handle = await self._open()
        return self._handle

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            await handle.close()

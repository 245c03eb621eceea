"""What the channels of one context share, and the one place where foreign code is called.

Foreign code is what users of a context hand in: handlers, `land`, `into`, `done`, `sent`, `abort`.
It runs inside `attempt` or `tell`: what it raises harms its own call alone. A `DaosError` is an
answer where an answer is due. Anything else is a bug: logged once, told to `on_bug`, and the peer
hears MISC.

Source: ours
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from daos.base.errors import DER, AgainError, CanceledError, DaosError
from daos.cart.bulk import Table
from daos.cart.shared import Area, SharedMemory

if TYPE_CHECKING:
    import asyncio

    from daos.base.clock import Clock, Rng
    from daos.base.hlc import Hlc
    from daos.cart.bulk_service import BulkEnd
    from daos.cart.framing import Limits
    from daos.cart.serving import Rpc, Service
    from daos.cart.wire import Endpoint

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

# So many requests a turn: any number.
ENDLESS: Final = 1 << 63


class Gate(Protocol):
    """Who decides when requests run, once more of them come than a turn may have."""

    def refusal(self, rpc: Rpc) -> DaosError | None:
        """Why a request may not come in at all; asked before its payload has a place."""

    def takes(self, rpc: Rpc) -> bool:
        """Whether it is kept, for `Rpc.run` to be called later; else it runs now."""

    def overran(self, who: str, took_ns: int) -> None:
        """Requests that came together took longer than a turn may."""


class Station:
    """What all channels of a context share."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        clock: Clock,
        hlc: Hlc,
        rng: Rng,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        on_bug: Callable[[Exception], None] | None,
        key: bytes | None,
    ) -> None:
        self.endpoint = endpoint
        self.key = key  # of the system, known to its engines
        self.clock = clock
        self.hlc = hlc
        self.loop = loop
        self.limits = limits
        self.on_bug = on_bug
        self.bugs = 0
        self.draining = False  # new requests are not heard
        # Requests that have come; above `taken_max` the gate is asked. A reply that leaves raises
        # that by `turn_max`: no call for a request, and none for a turn.
        self.taken = 0
        self.taken_max = self.turn_max = ENDLESS
        self.turn_ns_max = 0  # what a turn may take; 0: nobody wants to know
        self.gate: Gate | None = None
        self.services: dict[int, Service] = {}
        self.tasks: dict[asyncio.Task[None], Rpc] = {}
        self.shared = SharedMemory(self._removed)
        self.bulk_table = Table(limits, rng, self.shared)
        self.bulk_ends: dict[BulkEnd, None] = {}
        # Of connections that a peer has opened, by who it says it is; newest last.
        self.peers: dict[Endpoint, list[BulkEnd]] = {}

    def _removed(self, area: Area) -> None:
        """Nothing refers to an area any more; in any thread."""
        try:
            self.loop.call_soon_threadsafe(self._withdraw, area)
        except RuntimeError:  # the loop is closed: so are its links
            os.close(area.fd)

    def _withdraw(self, area: Area) -> None:
        for end in self.bulk_ends:
            end.withdraw(area.region_id)
        os.close(area.fd)

    def attempt(
        self, where: str, function: Callable[..., ResultT], *args: object
    ) -> ResultT | DaosError:
        """Call foreign code that may refuse by a DaosError; returns its result or the error."""
        try:
            return function(*args)
        except DaosError as error:
            return error
        except Exception as bug:  # the supervisor's place: on_bug decides whether to go on
            return self.bug(where, bug)

    def tell(self, where: str, function: Callable[..., object], *args: object) -> None:
        """Call foreign code that has no business to fail."""
        try:
            function(*args)
        except Exception as bug:  # as above
            self.bug(where, bug)

    def bug(self, where: str, bug: Exception) -> DaosError:
        """Report an exception that should not exist; returns what a peer is told of it."""
        self.bugs += 1
        log.error("bug procedure=%s endpoint=%s", where, self.endpoint, exc_info=bug)
        if self.on_bug is not None:
            self.on_bug(bug)
        return DaosError(f"{where}: internal error, {type(bug).__name__}", code=DER.MISC)

    def spawn(self, rpc: Rpc, handler: Callable[[Rpc], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine handler as a task of ours."""
        if len(self.tasks) >= self.limits.tasks_max:
            rpc.fail(AgainError(f"{len(self.tasks)} requests are being worked on already"))
            return
        task = self.loop.create_task(handler(rpc), name=rpc.procedure.name)
        self.tasks[task] = rpc
        task.add_done_callback(self._handled)

    def _handled(self, task: asyncio.Task[None]) -> None:
        rpc = self.tasks.pop(task)
        name = rpc.procedure.name
        error: BaseException | None
        if task.cancelled():
            error = CanceledError(f"{name}: the handler was cancelled")
        else:
            error = task.exception()
        if rpc.answered:
            if isinstance(error, Exception) and not isinstance(error, CanceledError):
                self.bug(name, error)
        elif isinstance(error, DaosError):
            rpc.fail(error)
        elif isinstance(error, Exception):
            rpc.fail(self.bug(name, error))
        else:
            rpc.fail(DaosError(f"{name}: the handler gave no answer", code=DER.NOREPLY))

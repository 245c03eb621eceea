"""A CaRT context: the place from which one event loop calls others, and where it is called.

There is one for each xstream and each client, owned by one thread. The short path has no task and
no future: a call is a `send` with a callback, a handler is a plain function that answers now or
later. `call` awaits a future on top of `send`; a handler may be a coroutine function, which then
runs as a task that the context owns.

    header and body whole --> checked, decoded --> land(rpc) names the destination --> payload
    lands --> handler(rpc) --> rpc.reply(...) or rpc.fail(...), once, now or later --> sent()

What a peer can do wrong is answered by a status: UNREG for a procedure or version that is not
served, BAD_TARGET for another context's request, INVAL for a body that is no such message or for a
payload nobody asked for, TIMEDOUT for a request that came after its deadline, HLC_SYNC for a clock
too far ahead. A handler answers with any `DaosError`. Any other exception is a bug of ours: logged,
answered with MISC, and handed to `on_bug`, whose owner decides whether to go on.

Memory. `payload` of a call is read until `done` or `cancel`, `payload` of a reply until `sent`.
`into`, and what `land` named, are written to until `done`, the handler, or `rpc.abort`, whichever
comes.

Source: DAOS src/cart/crt_context.c, crt_rpc.c; callbacks instead of progress calls: ours
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from daos.base.errors import (
    CanceledError,
    DaosError,
    DeadlineError,
    ExistsError,
    InvalidError,
    ShutdownError,
)
from daos.base.ids import U64_MAX, Tag
from daos.cart.bulk_service import BulkEnd, BulkService
from daos.cart.calling import Call, CallerChannel, Done, Into
from daos.cart.framing import Framing, Limits
from daos.cart.proof import PROOF_NS, PROVE, ProveReply, prove
from daos.cart.protocol import Procedure, ReplyT, RequestT
from daos.cart.serving import Handler, Land, Rpc, ServerChannel, Service
from daos.cart.station import Gate, Station
from daos.cart.wire import NO_RANK, Endpoint

if TYPE_CHECKING:
    from daos.base.clock import Clock, Rng
    from daos.base.hlc import Hlc
    from daos.cart.transport import Link, Listener, Transport

__all__ = ["NO_RANK", "Call", "Context", "ContextStatistics", "Endpoint", "Limits", "Rpc"]

# A timer further ahead only wakes up to look again; some loops overflow on centuries.
_TIMER_NS_MAX: Final = 3600 * 1_000_000_000
# What was queued may leave for so long when a context closes.
_LINGER_S: Final = 0.5
# A context that drains looks so often whether it has.
_LOOK_S: Final = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextStatistics:
    """Counts since the context was made; the last six are of now."""

    frames_in: int
    frames_out: int
    payload_bytes_in: int
    payload_bytes_out: int
    payload_bytes_staged: int  # arrived together with their header and were copied once more
    payload_bytes_dropped: int  # refused, or nobody waited for them any more
    late_replies: int
    duplicates: int
    bugs: int
    calls: int
    serving: int
    tasks: int
    connections: int
    bulk_regions: int
    bulk_transfers: int
    bulk_bytes_copied: int  # out of or into shared memory of peers, over connections of now


class Context:
    """See the module. Not thread-safe: everything is called in `loop`."""

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint | None,
        *,
        clock: Clock,
        hlc: Hlc,
        rng: Rng,
        loop: asyncio.AbstractEventLoop,
        limits: Limits | None = None,
        on_bug: Callable[[Exception], None] | None = None,
        key: bytes | None = None,
    ) -> None:
        """`endpoint` None: this context calls, and cannot be called. `key`: of the system, without
        which nobody else takes us for an engine, nor we anybody; not needed within a process."""
        self.endpoint = endpoint
        self.hlc = hlc
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self._loop = loop
        self._station = Station(
            # A random tag tells clients apart: bulk handles that are bound to one name it.
            endpoint or Endpoint(NO_RANK, Tag(rng.getrandbits(32))),
            clock=clock,
            hlc=hlc,
            rng=rng,
            loop=loop,
            limits=limits or Limits(),
            on_bug=on_bug,
            key=key,
        )
        self.bulk = BulkService(self._station, connect=self._bulk_end, arm=self._arm)
        self.shared = self._station.shared  # memory that peers on this host may be offered
        self._listener: Listener | None = None
        self._routes: dict[Endpoint, CallerChannel] = {}  # where a call goes
        # Everything that is connected, or was and has not been lost yet.
        self._callers: dict[CallerChannel, None] = {}
        self._servers: dict[ServerChannel, None] = {}
        self._past = dict.fromkeys(_COUNTED, 0)
        self._closing = False
        self._empty: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wake_ns = U64_MAX

    @property
    def closed(self) -> bool:
        """Whether it is closed, or is being closed."""
        return self._closing

    # Serving

    def serve(
        self,
        procedure: Procedure[RequestT, ReplyT],
        handler: Handler[RequestT, ReplyT],
        *,
        land: Land[RequestT, ReplyT] | None = None,
    ) -> None:
        """Answer a procedure here from now on.

        `handler` is a function that calls `rpc.reply` or `rpc.fail`, now or later, or a coroutine
        function that has done so when it ends. `land` is asked for the destination of the payload,
        exactly `rpc.payload_size` bytes, before it comes, and also when that is 0; None: it answers
        by itself, and `handler` is not called. Without `land` payloads are refused.

        Raises:     ExistsError   it is served already
        """
        if procedure.opcode in self._station.services:
            raise ExistsError(f"{procedure} is served already")
        self._station.services[procedure.opcode] = Service(
            procedure, cast("Handler", handler), land, inspect.iscoroutinefunction(handler)
        )

    def guard(self, gate: Gate, *, turn_ns_max: int) -> None:
        """Have `gate` decide when requests run, and told of turns that take longer than that."""
        self._station.gate, self._station.turn_ns_max = gate, turn_ns_max

    def engage(self) -> None:
        """From now on the gate is asked about every request."""
        self._station.turn_max = 0
        self._station.taken_max = self._station.taken

    def release(self, turn_max: int) -> None:
        """From now on only about those above so many in a turn, roughly."""
        self._station.turn_max = turn_max
        self._station.taken_max = self._station.taken + turn_max

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """Of handlers that are coroutines; each has the name of its procedure."""
        return tuple(self._station.tasks)

    @property
    def procedures(self) -> tuple[Procedure[Any, Any], ...]:
        """What is answered here."""
        return tuple(service.procedure for service in self._station.services.values())

    def listen(self) -> None:
        """Be reachable at our endpoint. Raises: ExistsError, InvalidError, ShutdownError."""
        if self.endpoint is None:
            raise InvalidError("a context without an endpoint cannot be called")
        if self._closing:
            raise ShutdownError("the context is closed")
        if self._listener is None:
            self._listener = self._transport.listen(self.endpoint, self._accept)

    def _accept(self, link: Link) -> ServerChannel:
        channel = ServerChannel(self._station, link, on_lost=self._server_lost)
        self._servers[channel] = None
        return channel

    # Calling

    def send(
        self,
        endpoint: Endpoint,
        procedure: Procedure[RequestT, ReplyT],
        request: RequestT,
        *,
        deadline_ns: int,
        trace_id: int = 0,
        payload: Sequence[memoryview] = (),
        into: Into[ReplyT] | None = None,
        done: Done[ReplyT],
    ) -> Call[ReplyT]:
        """Call `procedure` at `endpoint`; `done(reply, payload_nbytes, error)` comes once, later.

        Shapes:     `into`: where the reply's payload goes, at least as large, or a function
                    (reply, payload_size) that names it; not asked when no payload comes
        Units:      deadline_ns absolute, of the context's clock
        Raises:     TypeError   the request cannot be encoded, or a payload is not contiguous
                    by `done`: UNREACH, TIMEDOUT, CANCELED, SHUTDOWN, AGAIN, TRUNC (the payload
                    does not fit), INVAL (over a limit), and whatever the peer answers. After the
                    first three the peer may have executed the request, or may yet
        Cost:       about 5 µs at each end, without handler and loop
        """
        call = Call(procedure, into, done)
        body = procedure.encode(request)
        try:
            channel = self._routes.get(endpoint) or self._connect(endpoint)
            channel.send(call, body, payload, deadline_ns=deadline_ns, trace_id=trace_id)
        except DaosError as error:
            self._loop.call_soon(call.finish, self._station, None, 0, error)
            return call
        if deadline_ns < self._wake_ns:
            self._arm(deadline_ns)
        return call

    async def call(
        self,
        endpoint: Endpoint,
        procedure: Procedure[RequestT, ReplyT],
        request: RequestT,
        *,
        deadline_ns: int,
        trace_id: int = 0,
        payload: Sequence[memoryview] = (),
        into: Into[ReplyT] | None = None,
    ) -> ReplyT:
        """`send`, awaited. Cancelling gives the call up; what the peer did, or will do, stays.

        Raises:     as `send`, all of them directly
        """
        future: asyncio.Future[ReplyT] = self._loop.create_future()

        def done(reply: ReplyT | None, payload_nbytes: int, error: DaosError | None) -> None:
            del payload_nbytes
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(cast("ReplyT", reply))  # None only where ReplyT is None

        call = self.send(
            endpoint,
            procedure,
            request,
            deadline_ns=deadline_ns,
            trace_id=trace_id,
            payload=payload,
            into=into,
            done=done,
        )
        try:
            return await future
        except asyncio.CancelledError:
            call.cancel()
            raise

    def _connect(self, endpoint: Endpoint) -> CallerChannel:
        if self._closing:
            raise ShutdownError("the context is closed")
        channel = CallerChannel(
            self._station,
            endpoint,
            # As CaRT: 32 random bits keep ids of different connections and lives apart in traces.
            rpc_id_first=self._rng.getrandbits(31) << 32 | 1,
            arm=self._arm,
            on_lost=self._caller_lost,
        )
        channel.link = self._transport.connect(endpoint, channel)
        self._routes[endpoint] = channel
        self._callers[channel] = None
        key = self._station.key
        if key is not None and self.endpoint is not None and not channel.link.vouched:
            self._prove(channel, key, self.endpoint)
        return channel

    def _prove(self, channel: CallerChannel, key: bytes, source: Endpoint) -> None:
        """Say first who we are. What is sent behind it fails if it is not believed."""
        deadline_ns = self._clock.now_ns() + PROOF_NS
        request = prove(key, source, channel.peer, deadline_ns)

        def done(reply: ProveReply | None, nbytes: int, error: DaosError | None) -> None:
            del reply, nbytes
            if isinstance(error, DeadlineError):  # the peer stood still: once more, over another
                channel.cut(error)

        call: Call[ProveReply] = Call(PROVE, None, done)
        channel.send(call, PROVE.encode(request), (), deadline_ns=deadline_ns, trace_id=0)
        self._arm(deadline_ns)

    def _bulk_end(self, endpoint: Endpoint) -> BulkEnd:
        """Of our connection to an endpoint."""
        return (self._routes.get(endpoint) or self._connect(endpoint)).bulk

    # Deadlines: one timer

    def _arm(self, deadline_ns: int) -> None:
        if deadline_ns >= self._wake_ns or self._closing:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._wake_ns = deadline_ns
        # 1 µs later rather than just too early.
        ahead_ns = min(max(deadline_ns - self._clock.now_ns(), 0) + 1_000, _TIMER_NS_MAX)
        self._timer = self._loop.call_later(ahead_ns / 1e9, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._wake_ns = U64_MAX
        now_ns = self._clock.now_ns()
        channels: list[CallerChannel | ServerChannel] = [*self._callers, *self._servers]
        for channel in channels:
            if (deadline_ns := channel.expire(now_ns)) is not None:
                self._arm(deadline_ns)

    # The end

    async def drain(self, within_s: float) -> None:
        """Take no more requests; return when all that were taken are answered, or it is late.

        Requests that come meanwhile hear nothing until `close`: as if we had gone already.
        """
        if self._listener is not None:
            self._listener.close()
        self._station.draining = True
        drained: asyncio.Future[None] = self._loop.create_future()
        self._look_drained(drained, self._loop.time() + within_s)
        await drained

    def _look_drained(self, drained: asyncio.Future[None], late: float) -> None:
        if drained.done():  # whoever waited has been cancelled
            return
        busy = any(channel.serving for channel in self._servers)
        if busy and self._loop.time() < late:
            self._loop.call_later(_LOOK_S, self._look_drained, drained, late)
        else:
            drained.set_result(None)

    async def close(self) -> None:
        """End everything: outstanding calls hear CanceledError, later ones ShutdownError.

        Tasks of handlers are cancelled and awaited; unanswered requests get no answer (their
        callers hear UNREACH: whether they took effect is not known), their `abort` is called;
        answers already given leave first, for up to half a second. Idempotent.
        """
        self._closing = True
        if self._listener is not None:
            self._listener.close()
        if self._timer is not None:
            self._timer.cancel()
        self._routes.clear()
        for caller in list(self._callers):
            caller.end(CanceledError("the context was closed"))
            caller.link.close()
        tasks = [task for task in self._station.tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        for server in list(self._servers):
            server.close()
        if tasks:
            await asyncio.wait(tasks)
        await self._all_lost()

    async def _all_lost(self) -> None:
        """Until every link has said its connection_lost; those that linger too long are cut."""
        if not self._callers and not self._servers:
            return
        if self._empty is None:
            self._empty = self._loop.create_future()
        await asyncio.wait((self._empty,), timeout=_LINGER_S)
        links = [channel.link for channel in self._callers]
        links += [channel.link for channel in self._servers]
        for link in links:
            link.close(CanceledError("the context was closed"))
        await asyncio.shield(self._empty)

    def _caller_lost(self, channel: CallerChannel) -> None:
        if self._routes.get(channel.peer) is channel:
            del self._routes[channel.peer]
        if self._callers.pop(channel, 0) is None:
            self._lost(channel.session)

    def _server_lost(self, channel: ServerChannel) -> None:
        if self._servers.pop(channel, 0) is None:
            self._lost(channel.session)

    def _lost(self, session: Framing[Any]) -> None:
        for name in _COUNTED:
            self._past[name] += getattr(session, name, 0)
        over = not self._callers and not self._servers
        if over and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def statistics(self) -> ContextStatistics:
        """Sums over all connections, those that ended included."""
        channels: list[CallerChannel | ServerChannel] = [*self._callers, *self._servers]
        sessions: list[Framing[Any]] = [channel.session for channel in channels]
        counts = {
            name: self._past[name] + sum(getattr(session, name, 0) for session in sessions)
            for name in _COUNTED
        }
        return ContextStatistics(
            **counts,
            bugs=self._station.bugs,
            calls=sum(channel.session.inflight for channel in self._callers),
            serving=sum(channel.session.serving for channel in self._servers),
            tasks=len(self._station.tasks),
            connections=len(self._callers) + len(self._servers),
            bulk_regions=len(self._station.bulk_table),
            bulk_transfers=sum(channel.bulk.port.transfers for channel in channels),
            bulk_bytes_copied=sum(channel.bulk.port.nbytes_copied for channel in channels),
        )


_COUNTED: Final = (
    "frames_in",
    "frames_out",
    "payload_bytes_in",
    "payload_bytes_out",
    "payload_bytes_staged",
    "payload_bytes_dropped",
    "late_replies",
    "duplicates",
)

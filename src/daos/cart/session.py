"""The two ends of one RPC connection, sans-I/O: what frames mean, and when calls end.

A connection has one caller and one server; two contexts that call each other use two. Bytes and
time come in as arguments, events, frames and the next deadline come out (`framing.py`).

A call, at its caller:

    WAITING --a place is free--> QUEUED --data_to_send--> SENT --reply--> gone: event
       |                           |                        |
       +---------------------------+--- cancel, expire -----+--> gone: returned

    S1  a call ends once: by its reply, by `expire`, by `cancel`, or by `end`
    S2  a reply to a call that is gone is dropped, its payload with it, also midway: memory of
        a call that ended is not written to
    S3  a call given up before its frame left does not leave
    S4  at most inflight_max calls are QUEUED or SENT, waiting_max WAITING; calls leave in the
        order they came
    S5  `expire` keeps a call whose payload the transport still reads, until `data_sent`: when a
        call ended that way its memory is free

A request, at its server:

    R1  ids grow; a request whose id is not above all before it is a duplicate, and ignored
    R2  a request whose deadline has passed is answered with TIMEDOUT and not told of
    R3  every other request is answered at most once; `may_read` is False while too many are not,
        or too many bytes wait to leave: the transport then stops reading, between two requests
    R4  reading does not stop for unanswered requests while bulk data is expected, which they may
        wait for; further ones are then refused with AGAIN

Only the server stops reading, and only for what it sends itself; the caller always reads. So two
peers cannot wait for each other.

Source: DAOS src/cart/crt_context.c crt_context_req_track, crt_rpc.c; R1, roles: ours
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Generic

import msgspec

from daos.base.errors import DER, AgainError, DaosError, DeadlineError, InvalidError, ProtocolError
from daos.base.ids import U64_MAX
from daos.cart.framing import PAYLOAD, Frame, Framing, Limits, Sent, TokenT, as_bytes
from daos.cart.wire import HEADER_SIZE, REPLY, Endpoint, Header, checksum, emit_failure

__all__ = ["CallerSession", "Limits", "ServerSession"]

_NEVER: Final = U64_MAX


class _Call(msgspec.Struct, Generic[TokenT], frozen=True):
    token: TokenT
    deadline_ns: int


class CallerSession(Framing[TokenT]):
    """The end that sends requests. `token` is whatever the shell knows a call by."""

    def __init__(
        self, limits: Limits, *, peer: Endpoint, source: Endpoint, rpc_id_first: int = 1
    ) -> None:
        super().__init__(limits)
        self.late_replies = 0
        self._route = (*peer, *source)
        self._rpc_id_next = rpc_id_first
        self._calls: dict[int, _Call[TokenT]] = {}  # every call that has not ended
        # Those of them that are not in the outbox yet; a dict would be slow to pop in order.
        self._waiting: OrderedDict[int, Frame] = OrderedDict()
        # Not above the earliest deadline; exact after `expire`. One scan per wake-up costs less
        # than keeping order in every call, of which nearly none expires.
        self._wake_ns = _NEVER

    @property
    def inflight(self) -> int:
        """Calls that have not ended, waiting ones included."""
        return len(self._calls)

    def request(
        self,
        token: TokenT,
        opcode: int,
        body: bytes,
        payload: Sequence[memoryview] = (),
        *,
        deadline_ns: int,
        trace_id: int = 0,
    ) -> int:
        """Queue a call; returns its rpc_id. A trace_id of 0 becomes the rpc_id.

        Raises:     InvalidError   body or payload above its limit, deadline or trace id no u64
                    AgainError     too many calls wait already
                    TypeError      a payload that is not contiguous
        Cost:       O(1)
        """
        assert not self.dead, "the connection is gone"
        limits = self.limits
        if len(body) > limits.body_size_max:
            raise InvalidError(
                f"rpc body of {len(body)} bytes, the limit is {limits.body_size_max}"
            )
        if not (0 <= deadline_ns <= U64_MAX and 0 <= trace_id <= U64_MAX):
            raise InvalidError(f"deadline {deadline_ns} or trace id {trace_id} is not a u64")
        waits = (
            self._waiting
            or len(self._calls) >= limits.inflight_max
            or self.outbox_bytes >= limits.outbox_size_max
        )
        if waits and len(self._waiting) >= limits.waiting_max:
            raise AgainError(f"{len(self._calls)} calls are on their way to this peer already")
        size = 0
        if payload:
            payload = as_bytes(payload)
            size = self._payload_size(payload, DER.INVAL)
        rpc_id = self._rpc_id_next
        self._rpc_id_next = rpc_id + 1
        body_size, trace_id = len(body), trace_id or rpc_id
        sums = (deadline_ns, trace_id, size, body_size, checksum(body))
        fields = (0, opcode, 0, rpc_id, *self._route, *sums)
        frame = Frame(fields, body, payload, HEADER_SIZE + body_size + size, None)
        self._calls[rpc_id] = _Call(token, deadline_ns)
        if waits:
            self._waiting[rpc_id] = frame
        else:
            self._queue(frame)
        if deadline_ns < self._wake_ns:
            self._wake_ns = deadline_ns
        return rpc_id

    def data_to_send(self, nbytes_max: int, epoch: int) -> list[bytes | memoryview]:
        pieces = super().data_to_send(nbytes_max, epoch)
        if self._waiting:
            self._admit()
        return pieces

    def unsent(self) -> set[int]:
        """The calls of which nothing has left. Cost: O(queued)."""
        return {*self._waiting, *(frame.rpc_id for frame in self._outbox)}

    def next_deadline_ns(self) -> int | None:
        """When to call `expire`; perhaps earlier than needed, never later."""
        return None if self._wake_ns == _NEVER else self._wake_ns

    def expire(self, now_ns: int) -> list[TokenT]:
        """End the calls whose deadline has passed; oldest first.

        Cost:       O(calls), once per wake-up
        """
        held = {frame.rpc_id for frame in self._taken}
        late = [
            rpc_id
            for rpc_id, call in self._calls.items()
            if call.deadline_ns <= now_ns and rpc_id not in held
        ]
        tokens = [self._calls[rpc_id].token for rpc_id in late]
        for rpc_id in late:
            self.cancel(rpc_id)
        # Late calls that the transport holds (S5) are looked at again after `data_sent`.
        self._wake_ns = min(
            [
                call.deadline_ns
                for rpc_id, call in self._calls.items()
                if rpc_id not in held or call.deadline_ns > now_ns
            ],
            default=_NEVER,
        )
        return tokens

    def overdue(self, now_ns: int) -> bool:
        """Whether the transport keeps calls from ending whose deadline has passed (S5)."""
        calls = [self._calls.get(frame.rpc_id) for frame in self._taken]
        return any(call is not None and call.deadline_ns <= now_ns for call in calls)

    def holds(self, rpc_id: int) -> bool:
        """Whether the transport still reads the payload of this call."""
        return any(frame.rpc_id == rpc_id for frame in self._taken)

    def data_sent(self) -> list[Sent]:
        for frame in self._taken:
            if call := self._calls.get(frame.rpc_id):
                self._wake_ns = min(self._wake_ns, call.deadline_ns)
        return super().data_sent()

    def cancel(self, rpc_id: int) -> bool:
        """End a call without an answer; False if it has ended before.

        Its `into` memory is free at once. Its payload is, unless the transport holds it still.
        """
        if self._calls.pop(rpc_id, None) is None:
            return False
        if self._waiting.pop(rpc_id, None) is None:
            self._unqueue(rpc_id)
            if self._waiting:
                self._admit()
        if self._state == PAYLOAD and self._header and self._header.rpc_id == rpc_id:
            self._forget()
        return True

    def end(self) -> list[TokenT]:
        """The connection is gone: end all calls, oldest first."""
        self.kill()
        self.drop_output()
        tokens = [call.token for call in self._calls.values()]
        self._calls.clear()
        self._waiting.clear()
        self._wake_ns = _NEVER
        return tokens

    def _accept(self, header: Header, now_ns: int) -> tuple[bool, TokenT | None]:
        if not header.flags & REPLY:
            raise ProtocolError(f"request {header.opcode:#010x} from a peer that was called")
        call = self._calls.get(header.rpc_id)
        if call is None or header.rpc_id in self._waiting:
            self.late_replies += 1
            return False, None
        if not header.payload_size:
            self._ended(header)
        return True, call.token

    def _ended(self, header: Header) -> None:
        if self._calls.pop(header.rpc_id, None) and self._waiting:
            self._admit()

    def _admit(self) -> None:
        """Calls that waited take the places that came free."""
        limits = self.limits
        free = limits.inflight_max - (len(self._calls) - len(self._waiting))
        while free > 0 and self._waiting and self.outbox_bytes < limits.outbox_size_max:
            free -= 1
            self._queue(self._waiting.popitem(last=False)[1])

    def _unqueue(self, rpc_id: int) -> None:
        for index, frame in enumerate(self._outbox):
            if frame.rpc_id == rpc_id:
                self.outbox_bytes -= frame.nbytes
                del self._outbox[index]
                return


class ServerSession(Framing[None]):
    """The end that answers requests. A request is known by its header."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.duplicates = 0
        self.serving = 0  # requests told of and not answered
        self._rpc_id_last = 0

    @property
    def may_read(self) -> bool:
        """False: let the peer wait (R3)."""
        limits = self.limits
        if self.outbox_bytes < limits.outbox_size_max and (
            self.serving < limits.serving_max or (self.own is not None and self.own.expecting)
        ):
            return True
        return self._state == PAYLOAD  # of a request that was taken: it has to end

    def reply(
        self,
        request: Header,
        body: bytes,
        payload: Sequence[memoryview] = (),
        *,
        sent: Sent | None = None,
    ) -> None:
        """Answer a request; `sent` comes back when the payload's memory is free again.

        Raises:     DaosError(OVERFLOW)   body or payload above its limit; nothing was queued
                    TypeError             a payload that is not contiguous; nor was it then
        """
        if len(body) > self.limits.body_size_max:
            raise DaosError(
                f"reply of {len(body)} bytes, the limit is {self.limits.body_size_max}",
                code=DER.OVERFLOW,
            )
        size = 0
        if payload:
            payload = as_bytes(payload)
            size = self._payload_size(payload, DER.OVERFLOW)
        self._answer(request, 0, body, payload=payload, size=size, sent=sent)

    def fail(self, request: Header, error: DaosError) -> None:
        """Answer a request with an error: its code and text."""
        self._answer(request, int(error.code), emit_failure(error))

    def end(self) -> list[Sent]:
        """The connection is gone. Returns what to call, for replies that did not leave."""
        self.kill()
        return self.drop_output()

    def _answer(
        self,
        request: Header,
        status: int,
        body: bytes,
        *,
        payload: Sequence[memoryview] = (),
        size: int = 0,
        sent: Sent | None = None,
    ) -> None:
        self.serving -= 1
        body_size = len(body)
        fields = (
            REPLY,
            request.opcode,
            status,
            request.rpc_id,
            request.source_rank,
            request.source_tag,
            request.rank,
            request.tag,
            0,
            request.trace_id,
            size,
            body_size,
            checksum(body),
        )
        self._queue(Frame(fields, body, payload, HEADER_SIZE + body_size + size, sent))

    def _accept(self, header: Header, now_ns: int) -> tuple[bool, None]:
        if header.flags & REPLY:
            raise ProtocolError(f"reply {header.opcode:#010x} from a peer that was not called")
        if header.status:
            raise ProtocolError(f"request {header.opcode:#010x} with status {header.status}")
        if header.rpc_id <= self._rpc_id_last:
            self.duplicates += 1
            return False, None
        self._rpc_id_last = header.rpc_id
        self.serving += 1
        if self.serving > self.limits.serving_max and self.own is not None and self.own.expecting:
            self.fail(header, AgainError(f"{self.serving} requests of this peer are unanswered"))
            return False, None
        if header.deadline_ns <= now_ns:
            late_ms = (now_ns - header.deadline_ns) // 1_000_000
            self.fail(header, DeadlineError(f"the request came {late_ms} ms after its deadline"))
            return False, None
        return True, None

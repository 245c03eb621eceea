"""Frames of one connection, sans-I/O: bytes in and out, each landing where it belongs.

Nothing here awaits, logs or reads a clock. `session.py` adds what frames mean.

Input has the shape of asyncio's BufferedProtocol: ask for a buffer, fill some of it, say so.

    FRAMES ---- header whole, body not ------> BODY ------ body whole ----+
      |  ^                                                                |
      |  +------------------- no payload ---------------------------------+
      +-- header and body whole, payload follows --> ASKED (event Head) <-+
                                                       | land(...)
      FRAMES <------------ payload whole ------ PAYLOAD
      any -- bytes that are no frame --> DEAD (event Broken)

    FRAMES   bytes go to a scratch buffer of fixed size; whole frames are taken out of it
    BODY     a body that came only in part has memory of its own, the rest goes straight into it
    ASKED    the owner names the destination of the payload, or refuses it; no bytes until then
    PAYLOAD  bytes go straight into the destination, or, refused, into the scratch buffer and away

    F1  the events depend on the bytes alone, not on how they were cut
    F2  no memory is taken for a size that is above its bound in `Limits`
    F3  bytes of a payload are copied only if they arrived in one read with their header
        (`payload_bytes_staged` counts them)
    F4  after DEAD nothing is read, and no destination is written to

Output is pulled: `data_to_send` gives whole frames, small parts joined, payloads as the views that
were handed in; their memory is free again after `data_sent`.

Source: ours; shape from asyncio.BufferedProtocol and h11
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from daos.base.errors import DER, CorruptError, InvalidError, ProtocolError, error_for
from daos.cart.wire import HEADER_SIZE, Bytes, Header, checksum, emit

KiB: Final = 1 << 10
MiB: Final = 1 << 20

TokenT = TypeVar("TokenT")
Sent = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every bound of a connection. Both peers need equal size limits, or large frames end it."""

    # A message is for names and descriptors; data goes as payload.
    # Two keys of 1 MiB, the longest there are, and what describes them.
    body_size_max: int = 4 * MiB
    payload_size_max: int = 64 * MiB
    # Calls on their way at once; later ones wait their turn, and beyond that are refused.
    inflight_max: int = 256
    waiting_max: int = 16384
    # Requests taken and not answered; at this number reading stops. Above inflight_max, since
    # a caller that gave up on calls may send others in their place.
    serving_max: int = 1024
    # Bytes queued before calls wait, or reading stops. One frame may go beyond it.
    outbox_size_max: int = 8 * MiB
    # Coroutine handlers running at once, in one context.
    tasks_max: int = 1024
    # Bulk: bytes of a chunk, no more than a payload's; chunks on their way in one connection and
    # direction, and transfers; bytes of a region, regions of a context.
    bulk_chunk_size: int = MiB
    bulk_inflight_max: int = 8
    bulk_transfers_max: int = 4096
    bulk_size_max: int = 1 << 40
    bulk_regions_max: int = 1 << 16
    # A peer that owes answers to bulk requests, or the rest of a payload, and is silent for so many
    # seconds has gone. It is looked at as often: within twice the time. One that sends other things
    # instead has eight times as long.
    bulk_quiet_s: int = 15
    # Reads go here between payloads: larger takes fewer reads, and copies more of each payload.
    scratch_size: int = 64 * KiB

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise InvalidError(f"cart limit {name} must be positive, got {getattr(self, name)}")
        if self.scratch_size < 4 * HEADER_SIZE:
            raise InvalidError(f"cart limit scratch_size must be at least {4 * HEADER_SIZE}")
        if self.serving_max < self.inflight_max:
            raise InvalidError("cart limit serving_max must be at least inflight_max")


class Message(msgspec.Struct, Generic[TokenT], frozen=True):
    """A whole frame without payload. `token` is the caller's for a reply, None for a request."""

    header: Header
    body: Bytes
    token: TokenT | None


class Head(msgspec.Struct, Generic[TokenT], frozen=True):
    """Header and body of a frame whose payload follows: answer with `land` before all else."""

    header: Header
    body: Bytes
    token: TokenT | None


class Landed(msgspec.Struct, Generic[TokenT], frozen=True):
    """The payload of the last Head is whole in its destination."""

    header: Header
    token: TokenT | None


class Broken(msgspec.Struct, frozen=True):
    """The peer sent what is no frame. The connection is lost; always the last event.

    The error comes without its traceback: that leads to the frame whose variable this event is, and
    so to the channel and all of its memory, which would wait for the garbage collector.
    """

    error: CorruptError | ProtocolError


class Own(Protocol):
    """What takes the frames of CaRT's own protocol (bulk), which either end may send."""

    @property
    def expecting(self) -> bool:
        """The peer owes us an answer, which only reading brings."""
        ...

    def take(self, header: Header, body: Bytes) -> Sequence[memoryview] | None:
        """A header and its body are whole. Where the payload goes; None: nowhere.

        Raises: ProtocolError
        """
        ...

    def landed(self, header: Header) -> None:
        """The payload is whole where `take` said; not called where it said None."""
        ...


OWN_BASE: Final = 0xFF
_OWN_FIRST: Final = OWN_BASE << 24  # opcodes from here on are CaRT's own

Event = Message[TokenT] | Head[TokenT] | Landed[TokenT] | Broken

FRAMES: Final = 0
BODY: Final = 1
ASKED: Final = 2
PAYLOAD: Final = 3
DEAD: Final = 4


class Frame(msgspec.Struct, frozen=True):
    """One frame waiting to leave: all of its header but the epoch, which it gets then."""

    fields: tuple[int, ...]
    body: bytes
    payload: Sequence[memoryview]
    nbytes: int
    sent: Sent | None

    @property
    def rpc_id(self) -> int:
        return self.fields[3]


class Framing(Generic[TokenT]):
    """Both directions of the bytes of one connection. Sessions derive from it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.frames_in = 0
        self.frames_out = 0
        self.payload_bytes_in = 0
        self.payload_bytes_out = 0
        self.payload_bytes_staged = 0
        self.payload_bytes_dropped = 0
        self._state = FRAMES
        self._scratch = memoryview(bytearray(limits.scratch_size))
        self._start = 0  # of what is in the scratch buffer and not yet taken
        self._end = 0
        self._header: Header | None = None  # of the frame that is not whole yet
        self._token: TokenT | None = None
        self._body = bytearray()
        self._into: memoryview | None = None  # the rest of the piece being filled; None: drop
        self._rest: deque[memoryview] = deque()  # pieces after it
        self._left = 0  # payload bytes still to come
        self._outbox: deque[Frame] = deque()
        self._taken: list[Frame] = []  # with the transport; only frames that hold on to memory
        self.outbox_bytes = 0
        self.own: Own | None = None

    # Input

    def get_buffer(self, size_hint: int = 0) -> memoryview:
        """Where the next bytes from the peer go; never empty. `size_hint` is of no interest."""
        state = self._state
        if state == FRAMES:
            if self._start:
                self._to_front()
            return self._scratch[self._end :] if self._end else self._scratch
        if state == DEAD or (state == PAYLOAD and self._into is None):
            return self._scratch[: self._left] if self._left else self._scratch
        assert state != ASKED, "land() comes first"
        assert self._into is not None
        return self._into

    def buffer_updated(self, nbytes: int, now_ns: int) -> list[Event[TokenT]]:
        """`nbytes` of the last buffer were filled. Returns what they complete, in order.

        A `Head` comes last, and wants `land`. A `Broken` ends the connection.
        """
        state = self._state
        if state == FRAMES:
            self._end += nbytes
            return self._take_frames(now_ns)
        if state == DEAD:
            return []
        assert state != ASKED, "land() comes first"
        events: list[Event[TokenT]] = []
        if state == PAYLOAD:
            self._left -= nbytes
            if not self._left and not self._rest:
                self._into = None  # nearly always: one piece, whole
            elif self._into is not None:
                self._fill(nbytes)
            if not self._left:
                self._payload_whole(events)
        else:
            self._fill(nbytes)
            if self._into is None:
                body, self._body = self._body, bytearray()
                self._state = FRAMES
                assert self._header is not None
                self._take(self._header, body, now_ns, events)
        return events

    def land(self, destinations: Sequence[memoryview] | None, now_ns: int) -> list[Event[TokenT]]:
        """Name where the payload of the last Head goes; None: nowhere, and no Landed follows.

        Shapes:     one-dimensional or contiguous, writable, together payload_size or more bytes
        """
        assert self._state == ASKED, "no Head is waiting"
        assert self._header is not None
        if destinations is None:
            self._ended(self._header)
        self._begin_payload(destinations)
        if self._left:
            return []  # the scratch buffer is empty now
        events: list[Event[TokenT]] = []
        self._payload_whole(events)
        events += self._take_frames(now_ns)
        return events

    def _accept(self, header: Header, now_ns: int) -> tuple[bool, TokenT | None]:
        """Whether the owner should hear of this frame, and its token. Raises: ProtocolError."""
        raise NotImplementedError

    def _ended(self, header: Header) -> None:
        """The frame of a Head is over: landed, or refused by the owner."""

    def _take_frames(self, now_ns: int) -> list[Event[TokenT]]:
        events: list[Event[TokenT]] = []
        scratch = self._scratch
        body_max, payload_max = self.limits.body_size_max, self.limits.payload_size_max
        try:
            while self._state == FRAMES and self._end - self._start >= HEADER_SIZE:
                header = Header.parse(scratch, self._start)
                if header.body_size > body_max or header.payload_size > payload_max:
                    raise self._too_large(header)
                at = self._start + HEADER_SIZE
                end = at + header.body_size
                if end > self._end:
                    self._begin_body(header, at)
                    break
                self._start = end
                self._take(header, scratch[at:end].tobytes(), now_ns, events)
        except (CorruptError, ProtocolError) as error:
            self._broken(error, events)
        if self._start == self._end:
            self._start = self._end = 0
        return events

    def _too_large(self, header: Header) -> ProtocolError:
        limits = self.limits
        return ProtocolError(
            f"rpc body of {header.body_size} and payload of {header.payload_size} bytes, "
            f"the limits are {limits.body_size_max} and {limits.payload_size_max}"
        )

    def _begin_body(self, header: Header, at: int) -> None:
        """The body's first bytes are at scratch[at:end], the rest is to come."""
        have = self._end - at
        self._state = BODY
        self._header = header
        self._body = bytearray(header.body_size)
        self._into = memoryview(self._body)[have:]
        self._body[:have] = self._scratch[at : self._end]
        self._start = self._end = 0

    def _take(self, header: Header, body: Bytes, now_ns: int, events: list[Event[TokenT]]) -> None:
        """A header and its body are whole."""
        try:
            if (got := checksum(body)) != header.body_sum:
                raise CorruptError(
                    "rpc body checksum", offset=HEADER_SIZE, want=header.body_sum, got=got
                )
            if header.opcode >= _OWN_FIRST:
                self._take_own(header, body, events)
                return
            wanted, token = self._accept(header, now_ns)
        except (CorruptError, ProtocolError) as error:
            self._broken(error, events)
            return
        self.frames_in += 1
        if not header.payload_size:
            if wanted:
                events.append(Message(header, body, token))
            return
        self._header = header
        self._token = token
        if wanted:
            self._state = ASKED
            events.append(Head(header, body, token))
        else:
            self._begin_payload(None)
            if not self._left:
                self._payload_whole(events)

    def _take_own(self, header: Header, body: Bytes, events: list[Event[TokenT]]) -> None:
        """As `_take`, for a frame that is none of the session's business."""
        if self.own is None:
            raise ProtocolError(f"frame {header.opcode:#010x}, and no bulk is served here")
        self.frames_in += 1
        destinations = self.own.take(header, body)
        if header.payload_size:
            self._header = header
            self._begin_payload(destinations)
            if not self._left:
                self._payload_whole(events)

    def _begin_payload(self, destinations: Sequence[memoryview] | None) -> None:
        assert self._header is not None
        self._state = PAYLOAD
        self._left = self._header.payload_size
        if destinations is None:
            self._forget()
        else:
            into = destinations[0] if len(destinations) == 1 else None
            if (
                into is not None
                and into.nbytes == self._left
                and into.ndim == 1
                and into.format == "B"
            ):
                self._into = into  # nearly always
            else:
                self._rest = _trimmed(destinations, self._left)
                self._into = self._rest.popleft()
        staged = min(self._end - self._start, self._left)
        if staged:
            self._unstage(staged)

    def _fill(self, nbytes: int) -> None:
        """`nbytes` of the current piece are there; go on to the next."""
        into = self._into
        assert into is not None
        if nbytes < len(into):
            self._into = into[nbytes:]
        else:
            self._into = self._rest.popleft() if self._rest else None

    def _unstage(self, nbytes: int) -> None:
        """Move payload bytes that came with their header to where they belong."""
        self._left -= nbytes
        if self._into is not None:
            self.payload_bytes_staged += nbytes
        while nbytes and self._into is not None:
            step = min(nbytes, len(self._into))
            self._into[:step] = self._scratch[self._start : self._start + step]
            self._start += step
            nbytes -= step
            self._fill(step)
        self._start += nbytes
        if self._start == self._end:
            self._start = self._end = 0

    def _payload_whole(self, events: list[Event[TokenT]]) -> None:
        header, token = self._header, self._token
        self._state = FRAMES
        self._header = self._token = None
        if header is None:
            return  # dropped
        self.payload_bytes_in += header.payload_size
        if header.opcode >= _OWN_FIRST:
            assert self.own is not None
            self.own.landed(header)
            return
        self._ended(header)
        events.append(Landed(header, token))

    def _forget(self) -> None:
        """Let the rest of the current payload go nowhere, and say nothing of it."""
        self.payload_bytes_dropped += self._left
        self._header = self._token = self._into = None
        self._rest.clear()

    def forget(self) -> None:
        """Let the rest of a payload of ours go nowhere: its destination is free."""
        if self._state == PAYLOAD:
            self._forget()

    def _to_front(self) -> None:
        """Make room behind an incomplete header; less than HEADER_SIZE bytes move."""
        have = self._end - self._start
        self._scratch[:have] = self._scratch[self._start : self._end]
        self._start, self._end = 0, have

    def _broken(self, error: CorruptError | ProtocolError, events: list[Event[TokenT]]) -> None:
        self.kill()
        events.append(Broken(error.with_traceback(None)))

    def kill(self) -> None:
        """Nothing is read or sent any more."""
        self._state = DEAD
        self._start = self._end = self._left = 0
        self._header = self._token = self._into = None
        self._body = bytearray()
        self._rest.clear()

    def release(self) -> None:
        """The connection is gone, nobody asks for a buffer any more: give it back at once.

        Whoever remembers a connection, or a cycle that waits for the collector, keeps little.
        """
        self._scratch = memoryview(b"")

    @property
    def dead(self) -> bool:
        return self._state == DEAD

    # Output

    @property
    def holds_memory(self) -> bool:
        """The transport reads payloads until `data_sent`."""
        return bool(self._taken)

    @property
    def has_output(self) -> bool:
        """`data_to_send` would give something."""
        return bool(self._outbox)

    def data_to_send(self, nbytes_max: int, epoch: int) -> list[bytes | memoryview]:
        """Whole frames, in order, until they are `nbytes_max` or more bytes; [] if there are none.

        Every frame gets `epoch`. Payload views are read-only and must stay as they are until
        `data_sent`.
        """
        pieces: list[bytes | memoryview] = []
        run: list[bytes] = []
        total = 0
        outbox = self._outbox
        while outbox and total < nbytes_max:
            frame = outbox.popleft()
            total += frame.nbytes
            self.frames_out += 1
            run.append(emit(frame.fields, epoch))
            run.append(frame.body)
            if frame.payload:
                pieces.append(b"".join(run))
                run.clear()
                pieces += frame.payload
            if frame.payload or frame.sent:
                self._taken.append(frame)
        if run:
            pieces.append(b"".join(run))
        self.outbox_bytes -= total
        return pieces

    def data_sent(self) -> list[Sent]:
        """All that `data_to_send` gave has been sent or copied. Returns what to call now."""
        if not self._taken:
            return []
        taken, self._taken = self._taken, []
        return [frame.sent for frame in taken if frame.sent]

    def drop_output(self) -> list[Sent]:
        """The connection is gone: nothing will leave any more. Returns what to call now."""
        self._taken += self._outbox
        self._outbox.clear()
        self.outbox_bytes = 0
        return self.data_sent()

    @property
    def progress(self) -> tuple[int, int, int]:
        """Changes whenever a frame, or a part of a payload, has come or a frame has left."""
        return self.frames_in, self._left, self.frames_out

    @property
    def landing(self) -> bool:
        """A payload has come in part, into memory that its owner has named."""
        return self._state == PAYLOAD and self._into is not None

    @property
    def outbox_frames(self) -> int:
        """Frames that wait to leave."""
        return len(self._outbox)

    def queue_own(self, frame: Frame) -> None:
        """Let a frame of `own` leave, unless nothing does any more."""
        if self._state != DEAD:
            self.payload_bytes_out += frame.nbytes - HEADER_SIZE - len(frame.body)
            self._queue(frame)

    def unqueue(self, opcode: int, rpc_id: int, flags: int = 0) -> Frame | None:
        """Take back a frame that has not left. Cost: O(frames waiting)."""
        for index, frame in enumerate(self._outbox):
            if frame.fields[3] == rpc_id and frame.fields[:2] == (flags, opcode):
                self.outbox_bytes -= frame.nbytes
                del self._outbox[index]
                return frame
        return None

    def _queue(self, frame: Frame) -> None:
        self._outbox.append(frame)
        self.outbox_bytes += frame.nbytes

    def _payload_size(self, payload: Sequence[memoryview], code: DER) -> int:
        """Raises: the error of `code` if it is above the limit."""
        size = payload[0].nbytes if len(payload) == 1 else sum([view.nbytes for view in payload])
        if size > self.limits.payload_size_max:
            limit = self.limits.payload_size_max
            raise error_for(code, f"rpc payload of {size} bytes, the limit is {limit}")
        self.payload_bytes_out += size
        return size


def unfit(views: Sequence[memoryview]) -> bool:
    """Some of `views` cannot be a destination."""
    for view in views:  # noqa: SIM110  # a third of what `any` over a generator takes
        if view.readonly or not view.c_contiguous:
            return True
    return False


def as_bytes(views: Sequence[memoryview]) -> list[memoryview]:
    """Read-only views of bytes, without the empty ones. Raises: TypeError if not contiguous."""
    if len(views) == 1 and views[0].format == "B" and views[0].ndim == 1 and views[0].c_contiguous:
        return [views[0].toreadonly()] if views[0].nbytes else []
    return [view.cast("B").toreadonly() for view in views if view.nbytes]


def _trimmed(views: Sequence[memoryview], nbytes: int) -> deque[memoryview]:
    """The first `nbytes` bytes of `views`."""
    pieces = deque[memoryview]()
    for view in views:
        if not nbytes:
            break
        if view.nbytes:
            pieces.append(view.cast("B")[:nbytes])
            nbytes -= len(pieces[-1])
    assert not unfit(views), "a destination is contiguous and writable"
    assert not nbytes, "the destination is too small for the payload"
    return pieces

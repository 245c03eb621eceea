"""One end of a connection over a stream socket, whatever family: bytes between it and a channel.

The socket is driven by readiness (`poller.py`) and plain system calls, not by asyncio's transports:
what is sent stays the channel's memory until the kernel has it, what comes lands where the channel
says, and both loops behave alike. README.md has the figures of both.

    WAITING --join(socket)--> UP --close()--> ENDING --all has left--> DRAINING --end of file--+
       |                      |                 |                         |                    |
       +---- close(error), end of file, a failed system call -------------+--------------> OVER

    L1  the channel is asked for more only when everything before has been handed to the kernel
    L2  a turn reads about TURN_BYTES and sends about as many, then others have their turn
    L3  who closes in order sends everything, says so (shutdown), and waits for the peer to do the
        same, LINGER_S at most: a socket that is closed with unread bytes would take back what the
        peer has not read yet
    L4  a peer that takes nothing of what waits for it for `stall_s` has gone: what waits holds
        memory, of requests and of answers
    L5  the end of the peer's bytes is the end of the connection: nobody half closes and stays

Source: ours
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from daos.base.errors import DER, DaosError
from daos.cart.transport import Channel
from daos.cart.transport.poller import READ, WRITE, Poller

# Moved at once in each direction: 1 MiB takes about 0.2 ms.
TURN_BYTES: Final = 1 << 20
# How long an orderly end waits for the peer's.
LINGER_S: Final = 0.5
# How long a peer may leave everything that is for it in the kernel's hands.
STALL_S: Final = 15.0
_IOV_MAX: Final = 1024  # pieces that one system call takes
_LEFT: Final = frozenset({errno.EPIPE, errno.ECONNRESET})  # what is told of a peer that has closed
_TRASH_SIZE: Final = 64 << 10


@dataclass(slots=True)
class Counts:
    """What the links of one transport have done together."""

    reads: int = 0  # system calls that brought bytes
    writes: int = 0  # system calls that sent some
    blocked: int = 0  # times that a socket took less than it was given
    bytes_in: int = 0
    bytes_out: int = 0


class StreamLink:
    """A `Link` over one socket; it is there before its socket is."""

    shares = False
    vouched = False

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        poller: Poller,
        counts: Counts,
        on_over: Callable[[StreamLink], None],
    ) -> None:
        self.channel: Channel | None = None
        self.refusal: DaosError | None = None
        self.over = False
        self.left = False
        self._loop = loop
        self._poller = poller
        self._counts = counts
        self.on_over = on_over  # told of the end, before the channel
        self._socket: socket.socket | None = None
        self._fd = -1
        self._unsent: deque[memoryview] = deque()  # given by the channel, not yet taken
        self._copied = False  # what is in there is ours, and the channel has not been told
        self._kicked = False
        self._scheduled = False  # a pump is on its way, or follows the read under way
        self._reading = True
        self._ending = False  # the channel has closed: it hears nothing more
        self._linger: asyncio.TimerHandle | None = None
        self.stall_s = STALL_S
        self._stall: asyncio.TimerHandle | None = None  # the next look, while something waits
        self._stuck = False  # nothing has left since the last look
        self._on_readable: Callable[[], None] = self._readable

    def join(self, sock: socket.socket) -> None:
        """The connection is up: what waited may flow. Called by the transport, in a call-back."""
        self._socket, self._fd = sock, sock.fileno()
        self._watch()
        if self._kicked:
            self._schedule()

    # What the channel calls

    def kick(self) -> None:
        self._kicked = True
        if not self._scheduled:
            self._schedule()

    def pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._watch()

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._watch()

    def close(self, error: DaosError | None = None) -> None:
        if self.over or (self._ending and error is None):
            return
        self._ending = self._kicked = True
        if error is not None:
            self._reset()
            self._finish(None)
            return
        self._on_readable = self._drain
        self._watch()
        self._schedule()

    def let_go(self) -> None:
        if self._unsent:
            self._unsent = deque([memoryview(b"".join(self._unsent))])
            self._copied = True
            self._loop.call_soon(self._tell_copied)

    def share(self, region_id: int, fd: int, nbytes: int) -> None:
        """Nothing: this is a socket."""

    def unshare(self, region_id: int) -> None:
        """Nothing."""

    def memory(self, region_id: int) -> memoryview | None:
        return None

    def lost(self, error: DaosError | None) -> None:
        """The connection never came up. Called by the transport, not from inside the channel."""
        if not self.over:
            self._finish(error)

    # Readiness

    def _watch(self) -> None:
        """Say what we wait for, after it may have changed."""
        if self._socket is not None:
            events = READ if self._reading or self._ending else 0
            if self._unsent:
                events |= WRITE
            self._poller.watch(self._fd, events, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE and self._unsent:
            self._writable()
        if events & ~WRITE and (self._reading or self._ending) and not self.over:
            self._on_readable()

    # Sending

    def _schedule(self) -> None:
        if self._socket is not None and not self._unsent and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        if self._kicked:
            self._move()

    def _move(self) -> None:
        """Take what is queued, once, and hand it to the kernel."""
        channel = self.channel
        if channel is None or self._unsent or self.over:
            return
        self._kicked = False
        pieces = channel.data_to_send(TURN_BYTES)
        if not pieces:
            if self._ending:
                self._shut()
        elif self._send(pieces):
            self._sent(channel)

    def _send(self, pieces: Sequence[bytes | memoryview]) -> bool:
        """Whether everything has left; if not, the rest waits for the socket, or it is over."""
        sock = self._socket
        assert sock is not None
        counts = self._counts
        try:
            if len(pieces) == 1:
                nbytes = sock.send(pieces[0])
                left = len(pieces[0]) - nbytes
            else:
                nbytes = sock.sendmsg(pieces if len(pieces) <= _IOV_MAX else pieces[:_IOV_MAX])
                left = sum(map(len, pieces)) - nbytes
        except BlockingIOError:
            nbytes, left = 0, 1
        except OSError as error:
            self._broken(error)
            return False
        counts.writes += 1
        counts.bytes_out += nbytes
        if not left:
            return True
        self._unsent = _after(pieces, nbytes)
        counts.blocked += 1
        self._watch()
        if self._stall is None:
            self._stuck = True
            self._stall = self._loop.call_later(self.stall_s, self._look)
        elif nbytes:
            self._stuck = False
        return False

    def _look(self) -> None:
        """Has anything left since the last time (L4)?"""
        self._stall = None
        if not self._unsent:
            return
        if self._stuck:
            self._broken(OSError(errno.ETIMEDOUT, "the peer does not read"))
            return
        self._stuck = True
        self._stall = self._loop.call_later(self.stall_s, self._look)

    def _writable(self) -> None:
        pieces, self._unsent = list(self._unsent), deque()
        if self._send(pieces):
            self._stuck = False
            self._watch()
            assert self.channel is not None
            self._sent(self.channel)

    def _sent(self, channel: Channel) -> None:
        self._copied = False
        channel.data_sent()
        if self._ending:
            self._kicked = True
        if self._kicked and not self._scheduled:
            self._schedule()

    def _tell_copied(self) -> None:
        """After `let_go`, unless everything has left by now."""
        if self._copied and self.channel is not None:
            self._copied = False
            self.channel.data_sent()

    # Receiving

    def _readable(self) -> None:
        """Read what is there into the buffers that the channel names; send what it answers.

        A turn of the loop costs 2 to 5 µs, as much as all else in a small round trip: answers
        given at once leave in the same call-back.
        """
        channel, sock = self.channel, self._socket
        assert channel is not None
        assert sock is not None
        scheduled, self._scheduled = self._scheduled, True
        budget = TURN_BYTES
        counts = self._counts
        while budget > 0:
            into = channel.get_buffer(budget)
            try:
                nbytes = sock.recv_into(into)
            except BlockingIOError:
                break
            except OSError as error:
                self._broken(error)
                return
            if not nbytes:
                self.left = True
                self._finish(None)
                return
            counts.reads += 1
            counts.bytes_in += nbytes
            channel.buffer_updated(nbytes)
            budget -= nbytes
            if nbytes < len(into) or not self._reading or self._ending:
                break
        self._scheduled = scheduled
        if self._kicked and not scheduled:
            if self._unsent or self.over:
                return
            self._move()

    # The end

    def _shut(self) -> None:
        """All has left: say so, and wait for the peer to say the same (L3)."""
        assert self._socket is not None
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:  # the peer has gone already
            self._finish(None)
            return
        if self._linger is None:
            self._linger = self._loop.call_later(LINGER_S, self._finish, None)

    def _drain(self) -> None:
        """We have closed: what still comes is read and forgotten."""
        assert self._socket is not None
        trash = bytearray(_TRASH_SIZE)
        try:
            nbytes = self._socket.recv_into(trash)
        except BlockingIOError:
            return
        except OSError:
            nbytes = 0
        if not nbytes:
            self.left = True
            self._finish(None)

    def _broken(self, error: OSError) -> None:
        self.left = error.errno in _LEFT
        text = f"the connection broke: {error.strerror or error}"
        self._finish(DaosError(text, code=DER.UNREACH))

    def _reset(self) -> None:
        """Let the kernel forget what it has not sent, and tell the peer. TCP has a word for it."""

    def _finish(self, error: DaosError | None) -> None:
        """The end, told in a call-back of its own (T1)."""
        if self.over:
            return
        self.over = True
        for timer in (self._linger, self._stall):
            if timer is not None:
                timer.cancel()
        sock, self._socket = self._socket, None
        if sock is not None:
            self._poller.watch(self._fd, 0, self._ready)
            with contextlib.suppress(OSError):  # nothing can be done about it
                sock.close()
        self._unsent.clear()
        self.on_over(self)
        self._loop.call_soon(self._tell, None if self._ending else error)

    def _tell(self, error: DaosError | None) -> None:
        channel, self.channel = self.channel, None
        if channel is not None:
            channel.connection_lost(None if self._ending else error)


def _after(pieces: Sequence[bytes | memoryview], nbytes: int) -> deque[memoryview]:
    """`pieces` without their first `nbytes`."""
    rest = deque[memoryview]()
    for piece in pieces:
        if nbytes >= len(piece):
            nbytes -= len(piece)
        else:
            rest.append(memoryview(piece)[nbytes:])
            nbytes = 0
    return rest

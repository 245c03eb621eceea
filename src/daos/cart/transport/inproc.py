"""Connections between contexts of one event loop: no socket, but every frame emitted and parsed.

    channel A --data_to_send--> LinkEnd A --copy--> get_buffer / buffer_updated of channel B

A link end pumps in a callback of the loop, at most once a turn: it pulls up to TURN_BYTES of whole
messages and copies them into the buffers that the other channel names. The copy is the transport:
when `data_to_send` has been pulled, it has also been delivered, and the sender's memory is free
again; nothing is ever in flight, so that back-pressure is the other side's `pause_reading` alone.
A payload is copied once, from the sender's read-only view to the receiver's destination.

    N1  nothing the sender owns is seen by the receiver but as a copy
    N2  a turn of the loop moves no more than TURN_BYTES and one message for each link end

One `InprocNetwork` stands for one set of endpoints; all of its contexts share a loop.

Source: ours
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from daos.base.errors import DER, DaosError, ExistsError
from daos.cart.transport import Acceptor, Channel
from daos.cart.wire import Endpoint

# 1 MiB is copied in about 0.2 ms: other links get their turn soon.
TURN_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class InprocStatistics:
    """Counts since the network was made."""

    connections: int
    pumps: int
    bytes_copied: int
    copies: int


class InprocNetwork:
    """A `Transport` without distance."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, segment_size_max: int = 0) -> None:
        """`segment_size_max` cuts what is delivered at once, as a network would; 0: it does not."""
        self.loop = loop
        self.segment_size_max = segment_size_max
        self.connections = 0
        self.pumps = 0
        self.bytes_copied = 0
        self.copies = 0
        self._listeners: dict[Endpoint, Acceptor] = {}

    def listen(self, endpoint: Endpoint, acceptor: Acceptor) -> InprocListener:
        if endpoint in self._listeners:
            raise ExistsError(f"{endpoint} is listened to already")
        self._listeners[endpoint] = acceptor
        return InprocListener(self._listeners, endpoint, acceptor)

    def connect(self, endpoint: Endpoint, channel: Channel) -> LinkEnd:
        link = LinkEnd(self, channel)
        self.loop.call_soon(self._connect, endpoint, link)
        return link

    def statistics(self) -> InprocStatistics:
        return InprocStatistics(self.connections, self.pumps, self.bytes_copied, self.copies)

    def _connect(self, endpoint: Endpoint, link: LinkEnd) -> None:
        if link.over:
            return
        acceptor = self._listeners.get(endpoint)
        if acceptor is None:
            link.lost(DaosError(f"nobody listens at {endpoint}", code=DER.UNREACH))
            return
        self.connections += 1
        there = LinkEnd(self, None)
        there.channel = acceptor(there)
        link.join(there)


class InprocListener:
    """A place in the network's table."""

    def __init__(
        self, table: dict[Endpoint, Acceptor], endpoint: Endpoint, acceptor: Acceptor
    ) -> None:
        self._table = table
        self._endpoint = endpoint
        self._acceptor: Acceptor | None = acceptor

    def close(self) -> None:
        if self._acceptor is not None and self._table.get(self._endpoint) is self._acceptor:
            del self._table[self._endpoint]
        self._acceptor = None


class LinkEnd:
    """One end of a connection; it moves what its own channel sends."""

    shares = False
    refusal = None
    vouched = True  # a context of this process

    def __init__(self, network: InprocNetwork, channel: Channel | None) -> None:
        self.channel = channel
        self.over = False  # nothing moves any more
        self.left = False  # of interest where memory is shared
        self._network = network
        self._there: LinkEnd | None = None
        self._kicked = False
        self._scheduled = False
        self._reading = True
        self._ending = False  # our channel has closed, what it queued is still to be sent

    def join(self, there: LinkEnd) -> None:
        """Both ends exist: what waited may flow."""
        self._there, there._there = there, self
        self._schedule()
        there._schedule()

    def kick(self) -> None:
        self._kicked = True
        if not self._scheduled:
            self._schedule()

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        if self._there is not None:
            self._there._schedule()

    def close(self, error: DaosError | None = None) -> None:
        if self.over or (self._ending and error is None):
            return
        self._ending = self._kicked = True
        if error is not None:
            self._finish(error)
        else:
            self._schedule()

    def let_go(self) -> None:
        """Nothing is held."""

    def share(self, region_id: int, fd: int, nbytes: int) -> None:
        """Nothing (N1)."""

    def unshare(self, region_id: int) -> None:
        """Nothing."""

    def memory(self, region_id: int) -> memoryview | None:
        return None

    def lost(self, error: DaosError | None) -> None:
        """Tell our channel; only here does it hear of the end."""
        self.over = True
        channel, self.channel, self._there = self.channel, None, None
        if channel is not None:
            channel.connection_lost(None if self._ending else error)

    def _schedule(self) -> None:
        if self._kicked and not self._scheduled and self._there is not None:
            self._scheduled = True
            self._network.loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Move what is queued; answers given at once go back in the same callback.

        A turn of the loop costs 2 to 5 µs, as much as all else in a small round trip.
        """
        self._scheduled = False
        there = self._there
        if there is None or there._scheduled:
            self._move()
            return
        there._scheduled = True
        self._move()
        there._scheduled = False
        if there._kicked:
            there._move()

    def _move(self) -> None:
        channel, there = self.channel, self._there
        if channel is None or there is None or not there._reading:
            return  # gone; or `resume_reading` schedules again
        self._kicked = False
        self._network.pumps += 1
        pieces = channel.data_to_send(TURN_BYTES)
        if pieces:
            self._deliver(pieces, there)
            channel.data_sent()
        if self._ending:
            if pieces:
                self._kicked = True
                self._schedule()
            else:
                self._finish(None)

    def _deliver(self, pieces: Sequence[bytes | memoryview], there: LinkEnd) -> None:
        """Copy into the buffers of the other channel until it has had enough."""
        network = self._network
        segment = network.segment_size_max
        for piece in pieces:
            source: bytes | memoryview = piece
            left = len(source)
            while left:
                receiver = there.channel
                if receiver is None or there._ending:
                    return  # it hears nothing more
                into = receiver.get_buffer(left)
                nbytes = len(into) if len(into) < left else left
                if segment and nbytes > segment:
                    nbytes = segment
                network.copies += 1
                network.bytes_copied += nbytes
                if nbytes == left:  # nearly always
                    into[:nbytes] = source
                    receiver.buffer_updated(nbytes)
                    break
                source = memoryview(source)
                into[:nbytes] = source[:nbytes]
                receiver.buffer_updated(nbytes)
                left -= nbytes
                source = source[nbytes:]

    def _finish(self, error: DaosError | None) -> None:
        """The end for both, told in callbacks of their own (T1)."""
        self.over = True
        there, self._there = self._there, None
        self._network.loop.call_soon(self.lost, None)
        if there is not None:
            there._there = None
            reset = DaosError("the peer broke the connection off", code=DER.UNREACH)
            self._network.loop.call_soon(there.lost, error and reset)

"""A network between simulated hosts: a `Transport` for each, with time, distance and faults.

    host A: LinkEnd --chunks--> [ delay, in order ] --segments--> LinkEnd: host B

A chunk is what a channel sent in one turn. It is copied when it leaves and delivered later, cut
into segments of any size; between two ends order holds, between connections it does not. What a
stream can't do, it does not do: it loses, repeats and reorders nothing. It breaks instead:

    reset(link)      both ends hear UNREACH, each in its own time. What was under way is lost, or
                     still arrives after its sender was told so: the peer of a client that comes
                     again over a new connection then hears the old request after the new one
    cut(a, b)        nothing goes from host a to host b; the other way may be open. What is sent
                     waits, and breaks its connection if it waits too long; so does a new one
    crash(host)      every link of it is gone, its listeners too; nobody there hears of it
    Quality          delay, spread of delay, bandwidth, and the chance that a chunk breaks its link

Randomness comes from the generator that is passed in; the same seed and calls repeat a run.

    N1  a chunk arrives as it was sent, whole and in order, or its connection is lost (T4)
    N2  every call of a channel comes from a call-back of the loop (T1), in whatever order the loop
        runs them: each call-back takes what is oldest

Source: ours; FoundationDB's fdbrpc/sim2.actor.cpp (clogging), TigerBeetle's packet_simulator.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from daos.base.errors import DER, DaosError, ExistsError
from daos.cart.transport import Acceptor, Channel
from daos.cart.wire import Endpoint

# What a link keeps under way in one direction before its sender waits.
WINDOW: Final = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How a connection between two hosts behaves. Seconds and bytes."""

    delay_s: float = 0.000_1
    spread_s: float = 0.000_1  # a delay is this much longer at most, each chunk its own
    bandwidth: float = 1e9  # bytes a second
    reset_rate: float = 0.0  # of chunks: each of these breaks its connection
    late_rate: float = 0.0  # of broken connections: what is under way still arrives, late
    late_s: float = 0.05  # so much later at most
    patience_s: float = 1.0  # how long a chunk, or a new connection, waits for a way


PERFECT: Final = Quality()


class SimNetwork:
    """See the module. `quality` is for hosts that differ; within a host nothing goes wrong."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        rng: random.Random,
        quality: Quality = PERFECT,
        *,
        trace: Callable[[str, str], None] | None = None,
    ) -> None:
        """`trace(host, what)` hears of every connection that is made or broken."""
        self.loop = loop
        self.rng = rng
        self.quality = quality
        self.connections = 0
        self.resets = 0
        self._trace = trace
        self._cuts: set[tuple[str, str]] = set()
        # Where somebody listens: on which host, and who takes a connection.
        self._listeners: dict[Endpoint, tuple[str, Acceptor]] = {}
        self._links: dict[LinkEnd, None] = {}
        self._hosts: dict[str, list[HostTransport]] = {}

    def host(self, name: str) -> HostTransport:
        """The transport of whoever runs on this host now, until it crashes."""
        transport = HostTransport(self, name)
        self._hosts.setdefault(name, []).append(transport)
        return transport

    def cut(self, source: str, destination: str) -> None:
        """Let nothing pass this way. Idempotent."""
        self._cuts.add((source, destination))

    def heal(self) -> None:
        """Undo every cut: what waited goes on."""
        self._cuts.clear()
        for link in list(self._links):
            link.pump_soon()

    def is_cut(self, source: str, destination: str) -> bool:
        return (source, destination) in self._cuts

    def reset_some(self, share: float) -> None:
        """Break a share of all connections between hosts, now."""
        for link in list(self._links):
            if link.host != link.peer_host and self.rng.random() < share:
                link.reset()

    def crash(self, host: str) -> None:
        """The host's power fails. What it sent may still arrive, it hears and does nothing more."""
        for transport in self._hosts.pop(host, []):
            transport._dead = True
        for endpoint, (there, _acceptor) in list(self._listeners.items()):
            if there == host:
                del self._listeners[endpoint]
        for link in list(self._links):
            if link.host == host:
                link.vanish()

    def tell(self, host: str, what: str) -> None:
        if self._trace is not None:
            self._trace(host, what)

    def between(self, a: str, b: str) -> Quality:
        return PERFECT if a == b else self.quality


class HostTransport:
    """A `Transport`: the network as one host has it."""

    def __init__(self, network: SimNetwork, host: str) -> None:
        self._network = network
        self._host = host
        self._dead = False

    def listen(self, endpoint: Endpoint, acceptor: Acceptor) -> SimListener:
        table = self._network._listeners
        if endpoint in table:
            raise ExistsError(f"{endpoint} is listened to already")
        table[endpoint] = entry = (self._host, acceptor)
        return SimListener(table, endpoint, entry)

    def connect(self, endpoint: Endpoint, channel: Channel) -> LinkEnd:
        network = self._network
        link = LinkEnd(network, self._host, channel, dead=self._dead)
        link.connect(endpoint, network.loop.time() + network.quality.patience_s)
        return link


class SimListener:
    """A place in the network's table."""

    def __init__(
        self,
        table: dict[Endpoint, tuple[str, Acceptor]],
        endpoint: Endpoint,
        entry: tuple[str, Acceptor],
    ) -> None:
        self._table = table
        self._endpoint = endpoint
        self._entry = entry

    def close(self) -> None:
        if self._table.get(self._endpoint) is self._entry:
            del self._table[self._endpoint]


@dataclass(slots=True)
class _Chunk:
    """Bytes under way, or the end of them."""

    data: memoryview
    end: bool = False


class LinkEnd:
    """One end of a connection. It carries what its own channel sends."""

    shares = False
    refusal = None
    vouched = True  # there are no strangers here

    def __init__(
        self, network: SimNetwork, host: str, channel: Channel | None, *, dead: bool = False
    ) -> None:
        self.host = host
        self._dead = dead
        self.peer_host = ""
        self.channel = channel
        self._network = network
        self._loop = network.loop
        self._there: LinkEnd | None = None
        self.left = False  # of interest where memory is shared
        self.over = False  # our channel has been told, or hears nothing any more
        self._kicked = False
        self._scheduled = False
        self._ending = False  # our channel has closed; what it queued is still to be sent
        self._sent_end = False
        self._broken = False
        self._held_since = -1.0  # since when a cut keeps what we want to send
        # Towards the other end: chunks under way, and when the last of them arrives.
        self._way: deque[_Chunk] = deque()
        self._way_bytes = 0
        self._arrives = 0.0
        # From the other end: arrived, and not taken yet.
        self._inbox: deque[_Chunk] = deque()
        self._inbox_bytes = 0
        self._reading = True
        self._delivering = False

    # --- what a channel asks for

    def kick(self) -> None:
        self._kicked = True
        self.pump_soon()

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._deliver_soon()

    def close(self, error: DaosError | None = None) -> None:
        if self.over or (self._ending and error is None):
            return
        self._ending = True
        if error is not None:
            self._abort()
        else:
            self._kicked = True
            self.pump_soon()

    def let_go(self) -> None:
        """Nothing is held."""

    def share(self, region_id: int, fd: int, nbytes: int) -> None:
        """Nothing: hosts share no memory."""

    def unshare(self, region_id: int) -> None:
        """Nothing."""

    def memory(self, region_id: int) -> memoryview | None:
        return None

    # --- coming to be

    def connect(self, endpoint: Endpoint, give_up_at: float) -> None:
        network = self._network
        found = network._listeners.get(endpoint)
        where = found[0] if found is not None else self.host
        delay_s = self._delay(network.between(self.host, where))
        self._loop.call_later(delay_s, self._arrive, endpoint, give_up_at)

    def _arrive(self, endpoint: Endpoint, give_up_at: float) -> None:
        network = self._network
        if self.over or self._broken:
            return
        found = network._listeners.get(endpoint)
        if found is None or self._dead:
            self._lost(DaosError(f"nobody listens at {endpoint}", code=DER.UNREACH))
            return
        host, acceptor = found
        if network.is_cut(self.host, host) or network.is_cut(host, self.host):
            if self._loop.time() >= give_up_at:
                self._lost(DaosError(f"no way to {endpoint}", code=DER.UNREACH))
            else:
                self._loop.call_later(
                    network.quality.patience_s / 4, self._arrive, endpoint, give_up_at
                )
            return
        network.connections += 1
        there = LinkEnd(network, host, None)
        self._there, there._there = there, self
        self.peer_host, there.peer_host = host, self.host
        network._links[self] = network._links[there] = None
        there.channel = acceptor(there)
        network.tell(self.host, f"connected to {endpoint}")
        self.pump_soon()
        there.pump_soon()

    # --- sending

    def pump_soon(self) -> None:
        if self._kicked and not self._scheduled and self._there is not None:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        channel, there = self.channel, self._there
        if channel is None or there is None or self._sent_end:
            return
        if self._is_held():
            return
        room = WINDOW - self._way_bytes - there._inbox_bytes
        if room <= 0:
            return  # delivery pumps again
        self._kicked = False
        pieces = channel.data_to_send(room)
        if pieces:
            data = b"".join(pieces)
            channel.data_sent()
            self._send(_Chunk(memoryview(data)))
        if self._ending:
            if pieces:
                self._kicked = True
                self.pump_soon()
            elif self.channel is not None:
                self._sent_end = True
                self._send(_Chunk(memoryview(b""), end=True))
                self._tell_soon(None)

    def _is_held(self) -> bool:
        """Whether a cut keeps us from sending; one that lasts too long breaks the connection."""
        network = self._network
        if not network.is_cut(self.host, self.peer_host):
            self._held_since = -1.0
            return False
        now, patience_s = self._loop.time(), network.quality.patience_s
        if self._held_since < 0:
            self._held_since = now
        if now - self._held_since >= patience_s:
            self.reset()
        else:
            self._scheduled = True
            self._loop.call_later(patience_s / 4, self._pump)
        return True

    def _send(self, chunk: _Chunk) -> None:
        network = self._network
        quality = network.between(self.host, self.peer_host)
        now = self._loop.time()
        self._arrives = max(self._arrives, now + self._delay(quality))
        self._arrives += len(chunk.data) / quality.bandwidth
        self._way.append(chunk)
        self._way_bytes += len(chunk.data)
        self._loop.call_at(self._arrives, self._landed)
        if quality.reset_rate and network.rng.random() < quality.reset_rate:
            self.reset()

    def _delay(self, quality: Quality) -> float:
        return quality.delay_s + quality.spread_s * self._network.rng.random()

    # --- arriving

    def _landed(self) -> None:
        """Our oldest chunk under way reaches the other end."""
        there = self._there
        if not self._way or there is None:
            return  # broken meanwhile, and not one of those that arrive late
        chunk = self._way.popleft()
        self._way_bytes -= len(chunk.data)
        there._inbox.append(chunk)
        there._inbox_bytes += len(chunk.data)
        there._deliver_soon()

    def _deliver_soon(self) -> None:
        if self._inbox and not self._delivering and not self.over:
            self._delivering = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        """Copy what has arrived into the buffers that our channel names."""
        self._delivering = False
        rng = self._network.rng
        while self._inbox and self._reading and not self._ending:
            channel = self.channel
            if channel is None:
                break
            chunk = self._inbox[0]
            if chunk.end:
                self._inbox.clear()
                self._tell_soon(None)
                return
            left = len(chunk.data)
            into = channel.get_buffer(left)
            nbytes = min(left, len(into))
            if nbytes > 1 and rng.random() < 0.1:
                nbytes = rng.randint(1, nbytes)
            into[:nbytes] = chunk.data[:nbytes]
            self._inbox_bytes -= nbytes
            if nbytes == left:
                self._inbox.popleft()
            else:
                chunk.data = chunk.data[nbytes:]
            channel.buffer_updated(nbytes)
        if self._ending:
            self._inbox.clear()
            self._inbox_bytes = 0
        if self._there is not None:
            self._there.pump_soon()  # there is room again

    # --- the end

    def reset(self) -> None:
        """The connection breaks. Each end hears of it in its own time."""
        there = self._there
        if self.over or there is None or self._broken:
            return
        self._broken = there._broken = True
        network = self._network
        network.resets += 1
        network.tell(self.host, f"lost connection with {self.peer_host}")
        quality = network.between(self.host, self.peer_host)
        late = network.rng.random() < quality.late_rate
        for end, other in ((self, there), (there, self)):
            end._sent_end = True
            error = DaosError("the connection broke", code=DER.UNREACH)
            told_in_s = self._delay(quality)
            if late and end is there:
                # What we sent arrives after we heard that it is lost; the other end hears later.
                told_in_s += quality.late_s * (0.5 + network.rng.random() / 2)
            else:
                other._drop_way()
            self._loop.call_later(told_in_s, end._end, error)

    def vanish(self) -> None:
        """Our host has lost its power.

        What runs on there is a dead system's: it can do no harm, but has to end; our channel hears.
        """
        there = self._there
        self._broken = self._sent_end = True
        self._inbox.clear()
        error = DaosError("this host has no power", code=DER.UNREACH)
        self._tell_soon(error)
        if there is not None and not there._broken:
            there._broken = there._sent_end = True
            quality = self._network.between(self.host, self.peer_host)
            gone = DaosError("the peer is gone", code=DER.UNREACH)
            self._loop.call_later(self._delay(quality) + quality.late_s, there._end, gone)

    def _abort(self) -> None:
        """Our channel breaks the connection off, or gives a new one up."""
        there = self._there
        self._broken = self._sent_end = True
        self._tell_soon(None)
        if there is not None:
            self._drop_way()
            there._drop_way()
            there._broken = there._sent_end = True
            error = DaosError("the peer broke the connection off", code=DER.UNREACH)
            delay_s = self._delay(self._network.between(self.host, self.peer_host))
            self._loop.call_later(delay_s, there._end, error)

    def _drop_way(self) -> None:
        self._way.clear()
        self._way_bytes = 0

    def _tell_soon(self, error: DaosError | None) -> None:
        self._loop.call_soon(self._end, error)

    def _end(self, error: DaosError | None) -> None:
        if not self.over:
            self._lost(error)

    def _lost(self, error: DaosError | None) -> None:
        """Tell our channel; only here does it hear of the end."""
        self.over = True
        channel, self.channel = self.channel, None
        self._forget()
        if channel is not None:
            channel.connection_lost(None if self._ending else error)

    def _forget(self) -> None:
        self._network._links.pop(self, None)
        self._inbox.clear()

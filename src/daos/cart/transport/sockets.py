"""What transports over sockets share: taking connections, and making them.

    listen(endpoint)  --> a listening socket --> accepted --> acceptor(link), join
    connect(endpoint) --> is its address known? --> connecting, bounded in time --> join, or UNREACH

Where an endpoint is, is told by the `Addresses` that the composition root hands in.

    K1  connections, attempts to make one and pauses are bounded by `SocketConfig`
    K2  a connection that can't be taken costs its peer that connection, nobody else anything
    K3  who may not come in is taken so that it can be told why; at most STRANGERS_MAX of them
    K4  nothing here blocks the loop: addresses are numbers or paths, names are the root's affair

Source: ours
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from daos.base.errors import (
    DER,
    AccessError,
    DaosError,
    ExistsError,
    InvalidError,
    error_for,
)
from daos.cart.transport import Acceptor, Channel
from daos.cart.transport.poller import READ, WRITE, Poller
from daos.cart.transport.stream import STALL_S, Counts, StreamLink
from daos.cart.wire import Endpoint

log = logging.getLogger(__name__)

SocketAddress = tuple[str, int] | str
"""A numeric host and a port, or the path of a Unix socket."""
Addresses = Callable[[Endpoint], SocketAddress | None]
"""Where an endpoint is; None: nobody knows."""

BACKLOG: Final = 4096
# Connections at once of those that may not come in: they are there to be told so.
STRANGERS_MAX: Final = 16
_ACCEPTS_MAX: Final = 64  # connections taken in one turn of the loop
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_IN_USE: Final = frozenset({errno.EADDRINUSE, errno.EEXIST})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
# A full queue of connections (Unix sockets) is emptied in a turn of the listener's loop.
_AGAIN_S: Final = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketConfig:
    """Bounds of a transport over sockets."""

    # Taken connections alive at once; each costs a descriptor and about 80 KiB.
    connections_max: int = 4096
    # Seconds until an attempt to connect is given up.
    connect_s: float = 10.0
    # Seconds without taking connections when this process is out of descriptors or memory.
    full_s: float = 0.2
    # Seconds without a byte leaving, of those that wait, after which a peer has gone.
    stall_s: float = STALL_S

    def __post_init__(self) -> None:
        if self.connections_max < 1 or min(self.connect_s, self.full_s, self.stall_s) <= 0:
            raise InvalidError(f"bounds of sockets must be positive: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketStatistics:
    """Counts since the transport was made; `taken` is of now."""

    connected: int
    accepted: int
    refused: int  # there were connections_max already
    taken: int  # accepted, and alive
    reads: int
    writes: int
    blocked: int  # times that a socket took less than it was given
    bytes_in: int
    bytes_out: int


class SocketTransport(ABC):
    """A `Transport`; `tcp.py` and `sm.py` say what is theirs."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        addresses: Addresses,
        config: SocketConfig | None = None,
    ) -> None:
        self.loop = loop
        self.config = config or SocketConfig()
        self.poller = Poller(loop)
        self.counts = Counts()
        self.connected = 0
        self.accepted = 0
        self.refused = 0
        self._addresses = addresses
        self._taken: dict[StreamLink, None] = {}
        self._strangers: set[StreamLink] = set()
        self._crowded = False

    @abstractmethod
    def _new_socket(self, address: SocketAddress) -> socket.socket:
        """A socket of the right family. Raises: OSError"""

    @abstractmethod
    def _new_link(self, on_over: Callable[[StreamLink], None], *, taken: bool) -> StreamLink:
        """A link without a socket; `taken`: the peer has opened the connection."""

    def _refusal(self, sock: socket.socket) -> DaosError | None:
        """Why a peer that has connected may ask for nothing; None: it may, or nobody knows it."""
        return None

    def _bind(self, sock: socket.socket, address: SocketAddress) -> None:
        """Raises: OSError, ExistsError"""
        sock.bind(address)

    @abstractmethod
    def _unbound(self, address: SocketAddress) -> None:
        """The listener there closes."""

    def listen(self, endpoint: Endpoint, acceptor: Acceptor) -> SocketListener:
        """Take connections to `endpoint`.

        Raises:     ExistsError    somebody listens there
                    AccessError    we may not
                    InvalidError   this endpoint has no address, or one that can't be ours
        """
        address = self._addresses(endpoint)
        if address is None:
            raise InvalidError(f"{endpoint} has no address to listen at")
        try:
            sock = self._new_socket(address)
            try:
                self._bind(sock, address)
                sock.listen(BACKLOG)
                closed = partial(self._unbound, address)
                return SocketListener(self, sock, acceptor, closed=closed)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            raise _told(error, f"can't listen at {_shown(address)} for {endpoint}") from error

    def connect(self, endpoint: Endpoint, channel: Channel) -> StreamLink:
        link = self._new_link(_nothing, taken=False)
        link.stall_s = self.config.stall_s
        link.channel = channel
        self.loop.call_soon(self._connect, endpoint, link)
        return link

    def statistics(self) -> SocketStatistics:
        counts = self.counts
        return SocketStatistics(
            connected=self.connected,
            accepted=self.accepted,
            refused=self.refused,
            taken=len(self._taken),
            reads=counts.reads,
            writes=counts.writes,
            blocked=counts.blocked,
            bytes_in=counts.bytes_in,
            bytes_out=counts.bytes_out,
        )

    def _connect(self, endpoint: Endpoint, link: StreamLink) -> None:
        address = self._addresses(endpoint)
        if address is None:
            text = f"nobody knows where {endpoint} is"
            link.lost(DaosError(text, code=DER.UNREACH))
            return
        _Attempt(self, endpoint, address, link).begin()

    def take(self, sock: socket.socket, acceptor: Acceptor) -> None:
        """A connection that a peer has opened."""
        if len(self._taken) >= self.config.connections_max:
            self.refused += 1
            if not self._crowded:  # once: peers are not to fill a log
                self._crowded = True
                log.warning("connections are refused, there are %d already", len(self._taken))
            sock.close()
            return
        refusal = self._refusal(sock)
        if refusal is not None and len(self._strangers) >= STRANGERS_MAX:
            self.refused += 1
            sock.close()
            return
        link = self._new_link(self._left, taken=True)
        link.stall_s = self.config.stall_s
        if refusal is not None:
            link.refusal = refusal
            self._strangers.add(link)
        self._taken[link] = None
        self.accepted += 1
        link.channel = acceptor(link)
        try:
            link.join(sock)
        except OSError as error:  # out of memory, or of what else it takes to watch it
            link.lost(DaosError(f"can't take a connection: {error.strerror}", code=DER.UNREACH))
            sock.close()

    def _left(self, link: StreamLink) -> None:
        self._taken.pop(link, None)
        self._strangers.discard(link)
        self._crowded = False


class SocketListener:
    """A listening socket."""

    def __init__(
        self,
        transport: SocketTransport,
        sock: socket.socket,
        acceptor: Acceptor,
        *,
        closed: Callable[[], None],
    ) -> None:
        self.address: SocketAddress = _address_of(sock)
        self._transport = transport
        self._socket = sock
        self._acceptor = acceptor
        self._closed = closed
        self._pause: asyncio.TimerHandle | None = None
        self._resume()

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        if self._pause is not None:
            self._pause.cancel()
        self._transport.poller.watch(self._socket.fileno(), 0, self._accept)
        self._closed()
        self._socket.close()

    def _resume(self) -> None:
        self._pause = None
        self._transport.poller.watch(self._socket.fileno(), READ, self._accept)

    def _accept(self, events: int) -> None:
        for _ in range(_ACCEPTS_MAX):
            try:
                sock, _address = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._wait(error)
                return
            sock.setblocking(False)
            self._transport.take(sock, self._acceptor)
            if self._socket.fileno() < 0:
                return  # the acceptor has closed us

    def _wait(self, error: OSError) -> None:
        """Out of descriptors or memory: the peers wait in the kernel's queue."""
        log.warning("no connections are taken for a while: %s", error.strerror)
        transport = self._transport
        transport.poller.watch(self._socket.fileno(), 0, self._accept)
        self._pause = transport.loop.call_later(transport.config.full_s, self._resume)


class _Attempt:
    """One connection on its way up. It ends by `join` or `lost` of its link, or with the link."""

    def __init__(
        self,
        transport: SocketTransport,
        endpoint: Endpoint,
        address: SocketAddress,
        link: StreamLink,
    ) -> None:
        self._transport = transport
        self._loop = transport.loop
        self._endpoint = endpoint
        self._address = address
        self._link = link
        self._socket: socket.socket | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Called in a call-back of the loop."""
        if self._link.over:
            return
        self._link.on_over = self._abandon
        connect_s = self._transport.config.connect_s
        self._deadline = self._loop.call_later(connect_s, self._too_late)
        try:
            self._socket = self._transport._new_socket(self._address)
        except OSError as error:
            self._fail(error.strerror or str(error))
            return
        self._try()

    def _try(self) -> None:
        sock = self._socket
        assert sock is not None
        try:
            status = sock.connect_ex(self._address)
            if status == errno.EINPROGRESS:
                self._transport.poller.watch(sock.fileno(), WRITE, self._answered)
                return
        except OSError as error:  # an address that can't be one; or no descriptor is left
            self._fail(str(error))
            return
        if not status:
            self._up()
        elif status == errno.EAGAIN:  # a Unix socket whose queue of connections is full
            self._again = self._loop.call_later(_AGAIN_S, self._try)
        elif status in _FORBIDDEN:
            why = f"{os.strerror(status)}; the user that listens there may, and root"
            self._fail(why, DER.NO_PERM)
        else:
            self._fail(os.strerror(status))

    def _answered(self, events: int) -> None:
        sock = self._socket
        assert sock is not None
        self._transport.poller.watch(sock.fileno(), 0, self._answered)
        status = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            self._fail(os.strerror(status))
        else:
            self._up()

    def _up(self) -> None:
        sock, self._socket = self._socket, None
        assert sock is not None
        self._end()
        try:
            self._link.join(sock)
        except OSError as error:  # no descriptor is left for what else it takes
            self._fail(error.strerror or str(error))
            sock.close()
            return
        self._transport.connected += 1

    def _too_late(self) -> None:
        self._fail(f"no answer within {self._transport.config.connect_s:g} s")

    def _fail(self, reason: str, code: DER = DER.UNREACH) -> None:
        self._end()
        text = f"can't connect to {self._endpoint} at {_shown(self._address)}: {reason}"
        self._link.lost(error_for(code, text))

    def _abandon(self, link: StreamLink) -> None:
        self._end()

    def _end(self) -> None:
        """Let go of everything. Idempotent."""
        self._link.on_over = _nothing
        for timer in (self._deadline, self._again):
            if timer is not None:
                timer.cancel()
        sock, self._socket = self._socket, None
        if sock is not None:
            self._transport.poller.watch(sock.fileno(), 0, self._answered)
            sock.close()


def _nothing(link: StreamLink) -> None:
    """Nobody else has to know of the end of this link."""


def _address_of(sock: socket.socket) -> SocketAddress:
    name = sock.getsockname()
    return name if isinstance(name, str) else (name[0], name[1])


def _shown(address: SocketAddress) -> str:
    if isinstance(address, str):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _told(error: OSError, what: str) -> DaosError:
    """What the kernel refuses, in our words."""
    text = f"{what}: {error.strerror or error}"
    if error.errno in _IN_USE:
        return ExistsError(text)
    if error.errno in _FORBIDDEN:
        return AccessError(text)
    return InvalidError(text)

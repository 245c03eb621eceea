"""Connections over TCP.

Frames follow each other from the first byte on; nothing is said before them. A peer that has gone
without a word (its host is off, the cable cut) is found by probes when nothing is under way, and by
`user_timeout_s` when something is.

Source: ours; DAOS reaches TCP by Mercury and libfabric (provider ofi+tcp)
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from daos.base.errors import InvalidError
from daos.cart.transport.sockets import Addresses, SocketAddress, SocketConfig, SocketTransport
from daos.cart.transport.stream import StreamLink

# l_onoff, l_linger: closing forgets what was not sent, and resets the connection.
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpConfig(SocketConfig):
    """Bounds of TCP connections."""

    # Silence after which a peer is probed, between probes, and how many stay unanswered.
    keepalive_idle_s: int = 20
    keepalive_interval_s: int = 5
    keepalive_probes: int = 4
    # What was sent and is not acknowledged for so long breaks the connection.
    user_timeout_s: int = 40

    def __post_init__(self) -> None:
        SocketConfig.__post_init__(self)
        probing_s = self.keepalive_idle_s + self.keepalive_interval_s * self.keepalive_probes
        if self.user_timeout_s < 1 or probing_s < 3:
            raise InvalidError(f"bounds of TCP must be positive: {self}")


class TcpTransport(SocketTransport):
    """A `Transport` to hosts and ports."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        addresses: Addresses,
        config: TcpConfig | None = None,
    ) -> None:
        self._tcp = config or TcpConfig()
        super().__init__(loop, addresses, self._tcp)

    def _new_socket(self, address: SocketAddress) -> socket.socket:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return sock

    def _unbound(self, address: SocketAddress) -> None:
        """Nothing is left of a port."""

    def _new_link(self, on_over: Callable[[StreamLink], None], *, taken: bool) -> StreamLink:
        return _TcpLink(self, on_over, self._tcp)


class _TcpLink(StreamLink):
    def __init__(
        self,
        transport: TcpTransport,
        on_over: Callable[[StreamLink], None],
        config: TcpConfig,
    ) -> None:
        super().__init__(transport.loop, transport.poller, transport.counts, on_over)
        self._config = config

    def join(self, sock: socket.socket) -> None:
        config = self._config
        for level, option, value in (
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, config.keepalive_idle_s),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, config.keepalive_interval_s),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, config.keepalive_probes),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, config.user_timeout_s * 1000),
        ):
            sock.setsockopt(level, option, value)
        super().join(sock)

    def _reset(self) -> None:
        if self._socket is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

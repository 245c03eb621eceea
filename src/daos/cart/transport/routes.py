"""Where the ranks of a system are, and a transport that takes the nearest way to each.

    sm://<boot id>/<directory>   Unix sockets <directory>/<rank>.<tag> of the host with that boot id
    tcp://<address>:<port>       tag t at port + t; [in brackets] if it is IPv6

A rank has one URI or several, joined by commas. What listens, listens at all of them; who connects
takes `sm` where the host is its own, else `tcp`. The boot id keeps another host, whose directories
may have the same names, from taking them for its own.

    R1  a rank that is not in the routes is UNREACH, as one that does not answer is
    R2  routes change at any time; a connection that is there stays

Source: DAOS src/cart/crt_group.c (URI cache, contiguous ports); the forms are ours
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from daos.base.errors import DER, DaosError, InvalidError
from daos.base.ids import Rank
from daos.cart.transport import Acceptor, Channel, Link, Listener, Transport
from daos.cart.transport.sm import SmTransport
from daos.cart.transport.tcp import TcpTransport
from daos.cart.wire import Endpoint

PORT_MAX: Final = 65535
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_FORMS: Final = "expected sm://BOOT_ID/DIRECTORY, tcp://ADDRESS:PORT, or several with commas"


class SmUri(NamedTuple):
    """Unix sockets in a directory of one host."""

    host: str  # its boot id
    directory: str  # absolute

    def __str__(self) -> str:
        return f"sm://{self.host}{self.directory}"


class TcpUri(NamedTuple):
    """The port of tag 0."""

    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"tcp://{host}:{self.port}"


Uri = SmUri | TcpUri


def parse_uris(text: str) -> tuple[Uri, ...]:
    """The URIs of a rank. Raises: InvalidError"""
    return tuple(_parse(part, text) for part in text.split(","))


def format_uris(uris: Iterable[Uri]) -> str:
    """What `parse_uris` reads."""
    return ",".join(map(str, uris))


def _parse(part: str, text: str) -> Uri:
    kind, _, rest = part.partition("://")
    if kind == "sm":
        host, slash, directory = rest.partition("/")
        if host and slash:
            return SmUri(host, f"/{directory}")
    if kind == "tcp":
        address, _, port = rest.rpartition(":")
        bare = address.removeprefix("[").removesuffix("]")
        bracketed = bare != address
        if port.isascii() and port.isdigit() and 0 < int(port) <= PORT_MAX:
            try:
                number = ip_address(bare)
            except ValueError:
                raise InvalidError(f"URI {text!r}: {bare!r} is no IP address; {_FORMS}") from None
            if (number.version == 6) == bracketed:
                return TcpUri(bare, int(port))
    raise InvalidError(f"URI {text!r}: {_FORMS}")


def this_host() -> str:
    """The boot id of the host that this process runs on."""
    return _BOOT_ID.read_text("ascii").strip()


class Routes:
    """Where each rank is. Immutable but for `update`."""

    def __init__(self, host: str, ranks: Mapping[Rank, Iterable[Uri]] | None = None) -> None:
        """`host`: the boot id of the caller's host."""
        self._host = host
        self._sm: dict[Rank, SmUri] = {}
        self._tcp: dict[Rank, TcpUri] = {}
        self.update(ranks or {})

    def update(self, ranks: Mapping[Rank, Iterable[Uri]]) -> None:
        """These are the ranks from now on, and no others."""
        self._sm, self._tcp = {}, {}
        for rank, uris in ranks.items():
            for uri in uris:
                if isinstance(uri, TcpUri):
                    self._tcp.setdefault(rank, uri)
                elif uri.host == self._host:
                    self._sm.setdefault(rank, uri)

    def is_local(self, rank: Rank) -> bool:
        """Whether `rank` has sockets on this host."""
        return rank in self._sm

    def path(self, endpoint: Endpoint) -> str | None:
        """The socket of an endpoint on this host."""
        uri = self._sm.get(endpoint.rank)
        return f"{uri.directory}/{endpoint.rank}.{endpoint.tag}" if uri is not None else None

    def port(self, endpoint: Endpoint) -> tuple[str, int] | None:
        """Address and port of an endpoint anywhere."""
        uri = self._tcp.get(endpoint.rank)
        if uri is None or uri.port + endpoint.tag > PORT_MAX:
            return None
        return uri.address, uri.port + endpoint.tag


class RoutedTransport:
    """A `Transport` over `sm` and `tcp`, by routes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, routes: Routes) -> None:
        self.routes: Final = routes
        self.sm: Final = SmTransport(loop, routes.path)
        self.tcp: Final = TcpTransport(loop, routes.port)

    def listen(self, endpoint: Endpoint, acceptor: Acceptor) -> Listener:
        """At every URI of the endpoint's rank, or nowhere.

        Raises: as each of them; DaosError UNREACH: it has none
        """
        ways: list[Transport] = []
        if self.routes.path(endpoint) is not None:
            ways.append(self.sm)
        if self.routes.port(endpoint) is not None:
            ways.append(self.tcp)
        if not ways:
            raise DaosError(f"{endpoint} has no address to listen at", code=DER.UNREACH)
        return listen_everywhere(ways, endpoint, acceptor)

    def connect(self, endpoint: Endpoint, channel: Channel) -> Link:
        way: Transport = self.sm if self.routes.is_local(endpoint.rank) else self.tcp
        return way.connect(endpoint, channel)


class _Listeners:
    def __init__(self) -> None:
        self._each: list[Listener] = []

    def add(self, listener: Listener) -> None:
        self._each.append(listener)

    def close(self) -> None:
        for listener in self._each:
            listener.close()


def listen_everywhere(
    transports: Iterable[Transport], endpoint: Endpoint, acceptor: Acceptor
) -> Listener:
    """Listen on all of them, or on none. Raises: as each of them"""
    listeners = _Listeners()
    try:
        for transport in transports:
            listeners.add(transport.listen(endpoint, acceptor))
    except DaosError:
        listeners.close()
        raise
    return listeners

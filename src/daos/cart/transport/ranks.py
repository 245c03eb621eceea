"""Where the ranks of a system are, and a transport that goes there the shortest way.

A rank's URI has one or two parts, joined by a comma, the nearer one first:

    sm://BOOT_ID/DIRECTORY   on that host: endpoint (rank, tag) is the socket DIRECTORY/rank.tag
    tcp://HOST:PORT          on any: tag t listens at PORT + t; HOST is an address, [v6] in brackets

    connect:  ours --> inproc;  on our host, its socket is in DIRECTORY --> sm;  else --> tcp

The boot id, which a host draws when it starts, keeps another host from taking a directory of its
own that has the same name; without one (`sm:///DIRECTORY`) every reader is taken to be there.

Source: DAOS src/cart/crt_group.c grp_uri_cache_set (contiguous ports); URIs of two parts: ours
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from daos.base.errors import DaosError, InvalidError
from daos.base.ids import Rank
from daos.cart.transport import Acceptor, Channel, Link, Listener, Transport
from daos.cart.transport.inproc import InprocNetwork
from daos.cart.transport.listeners import Listeners
from daos.cart.transport.sm import SmTransport
from daos.cart.transport.tcp import TcpTransport
from daos.cart.wire import Endpoint

PORT_MAX: Final = 65535
_SM: Final = "sm://"
_TCP: Final = "tcp://"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_FORMS: Final = "a URI is sm://BOOT_ID/DIRECTORY, tcp://HOST:PORT, or both with a comma between"


def this_host() -> str:
    """The boot id of the host that this process runs on."""
    return _BOOT_ID.read_text("ascii").strip()


class RankUri(NamedTuple):
    """Where one rank is. At least one of the two is there."""

    directory: Path | None = None
    tcp: tuple[str, int] | None = None
    host: str = ""  # the boot id of the host that has `directory`; empty: the reader's

    def __str__(self) -> str:
        parts = [f"{_SM}{self.host}{self.directory}"] if self.directory is not None else []
        if self.tcp is not None:
            host, port = self.tcp
            parts.append(f"{_TCP}[{host}]:{port}" if ":" in host else f"{_TCP}{host}:{port}")
        return ",".join(parts)

    def socket_path(self, endpoint: Endpoint) -> str | None:
        """Of an endpoint of this rank."""
        if self.directory is None:
            return None
        return f"{self.directory}/{endpoint.rank}.{endpoint.tag}"

    def socket_address(self, endpoint: Endpoint) -> tuple[str, int] | None:
        """As `socket_path`, for TCP."""
        if self.tcp is None or self.tcp[1] + endpoint.tag > PORT_MAX:
            return None
        return self.tcp[0], self.tcp[1] + endpoint.tag


def parse_uri(text: str) -> RankUri:
    """Read what `str` of a URI gives. Raises: InvalidError"""
    directory: Path | None = None
    tcp: tuple[str, int] | None = None
    boot_id = ""
    for part in text.split(","):
        if part.startswith(_SM) and directory is None:
            boot_id, slash, path = part.removeprefix(_SM).partition("/")
            if not slash or not path:
                raise InvalidError(f"{text!r}: {part!r} names no absolute path; {_FORMS}")
            directory = Path(f"/{path}")
        elif part.startswith(_TCP) and tcp is None:
            tcp = _parse_tcp(text, part.removeprefix(_TCP))
        else:
            raise InvalidError(f"{text!r}: {_FORMS}")
    return RankUri(directory, tcp, boot_id)


def _parse_tcp(text: str, place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= PORT_MAX):
        raise InvalidError(f"{text!r}: {port!r} is no port from 1 to {PORT_MAX}; {_FORMS}")
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        raise InvalidError(f"{text!r}: {host!r} is no address of a host; {_FORMS}") from None
    if (":" in bare) != (host != bare):
        raise InvalidError(f"{text!r}: IPv6 stands in brackets, nothing else does; {_FORMS}")
    return bare, int(port)


class Places:
    """Where all ranks are, as far as it was told; the newest version counts."""

    def __init__(self) -> None:
        self.version = 0
        self._uris: Mapping[Rank, RankUri] = {}

    def update(self, version: int, uris: Mapping[Rank, RankUri]) -> bool:
        """Replace all, unless this version or a newer one is known; whether it did."""
        if version <= self.version:
            return False
        self.version, self._uris = version, dict(uris)
        return True

    def __iter__(self) -> Iterator[tuple[Rank, RankUri]]:
        return iter(self._uris.items())

    def get(self, rank: Rank) -> RankUri | None:
        """Of one rank."""
        return self._uris.get(rank)


class RankNetwork:
    """A `Transport` to all ranks; listens where `here` says."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, places: Places, here: RankUri | None = None
    ) -> None:
        def path(endpoint: Endpoint) -> str | None:
            uri = places.get(endpoint.rank)
            return None if uri is None else uri.socket_path(endpoint)

        def address(endpoint: Endpoint) -> tuple[str, int] | None:
            uri = places.get(endpoint.rank)
            return None if uri is None else uri.socket_address(endpoint)

        self._places = places
        self._host = this_host()
        self._sm = SmTransport(loop, path)
        self._tcp = TcpTransport(loop, address)
        self._inside = InprocNetwork(loop)
        self._listening: set[Endpoint] = set()
        self._at: list[Transport] = []
        if here is not None:
            if here.directory is not None:
                self._at.append(SmTransport(loop, here.socket_path))
            if here.tcp is not None:
                self._at.append(TcpTransport(loop, here.socket_address))

    @property
    def ways(self) -> tuple[SmTransport, TcpTransport]:
        """To other processes: on this host, and to any."""
        return self._sm, self._tcp

    def listen(self, endpoint: Endpoint, acceptor: Acceptor) -> Listener:
        """Everywhere or nowhere. Raises: as each of the transports"""
        listeners = Listeners(partial(self._listening.discard, endpoint))
        try:
            for transport in (self._inside, *self._at):
                listeners.add(transport.listen(endpoint, acceptor))
        except DaosError:
            listeners.close()
            raise
        self._listening.add(endpoint)
        return listeners

    def connect(self, endpoint: Endpoint, channel: Channel) -> Link:
        return self._way(endpoint).connect(endpoint, channel)

    def _way(self, endpoint: Endpoint) -> Transport:
        if endpoint in self._listening:
            return self._inside
        uri = self._places.get(endpoint.rank)
        if uri is None or uri.host not in ("", self._host):
            return self._tcp
        path = uri.socket_path(endpoint)
        # A socket that is another user's is none for us.
        there = path is not None and (uri.tcp is None or os.access(path, os.W_OK))
        return self._sm if there else self._tcp

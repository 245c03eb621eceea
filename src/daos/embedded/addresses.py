"""Where a system is served: `sm:DIRECTORY` on this host, `tcp:HOST:PORT` on any.

    sm     endpoint (rank, tag) is the socket DIRECTORY/rank.tag
    tcp    tag t of rank 0 is port PORT + t, so one address names all targets

Source: DAOS src/cart/crt_group.c grp_uri_cache_set (contiguous ports); the form is ours
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Final, NamedTuple

from daos.base.errors import DER, DaosError, InvalidError
from daos.base.ids import Rank
from daos.cart.transport import Transport
from daos.cart.transport.sm import SmTransport
from daos.cart.transport.tcp import TcpTransport
from daos.cart.wire import Endpoint

PORT_MAX: Final = 65535
_FORMS: Final = "an address is sm:DIRECTORY or tcp:HOST:PORT"
# The only rank of a served system.
_RANK: Final = Rank(0)


class SmAddress(NamedTuple):
    """A directory of Unix sockets."""

    directory: Path

    def __str__(self) -> str:
        return f"sm:{self.directory}"


class TcpAddress(NamedTuple):
    """A host and the port of its tag 0."""

    host: str
    port: int

    def __str__(self) -> str:
        return (
            f"tcp:[{self.host}]:{self.port}" if ":" in self.host else f"tcp:{self.host}:{self.port}"
        )


Address = SmAddress | TcpAddress


def parse_address(text: str) -> Address:
    """Read what `str` of an address gives. Raises: InvalidError"""
    kind, _, rest = text.partition(":")
    if kind == "sm" and rest:
        return SmAddress(Path(rest).absolute())
    if kind == "tcp":
        host, _, port = rest.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if not port.isascii() or not port.isdigit() or not 0 < int(port) <= PORT_MAX:
            raise InvalidError(f"{text!r}: {port!r} is no port from 1 to {PORT_MAX}; {_FORMS}")
        if not bare or (":" in bare) != (host != bare):
            raise InvalidError(f"{text!r}: {host!r} is no host ([…] around IPv6); {_FORMS}")
        return TcpAddress(bare, int(port))
    raise InvalidError(f"{text!r}: {_FORMS}")


async def transport_to(address: Address, loop: asyncio.AbstractEventLoop) -> Transport:
    """What reaches the endpoints of `address`, or listens there.

    Raises:     DaosError   DER_UNREACH: the host's name is not known
    """
    if isinstance(address, SmAddress):
        directory = address.directory
        return SmTransport(loop, lambda endpoint: f"{directory}/{endpoint.rank}.{endpoint.tag}")
    host = await _number_of(address.host, loop)

    def place(endpoint: Endpoint) -> tuple[str, int] | None:
        port = address.port + endpoint.tag
        return (host, port) if endpoint.rank == _RANK and port <= PORT_MAX else None

    return TcpTransport(loop, place)


async def _number_of(host: str, loop: asyncio.AbstractEventLoop) -> str:
    try:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise DaosError(f"host {host!r} is not known: {error}", code=DER.UNREACH) from error
    return str(found[0][4][0])

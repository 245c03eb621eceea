"""Addresses of served systems."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from daos.base.errors import DER, DaosError, InvalidError
from daos.base.ids import Rank, Tag
from daos.cart.transport.sm import SmTransport
from daos.cart.transport.tcp import TcpTransport
from daos.cart.wire import Endpoint
from daos.embedded.addresses import SmAddress, TcpAddress, parse_address, transport_to


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("sm:/run/daos", SmAddress(Path("/run/daos"))),
        ("sm:/a:b", SmAddress(Path("/a:b"))),
        ("tcp:127.0.0.1:31416", TcpAddress("127.0.0.1", 31416)),
        ("tcp:storage.example:1", TcpAddress("storage.example", 1)),
        ("tcp:[::1]:65535", TcpAddress("::1", 65535)),
    ],
)
def test_an_address_and_its_text(text: str, address: object) -> None:
    assert parse_address(text) == address
    assert str(address) == text


def test_a_relative_directory_is_taken_from_here() -> None:
    assert parse_address("sm:s") == SmAddress(Path.cwd() / "s")


@pytest.mark.parametrize(
    "text",
    [
        *("", "sm", "sm:", "tcp", "tcp:", "tcp:host", "tcp:host:", "tcp::1", "tcp:host:0"),
        *("tcp:host:65536", "tcp:host:-1", "tcp:host:1.5", "tcp:::1:5", "tcp:[host]:5", "udp:h:1"),
        *("tcp:host:٣", "/run/daos"),
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(InvalidError, match="an address is sm:DIRECTORY or tcp:HOST:PORT"):
        parse_address(text)


def test_each_tag_has_a_place() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        sm = await transport_to(parse_address("sm:/run/daos"), loop)
        assert isinstance(sm, SmTransport)
        assert sm._addresses(Endpoint(Rank(0), Tag(3))) == "/run/daos/0.3"
        tcp = await transport_to(parse_address("tcp:localhost:65533"), loop)
        assert isinstance(tcp, TcpTransport)
        places = [tcp._addresses(Endpoint(Rank(0), Tag(tag))) for tag in range(4)]
        host = places[0][0] if places[0] else ""
        assert host in ("127.0.0.1", "::1")
        assert places == [(host, 65533), (host, 65534), (host, 65535), None]
        assert tcp._addresses(Endpoint(Rank(1), Tag(0))) is None
        with pytest.raises(DaosError, match="not known") as caught:
            await transport_to(parse_address(f"tcp:{'x' * 70}.invalid:5"), loop)
        assert caught.value.code is DER.UNREACH

    asyncio.run(main())

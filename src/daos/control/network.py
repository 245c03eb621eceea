"""Addresses of this host's network interfaces.

Source: ours; netdevice(7), the kernel's if_inet6_show
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from pathlib import Path
from typing import Final

from daos.base.errors import InvalidError

_SIOCGIFADDR: Final = 0x8915
_NAME_SIZE_MAX: Final = 15
_IPV6: Final = Path("/proc/net/if_inet6")
_LINK_LOCAL: Final = 0x20  # of use with the interface's name only


def address_of(interface: str) -> str:
    """The IPv4 address of `interface`, else its IPv6 one; or the address that it is itself.

    Raises: InvalidError  there is none; it has none
    """
    try:
        return str(ipaddress.ip_address(interface))
    except ValueError:
        pass  # a name
    request = struct.pack("256s", interface.encode()[:_NAME_SIZE_MAX])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
        except OSError as error:
            table = _IPV6.read_text(encoding="ascii") if _IPV6.exists() else ""
            address = ipv6_of(interface, table)
            if address is not None:
                return address
            there = ", ".join(name for _, name in socket.if_nameindex())
            text = f"interface {interface[:64]!r}: {error.strerror}; there are {there}"
            raise InvalidError(text) from None
    return socket.inet_ntoa(answer[20:24])


def ipv6_of(interface: str, table: str) -> str | None:
    """The first address that other hosts may use, in what the kernel tells of all interfaces."""
    for line in table.splitlines():
        address, _, _, scope, _, name = line.split()
        if name == interface and int(scope, 16) != _LINK_LOCAL:
            return str(ipaddress.IPv6Address(int(address, 16)))
    return None


def with_port(address: str, port: int) -> str:
    """As it is written: IPv6 in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

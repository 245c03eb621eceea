"""Addresses of this host's network interfaces.

Source: ours; netdevice(7)
"""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import Final

from daos.base.errors import InvalidError

_SIOCGIFADDR: Final = 0x8915
_NAME_SIZE_MAX: Final = 15


def address_of(interface: str) -> str:
    """The IPv4 address of `interface`. Raises: InvalidError  there is none; it has none"""
    request = struct.pack("256s", interface.encode()[:_NAME_SIZE_MAX])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
        except OSError as error:
            there = ", ".join(name for _, name in socket.if_nameindex())
            text = f"interface {interface[:64]!r}: {error.strerror}; there are {there}"
            raise InvalidError(text) from None
    return socket.inet_ntoa(answer[20:24])

"""The network interfaces of this host that engines can listen at, as `/sys/class/net` has them.

Source: DAOS src/control/lib/hardware (FabricInterface, NetDevClass); linux/if_arp.h
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from daos.base.errors import InvalidError
from daos.control.network import address_of

# What a configuration calls connections over TCP; there is no other kind between hosts.
PROVIDER: Final = "ofi+tcp"
_SYS: Final = Path("/sys")
_NODE: Final = re.compile(r"node(\d+)\Z")


class NetClass(IntEnum):
    """Kinds of interfaces, by number of their ARP hardware."""

    ETHERNET = 1
    INFINIBAND = 32
    LOOPBACK = 772


CLASSES: Final = {each.name.lower(): each for each in NetClass}


class Interface(NamedTuple):
    """One, and the provider that it can be used with. `numa_node` 0: also where none is known."""

    provider: str
    device: str
    numa_node: int
    net_class: int


class Fabric(NamedTuple):
    """What a host has."""

    interfaces: tuple[Interface, ...]
    numa_count: int
    cores_per_numa: int


def scan(provider: str = "", *, root: Path = _SYS) -> Fabric:
    """The interfaces with an IPv4 address, by name; of this `provider`, or any ("", "all").

    Raises: InvalidError  there is no such provider
    """
    if provider not in ("", "all", PROVIDER):
        raise InvalidError(f"no provider {provider[:64]!r}; there is {PROVIDER}, or say all")
    networks = root / "class/net"
    found = [
        Interface(
            PROVIDER,
            path.name,
            max(0, _number(path / "device/numa_node")),
            _number(path / "type"),
        )
        for path in sorted(networks.iterdir() if networks.is_dir() else ())
        if _has_address(path.name)
    ]
    nodes = root / "devices/system/node"
    entries: Iterable[Path] = nodes.iterdir() if nodes.is_dir() else ()
    count = sum(_NODE.match(path.name) is not None for path in entries) or 1
    return Fabric(tuple(found), count, max(1, len(os.sched_getaffinity(0)) // count))


def _number(path: Path) -> int:
    """A file's number; -1 where there is none, as the kernel says it."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return -1


def _has_address(interface: str) -> bool:
    try:
        address_of(interface)
    except InvalidError:
        return False
    return True

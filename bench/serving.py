"""Real systems for the suite `servers`: a `daos_server` without configuration, and its clients.

What is started ends with the block, whatever happens in it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench.client import POOL, ClientProcess
from bench.echo import MODULES, install
from bench.machine import bind
from daos.control.places import AGENT_SOCKET
from daos.testing.engines import free_ports
from daos.testing.own_system import OwnSystem

_POOL_SIZE: Final = "4GiB"


class ServedSystem:
    """A running system with a pool, and client processes that wait. Made by `open_served`."""

    def __init__(self, system: OwnSystem, clients: list[ClientProcess]) -> None:
        self._system = system
        self._clients = clients

    def rate(
        self, work: str, transport: str, clients: int, *, seconds: float, cpus: Collection[int]
    ) -> float:
        """Operations a second of so many clients together; all processes use these CPUs."""
        working = self._clients[:clients]
        bind([*self._system.pids(), *(client.pid for client in working)], cpus)
        for client in working:
            client.begin(work, transport, seconds)
        return sum(client.rate() for client in working)


@contextmanager
def open_served(
    directory: Path, *, targets: int, clients: int, blocks: int, loop: str
) -> Iterator[ServedSystem]:
    """A new system, whose data is below `directory`; `blocks`: of 1 MiB, of each client."""
    told = {
        "PYTHONPATH": install(directory),
        "D_INTERFACE": "lo",
        "D_PORT": str(free_ports(1 + targets)),
    }
    with OwnSystem({**os.environ, **told}) as system, ExitStack() as stack:
        storage = ("-s", str(directory / "storage"))
        system.start(*storage, "-t", str(targets), "-m", MODULES)
        system.run("dmg", "pool", "create", POOL, "-z", _POOL_SIZE)
        started: list[ClientProcess] = []
        for number in range(clients):
            agent = system.sockets / AGENT_SOCKET
            client = ClientProcess(agent, f"client{number}", blocks=blocks, loop=loop)
            stack.callback(client.close)
            started.append(client)
        for client in started:
            client.wait()
        yield ServedSystem(system, started)

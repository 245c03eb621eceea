"""Where a system without configuration is kept, and where others look for one.

| | root | others |
|---|---|---|
| storage | /var/lib/daos | ~/.daos |
| sockets of server and engines, control.sock | /var/run/daos_server | ~/.daos/run |
| socket of the agent | /var/run/daos_agent | ~/.daos/run |

Who looks for a server, or for the agent, takes the first of: what an option says; what the
environment says; what a configuration file says; the user's own system, if its socket is there;
the machine's.

    DAOS_SOCKET_DIR        the directory of control.sock, and of the agent's socket if the next is
                           not set: a system in a place of its own (ours)
    DAOS_AGENT_DRPC_DIR    the directory of the agent's socket

Source: ours; defaults of DAOS src/control/build/variables.go, src/include/daos/drpc.h
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

SYSTEM: Final = "daos_server"
PORT: Final = 10001
CONTROL_SOCKET: Final = "control.sock"
SERVER_SOCKET: Final = "daos_server.sock"
AGENT_SOCKET: Final = "daos_agent.sock"
# Of who runs a system, and of who runs an agent, in the directories of their sockets.
SERVER_LOCK: Final = "daos_server.lock"
AGENT_LOCK: Final = "daos_agent.lock"
SERVER_CONFIG: Final = Path("/etc/daos/daos_server.yml")
AGENT_CONFIG: Final = Path("/etc/daos/daos_agent.yml")
CONTROL_CONFIG: Final = Path("/etc/daos/daos_control.yml")
OWN_CONTROL_CONFIG: Final = ".daos_control.yml"
SOCKET_DIR: Final = "DAOS_SOCKET_DIR"
AGENT_DIR: Final = "DAOS_AGENT_DRPC_DIR"

# As `os.path.exists`: nothing is there where one may not look.
Exists = Callable[[Path], bool]


class Places(NamedTuple):
    """Directories of one system."""

    storage: Path
    sockets: Path
    agent: Path


MACHINE: Final = Places(
    Path("/var/lib/daos"), Path("/var/run/daos_server"), Path("/var/run/daos_agent")
)


class User(NamedTuple):
    """Who looks."""

    uid: int
    home: Path
    environ: Mapping[str, str]

    @property
    def own(self) -> Places:
        """Where this user's own system is kept; root's is the machine's."""
        if self.uid == 0:
            return MACHINE
        base = self.home / ".daos"
        return Places(base, base / "run", base / "run")


def control_hosts(user: User, configured: tuple[str, ...], exists: Exists) -> tuple[str, ...]:
    """Who to ask where no option names a host; `configured`: by a configuration file."""
    if directory := user.environ.get(SOCKET_DIR):
        return (f"unix:{Path(directory) / CONTROL_SOCKET}",)
    if configured:
        return configured
    for places in (user.own, MACHINE):
        if exists(path := places.sockets / CONTROL_SOCKET):
            return (f"unix:{path}",)
    return (f"localhost:{PORT}",)


def agent_socket(user: User, exists: Exists) -> Path:
    """Where a client finds the agent."""
    directory = user.environ.get(AGENT_DIR) or user.environ.get(SOCKET_DIR)
    if directory:
        return Path(directory) / AGENT_SOCKET
    own, of_machine = user.own.agent / AGENT_SOCKET, MACHINE.agent / AGENT_SOCKET
    return own if exists(own) or not exists(of_machine) else of_machine

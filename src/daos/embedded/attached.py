"""`daos.connect()`: a client of the system that this host's agent serves.

    with daos.connect() as client, client.pool("tank") as pool: ...

Where the agent is: `control/places.py`. Nothing of the system runs in this process.

Source: ours; DAOS daos_init
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from daos.base.clock import SystemClock
from daos.client.attach import attach
from daos.client.attached import AttachedClient
from daos.client.client import Client
from daos.client.ranges import ranges_limit
from daos.client.session import Opening
from daos.control import places


def connect(system: str = places.SYSTEM, *, timeout: float = 60.0) -> AttachedClient:
    """A client; close it, or use it in `with`.

    Units:      timeout in seconds, for calls that name none
    Raises:     DaosError      DER_UNREACH: no agent here, or it reaches no server
                InvalidError   the system has another name; a variable of the environment is wrong
    """
    return AttachedClient(
        _agent_socket(),
        system=system,
        clock=SystemClock(),
        rng=random.SystemRandom(),
        timeout=timeout,
        ranges_max=ranges_limit(os.environ),
    )


def async_connect(system: str = places.SYSTEM, *, timeout: float = 60.0) -> Opening[Client]:
    """As `connect`: await it, or use it in `async with`."""
    return Opening(
        lambda: attach(
            _agent_socket(),
            system=system,
            clock=SystemClock(),
            rng=random.SystemRandom(),
            timeout=timeout,
            ranges_max=ranges_limit(os.environ),
        )
    )


def _agent_socket() -> Path:
    user = places.User(os.getuid(), Path.home(), os.environ)
    return places.agent_socket(user, os.path.exists)

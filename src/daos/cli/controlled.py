"""How commands reach the servers of a system as its administrator: by gRPC.

Source: DAOS src/control/lib/control; where a server is found: control/places.py
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from daos.control import places
from daos.control.access import Component
from daos.control.client import ControlClient
from daos.control.config.control import load_control

from daos.base.clock import SystemClock
from daos.cli.frame import Answer, Options


def with_control(
    options: Options,
    work: Callable[[ControlClient], Coroutine[Any, Any, Answer]],
    *,
    hosts: str | None = None,
) -> Answer:
    """Run `work` with a client of the hosts that option, environment or configuration name."""
    user = places.User(os.getuid(), Path.home(), os.environ)
    config = load_control(user, options.get("config_path"))
    named = hosts or options.get("host_list")
    chosen = (
        tuple(part.strip() for part in named.split(","))
        if named
        else places.control_hosts(user, config.hosts, Path.exists)
    )

    async def whole() -> Answer:
        async with ControlClient(
            chosen,
            component=Component.ADMIN,
            clock=SystemClock(),
            rng=random.SystemRandom(),
            system=config.name,
        ) as control:
            return await work(control)

    return asyncio.run(whole())

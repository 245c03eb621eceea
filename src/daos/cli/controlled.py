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

from daos.base.clock import SystemClock
from daos.base.errors import InvalidError
from daos.cli.frame import Answer, Options
from daos.control import faults, places
from daos.control.access import Component
from daos.control.client import ControlClient
from daos.control.config.model import ControlConfig
from daos.control.config.others import parse_control
from daos.control.faults import FaultError


def with_control(
    options: Options,
    work: Callable[[ControlClient], Coroutine[Any, Any, Answer]],
    *,
    hosts: str | None = None,
) -> Answer:
    """Run `work` with a client of the hosts that option, environment or configuration name.

    Raises: InvalidError; whatever `work` does
    """
    user = places.User(os.getuid(), Path.home(), os.environ)
    config = _configuration(user, options.get("config_path"))
    named = hosts or options.get("host_list")
    configured = config.hosts if config is not None else ()
    chosen = (named,) if named else places.control_hosts(user, configured, os.path.exists)

    async def whole() -> Answer:
        async with ControlClient(
            chosen,
            component=Component.ADMIN,
            clock=SystemClock(),
            rng=random.SystemRandom(),
            system=config.name if config is not None else places.SYSTEM,
        ) as control:
            return await work(control)

    try:
        return asyncio.run(whole())
    except FaultError as fault:
        if fault.number != faults.REFUSED or named or configured:
            raise
        # Nobody has said where the system is: perhaps there is none.
        todo = f"{fault.resolution}; `daos_server start` starts a system"
        raise FaultError(
            fault.domain, fault.number, fault.description, todo, code=fault.code
        ) from None


def _configuration(user: places.User, named: str | None) -> ControlConfig | None:
    """The file that an option names, the user's, or the machine's; None: there is none.

    Raises: InvalidError  it can't be read, or is wrong
    """
    own = user.home / places.OWN_CONTROL_CONFIG
    for path in (Path(named),) if named else (own, places.CONTROL_CONFIG):
        try:
            return parse_control(path.read_text("utf-8"), file=str(path))
        except FileNotFoundError as error:
            if named:
                raise InvalidError(f"{path} does not exist") from error
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidError(f"{path} can't be read: {error}") from error
    return None

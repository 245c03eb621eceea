"""How commands reach the servers of a system as its administrator: by gRPC.

Source: DAOS src/control/lib/control; where a server is found: control/places.py
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from daos.base.errors import InvalidError
from daos.cli.frame import Options
from daos.control import faults, places
from daos.control.faults import FaultError

if TYPE_CHECKING:
    from daos.control.client import ControlClient
    from daos.control.config.model import ControlConfig

T = TypeVar("T")


def with_control(
    options: Options,
    work: Callable[[ControlClient], Coroutine[Any, Any, T]],
    *,
    doing: str = "",
) -> T:
    """Run `work` with a client of the hosts that option, environment or configuration name.

    `doing`: what people are told that it is at, where it takes long.

    Raises: InvalidError; whatever `work` does
    """
    # gRPC and a loop: longer than all the rest of a command line, which help does without.
    import asyncio
    import random

    from daos.base.clock import SystemClock
    from daos.cli.progress import shown
    from daos.control.access import Component
    from daos.control.client import ControlClient

    if log_file := options.get("log_file"):
        from daos.cli import logs

        as_json = bool(options.get("json_logging"))
        logs.of_tool(Path(log_file), debug=options.debug, as_json=as_json)
    user = places.User(os.getuid(), Path.home(), os.environ)
    config = _configuration(user, options.get("config_path"))
    named = options.get("host_list")
    configured = config.hosts if config is not None else ()
    chosen = (named,) if named else places.control_hosts(user, configured, os.path.exists)

    clock = SystemClock()

    async def whole() -> T:
        async with (
            ControlClient(
                chosen,
                component=Component.ADMIN,
                clock=clock,
                rng=random.SystemRandom(),
                system=config.name if config is not None else places.SYSTEM,
                allow_proxy=bool(options.get("allow_proxy")),
            ) as control,
            shown(doing, on=sys.stderr, quiet=options.json or not doing, clock=clock),
        ):
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
            text = path.read_text("utf-8")
        except FileNotFoundError as error:
            if named:
                raise InvalidError(f"{path} does not exist") from error
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidError(f"{path} can't be read: {error}") from error
        else:
            from daos.control.config.others import parse_control  # YAML: only where there is some

            return parse_control(text, file=str(path))
    return None

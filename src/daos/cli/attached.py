"""How commands reach a system as its user: through this host's agent.

Source: ours
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from daos.base.errors import DER, DaosError
from daos.cli import told
from daos.cli.frame import Options
from daos.control import places

if TYPE_CHECKING:
    from daos.client.agent import Attachment
    from daos.client.client import Client

T = TypeVar("T")
TIMEOUT_S: Final = 60.0


def agent_socket() -> Path:
    """Where this user's commands look for the agent."""
    return places.agent_socket(places.User(os.getuid(), Path.home(), os.environ), os.path.exists)


def system_of(options: Options) -> str:
    """The name of the system that is meant."""
    named: str = options.get("sys_name") or places.SYSTEM
    return named


def with_client(
    options: Options,
    work: Callable[[Client], Coroutine[Any, Any, T]],
    *,
    timeout_s: float = TIMEOUT_S,
    doing: str = "",
) -> T:
    """Run `work` with a client that is closed afterwards.

    `doing`: what people are told that it is at, where it takes long.

    Raises: as `attach`, and `work`
    """
    # The client and a loop: longer than all the rest of a command line, which help does without.
    import asyncio
    import random

    from daos.base.clock import SystemClock
    from daos.cli.progress import shown
    from daos.client.attach import attach

    clock = SystemClock()

    async def whole() -> T:
        client = await attach(
            agent_socket(),
            system=system_of(options),
            clock=clock,
            rng=random.SystemRandom(),
            timeout=timeout_s,
        )
        quiet = options.json or not doing
        async with client, shown(doing, on=sys.stderr, quiet=quiet, clock=clock):
            return await work(client)

    try:
        return asyncio.run(whole())
    except DaosError as error:
        if hint := _next_step(error):
            raise told.hinted(error, hint) from error
        raise


def _next_step(error: DaosError) -> str:
    """What helps, where the error does not say it itself."""
    match error.code:
        case DER.NONEXIST if error.message.startswith("pool "):
            return "`daos pool list` lists those that there are"
        case DER.NONEXIST if error.message.startswith("container "):
            return "`daos container list POOL` lists those that there are"
        case DER.UNREACH if "`" not in error.message:
            return "`dmg system query` tells which ranks run"
    return ""


def attachment(options: Options) -> Attachment:
    """What the agent tells of the system. Raises: as `Agent.attach_info`"""
    import asyncio

    from daos.client.agent import Agent

    return asyncio.run(Agent(agent_socket(), system_of(options)).attach_info(TIMEOUT_S))

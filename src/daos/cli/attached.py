"""How commands reach a system as its user: through this host's agent.

Source: ours
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from daos.base.clock import SystemClock
from daos.cli.frame import Answer, Options
from daos.client.attach import Agent, Attachment, attach
from daos.client.client import Client
from daos.control import places

TIMEOUT_S = 60.0


def agent_socket() -> Path:
    """Where this user's commands look for the agent."""
    return places.agent_socket(places.User(os.getuid(), Path.home(), os.environ), os.path.exists)


def system_of(options: Options) -> str:
    """The name of the system that is meant."""
    named: str = options.get("sys_name") or places.SYSTEM
    return named


def with_client(options: Options, work: Callable[[Client], Coroutine[Any, Any, Answer]]) -> Answer:
    """Run `work` with a client that is closed afterwards. Raises: as `attach`, and `work`"""

    async def whole() -> Answer:
        client = await attach(
            agent_socket(),
            system=system_of(options),
            clock=SystemClock(),
            rng=random.SystemRandom(),
            timeout=TIMEOUT_S,
        )
        async with client:
            return await work(client)

    return asyncio.run(whole())


def attachment(options: Options) -> Attachment:
    """What the agent tells of the system. Raises: as `Agent.attach_info`"""
    return asyncio.run(Agent(agent_socket(), system_of(options)).attach_info(TIMEOUT_S))

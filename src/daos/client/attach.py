"""A client of a served system: the agent of this host says where its ranks are.

    agent --Attachment--> Context over routes --> Client

What the agent answers is asked for once; a client that is connected needs no agent any more.

Source: DAOS src/client/api/init.c daos_init
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from socket import gethostname

from daos.base.clock import Clock, Rng
from daos.base.hlc import Hlc
from daos.cart.context import Context
from daos.cart.transport.ranks import Places, RankNetwork
from daos.client.agent import Agent
from daos.client.client import Client
from daos.client.session import RANGES_MAX


async def attach(
    socket: Path,
    *,
    system: str,
    clock: Clock,
    rng: Rng,
    timeout: float = 60.0,
    ranges_max: int = RANGES_MAX,
) -> Client:
    """A client of the system that the agent at `socket` serves. Close it.

    Units:  timeout in seconds, for calls that name none; ranges_max: as `Client`
    Raises: as `Agent.attach_info`
    """
    agent = Agent(socket, system)
    found = await agent.attach_info(timeout)
    loop, places = asyncio.get_running_loop(), Places()
    places.update(1, found.ranks)
    context = Context(
        RankNetwork(loop, places),
        None,
        clock=clock,
        hlc=Hlc(clock),
        rng=rng,
        loop=loop,
    )
    return Client(
        context,
        clock=clock,
        rng=rng,
        service=found.service,
        timeout=timeout,
        monitor=agent,
        machine=gethostname(),
        ranges_max=ranges_max,
    )

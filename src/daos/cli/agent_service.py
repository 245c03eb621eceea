"""What `daos_agent` does with a loop and gRPC, which take longer to import than the rest of it.

Source: DAOS src/control/cmd/daos_agent/start.go
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
from typing import Final

import click

from daos.base.clock import SystemClock
from daos.base.version import VERSION
from daos.cart.transport.ranks import this_host
from daos.control.access import Component
from daos.control.agent import Agent
from daos.control.client import ControlClient
from daos.control.config.model import AgentConfig
from daos.control.monitor import born
from daos.control.notify import tell
from daos.control.places import AGENT_SOCKET
from daos.proto.mgmt_pb2 import GetAttachInfoReq, GetAttachInfoResp

_DUMP_S: Final = 20.0


def serve(config: AgentConfig, program: str) -> None:
    """Answer clients until a signal. Raises: DaosError"""
    asyncio.run(_serve(config, program))


def ask(config: AgentConfig) -> GetAttachInfoResp:
    """Where the ranks are, of the servers. Raises: DaosError"""
    return asyncio.run(_ask(config))


def _control(config: AgentConfig) -> ControlClient:
    return ControlClient(
        config.hosts,
        component=Component.AGENT,
        system=config.name,
        clock=SystemClock(),
        rng=random.SystemRandom(),
        allow_proxy=config.allow_proxy,
    )


async def _ask(config: AgentConfig) -> GetAttachInfoResp:
    async with _control(config) as control:
        request = GetAttachInfoReq(all_ranks=True)
        return await control.ask("GetAttachInfo", request, GetAttachInfoResp, timeout_s=_DUMP_S)


async def _serve(config: AgentConfig, program: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with _control(config) as control:
        agent = Agent(
            config,
            control,
            hostname=socket.gethostname(),
            boot=this_host(),
            clock=SystemClock(),
            born=born,
        )
        flushes = set[asyncio.Task[None]]()

        def flush() -> None:
            task = loop.create_task(agent.flush())
            flushes.add(task)
            task.add_done_callback(flushes.discard)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGUSR1, flush)
        loop.add_signal_handler(signal.SIGUSR2, agent.refresh)
        try:
            await agent.start()
            tell(os.environ)
            where = config.directory / AGENT_SOCKET
            with contextlib.suppress(OSError):  # nobody reads it
                click.echo(f"{program} {VERSION} (pid {os.getpid()}) listening on {where}")
            await stop.wait()
        finally:
            await agent.close()

"""A server in this process, over fake engines that speak dRPC, and who asks it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from daos.base.clock import SystemClock
from daos.base.errors import DaosError
from daos.control.access import Component
from daos.control.client import ControlClient
from daos.control.config.model import ServerConfig, zero
from daos.control.places import Places
from daos.control.server import Programs, Server
from daos.proto import mgmt_pb2
from daos.testing.fake_engine import TOLD

ENGINE = (sys.executable, "-m", "daos.testing.fake_engine")
AGENT = (sys.executable, "-m", "daos.cli.agent")
WITHIN_S = 60.0
M = TypeVar("M", bound=Message)


def config(
    base: Path, *, engines: int = 1, agent: bool = False, **settings: object
) -> ServerConfig:
    places = Places(base, base / "run", base / "run")
    found = zero(places, engines=engines, environ={})
    changes: dict[str, Any] = {"restart_min_delay_s": 0.0, "stop_grace_s": WITHIN_S, **settings}
    found = replace(found, **changes)
    return found if agent else replace(found, agent=None)


class Running:
    """A server, who asks it, and what it said."""

    def __init__(self, config: ServerConfig) -> None:
        self.said: list[str] = []
        self.config = config
        self.server = Server(
            config,
            programs=Programs(ENGINE, AGENT),
            environ=os.environ,
            hostname="h1",
            clock=SystemClock(),
            rng=random.SystemRandom(),
            say=self.said.append,
        )
        self.admin = self.client(Component.ADMIN)
        self.instances = self.server.harness.instances

    def client(self, component: Component, host: str = "") -> ControlClient:
        where = host or f"unix:{self.config.sockets / 'control.sock'}"
        return ControlClient(
            [where], component=component, clock=SystemClock(), rng=random.SystemRandom()
        )

    async def ask(self, method: str, request: Message, reply: type[M]) -> M:
        return await self.admin.ask(method, request, reply, timeout_s=WITHIN_S)

    async def ask_host(self, method: str, request: Message, reply: type[M]) -> M:
        (answer,) = (await self.admin.ask_hosts(method, request, reply)).values()
        assert not isinstance(answer, DaosError), answer
        return answer

    async def states(self) -> list[str]:
        request = mgmt_pb2.SystemQueryReq()
        found = await self.ask("SystemQuery", request, mgmt_pb2.SystemQueryResp)
        return [each.state for each in found.members]

    def told(self, index: int = 0) -> list[dict[str, Any]]:
        """What an engine was told, over all of its lives."""
        path = self.config.engines[index].storage / TOLD
        return [json.loads(line) for line in path.read_text().splitlines()]

    async def until(self, settled: Callable[[], bool]) -> None:
        assert await self.server.harness.until(settled, within_s=WITHIN_S)


def run(
    config: ServerConfig,
    scenario: Callable[[Running], Awaitable[None]],
    *,
    ready: bool = True,
) -> Running:
    """Run `scenario` beside a server; afterwards nothing of it may be left."""

    async def main() -> Running:
        running = Running(config)
        try:
            await running.server.start()
            if ready:
                await running.server.ready(within_s=WITHIN_S)
            await scenario(running)
        finally:
            await running.admin.close()
            await running.server.close()
            await running.server.close()
        return running

    running = asyncio.run(main())
    assert not any(path.is_socket() for path in config.sockets.iterdir())
    return running


async def nothing(running: Running) -> None:
    return None

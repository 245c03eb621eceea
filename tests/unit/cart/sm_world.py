"""A transport over Unix sockets with one listener, for its tests."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from daos.base.ids import Rank, Tag
from daos.cart.context import Endpoint
from daos.cart.transport import Link
from daos.cart.transport.regions import SharingConfig
from daos.cart.transport.sm import SmTransport
from daos.testing.kits.transport_peers import RawChannel

PLACE = Endpoint(Rank(0), Tag(1))


class World:
    """A transport with one listener whose channels are kept."""

    def __init__(self, directory: Path, sharing: SharingConfig | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.path = directory / "0.1"
        self.transport = SmTransport(loop, lambda endpoint: str(self.path), sharing=sharing)
        self.accepted: list[RawChannel] = []
        self.arrival = asyncio.Event()
        self.listener = self.transport.listen(PLACE, self.accept)

    def accept(self, link: Link) -> RawChannel:
        channel = RawChannel()
        channel.link = link
        self.accepted.append(channel)
        self.arrival.set()
        return channel

    def connect(self) -> RawChannel:
        channel = RawChannel()
        channel.link = self.transport.connect(PLACE, channel)
        return channel

    async def taken(self) -> RawChannel:
        """The next connection that was taken."""
        while not self.accepted:
            self.arrival.clear()
            await self.arrival.wait()
        return self.accepted.pop()

    async def pair(self) -> tuple[RawChannel, RawChannel]:
        """Two ends that have heard each other."""
        here = self.connect()
        here.say(b"hello")
        there = await self.taken()
        await there.until(lambda: there.heard == b"hello")
        there.heard.clear()
        return here, there

    async def end(self, *channels: RawChannel) -> None:
        self.listener.close()
        for channel in channels:
            channel.link.close()
        for channel in channels:
            await channel.until(lambda channel=channel: bool(channel.lost))  # type: ignore[misc]


Scenario = Callable[[World], Awaitable[None]]


def run(directory: Path, scenario: Scenario, sharing: SharingConfig | None = None) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await scenario(World(directory, sharing))

    before = descriptors()
    asyncio.run(main())
    gc.collect()
    assert descriptors() == before


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))

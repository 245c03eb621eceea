"""A server, a client and the network between them, for tests of contexts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from daos.base.errors import (
    DaosError,
)
from daos.base.hlc import Hlc
from daos.base.ids import Rank, Tag
from daos.cart.context import Context, Endpoint, Limits, Rpc
from daos.cart.protocol import Procedure, opcode
from daos.cart.transport.inproc import InprocNetwork

SECOND_NS = 1_000_000_000
START_NS = 1_700_000_000 * SECOND_NS
FAR = START_NS + 3600 * SECOND_NS
SERVER = Endpoint(Rank(0), Tag(1))
LOG = "daos.cart.station"


class Ask(msgspec.Struct, array_like=True):
    number: int


class Answer(msgspec.Struct, array_like=True):
    number: int


class Words(msgspec.Struct, array_like=True):
    text: str


ECHO: Procedure[Ask, Answer] = Procedure("echo", opcode(9, 2, 0), Ask, Answer)
PUT: Procedure[Ask, Answer] = Procedure("put", opcode(9, 2, 1), Ask, Answer)


@dataclass
class FakeClock:
    unix_ns: int = START_NS

    def now_ns(self) -> int:
        return self.unix_ns

    def monotonic_ns(self) -> int:
        return self.unix_ns


@dataclass
class Place:
    """A network, a server on it, and a client."""

    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.network = InprocNetwork(self.loop)
        self.clock = FakeClock()
        self.server_clock = FakeClock()
        self.bugs: list[Exception] = []
        self.news = asyncio.Event()
        self.server = self.context(SERVER, self.server_clock)
        self.client = self.context(None, self.clock)
        self.server.listen()

    def context(self, endpoint: Endpoint | None, clock: FakeClock) -> Context:
        return Context(
            self.network,
            endpoint,
            clock=clock,
            hlc=Hlc(clock),
            rng=random.Random(1),
            loop=self.loop,
            limits=self.limits,
            on_bug=self.bugs.append,
        )

    async def echo(self, number: int = 1, procedure: Procedure[Ask, Answer] = ECHO) -> Answer:
        return await self.client.call(SERVER, procedure, Ask(number), deadline_ns=FAR)

    async def close(self) -> None:
        await self.client.close()
        await self.server.close()


def run(scenario: Callable[[Place], Awaitable[None]], limits: Limits | None = None) -> None:
    async def main() -> None:
        place = Place(limits or Limits())
        async with asyncio.timeout(20):
            await scenario(place)
            await place.close()

    asyncio.run(main())


def buggy(rpc: Rpc[Ask, Answer]) -> None:
    raise ZeroDivisionError("a secret of this host")


def ignore(*_: object) -> None:
    pass


async def outcome(call: Awaitable[Answer]) -> Answer | DaosError:
    try:
        return await call
    except DaosError as error:
        return error

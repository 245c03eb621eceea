"""A client process of the suite `engines`: does what it is told, and says how long it took.

    python -m bench.engine_client NAME RANK=URI …
        <- {"what": "put", "count": 1000, "depth": 64}          a line of standard input
        -> 0.731                                                seconds

`NAME` is the container that it makes for itself.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from bench.load import run_awaited
from daos.base.clock import SystemClock
from daos.base.hlc import Hlc
from daos.base.ids import Rank, Tag
from daos.cart.context import Context, Endpoint
from daos.cart.transport.ranks import Places, RankNetwork, parse_uri
from daos.client.array import Array
from daos.client.client import Client
from daos.client.kv import KeyValue
from examples.counter.daos_counter import ADD, Add

VALUE: Final = bytes(4096)
MIB: Final = bytes(1 << 20)
_DEADLINE_NS: Final = 600 * 10**9


class Worker:
    """What one client process can be told to do."""

    def __init__(self, context: Context, targets: int, kv: KeyValue, array: Array) -> None:
        self._context = context
        self._targets = targets
        self._kv = kv
        self._array = array
        self._clock = SystemClock()

    async def echo(self, index: int) -> None:
        """The smallest question, to a target."""
        endpoint = Endpoint(Rank(0), Tag(1 + index % self._targets))
        deadline_ns = self._clock.now_ns() + _DEADLINE_NS
        await self._context.call(endpoint, ADD, Add("n", 1), deadline_ns=deadline_ns)

    async def put(self, index: int) -> None:
        """4 KiB."""
        await self._kv.put(b"%08d" % index, VALUE)

    async def get(self, index: int) -> None:
        """What `put` has put."""
        assert await self._kv.get(b"%08d" % index) is not None

    async def write(self, index: int) -> None:
        """1 MiB."""
        await self._array.write(index << 20, MIB)

    async def read(self, index: int) -> None:
        """What `write` has written."""
        assert len(await self._array.read(index << 20, 1 << 20)) == 1 << 20


async def main(name: str, ranks: Sequence[str]) -> None:
    pairs = [each.partition("=") for each in ranks]
    places, clock, rng = Places(), SystemClock(), random.Random()
    places.update(1, {Rank(int(rank)): parse_uri(uri) for rank, _, uri in pairs})
    loop = asyncio.get_running_loop()
    network, hlc = RankNetwork(loop, places), Hlc(clock)
    context = Context(network, None, clock=clock, hlc=hlc, rng=rng, loop=loop)
    async with (
        Client(context, clock=clock, rng=rng) as client,
        client.pool("bench") as pool,
        pool.create_container(name) as container,
        container.kv() as kv,
        container.array(chunk_size=1 << 20) as array,
    ):
        targets = (await pool.query()).targets
        worker = Worker(context, targets, kv, array)
        _say("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            told: dict[str, Any] = json.loads(line)
            operate: Callable[[int], Awaitable[None]] = getattr(worker, told["what"])
            _say(f"{await run_awaited(told['count'], told['depth'], operate):.6f}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))

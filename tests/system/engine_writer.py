"""A client in a process of its own: `python -m tests.system.engine_writer NAME RANK=URI …`.

Puts one value after another into its key-value `NAME`, and tells each that was acknowledged:

    ready
    put 0
    put 1
    failed DER_…        a put that was not acknowledged in time; it is tried again
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence

from daos.base.clock import SystemClock
from daos.base.errors import DaosError
from daos.base.hlc import Hlc
from daos.base.ids import Rank
from daos.cart.context import Context
from daos.cart.transport.ranks import Places, RankNetwork, parse_uri
from daos.client.client import Client

TIMEOUT_S = 20.0


def value_of(name: str, number: int) -> bytes:
    """What is put under `key<number>`; some are large, a few go by bulk."""
    times = 40_000 if number % 200 == 50 else 2_000 if number % 50 == 20 else 1
    return f"{name} {number} ".encode() * times


def tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def main(name: str, ranks: Sequence[str]) -> None:
    uris = {
        Rank(int(rank)): parse_uri(uri) for rank, _, uri in (each.partition("=") for each in ranks)
    }
    places, clock, rng = Places(), SystemClock(), random.Random()
    places.update(1, uris)
    loop = asyncio.get_running_loop()
    context = Context(
        RankNetwork(loop, places), None, clock=clock, hlc=Hlc(clock), rng=rng, loop=loop
    )
    async with Client(context, clock=clock, rng=rng, timeout=TIMEOUT_S) as client:
        pool = await client.pool("tank")
        cont = await pool.create_container(name)
        kv = await cont.kv(await cont.new_oid("KV_LEXICAL", "SX"))
        tell(f"ready {kv.oid}")
        number = 0
        while True:
            try:
                await kv.put(f"key{number}", value_of(name, number))
            except DaosError as error:
                tell(f"failed {error}")
            else:
                tell(f"put {number}")
                number += 1


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))

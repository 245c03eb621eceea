"""RPC echo over the inproc transport beside a bare asyncio + msgspec echo over a Unix socket.

Both run in one loop. The bare one has a socket between its ends, and no deadlines, checksums,
clocks or rights; inproc has no socket, and emits and parses whole frames.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

import msgspec

from bench.limits import echoes
from bench.load import Ended, run_started
from bench.report import at_least
from bench.run import Run
from daos.base.clock import SystemClock
from daos.base.hlc import Hlc
from daos.base.ids import Rank, Tag
from daos.cart.context import Context, Endpoint, Rpc
from daos.cart.protocol import Procedure, opcode
from daos.cart.transport.inproc import InprocNetwork

_SERVER: Final = Endpoint(Rank(0), Tag(1))
_DEADLINE_NS: Final = 600 * 10**9


class _Message(msgspec.Struct, array_like=True, frozen=True):
    number: int
    text: bytes


_ECHO: Final = Procedure("ECHO", opcode(0x70, 1, 0), _Message, _Message)


async def echo_rate(depth: int, count: int) -> float:
    """Round trips a second through two contexts."""
    loop, clock = asyncio.get_running_loop(), SystemClock()
    network, hlc = InprocNetwork(loop), Hlc(clock)

    def context(endpoint: Endpoint | None) -> Context:
        rng = random.Random(1)
        return Context(network, endpoint, clock=clock, hlc=hlc, rng=rng, loop=loop)

    server, client = context(_SERVER), context(None)

    def echo(rpc: Rpc[_Message, _Message]) -> None:
        rpc.reply(rpc.request)

    server.serve(_ECHO, echo)
    server.listen()
    deadline_ns = clock.now_ns() + _DEADLINE_NS

    def start(index: int, ended: Ended) -> None:
        client.send(
            _SERVER,
            _ECHO,
            _Message(index, b"x"),
            deadline_ns=deadline_ns,
            done=lambda _reply, _nbytes, error: ended(error),
        )

    seconds = await run_started(count, depth, start)
    await client.close()
    await server.close()
    return count / seconds


def run(run: Run) -> None:
    """Budget of the design: 70 % of a bare echo."""
    count = run.scaled(20_000)
    for depth in (1, 16, 64):
        bare = ours = 0.0
        for _ in range(run.rounds):
            bare = max(bare, run.in_loop(echoes, depth, count))
            ours = max(ours, run.in_loop(echo_rate, depth, count))
        run.row(
            f"echo over inproc, {depth} in flight",
            ours,
            "1/s",
            limit=(bare, "bare echo"),
            budget=at_least(0.7),
        )

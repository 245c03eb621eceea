"""RPC echo over each transport beside a bare asyncio + msgspec echo over the same kind of socket.

Both run in one loop, so a rate is the processor time of both ends. The bare one has no deadlines,
checksums, clocks or rights. inproc has no socket; it stands beside the bare one over a Unix socket.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench.echo import ECHO, answer, run_echoes
from bench.limits import echoes
from bench.report import at_least
from bench.run import Run
from daos.base.clock import SystemClock
from daos.base.hlc import Hlc
from daos.base.ids import Rank, Tag
from daos.cart.context import Context, Endpoint
from daos.cart.transport import Transport
from daos.cart.transport.inproc import InprocNetwork
from daos.cart.transport.sm import SmTransport
from daos.cart.transport.tcp import TcpTransport
from daos.testing.kits.transport_peers import loopback_hosts

_SERVER: Final = Endpoint(Rank(0), Tag(1))
_DEADLINE_NS: Final = 600 * 10**9


_hosts: Final = loopback_hosts()


@contextmanager
def _transport(kind: str) -> Iterator[Transport]:
    """One of the running loop."""
    loop = asyncio.get_running_loop()
    if kind == "inproc":
        yield InprocNetwork(loop)
    elif kind == "tcp":
        host = next(_hosts)
        yield TcpTransport(loop, lambda endpoint: (host, 31416 + endpoint.tag))
    else:
        with tempfile.TemporaryDirectory(prefix="daos-") as directory:
            yield SmTransport(loop, lambda endpoint: f"{directory}/{endpoint.tag}")


async def echo_rate(kind: str, depth: int, count: int) -> float:
    """Round trips a second through two contexts."""
    with _transport(kind) as transport:
        return await _echo_rate(transport, depth, count)


async def _echo_rate(transport: Transport, depth: int, count: int) -> float:
    loop, clock = asyncio.get_running_loop(), SystemClock()
    hlc = Hlc(clock)

    def context(endpoint: Endpoint | None) -> Context:
        rng = random.Random(1)
        return Context(transport, endpoint, clock=clock, hlc=hlc, rng=rng, loop=loop)

    server, client = context(_SERVER), context(None)

    server.serve(ECHO, answer)
    server.listen()
    deadline_ns = clock.now_ns() + _DEADLINE_NS
    seconds = await run_echoes(client, (_SERVER,), count, depth, deadline_ns=deadline_ns)
    await client.close()
    await server.close()
    return count / seconds


def run(run: Run) -> None:
    """Budget of the design: 70 % of a bare echo."""
    count = run.scaled(20_000)
    for kind in ("inproc", "sm", "tcp"):
        for depth in (1, 16, 64):
            bare = ours = 0.0
            for _ in range(run.rounds):
                bare = max(bare, run.in_loop(echoes, depth, count, tcp=kind == "tcp"))
                ours = max(ours, run.in_loop(echo_rate, kind, depth, count))
            run.row(
                f"echo over {kind}, {depth} in flight",
                ours,
                "1/s",
                limit=(bare, f"bare echo, {'TCP' if kind == 'tcp' else 'Unix socket'}"),
                budget=at_least(0.7),
            )

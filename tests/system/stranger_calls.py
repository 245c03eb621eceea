"""What a stranger tries without our tools: an engine's sockets, and an agent's.

    python -m tests.system.stranger tests.system.stranger_calls DIRECTORY

Prints a line for each: what, and the error's name or `taken`.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable
from pathlib import Path

from daos.base.clock import SystemClock
from daos.base.errors import DaosError
from daos.base.hlc import Hlc
from daos.base.ids import SYSTEM_TAG, Rank
from daos.cart.context import Context, Endpoint
from daos.cart.transport.ranks import Places, RankNetwork, RankUri
from daos.drpc.client import call
from daos.drpc.modules import MgmtMethod, ModuleId, SrvMethod
from daos.mgmt.wire import POOL_LIST, PoolListRequest
from daos.proto.mgmt_pb2 import DaosResp, GetAttachInfoReq, GetAttachInfoResp, PingRankReq
from daos.proto.srv_pb2 import NotifyReadyReq, NotifyReadyResp

WITHIN_S = 20.0


async def tell(what: str, work: Awaitable[object]) -> None:
    try:
        await work
    except DaosError as error:
        print(what, error.code.name, error.message)
    else:
        print(what, "taken")


async def main(directory: Path, paths: list[Path]) -> None:
    clock, loop, places = SystemClock(), asyncio.get_running_loop(), Places()
    places.update(1, {Rank(0): RankUri(directory)})
    rng = random.Random()
    context = Context(
        RankNetwork(loop, places), None, clock=clock, hlc=Hlc(clock), rng=rng, loop=loop
    )
    deadline_ns = clock.now_ns() + int(WITHIN_S * 1e9)
    engine = Endpoint(Rank(0), SYSTEM_TAG)
    request = PoolListRequest()
    await tell("sm", context.call(engine, POOL_LIST, request, deadline_ns=deadline_ns))
    await context.close()
    for path in paths:
        if path.name.startswith("daos_engine"):
            method, asked, reply = MgmtMethod.PING_RANK, PingRankReq(rank=0), DaosResp
            work = call(path, ModuleId.MGMT, method, asked, reply, timeout_s=WITHIN_S)
            await tell("engine", work)
        elif path.name.startswith("daos_server"):
            number, ready = SrvMethod.NOTIFY_READY, NotifyReadyReq()
            told = call(path, ModuleId.SRV, number, ready, NotifyReadyResp, timeout_s=WITHIN_S)
            await tell("server", told)
        else:
            info = GetAttachInfoReq(all_ranks=True)
            number = MgmtMethod.GET_ATTACH_INFO
            seen = call(path, ModuleId.MGMT, number, info, GetAttachInfoResp, timeout_s=WITHIN_S)
            await tell("agent", seen)


if __name__ == "__main__":
    where = Path(sys.argv[1])
    asyncio.run(main(where, sorted(where.glob("daos_*.sock"))))

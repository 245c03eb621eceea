"""An engine that is none: a process that speaks dRPC with its server, and stores nothing.

    python -m daos.testing.fake_engine -I 0 -s STORAGE -d SOCKETS …

It has the arguments and manners of `daos_engine`: it takes the lock of its storage, tells that it
is ready, takes its rank, the map and the members, answers about pools from a table in memory, and
ends by SIGTERM. What it is told it writes to `live/told.jsonl` in its storage, a line each.

    -m fail:start      it ends at once with status 3
    -m fail:set_up     refuses SetUp
    -m fail:prepare    refuses PrepShutdown
    -m fail:stop       hears no SIGTERM
    -m fail:child      leaves a process behind that hears no SIGTERM either

Source: ours; a fake of daos.cli.engine
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from daos.base.directory import LOCK, Lock
from daos.base.errors import DER
from daos.base.peers import Peer
from daos.drpc.client import call
from daos.drpc.modules import MgmtMethod, ModuleId, SrvMethod
from daos.drpc.registry import Methods, Registry
from daos.drpc.server import Listener
from daos.proto import ctl_pb2, mgmt_pb2
from daos.proto.srv_pb2 import NotifyReadyReq, NotifyReadyResp

TOLD: Final = "live/told.jsonl"
_LABEL: Final = 1


class FakeEngine:
    """Its answers."""

    def __init__(self, storage: Path, fail: str) -> None:
        self._storage = storage
        self._fail = fail
        self._pools: dict[str, str] = {}  # uuid: label

    def methods(self) -> Methods:
        methods = Methods()
        add = methods.add
        pb = mgmt_pb2
        refused = {MgmtMethod.SET_UP: "set_up", MgmtMethod.PREP_SHUTDOWN: "prepare"}
        ranks: tuple[tuple[MgmtMethod, type[Message]], ...] = (
            (MgmtMethod.SET_RANK, pb.SetRankReq),
            (MgmtMethod.SET_UP, pb.SetUpReq),
            (MgmtMethod.PING_RANK, pb.PingRankReq),
            (MgmtMethod.PREP_SHUTDOWN, pb.PrepShutdownReq),
        )
        for number, request in ranks:
            status = -DER.BUSY if self._fail == refused.get(number, "none") else 0
            add(number, request, self._saying(number.name, pb.DaosResp(status=status)))
        add(
            MgmtMethod.GROUP_UPDATE,
            pb.GroupUpdateReq,
            self._saying("GROUP_UPDATE", pb.GroupUpdateResp()),
        )
        add(MgmtMethod.POOL_CREATE, pb.PoolCreateReq, self._create)
        add(MgmtMethod.POOL_DESTROY, pb.PoolDestroyReq, self._destroy)
        add(MgmtMethod.LIST_POOLS, pb.ListPoolsReq, self._list)
        add(MgmtMethod.POOL_QUERY, pb.PoolQueryReq, self._query)
        others: tuple[tuple[MgmtMethod, type[Message], Message], ...] = (
            (MgmtMethod.POOL_EVICT, pb.PoolEvictReq, pb.PoolEvictResp(count=1)),
            (MgmtMethod.LIST_CONTAINERS, pb.ListContReq, pb.ListContResp()),
            (MgmtMethod.POOL_SET_PROP, pb.PoolSetPropReq, pb.PoolSetPropResp()),
            (MgmtMethod.POOL_GET_PROP, pb.PoolGetPropReq, pb.PoolGetPropResp()),
            (MgmtMethod.POOL_QUERY_TARGETS, pb.PoolQueryTargetReq, pb.PoolQueryTargetResp()),
            (MgmtMethod.SMD_LIST_DEVS, ctl_pb2.SmdDevReq, ctl_pb2.SmdDevResp()),
            (MgmtMethod.SET_LOG_MASKS, ctl_pb2.SetLogMasksReq, ctl_pb2.SetLogMasksResp()),
            (MgmtMethod.SMD_LIST_POOLS, ctl_pb2.SmdPoolReq, ctl_pb2.SmdPoolResp()),
        )
        for number, request, reply in others:
            add(number, request, self._saying(number.name, reply))
        return methods

    def _saying(self, name: str, reply: Message) -> Any:  # noqa: ANN401 a handler of any message
        async def answer(request: Message, peer: Peer) -> Message:
            self._note(name, request)
            return reply

        return answer

    def _note(self, name: str, request: Message) -> None:
        line = {"method": name, **MessageToDict(request, preserving_proto_field_name=True)}
        with open(self._storage / TOLD, "a") as file:
            file.write(json.dumps(line) + "\n")

    async def _create(self, request: mgmt_pb2.PoolCreateReq, peer: Peer) -> Message:
        self._note("POOL_CREATE", request)
        label = next(each.strval for each in request.properties if each.number == _LABEL)
        if label in self._pools.values():
            return mgmt_pb2.PoolCreateResp(status=-DER.EXIST)
        self._pools[str(UUID(request.uuid))] = label
        return mgmt_pb2.PoolCreateResp(
            svc_reps=[0], tgt_ranks=request.ranks, tier_bytes=request.tier_bytes
        )

    async def _destroy(self, request: mgmt_pb2.PoolDestroyReq, peer: Peer) -> Message:
        uuid = self._find(request.id)
        if uuid is None:
            return mgmt_pb2.PoolDestroyResp(status=-DER.NONEXIST)
        del self._pools[uuid]
        return mgmt_pb2.PoolDestroyResp()

    async def _list(self, request: mgmt_pb2.ListPoolsReq, peer: Peer) -> Message:
        reply = mgmt_pb2.ListPoolsResp()
        for uuid, label in self._pools.items():
            reply.pools.add(uuid=uuid, label=label, svc_reps=[0], state="Ready")
        return reply

    async def _query(self, request: mgmt_pb2.PoolQueryReq, peer: Peer) -> Message:
        uuid = self._find(request.id)
        if uuid is None:
            return mgmt_pb2.PoolQueryResp(status=-DER.NONEXIST)
        return mgmt_pb2.PoolQueryResp(uuid=uuid, label=self._pools[uuid])

    def _find(self, name: str) -> str | None:
        return next((u for u, label in self._pools.items() if name in (u, label)), None)


async def _run(options: argparse.Namespace, fail: str) -> None:
    sockets, storage = Path(options.d), Path(options.s)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, (lambda: None) if fail == "stop" else stop.set)
    registry = Registry()
    registry.register(ModuleId.MGMT, FakeEngine(storage, fail).methods())
    path = sockets / f"daos_engine_{os.getpid()}.sock"
    listener = await Listener.start(path, registry, mode=0o600)
    try:
        ready = NotifyReadyReq(
            uri=f"sm://{sockets}",
            nctxs=options.t + 1,
            drpcListenerSock=str(path),
            instanceIdx=options.I,
            ntgts=options.t,
            incarnation=os.getpid(),
        )
        server = sockets / "daos_server.sock"
        await call(
            server, ModuleId.SRV, SrvMethod.NOTIFY_READY, ready, NotifyReadyResp, timeout_s=10
        )
        await stop.wait()
    finally:
        await listener.close()


def main() -> int:
    """As `daos_engine`."""
    parser = argparse.ArgumentParser()
    for option in "-t", "-x", "-I", "-f", "-p":
        parser.add_argument(option, type=int, default=0)
    for option in "-g", "-d", "-s", "-m":
        parser.add_argument(option, default="")
    options = parser.parse_args()
    fail = options.m.removeprefix("fail:")
    if fail == "start":
        return 3
    storage = Path(options.s)
    if fail == "child":
        deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
        subprocess.Popen([sys.executable, "-c", deaf, options.s])
    lock = Lock(storage / LOCK)
    (storage / TOLD).parent.mkdir(exist_ok=True)
    try:
        asyncio.run(_run(options, fail))
    finally:
        lock.release()
    return 0


if __name__ == "__main__":
    sys.exit(main())

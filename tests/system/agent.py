"""A small agent, for tools and clients that are tested against a served system."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from daos.base.errors import DER
from daos.base.peers import Peer
from daos.cart.transport.ranks import RankUri, this_host
from daos.drpc.modules import MgmtMethod, ModuleId
from daos.drpc.registry import Methods, Registry
from daos.drpc.server import Listener
from daos.proto.mgmt_pb2 import DaosResp, GetAttachInfoReq, GetAttachInfoResp, PoolMonitorReq


class SmallAgent:
    """An agent in a thread of the test, which knows one rank and counts what it is told."""

    def __init__(self, directory: Path, sockets: Path) -> None:
        self.socket = directory / "daos_agent.sock"
        self._uri = str(RankUri(sockets, None, this_host()))
        self.handles: set[str] = set()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._run()])

    def __enter__(self) -> SmallAgent:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set_result, None)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> None:
        methods = Methods()
        methods.add(MgmtMethod.GET_ATTACH_INFO, GetAttachInfoReq, self._info)
        methods.add(MgmtMethod.NOTIFY_POOL_CONNECT, PoolMonitorReq, self._connected)
        methods.add(MgmtMethod.NOTIFY_POOL_DISCONNECT, PoolMonitorReq, self._disconnected)
        registry = Registry()
        registry.register(ModuleId.MGMT, methods)
        listener = await Listener.start(self.socket, registry, mode=0o600)
        self._ready.set()
        await self._end
        await listener.close()

    async def _info(self, request: GetAttachInfoReq, peer: Peer) -> GetAttachInfoResp:
        if request.sys != "daos_server":
            return GetAttachInfoResp(status=-int(DER.INVAL))
        info = GetAttachInfoResp(sys="daos_server", ms_ranks=[0])
        info.rank_uris.add(rank=0, uri=self._uri, num_ctxs=5)
        info.client_net_hint.provider = "sm"
        return info

    async def _connected(self, request: PoolMonitorReq, peer: Peer) -> DaosResp:
        self.handles.add(request.poolHandleUUID)
        return DaosResp()

    async def _disconnected(self, request: PoolMonitorReq, peer: Peer) -> DaosResp:
        self.handles.discard(request.poolHandleUUID)
        return DaosResp()

"""The agent of this host, asked by clients: where the ranks are, and what becomes of its handles.

    agent socket --GetAttachInfo--> Attachment
                 <--NotifyPoolConnect, NotifyPoolDisconnect-- what is connected

The agent learns of every pool handle, so that those of a process that dies are given back for it.

Source: DAOS src/mgmt/cli_mgmt.c dc_get_attach_info, dc_mgmt_notify_pool_connect
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from daos.base.errors import DER, DaosError, NotFoundError, ProtocolError, error_for
from daos.base.ids import SYSTEM_TAG, Rank
from daos.cart.transport.ranks import RankUri, parse_uri
from daos.cart.wire import Endpoint
from daos.drpc.client import call
from daos.drpc.modules import MgmtMethod, ModuleId
from daos.proto.mgmt_pb2 import DaosResp, GetAttachInfoReq, GetAttachInfoResp, PoolMonitorReq

log = logging.getLogger(__name__)

ReplyT = TypeVar("ReplyT", bound=Message)

# Notices do not hold up what they tell of.
_NOTICE_S: Final = 2.0


class Attachment(NamedTuple):
    """What the agent tells of a system."""

    system: str
    ranks: Mapping[Rank, RankUri]
    service: Endpoint  # of management
    provider: str
    version: str  # of the servers; "": not told


class Agent:
    """The agent of this host, which listens at `socket`."""

    def __init__(self, socket: Path, system: str) -> None:
        self.socket: Final = socket
        self.system: Final = system

    async def attach_info(self, timeout: float) -> Attachment:
        """Where the ranks of the system are.

        Raises: DaosError      UNREACH: no agent; or it reaches no server
                InvalidError   it serves a system of another name
                ProtocolError  an answer without ranks
        """
        request = GetAttachInfoReq(sys=self.system, all_ranks=True)
        try:
            info = await self._call(MgmtMethod.GET_ATTACH_INFO, request, GetAttachInfoResp, timeout)
        except NotFoundError as error:
            text = f"no agent at {self.socket}: start one with `daos_server start`"
            raise DaosError(text, code=DER.UNREACH) from error
        if info.status:
            text = f"the agent cannot attach to system {self.system!r}"
            if info.status == -DER.INVAL:
                text += ": it serves one of another name"
            if info.status == -DER.UNREACH:
                text += ": no server answers it; `daos_server start` starts one"
            raise error_for(info.status, text)
        ranks = {Rank(each.rank): parse_uri(each.uri) for each in info.rank_uris}
        if not ranks or not info.ms_ranks:
            raise ProtocolError(f"the agent at {self.socket} knows no rank of {info.sys!r}")
        service = Endpoint(Rank(min(info.ms_ranks)), SYSTEM_TAG)
        build = info.build_info
        version = (
            f"{build.major}.{build.minor}.{build.patch}" if info.HasField("build_info") else ""
        )
        return Attachment(info.sys, ranks, service, info.client_net_hint.provider, version)

    async def pool_connected(self, pool: UUID, handle: UUID) -> None:
        """This process has connected."""
        await self._notify(MgmtMethod.NOTIFY_POOL_CONNECT, pool, handle)

    async def pool_disconnected(self, pool: UUID, handle: UUID) -> None:
        """This process gives the handle back itself."""
        await self._notify(MgmtMethod.NOTIFY_POOL_DISCONNECT, pool, handle)

    async def _notify(self, method: MgmtMethod, pool: UUID, handle: UUID) -> None:
        request = PoolMonitorReq(sys=self.system, poolUUID=str(pool), poolHandleUUID=str(handle))
        try:
            reply = await self._call(method, request, DaosResp, _NOTICE_S)
        except DaosError as error:
            log.info("agent not told socket=%s method=%s %s", self.socket, method.name, error)
        else:
            if reply.status:
                log.info("agent refused method=%s status=%d", method.name, reply.status)

    async def _call(
        self,
        method: MgmtMethod,
        request: Message,
        reply: type[ReplyT],
        timeout: float,
    ) -> ReplyT:
        return await call(self.socket, ModuleId.MGMT, method, request, reply, timeout_s=timeout)

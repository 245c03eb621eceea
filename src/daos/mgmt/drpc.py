"""What the server of this host asks its engine, by dRPC: ranks here, pools in `pools.py`.

    SetRank, GroupUpdate, SetUp     the start of a rank, in this order
    PingRank, PrepShutdown, SetLogMasks     later

A reply's `status` is a DER number, negated, and its `problem` says why; 0 is success.

Source: DAOS src/mgmt/srv_drpc.c
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from daos.base.errors import DaosError, InvalidError
from daos.base.ids import Rank
from daos.base.peers import Peer
from daos.drpc.modules import MgmtMethod, ModuleId
from daos.engine.control import Control, Place
from daos.engine.module import DrpcTable
from daos.engine.rank import Member
from daos.proto import ctl_pb2 as ctl
from daos.proto import mgmt_pb2 as pb

log = logging.getLogger(__name__)

MGMT: Final = ModuleId.MGMT


def add(table: DrpcTable, control: Control) -> None:
    """Answer what is asked about ranks."""
    ranks = _Ranks(control)
    table.add(MGMT, MgmtMethod.SET_RANK, pb.SetRankReq, ranks.set_rank)
    table.add(MGMT, MgmtMethod.GROUP_UPDATE, pb.GroupUpdateReq, ranks.update_group)
    table.add(MGMT, MgmtMethod.SET_UP, pb.SetUpReq, ranks.set_up)
    table.add(MGMT, MgmtMethod.PING_RANK, pb.PingRankReq, ranks.ping)
    table.add(MGMT, MgmtMethod.PREP_SHUTDOWN, pb.PrepShutdownReq, ranks.prepare_shutdown)
    table.add(MGMT, MgmtMethod.SET_LOG_MASKS, ctl.SetLogMasksReq, ranks.set_log_masks)


def failed(what: str, error: DaosError) -> int:
    """The status that an error becomes; its text is logged."""
    log.warning("%s: %s", what, error)
    return -int(error.code)


class _Ranks:
    def __init__(self, control: Control) -> None:
        self._control = control

    async def set_rank(self, request: pb.SetRankReq, peer: Peer) -> pb.DaosResp:
        return self._done(
            "SetRank", lambda: self._control.set_rank(Rank(request.rank), request.key)
        )

    async def update_group(self, request: pb.GroupUpdateReq, peer: Peer) -> pb.GroupUpdateResp:
        places = [Place(Rank(each.rank), each.uri, each.incarnation) for each in request.engines]
        done = self._done(
            "GroupUpdate", lambda: self._control.update_group(request.map_version, places)
        )
        return pb.GroupUpdateResp(status=done.status, problem=done.problem)

    async def set_up(self, request: pb.SetUpReq, peer: Peer) -> pb.DaosResp:
        members = [Member(each.host, Rank(each.rank), each.targets) for each in request.members]
        try:
            await self._control.set_up(members)
        except DaosError as error:
            return pb.DaosResp(status=failed("SetUp", error), problem=error.message)
        return pb.DaosResp()

    async def ping(self, request: pb.PingRankReq, peer: Peer) -> pb.DaosResp:
        return self._done("PingRank", lambda: self._check(request.rank))

    async def prepare_shutdown(self, request: pb.PrepShutdownReq, peer: Peer) -> pb.DaosResp:
        def prepare() -> None:
            self._check(request.rank)
            self._control.prepare_shutdown()

        return self._done("PrepShutdown", prepare)

    async def set_log_masks(self, request: ctl.SetLogMasksReq, peer: Peer) -> ctl.SetLogMasksResp:
        done = self._done("SetLogMasks", lambda: self._control.set_log_masks(request.masks))
        errors = [done.problem] if done.status else []
        return ctl.SetLogMasksResp(status=done.status, errors=errors)

    def _check(self, rank: int) -> None:
        if rank != self._control.rank:
            raise InvalidError(f"this is rank {self._control.rank}, not {rank}")

    @staticmethod
    def _done(what: str, work: Callable[[], None]) -> pb.DaosResp:
        try:
            work()
        except DaosError as error:
            return pb.DaosResp(status=failed(what, error), problem=error.message)
        return pb.DaosResp()

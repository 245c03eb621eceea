"""What the server of this host asks its engine about storage: devices, and pools on them, by dRPC.

Source: DAOS src/mgmt/srv_query.c ds_smd_list_devs, ds_smd_list_pools
"""

from __future__ import annotations

from typing import Final

from daos.base.errors import DaosError
from daos.base.peers import Peer
from daos.drpc.modules import MgmtMethod
from daos.engine.control import Control
from daos.engine.module import DrpcTable
from daos.engine.rank import SERVICE_RANK
from daos.mgmt.drpc import MGMT, failed
from daos.proto import ctl_pb2 as pb

# Data 1, metadata 2, log 4: a device is all of them.
_ROLES: Final = 7
# Among the targets of a device: that it keeps what the system xstream has, too.
# Source: DAOS src/control/server/storage/bdev.go, sysXSTgtID
_SYSTEM_XSTREAM: Final = 1024


def add(table: DrpcTable, control: Control) -> None:
    """Answer what is asked about storage."""

    async def devices(request: pb.SmdDevReq, peer: Peer) -> pb.SmdDevResp:
        try:
            found = control.device()
        except DaosError as error:
            return pb.SmdDevResp(status=failed("SmdListDevs", error))
        system = [_SYSTEM_XSTREAM] if control.rank == SERVICE_RANK else []
        device = pb.SmdDevice(
            uuid=str(found.uuid),
            tgt_ids=[*found.targets, *system],
            total_bytes=found.total_bytes,
            avail_bytes=found.available_bytes,
            usable_bytes=found.available_bytes,
            cluster_size=found.cluster_bytes,
            rank=control.rank or 0,
            role_bits=_ROLES,
            ctrlr=pb.NvmeController(dev_state=pb.NORMAL, led_state=pb.NA),
        )
        return pb.SmdDevResp(devices=[device])

    async def pools(request: pb.SmdPoolReq, peer: Peer) -> pb.SmdPoolResp:
        try:
            found = control.stored()
        except DaosError as error:
            return pb.SmdPoolResp(status=failed("SmdListPools", error))
        return pb.SmdPoolResp(
            pools=[
                pb.SmdQueryResp.Pool(uuid=str(each.pool), tgt_ids=each.targets, blobs=each.blobs)
                for each in found
            ]
        )

    table.add(MGMT, MgmtMethod.SMD_LIST_DEVS, pb.SmdDevReq, devices)
    table.add(MGMT, MgmtMethod.SMD_LIST_POOLS, pb.SmdPoolReq, pools)

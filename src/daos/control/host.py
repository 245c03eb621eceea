"""CtlSvc: the service of one host: its storage, and the processes of its engines.

Storage is a directory for each engine. It is told in the reference's terms: an engine's directory
is a mount of its first tier ("SCM"); there are no devices of the second one ("NVMe").

Source: DAOS src/control/server/ctl_*.go
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from daos.base.directory import told_by
from daos.base.errors import BusyError, DaosError
from daos.base.sets import parse_ranks
from daos.control import fabric, faults
from daos.control.access import Answer
from daos.control.harness import Harness
from daos.control.instance import Instance
from daos.control.members import MemberState
from daos.drpc.modules import MgmtMethod
from daos.proto import ctl_pb2 as pb
from daos.proto.shared_pb2 import RankResult

log = logging.getLogger(__name__)

_START_S: Final = 300.0
_ANY_RANK: Final = 0xFFFFFFFF
_MEMINFO: Final = Path("/proc/meminfo")
# What pools can't take: a part for their indices, which grow beside them; and, once a pool, its
# properties, containers and handles.
_INDEX_PARTS: Final = 8
_POOL_BYTES: Final = 64 << 20


class Host:
    """Answers for the engines of the harness."""

    def __init__(self, harness: Harness, *, address: str) -> None:
        self._harness = harness
        self._address = address

    @property
    def answers(self) -> dict[str, Answer]:
        """By name of the method."""
        own: dict[str, Callable[[Any], Awaitable[Any]]] = {
            "StorageScan": self._scan,
            "StorageFormat": self._format,
            "SmdQuery": self._smd_query,
            "NetworkScan": self._network_scan,
            "SetEngineLogMasks": self._set_log_masks,
            "PrepShutdownRanks": self._prepare,
            "StopRanks": self._stop,
            "StartRanks": self._start,
        }
        return own

    # --- storage ---

    async def _scan(self, request: pb.StorageScanReq) -> pb.StorageScanResp:
        """The places of the engines; those with data alone, where their `usage` is asked for."""
        answer = pb.StorageScanResp(sys_mem_info=_memory(_read_memory()))
        instances = [
            each
            for each in self._harness.instances
            if each.superblock is not None or not request.scm.usage
        ]
        spaces = [each.space() for each in instances]
        for instance, space in zip(instances, spaces, strict=True):
            # Several engines may fill one file system: each has a part of what is left.
            part = space.available // sum(other.device == space.device for other in spaces)
            answer.scm.namespaces.add(
                uuid=str(instance.superblock.uuid) if instance.superblock is not None else "",
                blockdev=str(instance.config.storage),
                dev=space.device,
                size=space.total,
                mount=pb.ScmNamespace.Mount(
                    path=str(instance.config.storage),
                    total_bytes=space.total,
                    avail_bytes=space.available,
                    usable_bytes=max(0, part - part // _INDEX_PARTS - _POOL_BYTES),
                    rank=_ANY_RANK if instance.rank is None else instance.rank,
                    **{"class": "ram"},
                ),
            )
        answer.nvme.SetInParent()
        return answer

    async def _format(self, request: pb.StorageFormatReq) -> pb.StorageFormatResp:
        """Format the engines that wait for it; with `reformat`, those that stand, too."""
        answer = pb.StorageFormatResp()
        formatted = list[Instance]()
        for instance in self._harness.instances:
            state = pb.ResponseState()
            try:
                if instance.superblock is not None and not request.reformat:
                    raise faults.already_formatted(str(instance.config.storage))
                if instance.process is not None:
                    text = f"rank {instance.rank} runs on it; `dmg system stop` stops it"
                    raise BusyError(text)
                self._harness.format(instance)
                formatted.append(instance)
            except DaosError as error:
                state.status = pb.CTL_ERR_SCM
                state.error = str(error)
                if isinstance(error, faults.FaultError):
                    state.info = error.resolution
            answer.mrets.add(
                mntpoint=str(instance.config.storage), state=state, instanceidx=instance.index
            )
        await self._harness.start_instances(formatted)
        return answer

    async def _smd_query(self, request: pb.SmdQueryReq) -> pb.SmdQueryResp:
        answer = pb.SmdQueryResp()
        for instance in self._harness.instances:
            if instance.rank is None or request.rank not in (_ANY_RANK, instance.rank):
                continue
            if instance.state is not MemberState.JOINED:
                continue
            told = answer.ranks.add(rank=instance.rank)
            if not request.omit_devices:
                devices = await instance.ask(
                    MgmtMethod.SMD_LIST_DEVS, pb.SmdDevReq(), pb.SmdDevResp
                )
                told.devices.extend(
                    each for each in devices.devices if request.uuid in ("", each.uuid)
                )
            if not request.omit_pools:
                pools = await instance.ask(
                    MgmtMethod.SMD_LIST_POOLS, pb.SmdPoolReq(), pb.SmdPoolResp
                )
                told.pools.extend(each for each in pools.pools if request.uuid in ("", each.uuid))
        return answer

    async def _network_scan(self, request: pb.NetworkScanReq) -> pb.NetworkScanResp:
        found = fabric.scan(request.provider)
        return pb.NetworkScanResp(
            interfaces=[
                pb.FabricInterface(
                    provider=each.provider,
                    device=each.device,
                    numanode=each.numa_node,
                    netdevclass=max(0, each.net_class),
                )
                for each in found.interfaces
            ],
            numacount=found.numa_count,
            corespernuma=found.cores_per_numa,
        )

    # --- engines ---

    async def _set_log_masks(self, request: pb.SetLogMasksReq) -> pb.SetLogMasksResp:
        """Of all engines that run; `reset_masks`: as their configuration says."""
        answer = pb.SetLogMasksResp()
        for instance in self._harness.instances:
            if instance.ready is None:
                answer.errors.append(f"instance {instance.index}: the engine does not run")
                continue
            masks = instance.config.log_mask if request.reset_masks else request.masks
            done = await instance.ask(
                MgmtMethod.SET_LOG_MASKS, pb.SetLogMasksReq(masks=masks), pb.SetLogMasksResp
            )
            answer.status = answer.status or done.status
            answer.errors.extend(f"instance {instance.index}: {text}" for text in done.errors)
        return answer

    async def _prepare(self, request: pb.RanksReq) -> pb.RanksResp:
        chosen = self._chosen(request)
        return self._results(chosen, "prep shutdown", await self._harness.prepare(chosen))

    async def _stop(self, request: pb.RanksReq) -> pb.RanksResp:
        chosen = self._chosen(request)
        await self._harness.stop_instances(chosen, force=request.force, prepare=False)
        return self._results(chosen, "stop", {})

    async def _start(self, request: pb.RanksReq) -> pb.RanksResp:
        chosen = self._chosen(request)
        await self._harness.start_instances(chosen)
        failed = await self._harness.joined(chosen, within_s=_START_S)
        return self._results(chosen, "start", failed)

    def _chosen(self, request: pb.RanksReq) -> list[Instance]:
        wanted = parse_ranks(request.ranks)
        return [
            each
            for each in self._harness.instances
            if each.rank is not None and (not wanted or each.rank in wanted)
        ]

    def _results(
        self, chosen: list[Instance], action: str, failed: dict[int, DaosError]
    ) -> pb.RanksResp:
        return pb.RanksResp(
            results=[
                RankResult(
                    rank=each.rank,
                    action=action,
                    errored=each.index in failed,
                    msg=failed[each.index].message if each.index in failed else "",
                    state=each.state.text,
                    addr=self._address,
                )
                for each in chosen
            ]
        )


def _read_memory() -> str:
    with told_by(_MEMINFO):
        return _MEMINFO.read_text()


def _memory(text: str) -> pb.SysMemInfo:
    """The lines of /proc/meminfo that are told on."""
    kb = dict[str, int]()
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()
        if number and number[0].isdigit():
            kb[name] = int(number[0])
    return pb.SysMemInfo(
        hugepage_size_kb=kb.get("Hugepagesize", 0),
        mem_total_kb=kb.get("MemTotal", 0),
        mem_free_kb=kb.get("MemFree", 0),
        mem_available_kb=kb.get("MemAvailable", 0),
    )

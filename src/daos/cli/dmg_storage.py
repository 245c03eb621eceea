"""`dmg storage`: scan, format, and how storage is used.

Source: DAOS src/control/cmd/dmg/storage.go, storage_query.go; features §2.1.3
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from daos.base.errors import DER, DaosError
from daos.cli.controlled import with_control
from daos.cli.frame import Answer, Group, Options, command
from daos.cli.hosts import answer_of, apart
from daos.cli.later import Later
from daos.cli.storage_text import (
    Device,
    Mount,
    Part,
    devices_text,
    pools_text,
    response,
    scan_text,
    scan_verbose_text,
    storage_json,
    usage_text,
)
from daos.cli.text import rule, table

if TYPE_CHECKING:
    from daos.control.client import ControlClient
    from daos.proto import ctl_pb2 as pb
else:
    pb = Later("daos.proto.ctl_pb2")

group = Group("storage", help="Format storage, and tell how it is used.")
query = Group("query", help="Tell how storage is used.")
group.add_command(query)

_ANY_RANK: Final = 0xFFFFFFFF
_SYSTEM_XSTREAM: Final = 1024  # among the targets of a device


@command(group, "scan")
@click.option("-v", "--verbose", is_flag=True, help="Tell each place.")
@click.pass_obj
def scan(options: Options, verbose: bool) -> Answer:
    """Tell what storage the hosts have."""

    async def work(control: ControlClient) -> Answer:
        good, wrong = apart(await _scan(control, usage=False))
        mounts = {host: _mounts(reply) for host, reply in good.items()}
        sizes = {host: reply.sys_mem_info.hugepage_size_kb for host, reply in good.items()}
        if verbose:
            text = "\n".join(
                scan_verbose_text(host, found, sizes[host]) for host, found in mounts.items()
            )
        else:
            text = scan_text(mounts)
        storage = {
            host: storage_json(mounts=found, hugepage_size_kb=sizes[host])
            for host, found in mounts.items()
        }
        return answer_of(text, response(storage, wrong), wrong)

    return with_control(options, work)


@command(group, "format")
@click.option("-v", "--verbose", is_flag=True, help="Tell the result of each device.")
@click.option("--force", is_flag=True, help="Also what is formatted already: its data is lost.")
@click.pass_obj
def format_(options: Options, verbose: bool, force: bool) -> Answer:
    """Prepare the storage of engines that wait for it."""

    async def work(control: ControlClient) -> Answer:
        request = pb.StorageFormatReq(
            nvme=pb.FormatNvmeReq(), scm=pb.FormatScmReq(), reformat=force
        )
        answers = await control.ask_hosts("StorageFormat", request, pb.StorageFormatResp)
        good, wrong = apart(answers)
        rows, details = [], []
        for host, reply in good.items():
            failed = [
                f"{result.mntpoint}: {result.state.error}"
                + (f" ({result.state.info})" if result.state.info else "")
                for result in reply.mrets
                if result.state.status
            ]
            if failed:
                wrong[host] = "; ".join(failed)
            rows.append(
                {
                    "Hosts": host,
                    "SCM Devices": str(len(reply.mrets) - len(failed)),
                    "NVMe Devices": str(len(reply.crets)),
                }
            )
            details += [
                {
                    "SCM Mount": result.mntpoint,
                    "Format Result": pb.ResponseStatus.Name(result.state.status),
                }
                for result in reply.mrets
            ]
        text = f"Format Summary:\n{table(('Hosts', 'SCM Devices', 'NVMe Devices'), rows)}"
        if verbose and details:
            text += "\n" + table(("SCM Mount", "Format Result"), details)
        return answer_of(text, {"hosts": rows, "scm_mounts": details}, wrong)

    return with_control(options, work, doing="Formatting storage")


@command(query, "usage")
@click.option("-u", "--show-usable", is_flag=True, help="Tell what pools can take of it.")
@click.pass_obj
def usage(options: Options, show_usable: bool) -> Answer:
    """Tell the space of each rank."""

    async def work(control: ControlClient) -> Answer:
        good, wrong = apart(await _scan(control, usage=True))
        mounts = {host: _mounts(reply) for host, reply in good.items()}
        text = usage_text(
            [(host, each) for host, found in mounts.items() for each in found], usable=show_usable
        )
        storage = {host: storage_json(mounts=found) for host, found in mounts.items()}
        return answer_of(text, response(storage, wrong), wrong)

    return with_control(options, work)


@command(query, "list-devices")
@click.option("-r", "--rank", type=click.IntRange(0), help="Of this rank only.")
@click.option("-u", "--uuid", default="", help="This device only.")
@click.option("-e", "--show-evicted", is_flag=True, help="Only devices that were evicted.")
@click.pass_obj
def list_devices(options: Options, rank: int | None, uuid: str, show_evicted: bool) -> Answer:
    """Tell what keeps the data of each rank."""
    request = pb.SmdQueryReq(omit_pools=True, uuid=uuid, rank=_ANY_RANK if rank is None else rank)

    async def work(control: ControlClient) -> Answer:
        good, wrong = apart(await control.ask_hosts("SmdQuery", request, pb.SmdQueryResp))
        devices = {
            host: [
                device
                for of_rank in reply.ranks
                for device in map(_device, of_rank.devices)
                if device.state == "EVICTED" or not show_evicted
            ]
            for host, reply in good.items()
        }
        text = "".join(rule(host) + devices_text(found) for host, found in devices.items())
        storage = {host: storage_json(devices=found) for host, found in devices.items()}
        return answer_of(text or _NOTHING, response(storage, wrong), wrong)

    return with_control(options, work)


@command(query, "list-pools")
@click.option("-r", "--rank", type=click.IntRange(0), help="Of this rank only.")
@click.option("-u", "--uuid", default="", help="This pool only.")
@click.option("-v", "--verbose", is_flag=True, help="Tell the blobs, too.")
@click.pass_obj
def list_pools(options: Options, rank: int | None, uuid: str, verbose: bool) -> Answer:
    """Tell which targets of each rank have a part of which pool."""
    request = pb.SmdQueryReq(omit_devices=True, uuid=uuid, rank=_ANY_RANK if rank is None else rank)

    async def work(control: ControlClient) -> Answer:
        good, wrong = apart(await control.ask_hosts("SmdQuery", request, pb.SmdQueryResp))
        pools: dict[str, dict[str, list[Part]]] = {host: {} for host in good}
        for host, reply in good.items():
            for of_rank in reply.ranks:
                for pool in of_rank.pools:
                    part = Part(
                        rank=of_rank.rank, targets=tuple(pool.tgt_ids), blobs=tuple(pool.blobs)
                    )
                    pools[host].setdefault(pool.uuid, []).append(part)
        text = "".join(rule(host) + pools_text(of, verbose=verbose) for host, of in pools.items())
        storage = {host: storage_json(pools=of) for host, of in pools.items()}
        return answer_of(text or _NOTHING, response(storage, wrong), wrong)

    return with_control(options, work)


_NOTHING: Final = "No SMD info returned\n"


async def free_bytes(control: ControlClient) -> int:
    """What a pool over all ranks could take: the least that a rank has, times the ranks.

    Raises: DaosError  a host does not answer
    """
    good, wrong = apart(await _scan(control, usage=True))
    for host, text in wrong.items():
        raise DaosError(f"{host}: {text}", code=DER.UNREACH)
    usable = [each.usable for reply in good.values() for each in _mounts(reply)]
    return min(usable, default=0) * len(usable)


async def _scan(
    control: ControlClient, *, usage: bool
) -> dict[str, pb.StorageScanResp | DaosError]:
    request = pb.StorageScanReq(nvme=pb.ScanNvmeReq(Meta=usage), scm=pb.ScanScmReq(usage=usage))
    return await control.ask_hosts("StorageScan", request, pb.StorageScanResp)


def _mounts(reply: pb.StorageScanResp) -> list[Mount]:
    return [
        Mount(
            path=each.mount.path,
            kind=getattr(each.mount, "class"),
            uuid=each.uuid,
            device=each.dev,
            total=each.mount.total_bytes,
            free=each.mount.avail_bytes,
            usable=each.mount.usable_bytes,
            rank=None if each.mount.rank == _ANY_RANK else each.mount.rank,
            socket=each.numa_node,
        )
        for each in reply.scm.namespaces
    ]


def _device(device: pb.SmdDevice) -> Device:
    return Device(
        uuid=device.uuid,
        rank=device.rank,
        targets=tuple(each for each in device.tgt_ids if each != _SYSTEM_XSTREAM),
        roles=device.role_bits,
        total=device.total_bytes,
        free=device.avail_bytes,
        usable=device.usable_bytes,
        cluster=device.cluster_size,
        state=pb.NvmeDevState.Name(device.ctrlr.dev_state),
        led=pb.LedState.Name(device.ctrlr.led_state),
        system=_SYSTEM_XSTREAM in device.tgt_ids,
        address=device.ctrlr.pci_addr,
    )

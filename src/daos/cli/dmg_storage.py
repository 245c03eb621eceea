"""`dmg storage`: format, and how storage is used.

Source: DAOS src/control/cmd/dmg/storage.go, storage_query.go; features §2.1.3
"""

from __future__ import annotations

import socket
from typing import TypeVar

import click

from daos.base.errors import DER, DaosError
from daos.cli.controlled import with_control
from daos.cli.frame import Answer, Group, Options, command
from daos.cli.system_text import HostUsage, usage_text
from daos.cli.text import table
from daos.control.client import ControlClient
from daos.proto import ctl_pb2 as pb

group = Group("storage", help="Format storage, and tell how it is used.")
query = Group("query", help="Tell how storage is used.")
group.add_command(query)

M = TypeVar("M")


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
        good, wrong = _apart(answers)
        rows, details = [], []
        for host, reply in good.items():
            failed = [
                f"{result.mntpoint}: {result.state.error}"
                + (f" ({result.state.info})" if result.state.info else "")
                for result in reply.mrets
                if result.state.status
            ]
            wrong += [f"{host}: {text}" for text in failed]
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
        return _answer(text, {"hosts": rows, "scm_mounts": details}, wrong)

    return with_control(options, work)


@command(query, "usage")
@click.pass_obj
def usage(options: Options) -> Answer:
    """Tell the space of each host."""

    async def work(control: ControlClient) -> Answer:
        good, wrong = _apart(await _scan(control))
        hosts = [_usage(host, reply) for host, reply in good.items()]
        response = {
            "host_errors": {text: {"hosts": text.split(": ")[0]} for text in wrong},
            "HostStorage": {
                each.host: {"hosts": each.host, "storage": _storage_json(good[each.host])}
                for each in hosts
            },
        }
        return _answer(usage_text(hosts), response, wrong)

    return with_control(options, work)


@command(query, "list-pools")
@click.option("-v", "--verbose", is_flag=True, help="Tell the blobs, too.")
@click.pass_obj
def list_pools(options: Options, verbose: bool) -> Answer:
    """Tell which targets of each rank have a part of which pool."""

    async def work(control: ControlClient) -> Answer:
        request = pb.SmdQueryReq(omit_devices=True)
        good, wrong = _apart(await control.ask_hosts("SmdQuery", request, pb.SmdQueryResp))
        text, response = "", {}
        for host, reply in good.items():
            text += _rule(host)
            pools: dict[str, list[tuple[int, pb.SmdQueryResp.Pool]]] = {}
            for rank in reply.ranks:
                for pool in rank.pools:
                    pools.setdefault(pool.uuid, []).append((rank.rank, pool))
            text += _pools_text(pools, verbose=verbose)
            response[host] = {
                uuid: [
                    {"rank": rank, "tgt_ids": list(pool.tgt_ids), "blobs": list(pool.blobs)}
                    for rank, pool in parts
                ]
                for uuid, parts in pools.items()
            }
        return _answer(text, response, wrong)

    return with_control(options, work)


async def free_bytes(control: ControlClient) -> int:
    """What a pool over all ranks could take: the least that a rank has, times the ranks.

    Raises: DaosError  a host does not answer
    """
    good, wrong = _apart(await _scan(control))
    if wrong:
        raise DaosError(wrong[0], code=DER.UNREACH)
    by_rank: dict[int, int] = {}
    for reply in good.values():
        for namespace in reply.scm.namespaces:
            mount = namespace.mount
            by_rank[mount.rank] = by_rank.get(mount.rank, 0) + mount.usable_bytes
        for controller in reply.nvme.ctrlrs:
            for device in controller.smd_devices:
                by_rank[device.rank] = by_rank.get(device.rank, 0) + device.usable_bytes
    return min(by_rank.values(), default=0) * len(by_rank)


async def _scan(control: ControlClient) -> dict[str, pb.StorageScanResp | DaosError]:
    request = pb.StorageScanReq(nvme=pb.ScanNvmeReq(Meta=True), scm=pb.ScanScmReq(usage=True))
    return await control.ask_hosts("StorageScan", request, pb.StorageScanResp)


def _apart(answers: dict[str, M | DaosError]) -> tuple[dict[str, M], list[str]]:
    """Answers by host, and what went wrong at the others. Who is reached by a socket is here."""
    good: dict[str, M] = {}
    wrong = []
    for address, answer in answers.items():
        host = socket.gethostname() if address.startswith("unix:") else address
        if isinstance(answer, DaosError):
            wrong.append(f"{host}: {answer}")
        else:
            good[host] = answer
    return good, wrong


def _answer(text: str, response: object, wrong: list[str]) -> Answer:
    return Answer(text + "".join(f"ERROR: {line}\n" for line in wrong), response, bool(wrong))


def _usage(host: str, reply: pb.StorageScanResp) -> HostUsage:
    mounts = [namespace.mount for namespace in reply.scm.namespaces]
    devices = [each for controller in reply.nvme.ctrlrs for each in controller.smd_devices]
    return HostUsage(
        host=host,
        scm_total=sum(mount.total_bytes for mount in mounts),
        scm_free=sum(mount.avail_bytes for mount in mounts),
        nvme_total=sum(device.total_bytes for device in devices),
        nvme_free=sum(device.avail_bytes for device in devices),
    )


def _storage_json(reply: pb.StorageScanResp) -> dict[str, object]:
    return {
        "nvme_devices": [
            {
                "model": controller.model,
                "pci_addr": controller.pci_addr,
                "socket_id": controller.socket_id,
                "smd_devices": [
                    {
                        "uuid": device.uuid,
                        "tgt_ids": list(device.tgt_ids),
                        "rank": device.rank,
                        "total_bytes": device.total_bytes,
                        "avail_bytes": device.avail_bytes,
                        "usable_bytes": device.usable_bytes,
                    }
                    for device in controller.smd_devices
                ],
            }
            for controller in reply.nvme.ctrlrs
        ],
        "scm_namespaces": [
            {
                "uuid": namespace.uuid,
                "dev": namespace.dev,
                "size": namespace.size,
                "mount": {
                    "class": getattr(namespace.mount, "class"),
                    "path": namespace.mount.path,
                    "rank": namespace.mount.rank,
                    "total_bytes": namespace.mount.total_bytes,
                    "avail_bytes": namespace.mount.avail_bytes,
                    "usable_bytes": namespace.mount.usable_bytes,
                },
            }
            for namespace in reply.scm.namespaces
        ],
        "reboot_required": False,
    }


def _pools_text(pools: dict[str, list[tuple[int, pb.SmdQueryResp.Pool]]], *, verbose: bool) -> str:
    if not pools:
        return "  No pools found\n"
    lines = ["  Pools"]
    for uuid, parts in sorted(pools.items()):
        lines.append(f"    UUID:{uuid}")
        for rank, pool in parts:
            targets = " ".join(map(str, pool.tgt_ids))
            blobs = f" Blobs:[{' '.join(map(str, pool.blobs))}]" if verbose else ""
            lines.append(f"      Rank:{rank} Targets:[{targets}]{blobs}")
    return "\n".join(lines) + "\n"


def _rule(host: str) -> str:
    line = "-" * len(host)
    return f"{line}\n{host}\n{line}\n"

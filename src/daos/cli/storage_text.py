"""What `dmg storage` tells: text and JSON. Pure.

    -----
    host1                                        {"host_errors": {"<error>": {"hosts": ...}},
    -----                                         "HostStorage": {"<hash>": {"hosts": "host1",
    HugePage Size: 2048 KB                                                   "storage": {...}}}}
    SCM Namespace Socket Capacity
    ------------- ------ --------
    /mnt/daos0    0      6.4 TB

Hosts whose storage is the same are told of once.

Source: DAOS src/control/cmd/dmg/pretty/storage*.go; features §2.1.3
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from daos.base.ranges import format_ranges
from daos.base.sizes import format_size
from daos.cli.hosts import errors_json
from daos.cli.text import indented, rule, table

_ROLES = ((1, "data"), (2, "meta"), (4, "wal"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A place of an engine; bytes. `rank` None: it has none yet. `device`: of the file system."""

    path: str
    kind: str
    uuid: str
    device: str
    total: int
    free: int
    usable: int
    rank: int | None
    socket: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What keeps data of a rank; bytes. `address` "": it is none of PCI."""

    uuid: str
    rank: int
    targets: tuple[int, ...]
    roles: int  # data 1, meta 2, wal 4
    total: int
    free: int
    usable: int
    cluster: int
    state: str = "NORMAL"
    led: str = "NA"
    system: bool = False  # whether it serves the system xstream, too
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A rank's part of a pool."""

    rank: int
    targets: tuple[int, ...]
    blobs: tuple[int, ...]


Pools = Mapping[str, Sequence[Part]]


def response(storage: Mapping[str, Mapping[str, object]], errors: Mapping[str, str]) -> object:
    """The object of all of them: storage by host, and what went wrong by host."""
    same: dict[int, tuple[list[str], Mapping[str, object]]] = {}
    for host, each in storage.items():
        key = crc32(json.dumps(each, sort_keys=True).encode())
        same.setdefault(key, ([], each))[0].append(host)
    return {
        "host_errors": errors_json(errors),
        "HostStorage": {
            str(key): {"storage": each, "hosts": ",".join(hosts)}
            for key, (hosts, each) in same.items()
        },
    }


def storage_json(
    *,
    mounts: Sequence[Mount] = (),
    devices: Sequence[Device] | None = None,
    pools: Pools | None = None,
    hugepage_size_kb: int | None = None,
) -> dict[str, object]:
    """`storage` of a host; what was not asked for is not in it."""
    found: dict[str, object] = {
        "nvme_devices": [],
        "scm_modules": [],
        "scm_namespaces": [_mount_json(each) for each in mounts],
        "scm_mount_points": [],
        "smd_info": None,
        "reboot_required": False,
    }
    if devices is not None or pools is not None:
        found["smd_info"] = {
            "devices": [_device_json(each) for each in devices or ()],
            "pools": {
                uuid: [_part_json(each) for each in of] for uuid, of in (pools or {}).items()
            },
        }
    if hugepage_size_kb is not None:
        found["mem_info"] = {"hugepage_size_kb": hugepage_size_kb}
    return found


def _mount_json(mount: Mount) -> dict[str, object]:
    return {
        "uuid": mount.uuid,
        "blockdev": mount.path,
        "dev": mount.device,
        "numa_node": mount.socket,
        "size": mount.total,
        "mount": {
            "class": mount.kind,
            "device_list": [],
            "info": "",
            "path": mount.path,
            "rank": mount.rank,
            "total_bytes": mount.total,
            "avail_bytes": mount.free,
            "usable_bytes": mount.usable,
        },
    }


def _device_json(device: Device) -> dict[str, object]:
    return {
        "uuid": device.uuid,
        "tgt_ids": list(device.targets),
        "rank": device.rank,
        "total_bytes": device.total,
        "avail_bytes": device.free,
        "usable_bytes": device.usable,
        "cluster_size": device.cluster,
        "meta_size": 0,
        "meta_wal_size": 0,
        "rdb_size": 0,
        "rdb_wal_size": 0,
        "roles": {"role_bits": device.roles},
        "has_sys_xs": device.system,
        "ctrlr": {
            "pci_addr": device.address,
            "dev_state": device.state,
            "led_state": device.led,
        },
        "ctrlr_namespace_id": 0,
    }


def _part_json(part: Part) -> dict[str, object]:
    return {"rank": part.rank, "tgt_ids": list(part.targets), "blobs": list(part.blobs)}


def scan_text(hosts: Mapping[str, Sequence[Mount]]) -> str:
    """What `storage scan` prints: a line for each host."""
    return table(
        ("Hosts", "SCM Total", "NVMe Total"),
        [
            {
                "Hosts": host,
                "SCM Total": _counted(sum(each.total for each in mounts), len(mounts), "namespace"),
                "NVMe Total": _counted(0, 0, "controller"),
            }
            for host, mounts in hosts.items()
        ],
    )


def _counted(size: int, count: int, what: str) -> str:
    return f"{format_size(size)} ({count} {what}{'' if count == 1 else 's'})"


def scan_verbose_text(host: str, mounts: Sequence[Mount], hugepage_size_kb: int) -> str:
    """What `storage scan --verbose` prints of a host."""
    lines = rule(host)
    lines += f"HugePage Size: {hugepage_size_kb} KB\n\n"
    rows = [
        {
            "SCM Namespace": each.path,
            "Socket": str(each.socket),
            "Capacity": format_size(each.total),
        }
        for each in mounts
    ]
    lines += table(("SCM Namespace", "Socket", "Capacity"), rows) if rows else "No SCM found\n"
    return lines + "\nNo NVMe devices found\n"


def usage_text(mounts: Sequence[tuple[str, Mount]], *, usable: bool = False) -> str:
    """What `storage query usage` prints of (host, mount): one tier, which has every role."""
    name = "T1-Usable" if usable else "T1-Free"
    tiers = table(("Tier", "Roles"), [{"Tier": "T1", "Roles": roles_text(7)}])
    rows = [
        {
            "Rank": "-" if each.rank is None else str(each.rank),
            "T1-Total": format_size(each.total),
            name: format_size(each.usable if usable else each.free),
            "T1-Usage": _percent_used(each.total, each.free),
        }
        for _, each in sorted(mounts, key=lambda item: (item[1].rank is None, item[1].rank or 0))
    ]
    text = f"{tiers}\n{table(('Rank', 'T1-Total', name, 'T1-Usage'), rows)}"
    sharing: dict[tuple[str, str], list[int]] = {}
    for host, each in mounts:
        if each.rank is not None:
            sharing.setdefault((host, each.device), []).append(each.rank)
    for ranks in sharing.values():
        if len(ranks) > 1:
            text += f"Ranks {format_ranges(ranks)} share one file system.\n"
    return text


def _percent_used(total: int, free: int) -> str:
    return f"{(total - free) * 100 // total} %" if total else "N/A"


def roles_text(bits: int) -> str:
    """As `data,meta,wal`."""
    return ",".join(name for bit, name in _ROLES if bit & bits) or "none"


def devices_text(devices: Sequence[Device]) -> str:
    """What `storage query list-devices` prints of a host."""
    if not devices:
        return "  No devices found\n"
    lines = ["Devices"]
    for each in devices:
        address = f" [TrAddr:{each.address}]" if each.address else ""
        system = "SysXS " if each.system else ""
        targets = " ".join(map(str, each.targets))
        lines.append(f"  UUID:{each.uuid}{address}")
        lines.append(
            f"    Roles:{roles_text(each.roles)} {system}Targets:[{targets}] Rank:{each.rank} "
            f"State:{each.state} LED:{each.led}"
        )
    return indented("\n".join(lines) + "\n")


def pools_text(pools: Pools, *, verbose: bool = False) -> str:
    """What `storage query list-pools` prints of a host."""
    if not pools:
        return "  No pools found\n"
    lines = ["Pools"]
    for uuid, parts in sorted(pools.items()):
        lines.append(f"  UUID:{uuid}")
        for part in parts:
            targets = " ".join(map(str, part.targets))
            blobs = f" Blobs:[{' '.join(map(str, part.blobs))}]" if verbose else ""
            lines.append(f"    Rank:{part.rank} Targets:[{targets}]{blobs}")
    return indented("\n".join(lines) + "\n")

"""What `network scan` tells, of whichever tool: text and JSON. Pure.

Source: DAOS src/control/cmd/dmg/pretty/network.go; features §2.1.4
"""

from __future__ import annotations

from collections.abc import Mapping

from daos.cli.text import indented, rule, table
from daos.control.fabric import Fabric


def scan_text(hosts: Mapping[str, Fabric]) -> str:
    """What `network scan` prints: hosts with the same interfaces once, by NUMA node."""
    same: dict[Fabric, list[str]] = {}
    for host, fabric in hosts.items():
        same.setdefault(fabric, []).append(host)
    return "\n".join(rule(",".join(names)) + _host_text(each) for each, names in same.items())


def _host_text(fabric: Fabric) -> str:
    if not fabric.interfaces:
        return "    No fabric interfaces found\n"
    parts = []
    for node in sorted({each.numa_node for each in fabric.interfaces}):
        providers: dict[str, list[str]] = {}
        for each in fabric.interfaces:
            if each.numa_node == node:
                providers.setdefault(each.device, []).append(each.provider)
        rows = [
            {"Interfaces": device, "Providers": ", ".join(names)}
            for device, names in providers.items()
        ]
        body = indented(table(("Interfaces", "Providers"), rows), "    ")
        parts.append(indented(f"{rule(f'NUMA Socket {node}')}\n{body}", "    "))
    return "\n" + "\n".join(parts)


def scan_json(hosts: Mapping[str, Fabric]) -> dict[str, object]:
    """`HostFabrics` of the response."""
    return {
        host: {
            "HostSet": host,
            "HostFabric": {
                "Interfaces": [
                    {
                        "Provider": each.provider,
                        "Device": each.device,
                        "NumaNode": each.numa_node,
                        "NetDevClass": each.net_class,
                    }
                    for each in fabric.interfaces
                ],
                "NumaCount": fabric.numa_count,
                "CoresPerNuma": fabric.cores_per_numa,
            },
        }
        for host, fabric in hosts.items()
    }

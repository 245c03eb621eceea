"""A `daos_server.yml` for hosts as they are: what `config generate` prints. Pure.

An engine on each NUMA node that has an interface, all storage of an engine below one directory.
What comes out is read back by the rules of `server.parse` before it is given.

Source: DAOS src/control/lib/control/auto.go; features §2.1.4
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from daos.base.errors import InvalidError
from daos.control.config.model import TARGETS_MAX
from daos.control.config.server import parse
from daos.control.fabric import CLASSES, PROVIDER, Fabric, Interface
from daos.control.places import PORT, SYSTEM

# More than the cores of large hosts would have: a target is a process, and 13 MiB.
_TARGETS_MAX: Final = 16
_FIRST_PORT: Final = 31316
_PORTS_APART: Final = 1000
assert _TARGETS_MAX <= TARGETS_MAX < _PORTS_APART


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the options ask for; `engines` None: as many as fit."""

    replicas: tuple[str, ...] = ("localhost",)
    engines: int | None = None
    net_class: str = ""  # of CLASSES; "": the fastest that there is
    provider: str = PROVIDER
    metadata: str = ""
    ports: tuple[int, ...] = ()


def generate(fabric: Fabric, wanted: Wanted) -> tuple[str, Mapping[str, object]]:
    """The file, and what it says.

    Raises: InvalidError  there is no such interface; what is asked for does not go together
    """
    chosen = _interfaces(fabric, wanted)
    engines = len(chosen) if wanted.engines is None else wanted.engines
    if engines < 1:
        raise InvalidError(f"--num-engines {engines}: expected 1 or more")
    if wanted.ports and len(wanted.ports) != engines:
        text = f"{engines} engines need {engines} fabric ports, not {len(wanted.ports)}"
        raise InvalidError(f"{text}: --fabric-ports 31316,32316")
    cores = fabric.cores_per_numa * fabric.numa_count // engines
    targets = min(_TARGETS_MAX, max(1, cores - 1))  # one is of the system xstream
    pinned = fabric.numa_count > 1 and engines <= len(chosen)
    config: dict[str, object] = {
        "name": SYSTEM,
        "mgmt_svc_replicas": list(wanted.replicas),
        "port": PORT,
        "transport_config": {"allow_insecure": True},
        "provider": wanted.provider,
        "control_log_mask": "INFO",
        "control_log_file": "/var/log/daos/daos_server.log",
    }
    if wanted.metadata:
        config["control_metadata"] = {"path": wanted.metadata}
    config["engines"] = [
        _engine(
            index,
            chosen[index % len(chosen)],
            targets=targets,
            port=wanted.ports[index] if wanted.ports else _FIRST_PORT + _PORTS_APART * index,
            pinned=pinned,
        )
        for index in range(engines)
    ]
    made: str = yaml.safe_dump(config, sort_keys=False)
    parse(made, file="the generated configuration")
    return made, config


def _engine(
    index: int, interface: Interface, *, targets: int, port: int, pinned: bool
) -> dict[str, object]:
    return {
        "targets": targets,
        "nr_xs_helpers": 0,
        **({"pinned_numa_node": interface.numa_node} if pinned else {}),
        "fabric_iface": interface.device,
        "fabric_iface_port": port,
        "log_file": f"/var/log/daos/daos_engine.{index}.log",
        "storage": [{"class": "ram", "scm_mount": f"/mnt/daos{index}"}],
    }


def _interfaces(fabric: Fabric, wanted: Wanted) -> Sequence[Interface]:
    """The first one of each NUMA node, of the class that is wanted."""
    if wanted.net_class and wanted.net_class not in CLASSES:
        known = ", ".join(CLASSES)
        raise InvalidError(f"no class of networks {wanted.net_class!r}; there are {known}")
    usable = [each for each in fabric.interfaces if each.provider == wanted.provider]
    order = ("infiniband", "ethernet", "loopback") if not wanted.net_class else (wanted.net_class,)
    for name in order:
        by_node: dict[int, Interface] = {}
        for each in usable:
            if each.net_class == CLASSES[name]:
                by_node.setdefault(each.numa_node, each)
        if by_node:
            return [by_node[node] for node in sorted(by_node)]
    there = ", ".join(each.device for each in usable) or "none"
    what = wanted.net_class or "usable"
    raise InvalidError(
        f"no {what} interface with provider {wanted.provider}; there are {there} "
        "(`network scan` lists them)"
    )

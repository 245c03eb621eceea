"""`config generate`, of `dmg` and of `daos_server`: its options, and what it says.

Source: DAOS src/control/cmd/dmg/auto.go; features §2.1.4
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from daos.base.errors import InvalidError
from daos.cli.frame import Answer
from daos.cli.later import Later
from daos.control.fabric import CLASSES, PROVIDER, Fabric

if TYPE_CHECKING:
    from daos.control.config import generate
else:
    generate = Later("daos.control.config.generate")


def generating(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """The options of `config generate`, of both tools."""
    for option in (
        click.option("-f", "--fabric-ports", help="Ports of the engines, like 31316,32316."),
        click.option("-m", "--control-metadata-path", help="Where the server keeps its own."),
        click.option("-t", "--use-tmpfs-scm", is_flag=True, help="Accepted: it is always so."),
        click.option("-p", "--net-provider", default=PROVIDER, help=f"Provider ({PROVIDER})."),
        click.option("-c", "--net-class", default="", help=f"Of networks: {', '.join(CLASSES)}."),
        click.option("-s", "--scm-only", is_flag=True, help="Accepted: it is always so."),
        click.option("-e", "--num-engines", type=click.IntRange(1), help="How many engines."),
        click.option("-r", "--ms-replicas", default="localhost", help="Who leads (localhost)."),
    ):
        function = option(function)
    return function


def generated(fabric: Fabric, given: dict[str, Any]) -> Answer:
    """A configuration for hosts that are all like this. Raises: InvalidError"""
    ports = (given["fabric_ports"] or "").split(",") if given["fabric_ports"] else []
    if wrong := [port for port in ports if not port.strip().isdecimal()]:
        raise InvalidError(f"--fabric-ports: {wrong[0]!r} is no port; expected like 31316,32316")
    text, config = generate.generate(
        fabric,
        generate.Wanted(
            replicas=tuple(each.strip() for each in given["ms_replicas"].split(",")),
            engines=given["num_engines"],
            net_class=given["net_class"],
            provider=given["net_provider"],
            metadata=given["control_metadata_path"] or "",
            ports=tuple(map(int, ports)),
        ),
    )
    return Answer(text, config)

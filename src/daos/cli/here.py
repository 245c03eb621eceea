"""`daos_server network`, `daos_server config`: of this host, without a server that runs.

Source: DAOS src/control/cmd/daos_server/{network,auto}.go; features §2.3
"""

from __future__ import annotations

import socket
from typing import Any

import click

from daos.cli.config_options import generated, generating
from daos.cli.frame import Answer, Group, command
from daos.cli.network_text import scan_json, scan_text
from daos.control import fabric

network = Group("network", help="Tell the interfaces of this host.")
config = Group("config", help="Make a configuration for the server of this host.")


@command(network, "scan")
@click.option("-p", "--provider", default="", help="Only of this one (all).")
def scan(provider: str) -> Answer:
    """Tell the interfaces that engines can listen at."""
    return network_scan(provider)


def network_scan(provider: str) -> Answer:
    """What `network scan` says of this host. Raises: InvalidError"""
    found = {socket.gethostname(): fabric.scan(provider)}
    return Answer(scan_text(found), {"host_errors": {}, "HostFabrics": scan_json(found)})


@command(config, "generate", "gen")
@generating
def generate(**given: Any) -> Answer:  # noqa: ANN401 what click gives
    """Print a configuration for the server of this host."""
    return generated(fabric.scan(), given)

"""`daos system query`: what this host's agent tells of the system.

Source: DAOS src/control/cmd/daos/system.go; features §2.2.3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from daos.cli.attached import agent_socket, attachment
from daos.cli.frame import Answer, Command, Group, Options, command
from daos.cli.text import entity

if TYPE_CHECKING:
    from daos.client.agent import Attachment

group = Group("system", help="Query the system.")


@click.command("server-version", cls=Command)
@click.pass_obj
def server_version(options: Options) -> Answer:
    """Print the version of the servers."""
    version = attachment(options).version
    return Answer(f"daos_server version {version}\n", {"name": "daos_server", "version": version})


@command(group, "query")
@click.pass_obj
def query(options: Options) -> Answer:
    """Tell the system's name, and where its ranks are."""
    return system_answer(attachment(options))


def system_answer(found: Attachment) -> Answer:
    """What is told of the system that this host is attached to."""
    uris = [(int(rank), str(each)) for rank, each in sorted(found.ranks.items())]
    rows = [
        ("name", found.system),
        ("fabric provider", found.provider),
        ("access points", ",".join(str(rank) for rank, _ in uris if rank == found.service.rank)),
        ("rank URIs", ""),
        *((f"rank[{rank}]", uri) for rank, uri in uris),
    ]
    response = {
        "system_name": found.system,
        "fabric_provider": found.provider,
        "agent_path": str(agent_socket()),
        "access_point_rank_uris": [
            {"rank": rank, "uri": uri} for rank, uri in uris if rank == found.service.rank
        ],
        "rank_uris": [{"rank": rank, "uri": uri} for rank, uri in uris],
    }
    return Answer(entity("connected to DAOS system:", rows), response)

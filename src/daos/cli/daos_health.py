"""`daos health check`: versions, the system, and every pool that its user may see, in one go.

Source: DAOS src/control/cmd/daos/health.go; features §2.2.3
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from daos.base.errors import DaosError
from daos.base.version import VERSION
from daos.cli import container_text, pool_text
from daos.cli.attached import attachment, with_client
from daos.cli.daos_container import container_info
from daos.cli.daos_pool import pool_info
from daos.cli.daos_system import system_answer
from daos.cli.frame import Answer, Group, Options, command
from daos.cli.text import entity, indented

if TYPE_CHECKING:
    from daos.cli.container_text import ContainerInfo
    from daos.cli.pool_text import PoolInfo
    from daos.client.client import Client

group = Group("health", help="Tell whether the system is well.")


@command(group, "check")
@click.option("-v", "--verbose", is_flag=True, help="Tell the containers of each pool, too.")
@click.pass_obj
def check(options: Options, verbose: bool) -> Answer:
    """Tell versions, the system, and the health of its pools."""
    found = attachment(options)
    system = system_answer(found)
    library = str(Path(__file__).parent.parent)

    async def work(client: Client) -> Answer:
        pools, containers, problems = await _look(client)
        builds = {
            "server": {"version": found.version},
            "client": {"version": VERSION, "build_info": "", "lib_path": library},
        }
        response = {
            "component_build_info": builds,
            "system_info": system.response,
            "pools": {each.uuid: pool_text.as_json(each) for each in pools},
            "pool_containers": {
                uuid: [container_text.as_json(each) for each in inside]
                for uuid, inside in containers.items()
            },
        }
        text = health_text(
            found.version,
            library,
            system.text,
            [(each, containers[each.uuid]) for each in pools],
            verbose=verbose or bool(options.get("verbose")),
        )
        return Answer(text, response, problems=tuple(problems))

    return with_client(options, work, doing="Asking the pools")


async def _look(
    client: Client,
) -> tuple[list[PoolInfo], dict[str, list[ContainerInfo]], list[str]]:
    """The pools that can be connected to, their containers, and what went wrong."""
    pools, containers, problems = [], {}, []
    for listing in await client.pools():
        inside: list[ContainerInfo] = []
        try:
            async with client.pool(listing.uuid, flags="r") as pool:
                info = await pool_info(pool)
                for uuid, _ in await pool.containers():
                    async with pool.container(uuid, flags="r") as container:
                        inside.append(await container_info(pool, container))
        except DaosError as error:
            problems.append(f"pool {listing.label or listing.uuid}: {error}")
            continue
        pools.append(info)
        containers[info.uuid] = inside
    return pools, containers, problems


def health_text(
    server: str,
    library: str,
    system: str,
    pools: list[tuple[PoolInfo, list[ContainerInfo]]],
    *,
    verbose: bool,
) -> str:
    """What `health check` prints. Pure."""
    builds = entity(
        "Component Build Information",
        [("Server", server), ("Client", VERSION), ("Client library", library)],
    )
    parts = []
    for pool, inside in pools:
        text = pool_text.query_text(pool)
        if verbose:
            for each in inside:
                text += f"Container {each.container_label or each.container_uuid}:\n"
                text += container_text.query_text(each)
        else:
            unclean = [each for each in inside if each.health != "HEALTHY"]
            text += f"Containers: {len(inside)}"
            text += f", {len(unclean)} of them UNCLEAN\n" if unclean else ", all HEALTHY\n"
        parts.append(indented(text))
    body = "\n".join(parts) or "  No pools in system\n"
    heads = ("System Information", "Pool Status")
    rule = {head: f"{head}\n{'-' * len(head)}\n" for head in heads}
    return f"{builds}\n{rule[heads[0]]}{indented(system)}\n{rule[heads[1]]}{body}"

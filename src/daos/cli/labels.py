"""Arguments that name a pool or a container, completed by the shell with the labels that there are.

    daos container query <TAB>          tank  scratch
    daos container query tank <TAB>     results  c1

Where nobody answers at once there is nothing to complete, and nothing is said.

Source: ours
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from daos.base.errors import DaosError
from daos.cli.attached import with_client
from daos.cli.controlled import with_control
from daos.cli.frame import Options

if TYPE_CHECKING:
    from daos.client.client import Client
    from daos.control.client import ControlClient

_WITHIN_S: Final = 2.0

Argument = Callable[[Callable[..., Any]], Callable[..., Any]]


def _of_users(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    async def work(client: Client) -> list[str]:
        return [each.label or str(each.uuid) for each in await client.pools()]

    return _chosen(partial(with_client, work=work, timeout_s=_WITHIN_S), ctx, incomplete)


def _of_administrators(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    async def work(control: ControlClient) -> list[str]:
        from daos.proto import mgmt_pb2 as pb

        reply = await control.ask(
            "ListPools", pb.ListPoolsReq(), pb.ListPoolsResp, timeout_s=_WITHIN_S
        )
        return [each.label or each.uuid for each in reply.pools]

    return _chosen(partial(with_control, work=work), ctx, incomplete)


def _containers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    name: str | None = ctx.params.get("pool")
    if name is None:
        return []

    async def work(client: Client) -> list[str]:
        async with client.pool(name, flags="r") as pool:
            return [label or str(uuid) for uuid, label in await pool.containers()]

    return _chosen(partial(with_client, work=work, timeout_s=_WITHIN_S), ctx, incomplete)


def _chosen(ask: Callable[[Options], list[str]], ctx: click.Context, incomplete: str) -> list[str]:
    try:
        found = ask(ctx.find_object(Options) or Options())
    except DaosError:
        return []
    return sorted(label for label in found if label.startswith(incomplete))


pool: Final[Argument] = click.argument("pool", shell_complete=_of_users)
container: Final[Argument] = click.argument("container", shell_complete=_containers)
administrators_pool: Final[Argument] = click.argument("pool", shell_complete=_of_administrators)
# Where --path may stand instead.
maybe_pool: Final[Argument] = click.argument("pool", required=False, shell_complete=_of_users)
maybe_container: Final[Argument] = click.argument(
    "container", required=False, shell_complete=_containers
)

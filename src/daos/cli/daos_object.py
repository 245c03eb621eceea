"""`daos object query`: where the shards of an object are.

Source: DAOS src/control/cmd/daos/object.go; features §2.2.3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from daos.base.ids import ObjectId
from daos.cli import labels
from daos.cli.attached import with_client
from daos.cli.frame import Answer, Group, Options, command
from daos.placement.oclass import id_to_name

if TYPE_CHECKING:
    from daos.client.client import Client
    from daos.placement.layout import Layout

group = Group("object", help="Query objects.")


@command(group, "query")
@labels.pool
@labels.container
@click.argument("oid", metavar="HI.LO")
@click.pass_obj
def query(options: Options, pool: str, container: str, oid: str) -> Answer:
    """Tell class and layout of an object."""
    wanted = ObjectId.parse(oid)

    async def work(client: Client) -> Answer:
        async with (
            client.pool(pool, flags="r") as opened,
            opened.container(container, flags="r") as found,
        ):
            layout = found.open_object(wanted, "r").layout()
        return layout_answer(wanted, layout)

    return with_client(options, work)


def layout_answer(oid: ObjectId, layout: Layout) -> Answer:
    """Text and JSON of a layout."""
    lines = [f"oid: {oid} ver {layout.version} grp_nr: {len(layout.groups)}"]
    for number, group_ in enumerate(layout.groups):
        lines.append(f"grp: {number}")
        lines += [
            f"replica {replica} {shard.rank}:{shard.target}" for replica, shard in enumerate(group_)
        ]
    response = {
        "oid": str(oid),
        "version": layout.version,
        "class": id_to_name(oid.redundancy << 24 | oid.groups),
        "shards": [
            {"replicas": [{"rank": shard.rank, "target": shard.target} for shard in group_]}
            for group_ in layout.groups
        ],
    }
    return Answer("\n".join(lines) + "\n", response)

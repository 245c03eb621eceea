"""`list-attr`, `get-attr`, `set-attr`, `del-attr`, of pools and of containers.

Source: DAOS src/control/cmd/daos/attribute.go; features §2.2.1
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import click

from daos.base.errors import InvalidError
from daos.cli.attached import with_client
from daos.cli.container_text import attribute_json, attributes_text
from daos.cli.frame import Answer, Group, Options, command, names, pairs
from daos.client.attributes import ServiceHandle
from daos.client.client import Client

_Opened = AbstractAsyncContextManager[ServiceHandle[Any]]
# (client, ids of the command line, flags) -> what has the attributes
Open = Callable[[Client, tuple[str, ...], str], _Opened]


def _open_pool(client: Client, ids: tuple[str, ...], flags: str) -> _Opened:
    return client.pool(ids[0], flags=flags)


def add_commands(
    group: Group, what: str, open_: Open = _open_pool, arguments: tuple[str, ...] = ("pool",)
) -> None:
    """Give `group` the four commands for attributes of a `what`, named by `arguments`."""

    def named(function: Callable[..., Answer]) -> Callable[..., Answer]:
        for argument in reversed(arguments):
            function = click.argument(argument)(function)
        return function

    def ids_of(given: dict[str, Any]) -> tuple[str, ...]:
        return tuple(given[argument] for argument in arguments)

    @command(group, "list-attr", "list-attrs", "lsattr")
    @named
    @click.option("-V", "--verbose", "values", is_flag=True, help="Tell the values, too.")
    @click.pass_obj
    def list_attr(options: Options, /, values: bool, **given: Any) -> Answer:  # noqa: ANN401  # click
        """List attributes."""
        ids = ids_of(given)

        async def work(client: Client) -> Answer:
            async with open_(client, ids, "r") as opened:
                found = await opened.attrs.items()
            if not values:
                return Answer(attributes_text(what, ids[-1], list(found)), list(found))
            response = {name: attribute_json(value) for name, value in found.items()}
            return Answer(attributes_text(what, ids[-1], found), response)

        return with_client(options, work)

    @command(group, "get-attr", "getattr")
    @named
    @click.argument("keys", required=False, metavar="[KEY,…]")
    @click.pass_obj
    def get_attr(options: Options, /, keys: str | None, **given: Any) -> Answer:  # noqa: ANN401  # click
        """Tell attributes; all if no KEY is named."""
        ids, wanted = ids_of(given), names(keys)

        async def work(client: Client) -> Answer:
            async with open_(client, ids, "r") as opened:
                if wanted:
                    found = {name: await opened.attrs.get(name) for name in wanted}
                else:
                    found = await opened.attrs.items()
            rows = [{"name": name, "value": attribute_json(value)} for name, value in found.items()]
            response: object = rows[0] if len(wanted) == 1 else rows
            return Answer(attributes_text(what, ids[-1], found), response)

        return with_client(options, work)

    @command(group, "set-attr", "setattr")
    @named
    @click.argument("attributes", metavar="KEY:VALUE,…")
    @click.pass_obj
    def set_attr(options: Options, /, attributes: str, **given: Any) -> Answer:  # noqa: ANN401  # click
        """Set attributes, all or none."""
        ids, values = ids_of(given), pairs(attributes, "attributes")

        async def work(client: Client) -> Answer:
            async with open_(client, ids, "rw") as opened:
                await opened.attrs.update({name: each.encode() for name, each in values.items()})
            return Answer(f'Attributes successfully set on {what} "{ids[-1]}"\n')

        return with_client(options, work)

    @command(group, "del-attr", "delattr")
    @named
    @click.argument("keys", metavar="KEY,…")
    @click.pass_obj
    def del_attr(options: Options, /, keys: str, **given: Any) -> Answer:  # noqa: ANN401  # click
        """Delete attributes, all or none."""
        ids, gone = ids_of(given), names(keys)
        if not gone:
            raise InvalidError("name the attributes to delete, like owner,project")

        async def work(client: Client) -> Answer:
            async with open_(client, ids, "rw") as opened:
                await opened.attrs.update({}, delete=gone)
            text = f'Attribute(s) {",".join(gone)} successfully deleted on {what} "{ids[-1]}"\n'
            return Answer(text)

        return with_client(options, work)

"""`list-attr`, `get-attr`, `set-attr`, `del-attr`, of pools and of containers.

Source: DAOS src/control/cmd/daos/attribute.go; features §2.2.1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from daos.base.errors import InvalidError
from daos.cli.attached import with_client
from daos.cli.container_text import attribute_json, attributes_text
from daos.cli.frame import Answer, Group, Options, command, names, pairs
from daos.cli.labels import Argument

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from daos.client.attributes import ServiceHandle
    from daos.client.client import Client

    _Opened = AbstractAsyncContextManager[ServiceHandle[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """What has attributes, and how a command line names it."""

    what: str  # "pool", "container"
    names: tuple[str, ...]  # of its arguments; the last one names it
    arguments: tuple[Argument, ...]
    open: Callable[[Client, tuple[str, ...], str], _Opened]  # (client, arguments, flags)

    def named(self, function: Callable[..., Answer]) -> Callable[..., Answer]:
        """`function`, with the arguments in front of its own."""
        for argument in reversed(self.arguments):
            function = argument(function)
        return function

    def ids(self, given: dict[str, str]) -> tuple[str, ...]:
        """The values of the arguments."""
        return tuple(given[name] for name in self.names)


def add_commands(group: Group, owner: Owner) -> None:
    """Give `group` the four commands for attributes of an `owner`."""
    _add_list(group, owner)
    _add_get(group, owner)
    _add_set(group, owner)
    _add_delete(group, owner)


def _add_list(group: Group, owner: Owner) -> None:
    @command(group, "list-attr", "list-attrs", "lsattr")
    @owner.named
    @click.option("-V", "--verbose", "values", is_flag=True, help="Tell the values, too.")
    @click.pass_obj
    def list_attr(options: Options, /, values: bool, **given: str) -> Answer:
        """List attributes."""
        ids = owner.ids(given)

        async def work(client: Client) -> Answer:
            async with owner.open(client, ids, "r") as opened:
                found = await opened.attrs.items()
            if not values:
                return Answer(attributes_text(owner.what, ids[-1], list(found)), list(found))
            response = {name: attribute_json(value) for name, value in found.items()}
            return Answer(attributes_text(owner.what, ids[-1], found), response)

        return with_client(options, work)


def _add_get(group: Group, owner: Owner) -> None:
    @command(group, "get-attr", "getattr")
    @owner.named
    @click.argument("keys", required=False, metavar="[KEY,…]")
    @click.pass_obj
    def get_attr(options: Options, /, keys: str | None, **given: str) -> Answer:
        """Tell attributes; all if no KEY is named."""
        ids, wanted = owner.ids(given), names(keys)

        async def work(client: Client) -> Answer:
            async with owner.open(client, ids, "r") as opened:
                if wanted:
                    found = {name: await opened.attrs.get(name) for name in wanted}
                else:
                    found = await opened.attrs.items()
            rows = [{"name": name, "value": attribute_json(value)} for name, value in found.items()]
            response: object = rows[0] if len(wanted) == 1 else rows
            return Answer(attributes_text(owner.what, ids[-1], found), response)

        return with_client(options, work)


def _add_set(group: Group, owner: Owner) -> None:
    @command(group, "set-attr", "setattr")
    @owner.named
    @click.argument("attributes", metavar="KEY:VALUE,…")
    @click.pass_obj
    def set_attr(options: Options, /, attributes: str, **given: str) -> Answer:
        """Set attributes, all or none."""
        ids, values = owner.ids(given), pairs(attributes, "attributes")

        async def work(client: Client) -> Answer:
            async with owner.open(client, ids, "rw") as opened:
                await opened.attrs.update({name: each.encode() for name, each in values.items()})
            return Answer(f'Attributes successfully set on {owner.what} "{ids[-1]}"\n')

        return with_client(options, work)


def _add_delete(group: Group, owner: Owner) -> None:
    @command(group, "del-attr", "delattr")
    @owner.named
    @click.argument("keys", metavar="KEY,…")
    @click.pass_obj
    def del_attr(options: Options, /, keys: str, **given: str) -> Answer:
        """Delete attributes, all or none."""
        ids, gone = owner.ids(given), names(keys)
        if not gone:
            raise InvalidError("name the attributes to delete, like owner,project")

        async def work(client: Client) -> Answer:
            async with owner.open(client, ids, "rw") as opened:
                await opened.attrs.update({}, delete=gone)
            text = f'Attribute(s) {",".join(gone)} successfully deleted on {owner.what} "{ids[-1]}"'
            return Answer(f"{text}\n")

        return with_client(options, work)

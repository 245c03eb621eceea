"""`daos filesystem check`, and what puts right what it tells of: fix-sb, fix-root, fix-entry.

Source: DAOS src/control/cmd/daos/filesystem.go, src/client/dfs/cont.c; features §13.2
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from daos.base.clock import SystemClock
from daos.base.errors import InvalidError, NotSupportedError
from daos.base.sizes import parse_size
from daos.cli import meter, selection
from daos.cli.attached import with_client
from daos.cli.daos_container import FILE_DEFAULTS
from daos.cli.daos_filesystem import group, mounted, text_of
from daos.cli.filesystem_text import CheckInfo, check_json, check_text
from daos.cli.frame import Answer, Options, command
from daos.cli.later import Later
from daos.cli.selection import Chosen

if TYPE_CHECKING:
    from daos.client.client import Client
    from daos.client.values import FileDefaults
    from daos.dfs import checker, mend
    from daos.dfs import format as formats
else:
    checker = Later("daos.dfs.checker")
    formats = Later("daos.dfs.format")
    mend = Later("daos.dfs.mend")

_FLAGS: Final = ("print", "remove", "relink", "verify", "evict")


@command(group, "check")
@selection.container
@click.option(
    "-f",
    "--flags",
    default="print",
    metavar="FLAG,…",
    help="print (default), remove or relink what has no name, verify all content.",
)
@click.option(
    "-n", "--dir-name", metavar="NAME", help="Of relink: below /lost+found; by default the time."
)
@click.pass_obj
def check(options: Options, chosen: Chosen, flags: str, dir_name: str | None) -> Answer:
    """Find objects without a name, moves that died, and damage.

    Nobody else may have the container open. Without remove or relink nothing is changed.
    """
    words = _words(flags)
    repair = checker.Repair.NONE
    for word in words & {"remove", "relink", "verify"}:
        repair |= checker.Repair[word.upper()]
    clock = SystemClock()
    began_ns, began = clock.monotonic_ns(), text_of(clock.now_ns())

    async def work(client: Client) -> Answer:
        async with (
            client.pool(chosen.pool) as pool,
            pool.container(chosen.container, "ex") as container,
        ):
            with meter.Meter("checked") as shown:
                found = await checker.check(container, repair, dir_name, report=shown.tell)
        info = CheckInfo(
            began=began,
            marked_seconds=found.marked_ns // 1_000_000_000,
            seconds=(clock.monotonic_ns() - began_ns) // 1_000_000_000,
            files=found.files,
            symlinks=found.symlinks,
            directories=found.directories,
            leaked=[str(oid) for oid in found.leaked],
            printed="print" in words,
            moves=found.moves,
            ended=bool(words & {"remove", "relink"}),
            damaged=found.damaged,
            removed=found.removed,
            relinked=found.relinked,
            relinks="relink" in words,
            below=found.below,
            nbytes=found.nbytes if "verify" in words else None,
        )
        return Answer(check_text(info), check_json(info), failed=bool(found.damaged))

    return with_client(options, work)


def _words(flags: str) -> set[str]:
    """Raises: InvalidError, NotSupportedError"""
    words = {word.strip().lower() for word in flags.split(",")}
    if unknown := words - set(_FLAGS):
        raise InvalidError(f"flag {min(unknown)!r} is none of {', '.join(_FLAGS)}")
    if "evict" in words:
        raise NotSupportedError(
            "evict: a container's handles can't be taken away one container at a time; close them, "
            "or evict the pool's: dmg pool evict"
        )
    return words


@command(group, "fix-sb")
@selection.container
@click.option("-m", "--mode", metavar="MODE", help="Of a file system: relaxed.")
@click.option("-z", "--chunk-size", metavar="SIZE", help="Of files.")
@click.option("-o", "--oclass", metavar="CLASS", help="Of files and directories.")
@click.option("-d", "--dir-oclass", metavar="CLASS", help="Of directories.")
@click.option("-f", "--file-oclass", metavar="CLASS", help="Of files.")
@click.option("-H", "--hints", metavar="HINTS", help="Like file:max,dir:single.")
@click.pass_obj
def fix_superblock(options: Options, /, chosen: Chosen, **given: str | None) -> Answer:
    """Write a lost superblock again, with these defaults."""
    files: FileDefaults = {}
    for each in FILE_DEFAULTS:
        if given[each] is not None:
            files[each] = given[each]

    async def work(client: Client) -> Answer:
        async with (
            client.pool(chosen.pool) as pool,
            pool.container(chosen.container) as container,
        ):
            await formats.recreate_superblock(container, files)
        return Answer()

    return with_client(options, work)


@command(group, "fix-root")
@selection.container
@click.pass_obj
def fix_root(options: Options, chosen: Chosen) -> Answer:
    """Write the lost entry of the root directory again."""

    async def work(client: Client) -> Answer:
        async with (
            client.pool(chosen.pool) as pool,
            pool.container(chosen.container) as container,
        ):
            await formats.relink_root(container)
        return Answer()

    return with_client(options, work)


@command(group, "fix-entry")
@selection.place
@click.option("-t", "--type", "type_", is_flag=True, help="Let it be of the type of its object.")
@click.option("-z", "--chunk-size", metavar="SIZE", help="Let a file be cut like this.")
@click.pass_obj
def fix_entry(options: Options, chosen: Chosen, type_: bool, chunk_size: str | None) -> Answer:
    """Put right what an entry says of its object."""
    size = None if chunk_size is None else parse_size(chunk_size, binary=True)
    if not type_ and size is None:
        raise InvalidError("give --type, --chunk-size, or both")

    async def work(client: Client) -> Answer:
        text = ""
        async with mounted(client, chosen) as files:
            if type_ and not await mend.fix_type(files, chosen.path):
                text = f"{chosen.said or chosen.path} is of its object's type\n"
            if size is not None:
                await mend.fix_chunk_size(files, chosen.path, size)
        return Answer(text)

    return with_client(options, work)

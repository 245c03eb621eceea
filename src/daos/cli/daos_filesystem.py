"""`daos filesystem`: what entries of POSIX containers are stored as, and tools over trees of them.

    set-attr get-attr reset-attr reset-chunk-size reset-oclass chmod scan   here
    copy                                                                     daos_filesystem_copy
    check fix-sb fix-root fix-entry                                          daos_filesystem_check

Source: DAOS src/control/cmd/daos/filesystem.go, daos_dfs_hdlr.c; features §2.2.3, dfs_block §3.12
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from daos.base.clock import SystemClock
from daos.base.errors import InvalidError, NotFoundError
from daos.base.sizes import parse_size
from daos.cli import selection
from daos.cli.attached import with_client
from daos.cli.filesystem_text import (
    EntryInfo,
    ScanInfo,
    attributes_json,
    attributes_text,
    scan_json,
    scan_text,
)
from daos.cli.frame import Answer, Entry, Group, Options, command
from daos.cli.later import Later
from daos.cli.selection import Chosen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from daos.client.client import Client
    from daos.dfs import attributes, classes, errors, layout, mount, node
    from daos.dfs import scan as scanning
    from daos.dfs.mount import Mount
    from daos.dfs.node import Directory, Node
    from daos.placement import oclass
else:
    attributes = Later("daos.dfs.attributes")
    classes = Later("daos.dfs.classes")
    errors = Later("daos.dfs.errors")
    layout = Later("daos.dfs.layout")
    mount = Later("daos.dfs.mount")
    node = Later("daos.dfs.node")
    oclass = Later("daos.placement.oclass")
    scanning = Later("daos.dfs.scan")

_CHECK: Final = "daos.cli.daos_filesystem_check"
group = Group(
    "filesystem",
    help="Copy and check trees of files; attributes of files and directories.",
    entries={
        "copy": Entry(
            "daos.cli.daos_filesystem_copy:copy", "Copy to or from a container.", ("cp",)
        ),
        "check": Entry(f"{_CHECK}:check", "Find, remove or relink what has no name; find damage."),
        "fix-sb": Entry(f"{_CHECK}:fix_superblock", "Write a lost superblock again."),
        "fix-root": Entry(f"{_CHECK}:fix_root", "Write the lost entry of the root again."),
        "fix-entry": Entry(f"{_CHECK}:fix_entry", "Put type or chunk size of an entry right."),
    },
)


@asynccontextmanager
async def mounted(client: Client, chosen: Chosen, flags: str = "rw") -> AsyncGenerator[Mount]:
    """The file system of a container, until the end of the block."""
    async with (
        client.pool(chosen.pool, flags="r" if flags == "r" else "rw") as pool,
        pool.container(chosen.container, flags=flags) as container,
    ):
        yield await mount.Mount.open(container)


@command(group, "set-attr", "setattr")
@selection.place
@click.option("-z", "--chunk-size", metavar="SIZE", help="Of files.")
@click.option("-o", "--oclass", metavar="CLASS", help="Of files and directories.")
@click.pass_obj
def set_attr(options: Options, /, chosen: Chosen, **given: str | None) -> Answer:
    """Make a file of this class and chunk size; of a directory: what is made in it gets them."""
    chunk = parse_size(given["chunk_size"], binary=True) if given["chunk_size"] else None
    class_ = given["oclass"]
    if chunk is None and class_ is None:
        raise InvalidError("give --chunk-size, --oclass, or both")

    async def work(client: Client) -> Answer:
        async with mounted(client, chosen) as files:
            try:
                found = await files.lookup(chosen.path)
            except NotFoundError:
                above, name = os.path.split(chosen.path.rstrip("/"))
                parent = await files.lookup(above)
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
                await files.open_file(parent, name, flags, 0o664, oclass=class_, chunk_size=chunk)
                return Answer()
            directory = _directory(found, chosen)
            if class_ is not None:
                await directory.set_oclass(class_)
            if chunk is not None:
                await directory.set_chunk_size(chunk)
        return Answer()

    return with_client(options, work)


@command(group, "get-attr", "getattr")
@selection.place
@click.pass_obj
def get_attr(options: Options, chosen: Chosen) -> Answer:
    """Tell object id, class and chunk size."""

    async def work(client: Client) -> Answer:
        async with mounted(client, chosen, "r") as files:
            info = info_of(files, await files.lookup(chosen.path))
        return Answer(attributes_text(info), attributes_json(info))

    return with_client(options, work)


def _add_reset(name: str, what: str, reset: Callable[[Directory], Awaitable[object]]) -> None:
    @command(group, name)
    @selection.place
    @click.pass_obj
    def reset_(options: Options, chosen: Chosen) -> Answer:
        async def work(client: Client) -> Answer:
            async with mounted(client, chosen) as files:
                await reset(_directory(await files.lookup(chosen.path), chosen))
            return Answer()

        return with_client(options, work)

    reset_.help = f"Let what is made in a directory have the container's {what} again."


async def _reset_both(directory: Directory) -> None:
    await directory.set_oclass(None)
    await directory.set_chunk_size(None)


_add_reset("reset-attr", "class and chunk size", _reset_both)
_add_reset("reset-oclass", "class", lambda directory: directory.set_oclass(None))
_add_reset("reset-chunk-size", "chunk size", lambda directory: directory.set_chunk_size(None))


@command(group, "chmod")
@selection.place
@click.option("-m", "--mode", required=True, metavar="MODE", help="In octal, like 0755.")
@click.option("--no-follow", is_flag=True, help="Of a symlink itself.")
@click.pass_obj
def chmod(options: Options, chosen: Chosen, mode: str, no_follow: bool) -> Answer:
    """Change permissions."""
    if re.fullmatch(r"[0-7]{1,4}", mode, re.ASCII) is None:
        raise InvalidError(f"mode {mode!r}: expected an octal number, like 0755")

    async def work(client: Client) -> Answer:
        async with mounted(client, chosen) as files:
            found = await files.lookup(chosen.path, follow=not no_follow)
            await found.setattr(attributes.SetAttr(mode=stat.S_IFMT(found.mode) | int(mode, 8)))
        return Answer()

    return with_client(options, work)


@command(group, "scan")
@selection.container
@click.option("-n", "--dir-name", metavar="PATH", help="Only what is below this directory.")
@click.pass_obj
def scan(options: Options, chosen: Chosen, dir_name: str | None) -> Answer:
    """Count files, directories and bytes."""
    path = dir_name or chosen.path
    clock = SystemClock()
    began_ns, began = clock.monotonic_ns(), text_of(clock.now_ns())

    async def work(client: Client) -> Answer:
        async with mounted(client, chosen, "r") as files:
            found = await scanning.scan(files, f"/{path.lstrip('/')}")
        info = ScanInfo(
            began=began,
            seconds=(clock.monotonic_ns() - began_ns) // 1_000_000_000,
            objects=found.objects,
            files=found.files,
            symlinks=found.symlinks,
            directories=found.directories,
            depth=found.depth,
            nbytes=found.nbytes,
            average_file=found.average_file,
            largest_file=found.largest_file,
            largest_directory=found.largest_directory,
        )
        return Answer(scan_text(info), scan_json(info))

    return with_client(options, work)


def text_of(now_ns: int) -> str:
    """A local time as the reference's tools of file systems write it."""
    return datetime.fromtimestamp(now_ns / 1e9).astimezone().strftime("%Y-%m-%d-%H:%M:%S")


def info_of(files: Mount, entry: Node) -> EntryInfo:
    """How an entry is stored. "UNKNOWN" of what is made: chosen by hints."""
    oid, name = str(entry.oid), oclass.ObjectClass.of(entry.oid).name
    if isinstance(entry, node.File):
        return EntryInfo(oid=oid, oclass=name, chunk_size=entry.chunk_size)
    if not isinstance(entry, node.Directory):
        return EntryInfo(oid=oid, oclass=name)

    def made(kind: layout.Kind) -> str:
        class_id = classes.class_of(kind, oclass.OC_UNKNOWN, entry.entry, files.defaults)
        return oclass.id_to_name(class_id) if class_id else "UNKNOWN"

    return EntryInfo(
        oid=oid,
        oclass=name,
        chunk_size=classes.chunk_of(0, entry.entry, files.defaults),
        dir_oclass=made(layout.Kind.DIRECTORY),
        file_oclass=made(layout.Kind.FILE),
    )


def _directory(entry: Node, chosen: Chosen) -> Directory:
    if not isinstance(entry, node.Directory):
        raise errors.NotDirectoryError(f"{chosen.said or chosen.path} is no directory")
    return entry

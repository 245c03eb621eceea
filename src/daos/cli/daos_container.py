"""`daos container`: create, destroy, list, query, properties, attributes, snapshots, objects.

Source: DAOS src/control/cmd/daos/container.go, snapshot.go, property.go; features §2.2.2
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypedDict

import click

from daos.base.errors import DER, DaosError, InvalidError, NotFoundError
from daos.cli import attributes, labels, selection
from daos.cli.attached import with_client
from daos.cli.container_text import (
    ContainerInfo,
    as_json,
    created_text,
    query_text,
    snapshot_created_text,
    snapshot_json,
    snapshots_text,
)
from daos.cli.daos_pool import list_of_containers
from daos.cli.frame import Answer, Group, Options, command, names, pairs
from daos.cli.later import Later
from daos.cli.properties import properties_answer
from daos.cli.selection import Chosen

if TYPE_CHECKING:
    from daos.client.client import Client
    from daos.client.container import Container
    from daos.client.pool import Pool
    from daos.client.session import Opening
    from daos.client.values import FileDefaults
    from daos.container import core
    from daos.dfs import layout as layouts
    from daos.dfs import mount as files
    from daos.dfs import uns
    from daos.placement import oclass as oclasses
else:
    core = Later("daos.container.core")
    layouts = Later("daos.dfs.layout")
    files = Later("daos.dfs.mount")
    uns = Later("daos.dfs.uns")
    oclasses = Later("daos.placement.oclass")

group = Group("container", help="Make, query and destroy containers.")
FILE_DEFAULTS: Final = ("chunk_size", "oclass", "dir_oclass", "file_oclass", "hints", "mode")
_EPOCH = re.compile(r"(0x[0-9a-fA-F]{1,16}|[0-9]{1,20})", re.ASCII)


@command(group, "create")
@labels.maybe_pool
@click.argument("label", required=False)
@click.option("-t", "--type", "layout", help="Layout: POSIX, HDF5, PYTHON …")
@click.option("-p", "--path", help="Make this path, marked: it names the container.")
@click.option("--pool", "other_pool", hidden=True)
@click.option("-l", "--label", "other_label", hidden=True)
@click.option("-z", "--chunk-size", metavar="SIZE", help="Of files.")
@click.option("-o", "--oclass", metavar="CLASS", help="Of files and directories.")
@click.option("-d", "--dir-oclass", metavar="CLASS", help="Of directories.")
@click.option("-f", "--file-oclass", metavar="CLASS", help="Of files.")
@click.option("-H", "--hints", metavar="HINTS", help="Like file:max,dir:single.")
@click.option("-M", "--mode", metavar="MODE", help="Of a file system: relaxed.")
@click.option("--properties", metavar="KEY:VALUE,…", help="Properties to begin with.")
@click.option("-a", "--attrs", metavar="KEY:VALUE,…", help="Attributes to begin with.")
@click.pass_obj
def create(options: Options, /, layout: str | None, **given: str | None) -> Answer:
    """Make a container in POOL, known by LABEL, or by its UUID alone."""
    props = pairs(given["properties"], "properties") if given["properties"] else {}
    values = pairs(given["attrs"], "attributes") if given["attrs"] else {}
    pool, name = _new_name(given, props.pop("label", None))
    path = given["path"]
    if path is not None and layout is None:
        raise InvalidError("--path needs a --type: POSIX, or HDF5")
    files: FileDefaults = {}
    for each in FILE_DEFAULTS:
        if given[each] is not None:
            files[each] = given[each]

    async def work(client: Client) -> Answer:
        async with client.pool(pool) as opened:
            if path is not None:
                container = await uns.create_path(opened, path, name, layout or "", props, **files)
            else:
                container = await opened.create_container(name, layout, props, **files)
            try:
                if values:
                    put = {key: value.encode() for key, value in values.items()}
                    await container.attrs.update(put)
                info = await container_info(opened, container)
            except DaosError:
                await container.close()
                if path is not None:
                    await uns.destroy_path(opened, path)
                else:
                    await opened.destroy_container(container.uuid, force=True)
                raise
            await container.close()
            return Answer(created_text(info), as_json(info))

    return with_client(options, work)


def _new_name(given: dict[str, str | None], label: str | None) -> tuple[str, str]:
    """Pool and label of a container to be made; with --pool, the first word is the label."""
    words = [each for each in (given["other_pool"], given["pool"], given["label"]) if each]
    if not words:
        raise InvalidError("name the pool")
    labels = [each for each in (*words[1:], given["other_label"], label) if each]
    if len(labels) > 1:
        raise InvalidError("the label is given twice")
    return words[0], labels[0] if labels else ""


@command(group, "destroy")
@selection.container
@click.option("-f", "--force", is_flag=True, help="Also while somebody has it open.")
@click.pass_obj
def destroy(options: Options, chosen: Chosen, force: bool) -> Answer:
    """Destroy a container and all that is in it; with --path, the path as well."""
    if chosen.path != "/":
        raise InvalidError(f"{chosen.said} is in a container: name the path that is marked with it")

    async def work(client: Client) -> Answer:
        async with client.pool(chosen.pool) as opened:
            if chosen.mark:
                await uns.destroy_path(opened, chosen.mark, force=force)
            else:
                await opened.destroy_container(chosen.container, force=force)
        return Answer(f"Successfully destroyed container {chosen.container}\n")

    return with_client(options, work)


@command(group, "link")
@click.argument("pool")
@click.argument("container")
@click.option("-p", "--path", required=True, help="Make this path, marked: it names the container.")
@click.pass_obj
def link(options: Options, pool: str, container: str, path: str) -> Answer:
    """Make a path that names a container."""

    async def work(client: Client) -> Answer:
        async with (
            client.pool(pool, flags="r") as opened,
            opened.container(container, flags="r") as found,
        ):
            await uns.link(opened, found, path)
        return Answer(f"Successfully linked container {container} to {path}\n")

    return with_client(options, work)


@command(group, "list", "ls")
@labels.pool
@click.option("-v", "--verbose", is_flag=True, help="Tell the layout, too.")
@click.pass_obj
def list_(options: Options, pool: str, verbose: bool) -> Answer:
    """List the containers of POOL."""
    return list_of_containers(options, pool, verbose=verbose or bool(options.get("verbose")))


@command(group, "query")
@selection.named
@click.pass_obj
def query(options: Options, pool: str, container: str) -> Answer:
    """Tell what a container is."""

    async def work(client: Client) -> Answer:
        async with (
            client.pool(pool, flags="r") as opened,
            opened.container(container, flags="r") as found,
        ):
            info = await container_info(opened, found)
        return Answer(query_text(info), as_json(info))

    return with_client(options, work)


@command(group, "list-objects", "list-obj")
@selection.named
@click.option("-e", "--epc", metavar="EPOCH", help="As of this snapshot.")
@click.pass_obj
def list_objects(options: Options, pool: str, container: str, epc: str | None) -> Answer:
    """List the objects of a container, one HI.LO a line."""

    async def work(client: Client) -> Answer:
        async with (
            client.pool(pool, flags="r") as opened,
            opened.container(container, flags="r") as found,
        ):
            seen = await found.at(parse_epoch(epc)) if epc else found
            oids = [str(oid) async for oid in seen.objects()]
        return Answer("".join(f"{oid}\n" for oid in oids), oids)

    return with_client(options, work)


@command(group, "get-prop")
@selection.named
@click.argument("keys", required=False, metavar="[KEY,…]")
@click.pass_obj
def get_prop(options: Options, pool: str, container: str, keys: str | None) -> Answer:
    """Tell properties; all if no KEY is named."""
    table = core.PROPERTIES
    wanted = [table.find(name) for name in names(keys)] or list(table.properties)

    async def work(client: Client) -> Answer:
        async with (
            client.pool(pool, flags="r") as opened,
            opened.container(container, flags="r") as found,
        ):
            values = await found.props.items()
        title = f"Properties for container {container}"
        return properties_answer(title, [(each, values[each.name]) for each in wanted])

    return with_client(options, work)


@command(group, "set-prop")
@selection.named
@click.argument("properties", metavar="KEY:VALUE,…")
@click.pass_obj
def set_prop(options: Options, pool: str, container: str, properties: str) -> Answer:
    """Change properties, all or none: `label` and `status`."""
    values = pairs(properties, "properties")

    async def work(client: Client) -> Answer:
        async with client.pool(pool) as opened, opened.container(container) as found:
            await found.props.update(values)
        return Answer("Properties were successfully set\n")

    return with_client(options, work)


def _open(client: Client, ids: tuple[str, ...], flags: str) -> Opening[Container]:
    """The container of a pool; the pool is closed with the client."""
    from daos.client.session import Opening

    async def open_() -> Container:
        pool = await client.pool(ids[0], flags=flags)
        return await pool.container(ids[1], flags=flags)

    return Opening(open_)


attributes.add_commands(
    group,
    attributes.Owner(
        what="container",
        names=("pool", "container"),
        arguments=(selection.named,),
        open=_open,
    ),
)


@command(group, "create-snap", "snap")
@selection.named
@click.option("-s", "--snap", metavar="NAME", help="Name of the snapshot.")
@click.pass_obj
def create_snap(options: Options, pool: str, container: str, snap: str | None) -> Answer:
    """Freeze the container as it is now."""

    async def work(client: Client) -> Answer:
        async with client.pool(pool) as opened, opened.container(container) as found:
            epoch = await found.snapshot(snap)
        return Answer(snapshot_created_text(epoch), snapshot_json(epoch, snap or ""))

    return with_client(options, work)


@command(group, "list-snap", "list-snaps")
@selection.named
@click.pass_obj
def list_snap(options: Options, pool: str, container: str) -> Answer:
    """List snapshots, oldest first."""

    async def work(client: Client) -> Answer:
        async with (
            client.pool(pool, flags="r") as opened,
            opened.container(container, flags="r") as found,
        ):
            snapshots = await found.snapshots()
        response = [snapshot_json(epoch, name) for epoch, name in snapshots]
        return Answer(snapshots_text(snapshots), response)

    return with_client(options, work)


@command(group, "destroy-snap")
@selection.named
@click.option("-e", "--epc", metavar="EPOCH", help="The one of this epoch.")
@click.option("-s", "--snap", metavar="NAME", help="The one of this name.")
@click.option("-r", "--epcrange", metavar="A-B", help="All from epoch A to epoch B.")
@click.pass_obj
def destroy_snap(options: Options, /, pool: str, container: str, **which: str | None) -> Answer:
    """Let go of snapshots."""
    if sum(each is not None for each in which.values()) != 1:
        raise InvalidError("give one of --epc, --snap and --epcrange")

    async def work(client: Client) -> Answer:
        async with client.pool(pool) as opened, opened.container(container) as found:
            for each in await _chosen(found, **which):
                await found.destroy_snapshot(each)
        return Answer()

    return with_client(options, work)


@command(group, "rollback")
@selection.named
@click.option("-e", "--epc", metavar="EPOCH")
@click.option("-s", "--snap", metavar="NAME")
def rollback(pool: str, container: str, epc: str | None, snap: str | None) -> Answer:
    """Not supported, as in the reference: open a snapshot and copy what you want back."""
    del epc, snap
    text = f"{pool}/{container}: rollback is not supported; read from the snapshot instead"
    raise DaosError(text, code=DER.NOSYS)


async def _chosen(
    found: Container, epc: str | None, snap: str | None, epcrange: str | None
) -> list[int | str]:
    if epc is not None:
        return [parse_epoch(epc)]
    if snap is not None:
        return [snap]
    first, dash, last = (epcrange or "").partition("-")
    if not dash:
        raise InvalidError(f"--epcrange {epcrange!r}: expected two epochs, like 0x10-0x20")
    lo, hi = parse_epoch(first), parse_epoch(last)
    return [epoch for epoch, _ in await found.snapshots() if lo <= epoch <= hi]


def parse_epoch(text: str) -> int:
    """An epoch, decimal or in hexadecimal. Raises: InvalidError"""
    if _EPOCH.fullmatch(text) is None:
        raise InvalidError(f"epoch {text!r}: expected a number, or one like 0x17e4a6")
    return int(text, 0)


async def container_info(pool: Pool, container: Container) -> ContainerInfo:
    """What an open container tells, for text and JSON."""
    found = await container.query()
    props = await container.props.items()
    return ContainerInfo(
        pool_uuid=str(pool.uuid),
        container_uuid=str(found.uuid),
        container_label=found.label,
        container_type=props["layout_type"],
        redundancy_factor=int(props["rd_fac"]),
        num_handles=found.handles,
        open_time=found.opened,
        close_modify_time=found.modified,
        num_snapshots=found.snapshots,
        latest_snapshot=found.newest_snapshot,
        health=props["status"],
        **(await _files(container) if props["root_oids"] else {}),
    )


class _Files(TypedDict, total=False):
    """What a query tells of a file system."""

    object_class: str
    dir_object_class: str
    file_object_class: str
    hints: str
    chunk_size: int
    cons_mode: str


async def _files(container: Container) -> _Files:
    try:
        mount = await files.Mount.open(container, "r")
    except NotFoundError:
        return {}  # half made, or damaged: the rest is told all the same
    oclass = mount.defaults.oclass
    return _Files(
        object_class=oclasses.id_to_name(oclass) if oclass else "UNKNOWN",
        dir_object_class=mount.default_class(layouts.Kind.DIRECTORY),
        file_object_class=mount.default_class(layouts.Kind.FILE),
        hints=mount.defaults.hints,
        chunk_size=mount.defaults.chunk_size,
        cons_mode="relaxed",
    )

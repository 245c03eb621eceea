"""`daos filesystem copy`: trees of files into containers, out of them, and from one to another.

Source: DAOS src/control/cmd/daos/filesystem.go, src/utils/daos_hdlr.c fs_copy_hdlr; ours: --resume,
--verify, --only-verify, --workers
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from daos.base.errors import InvalidError, NotFoundError
from daos.cli.attached import with_client
from daos.cli.daos_container import parse_epoch
from daos.cli.daos_filesystem import group
from daos.cli.filesystem_text import CopyInfo, copy_json, copy_text, verify_text
from daos.cli.frame import Answer, Options, command
from daos.cli.later import Later

if TYPE_CHECKING:
    from daos.cli import meter
    from daos.client.client import Client
    from daos.client.container import Container
    from daos.client.pool import Pool
    from daos.dfs import copy as copying
    from daos.dfs import end_local, end_stored, errors, mount, tandem, uns, verify
    from daos.dfs.ends import End
    from daos.dfs.tandem import Route
    from daos.dfs.uns import Address
else:
    meter = Later("daos.cli.meter")
    copying = Later("daos.dfs.copy")
    end_local = Later("daos.dfs.end_local")
    end_stored = Later("daos.dfs.end_stored")
    errors = Later("daos.dfs.errors")
    mount = Later("daos.dfs.mount")
    tandem = Later("daos.dfs.tandem")
    uns = Later("daos.dfs.uns")
    verify = Later("daos.dfs.verify")


class Side(NamedTuple):
    """One of the two sides of a copy, open. No address: files of this host."""

    end: End[Any]  # of either kind
    path: str
    address: Address | None = None
    created: str = ""


@command(group, "copy", "cp")
@click.option("-s", "--src", required=True, metavar="SOURCE", help="A path, or daos://POOL/CONT/…")
@click.option("-d", "--dst", required=True, metavar="TARGET", help="A path, or daos://POOL/CONT/…")
@click.option(
    "--ignore-unsupported", is_flag=True, help="Leave out what the target can't hold, and tell."
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with a copy: TARGET is the copy itself; files with size and time of the source's "
    "are complete.",
)
@click.option("--verify", "verified", is_flag=True, help="Then read both, and compare.")
@click.option(
    "--only-verify", is_flag=True, help="Compare what was copied before: TARGET is the copy itself."
)
@click.option(
    "--snap", metavar="NAME", help="The container of SOURCE as of this snapshot, or epoch."
)
@click.option("--workers", type=int, metavar="N", help="Files at once (16).")
@click.pass_obj
def copy(
    options: Options,
    /,
    src: str,
    dst: str,
    snap: str | None,
    workers: int | None,
    **flags: bool,
) -> Answer:
    """Copy a file, or a directory with all below it, to or from a container.

    A TARGET that is a directory gets the copy in it, under SOURCE's name. A container that is not
    there is made.
    """
    if flags["only_verify"] and (flags["resume"] or flags["ignore_unsupported"]):
        raise InvalidError("--only-verify copies nothing: give it without other options")

    async def work(client: Client) -> Answer:
        async with AsyncExitStack() as stack:
            if _address(src) is None and _address(dst) is None:
                raise InvalidError("neither side is in a container; cp copies files of this host")
            source = await _source(client, stack, src, snap)
            target = await _side(
                client,
                stack,
                dst,
                flags="r" if flags["only_verify"] else "rw",
                ignore=flags["ignore_unsupported"],
            )
            here = flags["resume"] or flags["only_verify"]
            way = await tandem.route(source.end, source.path, target.end, target.path, here=here)
            count = tandem.WORKERS if workers is None else workers
            if flags["only_verify"]:
                return await _compare(way, count)
            with meter.Meter("copied") as shown:
                stats = await copying.copy(
                    way,
                    resume=flags["resume"],
                    ignore_unsupported=flags["ignore_unsupported"],
                    workers=count,
                    report=shown.tell,
                )
            info = CopyInfo(
                **_names("src", source.address),
                **_names("dst", target.address),
                dst=dst,
                created=target.created,
                directories=stats.directories,
                files=stats.files,
                links=stats.links,
                skipped=stats.skipped,
                unsupported=stats.unsupported,
            )
            compared = await _compare(way, count) if flags["verified"] else Answer(response={})
        assert isinstance(compared.response, dict)
        text = copy_text(info) + compared.text
        return Answer(text, {**copy_json(info), **compared.response}, compared.failed)

    return with_client(options, work)


async def _compare(way: Route[Any, Any], workers: int) -> Answer:
    with meter.Meter("compared") as shown:
        verdict = await verify.verify(way, workers=workers, report=shown.tell)
    text = verify_text(
        files=verdict.stats.files,
        nbytes=verdict.stats.nbytes,
        differences=verdict.differences,
        count=verdict.count,
    )
    response = {
        "verified": {
            "num_files": verdict.stats.files,
            "num_bytes": verdict.stats.nbytes,
            "num_differences": verdict.count,
            "differences": [{"path": path, "what": how} for path, how in verdict.differences],
        }
    }
    return Answer(text, response, failed=verdict.count > 0)


def _address(text: str) -> Address | None:
    """None: a path of this host that no container is named by."""
    try:
        return uns.resolve(text)
    except errors.NoAttributeError:
        return None


async def _source(client: Client, stack: AsyncExitStack, text: str, snap: str | None) -> Side:
    side = await _side(client, stack, text, flags="r", ignore=False)
    if snap is None:
        return side
    if not isinstance(side.end, end_stored.StoredEnd):
        raise InvalidError(f"--snap is of containers; {text} is none")
    known = {name: epoch for epoch, name in await side.end.mount.container.snapshots() if name}
    view = side.end.mount.container.at(known[snap] if snap in known else parse_epoch(snap))
    seen = await stack.enter_async_context(view)
    return side._replace(end=end_stored.StoredEnd(await mount.Mount.open(seen)))


async def _side(
    client: Client, stack: AsyncExitStack, text: str, *, flags: str, ignore: bool
) -> Side:
    address = _address(text)
    if address is None:
        return Side(end_local.LocalEnd(ignore_unsupported=ignore), text)
    pool = await stack.enter_async_context(client.pool(address.pool, flags=flags))
    container, created = await _container(pool, address, make=flags != "r")
    await stack.enter_async_context(container)
    end = end_stored.StoredEnd(await mount.Mount.open(container))
    return Side(end, address.path, address, created)


async def _container(pool: Pool, address: Address, *, make: bool) -> tuple[Container, str]:
    """The container of an address, and the UUID of one that was made for it."""
    if not address.container and not make:
        raise InvalidError(f"daos://{address.pool} names a pool; add the container")
    if address.container:
        try:
            return await pool.container(address.container, "rw" if make else "r"), ""
        except NotFoundError:
            if not make or address.mark:
                raise
    made = await pool.create_container(address.container, "POSIX")
    return made, str(made.uuid)


def _names(side: str, address: Address | None) -> dict[str, str]:
    if address is None:
        return {}
    return {f"{side}_pool": address.pool, f"{side}_cont": address.container}

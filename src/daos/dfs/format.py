"""How a container becomes a file system: made, found again, made again.

    create      container with layout POSIX and root_oids -> superblock, entry of the root -> open
                one that fails half-way is destroyed
    find        property root_oids -> superblock, entry of the root

Between creation and the superblock a mount finds none: ENOENT, come again.

Source: DAOS src/client/dfs/cont.c dfs_cont_create, dfs_recreate_sb, dfs_relink_root; mnt.c
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from daos.base.errors import (
    DER,
    DaosError,
    ExistsError,
    InvalidError,
    NotFoundError,
    NotSupportedError,
)
from daos.base.hlc import unix_ns_from_epoch
from daos.base.ids import Epoch, ObjectId, ObjectType
from daos.base.iod import Cond, Iod, IodType
from daos.base.sizes import parse_size
from daos.client.landing import ManyLanding, Slot
from daos.client.objectio import ObjectIo, settle_epoch, settle_fetch
from daos.client.session import Call
from daos.dfs import entries
from daos.dfs.classes import check_chunk, chunk_default, is_erasure, parse_class, parse_hints
from daos.dfs.entries import Found, Place
from daos.dfs.layout import (
    ROOT_NAME,
    ROOT_USER,
    SB_AKEYS,
    SB_DKEY,
    SUPERBLOCK_USER,
    Entry,
    Superblock,
    emit_roots,
    parse_roots,
)
from daos.object.core import check_supported
from daos.placement.oid import Topology, decide, generate
from daos.placement.pool_map import Level

if TYPE_CHECKING:
    from daos.client.container import Container
    from daos.client.pool import Pool
    from daos.client.values import FileDefaults

ROOT_MODE: Final = stat.S_IFDIR | 0o755
RELAXED: Final = "relaxed"
_MODES: Final = {RELAXED: 0, "balanced": 4}
_INSERT: Final = int(Cond.DKEY_INSERT)
_EXISTS: Final = int(Cond.DKEY_FETCH)


class Roots(NamedTuple):
    """Where a file system begins."""

    superblock: ObjectId
    directory: ObjectId


def defaults_of(files: FileDefaults, *, topology: Topology, rf: int) -> Superblock:
    """What a superblock says of what a user asked for.

    Raises: InvalidError, NotSupportedError (balanced mode, a class that is not stored)
    """
    unknown = files.keys() - {
        "oclass",
        "dir_oclass",
        "file_oclass",
        "chunk_size",
        "hints",
        "mode",
    }
    if unknown:
        raise InvalidError(f"file systems have no default {min(unknown)!r}")
    hints = files.get("hints") or ""
    parse_hints(hints)
    mode = files.get("mode") or RELAXED
    if mode not in _MODES:
        raise InvalidError(f"mode must be relaxed or balanced, not {mode!r}")
    if mode != RELAXED:
        raise NotSupportedError("balanced mode needs transactions, which this version has not")
    oclass = _fitting(files.get("oclass"), ObjectType.ARRAY_BYTE, topology, rf)
    file_oclass = _fitting(files.get("file_oclass"), ObjectType.ARRAY_BYTE, topology, rf)
    dir_oclass = _fitting(files.get("dir_oclass"), ObjectType.MULTI_HASHED, topology, rf)
    chunk = files.get("chunk_size")
    size = check_chunk(parse_size(chunk, binary=True) if isinstance(chunk, str) else chunk)
    return Superblock(
        chunk_size=size or chunk_default(file_oclass or oclass),
        oclass=oclass,
        dir_oclass=0 if dir_oclass and is_erasure(dir_oclass) else dir_oclass,
        file_oclass=file_oclass,
        hints=hints,
    )


def _fitting(given: str | int | None, otype: ObjectType, topology: Topology, rf: int) -> int:
    class_id = parse_class(given)
    if class_id:
        decide(otype, topology=topology, rf=rf, class_id=class_id)
        check_supported(generate(otype, lo=0, topology=topology, rf=rf, class_id=class_id))
    return class_id


def roots_of(*, topology: Topology, rf: int) -> Roots:
    """The object ids of superblock and root. Raises: InvalidError."""

    def oid(user: int) -> ObjectId:
        return generate(ObjectType.MULTI_HASHED, lo=0, user_hi=user, topology=topology, rf=rf)

    return Roots(oid(SUPERBLOCK_USER), oid(ROOT_USER))


async def create(
    pool: Pool,
    label: str,
    props: Mapping[str, str],
    files: FileDefaults,
    timeout: float | None,
) -> Container:
    """Create a container with an empty file system in it, and open it.

    Raises: as Pool.create_container, and `defaults_of`
    Cost:   three requests more than a container without
    """
    rf = int(props.get("rd_fac", props.get("rf", "0")))
    level = Level.RANK if props.get("rd_lvl", props.get("rf_lvl")) in ("1", "rank") else Level.NODE
    topology = pool._maps.jump(level).topology
    superblock = defaults_of(files, topology=topology, rf=rf)
    roots = roots_of(topology=topology, rf=rf)
    container = await pool._create(label, props, timeout, roots=emit_roots(*roots))
    try:
        with container._operation(timeout, write=True) as call:
            await write_superblock(container, roots, superblock, call)
            await write_root(container, roots, call)
    except BaseException:
        await _undo(pool, container)
        raise
    return container


async def _undo(pool: Pool, container: Container) -> None:
    try:
        await container.close()
        await pool.destroy_container(container.uuid, force=True)
    except DaosError:
        return  # what went wrong before is what the caller hears of


async def find(container: Container, call: Call) -> tuple[Roots, Superblock, Entry]:
    """Where the file system of a container begins, and its defaults.

    Raises: InvalidError (no POSIX container, another version), NotFoundError (no superblock or
            root yet), DaosError IO (it has no roots)
    Cost:   three requests
    """
    roots = await roots_in(container, call)
    superblock = await _read_superblock(container._io(roots.superblock), call)
    found = await entries.fetch(root_place(container, roots), call)
    if found is None:
        raise NotFoundError(f"{container} has no root directory; `relink_root` makes one")
    return roots, superblock, found.entry


async def roots_in(container: Container, call: Call) -> Roots:
    """From its properties. Raises: InvalidError, DaosError IO, CorruptError."""
    props = await container._service.props(call)
    if props["layout_type"] != "POSIX":
        raise InvalidError(f"{container} is of type {props['layout_type']}, not POSIX")
    if not props["root_oids"]:
        raise DaosError(f"{container} was made without a file system", code=DER.IO)
    return Roots(*parse_roots(props["root_oids"]))


async def recreate_superblock(
    container: Container, files: FileDefaults, *, timeout: float | None = None
) -> None:
    """Write a lost superblock again, with these defaults.

    Raises: ExistsError (there is one), as `defaults_of`
    """
    topology = container._maps.jump(container._level).topology
    superblock = defaults_of(files, topology=topology, rf=container._redundancy_factor)
    with container._operation(timeout, write=True) as call:
        await write_superblock(container, await roots_in(container, call), superblock, call)


async def relink_root(container: Container, *, timeout: float | None = None) -> None:
    """Write the lost entry of the root directory again. Raises: ExistsError (there is one)."""
    with container._operation(timeout, write=True) as call:
        await write_root(container, await roots_in(container, call), call)


async def write_superblock(
    container: Container, roots: Roots, superblock: Superblock, call: Call
) -> None:
    """Raises: ExistsError (there is one)"""
    values = superblock.emit()
    iods = [Iod(akey, IodType.SINGLE, len(value)) for akey, value in values.items()]
    views = [memoryview(value) for value in values.values()]
    io = container._io(roots.superblock)
    try:
        await settle_epoch(io.update(SB_DKEY, iods, views, cond=_INSERT, call=call))
    except ExistsError:
        raise ExistsError(f"{container} has a superblock") from None


async def write_root(container: Container, roots: Roots, call: Call) -> None:
    """Raises: ExistsError (there is an entry)"""
    now = unix_ns_from_epoch(container._session.context.hlc.now())
    entry = Entry(
        mode=ROOT_MODE,
        oid=roots.directory,
        mtime_ns=now,
        ctime_ns=now,
        uid=os.geteuid(),
        gid=os.getegid(),
    )
    try:
        await entries.insert(root_place(container, roots), Found(entry, Epoch(0)), call)
    except ExistsError:
        raise ExistsError(f"{container} has a root directory") from None


def root_place(container: Container, roots: Roots) -> Place:
    """Where the entry of the root stands."""
    return Place(container._io(roots.superblock), ROOT_NAME)


async def _read_superblock(io: ObjectIo, call: Call) -> Superblock:
    iods = [Iod(akey, IodType.SINGLE, 0) for akey in SB_AKEYS]
    landing = ManyLanding([Slot(index, 0, 0) for index in range(len(iods))])
    try:
        await settle_fetch(io.fetch(SB_DKEY, iods, landing, cond=_EXISTS, call=call))
    except NotFoundError:
        raise NotFoundError("there is no superblock yet, or it is lost") from None
    return Superblock.parse(dict(zip(SB_AKEYS, landing.finish(), strict=True)))

"""Entries that appear whole: a file with its content, times and attributes, or no file.

The content goes into an object that nobody knows yet, then one conditional request makes the name:
two requests, where create, write and setattr are nine. A crash between leaves an object without a
name, no half-written file.

Source: ours; DAOS creates, writes, then changes mode
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from daos.base.errors import ExistsError
from daos.base.ids import Epoch
from daos.client.memory import BufferLike, readable
from daos.client.objectio import settle_epoch
from daos.dfs import attributes, entries, namespace, xattrs
from daos.dfs.classes import chunk_of, class_of, parse_hints
from daos.dfs.layout import Kind
from daos.dfs.namespace import Wanted
from daos.placement.oclass import OC_UNKNOWN

if TYPE_CHECKING:
    from daos.client.session import Call
    from daos.dfs.entries import Found
    from daos.dfs.mount import Mount
    from daos.dfs.node import Directory, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """What an entry shall be."""

    mode: int = 0o644
    mtime_ns: int
    xattrs: Mapping[str, bytes]


async def file(
    mount: Mount,
    parent: Node,
    name: str | bytes,
    data: BufferLike,
    whole: Whole,
    *,
    beside: str | bytes | None = None,
) -> bool:
    """Make a file; whether it has its name. `beside`: what it is called if that is taken.

    Atomicity: all or nothing
    Raises:    AccessError, ExistsError, InvalidError, NoSpaceError
    Cost:      two requests, one where there is no content; of more than a chunk one for each,
               and one for each shard
    """
    with mount._operation(None, write=True) as call:
        at = namespace.spot(mount, parent, name)
        view = readable(data)
        wanted = Wanted(whole.mode, _class_of(mount, at.directory, view.nbytes))
        made = await namespace.new(mount, at.directory, Kind.FILE, wanted, call=call)
        newest = await _fill(mount, made, view, call)
        entry = replace(made.entry, mtime_ns=whole.mtime_ns, obj_hlc=newest)
        found = replace(made, entry=entry, values=_values(whole))
        for each in (at, None if beside is None else namespace.spot(mount, parent, beside)):
            with contextlib.suppress(ExistsError):
                if each is not None:
                    await entries.insert(each.place, found, call)
                    return each is at
        if newest:
            await namespace.destroy(mount, entry, call)
        raise ExistsError(f"{at.place} exists")


async def symlink(mount: Mount, parent: Node, name: str, target: str, whole: Whole) -> None:
    """Make a symlink. Raises: AccessError, ExistsError, InvalidError. Cost: one request."""
    with mount._operation(None, write=True) as call:
        at = namespace.spot(mount, parent, name)
        value = namespace.check_target(target)
        made = await namespace.new(
            mount, at.directory, Kind.SYMLINK, Wanted(), call=call, target=value
        )
        entry = replace(made.entry, mtime_ns=whole.mtime_ns)
        try:
            await entries.insert(at.place, replace(made, entry=entry, values=_values(whole)), call)
        except ExistsError:
            raise ExistsError(f"{at.place} exists") from None


def _class_of(mount: Mount, parent: Directory, nbytes: int) -> str | None:
    """The class of a file; None: as everything that is made there.

    What is in one chunk is on one shard, whatever its class is. Where nobody has chosen a class,
    a file of one shard costs a request where one of all targets costs one each: stat, remove.
    """
    rf = mount.container._redundancy_factor
    chosen = class_of(Kind.FILE, OC_UNKNOWN, parent.entry, mount.defaults)
    if rf or chosen or Kind.FILE in parse_hints(mount.defaults.hints):
        return None
    return "S1" if nbytes <= chunk_of(0, parent.entry, mount.defaults) else None


async def _fill(mount: Mount, made: Found, view: memoryview, call: Call) -> Epoch:
    """Write the content; the object's newest epoch then."""
    if not view.nbytes:
        return Epoch(0)
    array = attributes.file_of(mount, made.entry)
    if view.nbytes > array.chunk_size:
        await array.write(0, view)
        return await array.newest_epoch()
    (piece,) = array._pieces(0, view.nbytes)
    return await settle_epoch(array._io.update(piece.dkey, (array._iod(piece),), [view], call=call))


def _values(whole: Whole) -> dict[bytes, bytes]:
    return {xattrs.akey_of(name): value for name, value in whole.xattrs.items()}

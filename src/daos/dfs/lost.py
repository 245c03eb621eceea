"""Names in /lost+found for objects that have none.

Of what is leaked only the top gets a name: a directory brings what it names. Where directories name
each other in a ring, the first of them is the top.

    /lost+found/<name>/<hi>.<lo>    file 0600, directory 0700, of the caller

A file's chunk size stood in the entry that is lost: it is taken for the container's, or as much as
one chunk is seen to hold. What was cut smaller is then read with gaps, until `daos filesystem
fix-entry` is told the size.

Source: DAOS src/client/dfs/cont.c oit_mark_cb
"""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from daos.base.errors import ExistsError, NotFoundError
from daos.base.ids import Epoch, ObjectId, ObjectType
from daos.dfs import entries, extents, layout
from daos.dfs.entries import Found, Place
from daos.dfs.errors import NotDirectoryError
from daos.dfs.layout import Entry, encode_name, guess
from daos.dfs.node import Directory
from daos.dfs.survey import UNREADABLE

if TYPE_CHECKING:
    from daos.dfs.mount import Mount

PATH: Final = "/lost+found"
_FILE: Final = stat.S_IFREG | 0o600
_DIRECTORY: Final = stat.S_IFDIR | 0o700
_PERMISSIONS: Final = 0o700


async def check_name(mount: Mount, name: str | None) -> str:
    """The name of a directory that can be made in /lost+found; None: the local time.

    Raises: InvalidError, NameTooLongError, ExistsError, NotDirectoryError
    """
    if name is None:
        now = datetime.fromtimestamp(mount.clock.now_ns() / 1e9).astimezone()
        name = now.strftime("%Y-%m-%d-%H:%M:%S")
    layout.check_name(name)
    try:
        await mount.lookup(f"{PATH}/{name}", follow=False)
    except NotFoundError:
        return name
    raise ExistsError(f"{PATH}/{name} exists; give another name")


async def tops_of(mount: Mount, leaked: Sequence[ObjectId]) -> list[ObjectId]:
    """Those that no other of them leads to; without what no file or directory can be."""
    known = set(leaked)
    inside = {
        oid: known & await _named_by(mount, oid)
        for oid in leaked
        if oid.hi >> 56 == ObjectType.MULTI_HASHED
    }
    return tops([oid for oid in leaked if oid in inside or _is_file(oid)], inside)


def tops(
    leaked: Sequence[ObjectId], inside: Mapping[ObjectId, Collection[ObjectId]]
) -> list[ObjectId]:
    """The fewest that lead to all; `inside`: the objects that each directory names."""
    named = {oid for each in inside.values() for oid in each}
    found = [oid for oid in leaked if oid not in named]
    reached = set(_below(found, inside))
    rings: list[ObjectId] = []
    for oid in inside:
        if oid not in reached:  # in a ring, or below one that is not yet seen
            below = set(_below([oid], inside))
            rings = [each for each in rings if each not in below]
            rings.append(oid)
            reached |= below
    return found + rings


async def relink(mount: Mount, oids: Sequence[ObjectId], name: str) -> Directory:
    """Make /lost+found/`name`, and in it a name for each of these files and directories."""
    above = await _directory(mount, mount.root, PATH[1:])
    into = await mount.mkdir(above, name, _PERMISSIONS)
    for oid in oids:
        now = mount.now_ns()
        is_file = _is_file(oid)
        entry = Entry(
            mode=_FILE if is_file else _DIRECTORY,
            oid=oid,
            mtime_ns=now,
            ctime_ns=now,
            chunk_size=await _chunk(mount, oid) if is_file else 0,
            uid=mount.uid,
            gid=mount.gid,
        )
        with mount._operation(None, write=True) as call:
            await entries.insert(into.at(str(oid).encode()), Found(entry, Epoch(0)), call)
    return into


async def _directory(mount: Mount, parent: Directory, name: str) -> Directory:
    try:
        return await mount.mkdir(parent, name, _PERMISSIONS)
    except ExistsError:
        found = await mount.lookup_rel(parent, name)
    if not isinstance(found, Directory):
        raise NotDirectoryError(f"{name} is no directory")
    return found


def _is_file(oid: ObjectId) -> bool:
    return oid.hi >> 56 == ObjectType.ARRAY_BYTE


async def _chunk(mount: Mount, oid: ObjectId) -> int:
    return max(mount.defaults.chunk_size, await extents.longest(mount, mount.io(oid)))


def _below(
    tops: Sequence[ObjectId], inside: Mapping[ObjectId, Collection[ObjectId]]
) -> Iterator[ObjectId]:
    seen, left = set(tops), list(tops)
    while left:
        oid = left.pop()
        yield oid
        new = set(inside.get(oid, ())) - seen
        seen |= new
        left += new


async def _named_by(mount: Mount, oid: ObjectId) -> set[ObjectId]:
    """The objects that a directory names, as far as it can be read."""
    place = Place(mount.io(oid), str(oid).encode())
    directory = Directory(mount, None, place, Entry(mode=_DIRECTORY, oid=oid))
    named = set()
    try:
        async for name in mount.readdir(directory):
            with mount._operation(None) as call:
                raw = await entries.fetch_raw(directory.at(encode_name(name)), call)
            entry = None if raw is None else guess(raw)
            if entry is not None:
                named.add(entry.oid)
    except UNREADABLE:
        pass
    return named

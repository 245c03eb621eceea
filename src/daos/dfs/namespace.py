"""Names made and taken away: files, directories, symlinks. Pure decisions over `entries`.

What is created is one conditional request, so that of several creators of a name one wins, and the
others hear of it, or open what it made. Removing asks what there is, takes the entry away if it is
still that, which decides who of several removed it, and gives up the object last: a crash in
between leaves an object without a name, which the checker finds. A directory is looked into once
more before that: what was put there in between brings its entry back.

Source: DAOS src/client/dfs/obj.c dfs_open, dfs_remove, mkdir. Ours: the entry goes first
"""

from __future__ import annotations

import os
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from daos.base.errors import (
    BusyError,
    DaosError,
    ExistsError,
    InvalidError,
    NotFoundError,
)
from daos.base.ids import ObjectId
from daos.client.execute import execute
from daos.client.objectio import ObjectIo
from daos.dfs import entries, marks, xattrs
from daos.dfs.attributes import check_id
from daos.dfs.classes import check_chunk, chunk_of, class_of, parse_class
from daos.dfs.entries import Found, Place
from daos.dfs.errors import IsDirectoryError, LoopError, NotDirectoryError, NotEmptyError
from daos.dfs.layout import (
    PATH_MAX,
    PERMISSIONS,
    Entry,
    Kind,
    check_name,
    encode_name,
)
from daos.dfs.lookup import node_of
from daos.dfs.node import Directory, File, Symlink
from daos.object import core

if TYPE_CHECKING:
    from daos.client.session import Call
    from daos.dfs.mount import Mount
    from daos.dfs.node import Node

# A call meets a name that comes and goes, or changes, again: so often, and then it gives up.
_ATTEMPTS: Final = 64
_REMOVED: Final = b".dfs-removed-"  # and a token: what can't have its name back


class Wanted(NamedTuple):
    """What the creator of an entry asks for."""

    mode: int = 0o644
    oclass: str | int | None = None
    chunk_size: int | None = None
    uid: int | None = None
    gid: int | None = None


class Force(Enum):
    """How a directory is removed with all below it."""

    ALL = "all"  # all together have the time of the call
    EACH = "each"  # each entry has the client's timeout, all together what they take


class Spot(NamedTuple):
    """A name in a directory, whether there is an entry or not."""

    directory: Directory
    place: Place


def spot(mount: Mount, parent: Node, name: str | bytes) -> Spot:
    """Raises: NotDirectoryError, InvalidError, NameTooLongError."""
    directory = check_parent(mount, parent)
    return Spot(directory, directory.at(check_name(name)))


def check_parent(mount: Mount, parent: Node) -> Directory:
    """Itself. Raises: NotDirectoryError, InvalidError (of another mount)."""
    if not isinstance(parent, Directory):
        raise NotDirectoryError(f"{parent!r} is no directory")
    if parent.mount is not mount:
        raise InvalidError(f"{parent!r} is of another mount")
    return parent


async def open_file(mount: Mount, at: Spot, flags: int, wanted: Wanted, call: Call) -> File:
    """Open or make a regular file; flags of `os.open`, which were checked.

    Raises: InvalidError, ExistsError (O_EXCL), NotFoundError, IsDirectoryError, LoopError (a
            symlink)
    Cost:   one request; two if O_CREAT finds a file
    """
    directory, place = at
    for _ in range(_ATTEMPTS):
        if flags & os.O_CREAT:
            made = await new(mount, directory, Kind.FILE, wanted, call=call)
            try:
                await entries.insert(place, made, call)
            except ExistsError:
                if flags & os.O_EXCL:
                    raise _exists(place) from None
            else:
                return File(mount, directory, place, made.entry, flags)
        found = await entries.fetch(place, call)
        if found is not None:
            return await _open_found(mount, at, found, flags, call)
        if not flags & os.O_CREAT:
            raise NotFoundError(f"there is no {place}")
    raise BusyError(f"{place} comes and goes: {_ATTEMPTS} attempts to open it failed")


async def _open_found(mount: Mount, at: Spot, found: Found, flags: int, call: Call) -> File:
    directory, place = at
    node = node_of(mount, directory, place, found, flags)
    match node:
        case File():
            if flags & os.O_TRUNC:
                await node.array.resize(0, timeout=mount.left(call))
            return node
        case Directory():
            raise IsDirectoryError(f"{place} is a directory")
        case _:
            raise LoopError(f"{place} is a symlink; follow it by lookup")


async def mkdir(mount: Mount, at: Spot, wanted: Wanted, call: Call) -> Directory:
    """Make a directory. Raises: InvalidError, ExistsError.

    Cost: one request; its object is made with its first entry
    """
    directory, place = at
    made = await new(mount, directory, Kind.DIRECTORY, wanted, call=call)
    await _insert(place, made, call)
    return Directory(mount, directory, place, made.entry)


async def symlink(
    mount: Mount, at: Spot, target: str | bytes, wanted: Wanted, call: Call
) -> Symlink:
    """Make a symlink. Raises: InvalidError, ExistsError. Cost: one request."""
    directory, place = at
    value = check_target(target)
    made = await new(mount, directory, Kind.SYMLINK, wanted, call=call, target=value)
    await _insert(place, made, call)
    return Symlink(mount, directory, place, made.entry, value)


def check_target(target: str | bytes) -> bytes:
    """What a symlink holds. Raises: InvalidError."""
    value = encode_name(target)
    if not 0 < len(value) < PATH_MAX or b"\0" in value:
        raise InvalidError(f"a symlink's target has 1 to {PATH_MAX - 1} bytes, no NUL")
    return value


async def remove(
    mount: Mount, at: Spot, kind: Kind | None, call: Call, *, force: Force | None = None
) -> ObjectId:
    """Take a name away, then what it names; the object's id.

    `kind`: DIRECTORY asks for a directory (rmdir), FILE for anything else (unlink), None for
    whatever it is. `force`: with all that is below it.

    Atomicity: the entry goes at once; what `force` removes below it went before, name by name
    Raises:    NotFoundError, NotDirectoryError, IsDirectoryError, NotEmptyError, BusyError,
               DeadlineError (somebody moves it)
    Cost:      the entry is fetched, and punched if it is still the same; a directory is asked for
               an entry of each shard; then the object, a request for each of its shards
    """
    for _ in range(_ATTEMPTS):
        found = await marks.unmarked(mount, at.place, call)
        if found is None:
            raise NotFoundError(f"there is no {at.place}")
        await _check_removable(mount, at, kind, found.entry, call, force=force)
        if force is Force.EACH:
            call = mount.renewed(call)
        kept = found
        if found.entry.kind is Kind.DIRECTORY and force is None:
            kept = replace(found, values=await xattrs.values(at.place, call))
        if await entries.punch(at.place, call, unchanged_since=found.epoch):
            await _look_again(mount, at, kept, call, force=force)
            await destroy(mount, found.entry, call)
            return found.entry.oid
    raise BusyError(f"{at.place} changes all the time: {_ATTEMPTS} attempts to remove it failed")


async def _check_removable(
    mount: Mount, at: Spot, kind: Kind | None, entry: Entry, call: Call, *, force: Force | None
) -> None:
    directory, place = at
    if kind is Kind.DIRECTORY and entry.kind is not Kind.DIRECTORY:
        raise NotDirectoryError(f"{place} is no directory")
    if kind is not None and kind is not Kind.DIRECTORY and entry.kind is Kind.DIRECTORY:
        raise IsDirectoryError(f"{place} is a directory")
    if entry.kind is Kind.DIRECTORY:
        if force is not None:
            await _empty(mount, Directory(mount, directory, place, entry), call, force)
        elif await has_entries(mount.io(entry.oid), call):
            raise NotEmptyError(f"{place} is not empty")


async def _look_again(
    mount: Mount, at: Spot, found: Found, call: Call, *, force: Force | None
) -> None:
    """Of a directory whose entry is gone: what came into it before that.

    Raises: NotEmptyError (there is something: the entry is back, under another name where its own
            was taken)
    """
    directory, place = at
    if found.entry.kind is not Kind.DIRECTORY:
        return
    removed = Directory(mount, directory, place, found.entry)
    if force is not None:
        await _empty(mount, removed, call, force)
    elif await has_entries(removed.io, call):
        try:
            await entries.insert(place, found, call)
        except ExistsError:
            aside = directory.at(_REMOVED + mount.new_token().hex().encode())
            await entries.insert(aside, found, call)
            raise NotEmptyError(
                f"{place} is not empty, and its name was taken: it is {aside} now"
            ) from None
        raise NotEmptyError(f"{place} is not empty")


async def destroy(mount: Mount, entry: Entry, call: Call) -> None:
    """Give up the object of an entry that is gone. Cost: a request for each of its shards."""
    if entry.kind is not Kind.SYMLINK:
        await execute(mount.io(entry.oid).punch_all(call=call))


async def has_entries(io: ObjectIo, call: Call) -> bool:
    """Whether a directory has an entry. Cost: a request for each shard, until one has."""
    for shard in core.shards(io.layout):
        anchor, eof = b"", False
        while not eof:
            page = await io.client.list_dkeys(shard, anchor=anchor, limit=1, call=call)
            if page.keys:
                return True
            anchor, eof = page.anchor, page.eof
    return False


async def _empty(mount: Mount, directory: Directory, call: Call, force: Force) -> None:
    """Remove all below a directory, the deepest first; what goes is gone.

    The way down is a list: it may be longer than calls can be nested.
    """
    way = [(directory, mount.readdir(directory))]
    while way:
        here, names = way[-1]
        if await names.turn():
            at = spot(mount, here, names.pop())
        else:
            way.pop()
            if not way:
                return
            at = Spot(way[-1][0], here.place)
        full = await _taken(mount, at, mount.renewed(call) if force is Force.EACH else call)
        if full is not None:
            way.append((full, mount.readdir(full)))


async def _taken(mount: Mount, at: Spot, call: Call) -> Directory | None:
    """Remove an entry; what could not be: a directory that is not empty."""
    directory, place = at
    try:
        await remove(mount, at, None, call)
    except NotFoundError:
        return None  # another one was faster
    except NotEmptyError:
        found = await entries.fetch(place, call)
        if found is not None and found.entry.kind is Kind.DIRECTORY:
            return Directory(mount, directory, place, found.entry)
    return None


async def _insert(place: Place, made: Found, call: Call) -> None:
    try:
        await entries.insert(place, made, call)
    except ExistsError:
        raise _exists(place) from None


async def new(
    mount: Mount,
    parent: Directory,
    kind: Kind,
    wanted: Wanted,
    *,
    call: Call,
    target: bytes = b"",
) -> Found:
    """What is written for something new. Raises: InvalidError, NotSupportedError (class)."""
    if not isinstance(wanted.mode, int) or wanted.mode & ~PERMISSIONS:
        raise InvalidError(f"mode {wanted.mode!r} is not permissions alone, such as 0o644")
    inherits = parent.entry
    class_id = class_of(kind, parse_class(wanted.oclass), inherits, mount.defaults)
    chunk = check_chunk(wanted.chunk_size)
    oid = await mount.new_oid(kind, class_id, call)
    now = mount.now_ns()
    is_directory = kind is Kind.DIRECTORY
    entry = Entry(
        mode=kind.value | (0o777 if kind is Kind.SYMLINK else wanted.mode),
        oid=oid,
        mtime_ns=now,
        ctime_ns=now,
        chunk_size=(
            chunk_of(chunk, inherits, mount.defaults)
            if kind is Kind.FILE
            else (chunk or inherits.chunk_size) * is_directory
        ),
        oclass=inherits.oclass * is_directory,
        uid=mount.uid if wanted.uid is None else check_id("uid", wanted.uid),
        gid=mount.gid if wanted.gid is None else check_id("gid", wanted.gid),
        value_len=len(target),
    )
    return Found(entry, mount.epoch, target)


def _exists(place: Place) -> DaosError:
    return ExistsError(f"{place} exists")

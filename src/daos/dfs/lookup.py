"""From a path to what it names: a request for each component, symlinks on the way followed.

`..` goes back to the directory that the walk came through, and from the root to the root. The
target of a symlink begins where the symlink stands, an absolute one at the root of the mount.

Source: DAOS src/client/dfs/lookup.c dfs_lookup. Ours: `.` and `..` anywhere, as POSIX has them; a
file in the middle of a path is ENOTDIR, there ENOENT
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from daos.base.errors import InvalidError, NotFoundError
from daos.dfs import attributes, entries
from daos.dfs.entries import Found, Place
from daos.dfs.errors import LoopError, NameTooLongError, NotDirectoryError
from daos.dfs.layout import LINKS_MAX, NAME_MAX, PATH_MAX, Kind, decode_name, encode_name
from daos.dfs.node import Directory, File, Node, Symlink

if TYPE_CHECKING:
    from daos.client.session import Call
    from daos.dfs.mount import Mount


async def walk(
    mount: Mount, start: Directory, path: str | bytes, call: Call, *, follow: bool
) -> Node:
    """What `path` names, from `start` or, if it is absolute, from the root.

    Raises: NotFoundError, NotDirectoryError, LoopError, NameTooLongError, InvalidError
    """
    raw = _check(encode_name(path))
    # What is still to be walked, the next component last.
    left, node = _components(raw), start if raw[:1] != b"/" else mount.root
    reached: Node = node
    links = 0
    while left:
        name = left.pop()
        if not isinstance(reached, Directory):
            raise NotDirectoryError(f"{reached.name!r} in {path!r} is no directory")
        node = reached
        if name in (b"", b"."):
            continue
        if name == b"..":
            reached = node.parent or node
            continue
        reached = await child(mount, node, name, call)
        if isinstance(reached, Symlink) and (left or follow):
            links += 1
            if links > LINKS_MAX:
                raise LoopError(f"more than {LINKS_MAX} symlinks in {path!r}")
            target = encode_name(reached.target)
            left += _components(target)
            reached = mount.root if target[:1] == b"/" else node
    return reached


async def refresh(node: Node, call: Call) -> None:
    """See to it that the root's entry is of now: a walk brings that of all others."""
    if node.parent is None:
        node.entry = await attributes.fetch_known(node.place, node.oid, call)


async def child(mount: Mount, parent: Directory, name: bytes, call: Call) -> Node:
    """What a name of a directory names, itself. Raises: NotFoundError. Cost: one request."""
    if len(name) > NAME_MAX:
        raise NameTooLongError(f"a name of {len(name)} bytes; at most {NAME_MAX}")
    place = parent.at(name)
    found = await entries.fetch(place, call)
    if found is None:
        raise NotFoundError(f"there is no {decode_name(name)!r} in {parent.name!r}")
    return node_of(mount, parent, place, found)


def node_of(
    mount: Mount, parent: Directory | None, place: Place, found: Found, flags: int | None = None
) -> Node:
    """The node of an entry. `flags`: how a file is opened; None: as the mount is."""
    match found.entry.kind:
        case Kind.DIRECTORY:
            return Directory(mount, parent, place, found.entry)
        case Kind.SYMLINK:
            return Symlink(mount, parent, place, found.entry, found.target)
        case Kind.FILE:
            if flags is None:
                flags = os.O_RDWR if mount.writable else os.O_RDONLY
            return File(mount, parent, place, found.entry, flags)


def _components(raw: bytes) -> list[bytes]:
    """Backwards. A slash at the end asks for a directory: it leaves an empty component there."""
    return raw.split(b"/")[::-1]


def _check(raw: bytes) -> bytes:
    if not raw or b"\0" in raw:
        raise InvalidError("a path is not empty, and has no NUL in it")
    if len(raw) >= PATH_MAX:
        raise NameTooLongError(f"a path of {len(raw)} bytes; less than {PATH_MAX}")
    return raw

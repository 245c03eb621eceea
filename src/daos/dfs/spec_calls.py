"""What fsspec asks of paths in one call, and the asynchronous face in several.

Source: ours; fsspec.implementations.local, whose dictionaries these are like
"""

from __future__ import annotations

import contextlib
import posixpath
import stat
from typing import Any

from daos.base.errors import ExistsError
from daos.dfs.attributes import Stat
from daos.dfs.errors import IsDirectoryError, NotDirectoryError, NotEmptyError
from daos.dfs.filesystem import FileSystem as Core
from daos.dfs.resolve import NOTHING

Info = dict[str, Any]  # as fsspec has them: text, numbers, booleans by name


async def describe(core: Core, path: str) -> Info:
    """Of what a symlink leads to, if it does. Raises: FileNotFoundError."""
    own = await core.lstat(path)
    target = own
    if stat.S_ISLNK(own.st_mode):
        with contextlib.suppress(*NOTHING):
            target = await core.stat(path)
    return _info(path, own, target)


async def listing(core: Core, path: str) -> list[Info]:
    """Of each entry of a directory; of a file itself. A symlink to a directory is "other"."""
    found = []
    try:
        async for entry in core.scandir(path):
            target = entry.target or entry.own
            if entry.is_symlink() and stat.S_ISDIR(target.st_mode):
                target = entry.own
            found.append(_info(entry.path, entry.own, target))
    except NotDirectoryError:
        return [await describe(core, path)]
    return found


async def names(core: Core, path: str) -> list[str]:
    """The paths of a directory's entries; of a file its own."""
    try:
        found: list[str] = await core.listdir(path)
    except NotDirectoryError:
        await core.lstat(path)
        return [path]
    return [posixpath.join(path, each) for each in found]


def _info(path: str, own: Stat, found: Stat) -> Info:
    kind = "other"
    if stat.S_ISDIR(found.st_mode):
        kind = "directory"
    elif stat.S_ISREG(found.st_mode):
        kind = "file"
    return {
        "name": path,
        "size": found.st_size if kind == "file" else 0,
        "type": kind,
        "islink": stat.S_ISLNK(own.st_mode),
        "mode": found.st_mode,
        "uid": found.st_uid,
        "gid": found.st_gid,
        "mtime": found.st_mtime,
        "ino": found.st_ino,
        "nlink": found.st_nlink,
    }


async def touch(core: Core, path: str, *, truncate: bool) -> None:
    """Make an empty file, or set the times of what is there, which `truncate` empties."""
    try:
        await core.touch(path, exist_ok=False)
    except ExistsError:
        if truncate:
            await core.truncate(path, 0)
        await core.touch(path)


async def remove_tree(core: Core, path: str) -> None:
    """A file, a symlink itself, or a directory with all below it; of the root what is in it."""
    if path == "/":
        for name in await core.listdir(path):
            await remove_tree(core, f"/{name}")
        return
    try:
        await core.remove(path)
    except IsDirectoryError:
        await core.rmtree(path)


async def remove_shallow(core: Core, path: str) -> None:
    """A file, or a directory unless something is left in it."""
    try:
        await core.remove(path)
    except IsDirectoryError:
        with contextlib.suppress(NotEmptyError):
            await core.rmdir(path)

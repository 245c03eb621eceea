"""Entries put right that say something wrong of their objects.

Source: DAOS src/client/dfs/obj.c dfs_obj_fix_type, dfs_file_update_chunk_size
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from daos.base.errors import CorruptError, InvalidError, NotFoundError
from daos.dfs import attributes, entries
from daos.dfs.classes import check_chunk
from daos.dfs.entries import Place
from daos.dfs.errors import NotDirectoryError
from daos.dfs.layout import Entry, check_name, guess
from daos.dfs.node import Directory, File

if TYPE_CHECKING:
    from daos.dfs.mount import Mount


async def fix_type(mount: Mount, path: str) -> bool:
    """Let an entry be of the type that its object has, mode 0700; whether it was of another.

    Raises: NotFoundError, InvalidError (the object's id tells of no type), CorruptError (more is
            wrong than the type)
    """
    place = await _place(mount, path)
    with mount._operation(None, write=True) as call:
        raw = await entries.fetch_raw(place, call)
        if raw is None:
            raise NotFoundError(f"there is no {path!r}")
        try:
            Entry.parse(raw)
        except CorruptError:
            pass
        else:
            return False
        guessed = guess(raw)
        if guessed is None:
            raise InvalidError(f"{path}: the id of its object is that of no file or directory")
        mended = Entry.parse(guessed.mode.to_bytes(4, "little") + raw[4:])
        await entries.change(place, mended, {"mode"}, call)
    return True


async def fix_chunk_size(mount: Mount, path: str, size: int) -> None:
    """Let a file be cut into chunks of this size; none of its data is moved.

    Raises: NotFoundError, InvalidError (no file; a size that is none)
    """
    if not check_chunk(size):
        raise InvalidError("a chunk has at least one byte")
    file = await mount.lookup(path, follow=False)
    if not isinstance(file, File):
        raise InvalidError(f"{path} is no file: files have chunks")
    with mount._operation(None, write=True) as call:
        await attributes.write_fields(mount, file.place, file.entry, {"chunk_size": size}, call)


async def _place(mount: Mount, path: str) -> Place:
    above, name = os.path.split(path.rstrip("/"))
    parent = await mount.lookup(above or "/")
    if not isinstance(parent, Directory):
        raise NotDirectoryError(f"{above} is no directory")
    return parent.at(check_name(name))

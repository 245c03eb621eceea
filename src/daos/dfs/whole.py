"""The content of a file, by path, at once: a reader sees all of what was there, or all of the new.

    await write(fs, "/run/result", data, replace=True)
    draft = await Draft.begin(fs, "/run/large")        for content that comes in pieces
    await draft.file.write(0, piece)
    await draft.commit(replace=True)                   or discard()

What is new is filled before it has a name (`publish`). What replaces gets a name beside it,
`.dfs-draft-` and 16 digits, and is moved over the old, which may be a symlink: that goes, not what
it leads to. A crash leaves the old content, and at most that draft.

Source: ours
"""

from __future__ import annotations

import contextlib
import posixpath
from typing import Final, Self

from daos.base.errors import BusyError, DaosError
from daos.client.file import FileMode
from daos.client.memory import BufferLike
from daos.dfs import moving, publish, resolve
from daos.dfs.errors import IsDirectoryError
from daos.dfs.filesystem import FileSystem
from daos.dfs.lookup import refresh
from daos.dfs.node import File

PIECE: Final = 8 << 20  # bytes of a large file at a time
READ: Final = FileMode.parse("rb")
_ATTEMPTS: Final = 8  # to read what is replaced all the time
_MAKE: Final = FileMode.parse("xb")


class Draft:
    """A file that has a name of its own until it is complete."""

    def __init__(self, fs: FileSystem, path: str, name: str, file: File) -> None:
        self._fs = fs
        self._path = path
        self.name = name
        self.file = file

    @classmethod
    async def begin(cls, fs: FileSystem, path: str) -> Self:
        """Raises: FileNotFoundError, NotADirectoryError (the directory), AccessError."""
        name = draft_name(fs, path)
        return cls(fs, path, name, await fs.open_node(name, _MAKE))

    async def commit(self, *, replace: bool) -> None:
        """Give it its name. Raises: FileExistsError (not `replace`), IsADirectoryError."""
        await settle(self._fs, self.name, self._path, replace=replace)

    async def discard(self) -> None:
        """Remove it."""
        await self._fs.remove(self.name)


async def write(fs: FileSystem, path: str, data: BufferLike, *, replace: bool) -> None:
    """Make `data` the content of a file.

    Atomicity: all or nothing
    Raises:    FileExistsError (not `replace`), IsADirectoryError, FileNotFoundError, NoSpaceError
    Cost:      lookup, and as `publish.file`; to replace something one request more, and a move
    """
    name = draft_name(fs, path)
    with fs._naming(None, path, write=True) as call:
        where = await resolve.end(fs.mount, path, call, error=IsDirectoryError("a directory"))
        await refresh(where.parent, call)
        new = publish.Whole(mtime_ns=fs.mount.now_ns(), xattrs={})
        beside = posixpath.basename(name) if replace else None
        here = (fs.mount, where.parent, where.name)
        if await publish.file(*here, data, new, beside=beside):
            return
    await settle(fs, name, path, replace=True)


async def copy(fs: FileSystem, source: str, target: str, *, replace: bool) -> None:
    """Give `target` the content of `source`.

    Raises: as `write`; IsADirectoryError (`source`), BusyError (it was replaced meanwhile)
    """
    file = await fs.open_node(source, READ)
    size = await file.size()
    if size <= PIECE:
        await write(fs, target, await read(fs, source, None, None), replace=replace)
        return
    draft = await Draft.begin(fs, target)
    try:
        for offset in range(0, size, PIECE):
            await draft.file.write(offset, await file.read(offset, PIECE))
        await check_same(fs, source, file)
    except DaosError:
        await draft.discard()
        raise
    await draft.commit(replace=replace)


async def read(fs: FileSystem, path: str, start: int | None, end: int | None) -> bytes:
    """The bytes of a file from `start` to `end`, which count from its end where they are negative.

    Of a file that is replaced meanwhile all are of one content: the data of the old one goes, so
    what came by several requests, or is less than expected, counts if the name is still the file's.

    Raises: FileNotFoundError, IsADirectoryError, BusyError (it is replaced all the time)
    Cost:   lookup, a request a chunk; what is more than one: a second lookup; a size more, unless
            at most `PIECE` bytes are asked for
    """
    for _ in range(_ATTEMPTS):
        file = await fs.open_node(path, READ)
        data, sure = await _read(file, start or 0, end)
        if sure or (await fs.open_node(path, READ)).oid == file.oid:
            return data
    raise BusyError(f"{path!r} is replaced all the time")


async def check_same(fs: FileSystem, path: str, file: File) -> None:
    """Raises: BusyError (the path names another file by now)."""
    if (await fs.open_node(path, READ)).oid != file.oid:
        raise BusyError(f"{path!r} was replaced while it was read")


async def _read(file: File, first: int, last: int | None) -> tuple[bytes, bool]:
    """The bytes, and whether one request gave all of them."""
    if last is None or first < 0 or last < 0 or last - first > PIECE:
        first, last, _ = slice(first, last).indices(await file.size())
    count = max(0, last - first)
    data = await file.read(first, count)
    chunk = file.array.chunk_size
    return data, len(data) == count > 0 and first // chunk == (last - 1) // chunk


async def settle(fs: FileSystem, name: str, path: str, *, replace: bool) -> None:
    """Move a draft to where it belongs, or remove it."""
    try:
        with fs._naming(None, path, write=True) as call:
            old = await resolve.end(fs.mount, name, call)
            new = await resolve.end(fs.mount, path, call, error=IsDirectoryError("a directory"))
            await moving.move(fs.mount, old.spot, new.spot, call, may_replace=replace)
    except DaosError:
        with contextlib.suppress(DaosError):
            await fs.remove(name)
        raise


def draft_name(fs: FileSystem, path: str) -> str:
    """A name beside `path` that nobody has."""
    number = fs.mount._session.rng.getrandbits(64)
    return posixpath.join(posixpath.dirname(path), f".dfs-draft-{number:016x}")

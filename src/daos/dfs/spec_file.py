"""Files that `DaosFileSystem` opens: of `io` for threads, and one to be awaited.

Source: ours; https://filesystem-spec.readthedocs.io/en/latest/api.html
"""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Self

from daos.client.file import ArrayFile
from daos.client.memory import BufferLike
from daos.client.portal import Portal
from daos.dfs import whole
from daos.dfs.file import AsyncFile

if TYPE_CHECKING:
    from daos.dfs.spec import DaosFileSystem
    from daos.dfs.sync import FileSystem


class _Named:
    """What programs ask of a file beyond `io`."""

    fs: DaosFileSystem
    path: str
    blocksize: int

    def _name(self, fs: DaosFileSystem, path: str, blocksize: int) -> None:
        self.fs, self.path, self.blocksize = fs, path, blocksize

    @property
    def size(self) -> int:
        """Bytes in the file now; not those in a buffer."""
        size: int = self.fs.size(self.path)
        return size


class Reader(_Named, io.BufferedReader):
    """Opened with "rb"."""

    def __init__(self, fs: DaosFileSystem, path: str, raw: ArrayFile, blocksize: int) -> None:
        super().__init__(raw, blocksize)
        self._name(fs, path, blocksize)


class Updater(_Named, io.BufferedRandom):
    """Opened with "+"."""

    def __init__(self, fs: DaosFileSystem, path: str, raw: ArrayFile, blocksize: int) -> None:
        super().__init__(raw, blocksize)
        self._name(fs, path, blocksize)


class Writer(_Named, io.BufferedWriter):
    """Opened with "wb", "xb" or "ab"."""

    def __init__(self, fs: DaosFileSystem, path: str, raw: ArrayFile, blocksize: int) -> None:
        super().__init__(raw, blocksize)
        self._name(fs, path, blocksize)


class DraftWriter(Writer):
    """Opened in a transaction: it has the name of a draft until that ends."""

    def drafts(self, files: FileSystem, draft: str, *, replace: bool) -> None:
        """Its name until `commit`."""
        self._files, self._draft, self._replace = files, draft, replace

    def commit(self) -> None:
        """Give it its name. Raises: FileExistsError (opened with "x")."""
        self.close()
        settle = partial(whole.settle, replace=self._replace)
        self._files._portal.call(settle, self._files._core, self._draft, self.path)

    def discard(self) -> None:
        """Remove it."""
        self.close()
        self._files.remove(self._draft)


class StreamedFile:
    """Made by `open_async`: `daos.aio`'s file, for a coroutine of any loop."""

    def __init__(self, portal: Portal, file: AsyncFile, path: str, size: int | None) -> None:
        self._portal = portal
        self._file = file
        self.path = path
        self.mode = file.mode
        self.size = size  # when it was opened to be read

    async def read(self, length: int = -1) -> bytes:
        """At most `length` bytes at the position, all that follow without it."""
        return await self._portal.hop(partial(self._file.read, length))

    async def write(self, data: BufferLike) -> int:
        """Write all of it; durable on return. How many bytes."""
        return await self._portal.hop(partial(self._file.write, data))

    async def seek(self, offset: int, whence: int = 0) -> int:
        """Move the position; where it is."""
        return await self._portal.hop(partial(self._file.seek, offset, whence))

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._file.closed

    async def flush(self, force: bool = False) -> None:
        """Nothing is left to do: what was written is durable."""
        await self._portal.hop(self._file.flush)

    async def close(self) -> None:
        """Idempotent."""
        await self._portal.hop(self._file.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

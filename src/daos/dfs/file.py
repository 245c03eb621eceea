"""An open file for asyncio: bytes, a position, no buffer.

    async with fs.open("/data", "r+b") as file:
        await file.seek(-16, os.SEEK_END)
        trailer = await file.read()

The methods are those of `io.RawIOBase`, to be awaited; what is written is durable once `write`
returns. With "a" each write goes behind the end, wherever other writers have moved it. Whoever
wants text or a buffer has both in the blocking face.

Two tasks that use one `AsyncFile` share its position, as two threads do with one descriptor.

Source: ours; https://docs.python.org/3/library/io.html#io.RawIOBase
"""

from __future__ import annotations

import io
import os

from daos.base.errors import InvalidError
from daos.client.file import FileMode
from daos.client.memory import BufferLike, readable, writable
from daos.client.session import Handle
from daos.dfs.node import File


class AsyncFile(Handle):
    """Made by `fs.open`. No service knows of it: closing it asks nobody."""

    def __init__(self, parent: Handle, file: File, mode: FileMode, name: str | bytes) -> None:
        super().__init__(parent._session, parent, writable=mode.writable)
        self.name = name
        self.mode = str(mode)
        self.node = file
        self._mode = mode
        self._position = 0

    async def read(self, size: int | None = -1, *, timeout: float | None = None) -> bytes:
        """At most `size` bytes at the position, all that follow without it; b"" at the end."""
        self._check(self._mode.readable, "not readable")
        if size is None or size < 0:
            size = max(0, await self.node.size(timeout=timeout) - self._position)
        data = await self.node.read(self._position, size, timeout=timeout)
        self._position += len(data)
        return data

    async def readinto(self, into: BufferLike, *, timeout: float | None = None) -> int:
        """Fill memory from the position on; how many bytes, 0 at the end."""
        self._check(self._mode.readable, "not readable")
        count = await self.node.read(self._position, writable(into).nbytes, into, timeout=timeout)
        self._position += count
        return count

    async def write(self, data: BufferLike, *, timeout: float | None = None) -> int:
        """Write all of it at the position, or behind the end in mode "a"; how many bytes.

        Raises: io.UnsupportedOperation, NoSpaceError
        """
        self._check(self._mode.writable, "not writable")
        count = readable(data).nbytes
        if self._mode.appends:
            self._position = await self.node.append(data, timeout=timeout)
        else:
            await self.node.write(self._position, data, timeout=timeout)
        self._position += count
        return count

    async def seek(
        self, offset: int, whence: int = os.SEEK_SET, *, timeout: float | None = None
    ) -> int:
        """Move the position; where it is. Raises: InvalidError before the beginning."""
        self._check(True, "")
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += await self.node.size(timeout=timeout)
        elif whence != os.SEEK_SET:
            raise InvalidError(f"whence must be 0, 1 or 2, not {whence}")
        if offset < 0:
            raise InvalidError(f"position {offset} is before the beginning")
        self._position = offset
        return offset

    def tell(self) -> int:
        """The position."""
        self._check(True, "")
        return self._position

    async def truncate(self, size: int | None = None, *, timeout: float | None = None) -> int:
        """Cut or extend the file to `size`, or to the position; the position stays."""
        self._check(self._mode.writable, "not writable")
        size = self._position if size is None else size
        await self.node.truncate(size, timeout=timeout)
        return size

    async def flush(self) -> None:
        """Nothing is left to do: what was written is durable."""
        self._check(True, "")

    def readable(self) -> bool:
        """Whether the mode is one to read."""
        return self._mode.readable

    def seekable(self) -> bool:
        """Always."""
        return True

    def _check(self, allowed: bool, what: str) -> None:
        if self._closed:
            raise ValueError("I/O operation on closed file")
        if not allowed:
            raise io.UnsupportedOperation(what)

    def __repr__(self) -> str:
        return f"<AsyncFile {self.name!r} {self.mode!r}>"

"""The content of files, by path, for asyncio: `open`, and what reads and writes all at once.

Source: https://docs.python.org/3/library/functions.html#open, pathlib's read_bytes and its like
"""

from __future__ import annotations

import os
from typing import Final

from daos.base.errors import ExistsError, InvalidError, NotFoundError
from daos.client.file import FileMode
from daos.client.memory import BufferLike
from daos.client.session import Opening
from daos.dfs import resolve
from daos.dfs.attributes import SetAttr
from daos.dfs.errors import IsDirectoryError
from daos.dfs.file import AsyncFile
from daos.dfs.namespace import Wanted
from daos.dfs.node import File
from daos.dfs.resolve import ByPath, StrPath

_FLAGS: Final = {
    "r": 0,
    "w": os.O_CREAT | os.O_TRUNC,
    "x": os.O_CREAT | os.O_EXCL,
    "a": os.O_CREAT,
}


class Content(ByPath):
    """Calls on the content of files."""

    def open(
        self,
        path: StrPath,
        mode: str = "rb",
        *,
        permissions: int = 0o644,
        oclass: str | int | None = None,
        chunk_size: int | None = None,
        timeout: float | None = None,
    ) -> Opening[AsyncFile]:
        """Open a file of bytes: mode as the built-in `open`, with "b".

        What is made gets `permissions`, a class and a chunk size; by default its directory's.

        Raises: FileNotFoundError, FileExistsError ("x"), IsADirectoryError, InvalidError (mode)
        """
        parsed = FileMode.parse(mode)
        if not parsed.binary:
            raise InvalidError(f'asynchronous files are of bytes: "{mode}b", not {mode!r}')

        async def open() -> AsyncFile:
            wanted = Wanted(permissions, oclass, chunk_size)
            file = await self.open_node(path, parsed, wanted, timeout=timeout)
            opened = AsyncFile(self, file, parsed, resolve.given(path))
            if parsed.appends:
                await opened.seek(0, os.SEEK_END, timeout=timeout)
            return opened

        return Opening(open)

    async def open_node(
        self,
        path: StrPath,
        mode: FileMode,
        wanted: Wanted | None = None,
        *,
        timeout: float | None = None,
    ) -> File:
        """What `open` opens, without a position."""
        access = os.O_RDWR if mode.update else os.O_RDONLY if mode.kind == "r" else os.O_WRONLY
        with self._naming(timeout, path, write=mode.writable) as call:
            flags = access | _FLAGS[mode.kind]
            return await resolve.open_file(self.mount, path, flags, wanted or Wanted(), call)

    async def read_bytes(self, path: StrPath, *, timeout: float | None = None) -> bytes:
        """The content of a file."""
        with self._naming(timeout, path) as call:
            file = await resolve.open_file(self.mount, path, os.O_RDONLY, Wanted(), call)
            size = await file.array._size(call)
            return await file.read(0, size, timeout=self._left(call))

    async def write_bytes(
        self, path: StrPath, data: BufferLike, *, timeout: float | None = None
    ) -> int:
        """Make `data` the content of a file, which is made if it is not there; how many bytes.

        Atomicity: none: a reader may see it cut, or half of the content
        """
        with self._naming(timeout, path, write=True) as call:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            file = await resolve.open_file(self.mount, path, flags, Wanted(), call)
            return await file.write(0, data, timeout=self._left(call))

    async def read_text(
        self,
        path: StrPath,
        encoding: str | None = None,
        errors: str | None = None,
        *,
        timeout: float | None = None,
    ) -> str:
        """The content of a file as text, UTF-8 by default; line ends become "\\n"."""
        data = await self.read_bytes(path, timeout=timeout)
        text = data.decode(encoding or "utf-8", errors or "strict")
        return text.replace("\r\n", "\n").replace("\r", "\n")

    async def write_text(
        self,
        path: StrPath,
        data: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        *,
        timeout: float | None = None,
    ) -> int:
        """Make `data` the content of a file; how many characters. `newline`: what "\\n" becomes."""
        if not isinstance(data, str):
            raise TypeError(f"data must be str, not {type(data).__name__}")
        if newline not in (None, "", "\n", "\r", "\r\n"):
            raise InvalidError(f"illegal newline value: {newline!r}")
        text = data.replace("\n", newline) if newline else data
        raw = text.encode(encoding or "utf-8", errors or "strict")
        await self.write_bytes(path, raw, timeout=timeout)
        return len(data)

    async def touch(
        self,
        path: StrPath,
        mode: int = 0o644,
        exist_ok: bool = True,
        *,
        timeout: float | None = None,
    ) -> None:
        """Make a file that is not there, or set the times of what is. Raises: FileExistsError."""
        with self._naming(timeout, path, write=True) as call:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            try:
                await resolve.open_file(self.mount, path, flags, Wanted(mode), call)
            except (ExistsError, IsDirectoryError):
                if not exist_ok:
                    raise
            else:
                return
            try:
                found = await self._node(path, call)
            except NotFoundError:  # a symlink that leads nowhere
                await resolve.open_file(self.mount, path, flags & ~os.O_EXCL, Wanted(mode), call)
            else:
                await found.setattr(SetAttr(mtime_ns=self.mount.now_ns()), timeout=self._left(call))

    async def truncate(self, path: StrPath, length: int, *, timeout: float | None = None) -> None:
        """Cut or extend a file. Raises: IsADirectoryError, InvalidError (less than nothing)."""
        with self._naming(timeout, path, write=True) as call:
            if length < 0:
                raise InvalidError(f"a file has no {length} bytes")
            found = await self._node(path, call)
            if not isinstance(found, File):
                raise IsDirectoryError("it is a directory")
            await found.truncate(length, timeout=self._left(call))

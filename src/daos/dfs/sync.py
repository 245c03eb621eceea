"""The blocking face of a file system: the names of `filesystem.FileSystem`, and files of `io`.

    with cont.filesystem() as fs, fs.open("/log", "a") as log:
        print("began", file=log)

Any thread may use one `FileSystem`. A child made by fork has the parent's memory but not its loop:
there each call raises NotSupportedError, and what the parent had buffered is not written twice.

Source: ours; https://docs.python.org/3/library/functions.html#open
"""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Callable, Iterator
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, Self, TypeAlias, overload

from daos.base.errors import InvalidError
from daos.client.face import Face, blocking
from daos.client.file import ArrayFile, BinaryFile, FileMode, open_binary, open_text
from daos.client.memory import BufferLike
from daos.client.portal import Portal
from daos.dfs import checker, filesystem
from daos.dfs.checker import Checked, Repair
from daos.dfs.namespace import Wanted
from daos.dfs.node import File
from daos.dfs.path import Path
from daos.dfs.resolve import NOTHING, BytesPath, StrPath, TextPath, given, text_of
from daos.dfs.tree import DirEntry, Visit, walking

if TYPE_CHECKING:
    from daos.client.sync import Container

Core: TypeAlias = filesystem.FileSystem
TextMode: TypeAlias = Literal[
    "r", "rt", "r+", "+r", "r+t", "w", "wt", "w+", "+w", "w+t", "x", "xt", "x+", "a", "at", "a+"
]


def check(
    container: Container, repair: Repair = Repair.NONE, dir_name: str | None = None
) -> Checked:
    """Check the file system of a container that is open "ex": see `checker.check`."""
    return container._portal.call(checker.check, container._core, repair, dir_name)


class _Content:
    """A file as what `ArrayFile` needs of an array."""

    __slots__ = ("_file", "_portal")

    def __init__(self, file: File, portal: Portal) -> None:
        self._file = file
        self._portal = portal

    @property
    def size(self) -> int:
        return self._portal.call(self._file.size)

    def read(self, offset: int, count: int, into: BufferLike, /) -> int:
        return self._portal.call(self._file.read, offset, count, into)

    def write(self, offset: int, data: BufferLike, /) -> int:
        return self._portal.ask(self._file.write, offset, data)

    def append(self, data: BufferLike, /) -> int:
        return self._portal.call(self._file.append, data)

    def resize(self, size: int, /) -> None:
        self._portal.call(self._file.truncate, size)


class Scandir(Iterator[DirEntry]):
    """What `scandir` gives: an iterator that can be closed, as os.scandir's."""

    def __init__(self, fs: Core, portal: Portal, path: StrPath, timeout: float | None) -> None:
        self._pages = fs.pages(path, timeout=timeout)
        self._portal = portal
        self._page = self._turn()  # what is wrong with the path is told at once

    def __next__(self) -> DirEntry:
        for entry in self._page:
            return entry
        self._page = self._turn()
        return next(self._page)

    def _turn(self) -> Iterator[DirEntry]:
        return iter(self._portal.call(_next_page, self._pages))

    def close(self) -> None:
        """Give no more. Idempotent."""
        self._page = iter(())
        self._portal.call(self._pages.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()


async def _next_page(pages: AsyncGenerator[list[DirEntry]]) -> list[DirEntry]:
    return await anext(pages, [])


class FileSystem(Face[Core]):
    """A file system of one container; `cont.filesystem()` makes it."""

    stat = blocking(Core.stat)
    lstat = blocking(Core.lstat)
    exists = blocking(Core.exists)
    isfile = blocking(Core.isfile)
    isdir = blocking(Core.isdir)
    islink = blocking(Core.islink)
    access = blocking(Core.access)
    statvfs = blocking(Core.statvfs)
    info = blocking(Core.info)
    set_object_class = blocking(Core.set_object_class)
    set_chunk_size = blocking(Core.set_chunk_size)
    mkdir = blocking(Core.mkdir)
    makedirs = blocking(Core.makedirs)
    rmdir = blocking(Core.rmdir)
    remove = blocking(Core.remove)
    unlink = remove
    rmtree = blocking(Core.rmtree)
    rename = blocking(Core.rename)
    replace = rename
    exchange = blocking(Core.exchange)
    symlink = blocking(Core.symlink)
    touch = blocking(Core.touch)
    truncate = blocking(Core.truncate)
    chmod = blocking(Core.chmod)
    chown = blocking(Core.chown)
    utime = blocking(Core.utime)
    getxattr = blocking(Core.getxattr)
    setxattr = blocking(Core.setxattr)
    listxattr = blocking(Core.listxattr)
    removexattr = blocking(Core.removexattr)
    read_bytes = blocking(Core.read_bytes)
    write_bytes = blocking(Core.write_bytes)
    read_text = blocking(Core.read_text)
    write_text = blocking(Core.write_text)

    if TYPE_CHECKING:  # overloads do not pass through a wrapper

        @overload
        def listdir(self, path: BytesPath, *, timeout: float | None = None) -> list[bytes]: ...

        @overload
        def listdir(self, path: TextPath = "/", *, timeout: float | None = None) -> list[str]: ...

        def listdir(self, *args: Any, **kwargs: Any) -> Any: ...  # the overloads say

        @overload
        def readlink(self, path: BytesPath, *, timeout: float | None = None) -> bytes: ...

        @overload
        def readlink(self, path: TextPath, *, timeout: float | None = None) -> str: ...

        def readlink(self, *args: Any, **kwargs: Any) -> Any: ...  # as above

    else:
        listdir = blocking(Core.listdir)
        readlink = blocking(Core.readlink)

    @overload
    def open(
        self,
        path: StrPath,
        mode: TextMode = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        *,
        newline: str | None = None,
        permissions: int = 0o644,
        oclass: str | int | None = None,
        chunk_size: int | None = None,
        timeout: float | None = None,
    ) -> io.TextIOWrapper: ...

    @overload
    def open(
        self,
        path: StrPath,
        mode: str,
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        *,
        newline: str | None = None,
        permissions: int = 0o644,
        oclass: str | int | None = None,
        chunk_size: int | None = None,
        timeout: float | None = None,
    ) -> IO[Any]: ...  # as the built-in: str or bytes, the mode says

    def open(
        self,
        path: StrPath,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        *,
        newline: str | None = None,
        permissions: int = 0o644,
        oclass: str | int | None = None,
        chunk_size: int | None = None,
        timeout: float | None = None,
    ) -> IO[Any] | BinaryFile | io.TextIOWrapper:
        """Open a file, as the built-in `open`; text is UTF-8 by default, the buffer 1 MiB.

        What is made gets `permissions`, a class and a chunk size; by default its directory's. What
        was written is durable after `flush` or `close`. "a": each flush goes behind the end, also
        of what other writers have put there. `timeout` is of the opening.

        Raises: FileNotFoundError, FileExistsError ("x"), IsADirectoryError, InvalidError (mode)
        """
        parsed = FileMode.parse(mode)
        if parsed.binary:
            for what, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
                if value is not None:
                    raise InvalidError(f"binary mode doesn't take an {what} argument")
        elif not buffering:
            raise InvalidError("can't have unbuffered text I/O")
        wanted = Wanted(permissions, oclass, chunk_size)
        file = self._portal.call(self._core.open_node, path, parsed, wanted, timeout=timeout)
        raw = ArrayFile(_Content(file, self._portal), parsed, given(path))
        if parsed.binary:
            return open_binary(raw, parsed, buffering)
        return open_text(raw, parsed, buffering, encoding=encoding, errors=errors, newline=newline)

    def path(self, *parts: TextPath) -> Path:
        """A path as an object, with the names of `pathlib`; relative ones begin at the root."""
        return Path(self, *parts)

    def scandir(self, path: StrPath = "/", *, timeout: float | None = None) -> Scandir:
        """The entries of a directory, each with its stat, in no order.

        Raises: FileNotFoundError, NotADirectoryError
        Cost:   a request for each 1024 names and shard; for each entry what `stat` costs, 64 at
                once; for each symlink the way to where it leads
        """
        return Scandir(self._core, self._portal, path, timeout)

    def walk(
        self,
        top: StrPath = "/",
        topdown: bool = True,
        onerror: Callable[[OSError], object] | None = None,
        followlinks: bool = False,
        *,
        timeout: float | None = None,
    ) -> Iterator[Visit]:
        """(directory, names of directories, names of others) of all directories: as os.walk."""
        steps = walking(text_of(top), topdown=topdown, onerror=onerror, followlinks=followlinks)
        step = next(steps, None)
        while step is not None:
            answer: list[DirEntry] | OSError | None = None
            if isinstance(step, tuple):
                yield step
            else:
                try:
                    answer = list(self.scandir(step, timeout=timeout))
                except NOTHING as error:
                    answer = error
            try:
                step = steps.send(answer)
            except StopIteration:
                step = None

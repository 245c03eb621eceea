"""A tree of files of this host as an end of a copy; D is the path of a directory.

Every call goes to a thread, with as much work as it can take along: a page of names, a batch of
small files, a piece of a large one. What a loop asks for in between is not kept waiting.

Names that come from a container were checked there; no file is written through a symlink.

Source: ours; DAOS src/utils/daos_hdlr.c
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from daos.base.errors import BusyError, DaosError, ExistsError, NotFoundError
from daos.dfs.ends import LEFT_ALONE, PERMISSIONS, Item
from daos.dfs.errors import UnsupportedError, local_error
from daos.dfs.layout import Kind

T = TypeVar("T")
PAGE: Final = 512
_OURS: Final = 0o700  # of directories, until all is in them
_KINDS: Final = {kind.value: kind for kind in Kind}
_OTHERS: Final = {
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


class LocalEnd:
    """Files of this host."""

    def __init__(self, *, ignore_unsupported: bool = False) -> None:
        """`ignore_unsupported`: extended attributes are dropped where there can be none."""
        self._ignore = ignore_unsupported

    async def find(self, path: str, *, follow: bool) -> tuple[Item, str, str]:
        return await _in_thread(self._find, path, follow)

    def same(self, other: object) -> bool:
        return isinstance(other, LocalEnd)

    def inside(self, item: Item) -> str:
        return _path(item)

    def pages(self, directory: str) -> LocalPages:
        return LocalPages(directory)

    async def describe(
        self, directory: str, names: Sequence[str], *, xattrs: bool
    ) -> dict[str, Item]:
        def work() -> dict[str, Item]:
            found = {}
            for name in names:
                with contextlib.suppress(NotFoundError):
                    found[name] = _describe(os.path.join(directory, name), name, xattrs=xattrs)
            return found

        return await _in_thread(work)

    async def contents(self, items: Sequence[Item]) -> list[bytes]:
        def work() -> list[bytes]:
            return [_read(_path(each), 0, each.size) for each in items]

        return await _in_thread(work)

    async def read(self, item: Item, offset: int, count: int) -> bytes:
        return await _in_thread(_read, _path(item), offset, count)

    async def enter(self, directory: str, name: str, *, exists: bool) -> str:
        path = os.path.join(directory, name) if name else directory

        def work() -> None:
            if not exists:
                os.mkdir(path, _OURS)
            elif os.stat(path).st_mode & _OURS != _OURS:
                os.chmod(path, _OURS)

        await _in_thread(work, path=path)
        return path

    async def put(
        self, directory: str, files: Sequence[tuple[Item, bytes]], there: Mapping[str, Item]
    ) -> None:
        def work() -> None:
            for item, data in files:
                path = os.path.join(directory, item.name)
                with _naming(path):
                    if item.kind is Kind.SYMLINK:
                        if item.name in there:
                            os.unlink(path)
                        os.symlink(item.target, path)
                        _finish(path, path, item, ignore=self._ignore)
                        continue
                    fd = _create(path, exists=item.name in there)
                    try:
                        _write(fd, 0, memoryview(data))
                        _finish(fd, path, item, ignore=self._ignore)
                    finally:
                        os.close(fd)

        await _in_thread(work)

    async def open(self, directory: str, item: Item, *, exists: bool) -> LocalWriting:
        path = os.path.join(directory, item.name)
        fd = await _in_thread(_create, path, exists=exists, path=path)
        return LocalWriting(fd, path, ignore=self._ignore)

    async def leave(self, directories: Sequence[tuple[str, Item]]) -> None:
        def work() -> None:
            for path, item in directories:
                with _naming(path):
                    _finish(path, path, item, ignore=self._ignore)

        await _in_thread(work)

    def _find(self, path: str, follow: bool) -> tuple[Item, str, str]:
        real = os.path.realpath(path)
        if not follow and not path.endswith("/"):
            above, name = os.path.split(os.path.abspath(path))
            real = os.path.join(os.path.realpath(above), name)
        item = _describe(real, os.path.basename(real))
        return item, real if item.kind is Kind.DIRECTORY else os.path.dirname(real), real


class LocalPages:
    """The names of a directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._names: Iterator[str] | None = None

    async def next(self) -> list[str]:
        return await _in_thread(self._next, path=self._directory)

    def _next(self) -> list[str]:
        if self._names is None:
            # All at once, but names alone: what is open would stay so if the copy is given up.
            self._names = iter(os.listdir(self._directory))
        return list(itertools.islice(self._names, PAGE))


class LocalWriting:
    """A file that is being written."""

    def __init__(self, fd: int, path: str, *, ignore: bool) -> None:
        self._fd = fd
        self._path = path
        self._ignore = ignore

    async def write(self, offset: int, data: memoryview) -> None:
        await _in_thread(_write, self._fd, offset, data, path=self._path)

    async def finish(self, item: Item) -> None:
        def work() -> None:
            os.ftruncate(self._fd, item.size)
            _finish(self._fd, self._path, item, ignore=self._ignore)

        await _in_thread(work, path=self._path)

    async def close(self) -> None:
        os.close(self._fd)


async def _in_thread(work: Callable[..., T], *args: object, path: str = "", **named: object) -> T:
    """Run `work` beside the loop. Raises: DaosError for what the file system says."""

    def whole() -> T:
        with _naming(path):
            return work(*args, **named)

    future = asyncio.get_running_loop().run_in_executor(None, whole)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        # What runs in a thread cannot be stopped, and may use what we would close next.
        await asyncio.wait([future])
        raise


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    try:
        yield
    except DaosError:
        raise
    except OSError as error:
        raise local_error(error, path) from None


def _describe(path: str, name: str, *, xattrs: bool = True) -> Item:
    with _naming(path):
        found = os.lstat(path)
        kind = _KINDS.get(stat.S_IFMT(found.st_mode))
        if kind is None:
            what = _OTHERS.get(stat.S_IFMT(found.st_mode), "entry of an unknown type")
            return Item(name=name, kind=None, what=what)
        return Item(
            name=name,
            kind=kind,
            mode=stat.S_IMODE(found.st_mode),
            size=found.st_size if kind is Kind.FILE else 0,
            mtime_ns=found.st_mtime_ns,
            target=os.readlink(path) if kind is Kind.SYMLINK else "",
            xattrs=_xattrs(path) if xattrs else {},
            node=path,
        )


def _path(item: Item) -> str:
    assert isinstance(item.node, str)  # as this end has described it
    return item.node


def _xattrs(path: str) -> dict[str, bytes]:
    """Those of users; other ones belong to the file system or to this host."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in names
        if name.startswith("user.") and name not in LEFT_ALONE
    }


def _read(path: str, offset: int, count: int) -> bytes:
    """Raises: BusyError (the file became shorter)."""
    with _naming(path):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            data = os.pread(fd, count, offset)
            while len(data) < count:
                more = os.pread(fd, count - len(data), offset + len(data))
                if not more:
                    raise BusyError(f"{path} became shorter while it was read")
                data += more
        finally:
            os.close(fd)
    return data


def _create(path: str, *, exists: bool) -> int:
    if exists and not os.access(path, os.W_OK):
        os.chmod(path, 0o600)
    how = os.O_TRUNC if exists else os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, os.O_WRONLY | os.O_NOFOLLOW | how, 0o600)
    except FileExistsError:
        raise ExistsError(f"{path} came into being while it was copied") from None


def _write(fd: int, offset: int, data: memoryview) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def _finish(where: int | str, path: str, item: Item, *, ignore: bool) -> None:
    """Attributes, the time last."""
    for name, value in item.xattrs.items():
        _set_xattr(where, path, name, value, ignore=ignore)
    times = (item.mtime_ns, item.mtime_ns)
    if item.kind is Kind.SYMLINK:
        os.utime(where, ns=times, follow_symlinks=False)
        return
    os.chmod(where, item.mode & PERMISSIONS)
    os.utime(where, ns=times)


def _set_xattr(where: int | str, path: str, name: str, value: bytes, *, ignore: bool) -> None:
    try:
        if isinstance(where, int):
            os.setxattr(where, name, value)
        else:
            os.setxattr(where, name, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM):
            raise
        if not ignore:
            text = f"{path} can't have the extended attribute {name!r}: {error.strerror}"
            raise UnsupportedError(text) from None

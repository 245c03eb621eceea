"""A file system by path, for asyncio: what `os`, `shutil` and `open` offer, with their names.

    async with cont.filesystem() as fs:
        await fs.makedirs("/results/day1")
        await fs.write_text("/results/day1/log", "began\n")
        async for entry in fs.scandir("/results"):
            print(entry.name, entry.stat().st_size)

What `os` raises for a call, the same call raises here: FileNotFoundError, NotADirectoryError,
OSError with ENOTEMPTY. Each is also a DaosError, names the path, and has it as `filename`.

Paths are resolved anew at each call, a request for each component: another client may have replaced
a directory meanwhile, and what is written into a removed one would be lost. So a call is not atomic
over its components; its last step, on one entry, is.

Every call takes `timeout`, seconds for all its requests together; enumerations for each page.
The blocking face (`daos.FileSystem`) has the same names, and gives file objects of `io`.

Source: DAOS src/client/dfs/dfs_sys.c; the names and errors are those of os, os.path and shutil
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import overload

from daos.base.errors import (
    BusyError,
    DaosError,
    ExistsError,
    InvalidError,
    NotFoundError,
)
from daos.client.objectio import RUNNING_MAX
from daos.client.session import Call
from daos.dfs import attributes, moving, namespace, resolve
from daos.dfs.attributes import Stat
from daos.dfs.content import Content
from daos.dfs.crew import Crew
from daos.dfs.errors import (
    IsDirectoryError,
    NameTooLongError,
    NotDirectoryError,
    NotEmptyError,
)
from daos.dfs.layout import NAME_MAX, PATH_MAX, Kind, encode_name
from daos.dfs.lookup import child, refresh, walk
from daos.dfs.metadata import Metadata
from daos.dfs.namespace import Force, Wanted
from daos.dfs.node import Directory, Symlink
from daos.dfs.resolve import NOTHING, BytesPath, End, StrPath, TextPath, given, text_of
from daos.dfs.tree import DirEntry, Visit, joined, walking


class FileSystem(Content, Metadata):
    """A file system of one container; `cont.filesystem()` makes it.

    It may be used by many tasks at once.
    """

    @overload
    async def listdir(self, path: BytesPath, *, timeout: float | None = None) -> list[bytes]: ...

    @overload
    async def listdir(self, path: TextPath = "/", *, timeout: float | None = None) -> list[str]: ...

    async def listdir(
        self, path: StrPath = "/", *, timeout: float | None = None
    ) -> list[bytes] | list[str]:
        """The names in a directory, in no order; of a path of bytes as bytes."""
        with self._naming(timeout, path) as call:
            found = await resolve.directory(self.mount, path, call)
        names = [each async for each in self.mount.readdir(found, timeout=timeout)]
        return [encode_name(each) for each in names] if _is_bytes(path) else names

    async def scandir(
        self, path: StrPath = "/", *, timeout: float | None = None
    ) -> AsyncGenerator[DirEntry]:
        """The entries of a directory, each with its stat, in no order.

        Raises: on iteration FileNotFoundError, NotADirectoryError
        Cost:   a request for each 1024 names and shard; for each entry what `stat` costs, 64 at
                once; for each symlink the way to where it leads, 64 at once
        """
        async for page in self.pages(path, timeout=timeout):
            for entry in page:
                yield entry

    async def pages(
        self, path: StrPath = "/", *, timeout: float | None = None
    ) -> AsyncGenerator[list[DirEntry]]:
        """What `scandir` gives, page by page."""
        with self._naming(timeout, path) as call:
            found = await resolve.directory(self.mount, path, call)
        listing = self.mount.readdirplus(found, timeout=timeout)
        while await listing.turn():
            page = listing.take()
            links = [each for each, own in page if stat.S_ISLNK(own.st_mode)]
            targets = await self._targets(found, links, timeout) if links else {}
            yield [
                DirEntry(each, joined(path, each), own, targets.get(each, own))
                for each, own in page
            ]

    async def walk(
        self,
        top: StrPath = "/",
        topdown: bool = True,
        onerror: Callable[[OSError], object] | None = None,
        followlinks: bool = False,
        *,
        timeout: float | None = None,
    ) -> AsyncGenerator[Visit]:
        """(directory, names of directories, names of others) of all directories: as os.walk."""
        steps = walking(text_of(top), topdown=topdown, onerror=onerror, followlinks=followlinks)
        step = next(steps, None)
        while step is not None:
            answer: list[DirEntry] | OSError | None = None
            if isinstance(step, tuple):
                yield step
            else:
                try:
                    answer = [entry async for entry in self.scandir(step, timeout=timeout)]
                except NOTHING as error:
                    answer = error
            try:
                step = steps.send(answer)
            except StopIteration:
                step = None

    async def mkdir(
        self,
        path: StrPath,
        mode: int = 0o755,
        *,
        oclass: str | int | None = None,
        chunk_size: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Make a directory. Raises: FileExistsError, FileNotFoundError, NotADirectoryError."""
        with self._naming(timeout, path, write=True) as call:
            await self._mkdir(path, Wanted(mode, oclass, chunk_size), call)

    async def makedirs(
        self,
        path: StrPath,
        mode: int = 0o755,
        exist_ok: bool = False,
        *,
        timeout: float | None = None,
    ) -> None:
        """Make a directory and those above it that there are not.

        Raises: FileExistsError (`exist_ok`: unless it is a directory), NotADirectoryError
        """
        with self._naming(timeout, path, write=True) as call:
            await self._makedirs(resolve.raw_of(path), Wanted(mode), call, exist_ok=exist_ok)

    async def rmdir(self, path: StrPath, *, timeout: float | None = None) -> None:
        """Remove an empty directory. Raises: OSError (ENOTEMPTY), NotADirectoryError."""
        with self._naming(timeout, path, write=True) as call:
            where = await resolve.end(self.mount, path, call)
            if not where.name:
                raise _no_rmdir(resolve.raw_of(path))
            await self._remove(where, Kind.DIRECTORY, call)

    async def remove(self, path: StrPath, *, timeout: float | None = None) -> None:
        """Remove a file or symlink. Raises: FileNotFoundError, IsADirectoryError.

        Atomicity: the name goes at once; who has the file open can't read it any more
        """
        with self._naming(timeout, path, write=True) as call:
            where = await resolve.end(
                self.mount, path, call, error=IsDirectoryError("it is a directory")
            )
            if where.slash:
                await self._directory_at(where, call)
                raise IsDirectoryError("it is a directory")
            await self._remove(where, Kind.FILE, call)

    unlink = remove

    async def rmtree(
        self, path: StrPath, ignore_errors: bool = False, *, timeout: float | None = None
    ) -> None:
        """Remove a directory with all that is below it. Raises: NotADirectoryError.

        Without `timeout` each entry has the client's; all together may take as long as they take.

        Atomicity: none: what goes is gone, from the leaves up
        """
        try:
            with self._naming(timeout, path, write=True) as call:
                where = await resolve.end(self.mount, path, call)
                if not where.name:
                    raise _no_rmdir(resolve.raw_of(path))
                force = Force.ALL if timeout is not None else Force.EACH
                await namespace.remove(self.mount, where.spot, Kind.DIRECTORY, call, force=force)
        except NOTHING:
            if not ignore_errors:
                raise

    async def rename(self, src: StrPath, dst: StrPath, *, timeout: float | None = None) -> None:
        """Give an entry another name; what is there gives way, but for directories with entries.

        Raises:    FileNotFoundError, IsADirectoryError, NotADirectoryError, OSError (ENOTEMPTY;
                   EINVAL: a directory into itself)
        Atomicity: at no time is `dst` absent if it was there; a crash may leave both names until
                   somebody uses the old one (docs/design/005-files.md)
        """
        with self._naming(timeout, src, dst, write=True) as call:
            old = await resolve.end(self.mount, src, call)
            new = await resolve.end(self.mount, dst, call)
            if not old.name or not new.name:
                raise BusyError("the root, `.` and `..` have no other name")
            above, slash = old.is_below(new), old.slash or new.slash
            if above or slash or len(new.name) > NAME_MAX:  # what is there is told before that
                found = await child(self.mount, old.parent, old.name, call)
                if new.spot and slash and not isinstance(found, Directory):
                    raise NotDirectoryError("it is no directory")
            if above:
                raise NotEmptyError("the one is in the other")
            await moving.move(self.mount, old.spot, new.spot, call, may_replace=True)

    replace = rename

    async def exchange(self, a: StrPath, b: StrPath, *, timeout: float | None = None) -> None:
        """Let two entries change names, whatever they are. Raises: FileNotFoundError.

        Atomicity: none: see `moving.exchange`
        """
        with self._naming(timeout, a, b, write=True) as call:
            one = await resolve.end(self.mount, a, call, error=BusyError())
            other = await resolve.end(self.mount, b, call, error=BusyError())
            for where in (one, other):
                if where.slash:
                    await self._directory_at(where, call)
            await moving.exchange(self.mount, one.spot, other.spot, call)

    async def symlink(
        self,
        src: StrPath,
        dst: StrPath,
        target_is_directory: bool = False,
        *,
        timeout: float | None = None,
    ) -> None:
        """Make `dst` a symlink to `src`, which need not be there. Raises: FileExistsError."""
        with self._naming(timeout, src, dst, write=True) as call:
            target = encode_name(given(src))
            if not target:
                raise NotFoundError("a symlink to nothing")
            if len(target) >= PATH_MAX:
                raise NameTooLongError(f"a target of {len(target)} bytes; less than {PATH_MAX}")
            where = await resolve.end(self.mount, dst, call, error=ExistsError())
            if where.slash:
                await child(self.mount, where.parent, where.name, call)
                raise ExistsError
            await namespace.symlink(self.mount, where.spot, target, Wanted(), call)

    @overload
    async def readlink(self, path: BytesPath, *, timeout: float | None = None) -> bytes: ...

    @overload
    async def readlink(self, path: TextPath, *, timeout: float | None = None) -> str: ...

    async def readlink(self, path: StrPath, *, timeout: float | None = None) -> bytes | str:
        """Where a symlink points, as it was written. Raises: OSError (EINVAL: no symlink)."""
        with self._naming(timeout, path) as call:
            found = await self._node(path, call, follow=False)
            if not isinstance(found, Symlink):
                raise InvalidError("it is no symlink")
        return encode_name(found.target) if _is_bytes(path) else found.target

    async def close(self) -> None:
        """Close the file system; later calls raise StaleHandleError. Idempotent."""
        await super().close()
        await self.mount.close()

    async def _targets(
        self, directory: Directory, names: list[str], timeout: float | None
    ) -> dict[str, Stat | None]:
        """What symlinks lead to."""
        found: dict[str, Stat | None] = {}

        async def ask(each: str) -> None:
            found[each] = await self._target(directory, each, timeout)

        crew = Crew(min(RUNNING_MAX, len(names)))
        for each in names:
            crew.add(partial(ask, each))
        await crew.run()
        return found

    async def _target(self, directory: Directory, name: str, timeout: float | None) -> Stat | None:
        """What a symlink leads to."""
        try:
            with self._operation(timeout) as call:
                found = await walk(self.mount, directory, name, call, follow=True)
                return await attributes.stat_entry(self.mount, found.entry, call)
        except NOTHING:
            return None

    async def _mkdir(self, path: StrPath, wanted: Wanted, call: Call) -> None:
        where = await resolve.end(self.mount, path, call, error=ExistsError())
        await refresh(where.parent, call)
        await namespace.mkdir(self.mount, where.spot, wanted, call)

    async def _makedirs(self, raw: bytes, wanted: Wanted, call: Call, *, exist_ok: bool) -> None:
        above = raw.rstrip(b"/").rpartition(b"/")[0]
        try:
            await self._mkdir(raw, wanted, call)
        except NotFoundError:
            if not above:
                raise
        except ExistsError:
            if not exist_ok or not await self._is_directory(raw, call):
                raise
            return
        else:
            return
        with contextlib.suppress(ExistsError):  # of a symlink that leads nowhere: see mkdir
            await self._makedirs(above, Wanted(0o755), call, exist_ok=False)
        if raw.endswith(b"/."):  # which is there by now
            return
        try:
            await self._mkdir(raw, wanted, call)
        except ExistsError:  # somebody was faster
            if not exist_ok or not await self._is_directory(raw, call):
                raise

    async def _is_directory(self, raw: bytes, call: Call) -> bool:
        try:
            return isinstance(await self._node(raw, call), Directory)
        except NOTHING:
            return False

    async def _remove(self, where: End, kind: Kind, call: Call) -> None:
        await namespace.remove(self.mount, where.spot, kind, call)

    async def _directory_at(self, where: End, call: Call) -> None:
        """What stands before a slash at the end. Raises: NotFoundError, NotDirectoryError."""
        if not isinstance(await child(self.mount, where.parent, where.name, call), Directory):
            raise NotDirectoryError("it is no directory")

    def __repr__(self) -> str:
        return f"<FileSystem of {self.mount.container!r}>"


def _no_rmdir(raw: bytes) -> DaosError:
    """Why a path without a last name names no directory to be removed."""
    match raw.rstrip(b"/").rpartition(b"/")[2]:
        case b"":
            return BusyError("the root stays")
        case b".":
            return InvalidError("a directory is removed by its name, not as `.`")
        case _:
            return NotEmptyError("`..` has at least the directory it was reached through")


def _is_bytes(path: StrPath) -> bool:
    return isinstance(given(path), bytes)

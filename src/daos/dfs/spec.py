"""A container's files as a file system of fsspec, `daos://POOL/CONTAINER/PATH`.

    fsspec.open("daos://tank/home/table.csv")           by this host's agent, as daos.connect()
    DaosFileSystem("tank", "home", client=client)       through a client that is open already
    DaosFileSystem("tank", "home", snapshot="before")   as of a snapshot, read-only

Paths of an instance begin at the root of its container. Errors are the built-in ones, and a
DaosError each.

Two loops. A client has its loop and thread; fsspec has another, or with `asynchronous=True` the
caller's. Each call hops once, whole, from the one to the other (`Portal.hop`), so that an instance
serves every loop and thread; files of `open` are those of the blocking face, and hop no further.

Processes. An instance connects at its first call, once a process. A child made by fork connects
anew, and so does what was pickled: only names travel. Through `client` neither is possible.

Source: ours; https://filesystem-spec.readthedocs.io/en/latest/developer.html
"""

from __future__ import annotations

import asyncio
import io
import os
import posixpath
import threading
import weakref
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any, Concatenate, Final, ParamSpec, TypeVar

from fsspec.asyn import AsyncFileSystem, get_loop, sync_wrapper
from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.utils import stringify_path

from daos.base.errors import DaosError, ExistsError, InvalidError, NotFoundError
from daos.client.file import BUFFER_BYTES, ArrayFile, FileMode
from daos.client.memory import BufferLike
from daos.client.sync import Client, Pool
from daos.dfs import filesystem, spec_calls, uns, whole
from daos.dfs.resolve import NOTHING
from daos.dfs.spec_calls import Info
from daos.dfs.spec_file import DraftWriter, Reader, StreamedFile, Updater, Writer
from daos.dfs.sync import FileSystem

P = ParamSpec("P")
ResultT = TypeVar("ResultT")
PathT = TypeVar("PathT", str, list[str])
Core = filesystem.FileSystem

_MODES: Final = {"overwrite": True, "create": False}


class _Connection:
    """What one process has open of an instance."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.files: FileSystem | None = None
        self._top: Client | Pool | None = None  # what closes all that was opened

    def open(self, fs: DaosFileSystem) -> FileSystem:
        """The files; connects first, if nobody has."""
        with self.lock:
            if self.files is None:
                self.files = self._connect(fs)
                weakref.finalize(fs, self.close)
            return self.files

    def _connect(self, fs: DaosFileSystem) -> FileSystem:
        from daos.embedded.attached import connect  # above us: see tests/tidy/layers.py

        client = fs.client or connect()
        top: Client | Pool = client
        try:
            flags = "r" if fs.snapshot is not None else fs.mode
            pool = client.pool(fs.pool, flags)
            if fs.client is not None:
                top = pool
            cont = pool.container(fs.container, flags)
            if fs.snapshot is not None:
                cont = cont.at(fs.snapshot)
            files = cont.filesystem()
        except DaosError:
            if top is not fs.client:
                top.close()
            raise
        self._top = top
        return files

    def close(self) -> None:
        """Idempotent."""
        with self.lock:
            top, self._top, self.files = self._top, None, None
        if top is not None:
            top.close()


class DaosFileSystem(AsyncFileSystem):
    """The files of one container.

    `mode`: "r" opens the container read-only. `auto_mkdir`: what is written in a directory that is
    not there makes it, as on stores without directories. `client`: an open client of this process.
    """

    protocol = "daos"
    _pid: int
    root_marker = "/"

    def __init__(
        self,
        pool: str,
        container: str,
        *,
        snapshot: str | int | None = None,
        mode: str = "rw",
        auto_mkdir: bool = True,
        client: Client | None = None,
        **options: object,  # of fsspec: asynchronous, loop, batch_size
    ) -> None:
        super().__init__(**options)
        self.pool, self.container = str(pool), str(container)
        self.snapshot, self.mode = snapshot, mode
        self.auto_mkdir, self.client = auto_mkdir, client
        self._connections: dict[int, _Connection] = {}  # by process
        self._strip_protocol = self._own_path  # type: ignore[method-assign]

    # Names

    @classmethod
    def _strip_protocol(cls, path: PathT) -> PathT:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        text = stringify_path(path)
        if text.startswith(uns.PREFIX):
            text = _address(text).path
        return f"/{text.strip('/')}"

    def _own_path(self, path: PathT) -> PathT:
        """`_strip_protocol`, which refuses an address of another container."""
        for each in path if isinstance(path, list) else [path]:
            text = stringify_path(each)
            if text.startswith(uns.PREFIX):
                address = _address(text)
                if (address.pool, address.container) != (self.pool, self.container):
                    raise InvalidError(
                        f"{text!r} is in another container than {self.unstrip_protocol('/')}"
                    )
        return type(self)._strip_protocol(path)

    def unstrip_protocol(self, name: str) -> str:
        """The address of a path."""
        return f"{uns.PREFIX}{self.pool}/{self.container}{self._strip_protocol(name)}"

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        if not path.startswith(uns.PREFIX):
            return {}
        address = _address(path)
        return {"pool": address.pool, "container": address.container}

    @property
    def fsid(self) -> str:
        """The same for the same container."""
        return f"{uns.PREFIX}{self.pool}/{self.container}"

    # Processes, loops

    @property
    def files(self) -> FileSystem:
        """The blocking face of the same files; connects if this process has not."""
        return self._connections.setdefault(os.getpid(), _Connection()).open(self)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """fsspec's; in a child made by fork its new one."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._loop = None if self.asynchronous else get_loop()
        loop: asyncio.AbstractEventLoop | None = self._loop
        return loop

    def close(self) -> None:
        """Close what this process has open; the next call connects again."""
        connection = self._connections.pop(os.getpid(), None)
        if connection is not None:
            connection.close()

    def __reduce__(self) -> tuple[Any, ...]:  # as object has it
        if self.client is not None:
            raise TypeError(
                f"{self.unstrip_protocol('/')} is reached through a client of this process, which "
                "no other has: leave `client` out, and each process connects by its host's agent"
            )
        reduced: tuple[Any, ...] = super().__reduce__()
        return reduced

    async def _reach(self) -> FileSystem:
        connection = self._connections.setdefault(os.getpid(), _Connection())
        if connection.files is None:
            return await asyncio.to_thread(connection.open, self)
        return connection.files

    async def _ask(
        self,
        function: Callable[Concatenate[Core, P], Awaitable[ResultT]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> ResultT:
        """One call of the asynchronous face, in the client's loop."""
        files = await self._reach()
        return await files._portal.hop(partial(function, files._core, *args, **kwargs))

    async def _make(
        self,
        function: Callable[Concatenate[Core, str, P], Awaitable[ResultT]],
        path: str,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> ResultT:
        """`_ask` of what makes something at a path, and with `auto_mkdir` what is above it."""
        try:
            return await self._ask(function, path, *args, **kwargs)
        except NotFoundError:
            if not self.auto_mkdir:
                raise
        await self._ask(Core.makedirs, posixpath.dirname(path), exist_ok=True)
        return await self._ask(function, path, *args, **kwargs)

    # What is there

    async def _info(self, path: str, **_: object) -> Info:
        """Of what a symlink leads to; `islink` tells."""
        return await self._ask(spec_calls.describe, self._strip_protocol(path))

    async def _ls(self, path: str, detail: bool = True, **_: object) -> list[Info] | list[str]:
        """Symlinks to directories have type "other", so that a walk is one of a tree."""
        name = self._strip_protocol(path)
        if detail:
            return await self._ask(spec_calls.listing, name)
        return await self._ask(spec_calls.names, name)

    async def _exists(self, path: str, **_: object) -> bool:
        return await self._ask(Core.exists, self._strip_protocol(path))

    async def _lexists(self, path: str, **_: object) -> bool:
        try:
            await self._ask(Core.lstat, self._strip_protocol(path))
        except NOTHING:
            return False
        return True

    async def _isfile(self, path: str) -> bool:
        return await self._ask(Core.isfile, self._strip_protocol(path))

    async def _isdir(self, path: str) -> bool:
        return await self._ask(Core.isdir, self._strip_protocol(path))

    async def _modified(self, path: str) -> datetime:
        found = await self._ask(Core.stat, self._strip_protocol(path))
        return datetime.fromtimestamp(found.st_mtime, tz=UTC)

    # Content

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: object
    ) -> bytes:
        return await self._ask(whole.read, self._strip_protocol(path), start, end)

    async def _pipe_file(
        self, path: str, value: BufferLike, mode: str = "overwrite", **_: object
    ) -> None:
        """Atomicity: a reader sees the old content, or the new; see `whole`."""
        await self._make(whole.write, self._strip_protocol(path), value, replace=_replaces(mode))

    async def _cp_file(self, path1: str, path2: str, **_: object) -> None:
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if await self._ask(Core.isdir, source):
            await self._makedirs(target, exist_ok=True)
            return

        async def copy(core: Core, target: str) -> None:
            await whole.copy(core, source, target, replace=True)

        await self._make(copy, target)

    async def _put_file(
        self,
        lpath: str,
        rpath: str,
        mode: str = "overwrite",
        callback: Callback = DEFAULT_CALLBACK,
        **_: object,
    ) -> None:
        """Atomicity: as `_pipe_file`, however large it is."""
        replace, target = _replaces(mode), self._strip_protocol(rpath)
        if await asyncio.to_thread(os.path.isdir, lpath):
            await self._makedirs(target, exist_ok=True)
            return
        source = await asyncio.to_thread(open, lpath, "rb")
        with source:
            callback.set_size(os.fstat(source.fileno()).st_size)
            piece = await asyncio.to_thread(source.read, whole.PIECE)
            if len(piece) < whole.PIECE:
                await self._make(whole.write, target, piece, replace=replace)
                callback.relative_update(len(piece))
                return
            draft = await self._make(whole.Draft.begin, target)
            portal, offset = self.files._portal, 0
            try:
                while piece:
                    await portal.hop(partial(draft.file.write, offset, piece))
                    offset += len(piece)
                    callback.relative_update(len(piece))
                    piece = await asyncio.to_thread(source.read, whole.PIECE)
            except BaseException:
                await portal.hop(draft.discard)
                raise
            await portal.hop(partial(draft.commit, replace=replace))

    async def _get_file(
        self,
        rpath: str,
        lpath: str | IO[bytes],
        callback: Callback = DEFAULT_CALLBACK,
        **_: object,
    ) -> None:
        """`lpath`: a path of this host, or a file that is open."""
        source = self._strip_protocol(rpath)
        if not isinstance(lpath, str):
            await self._pour(source, lpath, callback)
        elif (await self._info(source))["type"] == "directory":
            await asyncio.to_thread(os.makedirs, lpath, exist_ok=True)
        else:
            with await asyncio.to_thread(open, lpath, "wb") as target:
                await self._pour(source, target, callback)

    async def _pour(self, source: str, target: IO[bytes], callback: Callback) -> None:
        file = await self._ask(Core.open_node, source, whole.READ)
        portal = self.files._portal
        size = await portal.hop(file.size)
        callback.set_size(size)
        for offset in range(0, size, whole.PIECE):
            piece = await portal.hop(partial(file.read, offset, whole.PIECE))
            await asyncio.to_thread(target.write, piece)
            callback.relative_update(len(piece))
        await self._ask(whole.check_same, source, file)

    async def _touch(self, path: str, truncate: bool = True, **_: object) -> None:
        name = self._strip_protocol(path)
        await self._make(spec_calls.touch, name, truncate=truncate)

    async def open_async(self, path: str, mode: str = "rb", **_: object) -> StreamedFile:
        """A file to be awaited, without a buffer. Raises: ValueError (a mode of text)."""
        if "b" not in mode:
            raise InvalidError(f"asynchronous files are of bytes: {mode + 'b'!r}, not {mode!r}")
        name = self._strip_protocol(path)

        async def begin(core: Core, name: str) -> tuple[Any, int | None]:
            file = await core.open(name, mode)
            return file, await file.node.size() if file.readable() else None

        file, size = await (self._ask if "r" in mode else self._make)(begin, name)
        return StreamedFile(self.files._portal, file, name, size)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        *,
        autocommit: bool = True,
        permissions: int = 0o644,
        oclass: str | int | None = None,
        chunk_size: int | None = None,
        **_: object,
    ) -> io.IOBase:
        """A buffered file.

        Atomicity: what is written is seen at once; in a transaction when that ends, all of a file
        """
        name, parsed = self._strip_protocol(path), FileMode.parse(mode)
        own = {"permissions": permissions, "oclass": oclass, "chunk_size": chunk_size}
        files, size = self.files, block_size or BUFFER_BYTES
        if autocommit or parsed.kind == "r":
            raw = self._raw(files, name, mode, own)
            if parsed.update:
                return Updater(self, name, raw, size)
            return (Reader if parsed.kind == "r" else Writer)(self, name, raw, size)
        if parsed.kind == "a" or parsed.update:
            raise InvalidError(f"mode {mode!r} in a transaction; only whole files, with wb or xb")
        if parsed.kind == "x" and files.exists(name):
            raise ExistsError(f"{name!r} is there already")
        draft = whole.draft_name(files._core, name)
        writer = DraftWriter(self, name, self._raw(files, draft, "xb", own), size)
        writer.drafts(files, draft, replace=parsed.kind == "w")
        return writer

    def _raw(self, files: FileSystem, path: str, mode: str, own: dict[str, Any]) -> ArrayFile:
        try:
            raw = files.open(path, mode, 0, **own)
        except NotFoundError:
            if "r" in mode or not self.auto_mkdir:
                raise
            files.makedirs(posixpath.dirname(path), exist_ok=True)
            raw = files.open(path, mode, 0, **own)
        assert isinstance(raw, ArrayFile)  # that is what has no buffer
        return raw

    # The tree

    async def _mkdir(self, path: str, create_parents: bool = True, **_: object) -> None:
        make = Core.makedirs if create_parents else Core.mkdir
        await self._ask(make, self._strip_protocol(path))

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        await self._ask(Core.makedirs, self._strip_protocol(path), exist_ok=exist_ok)

    async def _rmdir(self, path: str) -> None:
        await self._ask(Core.rmdir, self._strip_protocol(path))

    async def _rm_file(self, path: str, **_: object) -> None:
        await self._ask(Core.remove, self._strip_protocol(path))

    async def _rm(
        self,
        path: str | list[str],
        recursive: bool = False,
        batch_size: int | None = None,
        maxdepth: int | None = None,
        **_: object,
    ) -> None:
        """Patterns are expanded. A tree goes in one call; with `maxdepth` what is above that."""
        if recursive and maxdepth is not None:
            found = await self._expand_path(path, recursive=True, maxdepth=maxdepth)
            for each in reversed(found):
                await self._ask(spec_calls.remove_shallow, each)
            return
        remove = spec_calls.remove_tree if recursive else Core.remove
        for each in reversed(await self._expand_path(path)):  # what is in a directory before it
            await self._ask(remove, each)

    async def _mv(
        self,
        path1: str | list[str],
        path2: str | list[str],
        recursive: bool = False,
        maxdepth: int | None = None,
        **_: object,
    ) -> None:
        """Of one file or directory a rename, which is what `rename` of the files is.

        Into a directory that is there, or ends in "/", under its own name. Lists: pair by pair.
        """
        if isinstance(path1, str) and isinstance(path2, str):
            source, target = self._strip_protocol(path1), self._strip_protocol(path2)
            if path2.endswith("/") or (source != target and await self._isdir(target)):
                target = posixpath.join(target, posixpath.basename(source))
            await self._mv_file(source, target)
            return
        if len(path1) != len(path2) or isinstance(path1, str) or isinstance(path2, str):
            raise InvalidError(f"as many names as files: {len(path1)} files, {path2!r}")
        for one, other in zip(path1, path2, strict=True):
            await self._mv_file(one, other)

    async def _mv_file(self, path1: str, path2: str) -> None:
        source = self._strip_protocol(path1)

        async def rename(core: Core, target: str) -> None:
            await core.rename(source, target)

        await self._make(rename, self._strip_protocol(path2))

    # fsspec makes the blocking form of its own coroutines; these are not among them

    lexists = sync_wrapper(_lexists)
    modified = sync_wrapper(_modified)
    mv = sync_wrapper(_mv)
    rmdir = sync_wrapper(_rmdir)
    touch = sync_wrapper(_touch)


def _address(text: str) -> uns.Address:
    """Raises: InvalidError."""
    found = uns.direct(text)
    if found is None or not found.container:
        raise InvalidError(f"{text!r} names no container; expected {uns.PREFIX}POOL/CONTAINER/PATH")
    return found


def _replaces(mode: str) -> bool:
    if mode not in _MODES:
        raise InvalidError(f"mode {mode!r}; expected one of {', '.join(_MODES)}")
    return _MODES[mode]

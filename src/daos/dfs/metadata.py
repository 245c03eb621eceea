"""What there is to know of entries, and to change, by path, for asyncio.

Source: the names and errors are those of os and os.path
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from daos.base.errors import AccessError, InvalidError
from daos.base.ids import ObjectId
from daos.client.memory import BufferLike
from daos.dfs import attributes, resolve
from daos.dfs.attributes import SetAttr, Stat
from daos.dfs.classes import chunk_of
from daos.dfs.layout import Kind, decode_name
from daos.dfs.node import File, Node, Symlink
from daos.dfs.resolve import NOTHING, ByPath, StrPath
from daos.dfs.xattrs import Setting
from daos.placement.oclass import ObjectClass

_NS: Final = 1_000_000_000
_SETTINGS: Final = {
    0: Setting.ANY,
    os.XATTR_CREATE: Setting.CREATE,
    os.XATTR_REPLACE: Setting.REPLACE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """How an entry is stored: `daos filesystem get-attr`."""

    oid: ObjectId
    oclass: str
    chunk_size: int  # of a file; of a directory: of files that are made in it
    dir_oclass: str = ""  # of a directory: of directories that are made in it
    file_oclass: str = ""  # and of files


class Metadata(ByPath):
    """Calls that ask for attributes of entries, and change them."""

    async def stat(
        self,
        path: StrPath,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> Stat:
        """What there is to know of an entry. Raises: FileNotFoundError, NotADirectoryError.

        Cost: a request for each component, and one for each shard of the object
        """
        with self._naming(timeout, path) as call:
            found = await self._node(path, call, follow=follow_symlinks)
            return await attributes.stat_entry(self.mount, found.entry, call)

    async def lstat(self, path: StrPath, *, timeout: float | None = None) -> Stat:
        """`stat` of a symlink itself."""
        return await self.stat(path, follow_symlinks=False, timeout=timeout)

    async def exists(self, path: StrPath, *, timeout: float | None = None) -> bool:
        """Whether there is something; a symlink that leads nowhere is nothing."""
        return await self._kind(path, timeout) is not None

    async def isfile(self, path: StrPath, *, timeout: float | None = None) -> bool:
        """Whether there is a file, or a symlink to one."""
        return await self._kind(path, timeout) is Kind.FILE

    async def isdir(self, path: StrPath, *, timeout: float | None = None) -> bool:
        """Whether there is a directory, or a symlink to one."""
        return await self._kind(path, timeout) is Kind.DIRECTORY

    async def islink(self, path: StrPath, *, timeout: float | None = None) -> bool:
        """Whether there is a symlink, wherever it leads."""
        return await self._kind(path, timeout, follow=False) is Kind.SYMLINK

    async def access(
        self,
        path: StrPath,
        mode: int = os.F_OK,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> bool:
        """Whether permissions would let this process do it: os.R_OK, W_OK, X_OK. Nobody's root.

        It is advice: who has opened the container may do everything to its files.
        """
        if mode & ~(os.R_OK | os.W_OK | os.X_OK):
            raise InvalidError(f"mode {mode} is no sum of R_OK, W_OK and X_OK")
        try:
            with self._naming(timeout, path) as call:
                found = await self._node(path, call, follow=follow_symlinks)
        except NOTHING:
            return False
        if isinstance(found, Symlink):
            return True
        if mode & os.W_OK and not self._writable:
            return False
        try:
            attributes.check_access(found.entry, mode, uid=os.getuid(), gid=os.getgid())
        except AccessError:
            return False
        return True

    async def statvfs(
        self, path: StrPath = "/", *, timeout: float | None = None
    ) -> os.statvfs_result:
        """Space of the pool, in blocks of the container's chunk size; files are not counted."""
        with self._naming(timeout, path) as call:
            await self._node(path, call)
            space = await self.mount.statfs(timeout=self._left(call))
        block = space.block_size
        total, free = space.total // block, space.free // block
        flags = 0 if self._writable else os.ST_RDONLY
        return os.statvfs_result((block, block, total, free, free, 0, 0, 0, flags, 255))

    async def info(
        self, path: StrPath, *, follow_symlinks: bool = True, timeout: float | None = None
    ) -> FileInfo:
        """Object, class and chunk size of an entry; of a directory what is made in it gets."""
        with self._naming(timeout, path) as call:
            found = await self._node(path, call, follow=follow_symlinks)
            return self._info(found)

    async def set_object_class(
        self, path: StrPath, oclass: str | int | None, *, timeout: float | None = None
    ) -> None:
        """The class of what will be made in a directory; None: the container's again.

        Raises: NotADirectoryError, InvalidError (class)
        """
        with self._naming(timeout, path, write=True) as call:
            found = await resolve.directory(self.mount, path, call)
            await found.set_oclass(oclass, timeout=self._left(call))

    async def set_chunk_size(
        self, path: StrPath, chunk_size: int | None, *, timeout: float | None = None
    ) -> None:
        """The chunk size of files that will be made in a directory; None: the container's again.

        Raises: NotADirectoryError, InvalidError (size)
        """
        with self._naming(timeout, path, write=True) as call:
            found = await resolve.directory(self.mount, path, call)
            await found.set_chunk_size(chunk_size, timeout=self._left(call))

    async def chmod(
        self,
        path: StrPath,
        mode: int,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Change permissions. Raises: OSError (ENOTSUP: set-id bits, the sticky bit)."""
        with self._naming(timeout, path, write=True) as call:
            found = await self._node(path, call, follow=follow_symlinks)
            await found.setattr(SetAttr(mode=mode), timeout=self._left(call))

    async def chown(
        self,
        path: StrPath,
        uid: int,
        gid: int,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Change owner and group; -1 leaves one as it is."""
        with self._naming(timeout, path, write=True) as call:
            found = await self._node(path, call, follow=follow_symlinks)
            change = SetAttr(uid=None if uid == -1 else uid, gid=None if gid == -1 else gid)
            if change != SetAttr():
                await found.setattr(change, timeout=self._left(call))

    async def utime(
        self,
        path: StrPath,
        times: tuple[float, float] | None = None,
        *,
        ns: tuple[int, int] | None = None,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Set the time of the last change, the second of `times` or `ns`; neither: now.

        That of the last access is not kept. The time stays until the next write.
        """
        if times is not None and ns is not None:
            raise InvalidError("utime: you may specify either times or ns but not both")
        with self._naming(timeout, path, write=True) as call:
            found = await self._node(path, call, follow=follow_symlinks)
            if ns is not None:
                mtime_ns = ns[1]
            elif times is not None:
                mtime_ns = int(times[1] * _NS)
            else:
                mtime_ns = self.mount.now_ns()
            await found.setattr(SetAttr(mtime_ns=mtime_ns), timeout=self._left(call))

    async def getxattr(
        self,
        path: StrPath,
        attribute: str | bytes,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> bytes:
        """The value of an extended attribute. Raises: OSError (ENODATA)."""
        with self._naming(timeout, path) as call:
            found = await self._node(path, call, follow=follow_symlinks)
            return await found.getxattr(_text(attribute), timeout=self._left(call))

    async def setxattr(
        self,
        path: StrPath,
        attribute: str | bytes,
        value: BufferLike,
        flags: int = 0,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Set an extended attribute; flags: os.XATTR_CREATE, os.XATTR_REPLACE, 0 for either.

        Raises: FileExistsError (XATTR_CREATE), OSError (ENODATA: XATTR_REPLACE; E2BIG)
        """
        if flags not in _SETTINGS:
            raise InvalidError(f"flags {flags} are neither 0, XATTR_CREATE nor XATTR_REPLACE")
        with self._naming(timeout, path, write=True) as call:
            found = await self._node(path, call, follow=follow_symlinks)
            await found.setxattr(
                _text(attribute), value, _SETTINGS[flags], timeout=self._left(call)
            )

    async def listxattr(
        self, path: StrPath = "/", *, follow_symlinks: bool = True, timeout: float | None = None
    ) -> list[str]:
        """The names of extended attributes, sorted."""
        with self._naming(timeout, path) as call:
            found = await self._node(path, call, follow=follow_symlinks)
            return await found.listxattr(timeout=self._left(call))

    async def removexattr(
        self,
        path: StrPath,
        attribute: str | bytes,
        *,
        follow_symlinks: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Remove an extended attribute. Raises: OSError (ENODATA)."""
        with self._naming(timeout, path, write=True) as call:
            found = await self._node(path, call, follow=follow_symlinks)
            await found.removexattr(_text(attribute), timeout=self._left(call))

    async def _kind(
        self, path: StrPath, timeout: float | None, *, follow: bool = True
    ) -> Kind | None:
        try:
            with self._naming(timeout, path) as call:
                return (await self._node(path, call, follow=follow)).kind
        except NOTHING:
            return None

    def _info(self, node: Node) -> FileInfo:
        oclass = ObjectClass.of(node.oid).name
        match node:
            case File():
                return FileInfo(oid=node.oid, oclass=oclass, chunk_size=node.chunk_size)
            case Symlink():
                return FileInfo(oid=node.oid, oclass=oclass, chunk_size=0)
            case _:
                return FileInfo(
                    oid=node.oid,
                    oclass=oclass,
                    chunk_size=chunk_of(0, node.entry, self.mount.defaults),
                    dir_oclass=self.mount.class_in(node.entry, Kind.DIRECTORY).name,
                    file_oclass=self.mount.class_in(node.entry, Kind.FILE).name,
                )


def _text(attribute: str | bytes) -> str:
    return decode_name(attribute) if isinstance(attribute, bytes) else attribute

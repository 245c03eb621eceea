"""What is open in a mount: directories, files, symlinks. Handles that no service knows of.

A node knows the name by which it was reached, and is asked and changed through the entry of that
name. Once the entry is gone, or names another object, that raises StaleFileError (ENOENT), like the
reference; data of a removed file can't be reached any more either.

Source: DAOS src/client/dfs/dfs_internal.h struct dfs_obj
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, overload

from daos.base.errors import AccessError
from daos.base.ids import ObjectId
from daos.client.array import Array
from daos.client.memory import BufferLike
from daos.dfs import attributes, xattrs
from daos.dfs.attributes import SetAttr, Stat
from daos.dfs.classes import check_chunk, parse_class
from daos.dfs.entries import Place
from daos.dfs.layout import FILE_SIZE_MAX, Entry, Kind, check_name, decode_name
from daos.dfs.xattrs import Setting

if TYPE_CHECKING:
    from daos.dfs.mount import Mount


class Node:
    """One of the three. `entry` is as of the opening; `mode` of it is the type and permissions."""

    def __init__(self, mount: Mount, parent: Directory | None, place: Place, entry: Entry) -> None:
        self.mount = mount
        self.parent = parent  # None: the root
        self.place = place
        self.entry = entry

    @property
    def kind(self) -> Kind:
        return self.entry.kind

    @property
    def oid(self) -> ObjectId:
        return self.entry.oid

    @property
    def parent_oid(self) -> ObjectId:
        """The directory's object; of the root the superblock."""
        return self.place.io.oid

    @property
    def name(self) -> str:
        return decode_name(self.place.name)

    @property
    def mode(self) -> int:
        return self.entry.mode

    def moved(self, parent: Directory, name: str | bytes) -> None:
        """It has another name now. Raises: InvalidError."""
        self.place = parent.at(check_name(name))
        self.parent = parent

    async def stat(self, *, timeout: float | None = None) -> Stat:
        """Of now. Raises: StaleFileError. Cost: the entry, and a request for each shard."""
        with self.mount._operation(timeout) as call:
            return await attributes.stat_place(self.mount, self.place, self.oid, call)

    async def setattr(self, wanted: SetAttr, *, timeout: float | None = None) -> Stat:
        """Change attributes; what stat tells then.

        Raises: AccessError, StaleFileError, InvalidError (another type, the size of what is no
                file), NotSupportedError (set-user-id, set-group-id, sticky)
        Cost:   two requests and what stat costs; with mtime one for each shard more
        """
        with self.mount._operation(timeout, write=True) as call:
            where = (self.mount, self.place, self.oid)
            return await attributes.setattr_place(*where, wanted, call)

    async def getxattr(self, name: str, *, timeout: float | None = None) -> bytes:
        """Raises: NoAttributeError, StaleFileError, InvalidError. Cost: one request."""
        with self.mount._operation(timeout) as call:
            return await xattrs.get(self.place, self.oid, name, call)

    async def setxattr(
        self,
        name: str,
        value: BufferLike,
        setting: Setting = Setting.ANY,
        *,
        timeout: float | None = None,
    ) -> None:
        """Raises: AccessError, ExistsError, NoAttributeError (`setting`), RecordTooBigError (over
        64 KiB), InvalidError, StaleFileError. Cost: two requests.
        """
        with self.mount._operation(timeout, write=True) as call:
            change = (name, value, setting)
            await xattrs.set_(self.mount, self.place, self.oid, change, call)

    async def removexattr(self, name: str, *, timeout: float | None = None) -> None:
        """Raises: AccessError, NoAttributeError, InvalidError, StaleFileError. Cost: 3 requests."""
        with self.mount._operation(timeout, write=True) as call:
            await xattrs.remove(self.mount, self.place, self.oid, name, call)

    async def listxattr(self, *, timeout: float | None = None) -> list[str]:
        """Names, sorted. Raises: StaleFileError. Cost: two requests."""
        with self.mount._operation(timeout) as call:
            return await xattrs.names(self.place, self.oid, call)

    async def access(self, mask: int, *, timeout: float | None = None) -> None:
        """Whether the permissions grant R_OK, W_OK, X_OK to the process's real user and group.

        Raises: PermissionDeniedError, AccessError (W_OK on a read-only mount), StaleFileError,
                InvalidError
        Cost:   one request
        """
        with self.mount._operation(timeout, write=bool(mask & os.W_OK)) as call:
            entry = await attributes.fetch_known(self.place, self.oid, call)
        attributes.check_access(entry, mask, uid=os.getuid(), gid=os.getgid())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.oid}>"


class Directory(Node):
    """A directory."""

    def __init__(self, mount: Mount, parent: Directory | None, place: Place, entry: Entry) -> None:
        super().__init__(mount, parent, place, entry)
        self.io = mount.io(entry.oid)

    def at(self, name: bytes) -> Place:
        """Where the entry of a name stands."""
        return Place(self.io, name)

    async def set_oclass(self, oclass: str | int | None, *, timeout: float | None = None) -> None:
        """The class of what will be made in it from now on; None: the container's default.

        Raises: AccessError, InvalidError, NotSupportedError, StaleFileError. Cost: two requests.
        """
        class_id = parse_class(oclass)
        self.mount.check_class(class_id)
        await self._set_default({"oclass": class_id}, timeout)

    async def set_chunk_size(self, size: int | None, *, timeout: float | None = None) -> None:
        """The chunk of files that will be made in it from now on; None: the container's default.

        Raises: AccessError, InvalidError, StaleFileError. Cost: two requests.
        """
        await self._set_default({"chunk_size": check_chunk(size)}, timeout)

    async def _set_default(self, fields: dict[str, int], timeout: float | None) -> None:
        with self.mount._operation(timeout, write=True) as call:
            entry = await attributes.fetch_known(self.place, self.oid, call)
            self.entry = await attributes.write_fields(self.mount, self.place, entry, fields, call)


class Symlink(Node):
    """A symlink; `target` as it was written."""

    def __init__(
        self, mount: Mount, parent: Directory | None, place: Place, entry: Entry, target: bytes
    ) -> None:
        super().__init__(mount, parent, place, entry)
        self.target = decode_name(target)


class File(Node):
    """A regular file, opened to read, to write, or both."""

    def __init__(
        self, mount: Mount, parent: Directory | None, place: Place, entry: Entry, flags: int
    ) -> None:
        super().__init__(mount, parent, place, entry)
        access = flags & os.O_ACCMODE
        self.readable = access != os.O_WRONLY
        self.writable = access != os.O_RDONLY
        self.chunk_size = entry.chunk_size or mount.defaults.chunk_size
        self._array = attributes.file_of(mount, entry)

    @property
    def array(self) -> Array:
        """The data, for what arrays can besides: many ranges, appending. It knows of no flags."""
        return self._array

    @overload
    async def read(
        self, offset: int, count: int, into: None = None, *, timeout: float | None = None
    ) -> bytes: ...

    @overload
    async def read(
        self, offset: int, count: int, into: BufferLike, *, timeout: float | None = None
    ) -> int: ...

    async def read(
        self,
        offset: int,
        count: int,
        into: BufferLike | None = None,
        *,
        timeout: float | None = None,
    ) -> bytes | int:
        """Bytes [offset, offset + count), fewer at the end; or into memory, and how many.

        Raises: AccessError (opened to write only), as Array.read
        Cost:   a request for each chunk
        """
        if not self.readable:
            raise AccessError(f"{self} is open to write only")
        if into is None:
            return await self._array.read(offset, count, timeout=timeout)
        return await self._array.read(offset, count, into, timeout=timeout)

    async def write(self, offset: int, data: BufferLike, *, timeout: float | None = None) -> int:
        """Write all of it; durable on return. How many bytes.

        Atomicity: each chunk for itself
        Raises:    AccessError, NoSpaceError, InvalidError
        Cost:      a request for each chunk
        """
        return await self._checked().write(offset, data, timeout=timeout)

    async def append(self, data: BufferLike, *, timeout: float | None = None) -> int:
        """Write behind the end; the offset where it went. Durable on return.

        Of several that append at once each gets a range of its own: see `Array.append`.

        Raises: AccessError, NoSpaceError
        """
        return await self._checked().append(data, timeout=timeout)

    async def truncate(self, size: int, *, timeout: float | None = None) -> None:
        """Cut or extend to `size` bytes. Raises: AccessError, InvalidError."""
        await self._checked().resize(size, timeout=timeout)

    async def punch(self, offset: int, count: int, *, timeout: float | None = None) -> None:
        """Make a hole; one that reaches the end cuts the file at `offset`.

        `count` FILE_SIZE_MAX: the file ends at `offset`, wherever it ended before.

        Raises: AccessError, InvalidError
        """
        array = self._checked()
        if count == FILE_SIZE_MAX:
            await array.resize(offset, timeout=timeout)
            return
        size = await array.get_size(timeout=timeout)
        if count and offset < size:
            if count >= size - offset:
                await array.resize(offset, timeout=timeout)
            else:
                await array.punch(offset, count, timeout=timeout)

    async def size(self, *, timeout: float | None = None) -> int:
        """One past the last byte. Cost: a request for each shard."""
        return await self._array.get_size(timeout=timeout)

    def _checked(self) -> Array:
        if not self.writable:
            raise AccessError(f"{self} is open read-only")
        return self._array

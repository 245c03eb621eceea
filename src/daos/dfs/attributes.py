"""What stat tells of an entry, and what becomes of its times.

E is the newest epoch of the entry's object, 0 where it holds nothing (symlinks have none):

    ctime   the later of the entry's and E
    mtime   E; but the entry's where E is 0, or what it was when the entry's mtime was set by hand:
            a time that was set stays until the next write
    atime   the later of both: nobody writes down who reads

so that writing to a file, or creating and removing in a directory, moves its times without a
request to the entry above it. Aggregation forgets removed keys: the mtime of a directory in which
nothing happened since may then be that of the newest entry that it still has.

Source: DAOS src/client/dfs/common.c entry_stat, obj.c dfs_osetattr
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from daos.base.errors import DaosError, NotFoundError
from daos.base.hlc import unix_ns_from_epoch
from daos.base.ids import Epoch, ObjectId
from daos.client.array import Array
from daos.client.chunks import Geometry
from daos.client.objectio import first_error
from daos.dfs import entries
from daos.dfs.entries import Place
from daos.dfs.errors import StaleFileError
from daos.dfs.layout import DIRECTORY_SIZE, Entry, Kind

if TYPE_CHECKING:
    from daos.client.session import Call
    from daos.dfs.mount import Mount

_BLOCK: Final = 512
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """The fields of `os.stat_result`, and the object's id. Times in ns."""

    st_mode: int
    st_ino: int
    st_dev: int
    st_nlink: int
    st_uid: int
    st_gid: int
    st_size: int
    st_blksize: int
    st_blocks: int
    st_atime_ns: int
    st_mtime_ns: int
    st_ctime_ns: int
    oid: ObjectId

    @property
    def st_atime(self) -> float:
        return self.st_atime_ns / _NS

    @property
    def st_mtime(self) -> float:
        return self.st_mtime_ns / _NS

    @property
    def st_ctime(self) -> float:
        return self.st_ctime_ns / _NS


def inode_number(oid: ObjectId) -> int:
    """64 bits, the same for all clients and for ever; the root directory's is 1.

    No two objects of a container have the same as long as it has drawn less than 2**32 numbers for
    ids; then a collision is as rare as chance makes it.
    """
    return ((oid.lo & 0xFFFFFFFF) << 32 | oid.user_hi) ^ (oid.lo >> 32) * 0x9E3779B97F4A7C15 % (
        1 << 64
    )


async def stat_entry(mount: Mount, entry: Entry, call: Call) -> Stat:
    """Cost: file and directory a request for each shard of the object; symlink none."""
    size, newest = 0, Epoch(0)
    match entry.kind:
        case Kind.FILE:
            size, newest = await file_state(mount, entry, call)
        case Kind.DIRECTORY:
            size = DIRECTORY_SIZE
            newest = await mount.io(entry.oid).newest_epoch(call=call)
        case Kind.SYMLINK:
            size = entry.value_len
    return _stat(mount, entry, size, newest)


async def file_state(mount: Mount, entry: Entry, call: Call) -> tuple[int, Epoch]:
    """Size and newest epoch of a file."""
    io = mount.io(entry.oid)
    array = Array(mount, io, Geometry(1, entry.chunk_size or mount.defaults.chunk_size))
    try:
        async with asyncio.TaskGroup() as group:
            size = group.create_task(array._size(call))
            newest = group.create_task(io.newest_epoch(call=call))
    except* DaosError as errors:
        raise first_error(errors) from None
    return size.result(), newest.result()


async def stat_place(mount: Mount, place: Place, oid: ObjectId | None, call: Call) -> Stat:
    """Of the entry at a place, which must name `oid` if one is given.

    Raises: NotFoundError, StaleFileError (it names something else)
    Cost:   one request, and those of `stat_entry`
    """
    found = await entries.fetch(place, call)
    if found is None or oid not in (None, found.entry.oid):
        raise gone(place) if oid else NotFoundError(f"there is no {place}")
    return await stat_entry(mount, found.entry, call)


def gone(place: Place) -> StaleFileError:
    """The name of an open node is not its name any more."""
    return StaleFileError(f"{place} is not there any more, or is another one now")


def _stat(mount: Mount, entry: Entry, size: int, newest: Epoch) -> Stat:
    mtime, ctime = entry.mtime_ns, entry.ctime_ns
    if newest:
        changed = unix_ns_from_epoch(newest)
        ctime = max(ctime, changed)
        if not entry.obj_hlc or unix_ns_from_epoch(Epoch(entry.obj_hlc)) != changed:
            mtime = changed
    is_file = entry.kind is Kind.FILE
    return Stat(
        st_mode=entry.mode,
        st_ino=inode_number(entry.oid),
        st_dev=mount.device,
        st_nlink=1,
        st_uid=entry.uid,
        st_gid=entry.gid,
        st_size=size,
        st_blksize=(entry.chunk_size or mount.defaults.chunk_size) if is_file else 0,
        st_blocks=-(-size // _BLOCK) if is_file else 0,
        st_atime_ns=max(mtime, ctime),
        st_mtime_ns=mtime,
        st_ctime_ns=ctime,
        oid=entry.oid,
    )

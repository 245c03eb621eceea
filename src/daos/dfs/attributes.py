"""What stat tells of an entry, and what becomes of its times.

E is the newest epoch of the entry's object, 0 where it holds nothing (symlinks have none):

    ctime   the later of the entry's and E
    mtime   E; but the entry's where E is 0, or still what it was when the entry's mtime was set by
            hand (`obj_hlc`): a time that was set stays until the next write
    atime   the later of both: nobody writes down who reads

so that writing to a file, or creating and removing in a directory, moves its times without a
request to the entry above it. Aggregation forgets removed keys: the mtime of a directory in which
nothing happened since may then be that of the newest entry that it still has.

Permissions are advice: whoever may write to the container may do anything. `check_access` tells
what they say of the process's real user and group.

Source: DAOS src/client/dfs/common.c entry_stat, obj.c dfs_osetattr, dfs_access. Ours: what is not
changed is not written, so that two may set different attributes at once
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of
from typing import TYPE_CHECKING, Any, Final

from daos.base.errors import InvalidError, NotFoundError, NotSupportedError
from daos.base.hlc import unix_ns_from_epoch
from daos.base.ids import U32_MAX, Epoch, ObjectId
from daos.client.array import Array
from daos.client.chunks import Geometry
from daos.dfs import entries
from daos.dfs.entries import Place
from daos.dfs.errors import PermissionDeniedError, StaleFileError
from daos.dfs.layout import DIRECTORY_SIZE, Entry, Kind

if TYPE_CHECKING:
    from daos.client.session import Call
    from daos.dfs.mount import Mount

_BLOCK: Final = 512
_NS: Final = 1_000_000_000
_TIME_MAX_NS: Final = _NS << 63


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAttr:
    """What is to be changed; None stays as it is. `mode` may have the type's bits, too."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    mtime_ns: int | None = None


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
            size, newest = await file_of(mount, entry)._stat(call)
        case Kind.DIRECTORY:
            size = DIRECTORY_SIZE
            newest = await mount.io(entry.oid).newest_epoch(call=call)
        case Kind.SYMLINK:
            size = entry.value_len
    return _stat(mount, entry, size, newest)


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
        if entry.obj_hlc != newest:
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


async def setattr_place(
    mount: Mount, place: Place, oid: ObjectId, wanted: SetAttr, call: Call
) -> Stat:
    """Change the entry at a place, which names `oid`; what stat tells then.

    `ctime` becomes now, unless nothing is asked for. A new size is set first, the rest at once.

    Raises: StaleFileError, InvalidError (another type, a number out of range; the size of what is
            no file), NotSupportedError (set-user-id, set-group-id, sticky)
    Cost:   the entry is fetched, and updated; mtime: a request for each shard; size: as truncate;
            and what stat costs
    """
    if not isinstance(wanted, SetAttr):
        raise InvalidError(f"expected a SetAttr, not {wanted!r}")
    entry = await fetch_known(place, oid, call)
    fields = _checked(entry, wanted)
    if wanted.size is not None:
        await file_of(mount, entry).resize(wanted.size, timeout=mount.left(call))
    if wanted.mtime_ns is not None and entry.kind is not Kind.SYMLINK:
        fields["obj_hlc"] = await mount.io(entry.oid).newest_epoch(call=call)
    if fields or wanted.size is not None:
        entry = await write_fields(mount, place, entry, fields, call)
    return await stat_entry(mount, entry, call)


async def write_fields(
    mount: Mount, place: Place, entry: Entry, fields: Mapping[str, int], call: Call
) -> Entry:
    """Write these fields of an entry and its ctime. Raises: StaleFileError. Cost: one request."""
    changes: dict[str, Any] = {**fields}
    entry = replace(touched(mount, entry), **changes)
    try:
        await entries.change(place, entry, {*fields, "ctime_ns"}, call)
    except NotFoundError:
        raise gone(place) from None
    return entry


def touched(mount: Mount, entry: Entry) -> Entry:
    """With the time of now as ctime."""
    return replace(entry, ctime_ns=mount.now_ns())


async def fetch_known(place: Place, oid: ObjectId, call: Call) -> Entry:
    """The entry at a place, which must name `oid`. Raises: StaleFileError. Cost: one request."""
    found = await entries.fetch(place, call)
    if found is None or found.entry.oid != oid:
        raise gone(place)
    return found.entry


def file_of(mount: Mount, entry: Entry) -> Array:
    """The data of a file."""
    chunk = entry.chunk_size or mount.defaults.chunk_size
    return Array(mount, mount.io(entry.oid), Geometry(1, chunk))


def _checked(entry: Entry, wanted: SetAttr) -> dict[str, int]:
    """The fields to be written. Raises: InvalidError, NotSupportedError."""
    for each in fields_of(wanted):
        value = getattr(wanted, each.name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise InvalidError(f"{each.name} is a number, not {value!r}")
    if wanted.size is not None and entry.kind is not Kind.FILE:
        raise InvalidError("only files have a size that can be set")
    fields: dict[str, int] = {}
    if wanted.mode is not None:
        fields["mode"] = _mode(entry, wanted.mode)
    for name in ("uid", "gid"):
        value = getattr(wanted, name)
        if value is not None:
            fields[name] = check_id(name, value)
    if wanted.mtime_ns is not None:
        fields["mtime_ns"] = wanted.mtime_ns
        if not -_TIME_MAX_NS <= wanted.mtime_ns < _TIME_MAX_NS:
            raise InvalidError(f"mtime {wanted.mtime_ns} ns is out of range")
    return fields


def check_id(name: str, value: int) -> int:
    """A user or group. Raises: InvalidError"""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= U32_MAX:
        raise InvalidError(f"{name} is a number of 32 bits, not {value!r}")
    return value


def _mode(entry: Entry, mode: int) -> int:
    kind = stat.S_IFMT(entry.mode)
    if not 0 <= mode <= 0xFFFF or stat.S_IFMT(mode) not in (0, kind):
        raise InvalidError(f"mode {mode:#o} is of another type than {entry.mode:#o}")
    if mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
        raise NotSupportedError(f"mode {mode:#o}: set-user-id, set-group-id and sticky bits")
    return kind | stat.S_IMODE(mode)


def check_access(entry: Entry, mask: int, *, uid: int, gid: int) -> None:
    """Raises: PermissionDeniedError (a bit of `mask` is not granted), InvalidError."""
    if mask & ~7:
        raise InvalidError(f"an access mask has the bits R_OK, W_OK and X_OK, not {mask:#o}")
    granted = entry.mode & 7
    if entry.uid == uid:
        granted |= entry.mode >> 6 & 7
    if entry.gid == gid:
        granted |= entry.mode >> 3 & 7
    if mask & ~granted or (mask and not stat.S_IMODE(entry.mode)):
        raise PermissionDeniedError(f"mode {entry.mode:#o} of {entry.uid}:{entry.gid} denies it")

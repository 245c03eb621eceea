"""How files lie in a container: bytes and names of the superblock and of directory entries; pure.

    container   property root_oids: superblock, root directory, and two that are nil
    superblock  MULTI_HASHED, user bits hi 0, lo 0
                dkey "DFS_SB_METADATA", nine single values (`Superblock`)
                dkey "/": the entry of the root directory
    directory   MULTI_HASHED; a dkey for each entry, its name
    file        ARRAY_BYTE, in chunks as its entry says
    symlink     an entry with a target; the object id names no object

An entry is a dkey with these akeys:

    DFS_INODE   array of 88 records of 1 byte:
         0  u32  mode         type and permissions, as of stat
         4  u64  oid lo
        12  u64  oid hi
        20  i64  mtime        seconds; fractions below
        28  i64  ctime
        36  u64  chunk_size   0: the parent's default is the container's
        44  u32  oclass       of a directory: class of what is created in it, 0: the container's
        48  u64  mtime        nanoseconds, less than 10**9
        56  u64  ctime
        64  u32  uid
        68  u32  gid
        72  u64  value_len    bytes of a symlink's target, else 0
        80  u64  obj_hlc      newest epoch of the object when mtime was set; 0: never
    DFS_SLINK   single value: the target of a symlink
    x:NAME      single value: an extended attribute
    DFS_MOVE    single value, ours: a move that is under way (`Mark`)

Integers little-endian. Worked example: docs/format/dfs.md.
Source: DAOS src/client/dfs/README.md, dfs_internal.h, common.c
"""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass, fields
from enum import Enum
from typing import Final

from daos.base.errors import CorruptError, InvalidError
from daos.base.ids import U64_MAX, ObjectId, ObjectType
from daos.base.iod import Recx
from daos.dfs.errors import NameTooLongError

NAME_MAX: Final = 255
PATH_MAX: Final = 4096
LINKS_MAX: Final = 40  # symlinks followed by one lookup
XATTR_NAME_MAX: Final = 255
XATTR_VALUE_MAX: Final = 65536
CHUNK_DEFAULT: Final = 1 << 20
CHUNK_MAX: Final = 1 << 63
FILE_SIZE_MAX: Final = U64_MAX
DIRECTORY_SIZE: Final = 104  # what stat tells: sizeof(struct dfs_entry) of the reference
STATFS_MAGIC: Final = 0xDA05AD10
PERMISSIONS: Final = 0o7777

ROOT_NAME: Final = b"/"
SUPERBLOCK_USER: Final = 0  # user bits (hi) of its object id; lo is 0
ROOT_USER: Final = 1

INODE: Final = b"DFS_INODE"
SLINK: Final = b"DFS_SLINK"
XATTR: Final = b"x:"
MOVE: Final = b"DFS_MOVE"

SB_DKEY: Final = b"DFS_SB_METADATA"
SB_MAGIC: Final = 0xDA05DF50DA05DF50
SB_VERSION: Final = 2
LAYOUT_VERSION: Final = 3
HINTS_MAX: Final = 127  # bytes

_NS: Final = 1_000_000_000
_INODE: Final = struct.Struct("<IQQqqQIQQIIQQ")
INODE_SIZE: Final = 88
assert _INODE.size == INODE_SIZE

WHOLE: Final = (Recx(0, INODE_SIZE),)


class Kind(Enum):
    """What an entry names."""

    FILE = stat.S_IFREG
    DIRECTORY = stat.S_IFDIR
    SYMLINK = stat.S_IFLNK


_KINDS: Final = {kind.value: kind for kind in Kind}
_OTYPES: Final = {
    Kind.FILE: ObjectType.ARRAY_BYTE,
    Kind.DIRECTORY: ObjectType.MULTI_HASHED,
    Kind.SYMLINK: ObjectType.MULTI_HASHED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The inode of an entry; what `parse` accepts, `emit` gives back bit for bit."""

    mode: int
    oid: ObjectId
    mtime_ns: int = 0
    ctime_ns: int = 0
    chunk_size: int = 0
    oclass: int = 0
    uid: int = 0
    gid: int = 0
    value_len: int = 0
    obj_hlc: int = 0

    @property
    def kind(self) -> Kind:
        return _KINDS[stat.S_IFMT(self.mode)]

    def emit(self) -> bytes:
        """88 bytes."""
        mtime, mtime_ns = divmod(self.mtime_ns, _NS)
        ctime, ctime_ns = divmod(self.ctime_ns, _NS)
        return _INODE.pack(
            self.mode,
            self.oid.lo,
            self.oid.hi,
            mtime,
            ctime,
            self.chunk_size,
            self.oclass,
            mtime_ns,
            ctime_ns,
            self.uid,
            self.gid,
            self.value_len,
            self.obj_hlc,
        )

    @classmethod
    def parse(cls, raw: bytes) -> Entry:
        """Read 88 bytes. Raises: CorruptError for what no entry has."""
        if len(raw) != INODE_SIZE:
            raise _corrupt(0, INODE_SIZE, len(raw))
        mode, lo, hi, mtime, ctime, chunk, oclass, m_ns, c_ns, uid, gid, length, hlc = (
            _INODE.unpack(raw)
        )
        kind = _KINDS.get(stat.S_IFMT(mode))
        if kind is None or mode >> 16:
            raise _corrupt(0, "the mode of a file, directory or symlink", mode)
        if hi >> 56 != _OTYPES[kind]:
            raise _corrupt(12, f"an object of type {_OTYPES[kind].name}", hi)
        for offset, fraction in ((48, m_ns), (56, c_ns)):
            if fraction >= _NS:
                raise _corrupt(offset, "less than 10**9", fraction)
        if chunk > CHUNK_MAX:
            raise _corrupt(36, f"at most {CHUNK_MAX}", chunk)
        if length >= PATH_MAX or bool(length) != (kind is Kind.SYMLINK):
            raise _corrupt(72, "the length of a symlink's target", length)
        return cls(
            mode=mode,
            oid=ObjectId(hi, lo),
            mtime_ns=mtime * _NS + m_ns,
            ctime_ns=ctime * _NS + c_ns,
            chunk_size=chunk,
            oclass=oclass,
            uid=uid,
            gid=gid,
            value_len=length,
            obj_hlc=hlc,
        )


def guess(raw: bytes) -> Entry | None:
    """What bytes that are no entry say of its object: its id tells the type; None: nothing.

    Source: DAOS src/client/dfs/obj.c dfs_obj_fix_type
    """
    if len(raw) != INODE_SIZE:
        return None
    fields = _INODE.unpack(raw)
    oid, length = ObjectId(fields[2], fields[1]), fields[10]
    match oid.hi >> 56:
        case ObjectType.ARRAY_BYTE:
            kind = Kind.FILE
        case ObjectType.MULTI_HASHED:
            kind = Kind.SYMLINK if length else Kind.DIRECTORY
        case _:
            return None
    return Entry(mode=kind.value | 0o700, oid=oid, value_len=min(length, PATH_MAX - 1))


# Where each field stands, for updates of single fields: (offset, size), in order of offset.
_FIELDS: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "mode": ((0, 4),),
    "oid": ((4, 16),),
    "mtime_ns": ((20, 8), (48, 8)),
    "ctime_ns": ((28, 8), (56, 8)),
    "chunk_size": ((36, 8),),
    "oclass": ((44, 4),),
    "uid": ((64, 4),),
    "gid": ((68, 4),),
    "value_len": ((72, 8),),
    "obj_hlc": ((80, 8),),
}
assert list(_FIELDS) == [field.name for field in fields(Entry)]


def pieces_of(entry: Entry, names: set[str]) -> list[tuple[Recx, bytes]]:
    """The records that hold these fields, ascending, with what stands there in `entry`."""
    raw = entry.emit()
    places = sorted(place for name in names for place in _FIELDS[name])
    return [(Recx(offset, size), raw[offset : offset + size]) for offset, size in places]


def _corrupt(offset: int, want: object, got: object) -> CorruptError:
    return CorruptError("directory entry", offset=offset, want=want, got=got)


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """Defaults of a container, written once when it is formatted. Classes 0: chosen by hints."""

    chunk_size: int = CHUNK_DEFAULT
    oclass: int = 0
    dir_oclass: int = 0
    file_oclass: int = 0
    mode: int = 0  # 0 relaxed, 4 balanced
    hints: str = ""

    def emit(self) -> dict[bytes, bytes]:
        """The values by akey; no hints: none."""
        values = {
            b"DFS_MAGIC": SB_MAGIC.to_bytes(8, "little"),
            b"DFS_SB_VERSION": SB_VERSION.to_bytes(2, "little"),
            b"DFS_LAYOUT_VERSION": LAYOUT_VERSION.to_bytes(2, "little"),
            b"DFS_CHUNK_SIZE": self.chunk_size.to_bytes(8, "little"),
            b"DFS_OBJ_CLASS": self.oclass.to_bytes(4, "little"),
            b"DFS_DIR_OBJ_CLASS": self.dir_oclass.to_bytes(4, "little"),
            b"DFS_FILE_OBJ_CLASS": self.file_oclass.to_bytes(4, "little"),
            b"DFS_MODE": self.mode.to_bytes(4, "little"),
        }
        if self.hints:
            values[b"DFS_HINTS"] = self.hints.encode("ascii") + b"\0"
        return values

    @classmethod
    def parse(cls, values: dict[bytes, bytes | None]) -> Superblock:
        """Read the values by akey.

        Raises: InvalidError (another magic or version: no file system, or one we can't read),
                CorruptError (sizes, hints)
        """
        found = {akey: _number(values.get(akey), akey, size) for akey, size in _SB_SIZES.items()}
        for akey, want in (
            (b"DFS_MAGIC", SB_MAGIC),
            (b"DFS_SB_VERSION", SB_VERSION),
            (b"DFS_LAYOUT_VERSION", LAYOUT_VERSION),
        ):
            if found[akey] != want:
                raise InvalidError(
                    f"the superblock's {akey.decode()} is {found[akey]:#x}, expected {want:#x}"
                )
        chunk = found[b"DFS_CHUNK_SIZE"]
        if chunk > CHUNK_MAX:
            raise CorruptError("superblock", offset=0, want=f"at most {CHUNK_MAX}", got=chunk)
        return cls(
            chunk_size=chunk or CHUNK_DEFAULT,
            oclass=found[b"DFS_OBJ_CLASS"],
            dir_oclass=found[b"DFS_DIR_OBJ_CLASS"],
            file_oclass=found[b"DFS_FILE_OBJ_CLASS"],
            mode=found[b"DFS_MODE"],
            hints=_hints(values.get(b"DFS_HINTS")),
        )


_SB_SIZES: Final = {
    b"DFS_MAGIC": 8,
    b"DFS_SB_VERSION": 2,
    b"DFS_LAYOUT_VERSION": 2,
    b"DFS_CHUNK_SIZE": 8,
    b"DFS_OBJ_CLASS": 4,
    b"DFS_DIR_OBJ_CLASS": 4,
    b"DFS_FILE_OBJ_CLASS": 4,
    b"DFS_MODE": 4,
}
SB_AKEYS: Final = (*_SB_SIZES, b"DFS_HINTS")


def _number(value: bytes | None, akey: bytes, size: int) -> int:
    if value is None or len(value) != size:
        got = "nothing" if value is None else len(value)
        raise CorruptError(f"superblock {akey.decode()}", offset=0, want=size, got=got)
    return int.from_bytes(value, "little")


def _hints(value: bytes | None) -> str:
    if value is None:
        return ""
    text, end = value[:-1], value[-1:]
    if end != b"\0" or not text or len(text) > HINTS_MAX or not text.isascii() or b"\0" in text:
        raise CorruptError("superblock DFS_HINTS", offset=0, want="a text and NUL", got=value)
    return text.decode("ascii")


def check_name(name: str | bytes) -> bytes:
    """The bytes of one name. Raises: InvalidError, NameTooLongError."""
    raw = encode_name(name)
    if not raw or b"/" in raw or b"\0" in raw:
        raise InvalidError(f"{name!r} is no name: it is empty, or has / or NUL in it")
    if raw in (b".", b".."):
        raise InvalidError(f"{name!r} names no entry; paths resolve it")
    if len(raw) > NAME_MAX:
        raise NameTooLongError(f"a name of {len(raw)} bytes; at most {NAME_MAX}")
    return raw


def encode_name(name: str | bytes) -> bytes:
    """UTF-8; what `decode_name` could not read goes back to its bytes. Raises: InvalidError."""
    if isinstance(name, bytes):
        return name
    if not isinstance(name, str):
        raise InvalidError(f"names, paths and targets are str or bytes, not {type(name).__name__}")
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidError(f"{name!r} has no bytes in UTF-8: {error}") from None


def decode_name(raw: bytes) -> str:
    """A name as people see it, whatever bytes it has."""
    return raw.decode("utf-8", "surrogateescape")


def emit_roots(superblock: ObjectId, root: ObjectId) -> str:
    """The property root_oids."""
    return f"{superblock} {root} 0.0 0.0"


def parse_roots(text: str) -> tuple[ObjectId, ObjectId]:
    """Superblock and root directory. Raises: CorruptError."""
    try:
        oids = [ObjectId.parse(part) for part in text.split(" ")]
    except InvalidError as error:
        raise CorruptError("root_oids", offset=0, want="object ids", got=error.message) from None
    nil = ObjectId(0, 0)
    if len(oids) != 4 or oids[2:] != [nil, nil] or nil in oids[:2]:
        raise CorruptError("root_oids", offset=0, want="two object ids, two that are nil", got=text)
    return oids[0], oids[1]


_MARK: Final = struct.Struct("<BB6x16sQQQ")
MARK_VERSION: Final = 1
MARK_HEAD_SIZE: Final = 48
assert _MARK.size == MARK_HEAD_SIZE


class Role(Enum):
    """What becomes of the entry that a mark is at."""

    SOURCE = 1  # it is moved away
    DESTINATION = 2  # something is moved there


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A move that is under way, at both its entries: the single value of akey DFS_MOVE.

     0  u8   version     1
     1  u8   role        1 source, 2 destination
     8       token       16 bytes, the move's own
    24  u64  until_ns    Unix time; later than that the mover does nothing more
    32  u64  oid lo      directory of the other entry
    40  u64  oid hi
    48       name        of the other entry
    """

    role: Role
    token: bytes
    until_ns: int
    directory: ObjectId
    name: bytes

    def emit(self) -> bytes:
        """48 bytes and the name."""
        oid = self.directory
        head = (MARK_VERSION, self.role.value, self.token, self.until_ns, oid.lo, oid.hi)
        return _MARK.pack(*head) + self.name

    @classmethod
    def parse(cls, raw: bytes) -> Mark:
        """Raises: CorruptError"""
        name = raw[MARK_HEAD_SIZE:]
        if not 0 < len(name) <= NAME_MAX:
            raise CorruptError("mark of a move", offset=48, want="a name", got=len(raw))
        version, role, token, until_ns, lo, hi = _MARK.unpack_from(raw)
        if version != MARK_VERSION or raw[2:8] != bytes(6):
            raise CorruptError("mark of a move", offset=0, want=MARK_VERSION, got=raw[:8])
        if role not in (Role.SOURCE.value, Role.DESTINATION.value):
            raise CorruptError("mark of a move", offset=1, want="1 or 2", got=role)
        directory = ObjectId(hi, lo)
        return cls(role=Role(role), token=token, until_ns=until_ns, directory=directory, name=name)

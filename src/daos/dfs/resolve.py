"""What users give as a path, and where it leads.

A path is str, bytes, os.PathLike or a path of this file system, and begins with "/": a container
has no working directory. Str is UTF-8; a name that is none comes as `os.fsdecode` shows it. What is
created, removed or renamed is the *end* of a path: a name in a directory, whether or not there is
anything.

    /a/b/c     directory /a/b, name c           which is not followed
    /a/b/c/    the same, and a slash: c has to be a directory
    /a/b/..    the directory /a itself, no name; so are "." and "/"

Source: path_resolution(7)
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from daos.base.errors import DaosError, ExistsError, InvalidError, NotFoundError
from daos.client.session import Call, Handle, Operation
from daos.dfs import namespace
from daos.dfs.errors import IsDirectoryError, LoopError, NameTooLongError, NotDirectoryError
from daos.dfs.layout import LINKS_MAX, PATH_MAX, decode_name, encode_name
from daos.dfs.lookup import child, refresh, walk
from daos.dfs.namespace import Spot
from daos.dfs.node import Directory, File, Node, Symlink

if TYPE_CHECKING:
    from daos.dfs.mount import Mount

# Nothing is there, as far as the path goes: what `exists` and its like call no. All else is an
# error: who can't ask does not know.
NOTHING: Final = (NotFoundError, NotDirectoryError, LoopError, NameTooLongError)


class OwnPath:
    """A path that means something to a file system, and nothing to this host.

    So it is no os.PathLike: `open(path)` or `shutil.rmtree(path)` would take the file of that name
    which this host has. `str` of it is the path.
    """

    __slots__ = ()


TextPath: TypeAlias = "str | OwnPath | os.PathLike[str]"
BytesPath: TypeAlias = "bytes | os.PathLike[bytes]"
StrPath: TypeAlias = "TextPath | BytesPath"


class ByPath(Handle):
    """What offers calls that take paths."""

    def __init__(self, mount: Mount) -> None:
        super().__init__(mount._session, mount, writable=mount.writable)
        self.mount = mount

    def _naming(self, timeout: float | None, *paths: StrPath, write: bool = False) -> Named:
        """Begin a call whose errors name these paths."""
        try:
            return Named(self._operation(timeout, write=write), *paths)
        except DaosError as error:
            name(error, *paths)
            raise

    def _left(self, call: Call) -> float:
        """Seconds of a call that are left."""
        return self.mount.left(call)

    async def _node(self, path: StrPath, call: Call, *, follow: bool = True) -> Node:
        """What there is at a path. Cost: a request for each component; of the root one."""
        found = await walk(self.mount, self.mount.root, raw_of(path), call, follow=follow)
        await refresh(found, call)
        return found


class End(NamedTuple):
    """A name in a directory. No name: the directory itself."""

    parent: Directory
    name: bytes
    slash: bool

    @property
    def spot(self) -> Spot:
        """The place. Raises: InvalidError, NameTooLongError."""
        return namespace.spot(self.parent.mount, self.parent, self.name)

    def is_below(self, other: End) -> bool:
        """Whether the way here led through `other`."""
        here: Directory | None = self.parent
        while here is not None:
            if (here.parent_oid, here.place.name) == (other.parent.oid, other.name):
                return True
            here = here.parent
        return False


class Named:
    """An operation whose errors name the paths that it was given, in the form they were given."""

    __slots__ = ("_operation", "_paths")

    def __init__(self, operation: Operation, *paths: StrPath) -> None:
        self._operation = operation
        self._paths = paths

    def __enter__(self) -> Call:
        return self._operation.__enter__()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._operation.__exit__()
        if isinstance(error, DaosError):
            name(error, *self._paths)


def name(error: DaosError, *paths: StrPath) -> None:
    """Say in an error which paths it is about."""
    if error.filename is None:
        names = [given(path) for path in paths]
        error.filename = names[0]
        if len(names) > 1:
            error.filename2 = names[1]
        error.message = f"{error.message}: {' -> '.join(map(repr, names))}"


def given(path: StrPath) -> str | bytes:
    """A path as text or bytes. Raises: TypeError."""
    return str(path) if isinstance(path, OwnPath) else os.fspath(path)


def text_of(path: StrPath) -> str:
    """A path as text."""
    name = given(path)
    return decode_name(name) if isinstance(name, bytes) else name


def raw_of(path: StrPath) -> bytes:
    """The bytes of a path.

    Raises: NotFoundError (empty), InvalidError (not absolute, NUL), NameTooLongError, TypeError
    """
    raw = encode_name(given(path))
    if not raw:
        raise NotFoundError("a path that is empty names nothing")
    if b"\0" in raw:
        raise InvalidError("embedded null byte")
    if raw[:1] != b"/":
        raise InvalidError(
            f"path {given(path)!r} must begin with /: a container has no working directory"
        )
    if len(raw) >= PATH_MAX:
        raise NameTooLongError(f"a path of {len(raw)} bytes; less than {PATH_MAX}")
    return raw


async def directory(mount: Mount, path: StrPath, call: Call) -> Directory:
    """A directory. Raises: NotDirectoryError. Cost: a request for each component."""
    found = await walk(mount, mount.root, raw_of(path), call, follow=True)
    if not isinstance(found, Directory):
        raise NotDirectoryError("it is no directory")
    return found


async def end(mount: Mount, path: StrPath, call: Call, *, error: DaosError | None = None) -> End:
    """Where a name stands, or would.

    `error`: raised where there is no name: the path is the root, or ends in `.` or `..`.

    Cost: a request for each component but the last
    """
    found = await _end(mount, mount.root, raw_of(path), call)
    if not found.name and error is not None:
        raise error
    return found


async def _end(mount: Mount, start: Directory, raw: bytes, call: Call) -> End:
    """The end of a path, from `start` if it is relative."""
    whole = raw.rstrip(b"/")
    slash = len(whole) < len(raw)
    head, between, last = whole.rpartition(b"/")
    if last in (b"", b".", b".."):
        found = await walk(mount, start, raw, call, follow=True)
        if not isinstance(found, Directory):
            raise NotDirectoryError(f"{found.name!r} is no directory")
        return End(found, b"", True)
    if not between:
        return End(start, last, slash)
    parent = await walk(mount, start, head + b"/", call, follow=True)
    assert isinstance(parent, Directory)  # so says the slash
    return End(parent, last, slash)


async def open_file(
    mount: Mount, path: StrPath, flags: int, wanted: namespace.Wanted, call: Call
) -> File:
    """Open or make the file at a path; a symlink is followed, also to make what it points to.

    Raises: as `namespace.open_file`
    Cost:   a request for each component; with O_CREAT one more if there is a file
    """
    mount._check_flags(flags)
    raw = raw_of(path)
    if not flags & os.O_CREAT:
        return await _open_found(mount, raw, flags, call)
    where = await _end(mount, mount.root, raw, call)
    for _ in range(LINKS_MAX + 1):
        if not where.name and flags & os.O_EXCL:
            raise ExistsError("it is a directory")
        if not where.name or where.slash:
            raise IsDirectoryError("it is a directory")
        await refresh(where.parent, call)  # what is made takes its defaults from there
        try:
            return await namespace.open_file(mount, where.spot, flags, wanted, call)
        except LoopError:
            link = await child(mount, where.parent, where.name, call)
        if isinstance(link, Symlink):
            where = await _end(mount, where.parent, encode_name(link.target), call)
    raise LoopError(f"more than {LINKS_MAX} symlinks")


async def _open_found(mount: Mount, raw: bytes, flags: int, call: Call) -> File:
    """Open what is there. Raises: NotFoundError, IsDirectoryError, NotDirectoryError."""
    found = await walk(mount, mount.root, raw, call, follow=True)
    if not isinstance(found, File):
        raise IsDirectoryError("it is a directory")
    assert found.parent is not None  # the root is a directory
    file = File(mount, found.parent, found.place, found.entry, flags)
    if flags & os.O_TRUNC:
        await file.array.resize(0, timeout=mount.left(call))
    return file

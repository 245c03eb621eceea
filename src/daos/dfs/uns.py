"""The unified namespace: how text and paths of this host name a container, and a path in it.

    daos://POOL/CONTAINER[/PATH]    by label or UUID; daos://POOL alone names the pool
    /POOL/CONTAINER[/PATH]          the same where nothing but a container can be meant (`prefix`)
    /local/path/dir/rest            where /local/path/dir is marked: /rest in the container

The mark is the extended attribute `user.daos` of a directory (POSIX) or a file (HDF5):

    DAOS.<TYPE>://<36 characters, pool>/<36 characters, container>\\0     at most 170 bytes

Marks are read and written on file systems of this host, in the caller's thread.

Source: DAOS src/client/dfs/duns.c, include/daos_uns.h. Ours: the container is destroyed before its
mark, so that one that is still needed keeps its name; a path need not exist below its mark
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Unpack
from uuid import UUID

from daos.base.errors import DaosError, InvalidError, NotFoundError
from daos.container.core import LAYOUT_TYPES, parse_layout_type
from daos.dfs.errors import NoAttributeError, NotEmptyError, local_error

if TYPE_CHECKING:
    from daos.client.container import Container
    from daos.client.pool import Pool
    from daos.client.values import FileDefaults

ATTRIBUTE: Final = "user.daos"
MARK_SIZE_MAX: Final = 170
PREFIX: Final = "daos://"

_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_MARK: Final = re.compile(rf"DAOS\.([A-Za-z0-9]+)://({_UUID})/({_UUID})\0?".encode(), re.IGNORECASE)
_UNMARKED: Final = (errno.ENODATA, errno.ENOTSUP, errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class Mark:
    """What `user.daos` says; what `parse` accepts, `emit` gives back."""

    layout: str
    pool: UUID
    container: UUID

    def emit(self) -> bytes:
        """The value, with the NUL at its end."""
        return f"DAOS.{self.layout}://{self.pool}/{self.container}\0".encode()

    @classmethod
    def parse(cls, value: bytes) -> Mark:
        """Raises: InvalidError for what no container is named by (`duns_parse_attr`)."""
        found = _MARK.fullmatch(value) if len(value) <= MARK_SIZE_MAX else None
        layout = found.group(1).decode() if found is not None else ""
        if found is None or layout not in LAYOUT_TYPES:
            expected = "DAOS.POSIX://<pool uuid>/<container uuid>"
            raise InvalidError(f"{ATTRIBUTE} is {value[:80]!r}; expected {expected}")
        pool, container = (UUID(each.decode()) for each in found.groups()[1:])
        return cls(layout, pool, container)


@dataclass(frozen=True, slots=True)
class Address:
    """A container by label or UUID, and an absolute path in it. No container: the pool alone."""

    pool: str
    container: str
    path: str = "/"
    mark: str = ""  # the marked local path that led here
    layout: str = ""  # of the mark

    def __str__(self) -> str:
        return f"{PREFIX}{self.pool}/{self.container}{self.path.rstrip('/')}"


def direct(text: str, *, prefix: bool = True) -> Address | None:
    """The address that a text names by itself; None: it is a path of this host.

    `prefix` False: also /POOL/CONTAINER[/PATH].

    Raises: InvalidError (daos:// without a pool)
    """
    if text.startswith(PREFIX):
        rest = text.removeprefix(PREFIX)
    elif not prefix and re.fullmatch(r"/*[^/]+/[^/]+(/.*)?", text, re.DOTALL):
        rest = text.lstrip("/")
    else:
        return None
    pool, _, inside = rest.partition("/")
    container, _, path = inside.lstrip("/").partition("/")
    if not pool:
        raise InvalidError(f"{text!r} names no pool; expected {PREFIX}POOL/CONTAINER[/PATH]")
    return Address(pool, container, f"/{path}")


def resolve(
    text: str, *, prefix: bool = True, check_path: bool = True, reverse: bool = True
) -> Address:
    """The address that a text names, directly or as a path at or below a mark of this host.

    `check_path` False: direct forms only. `reverse` False: the path itself is to be marked.

    Raises: NoAttributeError (ENODATA: there is no mark), InvalidError (a mark that is none)
    """
    found = direct(text, prefix=prefix)
    if found is not None:
        return found
    if not check_path:
        expected = f"{PREFIX}POOL/CONTAINER[/PATH]"
        raise NoAttributeError(f"{text!r} is no address; expected {expected}")
    if not text:
        raise InvalidError("an empty path names nothing")
    here, rest = os.path.realpath(text), ""
    while True:
        mark = read_mark(here)
        if mark is not None:
            return Address(str(mark.pool), str(mark.container), rest or "/", here, mark.layout)
        above, name = os.path.split(here)
        if not reverse or above == here or _leaves_mount(here, above):
            raise NoAttributeError(f"{text!r} leads to no container: nothing on its way is marked")
        here, rest = above, f"/{name}{rest}"


def read_mark(path: str) -> Mark | None:
    """The mark of one path, itself; None: it has none. Raises: InvalidError, DaosError."""
    try:
        return Mark.parse(os.getxattr(path, ATTRIBUTE, follow_symlinks=False))
    except OSError as error:
        if isinstance(error, DaosError):
            raise
        if error.errno in _UNMARKED:
            return None
        raise local_error(error, path) from None


async def create_path(
    pool: Pool,
    path: str,
    label: str = "",
    type: str = "POSIX",
    props: Mapping[str, object] | None = None,
    **files: Unpack[FileDefaults],
) -> Container:
    """Create a container and the marked path that names it; the container is open.

    Raises:    ExistsError (path or label), InvalidError (a type that has no path), as
               Pool.create_container
    Atomicity: what fails leaves neither; what is killed, an unmarked path or container
    """
    layout = parse_layout_type(type)
    _make(path, layout)
    try:
        container = await pool.create_container(label, layout, props, **files)
        try:
            _write(path, Mark(layout, pool.uuid, container.uuid))
        except DaosError:
            await container.close()
            await pool.destroy_container(container.uuid, force=True)
            raise
    except BaseException:
        _unmake(path)
        raise
    return container


async def link(pool: Pool, container: Container, path: str) -> None:
    """Make a marked path for a container that there is.

    Raises: ExistsError (path), InvalidError (a container of a type that has no path)
    """
    layout = (await container.props.items())["layout_type"]
    _make(path, layout)
    try:
        _write(path, Mark(layout, pool.uuid, container.uuid))
    except DaosError:
        _unmake(path)
        raise


async def destroy_path(pool: Pool, path: str, *, force: bool = True) -> None:
    """Destroy the container that a marked path names, then the path.

    A container that is gone already leaves the path to be removed.

    Raises: NoAttributeError (no mark), NotEmptyError (files beside the mark), InvalidError (of
            another pool), BusyError (without `force`: somebody has it open)
    """
    mark = read_mark(path.rstrip("/"))
    if mark is None:
        raise NoAttributeError(f"{path!r} names no container: it is not marked")
    if mark.pool != pool.uuid:
        raise InvalidError(f"{path!r} names a container of pool {mark.pool}, not {pool.uuid}")
    _check_empty(path)
    with contextlib.suppress(NotFoundError):
        await pool.destroy_container(mark.container, force=force)
    try:
        _remove(path.rstrip("/"))
    except OSError as error:
        raise local_error(error, path) from None


def _check_empty(path: str) -> None:
    try:
        names = os.listdir(path) if os.path.isdir(path) else []
    except OSError as error:
        raise local_error(error, path) from None
    if names:
        raise NotEmptyError(f"{path!r} is not empty: its files are not in the container")


def _make(path: str, layout: str) -> None:
    """Raises: ExistsError, InvalidError, DaosError."""
    try:
        match layout:
            case "POSIX":
                os.mkdir(path, 0o775)
            case "HDF5":
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o664))
            case _:
                raise InvalidError(f"only POSIX and HDF5 containers have paths, not {layout}")
    except OSError as error:
        if isinstance(error, DaosError):
            raise
        raise local_error(error, path) from None


def _write(path: str, mark: Mark) -> None:
    try:
        os.setxattr(path, ATTRIBUTE, mark.emit(), os.XATTR_CREATE)
    except OSError as error:
        raise local_error(error, path) from None


def _unmake(path: str) -> None:
    with contextlib.suppress(OSError):  # what went wrong before is what the caller hears of
        _remove(path)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        os.rmdir(path)
    else:
        os.unlink(path)


def _leaves_mount(below: str, above: str) -> bool:
    try:
        return os.lstat(below).st_dev != os.lstat(above).st_dev
    except OSError:
        return False  # not there: a path to be made below a mark

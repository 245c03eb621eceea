"""What file systems refuse that nothing else does: errors with the names and numbers of POSIX.

Each is also the built-in exception that `os` raises for its number, where there is one. The codes
are those that the number has on its way back (`errno_to_der`); most have none of their own.

Source: errno(3); DAOS src/include/daos/common.h daos_errno2der
"""

from __future__ import annotations

import errno
import os
from typing import Final

from daos.base.errors import (
    DER,
    AccessError,
    DaosError,
    ExistsError,
    NoSpaceError,
    NotFoundError,
    NotSupportedError,
    errno_to_der,
    error_for,
)


class NotDirectoryError(DaosError, NotADirectoryError):
    """A path goes through something that is no directory."""

    code = DER.NOTDIR


class IsDirectoryError(DaosError, IsADirectoryError):
    """A directory, where something else is needed."""

    posix = errno.EISDIR


class NotEmptyError(DaosError):
    """The directory has entries."""

    posix = errno.ENOTEMPTY


class LoopError(DaosError):
    """Too many symlinks on the way, or one where none is followed."""

    posix = errno.ELOOP


class NameTooLongError(DaosError):
    """A name or path is over its limit."""

    posix = errno.ENAMETOOLONG


class NoAttributeError(DaosError):
    """There is no extended attribute of that name."""

    posix = errno.ENODATA


class UnsupportedError(NotSupportedError):
    """Something that the other file system can't hold."""


class CrossDeviceError(DaosError):
    """The two names are in different file systems."""

    posix = errno.EXDEV


class PermissionDeniedError(AccessError):
    """The permissions of an entry do not allow it."""

    posix = errno.EACCES


class StaleFileError(NotFoundError):
    """The name of a node that is open is gone, or names something else now."""


def local_error(error: OSError, path: str = "") -> DaosError:
    """What a file system of this host said, as the error that ours gives for the same number."""
    number = error.errno or errno.EIO
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else path
    text = f"{name}: {error.strerror or os.strerror(number)}" if name else str(error)
    named = _LOCAL.get(number)
    made = named(text) if named is not None else error_for(errno_to_der(number), text)
    made.errno = number
    return made


_LOCAL: Final[dict[int, type[DaosError]]] = {
    errno.ENOENT: NotFoundError,
    errno.EEXIST: ExistsError,
    errno.ENOSPC: NoSpaceError,
    errno.EACCES: PermissionDeniedError,
    errno.EPERM: AccessError,
    errno.ENOTDIR: NotDirectoryError,
    errno.EISDIR: IsDirectoryError,
    errno.ENOTEMPTY: NotEmptyError,
    errno.ELOOP: LoopError,
    errno.ENAMETOOLONG: NameTooLongError,
    errno.ENODATA: NoAttributeError,
    errno.EXDEV: CrossDeviceError,
}

"""The right to use a directory, files replaced whole, what a file system refuses in our words.

Source: ours; flock(2) goes with the process, whatever it dies of
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from daos.base.errors import AccessError, BusyError, DaosError, InvalidError, NoSpaceError

LOCK: Final = "lock"


class Lock:
    """The right to use a directory, held until `release` or the end of the process.

    Raises: BusyError    another process, or another system of this one, holds it
            AccessError  the directory can't be written to
    """

    def __init__(self, path: Path, *, wait_s: float = 0.0, for_children: bool = False) -> None:
        """`wait_s`: how long to wait for who holds it, in the main thread only. `for_children`:
        forked children hold it as well, until the last one ends."""
        with told_by(path):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            with told_by(path):
                _lock(self._fd, wait_s)
        except BusyError:
            holder = read_holder(self._fd) or "unknown"
            os.close(self._fd)
            raise BusyError(
                f"{path.parent} is in use by process {holder}; close it there first"
            ) from None
        try:
            with told_by(path):
                os.pwrite(self._fd, f"{os.getpid():<31}\n".encode("ascii"), 0)
        except DaosError:
            os.close(self._fd)
            raise
        if not for_children:
            # A forked child shares the lock as long as it has the descriptor: it must not keep
            # the directory locked when we are gone.
            reference = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _release(reference()))

    def release(self) -> None:
        """Let others have the directory. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def replace(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Put a file with `content` at `path`; who reads sees the old one or the new one.

    `durable` False: for what means nothing after the next boot.

    Raises: NoSpaceError, AccessError, InvalidError
    """
    fresh = path.with_name(path.name + ".new")
    with told_by(path):
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb", closefd=False) as file:
                file.write(content)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        fresh.replace(path)
        if durable:
            flush_directory(path.parent)


def flush_directory(directory: Path) -> None:
    """Make the names in it durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_holder(fd: int) -> str:
    """The pid in a lock file, as text; what it says is true while the lock is held."""
    return os.pread(fd, 32, 0).decode("ascii", "replace").strip()


def _lock(fd: int, wait_s: float) -> None:
    """Raises: BusyError"""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if wait_s <= 0:
            raise BusyError("locked") from None
    else:
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise BusyError("locked")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, wait_s)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _release(lock: Lock | None) -> None:
    if lock is not None:
        lock.release()


@contextmanager
def told_by(path: Path) -> Iterator[None]:
    """What the file system refuses, in our words."""
    try:
        yield
    except DaosError:  # some are errors of the system's kind, too
        raise
    except OSError as error:
        text = f"can't use {path}: {error.strerror}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError(text) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise AccessError(text) from error
        raise InvalidError(text) from error

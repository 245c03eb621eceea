"""Small files that are replaced whole, and are there after a power cut when `replace` returns.

Source: ours; the manner of DAOS src/control/server/storage/metadata, with flushes
"""

from __future__ import annotations

import os
from pathlib import Path

from daos.base.directory import flush_directory, told_by


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


def read(path: Path) -> bytes | None:
    """What is in the file; None where there is none. Raises: AccessError, InvalidError"""
    with told_by(path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def make_private(directory: Path, mode: int = 0o700) -> None:
    """Make `directory`, and those above that are missing, with `mode`.

    Raises: AccessError, InvalidError
    """
    with told_by(directory):
        for each in reversed([directory, *directory.parents]):
            each.mkdir(mode=mode, exist_ok=True)


def remove_sockets(directory: Path, pattern: str) -> None:
    """Remove what a process that died left behind; nothing else has such names.

    Raises: AccessError
    """
    with told_by(directory):
        for path in directory.glob(pattern):
            if path.is_socket():
                path.unlink(missing_ok=True)

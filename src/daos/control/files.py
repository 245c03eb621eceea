"""Small files of a server, and its directories. What `replace` puts is there after a power cut.

Source: ours; the manner of DAOS src/control/server/storage/metadata, with flushes
"""

from __future__ import annotations

from pathlib import Path

from daos.base.directory import replace, told_by

__all__ = ["make_private", "read", "remove_sockets", "replace"]


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

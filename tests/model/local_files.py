"""A directory of this host with the calls of a `FileSystem`: what `os` says to the same call.

Paths are those of the file system; below them stands a directory on tmpfs. `told` makes answers of
both comparable: what no file system has to agree on (times, inode numbers, order) is left out.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import daos


class LocalFiles:
    """The names of `daos.FileSystem`, by `os`, `shutil` and `open`."""

    def __init__(self, root: Path) -> None:
        self.root = os.fspath(root)

    def at(self, path: str) -> str:
        """Where a path lies. What is no absolute path stays as it is."""
        return self.root + path if path.startswith("/") else path

    def open(self, path: str, mode: str = "r", buffering: int = -1) -> IO[Any]:
        return open(self.at(path), mode, buffering)  # the caller closes it

    def stat(self, path: str, *, follow_symlinks: bool = True) -> os.stat_result:
        return os.stat(self.at(path), follow_symlinks=follow_symlinks)

    def lstat(self, path: str) -> os.stat_result:
        return os.lstat(self.at(path))

    def exists(self, path: str) -> bool:
        return os.path.exists(self.at(path))

    def isfile(self, path: str) -> bool:
        return os.path.isfile(self.at(path))

    def isdir(self, path: str) -> bool:
        return os.path.isdir(self.at(path))

    def islink(self, path: str) -> bool:
        return os.path.islink(self.at(path))

    def listdir(self, path: str) -> list[str]:
        return os.listdir(self.at(path))

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        os.mkdir(self.at(path), mode)

    def makedirs(self, path: str, mode: int = 0o755, exist_ok: bool = False) -> None:
        os.makedirs(self.at(path), mode, exist_ok)

    def rmdir(self, path: str) -> None:
        os.rmdir(self.at(path))

    def remove(self, path: str) -> None:
        os.remove(self.at(path))

    def rmtree(self, path: str) -> None:
        shutil.rmtree(self.at(path))

    def rename(self, src: str, dst: str) -> None:
        os.rename(self.at(src), self.at(dst))

    def symlink(self, src: str, dst: str) -> None:
        os.symlink(self.at(src), self.at(dst))

    def readlink(self, path: str) -> str:
        return os.readlink(self.at(path)).removeprefix(self.root)

    def truncate(self, path: str, length: int) -> None:
        os.truncate(self.at(path), length)

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self.at(path), mode)

    def touch(self, path: str, mode: int = 0o644, exist_ok: bool = True) -> None:
        Path(self.at(path)).touch(mode, exist_ok)

    def getxattr(self, path: str, name: str, *, follow_symlinks: bool = True) -> bytes:
        return os.getxattr(self.at(path), name, follow_symlinks=follow_symlinks)

    def setxattr(self, path: str, name: str, value: bytes, flags: int = 0) -> None:
        os.setxattr(self.at(path), name, value, flags)

    def listxattr(self, path: str) -> list[str]:
        return os.listxattr(self.at(path))

    def removexattr(self, path: str, name: str) -> None:
        os.removexattr(self.at(path), name)

    def read_bytes(self, path: str) -> bytes:
        with open(self.at(path), "rb") as file:
            return file.read()

    def write_bytes(self, path: str, data: bytes) -> int:
        with open(self.at(path), "wb") as file:
            return file.write(data)

    def read_text(self, path: str) -> str:
        with open(self.at(path), encoding="utf-8") as file:
            return file.read()

    def write_text(self, path: str, data: str) -> int:
        with open(self.at(path), "w", encoding="utf-8") as file:
            return file.write(data)

    def walk(self, path: str, topdown: bool = True) -> list[tuple[str, list[str], list[str]]]:
        found = os.walk(self.at(path), topdown)
        return [(top.removeprefix(self.root), names, files) for top, names, files in found]


def told(call: Callable[[], object]) -> object:
    """What a call says: its value, or the number of its error."""
    try:
        return _plain(call())
    except OSError as error:
        return f"errno {error.errno}"
    except ValueError as error:
        return f"ValueError {error}"


def _plain(value: object) -> object:
    if hasattr(value, "st_mode"):
        return _stat(value)
    if isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return sorted(value)
        return sorted((top, sorted(names), sorted(files)) for top, names, files in value)
    if hasattr(value, "close"):  # an open file: that it could be opened
        value.close()
        return "open"
    return value


def _stat(found: daos.Stat | os.stat_result) -> tuple[int, int | None]:
    """Mode, and the size of a file: a symlink to /x is longer where x lies deeper."""
    return found.st_mode, found.st_size if stat.S_ISREG(found.st_mode) else None


def tree_of(files: LocalFiles | daos.FileSystem, top: str = "/") -> dict[str, object]:
    """All there is below a directory: content, targets, modes, attributes."""
    found: dict[str, object] = {}
    left = [top]
    while left:
        here = left.pop()
        for name in files.listdir(here):
            path = here.rstrip("/") + "/" + name
            mode = files.lstat(path).st_mode
            content: object
            if stat.S_ISLNK(mode):
                content = files.readlink(path)
            elif stat.S_ISDIR(mode):
                content = None
                left.append(path)
            else:
                content = files.read_bytes(path)
            marks = {}
            if not stat.S_ISLNK(mode):
                marks = {mark: files.getxattr(path, mark) for mark in files.listxattr(path)}
            found[path] = (oct(mode), content, marks)
    return found

"""What `scandir` and `walk` give; pure.

An entry comes with its stat, and a symlink also with the stat of what it leads to: the pass over
the directory asks for both, many at a time, so none of an entry's methods asks again.

Source: https://docs.python.org/3/library/os.html#os.DirEntry, os.walk
"""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from daos.base.errors import NotFoundError
from daos.dfs.attributes import Stat
from daos.dfs.resolve import OwnPath, StrPath, text_of

# Directory, names of directories in it, names of all else.
Visit: TypeAlias = tuple[str, list[str], list[str]]


@dataclass(frozen=True, slots=True)
class DirEntry(OwnPath):
    """A name of a directory, as of the pass that gave it."""

    name: str
    path: str  # the directory as it was given, and the name
    own: Stat  # of the entry itself
    target: Stat | None  # of what it leads to; None: a symlink that leads nowhere

    def stat(self, *, follow_symlinks: bool = True) -> Stat:
        """Of what it leads to, or of the entry itself. Raises: FileNotFoundError."""
        if not follow_symlinks:
            return self.own
        if self.target is None:
            error = NotFoundError(f"the symlink {self.path!r} leads nowhere")
            error.filename = self.path
            raise error
        return self.target

    def inode(self) -> int:
        """The number of the entry itself."""
        return self.own.st_ino

    def is_symlink(self) -> bool:
        """Whether it is a symlink."""
        return stat.S_ISLNK(self.own.st_mode)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a directory, or leads to one."""
        return stat.S_ISDIR(self.mode(follow_symlinks=follow_symlinks))

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a file, or leads to one."""
        return stat.S_ISREG(self.mode(follow_symlinks=follow_symlinks))

    def mode(self, *, follow_symlinks: bool = True) -> int:
        """Type and permissions; 0 of a symlink that leads nowhere, if it is followed."""
        found = self.target if follow_symlinks else self.own
        return 0 if found is None else found.st_mode

    def __str__(self) -> str:
        return self.path


def walking(
    top: str,
    *,
    topdown: bool,
    onerror: Callable[[OSError], object] | None,
    followlinks: bool,
) -> Generator[str | Visit, Sequence[DirEntry] | OSError | None, None]:
    """The steps of `os.walk`: yields a path to be listed, and takes its entries, or the error.

    A tuple is for the user; from the top down the directories are read after that: what is taken
    out of the list is not visited.
    """
    left: list[str | Visit] = [top]
    while left:
        here = left.pop()
        if isinstance(here, tuple):
            yield here
            continue
        entries = yield here
        if not isinstance(entries, Sequence):
            if entries is not None and onerror is not None:
                onerror(entries)
            continue
        directories = [entry.name for entry in entries if entry.is_dir()]
        files = [entry.name for entry in entries if not entry.is_dir()]
        links = {entry.name for entry in entries if entry.is_symlink()}
        if topdown:
            yield here, directories, files
        else:
            left.append((here, directories, files))
        left += [
            posixpath.join(here, name)
            for name in reversed(directories)
            if followlinks or name not in links
        ]


def joined(path: StrPath, name: str) -> str:
    """A path as text, and a name below it."""
    return posixpath.join(text_of(path), name)

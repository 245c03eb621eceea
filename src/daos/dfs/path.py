"""Paths of a file system as objects, with the names of `pathlib.Path`.

    home = fs.path("/home")
    for page in (home / "docs").glob("**/*.md"):
        print(page.name, page.stat().st_size)

A `Path` is a `PurePosixPath`, which knows all about names, and the file system that it is a path
of. It is always absolute, since a container has no working directory: `fs.path("a")` is `/a`.
Paths compare and hash by file system and name. A `Path` is no os.PathLike: `open`, `os` and
`shutil` refuse it, where they would otherwise reach a file of this host that has the same name.

Source: ours; https://docs.python.org/3/library/pathlib.html#concrete-paths
"""

from __future__ import annotations

import fnmatch
import functools
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from daos.base.errors import ExistsError, InvalidError
from daos.dfs.resolve import OwnPath, TextPath, text_of

if TYPE_CHECKING:
    from daos.client.memory import BufferLike
    from daos.dfs.attributes import Stat
    from daos.dfs.sync import FileSystem


@functools.total_ordering
class Path(OwnPath):
    """One path of one file system; made by `fs.path(...)` and by `/`."""

    __slots__ = ("_fs", "_pure")

    def __init__(self, fs: FileSystem, *parts: TextPath) -> None:
        self._fs = fs
        self._pure = PurePosixPath("/", *map(text_of, parts))
        if self._pure.root != "/":  # "//a" is a place of its own in POSIX, and nowhere here
            self._pure = PurePosixPath("/", *self._pure.parts[1:])

    # Names: PurePosixPath's

    @property
    def parts(self) -> tuple[str, ...]:
        """ "/" and the names."""
        return self._pure.parts

    @property
    def name(self) -> str:
        """The last name; "" of the root."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """The last suffix, with its dot; or ""."""
        return self._pure.suffix

    @property
    def suffixes(self) -> list[str]:
        """All suffixes."""
        return self._pure.suffixes

    @property
    def root(self) -> str:
        """Always "/"."""
        return self._pure.root

    @property
    def parent(self) -> Path:
        """The directory; the root is its own."""
        return self._with(self._pure.parent)

    @property
    def parents(self) -> tuple[Path, ...]:
        """The directories up to the root, nearest first."""
        return tuple(self._with(parent) for parent in self._pure.parents)

    def joinpath(self, *others: TextPath) -> Path:
        """`self / other / ...`."""
        return self._with(self._pure.joinpath(*map(text_of, others)))

    def __truediv__(self, other: TextPath) -> Path:
        try:
            return self._with(self._pure / text_of(other))
        except TypeError:
            return NotImplemented

    def with_name(self, name: str) -> Path:
        """With another last name. Raises: ValueError."""
        return self._with(self._pure.with_name(name))

    def with_stem(self, stem: str) -> Path:
        """With another last name before the suffix. Raises: ValueError."""
        return self._with(self._pure.with_stem(stem))

    def with_suffix(self, suffix: str) -> Path:
        """With another suffix. Raises: ValueError."""
        return self._with(self._pure.with_suffix(suffix))

    def relative_to(self, *other: TextPath) -> PurePosixPath:
        """The names behind `other`, a path of no file system. Raises: ValueError."""
        return self._pure.relative_to(*map(text_of, other))

    def is_relative_to(self, *other: TextPath) -> bool:
        """Whether `other` is a parent, or the same."""
        return self._pure.is_relative_to(*map(text_of, other))

    def match(self, pattern: str) -> bool:
        """Whether the name fits a glob pattern."""
        return self._pure.match(pattern)

    def is_absolute(self) -> bool:
        """Always true."""
        return True

    def as_posix(self) -> str:
        """The path as text."""
        return str(self._pure)

    # What is there

    def stat(self, *, follow_symlinks: bool = True) -> Stat:
        """As `fs.stat`."""
        return self._fs.stat(self, follow_symlinks=follow_symlinks)

    def lstat(self) -> Stat:
        """As `fs.lstat`."""
        return self._fs.lstat(self)

    def exists(self) -> bool:
        """As `fs.exists`."""
        return self._fs.exists(self)

    def is_file(self) -> bool:
        """As `fs.isfile`."""
        return self._fs.isfile(self)

    def is_dir(self) -> bool:
        """As `fs.isdir`."""
        return self._fs.isdir(self)

    def is_symlink(self) -> bool:
        """As `fs.islink`."""
        return self._fs.islink(self)

    def samefile(self, other: TextPath) -> bool:
        """Whether both are the same file or directory. Raises: FileNotFoundError."""
        return self.stat().st_ino == self._fs.stat(other).st_ino

    def readlink(self) -> PurePosixPath:
        """Where a symlink points, as it was written. Raises: OSError (EINVAL: no symlink)."""
        return PurePosixPath(self._fs.readlink(self))

    # Content

    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:  # as the built-in `open`: str or bytes, the mode says
        """As `fs.open`."""
        return self._fs.open(self, mode, buffering, encoding, errors, newline=newline)

    def read_bytes(self) -> bytes:
        """As `fs.read_bytes`."""
        return self._fs.read_bytes(self)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """As `fs.read_text`."""
        return self._fs.read_text(self, encoding, errors)

    def write_bytes(self, data: BufferLike) -> int:
        """As `fs.write_bytes`."""
        return self._fs.write_bytes(self, data)

    def write_text(
        self,
        data: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> int:
        """As `fs.write_text`."""
        return self._fs.write_text(self, data, encoding, errors, newline)

    # The tree

    def touch(self, mode: int = 0o644, exist_ok: bool = True) -> None:
        """As `fs.touch`."""
        self._fs.touch(self, mode, exist_ok=exist_ok)

    def mkdir(self, mode: int = 0o755, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a directory, with `parents` those above it, too.

        Raises: FileExistsError, FileNotFoundError
        """
        try:
            if parents:
                self._fs.makedirs(self, mode, exist_ok=exist_ok)
            else:
                self._fs.mkdir(self, mode)
        except ExistsError:
            if not exist_ok or not self.is_dir():
                raise

    def rmdir(self) -> None:
        """As `fs.rmdir`."""
        self._fs.rmdir(self)

    def unlink(self, missing_ok: bool = False) -> None:
        """As `fs.remove`; `missing_ok`: nothing there is no error."""
        try:
            self._fs.remove(self)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rename(self, target: TextPath) -> Path:
        """As `fs.rename`; the new path. What is there gives way."""
        new = Path(self._fs, target)
        self._fs.rename(self, new)
        return new

    replace = rename

    def symlink_to(self, target: TextPath, target_is_directory: bool = False) -> None:
        """Make this a symlink to `target`, whatever kind that has. Raises: FileExistsError."""
        self._fs.symlink(target, self)

    def chmod(self, mode: int, *, follow_symlinks: bool = True) -> None:
        """As `fs.chmod`."""
        self._fs.chmod(self, mode, follow_symlinks=follow_symlinks)

    def iterdir(self) -> Iterator[Path]:
        """The paths of a directory's entries, in no order. Raises: NotADirectoryError."""
        return (self / name for name in self._fs.listdir(self))

    def walk(
        self,
        top_down: bool = True,
        on_error: Callable[[OSError], object] | None = None,
        follow_symlinks: bool = False,
    ) -> Iterator[tuple[Path, list[str], list[str]]]:
        """The tree below, as `Path.walk` of Python 3.12: symlinks are among the files."""
        walk = self._fs.walk(self, top_down, on_error, followlinks=follow_symlinks)
        for top, directories, files in walk:
            here = self._with(PurePosixPath(top))
            if not follow_symlinks:
                links = [name for name in directories if (here / name).is_symlink()]
                directories[:] = [name for name in directories if name not in links]
                files += links
            yield here, directories, files

    def glob(self, pattern: str) -> Iterator[Path]:
        """What fits `pattern` below here; "**" is any number of directories, symlinks not.

        Raises: InvalidError (no pattern, or an absolute one)
        """
        parts = PurePosixPath(pattern).parts
        if not parts or parts[0].startswith("/"):
            raise InvalidError(f"unacceptable pattern: {pattern!r}")
        if any("**" in part and part != "**" for part in parts):
            raise InvalidError(f"in pattern {pattern!r} ** is not a whole name")
        return self._unique(self._select(parts))

    def rglob(self, pattern: str) -> Iterator[Path]:
        """`glob` with "**/" before."""
        return self.glob(f"**/{pattern}")

    def _unique(self, paths: Iterator[Path]) -> Iterator[Path]:
        seen: set[PurePosixPath] = set()
        for path in paths:
            if path._pure not in seen:
                seen.add(path._pure)
                yield path

    def _select(self, parts: tuple[str, ...]) -> Iterator[Path]:
        if not parts:
            yield self
            return
        first, rest = parts[0], parts[1:]
        if first == "**":
            for directory in self._directories():
                yield from directory._select(rest)
        elif not re.search(r"[*?[]", first):
            if (self / first).exists():
                yield from (self / first)._select(rest)
        else:
            fits = re.compile(fnmatch.translate(first)).match
            for name, mode in self._children():
                if fits(name) and (not rest or stat.S_ISDIR(mode)):
                    yield from (self / name)._select(rest)

    def _directories(self) -> Iterator[Path]:
        """This directory and all below, before those behind it."""
        if not self.is_dir():
            return
        yield self
        for name, mode in self._children(follow=False):
            if stat.S_ISDIR(mode):
                yield from (self / name)._directories()

    def _children(self, *, follow: bool = True) -> list[tuple[str, int]]:
        """Names and modes; none of what is no directory, or is gone."""
        try:
            return [
                (entry.name, entry.mode(follow_symlinks=follow)) for entry in self._fs.scandir(self)
            ]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _with(self, pure: PurePosixPath) -> Path:
        return Path(self._fs, pure)

    def __str__(self) -> str:
        return str(self._pure)

    def __repr__(self) -> str:
        return f"<Path {str(self)!r} of {self._fs!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Path):
            return NotImplemented
        return self._fs is other._fs and self._pure == other._pure

    def __lt__(self, other: Path) -> bool:
        if not isinstance(other, Path) or self._fs is not other._fs:
            return NotImplemented
        return self._pure < other._pure

    def __hash__(self) -> int:
        return hash((id(self._fs), self._pure))

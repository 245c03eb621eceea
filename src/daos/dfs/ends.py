"""The two ends of a copy: what a tree of files is asked for, and told, wherever it is.

    find      what a path names, before anything is copied; inside: a directory that was described
    pages     the names of a directory
    describe  what names are: type, permissions, size, time, extended attributes
    contents  of small files, several in one step; read: a piece of a large one
    enter     make a directory, or go on with the one that is there; leave: give it its attributes
    put       files that are written whole, and symlinks; open: a file that is written in pieces

Directories are known by handles of type D, which only their own end understands. Times and
permissions come last, so that what was interrupted does not look like what it is a copy of.

Source: ours; DAOS src/utils/daos_hdlr.c file_lstat, file_open, … do the same by a switch
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from daos.dfs.layout import Kind

D = TypeVar("D")

# The mark of a path that names a container belongs to that path, not to its copy.
LEFT_ALONE: Final = frozenset({"user.daos"})
PERMISSIONS: Final = 0o777  # what a container can store


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An entry of a directory. `kind` None: something that only its own file system can hold."""

    name: str
    kind: Kind | None
    mode: int = 0  # without the type
    size: int = 0
    mtime_ns: int = 0
    target: str = ""  # of a symlink
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    what: str = ""  # of no kind: "fifo", "socket", …
    node: object = None  # what its own end reads it by


class Pages(Protocol):
    """The names of a directory, some at a time."""

    async def next(self) -> Sequence[str]:
        """More of them; none: that was all. Raises: DaosError."""


class Writing(Protocol):
    """A file that is written in pieces, in any order."""

    async def write(self, offset: int, data: memoryview) -> None:
        """Raises: DaosError."""

    async def finish(self, item: Item) -> None:
        """Size, extended attributes, then permissions and time."""

    async def close(self) -> None:
        """Let go of it, finished or not."""


class End(Protocol[D]):
    """One of the two file systems. Each call raises DaosError, which names the path."""

    def same(self, other: object) -> bool:
        """Whether the other end is the same file system, so that paths can be compared."""

    async def find(self, path: str, *, follow: bool) -> tuple[Item, D, str]:
        """What a path names; of a directory itself, else the directory that it is in; its real
        path, without symlinks on the way.

        Raises: NotFoundError, NotDirectoryError
        """

    def inside(self, item: Item) -> D:
        """A directory that this end has described."""

    def pages(self, directory: D) -> Pages:
        """The names in a directory."""

    async def describe(
        self, directory: D, names: Sequence[str], *, xattrs: bool
    ) -> dict[str, Item]:
        """By name; what is not there is left out. Without `xattrs`, extended attributes are."""

    async def contents(self, items: Sequence[Item]) -> list[bytes]:
        """All of small files, as much of each as it was described to have."""

    async def read(self, item: Item, offset: int, count: int) -> bytes:
        """A piece of a file. Raises: BusyError (it has become shorter)."""

    async def enter(self, directory: D, name: str, *, exists: bool) -> D:
        """Make a directory that only its owner may use, or open one so that it can be used.

        No name: the directory itself.
        """

    async def put(
        self, directory: D, files: Sequence[tuple[Item, bytes]], there: Mapping[str, Item]
    ) -> None:
        """Files and symlinks with all that belongs to them, over those that are `there`."""

    async def open(self, directory: D, item: Item, *, exists: bool) -> Writing:
        """An empty file, to be written in pieces."""

    async def leave(self, directories: Sequence[tuple[D, Item]]) -> None:
        """Give directories their attributes; those below come before those above."""

"""Counting what is in a file system, or below one of its directories.

Source: DAOS src/client/dfs/cont.c dfs_cont_scan
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from daos.base.errors import NotFoundError
from daos.dfs.crew import Crew
from daos.dfs.errors import NotDirectoryError
from daos.dfs.node import Directory

if TYPE_CHECKING:
    from daos.client.listing import Listing
    from daos.client.values import Key
    from daos.dfs.attributes import Stat
    from daos.dfs.mount import Mount

_DIRECTORIES: Final = 4  # read at once; of each, 64 entries are asked for at once


@dataclass(slots=True)
class Scanned:
    """What was found below the directory that was given, which is not counted itself."""

    files: int = 0
    symlinks: int = 0
    directories: int = 0
    depth: int = 0  # of the deepest entry; 1: in the directory itself
    nbytes: int = 0
    largest_file: int = 0
    largest_directory: int = 0  # entries

    @property
    def objects(self) -> int:
        """Entries of every type."""
        return self.files + self.symlinks + self.directories

    @property
    def average_file(self) -> int:
        """Bytes."""
        return self.nbytes // self.files if self.files else 0


async def scan(
    mount: Mount, path: str = "/", *, report: Callable[[Scanned], None] | None = None
) -> Scanned:
    """Count; what comes and goes meanwhile is counted or not.

    Raises: NotFoundError, NotDirectoryError
    Cost:   as readdirplus, and a request for each directory
    """
    top = await mount.lookup(path)
    if not isinstance(top, Directory):
        raise NotDirectoryError(f"{path} is no directory")
    scanning = _Scan(mount, report)
    scanning.add(top, 1)
    await scanning.crew.run()
    return scanning.found


class _Scan:
    def __init__(self, mount: Mount, report: Callable[[Scanned], None] | None) -> None:
        self.mount = mount
        self.found = Scanned()
        self.crew = Crew(_DIRECTORIES)
        self._report = report

    def add(self, directory: Directory, depth: int) -> None:
        """Count what is in a directory whose entries have this depth."""
        listing = self.mount.readdirplus(directory)
        self.crew.add(partial(self._page, directory, listing, depth, 0))

    async def _page(
        self, directory: Directory, listing: Listing[Key, tuple[str, Stat]], depth: int, before: int
    ) -> None:
        if not await listing.turn():
            return
        page = listing.take()
        before += len(page)
        self.crew.add(partial(self._page, directory, listing, depth, before))
        found = self.found
        found.largest_directory = max(found.largest_directory, before)
        found.depth = max(found.depth, depth)
        for name, entry in page:
            self._count(entry)
            if stat.S_ISDIR(entry.st_mode):
                self.crew.add(partial(self._enter, directory, name, depth + 1))
        if self._report is not None:
            self._report(found)

    def _count(self, entry: Stat) -> None:
        found = self.found
        if stat.S_ISDIR(entry.st_mode):
            found.directories += 1
        elif stat.S_ISLNK(entry.st_mode):
            found.symlinks += 1
        else:
            found.files += 1
            found.nbytes += entry.st_size
            found.largest_file = max(found.largest_file, entry.st_size)

    async def _enter(self, parent: Directory, name: str, depth: int) -> None:
        try:
            node = await self.mount.lookup_rel(parent, name, follow=False)
        except NotFoundError:
            return  # gone meanwhile
        if isinstance(node, Directory):
            self.add(node, depth)

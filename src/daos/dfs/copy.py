"""Copying a tree of files, in, out, or from container to container.

    way = await route(LocalEnd(), "/data/tree", StoredEnd(mount), "/tree")
    copied = await copy(way)

Copied are directories, empty ones too, files, symlinks as they are, permissions, modification times
and extended attributes of users. Owners are not: what is made belongs to who copies. Hard links
become files of their own. What a container cannot hold (fifos, sockets, devices, set-user-id and
its like) is an error, or with `ignore_unsupported` left out and told.

Where the copy goes: into a directory that is there, under the source's name; else it gets the name
that it was given. `route` with `here`: what it was given
in any case, there or not, as who resumes a copy wants. What is there
must be of the same type; files are overwritten, directories gone on with.

A file counts as copied when its size and time are the source's. Time and permissions come last:

    small    content first, then name, time and all at once: whole or not there (`publish`)
    large    empty and closed to others, pieces, then time and permissions
    directory   open to its owner alone, until all is copied

so that a copy that was killed goes on where it was (`resume`), and copies at most what was on its
way once more. The first error ends a copy; what is on its way is given up.

Source: DAOS src/utils/daos_hdlr.c fs_copy; ours: parallel, times, extended attributes, `resume`
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from daos.base.errors import ExistsError
from daos.dfs.ends import PERMISSIONS, Item, Writing
from daos.dfs.errors import UnsupportedError
from daos.dfs.layout import Kind
from daos.dfs.tandem import (
    PIECE,
    WORKERS,
    Pair,
    Report,
    Route,
    S,
    Stats,
    T,
    Tandem,
    groups,
    in_pieces,
    is_large,
)

_ZEROS: Final = bytes(PIECE)


class Copying(Tandem[S, T]):
    """A copy under way."""

    def __init__(
        self,
        route: Route[S, T],
        *,
        resume: bool = False,
        ignore_unsupported: bool = False,
        workers: int = WORKERS,
        report: Report | None = None,
    ) -> None:
        super().__init__(route, workers, report)
        self._resume = resume
        self._ignore = ignore_unsupported
        self._entered: list[tuple[T, Item]] = []

    async def begin(self, item: Item) -> None:
        """Copy one entry, with all below it."""
        if item.name:
            await self.entries(self.start, [item])
        elif self._supported(self.start, item):
            await self._enter(self.start, item, exists=True)
        await self.run()
        await self.target.leave(self._entered[::-1])

    async def entries(self, pair: Pair[S, T], found: Sequence[Item]) -> None:
        items = [each for each in found if self._supported(pair, each)]
        there: dict[str, Item] = {}
        if not pair.fresh and items:
            names = [each.name for each in items]
            there = await self.target.describe(pair.target, names, xattrs=False)
        for item in items:
            self._check_kind(pair, item, there.get(item.name))
            if item.kind is Kind.DIRECTORY:
                await self._enter(pair, item, exists=item.name in there)
        wanted = [
            each
            for each in items
            if each.kind is not Kind.DIRECTORY and not self._complete(each, there.get(each.name))
        ]
        for item in filter(is_large, wanted):
            self.crew.add(partial(self._large, pair, item, item.name in there))
        for group in groups([each for each in wanted if not is_large(each)]):
            await self._small(pair, group, there)

    async def _enter(self, pair: Pair[S, T], item: Item, *, exists: bool) -> None:
        target = await self.target.enter(pair.target, item.name, exists=exists)
        self._entered.append((target, item))
        self.stats.directories += 1
        path = self.path(pair, item)
        self.add_directory(Pair(self.source.inside(item), target, path, fresh=not exists))

    async def _small(self, pair: Pair[S, T], group: list[Item], there: dict[str, Item]) -> None:
        """Files that are written whole, and symlinks."""
        files = [each for each in group if each.kind is Kind.FILE]
        data = dict(
            zip(
                [each.name for each in files],
                await self.source.contents(files) if files else [],
                strict=True,
            )
        )
        await self.target.put(
            pair.target, [(each, data.get(each.name, b"")) for each in group], there
        )
        self.stats.files += len(files)
        self.stats.links += len(group) - len(files)
        self.stats.nbytes += sum(each.size for each in files)
        self.told()

    async def _large(self, pair: Pair[S, T], item: Item, exists: bool) -> None:
        """A file that is written in pieces; those that are zero are left to be holes."""
        writing = await self.target.open(pair.target, item, exists=exists)
        try:
            await in_pieces(item.size, partial(self._piece, item, writing), self._workers)
            await writing.finish(item)
        finally:
            await writing.close()
        self.stats.files += 1
        self.told()

    async def _piece(self, item: Item, writing: Writing, offset: int, count: int) -> None:
        data = await self.source.read(item, offset, count)
        if data != (_ZEROS if count == PIECE else _ZEROS[:count]):
            await writing.write(offset, memoryview(data))
        self.stats.nbytes += count
        self.told()

    def _complete(self, item: Item, there: Item | None) -> bool:
        if not self._resume or there is None:
            return False
        if item.kind is Kind.SYMLINK:
            complete = there.target == item.target and there.mtime_ns == item.mtime_ns
        else:
            complete = (there.size, there.mtime_ns) == (item.size, item.mtime_ns)
        self.stats.skipped += complete
        return complete

    def _supported(self, pair: Pair[S, T], item: Item) -> bool:
        """Whether an entry is copied. Raises: UnsupportedError."""
        path = self.path(pair, item)
        if item.kind is None:
            text = f"{path}: a {item.what} can't be copied"
        elif item.mode & ~PERMISSIONS and item.kind is not Kind.SYMLINK:
            text = f"{path}: set-user-id, set-group-id and sticky bits can't be copied"
        else:
            return True
        if not self._ignore:
            raise UnsupportedError(f"{text}; --ignore-unsupported leaves out what can't be")
        self.stats.unsupported.append(text)
        return item.kind is not None

    def _check_kind(self, pair: Pair[S, T], item: Item, there: Item | None) -> None:
        if there is not None and there.kind is not item.kind:
            assert item.kind is not None
            had = there.kind.name.lower() if there.kind is not None else there.what
            path = self.path(pair, item)
            raise ExistsError(f"{path} is a {item.kind.name.lower()}; there is a {had} already")


async def copy(
    route: Route[S, T],
    *,
    resume: bool = False,
    ignore_unsupported: bool = False,
    workers: int = WORKERS,
    report: Report | None = None,
) -> Stats:
    """Copy what a route says. `workers`: files at once.

    Raises: ExistsError (of another type), UnsupportedError, NoSpaceError, InvalidError, DaosError
    """
    copying = Copying(
        route,
        resume=resume,
        ignore_unsupported=ignore_unsupported,
        workers=workers,
        report=report,
    )
    await copying.begin(route.item)
    return copying.stats

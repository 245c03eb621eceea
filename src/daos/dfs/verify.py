"""Comparing a tree with its copy, byte by byte: both are read.

    way = await route(LocalEnd(), "/data/tree", StoredEnd(mount), "/tree", here=True)
    verdict = await verify(way)

Compared are what there is and of which type, content, targets of symlinks, permissions. What the
copy has besides is not looked for, and times and extended attributes are not compared. What cannot
be read because its checksum is wrong is a difference, like any other.

Source: ours
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from daos.base.errors import ChecksumError
from daos.dfs.ends import PERMISSIONS, Item
from daos.dfs.layout import Kind
from daos.dfs.tandem import (
    WORKERS,
    Pair,
    Report,
    Route,
    S,
    Stats,
    T,
    Tandem,
    in_pieces,
    is_large,
)

DIFFERENCES_MAX: Final = 1000  # that are named; more are counted


@dataclass(slots=True)
class Verdict:
    """What was compared, and what differs: a path of the source, and how."""

    stats: Stats
    differences: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0

    def add(self, path: str, how: str) -> None:
        """A difference."""
        self.count += 1
        if len(self.differences) < DIFFERENCES_MAX:
            self.differences.append((path, how))


class Comparing(Tandem[S, T]):
    """A comparison under way."""

    xattrs = False

    def __init__(self, route: Route[S, T], workers: int, report: Report | None) -> None:
        super().__init__(route, workers, report)
        self.verdict = Verdict(self.stats)

    async def begin(self, item: Item, parent: T) -> None:
        """Compare one entry, with all below it."""
        if item.name:
            await self.entries(self.start, [item])
        else:
            self._directory(self.start, item, parent)
        await self.run()

    async def entries(self, pair: Pair[S, T], found: Sequence[Item]) -> None:
        stored = [each for each in found if each.kind is not None]  # the rest is not copied
        names = [each.name for each in stored]
        there = await self.target.describe(pair.target, names, xattrs=False)
        for item in stored:
            path, other = self.path(pair, item), there.get(item.name)
            how = _difference(item, other)
            if how or other is None:
                self.verdict.add(path, how)
            elif item.kind is Kind.DIRECTORY:
                self._directory(pair, item, self.target.inside(other))
            elif item.kind is Kind.SYMLINK:
                self.stats.links += 1
            elif is_large(item):
                self.crew.add(partial(self._large, path, item, other))
            else:
                await self._piece(path, item, other, 0, item.size)
                self.stats.files += 1
            self.told()

    def _directory(self, pair: Pair[S, T], item: Item, target: T) -> None:
        self.stats.directories += 1
        path = self.path(pair, item)
        self.add_directory(Pair(self.source.inside(item), target, path, fresh=False))

    async def _large(self, path: str, item: Item, other: Item) -> None:
        await in_pieces(item.size, partial(self._piece, path, item, other), self._workers)
        self.stats.files += 1

    async def _piece(self, path: str, item: Item, other: Item, offset: int, count: int) -> None:
        wanted = await self.source.read(item, offset, count)
        try:
            got = await self.target.read(other, offset, count)
        except ChecksumError as error:
            self.verdict.add(path, f"can't be read: {error.message}")
            return
        if got != wanted:
            pairs = zip(wanted, got, strict=True)
            first = next(index for index, (ours, theirs) in enumerate(pairs) if ours != theirs)
            self.verdict.add(path, f"differs at byte {offset + first}")
        self.stats.nbytes += count
        self.told()


def _difference(item: Item, other: Item | None) -> str:
    """What an entry and its copy do not have in common; "": nothing, as far as described."""
    if other is None:
        return "is missing"
    if item.kind is not other.kind:
        return "is of another type"
    if item.size != other.size:
        return f"has {other.size} bytes, not {item.size}"
    if item.target != other.target:
        return f"leads to {other.target!r}, not {item.target!r}"
    if item.kind is not Kind.SYMLINK and (item.mode ^ other.mode) & PERMISSIONS:
        return f"has permissions {other.mode & PERMISSIONS:04o}, not {item.mode & PERMISSIONS:04o}"
    return ""


async def verify(
    route: Route[S, T], *, workers: int = WORKERS, report: Report | None = None
) -> Verdict:
    """Compare what a route leads from with what it leads to. Raises: InvalidError, DaosError."""
    comparing = Comparing(route, workers, report)
    await comparing.begin(route.item, route.parent)
    verdict = comparing.verdict
    verdict.differences.sort()
    return verdict

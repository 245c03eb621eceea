"""Two trees gone through side by side: what copying and comparing have in common.

    directory --pages--> names --batches--> described at both ends --> `directory`, `files`, `large`

Jobs lie on a stack (`Crew`), of a directory a page at a time: what is at hand does not grow with
the tree. A worker does one batch of small files, or one piece of a large one, at a time.

Source: ours
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Generic, TypeVar

from daos.base.errors import InvalidError, NotFoundError
from daos.dfs.crew import Crew
from daos.dfs.ends import End, Item, Pages
from daos.dfs.errors import NotDirectoryError
from daos.dfs.layout import Kind

S = TypeVar("S")  # what the source knows a directory by
T = TypeVar("T")  # and the target

WORKERS: Final = 16
WORKERS_MAX: Final = 256
BATCH: Final = 16  # names described in one step
WHOLE_MAX: Final = 1 << 20  # bytes of files that are read and written in one step
PIECE: Final = 4 << 20  # of larger ones
PIECES: Final = 4  # of one file, at once


@dataclass(slots=True)
class Stats:
    """What was copied, or compared."""

    directories: int = 0
    files: int = 0
    links: int = 0
    nbytes: int = 0
    skipped: int = 0  # files that were complete already
    unsupported: list[str] = field(default_factory=list)  # left out, each with what it is


Report = Callable[[Stats], None]


@dataclass(frozen=True, slots=True)
class Route(Generic[S, T]):
    """What is copied, and where to."""

    source: End[S]
    target: End[T]
    item: Item  # of the source; its name is that of the copy, "" where that is `parent` itself
    at: S
    parent: T
    real: str  # the source's path
    place: str  # the copy's


@dataclass(frozen=True, slots=True)
class Pair(Generic[S, T]):
    """A directory at both ends. `fresh`: there is nothing in the target's."""

    source: S
    target: T
    path: str  # below what is copied
    fresh: bool


class Tandem(ABC, Generic[S, T]):
    """Goes through a tree of `source`; what is done with entries, subclasses say."""

    xattrs = True  # whether extended attributes are asked for

    def __init__(self, route: Route[S, T], workers: int, report: Report | None) -> None:
        """`report` is told of progress, often. Raises: InvalidError (workers)."""
        if not 1 <= workers <= WORKERS_MAX:
            raise InvalidError(f"workers must be 1 to {WORKERS_MAX}, not {workers}")
        self.source = route.source
        self.target = route.target
        self.start = Pair(route.at, route.parent, route.real, fresh=False)
        self._first = route.item
        self.stats = Stats()
        self.crew = Crew(workers)
        self._workers = workers
        self._report = report

    def add_directory(self, pair: Pair[S, T]) -> None:
        """Go through a directory, too."""
        self.crew.add(partial(self._page, pair, self.source.pages(pair.source)))

    async def run(self) -> None:
        """All that was added."""
        await self.crew.run()

    @abstractmethod
    async def entries(self, pair: Pair[S, T], found: Sequence[Item]) -> None:
        """What is done with entries of a directory."""

    def path(self, pair: Pair[S, T], item: Item) -> str:
        """Of the source, for people."""
        return pair.path if item is self._first else os.path.join(pair.path, item.name)

    def told(self) -> None:
        """Something was done."""
        if self._report is not None:
            self._report(self.stats)

    async def _page(self, pair: Pair[S, T], pages: Pages) -> None:
        names = await pages.next()
        if not names:
            return
        self.crew.add(partial(self._page, pair, pages))  # below what comes now
        for index in range(0, len(names), BATCH):
            self.crew.add(partial(self._batch, pair, names[index : index + BATCH]))

    async def _batch(self, pair: Pair[S, T], names: Sequence[str]) -> None:
        found = await self.source.describe(pair.source, names, xattrs=self.xattrs)
        await self.entries(pair, list(found.values()))


def groups(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Files that are read in one step: as many as have no more than WHOLE_MAX bytes together."""
    group: list[Item] = []
    nbytes = 0
    for item in items:
        if group and nbytes + item.size > WHOLE_MAX:
            yield group
            group, nbytes = [], 0
        group.append(item)
        nbytes += item.size
    if group:
        yield group


async def in_pieces(size: int, each: Callable[[int, int], Awaitable[None]], workers: int) -> None:
    """Call `each(offset, count)` for all pieces of a file, several at once."""
    crew = Crew(min(PIECES, workers, -(-size // PIECE) or 1))
    for offset in reversed(range(0, size, PIECE)):
        crew.add(partial(each, offset, min(PIECE, size - offset)))
    await crew.run()


def is_large(item: Item) -> bool:
    """Whether a file is read and written in pieces."""
    return item.kind is Kind.FILE and item.size > WHOLE_MAX


async def route(
    source: End[S], source_path: str, target: End[T], target_path: str, *, here: bool = False
) -> Route[S, T]:
    """Where the copy of a path goes: into a directory that is there, or to the path itself.

    `here`: to the path itself, also if there is a directory.

    Raises: NotFoundError, NotDirectoryError, InvalidError (onto or into itself; `here`, and the
            directory holds a copy, which is meant)
    """
    item, at, real = await source.find(source_path, follow=False)
    parent, name, place = await _destination(target, target_path, item, here=here)
    if target.same(source) and (place == real or place.startswith(real.rstrip("/") + "/")):
        raise InvalidError(f"{target_path} is {source_path} itself, or in it")
    if here and not name and item.name:
        inner = (await target.describe(parent, [item.name], xattrs=False)).get(item.name)
        own = await source.describe(at, [item.name], xattrs=False)
        if inner is not None and inner.kind is Kind.DIRECTORY and not own:
            inside = os.path.join(target_path, item.name)
            raise InvalidError(f"{target_path} holds a copy in a directory: name {inside}")
    return Route(source, target, replace(item, name=name), at, parent, real, place)


async def _destination(target: End[T], path: str, item: Item, *, here: bool) -> tuple[T, str, str]:
    """Directory, name in it, and the path of both; no name: the directory itself."""
    try:
        found, handle, real = await target.find(path, follow=True)
    except NotFoundError:
        above, name = os.path.split(path.rstrip("/"))
        found, handle, real = await target.find(above or ".", follow=True)
        if found.kind is not Kind.DIRECTORY:
            raise NotDirectoryError(f"{above} is no directory") from None
        return handle, name, os.path.join(real, name)
    if found.kind is not Kind.DIRECTORY:
        return handle, found.name, real
    if item.kind is Kind.DIRECTORY and (here or not item.name):
        return handle, "", real
    return handle, item.name, os.path.join(real, item.name)

"""Every entry of a tree looked at, and every object that is named remembered.

    surveyor = Surveyor(mount)
    await surveyor.run(mount.root)     ->  surveyor.found

What is remembered of an object is its id, not its path: a tree of millions fits into memory. Where
an object has two names, a second walk that asks for them finds both (`wanted`).

An entry that can't be read is told with its path. What its bytes say of its object is believed as
far as it goes, so that neither the object nor what is below it passes for nameless; where they say
nothing, something of the tree is `hidden`.

Source: DAOS src/client/dfs/cont.c fsck_mark_obj, which stops at what it can't read
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from daos.base.errors import (
    ChecksumError,
    CorruptError,
    DaosError,
    DataLossError,
    InvalidError,
    NotSupportedError,
)
from daos.base.ids import ObjectId
from daos.dfs import entries, extents, marks, xattrs
from daos.dfs.crew import Crew
from daos.dfs.entries import Found, Place
from daos.dfs.layout import Entry, Kind, Mark, encode_name, guess
from daos.dfs.lookup import node_of
from daos.dfs.node import Directory, File

if TYPE_CHECKING:
    from daos.client.listing import Listing
    from daos.client.values import Key
    from daos.dfs.mount import Mount

UNREADABLE: Final = (ChecksumError, DataLossError)
NO_CLASS: Final = (InvalidError, NotSupportedError)
WORKERS: Final = 48
PIECE: Final = 1 << 20  # bytes that one worker reads at once
_FINEST: Final = 4096  # how exactly the place of damage is told


class Name(NamedTuple):
    """A name of an object."""

    path: str
    place: Place
    oid: ObjectId
    mark: Mark | None = None


@dataclass(slots=True)
class Survey:
    """What there is. Of `named` and `twice` the objects are `number_of` their ids."""

    files: int = 0
    symlinks: int = 0
    directories: int = 0
    nbytes: int = 0  # of content that was read
    named: set[int] = field(default_factory=set)
    twice: set[int] = field(default_factory=set)
    names: dict[int, list[Name]] = field(default_factory=dict)  # of those that are wanted
    marked: list[Name] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)  # path, how
    hidden: int = 0
    unreadable: list[tuple[str, int, str]] = field(default_factory=list)  # path, offset, how

    @property
    def entries(self) -> int:
        """Of every type, without the directory where it began."""
        return self.files + self.symlinks + self.directories


def number_of(oid: ObjectId) -> int:
    """An object as a number: a set of them is small."""
    return oid.hi << 64 | oid.lo


class Surveyor:
    """`verify`: extended attributes and content are read, too, so that checksums are checked."""

    def __init__(
        self,
        mount: Mount,
        *,
        verify: bool = False,
        wanted: Collection[int] = (),
        report: Callable[[Survey], None] | None = None,
    ) -> None:
        self.found = Survey()
        self._mount = mount
        self._verify = verify
        self._wanted = wanted
        self._report = report
        self._crew = Crew(WORKERS)

    async def run(self, directory: Directory, path: str = "") -> None:
        """Look at all below a directory, whose path has no slash at its end.

        Raises: DaosError, but for what is damaged
        """
        self._add(directory, path)
        await self._crew.run()

    def mark(self, oid: ObjectId) -> bool:
        """Remember an object that is named; whether it is the first time."""
        number = number_of(oid)
        if number in self.found.named:
            self.found.twice.add(number)
            return False
        self.found.named.add(number)
        return True

    def _add(self, directory: Directory, path: str) -> None:
        listing = self._mount.readdir(directory)
        self._crew.add(partial(self._page, directory, listing, path))

    async def _page(self, directory: Directory, listing: Listing[Key, str], path: str) -> None:
        try:
            if not await listing.turn():
                return
        except UNREADABLE as error:
            self._damaged(path or "/", f"can't be listed: {error.message}", hides=True)
            return
        names = listing.take()
        self._crew.add(partial(self._page, directory, listing, path))
        for name in names:
            self._crew.add(partial(self._entry, directory.at(encode_name(name)), f"{path}/{name}"))
        if self._report is not None:
            self._report(self.found)

    async def _entry(self, place: Place, path: str) -> None:
        try:
            with self._mount._operation(None) as call:
                found = await marks.fetch(place, call)
        except UNREADABLE as error:
            await self._guess(place, path, error)
            return
        if found is None:
            return
        mark = None
        try:
            mark = marks.mark_of(found)
        except CorruptError as error:
            self._damaged(path, error.message)
        name = Name(path, place, found.entry.oid, mark)
        if mark is not None:
            self.found.marked.append(name)
        await self._object(found, name)

    async def _guess(self, place: Place, path: str, error: DaosError) -> None:
        """An entry that can't be read: what its bytes say of its object."""
        entry = None
        try:
            with self._mount._operation(None) as call:
                raw = await entries.fetch_raw(place, call)
            entry = None if raw is None else guess(raw)
        except UNREADABLE:
            pass
        self._damaged(path, error.message, hides=entry is None)
        if entry is not None:
            await self._object(Found(entry, self._mount.epoch), Name(path, place, entry.oid))

    async def _object(self, found: Found, name: Name) -> None:
        entry, path = found.entry, name.path
        self._count(entry)
        if (number := number_of(entry.oid)) in self._wanted:
            self.found.names.setdefault(number, []).append(name)
        first = self.mark(entry.oid)
        try:
            node = node_of(self._mount, None, name.place, found)
        except NO_CLASS as error:
            if entry.kind is not Kind.SYMLINK:  # of which no object is ever asked
                self._damaged(path, f"no object can have its id: {error.message}", hides=True)
            return
        if isinstance(node, Directory) and first:
            self._add(node, path)
        if self._verify:
            await self._read(name, node if isinstance(node, File) and first else None)

    async def _read(self, name: Name, file: File | None) -> None:
        try:
            with self._mount._operation(None) as call:
                await xattrs.values(name.place, call)
        except UNREADABLE as error:
            self._damaged(name.path, f"extended attributes: {error.message}")
        if file is None:
            return
        beyond = False
        async for number, recx in extents.of(self._mount, file.array._io):
            if recx.end > file.chunk_size:
                beyond = True
                continue
            offset = number * file.chunk_size + recx.index
            for at in range(offset, offset + recx.count, PIECE):
                count = min(PIECE, offset + recx.count - at)
                if not await self._piece(name.path, file, at, count):
                    return
                self.found.nbytes += count
            if self._report is not None:
                self._report(self.found)
        if beyond:
            how = f"data lies behind its chunks of {file.chunk_size} bytes: another chunk size"
            self._damaged(name.path, how)

    async def _piece(self, path: str, file: File, offset: int, count: int) -> bool:
        error = await _reading(file, offset, count)
        if error is None:
            return True
        while count > _FINEST:
            half = count // 2
            found = await _reading(file, offset, half)
            offset, count = (offset, half) if found else (offset + half, count - half)
        self.found.unreadable.append((path, offset, error.message))
        return False

    def _count(self, entry: Entry) -> None:
        match entry.kind:
            case Kind.DIRECTORY:
                self.found.directories += 1
            case Kind.SYMLINK:
                self.found.symlinks += 1
            case Kind.FILE:
                self.found.files += 1

    def _damaged(self, path: str, how: str, *, hides: bool = False) -> None:
        self.found.damaged.append((path, how))
        self.found.hidden += hides


async def _reading(file: File, offset: int, count: int) -> DaosError | None:
    """What is wrong with these bytes."""
    try:
        await file.read(offset, count)
    except UNREADABLE as error:
        return error
    return None

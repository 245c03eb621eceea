"""A file system in a container as an end of a copy; D is an open directory.

Directories are kept open, so that nothing is looked up twice: somebody who removes one meanwhile
takes with it what is copied into it later.

Source: ours; DAOS src/utils/daos_hdlr.c
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from daos.base.errors import BusyError, CorruptError, DaosError
from daos.dfs import attributes, entries, publish, xattrs
from daos.dfs.attributes import SetAttr
from daos.dfs.crew import Crew
from daos.dfs.ends import LEFT_ALONE, PERMISSIONS, Item
from daos.dfs.layout import XATTR, Kind, check_name, decode_name, encode_name
from daos.dfs.lookup import node_of
from daos.dfs.node import Directory, File, Node, Symlink
from daos.dfs.publish import Whole

if TYPE_CHECKING:
    from daos.client.listing import Listing
    from daos.client.session import Call
    from daos.client.values import Key
    from daos.dfs.entries import Place
    from daos.dfs.mount import Mount

_OURS = 0o700
_FINISHING = 16  # directories that get their attributes at once


class StoredEnd:
    """Files in a container."""

    def __init__(self, mount: Mount) -> None:
        self.mount = mount

    async def find(self, path: str, *, follow: bool) -> tuple[Item, Directory, str]:
        node = await self.mount.lookup(path, follow or path.endswith("/"))
        with self.mount._operation(None) as call:
            item = await self._item(node, call)
        if isinstance(node, Directory):
            return item, node, real_path(node)
        assert node.parent is not None  # only the root has none
        return item, node.parent, real_path(node)

    def same(self, other: object) -> bool:
        if not isinstance(other, StoredEnd):
            return False
        mine, theirs = self.mount, other.mount
        return (mine.container.uuid, mine.epoch) == (theirs.container.uuid, theirs.epoch)

    def inside(self, item: Item) -> Directory:
        assert isinstance(item.node, Directory)  # as this end has described it
        return item.node

    def pages(self, directory: Directory) -> StoredPages:
        return StoredPages(self.mount.readdir(directory))

    async def describe(
        self, directory: Directory, names: Sequence[str], *, xattrs: bool
    ) -> dict[str, Item]:
        found = {}
        for name in names:
            with self.mount._operation(None) as call:
                place = directory.at(encode_name(name))
                entry = await entries.fetch(place, call)
                if entry is not None:
                    node = node_of(self.mount, directory, place, entry)
                    found[name] = await self._item(node, call, with_xattrs=xattrs)
        return found

    async def contents(self, items: Sequence[Item]) -> list[bytes]:
        return [await self.read(each, 0, each.size) for each in items]

    async def read(self, item: Item, offset: int, count: int) -> bytes:
        assert isinstance(item.node, File)
        if not count:
            return b""
        data = await item.node.read(offset, count)
        if len(data) < count:
            raise BusyError(f"{real_path(item.node)} became shorter while it was read")
        return data

    async def enter(self, directory: Directory, name: str, *, exists: bool) -> Directory:
        if not name:
            return directory
        if not exists:
            return await self.mount.mkdir(directory, name, _OURS)
        node = await self.mount.lookup_rel(directory, name, follow=False)
        assert isinstance(node, Directory)  # as it was described
        return node

    async def put(
        self, directory: Directory, files: Sequence[tuple[Item, bytes]], there: Mapping[str, Item]
    ) -> None:
        for item, data in files:
            whole = _whole(item)
            if item.kind is Kind.SYMLINK:
                if item.name in there:
                    await self.mount.remove(directory, item.name, Kind.FILE)
                await publish.symlink(self.mount, directory, item.name, item.target, whole)
            elif item.name in there:
                writing = await self.open(directory, item, exists=True)
                await writing.write(0, memoryview(data))
                await writing.finish(item)
            else:
                await publish.file(self.mount, directory, item.name, data, whole)

    async def open(self, directory: Directory, item: Item, *, exists: bool) -> StoredWriting:
        how = os.O_TRUNC if exists else os.O_CREAT | os.O_EXCL
        file = await self.mount.open_file(directory, item.name, os.O_WRONLY | how, 0o600)
        return StoredWriting(file)  # a time that was set is over with the next write

    async def leave(self, directories: Sequence[tuple[Directory, Item]]) -> None:
        # What is written into an entry moves the time of its directory: the deepest ones first.
        levels: dict[int, Crew] = {}
        for directory, item in directories:
            crew = levels.setdefault(_depth(directory), Crew(_FINISHING))
            crew.add(partial(_finish, directory, item))
        for depth in sorted(levels, reverse=True):
            await levels[depth].run()

    async def _item(self, node: Node, call: Call, *, with_xattrs: bool = True) -> Item:
        found = await attributes.stat_entry(self.mount, node.entry, call)
        return Item(
            name=node.name if node.parent is not None else "",
            kind=node.kind,
            mode=found.st_mode & 0o7777,
            size=found.st_size if isinstance(node, File) else 0,
            mtime_ns=found.st_mtime_ns,
            target=node.target if isinstance(node, Symlink) else "",
            xattrs=await _xattrs(node.place, call) if with_xattrs else {},
            node=node,
        )


class StoredPages:
    """The names of a directory."""

    def __init__(self, listing: Listing[Key, str]) -> None:
        self._listing = listing

    async def next(self) -> list[str]:
        """Raises: CorruptError for a name that no entry may have: it could lead anywhere."""
        names: list[str] = []
        while not names and await self._listing.turn():
            names = list(self._listing.take())
        for name in names:
            try:
                check_name(name)
            except DaosError:
                raise CorruptError("name of an entry", offset=0, want="a name", got=name) from None
        return names


class StoredWriting:
    """A file that is being written."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._end = 0

    async def write(self, offset: int, data: memoryview) -> None:
        if data:
            await self._file.write(offset, data)
            self._end = max(self._end, offset + len(data))

    async def finish(self, item: Item) -> None:
        if self._end < item.size:
            await self._file.truncate(item.size)
        await _finish(self._file, item)

    async def close(self) -> None:
        """No service knows of an open file."""


def real_path(node: Node) -> str:
    """The path of a node, without symlinks."""
    names = []
    at: Node | None = node
    while at is not None and at.parent is not None:
        names.append(at.name)
        at = at.parent
    return "/" + "/".join(reversed(names))


def _depth(node: Node) -> int:
    depth, at = 0, node.parent
    while at is not None:
        depth, at = depth + 1, at.parent
    return depth


def _whole(item: Item) -> Whole:
    return Whole(mode=item.mode & PERMISSIONS, mtime_ns=item.mtime_ns, xattrs=item.xattrs)


async def _finish(node: Node, item: Item) -> None:
    for name, value in item.xattrs.items():
        await node.setxattr(name, value)
    await node.setattr(SetAttr(mode=item.mode & PERMISSIONS, mtime_ns=item.mtime_ns))


async def _xattrs(place: Place, call: Call) -> dict[str, bytes]:
    found = await xattrs.values(place, call)
    named = {decode_name(akey[len(XATTR) :]): value for akey, value in found.items()}
    return {name: value for name, value in named.items() if name not in LEFT_ALONE}

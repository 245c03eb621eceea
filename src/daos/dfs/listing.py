"""What is in a directory: names, or names with what stat tells, page by page, resumable.

Neither tells of `.` and `..`. The order is that of the names' hashes, the same for everybody; what
comes or goes meanwhile may be in it or not. An anchor goes on behind the name that was given last,
in any process. The entries of a split are listed shard by shard, by as many who do it together.

Source: DAOS src/client/dfs/readdir.c; ours: the anchors of a split are those of any listing
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from daos.base.errors import DaosError, NotFoundError
from daos.client.listing import Listing
from daos.client.objectio import RUNNING_MAX, first_error
from daos.client.shardlist import dkey_sources, key_anchor
from daos.client.values import Key
from daos.dfs import attributes, entries
from daos.dfs.attributes import Stat
from daos.dfs.layout import decode_name

if TYPE_CHECKING:
    from daos.client.session import Call
    from daos.dfs.mount import Mount
    from daos.dfs.node import Directory


def names(
    mount: Mount, directory: Directory, anchor: bytes, timeout: float | None
) -> Listing[Key, str]:
    """The names of a directory. Cost: a request for each shard and 1024 names."""
    return Listing(
        mount,
        dkey_sources(directory.io),
        _name,
        decoder=key_anchor(directory.oid.type.dkey_kind),
        ordered=False,
        anchor=anchor,
        timeout=timeout,
    )


class Entries(Listing[Key, tuple[str, Stat]]):
    """Names with what stat tells; what is gone before it is asked is left out.

    Cost: as names, and for each what `stat` costs, 64 at once
    """

    def __init__(
        self, mount: Mount, directory: Directory, anchor: bytes, timeout: float | None
    ) -> None:
        super().__init__(
            mount,
            dkey_sources(directory.io),
            self._known,
            decoder=key_anchor(directory.oid.type.dkey_kind),
            ordered=False,
            anchor=anchor,
            timeout=timeout,
        )
        self._mount = mount
        self._directory = directory
        self._stats: dict[Key, Stat] = {}

    async def _next_batch(self, call: Call) -> None:
        await super()._next_batch(call)
        self._stats = await self._ask(self._batch, call)
        self._batch = [name for name in self._batch if name in self._stats]

    async def _ask(self, keys: list[Key], call: Call) -> dict[Key, Stat]:
        found: dict[Key, Stat] = {}
        left = iter(keys)

        async def ask() -> None:
            for key in left:
                assert isinstance(key, bytes)  # names are
                entry = await entries.fetch(self._directory.at(key), call)
                if entry is not None:
                    found[key] = await attributes.stat_entry(self._mount, entry.entry, call)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(RUNNING_MAX, len(keys))):
                    group.create_task(ask())
        except* DaosError as errors:
            raise first_error(errors) from None
        return found

    def _known(self, key: Key) -> tuple[str, Stat]:
        return _name(key), self._stats[key]


async def anchor_at(
    mount: Mount, directory: Directory, name: bytes, timeout: float | None
) -> bytes:
    """Raises: NotFoundError. Source: ours; the reference's enumeration seeks a hash."""
    wanted = decode_name(name)
    found = names(mount, directory, b"", timeout)
    anchor = found.anchor
    async for each in found:
        if each == wanted:
            return anchor
        anchor = found.anchor
    raise NotFoundError(f"there is no {wanted!r} in {directory.name!r}")


def split(directory: Directory) -> list[bytes]:
    """An anchor for each shard; the listings from all of them are the whole one."""
    shards = len(directory.io.layout.groups)
    return [
        msgspec.msgpack.encode([None, [b"" if each == one else None for each in range(shards)]])
        for one in range(shards)
    ]


def _name(key: Key) -> str:
    assert isinstance(key, bytes)  # names are
    return decode_name(key)

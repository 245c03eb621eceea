"""The asynchronous face: what `daos` offers, for asyncio.

    async with daos.aio.local("./data") as system:
        await system.admin.pool_create("tank", "1GiB")
        client = await system.connect()
        async with client.pool("tank") as pool, pool.create_container("c1") as cont:
            kv = await cont.kv()
            await kv.put("key", b"value")
            async for key, value in kv.items():
                print(key, value)

Classes, methods and arguments are those of `daos`, where these are blocking. What differs in form:

    whatever opens a handle           `await` it, or `async with` it
    enumerations                      `async for`; `.anchor` to go on from later
    attrs, props                      await attrs.get(name), .set(name, value), .delete(name),
                                      .items(), .update({...})
    KeyValue                          await kv.get(key), .put, .remove(key), .contains(key),
                                      .count(), .clear(); `async for` over it and .items()
    array.size                        `await array.size`
    fs.open(...)                      a file of bytes without a buffer: `await file.read()`
    array.open(), fs.path, EventQueue synchronous face only

Everything belongs to the loop it was made in.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from daos.client.admin import Admin
from daos.client.array import Array
from daos.client.attributes import Attributes, Properties
from daos.client.client import Client
from daos.client.container import Container
from daos.client.kv import KeyValue
from daos.client.listing import Listing
from daos.client.memory import Buffer
from daos.client.object import Object
from daos.client.pool import Pool
from daos.client.session import Opening
from daos.client.values import (
    ContainerInfo,
    ContainerListing,
    Extent,
    Extents,
    PoolInfo,
    PoolListing,
    Range,
    Snapshot,
    SpaceInfo,
    TargetInfo,
    TargetTier,
    TierInfo,
    Version,
)

if TYPE_CHECKING:
    from daos.dfs.file import AsyncFile
    from daos.dfs.filesystem import FileSystem
    from daos.embedded.attached import async_connect as connect
    from daos.embedded.local import async_local as local

__all__ = [
    "Admin",
    "Array",
    "AsyncFile",
    "Attributes",
    "Buffer",
    "Client",
    "Container",
    "ContainerInfo",
    "ContainerListing",
    "Extent",
    "Extents",
    "FileSystem",
    "KeyValue",
    "Listing",
    "Object",
    "Opening",
    "Pool",
    "PoolInfo",
    "PoolListing",
    "Properties",
    "Range",
    "Snapshot",
    "SpaceInfo",
    "TargetInfo",
    "TargetTier",
    "TierInfo",
    "Version",
    "connect",
    "local",
]


# Loaded when they are first asked for.
_LATER: Final = {
    "AsyncFile": ("daos.dfs.file", "AsyncFile"),
    "FileSystem": ("daos.dfs.filesystem", "FileSystem"),
    "connect": ("daos.embedded.attached", "async_connect"),
    "local": ("daos.embedded.local", "async_local"),
}


def __getattr__(name: str) -> object:
    """`local` brings a whole system along, and not everybody has files."""
    if name not in _LATER:
        raise AttributeError(f"module 'daos.aio' has no attribute {name!r}")
    module, inside = _LATER[name]
    value: object = getattr(importlib.import_module(module), inside)
    globals()[name] = value
    return value

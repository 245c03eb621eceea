"""A store as applications see it, for the suites that measure the public faces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import daos.aio
from daos.client.container import Container
from daos.client.pool import Pool
from daos.dfs.mount import Mount
from daos.embedded.remote import async_connect
from daos.testing.served import Served


@asynccontextmanager
async def open_container(
    path: Path, *, size: str = "4GiB", targets: int | None = None
) -> AsyncIterator[Container]:
    """A new system with one pool and one container below `path`, in the running loop."""
    async with daos.aio.local(path, targets=targets) as system:
        await system.admin.pool_create("bench", size=size)
        async with (
            await system.connect() as client,
            client.pool("bench") as pool,
            pool.create_container("bench") as container,
        ):
            yield container


@asynccontextmanager
async def open_served(
    path: Path, *, tcp: str | None, size: str = "4GiB"
) -> AsyncIterator[Container]:
    """The same of a system that another process serves: over sm, or over TCP at this address."""
    async with _served_pool(path, tcp, size) as pool, pool.create_container("bench") as container:
        yield container


@asynccontextmanager
async def open_files(path: Path, *, size: str = "4GiB") -> AsyncIterator[Mount]:
    """A file system of a system that another process serves over sm."""
    async with (
        _served_pool(path, None, size) as pool,
        pool.create_container("bench", "POSIX") as container,
    ):
        yield await Mount.open(container)


@asynccontextmanager
async def _served_pool(path: Path, tcp: str | None, size: str) -> AsyncIterator[Pool]:
    with Served(path, tcp=tcp) as served:
        async with async_connect(served.address) as system:
            await system.admin.pool_create("bench", size=size)
            async with await system.connect() as client, client.pool("bench") as pool:
                yield pool

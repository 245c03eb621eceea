"""What the README says that calls cost, counted: requests to targets, those to services beside."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from pathlib import Path

import pytest

import daos.aio
from daos.cart.context import Context
from daos.dfs.attributes import SetAttr
from daos.dfs.copy import copy
from daos.dfs.end_local import LocalEnd
from daos.dfs.end_stored import StoredEnd
from daos.dfs.mount import Mount
from daos.dfs.node import File
from daos.dfs.tandem import route

CREATE = os.O_CREAT | os.O_RDWR
SHARDS = 4  # of a file; a directory has one


class Counting:
    """Requests that leave a client, by the tag that they are for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent = [0, 0]  # to services, to targets
        send = Context.send

        def counted(context: Context, endpoint: object, *args: object, **kwargs: object) -> object:
            self.sent[getattr(endpoint, "tag", 0) > 0] += 1
            return send(context, endpoint, *args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(Context, "send", counted)

    async def of(self, call: Awaitable[object]) -> tuple[int, int]:
        """(to targets, to services) while it is awaited."""
        self.sent = [0, 0]
        await call
        return self.sent[1], self.sent[0]


def test_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with daos.aio.local(tmp_path, targets=SHARDS) as system:
            await system.admin.pool_create("tank", "256MiB")
            client = await system.connect()
            async with (
                client.pool("tank") as pool,
                pool.create_container("files", "POSIX") as container,
            ):
                async with pool.container("files") as other:
                    await meet(container, await other.new_oid("KV_LEXICAL", "SX"))
                count = Counting(monkeypatch)
                await check(await Mount.open(container), count)
                await check_copy(await Mount.open(container), count, tmp_path)

    asyncio.run(run())


async def meet(container: daos.aio.Container, oid: daos.ObjectId) -> None:
    """Write to every target, which asks for the handle of a container at its first request."""
    async with container.kv(oid) as pairs:
        await pairs.put_many({str(number): b"1" for number in range(16 * SHARDS)})


async def check(mount: Mount, count: Counting) -> None:
    root, cost = mount.root, count.of
    assert await cost(Mount.open(mount.container)) == (2, 1)
    assert await cost(mount.mkdir(root, "first")) == (1, 1)
    assert await cost(mount.mkdir(root, "d")) == (1, 0)
    assert await cost(mount.symlink(root, "l", "d/f")) == (1, 0)
    directory = await mount.lookup("/d")
    assert await cost(mount.open_file(directory, "f", CREATE)) == (1, 0)
    assert await cost(mount.open_file(directory, "f", CREATE)) == (2, 0)
    assert await cost(mount.open_file(directory, "f")) == (1, 0)
    assert await cost(mount.lookup("/d/f")) == (2, 0)
    assert await cost(mount.lookup("/l")) == (3, 0)
    file = await mount.lookup("/d/f")
    assert isinstance(file, File)
    assert await cost(file.write(0, b"x")) == (1, 0)
    assert await cost(file.read(0, 1)) == (1, 0)
    assert await cost(file.stat()) == (1 + SHARDS, 0)
    assert await cost(directory.stat()) == (2, 0)
    assert await cost(mount.stat(root, "l")) == (1, 0)
    assert await cost(file.setattr(SetAttr(mode=0o600))) == (2 + SHARDS, 0)
    assert await cost(file.setattr(SetAttr(mtime_ns=1))) == (2 + 2 * SHARDS, 0)
    assert await cost(file.setxattr("user.a", b"1")) == (2, 0)
    assert await cost(file.getxattr("user.a")) == (1, 0)
    assert await cost(file.listxattr()) == (2, 0)
    assert await cost(file.removexattr("user.a")) == (3, 0)
    assert await cost(names(mount)) == (1, 0)
    assert await cost(mount.move(directory, "f", directory, "e")) == (9, 0)
    assert await cost(mount.move(directory, "e", root, "g")) == (8, 0)
    inner = await mount.mkdir(await mount.mkdir(directory, "inner"), "inner")
    await mount.mkdir(root, "moved")
    assert await cost(mount.move(root, "moved", inner, "moved")) == (9 + 3, 0)
    assert await cost(mount.lookup("/")) == (1, 0)
    assert await cost(mount.remove(inner, "moved")) == (6, 0)
    assert await cost(mount.remove(directory, "inner", force=True)) > (0, 0)
    await mount.open_file(root, "h", CREATE)
    assert await cost(mount.move(root, "h", root, "g")) == (11 + SHARDS, 0)
    assert await cost(mount.exchange(root, "g", root, "l")) == (26, 0)
    assert await cost(mount.remove(root, "l")) == (2 + SHARDS, 0)
    assert await cost(mount.remove(root, "d")) == (6, 0)
    assert await cost(mount.remove(root, "g")) == (2, 0)


async def check_copy(mount: Mount, count: Counting, place: Path) -> None:
    """Of small files in one directory, each for itself; a directory and its attributes beside."""
    tree, files = place / "tree", 10
    tree.mkdir()
    for number in range(files):
        (tree / str(number)).write_bytes(b"content")
    stored = StoredEnd(mount)
    into = await route(LocalEnd(), str(tree), stored, "/copy")
    made, look = 1, 1  # mkdir; what there is of that name
    left = 2 + 1 + 1  # setattr with mtime, of an object of one shard
    assert await count.of(copy(into, workers=4)) == (2 * files + made + look + left, 0)
    out = await route(stored, "/copy", LocalEnd(), str(place / "back"))
    assert await count.of(copy(out, workers=4)) == (4 * files + 1, 0)  # and a listing
    again = await route(LocalEnd(), str(tree), stored, "/copy", here=True)
    told = 2 * files + look + left + 4  # of the directory: looked at as target, as copy
    assert (await count.of(copy(again, resume=True, workers=4)))[0] <= told


async def names(mount: Mount) -> list[str]:
    return [name async for name in mount.readdir(mount.root)]

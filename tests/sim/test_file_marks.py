"""A mover that died: who waits for it, for how long, and what they find then."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from daos.base.errors import DeadlineError, NotFoundError
from daos.base.hlc import EPSILON_NS
from daos.base.ids import ObjectId
from daos.dfs import entries, marks
from daos.dfs.entries import Found
from daos.dfs.layout import Mark, Role
from daos.dfs.mount import Mount
from daos.testing.simcluster import SimCluster
from daos.testing.simloop import simulate
from daos.testing.simnet import SimNetwork

TOKEN = bytes(range(16))
LEASE_S = marks.LEASE_NS / 1e9


def mounted(live: Path, body: Callable[[Mount], Awaitable[None]]) -> None:
    async def run() -> None:
        network = SimNetwork(asyncio.get_running_loop(), random.Random(1))
        cluster = SimCluster(live, random.Random(1), network=network)
        await cluster.start()
        try:
            await cluster.admin("admin").pool_create("tank", 256 << 20)
            client, _ = cluster.client("client")
            pool = await client.pool("tank")
            mount = await Mount.open(await pool.create_container("files", "POSIX"))
            await mount.open_file(mount.root, "f", os.O_CREAT | os.O_RDWR)
            await body(mount)
        finally:
            await cluster.close()

    simulate(run(), 1)


async def mark(mount: Mount, name: str, role: Role, there: str, until_ns: int) -> ObjectId:
    """As a mover would; the file's object."""
    place = mount.root.at(name.encode())
    made = Mark(
        role=role,
        token=TOKEN,
        until_ns=until_ns,
        directory=mount.root.oid,
        name=there.encode(),
    )
    with mount._operation(None) as call:
        found = await marks.fetch(place, call)
        assert found is not None
        assert await marks.put(place, made, found, call)
        assert not await marks.put(place, made, found, call)
    return found.entry.oid


def test_a_mark_without_effect_goes_when_its_time_is_over(tmp_path: Path) -> None:
    async def body(mount: Mount) -> None:
        loop = asyncio.get_running_loop()
        oid = await mark(mount, "f", Role.SOURCE, "g", mount.clock.now_ns() + marks.LEASE_NS)
        began = loop.time()
        with pytest.raises(DeadlineError, match="being moved"):
            await mount.remove(mount.root, "f", timeout=1)
        with pytest.raises(DeadlineError):
            await mount.move(mount.root, "f", mount.root, "h", timeout=1)
        # Everything else goes on.
        file = await mount.open_file(mount.root, "f", os.O_RDWR)
        await file.write(0, b"x")
        await file.setxattr("user.a", b"")
        assert (await file.stat()).st_size == 1
        assert await mount.remove(mount.root, "f") == oid
        assert LEASE_S < loop.time() - began < LEASE_S + EPSILON_NS / 1e9 + 1

    mounted(tmp_path, body)


def test_a_clock_far_ahead_makes_nobody_wait_longer(tmp_path: Path) -> None:
    async def body(mount: Mount) -> None:
        loop = asyncio.get_running_loop()
        await mark(mount, "f", Role.DESTINATION, "g", (1 << 64) - 1)
        began = loop.time()
        await mount.move(mount.root, "f", mount.root, "g")
        assert loop.time() - began < LEASE_S + EPSILON_NS / 1e9 + 1

    mounted(tmp_path, body)


@pytest.mark.parametrize("first", ["f", "g"])
def test_a_move_that_was_made_is_ended(tmp_path: Path, first: str) -> None:
    """Whichever of the two names somebody comes by first."""

    async def body(mount: Mount) -> None:
        await mark(mount, "f", Role.SOURCE, "g", 1)
        source = await mount.lookup("/f")
        with mount._operation(None) as call:
            await entries.insert(mount.root.at(b"g"), Found(source.entry, mount.epoch), call)
        await mark(mount, "g", Role.DESTINATION, "f", 1)
        if first == "f":
            with pytest.raises(NotFoundError):
                await mount.remove(mount.root, "f")
            assert (await mount.lookup("/g")).oid == source.oid
        assert await mount.remove(mount.root, "g") == source.oid
        assert [name async for name in mount.readdir(mount.root)] == []

    mounted(tmp_path, body)

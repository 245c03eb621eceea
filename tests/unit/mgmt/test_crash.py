"""Power cuts while pools are made and removed: the crash table of the package, row by row.

Each test records what the devices saw, cuts at every event, keeps nothing, all, or some of what was
not flushed, and starts a system from what is left.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import pytest

from daos.testing.devices import MemoryDirectory
from daos.testing.recording import Journal, RecordingDirectory
from tests.unit.embedded.cluster import TARGETS, Cluster, code_of, oid_of

Keep = Literal["none", "all", "some"]
WHOLE = 2 + TARGETS  # devices of a system with one pool


class Recorded:
    """What happened to the devices, and at which event each step was over."""

    def __init__(self) -> None:
        self.journal: Journal
        self.marks: dict[str, int] = {}


def record(
    tmp_path: Path, act: Callable[[Cluster, Callable[[str], None]], Awaitable[None]]
) -> Recorded:
    recorded = Recorded()

    async def run() -> None:
        directory = RecordingDirectory()
        recorded.journal = directory.journal
        async with Cluster(tmp_path / "recorded", directory=directory) as cluster:

            def mark(step: str) -> None:
                recorded.marks[step] = len(directory.journal)

            mark("started")
            await act(cluster, mark)
            mark("ended")

    asyncio.run(run())
    return recorded


def after_cut(
    tmp_path: Path,
    journal: Journal,
    cut: int,
    keep: Keep,
    check: Callable[[Cluster], Awaitable[None]],
) -> None:
    """Start from what a power cut behind `cut` events left, and check."""

    async def run() -> None:
        images = journal.image(cut, random.Random(cut), keep=keep)
        live = tmp_path / f"{cut}-{keep}"
        async with Cluster(live, directory=MemoryDirectory(images)) as cluster:
            await check(cluster)

    try:
        asyncio.run(run())
    except BaseException as error:
        error.add_note(f"power cut behind event {cut} of {len(journal)}, keep {keep!r}")
        raise


@pytest.mark.parametrize("keep", ["none", "all", "some"])
def test_while_the_management_store_is_made(
    tmp_path: Path, keep: Keep, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is left of a first start, the next one makes a system."""

    async def nothing(cluster: Cluster, mark: Callable[[str], None]) -> None:
        mark("nothing")

    recorded = record(tmp_path, nothing)

    async def check(cluster: Cluster) -> None:
        assert await cluster.list_pools() == {}
        await cluster.create_pool()

    for cut in range(recorded.marks["started"] + 1):
        after_cut(tmp_path, recorded.journal, cut, keep, check)


@pytest.mark.parametrize("keep", ["none", "all", "some"])
def test_while_a_pool_is_made(tmp_path: Path, keep: Keep) -> None:
    """Before READY it is removed at the next start; once answered it is there."""

    async def create(cluster: Cluster, mark: Callable[[str], None]) -> None:
        await cluster.create_pool()
        mark("created")

    recorded = record(tmp_path, create)
    acknowledged = recorded.marks["created"]

    for cut in range(recorded.marks["started"], acknowledged + 1):

        async def check(cluster: Cluster, cut: int = cut) -> None:
            pools = await cluster.list_pools()
            assert pools in ({}, {"tank": "Ready"})
            assert cut < acknowledged or pools, "an acknowledged pool is gone"
            assert len(cluster.directory.names()) == (WHOLE if pools else 1)
            if not pools:
                await cluster.create_pool()  # the label is free
            pool = await cluster.connect((await cluster.find_pool()).uuid)
            container = await pool.container()
            await container.put(oid_of(), b"d", {b"a": b"1"})

        after_cut(tmp_path, recorded.journal, cut, keep, check)


@pytest.mark.parametrize("keep", ["none", "all", "some"])
def test_while_a_pool_is_removed(tmp_path: Path, keep: Keep) -> None:
    """Before the mark it is there with all its data; after it, it is removed at the next start."""

    async def destroy(cluster: Cluster, mark: Callable[[str], None]) -> None:
        pool = await cluster.pool()
        container = await pool.container()
        await container.put(oid_of(), b"d", {b"a": b"kept"})
        mark("made")
        await cluster.destroy_pool(force=True)
        mark("destroyed")

    recorded = record(tmp_path, destroy)
    acknowledged = recorded.marks["destroyed"]

    for cut in range(recorded.marks["made"], acknowledged + 1):

        async def check(cluster: Cluster, cut: int = cut) -> None:
            pools = await cluster.list_pools()
            assert pools in ({}, {"tank": "Ready"})
            assert cut < acknowledged or not pools, "an acknowledged destroy is undone"
            if pools:
                pool = await cluster.connect((await cluster.find_pool()).uuid)
                container = await pool.open("c1")
                assert await container.get(oid_of(), b"d", b"a") == b"kept"
            else:
                assert cluster.directory.names() == ["mgmt"]
                assert await code_of(cluster.create_pool()) == "SUCCESS"

        after_cut(tmp_path, recorded.journal, cut, keep, check)


@pytest.mark.parametrize("keep", ["none", "all", "some"])
def test_while_a_pool_is_renamed(tmp_path: Path, keep: Keep) -> None:
    """It has one label or the other, and its own service knows which."""

    async def rename(cluster: Cluster, mark: Callable[[str], None]) -> None:
        await cluster.create_pool()
        mark("made")
        await cluster.rename_pool("tank", "lake")
        mark("renamed")

    recorded = record(tmp_path, rename)
    acknowledged = recorded.marks["renamed"]

    for cut in range(recorded.marks["made"], acknowledged + 1):

        async def check(cluster: Cluster, cut: int = cut) -> None:
            pools = await cluster.list_pools()
            assert pools in ({"tank": "Ready"}, {"lake": "Ready"})
            assert cut < acknowledged or "lake" in pools, "an acknowledged label is gone"
            (label,) = pools
            assert (await (await cluster.pool(label)).query()).label == label
            await cluster.create_pool("lake" if label == "tank" else "tank")  # it is free

        after_cut(tmp_path, recorded.journal, cut, keep, check)

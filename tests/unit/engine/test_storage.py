"""Shards of an xstream: made, opened, closed and removed with their devices."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from daos.base.errors import CorruptError, ExistsError, NoSpaceError, NotFoundError, NvmeIoError
from daos.bio.checkpoint import InlineCopy
from daos.bio.device import BlockDevice
from daos.bio.meta import MetaConfig
from daos.engine.storage import Storage
from daos.testing.devices import FaultPlan, FaultyDevice, Image, MemoryDevice, MemoryDirectory

SIZE = 16 << 20
NAME = "pool-x-0"
POOL = UUID(int=7)


class FaultyDirectory(MemoryDirectory):
    """Its devices follow a plan."""

    def __init__(self, plan: FaultPlan | None = None) -> None:
        super().__init__()
        self.plan = plan or FaultPlan()
        self.full = False

    async def create(self, name: str, size_bytes: int, *, zero: int = 0) -> Any:  # noqa: ANN401
        if self.full:
            raise NoSpaceError("full")
        return self._wrap(await super().create(name, size_bytes, zero=zero))

    def _wrap(self, device: MemoryDevice) -> BlockDevice:
        return FaultyDevice(device, random.Random(1), self.plan)


def on_storage(
    body: Callable[[Storage, FaultyDirectory], Coroutine[Any, Any, None]],
) -> Callable[[Path], None]:
    def test(tmp_path: Path) -> None:
        async def run() -> None:
            directory = FaultyDirectory()
            config = MetaConfig(start_copy=InlineCopy)
            storage = Storage(directory, live_path=tmp_path, config=config)
            await body(storage, directory)
            assert directory._open == {}, "a device was left open"

        asyncio.run(run())

    test.__doc__ = body.__doc__
    return test


@on_storage
async def test_a_shard_from_its_making_to_its_end(
    storage: Storage, directory: FaultyDirectory
) -> None:
    meta = await storage.create(NAME, uuid=POOL, size_bytes=SIZE)
    assert meta.uuid == POOL
    assert storage.exists(NAME)
    assert await storage.open(NAME) is meta
    with pytest.raises(ExistsError):
        await storage.create(NAME, uuid=POOL, size_bytes=SIZE)
    assert await storage.open(NAME) is meta
    await storage.close(NAME)
    await storage.close(NAME)
    assert (await storage.open(NAME)).uuid == POOL
    await storage.destroy(NAME)
    await storage.destroy(NAME)
    assert not storage.exists(NAME)
    with pytest.raises(NotFoundError):
        await storage.open(NAME)


@on_storage
async def test_what_cannot_be_made_leaves_nothing(
    storage: Storage, directory: FaultyDirectory
) -> None:
    directory.full = True
    with pytest.raises(NoSpaceError):
        await storage.create(NAME, uuid=POOL, size_bytes=SIZE)
    directory.full = False
    for plan in (FaultPlan(fail_write=1), FaultPlan(fail_flush=1), FaultPlan(full_write=1)):
        directory.plan = plan
        with pytest.raises((NvmeIoError, NoSpaceError)):
            await storage.create(NAME, uuid=POOL, size_bytes=SIZE)
        assert directory.names() == []


@on_storage
async def test_a_damaged_shard_is_told_and_left_as_it_is(
    storage: Storage, directory: FaultyDirectory
) -> None:
    await storage.create(NAME, uuid=POOL, size_bytes=SIZE)
    await storage.close(NAME)
    directory.images[NAME] = Image(SIZE)
    before = directory.images[NAME].copy()
    with pytest.raises(CorruptError):
        await storage.open(NAME)
    assert directory.images[NAME] == before


@on_storage
async def test_one_that_cannot_be_closed_well_does_not_keep_the_others_open(
    storage: Storage, directory: FaultyDirectory
) -> None:
    directory.plan = FaultPlan(fail_flush=4)
    first = await storage.create("first", uuid=POOL, size_bytes=SIZE)
    directory.plan = FaultPlan()
    await storage.create("second", uuid=POOL, size_bytes=SIZE)
    while True:
        tx = first.begin()
        tx.put(b"key", b"value")
        try:
            await first.durable(tx.commit())
        except NvmeIoError:
            break
    with pytest.raises(NvmeIoError):
        await storage.close_all()
    assert directory._open == {}


@on_storage
async def test_the_live_tree_goes_with_its_shard(
    storage: Storage, directory: FaultyDirectory
) -> None:
    await storage.create(NAME, uuid=POOL, size_bytes=SIZE)
    assert (storage._live_path / NAME).is_dir()
    await storage.close(NAME)
    assert not (storage._live_path / NAME).exists()


@on_storage
async def test_turns_of_one_name(storage: Storage, directory: FaultyDirectory) -> None:
    assert storage.turn("a") is not storage.turn("b")
    lock = storage.turn("a")
    assert storage.turn("a") is lock
    async with lock:
        assert storage.turn("a").locked()

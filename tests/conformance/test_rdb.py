"""Every implementation of the Rdb seam against the kit."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from daos.bio.checkpoint import InlineCopy
from daos.bio.meta import MetaConfig, MetaContext
from daos.rdb.interface import Rdb
from daos.rdb.local import LocalRdb
from daos.testing.devices import Image, MemoryDevice
from daos.testing.kits.rdb import RdbKit
from daos.testing.kits.rdb_store import Store

MIB = 1 << 20
CONFIG = MetaConfig(wal_bytes=32 * MIB, start_copy=InlineCopy)


@dataclass
class ManualClock:
    """Time stands still until it is told to pass."""

    monotonic: int = 10**15

    def now_ns(self) -> int:
        return 10**18

    def monotonic_ns(self) -> int:
        return self.monotonic


class LocalStore:
    """A LocalRdb on a device in memory."""

    rdb: Rdb

    def __init__(self, path: Path) -> None:
        self._image = Image(128 * MIB)
        self._clock = ManualClock()
        self._path = path

    async def start(self) -> None:
        self._device = MemoryDevice(self._image.size_bytes, image=self._image)
        self._meta = await MetaContext.open(self._device, config=CONFIG, live_path=self._path)
        self._local = LocalRdb(self._meta, self._clock)
        self.rdb = self._local

    async def stop(self) -> None:
        self._local.close()
        await self._meta.close()
        await self._device.close()

    async def format(self) -> None:
        device = MemoryDevice(self._image.size_bytes, image=self._image)
        await MetaContext.format(device, uuid=uuid.UUID(int=1), config=CONFIG)
        await device.close()

    async def advance(self, duration_ns: int) -> None:
        self._clock.monotonic += duration_ns

    async def reopen(self) -> None:
        await self.stop()
        self._clock.monotonic = 5  # another process, another origin
        await self.start()


class TestLocal(RdbKit):
    """The owner never calls `expire`: reading alone has to notice."""

    owner_expires = False

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        with TemporaryDirectory() as path:
            store = (OwnedStore if self.owner_expires else LocalStore)(Path(path))
            await store.format()
            await store.start()
            yield store
            await store.stop()


class OwnedStore(LocalStore):
    """The owner calls `expire` when it is told to."""

    async def advance(self, duration_ns: int) -> None:
        await super().advance(duration_ns)
        next_ns = self._local.next_expiry_ns
        if next_ns is not None and next_ns <= self._clock.monotonic:
            assert self._local.expire(self._clock.monotonic) > 0


class TestLocalWithOwner(TestLocal):
    owner_expires = True

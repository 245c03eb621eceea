"""The storage of one xstream: names of shards to open metadata contexts.

    name --DeviceDirectory--> BlockDevice --MetaContext.open--> MetaContext

A shard's device and its context live and die together here; nobody else opens or closes either.

Concurrency: what is done to one name is done in `turn(name)`, which the caller takes, together with
whatever it keeps of the shard. A request whose sender gave up may still be making a device when
the next one comes to remove it; that one waits until there is a device to remove.
Source: DAOS src/bio/bio_context.c bio_mc_create, bio_mc_open, bio_mc_destroy.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from daos.base.errors import NotFoundError
from daos.bio.device import BlockDevice, DeviceDirectory
from daos.bio.meta import MetaConfig, MetaContext
from daos.engine.copies import Turns
from daos.engine.sched import Scheduler, UltPool


class _Opened(NamedTuple):
    device: BlockDevice
    meta: MetaContext


class Storage:
    """Owner of the shards that it opened. `live_path` is for LMDB's volatile files."""

    def __init__(
        self,
        directory: DeviceDirectory,
        *,
        live_path: Path,
        config: MetaConfig,
        sched: Scheduler | None = None,
    ) -> None:
        """`sched`: has the tasks of checkpoints."""
        self._sched = sched
        self._directory = directory
        self._live_path = live_path
        self._config = config
        self._opened: dict[str, _Opened] = {}
        self._turns = Turns()

    def turn(self, name: str) -> asyncio.Lock:
        """Hold it while a shard of this name is made, opened or removed."""
        return self._turns.turn(name)

    async def create(self, name: str, *, uuid: UUID, size_bytes: int) -> MetaContext:
        """Allocate and format a shard, and open it. Durable on return.

        Atomicity: a power cut, or a cancelled call, may leave the device unformatted; `destroy`
                   removes it
        Raises:    ExistsError, NoSpaceError, InvalidError (too small)
        """
        device = await self._directory.create(
            name, size_bytes, zero=self._config.zeroed_bytes(size_bytes)
        )
        try:
            await MetaContext.format(device, uuid=uuid, config=self._config)
        except BaseException:
            await device.close()
            await self._directory.destroy(name)
            raise
        return await self._open(name, device)

    async def open(self, name: str) -> MetaContext:
        """Recover a shard; the open one if it is open. Raises: NotFoundError, CorruptError."""
        opened = self._opened.get(name)
        if opened is not None:
            return opened.meta
        return await self._open(name, await self._directory.open(name))

    async def close(self, name: str, *, checkpoint: bool = True) -> None:
        """Close a shard; one that is not open is no error.

        Raises: NvmeIoError, NoSpaceError  no checkpoint was written; the shard is closed
        """
        opened = self._opened.pop(name, None)
        if opened is not None:
            try:
                await opened.meta.close(checkpoint=checkpoint)
            finally:
                shutil.rmtree(self._live_path / name, ignore_errors=True)  # of no use any more
                await opened.device.close()

    async def close_all(self, *, checkpoint: bool = True) -> None:
        """Close every shard, all at once; the first error is raised when all are closed."""
        closed = await asyncio.gather(
            *(self.close(name, checkpoint=checkpoint) for name in list(self._opened)),
            return_exceptions=True,
        )
        for error in closed:
            if error is not None:
                raise error

    async def destroy(self, name: str) -> None:
        """Close and remove a shard; one that does not exist is no error (a repeated destroy)."""
        await self.close(name, checkpoint=False)
        with contextlib.suppress(NotFoundError):
            await self._directory.destroy(name)

    def exists(self, name: str) -> bool:
        """Whether there is a device of that name."""
        return name in self._directory.names()

    async def _open(self, name: str, device: BlockDevice) -> MetaContext:
        try:
            meta = await MetaContext.open(
                device, config=self._config, live_path=self._live_path / name
            )
        except BaseException:
            await device.close()
            raise
        if self._sched is not None:
            meta.spawn = partial(self._sched.spawn, "checkpoint", name, pool=UltPool.NVME_POLL)
        self._opened[name] = _Opened(device, meta)
        return meta

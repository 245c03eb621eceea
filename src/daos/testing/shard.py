"""A shard of a pool in memory, for tests of the store and of what stands on it.

    async with memory_shard() as shard:
        container = shard.container()
        await shard.put(container, oid, b"dkey", {b"akey": b"value"}, epoch=10)
        assert await shard.get(container, oid, b"dkey", b"akey", epoch=10) == b"value"

The store is the real one, with its log and checkpoints, on a `MemoryDevice`; `reopen` recovers it
from the device as after a power cut behind the last flush. The clock stands at the first epoch, so
that tests may write at epochs 10, 20 ...

Source: ours
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Concatenate, Final, ParamSpec

from daos.base.errors import DaosError
from daos.base.hlc import START_UNIX_NS, Hlc
from daos.base.ids import ContainerUuid, Epoch, Lsn, ObjectId, ObjectType, ShardIndex, UnitOid
from daos.base.iod import Iod, IodType, Recx
from daos.bio.checkpoint import InlineCopy
from daos.bio.meta import MetaConfig, MetaContext
from daos.testing.devices import MemoryDevice
from daos.vos.container import VosContainer
from daos.vos.fetch import Fetch
from daos.vos.ilog import MINOR_MAX
from daos.vos.pool import VosPool
from daos.vos.timestamps import Operation
from daos.vos.work import Want, Work

P = ParamSpec("P")

POOL: Final = uuid.UUID(int=1)
CONTAINER: Final = ContainerUuid(uuid.UUID(int=2))


class StoppedClock:
    """Always the first moment that has an epoch."""

    def now_ns(self) -> int:
        return START_UNIX_NS

    def monotonic_ns(self) -> int:
        return 0


def unit(lo: int, otype: ObjectType = ObjectType.MULTI_HASHED, *, shard: int = 0) -> UnitOid:
    """An object id of an unreplicated class."""
    oid = ObjectId.encode(user_hi=0, lo=lo, type=otype, redundancy=1, groups=1)
    return UnitOid(oid, ShardIndex(shard))


class MemoryShard:
    """A shard, its device, and short forms of what tests do with it."""

    def __init__(self, device: MemoryDevice, live_path: Path, data_thresh: int) -> None:
        self.device = device
        self.config = MetaConfig(start_copy=InlineCopy)
        self.data_thresh = data_thresh
        self.hlc = Hlc(StoppedClock())
        self._live_path = live_path
        self.meta: MetaContext
        self.pool: VosPool

    async def open(self) -> None:
        """Recover whatever the device holds."""
        self.meta = await MetaContext.open(
            self.device, config=self.config, live_path=self._live_path
        )
        self.pool = VosPool(self.meta, hlc=self.hlc, data_thresh=self.data_thresh)

    async def reopen(self, *, clean: bool = False) -> None:
        """Close, with or without a checkpoint, and recover, with a fresh clock."""
        await self.meta.close(checkpoint=clean)
        self.hlc = Hlc(StoppedClock())
        await self.open()

    def container(self, uuid: ContainerUuid = CONTAINER) -> VosContainer:
        """An open container, created at first use."""
        if uuid not in self.pool.containers():
            self.pool.create_container(uuid)
        container = self.pool.open_container(uuid)
        while container.dtxs.load(self.meta):
            pass
        return container

    async def update(
        self,
        container: VosContainer,
        oid: UnitOid,
        dkey: bytes,
        iods: Sequence[Iod],
        data: bytes,
        *,
        epoch: int,
        cond: int = 0,
        minor: int = MINOR_MAX,
        op: Operation | None = None,
    ) -> Lsn:
        """Land `data` across the destinations, end the update, wait until it is durable."""
        update = container.update_begin(oid, dkey, iods, cond=cond)
        assert update.nbytes == len(data), f"{len(data)} bytes given, {update.nbytes} expected"
        at = 0
        for destination in update.destinations:
            destination[:] = data[at : at + len(destination)]
            at += len(destination)
        try:
            lsn = container.update_end(update, Epoch(epoch), minor=minor, op=op)
        except DaosError:
            container.update_cancel(update)
            raise
        await self.meta.durable(lsn)
        return lsn

    async def put(
        self,
        container: VosContainer,
        oid: UnitOid,
        dkey: bytes,
        values: Mapping[bytes, bytes],
        *,
        epoch: int,
        cond: int = 0,
        minor: int = MINOR_MAX,
        op: Operation | None = None,
    ) -> Lsn:
        """Update single values; an empty value punches."""
        iods = [Iod(akey, IodType.SINGLE, len(value)) for akey, value in values.items()]
        data = b"".join(values.values())
        return await self.update(
            container, oid, dkey, iods, data, epoch=epoch, cond=cond, minor=minor, op=op
        )

    async def write(
        self,
        container: VosContainer,
        oid: UnitOid,
        keys: tuple[bytes, bytes],
        extents: Mapping[int, bytes],
        *,
        epoch: int,
        record_size: int = 1,
    ) -> Lsn:
        """Update ranges of the array akey `keys` = (dkey, akey), by first record."""
        recxs = tuple(Recx(lo, len(data) // record_size) for lo, data in extents.items())
        iod = Iod(keys[1], IodType.ARRAY, record_size, recxs)
        data = b"".join(extents.values())
        return await self.update(container, oid, keys[0], [iod], data, epoch=epoch)

    async def fetch(
        self,
        container: VosContainer,
        oid: UnitOid,
        dkey: bytes,
        iods: Sequence[Iod],
        *,
        epoch: int,
        cond: int = 0,
        op: Operation | None = None,
    ) -> tuple[Fetch, list[bytes]]:
        """An ended fetch, and a copy of its views."""
        fetch = container.fetch_begin(oid, dkey, iods, Epoch(epoch), cond=cond, op=op)
        try:
            done: asyncio.Future[DaosError | None] = asyncio.get_running_loop().create_future()
            container.fetch_read(fetch, done.set_result)
            error = await done
            if error is not None:
                raise error
            return fetch, [bytes(view) for view in fetch.views]
        finally:
            container.fetch_end(fetch)

    async def get(
        self,
        container: VosContainer,
        oid: UnitOid,
        dkey: bytes,
        akey: bytes,
        *,
        epoch: int,
        cond: int = 0,
        op: Operation | None = None,
    ) -> bytes | None:
        """A single value, None where nothing is."""
        iods = [Iod(akey, IodType.SINGLE, 0)]
        fetch, views = await self.fetch(container, oid, dkey, iods, epoch=epoch, cond=cond, op=op)
        assert fetch.sizes == [len(view) for view in views] or fetch.sizes == [0]
        return views[0] if views else None

    async def finish(self, work: Work) -> int:
        """Take all steps of an aggregation or a discard; how many there were."""
        steps = 1
        while (want := work.step()) is not Want.NOTHING:
            steps += 1
            if want is Want.READ:
                done: asyncio.Future[DaosError | None] = asyncio.get_running_loop().create_future()
                work.read(done.set_result)
                await done
            elif want is Want.ROOM:
                await self.meta.checkpoint()
            else:
                await asyncio.sleep(0)
        await self.meta.durable(self.meta.lsn_last)
        return steps

    async def read(
        self,
        container: VosContainer,
        oid: UnitOid,
        keys: tuple[bytes, bytes],
        extent: tuple[int, int],
        *,
        epoch: int,
        hole: bytes = b".",
    ) -> bytes:
        """Records [lo, hi) of an array of bytes; `hole` where nothing is."""
        lo, hi = extent
        iods = [Iod(keys[1], IodType.ARRAY, 0, (Recx(lo, hi - lo),))]
        fetch, views = await self.fetch(container, oid, keys[0], iods, epoch=epoch)
        size = fetch.sizes[0] or 1
        content = bytearray(hole * ((hi - lo) * size))
        for (_, _, index, count), view in zip(fetch.pieces, views, strict=True):
            content[index * size : (index + count) * size] = view
        return bytes(content)


@asynccontextmanager
async def memory_shard(
    size_bytes: int = 64 << 20, *, data_thresh: int = 4096
) -> AsyncIterator[MemoryShard]:
    """A fresh shard; closed without a checkpoint at the end."""
    device = MemoryDevice(size_bytes)
    with tempfile.TemporaryDirectory() as live_path:
        shard = MemoryShard(device, Path(live_path), data_thresh)
        await MetaContext.format(device, uuid=POOL, config=shard.config)
        await shard.open()
        try:
            yield shard
        finally:
            await shard.meta.close(checkpoint=False)
            await device.close()


def on_shard(
    body: Callable[Concatenate[MemoryShard, VosContainer, P], Coroutine[object, object, None]],
) -> Callable[P, None]:
    """A test over a fresh shard and a container of it, from `async def test(shard, c, ...)`."""

    @functools.wraps(body)
    def test(*args: P.args, **kwargs: P.kwargs) -> None:
        async def run() -> None:
            async with memory_shard() as shard:
                await body(shard, shard.container(), *args, **kwargs)

        asyncio.run(run())

    # pytest takes parameters for fixtures: the first two are none.
    signature = inspect.signature(body)
    rest = list(signature.parameters.values())[2:]
    test.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
    return test

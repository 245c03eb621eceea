"""One target and one client in the running loop: the path of object I/O and nothing else.

    ObjectClient -> cart -> inproc -> cart -> object server -> VOS -> bio -> device

No pool or container service: the target is told of its shard and handle directly. So every count
taken here belongs to object I/O.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.load import Ended
from daos.base.checksum import ChecksumType, on_the_way
from daos.base.clock import SystemClock
from daos.base.errors import DaosError
from daos.base.hlc import Hlc
from daos.base.ids import (
    ContainerUuid,
    DtxId,
    Epoch,
    HandleUuid,
    ObjectId,
    ObjectType,
    PoolUuid,
    Rank,
    TargetIndex,
    dtx_id,
    tag_of,
)
from daos.base.iod import Iod
from daos.bio.device import BlockDevice, DeviceDirectory, DeviceStatistics, Done, Write
from daos.bio.meta import MetaConfig, MetaContext
from daos.cart.context import Context, Endpoint
from daos.cart.transport import Transport
from daos.cart.transport.inproc import InprocNetwork
from daos.engine.sched import Scheduler
from daos.engine.storage import Storage
from daos.engine.target import Kept, Target
from daos.engine.xstream import Xstream
from daos.object.attempts import Pacing
from daos.object.client import ObjectClient
from daos.object.link import Call, ContainerLink
from daos.object.maps import PoolMaps
from daos.object.module import ObjectModule
from daos.object.wire import FetchReply
from daos.placement.jump import JumpMap
from daos.placement.pool_map import PoolMap
from daos.vos.container import VosContainer

MiB: Final = 1 << 20
_POOL: Final = PoolUuid(uuid.UUID(int=1))
_CONTAINER: Final = ContainerUuid(uuid.UUID(int=2))
HANDLE: Final = HandleUuid(uuid.UUID(int=3))
_CLIENT: Final = uuid.UUID(int=4).bytes
_TARGET: Final = TargetIndex(0)
_DEADLINE_NS: Final = 600 * 10**9


class Stand:
    """Made by `open_stand`."""

    def __init__(
        self,
        directory: DeviceDirectory,
        live_path: Path,
        config: MetaConfig,
        transport: Transport | None,
    ) -> None:
        self.clock = SystemClock()
        self.hlc = Hlc(self.clock)
        self.rng = random.Random(1)
        self.loop = asyncio.get_running_loop()
        self.network = transport or InprocNetwork(self.loop)
        self.endpoint = Endpoint(Rank(0), tag_of(_TARGET))
        self.server = self._context(self.endpoint)
        self.client = self._context(None)
        xstream = Xstream(
            rank=Rank(0),
            tag=tag_of(_TARGET),
            context=self.server,
            storage=Storage(directory, live_path=live_path, config=config),
            sched=(sched := Scheduler(self.loop, self.clock)),
            clock=self.clock,
            hlc=self.hlc,
            rng=self.rng,
            loop=self.loop,
        )
        self.target = Target(_TARGET, xstream)
        scheduled = {each.opcode: how for each, how in ObjectModule.scheduled.items()}
        sched.guard(
            self.server,
            scheduled,
            lambda rpc: self.target.owner_of(rpc.request.address.handle),
        )
        self.container: VosContainer

    @property
    def meta(self) -> MetaContext:
        """The shard's metadata context."""
        return self.target.shard(_POOL).meta

    @property
    def pool(self) -> bytes:
        """Whose shard it is."""
        return _POOL.bytes

    @property
    def device(self) -> BlockDevice:
        """The shard's device."""
        return self.meta.device

    async def open(self, size_bytes: int) -> None:
        """Make the shard, its container and a handle to it."""
        ObjectModule().serve_target(self.target)
        self.server.listen()
        await self.target.create_shard(_POOL, size_bytes=size_bytes)
        self.target.shard(_POOL).take_map(1, b"")  # as a pool service would tell
        await self.target.open_handle(
            _POOL,
            _CONTAINER,
            handle=HANDLE,
            kept=Kept((), 0, "disabled"),
            writable=True,
            checksum_type=ChecksumType.OFF,
            checksum_chunk=0,
        )
        self.container = self.target.handle(HANDLE.bytes, _POOL.bytes, write=True).container

    async def aggregate(self) -> None:
        """Forget all versions but the newest."""
        await self.target.aggregate(_POOL, _CONTAINER, Epoch(0))

    async def close(self) -> None:
        """End of everything; no checkpoint."""
        await self.client.close()
        await self.server.close()
        await self.target.close(checkpoint=False)

    def object(self, lo: int = 1) -> ObjectClient:
        """An object of class S1."""
        oid = object_id(lo)
        pool_map = PoolMap.initial([("localhost", [(Rank(0), 1)])])
        link = ContainerLink(
            context=self.client,
            pacing=Pacing(self.loop, self.clock, self.rng),
            new_dtx=self.new_dtx,
            pool=_POOL.bytes,
            handle=HANDLE.bytes,
            writable=True,
            checksum_type=on_the_way(ChecksumType.OFF),
            maps=PoolMaps(pool_map),
            epoch=Epoch(0),
        )
        return ObjectClient(link, oid, JumpMap(pool_map).place(oid))

    def new_dtx(self) -> DtxId:
        """As a client's session draws it."""
        return dtx_id(_CLIENT, self.hlc.now())

    def call(self) -> Call:
        """A deadline nothing here comes near."""
        return Call(self.clock.now_ns() + _DEADLINE_NS)

    def _context(self, endpoint: Endpoint | None) -> Context:
        return Context(
            self.network,
            endpoint,
            clock=self.clock,
            hlc=self.hlc,
            rng=random.Random(2),
            loop=self.loop,
        )


@asynccontextmanager
async def open_stand(
    directory: DeviceDirectory,
    live_path: Path,
    *,
    size_bytes: int = 256 * MiB,
    config: MetaConfig | None = None,
    transport: Transport | None = None,
) -> AsyncIterator[Stand]:
    """A fresh shard in `directory`; over `inproc` unless another transport is given."""
    stand = Stand(directory, live_path, config or MetaConfig(), transport)
    await stand.open(size_bytes)
    try:
        yield stand
    finally:
        await stand.close()
        await directory.close()


def object_id(lo: int) -> ObjectId:
    """Of class S1, with hashed keys."""
    return ObjectId.encode(user_hi=0, lo=lo, type=ObjectType.MULTI_HASHED, redundancy=1, groups=1)


def put(
    target: ObjectClient,
    iods: Sequence[Iod],
    dkey: bytes,
    value: memoryview,
    call: Call,
    end: Ended,
) -> None:
    """Update one value; `end` hears of it."""
    target.update(dkey, iods, (value,), call=call, done=lambda _epoch, error: end(error))


def get(
    target: ObjectClient, iods: Sequence[Iod], dkey: bytes, into: memoryview, call: Call, end: Ended
) -> None:
    """Fetch one value into memory of its size; a missing one is an error."""

    def done(reply: FetchReply | None, error: DaosError | None) -> None:
        assert error is not None or (reply is not None and reply.sizes[0]), "it was written before"
        end(error)

    into_it = (into,)
    target.fetch(
        dkey, iods, lambda _reply: into_it, room=lambda _sizes: into_it, call=call, done=done
    )


class UnflushedDevice:
    """A device whose flushes are left out: what everything but the flush costs."""

    def __init__(self, inner: BlockDevice) -> None:
        self._inner = inner
        self.name = inner.name
        self.size_bytes = inner.size_bytes
        self.submit_read = inner.submit_read
        self.read_nowait = inner.read_nowait
        self.close = inner.close

    def submit_write(self, writes: Sequence[Write], *, flush: bool, done: Done) -> None:
        """As the device inside, without the flush."""
        del flush
        self._inner.submit_write(writes, flush=False, done=done)

    def statistics(self) -> DeviceStatistics:
        """Of the device inside."""
        return self._inner.statistics()


class UnflushedDirectory:
    """Devices of another directory, without their flushes."""

    def __init__(self, inner: DeviceDirectory) -> None:
        self._inner = inner
        self.names = inner.names
        self.destroy = inner.destroy
        self.close = inner.close

    async def create(self, name: str, size_bytes: int, *, zero: int = 0) -> BlockDevice:
        """As the directory inside."""
        return UnflushedDevice(await self._inner.create(name, size_bytes, zero=zero))

    async def open(self, name: str) -> BlockDevice:
        """As the directory inside."""
        return UnflushedDevice(await self._inner.open(name))

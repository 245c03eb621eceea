"""A real System in memory for tests of the services: real CaRT, real store, devices in memory.

    async with Cluster(tmp_path) as cluster:
        pool = await cluster.pool("tank")            # created and connected, by the wire
        container = await pool.container("c1")       # created and opened
        await container.put(oid, b"dkey", {b"akey": b"value"})

The short forms speak the wire procedures themselves, so that tests can also say what no client
would. `restart` stops or crashes the system and starts one anew over the same devices.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import random
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from daos.base.checksum import ChecksumType, compute, on_the_way
from daos.base.errors import AgainError, DaosError
from daos.base.ids import ObjectId, ObjectType, PoolUuid, Tag
from daos.base.iod import Iod, IodType, Recx
from daos.bio.checkpoint import InlineCopy
from daos.bio.device import Done
from daos.bio.meta import MetaConfig
from daos.cart.calling import Into
from daos.cart.context import Context, Endpoint
from daos.cart.protocol import Procedure
from daos.container import wire as cont_wire
from daos.embedded.system import System, SystemConfig
from daos.engine.rank import SERVICE_RANK
from daos.engine.target import Shard, Target
from daos.mgmt import wire as mgmt_wire
from daos.mgmt.administration import Administration
from daos.mgmt.module import ManagementModule
from daos.object import wire as obj_wire
from daos.pool import wire as pool_wire
from daos.testing.devices import Image, MemoryDirectory

SYSTEM: Final = Endpoint(SERVICE_RANK, Tag(0))
MIB: Final = 1 << 20
TARGETS: Final = 2
POOL_BYTES: Final = 16 * MIB * TARGETS

ReplyT = TypeVar("ReplyT")
T = TypeVar("T")


class Clock:
    """Advances by hand; a start in 2024."""

    def __init__(self) -> None:
        self.ns = 1_704_067_200 * 10**9

    def now_ns(self) -> int:
        return self.ns

    def monotonic_ns(self) -> int:
        return self.ns

    def advance(self, seconds: float) -> None:
        self.ns += int(seconds * 10**9)


def new_id(number: int) -> bytes:
    return uuid.UUID(int=number).bytes


def endpoint(tag: int) -> Endpoint:
    """Of an xstream: 0 the system's, i + 1 target i's; beyond, of an engine that is not there."""
    return Endpoint(SERVICE_RANK, Tag(tag))


class FullLog:
    """The log of a shard without room: who waits for it, and the moment when there is some."""

    def __init__(self, shard: Shard) -> None:
        self._meta = shard.meta
        self.waiting: list[Done] = []
        vars(self._meta)["when_room"] = self._wait
        self._meta._wal._refused = True
        self._enough = asyncio.Event()
        self._wanted = 0

    async def waiters(self, count: int) -> None:
        """Until so many wait."""
        self._wanted = count
        if len(self.waiting) < count:
            await self._enough.wait()

    def make_room(self) -> None:
        self._meta._wal._refused = False
        del vars(self._meta)["when_room"]
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done(None)

    def _wait(self, done: Done) -> None:
        self.waiting.append(done)
        if len(self.waiting) >= self._wanted:
            self._enough.set()


def oid_of(
    lo: int = 1,
    otype: ObjectType = ObjectType.MULTI_HASHED,
    *,
    groups: int = 1,
    redundancy: int = 1,
) -> ObjectId:
    return ObjectId.encode(user_hi=0, lo=lo, type=otype, redundancy=redundancy, groups=groups)


def single(akey: bytes, size: int = 0, cond: int = 0) -> Iod:
    return Iod(akey, IodType.SINGLE, size, (), cond)


def array(akey: bytes, record_size: int, *recxs: tuple[int, int]) -> Iod:
    return Iod(akey, IodType.ARRAY, record_size, tuple(Recx(lo, n) for lo, n in recxs))


def on_cluster(
    body: Callable[..., Coroutine[Any, Any, None]],
) -> Callable[..., None]:
    """A test over a running Cluster, from `async def test(cluster, ...)`."""

    @functools.wraps(body)
    def test(tmp_path: Path, **kwargs: object) -> None:
        async def run() -> None:
            async with Cluster(tmp_path) as cluster:
                await body(cluster, **kwargs)

        asyncio.run(run())

    signature = inspect.signature(body)
    rest = [p for p in signature.parameters.values() if p.name != "cluster"]
    fixture = inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    test.__signature__ = signature.replace(parameters=[fixture, *rest])  # type: ignore[attr-defined]
    return test


async def code_of(call: Coroutine[Any, Any, Any]) -> str:
    """Name of the DER code that the call fails with; "SUCCESS" if it does not."""
    try:
        await call
    except DaosError as error:
        return error.code.name
    return "SUCCESS"


class Cluster:
    """One rank with all its targets. See the module."""

    def __init__(
        self,
        live_path: Path,
        *,
        targets: int = TARGETS,
        directory: MemoryDirectory | None = None,
    ) -> None:
        self.clock = Clock()
        self.rng = random.Random(7)
        self.live_path = live_path
        self.directory = directory or MemoryDirectory()
        self.config = SystemConfig(
            targets=targets, owner="me@", group="us@", meta=MetaConfig(start_copy=InlineCopy)
        )
        self.system: System
        self.context: Context
        self._next_id = 0
        self._starts = 0

    async def start(self) -> None:
        self._starts += 1
        self.system = await System.start(
            self.config,
            directory=self.directory,
            live_path=self.live_path / str(self._starts),
            clock=self.clock,
            rng=self.rng,
        )
        self.context = self.client_context()

    async def stop(self, *, checkpoint: bool = True) -> None:
        await self.context.close()
        await self.system.stop(checkpoint=checkpoint)

    async def restart(self, *, checkpoint: bool = True) -> None:
        await self.stop(checkpoint=checkpoint)
        self.directory = MemoryDirectory(self.directory.images)
        await self.start()

    def images(self) -> dict[str, Image]:
        """The devices as they are now: what a process that is killed leaves behind."""
        return {name: image.copy() for name, image in self.directory.images.items()}

    def client_context(self, endpoint: Endpoint | None = None) -> Context:
        return Context(
            self.system.network,
            endpoint,
            clock=self.clock,
            hlc=self.system.engine.hlc,
            rng=self.rng,
            loop=asyncio.get_running_loop(),
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop(checkpoint=False)

    @property
    def targets(self) -> list[Target]:
        return self.system.engine.targets

    def shard(self, pool: bytes, target: int = 0) -> Shard:
        return self.targets[target]._shards[_pool_uuid(pool)]

    def new_id(self) -> bytes:
        self._next_id += 1
        return new_id(self._next_id)

    async def call(
        self,
        procedure: Procedure[Any, ReplyT],
        request: object,
        *,
        to: Endpoint = SYSTEM,
        seconds: float = 60,
        payload: Sequence[memoryview] = (),
        into: Into[ReplyT] | None = None,
        context: Context | None = None,
    ) -> ReplyT:
        """One call; once more where a target has not met a handle before, as clients come again."""
        while True:
            try:
                return await (context or self.context).call(
                    to,
                    procedure,
                    request,
                    deadline_ns=self.clock.now_ns() + int(seconds * 10**9),
                    payload=payload,
                    into=into,
                )
            except AgainError as error:
                if "just met" not in error.message:
                    raise
                await asyncio.sleep(0)

    async def create_pool(
        self,
        label: str = "tank",
        *,
        size: int = POOL_BYTES,
        uuid: bytes = b"",
        props: Mapping[str, str] | None = None,
    ) -> mgmt_wire.PoolRecord:
        request = mgmt_wire.PoolCreateRequest(
            uuid or self.new_id(), label, size, dict(props or {}), "me@", "us@"
        )
        return await self.call(mgmt_wire.POOL_CREATE, request)

    async def destroy_pool(self, name: str = "tank", *, force: bool = False) -> None:
        await self.call(mgmt_wire.POOL_DESTROY, mgmt_wire.PoolDestroyRequest(name, force))

    async def rename_pool(self, name: str, label: str) -> None:
        """By the way of a server."""
        engine = self.system.engine
        management = engine.modules.find(ManagementModule).service
        await Administration(engine, management).set_props(name, {"label": label})

    async def list_pools(self) -> dict[str, str]:
        """Label → state."""
        reply = await self.call(mgmt_wire.POOL_LIST, mgmt_wire.PoolListRequest())
        return {record.label: record.state for record in reply.pools}

    async def find_pool(self, name: str = "tank") -> mgmt_wire.PoolRecord:
        return await self.call(mgmt_wire.POOL_FIND, mgmt_wire.PoolFindRequest(name))

    async def connect(self, pool: bytes, flags: str = "rw", *, client: bytes = b"") -> PoolHandle:
        handle = self.new_id()
        request = pool_wire.ConnectRequest(pool, handle, client or self.new_id(), flags)
        await self.call(pool_wire.CONNECT, request)
        return PoolHandle(self, pool, handle)

    async def pool(self, label: str = "tank", flags: str = "rw") -> PoolHandle:
        """A new pool, connected."""
        return await self.connect((await self.create_pool(label)).uuid, flags)


def _pool_uuid(raw: bytes) -> PoolUuid:
    return PoolUuid(uuid.UUID(bytes=raw))


@dataclass
class PoolHandle:
    cluster: Cluster
    pool: bytes
    handle: bytes

    @property
    def named(self) -> pool_wire.HandleRequest:
        return pool_wire.HandleRequest(self.pool, self.handle)

    async def disconnect(self) -> None:
        await self.cluster.call(pool_wire.DISCONNECT, self.named)

    async def query(self) -> pool_wire.QueryReply:
        return await self.cluster.call(pool_wire.QUERY, self.named)

    async def create(
        self, label: str = "", *, uuid: bytes = b"", props: Mapping[str, str] | None = None
    ) -> cont_wire.ContainerRecord:
        request = cont_wire.CreateRequest(
            self.pool, self.handle, uuid or self.cluster.new_id(), label, dict(props or {})
        )
        return await self.cluster.call(cont_wire.CREATE, request)

    async def open(
        self, name: str, flags: str = "rw", *, handle: bytes = b"", met: bool = True
    ) -> ContainerHandle:
        """`met`: all targets have met the handle on return, as far as they can."""
        handle = handle or self.cluster.new_id()
        request = cont_wire.OpenRequest(self.pool, self.handle, name, handle, flags)
        reply = await self.cluster.call(cont_wire.OPEN, request)
        kind = on_the_way(ChecksumType(reply.checksum_type))
        container = ContainerHandle(self, handle, reply.uuid, kind)
        for target in self.cluster.targets if met else ():
            with contextlib.suppress(DaosError):
                request = obj_wire.PoolMapRequest(container.address(oid_of()))
                await self.cluster.call(obj_wire.POOL_MAP, request, to=endpoint(target.index + 1))
        return container

    async def container(
        self, label: str = "c1", flags: str = "rw", *, props: Mapping[str, str] | None = None
    ) -> ContainerHandle:
        """A new container, open."""
        await self.create(label, props=props)
        return await self.open(label, flags)

    async def destroy(self, name: str, *, force: bool = False) -> None:
        request = cont_wire.DestroyRequest(self.pool, self.handle, name, force)
        await self.cluster.call(cont_wire.DESTROY, request)

    async def list(self) -> list[str]:
        request = cont_wire.ListRequest(self.pool, self.handle)
        return [c.label for c in (await self.cluster.call(cont_wire.LIST, request)).containers]


@dataclass
class ContainerHandle:
    pool: PoolHandle
    handle: bytes
    uuid: bytes
    checksum_type: ChecksumType
    target: int = field(default=0)

    @property
    def cluster(self) -> Cluster:
        return self.pool.cluster

    def checksums(self, views: Sequence[memoryview]) -> tuple[bytes, ...]:
        """What values carry on their way to a target."""
        return tuple(compute(self.checksum_type, view) for view in views)

    @property
    def named(self) -> pool_wire.HandleRequest:
        return pool_wire.HandleRequest(self.pool.pool, self.handle)

    async def close(self) -> None:
        await self.cluster.call(cont_wire.CLOSE, self.named)

    async def query(self) -> cont_wire.QueryReply:
        return await self.cluster.call(cont_wire.QUERY, self.named)

    async def props(self) -> dict[str, str]:
        return (await self.cluster.call(cont_wire.PROPS, self.named)).props

    async def set_props(self, **props: str) -> None:
        request = pool_wire.SetPropsRequest(self.pool.pool, self.handle, props)
        await self.cluster.call(cont_wire.SET_PROPS, request)

    async def attrs(self, *names: str) -> dict[str, bytes]:
        request = pool_wire.AttrsRequest(self.pool.pool, self.handle, names)
        return (await self.cluster.call(cont_wire.ATTRS, request)).attrs

    async def set_attrs(self, put: Mapping[str, bytes], *delete: str) -> None:
        request = pool_wire.SetAttrsRequest(self.pool.pool, self.handle, dict(put), delete)
        await self.cluster.call(cont_wire.SET_ATTRS, request)

    async def snapshot(self, name: str = "") -> int:
        request = cont_wire.SnapshotCreateRequest(self.pool.pool, self.handle, name)
        return (await self.cluster.call(cont_wire.SNAP_CREATE, request)).epoch

    async def snapshots(self) -> list[tuple[int, str]]:
        reply = await self.cluster.call(cont_wire.SNAP_LIST, self.named)
        return [(snapshot.epoch, snapshot.name) for snapshot in reply.snapshots]

    async def destroy_snapshot(self, epoch: int = 0, name: str = "") -> None:
        request = cont_wire.SnapshotDestroyRequest(self.pool.pool, self.handle, epoch, name)
        await self.cluster.call(cont_wire.SNAP_DESTROY, request)

    async def alloc_oids(self, count: int) -> int:
        request = cont_wire.AllocOidsRequest(self.pool.pool, self.handle, count)
        return (await self.cluster.call(cont_wire.ALLOC_OIDS, request)).first

    def address(self, oid: ObjectId, epoch: int = 0) -> obj_wire.ShardAddress:
        return obj_wire.ShardAddress(self.handle, oid.hi, oid.lo, 0, 1, epoch, self.pool.pool)

    async def object(
        self,
        procedure: Procedure[Any, ReplyT],
        request: object,
        *,
        seconds: float = 60,
        payload: Sequence[memoryview] = (),
        into: Into[ReplyT] | None = None,
    ) -> ReplyT:
        """An object request, to `self.target`."""
        to = endpoint(self.target + 1)
        return await self.cluster.call(
            procedure, request, to=to, seconds=seconds, payload=payload, into=into
        )

    async def update(
        self,
        oid: ObjectId,
        dkey: bytes,
        iods: Sequence[Iod],
        values: Sequence[bytes],
        *,
        cond: int = 0,
    ) -> int:
        """The epoch of the update."""
        views = [memoryview(value) for value in values]
        checksums = self.checksums(views)
        request = obj_wire.UpdateRequest(self.address(oid), dkey, tuple(iods), cond, checksums)
        return (await self.object(obj_wire.UPDATE, request, payload=views)).epoch

    async def put(
        self, oid: ObjectId, dkey: bytes, values: Mapping[bytes, bytes], *, cond: int = 0
    ) -> int:
        iods = [single(akey, len(value)) for akey, value in values.items()]
        return await self.update(oid, dkey, iods, list(values.values()), cond=cond)

    async def fetch(
        self,
        oid: ObjectId,
        dkey: bytes,
        iods: Sequence[Iod],
        *,
        epoch: int = 0,
        cond: int = 0,
        size_only: bool = False,
    ) -> tuple[obj_wire.FetchReply, bytes]:
        landed = bytearray()

        def land(reply: obj_wire.FetchReply, size: int) -> list[memoryview]:
            landed.extend(bytes(size))
            return [memoryview(landed)]

        request = obj_wire.FetchRequest(
            self.address(oid, epoch), dkey, tuple(iods), cond, size_only
        )
        reply = await self.object(obj_wire.FETCH, request, into=land)
        return reply, bytes(landed)

    async def get(self, oid: ObjectId, dkey: bytes, akey: bytes, *, epoch: int = 0) -> bytes | None:
        reply, data = await self.fetch(oid, dkey, [single(akey)], epoch=epoch)
        return data if reply.sizes[0] else None

    async def punch(self, oid: ObjectId, dkey: bytes = b"", *akeys: bytes, cond: int = 0) -> int:
        request = obj_wire.PunchRequest(self.address(oid), dkey, akeys, cond)
        return (await self.object(obj_wire.PUNCH, request)).epoch

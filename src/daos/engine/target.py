"""A target: the owner of one slice of storage, and of every handle that may reach it.

    Target --pool uuid--> Shard (MetaContext + VosPool)
       +-----handle bytes--> ContainerHandle (shard, container, rights, checksum settings)

A shard lives on the device `pool-<pool uuid>-<target>` of the rank's device directory. Nothing
here is shared with another target, so what runs between two awaits is atomic.

    STARTING --joined--> SERVING --fail(bug)--> STOPPED     until the system is started again

A target that starts knows no shard until management has told it, and answers DER_AGAIN until then.
It knows no handle until a request names it: then it asks (`find_handle`, questions.py), and forgets
it when it is told to.

An exception that should not exist says that memory may not be what it should be. From then on the
target answers nothing and writes nothing new: requests hear DER_SHUTDOWN, the shards are closed
without a checkpoint, and the next start rebuilds them from what is on the device.

Invariants:
    G1  a handle names a container of an open shard; closing either forgets the handle
    G2  a destroyed container's space comes back in bounded steps, also after a restart
    G3  what a target answers to a service is durable, whoever wrote it
    G4  versions that a snapshot shows are kept, from before it was handed out (aggregation.py)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from daos.base.checksum import ChecksumType, on_the_way
from daos.base.errors import (
    DER,
    AccessError,
    AgainError,
    DaosError,
    NotFoundError,
    ShutdownError,
    StaleHandleError,
    StaleMapError,
    error_for,
)
from daos.base.ids import (
    SYSTEM_TAG,
    ContainerUuid,
    Epoch,
    HandleUuid,
    PoolUuid,
    TargetIndex,
)
from daos.bio.meta import MetaContext
from daos.cart.context import Endpoint
from daos.engine import iv_wire
from daos.engine.aggregation import ShardAggregation
from daos.engine.core import AggregationConfig
from daos.engine.iv_core import IvClass
from daos.engine.questions import Questions
from daos.engine.sched import Ult
from daos.engine.sched_core import RequestType
from daos.engine.service import parse_id, parse_pool_id
from daos.engine.xstream import Xstream
from daos.vos.container import VosContainer
from daos.vos.dedup_record import DedupSetting
from daos.vos.pool import VosPool

log = logging.getLogger(__name__)

# Credits of one garbage collection step; keeps a loop turn under a millisecond or so.
# Source: DAOS src/vos/vos_gc.c, slack 8, tight 32.
_GC_CREDITS: Final = 32
# How long a target waits for a pool map that it asks its rank for.
_ASK_NS: Final = 5 * 1_000_000_000


@dataclass(slots=True)
class Shard:
    """One pool's part on this target."""

    pool: PoolUuid
    meta: MetaContext
    vos: VosPool
    aggregation: ShardAggregation
    collector: Ult
    owner: (
        str  # of its work, as the scheduler knows it: a hash of a str is kept, of a UUID it is not
    )
    collecting: bool = False  # a step of garbage collection is scheduled, or waits for the log
    map_version: int = 0  # of the newest map that this target was told; 0: none
    pool_map: bytes = b""  # that map, encoded
    asking: bool = False  # the rank is asked for a newer one
    # Containers below whose snapshots nothing is written any more, since the target has started.
    bounded: set[ContainerUuid] = field(default_factory=set)

    def take_map(self, version: int, encoded: bytes) -> None:
        """The pool map from now on, unless there is a newer one."""
        if version > self.map_version:
            self.map_version, self.pool_map = version, encoded


class Kept(NamedTuple):
    """What of a container must be kept, as its service knows it."""

    snapshots: tuple[int, ...]  # epochs, ascending
    revision: int  # of the service's store when they were read
    reclaim: str  # the pool's property
    making: tuple[int, ...] = ()  # epochs that may become snapshots
    drawn: Epoch = Epoch(0)  # what was drawn up to here is in `making`, or its fate is told


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerHandle:
    """An open container as requests name it."""

    uuid: HandleUuid
    shard: Shard
    container: VosContainer
    writable: bool
    stored_type: ChecksumType  # of the container; OFF: values are stored without
    checksum_type: ChecksumType  # of values on their way
    checksum_chunk: int  # bytes


@dataclass(slots=True, eq=False)
class _Opening:
    """A handle on its way; a close that overtakes it has the last word."""

    uuid: HandleUuid
    closed: bool = False


FindHandle = Callable[[PoolUuid, HandleUuid], Awaitable[None]]


async def _nobody_knows(_pool: PoolUuid, _handle: HandleUuid) -> None:
    raise StaleHandleError("the container handle is closed or unknown to this target")


class Target:
    """Owner of the storage of one target; modules reach it through their handlers."""

    def __init__(
        self,
        index: TargetIndex,
        xstream: Xstream,
        aggregation: AggregationConfig | None = None,
    ) -> None:
        self.index = index
        self.xstream = xstream
        self._aggregation = aggregation or AggregationConfig()
        self._storage = xstream.storage
        self._shards: dict[PoolUuid, Shard] = {}
        self._refused: dict[PoolUuid, DaosError] = {}  # why a shard could not be opened
        self._handles: dict[bytes, ContainerHandle] = {}
        self._opening: list[_Opening] = []
        self._questions = Questions(xstream.sched)
        # Opens a handle that is not known here, or raises why not; set by who keeps handles.
        self.find_handle: FindHandle = _nobody_knows
        self._stopped = ""  # why, once a bug has shown
        self._joined = False

    def fail(self, bug: Exception) -> None:
        """Stop serving, at once and for good: see the module."""
        if not self._stopped:
            self._stopped = (
                f"target {self.index} has stopped after an internal error "
                f"({type(bug).__name__}); start the system again"
            )
            self._handles.clear()
            self._questions.close()
            self.xstream.sched.drain()
            for shard in self._shards.values():
                shard.aggregation.close()
            log.error("target stopped target=%d bug=%s", self.index, type(bug).__name__)

    def joined(self) -> None:
        """From now on what this target does not know does not exist: it was told all there is."""
        self._joined = True

    def device_name(self, pool: PoolUuid) -> str:
        """Where this target keeps its shard of `pool`."""
        return f"pool-{pool}-{self.index}"

    async def create_shard(self, pool: PoolUuid, *, size_bytes: int) -> None:
        """Allocate and format the shard, then open it. Durable on return.

        Units:   size_bytes on the device, log and metadata included
        Raises:  ExistsError, NoSpaceError, ShutdownError
        """
        self._check_serving()
        name = self.device_name(pool)
        async with self._storage.turn(name):
            meta = await self._storage.create(name, uuid=pool, size_bytes=size_bytes)
            await self._add_shard(pool, meta)

    async def open_shard(self, pool: PoolUuid) -> None:
        """Recover the shard from its device; open already is no error.

        Raises: NotFoundError, CorruptError, ShutdownError
        """
        self._check_serving()
        name = self.device_name(pool)
        async with self._storage.turn(name):
            if pool in self._shards:
                return
            try:
                await self._add_shard(pool, await self._storage.open(name))
            except DaosError as error:
                self._refused[pool] = error
                raise
            self._refused.pop(pool, None)

    async def destroy_shard(self, pool: PoolUuid) -> None:
        """Close and remove the shard; one that does not exist is no error (a repeated destroy)."""
        name = self.device_name(pool)
        async with self._storage.turn(name):
            self._refused.pop(pool, None)
            self._forget_shard(pool)
            await self._storage.destroy(name)

    async def close(self, *, checkpoint: bool = True) -> None:
        """Close every shard. Raises: NvmeIoError, NoSpaceError (no checkpoint; all are closed)."""
        self._questions.close()
        for pool in list(self._shards):
            self._forget_shard(pool)
        await self._storage.close_all(checkpoint=checkpoint and not self._stopped)

    def shard(self, pool: PoolUuid) -> Shard:
        """The open shard of `pool`.

        Raises: NotFoundError, ShutdownError, AgainError; DaosError (why it could not be opened)
        """
        self._check_serving()
        try:
            return self._shards[pool]
        except KeyError:
            self._check_joined()
            why = self._refused.get(pool)
            if why is not None:
                lost = isinstance(why, NotFoundError)  # it is recorded: "not found" would be wrong
                text = f"target {self.index} can't open its part of the pool: {why.message}"
                raise error_for(DER.DATA_LOSS if lost else why.code, text) from why
            raise NotFoundError(f"target {self.index} has no shard of pool {pool}") from None

    def find_shard(self, pool: PoolUuid) -> Shard | None:
        """The shard of `pool`; None where it is not open, so that nobody need be told of it yet.

        Whoever opens it tells all there is.
        """
        return self._shards.get(pool)

    def make_part(self, pool: PoolUuid, container: ContainerUuid) -> bool:
        """Let there be a part of a container; whether its snapshots have to be told before its use.

        Raises: as `shard`; NoSpaceError, NvmeIoError
        """
        shard = self.shard(pool)
        if container not in shard.vos.containers():
            shard.vos.create_container(container)
        return container not in shard.bounded

    async def open_handle(
        self,
        pool: PoolUuid,
        container: ContainerUuid,
        *,
        handle: HandleUuid,
        kept: Kept | None,
        writable: bool,
        checksum_type: ChecksumType,
        checksum_chunk: int,
        dedup: DedupSetting | None = None,
    ) -> None:
        """Let requests name `handle`; the container's part here is created at first use.

        Nothing is written at or below the newest of the snapshots that are kept. `kept`: None if it
        need not be told (`make_part`)

        Raises:  StaleHandleError  closed, or the container destroyed, while it was being opened
        """
        opening = _Opening(handle)
        self._opening.append(opening)
        try:
            shard = self.shard(pool)
            self.make_part(pool, container)
            opened = shard.vos.open_container(container)
            opened.deduplicate(dedup)
            if kept is not None:
                shard.aggregation.set_reclaim(kept.reclaim)
                shard.aggregation.protect(
                    opened,
                    kept.snapshots,
                    revision=kept.revision,
                    making=kept.making,
                    drawn=kept.drawn,
                )
                await self._raise_bound(shard, opened, Epoch(max(kept.snapshots, default=0)))
            await self._load(shard, opened)
        finally:
            self._opening.remove(opening)
        if opening.closed or opened.destroyed or self.shard(pool) is not shard:
            raise StaleHandleError("the handle was closed while it was being opened")
        shard.bounded.add(container)
        self._handles[handle.bytes] = ContainerHandle(
            uuid=handle,
            shard=shard,
            container=opened,
            writable=writable,
            stored_type=checksum_type,
            checksum_type=on_the_way(checksum_type),
            checksum_chunk=checksum_chunk,
        )

    def close_handle(self, uuid: HandleUuid) -> None:
        """Forget the handle; an unknown one is no error (a repeated close)."""
        self._handles.pop(uuid.bytes, None)
        self._questions.give_up(uuid.bytes)
        for opening in self._opening:
            if opening.uuid == uuid:
                opening.closed = True

    def owner_of(self, uuid: bytes) -> str:
        """Whose a handle is, as the scheduler knows pools."""
        handle = self._handles.get(uuid)
        return "nobody" if handle is None else handle.shard.owner

    def handle(self, uuid: bytes, pool: bytes, *, write: bool) -> ContainerHandle:
        """The handle a request names, of that pool.

        Raises: StaleHandleError, AccessError (write on "r"), ShutdownError, InvalidError;
                AgainError (not known here, and asked for now)
        """
        handle = self._handles.get(uuid)
        if handle is None:
            self._check_serving()
            raise self._questions.ask(uuid, self._finding(uuid, pool))
        if write:
            if not handle.writable:
                raise AccessError("the container is open read-only")
            if handle.shard.aggregation.asleep:
                handle.shard.aggregation.wake()
        return handle

    def _finding(self, uuid: bytes, pool: bytes) -> Callable[[], Awaitable[None]]:
        """Raises: InvalidError"""
        found = parse_pool_id(pool), HandleUuid(parse_id(uuid, "container handle"))
        return lambda: self.find_handle(*found)

    def check_map(self, shard: Shard, version: int) -> None:
        """Whether a request that was placed by this version of the map may go on.

        A target that knows an older one asks its rank for the newer.

        Raises: StaleMapError  the client's is old
        """
        if version < shard.map_version:
            raise StaleMapError(
                f"the pool map has version {shard.map_version}, the request's {version}"
            )
        if not shard.map_version or version == shard.map_version or shard.asking:
            return
        shard.asking = True

        def done(
            reply: iv_wire.FetchReply | None, payload_nbytes: int, error: DaosError | None
        ) -> None:
            shard.asking = False
            if reply is not None:
                shard.take_map(reply.version, reply.value)
            else:
                log.info("pool map %d of %s not learned: %s", version, shard.pool, error)

        self.xstream.context.send(
            Endpoint(self.xstream.rank, SYSTEM_TAG),
            iv_wire.FETCH,
            iv_wire.FetchRequest(shard.pool.bytes, 0, IvClass.POOL_MAP, version),
            deadline_ns=self.xstream.clock.now_ns() + _ASK_NS,
            done=done,
        )

    async def end_past(self, pool: PoolUuid, container: ContainerUuid, epoch: Epoch) -> None:
        """Make `epoch` the past: whatever this target writes from now on is newer. Durable.

        What it shows is kept until `protect` tells what became of it. Where the container has no
        part there is nothing to keep, and whoever makes one asks for the snapshots first.

        Raises: DaosError EP_OLD  versions up to there are being aggregated: draw a newer epoch;
                                  or nobody makes this one any more
        """
        shard = self.shard(pool)
        if container not in shard.vos.containers():
            self.xstream.hlc.raise_to(epoch)
            return
        opened = shard.vos.open_container(container)
        shard.aggregation.begin_snapshot(opened, epoch)
        await self._raise_bound(shard, opened, epoch)

    def protect(self, pool: PoolUuid, container: ContainerUuid, kept: Kept) -> None:
        """These are the snapshots there are, and may be; nothing to do where it has no part."""
        shard = self.shard(pool)
        opened = shard.vos.opened(container)
        if opened is not None:
            shard.aggregation.protect(
                opened,
                kept.snapshots,
                revision=kept.revision,
                making=kept.making,
                drawn=kept.drawn,
            )
        elif container in shard.vos.containers():
            shard.aggregation.set_reclaim(kept.reclaim)
            shard.aggregation.protect_closed(
                container,
                kept.snapshots,
                revision=kept.revision,
                making=kept.making,
                drawn=kept.drawn,
            )

    def pending(self, pool: PoolUuid) -> list[ContainerUuid]:
        """Where `end_past` was not followed by news yet. Raises: NotFoundError."""
        return self.shard(pool).aggregation.pending()

    async def aggregate(self, pool: PoolUuid, container: ContainerUuid, epoch: Epoch) -> None:
        """Forget the versions that no snapshot needs, up to `epoch`, 0 for now; then return."""
        shard = self.shard(pool)
        if container not in shard.vos.containers():
            return
        await shard.aggregation.aggregate(shard.vos.open_container(container), epoch)
        await shard.meta.durable(shard.meta.lsn_last)

    def relieve(self, handle: ContainerHandle) -> bool:
        """The history of a key is full; whether it will be shorter in a moment."""
        return handle.shard.aggregation.relieve(handle.container)

    def relieved(self, handle: ContainerHandle, failure: DaosError) -> DaosError:
        """What to answer to a write that failed: what is full is emptied first, as far as it goes.

        That is the history of a key, and the shard.
        """
        shard = handle.shard
        if failure.code == DER.NOSPACE:
            helps = shard.collecting or shard.aggregation.make_room()
        else:
            helps = failure.code == DER.OVERFLOW and self.relieve(handle)
        if not helps:
            return failure
        again = AgainError(f"old versions are being removed, because {failure.message}")
        again.lsn = failure.lsn
        return again

    async def destroy_container(self, pool: PoolUuid, container: ContainerUuid) -> None:
        """Unlink the container, durably; its space comes back in steps. Absent: no error."""
        shard = self.shard(pool)
        self._forget(lambda handle: handle.container.uuid == container)
        if container in shard.vos.containers():
            shard.vos.destroy_container(container)
            shard.aggregation.forget(container)
            shard.bounded.discard(container)
            self._start_collecting(shard)
        await shard.meta.durable(shard.meta.lsn_last)

    async def _raise_bound(self, shard: Shard, container: VosContainer, epoch: Epoch) -> None:
        """Awaits only once everything is done, and then all of the log so far: G3."""
        self.xstream.hlc.raise_to(epoch)
        await shard.meta.durable(container.raise_bound(epoch))

    async def _load(self, shard: Shard, container: VosContainer) -> None:
        """Read which modifications were executed, a step a turn of the loop.

        Raises: CorruptError; StaleHandleError  shard or container went meanwhile
        """
        table = container.dtxs
        if table.loaded:
            return
        while table.load(shard.meta):
            await asyncio.sleep(0)
            container.check_alive()
            if self._shards.get(shard.pool) is not shard:
                raise StaleHandleError("the shard was closed while the container was being opened")
        if table.damaged:
            log.warning("damaged outcomes container=%s count=%d", container.uuid, table.damaged)

    async def _add_shard(self, pool: PoolUuid, meta: MetaContext) -> None:
        try:
            vos = VosPool(meta, hlc=self.xstream.hlc)
        except DaosError:
            await self._storage.close(self.device_name(pool), checkpoint=False)
            raise
        owner = f"pool {pool}"
        aggregation = ShardAggregation(owner, meta, vos, self.xstream, self._aggregation)
        sched = self.xstream.sched
        collector = sched.create("garbage collection", owner, RequestType.GC)
        self._shards[pool] = shard = Shard(pool, meta, vos, aggregation, collector, owner)
        sched.watch_space(owner, meta.space_left)
        self._start_collecting(shard)

    def _forget_shard(self, pool: PoolUuid) -> None:
        shard = self._shards.pop(pool, None)
        if shard is not None:
            shard.aggregation.close()
            self.xstream.sched.abort(shard.owner)
            self.xstream.sched.watch_space(shard.owner, None)
            self._forget(lambda handle: handle.shard is shard)

    def _forget(self, which: Callable[[ContainerHandle], bool]) -> None:
        for uuid in [uuid for uuid, handle in self._handles.items() if which(handle)]:
            del self._handles[uuid]

    def _check_serving(self) -> None:
        if self._stopped:
            raise ShutdownError(self._stopped)

    def _check_joined(self) -> None:
        if not self._joined:
            raise AgainError(f"target {self.index} has just started; ask again in a moment")

    # Garbage collection

    def _start_collecting(self, shard: Shard) -> None:
        if not shard.collecting:
            shard.collecting = True
            shard.collector.ready(self._collect, shard)

    def _collect(self, shard: Shard, error: DaosError | None = None) -> None:
        """One step of garbage collection now, the next in a later cycle.

        An error ends it: what is left is found again at the next destroy or the next open.
        """
        if self._stopped or self._shards.get(shard.pool) is not shard:
            return  # closed meanwhile
        try:
            if error is not None:
                raise error
            if not shard.meta.log_has_room:
                shard.meta.when_room(lambda error: self._collect_later(shard, error))
            elif shard.vos.gc_step(_GC_CREDITS):
                shard.collector.ready(self._collect, shard)
            else:
                shard.collecting = False
        except AgainError:  # the log filled up at this very step
            shard.meta.when_room(lambda error: self._collect_later(shard, error))
        except DaosError as failure:
            shard.collecting = False
            log.warning("garbage collection ended pool=%s error=%s", shard.pool, failure)

    def _collect_later(self, shard: Shard, error: DaosError | None) -> None:
        shard.collector.ready(self._collect, shard, error)

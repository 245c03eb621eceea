"""A target: the owner of one slice of storage, and of every handle that may reach it.

    Target --pool uuid--> Shard (MetaContext + VosPool) --container uuid--> VosContainer
       +-----handle bytes--> ContainerHandle (container, rights, checksum settings)

A shard lives on the device `pool-<pool uuid>-<target>` of the rank's device directory. Nothing
here is shared with another target, so what runs between two awaits is atomic.

Invariants:
    G1  a handle names a container of an open shard; closing either forgets the handle
    G2  a destroyed container's space comes back in bounded steps, also after a restart
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from daos.base.checksum import ChecksumType
from daos.base.errors import AccessError, NotFoundError, StaleHandleError
from daos.base.ids import ContainerUuid, Epoch, HandleUuid, Lsn, PoolUuid, TargetIndex
from daos.bio.meta import MetaContext
from daos.engine.storage import Storage
from daos.engine.xstream import Xstream
from daos.vos.container import VosContainer
from daos.vos.pool import VosPool

# Credits of one garbage collection step; keeps a loop turn under a millisecond or so.
# Source: DAOS src/vos/vos_gc.c, slack 8, tight 32.
_GC_CREDITS = 32


@dataclass(slots=True)
class Shard:
    """One pool's part on this target."""

    pool: PoolUuid
    meta: MetaContext
    vos: VosPool
    containers: dict[ContainerUuid, VosContainer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerHandle:
    """An open container as requests name it."""

    uuid: HandleUuid
    shard: Shard
    container: VosContainer
    writable: bool
    checksum_type: ChecksumType
    checksum_chunk: int  # bytes


class Target:
    """Owner of the storage of one target; modules reach it through their handlers."""

    def __init__(self, index: TargetIndex, xstream: Xstream, storage: Storage) -> None:
        self.index = index
        self.xstream = xstream
        self._storage = storage
        self._shards: dict[PoolUuid, Shard] = {}
        self._handles: dict[bytes, ContainerHandle] = {}

    def device_name(self, pool: PoolUuid) -> str:
        """Where this target keeps its shard of `pool`."""
        return f"pool-{pool}-{self.index}"

    async def create_shard(self, pool: PoolUuid, *, size_bytes: int) -> None:
        """Allocate and format the shard, then open it. Durable on return.

        Units:   size_bytes on the device, log and metadata included
        Raises:  ExistsError, NoSpaceError
        """
        meta = await self._storage.create(self.device_name(pool), uuid=pool, size_bytes=size_bytes)
        self._add_shard(pool, meta)

    async def open_shard(self, pool: PoolUuid) -> Shard:
        """Recover the shard from its device. Raises: NotFoundError, CorruptError."""
        shard = self._shards.get(pool)
        if shard is not None:
            return shard
        return self._add_shard(pool, await self._storage.open(self.device_name(pool)))

    async def destroy_shard(self, pool: PoolUuid) -> None:
        """Close and remove the shard; one that does not exist is no error (a repeated destroy)."""
        self._forget_shard(pool)
        await self._storage.destroy(self.device_name(pool))

    async def close(self, *, checkpoint: bool = True) -> None:
        """Close every shard."""
        for pool in list(self._shards):
            self._forget_shard(pool)
        await self._storage.close_all(checkpoint=checkpoint)

    def shard(self, pool: PoolUuid) -> Shard:
        """The open shard of `pool`. Raises: NotFoundError."""
        try:
            return self._shards[pool]
        except KeyError:
            raise NotFoundError(f"target {self.index} has no shard of pool {pool}") from None

    async def open_container(
        self, pool: PoolUuid, container: ContainerUuid, *, bound: Epoch
    ) -> VosContainer:
        """The container's part on this target, created (durably) at first use.

        Units:  bound is the newest snapshot's epoch: nothing at or below it may be written
        """
        shard = self.shard(pool)
        opened = shard.containers.get(container)
        if opened is None:
            if container not in shard.vos.containers():
                await shard.meta.durable(shard.vos.create_container(container))
            opened = shard.containers[container] = shard.vos.open_container(container)
        await self._raise_bound(shard, opened, bound)
        return opened

    async def end_past(self, pool: PoolUuid, container: ContainerUuid, epoch: Epoch) -> None:
        """Make `epoch` the past: whatever this target writes from now on is newer. Durable.

        Raises: NotFoundError  the container is not open here
        """
        shard = self.shard(pool)
        opened = shard.containers.get(container)
        if opened is None:
            raise NotFoundError(f"container {container} is not open on target {self.index}")
        await self._raise_bound(shard, opened, epoch)

    async def _raise_bound(self, shard: Shard, container: VosContainer, epoch: Epoch) -> None:
        self.xstream.hlc.raise_to(epoch)
        await shard.meta.durable(container.raise_bound(epoch))

    async def destroy_container(self, pool: PoolUuid, container: ContainerUuid) -> None:
        """Unlink the container, durably; its space comes back in steps. Absent: no error."""
        shard = self.shard(pool)
        self._forget(lambda handle: handle.container.uuid == container)
        shard.containers.pop(container, None)
        if container in shard.vos.containers():
            lsn: Lsn = shard.vos.destroy_container(container)
            self._collect(shard)
            await shard.meta.durable(lsn)

    def add_handle(self, handle: ContainerHandle) -> None:
        """Let requests name `handle`; a repeated add replaces."""
        self._handles[handle.uuid.bytes] = handle

    def remove_handle(self, uuid: HandleUuid) -> None:
        """Forget the handle; an unknown one is no error (a repeated close)."""
        self._handles.pop(uuid.bytes, None)

    def handle(self, uuid: bytes, *, write: bool) -> ContainerHandle:
        """The handle a request names. Raises: StaleHandleError, AccessError (write on "r")."""
        handle = self._handles.get(uuid)
        if handle is None:
            raise StaleHandleError("the container handle is closed or unknown to this target")
        if write and not handle.writable:
            raise AccessError("the container is open read-only")
        return handle

    def _add_shard(self, pool: PoolUuid, meta: MetaContext) -> Shard:
        shard = Shard(pool, meta, VosPool(meta, hlc=self.xstream.hlc))
        self._shards[pool] = shard
        self._collect(shard)
        return shard

    def _forget_shard(self, pool: PoolUuid) -> None:
        shard = self._shards.pop(pool, None)
        if shard is not None:
            self._forget(lambda handle: handle.shard is shard)

    def _forget(self, which: Callable[[ContainerHandle], bool]) -> None:
        for uuid in [uuid for uuid, handle in self._handles.items() if which(handle)]:
            del self._handles[uuid]

    def _collect(self, shard: Shard) -> None:
        """One step of garbage collection now, the next in a later turn of the loop."""
        if self._shards.get(shard.pool) is not shard:
            return  # closed meanwhile; the rest is found again at the next open
        if not shard.meta.log_has_room:
            shard.meta.when_room(lambda error: None if error else self._collect(shard))
        elif shard.vos.gc_step(_GC_CREDITS):
            self.xstream.loop.call_soon(self._collect, shard)

"""The container service seen from a client; thin.

`PoolContainers` acts through a pool handle (create, destroy, list, open), `ContainerClient` through
a container handle. Both speak to the pool's service.
Source: DAOS src/container/cli.c
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from daos.container import wire
from daos.object.link import Call
from daos.pool.client import HandleClient, ServiceClient


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolContainers(ServiceClient):
    """The containers of a pool, by its handle."""

    pool: bytes
    pool_handle: bytes

    async def create(
        self, uuid: bytes, label: str, props: Mapping[str, str], call: Call, *, roots: str = ""
    ) -> wire.ContainerRecord:
        """Create; durable on return. Raises: ExistsError, InvalidError, AccessError."""
        request = wire.CreateRequest(self.pool, self.pool_handle, uuid, label, dict(props), roots)
        return await self._ask(wire.CREATE, request, call)

    async def destroy(self, name: str, call: Call, *, force: bool) -> None:
        """Destroy by label or UUID. Raises: NotFoundError, BusyError."""
        request = wire.DestroyRequest(self.pool, self.pool_handle, name, force)
        await self._call(wire.DESTROY, request, call)

    async def list(self, call: Call) -> tuple[wire.ContainerRecord, ...]:
        """Every container, by label; those that come or go meanwhile, or not."""
        listed = list[wire.ContainerRecord]()
        after = b""
        while True:
            request = wire.ListRequest(self.pool, self.pool_handle, after)
            reply = await self._ask(wire.LIST, request, call)
            listed += reply.containers
            after = reply.after
            if not after:
                return tuple(sorted(listed, key=lambda record: record.label))

    async def open(self, name: str, handle: bytes, flags: str, call: Call) -> wire.OpenReply:
        """Open a handle by label or UUID. Raises: NotFoundError, BusyError, AccessError."""
        request = wire.OpenRequest(self.pool, self.pool_handle, name, handle, flags)
        return await self._ask(wire.OPEN, request, call)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerClient(HandleClient):
    """One container handle."""

    _PROPS = wire.PROPS
    _SET_PROPS = wire.SET_PROPS
    _ATTRS = wire.ATTRS
    _SET_ATTRS = wire.SET_ATTRS

    async def close(self, call: Call) -> None:
        """Close the handle; an unknown one is no error."""
        await self._end(wire.CLOSE, self._named(), call)

    async def query(self, call: Call) -> wire.QueryReply:
        """Numbers of the container."""
        return await self._ask(wire.QUERY, self._named(), call)

    async def alloc_oids(self, count: int, call: Call) -> int:
        """The first of `count` numbers that are the caller's alone, for ever."""
        request = wire.AllocOidsRequest(self.pool, self.handle, count)
        return (await self._ask(wire.ALLOC_OIDS, request, call)).first

    async def aggregate(self, epoch: int, call: Call) -> None:
        """Forget the versions that no snapshot needs, up to `epoch`, 0 for now; done on return."""
        request = wire.AggregateRequest(self.pool, self.handle, epoch)
        await self._call(wire.AGGREGATE, request, call)

    async def snapshot_create(self, name: str, call: Call) -> wire.SnapshotRecord:
        """Freeze now under an epoch. Raises: ExistsError, InvalidError."""
        request = wire.SnapshotCreateRequest(self.pool, self.handle, name)
        return await self._call(wire.SNAP_CREATE, request, call)

    async def snapshot_list(self, call: Call) -> tuple[wire.SnapshotRecord, ...]:
        """Every snapshot, ascending."""
        return (await self._ask(wire.SNAP_LIST, self._named(), call)).snapshots

    async def snapshot_destroy(self, epoch: int, name: str, call: Call) -> None:
        """By epoch, or by name where epoch is 0. Raises: NotFoundError."""
        request = wire.SnapshotDestroyRequest(self.pool, self.handle, epoch, name)
        await self._call(wire.SNAP_DESTROY, request, call)

"""Container requests: to the service of the pool they name, and on every target.

No decision is taken here; `service.py` has the records and the orders that matter.
Source: DAOS src/container/srv.c, srv_target.c.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from daos.base.ids import PoolUuid
from daos.cart.context import Endpoint, Rpc
from daos.cart.protocol import Procedure
from daos.container import wire
from daos.container.service import ContainerService
from daos.container.store import Owe, Shared
from daos.engine.later import Later
from daos.engine.service import answering
from daos.engine.xstream import Xstream
from daos.pool.server import PoolServices


class _OfPool(Protocol):
    """A request to the service of a pool."""

    @property
    def pool(self) -> bytes: ...


_RequestT = TypeVar("_RequestT", bound=_OfPool)
_ReplyT = TypeVar("_ReplyT", bound=msgspec.Struct)


class ContainerServices:
    """The container services of a rank."""

    def __init__(self, xstream: Xstream, pools: PoolServices) -> None:
        self._xstream = xstream
        self._pools = pools
        self._shared = Shared()
        self._owed = Later(xstream)  # removals, what must be kept, fates of snapshots
        self._told = 0

    def close(self) -> None:
        """Give up what is owed; the next start finds it."""
        self._owed.close()

    async def open(self, pool: PoolUuid, *, evict: bool) -> None:
        """Finish half-done work of a pool whose service has just opened. `evict`: as `Services`."""
        service = self._service(pool.bytes)
        if evict:
            await service.evict_all()
        await service.resume()
        service.owe_fates()  # of snapshots that the service which died was making
        self._tell_kept(pool, ())

    async def page(self, pool: bytes, after: bytes) -> wire.ListReply:
        """Some containers of a pool, behind the place that the page before gave."""
        return await self._service(pool).page(after)

    async def capability(self, pool: bytes, handle: bytes) -> wire.Capability:
        """What requests by a handle may do. Raises: StaleHandleError; as `PoolServices.service`"""
        return await self._service(pool).capability(handle)

    async def kept(self, pool: bytes, container: bytes) -> wire.Kept:
        """What must be kept of a container. Raises: NotFoundError; as `PoolServices.service`"""
        return await self._service(pool).kept(container)

    async def rejoin(self, pool: PoolUuid, endpoints: Sequence[Endpoint]) -> None:
        """Targets have just started: go on with what waited for them, tell what they must keep."""
        await self._service(pool.bytes).resume()
        self._tell_kept(pool, endpoints)

    def _tell_kept(self, pool: PoolUuid, endpoints: Sequence[Endpoint]) -> None:
        """In a while, when those who have waited for this start are served."""
        self._told += 1
        key = pool.bytes + self._told.to_bytes(8, "big")
        self._owed.add(key, lambda: self._service(pool.bytes).tell_all_kept(endpoints))

    def serve(self) -> None:
        """Serve clients on the system xstream."""
        self._serve(wire.CREATE, ContainerService.create)
        self._serve(wire.DESTROY, ContainerService.destroy)
        self._serve(wire.OPEN, ContainerService.open)
        self._serve(wire.CLOSE, ContainerService.close)
        self._serve(wire.QUERY, ContainerService.query)
        self._serve(wire.LIST, ContainerService.containers)
        self._serve(wire.PROPS, ContainerService.props)
        self._serve(wire.SET_PROPS, ContainerService.set_props)
        self._serve(wire.ATTRS, ContainerService.attrs)
        self._serve(wire.SET_ATTRS, ContainerService.set_attrs)
        self._serve(wire.SNAP_CREATE, ContainerService.snapshot)
        self._serve(wire.SNAP_LIST, ContainerService.snapshots)
        self._serve(wire.SNAP_DESTROY, ContainerService.destroy_snapshot)
        self._serve(wire.ALLOC_OIDS, ContainerService.alloc_oids)
        self._serve(wire.AGGREGATE, ContainerService.aggregate)

    async def close_opened(
        self, pool: PoolUuid, pool_handles: Collection[bytes], *, deadline_ns: int, trace_id: int
    ) -> None:
        """Close the containers that were opened through these pool handles."""
        await self._service(pool.bytes).close_opened(
            pool_handles, deadline_ns=deadline_ns, trace_id=trace_id
        )

    def _serve(
        self,
        procedure: Procedure[_RequestT, _ReplyT],
        method: Callable[[ContainerService, Rpc[_RequestT, _ReplyT]], Coroutine[Any, Any, _ReplyT]],
    ) -> None:
        """Let `method` answer, of the service of the pool that a request names."""

        async def handle(rpc: Rpc[_RequestT, _ReplyT]) -> _ReplyT:
            return await method(self._service(rpc.request.pool), rpc)

        self._xstream.context.serve(procedure, answering(handle))

    def _service(self, pool: bytes) -> ContainerService:
        def remove(container: bytes) -> None:
            self._owed.add(container, lambda: self._service(pool).finish(container))

        def tell_fates() -> None:
            self._owed.add(pool, lambda: self._service(pool).tell_fates())

        service = self._pools.service(pool)
        return ContainerService(self._xstream, service, self._shared, Owe(remove, tell_fates))

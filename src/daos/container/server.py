"""Container requests: to the service of the pool they name, and on every target.

No decision is taken here; `service.py` has the records and the orders that matter.
Source: DAOS src/container/srv.c, srv_target.c.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from daos.base.checksum import ChecksumType
from daos.base.errors import InvalidError
from daos.base.ids import ContainerUuid, Epoch, HandleUuid, PoolUuid
from daos.cart.context import Rpc
from daos.cart.protocol import Procedure
from daos.container import wire
from daos.container.service import ContainerService
from daos.engine.service import answering, engines_only, parse_id, parse_pool_id
from daos.engine.target import Target
from daos.engine.xstream import Xstream
from daos.pool.server import PoolModule
from daos.pool.wire import (
    AttrsReply,
    AttrsRequest,
    Empty,
    HandleRequest,
    PropsReply,
    SetAttrsRequest,
    SetPropsRequest,
)


class ContainerModule:
    """The container services of a rank, and the container handlers of its targets."""

    name = "container"
    id = wire.MODULE_ID
    version = wire.VERSION

    def __init__(self, xstream: Xstream, pools: PoolModule) -> None:
        self._xstream = xstream
        self._pools = pools

    async def open(self, pool: PoolUuid, *, evict: bool) -> None:
        """Finish half-done work of a pool whose service has just opened."""
        service = self._service(pool.bytes)
        if evict:
            await service.evict_all()
        await service.resume()

    def setup_system(self) -> None:
        """Serve clients on the system xstream."""
        serve = self._xstream.context.serve
        handlers: list[tuple[Procedure[Any, Any], Callable[..., Any]]] = [
            (wire.CREATE, self._create),
            (wire.DESTROY, self._destroy),
            (wire.OPEN, self._open),
            (wire.CLOSE, self._close),
            (wire.QUERY, self._query),
            (wire.LIST, self._list),
            (wire.PROPS, self._props),
            (wire.SET_PROPS, self._set_props),
            (wire.ATTRS, self._attrs),
            (wire.SET_ATTRS, self._set_attrs),
            (wire.SNAP_CREATE, self._snapshot),
            (wire.SNAP_LIST, self._snapshots),
            (wire.SNAP_DESTROY, self._destroy_snapshot),
            (wire.ALLOC_OIDS, self._alloc_oids),
        ]
        for procedure, handler in handlers:
            serve(procedure, answering(handler))

    async def close_opened(
        self, pool: PoolUuid, pool_handles: Collection[bytes], *, deadline_ns: int, trace_id: int
    ) -> None:
        """Close the containers that were opened through these pool handles."""
        await self._service(pool.bytes).close_opened(
            pool_handles, deadline_ns=deadline_ns, trace_id=trace_id
        )

    def setup_target(self, target: Target) -> None:
        """Serve what the container service asks of a target."""
        serve = target.xstream.context.serve

        async def open_(rpc: Rpc[wire.TargetOpenRequest]) -> Empty:
            request = rpc.request
            await target.open_handle(
                parse_pool_id(request.pool),
                _container_id(request.container),
                handle=_handle_id(request.handle),
                bound=Epoch(request.newest_snapshot),
                writable=request.writable,
                checksum_type=_checksum_type(request.checksum_type),
                checksum_chunk=request.checksum_chunk,
            )
            return Empty()

        async def close(rpc: Rpc[wire.TargetCloseRequest]) -> Empty:
            target.close_handle(_handle_id(rpc.request.handle))
            return Empty()

        async def destroy(rpc: Rpc[wire.TargetDestroyRequest]) -> Empty:
            await target.destroy_container(
                parse_pool_id(rpc.request.pool), _container_id(rpc.request.container)
            )
            return Empty()

        async def snapshot(rpc: Rpc[wire.TargetSnapshotRequest]) -> Empty:
            request = rpc.request
            await target.end_past(
                parse_pool_id(request.pool), _container_id(request.container), Epoch(request.epoch)
            )
            return Empty()

        serve(wire.TGT_OPEN, engines_only(open_))
        serve(wire.TGT_CLOSE, engines_only(close))
        serve(wire.TGT_DESTROY, engines_only(destroy))
        serve(wire.TGT_SNAPSHOT, engines_only(snapshot))

    def _service(self, pool: bytes) -> ContainerService:
        return ContainerService(self._xstream, self._pools.service(pool))

    async def _create(self, rpc: Rpc[wire.CreateRequest]) -> wire.ContainerRecord:
        return await self._service(rpc.request.pool).create(rpc.request)

    async def _destroy(self, rpc: Rpc[wire.DestroyRequest]) -> Empty:
        await self._service(rpc.request.pool).destroy(rpc.request)
        return Empty()

    async def _open(self, rpc: Rpc[wire.OpenRequest]) -> wire.OpenReply:
        return await self._service(rpc.request.pool).open(rpc.request, rpc)

    async def _close(self, rpc: Rpc[HandleRequest]) -> Empty:
        await self._service(rpc.request.pool).close(rpc.request.handle, rpc)
        return Empty()

    async def _query(self, rpc: Rpc[HandleRequest]) -> wire.QueryReply:
        return await self._service(rpc.request.pool).query(rpc.request.handle)

    async def _list(self, rpc: Rpc[wire.ListRequest]) -> wire.ListReply:
        return await self._service(rpc.request.pool).containers(rpc.request.pool_handle)

    async def _props(self, rpc: Rpc[HandleRequest]) -> PropsReply:
        return PropsReply(await self._service(rpc.request.pool).props(rpc.request.handle))

    async def _set_props(self, rpc: Rpc[SetPropsRequest]) -> Empty:
        await self._service(rpc.request.pool).set_props(rpc.request)
        return Empty()

    async def _attrs(self, rpc: Rpc[AttrsRequest]) -> AttrsReply:
        return AttrsReply(await self._service(rpc.request.pool).attrs(rpc.request))

    async def _set_attrs(self, rpc: Rpc[SetAttrsRequest]) -> Empty:
        await self._service(rpc.request.pool).set_attrs(rpc.request)
        return Empty()

    async def _snapshot(self, rpc: Rpc[wire.SnapshotCreateRequest]) -> wire.SnapshotRecord:
        return await self._service(rpc.request.pool).snapshot(rpc.request, rpc)

    async def _snapshots(self, rpc: Rpc[HandleRequest]) -> wire.SnapshotListReply:
        return await self._service(rpc.request.pool).snapshots(rpc.request.handle)

    async def _destroy_snapshot(self, rpc: Rpc[wire.SnapshotDestroyRequest]) -> Empty:
        await self._service(rpc.request.pool).destroy_snapshot(rpc.request)
        return Empty()

    async def _alloc_oids(self, rpc: Rpc[wire.AllocOidsRequest]) -> wire.AllocOidsReply:
        return wire.AllocOidsReply(await self._service(rpc.request.pool).alloc_oids(rpc.request))


def _container_id(raw: bytes) -> ContainerUuid:
    return ContainerUuid(parse_id(raw, "container"))


def _handle_id(raw: bytes) -> HandleUuid:
    return HandleUuid(parse_id(raw, "container handle"))


def _checksum_type(number: int) -> ChecksumType:
    try:
        return ChecksumType(number)
    except ValueError:
        raise InvalidError(f"checksum type {number} is unknown") from None

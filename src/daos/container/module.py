"""The container module: container services at tag 0 of their rank, handles on targets.

Source: DAOS src/container/srv.c, srv_target.c
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

from daos.base.ids import Epoch
from daos.cart.context import Rpc
from daos.container import wire
from daos.container.capability import (
    CapabilityClass,
    SnapshotsClass,
    container_id,
    find_handle,
    handle_id,
    parse_kept,
)
from daos.container.server import ContainerServices
from daos.engine.access import Access, Caller
from daos.engine.iv import IV_KEY
from daos.engine.module import Module
from daos.engine.rank import SERVICE_RANK
from daos.engine.service import engines_only, parse_pool_id
from daos.engine.target import Target
from daos.engine.tls import TlsKey, XstreamKind
from daos.engine.xstream import Xstream
from daos.pool.module import POOL_KEY
from daos.pool.wire import Empty


def _services(xstream: Xstream) -> ContainerServices:
    pools = xstream.value(POOL_KEY)
    services = ContainerServices(xstream, pools)
    pools.attach(services)
    return services


CONTAINER_KEY: Final = TlsKey("cont", XstreamKind.SYSTEM, _services, ContainerServices.close)


class ContainerModule(Module):
    """Containers: their records, handles, snapshots."""

    name = "cont"
    id = wire.MODULE_ID
    version = wire.VERSION
    access: ClassVar[Access] = {
        wire.CREATE: Caller.WRITER,
        wire.DESTROY: Caller.WRITER,
        wire.OPEN: Caller.READER,
        wire.CLOSE: Caller.CLIENT,
        wire.LIST: Caller.READER,
        wire.QUERY: Caller.READER,
        wire.PROPS: Caller.READER,
        wire.ATTRS: Caller.READER,
        wire.SNAP_LIST: Caller.READER,
        wire.SET_PROPS: Caller.WRITER,
        wire.SET_ATTRS: Caller.WRITER,
        wire.ALLOC_OIDS: Caller.WRITER,
        wire.AGGREGATE: Caller.WRITER,
        wire.SNAP_CREATE: Caller.WRITER,
        wire.SNAP_DESTROY: Caller.WRITER,
        wire.TGT_CLOSE: Caller.ENGINE,
        wire.TGT_DESTROY: Caller.ENGINE,
        wire.TGT_SNAPSHOT: Caller.ENGINE,
        wire.TGT_KEEP: Caller.ENGINE,
        wire.TGT_PENDING: Caller.ENGINE,
        wire.TGT_AGGREGATE: Caller.ENGINE,
    }
    key = CONTAINER_KEY

    def serve_system(self, xstream: Xstream) -> None:
        def services() -> ContainerServices:
            return xstream.value(CONTAINER_KEY)

        iv = xstream.value(IV_KEY)
        iv.register(CapabilityClass(xstream, services))
        iv.register(SnapshotsClass(services))
        if xstream.rank == SERVICE_RANK:
            xstream.value(CONTAINER_KEY).serve()

    def serve_target(self, target: Target) -> None:
        serve = target.xstream.context.serve
        target.find_handle = partial(find_handle, target)

        async def close(rpc: Rpc[wire.TargetCloseRequest]) -> Empty:
            for handle in rpc.request.handles:
                target.close_handle(handle_id(handle))
            return Empty()

        async def destroy(rpc: Rpc[wire.TargetDestroyRequest]) -> Empty:
            await target.destroy_container(
                parse_pool_id(rpc.request.pool), container_id(rpc.request.container)
            )
            return Empty()

        async def snapshot(rpc: Rpc[wire.TargetSnapshotRequest]) -> Empty:
            request = rpc.request
            await target.end_past(
                parse_pool_id(request.pool), container_id(request.container), Epoch(request.epoch)
            )
            return Empty()

        async def keep(rpc: Rpc[wire.TargetKeepRequest]) -> Empty:
            request = rpc.request
            container = container_id(request.container)
            target.protect(parse_pool_id(request.pool), container, parse_kept(request.kept))
            return Empty()

        async def pending(rpc: Rpc[wire.TargetPendingRequest]) -> wire.TargetPendingReply:
            found = target.pending(parse_pool_id(rpc.request.pool))
            return wire.TargetPendingReply(tuple(uuid.bytes for uuid in found))

        async def aggregate(rpc: Rpc[wire.TargetAggregateRequest]) -> Empty:
            request = rpc.request
            await target.aggregate(
                parse_pool_id(request.pool), container_id(request.container), Epoch(request.epoch)
            )
            return Empty()

        serve(wire.TGT_CLOSE, engines_only(close))
        serve(wire.TGT_DESTROY, engines_only(destroy))
        serve(wire.TGT_SNAPSHOT, engines_only(snapshot))
        serve(wire.TGT_KEEP, engines_only(keep))
        serve(wire.TGT_PENDING, engines_only(pending))
        serve(wire.TGT_AGGREGATE, engines_only(aggregate))

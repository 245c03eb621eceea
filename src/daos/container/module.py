"""The container module: container services at tag 0 of their rank, handles on targets.

Source: DAOS src/container/srv.c, srv_target.c
"""

from __future__ import annotations

from typing import ClassVar, Final

from daos.base.checksum import ChecksumType
from daos.base.errors import InvalidError
from daos.base.ids import U64_MAX, ContainerUuid, Epoch, HandleUuid
from daos.cart.context import Rpc
from daos.container import wire
from daos.container.server import ContainerServices
from daos.engine.access import Access, Caller
from daos.engine.module import Module
from daos.engine.rank import SERVICE_RANK
from daos.engine.service import engines_only, parse_id, parse_pool_id
from daos.engine.target import Kept, Target
from daos.engine.tls import TlsKey, XstreamKind
from daos.engine.xstream import Xstream
from daos.pool.module import POOL_KEY
from daos.pool.wire import Empty
from daos.vos.dedup_record import DedupMode, DedupSetting


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
        wire.TGT_OPEN: Caller.ENGINE,
        wire.TGT_CLOSE: Caller.ENGINE,
        wire.TGT_DESTROY: Caller.ENGINE,
        wire.TGT_SNAPSHOT: Caller.ENGINE,
        wire.TGT_KEEP: Caller.ENGINE,
        wire.TGT_PENDING: Caller.ENGINE,
        wire.TGT_AGGREGATE: Caller.ENGINE,
    }
    key = CONTAINER_KEY

    def serve_system(self, xstream: Xstream) -> None:
        if xstream.rank == SERVICE_RANK:
            xstream.value(CONTAINER_KEY).serve()

    def serve_target(self, target: Target) -> None:
        serve = target.xstream.context.serve

        async def open_(rpc: Rpc[wire.TargetOpenRequest]) -> Empty:
            request = rpc.request
            await target.open_handle(
                parse_pool_id(request.pool),
                _container_id(request.container),
                handle=_handle_id(request.handle),
                kept=_kept(request.kept),
                writable=request.writable,
                checksum_type=_checksum_type(request.checksum_type),
                checksum_chunk=request.checksum_chunk,
                dedup=_dedup(request),
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

        async def keep(rpc: Rpc[wire.TargetKeepRequest]) -> Empty:
            request = rpc.request
            container = _container_id(request.container)
            target.protect(parse_pool_id(request.pool), container, _kept(request.kept))
            return Empty()

        async def pending(rpc: Rpc[wire.TargetPendingRequest]) -> wire.TargetPendingReply:
            found = target.pending(parse_pool_id(rpc.request.pool))
            return wire.TargetPendingReply(tuple(uuid.bytes for uuid in found))

        async def aggregate(rpc: Rpc[wire.TargetAggregateRequest]) -> Empty:
            request = rpc.request
            await target.aggregate(
                parse_pool_id(request.pool), _container_id(request.container), Epoch(request.epoch)
            )
            return Empty()

        serve(wire.TGT_OPEN, engines_only(open_))
        serve(wire.TGT_CLOSE, engines_only(close))
        serve(wire.TGT_DESTROY, engines_only(destroy))
        serve(wire.TGT_SNAPSHOT, engines_only(snapshot))
        serve(wire.TGT_KEEP, engines_only(keep))
        serve(wire.TGT_PENDING, engines_only(pending))
        serve(wire.TGT_AGGREGATE, engines_only(aggregate))


def _kept(kept: wire.Kept) -> Kept:
    """Raises: InvalidError."""
    before = 0
    for epoch in kept.snapshots:
        if not before < epoch <= U64_MAX:
            raise InvalidError(f"snapshots are epochs in ascending order; {epoch} is none")
        before = epoch
    if not all(0 < epoch <= U64_MAX for epoch in kept.making):
        raise InvalidError("what may become a snapshot is an epoch")
    if not 0 <= kept.drawn <= U64_MAX:
        raise InvalidError(f"epoch {kept.drawn} is not a u64")
    if kept.revision < 0:
        raise InvalidError(f"revision {kept.revision} of a store: 0 or more expected")
    return Kept(kept.snapshots, kept.revision, kept.reclaim, kept.making, Epoch(kept.drawn))


def _container_id(raw: bytes) -> ContainerUuid:
    return ContainerUuid(parse_id(raw, "container"))


def _handle_id(raw: bytes) -> HandleUuid:
    return HandleUuid(parse_id(raw, "container handle"))


def _dedup(request: wire.TargetOpenRequest) -> DedupSetting | None:
    if request.dedup == "off":
        return None
    try:
        mode = DedupMode[request.dedup.upper()]
    except KeyError:
        raise InvalidError(f"deduplication {request.dedup!r} is unknown") from None
    return DedupSetting(mode, request.dedup_threshold)


def _checksum_type(number: int) -> ChecksumType:
    try:
        return ChecksumType(number)
    except ValueError:
        raise InvalidError(f"checksum type {number} is unknown") from None

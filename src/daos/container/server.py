"""Container requests: to the service of the pool they name, and on every target.

No decision is taken here; `service.py` has the records and the orders that matter.
Source: DAOS src/container/srv.c, srv_target.c.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from daos.base.checksum import ChecksumType
from daos.base.errors import InvalidError
from daos.base.ids import U64_MAX, ContainerUuid, Epoch, HandleUuid, PoolUuid
from daos.cart.context import Endpoint, Rpc
from daos.cart.protocol import Procedure
from daos.container import wire
from daos.container.service import ContainerService
from daos.container.store import Owe, Shared
from daos.engine.later import Later
from daos.engine.service import answering, engines_only, parse_id, parse_pool_id
from daos.engine.target import Kept, Target
from daos.engine.xstream import Xstream
from daos.pool.server import PoolModule
from daos.pool.wire import Empty
from daos.vos.dedup_record import DedupMode, DedupSetting


class _OfPool(Protocol):
    """A request to the service of a pool."""

    @property
    def pool(self) -> bytes: ...


_RequestT = TypeVar("_RequestT", bound=_OfPool)
_ReplyT = TypeVar("_ReplyT", bound=msgspec.Struct)


class ContainerModule:
    """The container services of a rank, and the container handlers of its targets."""

    def __init__(self, xstream: Xstream, pools: PoolModule) -> None:
        self._xstream = xstream
        self._pools = pools
        self._shared = Shared()
        self._owed = Later(xstream)  # removals, news of containers at rest, fates of snapshots
        self._told = 0

    def close(self) -> None:
        """Give up what is owed; the next start finds it."""
        self._owed.close()

    async def open(self, pool: PoolUuid, *, evict: bool) -> None:
        """Finish half-done work of a pool whose service has just opened. `evict`: as `Services`."""
        service = self._service(pool.bytes)
        if evict:
            await service.evict_all()
        else:
            await service.reopen_handles()
        await service.resume()
        service.owe_fates()  # of snapshots that the service which died was making
        self._tell_resting(pool, ())

    async def rejoin(self, pool: PoolUuid, endpoints: Sequence[Endpoint]) -> None:
        """Tell targets that have just started which handles there are; go on with what waited."""
        service = self._service(pool.bytes)
        await service.reopen_handles(endpoints)
        await service.resume()
        self._tell_resting(pool, endpoints)

    def _tell_resting(self, pool: PoolUuid, endpoints: Sequence[Endpoint]) -> None:
        """In a while, when those who have waited for this start are served."""
        self._told += 1
        key = pool.bytes + self._told.to_bytes(8, "big")
        self._owed.add(key, lambda: self._service(pool.bytes).tell_resting(endpoints))

    def setup_system(self) -> None:
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

    @staticmethod
    def setup_target(target: Target) -> None:
        """Serve what the container service asks of a target."""
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

"""The management service, and the management handlers of every target.

Keys in the management rdb (values are MessagePack arrays unless said otherwise):

    pool/<16 bytes>      core.PoolRecord
    label/<label>        the pool's uuid, raw

Orders that matter:
    create    recorded (CREATING) -> shards on every target -> pool service -> READY -> answered
    destroy   nobody connected, or forced -> DESTROYING, label free -> pool service gone -> shards
              gone -> record gone -> answered
    start     what is CREATING or DESTROYING is removed; what is READY is opened. A pool that
              can't be opened does not keep the others down: asking for it raises its error

Source: DAOS src/mgmt/srv_pool.c, src/control/server/mgmt_pool.go.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from daos.base.errors import BusyError, DaosError, ExistsError, InvalidError, NotFoundError
from daos.base.ids import SYSTEM_TAG, PoolUuid, Rank
from daos.base.names import check_label, maybe_uuid
from daos.cart.context import Endpoint, Rpc
from daos.cart.protocol import Procedure
from daos.engine.target import Target
from daos.engine.xstream import Xstream
from daos.mgmt import core, wire
from daos.mgmt.core import PoolRecord, PoolState
from daos.placement.pool_map import PoolMap
from daos.pool import wire as pool_wire
from daos.pool.core import PROPERTIES
from daos.pool.server import answering, ask_targets, parse_record, target_endpoints
from daos.rdb.interface import Delete, Put, Rdb, absent, prefix_end, value_is

log = logging.getLogger(__name__)

_POOL: Final = b"pool/"
_LABEL: Final = b"label/"
# Finishing half-done work at start has no client whose deadline could bound it.
_START_NS: Final = 60 * 1_000_000_000

# (host name, [(rank, number of targets)])
Members = Sequence[tuple[str, Sequence[tuple[Rank, int]]]]
# Opens the pool's services on this rank, once its shards are open.
OpenServices = Callable[[PoolUuid], Awaitable[None]]


class ManagementModule:
    """One management service, and handlers on every target."""

    name = "mgmt"
    id = wire.MODULE_ID
    version = wire.VERSION

    def __init__(
        self, xstream: Xstream, rdb: Rdb, *, members: Members, open_services: OpenServices
    ) -> None:
        self._xstream = xstream
        self._rdb = rdb
        self._pool_map = PoolMap.initial(members)
        self._endpoints = target_endpoints(self._pool_map)
        self._service = Endpoint(xstream.rank, SYSTEM_TAG)
        self._open_services = open_services
        self._failed: dict[bytes, DaosError] = {}

    def setup_system(self) -> None:
        """Serve administrators and clients on the system xstream."""
        serve = self._xstream.context.serve
        serve(wire.POOL_CREATE, answering(self._create))
        serve(wire.POOL_DESTROY, answering(self._destroy))
        serve(wire.POOL_LIST, answering(self._list))
        serve(wire.POOL_FIND, answering(self._find))

    def setup_target(self, target: Target) -> None:
        """Serve what the management service asks of a target."""
        serve = target.xstream.context.serve

        async def create(rpc: Rpc[wire.TargetCreateRequest]) -> wire.Empty:
            await target.create_shard(
                PoolUuid(UUID(bytes=rpc.request.pool)), size_bytes=rpc.request.size_bytes
            )
            return wire.Empty()

        async def destroy(rpc: Rpc[wire.TargetDestroyRequest]) -> wire.Empty:
            await target.destroy_shard(PoolUuid(UUID(bytes=rpc.request.pool)))
            return wire.Empty()

        async def open_(rpc: Rpc[wire.TargetOpenRequest]) -> wire.Empty:
            await target.open_shard(PoolUuid(UUID(bytes=rpc.request.pool)))
            return wire.Empty()

        serve(wire.TGT_CREATE, answering(create))
        serve(wire.TGT_DESTROY, answering(destroy))
        serve(wire.TGT_OPEN, answering(open_))

    async def start(self) -> None:
        """Remove what was half made or half removed, open the rest. All targets must listen."""
        deadline_ns = self._xstream.clock.now_ns() + _START_NS
        for record in await self._records():
            if record.state is not PoolState.READY:
                await self._remove(record, force=True, deadline_ns=deadline_ns)
                continue
            pool = PoolUuid(UUID(bytes=record.uuid))
            try:
                await self._ask(wire.TGT_OPEN, wire.TargetOpenRequest(record.uuid), deadline_ns)
                await self._open_services(pool)
            except DaosError as error:
                self._failed[record.uuid] = error
                log.error("pool %s (%r) can't be opened: %s", pool, record.label, error)

    async def _create(self, rpc: Rpc[wire.PoolCreateRequest]) -> wire.PoolRecord:
        request = rpc.request
        check_label(request.label, "pool")
        if len(request.uuid) != 16:
            raise InvalidError("a pool uuid has 16 bytes")
        each = core.shard_bytes(request.size_bytes, targets=len(self._endpoints))
        PROPERTIES.at_creation({**request.props, "label": request.label})
        record = PoolRecord(
            request.uuid,
            request.label,
            PoolState.CREATING,
            each * len(self._endpoints),
            len(self._endpoints),
            (self._xstream.rank,),
        )
        label_key, key = _LABEL + request.label.encode(), _POOL + request.uuid
        done = await self._rdb.txn(
            [absent(label_key), absent(key)],
            [Put(key, msgspec.msgpack.encode(record)), Put(label_key, request.uuid)],
        )
        if not done.succeeded:
            return await self._created_before(request)
        try:
            await self._make(request, each, rpc)
        except DaosError:
            await self._remove(
                record, force=True, deadline_ns=self._xstream.clock.now_ns() + _START_NS
            )
            raise
        record = msgspec.structs.replace(record, state=PoolState.READY)
        await self._rdb.txn([], [Put(key, msgspec.msgpack.encode(record))])
        return _on_wire(record)

    async def _created_before(self, request: wire.PoolCreateRequest) -> wire.PoolRecord:
        """The answer to a repeated request, or the refusal of another's label."""
        pairs = (await self._rdb.range(_POOL + request.uuid)).pairs
        if pairs:
            record = parse_record(PoolRecord, pairs[0].value, "pool")
            if record.label == request.label and record.state is PoolState.READY:
                return _on_wire(record)
        raise ExistsError(f"a pool labelled {request.label!r} exists")

    async def _make(self, request: wire.PoolCreateRequest, each: int, rpc: Rpc) -> None:
        await self._ask(
            wire.TGT_CREATE, wire.TargetCreateRequest(request.uuid, each), rpc.deadline_ns
        )
        await self._xstream.context.call(
            self._service,
            pool_wire.SVC_CREATE,
            pool_wire.SvcCreateRequest(
                request.uuid,
                request.label,
                self._pool_map.emit(),
                each * len(self._endpoints),
                request.props,
                request.owner,
                request.group,
            ),
            deadline_ns=rpc.deadline_ns,
            trace_id=rpc.trace_id,
        )

    async def _destroy(self, rpc: Rpc[wire.PoolDestroyRequest]) -> wire.Empty:
        request = rpc.request
        record = await self._by_name(request.name)
        if record.state is PoolState.CREATING:
            raise BusyError(f"pool {request.name!r} is being created")
        await self._remove(record, force=request.force, deadline_ns=rpc.deadline_ns)
        return wire.Empty()

    async def _remove(self, record: PoolRecord, *, force: bool, deadline_ns: int) -> None:
        key, label_key = _POOL + record.uuid, _LABEL + record.label.encode()
        if not force and record.uuid not in self._failed:
            handles = (
                await self._xstream.context.call(
                    self._service,
                    pool_wire.HANDLES,
                    pool_wire.HandlesRequest(record.uuid),
                    deadline_ns=deadline_ns,
                )
            ).count
            if handles:
                raise BusyError(f"pool {record.label!r} has {handles} connected handles")
        marked = msgspec.structs.replace(record, state=PoolState.DESTROYING)
        await self._rdb.txn([], [Put(key, msgspec.msgpack.encode(marked))])
        await self._rdb.txn([value_is(label_key, record.uuid)], [Delete(label_key)])
        await self._xstream.context.call(
            self._service,
            pool_wire.SVC_DESTROY,
            pool_wire.SvcDestroyRequest(record.uuid),
            deadline_ns=deadline_ns,
        )
        await self._ask(wire.TGT_DESTROY, wire.TargetDestroyRequest(record.uuid), deadline_ns)
        await self._rdb.txn([], [Delete(key)])
        self._failed.pop(record.uuid, None)

    async def _list(self, rpc: Rpc[wire.PoolListRequest]) -> wire.PoolListReply:
        records = sorted(await self._records(), key=lambda record: record.label)
        return wire.PoolListReply(tuple(_on_wire(record) for record in records))

    async def _find(self, rpc: Rpc[wire.PoolFindRequest]) -> wire.PoolRecord:
        record = await self._by_name(rpc.request.name)
        if (error := self._failed.get(record.uuid)) is not None:
            raise error
        if record.state is not PoolState.READY:
            raise BusyError(f"pool {rpc.request.name!r} is {record.state.lower()}")
        return _on_wire(record)

    async def _by_name(self, name: str) -> PoolRecord:
        uuid = maybe_uuid(name)
        raw = uuid.bytes if uuid else b""
        if not raw and 0 < len(name) <= 127:
            pairs = (await self._rdb.range(_LABEL + name.encode())).pairs
            raw = pairs[0].value if pairs else b""
        pairs = (await self._rdb.range(_POOL + raw)).pairs if raw else []
        if not pairs:
            raise NotFoundError(f"pool {name[:128]!r} not found")
        return parse_record(PoolRecord, pairs[0].value, "pool")

    async def _records(self) -> list[PoolRecord]:
        found = await self._rdb.range(_POOL, prefix_end(_POOL))
        return [parse_record(PoolRecord, pair.value, "pool") for pair in found.pairs]

    async def _ask(
        self, procedure: Procedure[Any, wire.Empty], request: msgspec.Struct, deadline_ns: int
    ) -> None:
        await ask_targets(
            self._xstream,
            self._endpoints,
            procedure,
            request,
            deadline_ns=deadline_ns,
            trace_id=0,
        )


def _on_wire(record: PoolRecord) -> wire.PoolRecord:
    return wire.PoolRecord(
        record.uuid,
        record.label,
        record.state,
        record.size_bytes,
        record.targets,
        record.service_ranks,
    )

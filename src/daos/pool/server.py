"""The pool service: one a pool, on the system xstream, its state in the pool's own rdb.

Keys (values are MessagePack arrays of the structs below, or raw bytes where said):

    meta                 PoolMeta
    prop/<name>          text, UTF-8
    attr/<name>          raw bytes
    handle/<16 bytes>    HandleRecord
    turn                 empty; touched by every connect, so that two can't overlook each other

Container records share the rdb under `cont` (see container/server.py).

Invariants:
    P1  a handle is in the rdb before its connect is answered, and gone before its disconnect is
    P2  at most one handle where one is "ex"
Crash table: every change is one rdb transaction; a service that dies leaves handles, which
`evict` removes. Source: DAOS src/pool/srv_pool.c.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from daos.base.errors import (
    CorruptError,
    DaosError,
    InvalidError,
    NotFoundError,
    StaleHandleError,
)
from daos.base.ids import PoolUuid, tag_of
from daos.base.names import check_attribute
from daos.cart.context import Endpoint, Rpc
from daos.cart.protocol import Procedure
from daos.engine.storage import Storage
from daos.engine.target import Target
from daos.engine.xstream import Xstream
from daos.placement.pool_map import PoolMap
from daos.pool import core, wire
from daos.rdb.interface import Delete, Put, Rdb, absent, exists, prefix_end, unchanged
from daos.rdb.local import LocalRdb

# Metadata of a pool: attributes, container records, snapshots. Values are small; 64 MiB hold
# some 10^5 records beside the log and two checkpoints.
SERVICE_BYTES: Final = 64 << 20

_META: Final = b"meta"
_PROP: Final = b"prop/"
_ATTR: Final = b"attr/"
_HANDLE: Final = b"handle/"
_TURN: Final = b"turn"  # touched by every connect

_ReplyT = TypeVar("_ReplyT", bound=msgspec.Struct)
_RecordT = TypeVar("_RecordT", bound=msgspec.Struct)


class PoolMeta(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What never changes of a pool, and its map."""

    uuid: bytes
    pool_map: bytes
    size_bytes: int


class HandleRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Who is connected, and how."""

    client: bytes
    flags: str


def answering(
    handle: Callable[[Rpc], Coroutine[Any, Any, msgspec.Struct]],
) -> Callable[[Rpc], Coroutine[Any, Any, None]]:
    """A handler that replies with what `handle` returns."""

    async def handler(rpc: Rpc) -> None:
        rpc.reply(await handle(rpc))

    return handler


async def ask_targets(
    xstream: Xstream,
    endpoints: Iterable[Endpoint],
    procedure: Procedure[Any, _ReplyT],
    request: msgspec.Struct,
    *,
    deadline_ns: int,
    trace_id: int,
) -> list[_ReplyT]:
    """Send the same request to all, at once; the replies in the order of `endpoints`.

    Raises: the first error, after the other calls were cancelled
    """
    try:
        async with asyncio.TaskGroup() as group:
            calls = [
                group.create_task(
                    xstream.context.call(
                        endpoint, procedure, request, deadline_ns=deadline_ns, trace_id=trace_id
                    )
                )
                for endpoint in endpoints
            ]
    except* DaosError as errors:
        raise errors.exceptions[0] from None
    return [call.result() for call in calls]


def target_endpoints(pool_map: PoolMap) -> list[Endpoint]:
    """Every target of a pool, in the order of their ids."""
    return [Endpoint(target.rank, tag_of(target.index)) for target in pool_map.targets]


class PoolService:
    """One pool's metadata. Made by `PoolModule`."""

    def __init__(self, xstream: Xstream, meta: PoolMeta, rdb: Rdb) -> None:
        self.xstream = xstream
        self.uuid = PoolUuid(UUID(bytes=meta.uuid))
        self.rdb = rdb
        self.pool_map = PoolMap.parse(meta.pool_map)
        self.endpoints = target_endpoints(self.pool_map)
        self._encoded_map = meta.pool_map

    async def connect(self, request: wire.ConnectRequest) -> wire.ConnectReply:
        """Record the handle. Raises: InvalidError, BusyError."""
        core.check_flags(request.flags)
        if len(request.handle) != 16 or len(request.client) != 16:
            raise InvalidError("handle and client ids have 16 bytes")
        key = _HANDLE + request.handle
        while True:
            turn = (await self.rdb.range(_TURN)).pairs
            found = await self.rdb.range(_HANDLE, prefix_end(_HANDLE))
            others = [
                parse_record(HandleRecord, pair.value, "pool handle").flags
                for pair in found.pairs
                if pair.key != key
            ]
            core.check_share(request.flags, others, f"pool {self.uuid}")
            record = HandleRecord(request.client, request.flags)
            # Nobody may have come in between: whoever connects touches this key.
            done = await self.rdb.txn(
                [unchanged(turn[0]) if turn else absent(_TURN)],
                [Put(key, msgspec.msgpack.encode(record)), Put(_TURN, b"")],
            )
            if done.succeeded:
                label = await self._prop("label")
                return wire.ConnectReply(label, self._encoded_map, self.pool_map.version)

    async def disconnect(self, handle: bytes) -> None:
        """Forget the handle; a repeated disconnect is no error."""
        await self.rdb.txn([], [Delete(_HANDLE + handle)])

    async def check_handle(self, handle: bytes, *, write: bool) -> HandleRecord:
        """The record of a connected handle. Raises: StaleHandleError, AccessError."""
        found = await self.rdb.range(_HANDLE + handle)
        if not found.pairs:
            raise StaleHandleError(f"the handle of pool {self.uuid} is closed or was evicted")
        record = parse_record(HandleRecord, found.pairs[0].value, "pool handle")
        core.check_writable(record.flags, write=write)
        return record

    async def evict(self, client: bytes) -> int:
        """Remove the handles of one client, or all for b""; how many there were."""
        found = await self.rdb.range(_HANDLE, prefix_end(_HANDLE))
        gone = [
            pair.key
            for pair in found.pairs
            if not client or parse_record(HandleRecord, pair.value, "pool handle").client == client
        ]
        for key in gone:
            await self.rdb.txn([], [Delete(key)])
        return len(gone)

    async def handle_count(self) -> int:
        """How many handles are connected."""
        return len((await self.rdb.range(_HANDLE, prefix_end(_HANDLE))).pairs)

    async def query(self, rpc: Rpc) -> wire.QueryReply:
        """Numbers of the pool; space is asked of every target."""
        replies = await ask_targets(
            self.xstream,
            self.endpoints,
            wire.TGT_QUERY,
            wire.TargetQueryRequest(self.uuid.bytes),
            deadline_ns=rpc.deadline_ns,
            trace_id=rpc.trace_id,
        )
        tiers = []
        for tier in zip(*(reply.tiers for reply in replies), strict=True):
            free = [target_free for _, target_free in tier]
            total = sum(target_total for target_total, _ in tier)
            tiers.append(wire.TierSpace(total, sum(free), min(free), max(free)))
        containers = await self.rdb.range(b"cont/", prefix_end(b"cont/"))
        ranks = {endpoint.rank for endpoint in self.endpoints}
        return wire.QueryReply(
            label=await self._prop("label"),
            map_version=self.pool_map.version,
            targets=len(self.endpoints),
            targets_disabled=0,
            ranks=len(ranks),
            handles=await self.handle_count(),
            containers=len(containers.pairs),
            tiers=tuple(tiers),
        )

    async def props(self) -> dict[str, str]:
        """All properties, in the order of the table."""
        found = await self.rdb.range(_PROP, prefix_end(_PROP))
        values = {pair.key[len(_PROP) :].decode(): pair.value.decode() for pair in found.pairs}
        return {entry.name: values[entry.name] for entry in core.PROPERTIES.properties}

    async def set_props(self, given: dict[str, str]) -> None:
        """Change properties, all or nothing. Raises: InvalidError, AccessError."""
        changes = core.PROPERTIES.changes(given)
        await self.rdb.txn([], prop_puts(changes))

    async def attrs(self, names: tuple[str, ...]) -> dict[str, bytes]:
        """User attributes. Raises: NotFoundError for a name that is not set."""
        return await read_attrs(self.rdb, _ATTR, names)

    async def set_attrs(self, request: wire.SetAttrsRequest) -> None:
        """Set and delete user attributes, all or nothing."""
        await write_attrs(self.rdb, _ATTR, request.put, request.delete)

    async def _prop(self, name: str) -> str:
        found = await self.rdb.range(_PROP + name.encode())
        if not found.pairs:
            raise CorruptError(f"pool {self.uuid}: property {name}", offset=0, want=1, got=0)
        return found.pairs[0].value.decode()


def parse_record(kind: type[_RecordT], value: bytes, what: str) -> _RecordT:
    """A metadata record. Raises: CorruptError if the bytes are none of this kind."""
    try:
        return msgspec.msgpack.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptError(f"{what} record ({error})", offset=0, want=1, got=0) from error


def prop_puts(props: dict[str, str], prefix: bytes = _PROP) -> list[Put]:
    """Operations that store properties."""
    return [Put(prefix + name.encode(), text.encode()) for name, text in props.items()]


async def read_attrs(rdb: Rdb, prefix: bytes, names: tuple[str, ...]) -> dict[str, bytes]:
    """User attributes below `prefix`; all where no names are given. Raises: NotFoundError."""
    if not names:
        found = await rdb.range(prefix, prefix_end(prefix))
        return {pair.key[len(prefix) :].decode(): pair.value for pair in found.pairs}
    values: dict[str, bytes] = {}
    for name in names:
        found = await rdb.range(prefix + name.encode())
        if not found.pairs:
            raise NotFoundError(f"attribute {name!r} is not set")
        values[name] = found.pairs[0].value
    return values


async def write_attrs(
    rdb: Rdb, prefix: bytes, put: dict[str, bytes], delete: tuple[str, ...]
) -> None:
    """Set and delete user attributes below `prefix`, all or nothing.

    Raises: InvalidError (name or size), NotFoundError (deleting one that is not set)
    """
    for name, value in put.items():
        check_attribute(name, value)
    keys = {name: prefix + name.encode() for name in delete}
    done = await rdb.txn(
        [exists(key) for key in keys.values()],
        [
            *(Put(prefix + name.encode(), value) for name, value in put.items()),
            *(Delete(key) for key in keys.values()),
        ],
    )
    if not done.succeeded:
        for name, key in keys.items():
            if not (await rdb.range(key)).pairs:
                raise NotFoundError(f"attribute {name!r} is not set")


class PoolModule:
    """The pool services of a rank, and the pool handlers of its targets."""

    name = "pool"
    id = wire.MODULE_ID
    version = wire.VERSION

    def __init__(self, xstream: Xstream, storage: Storage) -> None:
        self._xstream = xstream
        self._storage = storage
        self._services: dict[bytes, PoolService] = {}

    def setup_system(self) -> None:
        """Serve clients and the management service on the system xstream."""
        serve = self._xstream.context.serve
        serve(wire.SVC_CREATE, answering(self._create))
        serve(wire.SVC_DESTROY, answering(self._destroy))
        serve(wire.HANDLES, answering(self._handles))
        serve(wire.CONNECT, answering(self._connect))
        serve(wire.DISCONNECT, answering(self._disconnect))
        serve(wire.QUERY, answering(self._query))
        serve(wire.EVICT, answering(self._evict))
        serve(wire.PROPS, answering(self._props))
        serve(wire.SET_PROPS, answering(self._set_props))
        serve(wire.ATTRS, answering(self._attrs))
        serve(wire.SET_ATTRS, answering(self._set_attrs))

    def setup_target(self, target: Target) -> None:
        """Serve what the pool service asks of a target."""

        def query(rpc: Rpc[wire.TargetQueryRequest]) -> None:
            space = target.shard(PoolUuid(UUID(bytes=rpc.request.pool))).vos.query()
            rpc.reply(
                wire.TargetQueryReply(
                    ((space.scm.total, space.scm.free), (space.nvme.total, space.nvme.free))
                )
            )

        target.xstream.context.serve(wire.TGT_QUERY, query)

    def service(self, pool: bytes) -> PoolService:
        """The service of an open pool. Raises: NotFoundError."""
        try:
            return self._services[pool]
        except KeyError:
            raise NotFoundError(f"no service here for pool {_uuid_text(pool)}") from None

    async def open(self, pool: PoolUuid, *, evict: bool) -> PoolService:
        """Open the pool's rdb. `evict`: no client survived, so forget their handles."""
        meta = await self._storage.open(_device_name(pool))
        rdb = LocalRdb(meta, self._xstream.clock)
        found = await rdb.range(_META)
        if not found.pairs:
            await self._storage.close(_device_name(pool), checkpoint=False)
            raise CorruptError(f"pool {pool}: metadata record", offset=0, want=1, got=0)
        record = parse_record(PoolMeta, found.pairs[0].value, "pool")
        service = PoolService(self._xstream, record, rdb)
        self._services[pool.bytes] = service
        if evict:
            await service.evict(b"")
        return service

    async def _create(self, rpc: Rpc[wire.SvcCreateRequest]) -> wire.Empty:
        request = rpc.request
        pool = PoolUuid(UUID(bytes=request.pool))
        if request.pool in self._services:
            return wire.Empty()
        PoolMap.parse(request.pool_map)
        props = core.PROPERTIES.at_creation({**request.props, "label": request.label})
        props |= {"owner": request.owner, "owner_group": request.group}
        meta = await self._storage.create(_device_name(pool), uuid=pool, size_bytes=SERVICE_BYTES)
        rdb = LocalRdb(meta, self._xstream.clock)
        record = PoolMeta(request.pool, request.pool_map, request.size_bytes)
        await rdb.txn(
            [absent(_META)],
            [Put(_META, msgspec.msgpack.encode(record)), *prop_puts(props)],
        )
        self._services[request.pool] = PoolService(self._xstream, record, rdb)
        return wire.Empty()

    async def _destroy(self, rpc: Rpc[wire.SvcDestroyRequest]) -> wire.Empty:
        pool = rpc.request.pool
        self._services.pop(pool, None)
        await self._storage.destroy(_device_name(PoolUuid(UUID(bytes=pool))))
        return wire.Empty()

    async def _handles(self, rpc: Rpc[wire.HandlesRequest]) -> wire.HandlesReply:
        return wire.HandlesReply(await self.service(rpc.request.pool).handle_count())

    async def _connect(self, rpc: Rpc[wire.ConnectRequest]) -> wire.ConnectReply:
        return await self.service(rpc.request.pool).connect(rpc.request)

    async def _disconnect(self, rpc: Rpc[wire.HandleRequest]) -> wire.Empty:
        await self.service(rpc.request.pool).disconnect(rpc.request.handle)
        return wire.Empty()

    async def _query(self, rpc: Rpc[wire.HandleRequest]) -> wire.QueryReply:
        service = self.service(rpc.request.pool)
        await service.check_handle(rpc.request.handle, write=False)
        return await service.query(rpc)

    async def _evict(self, rpc: Rpc[wire.EvictRequest]) -> wire.EvictReply:
        return wire.EvictReply(await self.service(rpc.request.pool).evict(rpc.request.client))

    async def _props(self, rpc: Rpc[wire.HandleRequest]) -> wire.PropsReply:
        service = self.service(rpc.request.pool)
        await service.check_handle(rpc.request.handle, write=False)
        return wire.PropsReply(await service.props())

    async def _set_props(self, rpc: Rpc[wire.SetPropsRequest]) -> wire.Empty:
        service = self.service(rpc.request.pool)
        await service.check_handle(rpc.request.handle, write=True)
        await service.set_props(rpc.request.props)
        return wire.Empty()

    async def _attrs(self, rpc: Rpc[wire.AttrsRequest]) -> wire.AttrsReply:
        service = self.service(rpc.request.pool)
        await service.check_handle(rpc.request.handle, write=False)
        return wire.AttrsReply(await service.attrs(rpc.request.names))

    async def _set_attrs(self, rpc: Rpc[wire.SetAttrsRequest]) -> wire.Empty:
        service = self.service(rpc.request.pool)
        await service.check_handle(rpc.request.handle, write=True)
        await service.set_attrs(rpc.request)
        return wire.Empty()


def _device_name(pool: PoolUuid) -> str:
    return f"pool-{pool}-rdb"


def _uuid_text(raw: bytes) -> str:
    return str(UUID(bytes=raw)) if len(raw) == 16 else raw.hex()[:40]

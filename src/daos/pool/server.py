"""The pool service: one a pool, on the system xstream, its state in the pool's own rdb.

Keys (values are MessagePack arrays of the structs below, or raw bytes where said):

    meta                 PoolMeta
    prop/<name>          text, UTF-8
    attr/<name>          raw bytes
    handle/<16 bytes>    HandleRecord
    turn                 empty; touched by every connect, so that two can't overlook each other

Container records share the rdb under `cont` (see container/service.py).

Invariants:
    P1  a handle is in the rdb before its connect is answered, and gone before its disconnect is
    P2  at most one handle where one is "ex"
    P3  what was opened through a handle is closed before its disconnect or eviction is answered
Crash table: every change is one rdb transaction; a service that dies leaves handles, which
`evict` removes. Source: DAOS src/pool/srv_pool.c.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol
from uuid import UUID

import msgspec

from daos.base.errors import (
    AgainError,
    BusyError,
    CorruptError,
    DaosError,
    InvalidError,
    NotFoundError,
    StaleHandleError,
    error_for,
)
from daos.base.ids import PoolUuid, Rank, tag_of
from daos.cart.context import Endpoint, Rpc
from daos.engine.collective import ask_targets, bitmap_without, reduce_targets
from daos.engine.copies import Copies
from daos.engine.iv import IV_KEY
from daos.engine.iv_core import IvClass
from daos.engine.service import (
    answering,
    engines_only,
    parse_id,
    parse_pool_id,
    target_endpoints,
)
from daos.engine.xstream import Xstream
from daos.placement.pool_map import PoolMap
from daos.pool import core, wire
from daos.pool.records import (
    AttributeChange,
    parse_record,
    property_puts,
    read_attributes,
    read_properties,
    read_records,
)
from daos.pool.spreading import Spreading, State
from daos.rdb.interface import Delete, Put, absent, prefix_end, unchanged
from daos.rdb.local import LocalRdb

# Metadata of a pool: attributes, container records, snapshots. Values are small; 64 MiB hold
# some 10^5 records beside the log and two checkpoints.
SERVICE_BYTES: Final = 64 << 20

HANDLE_PREFIX: Final = b"handle/"
_META: Final = b"meta"
_PROP: Final = b"prop/"
_ATTR: Final = b"attr/"
_CONTAINERS: Final = b"cont/"
_TURN: Final = b"turn"  # touched by every connect


class PoolMeta(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What never changes of a pool, and its map."""

    uuid: bytes
    pool_map: bytes
    size_bytes: int


class HandleRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Who is connected, and how."""

    client: bytes
    flags: str
    machine: str = ""  # where the client runs; of version 1, unknown


class Below(Protocol):
    """Keeper of what is opened through pool handles. Attached by the composition root."""

    async def close_opened(
        self, pool: PoolUuid, pool_handles: Collection[bytes], *, deadline_ns: int, trace_id: int
    ) -> None:
        """Close all that was opened through these handles, which are gone already."""


class PoolService:
    """One pool's metadata. Made by `PoolServices`. Raises: CorruptError (pool map)."""

    def __init__(self, xstream: Xstream, meta: PoolMeta, rdb: LocalRdb) -> None:
        self.xstream = xstream
        self.uuid = PoolUuid(UUID(bytes=meta.uuid))
        self.rdb = rdb
        self.pool_map = PoolMap.parse(meta.pool_map)
        self.endpoints = target_endpoints(self.pool_map)
        self._meta = meta
        self.spreading = Spreading(xstream, meta.uuid, self._state)
        self._copies = Copies()  # of connects
        self._leaving = False  # about to be destroyed: no new handles

    async def connect(self, request: wire.ConnectRequest) -> wire.ConnectReply:
        """Record the handle. Raises: InvalidError, BusyError, StaleHandleError (it was closed)."""
        core.check_flags(request.flags)
        parse_id(request.handle, "pool handle")
        parse_id(request.client, "client")
        core.check_machine(request.machine)
        async with self._copies.turn(request.handle):
            if self._copies.is_over(request.handle):
                raise StaleHandleError("the pool handle was closed")
            return await self._connect(request)

    async def _connect(self, request: wire.ConnectRequest) -> wire.ConnectReply:
        key = HANDLE_PREFIX + request.handle
        while True:
            turn = (await self.rdb.range(_TURN)).pairs
            if self._leaving:
                raise BusyError(f"pool {self.uuid} is being destroyed")
            others = await self._handles()
            others.pop(request.handle, None)
            flags = [record.flags for record in others.values()]
            core.check_share(request.flags, flags, f"pool {self.uuid}")
            record = HandleRecord(request.client, request.flags, request.machine)
            # Nobody may have come in between: whoever connects touches this key.
            done = await self.rdb.txn(
                [unchanged(turn[0]) if turn else absent(_TURN)],
                [Put(_TURN, b""), Put(key, msgspec.msgpack.encode(record))],
                spare=True,  # who empties a full store has to come in first
            )
            if done.succeeded:
                break
        await self.spreading.settle()
        label = (await self.props())["label"]
        return wire.ConnectReply(label, self._meta.pool_map, self.pool_map.version)

    async def disconnect(self, handle: bytes) -> None:
        """Forget the handle; an unknown one is no error. `spreading` is settled by the caller."""
        async with self._copies.turn(handle):
            self._copies.over(handle)  # its connect may come once more
            await self.rdb.txn([], [Delete(HANDLE_PREFIX + handle)])

    async def check_handle(self, handle: bytes, *, write: bool) -> HandleRecord:
        """The record of a connected handle. Raises: StaleHandleError, AccessError."""
        found = await self.rdb.range(HANDLE_PREFIX + handle)
        if not found.pairs:
            raise StaleHandleError(f"the handle of pool {self.uuid} is closed or was evicted")
        record = parse_record(HandleRecord, found.pairs[0].value, "pool handle")
        core.check_writable(record.flags, write=write)
        return record

    async def evict(
        self, client: bytes = b"", *, only: Collection[bytes] = (), machine: str = ""
    ) -> list[bytes]:
        """Remove the handles of one client, or all for b""; which there were.

        `only`: none but these. `machine`: none but of clients there. `spreading` is settled by the
        caller, once what was opened through them is closed.
        """
        gone = [
            handle
            for handle, record in (await self._handles()).items()
            if (not client or record.client == client)
            and (not only or handle in only)
            and (not machine or record.machine == machine)
        ]
        for handle in gone:
            await self.rdb.txn([], [Delete(HANDLE_PREFIX + handle)])
        return gone

    async def leave(self) -> int:
        """Refuse new handles if there are none; how many there are."""
        self._leaving = True
        while True:
            turn = (await self.rdb.range(_TURN)).pairs
            if handles := len(await self._handles()):
                self._leaving = False
                return handles
            # A connect that looked before we came loses its turn, and then sees that we leave.
            compare = unchanged(turn[0]) if turn else absent(_TURN)
            if (await self.rdb.txn([compare], [Put(_TURN, b"")], spare=True)).succeeded:
                return 0

    async def query(self, *, deadline_ns: int, trace_id: int = 0) -> wire.QueryReply:
        """Numbers of the pool; space is asked of every target that is not excluded."""
        excluded = core.excluded(self.pool_map)
        no_tiers: core.Tiers = ()
        tiers = await reduce_targets(
            self.xstream,
            self.endpoints,
            wire.TGT_QUERY,
            wire.TargetQueryRequest(self.uuid.bytes),
            add=core.add_space,
            start=no_tiers,
            bitmap=bitmap_without(len(self.endpoints), excluded),
            deadline_ns=deadline_ns,
            trace_id=trace_id,
        )
        containers = await self.rdb.range(_CONTAINERS, prefix_end(_CONTAINERS))
        ranks = {endpoint.rank for endpoint in self.endpoints}
        return wire.QueryReply(
            label=(await self.props())["label"],
            map_version=self.pool_map.version,
            targets=len(self.endpoints),
            targets_disabled=len(excluded),
            ranks=len(ranks),
            handles=len(await self._handles()),
            containers=len(containers.pairs),
            tiers=tiers,
        )

    async def query_targets(
        self, rank: Rank, targets: Collection[int], *, deadline_ns: int, trace_id: int = 0
    ) -> list[wire.TargetInfo]:
        """State and space of some targets of a rank, of all if none is named.

        Raises: NotFoundError  the pool has no such rank, or the rank no such target
        """
        found = core.chosen_targets(self.pool_map, rank, targets)
        replies = await ask_targets(
            self.xstream,
            [Endpoint(each.rank, tag_of(each.index)) for each in found],
            wire.TGT_QUERY,
            wire.TargetQueryRequest(self.uuid.bytes),
            deadline_ns=deadline_ns,
            trace_id=trace_id,
        )
        return [
            wire.TargetInfo(each.index, each.state, reply.tiers)
            for each, reply in zip(found, replies, strict=True)
        ]

    async def props(self) -> dict[str, str]:
        """All properties, in the order of the table."""
        return await read_properties(self.rdb, _PROP, core.PROPERTIES)

    async def set_props(self, given: dict[str, str], *, deadline_ns: int) -> None:
        """Change properties, all or nothing; targets hear of those that they act on.

        Targets of a rank that can't be told hear of it later.

        Raises: InvalidError, AccessError; what the rank says that could not be told
        """
        changes = core.PROPERTIES.changes(given)
        await self.rdb.txn([], property_puts(changes, _PROP))
        if "reclaim" in changes:
            await self.spreading.changed(IvClass.POOL_PROP, deadline_ns=deadline_ns)

    async def set_map(self, pool_map: PoolMap, *, deadline_ns: int) -> None:
        """Put a newer pool map in place; all ranks have been told on return.

        Raises: InvalidError (it is not newer); what the rank says that could not be told: it hears
                of it later
        """
        async with self._copies.turn(_META):
            if pool_map.version <= self.pool_map.version:
                raise InvalidError(f"pool map {pool_map.version} after {self.pool_map.version}")
            meta = msgspec.structs.replace(self._meta, pool_map=pool_map.emit())
            await self.rdb.txn([], [Put(_META, msgspec.msgpack.encode(meta))])
            self._meta, self.pool_map = meta, pool_map
            self.endpoints = target_endpoints(pool_map)
        await self.spreading.changed(IvClass.POOL_MAP, deadline_ns=deadline_ns)

    async def set_label(self, label: str) -> None:
        """What the management service calls the pool from now on."""
        if (await self.props())["label"] != label:
            await self.rdb.txn([], property_puts({"label": label}, _PROP))

    async def attrs(self, names: tuple[str, ...]) -> dict[str, bytes]:
        """User attributes. Raises: NotFoundError for a name that is not set."""
        return await read_attributes(self.rdb, _ATTR, names)

    async def set_attrs(self, request: wire.SetAttrsRequest) -> None:
        """Set and delete user attributes, all or nothing. Raises: InvalidError, NotFoundError."""
        change = AttributeChange(_ATTR, request.put, request.delete)
        while not (await self.rdb.txn(change.compares, change.operations)).succeeded:
            await change.check(self.rdb)

    async def _handles(self) -> dict[bytes, HandleRecord]:
        return await read_records(self.rdb, HANDLE_PREFIX, HandleRecord, "pool handle")

    async def _state(self) -> State:
        return State(self.pool_map, await self.props(), len(await self._handles()))


class PoolServices:
    """The pool services of a rank."""

    def __init__(self, xstream: Xstream) -> None:
        self._xstream = xstream
        self._storage = xstream.storage
        self._iv = xstream.value(IV_KEY)
        self._services: dict[bytes, PoolService] = {}
        self._refused: dict[bytes, DaosError] = {}  # why a pool could not be opened
        self._below: list[Below] = []
        self._started = False

    def attach(self, below: Below) -> None:
        """Let `below` know when pool handles end."""
        self._below.append(below)

    def serve(self) -> None:
        """Serve clients and the management service on the system xstream."""
        serve = self._xstream.context.serve
        serve(wire.SVC_CREATE, engines_only(self._create))
        serve(wire.SVC_DESTROY, engines_only(self._destroy))
        serve(wire.SVC_LEAVE, engines_only(self._leave))
        serve(wire.EVICT, engines_only(self._evict))
        serve(wire.CONNECT, answering(self._connect))
        serve(wire.DISCONNECT, answering(self._disconnect))
        serve(wire.QUERY, answering(self._query))
        serve(wire.QUERY_TARGETS, answering(self._query_targets))
        serve(wire.PROPS, answering(self._props))
        serve(wire.SET_PROPS, answering(self._set_props))
        serve(wire.ATTRS, answering(self._attrs))
        serve(wire.SET_ATTRS, answering(self._set_attrs))

    def started(self) -> None:
        """From now on a pool without a service here does not exist: all have been opened."""
        self._started = True

    def service(self, pool: bytes) -> PoolService:
        """The service of an open pool.

        Raises: NotFoundError, InvalidError; AgainError (not all are open yet, or all are closed);
                DaosError (why it could not be opened)
        """
        uuid = parse_pool_id(pool)
        try:
            return self._services[pool]
        except KeyError:
            if (why := self._refused.get(pool)) is not None:
                raise error_for(why.code, f"the pool can't be opened: {why.message}") from why
            if not self._started:
                raise AgainError("the pool service starts or stops; ask again") from None
            raise NotFoundError(f"no service here for pool {uuid}") from None

    def refuse(self, pool: PoolUuid, error: DaosError) -> None:
        """It could not be opened: whoever asks for it hears why."""
        self._refused[pool.bytes] = error

    async def open(self, pool: PoolUuid, *, evict: bool) -> None:
        """Open the pool's rdb. `evict`: no client survived, so forget their handles.

        Raises: NotFoundError, CorruptError; nothing is left open
        """
        name = _device_name(pool)
        async with self._storage.turn(name):
            rdb = LocalRdb(await self._storage.open(name), self._xstream.clock)
            try:
                found = await rdb.range(_META)
                if not found.pairs:
                    raise CorruptError(f"pool {pool}: metadata record", offset=0, want=1, got=0)
                record = parse_record(PoolMeta, found.pairs[0].value, "pool")
                if record.uuid != pool.bytes:
                    raise CorruptError(f"pool {pool}: id", offset=0, want=pool, got=record.uuid)
                service = PoolService(self._xstream, record, rdb)
                if evict:
                    await service.evict()
                await service.spreading.renew()
            except BaseException:
                rdb.close()
                await self._storage.close(name, checkpoint=False)
                raise
            self._services[pool.bytes] = service
            self._refused.pop(pool.bytes, None)

    async def rejoin(self, pool: PoolUuid, rank: Rank) -> None:
        """Tell a rank that has just started what all ranks know. Raises: what it says"""
        await self._iv.tell(pool.bytes, rank)

    def close(self) -> None:
        """Refuse further calls; whoever made the storage closes it."""
        self._started = False
        for service in self._services.values():
            service.rdb.close()
        self._services.clear()

    async def _create(self, rpc: Rpc[wire.SvcCreateRequest]) -> wire.Empty:
        request = rpc.request
        pool = parse_pool_id(request.pool)
        PoolMap.parse(request.pool_map)
        props = core.PROPERTIES.at_creation({**request.props, "label": request.label})
        props |= {"owner": request.owner, "owner_group": request.group}
        record = PoolMeta(request.pool, request.pool_map, request.size_bytes)
        name = _device_name(pool)
        async with self._storage.turn(name):
            if request.pool in self._services:
                return wire.Empty()
            meta = await self._storage.create(name, uuid=pool, size_bytes=SERVICE_BYTES)
            rdb = LocalRdb(meta, self._xstream.clock)
            await rdb.txn(
                [absent(_META)],
                [Put(_META, msgspec.msgpack.encode(record)), *property_puts(props, _PROP)],
            )
            self._services[request.pool] = PoolService(self._xstream, record, rdb)
        return wire.Empty()

    async def _destroy(self, rpc: Rpc[wire.SvcDestroyRequest]) -> wire.Empty:
        name = _device_name(parse_pool_id(rpc.request.pool))
        async with self._storage.turn(name):
            self._refused.pop(rpc.request.pool, None)
            service = self._services.pop(rpc.request.pool, None)
            if service is not None:
                service.rdb.close()
                service.spreading.close()
            await self._storage.destroy(name)
        return wire.Empty()

    async def _leave(self, rpc: Rpc[wire.SvcLeaveRequest]) -> wire.SvcLeaveReply:
        return wire.SvcLeaveReply(await self.service(rpc.request.pool).leave())

    async def _connect(self, rpc: Rpc[wire.ConnectRequest]) -> wire.ConnectReply:
        return await self.service(rpc.request.pool).connect(rpc.request)

    async def _disconnect(self, rpc: Rpc[wire.HandleRequest]) -> wire.Empty:
        service = self.service(rpc.request.pool)
        await service.disconnect(rpc.request.handle)
        await self._close_opened(
            service, [rpc.request.handle], deadline_ns=rpc.deadline_ns, trace_id=rpc.trace_id
        )
        return wire.Empty()

    async def _query(self, rpc: Rpc[wire.HandleRequest]) -> wire.QueryReply:
        service = self.service(rpc.request.pool)
        await service.check_handle(rpc.request.handle, write=False)
        return await service.query(deadline_ns=rpc.deadline_ns, trace_id=rpc.trace_id)

    async def _query_targets(self, rpc: Rpc[wire.QueryTargetsRequest]) -> wire.QueryTargetsReply:
        request = rpc.request
        service = self.service(request.pool)
        await service.check_handle(request.handle, write=False)
        found = await service.query_targets(
            Rank(request.rank),
            request.targets,
            deadline_ns=rpc.deadline_ns,
            trace_id=rpc.trace_id,
        )
        return wire.QueryTargetsReply(tuple(found))

    async def _evict(self, rpc: Rpc[wire.EvictRequest]) -> wire.EvictReply:
        count = await self.evict(
            rpc.request.pool,
            rpc.request.client,
            deadline_ns=rpc.deadline_ns,
            trace_id=rpc.trace_id,
        )
        return wire.EvictReply(count)

    async def evict(
        self,
        pool: bytes,
        client: bytes = b"",
        *,
        only: Collection[bytes] = (),
        machine: str = "",
        deadline_ns: int,
        trace_id: int = 0,
    ) -> int:
        """Revoke handles, as `PoolService.evict`, and what was opened through them; how many."""
        service = self.service(pool)
        gone = await service.evict(client, only=only, machine=machine)
        await self._close_opened(service, gone, deadline_ns=deadline_ns, trace_id=trace_id)
        return len(gone)

    async def _close_opened(
        self, service: PoolService, handles: list[bytes], *, deadline_ns: int, trace_id: int
    ) -> None:
        try:
            for below in self._below:
                await below.close_opened(
                    service.uuid, handles, deadline_ns=deadline_ns, trace_id=trace_id
                )
        finally:
            await service.spreading.settle()

    async def _props(self, rpc: Rpc[wire.HandleRequest]) -> wire.PropsReply:
        service = self.service(rpc.request.pool)
        await service.check_handle(rpc.request.handle, write=False)
        return wire.PropsReply(await service.props())

    async def _set_props(self, rpc: Rpc[wire.SetPropsRequest]) -> wire.Empty:
        service = self.service(rpc.request.pool)
        await service.check_handle(rpc.request.handle, write=True)
        await service.set_props(rpc.request.props, deadline_ns=rpc.deadline_ns)
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

"""The management service.

Keys in the management rdb (values are MessagePack arrays unless said otherwise):

    pool/<16 bytes>      core.PoolRecord
    label/<label>        the pool's uuid, raw

Orders that matter:
    create    recorded (CREATING) -> shards on every target -> pool service -> READY -> answered
    destroy   nobody connected, or forced -> DESTROYING, label free -> pool service gone -> shards
              gone -> record gone -> answered
    start     what is CREATING or DESTROYING is removed; what is READY is opened. A pool that
              can't be opened does not keep the others down: asking for it raises its error
    join      an engine that has started: its shards are opened, open handles are told to it ->
              what waited for it is removed -> answered

What has been marked is removed to the end, whatever becomes of the client's deadline; what could
not be removed is owed (engine/later.py), and looked for at the next start.

Source: DAOS src/mgmt/srv_pool.c, src/control/server/mgmt_pool.go.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

import msgspec

from daos.base.errors import (
    DER,
    BusyError,
    DaosError,
    DataLossError,
    ExistsError,
    InvalidError,
    NotFoundError,
)
from daos.base.ids import SYSTEM_TAG, PoolUuid, Rank
from daos.base.names import LABEL_SIZE_MAX, check_label
from daos.cart.context import Endpoint
from daos.cart.protocol import Procedure, ReplyT, RequestT
from daos.engine.collective import ask_targets
from daos.engine.later import Later
from daos.engine.service import (
    NOT_THERE,
    parse_id,
    target_endpoints,
)
from daos.engine.xstream import Xstream
from daos.mgmt import core, wire
from daos.mgmt.core import PoolRecord, PoolState
from daos.placement.pool_map import PoolMap
from daos.pool import wire as pool_wire
from daos.pool.core import PROPERTIES
from daos.pool.records import find_uuid, parse_record
from daos.rdb.interface import (
    Delete,
    KeyValuePair,
    Put,
    Rdb,
    absent,
    prefix_end,
    unchanged,
    value_is,
)

log = logging.getLogger(__name__)

_POOL: Final = b"pool/"
_LABEL: Final = b"label/"
# For work that no client's deadline bounds: removing what is marked, opening pools at start. A
# shard replays at most its log, which is a matter of seconds.
_OWN_WORK_NS: Final = 600 * 1_000_000_000

# Of a part of a pool that no other attempt brings back.
_DAMAGED: Final = frozenset({DER.CSUM, DER.NONEXIST, DER.NOTSUPPORTED})

# (host name, [(rank, number of targets)])
Members = Sequence[tuple[str, Sequence[tuple[Rank, int]]]]


class PoolServices(Protocol):
    """The services of pools on this rank."""

    async def open(self, pool: PoolUuid) -> None:
        """Open them; the pool's shards are open, those of unreachable ranks excepted."""

    def refuse(self, pool: PoolUuid, error: DaosError) -> None:
        """It could not be opened: whoever asks for it hears why."""

    async def relabel(self, pool: PoolUuid, label: str) -> None:
        """Tell an open pool what it is called."""

    async def rejoin(self, pool: PoolUuid, endpoints: Sequence[Endpoint]) -> None:
        """Tell these targets, whose engine has just started, what is open."""


class _Found(NamedTuple):
    record: PoolRecord
    pair: KeyValuePair


class Management:
    """The management service of a system."""

    def __init__(
        self, xstream: Xstream, rdb: Rdb, *, members: Members, services: PoolServices
    ) -> None:
        self._xstream = xstream
        self._rdb = rdb
        self._pool_map = PoolMap.initial(members)
        self._endpoints = target_endpoints(self._pool_map)
        self._service = Endpoint(xstream.rank, SYSTEM_TAG)
        self._services = services
        self._failed: dict[bytes, DaosError] = {}  # pools that could not be opened, and why
        self._creating: set[bytes] = set()  # by a request that runs now
        self._owed = Later(xstream)  # removals

    def close(self) -> None:
        """Give up what is owed; the next start finds it."""
        self._owed.close()

    async def start(self) -> None:
        """Remove what was half made or half removed, open the rest.

        Our own targets must listen. Ranks that can't be reached are told when they join.
        """
        for found in await self._records():
            await self._start_pool(found)

    async def _start_pool(self, found: _Found) -> None:
        record = found.record
        pool = PoolUuid(UUID(bytes=record.uuid))
        try:
            if record.state is PoolState.READY:
                await self._open_shards(record.uuid)
                await self._services.open(pool)
                await self._services.relabel(pool, record.label)
            else:
                await self._remove(await self._mark(found))
            self._failed.pop(record.uuid, None)
        except NotFoundError as error:
            # The pool is recorded: what is missing is lost, and "not found" would invite
            # somebody to make it anew.
            lost = DataLossError(f"pool {record.label!r} lost a part: {error.message}")
            self._refuse(record, lost)
        except DaosError as error:
            if record.state is not PoolState.READY and error.code in {*NOT_THERE, DER.BUSY}:
                # A rank can't be reached, or a request removes it right now.
                log.info("pool %s (%r) is removed later: %s", pool, record.label, error)
                return
            if self._xstream.context.closed:
                raise  # we are being stopped; the pool has nothing to do with it
            self._refuse(record, error)

    def _refuse(self, record: PoolRecord, error: DaosError) -> None:
        pool = PoolUuid(UUID(bytes=record.uuid))
        self._failed[record.uuid] = error
        self._services.refuse(pool, error)
        log.error("pool %s (%r) can't be opened: %s", pool, record.label, error)

    async def _open_shards(self, pool: bytes) -> None:
        request = wire.TargetOpenRequest(pool)
        for rank, endpoints in self._by_rank().items():
            try:
                await self._ask(wire.TGT_OPEN, request, endpoints=endpoints)
            except DaosError as error:
                if error.code not in NOT_THERE or rank == self._xstream.rank:
                    raise
                log.info("rank %d can't be reached; it opens its shards when it joins", rank)

    async def join(self, rank: Rank) -> None:
        """Let a rank that has started open its shards, and know which handles there are.

        Raises: InvalidError  it is no rank of the system
        """
        endpoints = self._by_rank().get(rank)
        if endpoints is None:
            raise InvalidError(f"rank {rank} is none of this system")
        for found in await self._records():
            uuid = found.record.uuid
            ready = found.record.state is PoolState.READY
            if uuid in self._failed or (not ready and uuid not in self._creating):
                await self._start_pool(found)
            if not ready or uuid in self._failed:
                continue
            opened = [each for each in endpoints if await self._opens(found.record, each)]
            if opened:
                await self._services.rejoin(PoolUuid(UUID(bytes=uuid)), opened)

    async def _opens(self, record: PoolRecord, endpoint: Endpoint) -> bool:
        """Whether a target that joins has its part of a pool: a damaged one keeps out no other.

        Raises: DaosError   it may have it next time
        """
        try:
            await self._ask(
                wire.TGT_OPEN, wire.TargetOpenRequest(record.uuid), endpoints=[endpoint]
            )
        except DaosError as error:
            if error.code not in _DAMAGED:
                raise
            log.error("%s can't open its part of pool %r: %s", endpoint, record.label, error)
            return False
        return True

    def _by_rank(self) -> dict[Rank, list[Endpoint]]:
        ranks: dict[Rank, list[Endpoint]] = {}
        for endpoint in self._endpoints:
            ranks.setdefault(endpoint.rank, []).append(endpoint)
        return ranks

    async def create(self, request: wire.PoolCreateRequest, deadline_ns: int) -> wire.PoolRecord:
        """Make a pool; repeated with its UUID, the first answer.

        Raises: InvalidError, ExistsError, BusyError, NoSpaceError
        """
        check_label(request.label, "pool")
        parse_id(request.uuid, "pool")
        core.check_principals(request.owner, request.group)
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
        if request.uuid in self._creating:
            raise BusyError(f"pool {request.label!r} is being created")
        self._creating.add(request.uuid)  # first: a record without this is a dead service's
        try:
            done = await self._rdb.txn(
                [absent(label_key), absent(key)],
                [Put(key, msgspec.msgpack.encode(record)), Put(label_key, request.uuid)],
            )
            if not done.succeeded:
                return await self._created_before(request)
            try:
                await self._make(request, each, deadline_ns)
                record = msgspec.structs.replace(record, state=PoolState.READY)
                await self._rdb.txn([], [Put(key, msgspec.msgpack.encode(record))])
            except DaosError:
                await self._undo(request)
                raise
        finally:
            self._creating.discard(request.uuid)
        return _on_wire(record)

    async def _created_before(self, request: wire.PoolCreateRequest) -> wire.PoolRecord:
        """The answer to a repeated request, or the refusal of another's label."""
        found = await self._by_id(request.uuid)
        if found is None or found.record.label != request.label:
            raise ExistsError(f"a pool labelled {request.label!r} exists")
        if found.record.state is not PoolState.READY:
            raise BusyError(f"pool {request.label!r} is {found.record.state.lower()}")
        return _on_wire(found.record)

    async def _make(self, request: wire.PoolCreateRequest, each: int, deadline_ns: int) -> None:
        create = wire.TargetCreateRequest(request.uuid, each)
        await self._ask(wire.TGT_CREATE, create, deadline_ns=deadline_ns)
        service = pool_wire.SvcCreateRequest(
            request.uuid,
            request.label,
            self._pool_map.emit(),
            each * len(self._endpoints),
            request.props,
            request.owner,
            request.group,
        )
        await self._call(pool_wire.SVC_CREATE, service, deadline_ns=deadline_ns)

    async def _undo(self, request: wire.PoolCreateRequest) -> None:
        """Remove what a failed create has made. What fails here is owed."""
        try:
            found = await self._by_id(request.uuid)
            if found is not None:
                await self._remove(await self._mark(found))
        except DaosError as error:
            self._remove_later(request.uuid)
            log.warning("pool %s stays half made: %s", UUID(bytes=request.uuid), error)

    def _remove_later(self, uuid: bytes) -> None:
        self._owed.add(uuid, lambda: self._finish(uuid))

    async def _finish(self, uuid: bytes) -> None:
        """Remove a pool that is not ready, and that nobody is making, if it is still there."""
        found = await self._by_id(uuid)
        if found is None or found.record.state is PoolState.READY or uuid in self._creating:
            return
        await self._remove(await self._mark(found))

    async def destroy(self, request: wire.PoolDestroyRequest, deadline_ns: int) -> None:
        """Remove a pool. Raises: NotFoundError, BusyError (connected, and not forced)"""
        while True:
            found = await self._by_name(request.name)
            record = found.record
            if record.uuid in self._creating:
                raise BusyError(f"pool {request.name!r} is being created")
            is_open = record.state is PoolState.READY and record.uuid not in self._failed
            if is_open and not request.force:
                await self._leave(record, deadline_ns)
            try:
                marked = await self._mark(found)
            except BusyError:
                continue  # somebody else changed it; look again
            await self._remove(marked)
            return

    async def _leave(self, record: PoolRecord, deadline_ns: int) -> None:
        leave = pool_wire.SvcLeaveRequest(record.uuid)
        reply = await self._call(pool_wire.SVC_LEAVE, leave, deadline_ns=deadline_ns)
        if reply.handles:
            raise BusyError(f"pool {record.label!r} has {reply.handles} connected handles")

    async def _mark(self, found: _Found) -> PoolRecord:
        """Record that the pool goes, and free its label. Raises: BusyError if it just changed."""
        record = msgspec.structs.replace(found.record, state=PoolState.DESTROYING)
        done = await self._rdb.txn(
            [unchanged(found.pair)], [Put(found.pair.key, msgspec.msgpack.encode(record))]
        )
        if not done.succeeded:
            raise BusyError(f"pool {record.label!r} is being changed")
        label_key = _LABEL + record.label.encode()
        await self._rdb.txn([value_is(label_key, record.uuid)], [Delete(label_key)])
        return record

    async def _remove(self, record: PoolRecord) -> None:
        """Remove all parts of a marked pool. Can be repeated, also at the same time.

        What fails is owed from then on.
        """
        try:
            await self._call(pool_wire.SVC_DESTROY, pool_wire.SvcDestroyRequest(record.uuid))
            await self._ask(wire.TGT_DESTROY, wire.TargetDestroyRequest(record.uuid))
            await self._rdb.txn([], [Delete(_POOL + record.uuid)])
        except DaosError:
            self._remove_later(record.uuid)
            raise
        self._failed.pop(record.uuid, None)

    async def rename(self, name: str, label: str) -> None:
        """Give a pool another label; durable on return.

        The record here decides: a pool whose service was not told hears of it when it opens.

        Raises: NotFoundError, InvalidError, ExistsError (another pool has it), BusyError
        """
        check_label(label, "pool")
        while True:
            found = await self._by_name(name)
            old = found.record
            if old.state is not PoolState.READY:
                raise BusyError(f"pool {name!r} is {old.state.lower()}")
            if old.label == label:
                break
            record = msgspec.structs.replace(old, label=label)
            label_key = _LABEL + label.encode()
            done = await self._rdb.txn(
                [unchanged(found.pair), absent(label_key)],
                [
                    Put(found.pair.key, msgspec.msgpack.encode(record)),
                    Put(label_key, old.uuid),
                    Delete(_LABEL + old.label.encode()),
                ],
            )
            if done.succeeded:
                break
            if (await self._rdb.range(label_key)).pairs:
                raise ExistsError(f"a pool labelled {label!r} exists")
        if old.uuid not in self._failed:
            await self._services.relabel(PoolUuid(UUID(bytes=old.uuid)), label)

    async def page(self, after: bytes) -> wire.PoolListReply:
        """Some pools, behind the place that the page before gave."""
        lo = _POOL + parse_id(after, "place of a listing").bytes + b"\0" if after else _POOL
        found = await self._rdb.range(lo, prefix_end(_POOL), limit=wire.PAGE_ENTRIES)
        records = [_parse(pair).record for pair in found.pairs]
        after = records[-1].uuid if found.more else b""
        records.sort(key=lambda record: record.label)
        return wire.PoolListReply(
            tuple(_on_wire(record, failed=record.uuid in self._failed) for record in records), after
        )

    async def find(self, name: str) -> wire.PoolRecord:
        """The pool of this label or UUID. Raises: NotFoundError, BusyError, why it did not open"""
        record = (await self._by_name(name)).record
        if (error := self._failed.get(record.uuid)) is not None:
            raise error
        if record.state is not PoolState.READY:
            raise BusyError(f"pool {name!r} is {record.state.lower()}")
        return _on_wire(record)

    async def _by_name(self, name: str) -> _Found:
        uuid = await find_uuid(self._rdb, _LABEL, name)
        found = await self._by_id(uuid) if uuid else None
        if found is None:
            raise NotFoundError(f"pool {name[:LABEL_SIZE_MAX]!r} not found")
        return found

    async def _by_id(self, raw: bytes) -> _Found | None:
        pairs = (await self._rdb.range(_POOL + raw)).pairs
        return _parse(pairs[0]) if pairs else None

    async def _records(self) -> list[_Found]:
        return [_parse(pair) for pair in (await self._rdb.range(_POOL, prefix_end(_POOL))).pairs]

    async def _ask(
        self,
        procedure: Procedure[Any, pool_wire.Empty],
        request: msgspec.Struct,
        *,
        deadline_ns: int | None = None,
        endpoints: Sequence[Endpoint] = (),
    ) -> None:
        """Ask all targets, or those at `endpoints`."""
        await ask_targets(
            self._xstream,
            endpoints or self._endpoints,
            procedure,
            request,
            deadline_ns=self._own_deadline_ns() if deadline_ns is None else deadline_ns,
            trace_id=0,
        )

    async def _call(
        self,
        procedure: Procedure[RequestT, ReplyT],
        request: RequestT,
        *,
        deadline_ns: int | None = None,
    ) -> ReplyT:
        return await self._xstream.context.call(
            self._service,
            procedure,
            request,
            deadline_ns=self._own_deadline_ns() if deadline_ns is None else deadline_ns,
        )

    def _own_deadline_ns(self) -> int:
        return self._xstream.clock.now_ns() + _OWN_WORK_NS


def _parse(pair: KeyValuePair) -> _Found:
    return _Found(parse_record(PoolRecord, pair.value, "pool"), pair)


def _on_wire(record: PoolRecord, *, failed: bool = False) -> wire.PoolRecord:
    return wire.PoolRecord(
        record.uuid,
        record.label,
        PoolState.UNKNOWN if failed else record.state,
        record.size_bytes,
        record.targets,
        record.service_ranks,
    )

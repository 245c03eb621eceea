"""The containers of one pool: what is recorded, in which order, and who is told.

Its records share the pool's rdb; `records.py` lists them.

Orders that matter:
    open      handle recorded -> answered; targets ask when they meet it (capability.py)
    close     handle gone -> forgotten by every rank, and every target that had asked -> answered
    snapshot  every target's clock heard -> epoch drawn -> every target told that the past ends
              there, and is kept (one that aggregates across it refuses: another is drawn) ->
              recorded -> targets told that it is -> answered, so what a snapshot shows is all that
              was acknowledged before, and never changes once anyone can name it
    destroy   marked, its label and handles gone -> forgotten as at a close -> every target has
              unlinked its part -> records gone; what fails in between is owed, and a service that
              dies goes on when it opens again

Invariants:
    S1  every change compares the container's record with what it looked at, and writes it anew:
        nothing is added to a container that somebody else destroys
    S2  a container handle is recorded only while its pool handle is
    S3  work on targets that a record demands is not bound by a client's deadline
Source: DAOS src/container/srv_container.c, srv_epoch.c, srv_oi_table.c.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from daos.base.checksum import checksum_type
from daos.base.errors import (
    DER,
    BusyError,
    CorruptError,
    DaosError,
    ExistsError,
    InvalidError,
    StaleHandleError,
)
from daos.base.ids import U64_MAX
from daos.base.names import check_label
from daos.cart.context import Rpc
from daos.container import core, records, wire
from daos.container.records import ContainerMeta, HandleRecord
from daos.container.snapshots import SnapshotService
from daos.container.store import Found
from daos.engine.iv_core import IvClass
from daos.engine.service import NOT_THERE, parse_id
from daos.pool.core import check_flags, check_share, check_writable
from daos.pool.records import (
    AttributeChange,
    delete_all,
    parse_record,
    property_puts,
    read_attributes,
)
from daos.pool.server import HANDLE_PREFIX
from daos.pool.wire import (
    AttrsReply,
    AttrsRequest,
    Empty,
    HandleRequest,
    PropsReply,
    SetAttrsRequest,
    SetPropsRequest,
)
from daos.rdb.interface import (
    Compare,
    Delete,
    KeyValuePair,
    Put,
    absent,
    exists,
    prefix_end,
    unchanged,
)

log = logging.getLogger(__name__)

OIDS_MAX: Final = 1 << 32  # of one allocation


class ContainerService(SnapshotService):
    """The containers of one pool. A method that takes an RPC answers requests of one procedure."""

    async def resume(self) -> None:
        """Finish what a service that died had begun to destroy."""
        for uuid, meta in (await self._containers()).items():
            if not meta.destroying:
                continue
            try:
                await self._remove(uuid)
            except DaosError as error:
                if error.code not in NOT_THERE:
                    raise
                log.info("container stays marked pool=%s error=%s", self._pool.uuid, error)

    async def finish(self, uuid: bytes) -> None:
        """Remove a container that is marked, if it is still there."""
        found = await self._record(uuid)
        if found is not None and found.meta.destroying:
            await self._remove(uuid)

    async def evict_all(self) -> None:
        """Forget every handle: no client survived, and targets forget them with the name space."""
        await delete_all(self._rdb, records.HANDLE)
        await delete_all(self._rdb, records.HANDLE_OF)

    async def close_opened(
        self, pool_handles: Collection[bytes], *, deadline_ns: int, trace_id: int
    ) -> None:
        """Close the handles that were opened through these pool handles."""
        del trace_id
        if not pool_handles:
            return
        found = await self._rdb.range(records.HANDLE, prefix_end(records.HANDLE))
        gone = list[bytes]()
        for pair in found.pairs:
            record = parse_record(HandleRecord, pair.value, "container handle")
            if record.pool_handle in pool_handles:
                gone.append(records.handle_of_key(pair.key))
                await self._forget(pair.key, gone[-1])
        await self._invalidate(gone, deadline_ns=deadline_ns)

    async def capability(self, handle: bytes) -> wire.Capability:
        """What requests by an open handle may do. Raises: StaleHandleError"""
        found = await self._by_handle(handle, write=False)
        record = (await self._handles(found.uuid)).get(handle)
        if record is None:
            raise StaleHandleError("the container handle was closed just now")
        await self._pool.check_handle(record.pool_handle, write=False)  # S2
        props = await self._props(found.uuid)
        return wire.Capability(
            found.uuid,
            record.flags != "r",
            checksum_type(props["cksum"]),
            int(props["cksum_size"]),
            props["dedup"],
            int(props["dedup_threshold"]),
        )

    async def create(self, rpc: Rpc[wire.CreateRequest]) -> wire.ContainerRecord:
        """Record a new container; its targets learn of it at the first open.

        Raises: InvalidError, ExistsError (the label), AccessError, NotSupportedError
        """
        request = rpc.request
        await self._pool.check_handle(request.pool_handle, write=True)
        parse_id(request.uuid, "container")
        label = request.label or request.props.get("label", "")
        if request.props.get("label", label) != label:
            raise InvalidError("the label is given twice, and differs")
        if label:
            check_label(label, "container")
        props = core.PROPERTIES.at_creation(request.props)
        pool_props = await self._pool.props()
        props |= {
            "label": label,
            "root_oids": core.parse_roots(request.roots),
            "owner": pool_props["owner"],
            "group": pool_props["owner_group"],
        }
        key, now = records.CONTAINER + request.uuid, self._xstream.hlc.now()
        meta = ContainerMeta(label, False, 0, now)
        if self._copies.is_over(request.uuid):  # it was made, and destroyed
            return wire.ContainerRecord(request.uuid, label)
        compares = [absent(key)]
        puts = [
            Put(key, msgspec.msgpack.encode(meta)),
            Put(records.OID + request.uuid, records.emit_u64(1)),
            *property_puts(props, records.prop_prefix(request.uuid)),
        ]
        if label:
            compares.append(absent(records.LABEL + label.encode()))
            puts.append(Put(records.LABEL + label.encode(), request.uuid))
        done = await self._rdb.txn(compares, puts)
        if not done.succeeded:
            before = await self._record(request.uuid)
            if before is None or before.meta.label != label:
                raise ExistsError(f"a container labelled {label!r} exists in this pool")
            _check_staying(before, label)  # else a repeated request of the same client
        return wire.ContainerRecord(request.uuid, label)

    async def destroy(self, rpc: Rpc[wire.DestroyRequest]) -> Empty:
        """Mark, tell every target, forget. Raises: NotFoundError, BusyError.

        One that is marked already is removed to the end. What fails after the mark is owed: the
        label is free, so nobody could ask for it by that name again.
        """
        request = rpc.request
        await self._pool.check_handle(request.pool_handle, write=True)
        while True:
            found = await self._find(request.name)
            handles: Collection[bytes] | None = ()
            if not found.meta.destroying:
                handles = await self._mark(found, force=request.force)
            if handles is not None:
                await self._remove(found.uuid, handles)
                return Empty()

    async def open(self, rpc: Rpc[wire.OpenRequest]) -> wire.OpenReply:
        """Record the handle; whoever meets it asks.

        Raises: NotFoundError, BusyError, AccessError; ExistsError (the handle, with other flags);
                DaosError CONT_DESTROYING
        """
        handle = rpc.request.handle
        parse_id(handle, "container handle")
        async with self._copies.turn(handle):
            if self._copies.is_over(handle):
                raise StaleHandleError("the container handle was closed")
            return await self._open(rpc)

    async def _open(self, rpc: Rpc[wire.OpenRequest]) -> wire.OpenReply:
        request = rpc.request
        check_flags(request.flags)
        while True:
            pool_handle = await self._pool.check_handle(request.pool_handle, write=False)
            check_writable(pool_handle.flags, write=request.flags != "r")
            found = await self._find(request.name)
            _check_staying(found, request.name)
            handles = await self._handles(found.uuid)
            ours = handles.pop(request.handle, None)
            if ours is not None and ours.flags != request.flags:
                raise ExistsError(f"the handle is open already, as {ours.flags!r}")
            flags = [record.flags for record in handles.values()]
            check_share(request.flags, flags, f"container {request.name!r}")
            now = self._xstream.hlc.now()
            modified = now if request.flags != "r" else found.meta.modified
            meta = msgspec.structs.replace(found.meta, opened=now, modified=modified)
            record = HandleRecord(request.pool_handle, request.flags)
            key = records.handle_prefix(found.uuid) + request.handle
            done = await self._rdb.txn(
                [unchanged(found.pair), exists(HANDLE_PREFIX + request.pool_handle)],
                [
                    Put(found.pair.key, msgspec.msgpack.encode(meta)),
                    Put(key, msgspec.msgpack.encode(record)),
                    Put(records.HANDLE_OF + request.handle, found.uuid),
                ],
                spare=True,  # who empties a full store has to come in first
            )
            if done.succeeded:
                break
        props = await self._props(found.uuid)
        return wire.OpenReply(
            found.uuid,
            found.meta.label,
            checksum_type(props["cksum"]),
            int(props["cksum_size"]),
            int(props["rd_fac"]),
            int(props["rd_lvl"]),
        )

    async def close(self, rpc: Rpc[HandleRequest]) -> Empty:
        """Forget the handle, and have all forget it; a repeated close is no error."""
        handle = rpc.request.handle
        parse_id(handle, "container handle")
        async with self._copies.turn(handle):
            self._copies.over(handle)  # its open may come once more
            found = await self._rdb.range(records.HANDLE_OF + handle)
            if found.pairs:
                await self._forget(records.handle_prefix(found.pairs[0].value) + handle, handle)
            await self._invalidate([handle], deadline_ns=rpc.deadline_ns)
        return Empty()

    async def containers(self, rpc: Rpc[wire.ListRequest]) -> wire.ListReply:
        """A page of the containers that are not being destroyed."""
        await self._pool.check_handle(rpc.request.pool_handle, write=False)
        return await self.page(rpc.request.after)

    async def page(self, after: bytes) -> wire.ListReply:
        """As `containers`, for who needs no handle."""
        if after:
            parse_id(after, "place of a listing")
        lo = records.CONTAINER + after + b"\0" if after else records.CONTAINER
        hi = prefix_end(records.CONTAINER)
        found = await self._rdb.range(lo, hi, limit=wire.PAGE_ENTRIES)
        listed = list[wire.ContainerRecord]()
        for pair in found.pairs:
            after = pair.key[len(records.CONTAINER) :]
            meta = parse_record(ContainerMeta, pair.value, "container")
            if not meta.destroying:
                listed.append(wire.ContainerRecord(after, meta.label))
        listed.sort(key=lambda record: record.label)
        return wire.ListReply(tuple(listed), after if found.more else b"")

    async def query(self, rpc: Rpc[HandleRequest]) -> wire.QueryReply:
        """Numbers of one container."""
        found = await self._by_handle(rpc.request.handle, write=False)
        snapshots = await self._snapshots(found.uuid)
        return wire.QueryReply(
            uuid=found.uuid,
            label=found.meta.label,
            handles=len(await self._handles(found.uuid)),
            snapshots=len(snapshots),
            newest_snapshot=snapshots[-1].epoch if snapshots else 0,
            opened=found.meta.opened,
            modified=found.meta.modified,
        )

    async def props(self, rpc: Rpc[HandleRequest]) -> PropsReply:
        """All properties, in the order of the table."""
        found = await self._by_handle(rpc.request.handle, write=False)
        values = await self._props(found.uuid)
        values["alloc_oid"] = str(
            records.parse_u64((await self._oid_pair(found.uuid)).value, "oid") - 1
        )
        return PropsReply(values)

    async def set_props(self, rpc: Rpc[SetPropsRequest]) -> Empty:
        """Change properties, all or nothing. Raises: InvalidError, AccessError, ExistsError."""
        changes = core.PROPERTIES.changes(rpc.request.props)
        label = changes.get("label")
        while True:
            found = await self._by_handle(rpc.request.handle, write=True)
            meta, compares = found.meta, list[Compare]()
            operations: list[Put | Delete] = [
                *property_puts(changes, records.prop_prefix(found.uuid))
            ]
            if label is not None and label != meta.label:
                compares.append(absent(records.LABEL + label.encode()))
                operations.append(Put(records.LABEL + label.encode(), found.uuid))
                if meta.label:
                    operations.append(Delete(records.LABEL + meta.label.encode()))
                meta = msgspec.structs.replace(meta, label=label)
            if await self._change(found._replace(meta=meta), compares, operations):
                return Empty()
            if compares and (await self._rdb.range(compares[0].key)).pairs:
                raise ExistsError(f"a container labelled {label!r} exists in this pool")

    async def attrs(self, rpc: Rpc[AttrsRequest]) -> AttrsReply:
        """User attributes. Raises: NotFoundError for a name that is not set."""
        found = await self._by_handle(rpc.request.handle, write=False)
        prefix = records.attr_prefix(found.uuid)
        return AttrsReply(await read_attributes(self._rdb, prefix, rpc.request.names))

    async def set_attrs(self, rpc: Rpc[SetAttrsRequest]) -> Empty:
        """Set and delete user attributes, all or nothing. Raises: InvalidError, NotFoundError."""
        request = rpc.request
        while True:
            found = await self._by_handle(request.handle, write=True)
            change = AttributeChange(records.attr_prefix(found.uuid), request.put, request.delete)
            if await self._change(found, change.compares, change.operations):
                return Empty()
            await change.check(self._rdb)

    async def alloc_oids(self, rpc: Rpc[wire.AllocOidsRequest]) -> wire.AllocOidsReply:
        """A range of object ids nobody else gets, also not after a restart."""
        request = rpc.request
        if not 0 < request.count <= OIDS_MAX:
            raise InvalidError(f"one allocation takes 1 to {OIDS_MAX} ids, not {request.count}")
        while True:
            found = await self._by_handle(request.handle, write=True)
            pair = await self._oid_pair(found.uuid)
            first = records.parse_u64(pair.value, "object id counter")
            if first + request.count > U64_MAX:
                raise InvalidError("the container has no object ids left")
            counter = Put(pair.key, records.emit_u64(first + request.count))
            if (await self._rdb.txn([unchanged(pair)], [counter])).succeeded:
                return wire.AllocOidsReply(first)

    async def _mark(self, found: Found, *, force: bool) -> Collection[bytes] | None:
        """Record that the container goes, with its label and handles: these. None: it just changed.

        Raises: BusyError  it is open, and not `force`
        """
        handles = await self._handles(found.uuid)
        if handles and not force:
            raise BusyError(f"the container is open ({len(handles)} handles)")
        meta = msgspec.structs.replace(
            found.meta, destroying=True, modified=self._xstream.hlc.now()
        )
        prefix = records.handle_prefix(found.uuid)
        operations: list[Put | Delete] = [
            Put(found.pair.key, msgspec.msgpack.encode(meta)),
            Delete(prefix, prefix_end(prefix)),
        ]
        if meta.label:
            operations.append(Delete(records.LABEL + meta.label.encode()))
        if not (await self._rdb.txn([unchanged(found.pair)], operations, spare=True)).succeeded:
            return None
        # What they point to is gone: until they are, each finds nothing.
        for handle in handles:
            await self._rdb.txn([], [Delete(records.HANDLE_OF + handle)])
        return list(handles)

    async def _remove(self, uuid: bytes, handles: Collection[bytes] = ()) -> None:
        """Remove all parts of a marked container. Can be repeated, also at the same time.

        `handles` were open, and nobody may know them any more. What fails is owed from then on.
        """
        try:
            await self._invalidate(list(handles), deadline_ns=self._own_deadline_ns())
            # Whoever has missed that, or has old handles, could make a part anew.
            await self._pool.spreading.await_told()
            await self._remove_parts(uuid)
        except DaosError:
            self._owe.remove(uuid)
            raise

    async def _remove_parts(self, uuid: bytes) -> None:
        await self._ask(
            wire.TGT_DESTROY,
            wire.TargetDestroyRequest(self._pool.uuid.bytes, uuid),
            deadline_ns=self._own_deadline_ns(),
            trace_id=0,
        )
        for prefix in (
            records.prop_prefix(uuid),
            records.attr_prefix(uuid),
            records.snap_prefix(uuid),
            records.snap_name(uuid, ""),
        ):
            await delete_all(self._rdb, prefix)
        self._copies.over(uuid)  # its create may come once more
        await self._rdb.txn([], [Delete(records.OID + uuid), Delete(records.CONTAINER + uuid)])

    async def _invalidate(self, handles: Sequence[bytes], *, deadline_ns: int) -> None:
        """No rank and no target knows these handles on return. Their records are gone."""
        await self._pool.spreading.invalidate(IvClass.CONT_CAPA, handles, deadline_ns=deadline_ns)

    async def _forget(self, key: bytes, handle: bytes) -> None:
        await self._rdb.txn([], [Delete(key), Delete(records.HANDLE_OF + handle)])

    async def _oid_pair(self, uuid: bytes) -> KeyValuePair:
        pairs = (await self._rdb.range(records.OID + uuid)).pairs
        if not pairs:
            if await self._record(uuid) is None:
                raise StaleHandleError("the container was destroyed")
            raise CorruptError("object id counter", offset=0, want="a counter", got="none")
        return pairs[0]


def _check_staying(found: Found, name: str) -> None:
    if found.meta.destroying:
        raise DaosError(f"container {name!r} is being destroyed", code=DER.CONT_DESTROYING)

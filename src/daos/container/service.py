"""The containers of one pool: what is recorded, in which order, and who is told.

Its records share the pool's rdb; container and handle ids stand as 16 raw bytes in the keys:

    cont/<uuid>                ContainerMeta
    contlabel/<label>          the uuid, raw
    contprop/<uuid>/<name>     text, UTF-8
    contattr/<uuid>/<name>     raw bytes
    contoid/<uuid>             u64 big-endian: the next object id that was never handed out
    conthdl/<uuid>/<handle>    HandleRecord
    conthdl-of/<handle>        the uuid, raw
    snap/<uuid>/<epoch>        name, UTF-8; epoch as u64 big-endian
    snapname/<uuid>/<name>     epoch, u64 big-endian

Orders that matter:
    open      handle recorded -> every target told -> answered
    snapshot  epoch drawn -> every target told that the past ends there -> recorded -> answered,
              so what a snapshot shows never changes once anyone can name it
    destroy   marked, its label free -> every target has unlinked its part -> records gone; a
              service that dies in between goes on when it opens again
Source: DAOS src/container/srv_container.c, srv_epoch.c, srv_oi_table.c; the keys are ours.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import msgspec

from daos.base.checksum import checksum_type
from daos.base.errors import (
    BusyError,
    CorruptError,
    DaosError,
    ExistsError,
    InvalidError,
    NotFoundError,
    StaleHandleError,
)
from daos.base.ids import U64_MAX
from daos.base.names import check_label, check_snapshot_name, maybe_uuid
from daos.cart.context import Rpc
from daos.cart.protocol import Procedure
from daos.container import core, wire
from daos.engine.xstream import Xstream
from daos.pool.core import check_flags, check_share, check_writable
from daos.pool.server import (
    PoolService,
    ask_targets,
    parse_record,
    prop_puts,
    read_attrs,
    write_attrs,
)
from daos.rdb.interface import (
    Delete,
    KeyValuePair,
    Put,
    absent,
    prefix_end,
    unchanged,
    value_is,
)

_CONT: Final = b"cont/"
_LABEL: Final = b"contlabel/"
_HANDLE_OF: Final = b"conthdl-of/"
_U64: Final = struct.Struct(">Q")
OIDS_MAX: Final = 1 << 32  # of one allocation

# Resuming a destroy at start has no client whose deadline could bound it.
_RESUME_NS: Final = 60 * 1_000_000_000


class ContainerMeta(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What changes of a container's existence. Epochs say when."""

    label: str
    destroying: bool
    opened: int
    modified: int


class HandleRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Through which pool handle a container was opened, and how."""

    pool_handle: bytes
    flags: str


class _Found(NamedTuple):
    uuid: bytes
    meta: ContainerMeta
    pair: KeyValuePair


class ContainerService:
    """The containers of one pool."""

    def __init__(self, xstream: Xstream, pool: PoolService) -> None:
        self._xstream = xstream
        self._pool = pool
        self._rdb = pool.rdb

    async def resume(self) -> None:
        """Finish what a service that died had begun to destroy."""
        found = await self._rdb.range(_CONT, prefix_end(_CONT))
        for pair in found.pairs:
            meta = parse_record(ContainerMeta, pair.value, "container")
            if meta.destroying:
                deadline_ns = self._xstream.clock.now_ns() + _RESUME_NS
                await self._remove(pair.key[len(_CONT) :], meta, deadline_ns=deadline_ns)

    async def evict_all(self) -> None:
        """Forget every handle: no client survived."""
        await self._rdb.txn(
            [],
            [
                Delete(b"conthdl/", prefix_end(b"conthdl/")),
                Delete(_HANDLE_OF, prefix_end(_HANDLE_OF)),
            ],
        )

    async def create(self, request: wire.CreateRequest) -> wire.ContainerRecord:
        """Record a new container; its targets learn of it at the first open."""
        await self._pool.check_handle(request.pool_handle, write=True)
        if len(request.uuid) != 16:
            raise InvalidError("a container uuid has 16 bytes")
        label = request.label
        if label:
            check_label(label, "container")
        if request.props.get("label", label) != label:
            raise InvalidError("the label is given twice, and differs")
        props = core.PROPERTIES.at_creation(request.props)
        pool_props = await self._pool.props()
        props |= {
            "label": label,
            "owner": pool_props["owner"],
            "group": pool_props["owner_group"],
        }
        key, now = _CONT + request.uuid, self._xstream.hlc.now()
        meta = ContainerMeta(label, False, 0, now)
        compares = [absent(key)]
        puts = [
            Put(key, msgspec.msgpack.encode(meta)),
            Put(b"contoid/" + request.uuid, _U64.pack(1)),
            *prop_puts(props, _prop_prefix(request.uuid)),
        ]
        if label:
            compares.append(absent(_LABEL + label.encode()))
            puts.append(Put(_LABEL + label.encode(), request.uuid))
        done = await self._rdb.txn(compares, puts)
        if not done.succeeded:
            existing = await self._rdb.range(key)
            if existing.pairs:  # a repeated request of the same client
                return wire.ContainerRecord(request.uuid, label)
            raise ExistsError(f"a container labelled {label!r} exists in this pool")
        return wire.ContainerRecord(request.uuid, label)

    async def destroy(self, request: wire.DestroyRequest, deadline_ns: int) -> None:
        """Mark, tell every target, forget. Raises: NotFoundError, BusyError."""
        await self._pool.check_handle(request.pool_handle, write=True)
        found = await self._find(request.name)
        handles = await self._handles(found.uuid)
        if handles and not request.force:
            raise BusyError(f"container {request.name!r} is open ({len(handles)} handles)")
        meta = msgspec.structs.replace(
            found.meta, destroying=True, modified=self._xstream.hlc.now()
        )
        operations: list[Put | Delete] = [
            Put(_CONT + found.uuid, msgspec.msgpack.encode(meta)),
            Delete(_handle_prefix(found.uuid), prefix_end(_handle_prefix(found.uuid))),
        ]
        if meta.label:
            operations.append(Delete(_LABEL + meta.label.encode()))
        done = await self._rdb.txn([unchanged(found.pair)], operations)
        if not done.succeeded:
            raise BusyError(f"container {request.name!r} is being changed by somebody else")
        await self._remove(found.uuid, meta, deadline_ns=deadline_ns)
        # What they point to is gone: each finds nothing by now.
        for handle in handles:
            await self._rdb.txn([], [Delete(_HANDLE_OF + handle)])

    async def open(self, request: wire.OpenRequest, rpc: Rpc) -> wire.OpenReply:
        """Record the handle, tell every target. Raises: NotFoundError, BusyError, AccessError."""
        check_flags(request.flags)
        if len(request.handle) != 16:
            raise InvalidError("a handle has 16 bytes")
        pool_handle = await self._pool.check_handle(request.pool_handle, write=False)
        check_writable(pool_handle.flags, write=request.flags != "r")
        while True:
            found = await self._find(request.name)
            others = await self._handles(found.uuid)
            others.pop(request.handle, None)
            flags = [record.flags for record in others.values()]
            check_share(request.flags, flags, f"container {request.name!r}")
            meta = msgspec.structs.replace(found.meta, opened=self._xstream.hlc.now())
            record = HandleRecord(request.pool_handle, request.flags)
            done = await self._rdb.txn(
                [unchanged(found.pair)],
                [
                    Put(_CONT + found.uuid, msgspec.msgpack.encode(meta)),
                    Put(
                        _handle_prefix(found.uuid) + request.handle,
                        msgspec.msgpack.encode(record),
                    ),
                    Put(_HANDLE_OF + request.handle, found.uuid),
                ],
            )
            if done.succeeded:
                break
        try:
            return await self._tell_open(request, found, rpc)
        except DaosError:
            await self._forget(found.uuid, request.handle)
            raise

    async def close(self, handle: bytes, rpc: Rpc) -> None:
        """Tell every target, forget the handle; a repeated close is no error."""
        found = await self._rdb.range(_HANDLE_OF + handle)
        await self._ask(wire.TGT_CLOSE, wire.TargetCloseRequest(handle), rpc)
        if found.pairs:
            await self._forget(found.pairs[0].value, handle)

    async def containers(self, pool_handle: bytes) -> wire.ListReply:
        """Every container that is not being destroyed, by label."""
        await self._pool.check_handle(pool_handle, write=False)
        found = await self._rdb.range(_CONT, prefix_end(_CONT))
        records = []
        for pair in found.pairs:
            meta = parse_record(ContainerMeta, pair.value, "container")
            if not meta.destroying:
                records.append(wire.ContainerRecord(pair.key[len(_CONT) :], meta.label))
        return wire.ListReply(tuple(sorted(records, key=lambda record: record.label)))

    async def query(self, handle: bytes) -> wire.QueryReply:
        """Numbers of one container."""
        found, _ = await self._by_handle(handle, write=False)
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

    async def props(self, handle: bytes) -> dict[str, str]:
        """All properties, in the order of the table."""
        found, _ = await self._by_handle(handle, write=False)
        values = await self._props(found.uuid)
        values["alloc_oid"] = str(await self._next_oid(found.uuid) - 1)
        return values

    async def set_props(self, request: wire.SetPropsRequest) -> None:
        """Change properties, all or nothing. Raises: InvalidError, AccessError, ExistsError."""
        found, _ = await self._by_handle(request.handle, write=True)
        changes = core.PROPERTIES.changes(request.props)
        label = changes.get("label", found.meta.label)
        meta = msgspec.structs.replace(found.meta, label=label, modified=self._xstream.hlc.now())
        compares = [unchanged(found.pair)]
        operations: list[Put | Delete] = [
            Put(_CONT + found.uuid, msgspec.msgpack.encode(meta)),
            *prop_puts(changes, _prop_prefix(found.uuid)),
        ]
        if label != found.meta.label:
            compares.append(absent(_LABEL + label.encode()))
            operations.append(Put(_LABEL + label.encode(), found.uuid))
            if found.meta.label:
                operations.append(Delete(_LABEL + found.meta.label.encode()))
        if not (await self._rdb.txn(compares, operations)).succeeded:
            raise ExistsError(f"a container labelled {label!r} exists, or this one just changed")

    async def attrs(self, request: wire.AttrsRequest) -> dict[str, bytes]:
        """User attributes. Raises: NotFoundError for a name that is not set."""
        found, _ = await self._by_handle(request.handle, write=False)
        return await read_attrs(self._rdb, _attr_prefix(found.uuid), request.names)

    async def set_attrs(self, request: wire.SetAttrsRequest) -> None:
        """Set and delete user attributes, all or nothing."""
        found, _ = await self._by_handle(request.handle, write=True)
        await write_attrs(self._rdb, _attr_prefix(found.uuid), request.put, request.delete)

    async def snapshot(self, request: wire.SnapshotCreateRequest, rpc: Rpc) -> wire.SnapshotRecord:
        """End the past at a new epoch, everywhere, then record it. Raises: ExistsError."""
        found, _ = await self._by_handle(request.handle, write=True)
        name_key = _snap_name(found.uuid, request.name)
        if request.name:
            check_snapshot_name(request.name)
            if (await self._rdb.range(name_key)).pairs:
                raise ExistsError(f"a snapshot named {request.name!r} exists")
        epoch = self._xstream.hlc.now()
        await self._ask(
            wire.TGT_SNAPSHOT,
            wire.TargetSnapshotRequest(self._pool.uuid.bytes, found.uuid, epoch),
            rpc,
        )
        key = _snap_prefix(found.uuid) + _U64.pack(epoch)
        compares, puts = [absent(key)], [Put(key, request.name.encode())]
        if request.name:
            compares.append(absent(name_key))
            puts.append(Put(name_key, _U64.pack(epoch)))
        if not (await self._rdb.txn(compares, puts)).succeeded:
            raise ExistsError(f"a snapshot named {request.name!r} exists")
        return wire.SnapshotRecord(epoch, request.name)

    async def snapshots(self, handle: bytes) -> wire.SnapshotListReply:
        """All snapshots, oldest first."""
        found, _ = await self._by_handle(handle, write=False)
        return wire.SnapshotListReply(tuple(await self._snapshots(found.uuid)))

    async def destroy_snapshot(self, request: wire.SnapshotDestroyRequest) -> None:
        """Forget a snapshot, by epoch or name. Raises: NotFoundError."""
        found, _ = await self._by_handle(request.handle, write=True)
        for snapshot in await self._snapshots(found.uuid):
            if snapshot.epoch == request.epoch or (
                not request.epoch and request.name and snapshot.name == request.name
            ):
                break
        else:
            what = f"epoch {request.epoch:#x}" if request.epoch else f"name {request.name!r}"
            raise NotFoundError(f"the container has no snapshot with {what}")
        operations = [Delete(_snap_prefix(found.uuid) + _U64.pack(snapshot.epoch))]
        if snapshot.name:
            operations.append(Delete(_snap_name(found.uuid, snapshot.name)))
        await self._rdb.txn([], operations)

    async def alloc_oids(self, request: wire.AllocOidsRequest) -> int:
        """A range of object ids nobody else gets, also not after a restart."""
        found, _ = await self._by_handle(request.handle, write=True)
        if not 0 < request.count <= OIDS_MAX:
            raise InvalidError(f"one allocation takes 1 to {OIDS_MAX} ids, not {request.count}")
        key = b"contoid/" + found.uuid
        while True:
            first = await self._next_oid(found.uuid)
            if first + request.count > U64_MAX:
                raise InvalidError("the container has no object ids left")
            done = await self._rdb.txn(
                [value_is(key, _U64.pack(first))],
                [Put(key, _U64.pack(first + request.count))],
            )
            if done.succeeded:
                return first

    async def _tell_open(
        self, request: wire.OpenRequest, found: _Found, rpc: Rpc
    ) -> wire.OpenReply:
        props = await self._props(found.uuid)
        snapshots = await self._snapshots(found.uuid)
        kind, chunk = checksum_type(props["cksum"]), int(props["cksum_size"])
        await self._ask(
            wire.TGT_OPEN,
            wire.TargetOpenRequest(
                self._pool.uuid.bytes,
                found.uuid,
                request.handle,
                request.flags != "r",
                kind,
                chunk,
                snapshots[-1].epoch if snapshots else 0,
            ),
            rpc,
        )
        return wire.OpenReply(
            found.uuid,
            found.meta.label,
            kind,
            chunk,
            int(props["rd_fac"]),
            int(props["rd_lvl"]),
        )

    async def _remove(self, uuid: bytes, meta: ContainerMeta, *, deadline_ns: int) -> None:
        await ask_targets(
            self._xstream,
            self._pool.endpoints,
            wire.TGT_DESTROY,
            wire.TargetDestroyRequest(self._pool.uuid.bytes, uuid),
            deadline_ns=deadline_ns,
            trace_id=0,
        )
        ranges = (
            _prop_prefix(uuid),
            _attr_prefix(uuid),
            _snap_prefix(uuid),
            _snap_name(uuid, ""),
        )
        await self._rdb.txn(
            [],
            [
                *(Delete(prefix, prefix_end(prefix)) for prefix in ranges),
                Delete(b"contoid/" + uuid),
                Delete(_CONT + uuid),
            ],
        )

    async def _forget(self, uuid: bytes, handle: bytes) -> None:
        await self._rdb.txn(
            [], [Delete(_handle_prefix(uuid) + handle), Delete(_HANDLE_OF + handle)]
        )

    async def _ask(self, procedure: Procedure, request: msgspec.Struct, rpc: Rpc) -> None:
        await ask_targets(
            self._xstream,
            self._pool.endpoints,
            procedure,
            request,
            deadline_ns=rpc.deadline_ns,
            trace_id=rpc.trace_id,
        )

    async def _find(self, name: str) -> _Found:
        uuid = maybe_uuid(name)
        raw = uuid.bytes if uuid else b""
        if not raw:
            found = await self._rdb.range(_LABEL + name.encode()[:1024])
            raw = found.pairs[0].value if found.pairs else b""
        record = await self._record(raw) if raw else None
        if record is None or record.meta.destroying:
            raise NotFoundError(f"container {name!r} not found in this pool")
        return record

    async def _by_handle(self, handle: bytes, *, write: bool) -> tuple[_Found, HandleRecord]:
        pairs = (await self._rdb.range(_HANDLE_OF + handle)).pairs
        record = await self._record(pairs[0].value) if pairs else None
        held = (await self._handles(record.uuid)).get(handle) if record else None
        if record is None or held is None:
            raise StaleHandleError("the container handle is closed or was evicted")
        check_writable(held.flags, write=write)
        return record, held

    async def _record(self, uuid: bytes) -> _Found | None:
        pairs = (await self._rdb.range(_CONT + uuid)).pairs
        if not pairs:
            return None
        meta = parse_record(ContainerMeta, pairs[0].value, "container")
        return _Found(uuid, meta, pairs[0])

    async def _handles(self, uuid: bytes) -> dict[bytes, HandleRecord]:
        prefix = _handle_prefix(uuid)
        found = await self._rdb.range(prefix, prefix_end(prefix))
        return {
            pair.key[len(prefix) :]: parse_record(HandleRecord, pair.value, "container handle")
            for pair in found.pairs
        }

    async def _snapshots(self, uuid: bytes) -> list[wire.SnapshotRecord]:
        prefix = _snap_prefix(uuid)
        found = await self._rdb.range(prefix, prefix_end(prefix))
        return [
            wire.SnapshotRecord(_u64(pair.key[len(prefix) :], "snapshot"), pair.value.decode())
            for pair in found.pairs
        ]

    async def _props(self, uuid: bytes) -> dict[str, str]:
        prefix = _prop_prefix(uuid)
        found = await self._rdb.range(prefix, prefix_end(prefix))
        values = {pair.key[len(prefix) :].decode(): pair.value.decode() for pair in found.pairs}
        return {entry.name: values[entry.name] for entry in core.PROPERTIES.properties}

    async def _next_oid(self, uuid: bytes) -> int:
        pairs = (await self._rdb.range(b"contoid/" + uuid)).pairs
        return _u64(pairs[0].value if pairs else b"", "object id counter")


def _prop_prefix(uuid: bytes) -> bytes:
    return b"contprop/" + uuid + b"/"


def _attr_prefix(uuid: bytes) -> bytes:
    return b"contattr/" + uuid + b"/"


def _handle_prefix(uuid: bytes) -> bytes:
    return b"conthdl/" + uuid + b"/"


def _snap_prefix(uuid: bytes) -> bytes:
    return b"snap/" + uuid + b"/"


def _snap_name(uuid: bytes, name: str) -> bytes:
    return b"snapname/" + uuid + b"/" + name.encode()


def _u64(raw: bytes, what: str) -> int:
    if len(raw) != _U64.size:
        raise CorruptError(f"{what} record", offset=0, want=_U64.size, got=len(raw))
    value: int = _U64.unpack(raw)[0]
    return value

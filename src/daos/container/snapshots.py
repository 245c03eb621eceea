"""Snapshots of the containers of one pool, and the versions that are kept for them.

    targets' clocks heard -> epoch drawn -> every target told that the past ends there, and is kept
    (one that aggregates across it refuses: another is drawn) -> recorded -> targets told that it
    is -> answered

So what a snapshot shows never changes once anyone can name it. A target learns which snapshots
there are when it first meets a handle of the container (capability.py), at every change, and when
services or targets start; the store's revision tells newer from older. A target without a part of
the container has nothing to keep.

From the message that ends the past until the one that tells its fate, a target aggregates nothing
beyond an epoch. Each `Kept` tells the fate of all epochs that were drawn before it was made. If one
does not reach a target, or the service has died in between, that is owed: targets are asked where
they wait, and told, until all have answered.

Source: DAOS src/container/srv_epoch.c.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

from daos.base.errors import (
    DER,
    DaosError,
    ExistsError,
    InvalidError,
    NotFoundError,
)
from daos.base.ids import U64_MAX, Epoch
from daos.base.names import check_snapshot_name
from daos.cart.context import Endpoint, Rpc
from daos.container import records, wire
from daos.container.store import ContainerStore
from daos.engine.collective import ask_targets
from daos.pool.records import (
    parse_text,
)
from daos.pool.wire import (
    Empty,
    HandleRequest,
)
from daos.rdb.interface import (
    Compare,
    Delete,
    Put,
    absent,
    prefix_end,
)

log = logging.getLogger(__name__)


class SnapshotService(ContainerStore):
    """Answers requests about snapshots and versions."""

    async def snapshot(self, rpc: Rpc[wire.SnapshotCreateRequest]) -> wire.SnapshotRecord:
        """End the past at a new epoch, everywhere, then record it. Raises: ExistsError."""
        request = rpc.request
        found = await self._by_handle(request.handle, write=True)
        name_key = records.snap_name(found.uuid, request.name)
        if request.name:
            check_snapshot_name(request.name)
            await self._check_new_snapshot(name_key, request.name)
        epoch = await self._end_past(rpc, found.uuid)
        try:
            await self._record_snapshot(request, epoch, name_key)
        finally:  # the targets keep it until they know whether it exists
            await self._settle(found.uuid, epoch)
        return wire.SnapshotRecord(epoch, request.name)

    async def _end_past(self, rpc: Rpc[wire.SnapshotCreateRequest], uuid: bytes) -> Epoch:
        """An epoch that is the past on every target, none of which aggregates across it."""
        # The answers bring our clock past all that targets have acknowledged: theirs may be ahead.
        hear = wire.TargetKeepRequest(self._pool.uuid.bytes, uuid, await self._kept(uuid))
        await self._ask(wire.TGT_KEEP, hear, deadline_ns=rpc.deadline_ns, trace_id=rpc.trace_id)
        while True:
            epoch = self._xstream.hlc.now()
            # Whoever starts now hears of it, too.
            self._making.setdefault(uuid, set()).add(epoch)
            request = wire.TargetSnapshotRequest(self._pool.uuid.bytes, uuid, epoch)
            try:
                await self._ask(
                    wire.TGT_SNAPSHOT, request, deadline_ns=rpc.deadline_ns, trace_id=rpc.trace_id
                )
            except DaosError as error:
                await self._settle(uuid, epoch)
                # By now the clock is past what the target that refused is aggregating.
                if error.code != DER.EP_OLD:
                    raise
            else:
                return epoch

    async def _record_snapshot(
        self, request: wire.SnapshotCreateRequest, epoch: Epoch, name_key: bytes
    ) -> None:
        while True:
            found = await self._by_handle(request.handle, write=True)
            compares = list[Compare]()
            puts = [Put(records.snap_key(found.uuid, epoch), request.name.encode())]
            if request.name:
                compares.append(absent(name_key))
                puts.append(Put(name_key, records.emit_u64(epoch)))
            if await self._change(found, compares, puts):
                return
            if request.name:
                await self._check_new_snapshot(name_key, request.name)

    async def snapshots(self, rpc: Rpc[HandleRequest]) -> wire.SnapshotListReply:
        """All snapshots, oldest first."""
        found = await self._by_handle(rpc.request.handle, write=False)
        return wire.SnapshotListReply(tuple(await self._snapshots(found.uuid)))

    async def destroy_snapshot(self, rpc: Rpc[wire.SnapshotDestroyRequest]) -> Empty:
        """Forget a snapshot, by epoch or name. Raises: NotFoundError."""
        request = rpc.request
        while True:
            found = await self._by_handle(request.handle, write=True)
            snapshot = _choose(await self._snapshots(found.uuid), request)
            operations = [Delete(records.snap_key(found.uuid, snapshot.epoch))]
            if snapshot.name:
                operations.append(Delete(records.snap_name(found.uuid, snapshot.name)))
            if await self._change(found, [], operations):
                await self._tell_kept(found.uuid)
                return Empty()

    async def aggregate(self, rpc: Rpc[wire.AggregateRequest]) -> Empty:
        """Have every target forget the versions that no snapshot needs. Raises: InvalidError."""
        request = rpc.request
        if not 0 <= request.epoch <= U64_MAX:
            raise InvalidError(f"epoch {request.epoch} is not a u64")
        found = await self._by_handle(request.handle, write=True)
        await self._ask(
            wire.TGT_AGGREGATE,
            wire.TargetAggregateRequest(self._pool.uuid.bytes, found.uuid, request.epoch),
            deadline_ns=rpc.deadline_ns,
            trace_id=rpc.trace_id,
        )
        return Empty()

    def owe_fates(self) -> None:
        """Let `tell_fates` be done later."""
        self._owe.tell_fates()

    async def tell_fates(self) -> None:
        """Tell each target that waits for the fate of a snapshot. Raises: the first one's error."""
        failed: DaosError | None = None
        for endpoint in self._pool.endpoints:
            try:
                await self._tell_fates(endpoint)
            except DaosError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    async def _tell_fates(self, endpoint: Endpoint) -> None:
        # The answer brings our clock past every epoch that it knows: so `drawn` is newer than they.
        (pending,) = await ask_targets(
            self._xstream,
            [endpoint],
            wire.TGT_PENDING,
            wire.TargetPendingRequest(self._pool.uuid.bytes),
            deadline_ns=self._own_deadline_ns(),
            trace_id=0,
        )
        for uuid in pending.containers:
            with contextlib.suppress(NotFoundError):  # it was destroyed
                await self._ask_to_keep(uuid, to=[endpoint])

    async def _kept(self, uuid: bytes) -> wire.Kept:
        """The snapshots there are and may be, as targets have to know them."""
        # Before the store is read: what is not in the making by now is there, or never will be.
        making, drawn = tuple(sorted(self._making.get(uuid, ()))), self._xstream.hlc.now()
        prefix = records.snap_prefix(uuid)
        found = await self._rdb.range(prefix, prefix_end(prefix))
        epochs = tuple(
            records.parse_u64(pair.key[len(prefix) :], "snapshot") for pair in found.pairs
        )
        reclaim = (await self._pool.props())["reclaim"]
        return wire.Kept(epochs, found.revision, reclaim, making, drawn)

    async def _settle(self, uuid: bytes, epoch: Epoch) -> None:
        """A snapshot of this epoch is recorded, or never will be: tell the targets."""
        making = self._making.get(uuid, set())
        making.discard(epoch)
        if not making:
            self._making.pop(uuid, None)
        await self._tell_kept(uuid)

    async def _tell_kept(self, uuid: bytes) -> None:
        """Tell every target which snapshots there are; whoever can't be reached now, later."""
        try:
            await self._ask_to_keep(uuid)
        except DaosError as error:
            log.info("snapshots are not told pool=%s error=%s", self._pool.uuid, error)
            self.owe_fates()

    async def _ask_to_keep(self, uuid: bytes, *, to: Sequence[Endpoint] = ()) -> None:
        request = wire.TargetKeepRequest(self._pool.uuid.bytes, uuid, await self._kept(uuid))
        deadline_ns = self._own_deadline_ns()
        await self._ask(wire.TGT_KEEP, request, deadline_ns=deadline_ns, trace_id=0, to=to)

    async def kept(self, uuid: bytes) -> wire.Kept:
        """What must be kept of a container, for who meets it. Raises: NotFoundError"""
        if await self._record(uuid) is None:
            raise NotFoundError("the container was destroyed")
        return await self._kept(uuid)

    async def tell_all_kept(self, endpoints: Sequence[Endpoint] = ()) -> None:
        """Tell targets, all or those given, what to keep of every container.

        They aggregate no container that they know nothing of. Whoever can't be reached hears of
        them when it joins again.
        """
        for uuid, meta in (await self._containers()).items():
            if meta.destroying:
                continue
            try:
                await self._ask_to_keep(uuid, to=endpoints)
            except DaosError as error:
                log.debug("container is not told pool=%s error=%s", self._pool.uuid, error)

    async def _snapshots(self, uuid: bytes) -> list[wire.SnapshotRecord]:
        prefix = records.snap_prefix(uuid)
        found = await self._rdb.range(prefix, prefix_end(prefix))
        return [
            wire.SnapshotRecord(
                records.parse_u64(pair.key[len(prefix) :], "snapshot"),
                parse_text(pair.value, "snapshot name"),
            )
            for pair in found.pairs
        ]

    async def _check_new_snapshot(self, name_key: bytes, name: str) -> None:
        if (await self._rdb.range(name_key)).pairs:
            raise ExistsError(f"a snapshot named {name!r} exists")


def _choose(
    snapshots: Sequence[wire.SnapshotRecord], request: wire.SnapshotDestroyRequest
) -> wire.SnapshotRecord:
    """The snapshot of that epoch, or where it is 0 of that name. Raises: NotFoundError."""
    for snapshot in snapshots:
        if request.epoch:
            if snapshot.epoch == request.epoch:
                return snapshot
        elif request.name and snapshot.name == request.name:
            return snapshot
    what = f"epoch {request.epoch:#x}" if request.epoch else f"name {request.name[:128]!r}"
    raise NotFoundError(f"the container has no snapshot with {what}")

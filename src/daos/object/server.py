"""Object requests on the target that owns the shard; call-backs, no task a message.

An update, from its header to its reply (steps of `docs/design` "life of a write"):

    land    handle and rights, arguments, space held, medium chosen, memory reserved
            -> the payload's bytes land in that memory
    handle  checksums compared; epoch from the target's clock; existence, conditions, values:
            one local transaction in the open WAL group; an epoch that came too late is followed by
            a newer one, once
    reply   when that group is durable

A fetch reads, verifies and answers once the log is durable up to everything it saw: a value, a
miss, a failed condition alike. So does an error that depends on stored state
(`error.lsn`). Nothing here decides what a request means: `core` and `vos` do.
What only asks what there is: `enumeration`.
Source: DAOS src/object/srv_obj.c ds_obj_rw_handler, ds_obj_punch_handler.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import msgspec

from daos.base.checksum import ChecksumType, compute, slice_bytes
from daos.base.errors import (
    DER,
    AgainError,
    ChecksumError,
    DaosError,
    DeadlineError,
    InProgressError,
    InvalidError,
    ShutdownError,
    StaleHandleError,
    TxRestartError,
)
from daos.base.ids import Epoch, Lsn, UnitOid
from daos.cart.context import Rpc
from daos.engine.offload import worth_bytes
from daos.engine.target import ContainerHandle, Target
from daos.object import core, wire
from daos.object.address import check_new_epoch, read_epoch, storable, unit_of
from daos.object.comparison import Comparison
from daos.object.large import FEW_PIECES, Executed, answer, answered_otherwise
from daos.vos.fetch import PATIENCE, Fetch
from daos.vos.hashing import HASHED_MIN
from daos.vos.update import Update

log = logging.getLogger(__name__)


class ObjectService:
    """What one target answers."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._hlc = target.xstream.hlc
        self._now_ns = target.xstream.clock.now_ns
        self._offload = target.xstream.offload
        self._hashed_min = HASHED_MIN
        self._worth_bytes = slice_bytes
        if self._offload is not None:
            self._hashed_min, self._worth_bytes = worth_bytes(ChecksumType.SHA256), worth_bytes

    # Updates

    def land_update(self, rpc: Rpc) -> Sequence[memoryview] | None:
        """Check the request, hold space, and say where the payload goes; None: no need for it."""
        request: wire.UpdateRequest = rpc.request
        address = request.address
        handle = self._target.handle(address.handle, address.pool, write=True)
        if address.map_version != handle.shard.map_version:
            self._target.check_map(handle.shard, address.map_version)
        unit = storable(address.oid_hi, address.oid_lo, address.shard)
        if request.cond or len(request.iods) != 1 or unit.oid.hi >> 56 in core.FLAT_TYPES:
            core.check_update(unit.oid, request.dkey, request.iods, request.cond)
        if address.epoch:
            check_new_epoch(address)
        try:
            if request.resend and self._answer_again(rpc, handle):
                return None
            return self._reserve(rpc, handle, unit)
        except DaosError as failure:
            refusal = self._target.relieved(handle, failure)
            _failed(rpc, handle, refusal)
            raise refusal from failure.__cause__

    def _reserve(self, rpc: Rpc, handle: ContainerHandle, unit: UnitOid) -> Sequence[memoryview]:
        request: wire.UpdateRequest = rpc.request
        update = handle.container.update_begin(
            unit,
            request.dkey,
            request.iods,
            cond=request.cond,
            csum_type=handle.stored_type,
            csum_chunk=handle.checksum_chunk,
        )
        bulk = request.bulk
        nbytes = rpc.header.payload_size + (bulk.nbytes if bulk is not None else 0)
        if update.nbytes != nbytes:
            handle.container.update_cancel(update)
            raise DaosError(
                f"the descriptors name {update.nbytes} bytes, the payload has {nbytes}",
                code=DER.IO_INVAL,
            )
        rpc.land_state = (handle, update)
        rpc.abort = lambda: handle.container.update_cancel(update)
        return update.destinations if bulk is None else ()

    def update(self, rpc: Rpc) -> None:
        """The payload has landed, or is read from the client's memory now."""
        request: wire.UpdateRequest = rpc.request
        if request.bulk is None:
            self._landed(rpc)
            return
        self._target.xstream.context.bulk.get(
            request.bulk,
            rpc.land_state[1].destinations,
            via=rpc,
            deadline_ns=rpc.deadline_ns,
            trace_id=rpc.trace_id,
            done=lambda error: self._pulled(rpc, error),
        )

    def _pulled(self, rpc: Rpc, error: DaosError | None) -> None:
        handle, update = rpc.land_state
        if error is None:
            self._landed(rpc)
        else:
            self._update(rpc, handle, update, error)

    def _landed(self, rpc: Rpc) -> None:
        """Make the payload visible, answer when it is durable."""
        handle, update = rpc.land_state
        if update.nbytes >= handle.shard.meta.early_bytes:
            checksums: tuple[bytes, ...] = rpc.request.checksums
            known = handle.checksum_type is ChecksumType.XXH3 and len(checksums) == 1
            data_sum = int.from_bytes(checksums[0], "little") if known else None
            handle.container.update_landed(update, data_sum)  # before it is compared
        if update.nbytes > self._hashed_min:
            kind = handle.checksum_type
            steps = handle.container.update_hash(update, kind, self._worth_bytes)
            if steps is not None:
                if self._offload is None:
                    self._hash(rpc, steps)
                else:
                    self._offload.run(steps, lambda error: self._hashed_elsewhere(rpc, error))
                return
        self._hashed(rpc)

    def _hash(self, rpc: Rpc, steps: Iterator[None]) -> None:
        """One step, and then the turn of others."""
        try:
            next(steps)
        except StopIteration:
            self._hashed(rpc)
        except DaosError as failure:  # no ISA-L
            self._hashed_elsewhere(rpc, failure)
        else:
            self._target.xstream.loop.call_soon(self._hash, rpc, steps)

    def _hashed_elsewhere(self, rpc: Rpc, failure: DaosError | None) -> None:
        if failure is None:
            self._hashed(rpc)
            return
        handle, update = rpc.land_state
        handle.container.update_cancel(update)
        _refuse_change(rpc, handle, failure)

    def _hashed(self, rpc: Rpc) -> None:
        handle, update = rpc.land_state
        if handle.container.dedup is not None:
            try:
                matches = handle.container.dedup_matches(update)
            except DaosError as failure:  # damage in the tree
                handle.container.update_cancel(update)
                _refuse_change(rpc, handle, failure)
                return
            if matches:
                loop = self._target.xstream.loop
                Comparison(loop, handle.shard.meta, matches, lambda: self._when_room(rpc))
                return
        self._when_room(rpc)

    def _when_room(self, rpc: Rpc) -> None:
        handle, update = rpc.land_state
        meta = handle.shard.meta
        if not meta.log_has_room:
            meta.when_room(lambda error: self._update(rpc, handle, update, error))
            return
        self._update(rpc, handle, update, None)

    def _update(
        self, rpc: Rpc, handle: ContainerHandle, update: Update, error: DaosError | None
    ) -> None:
        request: wire.UpdateRequest = rpc.request
        container = handle.container
        try:
            self._check_again(rpc, handle)
            if request.dtx and self._answer_again(rpc, handle):  # whatever became of this copy
                container.update_cancel(update)
                return
            if error is not None:
                raise error
            _verify(handle.checksum_type, update, request.checksums)
            epoch = self._hlc.now()
            try:
                lsn = container.update_end(update, epoch, dtx=request.dtx)
            except TxRestartError as late:
                again = partial(container.update_end, update, dtx=request.dtx)
                epoch, lsn = self._restart(late, request.cond, again)
        except DaosError as failure:
            container.update_cancel(update)
            _refuse_change(rpc, handle, self._target.relieved(handle, failure))
            return
        self._executed(rpc, handle, epoch, lsn)

    def punch(self, rpc: Rpc) -> None:
        """Hide an object, a dkey or akeys from now on."""
        request: wire.PunchRequest = rpc.request
        address = request.address
        handle = self._target.handle(address.handle, address.pool, write=True)
        if address.map_version != handle.shard.map_version:
            self._target.check_map(handle.shard, address.map_version)
        unit = unit_of(request.address)
        core.check_supported(unit.oid)
        core.check_punch(unit.oid, request.dkey, request.akeys, request.cond)
        check_new_epoch(request.address)
        meta = handle.shard.meta
        if not meta.log_has_room:
            meta.when_room(lambda error: self._punch(rpc, handle, error))
            return
        self._punch(rpc, handle, None)

    def _punch(self, rpc: Rpc, handle: ContainerHandle, error: DaosError | None) -> None:
        request: wire.PunchRequest = rpc.request
        try:
            self._check_again(rpc, handle)
            if request.dtx and self._answer_again(rpc, handle):
                return
            if error is not None:
                raise error
            punch = partial(
                handle.container.punch,
                unit_of(request.address),
                dkey=request.dkey or None,
                akeys=request.akeys,
                cond=request.cond,
                unchanged_since=request.unchanged_since,
                dtx=request.dtx,
            )
            epoch = self._hlc.now()
            try:
                lsn = punch(epoch)
            except TxRestartError as late:
                epoch, lsn = self._restart(late, request.cond, punch)
        except DaosError as failure:
            _refuse_change(rpc, handle, self._target.relieved(handle, failure))
            return
        self._executed(rpc, handle, epoch, lsn)

    # Copies of what was executed

    def _answer_again(self, rpc: Rpc, handle: ContainerHandle) -> bool:
        """Answer a copy of an executed request with its epoch; False if this is the first.

        Raises: InvalidError; DaosError DER_EP_OLD, DER_OP_CANCELED, as `DtxTable.find`
        """
        epoch = handle.container.dtxs.find(rpc.request.dtx, rpc.request.resend)
        if epoch is None:
            return False
        # The first one may be on its way to the device still; nothing was committed later than now.
        self._executed(rpc, handle, epoch, handle.shard.meta.lsn_last)
        return True

    def _executed(self, rpc: Rpc, handle: ContainerHandle, epoch: Epoch, lsn: Lsn) -> None:
        """Answer a modification once it is durable."""
        if handle.container.crowded:
            self._target.relieve(handle)
        handle.shard.meta.when_durable(lsn, Executed(rpc, epoch).durable)
        if handle.container.dtxs.due(epoch):
            self._target.xstream.loop.call_soon(self._trim, handle)

    def _trim(self, handle: ContainerHandle) -> None:
        """Forget the oldest outcomes, a step now, the next in a later turn of the loop.

        An error ends it: the next modifications come here again.
        """
        meta, container = handle.shard.meta, handle.container
        if container.destroyed or not meta.log_has_room:
            return
        try:
            if container.dtxs.trim(meta, self._hlc.now()):
                self._target.xstream.loop.call_soon(self._trim, handle)
        except (AgainError, ShutdownError):
            return
        except DaosError as failure:
            log.warning("outcomes stay container=%s error=%s", container.uuid, failure)

    def _restart(
        self, late: TxRestartError, cond: int, again: Callable[[Epoch], Lsn]
    ) -> tuple[Epoch, Lsn]:
        """Try once more, with a newer epoch: one of somebody else's had come in between.

        Only what has no condition; all else is for the client to come with again, in a moment.

        Raises:     InProgressError, and what `again` raises
        Source:     DAOS src/object/srv_obj.c ds_obj_rw_handler, obj_handle_tx_restart; internals
                    §4.2 of the reference
        """
        if cond:
            raise _not_now(late)
        epoch = self._hlc.now()
        log.info("restarted epoch=%d reason=%s", epoch, late)
        try:
            return epoch, again(epoch)
        except TxRestartError as later:
            raise _not_now(later) from late

    # Fetches

    def fetch(self, rpc: Rpc) -> None:
        """Find the records; once what was seen is durable, read, verify and answer."""
        request: wire.FetchRequest = rpc.request
        address = request.address
        handle = self._target.handle(address.handle, address.pool, write=False)
        if address.map_version != handle.shard.map_version:
            self._target.check_map(handle.shard, address.map_version)
        unit = unit_of(address)
        iods = request.iods
        if len(iods) != 1 or iods[0].recxs or unit.oid.hi >> 56 in core.FLAT_TYPES:
            core.check_fetch(unit.oid, request.dkey, iods, request.cond)
        if request.bulk is not None or request.room:
            core.check_room(iods, request.room, request.bulk)
        epoch = read_epoch(request.address, self._hlc)
        container = handle.container
        try:
            fetch = container.fetch_begin(
                unit, request.dkey, request.iods, epoch, cond=request.cond, patience=PATIENCE
            )
        except DaosError as failure:
            _refuse(rpc, handle, failure)
            return
        if fetch.asked is not None:
            self._find(rpc, handle, (fetch, epoch), container.fetch_find(fetch))
            return
        self._found(rpc, handle, fetch, epoch)

    def _find(
        self,
        rpc: Rpc,
        handle: ContainerHandle,
        at: tuple[Fetch, Epoch],
        steps: Iterator[None],
    ) -> None:
        """One step of a long search, and then the turn of others."""
        try:
            next(steps)
        except StopIteration:
            self._found(rpc, handle, *at)
        except DaosError as failure:
            handle.container.fetch_end(at[0])
            _refuse(rpc, handle, failure)
        else:
            self._target.xstream.loop.call_soon(self._find, rpc, handle, at, steps)

    def _found(self, rpc: Rpc, handle: ContainerHandle, fetch: Fetch, epoch: Epoch) -> None:
        request: wire.FetchRequest = rpc.request
        container = handle.container
        if request.size_only or not fetch.nbytes:
            container.fetch_end(fetch)
            reply = wire.FetchReply(epoch, tuple(fetch.sizes))
            answer(rpc, handle, fetch.lsn, lambda: rpc.reply(reply))
            return
        if (
            fetch.nbytes > wire.BORROW_MIN or len(fetch.pieces) > FEW_PIECES
        ) and answered_otherwise(self._target.xstream, rpc, handle, fetch, epoch=epoch):
            return
        # Not read before that: what was committed last is on its way to the device.
        handle.shard.meta.when_durable(fetch.lsn, _Fetching(rpc, handle, fetch, epoch).durable)

    def _check_again(self, rpc: Rpc, handle: ContainerHandle) -> None:
        """Before anything changes: the handle still names this container, somebody still waits.

        Raises: as `Target.handle`; DeadlineError
        """
        address = rpc.request.address
        now = self._target.handle(address.handle, address.pool, write=True)
        if now.container is not handle.container:
            raise StaleHandleError("the container handle was closed and opened again")
        if rpc.header.deadline_ns <= self._now_ns():
            raise DeadlineError("the request's deadline passed before it was executed")


class _Fetching(msgspec.Struct, eq=False):
    """A fetch with a payload, from the moment its records were found."""

    rpc: Rpc
    handle: ContainerHandle
    fetch: Fetch
    epoch: Epoch

    def durable(self, error: DaosError | None) -> None:
        """What was seen cannot be taken back: now read it."""
        if error is None:
            try:
                self.handle.container.fetch_read(self.fetch, self.read)
            except DaosError as failure:  # no memory
                error = failure
        if error is not None:
            self._fail(error)

    def read(self, error: DaosError | None) -> None:
        """It is in memory, verified: reply."""
        if error is not None:
            self._fail(error)
            return
        fetch, kind = self.fetch, self.handle.checksum_type
        views, found = fetch.views, fetch.pieces
        checksums: tuple[bytes, ...] = ()
        if kind is not ChecksumType.OFF:
            stored = fetch.stored_csum(kind)
            if stored is not None:
                checksums = (stored,)
            else:
                checksums = tuple([compute(kind, view) for view in views])
        pieces = _ONE_VALUE
        if len(found) != 1 or found[0] != (0, 0, 0, 1):
            pieces = tuple([wire.Piece(*piece) for piece in found])
        self.rpc.reply(
            wire.FetchReply(self.epoch, tuple(fetch.sizes), pieces, checksums),
            views,
            sent=self.sent,
        )

    def sent(self) -> None:
        """Blocks and memory are free again."""
        self.handle.container.fetch_end(self.fetch)

    def _fail(self, error: DaosError) -> None:
        self.handle.container.fetch_end(self.fetch)
        self.rpc.fail(error)


# The piece of a single value, or of one record.
_ONE_VALUE: Final[tuple[wire.Piece, ...]] = (wire.Piece(0, 0, 0, 1),)


def _not_now(late: TxRestartError) -> InProgressError:
    error = InProgressError(str(late))
    error.lsn = late.lsn
    return error


def _verify(checksum_type: ChecksumType, update: Update, checksums: Sequence[bytes]) -> None:
    values = update.destinations
    expected = 0 if checksum_type is ChecksumType.OFF else len(values)
    if len(checksums) != expected:
        raise InvalidError(f"{len(checksums)} checksums came; this container has {expected}")
    if not expected:
        return
    came = update.way or [compute(checksum_type, value) for value in values]
    for index, (got, checksum) in enumerate(zip(came, checksums, strict=True)):
        if got != checksum:
            raise ChecksumError(f"value {index} of the update was damaged on its way")


def _refuse_change(rpc: Rpc, handle: ContainerHandle, error: DaosError) -> None:
    """`_refuse`, of a modification."""
    _failed(rpc, handle, error)
    _refuse(rpc, handle, error)


def _failed(rpc: Rpc, handle: ContainerHandle, error: DaosError) -> None:
    """Its client may take this for the end: then no earlier copy must be executed either."""
    if not isinstance(error, (AgainError, InProgressError)):
        handle.container.dtxs.failed(rpc.request.dtx, rpc.request.resend)


def _refuse(rpc: Rpc, handle: ContainerHandle, error: DaosError) -> None:
    """Fail once what the error tells of the store can't be taken back by a power cut."""
    answer(rpc, handle, Lsn(error.lsn), lambda: rpc.fail(error))

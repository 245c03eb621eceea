"""Update: values of one or more akeys of a dkey, all or nothing.

    begin    check arguments -> hold space -> choose media -> reserve blocks -> memory to land in
             nothing is visible, nothing of the tree was looked at
    (bytes)  the caller fills `destinations`
    end      conditions and incarnation logs down the path, values, one transaction
    cancel   everything back; also what `end` does when it fails

State of an update:

    OPEN --end--> ENDED (memory is given back when the log is durable)
      +---end at an epoch that came too late (TX_RESTART)--> OPEN, to be ended at a newer one
      +---cancel, end that failed otherwise--> CANCELED

Record size 0 punches: the single value, or the ranges of an array.

Invariants:
    U1  `begin` or `cancel` change nothing that anybody could see
    U2  the checks of `end` are complete before its first put to the tree
    U3  every value is stored with a checksum: the container's type, or XXH3 where it has none
Source: DAOS src/vos/vos_io.c vos_update_begin, vos_update_end.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

from daos.base.checksum import ChecksumType, compute, compute_chunks, xxh3
from daos.base.errors import (
    DER,
    AccessError,
    DaosError,
    ExistsError,
    InvalidError,
    NotFoundError,
    RecordTooBigError,
    TxRestartError,
)
from daos.base.ids import EPOCH_MAX, Epoch, KeyKind, Lsn, UnitOid
from daos.base.iod import Cond, Iod, IodType
from daos.bio.descriptor import UpdateDescriptor
from daos.bio.device import BLOCK
from daos.bio.meta import Hold
from daos.bio.one_value import OneValue
from daos.bio.space import Extent
from daos.vos import extents, ilog_view, keys
from daos.vos.arguments import (
    AKEY_COND,
    DKEY_INSERT,
    DKEY_UPDATE,
    PER_AKEY,
    SINGLE,
    VALUE_BYTES,
    check_update,
    plan_plain,
    plan_values,
)
from daos.vos.conflicts import asked_of, refuse_doubt
from daos.vos.dedup import DEDUP_BYTES, eligible, release, resolve
from daos.vos.dtx_table import DTX_BYTES
from daos.vos.edit import Edit, PlaceFields, changed
from daos.vos.extents import ExtentRecord
from daos.vos.ilog import EMPTY, MINOR_MAX, emit_created
from daos.vos.ilog_view import ROOT, Condition, IlogView
from daos.vos.known import end_known
from daos.vos.nodes import Node, view
from daos.vos.records import NodeRecord
from daos.vos.reserve import Span, Taken, give_back, take
from daos.vos.single import SingleRecord, check_not_written, emit_one
from daos.vos.state import ContainerState
from daos.vos.timestamps import Operation, Path

CSUM_CHUNK_DEFAULT: Final = 32 << 10
CSUM_CHUNK_MAX: Final = 1 << 30

# Members of enums are looked up by name each time; these are not.
_NONE: Final = Condition.NONE
_UPDATE: Final = Condition.UPDATE
_XXH3: Final = ChecksumType.XXH3
_CHUNKS_DEFAULT: Final = (CSUM_CHUNK_DEFAULT, 0)
_CSUM_DEFAULT: Final = (_XXH3.size, CSUM_CHUNK_DEFAULT)
_MUST_EXIST: Final = int(Cond.DKEY_UPDATE | Cond.AKEY_UPDATE)
_DKEY_COND: Final = DKEY_INSERT | DKEY_UPDATE
_CONDITION: Final = {
    0: Condition.NONE,
    int(Cond.AKEY_INSERT): Condition.INSERT,
    int(Cond.AKEY_UPDATE): Condition.UPDATE,
}
_LEXICAL: Final = KeyKind.LEXICAL


class UpdateState(Enum):
    OPEN = "open"
    ENDED = "ended"
    CANCELED = "canceled"


_OPEN: Final = UpdateState.OPEN


class Update(msgspec.Struct, eq=False, gc=False):
    """An update between `update_begin` and its end.

    Shapes:     destinations: one a value with bytes, in the order of the iods and their ranges;
                nbytes their sum
    """

    order: bytes
    object_hash: int
    kinds: tuple[KeyKind, KeyKind]
    dkey: bytes
    dkey_hash: int
    iods: Sequence[Iod]
    cond: int
    csum_type: ChecksumType
    csum_chunk: int
    nbytes: int
    hold: Hold
    taken: Taken
    destinations: list[memoryview]
    state: UpdateState = _OPEN
    dtx: bytes = b""  # to be remembered, set before the end
    # Checksums of the destinations as they came, of an update that was hashed ahead (hashing.py).
    way: list[bytes] | None = None
    data_sum: int | None = None  # XXH3 of the only value, if the caller knows it


def begin(
    state: ContainerState,
    oid: UnitOid,
    dkey: bytes,
    iods: Sequence[Iod],
    *,
    cond: int,
    csum: tuple[ChecksumType, int],
) -> Update:
    """See VosContainer.update_begin. Cost: O(values), a hold and a reservation."""
    facts = keys.object_facts(oid)
    csum_type, csum_chunk = _XXH3, CSUM_CHUNK_DEFAULT
    csum_by = _CSUM_DEFAULT
    if csum[0] or csum[1] not in _CHUNKS_DEFAULT:
        csum_type, csum_chunk = _csum_of(csum)
        csum_by = (csum_type.size, csum_chunk)
    thresh = state.data_thresh
    plan = None if cond else plan_plain(dkey, iods, facts, data_thresh=thresh, csum=csum_by)
    if plan is None:
        check_update(dkey, iods, int(cond), facts.kinds)
        plan = plan_values(dkey, iods, data_thresh=thresh, csum=csum_by)
    values, tree_bytes = plan
    meta = state.meta
    blocks = inline = nbytes = 0
    for value in values:
        blocks += value.blocks
        nbytes += value.nbytes
        if not value.blocks:
            inline += value.nbytes
    if inline > meta.record_size_max:  # before memory is taken for it
        limit = meta.record_size_max
        raise RecordTooBigError(f"{inline} bytes of small values in one update; at most {limit}")
    tree_bytes += DTX_BYTES
    if state.dedup is not None:
        tree_bytes += DEDUP_BYTES * len(values)
    # What only punches gives space back.
    hold = meta.hold(tree_bytes=tree_bytes, data_blocks=blocks, last=not nbytes)
    try:
        taken = take(meta.space, meta.memory, values, state.hint)
        runs = len(taken.runs)
        if runs > 1 and (runs := runs - sum([value.blocks > 0 for value in values])):
            _hold_more(state, hold, taken, runs)
    except DaosError:
        meta.release(hold)
        raise
    return Update(
        facts.order,
        facts.hash,
        facts.kinds,
        dkey,
        xxh3_64_intdigest(dkey),
        iods,
        int(cond),
        csum_type,
        csum_chunk,
        nbytes,
        hold,
        taken,
        taken.destinations,
    )


def _csum_of(csum: tuple[ChecksumType, int]) -> tuple[ChecksumType, int]:
    """Type and chunk of what is stored: XXH3 and 32 KiB where nothing is said."""
    kind, chunk = csum
    if not chunk:
        chunk = CSUM_CHUNK_DEFAULT
    elif not 0 < chunk <= CSUM_CHUNK_MAX:
        raise InvalidError(f"a checksum covers 1 to {CSUM_CHUNK_MAX} bytes, not {chunk}")
    return (ChecksumType(kind) if kind else _XXH3), chunk


def _hold_more(state: ContainerState, hold: Hold, taken: Taken, runs: int) -> None:
    """Space is fragmented: further runs take room in the tree, too. Raises: NoSpaceError."""
    try:
        each = VALUE_BYTES if state.dedup is None else VALUE_BYTES + DEDUP_BYTES
        more = state.meta.hold(tree_bytes=each * runs, data_blocks=0)
    except DaosError:
        give_back(state.meta.space, taken, state.hint)
        raise
    hold.tree_pages += more.tree_pages


def landed(state: ContainerState, update: Update, data_sum: int | None) -> None:
    """See VosContainer.update_landed."""
    update.data_sum = data_sum
    descriptor = update.taken.descriptor
    # With a table of what is stored it may turn out that these bytes are.
    if type(descriptor) is OneValue and state.dedup is None:
        descriptor.send(state.meta.device)


def end(
    state: ContainerState, update: Update, epoch: Epoch, minor: int, op: Operation | None
) -> Lsn:
    """See VosContainer.update_end.

    Cost:       3 look-ups, a put a value; a put a node that is created or changes, one the id
    """
    assert update.state is _OPEN, update.state
    done = True
    try:
        if (
            state.destroyed
            or not state.modification_bound < epoch < EPOCH_MAX
            or not 0 < minor <= MINOR_MAX
        ):
            state.check_alive()  # which of it, they say
            state.check_write_epoch(epoch, minor)
        lsn = None
        if op is None and update.way is None:
            lsn = end_known(state, update, epoch, minor)
        if lsn is None:
            work = _End(state, update, epoch, minor, op)
            lsn = work.run() if op is None else work.run_for(op)
        if update.dtx:
            state.dtxs.executed(update.dtx, epoch)
        update.state = UpdateState.ENDED
        state.meta.release(update.hold)
    except DaosError as error:
        done = type(error) is not TxRestartError
        error.lsn = state.lsns.of_dkey(update.object_hash, update.dkey_hash)
        raise
    finally:
        if done and update.state is _OPEN:
            cancel(state, update)
    state.lsns.wrote_dkey(update.object_hash, update.dkey_hash, lsn)
    state.newest.wrote(update.order, epoch)
    descriptor = update.taken.descriptor
    if descriptor is not None:
        state.meta.when_durable(lsn, descriptor.finish)
    return lsn


def cancel(state: ContainerState, update: Update) -> None:
    """See VosContainer.update_cancel."""
    if update.state is _OPEN:
        update.state = UpdateState.CANCELED
        update.destinations = []
        give_back(state.meta.space, update.taken, state.hint)
        state.meta.release(update.hold)


class _End:
    """One update on its way down the path.

    `seen` is the view of the node above, or ROOT as long as nothing on the path was ever punched:
    to those below it is the same, and it costs nothing.
    """

    __slots__ = (
        "data_sum",
        "edit",
        "epoch",
        "minor",
        "op",
        "spans",
        "state",
        "unwritten",
        "update",
    )

    def __init__(
        self,
        state: ContainerState,
        update: Update,
        epoch: int,
        minor: int,
        op: Operation | None,
    ) -> None:
        self.state = state
        self.update = update
        self.epoch = epoch
        self.minor = minor
        self.op = op
        self.edit = Edit(state.meta, state.root)
        self.spans = iter(update.taken.spans)
        # XXH3 of the payload where it is one value of whole blocks: its own is the log's, too.
        self.data_sum: int | None = None
        # Reserved runs of extents whose content is stored already.
        self.unwritten: list[Extent] = []

    def run_for(self, op: Operation) -> Lsn:
        """The same for a transaction: refused in doubt; its conditions are reads."""
        state, update, epoch = self.state, self.update, self.epoch
        read = _condition_path(update)
        asked = asked_of(update.order, update.kinds, update.dkey, update.iods)
        refuse_doubt(state, asked, epoch, op, must_know=bool(read))
        try:
            lsn = self.run()
        except (ExistsError, NotFoundError):
            state.timestamps.read(read, epoch, op.id)
            raise
        except DaosError as error:
            if error.code in _SAME_EPOCH:  # whoever read here at this epoch explains it better
                state.timestamps.check(_path(update), epoch, op.id)
            raise
        if read:
            state.timestamps.read(read, epoch, op.id)
        return lsn

    def run(self) -> Lsn:
        """Conditions on the way down come first, then what was read at this epoch or later."""
        state, update = self.state, self.update
        nodes, cond = state.nodes, update.cond
        object_ = node = nodes.object(update.order)
        condition = Condition.UPDATE if cond & _MUST_EXIST else _NONE
        place = (state.node_id, keys.OBJECT, update.order, _LEXICAL)
        object_id, seen = self._create(place, node, ROOT, condition)

        if node is not None:
            node = nodes.key(object_id, keys.DKEY, update.dkey, update.kinds[0])
        if cond & DKEY_INSERT:
            condition = Condition.INSERT
        place = (object_id, keys.DKEY, update.dkey, update.kinds[0])
        dkey_id, seen = self._create(place, node, seen, condition)

        akey_kind = update.kinds[1]
        for iod in update.iods:
            akey = None
            if node is not None:
                akey = nodes.key(dkey_id, keys.AKEY, iod.akey, akey_kind)
            condition = _NONE
            if cond:
                condition = _CONDITION[(iod.cond if cond & PER_AKEY else cond) & AKEY_COND]
            place = (dkey_id, keys.AKEY, iod.akey, akey_kind)
            self._write_akey(place, akey, seen, condition, iod)
        path = _path(update)
        if self.epoch <= state.timestamps.newest_read:
            state.timestamps.check(path, self.epoch, None if self.op is None else self.op.id)
        lsn = self._commit(path)
        if object_ is None:
            state.newest.created(update.order, self.epoch)
        return lsn

    def _commit(self, path: Path) -> Lsn:
        state, update, epoch = self.state, self.update, self.epoch
        descriptor = update.taken.descriptor
        if descriptor is not None:
            if isinstance(descriptor, UpdateDescriptor):
                descriptor.trust()  # the checksums are in the records already
                if self.unwritten:
                    descriptor.drop(self.unwritten)
                descriptor.post(self.edit.tx, self.data_sum)
            elif not self.unwritten:
                descriptor.post(self.edit.tx, self.data_sum)
        if update.dtx:
            state.dtxs.put(self.edit.tx, update.dtx, epoch)
        lsn = self.edit.commit(epoch, state.nodes.cache)
        for run in self.unwritten:
            state.meta.space.cancel(run, state.hint)
        state.timestamps.wrote((epoch, *path))
        return lsn

    def _create(
        self, place: PlaceFields, node: Node | None, parent: IlogView, condition: Condition
    ) -> tuple[int, IlogView]:
        """Make sure the object or dkey exists; its node id, and the view of those below."""
        if node is None:
            node_id = self.edit.new_id()
            if parent is ROOT and condition is not _UPDATE:
                free = self.state.nodes.take_free(place[0], place[2])
                self.edit.create(place, emit_created(self.epoch, self.minor), node_id, free)
                return node_id, ROOT
            seen = view(None, self.epoch, parent)
            log = ilog_view.update(
                EMPTY, seen, self.minor, condition=condition, what=_WHAT[place[1]]
            )
            self.edit.create(place, log.emit(), node_id)
            return node_id, seen
        if condition is _NONE and parent is ROOT and 0 < node.created <= self.epoch:
            return node.id, ROOT
        seen = view(node, self.epoch, parent)
        log = ilog_view.update(
            node.ilog, seen, self.minor, condition=condition, what=_WHAT[place[1]]
        )
        if log is not node.ilog:
            self.edit.put((place[0], place[2]), node.key, changed(node.record, ilog=log.emit()))
        return node.id, seen

    def _write_akey(
        self,
        place: PlaceFields,
        node: Node | None,
        parent: IlogView,
        condition: Condition,
        iod: Iod,
    ) -> None:
        """Make sure the akey exists, and write its values."""
        if node is None:
            if parent is ROOT and condition is not _UPDATE:
                raw = emit_created(self.epoch, self.minor)
            else:
                seen = view(None, self.epoch, parent)
                log = ilog_view.update(EMPTY, seen, self.minor, condition=condition, what="akey")
                raw = log.emit()
            free = self.state.nodes.take_free(place[0], place[2])
            update = self.update
            typed = (int(iod.type), 0, 0, int(update.csum_type), update.csum_chunk)
            tree_key, record = self.edit.draft(place, raw, self.edit.new_id(), free, typed)
            before = None
        else:
            tree_key, record = node.key, node.record
            before = record
            if condition is not _NONE or parent is not ROOT or not 0 < node.created <= self.epoch:
                seen = view(node, self.epoch, parent)
                log = ilog_view.update(
                    node.ilog, seen, self.minor, condition=condition, what="akey"
                )
                if log is not node.ilog:
                    record = changed(record, ilog=log.emit())
        if record.value_type != iod.type:
            record = self._fix_type(record, iod)
        if iod.type == SINGLE:
            self._write_single(record, iod)
        else:
            record = self._write_extents(record, iod)
        if record is not before:
            self.edit.put((place[0], place[2]), tree_key, record)

    def _fix_type(self, record: NodeRecord, iod: Iod) -> NodeRecord:
        """The first update decides for good."""
        if record.value_type:
            raise AccessError(
                f"the akey holds {IodType(record.value_type).name} values, not {iod.type.name}"
            )
        kind, chunk = self.update.csum_type, self.update.csum_chunk
        return changed(record, value_type=int(iod.type), csum_type=int(kind), csum_chunk=chunk)

    def _write_single(self, record: NodeRecord, iod: Iod) -> None:
        akey_id, epoch, kind = record.node_id, self.epoch, self.update.csum_type
        if epoch <= self.state.timestamps.newest_write:
            minor = 0 if self.op is None else self.minor
            check_not_written(self.state.meta, akey_id, epoch, minor)
        if not iod.size:
            value = SingleRecord(0)
        else:
            spans = next(self.spans)
            runs: tuple[Extent, ...] = ()
            if len(spans) > 1:
                csums = b"".join([span.csums or compute(kind, span.memory) for span in spans])
                runs = tuple([span.run for span in spans if span.run is not None])
            else:
                (span,) = spans
                run, memory = span.run, span.memory
                if kind is _XXH3 and not span.csums:
                    csum = xxh3_64_intdigest(memory)
                    if run is not None and len(self.update.taken.runs) == 1:
                        self.data_sum = csum if iod.size % BLOCK == 0 else None
                    key = keys.single_key(akey_id, epoch, self.minor)
                    self.edit.tx.put(key, emit_one(csum, run, memory))
                    return
                csums = span.csums or compute(kind, memory)
                if run is not None:
                    runs = (run,)
            value = SingleRecord(iod.size, int(kind), csums, runs, b"" if runs else memory)
        self.edit.tx.put(keys.single_key(akey_id, epoch, self.minor), value.emit())

    def _write_extents(self, record: NodeRecord, iod: Iod) -> NodeRecord:
        newest = self.state.timestamps.newest_write
        classes = record.class_mask
        for recx in iod.recxs:
            if not iod.size:
                classes |= self._insert(record, recx.index, extents.hole(recx.count), newest)
                continue
            lo = recx.index
            for span in next(self.spans):
                value = self._extent_record(span, iod.size)
                classes |= self._insert(record, lo, value, newest)
                lo += value.width
        if classes != record.class_mask or (iod.size and not record.record_size):
            size = record.record_size or iod.size
            return changed(record, class_mask=classes, record_size=size)
        return record

    def _extent_record(self, span: Span, record_size: int) -> ExtentRecord:
        kind, chunk, nbytes = self.update.csum_type, self.update.csum_chunk, span.nbytes
        if span.csums:
            csums = span.csums
        elif kind is _XXH3 and nbytes <= chunk:
            csum = xxh3_64_intdigest(span.memory)
            if span.run is not None and nbytes % BLOCK == 0 and len(self.update.taken.runs) == 1:
                self.data_sum = csum
            csums = csum.to_bytes(8, "little")
        else:
            csums = compute_chunks(kind, span.memory, chunk_nbytes=chunk)
            if nbytes == self.update.nbytes and nbytes % BLOCK == 0:
                self.data_sum = self.update.data_sum
        run, dedup = span.run, self.state.dedup
        if run is not None and dedup is not None and eligible(dedup, span):
            own, run = run, resolve(self.edit.tx, dedup, span)
            if run is not own:
                self.unwritten.append(own)
        payload = b"" if run is not None else span.memory
        width = nbytes // record_size
        return ExtentRecord(width, record_size, int(kind), chunk, csums, run, payload)

    def _insert(self, record: NodeRecord, lo: int, value: ExtentRecord, newest: int) -> int:
        """Write one extent; the class bit to remember."""
        inserted = extents.insert(
            self.state.meta,
            self.edit.tx,
            record.node_id,
            lo,
            value,
            epoch=self.epoch,
            minor=self.minor,
            classes=record.class_mask,
            record_size=record.record_size,
            epoch_newest=newest,
        )
        if inserted.replaced is not None and inserted.replaced.run is not None:
            release(self.edit.tx, inserted.replaced.run)
        return inserted.class_bit


def _path(update: Update) -> Path:
    """The akeys that are written, in the table of timestamps."""
    iods = update.iods
    if len(iods) == 1:
        return (update.object_hash, update.dkey_hash, xxh3(iods[0].akey))
    return (update.object_hash, update.dkey_hash, *[xxh3(iod.akey) for iod in iods])


def _condition_path(update: Update) -> Path:
    """What the conditions read: the dkey, or the akeys that have one; () without any."""
    cond = update.cond
    if cond & _DKEY_COND:
        return (update.object_hash, update.dkey_hash)
    if cond & PER_AKEY:
        akeys = [xxh3(iod.akey) for iod in update.iods if iod.cond & AKEY_COND]
    else:
        akeys = [xxh3(iod.akey) for iod in update.iods if cond & AKEY_COND]
    return (update.object_hash, update.dkey_hash, *akeys) if akeys else ()


_WHAT: Final = {keys.OBJECT: "object", keys.DKEY: "dkey"}
# Why a write does not fit beside one of its own epoch.
_SAME_EPOCH: Final = (DER.NO_PERM, DER.VOS_PARTIAL_UPDATE)

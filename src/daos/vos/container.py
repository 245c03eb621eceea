"""A container on one target: what the object service calls, and the state the operations share.

    update_begin -> destinations -> update_end | update_cancel      update.py
    update_hash                                                     hashing.py
    fetch_begin -> fetch_read -> fetch_end                          fetch.py
    punch                                                           punch.py
    list_objects, list_dkeys, list_akeys, list_extents              iterate.py
    list_versions, key_anchor
    visit                                                           visit.py
    query_key, key_search, newest_epoch                             query.py, newest.py
    reading                                                         conflicts.py
    aggregate, discard                                              aggregate.py, discard.py
    delete_object, delete_key                                       unlink.py
    dtxs: which modifications were executed                         dtx_table.py

Nothing here awaits. What changes the tree is one transaction, visible at once, durable when the
log is durable up to the LSN returned; what only reads says in `.lsn` how far that must be.

What they share stands in state.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from daos.base.checksum import ChecksumType, slice_bytes
from daos.base.ids import Epoch, Lsn, UnitOid
from daos.base.iod import Iod
from daos.bio.device import Done
from daos.vos import conflicts as _conflicts
from daos.vos import diff as _diff
from daos.vos import fetch as _fetch
from daos.vos import fetch_steps as _steps
from daos.vos import hashing as _hashing
from daos.vos import iterate as _iterate
from daos.vos import keys
from daos.vos import punch as _punch
from daos.vos import query as _query
from daos.vos import unlink as _unlink
from daos.vos import update as _update
from daos.vos.aggregate import AggregateConfig, Aggregation
from daos.vos.dedup import DEDUP_BYTES, Match, array_spans, matches
from daos.vos.dedup_record import DedupSetting, setting_key
from daos.vos.diff import ChangeEntry
from daos.vos.discard import Discard
from daos.vos.edit import Edit
from daos.vos.fetch import Fetch
from daos.vos.ilog import MINOR_MAX
from daos.vos.iterate import PAGE_BYTES, Choice, ExtentEntry, Page, VersionEntry, Where
from daos.vos.newest import NewestEpoch
from daos.vos.query import KeyQuery, KeySearch
from daos.vos.records import AggregationRecord
from daos.vos.scan import Bounds
from daos.vos.state import ContainerState
from daos.vos.timestamps import Operation
from daos.vos.update import Update
from daos.vos.versions import Epochs
from daos.vos.visit import EVERYTHING, Callbacks, Visit, Wanted
from daos.vos.work import EpochRange, StepLimits


class VosContainer(ContainerState):
    """An open container. Made by `VosPool.open_container`."""

    def update_begin(
        self,
        oid: UnitOid,
        dkey: bytes,
        iods: Sequence[Iod],
        *,
        cond: int = 0,
        csum_type: ChecksumType = ChecksumType.OFF,
        csum_chunk: int = 0,
    ) -> Update:
        """Check the request, hold space for it, and say where its values go.

        Shapes:     `Update.destinations`: one per value with bytes, in the order of the iods
        Units:      csum_chunk in bytes, 0 = 32 KiB; csum_type OFF: stored with XXH3
        Raises:     InvalidError, KeyTooBigError, RecordTooBigError, NoSpaceError; AccessError for
                    an akey named twice; AgainError when payload memory is out. Nothing changed.
        """
        self.check_alive()
        return _update.begin(self, oid, dkey, iods, cond=cond, csum=(csum_type, csum_chunk))

    def update_landed(self, update: Update, xxh3: int | None = None) -> None:
        """The bytes at the destinations are whole, and stay: they may leave for the device.

        What is left to do is then done beside that. For updates of `early_bytes` or more; to call
        it or not makes no difference to what is stored. `xxh3` is the checksum of the only value,
        which the caller may still compare: before the end.
        """
        _update.landed(self, update, xxh3)

    def update_hash(
        self,
        update: Update,
        way: ChecksumType,
        worth_bytes: Callable[[ChecksumType], int] = slice_bytes,
    ) -> Iterator[None] | None:
        """Steps to take, one a turn, between landing and end; None: it is small (hashing.py).

        `way`: of the checksums that came along, to be compared with `update.way` afterwards.
        """
        return _hashing.hashing(update, way, self.dedup, worth_bytes)

    def update_end(
        self,
        update: Update,
        epoch: Epoch,
        *,
        minor: int = MINOR_MAX,
        op: Operation | None = None,
        dtx: bytes = b"",
    ) -> Lsn:
        """Make the values at the destinations visible from `epoch` on, and remember `dtx`.

        Atomicity:  all akeys or none; on an error the update is cancelled, but for TxRestartError:
                    then it may be ended again, with a newer epoch
        Raises:     TxRestartError    epoch <= modification_bound, or it would change what was
                                      read at `epoch` or later, or the outcome is in doubt
                    ExistsError, NotFoundError   a condition failed
                    DaosError NO_PERM            the akey has values of the other type, or the
                                                 single value was written at this epoch
                    InvalidError                 records of another size
        """
        update.dtx = dtx
        return _update.end(self, update, epoch, minor, op)

    def update_cancel(self, update: Update) -> None:
        """Give everything back; nothing is left of an update that did not end. Idempotent."""
        _update.cancel(self, update)

    def fetch_begin(
        self,
        oid: UnitOid,
        dkey: bytes,
        iods: Sequence[Iod],
        epoch: Epoch,
        *,
        cond: int = 0,
        op: Operation | None = None,
        patience: int = 0,
    ) -> Fetch:
        """Find what a reader at `epoch` sees. Must be ended.

        With patience it may come back unfinished, and `asked` for the rest: then all steps of
        `fetch_find` come first. Not of a transaction.

        Raises:     InvalidError; NotFoundError (a condition); ChecksumError (damage in the tree);
                    TxRestartError (in doubt)
        """
        self.check_alive()
        if op is None:
            return _fetch.begin(self, oid, dkey, iods, epoch, cond=cond, patience=patience)
        return _fetch.begin_for(self, oid, dkey, iods, epoch, cond=cond, op=op)

    def fetch_read(self, fetch: Fetch, done: Done) -> None:
        """Read and verify what is stored in blocks; then `fetch.views` are valid.

        Wait until the log is durable up to `fetch.lsn` first: the blocks of a group in flight may
        not be on the device yet, and what is not durable must not be shown anyway.

        Done:       ChecksumError, NvmeIoError; may be called inline
        """
        _fetch.read(self, fetch, done)

    def fetch_find(self, fetch: Fetch) -> Iterator[None]:
        """The steps to the end of an unfinished fetch. Raises: as fetch_begin, in any of them."""
        return _steps.find(self, fetch)

    def fetch_split(self, fetch: Fetch, nbytes_max: int) -> Iterator[Fetch]:
        """A large fetch in steps of at most `nbytes_max`, to be read and ended one by one.

        The fetch itself is ended last; a single value, or a record, is never cut.
        """
        return _steps.split(fetch, nbytes_max)

    def fetch_end(self, fetch: Fetch) -> None:
        """Let go of the blocks and the memory of a fetch. Idempotent."""
        _fetch.end(self, fetch)

    def punch(
        self,
        oid: UnitOid,
        epoch: Epoch,
        *,
        dkey: bytes | None = None,
        akeys: Sequence[bytes] = (),
        cond: int = 0,
        unchanged_since: int = 0,
        minor: int = MINOR_MAX,
        op: Operation | None = None,
        dtx: bytes = b"",
    ) -> Lsn:
        """Hide the object, the dkey, or the akeys, from `epoch` on.

        `unchanged_since`: only if nothing below the dkey was written after this epoch.

        Raises:     TxRestartError   epoch <= modification_bound, or a later write below it, or
                                     it would change what was read at `epoch` or later, or in doubt
                    NotFoundError    Cond.PUNCH, and one of them does not exist
                    ExistsError      something was written since, or that is not remembered
                    InvalidError, KeyTooBigError, NoSpaceError
        """
        self.check_alive()
        target = _punch.Target(dkey, tuple(akeys), unchanged_since)
        return _punch.punch(self, oid, epoch, target, cond=cond, minor=minor, op=op, dtx=dtx)

    def list_objects(
        self,
        epoch: Epoch,
        *,
        anchor: bytes = b"",
        limit: int,
        bytes_max: int = PAGE_BYTES,
        reverse: bool = False,
    ) -> Page[UnitOid]:
        """A page of the objects that exist at `epoch`."""
        self.check_alive()
        bounds = Bounds(limit, bytes_max)
        return _iterate.objects(self, epoch, anchor, bounds, reverse=reverse)

    def list_dkeys(
        self,
        oid: UnitOid,
        epoch: Epoch,
        *,
        anchor: bytes = b"",
        limit: int,
        prefix: bytes = b"",
        start: bytes = b"",
        reverse: bool = False,
        bytes_max: int = PAGE_BYTES,
    ) -> Page[bytes]:
        """A page of the dkeys that exist at `epoch`, in the order of the object's type.

        Those that begin with `prefix`, from `start` on; `reverse`: backwards. Pages that follow
        one another are asked for alike.

        Raises:     InvalidError   a prefix of integers, a start among hashed keys, a bad anchor
        """
        self.check_alive()
        bounds, choice = Bounds(limit, bytes_max), Choice(prefix, start, reverse)
        return _iterate.dkeys(self, oid, epoch, anchor, bounds, choice=choice)

    def list_akeys(
        self,
        oid: UnitOid,
        dkey: bytes,
        epoch: Epoch,
        *,
        anchor: bytes = b"",
        limit: int,
        prefix: bytes = b"",
        start: bytes = b"",
        reverse: bool = False,
        bytes_max: int = PAGE_BYTES,
    ) -> Page[bytes]:
        """A page of the akeys of `dkey` that exist at `epoch`; as list_dkeys."""
        self.check_alive()
        bounds, choice = Bounds(limit, bytes_max), Choice(prefix, start, reverse)
        return _iterate.akeys(self, Where(oid, dkey), epoch, anchor, bounds, choice=choice)

    def list_extents(
        self,
        oid: UnitOid,
        dkey: bytes,
        akey: bytes,
        epoch: Epoch,
        *,
        anchor: bytes = b"",
        limit: int,
        reverse: bool = False,
    ) -> Page[ExtentEntry]:
        """A page of the visible extents of an array akey, ascending, never overlapping."""
        self.check_alive()
        where = Where(oid, dkey, akey)
        return _iterate.extents_of(self, where, epoch, anchor, limit, reverse=reverse)

    def list_versions(
        self,
        oid: UnitOid,
        dkey: bytes,
        akey: bytes,
        epochs: Epochs,
        *,
        anchor: bytes = b"",
        limit: int,
        reverse: bool = False,
    ) -> Page[VersionEntry]:
        """A page of what was ever written under an akey in `epochs`, whether it is seen or not.

        Single values from the oldest on, extents by first record and then newest first; `reverse`:
        the opposite.
        """
        self.check_alive()
        where = Where(oid, dkey, akey)
        return _iterate.versions_of(self, where, epochs, anchor, limit, reverse=reverse)

    def key_anchor(
        self,
        oid: UnitOid,
        dkey: bytes,
        akey: bytes | None = None,
        *,
        reverse: bool = False,
    ) -> tuple[bytes, bool]:
        """Where a listing of dkeys, or of akeys of `dkey`, begins with this one; no such key?"""
        self.check_alive()
        choice = Choice(reverse=reverse)
        return _iterate.key_anchor(self, Where(oid, dkey, akey), choice)

    def visit(
        self,
        where: Where | None,
        callbacks: Callbacks,
        *,
        wanted: Wanted = EVERYTHING,
        recursive: bool = True,
    ) -> Visit:
        """Everything below the container, an object, a dkey or an akey, by call-backs (visit.py).

        Call `step` until it says that there is no more.
        """
        self.check_alive()
        return Visit(self, where, callbacks, wanted=wanted, recursive=recursive)

    def query_key(
        self,
        oid: UnitOid,
        flags: int,
        epoch: Epoch,
        *,
        dkey: bytes | None = None,
        akey: bytes | None = None,
    ) -> KeyQuery:
        """The largest or smallest integer dkey, integer akey, record, by `QueryFlag`.

        Raises:     InvalidError; NotFoundError if nothing is visible
        """
        self.check_alive()
        return _query.query_key(self, Where(oid, dkey, akey), flags, epoch)

    def key_search(
        self,
        oid: UnitOid,
        flags: int,
        epoch: Epoch,
        *,
        dkey: bytes | None = None,
        akey: bytes | None = None,
    ) -> KeySearch:
        """Begin what `query_key` does, in steps. Raises: InvalidError."""
        self.check_alive()
        return KeySearch(self, Where(oid, dkey, akey), flags, epoch)

    def newest_epoch(self, oid: UnitOid, epoch: Epoch) -> NewestEpoch:
        """Begin to look for the newest change of an object up to `epoch`. Raises: InvalidError."""
        self.check_alive()
        return NewestEpoch(self, oid, epoch)

    @contextmanager
    def reading(
        self,
        op: Operation,
        epoch: Epoch,
        oid: UnitOid | None = None,
        dkey: bytes | None = None,
        akey: bytes | None = None,
    ) -> Iterator[None]:
        """Around listings and queries of a transaction.

        They count as a read of the container, the object, the dkey or the akey: the level above
        the keys, or the records, that are looked for.

        Raises:     TxRestartError (in doubt)
        """
        names = _conflicts.CONTAINER
        if oid is not None:
            names = _conflicts.asked(oid, dkey, () if akey is None else (akey,))
        with _conflicts.reading(self, names, epoch, op, names.path):
            yield

    def deduplicate(self, setting: DedupSetting | None) -> None:
        """What the container wants from now on; it is kept. What is shared stays shared.

        Raises: NoSpaceError, AgainError
        """
        self.check_alive()
        if setting == self.dedup:
            return
        key = setting_key(self.node_id)
        hold = self.meta.hold(tree_bytes=DEDUP_BYTES, data_blocks=0)
        try:
            edit = Edit(self.meta, self.root)
            if setting is None:
                edit.tx.delete(key)
            else:
                edit.tx.put(key, setting.emit(key))
            edit.commit(0)
        finally:
            self.meta.release(hold)
        self.dedup = setting

    def dedup_matches(self, update: Update) -> list[Match]:
        """Stored runs to be compared with what has landed, before `update_end`; mostly none.

        Pin the space, and wait until what is committed is durable, before they are read.
        """
        if self.dedup is None:
            return []
        return matches(self.meta, self.dedup, array_spans(update.iods, update.taken.spans))

    def raise_bound(self, epoch: Epoch) -> Lsn:
        """Refuse writes at or below `epoch` from now on; once durable, also after a restart.

        Returns the LSN to wait for.
        """
        self.check_alive()
        self.lift_bound(epoch)
        if epoch <= self.meta.epoch_highest:
            return self.meta.lsn_last  # whoever raised that may not be durable yet
        # The bound may be above it already, by a clock that the next run need not have.
        edit = Edit(self.meta, self.root)
        edit.tx.put(keys.ROOT_KEY, self.root.record.emit())  # a transaction puts something
        return edit.commit(epoch)

    def list_changes(
        self, a: Epoch, b: Epoch, *, anchor: bytes = b"", limit: int
    ) -> Page[ChangeEntry]:
        """A page of the akeys that differ between the epochs a < b; see diff.py.

        Exact where both are snapshots, whatever was aggregated.

        Raises:     InvalidError
        """
        self.check_alive()
        return _diff.changes(self, a, b, anchor, limit)

    def aggregate(
        self,
        lo: int,
        hi: int,
        *,
        changed_since: int = -1,
        config: AggregateConfig | None = None,
    ) -> Aggregation:
        """Begin to forget the versions of epochs [lo, hi] that no reader at hi or above, or below
        lo, can tell apart. Nothing is written at or below hi any more.

        Units:      changed_since: a log position; what nothing was written to since is passed over
                    (-1: nothing is, as after each opening of the shard)
        Raises:     InvalidError; BusyError  another one runs, a discard that it could meet, or a
                    search in steps that would see it
        """
        chosen = config or AggregateConfig()
        return Aggregation(self, EpochRange(lo, hi), chosen, changed_since=changed_since)

    def discard(
        self, lo: int, hi: int, oid: UnitOid | None = None, *, limits: StepLimits | None = None
    ) -> Discard:
        """Begin to undo all that was written at epochs [lo, hi], in the container or one object.

        Raises:     InvalidError; BusyError  an aggregation that it could meet, or another discard
        """
        order = b"" if oid is None else keys.object_order(oid)
        return Discard(self, EpochRange(lo, hi), limits or StepLimits(), order)

    @property
    def aggregation(self) -> AggregationRecord:
        """How far the container is aggregated, as the tree has it. Raises: CorruptError."""
        value = self.meta.get(keys.aggregation_key(self.node_id))
        return AggregationRecord() if value is None else AggregationRecord.parse(value)

    def note_aggregated(self, record: AggregationRecord) -> Lsn:
        """Remember how far the container is aggregated, also after a restart."""
        self.check_alive()
        edit = Edit(self.meta, self.root)
        edit.tx.put(keys.aggregation_key(self.node_id), record.emit())
        return edit.commit(record.epoch)

    def delete_object(self, oid: UnitOid) -> Lsn:
        """Remove an object as if it had never been, at every epoch; its space comes back in steps.

        Raises:     NotFoundError; BusyError  an aggregation runs
        Source:     DAOS src/vos/vos_obj.c vos_obj_delete
        """
        self.check_alive()
        return _unlink.delete(self, oid)

    def delete_key(self, oid: UnitOid, dkey: bytes, akey: bytes | None = None) -> Lsn:
        """The same for a dkey, or an akey. Raises: NotFoundError, BusyError.

        Source:     DAOS src/vos/vos_obj.c vos_obj_del_key
        """
        self.check_alive()
        return _unlink.delete(self, oid, dkey, akey)

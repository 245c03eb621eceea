"""Aggregation of one array: what is hidden goes, what is left is put together.

    sweep    over the records, as a reader at hi sees them. Pieces of the range that touch, all data
             or all holes, make a *run*, at most one window long. Where it is worth it a run becomes
             one extent, with the newest epoch of its pieces: from then on the pieces are hidden
    clean    over the extents of the range: what a reader at hi sees nothing of is deleted

Both are correct wherever they stop: a merged extent shows what was visible before, and it is newer
than everything of the range below it, so that an extent that reaches beyond the run may stay until
all of it is hidden. Extents out of the range are neither merged nor deleted.

What is worth it:
    a piece of an extent, the rest of which is hidden: its space comes back
    small extents that lie in the tree, and together belong into blocks, or into one record
    a full window of many extents, or as many as a step can replace: one read instead of many
    everything that touches, where the caller forces it
An extent as large as a window that is visible as a whole is left alone.


Where the range begins at the first epoch there is nothing that a hole could hide, once everything
hidden is gone and every extent that is left is visible as a whole: then all holes go.

A merge reads and writes through bio: checksums of the pieces are verified before, those of the
merged extent are computed from the verified bytes. Where one does not fit the run is left as it is.
Where there is no room for merged extents, old ones lose what is hidden of them (trim.py).

Invariants:
    M1  at every record the newest extent up to hi has the same bytes after each transaction
    M2  blocks are freed by the transaction that deletes what names them
    M3  the merged extent's blocks are not shown before its LSN: answers about the dkey wait for it
Source: DAOS src/vos/vos_aggregate.c vos_agg_ev, merge_window_*; ours: the order of the steps, so
that nothing is kept between them but a run; no record says that an extent was removed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from daos.base.checksum import ChecksumType, compute_chunks
from daos.base.errors import AgainError, ChecksumError, DaosError, InvalidError, NoSpaceError
from daos.base.ids import U64_MAX
from daos.bio.descriptor import FetchDescriptor, UpdateDescriptor
from daos.bio.device import BLOCK, Done
from daos.bio.media import Medium, select
from daos.vos import extents
from daos.vos.dedup import is_counted, is_shared, release
from daos.vos.edit import Edit, changed
from daos.vos.extent_record import CSUM_CHUNK_MAX, ExtentRecord
from daos.vos.extent_scan import (
    CLASS,
    CLASS_END,
    KEY,
    RECORDS_MAX,
    STACK_END,
    Look,
    Piece,
    classes_of,
    look_at,
    pieces_of,
)
from daos.vos.fetch import part_of
from daos.vos.nodes import load
from daos.vos.records import NodeRecord
from daos.vos.reserve import Taken, Value, give_back, take
from daos.vos.runs import Found, Runs, horizon, is_whole
from daos.vos.trim import trim
from daos.vos.work import DAMAGE, Steps, Want, Where

if TYPE_CHECKING:
    from daos.vos.aggregate import Aggregation

T = TypeVar("T")

# Source: DAOS src/vos/vos_aggregate.c, 8 MiB.
WINDOW_MAX: Final = 8 << 20
_CSUM_CHUNK: Final = 32 << 10
_TREE_BYTES: Final = 512  # of one extent, as an update counts them
# Stacks of each class that one look goes over.
_STACKS: Final = 128
# Log bytes that one extent of a run may take: deletion, freed run, and a newer one put again.
_RUN_BYTES: Final = 192


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConfig:
    """How extents are merged."""

    # A merged extent has at most this much data. 1 MiB is read, verified and copied in 1 ms or so;
    # the reference takes 8 MiB, and yields in between.
    window_bytes: int = 1 << 20
    # A run has at most so many pieces, 4 to 6 us each when it is replaced.
    pieces_max: int = 128
    # A full window of less than so many extents is not worth the copy.
    pieces_min: int = 15
    # Merge whatever touches.
    force: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.window_bytes <= WINDOW_MAX:
            raise InvalidError(f"a window has 1 to {WINDOW_MAX} bytes, not {self.window_bytes}")
        if not 2 <= self.pieces_min <= self.pieces_max:
            raise InvalidError("a window has at least pieces_min and 2, at most pieces_max pieces")


class Below(NamedTuple):
    """What the way down to the array tells."""

    floor: tuple[int, int] | None  # at or below it everything is hidden; None: everything is
    hashes: tuple[int, int]  # of object and dkey
    where: Where  # the akey


class ArrayMerge:
    """One array akey in an aggregation."""

    def __init__(self, work: Aggregation, record: NodeRecord, below: Below) -> None:
        self.work = work
        self.meta = work.meta
        self.state = work.state
        self.config = work.merge
        self.below = below
        self.record = record
        self.lo, self.hi = work.epochs
        self.statistics = work.statistics
        self._pieces_max = min(
            self.config.pieces_max, max(1, self.meta.record_size_max // _RUN_BYTES)
        )
        self._descriptor: FetchDescriptor | None = None
        self._read_error: DaosError | None = None
        # Extents of the range that are visible as a whole; whether data is visible in part.
        self._visible = 0
        self._cut = False
        self._full = False  # there was no room to merge

    def run(self) -> Steps:
        """Sweep and clean; whether all could be seen to."""
        floor = self.below.floor
        if floor is None:
            return (yield from self._clean(None))
        clean = yield from self._sweep(floor)
        if clean and not self._cut and (yield from self._count()) == self._visible:
            return True
        clean = (yield from self._clean(floor)) and clean
        if self._full:
            yield from trim(self, floor)
        return clean

    def read(self, done: Done) -> None:
        """Read the pieces of a run into memory, once all of them are on the device."""
        descriptor = self._descriptor
        assert descriptor is not None

        def durable(error: DaosError | None) -> None:
            if self._descriptor is not descriptor:
                return  # the work was closed
            if error is not None:
                landed(error)
                return
            try:
                descriptor.read(landed)
            except DaosError as failure:  # no memory
                landed(failure)

        def landed(error: DaosError | None) -> None:
            self._read_error = error
            done(None)

        self.meta.when_durable(self.meta.lsn_last, durable)

    def look(self, floor: tuple[int, int]) -> Look:
        """What a reader at the end of the range sees."""
        return look_at(self.record.node_id, self.record.class_mask, self.hi, floor)

    # Sweep

    def _sweep(self, floor: tuple[int, int]) -> Steps:
        stays = self._is_shared if self.state.dedup is not None else None
        runs = Runs(self.lo, self.config.window_bytes, self._pieces_max, stays=stays)
        at = 0
        clean = True
        while at < RECORDS_MAX:
            yield from self.work.turn()
            cursor, look = self.meta.cursor(), self.look(floor)
            end = horizon(cursor, look, at, _STACKS)
            try:
                pieces = pieces_of(cursor, look, at, end)
            except DAMAGE:  # a reader of these records hears of it, too
                self.statistics.damaged += 1
                self._cut, clean = True, False
                pieces = [Piece(at, end)]
            self.work.left -= len(pieces)
            for piece in pieces:
                for run in runs.add(piece):
                    yield from self._settle(run)
            at = end
        for run in runs.add(None):
            yield from self._settle(run)
        self._visible += runs.large
        self._cut |= runs.cut
        return clean

    def _is_shared(self, piece: Piece) -> bool:
        """Whether merging would write apart what is shared, or may be."""
        run = piece.record.run if piece.record is not None else None
        if run is None or not is_counted(self.meta, run):
            return False
        return is_whole(piece) or is_shared(self.meta, run)

    def _settle(self, run: list[Piece]) -> Steps:
        """Make one extent of a run, if it is worth it."""
        if max([piece.minor for piece in run]) >= extents.MINOR_MAX:
            self._leave(run)  # nothing can be newer at that epoch
            return True
        if run[0].is_data:
            if self._is_useful(run):
                return (yield from self._merge(run))
        elif self.lo > 1 and (len(run) > 1 or not is_whole(run[0])):
            yield from self.work.turn()
            self._replace(run, [extents.hole(run[-1].hi - run[0].lo)], None)
            return True
        self._leave(run)
        return True

    def _leave(self, run: list[Piece]) -> None:
        """A run stays as it is."""
        if self.lo <= 1 and not run[0].is_data:
            return  # holes over nothing: whether they are is known at the end
        whole = sum([is_whole(piece) for piece in run])
        self._visible += whole
        if run[0].is_data and whole < len(run):
            self._cut = True

    def _is_useful(self, run: list[Piece]) -> bool:
        config = self.config
        if not all(is_whole(piece) for piece in run):
            return True
        if len(run) < 2:
            return False
        inline = [piece.nbytes for piece in run if piece.record and piece.record.run is None]
        if config.force or len(inline) == len(run):
            return True
        if select(sum(inline), self.state.data_thresh) is Medium.NVME:
            return True
        if len(run) >= self._pieces_max:
            return True
        full = sum([piece.nbytes for piece in run]) >= config.window_bytes
        return full and len(run) >= config.pieces_min

    def _merge(self, run: list[Piece]) -> Steps:
        """Read a run, write it as one extent; where that fails the run stays as it is."""
        yield from self.work.turn()
        descriptor = FetchDescriptor(self.meta.device, self.meta.memory)
        pin = self.meta.space.pin()
        try:
            try:
                parts = [part_of(piece) for piece in run]
                descriptor.prepare(parts)
            except DAMAGE as error:
                return self._fail(run, error)
            self._descriptor, self._read_error = descriptor, None
            yield Want.READ
            if self._read_error is not None:
                return self._fail(run, self._read_error)
            yield from self.work.turn()
            try:
                self._write(run, descriptor.views)
            except (AgainError, NoSpaceError) as error:
                return self._fail(run, error)
            self.work.left = 0  # that was a step's worth
            return True
        finally:
            self._descriptor = None
            descriptor.cancel()
            self.meta.space.unpin(pin)

    def _fail(self, run: list[Piece], error: DaosError) -> bool:
        self._leave(run)
        if isinstance(error, ChecksumError):
            self.statistics.csum_errors += 1
        elif isinstance(error, AgainError | NoSpaceError):
            self.statistics.no_space += 1
            self._full |= isinstance(error, NoSpaceError)
        elif isinstance(error, DAMAGE):
            self.statistics.damaged += 1
        else:
            raise error
        return True

    def _write(self, run: list[Piece], views: list[memoryview]) -> None:
        """The run's bytes, verified, become one extent. Raises: NoSpaceError, AgainError."""
        meta, size = self.meta, self.record.record_size
        kind = ChecksumType(self.record.csum_type) or ChecksumType.XXH3
        chunk = min(self.record.csum_chunk or _CSUM_CHUNK, CSUM_CHUNK_MAX)
        nbytes = sum([view.nbytes for view in views])
        in_blocks = select(nbytes, self.state.data_thresh) is Medium.NVME
        blocks = -(-nbytes // BLOCK) if in_blocks else 0
        csum_bytes = -(-nbytes // chunk) * kind.size
        tree_bytes = 2 * (_TREE_BYTES + csum_bytes) + (0 if blocks else nbytes)
        hold = meta.hold(tree_bytes=tree_bytes, data_blocks=blocks, last=True)
        hint = self.state.aggregation_hint
        try:
            taken = take(meta.space, meta.memory, [Value(nbytes, size, blocks)], hint)
            try:
                _fill(taken.destinations[0], views)
                records = [
                    ExtentRecord(
                        span.nbytes // size,
                        size,
                        int(kind),
                        chunk,
                        compute_chunks(kind, span.memory, chunk_nbytes=chunk),
                        span.run,
                        b"" if span.run is not None else span.memory,
                    )
                    for span in taken.spans[0]
                ]
                self._replace(run, records, taken)
            except BaseException:
                give_back(meta.space, taken, hint)
                raise
        finally:
            meta.release(hold)
        self.statistics.merged_recs += len(run)
        self.statistics.merged_size += nbytes

    def _replace(self, run: list[Piece], records: list[ExtentRecord], taken: Taken | None) -> None:
        """One transaction: `records` take the place of a run, and of its extents that end in it.

        What was written meanwhile, above the range, may stand in stacks of classes that there were
        none of when this began: `place` has to know of them.
        """
        self.reload()
        lo, hi = run[0].lo, run[-1].hi
        akey_id = self.record.node_id
        epoch, minor = newest = max([(piece.epoch, piece.minor) for piece in run])
        inside: dict[bytes, ExtentRecord] = {}
        for piece in run:
            record = _some(piece.record)
            if lo <= piece.extent_lo and piece.extent_lo + record.width <= hi:
                inside[_key(akey_id, piece)] = record
            elif (piece.epoch, piece.minor) == newest:
                minor = newest[1] + 1  # it stays for now, and what takes its place is newer
        edit = Edit(self.meta, self.state.root)
        tx, classes, at = edit.tx, self.record.class_mask, lo
        placed: list[bytes] = []
        for record in records:
            classes |= extents.place(
                self.meta, tx, akey_id, at, record, epoch=epoch, minor=minor, classes=classes
            )
            placed.append(extents.extent_key(akey_id, at, record.width, epoch=epoch, minor=minor))
            at += record.width
        for key, record in inside.items():
            if key not in placed:  # else one of them stands where an old one stood
                tx.delete(key)
            if record.run is not None:
                release(tx, record.run)
        self.remember(edit, classes)
        descriptor = None if taken is None else taken.descriptor
        if descriptor is not None:
            if isinstance(descriptor, UpdateDescriptor):
                descriptor.trust()
            descriptor.post(tx)
        lsn = edit.commit(0, self.state.nodes.cache)
        self.state.lsns.wrote_dkey(*self.below.hashes, lsn)
        self.work.notes.moved(epoch)
        if descriptor is not None:
            self.meta.when_durable(lsn, descriptor.finish)
        self._visible += len(records)

    def reload(self) -> None:
        """The akey's record as it is now: see `_replace`."""
        key = self.below.where.tree_key
        self.record = load(key, _some(self.meta.get(key))).record

    def remember(self, edit: Edit, classes: int) -> None:
        """Note new width classes in the akey's record."""
        if classes != self.record.class_mask:
            where = self.below.where
            self.record = changed(self.record, class_mask=classes)
            edit.put(where.cache_key, where.tree_key, self.record)

    # Clean

    def _count(self) -> Generator[Want, None, int]:
        """How many extents of the range there are. Cost: 0.5 µs each."""
        count = 0
        for cls in classes_of(self.record.class_mask):
            prefix = seek = CLASS.pack(self.record.node_id, cls)
            more = True
            while more:
                yield from self.work.turn()
                cursor = self.meta.cursor()
                more = cursor.set_range(seek)
                for _ in range(8 * _STACKS):
                    key = cursor.key() if more else b""
                    if key[:CLASS_END] != prefix:
                        more = False
                        break
                    count += self.lo <= KEY.unpack(key)[3] ^ U64_MAX <= self.hi
                    seek = key + b"\0"
                    more = cursor.next()
                self.work.left -= _STACKS // 2
        return count

    def _clean(self, floor: tuple[int, int] | None) -> Steps:
        """Delete what is hidden, then holes over nothing."""
        self._holes = 0
        if not (yield from self._delete_all(lambda found: self._is_hidden(found, floor))):
            return False
        if self._holes and self.lo <= 1 and not self._cut:
            return (yield from self._delete_all(_is_hole, alone=True))
        return True

    def _delete_all(self, dies: Callable[[Found], bool | None], *, alone: bool = False) -> Steps:
        """Delete the extents of the range that `dies` says; those it cannot say are looked into.

        `alone`: nothing newer hides them.
        """
        clean = True
        for cls in classes_of(self.record.class_mask):
            prefix = CLASS.pack(self.record.node_id, cls)
            seek = prefix
            self._stack, self._stack_hi = b"", 0
            while seek:
                yield from self.work.turn()
                edit = Edit(self.meta, self.state.root)
                deleted, doubtful, newest = 0, None, 0
                cursor = self.meta.cursor()
                while seek and self.work.left > 0 and deleted < self.work.deletes_max:
                    self.work.left -= 1
                    if not cursor.set_range(seek) or cursor.key()[:CLASS_END] != prefix:
                        seek = b""
                        break
                    key = cursor.key()
                    seek, in_range = self.after(key)
                    if not in_range:
                        continue
                    try:
                        found = Found.parse(key, cursor.value())
                    except DAMAGE:
                        self.statistics.damaged += 1
                        clean = False
                        continue
                    verdict = dies(found)
                    if verdict is None:
                        doubtful = found
                        break
                    if verdict:
                        self._delete(edit, found)
                        deleted += 1
                        newest = max(newest, found.epoch)
                if alone and newest:
                    self.work.notes.removed(edit, newest)
                edit.commit(0)
                if doubtful is not None and (yield from self._is_covered(doubtful)):
                    yield from self.work.turn()
                    edit = Edit(self.meta, self.state.root)
                    self._delete(edit, doubtful)
                    edit.commit(0)
        return clean

    def after(self, key: bytes) -> tuple[bytes, bool]:
        """Where to look after this key, and whether it is of the range."""
        akey_id, cls, first, inv, _ = KEY.unpack(key)
        epoch = inv ^ U64_MAX
        if epoch > self.hi:
            return KEY.pack(akey_id, cls, first, self.hi ^ U64_MAX, 0), False
        if epoch >= self.lo:
            return key + b"\0", True
        return (KEY.pack(akey_id, cls, first + 1, 0, 0) if first < U64_MAX else b""), False

    def _is_hidden(self, found: Found, floor: tuple[int, int] | None) -> bool | None:
        """Whether a reader at hi sees nothing of an extent; None: that takes a longer look."""
        stack = found.key[:STACK_END]
        if stack != self._stack:
            self._stack, self._stack_hi = stack, 0
        if floor is None or (found.epoch, found.minor) <= floor or found.hi <= self._stack_hi:
            return True
        self._stack_hi = found.hi
        if found.record.is_hole:
            self._holes += 1
        self._floor = floor
        (top,) = pieces_of(self.meta.cursor(), self.look(floor), found.lo, found.lo + 1)
        return False if found.is_of(top) else None

    def _is_covered(self, found: Found) -> Steps:
        """Whether no part of an extent, the first record of which is hidden, is visible."""
        at = found.lo + 1
        while at < found.hi:
            yield from self.work.turn()
            cursor, look = self.meta.cursor(), self.look(self._floor)
            end = min(found.hi, horizon(cursor, look, at, _STACKS))
            try:
                pieces = pieces_of(cursor, look, at, end)
            except DAMAGE:
                return False
            if any(found.is_of(piece) for piece in pieces):
                return False
            self.work.left -= len(pieces)
            at = end
        return True

    def _delete(self, edit: Edit, found: Found) -> None:
        edit.tx.delete(found.key)
        if found.record.run is not None:
            release(edit.tx, found.record.run)
        self.statistics.deleted_ev += 1


def _is_hole(found: Found) -> bool:
    return found.record.is_hole


def _key(akey_id: int, piece: Piece) -> bytes:
    width = _some(piece.record).width
    return extents.extent_key(akey_id, piece.extent_lo, width, epoch=piece.epoch, minor=piece.minor)


def _fill(destination: memoryview, views: list[memoryview]) -> None:
    at = 0
    for view in views:
        destination[at : at + view.nbytes] = view
        at += view.nbytes


def _some(value: T | None) -> T:
    """What must be there."""
    assert value is not None
    return value

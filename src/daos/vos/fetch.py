"""Fetch: what a reader at an epoch sees of the akeys of a dkey, down to the blocks it lies in.

    begin   conditions and visibility down the path; per iod its size, per range its segments
    read    blocks into memory, checksums verified; the pieces' bytes are in `views`
    end     the blocks may be reused

    size      of an iod: bytes of the single value, or bytes of a record; 0 = nothing is there
    segment   consecutive parts of a range: Inline (bytes in the record, verified here), Stored
              (blocks; read and verified by bio.descriptor), Hole
    piece     a segment that exists, in payload order: (iod, range, record in the range, count)

Missing objects, dkeys and akeys are no error unless a condition says so: their size is 0. So is an
akey with values of the other type.

Invariants:
    F1  a fetch in blocks holds a pin from `begin` to `end`: nothing of what it saw is overwritten
    F2  no byte leaves here that was not compared with its checksum
Source: DAOS src/vos/vos_io.c vos_fetch_begin, vos_obj_fetch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest

from daos.base.checksum import ChecksumType
from daos.base.errors import DaosError, InvalidError, NotFoundError, TxRestartError
from daos.base.ids import EPOCH_MAX, Epoch, KeyKind, Lsn, UnitOid
from daos.base.iod import Cond, Iod, is_plain
from daos.bio.descriptor import FetchDescriptor, Hole, Inline, Piece, Stored
from daos.bio.device import BLOCK, Done
from daos.bio.memory import Buffer
from daos.bio.one_value import OneRead, read_now
from daos.bio.space import Pin
from daos.vos import extents, keys
from daos.vos.arguments import AKEY_FETCH, PER_AKEY, SINGLE, check_fetch
from daos.vos.conflicts import asked_of, reading
from daos.vos.extent_scan import ManyStacksError
from daos.vos.ilog_view import ROOT, IlogView
from daos.vos.nodes import Node
from daos.vos.records import NodeRecord
from daos.vos.single import newest
from daos.vos.state import ContainerState
from daos.vos.timestamps import Operation

_CSUM_TYPES: Final = {int(kind): kind for kind in ChecksumType}
_ANY_FETCH: Final = int(Cond.DKEY_FETCH | Cond.AKEY_FETCH)


# Stacks of versions, ranges and akeys that one turn of the loop looks at: 5 to 10 us each.
PATIENCE: Final = 192

# (iod, range of the iod, first record within the range, count of records)
PieceOf = tuple[int, int, int, int]


class Asked(NamedTuple):
    """What a fetch is asked for."""

    oid: UnitOid
    dkey: bytes
    iods: Sequence[Iod]
    epoch: Epoch
    cond: int


class Fetch(msgspec.Struct, eq=False):
    """A fetch between `fetch_begin` and `fetch_end`. See the module for the words.

    Shapes:     sizes: one an iod; segments: per iod, per range (a single value has one)
                views: 1:1 with pieces, valid after reading until the end
    """

    lsn: Lsn
    nbytes: int = 0
    # Whether something must be read from blocks.
    is_stored: bool = False
    sizes: list[int] = []
    segments: list[list[list[Piece]]] = []
    pieces: list[PieceOf] = []
    # What the pieces consist of: one part each, but for fragmented single values.
    parts: list[Inline | Stored] = []
    spans: list[int] = []  # parts of each piece
    views: list[memoryview] = []
    pin: Pin | None = None
    # Of a fetch that was begun with patience, and is not through: see fetch_steps.find.
    asked: Asked | None = None
    # What the bytes read from blocks lie in.
    descriptor: FetchDescriptor | OneRead | None = None
    buffer: Buffer | None = None

    def add_single(self, size: int, parts: Sequence[Inline | Stored]) -> None:
        """A single value is there."""
        self.add_piece((len(self.sizes), 0, 0, 1), parts)
        self.sizes.append(size)
        self.segments.append([[*parts]])
        self.nbytes += size

    def add_nothing(self) -> None:
        """The akey has nothing for this reader."""
        self.sizes.append(0)
        self.segments.append([])

    def add_array(self, record_size: int, ranges: list[list[extents.Piece]]) -> None:
        """Some of the ranges of an array akey have data; they are used up."""
        for _ in self.adding_array(record_size, ranges):
            pass

    def adding_array(self, record_size: int, ranges: list[list[extents.Piece]]) -> Iterator[None]:
        """The same, with a yield behind each `PATIENCE` pieces."""
        iod = len(self.sizes)
        self.sizes.append(record_size)
        segments: list[list[Piece]] = []
        left = PATIENCE
        for index, found in enumerate(ranges):
            parts: list[Piece] = []
            first = found[0].lo
            found.reverse()
            while found:  # 10^5 of them would be freed in one turn otherwise: 15 ms
                piece = found.pop()
                left -= 1
                if not left:
                    left = PATIENCE
                    yield
                if not piece.is_data:
                    parts.append(Hole((piece.hi - piece.lo) * record_size))
                    continue
                part = part_of(piece)
                parts.append(part)
                where = (iod, index, piece.lo - first, piece.hi - piece.lo)
                self.add_piece(where, (part,))
                self.nbytes += piece.nbytes
            segments.append(parts)
        self.segments.append(segments)

    def show(self, views: list[memoryview]) -> None:
        """`views` of the parts are in memory; a fragmented single value is put together."""
        if len(views) != len(self.pieces):
            rest = iter(views)
            views = [
                memoryview(b"".join([next(rest) for _ in range(count)]))
                if count > 1
                else next(rest)
                for count in self.spans
            ]
        self.views = views

    def show_one(self, buffer: Buffer, nbytes: int) -> None:
        """The only part is at the front of `buffer`, which is ours now."""
        view = buffer.view
        self.buffer = buffer
        self.views = [view if view.nbytes == nbytes else view[:nbytes]]

    def stored_csum(self, kind: ChecksumType) -> bytes | None:
        """What all the bytes are stored with, if it is one checksum of that kind over them alone.

        Sent on as it is, it also covers what becomes of the bytes after they were compared with it.
        """
        if len(self.parts) == 1 and type(part := self.parts[0]) is Stored:
            nbytes = part.nbytes
            if part.csum_type is kind and nbytes == part.value_nbytes <= part.csum_chunk:
                return part.csums
        return None

    def add_piece(self, piece: PieceOf, parts: Sequence[Inline | Stored]) -> None:
        """One more piece; its bytes are counted by the caller."""
        self.pieces.append(piece)
        self.parts += parts
        self.spans.append(len(parts))
        if type(parts[0]) is Stored:
            self.is_stored = True


def begin(
    state: ContainerState,
    oid: UnitOid,
    dkey: bytes,
    iods: Sequence[Iod],
    epoch: Epoch,
    *,
    cond: int,
    patience: int = 0,
) -> Fetch:
    """See VosContainer.fetch_begin.

    patience:   so much is looked at, then it comes back unfinished, with what it was `asked`
    Cost:       a look-up a key; a seek a single value, a find a range
    """
    order, object_hash, kinds, dkey_size, akey_size = keys.object_facts(oid)
    cond = int(cond)
    if cond & ~_ANY_FETCH or not is_plain(dkey, iods, dkey_size, akey_size):
        check_fetch(dkey, iods, cond, kinds)
    if not 0 < epoch <= EPOCH_MAX:
        raise InvalidError(f"nothing is read at epoch {epoch}")
    fetch = Fetch(state.lsns.of_dkey(object_hash, xxh3_64_intdigest(dkey)))
    try:
        parent, seen = walk(state, order, dkey, kinds[0], epoch)
        if parent is None and cond & _ANY_FETCH:
            raise NotFoundError(f"dkey not found at epoch {epoch}")
        for iod in iods:
            if patience:
                patience -= 1
                if not patience:
                    raise ManyStacksError
            node = None
            if parent is not None:
                node = state.nodes.key(parent.id, keys.AKEY, iod.akey, kinds[1])
            child = seen if node is None else node.look(epoch, seen)
            if node is None or not child.create:
                if (iod.cond if cond & PER_AKEY else cond) & AKEY_FETCH:
                    raise NotFoundError(f"akey not found at epoch {epoch}")
                fetch.add_nothing()
            elif node.record.value_type != iod.type:
                fetch.add_nothing()
            elif iod.type == SINGLE:
                _fetch_single(state, fetch, node.id, epoch, child)
            else:
                patience = _fetch_array(state, fetch, node.record, iod, (epoch, child, patience))
    except DaosError as error:
        error.lsn = fetch.lsn
        raise
    except ManyStacksError:
        fetch.pin = state.meta.space.pin()  # what the first step finds is there in the last
        fetch.asked = Asked(oid, dkey, iods, epoch, cond)
        return fetch
    if fetch.is_stored:
        fetch.pin = state.meta.space.pin()
    return fetch


def begin_for(
    state: ContainerState,
    oid: UnitOid,
    dkey: bytes,
    iods: Sequence[Iod],
    epoch: Epoch,
    *,
    cond: int,
    op: Operation,
) -> Fetch:
    """The same for a transaction: what it finds, or not, must be certain, and stay."""
    fetch = None
    names = asked_of(keys.object_order(oid), keys.key_kinds(oid), dkey, iods)
    at = names.path[: 2 if cond & Cond.DKEY_FETCH else None]
    try:
        with reading(state, names, epoch, op, at):
            fetch = begin(state, oid, dkey, iods, epoch, cond=cond)
    except TxRestartError:
        if fetch is not None:
            end(state, fetch)
        raise
    return fetch


def read(state: ContainerState, fetch: Fetch, done: Done) -> None:
    """See VosContainer.fetch_read."""
    parts = fetch.parts
    if not fetch.is_stored:
        fetch.show([memoryview(part.data) for part in parts if type(part) is Inline])
        done(None)
        return
    meta = state.meta
    if len(parts) == 1 and type(part := parts[0]) is Stored:
        try:
            found = read_now(meta.device, meta.memory, part)
        except DaosError as error:
            done(error)
            return
        if isinstance(found, OneRead):
            fetch.descriptor = found
            found.read(partial(_landed_one, fetch, found, done))
            return
        if found is not None:
            fetch.show_one(found, part.nbytes)
            done(None)
            return
    descriptor = fetch.descriptor = FetchDescriptor(meta.device, meta.memory)

    def landed(error: DaosError | None) -> None:
        if error is None:
            fetch.show(descriptor.views)
        done(error)

    descriptor.prepare(parts)
    descriptor.read(landed)


def _landed_one(fetch: Fetch, one: OneRead, done: Done, error: DaosError | None) -> None:
    fetch.descriptor = None
    buffer, one.buffer = one.buffer, None
    if buffer is not None:
        fetch.show_one(buffer, fetch.nbytes)
    done(error)


def end(state: ContainerState, fetch: Fetch) -> None:
    """See VosContainer.fetch_end."""
    fetch.views = []
    if fetch.buffer is not None:
        fetch.buffer.release()
        fetch.buffer = None
    if fetch.descriptor is not None:
        fetch.descriptor.cancel()
        fetch.descriptor = None
    if fetch.pin is not None:
        state.meta.space.unpin(fetch.pin)
        fetch.pin = None


def walk(
    state: ContainerState, order: bytes, dkey: bytes, kind: KeyKind, epoch: int
) -> tuple[Node | None, IlogView]:
    """The dkey's node, None if a reader at `epoch` does not find it, and its view."""
    node = state.nodes.object(order)
    if node is None:
        return None, ROOT
    seen = node.look(epoch)
    if not seen.create:
        return None, seen
    node = state.nodes.key(node.id, keys.DKEY, dkey, kind)
    if node is None:
        return None, seen
    seen = node.look(epoch, seen)
    return (node if seen.create else None), seen


def _fetch_single(
    state: ContainerState, fetch: Fetch, akey_id: int, epoch: int, seen: IlogView
) -> None:
    version = newest(state.meta, akey_id, epoch, seen.prior_punch)
    if version is None or version.record.is_punch:
        fetch.add_nothing()
        return
    record = version.record
    if not record.runs:
        record.verify()
        fetch.add_single(record.size, [Inline(memoryview(record.payload))])
        return
    kind = _CSUM_TYPES[record.csum_type]
    size = left = record.size
    if len(record.runs) == 1:
        fetch.add_single(size, (Stored(record.runs[0], size, 0, size, kind, size, record.csums),))
        return
    parts: list[Stored] = []
    for index, run in enumerate(record.runs):
        nbytes = min(left, run.count * BLOCK)
        csum = record.csums[index * kind.size : (index + 1) * kind.size]
        parts.append(Stored(run, nbytes, 0, nbytes, kind, nbytes, csum))
        left -= nbytes
    fetch.add_single(record.size, parts)


def _fetch_array(
    state: ContainerState,
    fetch: Fetch,
    record: NodeRecord,
    iod: Iod,
    at: tuple[int, IlogView, int],
) -> int:
    """What is left of the patience. Raises: ManyStacksError."""
    epoch, seen, patience = at
    ranges: list[list[extents.Piece]] = []
    for recx in iod.recxs:
        found = extents.find(
            state.meta,
            record.node_id,
            recx.index,
            recx.index + recx.count,
            classes=record.class_mask,
            epoch=epoch,
            floor=seen.prior_punch,
            patience=patience,
        )
        ranges.append(found)
        if patience:
            patience -= len(found)
            if patience <= 0:
                raise ManyStacksError
    if not any(piece.is_data for found in ranges for piece in found):
        fetch.add_nothing()
        return patience
    check_record_size(record, iod)
    fetch.add_array(record.record_size, ranges)
    return patience


def check_record_size(record: NodeRecord, iod: Iod) -> None:
    """Raises: InvalidError  the reader expects another one."""
    if iod.size and iod.size != record.record_size:
        raise InvalidError(
            f"records of this akey have {record.record_size} bytes, {iod.size} were expected"
        )


def part_of(piece: extents.Piece) -> Inline | Stored:
    """Where the bytes of a visible piece are. Raises: ChecksumError (damage in the tree)."""
    record = piece.record
    assert record is not None
    offset, nbytes = piece.offset, piece.nbytes
    if record.run is None:
        record.verify()
        return Inline(memoryview(record.payload)[offset : offset + nbytes])
    return Stored(
        record.run,
        record.nbytes,
        offset,
        nbytes,
        _CSUM_TYPES[record.csum_type],
        record.csum_chunk,
        record.csums,
    )

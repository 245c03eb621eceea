"""A one-dimensional array of equal cells, cut into chunks over integer dkeys.

    write [offset, +n) --chunks.pieces--> one object update for each dkey --Batch--> targets

A write or read is one batch: its pieces go out together, a bounded number at a time, each a slice
of the caller's memory. A piece is atomic, the whole is not: after an error, or for a reader in
between, some pieces may be written and others not. The reader of a snapshot sees no such thing.
Many ranges in one call: `ranges.py`.

The size is not stored; it is one past the last record that exists, so that two writers need not
agree on it. Holes are zero, reads beyond the end are short.

`resize` cuts by punching chunks, and the tail of the one that is cut in two; the first chunk's dkey
stays, so that the array has a newest epoch still. Where the last record is a hole then, and beyond
the end, one zero cell is written there.

Source: DAOS src/client/array/dc_array.c; internals §5.13. Ours: holes are zero in every array type
(the reference leaves memory untouched where type is not ARRAY_BYTE).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, overload

from daos.base.errors import (
    DaosError,
    ExistsError,
    InvalidError,
    NotFoundError,
    RecordTooBigError,
    TxUncertainError,
)
from daos.base.ids import U64_MAX, Epoch, ObjectType
from daos.base.iod import Cond, Iod, IodType, QueryFlag, Recx
from daos.client import chunks
from daos.client.append import claim, claims_of, drop
from daos.client.chunks import AKEY, METADATA_DKEY, Geometry, Piece
from daos.client.execute import execute
from daos.client.landing import RecordsLanding, ValueLanding
from daos.client.memory import BufferLike, new_bytes, readable, writable
from daos.client.objectio import (
    RUNNING_MAX,
    ObjectHandle,
    ObjectIo,
    or_missing,
    settle,
    settle_epoch,
    settle_fetch,
)
from daos.client.ranges import (
    Buffers,
    Part,
    RangesRead,
    Reading,
    check_many,
    check_ranges,
    parts,
)
from daos.client.session import Call, Handle
from daos.client.shardlist import dkey_sources
from daos.client.task import Batch, Start
from daos.client.values import ArrayStat, check_count

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Iterable, Iterator, Sequence

    from daos.object.client import Found

CHUNK_DEFAULT: Final = 1 << 20  # records

# One request carries no more than this of a chunk: a target has bounded memory for payloads.
PIECE_BYTES_MAX: Final = 4 << 20
# Pieces on their way at once; with the default chunk 16 MiB.
PIECES_RUNNING_MAX: Final = 16
# A hole over so many chunks is punched without asking which of them there are.
CHUNKS_UNLISTED_MAX: Final = 64
# A read of more than this asks for the size first: memory is taken for what exists only.
READ_UNSIZED_MAX: Final = 1 << 20

_SIZE: Final = QueryFlag.MAX | QueryFlag.DKEY | QueryFlag.RECX
_IF_CHUNK_EXISTS: Final = int(Cond.DKEY_UPDATE)
_CREATE: Final = int(Cond.DKEY_INSERT | Cond.AKEY_INSERT)
_OPEN: Final = int(Cond.DKEY_FETCH | Cond.AKEY_FETCH)


class Array(ObjectHandle):
    """An array through one container handle; made by `container.array`."""

    def __init__(self, parent: Handle, io: ObjectIo, geometry: Geometry) -> None:
        super().__init__(parent, io, writable=parent.writable)
        self.cell_size = geometry.cell_size
        self._geometry = geometry
        self._piece_max = max(1, PIECE_BYTES_MAX // geometry.cell_size)

    @property
    def chunk_size(self) -> int:
        """Records below one dkey."""
        return self._geometry.chunk_size

    def update_chunk_size(self, chunk_size: int) -> None:
        """Look for records in chunks of another size, through this handle; nothing is stored.

        Raises: InvalidError
        """
        self._geometry = Geometry(self.cell_size, chunk_size).check()

    @property
    def size(self) -> Awaitable[int]:
        """One past the last record that exists, in records."""
        return self.get_size()

    async def get_size(self, *, timeout: float | None = None) -> int:
        """As `size`, with a timeout."""
        with self._operation(timeout) as call:
            return await self._size(call)

    async def stat(self, *, timeout: float | None = None) -> ArrayStat:
        """The size, in records, and when the array was changed last; a shard tells both at once.

        Cost: one request a shard, whose target walks over all that the shard has
        """
        with self._operation(timeout) as call:
            return await self._stat(call)

    async def newest_epoch(self, *, timeout: float | None = None) -> Epoch:
        """When the array was changed last: `Object.newest_epoch`."""
        with self._operation(timeout) as call:
            return await self._io.newest_epoch(call=call)

    async def write(self, offset: int, data: BufferLike, *, timeout: float | None = None) -> int:
        """Make `data` the content of records from `offset` on; how many. Durable on return.

        Shapes:     data is C-contiguous, a whole number of cells; not copied, so leave it alone
        Units:      offset in records
        Atomicity:  each chunk for itself
        Raises:     InvalidError, NoSpaceError, AccessError
        """
        view, count = self._cells(data)
        offset, count = self._check_range(offset, count)
        with self._operation(timeout, write=True) as call:
            await self._write(self._pieces(offset, count), view, call)
        return count

    async def append(self, data: BufferLike, *, timeout: float | None = None) -> int:
        """Write `data` behind the last record; the offset where it went. Durable on return.

        Of several that append at once each gets a range of its own. Readers may find zeros in it
        until all is written, and for ever what a writer that dies, or fails, had not written yet.

        Shapes:     as for `write`
        Atomicity:  each chunk for itself; against `resize` and `write` none
        Raises:     InvalidError, NoSpaceError, AccessError
        Cost:       two requests for the size, two for the claim, and those of `write`
        """
        view, count = self._cells(data)
        with self._operation(timeout, write=True) as call:
            if not count:
                return await self._size(call)
            claims = self._claims()
            offset = await claim(claims, self._size, count, call)
            try:
                *others, last = self._pieces(*self._check_range(offset, count))
                behind = last.position * self.cell_size
                # First what ends the range: from then on nobody else finds an end within it.
                await self._write([last], view[behind:], call)
            except TxUncertainError:
                raise  # it may be on its way still: the claim stays
            except DaosError:
                await drop(claims, offset, call)
                raise
            if others:
                await self._write(others, view[:behind], call)
            await drop(claims, offset, call)
        return offset

    @overload
    async def read(
        self, offset: int, count: int, into: None = None, *, timeout: float | None = None
    ) -> bytes: ...

    @overload
    async def read(
        self, offset: int, count: int, into: BufferLike, *, timeout: float | None = None
    ) -> int: ...

    async def read(
        self,
        offset: int,
        count: int,
        into: BufferLike | None = None,
        *,
        timeout: float | None = None,
    ) -> bytes | int:
        """Records [offset, offset + count), fewer at the end of the array; holes are zero.

        Gives bytes, or with `into` the number of records that went there; memory behind them is
        left alone.

        Units:   offset, count in records
        Raises:  InvalidError (range, `into` read-only), RecordTooBigError (`into` is too small),
                 ChecksumError
        """
        offset, count = self._check_range(offset, count)
        view = None if into is None else writable(into)
        if view is not None and view.nbytes < count * self.cell_size:
            raise RecordTooBigError(
                f"{count} cells of {self.cell_size} bytes do not fit into {view.nbytes} bytes"
            )
        with self._operation(timeout) as call:
            size = None
            if count * self.cell_size > READ_UNSIZED_MAX:
                size = await self._size(call)
                count = max(0, min(count, size - offset))
            result = b""
            if view is None:
                result, view = new_bytes(count * self.cell_size)
            found = await self._read(offset, count, view, size, call)
        if into is not None:
            return found
        return result if found == count else result[: found * self.cell_size]

    async def resize(self, size: int, *, timeout: float | None = None) -> None:
        """Cut the array at `size` records, or extend it with a zero cell at the new end.

        Cost:      the size, one request a shard; then one request to extend, else one for each
                   chunk that is cut off, and two
        Atomicity: none; other writers beyond the new end may survive
        Raises:    InvalidError, AccessError, NoSpaceError
        """
        size = check_count(size, "size")
        self._check_range(size, 0)
        with self._operation(timeout, write=True) as call:
            was = await self._size(call)
            if size > was or (0 < size < was and not await self._exists(size - 1, call)):
                (piece,) = self._pieces(size - 1, 1)
                zero = memoryview(bytes(self.cell_size))
                update = self._io.update(piece.dkey, (self._iod(piece),), [zero], call=call)
                await settle_epoch(update)
            if size <= was:
                await self._truncate(size, was, call)

    async def punch(self, offset: int, count: int, *, timeout: float | None = None) -> None:
        """Make a hole of records [offset, offset + count); at the end this shortens the array.

        Atomicity: each chunk for itself
        Raises:    InvalidError, AccessError
        """
        offset, count = self._check_range(offset, count)
        with self._operation(timeout, write=True) as call:
            await self._punch(offset, count, call)

    async def write_many(
        self,
        ranges: Iterable[tuple[int, int]],
        data: Buffers,
        *,
        timeout: float | None = None,
    ) -> int:
        """Write ranges (offset, count), in this order out of `data`; how many records.

        Shapes:     data: a buffer, or a list of them used up one after the other; together as long
                    as the ranges; each C-contiguous, of whole cells; not copied
        Units:      offset, count in records
        Atomicity:  each request for itself; of ranges that overlap either may win
        Raises:     as `write`; NotSupportedError (too many short ranges)
        Cost:       a request for consecutive parts below one dkey, of 4 MiB at most
        """
        checked, buffers = check_ranges(ranges), [readable(each) for each in _listed(data)]
        with self._operation(timeout, write=True) as call:
            await _all(
                [
                    self._io.update(part.run.dkey, (self._iod_of(part),), part.views, call=call)
                    for part in self._parts(checked, buffers)
                ]
            )
        return sum(count for _, count in checked)

    async def read_many(
        self,
        ranges: Iterable[tuple[int, int]],
        into: Buffers,
        *,
        timeout: float | None = None,
    ) -> RangesRead:
        """Read ranges (offset, count), in this order, into memory of the caller's.

        Holes below the end of the array become zeros; memory for what is beyond is left alone.

        Shapes, Cost:  as `write_many`; the size is asked for only where no record came from the
                       furthest one that is wanted, or from behind it
        Raises:        as `read`; NotSupportedError (too many short ranges)
        """
        checked, buffers = check_ranges(ranges), [writable(each) for each in _listed(into)]
        with self._operation(timeout) as call:
            reading = Reading(self._geometry, checked)
            await _all(
                [
                    self._io.fetch(
                        part.run.dkey, (self._iod_of(part),), reading.landing(part), call=call
                    )
                    for part in self._parts(checked, buffers)
                ]
            )
            size = reading.seen
            if size < reading.wanted:
                size = max(size, await self._size(call))
        return reading.finish(size)

    async def punch_many(
        self, ranges: Iterable[tuple[int, int]], *, timeout: float | None = None
    ) -> None:
        """`punch` of ranges (offset, count). Raises: as `punch`; NotSupportedError (too many)."""
        checked = check_ranges(ranges)
        with self._operation(timeout, write=True) as call:
            check_many(checked, self._session.ranges_max)
            near, far = list[tuple[int, int]](), list[tuple[int, int]]()
            for offset, count in checked:
                short = count <= CHUNKS_UNLISTED_MAX * self.chunk_size
                (near if short else far).append((offset, count))
            await _all(
                [
                    self._punched(run.number, tuple(run.recxs), call)
                    for run in chunks.runs(self._geometry, near)
                ]
            )
            for offset, count in far:
                await self._punch(offset, count, call)

    async def destroy(self, *, timeout: float | None = None) -> None:
        """Remove the array with its metadata. Raises: AccessError."""
        with self._operation(timeout, write=True) as call:
            await execute(self._io.punch_all(call=call))

    async def _write(self, pieces: list[Piece], view: memoryview, call: Call) -> None:
        if len(pieces) == 1:  # one request needs no batch
            iod = self._iod(pieces[0])
            await settle_epoch(self._io.update(pieces[0].dkey, (iod,), [view], call=call))
            return
        batch = Batch(running_max=PIECES_RUNNING_MAX)
        for piece in pieces:
            lo, hi = piece.position, piece.position + piece.count
            payload = view[lo * self.cell_size : hi * self.cell_size]
            iod = self._iod(piece)
            batch.add(self._io.update(piece.dkey, (iod,), [payload], call=call))
        await execute(batch)

    async def _read(
        self, offset: int, count: int, view: memoryview, size: int | None, call: Call
    ) -> int:
        """Read into `view`; how many records there were. `size` None: not known yet."""
        batch = Batch(running_max=PIECES_RUNNING_MAX)
        landings: list[tuple[Piece, RecordsLanding]] = []
        for piece in self._pieces(offset, count):
            lo, hi = piece.position, piece.position + piece.count
            landing = RecordsLanding(
                view[lo * self.cell_size : hi * self.cell_size], self.cell_size
            )
            landings.append((piece, landing))
            iod = self._iod(piece)
            request = self._io.fetch(piece.dkey, (iod,), landing, call=call)
            if piece.count == count:  # one request needs no batch
                await settle_fetch(request)
            else:
                batch.add(request)
        if batch.tasks:
            await execute(batch)
        end = max(
            (piece.position + landing.end for piece, landing in landings if landing.end), default=0
        )
        if end < count:
            # The tail may be a hole, or beyond the end of the array.
            if size is None:
                size = await self._size(call)
            end = max(end, min(count, size - offset))
        for piece, landing in landings:
            landing.fill(max(0, min(piece.count, end - piece.position)))
        return end

    async def _stat(self, call: Call) -> ArrayStat:
        found, newest = await self._io.query_changed(_SIZE, akey=AKEY, call=call)
        return ArrayStat(self._end(found), newest)

    async def _size(self, call: Call) -> int:
        return self._end(await self._io.query(_SIZE, akey=AKEY, call=call))

    def _end(self, found: Found | None) -> int:
        """The size, by the last record of the last dkey."""
        if found is None or found.recx is None:
            return 0
        number = int.from_bytes(found.dkey, "little")
        return (number - 1) * self.chunk_size + found.recx.end if number else 0

    async def _exists(self, index: int, call: Call) -> bool:
        """Whether a record is no hole."""
        (piece,) = self._pieces(index, 1)
        reply = await settle_fetch(self._io.fetch(piece.dkey, (self._iod(piece),), None, call=call))
        return bool(reply.sizes[0])

    async def _truncate(self, size: int, was: int, call: Call) -> None:
        """Hide all records in [size, was). The first chunk keeps its dkey, as in the reference.

        Its last chunk, if there is one, gets a hole even where nothing goes: that makes an epoch.
        """
        number, index = divmod(size, self.chunk_size)
        if index or not number:
            tail = (Recx(index, self.chunk_size - index),)
            await settle(or_missing(self._punched(number, tail, call, cond=_IF_CHUNK_EXISTS)))
            number += 1
        async for numbers in self._existing(number, -(-was // self.chunk_size), call):
            batch = Batch(running_max=RUNNING_MAX)
            for gone in numbers:
                batch.add(self._io.punch(chunks.dkey_of(gone), call=call))
            await execute(batch)

    async def _punch(self, offset: int, count: int, call: Call) -> None:
        if not count:
            return
        chunk, end = self.chunk_size, offset + count
        async for numbers in self._existing(offset // chunk, -(-end // chunk), call):
            batch = Batch(running_max=RUNNING_MAX)
            for number in numbers:
                hole = Recx(*chunks.overlap(self._geometry, number, offset, end))
                batch.add(self._punched(number, (hole,), call))
            await execute(batch)

    async def _existing(self, lo: int, hi: int, call: Call) -> AsyncGenerator[list[int]]:
        """Numbers of the chunks in [lo, hi) that there are, page by page; a few untested."""
        if hi - lo <= CHUNKS_UNLISTED_MAX:
            yield list(range(lo, hi))
            return
        for fetch in dkey_sources(self._io):
            anchor, eof = b"", False
            while not eof:
                keys, anchor, eof = await fetch(anchor, call)
                yield [int(key) - 1 for key in keys if lo < int(key) <= hi]

    def _punched(self, number: int, recxs: tuple[Recx, ...], call: Call, *, cond: int = 0) -> Start:
        iod = Iod(AKEY, IodType.ARRAY, 0, recxs)
        return self._io.update(chunks.dkey_of(number), (iod,), [], cond=cond, call=call)

    def _parts(self, ranges: list[tuple[int, int]], buffers: list[memoryview]) -> Iterator[Part]:
        """Raises: NotSupportedError, InvalidError; in the reference's order."""
        check_many(ranges, self._session.ranges_max)
        return parts(self._geometry, ranges, buffers, records_max=self._piece_max)

    def _iod_of(self, part: Part) -> Iod:
        return Iod(AKEY, IodType.ARRAY, self.cell_size, tuple(part.run.recxs))

    def _claims(self) -> ObjectIo:
        link, oid = self._io.link, claims_of(self.oid)
        return ObjectIo(self._session, link, oid, link.place(oid))

    def _pieces(self, offset: int, count: int) -> list[Piece]:
        return list(chunks.pieces(self._geometry, offset, count, piece_max=self._piece_max))

    def _iod(self, piece: Piece) -> Iod:
        return Iod(AKEY, IodType.ARRAY, self.cell_size, (Recx(piece.index, piece.count),))

    def _cells(self, data: BufferLike) -> tuple[memoryview, int]:
        """The bytes, and how many cells they are. Raises: InvalidError."""
        view = readable(data)
        count, rest = divmod(view.nbytes, self.cell_size)
        if rest:
            raise InvalidError(
                f"{view.nbytes} bytes are no whole number of {self.cell_size}-byte cells"
            )
        return view, count

    def _check_range(self, offset: int, count: int) -> tuple[int, int]:
        """Both as plain numbers. Raises: InvalidError."""
        offset, count = check_count(offset, "offset"), check_count(count, "count")
        if offset + count > U64_MAX:
            raise InvalidError(f"records [{offset}, +{count}) reach past 2**64")
        return offset, count

    def __repr__(self) -> str:
        return f"<Array {self.oid}, cells of {self.cell_size} bytes>"


def _listed(buffers: Buffers) -> Sequence[BufferLike]:
    return buffers if isinstance(buffers, list | tuple) else (buffers,)


async def _all(requests: Sequence[Start]) -> None:
    """Send all; the first error is theirs."""
    if len(requests) == 1:  # one request needs no batch
        await settle(requests[0])
    if len(requests) < 2:
        return
    batch = Batch(running_max=PIECES_RUNNING_MAX)
    for request in requests:
        batch.add(request)
    await execute(batch)


async def open_array(
    parent: Handle,
    io: ObjectIo,
    *,
    cell_size: int,
    chunk_size: int,
    create: bool,
    timeout: float | None,
) -> Array:
    """Open or make the array `io` reaches; see `Container.array`."""
    if not io.oid.type.is_array:
        raise InvalidError(f"object {io.oid} is of type {io.oid.type.name}, no array type")
    geometry = Geometry(cell_size, chunk_size).check()
    if io.oid.type is ObjectType.ARRAY:
        if create:
            await _write_metadata(parent, io, geometry, timeout)
        else:
            geometry = await _read_metadata(parent, io, geometry, timeout)
    elif io.oid.type is ObjectType.ARRAY_BYTE and cell_size != 1:
        raise InvalidError(f"a byte array has cells of 1 byte, not {cell_size}")
    return Array(parent, io, geometry)


async def _write_metadata(
    parent: Handle, io: ObjectIo, geometry: Geometry, timeout: float | None
) -> None:
    value = memoryview(geometry.emit())
    iod = Iod(AKEY, IodType.SINGLE, value.nbytes)
    with parent._operation(timeout, write=True) as call:
        try:
            await settle_epoch(io.update(METADATA_DKEY, (iod,), [value], cond=_CREATE, call=call))
        except ExistsError:
            raise ExistsError(f"array {io.oid} exists") from None


async def _read_metadata(
    parent: Handle, io: ObjectIo, asked: Geometry, timeout: float | None
) -> Geometry:
    landing = ValueLanding()
    iod = Iod(AKEY, IodType.SINGLE, 0)
    with parent._operation(timeout) as call:
        try:
            await settle_fetch(io.fetch(METADATA_DKEY, (iod,), landing, cond=_OPEN, call=call))
        except NotFoundError:
            raise NotFoundError(f"there is no array {io.oid}") from None
    stored = Geometry.parse(landing.value)
    for name, default in (("cell_size", 1), ("chunk_size", CHUNK_DEFAULT)):
        wanted, kept = getattr(asked, name), getattr(stored, name)
        if wanted not in (default, kept):
            raise InvalidError(f"array {io.oid} has {name} {kept}, not {wanted}")
    return stored

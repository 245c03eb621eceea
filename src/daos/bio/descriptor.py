"""The life of one I/O's payload between network and medium: an update's way in, a fetch's way out.

An `UpdateDescriptor` gives destinations for the bytes to come, and hands them to a transaction
(`OneValue` is the same for one value):

    NEW --prepare--> PREPARED --(bytes land) verify--> VERIFIED --post--> POSTED --finish--> DONE

A `FetchDescriptor` collects the pieces of an answer, wherever they are:

    NEW --prepare--> PREPARED --read--> READING --all read, all verified--> READY --finish--> DONE
                                           +----a read failed, or damage--> FAILED

`cancel` leads from every state to CANCELED and gives all memory back; from READING the memory
follows when the device has let go of it.

Values go to one of two media. SCM values (no extent) are plain memory that travels with its record
inside the tree. NVMe values have an extent of whole blocks; their memory is a part of one aligned
buffer, padded to whole blocks with zeros, so the device takes it as it is and nothing of an
earlier owner leaks to the medium.

Invariants:
    I1  a descriptor takes all its aligned memory in one piece, so that no two wait for each other
    I2  landed bytes are checked once, before anything refers to them
    I3  what a fetch shows has passed its checksums, chunk by chunk; damaged bytes are never shown
    I4  the memory of a posted update is untouched until the log says durable (`finish`)

Source: DAOS src/bio/bio_buffer.c bio_iod_prep, bio_iod_copy, bio_iod_post; checksums:
src/object/srv_csum.c. There the chunks of an array extent are aligned to the array's records; ours
count from the value's first byte, so a value can be checked without knowing where it was written.
"""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterator, Sequence
from enum import Enum
from typing import Final, NamedTuple, Protocol

from daos.base.checksum import ChecksumType, Turn, compute_slowly, xxh3
from daos.base.errors import (
    AgainError,
    ChecksumError,
    CorruptError,
    DaosError,
    RecordTooBigError,
)
from daos.bio.device import BLOCK, BlockDevice, Done, round_up
from daos.bio.memory import AlignedPool, Buffer, Waiting
from daos.bio.pieces import Hole as Hole
from daos.bio.pieces import Inline as Inline
from daos.bio.pieces import Piece as Piece
from daos.bio.pieces import Stored as Stored
from daos.bio.pieces import check_stored, chunk_checksums, first_difference
from daos.bio.space import Extent

_ZEROS: Final = memoryview(bytes(64 << 10))


class PayloadSink(Protocol):
    """What `post` needs of a transaction."""

    def write(self, extent: Extent, buffers: Sequence[memoryview], checksum: int) -> None: ...

    def wrote(self, extent: Extent, checksum: int) -> None: ...


class State(Enum):
    NEW = "new"
    PREPARED = "prepared"
    VERIFIED = "verified"
    POSTED = "posted"
    READING = "reading"
    READY = "ready"
    FAILED = "failed"
    DONE = "done"
    CANCELED = "canceled"


# Members of enums are looked up by name each time; these are not.
_NEW: Final = State.NEW
_PREPARED: Final = State.PREPARED
_VERIFIED: Final = State.VERIFIED
_POSTED: Final = State.POSTED
_READING: Final = State.READING
_READY: Final = State.READY
_DONE: Final = State.DONE
_CANCELED: Final = State.CANCELED
_ENDED: Final = (State.DONE, State.FAILED, State.CANCELED)


class IoDescriptor:
    """What both directions share: a state, at most one aligned buffer, and a count of copies.

    `copies` and `bytes_copied` count payload moved in user space between memory areas here.
    """

    __slots__ = ("_buffer", "_pool", "bytes_copied", "copies", "state")

    def __init__(self, pool: AlignedPool) -> None:
        self.state = _NEW
        self.copies = 0
        self.bytes_copied = 0
        self._pool = pool
        self._buffer: Buffer | None = None

    def finish(self, error: DaosError | None = None) -> None:
        """Give the memory back; `error` makes it fit to be a `Done`, and does not matter here."""
        assert self.state is _POSTED or self.state is _READY, self.state
        self.state = _DONE
        self._release()

    def cancel(self) -> None:
        """Give everything back, in any state; idempotent. No `done` is called after it.

        A posted update may be cancelled only if its transaction was dropped.
        """
        if self.state not in _ENDED:
            self.state = _CANCELED
            self._release()

    def _advance(self, before: State, after: State) -> None:
        assert self.state is before, f"{self.state} where {before} was expected"
        self.state = after

    def _copy(self, into: memoryview, data: memoryview) -> None:
        into[:] = data
        self.copies += 1
        self.bytes_copied += len(data)

    def _release(self) -> None:
        if self._buffer is not None:
            self._buffer.release()
            self._buffer = None


class UpdateDescriptor(IoDescriptor):
    """Payload on its way in. `destinations` are in the order of the values."""

    __slots__ = ("_posts", "_sums", "destinations")

    def __init__(self, pool: AlignedPool) -> None:
        super().__init__(pool)
        self.destinations: list[memoryview] = []
        # Per NVMe value: its extent and its memory, padded to whole blocks.
        self._posts: list[tuple[Extent, memoryview]] = []
        self._sums: dict[Extent, int] = {}

    @staticmethod
    def buffer_nbytes(extents: Sequence[Extent | None]) -> int:
        """The aligned memory that `prepare` will take; 0: none."""
        return sum(extent.count for extent in extents if extent is not None) * BLOCK

    def prepare(
        self,
        sizes: Sequence[int],
        extents: Sequence[Extent | None],
        *,
        buffer: Buffer | None = None,
    ) -> list[memoryview]:
        """Memory for values of `sizes` bytes; the extent of a value, None for SCM.

        `buffer`, of `buffer_nbytes`, is memory that the caller waited for; it is taken over.

        Raises:     AgainError   no aligned memory now: wait with `pool.when_available`
                    DaosError    DER_OVERFLOW: more than the pool can ever give
        Cost:       clears SCM memory and the padding of NVMe values, nothing else
        """
        self._advance(_NEW, _PREPARED)
        self._buffer = buffer
        needed = self.buffer_nbytes(extents)
        if needed and self._buffer is None:
            try:
                self._buffer = self._pool.acquire(needed)
                if self._buffer is None:
                    raise AgainError(f"{needed} bytes of aligned memory are not free now")
            except DaosError:
                self.state = State.NEW
                raise
        assert needed == (0 if self._buffer is None else self._buffer.nbytes)
        at = 0
        for nbytes, extent in zip(sizes, extents, strict=True):
            if extent is None:
                self.destinations.append(memoryview(bytearray(nbytes)))
                continue
            assert nbytes > 0
            assert extent.count * BLOCK == round_up(nbytes), f"{nbytes} bytes in {extent}"
            assert self._buffer is not None
            padded = self._buffer.view[at : at + extent.count * BLOCK]
            padded[nbytes:] = bytes(len(padded) - nbytes)
            self.destinations.append(padded[:nbytes])
            self._posts.append((extent, padded))
            at += len(padded)
        return self.destinations

    def fill(self, values: Sequence[memoryview]) -> None:
        """Copy values that are already in memory to their destinations; counted."""
        assert self.state is State.PREPARED, self.state
        for into, data in zip(self.destinations, values, strict=True):
            self._copy(into, _flat(data))

    def verify(
        self,
        csum_type: ChecksumType,
        csum_chunk: int,
        expected: Sequence[bytes] | None = None,
    ) -> list[bytes]:
        """The chunk checksums of each value, computed on the bytes that landed.

        Raises:     ChecksumError   not what the sender `expected`; cancel the descriptor
        """
        assert self.state is State.PREPARED, self.state
        csums = [chunk_checksums(csum_type, value, csum_chunk) for value in self.destinations]
        if expected is not None:
            for index, (got, want) in enumerate(zip(csums, expected, strict=True)):
                if got != want:
                    chunk = first_difference(got, want, csum_type.size)
                    raise ChecksumError(
                        f"value {index} of an update arrived damaged, at byte {chunk * csum_chunk}"
                    )
        self.state = State.VERIFIED
        return csums

    def trust(self) -> None:
        """In place of `verify`: the caller has the checksums of what landed already."""
        self._advance(_PREPARED, _VERIFIED)

    def drop(self, extents: Collection[Extent]) -> None:
        """The values of these extents are stored elsewhere already: do not post them."""
        self._posts = [post for post in self._posts if post[0] not in extents]

    def summing(self) -> Iterator[None]:
        """Compute ahead, slice by slice, what `post` will need of the bytes that have landed."""
        turn = Turn(ChecksumType.XXH3)
        for extent, padded in self._posts:
            digest = yield from compute_slowly(ChecksumType.XXH3, padded)
            self._sums[extent] = int.from_bytes(digest, "little")
            yield from turn.did(padded.nbytes)

    def post(self, tx: PayloadSink, checksum: int | None = None) -> None:
        """Hand the NVMe values to the transaction, with the checksum of what goes to the medium.

        `checksum` is that of the only one, its padding included, where the caller knows it.
        """
        self._advance(_VERIFIED, _POSTED)
        for extent, padded in self._posts:
            known = self._sums.get(extent) if checksum is None else checksum
            tx.write(extent, (padded,), xxh3(padded) if known is None else known)


class _Placed(NamedTuple):
    """Where a stored piece will be in the buffer."""

    piece: Stored
    lo: int  # bytes of the value that are read: whole chunks
    hi: int
    at: int  # of byte `lo`, in the buffer


class _Run(NamedTuple):
    """One device read: neighbouring blocks of one or more pieces."""

    offset: int
    nbytes: int
    at: int


class FetchDescriptor(IoDescriptor):
    """Payload on its way out. `views`, 1:1 with the pieces, are valid from READY to `finish`."""

    __slots__ = (
        "_device",
        "_done",
        "_error",
        "_needed",
        "_outstanding",
        "_pieces",
        "_placed",
        "_runs",
        "_waiting",
        "nbytes",
        "views",
    )

    def __init__(self, device: BlockDevice, pool: AlignedPool) -> None:
        super().__init__(pool)
        self.nbytes = 0
        self.views: list[memoryview] = []
        self._device = device
        self._needed = 0  # bytes of aligned memory
        self._pieces: Sequence[Piece] = ()
        self._placed: list[_Placed] = []
        self._runs: list[_Run] = []
        self._waiting: Waiting | None = None
        self._outstanding = 0
        self._error: DaosError | None = None
        self._done: Done | None = None

    def prepare(self, pieces: Sequence[Piece]) -> None:
        """Plan the reads: whole chunks, whole blocks, neighbours in one read.

        Raises:     CorruptError   a piece does not fit its value, extent or checksums
        """
        self._advance(_NEW, _PREPARED)
        self._pieces = pieces
        limit = self._device.size_bytes
        at = 0
        for piece in pieces:
            self.nbytes += piece.nbytes
            if type(piece) is not Stored:
                continue
            lo, hi = _whole_chunks(piece)
            first = lo // BLOCK * BLOCK
            offset = piece.blocks.block * BLOCK + first
            nbytes = -(-hi // BLOCK) * BLOCK - first
            if offset < first or offset + nbytes > limit:
                raise CorruptError("stored piece: extent", offset=offset, want=limit, got=nbytes)
            last = self._runs[-1] if self._runs else None
            if last is not None and last.offset + last.nbytes == offset:
                self._runs[-1] = last._replace(nbytes=last.nbytes + nbytes)
            else:
                self._runs.append(_Run(offset, nbytes, at))
            self._placed.append(_Placed(piece, lo, hi, at + lo - first))
            at += nbytes
        self._needed = at

    @property
    def buffer_nbytes(self) -> int:
        """The aligned memory that `read` will take, after waiting for it if need be."""
        return self._needed

    def read(self, done: Done) -> None:
        """Read and verify all stored pieces; those in the page cache without leaving the loop.

        Raises:     DaosError   DER_OVERFLOW: more than the pool can ever give; AgainError
        Done:       called once, before `read` returns if everything was at hand:
                    ChecksumError (extent and byte), NvmeIoError, ShutdownError
        """
        assert self.state is _PREPARED, self.state
        needed = self._needed
        if needed == 0:
            self._done = done
            self.state = _READING
            self._complete()
            return
        buffer = self._pool.acquire(needed)
        if buffer is None:
            self._waiting = self._pool.when_available(needed, self._start)
        self._done = done
        self.state = _READING
        if buffer is not None:
            self._start(buffer)

    def copy_into(self, destinations: Sequence[memoryview]) -> int:
        """Copy the whole answer into `destinations`, filled one after the other; counted.

        Raises:     RecordTooBigError   they are smaller than the answer; nothing is copied
        """
        assert self.state is State.READY, self.state
        room = sum(into.nbytes for into in destinations)
        if room < self.nbytes:
            raise RecordTooBigError(f"an answer of {self.nbytes} bytes into {room}")
        targets = iter(destinations)
        target = memoryview(b"")
        for view in self.views:
            while view:
                while not target:
                    target = _flat(next(targets))
                nbytes = min(len(view), len(target))
                self._copy(target[:nbytes], view[:nbytes])
                view, target = view[nbytes:], target[nbytes:]
        return self.nbytes

    def _start(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._waiting = None
        submit: list[tuple[int, memoryview]] = []
        for offset, nbytes, at in self._runs:
            into = buffer.view[at : at + nbytes]
            try:
                if not self._device.read_nowait(offset, into):
                    submit.append((offset, into))
            except DaosError as err:
                self._error = err
                submit = []
                break
        self._outstanding = len(submit)
        for offset, into in submit:
            self._device.submit_read(offset, into, self._landed)
        if not submit:
            self._complete()

    def _landed(self, error: DaosError | None) -> None:
        self._outstanding -= 1
        if error is not None and self._error is None:
            self._error = error
        if self._outstanding == 0:
            self._complete()

    def _complete(self) -> None:
        if self.state is _CANCELED:
            self._release()
            return
        error = self._error
        if error is None:
            try:
                self._verify()
            except ChecksumError as err:
                error = err
        if error is None:
            self.state = _READY
            self._show()
        else:
            self.state = State.FAILED
            self._release()
        # Let go of it first: it holds the fetch, which holds this, and what is no cycle needs no
        # garbage collector. That took 30 % of a 4 KiB fetch.
        done, self._done = self._done, None
        assert done is not None
        done(error)

    def _verify(self) -> None:
        for piece, lo, hi, at in self._placed:
            assert self._buffer is not None
            check_stored(self._device.name, piece, lo, self._buffer.view[at : at + hi - lo])

    def _show(self) -> None:
        placed = iter(self._placed)
        for piece in self._pieces:
            if type(piece) is Stored:
                _, lo, _, at = next(placed)
                start = at + piece.offset - lo
                assert self._buffer is not None
                self.views.append(self._buffer.view[start : start + piece.nbytes])
            elif type(piece) is Inline:
                self.views.append(_flat(memoryview(piece.data)))
            else:
                self.views.append(_zeros(piece.nbytes))

    def _release(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self.views = []
        if self._outstanding == 0:  # else the device still writes into it
            super()._release()


def _whole_chunks(piece: Stored) -> tuple[int, int]:
    """The bytes [lo, hi) of the value that must be read to check the wanted ones."""
    end = piece.offset + piece.nbytes
    if piece.offset < 0 or piece.nbytes < 1 or end > piece.value_nbytes:
        raise CorruptError(
            "stored piece: end in value", offset=piece.offset, want=piece.value_nbytes, got=end
        )
    if piece.value_nbytes > piece.blocks.count * BLOCK:
        room = piece.blocks.count * BLOCK
        raise CorruptError(
            "stored piece: value in extent", offset=0, want=room, got=piece.value_nbytes
        )
    size, chunk = piece.csum_type.size, piece.csum_chunk
    if size == 0:
        return piece.offset, end
    if chunk < 1:
        raise CorruptError("stored piece: chunk of checksum", offset=0, want=1, got=chunk)
    want = -(-piece.value_nbytes // chunk) * size
    if len(piece.csums) != want:
        raise CorruptError("stored piece: checksums", offset=0, want=want, got=len(piece.csums))
    return piece.offset // chunk * chunk, min(-(-end // chunk) * chunk, piece.value_nbytes)


def _flat(view: memoryview) -> memoryview:
    """The same memory, byte by byte."""
    if view.nbytes == 0:
        return memoryview(b"")  # an empty view cannot be cast
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def _zeros(nbytes: int) -> memoryview:
    """Read-only zeros; large ones are a mapping that no memory stands behind."""
    if nbytes <= len(_ZEROS):
        return _ZEROS[:nbytes]
    return memoryview(mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))

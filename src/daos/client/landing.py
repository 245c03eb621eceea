"""Where the payload of a fetch goes, and what it leaves out.

A reply names runs of existing records (`Piece`); their bytes land in the destination, one after the
other, without passing through other memory. What no piece covers is a hole:

    a piece of range r, records [index, index + count)  ->  bytes of destination r at index * size

Landing is one object for each request: `into` is asked by the transport when header and message are
there and the payload follows, `finish` is called when all of it has landed.

Source: ours; DAOS fills scatter-gather lists and describes holes in an I/O map (daos_iom_t)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from daos.base.errors import InvalidError, ProtocolError, RecordTooBigError
from daos.client.memory import check_fits, new_bytes, zero
from daos.object.wire import FETCH_BYTES_MAX, FetchReply


class Landing(Protocol):
    """Where the values of a fetch go."""

    def into(self, reply: FetchReply) -> Sequence[memoryview]:
        """Memory for each piece of the reply."""
        ...

    def room(self, sizes: Sequence[int] | None) -> Sequence[memoryview] | None:
        """Memory for each value or range, which `into` names pieces of.

        `sizes` None: before anything is known; then None where it depends on that.
        """
        ...


class ValueLanding:
    """A single value, of a size that only the reply tells. Without payload it is empty."""

    __slots__ = ("_fresh", "_into", "nbytes", "value")

    def __init__(self, into: memoryview | None = None) -> None:
        """With `into` the value goes there and `value` stays empty."""
        self._into = into
        self._fresh: memoryview | None = None  # of `value`
        self.value = b""
        self.nbytes = 0

    def into(self, reply: FetchReply) -> Sequence[memoryview]:
        """Memory for the value. Raises: RecordTooBigError."""
        return [self._memory(reply.sizes[0])]

    def room(self, sizes: Sequence[int] | None) -> Sequence[memoryview] | None:
        """See Landing. Raises: RecordTooBigError."""
        if sizes is not None:
            return [self._memory(sizes[0])]
        return None if self._into is None else [self._into]

    def _memory(self, nbytes: int) -> memoryview:
        self.nbytes = nbytes
        if self._into is not None:
            check_fits(nbytes, self._into, "the value")
            return self._into[:nbytes]
        if self._fresh is None or len(self._fresh) != nbytes:
            self.value, self._fresh = new_bytes(nbytes)
        return self._fresh


class RecordsLanding:
    """Records of one range, of a known size; whoever knows where they end fills the holes."""

    __slots__ = ("_runs", "_size", "_view")

    def __init__(self, view: memoryview, record_size: int) -> None:
        """Shapes: view has a whole number of records, undefined."""
        self._view = view
        self._size = record_size
        self._runs: list[tuple[int, int]] = []  # [lo, hi) that exist

    def into(self, reply: FetchReply) -> Sequence[memoryview]:
        """Memory for each run of records. Raises: InvalidError (records of another size)."""
        check_record_size(reply.sizes[0], self._size)
        views = []
        self._runs = []  # an earlier reply may have been broken off
        for piece in reply.pieces:
            lo, hi = piece.index, piece.index + piece.count
            self._runs.append((lo, hi))
            views.append(self._view[lo * self._size : hi * self._size])
        return views

    def room(self, sizes: Sequence[int] | None) -> Sequence[memoryview]:
        """See Landing. Raises: InvalidError (records of another size)."""
        if sizes is not None:
            check_record_size(sizes[0], self._size)
        return [self._view]

    def finish(self, reply: FetchReply) -> None:
        """Also where no payload came. Raises: InvalidError (records of another size)."""
        check_record_size(reply.sizes[0], self._size)

    @property
    def end(self) -> int:
        """One past the last record that exists; 0 where none does."""
        return max((hi for _, hi in self._runs), default=0)

    def fill(self, count: int) -> None:
        """Zero the holes among the first `count` records; leave the rest alone."""
        zero_gaps(self._view, self._runs, count=count, record_size=self._size)


class RangesLanding:
    """Records of several ranges of one akey, all of one known size, each into memory of its own."""

    __slots__ = ("_runs", "_size", "_views")

    def __init__(self, views: Sequence[memoryview], record_size: int) -> None:
        """Shapes: a view for each range, of whole records, undefined."""
        self._views = views
        self._size = record_size
        self._runs: list[list[tuple[int, int]]] = [[] for _ in views]  # [lo, hi) that exist

    def into(self, reply: FetchReply) -> Sequence[memoryview]:
        """Memory for each piece. Raises: InvalidError (records of another size)."""
        check_record_size(reply.sizes[0], self._size)
        views = []
        self._runs = [[] for _ in self._views]  # an earlier reply may have been broken off
        for piece in reply.pieces:
            lo, hi = piece.index, piece.index + piece.count
            self._runs[piece.recx].append((lo, hi))
            views.append(self._views[piece.recx][lo * self._size : hi * self._size])
        return views

    def room(self, sizes: Sequence[int] | None) -> Sequence[memoryview]:
        """See Landing. Raises: InvalidError (records of another size)."""
        if sizes is not None:
            check_record_size(sizes[0], self._size)
        return self._views

    def ends(self) -> list[int]:
        """Of each range: one past the last record that exists; 0 where none does."""
        return [max((hi for _, hi in runs), default=0) for runs in self._runs]

    def fill(self, counts: Sequence[int]) -> None:
        """Of each range: zero the holes among the first `count` records; leave the rest alone."""
        for view, runs, count in zip(self._views, self._runs, counts, strict=True):
            zero_gaps(view, runs, count=count, record_size=self._size)


class Slot(NamedTuple):
    """Where one thing that was asked for stands in the request; `records` 0: a single value."""

    iod: int
    recx: int
    records: int


class ManyLanding:
    """Several values and ranges of one request, all sizes told by the reply.

    What has nothing in it is None, and takes no memory where values come in the reply's frame.
    """

    __slots__ = ("_made", "_slots", "_values")

    def __init__(self, slots: Sequence[Slot]) -> None:
        """Shapes: one slot for each thing asked for, no two the same."""
        self._slots = slots
        self._values: dict[tuple[int, int], bytes] = {}
        self._made: dict[tuple[int, int], tuple[bytes, memoryview]] = {}

    def into(self, reply: FetchReply) -> Sequence[memoryview]:
        """Memory for each piece. Raises: RecordTooBigError."""
        found: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for piece in reply.pieces:
            runs = found.setdefault((piece.iod, piece.recx), [])
            runs.append((piece.index, piece.index + piece.count))
        whole = self._find(reply, found)
        for iod, recx, records in self._slots:
            if (iod, recx) in found:
                size, filled = reply.sizes[iod], found[iod, recx]
                zero_gaps(whole[iod, recx], filled, count=records or 1, record_size=size)
        views = []
        for piece in reply.pieces:
            size = reply.sizes[piece.iod]
            lo, hi = piece.index * size, (piece.index + piece.count) * size
            views.append(whole[piece.iod, piece.recx][lo:hi])
        return views

    def room(self, sizes: Sequence[int] | None) -> Sequence[memoryview] | None:
        """See Landing. Raises: RecordTooBigError."""
        if sizes is None:
            return None
        self._make({_place(slot): _nbytes(slot, sizes) for slot in self._slots})
        return [self._made[place][1] for place in sorted(self._made)]

    def finish(self) -> list[bytes | None]:
        """Each value, or None where nothing is."""
        return [self._values.get(_place(slot)) for slot in self._slots]

    def _find(
        self, reply: FetchReply, found: Collection[tuple[int, int]]
    ) -> dict[tuple[int, int], memoryview]:
        """Memory for what was found, in `room` if it was asked for."""
        sizes = {
            _place(slot): _nbytes(slot, reply.sizes)
            for slot in self._slots
            if _place(slot) in found
        }
        if len(sizes) < len(found):
            raise ProtocolError("fetch reply has pieces that were not asked for")
        made = self._made
        if any(place not in made or len(made[place][0]) != sizes[place] for place in sizes):
            self._make(sizes)
        self._values = {place: self._made[place][0] for place in sizes}
        return {place: self._made[place][1] for place in sizes}

    def _make(self, sizes: Mapping[tuple[int, int], int]) -> None:
        if sum(sizes.values()) > FETCH_BYTES_MAX:
            raise RecordTooBigError(
                f"{sum(sizes.values())} bytes asked for; one fetch brings at most {FETCH_BYTES_MAX}"
            )
        self._made = {place: new_bytes(size) for place, size in sizes.items()}


def _place(slot: Slot) -> tuple[int, int]:
    return slot.iod, slot.recx


def _nbytes(slot: Slot, sizes: Sequence[int]) -> int:
    """Raises: ProtocolError"""
    if slot.iod >= len(sizes):
        raise ProtocolError("fetch reply does not answer its request")
    return sizes[slot.iod] * (slot.records or 1)


def zero_gaps(
    view: memoryview, runs: Sequence[tuple[int, int]], *, count: int, record_size: int
) -> None:
    """Zero what `runs`, in records [lo, hi), leave uncovered of the first `count` records."""
    position = 0
    for lo, hi in sorted(runs):
        zero(view, position * record_size, min(lo, count) * record_size)
        position = max(position, hi)
    zero(view, position * record_size, count * record_size)


def check_record_size(stored: int, asked: int) -> None:
    """Raises: InvalidError if records of the akey have another size; 0: there are none."""
    if stored not in (0, asked):
        raise InvalidError(f"the akey has records of {stored} bytes, not {asked}")

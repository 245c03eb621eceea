"""Where the payload of a fetch goes, and what it leaves out.

A reply names runs of existing records (`Piece`); their bytes land in the destination, one after the
other, without passing through other memory. What no piece covers is a hole:

    a piece of range r, records [index, index + count)  ->  bytes of destination r at index * size

Landing is one object for each request: `into` is asked by the transport when header and message are
there and the payload follows, `finish` is called when all of it has landed.

Source: ours; DAOS fills scatter-gather lists and describes holes in an I/O map (daos_iom_t)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from daos.base.errors import InvalidError, ProtocolError, RecordTooBigError
from daos.cart.context import Limits
from daos.client.memory import check_fits, new_bytes, zero
from daos.object.wire import FetchReply

# What one request moves: the bound of a frame's payload.
REQUEST_BYTES_MAX: Final = Limits().payload_size_max


class ValueLanding:
    """A single value, of a size that only the reply tells. Without payload it is empty."""

    __slots__ = ("_into", "nbytes", "value")

    def __init__(self, into: memoryview | None = None) -> None:
        """With `into` the value goes there and `value` stays empty."""
        self._into = into
        self.value = b""
        self.nbytes = 0

    def into(self, reply: FetchReply) -> Sequence[memoryview]:
        """Memory for the value. Raises: RecordTooBigError."""
        self.nbytes = reply.sizes[0]
        if self._into is None:
            self.value, view = new_bytes(self.nbytes)
            return [view]
        check_fits(self.nbytes, self._into, "the value")
        return [self._into[: self.nbytes]]


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
        for piece in reply.pieces:
            lo, hi = piece.index, piece.index + piece.count
            self._runs.append((lo, hi))
            views.append(self._view[lo * self._size : hi * self._size])
        return views

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


class Slot(NamedTuple):
    """Where one thing that was asked for stands in the request; `records` 0: a single value."""

    iod: int
    recx: int
    records: int


class ManyLanding:
    """Several values and ranges of one request, all sizes told by the reply.

    Memory is taken for what has something in it; the rest is None.
    """

    __slots__ = ("_slots", "_values")

    def __init__(self, slots: Sequence[Slot]) -> None:
        """Shapes: one slot for each thing asked for, no two the same."""
        self._slots = slots
        self._values: dict[tuple[int, int], bytes] = {}

    def into(self, reply: FetchReply) -> Sequence[memoryview]:
        """Memory for each piece. Raises: RecordTooBigError."""
        found: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for piece in reply.pieces:
            runs = found.setdefault((piece.iod, piece.recx), [])
            runs.append((piece.index, piece.index + piece.count))
        whole = self._make(reply, found)
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

    def finish(self) -> list[bytes | None]:
        """Each value, or None where nothing is."""
        return [self._values.get(_place(slot)) for slot in self._slots]

    def _make(
        self, reply: FetchReply, found: Collection[tuple[int, int]]
    ) -> dict[tuple[int, int], memoryview]:
        sizes = {
            _place(slot): reply.sizes[slot.iod] * (slot.records or 1)
            for slot in self._slots
            if _place(slot) in found
        }
        if len(sizes) < len(found):
            raise ProtocolError("fetch reply has pieces that were not asked for")
        if sum(sizes.values()) > REQUEST_BYTES_MAX:
            raise RecordTooBigError(
                f"{sum(sizes.values())} bytes asked for; one request brings at most "
                f"{REQUEST_BYTES_MAX}"
            )
        made = {key: new_bytes(size) for key, size in sizes.items()}
        self._values = {key: value for key, (value, _) in made.items()}
        return {key: view for key, (_, view) in made.items()}


def _place(slot: Slot) -> tuple[int, int]:
    return slot.iod, slot.recx


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

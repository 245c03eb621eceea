"""Where the payload of a fetch goes, and what it leaves out.

A reply names runs of existing records (`Piece`); their bytes land in the destination, one after the
other, without passing through other memory. What no piece covers is a hole:

    a piece of range r, records [index, index + count)  ->  bytes of destination r at index * size

Landing is one object for each request: `into` is asked by the transport when header and message are
there and the payload follows, `finish` is called when all of it has landed.

Source: ours; DAOS fills scatter-gather lists and describes holes in an I/O map (daos_iom_t)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

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


class ManyLanding:
    """Several values and ranges of one request, all sizes told by the reply."""

    __slots__ = ("_counts", "_values")

    def __init__(self, counts: Sequence[int]) -> None:
        """Shapes: counts has one entry for each descriptor: records of its range, 0: one value."""
        self._counts = counts
        self._values: list[bytes] = []

    def into(self, reply: FetchReply) -> Sequence[memoryview]:
        """Memory for each piece. Raises: RecordTooBigError."""
        whole = self._make(reply)
        runs: list[list[tuple[int, int]]] = [[] for _ in whole]
        views = []
        for piece in reply.pieces:
            size = reply.sizes[piece.iod]
            lo, hi = piece.index, piece.index + piece.count
            runs[piece.iod].append((lo, hi))
            views.append(whole[piece.iod][lo * size : hi * size])
        for view, known, size, count in zip(whole, runs, reply.sizes, self._counts, strict=True):
            if size:
                zero_gaps(view, known, count=count or 1, record_size=size)
        return views

    def finish(self, reply: FetchReply) -> list[bytes | None]:
        """Each value, or None where nothing is. Raises: RecordTooBigError."""
        if not self._values:  # no payload came
            for view in self._make(reply):
                zero(view, 0, view.nbytes)
        return [
            value if size else None for value, size in zip(self._values, reply.sizes, strict=True)
        ]

    def _make(self, reply: FetchReply) -> list[memoryview]:
        if len(reply.sizes) != len(self._counts):
            raise ProtocolError("fetch reply does not answer its request")
        nbytes = [
            size * (count or 1) for size, count in zip(reply.sizes, self._counts, strict=True)
        ]
        if sum(nbytes) > REQUEST_BYTES_MAX:
            raise RecordTooBigError(
                f"{sum(nbytes)} bytes asked for; one request brings at most {REQUEST_BYTES_MAX}"
            )
        made = [new_bytes(size) for size in nbytes]
        self._values = [value for value, _ in made]
        return [view for _, view in made]


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

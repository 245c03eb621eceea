"""One bulk transfer: which bytes have been asked for, which have arrived, what is left to copy.

By frames, a transfer is cut into chunks in the order of its ranges; in shared memory, into pairs of
equal pieces. `bulk_port` decides when either moves.

Source: ours
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, Protocol

from daos.base.errors import DaosError
from daos.cart.bulk import RANGES_MAX, Range, Segments

# What is copied between shared memory and ours in one turn of the loop: some 0.2 ms.
COPY_STEP: Final = 1 << 20

TransferDone = Callable[[DaosError | None], None]


class Transfer:
    """Bytes on their way between local memory and ranges of a region."""

    __slots__ = (
        "_rest",
        "borrowed",
        "deadline_ns",
        "done",
        "ended",
        "get",
        "held",
        "key",
        "left",
        "local",
        "pairs",
        "ranges",
        "shared",
        "trace_id",
    )

    def __init__(
        self,
        key: bytes,
        ranges: Sequence[Range],
        local: Segments,
        *,
        get: bool,
        shared: bool = False,
        deadline_ns: int,
        trace_id: int,
        done: TransferDone,
    ) -> None:
        """Shapes: local has as many bytes as all ranges together, 1 or more."""
        self.ranges = ranges
        self.shared = shared  # as its handle says
        # What is still to be copied, (into, from), in shared memory.
        self.pairs: deque[tuple[memoryview, memoryview]] = deque()
        self.key = key
        self.local = local
        self.get = get
        self.deadline_ns = deadline_ns
        self.trace_id = trace_id
        self.done = done
        self.left = local.nbytes  # not yet arrived
        self.borrowed = 0  # of it: bytes that we copy ourselves
        self.held = 0  # chunks whose memory the transport may still read
        self.ended = False
        # What goes by frames, not yet asked for: (first byte in `local`, offset, size).
        self._rest = deque(self._spread(0, local.nbytes))

    def next_chunk(self, nbytes_max: int) -> Chunk | None:
        """The next bytes to ask for; None when all are."""
        rest = self._rest
        if not rest:
            return None
        ranges: list[Range] = []
        first, left = rest[0][0], nbytes_max
        while rest and left and len(ranges) < RANGES_MAX:
            at, offset, size = rest[0]
            if at != first + nbytes_max - left:
                break  # what lies between is borrowed
            step = min(size, left)
            ranges.append((offset, step))
            left -= step
            if step < size:
                rest[0] = (at + step, offset + step, size - step)
            else:
                rest.popleft()
        return Chunk(self, first, nbytes_max - left, ranges)

    def borrow(self, pieces: Sequence[memoryview | int]) -> bool:
        """All of it lies in `pieces`, one after the other; an int: so many bytes go by frames.

        Returns whether there are such. What is borrowed is in `pairs` then.
        """
        self._rest.clear()
        at = 0
        for piece in pieces:
            if isinstance(piece, int):
                self._rest.extend(self._spread(at, piece))
                at += piece
                continue
            local = self.local.slice(at, len(piece))
            self.pairs.extend(pairs_of(local, [piece]) if self.get else pairs_of([piece], local))
            self.borrowed += len(piece)
            at += len(piece)
        return bool(self._rest)

    def _spread(self, at: int, nbytes: int) -> Iterator[tuple[int, int, int]]:
        """The ranges that bytes [at, at + nbytes) of local memory stand for."""
        first = 0  # of the range
        for offset, size in self.ranges:
            lo, hi = max(first, at), min(first + size, at + nbytes)
            if lo < hi:
                yield lo, offset + lo - first, hi - lo
            first += size


class Chunk:
    """One frame's part of a transfer: bytes [at, at + nbytes) of its local memory."""

    __slots__ = ("at", "held", "nbytes", "ranges", "transfer")

    def __init__(self, transfer: Transfer, at: int, nbytes: int, ranges: list[Range]) -> None:
        self.transfer = transfer
        self.at = at
        self.nbytes = nbytes
        self.ranges = ranges
        self.held = False


class PeerMemory(Protocol):
    """What a link shares with its peer."""

    @property
    def shares(self) -> bool:
        """Whether it can."""
        ...

    def offer(self, region_id: int) -> bool:
        """Let the peer map an area of ours; False if there is none."""
        ...

    def memory(self, region_id: int) -> memoryview | None:
        """An area of the peer's."""
        ...

    @property
    def over(self) -> bool:
        """The connection has ended here: nothing of the peer's may be written to any more."""
        ...

    def reclaim(self, views: Sequence[memoryview], region_ids: Collection[int]) -> bool:
        """Writable memory of ours, parts of these areas: no peer writes to it from now on.

        False: a peer still may, and nothing can be done about it.
        """
        ...

    def let_go(self) -> None:
        """What the link reads of our memory is ours again."""
        ...

    def cut(self) -> None:
        """End the connection at once."""
        ...


def pairs_of(
    into: Sequence[memoryview], source: Sequence[memoryview]
) -> list[tuple[memoryview, memoryview]]:
    """Equal pieces of both, none larger than COPY_STEP; they have as many bytes."""
    pairs = []
    sources = iter(source)
    rest = memoryview(b"")
    for piece in into:
        left = piece
        while left:
            if not rest:
                rest = next(sources)
            step = min(len(left), len(rest), COPY_STEP)
            pairs.append((left[:step], rest[:step]))
            left, rest = left[step:], rest[step:]
    return pairs

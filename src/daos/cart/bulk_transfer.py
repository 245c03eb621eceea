"""One bulk transfer: which bytes have been asked for, which have arrived, what is left to copy.

By frames, a transfer is cut into chunks in the order of its ranges; in shared memory, into pairs of
equal pieces. `bulk_port` decides when either moves.

Source: ours
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from daos.base.errors import DaosError
from daos.cart.bulk import RANGES_MAX, Range, Segments

# What is copied between shared memory and ours in one turn of the loop: some 0.2 ms.
COPY_STEP: Final = 1 << 20

TransferDone = Callable[[DaosError | None], None]


class Transfer:
    """Bytes on their way between local memory and ranges of a region."""

    __slots__ = (
        "_at",
        "_rest",
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
        self.held = 0  # chunks whose memory the transport may still read
        self.ended = False
        self._at = 0
        self._rest = deque(ranges)

    def next_chunk(self, nbytes_max: int) -> Chunk | None:
        """The next bytes to ask for; None when all are."""
        ranges: list[Range] = []
        left = nbytes_max
        while self._rest and left and len(ranges) < RANGES_MAX:
            offset, size = self._rest.popleft()
            step = min(size, left)
            ranges.append((offset, step))
            left -= step
            if step < size:
                self._rest.appendleft((offset + step, size - step))
        if not ranges:
            return None
        chunk = Chunk(self, self._at, nbytes_max - left, ranges)
        self._at += chunk.nbytes
        return chunk


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

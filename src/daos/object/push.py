"""The answer to a large fetch, written straight into the memory that its client has named.

    steps of bounded size: read, verify -> checksums -> bulk put into the client's memory
    all of them have landed -> reply: sizes, pieces, checksums

The client's memory is one region: room for each single value and each range of records, in the
order of the descriptors. Nothing is written where the client has released it: its call is over.

    A1  at most one step's payload memory is taken at a time
    A2  a reply is sent only when all that it tells of has landed; whatever ends earlier is an
        error, and the pin and the memory are given back

Source: DAOS src/object/srv_obj.c obj_bulk_transfer
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from daos.base.checksum import ChecksumType, Turn, compute_slowly, slice_bytes
from daos.base.errors import DaosError, DeadlineError, RecordTooBigError
from daos.object import wire

if TYPE_CHECKING:
    from daos.base.ids import Epoch
    from daos.cart.bulk import Range
    from daos.cart.context import Rpc
    from daos.engine.target import ContainerHandle
    from daos.engine.xstream import Xstream
    from daos.vos.fetch import Fetch

# Its round trip does not count, and a target has payload memory for many.
STEP_BYTES: Final = 4 << 20


class Push:
    """One fetch on its way to its client; `start` once what it saw is durable."""

    __slots__ = (
        "_checksums",
        "_epoch",
        "_fetch",
        "_first",
        "_handle",
        "_offsets",
        "_pieces",
        "_rpc",
        "_step",
        "_steps",
        "_xstream",
    )

    def __init__(
        self, xstream: Xstream, rpc: Rpc, handle: ContainerHandle, fetch: Fetch, epoch: Epoch
    ) -> None:
        self._xstream = xstream
        self._rpc = rpc
        self._handle = handle
        self._fetch = fetch
        self._epoch = epoch
        self._pieces: list[wire.Piece] = []
        self._checksums: list[bytes] = []
        self._steps: Iterator[Fetch] = iter(())
        self._step: Fetch | None = None
        request: wire.FetchRequest = rpc.request
        # The number of each descriptor's first value or range; where in the region each begins.
        self._first = [0, *accumulate(len(iod.recxs) or 1 for iod in request.iods)]
        self._offsets = [0, *accumulate(request.room)]

    def start(self, error: DaosError | None) -> None:
        """Read and write the first step, unless there was an error."""
        try:
            if error is not None:
                raise error
            self._check_room()
        except DaosError as failure:
            self._fail(failure)
            return
        self._steps = self._handle.container.fetch_split(self._fetch, self._step_bytes())
        self._next()

    def _step_bytes(self) -> int:
        """A step is verified in one turn, by the algorithm of its container."""
        return min(STEP_BYTES, 2 * slice_bytes(self._handle.stored_type))

    def _check_room(self) -> None:
        """Raises: RecordTooBigError"""
        request: wire.FetchRequest = self._rpc.request
        for iod, recx, index, count in self._fetch.pieces:
            size = self._fetch.sizes[iod]
            room = request.room[self._first[iod] + recx]
            if (index + count) * size > room:
                text = f"descriptor {iod} has {(index + count) * size} bytes, its memory {room}"
                raise RecordTooBigError(text)

    def _next(self) -> None:
        rpc, step = self._rpc, next(self._steps, None)
        self._step = step
        if step is None:
            self._reply()
            return
        try:
            if rpc.deadline_ns <= self._xstream.clock.now_ns():
                raise DeadlineError("the request's deadline passed before all was sent")
            self._handle.container.fetch_read(step, self._read)
        except DaosError as failure:
            self._fail(failure)

    def _read(self, error: DaosError | None) -> None:
        if error is not None:
            self._fail(error)
            return
        assert self._step is not None
        self._hash(self._summing(self._step.views))

    def _summing(self, views: list[memoryview]) -> Iterator[None]:
        """The checksums that go along, with a yield behind each slice."""
        kind = self._handle.checksum_type
        if kind is ChecksumType.OFF:
            return
        turn = Turn(kind)
        for view in views:
            self._checksums.append((yield from compute_slowly(kind, view)))
            yield from turn.did(view.nbytes)

    def _hash(self, summing: Iterator[None]) -> None:
        """One slice, and then the turn of others; at once what is less."""
        for _ in summing:
            self._xstream.loop.call_soon(self._hash, summing)
            return
        self._write()

    def _write(self) -> None:
        rpc, step = self._rpc, self._step
        assert step is not None
        ranges: list[Range] = []
        for (iod, recx, index, count), view in zip(step.pieces, step.views, strict=True):
            self._pieces.append(wire.Piece(iod, recx, index, count))
            offset = self._offsets[self._first[iod] + recx]
            ranges.append((offset + index * self._fetch.sizes[iod], view.nbytes))
        self._xstream.context.bulk.put(
            rpc.request.bulk,
            step.views,
            ranges=ranges,
            via=rpc,
            deadline_ns=rpc.deadline_ns,
            trace_id=rpc.trace_id,
            done=self._written,
        )

    def _written(self, error: DaosError | None) -> None:
        if error is not None:
            self._fail(error)
            return
        assert self._step is not None
        self._handle.container.fetch_end(self._step)
        self._next()

    def _reply(self) -> None:
        self._handle.container.fetch_end(self._fetch)
        sizes = tuple(self._fetch.sizes)
        self._rpc.reply(
            wire.FetchReply(self._epoch, sizes, tuple(self._pieces), tuple(self._checksums))
        )

    def _fail(self, error: DaosError) -> None:
        if self._step is not None:
            self._handle.container.fetch_end(self._step)
        self._handle.container.fetch_end(self._fetch)
        self._rpc.fail(error)

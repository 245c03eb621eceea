"""Bulk transfers over one connection: the end that owns the memory. See `bulk_port`.

    O1  what a peer may read or write is decided by `check_access`, once a request
    O2  memory is lent for writing in whole pages that belong to the region alone; the rest of a
        range is named as not shared (region 0), and the peer puts it by frames
    O3  an end of the connection while a peer may still be writing takes those pages out of its
        reach, so that `Region.when_free` is true whatever the peer does, or does not do

Source: DAOS src/cart/crt_bulk.c crt_bulk_access; lending: ours
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from daos.base.errors import DaosError, NotSupportedError, ProtocolError
from daos.cart.bulk import (
    BORROW,
    GET,
    PUT,
    Borrow,
    Mode,
    Region,
    Return,
    Table,
    check_access,
    decode_access,
    decode_borrow,
    decode_return,
    encode,
    released,
)
from daos.cart.framing import as_bytes
from daos.cart.wire import DECODE_ERRORS, REPLY, Bytes, Header, checksum, emit_failure

if TYPE_CHECKING:
    from daos.cart.bulk_transfer import PeerMemory
    from daos.cart.framing import Framing


class _Putting(NamedTuple):
    """A peer's payload on its way into a region."""

    header: Header
    region: Region


class _Loan(NamedTuple):
    """What a peer has borrowed; `views`: what of it for writing."""

    region: Region
    views: Sequence[memoryview]
    region_ids: frozenset[int]


class Queue(Protocol):
    """Where frames go that are to leave."""

    def __call__(
        self,
        fields: tuple[int, ...],
        body: bytes,
        payload: Sequence[memoryview],
        size: int,
        sent: Callable[[], None] | None,
    ) -> None:
        """`size` bytes of payload; `sent` is called when the transport reads it no more."""
        ...


class Owner:
    """What a peer does with memory of ours; a holder of the regions that it is at."""

    def __init__(
        self,
        frames: Framing[Any],
        table: Table,
        *,
        chunk_size: int,
        queue: Queue,
        wake: Callable[[], None],
        memory: PeerMemory | None,
    ) -> None:
        self._frames = frames
        self._limits = frames.limits
        self._table = table
        self._chunk_size = chunk_size
        self._queue = queue
        self._wake = wake
        self._memory = memory
        self._answers: dict[int, Region] = {}  # replies with memory of a region, not yet sent
        self._putting: _Putting | None = None
        self._lent: dict[int, _Loan] = {}
        self._peer_id_last = 0

    def end(self) -> None:
        """The connection is gone. Idempotent."""
        lent, self._lent = self._lent, {}
        for loan in lent.values():
            loan.region.holders.pop(self, None)
            if loan.views and self._reclaimed(loan):
                loan.region.take_back()
        holding = [*self._answers.values(), *([self._putting.region] if self._putting else [])]
        for region in holding:
            region.holders.pop(self, None)
        self._answers.clear()
        self._putting = None

    def _reclaimed(self, loan: _Loan) -> bool:
        assert self._memory is not None
        return self._memory.reclaim(loan.views, loan.region_ids)

    def released(self, region: Region) -> None:
        """The region's memory is read and written no more; answers to that say so."""
        putting = self._putting
        if putting is not None and putting.region is region:
            self._putting = None
            self._frames.forget()
            self._answer(putting.header, released())
        for rpc_id in [each for each, held in self._answers.items() if held is region]:
            del self._answers[rpc_id]
            frame = self._frames.unqueue(GET, rpc_id, REPLY)
            if frame is not None:
                self._fail(frame.fields, released())
            elif self._memory is not None:
                self._memory.let_go()
        self._wake()

    def take(self, header: Header, body: Bytes) -> Sequence[memoryview] | None:
        """A request; where its payload goes. Raises: ProtocolError"""
        if self._frames.outbox_frames > self._limits.serving_max + self._limits.bulk_inflight_max:
            raise ProtocolError("the peer asks for more and takes no answers")
        if header.rpc_id <= self._peer_id_last:
            raise ProtocolError("the ids of a peer's bulk requests do not ascend")
        self._peer_id_last = header.rpc_id
        try:
            if header.opcode > GET:
                if header.payload_size:
                    raise ProtocolError("a bulk request with a payload that has none")
                if header.opcode == BORROW:
                    self._lend(header, decode_borrow(body))
                else:
                    self._take_back(header, decode_return(body))
                return None
            access = decode_access(body)
        except DECODE_ERRORS as error:
            raise ProtocolError(f"an unreadable bulk request: {error}") from None
        writes = header.opcode == PUT
        try:
            region = self._table.find(access.key)
            nbytes = check_access(region, access.ranges, Mode.WRITE if writes else Mode.READ)
        except DaosError as error:
            self._answer(header, error)
            return None
        views = [
            piece for offset, size in access.ranges for piece in region.segments.slice(offset, size)
        ]
        if nbytes > self._chunk_size or header.payload_size != nbytes * writes:
            text = f"{nbytes} bytes of bulk in a frame with {header.payload_size} bytes of payload"
            raise ProtocolError(text)
        region.holders[self] = None
        if writes:
            self._putting = _Putting(header, region)
            return views
        self._answers[header.rpc_id] = region
        self._answer(header, payload=as_bytes(views), size=nbytes)
        return None

    def landed(self, header: Header) -> None:
        """The payload of a PUT is whole."""
        putting, self._putting = self._putting, None
        assert putting is not None
        putting.region.nbytes_put += header.payload_size
        self._let_go(putting.region)
        self._answer(header)

    def _lend(self, header: Header, wanted: Borrow) -> None:
        """Let the peer read or write shared memory of ours by itself."""
        if len(self._lent) >= self._limits.bulk_transfers_max:
            raise ProtocolError("the peer borrows more and gives nothing back")
        try:
            region = self._table.find(wanted.key)
            check_access(region, wanted.ranges, Mode(wanted.mode))
            if region.places is None or self._memory is None or not self._memory.shares:
                raise NotSupportedError("the memory is not shared")
            where, views = region.where(wanted.ranges, writes=wanted.mode == Mode.WRITE)
            region_ids = frozenset(place[0] for place in where if place[0])
            if not region_ids or not all(map(self._memory.offer, region_ids)):
                raise NotSupportedError("the memory is not shared any more")
        except DaosError as error:
            self._answer(header, error)
            return
        region.holders[self] = None
        region.lent += bool(views)
        self._lent[header.rpc_id] = _Loan(region, views, region_ids)
        self._answer(header, body=encode(where))

    def _take_back(self, header: Header, returned: Return) -> None:
        loan = self._lent.pop(returned.rpc_id, None)
        if loan is None:
            raise ProtocolError("the peer gives back what it has not borrowed")
        region = loan.region
        region.nbytes_put += sum(map(len, loan.views))
        self._answer(header, released() if region.released else None)
        self._let_go(region)
        if loan.views:
            region.take_back()

    def cut(self) -> None:
        """End the connection: its peer holds on to memory for too long."""
        if self._memory is not None:
            self._memory.cut()

    def _answer(
        self,
        request: Header,
        error: DaosError | None = None,
        *,
        body: bytes = b"",
        payload: Sequence[memoryview] = (),
        size: int = 0,
    ) -> None:
        if error is not None:
            body = emit_failure(error)
        fields = (
            *(REPLY, request.opcode, int(error.code) if error else 0, request.rpc_id),
            *(request.source_rank, request.source_tag, request.rank, request.tag),
            *(0, request.trace_id, size, len(body), checksum(body)),
        )
        sent = partial(self._answered, request.rpc_id) if payload else None
        self._queue(fields, body, payload, size, sent)

    def _fail(self, fields: tuple[int, ...], error: DaosError) -> None:
        """Answer with an error in place of a reply that was taken back."""
        body = emit_failure(error)
        fields = (*fields[:2], int(error.code), *fields[3:10], 0, len(body), checksum(body))
        self._queue(fields, body, (), 0, None)

    def _answered(self, rpc_id: int) -> None:
        region = self._answers.pop(rpc_id, None)
        if region is not None:
            self._let_go(region)

    def _let_go(self, region: Region) -> None:
        held = [*self._answers.values(), *(each.region for each in self._lent.values())]
        if self._putting is not None:
            held.append(self._putting.region)
        if region not in held:
            region.holders.pop(self, None)

"""Bulk transfers over one connection, in both directions, sans-I/O.

Either end of a connection may own the memory, whichever of the two opened it; so a target reads
what lies at a client, which nobody can call. Bulk frames have the opcode base 0xFF and ids of their
own, from 2^63 up; between them calls and replies go on.

    accessor                                       owner
       GET  [key, ranges]              ------->    check_access
            payload lands in `local`   <-------    reply, payload from the region
       PUT  [key, ranges], payload     ------->    check_access, payload lands in the region
                                       <-------    reply

Where both ends are on one host and the memory is shared over their link, no bytes are sent but
those of pages that are not the region's alone:

       BORROW [key, ranges, mode]      ------->    check_access
            copies, a step at a time   <-------    places in shared memory; what is not shared
                                                   goes by PUT
       RETURN [id of the BORROW]       ------->    still registered?
                                       <-------    reply

A transfer is cut into chunks; a chunk is one frame. At most bulk_inflight_max chunks are on their
way, of all transfers in turn, so that a large one neither holds up the others nor the loop.

    P1  a transfer ends once: whole, by the first error, by `abort`, `expire`, or `end`
    P2  memory of a GET is written to, memory of a PUT is read, until the transfer is told as ended,
        and not after: a PUT that was given up is told when the transport has let go of its memory
    P3  memory of a region is read and written until it is released, and not after: the accessor
        hears NONEXIST; what the transport has taken goes on as a copy
    P4  what was borrowed for writing is the owner's again when it was returned, or the connection
        has ended; `Region.when_free` says so. Nothing is copied once the connection has ended here;
        and the owner does not rely on that (`bulk_owner`)
    P5  a peer that answers what was not asked, or asks without taking the answers, breaks the
        protocol

Ends are collected, not told on the spot: `wake` says that `take_ended` has something, or that
frames were queued outside `take`.

Here is the accessor; what the owner does is in `bulk_owner`.

Source: DAOS src/cart/crt_bulk.c crt_bulk_transfer, crt_bulk_abort; frames: ours
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from daos.base.errors import (
    DER,
    AgainError,
    DaosError,
    DeadlineError,
    ProtocolError,
)
from daos.cart.bulk import (
    BORROW,
    GET,
    PUT,
    RANGES_MAX,
    RETURN,
    Access,
    Borrow,
    Mode,
    Return,
    Table,
    decode_places,
    encode,
)
from daos.cart.bulk_owner import Owner
from daos.cart.bulk_transfer import COPY_STEP, Chunk, PeerMemory, Transfer
from daos.cart.framing import Frame, Framing, as_bytes
from daos.cart.wire import (
    DECODE_ERRORS,
    HEADER_SIZE,
    REPLY,
    Bytes,
    Endpoint,
    Header,
    checksum,
    parse_failure,
)

_ID_FIRST: Final = 1 << 63


class Port:
    """The bulk part of one end of a connection; `frames` carries it."""

    def __init__(
        self,
        frames: Framing[Any],
        table: Table,
        *,
        source: Endpoint,
        peer: Endpoint,
        wake: Callable[[], None],
        memory: PeerMemory | None = None,
    ) -> None:
        self._frames = frames
        self._memory = memory
        self.nbytes_copied = 0  # between shared memory and ours
        self.answered = 0  # requests of ours, whole
        self._limits = frames.limits
        self._chunk_size = min(frames.limits.bulk_chunk_size, frames.limits.payload_size_max)
        self._source = source
        self._route = (*peer, *source)
        self._wake = wake
        self._id_next = _ID_FIRST
        # As accessor.
        self._transfers: dict[Transfer, None] = {}  # that have not ended
        self._asking: deque[Transfer] = deque()  # with chunks left to ask for
        self._inflight: dict[int, Chunk] = {}
        self._getting: Chunk | None = None  # its payload is landing
        self._borrowing: dict[int, Transfer] = {}  # asked for by the request of this id
        self._copying: deque[tuple[int, Transfer]] = deque()  # borrowed
        self._returning: dict[int, Transfer | None] = {}  # None: nobody waits for it
        self._ended: list[tuple[Transfer, DaosError | None]] = []
        self._ending: dict[Transfer, DaosError | None] = {}  # ended, their memory still held
        self._owner = Owner(
            frames,
            table,
            chunk_size=self._chunk_size,
            queue=self._queue,
            wake=wake,
            memory=memory,
        )
        frames.own = self

    @property
    def expecting(self) -> bool:
        """Something is on its way that only reading brings."""
        return bool(self._inflight or self._borrowing or self._returning)

    @property
    def waiting(self) -> bool:
        """The peer owes us an answer, or the rest of one."""
        return self.expecting or self._getting is not None

    def meet(self, peer: Endpoint) -> None:
        """It is known now who is at the other end."""
        self._route = (*peer, *self._source)

    @property
    def transfers(self) -> int:
        """Transfers of ours that have not ended."""
        return len(self._transfers)

    # Accessor

    def start(self, transfer: Transfer) -> None:
        """Begin. Raises: DaosError(UNREACH), AgainError: it has not begun."""
        if self._frames.dead:
            raise DaosError("the connection to the memory's owner is gone", code=DER.UNREACH)
        if len(self._transfers) >= self._limits.bulk_transfers_max:
            raise AgainError(f"{len(self._transfers)} bulk transfers are on their way already")
        self._transfers[transfer] = None
        if transfer.shared and self._memory is not None and self._memory.shares:
            self._borrow(transfer)
            return
        self._asking.append(transfer)
        self._pump()

    def abort(self, transfer: Transfer, error: DaosError) -> None:
        """Give it up, if it has not ended. Local memory of a GET is free at once."""
        if transfer.ended:
            return
        if transfer in self._asking:
            self._asking.remove(transfer)
        self._unqueue(transfer)
        if self._getting is not None and self._getting.transfer is transfer:
            self._getting = None
            self._frames.forget()
        for rpc_id, each in list(self._copying):
            if each is transfer:
                self._copying.remove((rpc_id, each))
                self._give_back(rpc_id, transfer)
        if transfer.held and self._memory is not None:
            self._memory.let_go()
        self._finish(transfer, error)
        self._pump()

    def expire(self, now_ns: int) -> None:
        """Give up what is past its deadline."""
        for transfer in [each for each in self._transfers if each.deadline_ns <= now_ns]:
            self.abort(transfer, DeadlineError("the bulk transfer did not end in time"))

    def next_deadline_ns(self) -> int | None:
        """When to call `expire`."""
        return min((transfer.deadline_ns for transfer in self._transfers), default=None)

    def end(self, error: DaosError) -> None:
        """The connection is gone: every transfer ends with `error`. Idempotent."""
        self._owner.end()
        self._asking.clear()
        self._getting = None
        for transfer in list(self._transfers):
            self._unqueue(transfer)
            transfer.held = 0
            self._finish(transfer, error)
        for transfer, before in self._ending.items():
            transfer.held = 0
            self._tell(transfer, before)
        self._ending.clear()
        self._inflight.clear()
        self._borrowing.clear()
        self._copying.clear()
        self._returning.clear()

    def take_ended(self) -> list[tuple[Transfer, DaosError | None]]:
        """What has ended since the last time, and how."""
        ended, self._ended = self._ended, []
        return ended

    # Accessor, in shared memory

    def _borrow(self, transfer: Transfer) -> None:
        mode = Mode.READ if transfer.get else Mode.WRITE
        body = encode(Borrow(transfer.key, tuple(transfer.ranges[:RANGES_MAX]), int(mode)))
        if len(transfer.ranges) > RANGES_MAX:
            self._asking.append(transfer)
            self._pump()
            return
        self._borrowing[self._request_own(BORROW, transfer, body)] = transfer

    def _lent_to_us(self, header: Header, body: Bytes) -> None:
        """The answer to a BORROW: places, or why not; without any, the bytes go by frames."""
        transfer = self._borrowing.pop(header.rpc_id, None)
        if transfer is None or header.payload_size:
            raise ProtocolError("a bulk reply that answers nothing")
        if header.status and header.status != DER.NOTSUPPORTED:
            self.abort(transfer, parse_failure(header.status, body))
            return
        pieces: list[memoryview | int] | None = None
        if not header.status:
            pieces = self._mapped(body, transfer.local.nbytes)
        if transfer.ended or pieces is None:
            if not header.status:
                self._give_back(header.rpc_id, None)
            if not transfer.ended:
                self._asking.append(transfer)
                self._pump()
            return
        by_frames = transfer.borrow(pieces)
        self._copying.append((header.rpc_id, transfer))
        self._wake()
        if by_frames:
            self._asking.append(transfer)
            self._pump()

    def _mapped(self, body: Bytes, nbytes: int) -> list[memoryview | int] | None:
        """The places of a reply, mapped here, or the size of what isn't shared.

        None: they can't be had. Raises: ProtocolError.
        """
        try:
            places = decode_places(body)
        except DECODE_ERRORS as error:
            raise ProtocolError(f"unreadable places of bulk memory: {error}") from None
        if sum([size for _, _, size in places]) != nbytes:
            raise ProtocolError(f"places of bulk memory with other than {nbytes} bytes")
        assert self._memory is not None
        pieces: list[memoryview | int] = []
        for region_id, offset, size in places:
            if not region_id:
                pieces.append(size)
                continue
            area = self._memory.memory(region_id)
            if area is None or offset + size > area.nbytes:
                return None
            pieces.append(area[offset : offset + size])
        return pieces

    def copy_some(self) -> bool:
        """Copy up to COPY_STEP bytes, or one piece; True if there are more."""
        left = COPY_STEP
        if self._memory is None or self._memory.over:
            return False  # what was borrowed is the owner's again: `end` comes next
        while self._copying and left > 0:
            rpc_id, transfer = self._copying[0]
            pairs = transfer.pairs
            while pairs and left > 0:
                into, source = pairs.popleft()
                into[:] = source
                self.nbytes_copied += into.nbytes
                left -= into.nbytes
            if not pairs:
                self._copying.popleft()
                self._give_back(rpc_id, transfer)
        return bool(self._copying)

    def _give_back(self, rpc_id: int, transfer: Transfer | None) -> None:
        """We are through with what was borrowed; `transfer` ends with the answer."""
        returned = self._request_own(RETURN, transfer, encode(Return(rpc_id)))
        self._returning[returned] = transfer

    def _given_back(self, header: Header, body: Bytes) -> None:
        if header.rpc_id not in self._returning or header.payload_size:
            raise ProtocolError("a bulk reply that answers nothing")
        transfer = self._returning.pop(header.rpc_id)
        if transfer is None or transfer.ended:
            return
        if header.status:
            self.abort(transfer, parse_failure(header.status, body))
        else:
            self._arrived(transfer, transfer.borrowed)

    def _request_own(self, opcode: int, transfer: Transfer | None, body: bytes) -> int:
        rpc_id = self._id_next
        self._id_next = rpc_id + 1
        deadline_ns, trace_id = (transfer.deadline_ns, transfer.trace_id) if transfer else (0, 0)
        fields = (
            *(0, opcode, 0, rpc_id),
            *self._route,
            *(deadline_ns, trace_id, 0, len(body), checksum(body)),
        )
        self._queue(fields, body, (), 0, None)
        return rpc_id

    # Accessor, by frames

    def _pump(self) -> None:
        """Ask for chunks while there is room, a chunk of each transfer in turn."""
        while self._asking and len(self._inflight) < self._limits.bulk_inflight_max:
            transfer = self._asking[0]
            chunk = transfer.next_chunk(self._chunk_size)
            if chunk is None:
                self._asking.popleft()
                continue
            self._asking.rotate(-1)
            self._ask(chunk)

    def _ask(self, chunk: Chunk) -> None:
        transfer = chunk.transfer
        body = encode(Access(transfer.key, tuple(chunk.ranges)))
        payload: Sequence[memoryview] = ()
        size, sent = 0, None
        if not transfer.get:
            payload = as_bytes(transfer.local.slice(chunk.at, chunk.nbytes))
            size, sent = chunk.nbytes, partial(self._chunk_sent, chunk)
            chunk.held = True
            transfer.held += 1
        rpc_id = self._id_next
        self._id_next = rpc_id + 1
        self._inflight[rpc_id] = chunk
        fields = (
            *(0, GET if transfer.get else PUT, 0, rpc_id),
            *self._route,
            *(transfer.deadline_ns, transfer.trace_id, size, len(body), checksum(body)),
        )
        self._queue(fields, body, payload, size, sent)

    def _reply(self, header: Header, body: Bytes) -> Sequence[memoryview] | None:
        """An owner has answered; where the payload goes."""
        chunk = self._inflight.pop(header.rpc_id, None)
        if chunk is None or header.opcode != (GET if chunk.transfer.get else PUT):
            raise ProtocolError("a bulk reply that answers nothing")
        transfer = chunk.transfer
        try:
            if header.status:
                if not transfer.ended:
                    self.abort(transfer, parse_failure(header.status, body))
                return None
            if header.payload_size != (chunk.nbytes if transfer.get else 0):
                text = f"a bulk reply of {header.payload_size} bytes, not {chunk.nbytes}"
                raise ProtocolError(text)
            if transfer.ended:
                return None
            if transfer.get:
                self._getting = chunk
                return transfer.local.slice(chunk.at, chunk.nbytes)
            self._chunk_sent(chunk)
            self._arrived(transfer, chunk.nbytes)
            return None
        finally:
            self._pump()

    def _arrived(self, transfer: Transfer, nbytes: int) -> None:
        transfer.left -= nbytes
        if not transfer.left:
            self._finish(transfer, None)

    def _chunk_sent(self, chunk: Chunk) -> None:
        """The transport reads the memory of a PUT no more."""
        transfer = chunk.transfer
        if not chunk.held or not transfer.held:
            return
        chunk.held = False
        transfer.held -= 1
        if not transfer.held and transfer in self._ending:
            self._tell(transfer, self._ending.pop(transfer))

    def _finish(self, transfer: Transfer, error: DaosError | None) -> None:
        transfer.ended = True
        del self._transfers[transfer]
        if transfer.held:
            self._ending[transfer] = error
        else:
            self._tell(transfer, error)

    def _tell(self, transfer: Transfer, error: DaosError | None) -> None:
        self._ended.append((transfer, error))
        self._wake()

    def _unqueue(self, transfer: Transfer) -> None:
        """Its chunks that have not left do not leave."""
        for rpc_id, chunk in list(self._inflight.items()):
            if chunk.held and chunk.transfer is transfer and self._frames.unqueue(PUT, rpc_id):
                del self._inflight[rpc_id]
                chunk.held = False
                transfer.held -= 1

    # What the framing calls

    def take(self, header: Header, body: Bytes) -> Sequence[memoryview] | None:
        """A frame of ours, but for its payload: where that goes; None: nowhere.

        Raises: ProtocolError
        """
        opcode = header.opcode
        if not PUT <= opcode <= RETURN or header.rpc_id < _ID_FIRST:
            raise ProtocolError(f"bulk frame {opcode:#010x}, id {header.rpc_id:#x}")
        if not header.flags & REPLY:
            return self._owner.take(header, body)
        if not header.payload_size:
            self.answered += 1
        if opcode <= GET:
            return self._reply(header, body)
        if opcode == BORROW:
            self._lent_to_us(header, body)
        else:
            self._given_back(header, body)
        return None

    def landed(self, header: Header) -> None:
        """The payload is whole where `take` said."""
        if header.flags & REPLY:
            chunk, self._getting = self._getting, None
            assert chunk is not None
            self.answered += 1
            self._arrived(chunk.transfer, chunk.nbytes)
            return
        self._owner.landed(header)

    def _queue(
        self,
        fields: tuple[int, ...],
        body: bytes,
        payload: Sequence[memoryview],
        size: int,
        sent: Callable[[], None] | None,
    ) -> None:
        self._frames.queue_own(Frame(fields, body, payload, HEADER_SIZE + len(body) + size, sent))

"""A client's fetch, from its first request to its end: one answer, or sizes first and then room.

    request -> reply with the payload                    checked, landed, verified
            -> large: sizes only -> request with room    as of the first answer's epoch
    room is lent; a target that writes to it by itself returns it before the fetch ends

Source: DAOS src/object/cli_shard.c dc_rw_cb
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from daos.base.checksum import ChecksumType, compute
from daos.base.errors import (
    ChecksumError,
    DaosError,
    ProtocolError,
)
from daos.base.iod import Iod
from daos.cart.bulk_service import Bulk
from daos.object import wire
from daos.object.attempts import Attempts, Before, Cancel, Done
from daos.object.link import Call, ContainerLink
from daos.object.memory import Room, lend_room
from daos.placement.layout import Shard

# How long a target may keep memory that it has borrowed, once the call that lent it is over.
RETURN_S: Final = 0.5

FetchDone = Callable[["wire.FetchReply | None", DaosError | None], None]
# Names the memory for each piece of a reply, in order, each exactly as long as its records.
Into = Callable[[wire.FetchReply], Sequence[memoryview]]

_ONE_VALUE: Final = (wire.Piece(0, 0, 0, 1),)


class Fetching:
    """One fetch: a request, or a second one when the first has told how large the result is."""

    __slots__ = (
        "_attempts",
        "_call",
        "_done",
        "_into",
        "_landed",
        "_lent",
        "_link",
        "_now",
        "_request",
        "_room",
        "_shard",
        "_sizes",
    )

    def __init__(
        self,
        link: ContainerLink,
        shard: Shard,
        request: wire.FetchRequest,
        memory: tuple[Into | None, Room | None],
        *,
        now: Callable[[Shard], Shard],
        call: Call,
        done: FetchDone,
    ) -> None:
        """`now`: where a shard is by the pool map of now."""
        self._link = link
        self._now = now
        self._shard = shard
        self._request = request
        self._into, self._room = memory
        self._call = call
        self._done = done
        self._landed: Sequence[memoryview] = ()
        self._lent: Bulk | None = None
        self._sizes: tuple[int, ...] = ()  # that a first answer told
        room = self._room
        if room is not None and (views := room(None)) is not None:
            self._request, self._lent = lend_room(link.context.bulk, request, views)
        self._attempts = self._begin()

    def cancel(self) -> None:
        """Give it up; `done` hears of it, or of the end that came first."""
        if self._lent is not None:
            self._lent.release()
        self._attempts.cancel()

    def _begin(self) -> Attempts[wire.FetchReply]:
        return Attempts(
            self._link.pacing,
            self._send,
            self._finish,
            deadline_ns=self._call.deadline_ns,
            modifies=False,
            stale=self._refresh,
        )

    def _refresh(self) -> None:
        self._link.refresh(self._link.endpoint(self._shard))

    def _send(self, before: Before, done: Done[wire.FetchReply]) -> Cancel:
        # A read may be executed any number of times.
        if before.enqueue_id:
            self._request = msgspec.structs.replace(self._request, enqueue_id=before.enqueue_id)
        link, call = self._link, self._call
        if self._request.address.map_version != link.maps.version:
            self._follow()
        return link.context.send(
            link.endpoint(self._shard),
            wire.FETCH,
            self._request,
            deadline_ns=call.deadline_ns,
            trace_id=call.trace_id,
            into=self._land,
            done=done,
        ).cancel

    def _follow(self) -> None:
        """The pool map has changed."""
        self._shard = self._now(self._shard)
        version = self._link.maps.version
        address = msgspec.structs.replace(self._request.address, map_version=version)
        self._request = msgspec.structs.replace(self._request, address=address)

    def _land(self, reply: wire.FetchReply, payload_size: int) -> Sequence[memoryview]:
        self._landed = _check_landing(self._request.iods, reply, payload_size, self._into)
        return self._landed

    def _finish(
        self, reply: wire.FetchReply | None, payload_nbytes: int, error: DaosError | None
    ) -> None:
        lent = self._lent
        if lent is not None:
            lent.release()
            if not lent.free:  # a target writes to it by itself: it has to return it
                self._wait_for(lent, reply, payload_nbytes, error)
                return
        self._lent = None
        if reply is None or error is not None:
            self._done(None, error)
            return
        try:
            if reply.large:
                self._ask_again(reply)
                return
            if lent is not None and not payload_nbytes and reply.pieces:
                self._put_by(reply, lent)
            elif not payload_nbytes and (reply.pieces or self._landed):
                self._land(reply, 0)  # tells of nothing: what landed is of a broken-off attempt
            if self._link.checksum_type is not ChecksumType.OFF:
                _verify(self._link.checksum_type, self._landed, reply.checksums)
        except DaosError as failure:
            self._done(None, failure)
            return
        self._done(reply, None)

    def _wait_for(
        self, lent: Bulk, reply: wire.FetchReply | None, nbytes: int, error: DaosError | None
    ) -> None:
        """Go on when the memory is ours again; a target that keeps it loses its connection."""
        timer = self._link.pacing.loop.call_later(RETURN_S, lent.cut)

        def free() -> None:
            timer.cancel()
            self._finish(reply, nbytes, error)

        lent.when_free(free)

    def _put_by(self, reply: wire.FetchReply, lent: Bulk) -> None:
        """The target has written the result to our memory. Raises: ProtocolError; as `into`."""
        count = len(reply.sizes)
        nbytes = sum(
            [piece.count * reply.sizes[piece.iod] for piece in reply.pieces if piece.iod < count]
        )
        if nbytes > lent.nbytes_put or (self._sizes and self._sizes != reply.sizes):
            raise ProtocolError("fetch reply tells of bytes that did not come")
        self._land(reply, nbytes)

    def _ask_again(self, reply: wire.FetchReply) -> None:
        """With room for what is there, as of the same moment. Raises: ProtocolError; as `room`."""
        views = None
        if self._room is not None and self._request.inline_max:
            views = self._room(reply.sizes)
        if views is None:
            raise ProtocolError("fetch reply leaves out what it was asked for")
        self._sizes = reply.sizes
        address = msgspec.structs.replace(self._request.address, epoch=reply.epoch)
        request = msgspec.structs.replace(self._request, address=address, inline_max=0)
        self._request, self._lent = lend_room(self._link.context.bulk, request, views)
        self._attempts = self._begin()


def _check_landing(
    iods: Sequence[Iod], reply: wire.FetchReply, payload_size: int, into: Into | None
) -> Sequence[memoryview]:
    """Refuse a reply whose pieces aren't of the request, before its bytes land anywhere."""
    if into is None or len(reply.sizes) != len(iods):
        raise ProtocolError("fetch reply does not answer its request")
    if len(iods) == 1 and not iods[0].recxs and reply.pieces == _ONE_VALUE:
        if reply.sizes[0] != payload_size:
            raise ProtocolError(f"fetch reply has {payload_size} bytes for {reply.sizes[0]}")
        return into(reply)
    expected = 0
    for piece in reply.pieces:
        if not 0 <= piece.iod < len(iods):
            raise ProtocolError(f"fetch reply names descriptor {piece.iod} of {len(iods)}")
        recxs = iods[piece.iod].recxs
        if recxs:
            in_range = (
                0 <= piece.recx < len(recxs)
                and piece.index >= 0
                and piece.index + piece.count <= recxs[piece.recx].count
            )
        else:
            in_range = piece.recx == piece.index == 0 and piece.count == 1
        if not in_range or piece.count < 1:
            raise ProtocolError("fetch reply names records that were not asked for")
        expected += piece.count * reply.sizes[piece.iod]
    if expected != payload_size:
        raise ProtocolError(f"fetch reply has {payload_size} bytes for {expected} of records")
    return into(reply)


def _verify(
    checksum_type: ChecksumType, views: Sequence[memoryview], checksums: Sequence[bytes]
) -> None:
    """Raises: ChecksumError, ProtocolError"""
    if len(views) != len(checksums):
        raise ProtocolError(f"fetch reply has {len(checksums)} checksums, {len(views)} pieces")
    for index, (view, checksum) in enumerate(zip(views, checksums, strict=True)):
        if compute(checksum_type, view) != checksum:
            raise ChecksumError(f"piece {index} of the fetched values was damaged on its way")

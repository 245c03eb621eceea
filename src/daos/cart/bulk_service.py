"""Bulk transfers of a context: which connection they take, who is told of their end.

    owner      bulk = context.bulk.create(views, Mode.READ)     memory is registered
               request(..., bulk.handle)                        the handle travels in any message
               bulk.release()                                   the memory is the owner's again
    accessor   context.bulk.get(handle, into, via=rpc, ...)     bytes land in `into`
               context.bulk.put(handle, views, via=rpc, ...)

The party that needs the bytes moves them, over whatever connection it shares with the owner: that
of the request which brought the handle (`via`); for a bound handle also one that the owner has
opened to us, one of ours to the owner, or a new one where the owner has an address. A client has
none; it is known by the random tag in its frames.

Source: DAOS src/cart/crt_bulk.c crt_bulk_create, crt_bulk_bind, crt_bulk_bind_transfer
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from daos.base.errors import DER, CanceledError, DaosError, InvalidError
from daos.cart.bulk import BulkHandle, Mode, Range, Region, Segments
from daos.cart.bulk_port import Port
from daos.cart.bulk_transfer import Transfer, TransferDone
from daos.cart.wire import NO_RANK, Endpoint

if TYPE_CHECKING:
    import asyncio

    from daos.cart.framing import Framing
    from daos.cart.serving import Rpc
    from daos.cart.station import Station
    from daos.cart.transport import Link

_UNREACH: Final = DER.UNREACH
# Looks without an end of anything that the peer owes, while it says other things, or a payload of
# 64 MiB goes on: half a MiB a second, where a look is each 15 s.
_LOOKS_MAX: Final = 8


class Bulk:
    """Registered memory, from `create` to `release`."""

    __slots__ = ("_region", "_service", "handle")

    def __init__(self, service: BulkService, region: Region, handle: BulkHandle) -> None:
        self._service = service
        self._region = region
        self.handle = handle

    @property
    def nbytes_put(self) -> int:
        """Bytes that peers have written so far."""
        return self._region.nbytes_put

    def release(self) -> None:
        """No peer reads or writes the memory from now on, nor does the transport.

        Idempotent. Whoever still asks for it hears NONEXIST. What a peer on this host has borrowed
        for writing comes back later: see `when_free`.
        """
        self._service.station.bulk_table.remove(self._region)

    @property
    def free(self) -> bool:
        """It is released, and no peer can write to the memory by itself any more."""
        return self._region.released and not self._region.lent

    def when_free(self, done: Callable[[], None]) -> None:
        """Call `done` at once, or as soon as the memory is free after `release`."""
        self._region.when_free(done)

    def cut(self) -> None:
        """End the connections of peers that hold on to the memory: it is free then."""
        for holder in list(self._region.holders):
            holder.cut()


class BulkCall:
    """A transfer on its way."""

    __slots__ = ("_end", "_transfer")

    def __init__(self, end: BulkEnd | None, transfer: Transfer | None) -> None:
        self._end = end
        self._transfer = transfer

    def abort(self) -> None:
        """Give it up: `done` hears CanceledError, later. One that has ended is left alone."""
        if self._end is not None and self._transfer is not None:
            self._end.abort(self._transfer, CanceledError("the bulk transfer was given up"))


class Carrier(Protocol):
    """A channel whose connection carries bulk frames."""

    link: Link

    def maybe_kick(self) -> None:
        """If there is something to send, say so."""
        ...


class BulkEnd:
    """The bulk part of one channel: a port, and whom it tells."""

    def __init__(
        self, station: Station, session: Framing[Any], carrier: Carrier, peer: Endpoint
    ) -> None:
        self.port = Port(
            session,
            station.bulk_table,
            source=station.endpoint,
            peer=peer,
            wake=self._wake,
            memory=self,
        )
        self._station = station
        self._session = session
        self._carrier = carrier
        self._awake = False
        self._quiet: asyncio.TimerHandle | None = None  # the next look whether the peer answers
        self._offered: set[int] = set()
        station.bulk_ends[self] = None

    def start(self, transfer: Transfer) -> None:
        """Raises: DaosError(UNREACH), AgainError"""
        self.port.start(transfer)
        self._carrier.maybe_kick()
        self.watch()

    def abort(self, transfer: Transfer, error: DaosError) -> None:
        """See Port.abort."""
        self.port.abort(transfer, error)
        self._carrier.maybe_kick()

    def end(self, error: DaosError) -> None:
        """The connection is gone: see Port.end."""
        self._station.bulk_ends.pop(self, None)
        if self._quiet is not None:
            self._quiet.cancel()
        self.port.end(error)

    # Shared memory

    @property
    def shares(self) -> bool:
        """Whether the link can share memory."""
        return self._carrier.link.shares

    def offer(self, region_id: int) -> bool:
        """Let the peer map an area of ours; False if it is gone."""
        area = self._station.shared.area(region_id)
        if area is None:
            return False
        if region_id not in self._offered:
            self._offered.add(region_id)
            self._carrier.link.share(region_id, area.fd, area.nbytes)
        return True

    def withdraw(self, region_id: int) -> None:
        """An area of ours is going away."""
        if region_id in self._offered:
            self._offered.remove(region_id)
            self._carrier.link.unshare(region_id)

    def memory(self, region_id: int) -> memoryview | None:
        """An area that the peer has offered, mapped."""
        return self._carrier.link.memory(region_id)

    @property
    def over(self) -> bool:
        """The connection has ended here."""
        return self._carrier.link.over

    def reclaim(self, views: Sequence[memoryview], region_ids: Collection[int]) -> bool:
        """Let no peer write to this memory of ours any more. See `SharedMemory.reclaim`."""
        # Who has closed its end has ended its transfers before, or is dead.
        return self._carrier.link.left or self._station.shared.reclaim(views, region_ids)

    def let_go(self) -> None:
        """What the link reads of our memory is ours again."""
        self._carrier.link.let_go()

    def cut(self) -> None:
        """End the connection at once."""
        late = DaosError("the peer did not return memory in time", code=_UNREACH)
        self._carrier.link.close(late)

    # Peers that stop in the middle: what they owe holds memory of ours, whatever their deadline

    def watch(self) -> None:
        """The peer owes us something, or is in the middle of a payload: end that in time."""
        if self._quiet is None:
            self._listen(0)

    def _listen(self, looks: int) -> None:
        quiet_s = self._station.limits.bulk_quiet_s
        before = self._session.progress, self._done
        self._quiet = self._station.loop.call_later(quiet_s, self._look, before, looks)

    @property
    def _done(self) -> tuple[bool, int]:
        """Changes whenever the peer has finished something of what it owes."""
        owes = self.port.waiting
        return owes, self.port.answered if owes else self._session.payload_bytes_in

    def _look(self, before: tuple[tuple[int, int, int], tuple[bool, int]], looks: int) -> None:
        """Has the peer said anything since the last time, and not always something else?"""
        self._quiet = None
        if not (self.port.waiting or self._session.landing):
            return
        progress, done = before
        if self._done != done:
            looks = 0
        elif self._session.progress != progress:
            looks += 1
        else:
            looks = _LOOKS_MAX
        if looks < _LOOKS_MAX:
            self._listen(looks)
            return
        gone = DaosError("the peer does not send what it owes", code=_UNREACH)
        self._carrier.link.close(gone)

    def expire(self, now_ns: int) -> int | None:
        """Give up what is late; when to come again."""
        self.port.expire(now_ns)
        self._carrier.maybe_kick()
        return self.port.next_deadline_ns()

    def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            self._station.loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._awake = False
        if self.port.copy_some():
            self._wake()
        for transfer, error in self.port.take_ended():
            self._station.tell("bulk", transfer.done, error)
        self._carrier.maybe_kick()


class _How(NamedTuple):
    get: bool
    deadline_ns: int
    trace_id: int
    done: TransferDone


class BulkService:
    """`context.bulk`."""

    def __init__(
        self,
        station: Station,
        *,
        connect: Callable[[Endpoint], BulkEnd],
        arm: Callable[[int], None],
    ) -> None:
        self.station = station
        self._connect = connect
        self._arm = arm

    def create(self, views: Sequence[memoryview], mode: Mode, *, bind: bool = False) -> Bulk:
        """Register memory for peers; bound, any party that is given the handle may use it.

        Raises: InvalidError, AgainError
        """
        region = self.station.bulk_table.add(views, mode)
        handle = region.handle(self.station.endpoint if bind else None)
        return Bulk(self, region, handle)

    def shares(self, views: Sequence[memoryview]) -> bool:
        """Whether all of it is memory that peers on this host may map."""
        return self.station.shared.locate(views) is not None

    def get(
        self,
        handle: BulkHandle,
        into: Sequence[memoryview],
        *,
        ranges: Sequence[Range] | None = None,
        via: Rpc | None = None,
        deadline_ns: int,
        trace_id: int = 0,
        done: TransferDone,
    ) -> BulkCall:
        """Read `ranges` of the owner's memory, all of it without; `done(error)` comes once, later.

        Shapes:     into has as many bytes as the ranges
        Raises:     by `done`: NONEXIST (released), NO_PERM, INVAL (outside the region, or shapes),
                    UNREACH, TIMEDOUT, CANCELED, AGAIN. `into` is untouched from then on
        """
        return self._start(handle, into, ranges, via, _How(True, deadline_ns, trace_id, done))

    def put(
        self,
        handle: BulkHandle,
        views: Sequence[memoryview],
        *,
        ranges: Sequence[Range] | None = None,
        via: Rpc | None = None,
        deadline_ns: int,
        trace_id: int = 0,
        done: TransferDone,
    ) -> BulkCall:
        """Write `views` to `ranges` of the owner's memory; `done` as in `get`.

        Without an error all of it has landed when `done` comes; with one, any part of it has.
        """
        return self._start(handle, views, ranges, via, _How(False, deadline_ns, trace_id, done))

    def _start(
        self,
        handle: BulkHandle,
        views: Sequence[memoryview],
        ranges: Sequence[Range] | None,
        via: Rpc | None,
        how: _How,
    ) -> BulkCall:
        try:
            local = Segments(views, writable=how.get)
            ranges = ((0, handle.nbytes),) if ranges is None else ranges
            size = sum(nbytes for _, nbytes in ranges)
            if not size or size != local.nbytes:
                raise InvalidError(f"a bulk transfer of {size} bytes with memory of {local.nbytes}")
            transfer = Transfer(handle.key, ranges, local, shared=handle.shared, **how._asdict())
            end = self._end(handle, via)
            end.start(transfer)
        except DaosError as error:
            self.station.loop.call_soon(self.station.tell, "bulk", how.done, error)
            return BulkCall(None, None)
        self._arm(how.deadline_ns)
        return BulkCall(end, transfer)

    def _end(self, handle: BulkHandle, via: Rpc | None) -> BulkEnd:
        """The connection to take. Raises: InvalidError, DaosError(UNREACH), ShutdownError."""
        owner = handle.endpoint
        if via is not None and (owner is None or via.source == owner):
            return via.bulk
        if owner is None:
            raise InvalidError("the bulk handle is not bound to its owner, and came in no request")
        if ends := self.station.peers.get(owner):
            return ends[-1]
        if owner.rank == NO_RANK:
            raise DaosError("the owner of the bulk handle is not connected", code=_UNREACH)
        return self._connect(owner)

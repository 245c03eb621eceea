"""Two ports and the bytes between them, a few at a time: ends in the middle of things."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

import pytest

from daos.base.errors import DER, AgainError, CanceledError, DaosError, DeadlineError, NotFoundError
from daos.base.ids import Rank, Tag
from daos.cart.bulk import GET, PUT, Mode, Region, Segments, Table
from daos.cart.bulk_port import Port
from daos.cart.bulk_transfer import PeerMemory, Transfer
from daos.cart.framing import Broken, Limits
from daos.cart.session import CallerSession, ServerSession
from daos.cart.wire import HEADER_SIZE, NO_RANK, Endpoint, Header

CLIENT = Endpoint(NO_RANK, Tag(77))
SERVER = Endpoint(Rank(0), Tag(1))
LIMITS = Limits(bulk_chunk_size=100, bulk_inflight_max=2, bulk_transfers_max=3)
LATE_NS = 50


class Pair:
    """A client that owns memory, and a server that wants it; `CallerSession` opened it."""

    def __init__(self, limits: Limits = LIMITS, memory: PeerMemory | None = None) -> None:
        self.client: CallerSession[str] = CallerSession(limits, peer=SERVER, source=CLIENT)
        self.server = ServerSession(limits)
        self.table = Table(limits, random.Random(3))
        self.wakes = 0
        self.owner = Port(
            self.client,
            self.table,
            source=CLIENT,
            peer=SERVER,
            wake=lambda: None,
            memory=memory,
        )
        self.port = Port(
            self.server,
            Table(limits, random.Random(4)),
            source=SERVER,
            peer=CLIENT,
            wake=self._wake,
            memory=memory,
        )
        self.wire = {id(self.client): bytearray(), id(self.server): bytearray()}

    def _wake(self) -> None:
        self.wakes += 1

    def region(self, data: bytearray, mode: Mode = Mode.READ_WRITE) -> Region:
        return self.table.add([memoryview(data)], mode)

    def begin(
        self, region: Region, local: bytearray, *, get: bool, deadline_ns: int = 99
    ) -> Transfer:
        transfer = Transfer(
            region.key,
            [(0, len(local))],
            Segments([memoryview(local)], writable=get),
            get=get,
            deadline_ns=deadline_ns,
            trace_id=5,
            done=lambda error: None,
        )
        self.port.start(transfer)
        return transfer

    def take(self, session: CallerSession[str] | ServerSession) -> None:
        """Let the transport take one frame, which it holds on to."""
        self.wire[id(session)] += b"".join(session.data_to_send(1, 5))

    def sent(self, session: CallerSession[str] | ServerSession) -> None:
        for hook in session.data_sent():
            hook()

    def carry(self, nbytes: int = 1 << 20, *, back: bool = False) -> int:
        """Bytes from server to client, or back; how many there were. Frames were taken before."""
        there, here = (self.server, self.client) if back else (self.client, self.server)
        queue = self.wire[id(here)]
        moved = 0
        while queue and moved < nbytes:
            buffer = there.get_buffer()
            step = min(len(buffer), len(queue), nbytes - moved)
            buffer[:step] = queue[:step]
            del queue[:step]
            for event in there.buffer_updated(step, 0):
                assert isinstance(event, Broken), event
                raise event.error
            moved += step
        return moved

    def run(self) -> None:
        """Until nothing moves any more."""
        while self.client.has_output or self.server.has_output or any(self.wire.values()):
            for session in (self.server, self.client):
                while session.has_output:
                    self.take(session)
                self.sent(session)
            self.carry()
            self.carry(back=True)

    def ends(self) -> list[DER | None]:
        return [error and error.code for _, error in self.port.take_ended()]


def filled(nbytes: int) -> bytearray:
    return bytearray(random.Random(1).randbytes(nbytes))


@pytest.mark.parametrize("get", [True, False])
def test_chunks_on_their_way_are_bounded_and_take_turns(get: bool) -> None:
    pair = Pair()
    large, small = filled(1000), filled(90)
    owned = [bytearray(1000), bytearray(90)] if not get else [large, small]
    local = [large, small] if not get else [bytearray(1000), bytearray(90)]
    regions = [pair.region(each) for each in owned]
    begun = [
        pair.begin(region, memory, get=get) for region, memory in zip(regions, local, strict=True)
    ]
    assert pair.server.outbox_frames == 2
    assert pair.port.expecting
    first = pair.wakes
    pair.run()
    assert owned == local == [large, small]
    assert [transfer for transfer, _ in pair.port.take_ended()] == begun[::-1]
    assert [transfer.left for transfer in begun] == [0, 0]
    assert pair.wakes == first + 2
    assert not pair.port.expecting
    assert not any(region.holders for region in regions)


def test_the_frames_say_where_they_go() -> None:
    pair = Pair()
    pair.port.meet(Endpoint(Rank(4), Tag(5)))
    pair.begin(pair.region(filled(10)), bytearray(10), get=True)
    pair.take(pair.server)
    header = Header.parse(pair.wire[id(pair.server)])
    assert (header.opcode, header.flags, header.rpc_id) == (GET, 0, 1 << 63)
    assert (header.rank, header.tag, header.source_rank, header.source_tag) == (4, 5, *SERVER)
    assert (header.deadline_ns, header.trace_id, header.payload_size) == (99, 5, 0)


def test_transfers_are_bounded() -> None:
    pair = Pair()
    region = pair.region(filled(10))
    for _ in range(3):
        pair.begin(region, bytearray(10), get=True)
    with pytest.raises(AgainError):
        pair.begin(region, bytearray(10), get=True)
    assert pair.port.transfers == 3


def test_a_get_given_up_while_its_bytes_land() -> None:
    pair = Pair()
    data, room = filled(300), bytearray(300)
    transfer = pair.begin(pair.region(data), room, get=True)
    pair.take(pair.server)
    pair.carry()
    pair.take(pair.client)
    pair.carry(HEADER_SIZE + 40, back=True)
    assert room[:40] == data[:40]
    seen = bytes(room)
    pair.port.abort(transfer, CanceledError("enough"))
    pair.port.abort(transfer, CanceledError("enough"))
    assert pair.ends() == [DER.CANCELED]
    pair.run()
    assert room == seen
    assert pair.ends() == []
    assert not pair.port.expecting


def test_a_put_given_up_is_told_when_its_memory_is_free() -> None:
    pair = Pair()
    data, room = filled(300), bytearray(300)
    transfer = pair.begin(pair.region(room), data, get=False)
    pair.take(pair.server)  # one of two is with the transport now
    pair.port.abort(transfer, CanceledError("enough"))
    assert pair.server.outbox_frames == 0
    assert pair.ends() == []
    pair.sent(pair.server)
    assert pair.ends() == [DER.CANCELED]
    pair.run()
    assert room == data[:100] + bytes(200)
    assert pair.ends() == []


def test_a_put_whose_answer_comes_first() -> None:
    pair = Pair()
    data, room = filled(50), bytearray(50)
    pair.begin(pair.region(room), data, get=False)
    pair.take(pair.server)
    pair.carry()
    pair.take(pair.client)
    pair.carry(back=True)
    assert pair.ends() == [None]
    pair.sent(pair.server)
    assert pair.ends() == []


class OwnLink:
    """What the port says to its link, which holds on to memory."""

    shares = False

    def __init__(self) -> None:
        self.let_gos = 0

    def offer(self, region_id: int) -> bool:
        raise AssertionError(region_id)

    def memory(self, region_id: int) -> memoryview | None:
        raise AssertionError(region_id)

    over = False

    def reclaim(self, views: Sequence[memoryview], region_ids: Collection[int]) -> bool:
        raise AssertionError(views, region_ids)

    def let_go(self) -> None:
        self.let_gos += 1

    def cut(self) -> None:
        raise AssertionError("nobody asked for that")


def test_memory_that_the_transport_holds_is_wanted_back() -> None:
    """By who gave up a put, or let it pass its deadline; by an owner who releases."""
    link = OwnLink()
    pair = Pair(memory=link)
    region = pair.region(filled(300))
    given_up = pair.begin(region, filled(100), get=False)
    late = pair.begin(region, filled(100), get=False, deadline_ns=LATE_NS)
    read = pair.begin(region, bytearray(100), get=True)
    pair.port.abort(read, CanceledError("enough"))
    pair.take(pair.server)
    pair.take(pair.server)
    assert link.let_gos == 0
    pair.port.abort(given_up, CanceledError("enough"))
    pair.port.expire(LATE_NS)
    assert late.ended
    assert link.let_gos == 2
    pair.run()

    reading = pair.begin(region, bytearray(100), get=True)
    pair.take(pair.server)
    pair.carry()
    pair.take(pair.client)  # with the owner's transport now
    pair.table.remove(region)
    assert link.let_gos == 3
    pair.run()
    assert reading.ended


def test_deadlines() -> None:
    pair = Pair()
    region = pair.region(filled(10))
    pair.begin(region, bytearray(10), get=True, deadline_ns=LATE_NS)
    pair.begin(region, bytearray(10), get=True, deadline_ns=99)
    assert pair.port.next_deadline_ns() == LATE_NS
    pair.port.expire(LATE_NS - 1)
    assert pair.ends() == []
    pair.port.expire(LATE_NS)
    ((_, error),) = pair.port.take_ended()
    assert isinstance(error, DeadlineError)
    assert pair.port.next_deadline_ns() == 99
    pair.run()
    assert pair.ends() == [None]
    assert pair.port.next_deadline_ns() is None


def test_released_while_a_peer_writes_to_it() -> None:
    pair = Pair()
    data, room = filled(300), bytearray(300)
    region = pair.region(room)
    pair.begin(region, data, get=False)
    pair.take(pair.server)
    pair.carry(HEADER_SIZE + 40 + 60)
    seen = bytes(room)
    assert any(seen)
    pair.table.remove(region)
    pair.run()
    assert room == seen
    ((_, error),) = pair.port.take_ended()
    assert isinstance(error, NotFoundError)


def test_released_before_its_bytes_have_left() -> None:
    pair = Pair()
    data, room = filled(300), bytearray(300)
    region = pair.region(data)
    pair.begin(region, room, get=True)
    pair.take(pair.server)
    pair.take(pair.server)
    pair.carry()
    assert pair.client.outbox_frames == 2
    pair.take(pair.client)
    pair.table.remove(region)
    data[:] = b"?" * 300
    pair.run()
    ((_, error),) = pair.port.take_ended()
    assert isinstance(error, NotFoundError)
    assert not any(room[100:])
    assert not region.holders


def test_the_end_of_the_connection_ends_every_transfer() -> None:
    pair = Pair()
    region = pair.region(bytearray(300))
    aborted = pair.begin(region, filled(300), get=False)
    pair.take(pair.server)
    pair.port.abort(aborted, CanceledError("enough"))
    pair.begin(region, bytearray(300), get=True)
    pair.begin(region, filled(300), get=False)
    pair.carry(HEADER_SIZE + 30)
    assert region.holders
    for session, port in ((pair.server, pair.port), (pair.client, pair.owner)):
        session.end()
        port.end(DaosError("gone", code=DER.UNREACH))
        port.end(DaosError("gone", code=DER.UNREACH))
    assert sorted(code.name for code in pair.ends() if code) == ["CANCELED", "UNREACH", "UNREACH"]
    assert not region.holders
    with pytest.raises(DaosError) as caught:
        pair.begin(region, bytearray(300), get=True)
    assert caught.value.code is DER.UNREACH
    pair.table.remove(region)


def test_reading_goes_on_for_what_unanswered_requests_wait_for() -> None:
    pair = Pair(Limits(inflight_max=2, serving_max=2))
    for number in range(2):
        pair.client.request(f"{number}", 0x0101_0001, b"", deadline_ns=9)
    for _ in range(2):
        pair.take(pair.client)
        buffer, data = pair.server.get_buffer(), pair.wire[id(pair.client)]
        buffer[: len(data)] = data
        pair.server.buffer_updated(len(data), 0)
        data.clear()
    assert not pair.server.may_read
    pair.begin(pair.region(filled(10)), bytearray(10), get=True)
    assert pair.server.may_read
    pair.client.cancel(1)
    pair.client.request("3", 0x0101_0001, b"", deadline_ns=9)
    pair.take(pair.client)
    buffer, data = pair.server.get_buffer(), pair.wire[id(pair.client)]
    buffer[: len(data)] = data
    assert pair.server.buffer_updated(len(data), 0) == []
    data.clear()
    assert pair.server.serving == 2
    assert pair.server.outbox_frames == 2


def test_numbers_of_the_reference() -> None:
    assert (PUT & 0xFFFF, GET & 0xFFFF) == (0x68, 0x69)
    assert PUT >> 24 == GET >> 24 == 0xFF

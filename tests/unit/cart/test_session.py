"""What frames mean: a call ends once, a request is answered at most once, bounds hold."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import msgspec
import pytest

from daos.base.errors import DER, AgainError, DaosError, InvalidError
from daos.base.ids import Rank, Tag
from daos.cart.framing import Broken, Event, Head, Landed, Limits, Message
from daos.cart.session import CallerSession, ServerSession
from daos.cart.wire import HEADER_SIZE, Endpoint, Header, parse_failure

HERE = Endpoint(Rank(7), Tag(3))
THERE = Endpoint(Rank(0), Tag(1))
SMALL = Limits(inflight_max=3, waiting_max=2, serving_max=4, outbox_size_max=1000)
FAR = 1 << 62


def caller(limits: Limits = SMALL) -> CallerSession[str]:
    return CallerSession(limits, peer=THERE, source=HERE, rpc_id_first=100)


def sends(session: CallerSession[str] | ServerSession, nbytes_max: int = 1 << 20) -> bytes:
    """Everything the session wants to send, taken and sent."""
    data = b"".join(session.data_to_send(nbytes_max, 5))
    session.data_sent()
    return data


def hears(
    session: CallerSession[str] | ServerSession, data: bytes, now_ns: int = 0
) -> list[Event[str]] | list[Event[None]]:
    """Feed whole buffers; no payload in `data` unless it is dropped."""
    events: list[Event[str]] | list[Event[None]] = []
    while data:
        assert not events, "a frame at a time"
        buffer = session.get_buffer()
        nbytes = min(len(buffer), len(data))
        buffer[:nbytes] = data[:nbytes]
        events = session.buffer_updated(nbytes, now_ns)
        data = data[nbytes:]
    return events


def opened(server: ServerSession, data: bytes, now_ns: int = 0) -> Header:
    (event,) = hears(server, data, now_ns)
    assert isinstance(event, Message | Head)
    return event.header


def test_a_call_and_its_answer() -> None:
    here, there = caller(), ServerSession(SMALL)
    rpc_id = here.request("ping", 0x0101_0001, b"ping", deadline_ns=9, trace_id=4)
    assert rpc_id == 100
    assert here.inflight == 1
    header = opened(there, sends(here))
    assert (header.rank, header.tag, header.source_rank, header.source_tag) == (0, 1, 7, 3)
    assert (header.opcode, header.rpc_id, header.trace_id) == (0x0101_0001, 100, 4)
    assert (header.deadline_ns, header.epoch) == (9, 5)
    assert there.serving == 1
    there.reply(header, b"pong")
    assert there.serving == 0
    (event,) = hears(here, sends(there))
    assert isinstance(event, Message)
    assert (event.token, event.body) == ("ping", b"pong")
    assert (event.header.rank, event.header.source_rank) == (7, 0)
    assert (event.header.rpc_id, event.header.trace_id) == (100, 4)
    assert here.inflight == 0
    assert not here.has_output


def test_without_a_trace_id_the_rpc_id_stands_in() -> None:
    here = caller()
    here.request("a", 1 << 24, b"", deadline_ns=9)
    assert Header.parse(sends(here)).trace_id == 100


def test_an_error_is_answered_by_status_and_text() -> None:
    here, there = caller(), ServerSession(SMALL)
    here.request("a", 1 << 24, b"", deadline_ns=9)
    there.fail(opened(there, sends(here)), DaosError("full", code=DER.NOSPACE))
    (event,) = hears(here, sends(there))
    assert isinstance(event, Message)
    error = parse_failure(event.header.status, event.body)
    assert (error.code, error.message) == (DER.NOSPACE, "full")


@pytest.mark.parametrize(
    ("body", "payload", "deadline_ns", "trace_id"),
    [
        (bytes((4 << 20) + 1), 0, 9, 0),
        (b"", (64 << 20) + 1, 9, 0),
        (b"", 0, -1, 0),
        (b"", 0, 1 << 64, 0),
        (b"", 0, 9, 1 << 64),
    ],
)
def test_calls_beyond_bounds_change_nothing(
    body: bytes, payload: int, deadline_ns: int, trace_id: int
) -> None:
    here = caller()
    views = [memoryview(bytearray(payload))] if payload else []
    with pytest.raises(InvalidError):
        here.request("a", 1 << 24, body, views, deadline_ns=deadline_ns, trace_id=trace_id)
    assert here.inflight == 0
    assert not here.has_output
    assert here.next_deadline_ns() is None
    assert here.payload_bytes_out == 0


def test_replies_beyond_bounds_are_refused_and_another_answer_is_possible() -> None:
    here, there = caller(), ServerSession(SMALL)
    here.request("a", 1 << 24, b"", deadline_ns=9)
    header = opened(there, sends(here))
    for body, payload in ((bytes((4 << 20) + 1), 0), (b"", (64 << 20) + 1)):
        with pytest.raises(DaosError) as caught:
            there.reply(header, body, [memoryview(bytearray(payload))])
        assert caught.value.code is DER.OVERFLOW
    assert there.serving == 1
    assert not there.has_output
    there.fail(header, caught.value)
    assert there.serving == 0


# --- places and waiting --------------------------------------------------------------------------


def arrived(server: ServerSession, data: bytes) -> list[Header]:
    """The requests without payload in `data`."""
    buffer = server.get_buffer()
    buffer[: len(data)] = data
    events = server.buffer_updated(len(data), 0) if data else []
    return [event.header for event in events if isinstance(event, Message)]


def test_calls_wait_for_a_place_in_order_and_beyond_that_are_refused() -> None:
    here, there = caller(), ServerSession(SMALL)
    for name in "abcde":
        here.request(name, 1 << 24, name.encode(), deadline_ns=9)
    with pytest.raises(AgainError, match="5 calls"):
        here.request("f", 1 << 24, b"f", deadline_ns=9)
    assert here.inflight == 5
    headers = arrived(there, sends(here))
    assert [header.rpc_id for header in headers] == [100, 101, 102]
    for index, expected in enumerate("abcde"):
        there.reply(headers[index], b"")
        (answer,) = hears(here, sends(there))
        assert isinstance(answer, Message)
        assert answer.token == expected
        headers += arrived(there, sends(here))
        assert there.serving == min(3, 4 - index)
    assert [header.rpc_id for header in headers] == [100, 101, 102, 103, 104]
    assert here.inflight == 0


def test_calls_wait_while_too_many_bytes_do() -> None:
    here = caller()
    here.request("a", 1 << 24, bytes(900), deadline_ns=9)
    here.request("b", 1 << 24, bytes(900), deadline_ns=9)  # one frame may go beyond the bound
    here.request("c", 1 << 24, b"c", deadline_ns=9)
    assert here.outbox_bytes == 2 * 996
    assert len(sends(here, 1)) == 996
    assert here.outbox_bytes == 996 + HEADER_SIZE + 1
    assert len(sends(here)) == 996 + HEADER_SIZE + 1


def test_whole_frames_leave_in_order_and_payloads_as_the_views_they_are() -> None:
    here = caller()
    data = bytearray(b"payload")
    here.request("a", 1 << 24, b"a", deadline_ns=9)
    view = memoryview(data)
    here.request("b", 1 << 24, b"b", [view[:3], view[3:3], view[3:]], deadline_ns=9)
    here.request("c", 1 << 24, b"c", deadline_ns=9)
    pieces = here.data_to_send(1 << 20, 5)
    assert [len(piece) for piece in pieces] == [2 * HEADER_SIZE + 2, 3, 4, HEADER_SIZE + 1]
    first, second = pieces[1:3]
    assert isinstance(first, memoryview)
    assert isinstance(second, memoryview)
    assert first.obj is second.obj is data
    assert first.readonly
    assert here.holds_memory
    assert here.data_sent() == []
    assert not here.holds_memory
    assert here.payload_bytes_out == 7


# --- calls that end otherwise --------------------------------------------------------------------


def test_deadlines_end_calls_oldest_first() -> None:
    here, there = caller(), ServerSession(SMALL)
    assert here.next_deadline_ns() is None
    for name, deadline_ns in (("a", 50), ("b", 40), ("c", 60), ("waits", 45)):
        here.request(name, 1 << 24, b"", deadline_ns=deadline_ns)
    assert here.next_deadline_ns() == 40
    headers = arrived(there, sends(here))
    assert here.expire(39) == []
    assert here.expire(50) == ["a", "b", "waits"]
    assert here.next_deadline_ns() == 60
    for header in headers:
        there.reply(header, b"late")
    (answer,) = hears(here, sends(there))
    assert isinstance(answer, Message)
    assert answer.token == "c"
    assert here.late_replies == 2
    assert here.next_deadline_ns() == 60  # a wake-up too many, which costs nothing
    assert here.expire(60) == []
    assert here.next_deadline_ns() is None


def test_a_call_given_up_before_it_left_does_not_leave() -> None:
    here, there = caller(), ServerSession(SMALL)
    ids = [here.request(name, 1 << 24, b"", deadline_ns=9) for name in "abcd"]
    assert here.cancel(ids[1])
    assert not here.cancel(ids[1])
    assert [header.rpc_id for header in arrived(there, sends(here))] == [ids[0], ids[2], ids[3]]
    assert here.cancel(ids[0])
    assert here.cancel(ids[2])
    assert here.cancel(ids[3])
    assert here.inflight == 0
    assert here.outbox_bytes == 0


def test_a_call_whose_payload_the_transport_reads_is_kept_until_it_is_sent() -> None:
    here = caller()
    view = memoryview(bytearray(10))
    here.request("a", 1 << 24, b"", [view], deadline_ns=9)
    here.request("b", 1 << 24, b"", deadline_ns=9)
    here.data_to_send(1 << 20, 5)
    assert here.expire(8) == []  # a timer came too early: it is not forgotten
    assert here.next_deadline_ns() == 9
    assert not here.overdue(8)
    assert here.expire(10) == ["b"]
    assert here.next_deadline_ns() is None
    assert here.overdue(10)
    here.data_sent()
    assert not here.overdue(10)
    assert here.next_deadline_ns() == 9
    assert here.expire(10) == ["a"]


def replying(payload: bytes) -> tuple[CallerSession[str], ServerSession, int]:
    """A caller to which a reply with payload is on its way: header and body have come."""
    here, there = caller(), ServerSession(SMALL)
    rpc_id = here.request("get", 1 << 24, b"", deadline_ns=9)
    there.reply(opened(there, sends(here)), b"", [memoryview(payload)])
    data = sends(there)
    (head,) = hears(here, data[:HEADER_SIZE])
    assert isinstance(head, Head)
    assert (head.token, head.header.payload_size) == ("get", len(payload))
    return here, there, rpc_id


def test_a_payload_lands_and_then_the_call_has_ended() -> None:
    here, _, _ = replying(b"0123456789")
    room = bytearray(12)
    assert here.land([memoryview(room)], 0) == []
    assert here.inflight == 1
    (landed,) = hears(here, b"0123456789")
    assert isinstance(landed, Landed)
    assert landed.token == "get"
    assert room == b"0123456789\0\0"
    assert here.inflight == 0


@pytest.mark.parametrize("how", ["cancel", "expire", "end"])
def test_a_call_that_ends_while_its_payload_comes_is_written_to_no_more(how: str) -> None:
    here, there, rpc_id = replying(b"0123456789")
    room = bytearray(10)
    here.land([memoryview(room)], 0)
    assert hears(here, b"012") == []
    if how == "cancel":
        assert here.cancel(rpc_id)
    elif how == "expire":
        assert here.expire(9) == ["get"]
    else:
        assert here.end() == ["get"]
    assert hears(here, b"3456789") == []
    assert room == b"012" + bytes(7)
    if how != "end":
        assert here.payload_bytes_dropped == 7
        here.request("next", 1 << 24, b"", deadline_ns=9)
        there.reply(opened(there, sends(here)), b"")
        assert len(hears(here, sends(there))) == 1


def test_a_refused_payload_ends_its_call() -> None:
    here, _, _ = replying(b"0123456789")
    assert here.land(None, 0) == []
    assert here.inflight == 0
    assert hears(here, b"0123456789") == []
    assert here.payload_bytes_dropped == 10


def test_late_replies_with_payload_are_dropped_whole() -> None:
    here, there = caller(), ServerSession(SMALL)
    rpc_id = here.request("a", 1 << 24, b"", deadline_ns=9)
    there.reply(opened(there, sends(here)), b"", [memoryview(bytes(5000))])
    here.cancel(rpc_id)
    assert hears(here, sends(there)) == []
    assert (here.late_replies, here.payload_bytes_dropped) == (1, 5000)


def test_a_reply_to_a_call_that_has_not_left_is_nobodys() -> None:
    here, there = caller(), ServerSession(SMALL)
    for name in "abcd":
        here.request(name, 1 << 24, b"", deadline_ns=9)
    header = arrived(there, sends(here))[0]
    there.reply(msgspec.structs.replace(header, rpc_id=103), b"guessed")
    assert hears(here, sends(there)) == []
    assert here.late_replies == 1
    assert here.inflight == 4


def test_a_request_to_a_caller_breaks_the_connection() -> None:
    here, other = caller(), caller()
    other.request("a", 1 << 24, b"", deadline_ns=9)
    (broken,) = hears(here, sends(other))
    assert isinstance(broken, Broken)
    assert "from a peer that was called" in broken.error.message


def test_the_end_gives_back_every_call() -> None:
    here = caller()
    for name in "abcde":
        here.request(name, 1 << 24, b"", [memoryview(bytes(3))], deadline_ns=9)
    here.data_to_send(1, 5)
    assert here.end() == list("abcde")
    assert here.end() == []
    assert not here.has_output
    assert not here.holds_memory
    assert here.next_deadline_ns() is None
    with pytest.raises(AssertionError, match="gone"):
        here.request("f", 1 << 24, b"", deadline_ns=9)


# --- the serving end -----------------------------------------------------------------------------


def test_requests_that_come_twice_are_ignored() -> None:
    here, there = caller(), ServerSession(SMALL)
    here.request("a", 1 << 24, b"", deadline_ns=9)
    data = sends(here)
    assert len(hears(there, data)) == 1
    assert hears(there, data) == []
    assert (there.duplicates, there.serving) == (1, 1)


def test_a_request_that_comes_too_late_is_answered_at_once() -> None:
    here, there = caller(), ServerSession(SMALL)
    here.request("a", 1 << 24, b"", [memoryview(bytes(100))], deadline_ns=5_000_000)
    assert hears(there, sends(here), 7_000_000) == []
    assert (there.serving, there.payload_bytes_dropped) == (0, 100)
    (event,) = hears(here, sends(there))
    assert isinstance(event, Message)
    error = parse_failure(event.header.status, event.body)
    assert (error.code, error.message) == (
        DER.TIMEDOUT,
        "the request came 2 ms after its deadline",
    )


def test_a_server_reads_on_only_while_it_has_room() -> None:
    here, there = caller(Limits()), ServerSession(SMALL)
    headers = []
    for index in range(4):
        assert there.may_read
        here.request("a", 1 << 24, b"", deadline_ns=9)
        headers.append(opened(there, sends(here)))
        assert there.serving == index + 1
    assert not there.may_read
    there.reply(headers.pop(), b"")
    assert there.may_read
    there.reply(headers.pop(), bytes(1000))
    assert not there.may_read
    sends(there)
    assert there.may_read


def test_sent_comes_back_once_for_each_reply_whatever_happens() -> None:
    here, there = caller(), ServerSession(SMALL)
    for _ in range(3):
        here.request("a", 1 << 24, b"", deadline_ns=9)
    headers = arrived(there, sends(here))
    told: list[int] = []
    hooks: list[Callable[[], None]] = []
    for index, header in enumerate(headers):
        sent = (lambda i: lambda: told.append(i))(index)
        there.reply(header, b"", [memoryview(bytes(500))] if index else [], sent=sent)
    there.data_to_send(500, 5)
    hooks += there.data_sent()
    assert there.data_sent() == []
    there.data_to_send(1, 5)
    hooks += there.end()  # one with the transport, none in the queue
    assert there.end() == []
    for hook in hooks:
        hook()
    assert told == [0, 1, 2]


# --- all of it at once ---------------------------------------------------------------------------


@dataclass
class World:
    """One caller, one server, and a wire between them that cuts as it likes."""

    rng: random.Random
    limits: Limits
    now_ns: int = 0
    calls: dict[str, tuple[int, bytearray]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    after: dict[str, bytes] = field(default_factory=dict)
    asked: list[Header] = field(default_factory=list)
    executed: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.here: CallerSession[str] = CallerSession(self.limits, peer=THERE, source=HERE)
        self.there = ServerSession(self.limits)
        self.wires = {"out": bytearray(), "back": bytearray()}

    def end(self, name: str, how: str) -> None:
        assert name not in self.ended, "S1"
        self.ended[name] = how
        self.after[name] = bytes(self.calls[name][1])

    def call(self) -> None:
        name = f"call {len(self.calls)}"
        payload = [memoryview(name.encode() * 3)] if self.rng.random() < 0.5 else []
        deadline_ns = self.now_ns + self.rng.choice((5, 50, FAR))
        try:
            rpc_id = self.here.request(
                name, 1 << 24, name.encode(), payload, deadline_ns=deadline_ns
            )
        except AgainError:
            assert self.here.inflight > self.limits.waiting_max
            return
        self.calls[name] = (rpc_id, bytearray(60))

    def answer(self) -> None:
        if self.asked:
            header = self.asked.pop(self.rng.randrange(len(self.asked)))
            body = str(header.rpc_id).encode()
            size = self.rng.choice((0, 0, 1, 60))
            self.there.reply(header, body, [memoryview(bytes([header.rpc_id % 251 + 1]) * size)])

    def move(self, way: str) -> None:
        source, target = (self.here, self.there) if way == "out" else (self.there, self.here)
        wire = self.wires[way]
        wire += sends(source, self.rng.choice((1, 100, 1 << 20)))
        count = self.rng.randint(0, len(wire))
        while count:
            buffer = target.get_buffer()
            nbytes = min(len(buffer), count, self.rng.choice((1, 7, 1 << 16)))
            buffer[:nbytes] = wire[:nbytes]
            del wire[:nbytes]
            count -= nbytes
            if way == "out":
                self.serve(self.there.buffer_updated(nbytes, self.now_ns))
            else:
                self.hear(self.here.buffer_updated(nbytes, self.now_ns))

    def serve(self, events: list[Event[None]]) -> None:
        while events:
            more: list[Event[None]] = []
            for event in events:
                assert not isinstance(event, Broken)
                if isinstance(event, Head):
                    self.executed.append(bytes(event.body))
                    more = self.there.land([memoryview(bytearray(100))], self.now_ns)
                elif isinstance(event, Message):
                    self.executed.append(bytes(event.body))
                    self.asked.append(event.header)
                else:
                    self.asked.append(event.header)
            events = more

    def hear(self, events: list[Event[str]]) -> None:
        while events:
            more: list[Event[str]] = []
            for event in events:
                assert not isinstance(event, Broken)
                name = event.token
                assert name is not None
                rpc_id, room = self.calls[name]
                assert event.header.rpc_id == rpc_id
                if isinstance(event, Head):
                    more = self.here.land([memoryview(room)], self.now_ns)
                    continue
                size = event.header.payload_size
                assert bytes(room[:size]) == bytes([rpc_id % 251 + 1]) * size
                self.end(name, "timedout" if event.header.status else "answered")
            events = more

    def give_up(self) -> None:
        if self.calls:
            name = self.rng.choice(list(self.calls))
            if self.here.cancel(self.calls[name][0]):
                self.end(name, "cancelled")
            else:
                assert name in self.ended

    def time(self) -> None:
        self.now_ns += self.rng.randint(0, 20)

    def wake(self) -> None:
        deadline_ns = self.here.next_deadline_ns()
        if deadline_ns is not None and deadline_ns <= self.now_ns:
            for name in self.here.expire(self.now_ns):
                self.end(name, "expired")

    def check(self) -> None:
        alive = set(self.calls) - set(self.ended)
        assert self.here.inflight == len(alive)
        assert self.there.serving <= self.limits.serving_max + self.limits.inflight_max
        for name, room in self.after.items():
            assert bytes(self.calls[name][1]) == room, "S2"


def test_any_schedule_keeps_every_promise() -> None:
    outcomes = set[str]()
    for seed in range(150):
        rng = random.Random(seed)
        limits = Limits(
            inflight_max=rng.choice((1, 3, 10)),
            waiting_max=rng.choice((1, 5, 50)),
            outbox_size_max=rng.choice((1, 300, 1 << 20)),
            scratch_size=rng.choice((384, 4096)),
        )
        world = World(rng, limits)
        actions: list[Callable[[], None]] = [
            world.call,
            world.answer,
            partial(world.move, "out"),
            partial(world.move, "back"),
        ]
        if rng.random() < 0.6:
            actions.append(world.give_up)
        if rng.random() < 0.6:
            actions += [world.time, world.wake]
        for _ in range(150):
            rng.choice(actions)()
            world.check()
        for _ in range(2000):  # heal: everything that was asked is answered in the end
            world.move("out")
            world.answer()
            world.move("back")
            if not world.here.inflight:
                break
        world.check()
        assert set(world.ended) == set(world.calls), f"seed {seed}"
        order = [int(body.split()[1]) for body in world.executed]
        assert order == sorted(set(order)), "each at most once, in the order they were sent"
        outcomes |= set(world.ended.values())
    assert outcomes == {"answered", "cancelled", "expired", "timedout"}

"""Bytes in any cut give the same events; payloads land where they are told; bounds hold."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import CorruptError, InvalidError, ProtocolError
from daos.base.ids import Rank, Tag
from daos.cart.framing import Broken, Event, Framing, Head, Landed, Limits, Message
from daos.cart.session import ServerSession
from daos.cart.wire import HEADER_SIZE, REPLY, Endpoint, Header, checksum

HERE = Endpoint(Rank(0), Tag(1))
LIMITS = Limits(body_size_max=2000, payload_size_max=3000, scratch_size=400)
FAR = (1 << 64) - 1


def frame(
    rpc_id: int,
    body: bytes = b"",
    payload: bytes = b"",
    *,
    flags: int = 0,
    status: int = 0,
    payload_size: int | None = None,
    body_size: int | None = None,
) -> bytes:
    header = Header(
        flags=flags,
        opcode=0x0101_0001,
        status=status,
        rpc_id=rpc_id,
        rank=HERE.rank,
        tag=HERE.tag,
        source_rank=9,
        source_tag=8,
        deadline_ns=FAR,
        trace_id=77,
        payload_size=len(payload) if payload_size is None else payload_size,
        body_size=len(body) if body_size is None else body_size,
        body_sum=checksum(body),
        epoch=5,
    )
    return header.emit() + body + payload


class Reader:
    """Feeds a session and keeps a story of what it said, payloads included."""

    def __init__(self, session: Framing[None], *, refuse: int = 0) -> None:
        self.session = session
        self.refuse = refuse  # every n-th payload
        self.story: list[tuple[str, object, object]] = []
        self.room: list[bytearray] = []

    def feed(self, data: bytes) -> None:
        while data:
            buffer = self.session.get_buffer()
            assert len(buffer) > 0
            nbytes = min(len(buffer), len(data))
            buffer[:nbytes] = data[:nbytes]
            data = data[nbytes:]
            self.take(self.session.buffer_updated(nbytes, 0))

    def take(self, events: list[Event[None]]) -> None:
        while events:
            more: list[Event[None]] = []
            for event in events:
                if isinstance(event, Message):
                    self.story.append(("message", event.header, bytes(event.body)))
                elif isinstance(event, Head):
                    heads_and_ends_come_last(events)
                    self.story.append(("head", event.header, bytes(event.body)))
                    more = self.session.land(self.destinations(event.header), 0)
                elif isinstance(event, Landed):
                    self.story.append(("landed", event.header, b"".join(self.room)))
                else:
                    assert isinstance(event, Broken)
                    heads_and_ends_come_last(events)
                    self.story.append(("broken", type(event.error), str(event.error)))
            events = more

    def destinations(self, header: Header) -> list[memoryview] | None:
        if self.refuse and header.rpc_id % self.refuse == 0:
            return None
        size = header.payload_size
        cuts = [0, size // 3, size // 3, size]
        self.room = [bytearray(b - a) for a, b in pairwise(cuts)]
        return [memoryview(part) for part in self.room]


def heads_and_ends_come_last(events: list[Event[None]]) -> None:
    assert not any(isinstance(event, Head | Broken) for event in events[:-1])


FRAMES = st.lists(
    st.tuples(st.binary(max_size=700), st.binary(max_size=900) | st.just(b"")), max_size=8
)


@given(FRAMES, st.binary(max_size=120) | st.just(b""), st.integers(0, 3), st.data())
def test_events_do_not_depend_on_how_the_bytes_were_cut(
    frames: list[tuple[bytes, bytes]], tail: bytes, refuse: int, data: st.DataObject
) -> None:
    stream = b"".join(frame(i + 1, body, payload) for i, (body, payload) in enumerate(frames))
    stream += tail
    whole, cut, bytewise = (Reader(ServerSession(LIMITS), refuse=refuse) for _ in range(3))
    whole.feed(stream)
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream) - at))
        cut.feed(stream[at : at + size])
        at += size
    for i in range(len(stream)):
        bytewise.feed(stream[i : i + 1])
    assert whole.story == cut.story == bytewise.story

    expected: list[object] = []
    for i, (body, payload) in enumerate(frames):
        kind = "head" if payload else "message"
        expected.append((kind, body))
        if payload and not (refuse and (i + 1) % refuse == 0):
            expected.append(("landed", payload))
    told = [(kind, content) for kind, _, content in whole.story if kind != "broken"]
    assert told == expected
    assert len(whole.story) - len(told) == (len(tail) >= HEADER_SIZE)


def test_a_body_larger_than_the_scratch_buffer_has_its_own_memory() -> None:
    reader = Reader(ServerSession(LIMITS))
    body = bytes(range(256)) * 6
    reader.feed(frame(1, body)[:-1])
    assert reader.story == []
    assert len(reader.session.get_buffer()) == 1
    reader.feed(frame(1, body)[-1:])
    assert [entry[2] for entry in reader.story] == [body]


def test_payload_bytes_go_straight_to_their_destination() -> None:
    reader = Reader(ServerSession(LIMITS))
    whole = frame(1, b"body", bytes(range(200)))
    reader.feed(whole[:-200])
    assert reader.session.get_buffer().obj is reader.room[0]
    reader.feed(whole[-200:])
    assert reader.session.payload_bytes_staged == 0
    assert reader.session.payload_bytes_in == 200
    assert reader.story[-1][2] == bytes(range(200))
    reader.feed(frame(2, b"body", bytes(range(200))))  # all in one read
    assert reader.session.payload_bytes_staged == 200


def test_many_refused_payloads_in_one_read_do_not_nest() -> None:
    session = ServerSession(Limits())
    reader = Reader(session)
    reader.feed(frame(10_000))
    stream = b"".join(frame(i, b"", b"p") for i in range(1, 600))  # duplicates: below 10,000
    assert len(stream) < Limits().scratch_size
    reader.feed(stream)
    assert session.duplicates == 599
    assert session.payload_bytes_dropped == 599
    assert len(reader.story) == 1


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (b"?" * HEADER_SIZE, CorruptError, "magic"),
        (frame(1, b"body")[:-1] + b"?", CorruptError, "rpc body checksum"),
        (frame(1, b"", b"", payload_size=3001), ProtocolError, "the limits are 2000 and 3000"),
        (frame(1, b"", b"", payload_size=FAR), ProtocolError, "the limits are 2000 and 3000"),
        (frame(1, b"", b"", body_size=2001), ProtocolError, "the limits are 2000 and 3000"),
        (frame(1, b"", b"", body_size=FAR), ProtocolError, "the limits are 2000 and 3000"),
        (frame(1, flags=REPLY), ProtocolError, "was not called"),
        (frame(1, status=5), ProtocolError, "with status 5"),
        (frame(2, b"x" * 900, flags=REPLY), ProtocolError, "was not called"),
    ],
    ids=["noise", "damage", "payload", "payload max", "body", "body max", "reply", "status", "big"],
)
def test_what_is_no_frame_kills_the_session(data: bytes, error: type, text: str) -> None:
    session = ServerSession(LIMITS)
    reader = Reader(session)
    reader.feed(frame(1, b"fine") + data + frame(3, b"never read"))
    message, broken = reader.story
    assert message[2] == b"fine"
    assert broken[1] is error
    assert text in str(broken[2])
    assert session.dead
    reader.feed(frame(4))  # swallowed
    assert len(reader.story) == 2


def test_a_dead_session_writes_to_no_destination() -> None:
    reader = Reader(ServerSession(LIMITS))
    reader.feed(frame(1, b"", b"x" * 100, payload_size=200))
    before = [bytes(part) for part in reader.room]
    reader.session.kill()
    reader.feed(b"y" * 100)
    assert [bytes(part) for part in reader.room] == before


def test_destinations_may_have_any_item_size_and_must_suffice() -> None:
    session = ServerSession(LIMITS)
    room = bytearray(24)
    buffer = session.get_buffer()
    data = frame(1, b"", payload_size=20)
    buffer[: len(data)] = data
    assert isinstance(session.buffer_updated(len(data), 0)[0], Head)
    with pytest.raises(AssertionError, match="too small"):
        session.land([memoryview(bytearray(19))], 0)
    session = ServerSession(LIMITS)
    session.get_buffer()[: len(data)] = data
    session.buffer_updated(len(data), 0)
    assert session.land([memoryview(room)[:0], memoryview(room).cast("Q")], 0) == []
    assert len(session.get_buffer()) == 20
    session.get_buffer()[:] = bytes(range(20))
    (landed,) = session.buffer_updated(20, 0)
    assert isinstance(landed, Landed)
    assert room == bytes(range(20)) + bytes(4)


def test_asking_before_landing_is_a_bug() -> None:
    session = ServerSession(LIMITS)
    data = frame(1, b"", payload_size=20)
    session.get_buffer()[: len(data)] = data
    session.buffer_updated(len(data), 0)
    with pytest.raises(AssertionError):
        session.get_buffer()
    with pytest.raises(AssertionError):
        session.buffer_updated(1, 0)
    session.land(None, 0)
    with pytest.raises(AssertionError, match="no Head"):
        session.land(None, 0)


def test_a_framing_without_meaning_cannot_be_used() -> None:
    framing = Framing[None](LIMITS)
    framing.get_buffer()[:HEADER_SIZE] = frame(1)
    with pytest.raises(NotImplementedError):
        framing.buffer_updated(HEADER_SIZE, 0)


def test_limits_are_checked_and_frozen() -> None:
    with pytest.raises(InvalidError, match="body_size_max must be positive"):
        Limits(body_size_max=0)
    with pytest.raises(InvalidError, match="scratch_size"):
        Limits(scratch_size=100)
    with pytest.raises(InvalidError, match="serving_max"):
        Limits(inflight_max=10, serving_max=9)
    with pytest.raises(FrozenInstanceError):
        Limits().body_size_max = 5  # type: ignore[misc]


def test_broken_is_an_event_with_a_reason() -> None:
    assert Broken(ProtocolError("no")).error.message == "no"

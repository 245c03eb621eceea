"""Contexts over inproc, beyond the kit for transports: handlers, bugs, clocks, timers, counts."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import pytest

from daos.base.errors import (
    DER,
    AgainError,
    BusyError,
    CanceledError,
    DaosError,
    DeadlineError,
    ExistsError,
    HlcSyncError,
    InvalidError,
    NotFoundError,
    ProtocolError,
    ShutdownError,
)
from daos.base.hlc import Hlc, epoch_from_unix_ns
from daos.base.ids import Rank, Tag
from daos.cart.context import NO_RANK, Call, Context, Endpoint, Limits, Rpc
from daos.cart.protocol import Procedure, opcode
from daos.cart.transport.inproc import InprocNetwork

SECOND_NS = 1_000_000_000
START_NS = 1_700_000_000 * SECOND_NS
FAR = START_NS + 3600 * SECOND_NS
SERVER = Endpoint(Rank(0), Tag(1))
LOG = "daos.cart.station"


class Ask(msgspec.Struct, array_like=True):
    number: int


class Answer(msgspec.Struct, array_like=True):
    number: int


class Words(msgspec.Struct, array_like=True):
    text: str


ECHO: Procedure[Ask, Answer] = Procedure("echo", opcode(9, 2, 0), Ask, Answer)
PUT: Procedure[Ask, Answer] = Procedure("put", opcode(9, 2, 1), Ask, Answer)


@dataclass
class FakeClock:
    unix_ns: int = START_NS

    def now_ns(self) -> int:
        return self.unix_ns

    def monotonic_ns(self) -> int:
        return self.unix_ns


@dataclass
class Place:
    """A network, a server on it, and a client."""

    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.network = InprocNetwork(self.loop)
        self.clock = FakeClock()
        self.server_clock = FakeClock()
        self.bugs: list[Exception] = []
        self.news = asyncio.Event()
        self.server = self.context(SERVER, self.server_clock)
        self.client = self.context(None, self.clock)
        self.server.listen()

    def context(self, endpoint: Endpoint | None, clock: FakeClock) -> Context:
        return Context(
            self.network,
            endpoint,
            clock=clock,
            hlc=Hlc(clock),
            rng=random.Random(1),
            loop=self.loop,
            limits=self.limits,
            on_bug=self.bugs.append,
        )

    async def echo(self, number: int = 1, procedure: Procedure[Ask, Answer] = ECHO) -> Answer:
        return await self.client.call(SERVER, procedure, Ask(number), deadline_ns=FAR)

    async def close(self) -> None:
        await self.client.close()
        await self.server.close()


def run(scenario: Callable[[Place], Awaitable[None]], limits: Limits | None = None) -> None:
    async def main() -> None:
        place = Place(limits or Limits())
        async with asyncio.timeout(20):
            await scenario(place)
            await place.close()

    asyncio.run(main())


# --- what a handler sees and says -----------------------------------------------------------------


def test_a_request_as_its_handler_sees_it() -> None:
    async def scenario(place: Place) -> None:
        seen: list[Rpc[Ask, Answer]] = []

        def handler(rpc: Rpc[Ask, Answer]) -> None:
            assert not rpc.answered
            seen.append(rpc)
            rpc.reply(Answer(rpc.request.number))

        place.server.serve(ECHO, handler)
        await place.client.call(SERVER, ECHO, Ask(4), deadline_ns=FAR, trace_id=77)
        await place.server.call(SERVER, ECHO, Ask(5), deadline_ns=FAR + 1)
        one, two = seen
        assert one.procedure is ECHO
        assert (one.request, one.payload, one.payload_size) == (Ask(4), (), 0)
        assert (one.deadline_ns, one.trace_id) == (FAR, 77)
        assert one.source == Endpoint(NO_RANK, Tag(0))
        assert two.source == SERVER
        assert two.deadline_ns == FAR + 1
        assert two.trace_id == two.header.rpc_id
        assert one.answered
        assert one.epoch >= epoch_from_unix_ns(START_NS) & ~0x3FFFF
        with pytest.raises(AssertionError, match="answered twice"):
            one.fail(BusyError("again"))

    run(scenario)


def test_clocks_of_both_ends_are_ordered_by_a_call() -> None:
    async def scenario(place: Place) -> None:
        place.clock.unix_ns += SECOND_NS // 2  # the client is ahead
        hlc = place.server._station.hlc
        inside = []

        def handler(rpc: Rpc[Ask, Answer]) -> None:
            inside.append((rpc.epoch, hlc.now()))
            rpc.reply(Answer(0))

        place.server.serve(ECHO, handler)
        before = place.client._station.hlc.now()
        await place.echo()
        after = place.client._station.hlc.now()
        ((asked, handled),) = inside
        assert before < asked < handled < after

    run(scenario)


def test_a_request_from_the_future_is_refused() -> None:
    async def scenario(place: Place) -> None:
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(0)))
        place.clock.unix_ns += 2 * SECOND_NS
        with pytest.raises(HlcSyncError, match="ahead of this host"):
            await place.echo()
        place.clock.unix_ns -= 2 * SECOND_NS

    run(scenario)


def test_a_reply_from_the_future_is_an_error_of_the_call() -> None:
    async def scenario(place: Place) -> None:
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(0), [memoryview(b"payload")]))
        place.server_clock.unix_ns += 2 * SECOND_NS
        room = bytearray(7)
        with pytest.raises(HlcSyncError):
            await place.client.call(SERVER, ECHO, Ask(1), into=[memoryview(room)], deadline_ns=FAR)
        assert room == bytes(7)

    run(scenario)


def test_an_error_of_a_handler_is_its_answer() -> None:
    async def scenario(place: Place) -> None:
        def fails(rpc: Rpc[Ask, Answer]) -> None:
            raise NotFoundError("no such thing")

        place.server.serve(ECHO, fails)
        with pytest.raises(NotFoundError, match="no such thing"):
            await place.echo()
        assert place.bugs == []

    run(scenario)


def _buggy(rpc: Rpc[Ask, Answer]) -> None:
    raise ZeroDivisionError("a secret of this host")


async def _buggy_coroutine(rpc: Rpc[Ask, Answer]) -> None:
    raise ZeroDivisionError("a secret of this host")


def _unencodable(rpc: Rpc[Ask, Answer]) -> None:
    rpc.reply(Answer(object()))  # type: ignore[arg-type]


def _returning(rpc: Rpc[Ask, Answer]) -> None:
    return 5  # type: ignore[return-value]


async def _unencodable_coroutine(rpc: Rpc[Ask, Answer]) -> None:
    rpc.reply(Answer(1 << 80))


@pytest.mark.parametrize(
    ("handler", "bug"),
    [
        (_buggy, ZeroDivisionError),
        (_buggy_coroutine, ZeroDivisionError),
        (_unencodable, TypeError),
        (_unencodable_coroutine, OverflowError),
        (_returning, TypeError),
    ],
)
def test_a_bug_of_a_handler_is_reported_and_answered_vaguely(
    handler: Callable[[Rpc[Ask, Answer]], None],
    bug: type[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(place: Place) -> None:
        place.server.serve(ECHO, handler)
        with pytest.raises(DaosError) as caught:
            await place.echo()
        assert caught.value.code is DER.MISC
        assert caught.value.message == f"echo: internal error, {bug.__name__}"
        assert [type(each) for each in place.bugs] == [bug]
        assert place.server.statistics().bugs == 1
        assert [record.name for record in caplog.records] == [LOG]
        place.server.serve(PUT, lambda rpc: rpc.reply(Answer(3)))
        assert await place.echo(procedure=PUT) == Answer(3)

    run(scenario)


@pytest.mark.expects_warning("bug procedure=echo")
@pytest.mark.expects_warning("bug procedure=put")
def test_an_error_after_the_answer_is_a_bug_and_the_answer_stands() -> None:
    async def scenario(place: Place) -> None:
        def handler(rpc: Rpc[Ask, Answer]) -> None:
            rpc.reply(Answer(1))
            raise BusyError("too late")

        async def coroutine(rpc: Rpc[Ask, Answer]) -> None:
            rpc.reply(Answer(2))
            raise BusyError("too late")

        place.server.serve(ECHO, handler)
        place.server.serve(PUT, coroutine)
        assert await place.echo() == Answer(1)
        assert await place.echo(procedure=PUT) == Answer(2)
        assert len(place.bugs) == 2

    run(scenario)


def test_a_coroutine_that_does_not_answer_is_answered_for() -> None:
    async def scenario(place: Place) -> None:
        async def forgets(rpc: Rpc[Ask, Answer]) -> None:
            await asyncio.sleep(0)

        place.server.serve(ECHO, forgets)
        with pytest.raises(DaosError, match="gave no answer") as caught:
            await place.echo()
        assert caught.value.code is DER.NOREPLY

    run(scenario)


def test_coroutines_are_bounded() -> None:
    async def scenario(place: Place) -> None:
        gate = asyncio.Event()

        async def waits(rpc: Rpc[Ask, Answer]) -> None:
            if place.server.statistics().tasks == 2:
                place.news.set()
            await gate.wait()
            rpc.reply(Answer(rpc.request.number))

        place.server.serve(ECHO, waits)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(place.echo(number)) for number in range(2)]
            await place.news.wait()
            with pytest.raises(AgainError):
                await place.echo(2)
            gate.set()
        assert [task.result() for task in tasks] == [Answer(0), Answer(1)]

    run(scenario, Limits(tasks_max=2))


def test_a_reply_too_large_becomes_an_error_and_sent_still_comes() -> None:
    async def scenario(place: Place) -> None:
        told: list[int] = []

        def handler(rpc: Rpc[Ask, Answer]) -> None:
            data = memoryview(bytes(2000))
            rpc.reply(Answer(1), [data], sent=lambda: told.append(1))
            assert told == []

        place.server.serve(ECHO, handler)
        with pytest.raises(DaosError, match="rpc payload of 2000 bytes") as caught:
            await place.echo()
        assert caught.value.code is DER.OVERFLOW
        assert told == [1]

    run(scenario, Limits(payload_size_max=1000))


@pytest.mark.expects_warning("bug procedure=sent")
@pytest.mark.expects_warning("bug procedure=echo")
def test_bugs_in_done_and_sent_harm_nobody_else() -> None:
    async def scenario(place: Place) -> None:
        def raises(*_: object) -> None:
            raise ZeroDivisionError

        def handler(rpc: Rpc[Ask, Answer]) -> None:
            rpc.reply(Answer(1), [memoryview(b"x")], sent=raises)

        place.server.serve(ECHO, handler)
        place.client.send(SERVER, ECHO, Ask(1), deadline_ns=FAR, done=raises)
        room = [memoryview(bytearray(1))]
        await place.client.call(SERVER, ECHO, Ask(2), into=room, deadline_ns=FAR)
        await asyncio.sleep(0)
        assert [type(bug) for bug in place.bugs] == [ZeroDivisionError] * 3

    run(scenario)


# --- what is refused ------------------------------------------------------------------------------


def test_unknown_procedures_and_versions_are_named() -> None:
    async def scenario(place: Place) -> None:
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(1)))
        for number, text in (
            (opcode(9, 3, 0), "protocol 0x09 version 3 is not served here, only [2]"),
            (opcode(9, 2, 7), "procedure 0x09020007 is not served here"),
            (opcode(8, 2, 0), "procedure 0x08020000 is not served here"),
        ):
            with pytest.raises(ProtocolError) as caught:
                await place.echo(procedure=Procedure("other", number, Ask, Answer))
            assert caught.value.code is DER.UNREG
            assert caught.value.message == text

    run(scenario)


def test_a_request_for_somebody_else_is_not_served() -> None:
    async def scenario(place: Place) -> None:
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(1)))
        elsewhere = Endpoint(Rank(5), Tag(6))
        place.network.listen(elsewhere, place.server._accept)
        with pytest.raises(DaosError, match="for rank 5 tag 6, this is rank 0 tag 1") as caught:
            await place.client.call(elsewhere, ECHO, Ask(1), deadline_ns=FAR)
        assert caught.value.code is DER.BAD_TARGET

    run(scenario)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x91\xa1x", b"\x91" * 100_000])
def test_an_unreadable_request_is_refused(body: bytes) -> None:
    async def scenario(place: Place) -> None:
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(1)))
        liar: Procedure[Ask, Answer] = Procedure("echo", ECHO.opcode, Ask, Answer)
        object.__setattr__(liar, "encode", lambda _: body)
        with pytest.raises(InvalidError, match="echo: unreadable request"):
            await place.echo(procedure=liar)
        assert await place.echo() == Answer(1)

    run(scenario)


def test_an_unreadable_reply_is_an_error_of_its_call_alone() -> None:
    async def scenario(place: Place) -> None:
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(1)))
        other = Procedure("echo", ECHO.opcode, Ask, Words)
        with pytest.raises(ProtocolError, match="the reply of rank 0 tag 1 is unreadable"):
            await place.client.call(SERVER, other, Ask(1), deadline_ns=FAR)
        assert await place.echo() == Answer(1)

    run(scenario)


def test_bad_arguments_of_a_call() -> None:
    async def scenario(place: Place) -> None:
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(1)))
        with pytest.raises(InvalidError, match="not a u64"):
            await place.client.call(SERVER, ECHO, Ask(1), deadline_ns=-1)
        with pytest.raises(TypeError):
            await place.client.call(SERVER, ECHO, Ask(object()), deadline_ns=FAR)  # type: ignore[arg-type]
        with pytest.raises(DeadlineError):
            await place.client.call(SERVER, ECHO, Ask(1), deadline_ns=START_NS - 1)
        with pytest.raises(ExistsError, match="served already"):
            place.server.serve(ECHO, lambda rpc: None)
        with pytest.raises(InvalidError, match="cannot be called"):
            place.client.listen()
        place.server.listen()  # twice is once
        assert place.client.statistics().calls == 0

    run(scenario)


# --- payloads -------------------------------------------------------------------------------------


def _land(
    sizes: Sequence[int], aborted: list[int]
) -> Callable[[Rpc[Ask, Answer]], list[memoryview]]:
    def land(rpc: Rpc[Ask, Answer]) -> list[memoryview]:
        rpc.abort = lambda: aborted.append(rpc.request.number)
        return [memoryview(bytearray(size)) for size in sizes]

    return land


def test_land_is_asked_for_an_empty_payload_too() -> None:
    async def scenario(place: Place) -> None:
        seen: list[object] = []

        def land(rpc: Rpc[Ask, Answer]) -> list[memoryview]:
            rpc.land_state = "reserved"
            rpc.abort = _ignore
            return [memoryview(bytearray(rpc.request.number))]

        def handler(rpc: Rpc[Ask, Answer]) -> None:
            seen.append((rpc.land_state, rpc.abort))
            rpc.reply(Answer(rpc.payload_size))

        place.server.serve(PUT, handler, land=land)
        assert await place.echo(0, PUT) == Answer(0)
        assert seen == [("reserved", None)]
        with pytest.raises(InvalidError, match="describes 5 bytes, 0 came"):
            await place.echo(5, PUT)

    run(scenario)


@pytest.mark.parametrize("sizes", [[], [99], [50, 51], [100, 1]])
def test_a_destination_of_another_size_is_refused_and_aborted(sizes: list[int]) -> None:
    async def scenario(place: Place) -> None:
        aborted: list[int] = []
        place.server.serve(PUT, lambda rpc: rpc.reply(Answer(1)), land=_land(sizes, aborted))
        with pytest.raises(InvalidError, match=f"describes {sum(sizes)} bytes, 100 came"):
            await place.client.call(
                SERVER, PUT, Ask(8), payload=[memoryview(bytes(100))], deadline_ns=FAR
            )
        assert aborted == [8]

    run(scenario)


def test_the_abort_of_land_is_over_when_the_handler_runs() -> None:
    async def scenario(place: Place) -> None:
        aborted: list[int] = []
        held: list[Rpc[Ask, Answer]] = []

        def hold(rpc: Rpc[Ask, Answer]) -> None:
            held.append(rpc)
            if len(held) == 2:
                place.news.set()

        place.server.serve(PUT, hold, land=_land([100], aborted))
        data = [memoryview(bytes(100))]
        place.client.send(SERVER, PUT, Ask(8), payload=data, deadline_ns=FAR, done=_ignore)
        place.client.send(SERVER, PUT, Ask(9), payload=data, deadline_ns=FAR, done=_ignore)
        await place.news.wait()
        held[1].abort = lambda: aborted.append(99)
        await place.client.close()
        assert aborted == [99]
        for rpc in held:
            rpc.reply(Answer(1))  # to nobody

    run(scenario)


def _ignore(*_: object) -> None:
    pass


@pytest.mark.expects_warning("bug procedure=put")
def test_bugs_in_land_and_into_refuse_the_payload() -> None:
    async def scenario(place: Place) -> None:
        place.server.serve(PUT, _buggy, land=lambda rpc: [][1])
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(1), [memoryview(b"data")]))
        with pytest.raises(DaosError) as caught:
            await place.client.call(
                SERVER, PUT, Ask(1), payload=[memoryview(b"data")], deadline_ns=FAR
            )
        assert caught.value.code is DER.MISC

        def full(answer: Answer, size: int) -> list[memoryview]:
            raise BusyError(f"no room for {size} of {answer.number}")

        with pytest.raises(BusyError, match="no room for 4 of 1"):
            await place.client.call(SERVER, ECHO, Ask(1), into=full, deadline_ns=FAR)
        assert await place.client.call(
            SERVER, ECHO, Ask(1), into=[memoryview(bytearray(4))], deadline_ns=FAR
        ) == Answer(1)

    run(scenario)


@pytest.mark.expects_warning("bug procedure=put")
def test_memory_that_cannot_be_written_to_is_refused() -> None:
    async def scenario(place: Place) -> None:
        aborted: list[int] = []

        def land(rpc: Rpc[Ask, Answer]) -> list[memoryview]:
            rpc.abort = lambda: aborted.append(1)
            return [memoryview(b"1234")]

        place.server.serve(PUT, _buggy, land=land)
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(1), [memoryview(b"data")]))
        data = [memoryview(b"data")]
        with pytest.raises(DaosError) as caught:
            await place.client.call(SERVER, PUT, Ask(1), payload=data, deadline_ns=FAR)
        assert caught.value.code is DER.MISC
        assert aborted == [1]
        for room in (memoryview(b"1234"), memoryview(bytearray(8))[::2]):
            with pytest.raises(InvalidError, match="read-only or not contiguous"):
                await place.client.call(SERVER, ECHO, Ask(1), into=[room], deadline_ns=FAR)
        with pytest.raises(TypeError):
            await place.client.call(SERVER, PUT, Ask(1), payload=[room], deadline_ns=FAR)
        assert place.client.statistics().calls == 0

    run(scenario)


def test_a_call_made_by_the_last_reply_of_a_breaking_connection() -> None:
    """The reply and the garbage behind it come in one read."""

    async def scenario(place: Place) -> None:
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(1)))
        outcomes: list[DaosError | None] = []

        def done(answer: Answer | None, nbytes: int, error: DaosError | None) -> None:
            outcomes.append(error)
            if len(outcomes) == 3:
                place.news.set()
            elif error is None:
                place.client.send(SERVER, ECHO, Ask(3), deadline_ns=FAR, done=done)

        await place.echo()
        for number in (1, 2):
            place.client.send(SERVER, ECHO, Ask(number), deadline_ns=FAR, done=done)
        (channel,) = place.server._servers
        honest = channel.data_to_send
        garbage = b"?" * 96

        def lies(nbytes_max: int) -> list[bytes | memoryview]:
            reply = b"".join(honest(nbytes_max))
            return [reply[: len(reply) // 2] + garbage]

        channel.data_to_send = lies  # type: ignore[method-assign]
        await place.news.wait()
        assert outcomes[0] is None
        codes = [error.code for error in outcomes[1:] if error]
        assert codes == [DER.UNREACH, DER.UNREACH]
        assert place.bugs == []
        assert await place.echo() == Answer(1)

    run(scenario)


def test_a_call_that_its_own_into_cancels() -> None:
    async def scenario(place: Place) -> None:
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(1), [memoryview(b"data")]))
        calls: list[Call[Answer]] = []
        outcomes: list[DaosError | None] = []
        room = bytearray(4)

        def done(answer: Answer | None, nbytes: int, error: DaosError | None) -> None:
            outcomes.append(error)
            place.news.set()

        def into(answer: Answer, size: int) -> list[memoryview]:
            calls[0].cancel()
            return [memoryview(room)]

        calls.append(place.client.send(SERVER, ECHO, Ask(1), into=into, deadline_ns=FAR, done=done))
        await place.news.wait()
        calls[0].cancel()
        await place.client.call(
            SERVER, ECHO, Ask(1), into=[memoryview(bytearray(4))], deadline_ns=FAR
        )
        assert [type(error) for error in outcomes] == [CanceledError]
        assert room == bytes(4)

    run(scenario)


def test_a_payload_is_copied_once_and_messages_of_a_turn_leave_together() -> None:
    async def scenario(place: Place) -> None:
        rooms: list[bytearray] = []

        def land(rpc: Rpc[Ask, Answer]) -> list[memoryview]:
            rooms.append(bytearray(rpc.payload_size))
            return [memoryview(rooms[-1])]

        place.server.serve(
            PUT, lambda rpc: rpc.reply(Answer(1), [memoryview(rooms[-1])]), land=land
        )
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(1)))
        await place.echo()
        data, back = bytes(range(256)) * 16, bytearray(4096)
        before = place.network.statistics()
        await place.client.call(
            SERVER,
            PUT,
            Ask(1),
            payload=[memoryview(data)],
            into=[memoryview(back)],
            deadline_ns=FAR,
        )
        after = place.network.statistics()
        assert back == data
        assert after.copies - before.copies == 4  # header and body, payload; and back
        assert after.bytes_copied - before.bytes_copied == 2 * (96 + 2 + 4096)
        assert after.pumps - before.pumps == 2
        for context in (place.client, place.server):
            statistics = context.statistics()
            assert statistics.payload_bytes_in == statistics.payload_bytes_out == 4096
            assert statistics.payload_bytes_staged == 0

        before = place.network.statistics()
        await asyncio.gather(*[place.echo(number) for number in range(64)])
        after = place.network.statistics()
        assert after.pumps - before.pumps == 2
        assert after.copies - before.copies == 2
        assert place.client.statistics().frames_in == 66

    run(scenario)


# --- time and the end -----------------------------------------------------------------------------


def test_one_timer_for_all_calls() -> None:
    async def scenario(place: Place) -> None:
        held: list[Rpc[Ask, Answer]] = []
        place.server.serve(ECHO, held.append)
        outcomes: list[str] = []
        for number, ahead_ns in enumerate((50_000_000, 20_000_000, 1 << 62)):

            def done(
                answer: Answer | None, nbytes: int, error: DaosError | None, number: int = number
            ) -> None:
                outcomes.append(f"{number} {type(error).__name__}")

            deadline_ns = START_NS + ahead_ns
            place.client.send(SERVER, ECHO, Ask(number), deadline_ns=deadline_ns, done=done)
        timer = place.client._timer
        assert timer is not None
        assert 0.019 < timer.when() - place.loop.time() < 0.021
        place.clock.unix_ns += 30_000_000
        place.client._expire()
        assert outcomes == ["1 DeadlineError"]
        place.client._expire()
        assert outcomes == ["1 DeadlineError"]
        place.clock.unix_ns += 30_000_000
        place.client._expire()
        assert outcomes == ["1 DeadlineError", "0 DeadlineError"]
        timer = place.client._timer
        assert timer is not None
        assert timer.when() - place.loop.time() < 3601
        await place.client.close()
        assert outcomes[2:] == ["2 CanceledError"]

    run(scenario)


def test_close_inside_callbacks() -> None:
    async def scenario(place: Place) -> None:
        closing: list[asyncio.Task[None]] = []

        async def shuts(rpc: Rpc[Ask, Answer]) -> None:
            rpc.reply(Answer(1))
            await place.server.close()

        place.server.serve(ECHO, shuts)
        assert await place.echo() == Answer(1)

        def done(answer: Answer | None, nbytes: int, error: DaosError | None) -> None:
            closing.append(place.loop.create_task(place.client.close()))
            place.news.set()

        place.client.send(SERVER, ECHO, Ask(1), deadline_ns=FAR, done=done)
        await place.news.wait()
        await closing[0]
        with pytest.raises(ShutdownError):
            await place.echo()
        with pytest.raises(ShutdownError):
            place.server.listen()

    run(scenario)


def test_close_cancels_coroutine_handlers() -> None:
    async def scenario(place: Place) -> None:
        seen: list[str] = []
        gate = asyncio.Event()

        async def waits(rpc: Rpc[Ask, Answer]) -> None:
            place.news.set()
            try:
                await gate.wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        place.server.serve(ECHO, waits)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(_outcome(place.echo()))
            await place.news.wait()
            await place.server.close()
        assert seen == ["cancelled"]
        outcome = task.result()
        assert isinstance(outcome, DaosError)
        assert outcome.code is DER.UNREACH
        assert "rank 0 tag 1" in outcome.message

    run(scenario)


def test_a_handler_task_that_is_cancelled_answers_so() -> None:
    async def scenario(place: Place) -> None:
        async def gives_up(rpc: Rpc[Ask, Answer]) -> None:
            raise asyncio.CancelledError

        place.server.serve(ECHO, gives_up)
        with pytest.raises(CanceledError, match="the handler was cancelled"):
            await place.echo()

    run(scenario)


async def _outcome(call: Awaitable[Answer]) -> Answer | DaosError:
    try:
        return await call
    except DaosError as error:
        return error


def test_nothing_is_logged_of_ordinary_life(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(place: Place) -> None:
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(1)))
        await place.echo()

    with caplog.at_level(logging.INFO, "daos.cart"):
        run(scenario)
    assert caplog.records == []

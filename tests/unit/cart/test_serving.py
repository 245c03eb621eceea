"""What a handler sees and says, and which requests it never sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from daos.base.errors import (
    DER,
    AgainError,
    BusyError,
    DaosError,
    DeadlineError,
    ExistsError,
    HlcSyncError,
    InvalidError,
    NotFoundError,
    ProtocolError,
)
from daos.base.hlc import epoch_from_unix_ns
from daos.base.ids import Rank, Tag
from daos.cart.context import NO_RANK, Endpoint, Limits, Rpc
from daos.cart.protocol import Procedure, opcode
from tests.unit.cart.place import (
    ECHO,
    FAR,
    LOG,
    PUT,
    SECOND_NS,
    SERVER,
    START_NS,
    Answer,
    Ask,
    Place,
    Words,
    buggy,
    run,
)

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
        assert one.source.rank == NO_RANK
        assert one.source.tag  # random: it tells clients apart
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
        with pytest.raises(HlcSyncError, match="ahead of this host") as refused:
            await place.echo()
        assert not refused.value.unanswered
        place.clock.unix_ns -= 2 * SECOND_NS

    run(scenario)


def test_a_reply_from_the_future_is_an_error_of_the_call() -> None:
    async def scenario(place: Place) -> None:
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(0), [memoryview(b"payload")]))
        place.server_clock.unix_ns += 2 * SECOND_NS
        room = bytearray(7)
        with pytest.raises(HlcSyncError) as caught:
            await place.client.call(SERVER, ECHO, Ask(1), into=[memoryview(room)], deadline_ns=FAR)
        assert caught.value.unanswered  # what was asked for has been done, as far as we know
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
        (buggy, ZeroDivisionError),
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
        with pytest.raises(ProtocolError, match="the reply of rank 0 tag 1 is unreadable") as bad:
            await place.client.call(SERVER, other, Ask(1), deadline_ns=FAR)
        assert bad.value.unanswered
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

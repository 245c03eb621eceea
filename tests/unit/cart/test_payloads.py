"""Where payloads land, through contexts; what refuses them; how often they are copied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from daos.base.errors import (
    DER,
    BusyError,
    CanceledError,
    DaosError,
    InvalidError,
)
from daos.cart.context import Call, Rpc
from tests.unit.cart.place import (
    ECHO,
    FAR,
    PUT,
    SERVER,
    Answer,
    Ask,
    Place,
    buggy,
    ignore,
    run,
)

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
            rpc.abort = ignore
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
        place.client.send(SERVER, PUT, Ask(8), payload=data, deadline_ns=FAR, done=ignore)
        place.client.send(SERVER, PUT, Ask(9), payload=data, deadline_ns=FAR, done=ignore)
        await place.news.wait()
        held[1].abort = lambda: aborted.append(99)
        await place.client.close()
        assert aborted == [99]
        for rpc in held:
            rpc.reply(Answer(1))  # to nobody

    run(scenario)


@pytest.mark.expects_warning("bug procedure=put")
def test_bugs_in_land_and_into_refuse_the_payload() -> None:
    async def scenario(place: Place) -> None:
        place.server.serve(PUT, buggy, land=lambda rpc: [][1])
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

        place.server.serve(PUT, buggy, land=land)
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

"""What every `Transport` has to do, whatever carries its bytes.

A test class derives from `TransportKit` and says how to make one:

    class TestInproc(TransportKit):
        def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
            return InprocNetwork(loop)

Every test runs on each of the `LOOPS` that the class names. Peers that misbehave
are played by `RawChannel`, which sends whatever bytes it is told to.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest

from daos.base.clock import SystemClock
from daos.base.errors import (
    DER,
    CanceledError,
    DaosError,
    DeadlineError,
    ExistsError,
    NotFoundError,
    ShutdownError,
)
from daos.cart.calling import Done
from daos.cart.context import Limits
from daos.cart.protocol import Procedure, opcode
from daos.cart.transport import Link, Transport
from daos.cart.wire import HEADER_SIZE, REPLY, Header
from daos.testing.kits.transport_peers import (
    ECHO,
    GET,
    HOLD,
    OTHER,
    PUT,
    SERVER,
    SLOW,
    Answer,
    Ask,
    Bench,
    KiB,
    MiB,
    RawChannel,
    frame,
    pattern,
)
from daos.testing.simloop import SimClock, SimLoop


def _new_uvloop() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
    return loop


_HAS_UVLOOP = importlib.util.find_spec("uvloop") is not None
_LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": _new_uvloop,
    "sim": lambda: SimLoop(1),
}


class LoopKit:
    """What kits over a transport share: loops, a bench, a look at what is left at the end."""

    TIMEOUT_S: ClassVar[float] = 30.0
    BENCH: ClassVar[type[Bench]] = Bench
    # On which loops it runs: asyncio's own, uvloop where it is installed, and the simulated one.
    LOOPS: ClassVar[tuple[str, ...]] = ("asyncio", "uvloop")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "run" in metafunc.fixturenames:
            loops = [loop for loop in self.LOOPS if loop != "uvloop" or _HAS_UVLOOP]
            metafunc.parametrize("run", loops, indirect=True)

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        """A new transport, alone in its world."""
        raise NotImplementedError

    @pytest.fixture
    def run(self, request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
        """Runs a scenario on one of the loops and closes what it opened."""
        factory = _LOOPS[request.param]

        async def main(scenario: Scenario) -> None:
            loop = asyncio.get_running_loop()
            clock = SimClock(loop) if isinstance(loop, SimLoop) else SystemClock()
            bench = self.BENCH(self.make(loop), loop, clock)
            async with asyncio.timeout(self.TIMEOUT_S):
                await scenario(bench)
                for context in bench.contexts:
                    await context.close()
            for context in bench.contexts:
                statistics = context.statistics()
                assert not statistics.connections
                assert not statistics.calls
                assert not statistics.serving
                assert not statistics.tasks
                assert not statistics.bulk_regions
                assert not statistics.bulk_transfers
            assert not bench.bugs

        def runner(scenario: Scenario) -> None:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(main(scenario))

        return runner


class TransportKit(LoopKit):
    """Derive, say how to `make` one, and let pytest collect the class."""

    # --- calls ------------------------------------------------------------------------------------

    def test_echo(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            bench.server()
            client = bench.context(None)
            answer = await client.call(SERVER, ECHO, Ask(41), deadline_ns=bench.soon())
            assert answer == Answer(41)
            answer = await client.call(SERVER, SLOW, Ask(41), deadline_ns=bench.soon())
            assert answer == Answer(42)

        run(scenario)

    def test_many_calls_at_once_come_in_order_and_each_gets_its_own_answer(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            bench.server()
            limits = Limits(inflight_max=16)
            for client in (bench.context(None, limits), bench.context(OTHER)):
                bench.order.clear()
                answers: list[asyncio.Future[Answer | None]] = []
                for number in range(500):
                    future: asyncio.Future[Answer | None] = bench.loop.create_future()
                    answers.append(future)
                    client.send(
                        SERVER,
                        ECHO,
                        Ask(number),
                        deadline_ns=bench.soon(),
                        done=_into(future),
                    )
                assert await asyncio.gather(*answers) == [Answer(n) for n in range(500)]
                assert bench.order == list(range(500))

        run(scenario)

    def test_errors_travel_with_code_and_text(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            bench.server()
            client = bench.context(None)
            with pytest.raises(NotFoundError, match="nothing below zero") as caught:
                await client.call(SERVER, SLOW, Ask(-1), deadline_ns=bench.soon())
            assert caught.value.code is DER.NONEXIST
            strange = Procedure("kit_strange", opcode(0xFD, 1, 99), Ask, Answer)
            with pytest.raises(DaosError) as refused:
                await client.call(SERVER, strange, Ask(1), deadline_ns=bench.soon())
            assert refused.value.code is DER.UNREG

        run(scenario)

    def test_a_context_calls_itself(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            server = bench.server()
            answer = await server.call(SERVER, ECHO, Ask(5), deadline_ns=bench.soon())
            assert answer == Answer(5)
            data = pattern(300 * KiB)
            answer = await server.call(
                SERVER, PUT, Ask(5), payload=[memoryview(data)], deadline_ns=bench.soon()
            )
            assert bench.landed == [data]

        run(scenario)

    def test_two_contexts_call_each_other(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            one, two = bench.server(SERVER), bench.server(OTHER)
            calls = [one.call(OTHER, ECHO, Ask(n), deadline_ns=bench.soon()) for n in range(50)]
            calls += [two.call(SERVER, ECHO, Ask(n), deadline_ns=bench.soon()) for n in range(50)]
            answers = await asyncio.gather(*calls)
            assert [answer.number for answer in answers] == [*range(50), *range(50)]

        run(scenario)

    # --- payloads ---------------------------------------------------------------------------------

    @pytest.mark.parametrize("nbytes", [1, 4 * KiB, 100_003, 5 * MiB])
    def test_payload_of_a_request_lands_where_the_server_says(self, run: Run, nbytes: int) -> None:
        async def scenario(bench: Bench) -> None:
            bench.server()
            client = bench.context(None)
            data = pattern(nbytes)
            views = [memoryview(data)[: nbytes // 5], memoryview(data)[nbytes // 5 :]]
            answer = await client.call(SERVER, PUT, Ask(0), payload=views, deadline_ns=bench.soon())
            assert answer == Answer(nbytes)
            assert bench.landed == [data]
            assert data == pattern(nbytes)

        run(scenario)

    @pytest.mark.parametrize("nbytes", [1, 4 * KiB, 100_003, 5 * MiB])
    def test_payload_of_a_reply_lands_where_the_caller_says(self, run: Run, nbytes: int) -> None:
        async def scenario(bench: Bench) -> None:
            bench.server()
            client = bench.context(None)
            first, second = bytearray(nbytes // 7), bytearray(nbytes - nbytes // 7 + 10)
            sizes = []

            def into(answer: Answer, size: int) -> list[memoryview]:
                sizes.append((answer.number, size))
                return [memoryview(first), memoryview(second)]

            answer = await client.call(
                SERVER, GET, Ask(9, nbytes), into=into, deadline_ns=bench.soon()
            )
            assert answer == Answer(9)
            assert sizes == [(9, nbytes)]
            assert first + second == pattern(nbytes, 9) + bytes(10)
            await bench.until(lambda: bench.sent > 0)
            assert bench.sent == 1

        run(scenario)

    def test_refused_payloads_leave_the_connection_usable(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            server = bench.server()
            client = bench.context(None)
            data = [memoryview(pattern(200 * KiB))]
            room = [memoryview(bytearray(10))]
            results = await asyncio.gather(
                client.call(SERVER, PUT, Ask(-1), payload=data, deadline_ns=bench.soon()),
                client.call(SERVER, ECHO, Ask(1), payload=data, deadline_ns=bench.soon()),
                client.call(SERVER, GET, Ask(2, 99), into=room, deadline_ns=bench.soon()),
                client.call(SERVER, GET, Ask(3, 99), deadline_ns=bench.soon()),
                client.call(SERVER, ECHO, Ask(4), deadline_ns=bench.soon()),
                return_exceptions=True,
            )
            codes = [each.code for each in results if isinstance(each, DaosError)]
            assert codes == [DER.NONEXIST, DER.INVAL, DER.TRUNC, DER.TRUNC]
            assert results[4] == Answer(4)
            assert server.statistics().payload_bytes_dropped == 400 * KiB
            assert client.statistics().payload_bytes_dropped == 198

        run(scenario)

    def test_frames_in_tiny_pieces(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            bench.server()
            data = bytes(pattern(300))
            peer = bench.raw(piece=7)
            peer.say(frame(ECHO, Ask(1), rpc_id=1) + frame(PUT, Ask(2), data, rpc_id=2))
            peer.say(frame(ECHO, Ask(3), rpc_id=3))
            await peer.until(lambda: len(peer.heard) >= 3 * HEADER_SIZE + 8)
            assert bench.landed == [data]
            assert bench.order == [1, 3]
            peer.link.close()
            await peer.until(lambda: bool(peer.lost))
            assert peer.lost == [None]

        run(scenario)

    # --- calls that end otherwise -----------------------------------------------------------------

    def test_a_deadline_ends_the_call_and_its_late_reply_is_dropped(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            bench.server()
            client = bench.context(None)
            room = bytearray(10)
            with pytest.raises(DeadlineError):
                await client.call(
                    SERVER,
                    HOLD,
                    Ask(1),
                    into=[memoryview(room)],
                    deadline_ns=bench.soon(0.03),
                )
            await bench.held_count(1)
            bench.held.pop().reply(Answer(1), [memoryview(b"x" * 10)])
            answer = await client.call(SERVER, ECHO, Ask(2), deadline_ns=bench.soon())
            assert answer == Answer(2)
            statistics = client.statistics()
            assert statistics.late_replies == 1
            assert statistics.payload_bytes_dropped == 10
            assert room == bytes(10)

        run(scenario)

    def test_a_cancelled_task_cancels_its_call(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            bench.server()
            client = bench.context(None)
            async with asyncio.TaskGroup() as group:
                call = client.call(SERVER, HOLD, Ask(1), deadline_ns=bench.soon())
                task = group.create_task(call)
                await bench.held_count(1)
                task.cancel()
            assert task.cancelled()
            assert client.statistics().calls == 0
            bench.held.pop().reply(Answer(1))
            await client.call(SERVER, ECHO, Ask(2), deadline_ns=bench.soon())
            assert client.statistics().late_replies == 1

        run(scenario)

    def test_nobody_listens(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            client = bench.context(None)
            with pytest.raises(DaosError) as caught:
                await client.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())
            assert caught.value.code is DER.UNREACH
            bench.server()
            await client.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())

        run(scenario)

    def test_an_endpoint_is_listened_to_once(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            first = bench.server()
            second = bench.context(SERVER)
            with pytest.raises(ExistsError):
                second.listen()
            await first.close()
            second.serve(ECHO, bench.echo)
            second.listen()
            client = bench.context(None)
            await client.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())

        run(scenario)

    # --- the end of a connection ------------------------------------------------------------------

    @pytest.mark.parametrize("piece", [1 << 20, 100])
    def test_a_peer_vanishes_mid_payload(self, run: Run, piece: int) -> None:
        async def scenario(bench: Bench) -> None:
            server = bench.server()
            peer = bench.raw(piece=piece)
            peer.say(frame(PUT, Ask(8), bytes(1000), payload_size=2000))
            peer.link.close()
            await peer.until(lambda: bool(peer.lost))
            await bench.until(lambda: bool(bench.aborted))
            assert bench.aborted == [8]
            assert bench.landed == []
            assert server.statistics().connections == 0
            client = bench.context(None)
            await client.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())

        run(scenario)

    def test_a_server_vanishes_mid_payload(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            peers = []

            def accept(link: Link) -> RawChannel:
                peer = RawChannel()
                peer.link = link
                peers.append(peer)
                bench.arrival.set()
                return peer

            listener = bench.transport.listen(SERVER, accept)
            client = bench.context(None)
            room = memoryview(bytearray(100))
            call = client.call(SERVER, GET, Ask(1, 100), into=[room], deadline_ns=bench.soon())
            async with asyncio.TaskGroup() as group:
                task = group.create_task(_outcome(call))
                await bench.until(lambda: bool(peers))
                (peer,) = peers
                await peer.until(lambda: len(peer.heard) >= HEADER_SIZE)
                rpc_id = Header.parse(peer.heard).rpc_id
                start = frame(GET, Answer(1), b"half", rpc_id=rpc_id, flags=REPLY, payload_size=9)
                peer.say(start)
                peer.link.close()
            assert _code(task.result()) is DER.UNREACH
            assert bytes(room[:4]) == b"half"
            listener.close()

        run(scenario)

    @pytest.mark.parametrize(
        "garbage",
        [
            b"GET / HTTP/1.1\r\nHost: somewhere.example\r\n\r\n" * 4,
            bytes(HEADER_SIZE),
            frame(ECHO, Ask(1))[:-1] + b"?",
            frame(ECHO, Ask(1), flags=REPLY),
            frame(ECHO, Ask(1), payload_size=1 << 60),
        ],
        ids=["http", "zeros", "body", "reply", "size"],
    )
    def test_garbage_costs_its_sender_the_connection(self, run: Run, garbage: bytes) -> None:
        async def scenario(bench: Bench) -> None:
            server = bench.server()
            client = bench.context(None)
            async with asyncio.TaskGroup() as group:
                call = client.call(SERVER, HOLD, Ask(1), deadline_ns=bench.soon())
                task = group.create_task(call)
                await bench.held_count(1)
                peer = bench.raw()
                peer.say(garbage)
                await peer.until(lambda: bool(peer.lost))
                bench.held.pop().reply(Answer(7))
            assert task.result() == Answer(7)
            assert server.statistics().connections == 1

        run(scenario)

    # --- back-pressure and closing ----------------------------------------------------------------

    def test_a_busy_server_lets_its_peers_wait(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            server = bench.server(limits=Limits(inflight_max=2, serving_max=2))
            client = bench.context(None, Limits(inflight_max=64))
            data = [memoryview(bytes(MiB))]
            async with asyncio.TaskGroup() as group:
                for number in range(24):
                    call = client.call(
                        SERVER, HOLD, Ask(number), payload=data, deadline_ns=bench.soon()
                    )
                    group.create_task(call)
                await bench.held_count(2)
                for _ in range(200):
                    await asyncio.sleep(0)
                assert server.statistics().serving <= 2 + 2
                served = []
                for _ in range(24):
                    await bench.held_count(1)
                    rpc = bench.held.pop(0)
                    served.append(rpc.request.number)
                    rpc.reply(Answer(rpc.request.number))
                assert sorted(served) == list(range(24))

        run(scenario)

    def test_a_slow_reader_does_not_fill_the_server(self, run: Run) -> None:
        """The server stops reading requests while its answers do not leave."""

        async def scenario(bench: Bench) -> None:
            server = bench.server(limits=Limits(outbox_size_max=MiB))
            peer = bench.raw()
            peer.link.pause_reading()
            for number in range(100):
                peer.say(frame(GET, Ask(number, 256 * KiB), rpc_id=number + 1))
                for _ in range(4):
                    await asyncio.sleep(0)
            answered = server.statistics().frames_in
            assert answered < 100
            peer.link.resume_reading()
            await peer.until(lambda: len(peer.heard) >= 100 * (HEADER_SIZE + 256 * KiB))
            assert server.statistics().frames_in == 100

        run(scenario)

    def test_close_ends_all_calls_and_refuses_new_ones(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            bench.server()
            client = bench.context(None)
            outcomes: list[DaosError | None] = []

            def done(answer: Answer | None, nbytes: int, error: DaosError | None) -> None:
                outcomes.append(error)

            for number in range(5):
                client.send(SERVER, HOLD, Ask(number), deadline_ns=bench.soon(), done=done)
            await bench.held_count(5)
            client.send(OTHER, HOLD, Ask(5), deadline_ns=bench.soon(), done=done)
            assert outcomes == []
            await client.close()
            assert len(outcomes) == 6
            assert all(isinstance(error, CanceledError) for error in outcomes)
            with pytest.raises(ShutdownError):
                await client.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())
            await client.close()
            for rpc in bench.held:
                rpc.reply(Answer(0), [memoryview(b"nobody")], sent=bench.on_sent)
            await bench.until(lambda: bench.sent == 5)

        run(scenario)

    def test_a_closing_server_tells_its_handlers_and_sends_what_it_answered(self, run: Run) -> None:
        async def scenario(bench: Bench) -> None:
            server = bench.server()
            client = bench.context(None)
            data = pattern(3 * MiB, 1)
            room = bytearray(len(data))
            async with asyncio.TaskGroup() as group:
                lost = group.create_task(
                    _outcome(client.call(SERVER, HOLD, Ask(1), deadline_ns=bench.soon()))
                )
                whole = group.create_task(
                    client.call(
                        SERVER,
                        HOLD,
                        Ask(2),
                        into=[memoryview(room)],
                        deadline_ns=bench.soon(),
                    )
                )
                await bench.held_count(2)
                bench.held.sort(key=lambda rpc: rpc.request.number)
                bench.held[0].abort = lambda: bench.on_abort(1)
                bench.held[1].reply(Answer(2), [memoryview(data)])
                await server.close()
            assert bench.aborted == [1]
            assert whole.result() == Answer(2)
            assert room == data
            assert _code(lost.result()) is DER.UNREACH

        run(scenario)


Scenario = Callable[[Any], Awaitable[None]]  # given the kit's own bench
Run = Callable[[Scenario], None]


def _into(future: asyncio.Future[Answer | None]) -> Done[Answer]:
    def done(answer: Answer | None, _nbytes: int, _error: DaosError | None) -> None:
        future.set_result(answer)

    return done


async def _outcome(call: Awaitable[Answer]) -> Answer | DaosError:
    try:
        return await call
    except DaosError as error:
        return error


def _code(outcome: Answer | DaosError) -> DER | None:
    return outcome.code if isinstance(outcome, DaosError) else None

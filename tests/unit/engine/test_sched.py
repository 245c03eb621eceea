"""ULTs, and requests that wait for their turn, with real contexts."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from daos.base.errors import DaosError, OverloadError, ShutdownError
from daos.base.hlc import START_UNIX_NS, Hlc
from daos.base.ids import Rank, Tag
from daos.cart.context import Context, Endpoint, Rpc
from daos.cart.protocol import Procedure, opcode
from daos.cart.transport.inproc import InprocNetwork
from daos.engine.metrics import Metrics
from daos.engine.sched import Attributes, Scheduler, State, UltPool
from daos.engine.sched_core import PRESSURES, RequestType, SchedConfig

MS, S = 1_000_000, 1_000_000_000
SERVER = Endpoint(Rank(0), Tag(1))


class Ask(msgspec.Struct, array_like=True):
    number: int
    enqueue_id: int = 0


class Answer(msgspec.Struct, array_like=True):
    number: int


PUT: Procedure[Ask, Answer] = Procedure("put", opcode(9, 1, 0), Ask, Answer)
GET: Procedure[Ask, Answer] = Procedure("get", opcode(9, 1, 1), Ask, Answer)
ASK: Procedure[Ask, Answer] = Procedure("ask", opcode(9, 1, 2), Ask, Answer)
SCHEDULED = {
    PUT.opcode: Attributes(RequestType.UPDATE),
    GET.opcode: Attributes(RequestType.FETCH),
}


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.ns = START_UNIX_NS

    def now_ns(self) -> int:
        return self.ns

    def monotonic_ns(self) -> int:
        return self.ns


class Place:
    """A scheduled server of numbers, and a client."""

    def __init__(self, config: SchedConfig) -> None:
        self.clock = Clock()
        self.loop = asyncio.get_running_loop()
        self.network = InprocNetwork(self.loop)
        self.metrics = Metrics()
        self.sched = Scheduler(self.loop, self.clock, config=config, metrics=self.metrics)
        self.server, self.client = self.context(SERVER), self.context(None)
        self.ran: list[int] = []
        self.turns: list[int] = []  # of the loop, for each that ran
        self.turn = 0
        self.aborted: list[int] = []
        self.took_ns = 0  # what a request takes
        self.server.serve(PUT, self.answer, land=self.land)
        for procedure in (GET, ASK):
            self.server.serve(procedure, self.answer)
        self.sched.guard(self.server, SCHEDULED, lambda _: "tank")
        self.server.listen()

    def context(self, endpoint: Endpoint | None) -> Context:
        return Context(
            self.network,
            endpoint,
            clock=self.clock,
            hlc=Hlc(self.clock),
            rng=random.Random(1),
            loop=self.loop,
        )

    def land(self, rpc: Rpc[Ask, Answer]) -> Sequence[memoryview]:
        number = rpc.request.number
        rpc.abort = lambda: self.aborted.append(number)
        return [memoryview(bytearray(rpc.payload_size))]

    def answer(self, rpc: Rpc[Ask, Answer]) -> None:
        self.clock.ns += self.took_ns
        self.ran.append(rpc.request.number)
        self.turns.append(self.turn)
        rpc.reply(Answer(rpc.request.number))

    def ask(
        self, procedure: Procedure[Ask, Answer], *numbers: int, place: int = 0, within_ns: int = S
    ) -> Awaitable[list[Answer | BaseException]]:
        """All at once: they arrive in one turn."""
        calls = [
            self.client.call(
                SERVER,
                procedure,
                Ask(number, place),
                deadline_ns=self.clock.ns + within_ns,
                payload=[memoryview(b"value")] if procedure is PUT else (),
            )
            for number in numbers
        ]
        return asyncio.gather(*calls, return_exceptions=True)

    def count(self, metric: str) -> int:
        return {each.path: each.value for each in self.metrics.read()}[f"sched/{metric}"]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 whatever turn it is
            await asyncio.sleep(0)

    async def count_turns(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)


def run(
    scenario: Callable[[Place], Awaitable[None]], *, prioritised: bool = True, **config: int
) -> None:
    async def main() -> None:
        place = Place(SchedConfig(prioritised=prioritised, **config))
        turns = asyncio.ensure_future(place.count_turns())
        async with asyncio.timeout(20):
            await scenario(place)
        turns.cancel()
        await place.client.close()
        await place.server.close()
        place.sched.stop()

    asyncio.run(main())


# Requests


def test_the_short_path_has_no_cycle() -> None:
    async def scenario(place: Place) -> None:
        for _ in range(5):
            await place.ask(PUT, *range(5))
        assert place.count("cycles") == 0
        assert len(place.ran) == 25

    run(scenario, kick_max=5)


def test_what_a_turn_can_not_do_comes_in_the_next_ones_in_order() -> None:
    async def scenario(place: Place) -> None:
        answers = await place.ask(PUT, *range(12))
        assert answers == [Answer(number) for number in range(12)]
        assert place.ran == list(range(12))
        sizes = [place.turns.count(turn) for turn in sorted(set(place.turns))]
        assert len(sizes) >= 2
        assert max(sizes) <= 5
        assert place.count("wait_queue") == 0
        cycles = place.count("cycles")
        await place.ask(PUT, 1, 2, 3)
        assert place.count("cycles") == cycles, "and then the path is short again"

    run(scenario, kick_max=5)


def test_without_priorities_all_run_as_they_come() -> None:
    async def scenario(place: Place) -> None:
        await place.ask(PUT, *range(12))
        assert len(set(place.turns)) == 1
        assert place.count("cycles") == 0

    run(scenario, kick_max=5, prioritised=False)


def test_who_can_not_be_served_in_time_is_told_when_to_come_again() -> None:
    """Three wait, 1 s each: 4.5 s, a cycle of 1 s and 100 ms."""

    async def scenario(place: Place) -> None:
        first = asyncio.ensure_future(place.ask(PUT, 0, 1, 2, 3, within_ns=60 * S))
        late = asyncio.ensure_future(place.ask(PUT, 4, within_ns=5599 * MS))
        also = asyncio.ensure_future(place.ask(GET, 5, within_ns=5599 * MS))
        anonymous = asyncio.ensure_future(place.ask(ASK, 6, within_ns=1 * MS))
        refusals = [*await late, *await also]
        assert [vars(refusal)["retry_ms"] for refusal in refusals] == [4500, 6000]
        assert [vars(refusal)["enqueue_id"] for refusal in refusals] == [4, 5]
        assert {type(refusal) for refusal in refusals} == {OverloadError}
        assert await first == [Answer(number) for number in range(4)]
        assert await anonymous == [Answer(6)]
        assert 4 not in place.ran
        assert 5 not in place.ran
        assert place.count("total_reject") == 2

    run(scenario, kick_max=1, costs_us=(1_000_000,) * 5)


def test_who_comes_again_has_the_place_it_had() -> None:
    async def scenario(place: Place) -> None:
        (refusal,) = (await asyncio.gather(place.ask(PUT, 0, 1, 2), place.ask(PUT, 3)))[1]
        assert isinstance(refusal, OverloadError)
        await asyncio.gather(
            place.ask(PUT, 10, 11), place.ask(PUT, 3, place=refusal.enqueue_id), place.ask(PUT, 12)
        )
        assert place.ran[:3] == [0, 1, 2]
        assert place.ran.index(3) < place.ran.index(11)

    run(scenario, kick_max=1, queue_max=2)


def test_a_connection_that_ends_takes_what_waits_with_it() -> None:
    async def scenario(place: Place) -> None:
        client = place.context(None)
        deadline_ns = place.clock.ns + S
        for number in range(4):
            client.send(
                SERVER,
                PUT,
                Ask(number),
                deadline_ns=deadline_ns,
                payload=[memoryview(b"value")],
                done=lambda *_: None,
            )
        await place.until(lambda: bool(place.ran))
        (link,) = [channel.link for channel in client._callers]
        link.close(DaosError("cut"))
        await place.until(lambda: not place.count("wait_queue"))
        assert sorted(place.ran + place.aborted) == [0, 1, 2, 3]
        assert place.aborted
        await client.close()

    run(scenario, kick_max=1)


def test_short_of_space_updates_wait_for_what_gives_space_back() -> None:
    async def scenario(place: Place) -> None:
        free = 2
        place.sched.watch_space("tank", lambda: (free, 100))
        collector = place.sched.create("garbage collection", "tank", RequestType.GC)
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            if steps < 500:
                collector.ready(step)

        collector.ready(step)
        for number in range(0, 2000, 100):
            await place.ask(PUT, *range(number, number + 100))
            if steps >= 500:
                break
        # 90 % of the weight is collection's, 4 × 8 a step, once the window has filled.
        assert place.sched._core.pool("tank").pressure is PRESSURES[5]
        assert len(place.ran) * 2 < 2500 * 0.1 + 500 * 32 / 9 + 200
        assert steps == 500

    run(scenario)


def test_space_is_looked_at_again_where_the_clock_was_set_back() -> None:
    async def scenario(place: Place) -> None:
        looks: list[int] = []

        def space() -> tuple[int, int]:
            looks.append(place.clock.ns)
            return 1, 1

        place.sched.watch_space("tank", space)
        worker = place.sched.create("aggregation", "tank", RequestType.GC)

        async def step() -> None:
            done = asyncio.Event()
            worker.ready(done.set)
            await done.wait()

        await step()
        await step()
        assert len(looks) == 1
        place.clock.ns -= 3600 * S
        await step()
        await step()
        place.clock.ns += 2 * S
        await step()
        assert len(looks) == 3

    run(scenario)


def test_with_io_background_work_is_slowed() -> None:
    async def scenario(place: Place) -> None:
        worker = place.sched.create("aggregation", "tank", RequestType.GC)
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            worker.ready(step)

        async def ask_often() -> None:
            for _ in range(200):
                await place.ask(GET, *range(10))

        async def ask_in_every_turn() -> None:
            asking = []
            for _ in range(10):
                asking.append(asyncio.ensure_future(ask_often()))
                await asyncio.sleep(0)
            await asyncio.wait(asking)

        worker.ready(step)
        await ask_in_every_turn()
        assert len(place.ran) == 20_000
        idle = place.turn - len(set(place.turns))
        assert 50 < steps < 0.1 * (20_000 + 2500) / 28 + idle, (steps, idle)
        before = steps
        for _ in range(50):
            await asyncio.sleep(0)
        assert steps > before + 40, "alone it has every turn"
        worker.end()

    run(scenario)


def test_a_pool_that_goes_lets_its_requests_go() -> None:
    async def scenario(place: Place) -> None:
        place.sched.watch_space("tank", lambda: (100, 100))
        asking = asyncio.ensure_future(place.ask(PUT, *range(4)))
        await place.until(lambda: place.count("wait_queue") > 0)
        place.sched.watch_space("tank", None)
        assert place.ran == [0, 1, 2, 3]
        await asking

    run(scenario, kick_max=1)


def test_a_stop_lets_all_run() -> None:
    async def scenario(place: Place) -> None:
        asking = asyncio.ensure_future(place.ask(PUT, *range(9)))
        await place.until(lambda: place.count("wait_queue") > 0)
        place.sched.drain()
        await asking
        assert len(set(place.turns)) == 2

    run(scenario, kick_max=1)


def test_requests_that_take_too_long_are_told(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(place: Place) -> None:
        place.took_ns = 33 * MS
        with caplog.at_level(logging.INFO, "daos.engine.sched"):
            for number in range(70):  # 2.3 s
                await place.ask(ASK, number, within_ns=60 * S)
        texts = [record.getMessage() for record in caplog.records]
        assert texts == ["a turn took 33 ms: requests of a client"] * 2
        assert place.count("long_turns") == 70

    run(scenario)


# ULTs


def scheduled(scenario: Callable[[Scheduler, Clock], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = Clock()
        sched = Scheduler(asyncio.get_running_loop(), clock)
        await scenario(sched, clock)
        sched.stop()

    asyncio.run(main())


def test_states() -> None:
    async def scenario(sched: Scheduler, clock: Clock) -> None:
        ult = sched.create("ticks", "tank")
        seen = [ult.state]
        done = asyncio.Event()

        def step() -> None:
            seen.append(ult.state)
            ult.sleep(0.001, last)
            assert 0 < ult.left_s <= 0.001

        def last() -> None:
            seen.append(ult.state)
            done.set()

        ult.ready(step)
        seen.append(ult.state)
        await asyncio.sleep(0)
        seen.append(ult.state)
        await done.wait()
        assert ult.left_s == 0
        assert seen == [
            State.BLOCKED,
            State.READY,
            State.RUNNING,
            State.ASLEEP,
            State.RUNNING,
        ]
        assert str(ult.state) == "blocked"

    scheduled(scenario)


def test_who_ends_does_nothing_more() -> None:
    async def scenario(sched: Scheduler, clock: Clock) -> None:
        ran: list[str] = []
        for kind in (RequestType.ANONYM, RequestType.GC):
            for how in ("end", "block", "abort", "in its turn"):
                ult = sched.create(how, how, kind)
                if how == "in its turn":
                    ult.ready(ult.end)
                    continue
                ult.ready(ran.append, how)
                if how == "abort":
                    sched.abort(how)
                elif how == "end":
                    ult.end()
                    ult.end()
                    ult.ready(ran.append, how)
                    ult.sleep(0, lambda: ran.append("slept"))
                else:
                    ult.block()
        slept = sched.create("sleeper", "pool")
        slept.sleep(0, lambda: ran.append("slept"))
        sched.abort("pool")
        for _ in range(5):
            await asyncio.sleep(0)
        assert ran == []
        assert sched._core.pool("block").awake == 0

    scheduled(scenario)


@pytest.mark.parametrize("kind", [RequestType.ANONYM, RequestType.GC])
def test_a_step_that_fails_harms_no_other(kind: RequestType) -> None:
    async def scenario(sched: Scheduler, clock: Clock) -> None:
        failures: list[Any] = []
        sched.loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        ran = asyncio.Event()

        def broken() -> None:
            raise ZeroDivisionError

        sched.create("broken", "tank", kind).ready(broken)
        sched.create("other", "tank", kind).ready(ran.set)
        await ran.wait()
        assert [type(failure) for failure in failures] == [ZeroDivisionError]

    scheduled(scenario)


def test_tasks_have_owners_and_end_with_the_scheduler() -> None:
    async def scenario(sched: Scheduler, clock: Clock) -> None:
        async def five() -> int:
            return 5

        assert await sched.spawn("five", "tank", five()) == 5
        first = sched.spawn("first", "tank", asyncio.Event().wait())
        second = sched.spawn("second", "other", asyncio.Event().wait())
        await asyncio.sleep(0)
        sched.abort("tank")
        await asyncio.wait([first])
        assert first.cancelled()
        assert not second.done()
        sched.stop()
        await asyncio.wait([second])
        assert second.cancelled()
        with pytest.raises(ShutdownError):
            sched.create("late", "tank")
        with pytest.raises(ShutdownError):
            sched.spawn("late", "tank", five())

    scheduled(scenario)


def test_the_dump_tells_of_all() -> None:
    async def scenario(sched: Scheduler, clock: Clock) -> None:
        sched.create("aggregation", "tank", RequestType.GC)
        sched.create("ticks", "tank").sleep(5, lambda: None)
        task = sched.spawn("checkpoint", "shard", asyncio.Event().wait(), UltPool.NVME_POLL)
        await asyncio.sleep(0)
        clock.ns += 1500 * MS
        head, *lines = sched.dump(stacks=False)
        assert head == "cycles 0, requests waiting 0, refused 0, turns above 32 ms 0"
        assert [line.split() for line in lines] == [
            ["GENERIC", "blocked", "1.500", "s", "aggregation,", "tank"],
            ["GENERIC", "asleep", "1.500", "s", "ticks,", "tank"],
            ["NVME_POLL", "running", "1.500", "s", "checkpoint,", "shard"],
        ]
        assert any("in wait" in line for line in sched.dump(stacks=True))
        task.cancel()

    scheduled(scenario)


def test_a_punch_never_waits() -> None:
    """As the object module says: it gives space back."""

    async def scenario(place: Place) -> None:
        attributes = SCHEDULED | {ASK.opcode: Attributes(RequestType.UPDATE, no_delay=True)}
        place.sched.guard(place.server, attributes, lambda _: "tank")
        await asyncio.gather(place.ask(GET, 0, 1, 2, 3), place.ask(ASK, 4))
        assert place.ran.index(4) < 3

    run(scenario, kick_max=1)

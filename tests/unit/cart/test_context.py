"""One timer, and how a context ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc

import pytest

from daos.base.errors import (
    DER,
    CanceledError,
    DaosError,
    ShutdownError,
)
from daos.cart.context import Limits, Rpc
from daos.testing.kits.transport_peers import RawChannel
from tests.unit.cart.place import (
    ECHO,
    FAR,
    SERVER,
    START_NS,
    Answer,
    Ask,
    Place,
    outcome,
    run,
)

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
            task = group.create_task(outcome(place.echo()))
            await place.news.wait()
            await place.server.close()
        assert seen == ["cancelled"]
        result = task.result()
        assert isinstance(result, DaosError)
        assert result.code is DER.UNREACH
        assert "rank 0 tag 1" in result.message

    run(scenario)


def test_a_handler_task_that_is_cancelled_answers_so() -> None:
    async def scenario(place: Place) -> None:
        async def gives_up(rpc: Rpc[Ask, Answer]) -> None:
            raise asyncio.CancelledError

        place.server.serve(ECHO, gives_up)
        with pytest.raises(CanceledError, match="the handler was cancelled"):
            await place.echo()

    run(scenario)


def test_nothing_is_logged_of_ordinary_life(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(place: Place) -> None:
        place.server.serve(ECHO, lambda rpc: rpc.reply(Answer(1)))
        await place.echo()

    with caplog.at_level(logging.INFO, "daos.cart"):
        run(scenario)
    assert caplog.records == []


def test_a_lost_connection_gives_its_buffers_back_at_once() -> None:
    """Also one that ends by garbage, and without the help of a collector."""

    async def scenario(place: Place) -> None:
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            for _ in range(50):
                peer = RawChannel()
                peer.link = place.network.connect(SERVER, peer)
                peer.say(b"no frame at all" * 20)
                await peer.until(lambda peer=peer: bool(peer.lost))  # type: ignore[misc]
            assert tracemalloc.get_traced_memory()[0] < 10 * Limits().scratch_size
        finally:
            tracemalloc.stop()
            gc.enable()

    run(scenario)

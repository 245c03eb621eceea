"""Coroutines that await only requests, stepped by whoever reports the requests' ends."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from daos.base.errors import CanceledError, DaosError, InvalidError, NotFoundError
from daos.client.asking import Asking
from daos.client.execute import execute
from daos.client.objectio import settle
from daos.client.portal import Portal
from daos.client.task import Batch, Report


class Requests:
    """Starts that are answered by hand; a canceled one reports later, as all do."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.canceled: list[int] = []

    def start(self, report: Report) -> Callable[[], None]:
        number = len(self.reports)
        self.reports.append(report)
        return lambda: self.canceled.append(number)


def begun(
    coroutine: Coroutine[Any, Any, object],
) -> tuple[Asking, list[tuple[object, BaseException | None]]]:
    ends: list[tuple[object, BaseException | None]] = []
    asking = Asking(coroutine, lambda *end: ends.append(end))
    asking.begin()
    return asking, ends


def run(story: Callable[[], None]) -> None:
    """In a loop, and in no task, as the portal runs them."""

    async def main() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def told() -> None:
            try:
                story()
            except BaseException as error:
                failures.append(error)
            over.set()

        loop.call_soon(told)
        await over.wait()

    failures: list[BaseException] = []
    asyncio.run(main())
    if failures:
        raise failures[0]


def test_each_step_is_made_where_a_request_ends() -> None:
    requests = Requests()

    async def two() -> object:
        return [await settle(requests.start), await settle(requests.start)]

    def story() -> None:
        _, ends = begun(two())
        requests.reports[0]("first", None)
        assert len(requests.reports) == 2
        assert ends == []
        requests.reports[1]("second", None)
        assert ends == [(["first", "second"], None)]

    run(story)


def test_an_error_comes_out_where_the_request_is_awaited() -> None:
    requests = Requests()

    async def tolerant() -> object:
        try:
            return await settle(requests.start)
        except NotFoundError:
            return "nothing"

    def story() -> None:
        _, ends = begun(tolerant())
        requests.reports[0](None, NotFoundError("no"))
        assert ends == [("nothing", None)]
        _, ends = begun(tolerant())
        error = InvalidError("bad")
        requests.reports[1](None, error)
        assert ends == [(None, error)]

    run(story)


@pytest.mark.parametrize("error", [InvalidError("bad"), TypeError("a bug")])
def test_so_does_a_start_that_refuses(error: Exception) -> None:
    def refuse(_report: Report) -> None:
        raise error

    async def ask() -> object:
        try:
            return await settle(refuse)
        except type(error) as seen:
            return seen

    def story() -> None:
        assert begun(ask())[1] == [(error, None)]

    run(story)


def test_a_report_from_inside_a_start() -> None:
    requests = Requests()

    def at_once(report: Report) -> Callable[[], None]:
        report("at once", None)
        return lambda: pytest.fail("it has ended")

    async def two() -> object:
        return [await settle(at_once), await settle(requests.start)]

    def story() -> None:
        asking, ends = begun(two())
        asking.cancel()
        assert requests.canceled == [0]
        requests.reports[0]("late", None)
        assert ends == [(["at once", "late"], None)]

    run(story)


def test_who_gives_up_hears_of_it_when_the_request_has_ended() -> None:
    requests = Requests()

    async def two() -> object:
        await settle(requests.start)
        return await settle(requests.start)

    def story() -> None:
        asking, ends = begun(two())
        asking.cancel()
        assert requests.canceled == [0]
        assert ends == [], "its memory is in use"
        requests.reports[0]("it was faster", None)
        ((result, error),) = ends
        assert result is None
        assert isinstance(error, CanceledError)
        assert len(requests.reports) == 1, "no other is sent"

    run(story)


def test_whatever_else_is_awaited_fails() -> None:
    async def wrong() -> None:
        await asyncio.sleep(0.001)

    def story() -> None:
        ((_, error),) = begun(wrong())[1]
        assert isinstance(error, TypeError)

    run(story)


def test_a_batch_is_a_request_like_any_other() -> None:
    requests = Requests()
    batch = Batch(running_max=2)
    for _ in range(3):
        batch.add(requests.start)

    def story() -> None:
        asking, ends = begun(execute(batch))
        requests.reports[0]("one", None)
        assert len(requests.reports) == 3
        asking.cancel()
        assert requests.canceled == [1, 2]
        error = CanceledError("given up")
        for report in requests.reports[1:]:
            assert ends == []
            report(None, error)
        ((_, seen),) = ends
        assert isinstance(seen, CanceledError)

    run(story)


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal(name="test")
    yield portal
    portal.close()


class Slow:
    """A request that ends only when it is given up, a turn later."""

    def __init__(self, portal: Portal) -> None:
        self.loop = portal.loop
        self.started = threading.Event()
        self.ended = False

    def start(self, report: Report) -> Callable[[], None]:
        def end() -> None:
            self.ended = True
            report(None, CanceledError("given up"))

        self.started.set()

        def cancel() -> None:
            self.loop.call_soon(end)

        return cancel

    async def ask(self) -> object:
        return await settle(self.start)


def test_a_thread_waits_for_what_needs_no_task(portal: Portal) -> None:
    def soon(report: Report) -> None:
        portal.loop.call_soon(report, "done", None)

    async def ask(times: int) -> object:
        assert asyncio.current_task() is None
        return [await settle(soon) for _ in range(times)]

    assert portal.ask(ask, 3) == ["done"] * 3
    assert portal._asked == {}


def test_an_interrupt_gives_the_request_up(portal: Portal) -> None:
    slow, waiting = Slow(portal), threading.get_ident()

    def interrupt() -> None:
        slow.started.wait()
        signal.pthread_kill(waiting, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        helper = threading.Thread(target=interrupt)
        helper.start()
        with pytest.raises(KeyboardInterrupt):
            portal.ask(slow.ask)
        helper.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert slow.ended, "before the interrupt came out"


def test_close_gives_up_what_is_asked(portal: Portal) -> None:
    requests, errors = [Slow(portal) for _ in range(4)], list[DaosError]()

    def wait(slow: Slow) -> None:
        try:
            portal.ask(slow.ask)
        except CanceledError as error:
            errors.append(error)

    threads = [threading.Thread(target=wait, args=(slow,)) for slow in requests]
    for thread in threads:
        thread.start()
    for slow in requests:
        slow.started.wait()
    portal.close()
    for thread in threads:
        thread.join(timeout=1)
        assert not thread.is_alive()
    assert len(errors) == 4
    assert all(slow.ended for slow in requests)

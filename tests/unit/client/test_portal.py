"""The hop into the loop's thread: results, errors, interrupts, ends."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Iterator

import pytest

from daos.base.errors import (
    CanceledError,
    InvalidError,
    NotFoundError,
    NotSupportedError,
    ShutdownError,
)
from daos.client.objectio import settle
from daos.client.portal import Job, Portal


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal(name="test")
    yield portal
    portal.close()


async def echo(value: object, *, twice: bool = False) -> object:
    return (value, value) if twice else value


async def fail() -> None:
    await asyncio.sleep(0)
    raise NotFoundError("nothing there")


async def forever(started: threading.Event, ended: list[str] | None = None) -> None:
    started.set()
    try:
        await asyncio.Event().wait()
    finally:
        if ended is not None:
            ended.append("unwound")


def test_results_come_back(portal: Portal) -> None:
    assert portal.call(echo, 7) == 7
    assert portal.call(echo, 7, twice=True) == (7, 7)
    assert portal.call(echo, None) is None


def test_the_loop_runs_in_a_thread_of_its_own(portal: Portal) -> None:
    async def where() -> int:
        return threading.get_ident()

    assert portal.call(where) == portal.call(where) != threading.get_ident()


def test_errors_come_back_with_both_halves_of_their_story(portal: Portal) -> None:
    with pytest.raises(NotFoundError) as caught:
        portal.call(fail)
    story = "".join(traceback.format_tb(caught.value.__traceback__))
    assert "in fail" in story
    assert "in test_errors_come_back" in story


def test_wrong_arguments_are_an_error_of_the_caller(portal: Portal) -> None:
    with pytest.raises(TypeError, match="thrice"):
        portal.call(echo, 7, thrice=True)  # type: ignore[call-arg]  # that is the point
    assert portal.call(echo, 7) == 7


def test_from_many_threads(portal: Portal) -> None:
    failures: list[object] = []

    def work(number: int) -> None:
        sent = [(number, index) for index in range(200)]
        failures.extend(pair for pair in sent if portal.call(echo, pair) != pair)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_thread_uses_one_slot_again_and_again(portal: Portal) -> None:
    for index in range(10):
        portal.call(echo, index)
    assert len(portal._stock.slots) == 1


def test_from_the_loop_itself_it_refuses_to_wait(portal: Portal) -> None:
    async def inside() -> object:
        return portal.call(echo, 7)

    with pytest.raises(InvalidError, match="own thread"):
        portal.call(inside)


def test_an_interrupt_cancels_the_call(portal: Portal) -> None:
    started, ended = threading.Event(), list[str]()
    waiting = threading.get_ident()

    def interrupt() -> None:
        started.wait()
        signal.pthread_kill(waiting, signal.SIGINT)

    # Who starts the tests in the background may have had the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        helper = threading.Thread(target=interrupt)
        helper.start()
        with pytest.raises(KeyboardInterrupt):
            portal.call(forever, started, ended)
        helper.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == ["unwound"]  # before the interrupt came out: nobody writes to our memory
    assert portal.call(echo, 7) == 7


def test_a_second_interrupt_does_not_let_go_early(portal: Portal) -> None:
    started, canceled, ended = threading.Event(), threading.Event(), list[str]()
    waiting, heard = threading.get_ident(), (threading.Event(), threading.Event())
    interrupts, twice = list[int](), asyncio.Event()

    async def slow_to_end() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            canceled.set()
            await twice.wait()
            ended.append("unwound")

    def interrupt(number: int, _frame: object) -> None:
        interrupts.append(number)
        heard[len(interrupts) - 1].set()
        if len(interrupts) == 2:
            portal.loop.call_soon_threadsafe(twice.set)
        raise KeyboardInterrupt(len(interrupts))

    def send() -> None:
        for event, handled in zip((started, canceled), heard, strict=True):
            event.wait()
            signal.pthread_kill(waiting, signal.SIGINT)
            while not handled.wait(0.2):  # it came just before the thread began to wait
                signal.pthread_kill(waiting, signal.SIGINT)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        helper = threading.Thread(target=send)
        helper.start()
        with pytest.raises(KeyboardInterrupt) as caught:
            portal.call(slow_to_end)
        helper.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught.value.args == (1,)
    assert ended == ["unwound"]


def test_a_signal_handler_may_call_while_a_call_waits(portal: Portal) -> None:
    started, seen = threading.Event(), list[object]()
    release, waiting = asyncio.Event(), threading.get_ident()

    async def wait() -> str:
        started.set()
        await release.wait()
        return "waited"

    async def let_go() -> str:
        release.set()
        return "inner"

    def helper() -> None:
        started.wait()
        signal.pthread_kill(waiting, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(portal.call(let_go)))
    thread = threading.Thread(target=helper)
    thread.start()
    assert portal.call(wait) == "waited"
    thread.join()
    signal.signal(signal.SIGUSR1, before)
    assert seen == ["inner"]
    assert len(portal._stock.slots) == 2


def test_close_releases_those_who_wait(portal: Portal) -> None:
    started, errors = threading.Event(), list[BaseException]()

    def wait() -> None:
        try:
            portal.call(forever, started)
        except (CanceledError, ShutdownError) as error:
            errors.append(error)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    portal.close()
    portal.close()
    for thread in threads:
        thread.join(timeout=1)
        assert not thread.is_alive()
    assert errors
    with pytest.raises(ShutdownError):
        portal.call(echo, 7)


def test_calls_that_race_with_close_end(portal: Portal) -> None:
    go, ends = threading.Barrier(9), list[str]()

    def work() -> None:
        go.wait()
        try:
            while True:
                portal.call(echo, 7)
        except (ShutdownError, CanceledError) as error:
            ends.append(error.code.name)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    go.wait()
    portal.close()
    for thread in threads:
        thread.join(timeout=5)
        assert not thread.is_alive()
    assert len(ends) == 8


@pytest.mark.parametrize("when", ["stopping", "ending"])
def test_a_call_that_was_let_in_before_the_end_and_comes_behind_it(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """It does not begin: nobody would wait for its end any more."""
    portal, begun, errors = Portal(name="late"), list[str](), list[BaseException]()
    let_in, stopped, asked = threading.Event(), threading.Event(), threading.Event()
    threads = list[threading.Thread]()

    async def late() -> object:
        begun.append("late")
        return await settle(lambda report: report(7, None))

    def work() -> None:
        check = portal._check

        def slow_check() -> None:
            check()
            let_in.set()
            stopped.wait()

        monkeypatch.setattr(portal, "_check", slow_check)
        monkeypatch.setattr(portal, "_enqueue", enqueue)
        try:
            portal.ask(late)
        except ShutdownError as error:
            errors.append(error)

    def enqueue(job: Job) -> None:
        Portal._enqueue(portal, job)
        asked.set()

    def hold() -> None:  # as the last thing that the loop does, or nearly
        stopped.set()
        asked.wait()

    end = portal.loop.shutdown_asyncgens

    async def ending() -> None:
        hold()
        await asyncio.sleep(0)
        await end()

    threads.append(threading.Thread(target=work))
    threads[0].start()
    let_in.wait()
    if when == "ending":
        monkeypatch.setattr(portal.loop, "shutdown_asyncgens", ending)
    else:
        stop = portal.loop.stop
        monkeypatch.setattr(portal.loop, "stop", lambda: (stop(), hold()))
    portal.close()
    threads[0].join(timeout=2)
    assert not threads[0].is_alive()
    assert [type(error) for error in errors] == [ShutdownError]
    assert not begun


def test_a_task_that_will_not_end_does_not_hold_its_caller() -> None:
    portal = Portal(name="stubborn")
    started, errors = threading.Event(), list[BaseException]()
    stop = asyncio.Event()

    async def stubborn() -> None:
        started.set()
        while not stop.is_set():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                stop.set()
                await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0))])

    def wait() -> None:
        try:
            portal.call(stubborn)
        except CanceledError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    portal.close()
    thread.join(timeout=2)
    assert not thread.is_alive()


def test_start_reports_in_the_loop_and_can_be_canceled(portal: Portal) -> None:
    started, told = threading.Event(), threading.Event()
    ends: list[tuple[object, BaseException | None, int]] = []

    def done(result: object, error: BaseException | None) -> None:
        ends.append((result, error, threading.get_ident()))
        told.set()

    job = portal.start(lambda: forever(started), done)
    started.wait()
    assert not job.ended
    job.cancel()
    told.wait()
    job.cancel()
    ((result, error, thread),) = ends
    assert (result, thread) == (None, portal._thread.ident)
    assert isinstance(error, CanceledError)
    assert job.ended


def test_a_job_canceled_before_it_began_never_begins(portal: Portal) -> None:
    blocked, go = threading.Event(), threading.Event()
    ran, told = list[str](), threading.Event()

    async def block() -> None:
        blocked.set()
        go.wait()

    async def run() -> None:
        ran.append("ran")

    portal.start(block, lambda *_: None)
    blocked.wait()
    job = portal.start(run, lambda *_: told.set())
    job.cancel()
    go.set()
    told.wait()
    assert ran == []


def test_a_forked_child_is_told_what_to_do(portal: Portal) -> None:
    portal.call(echo, 7)
    reader, writer = os.pipe()
    with warnings.catch_warnings():  # from Python 3.12 on: threads and fork don't mix
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            with pytest.raises(NotSupportedError) as caught:
                portal.call(echo, 7)
            portal.close()  # only forgets: the thread is the parent's
            os.write(writer, str(caught.value).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as told:
        text = told.read()
    assert os.waitpid(pid, 0)[1] == 0
    assert b"DER_NOTSUPPORTED" in text
    assert b"spawn" in text
    assert portal.call(echo, 7) == 7
    assert not portal.forked

"""Helpers of a target, with real threads."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator

import pytest

from daos.base.checksum import ChecksumType
from daos.base.errors import DaosError, NotSupportedError, ShutdownError
from daos.engine.offload import Offload, worth_bytes

Ends = list[tuple[str, DaosError | None]]


def with_helpers(count: int) -> Callable[[Callable[[Offload], Coroutine[None, None, None]]], None]:
    def run(scenario: Callable[[Offload], Coroutine[None, None, None]]) -> None:
        async def main() -> None:
            offload = Offload(asyncio.get_running_loop(), count, None)
            async with asyncio.timeout(20):
                await scenario(offload)
                await offload.close()

        asyncio.run(main())

    return run


def test_jobs_are_done_elsewhere_in_order_and_told_in_the_loop() -> None:
    async def scenario(offload: Offload) -> None:
        here = threading.get_ident()
        places: list[int] = []
        ends: Ends = []

        def steps() -> Iterator[None]:
            places.append(threading.get_ident())
            yield
            places.append(threading.get_ident())

        def ended(name: str) -> Callable[[DaosError | None], None]:
            def end(error: DaosError | None) -> None:
                assert threading.get_ident() == here
                ends.append((name, error))

            return end

        for name in "abc":
            offload.run(steps(), ended(name))
        assert offload.jobs == 3
        await offload.close()
        assert ends == [("a", None), ("b", None), ("c", None)]
        assert len(places) == 6
        assert here not in places
        assert offload.jobs == 0

    with_helpers(1)(scenario)


def test_a_small_one_does_not_wait_for_the_large_one_before_it() -> None:
    async def scenario(offload: Offload) -> None:
        go_on, small = threading.Event(), asyncio.Event()
        ends: list[str] = []

        def large() -> Iterator[None]:
            go_on.wait(20)
            yield

        offload.run(large(), lambda _: ends.append("large"))
        offload.run(iter(()), lambda _: small.set())
        await small.wait()
        assert ends == []
        go_on.set()
        await offload.close()
        assert ends == ["large"]

    with_helpers(2)(scenario)


def failing(error: Exception) -> Iterator[None]:
    yield
    raise error


def test_an_error_is_told_and_a_bug_is_one() -> None:
    async def scenario(offload: Offload) -> None:
        ends: list[DaosError | None] = []
        bugs: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: bugs.append(context["exception"]))
        error, bug = NotSupportedError("no ISA-L"), ZeroDivisionError()
        offload.run(failing(error), ends.append)
        offload.run(failing(bug), ends.append)
        offload.run(iter(()), ends.append)
        await offload.close()
        assert ends == [error, None]
        assert bugs == [bug]
        with pytest.raises(ShutdownError):
            offload.run(iter(()), ends.append)
        await offload.close()

    with_helpers(1)(scenario)


@pytest.mark.expects_warning("bug in a job")
def test_a_bug_is_told_to_who_decides_about_it() -> None:
    """Of the steps, and of what follows them: the target stops, nobody goes on."""

    async def scenario(offload: Offload) -> None:
        bugs: list[Exception] = []
        offload.on_bug = bugs.append
        of_steps, of_end = ZeroDivisionError(), KeyError()

        def ends_badly(error: DaosError | None) -> None:
            del error
            raise of_end

        offload.run(failing(of_steps), lambda _: None)
        offload.run(iter(()), ends_badly)
        await offload.close()
        assert bugs == [of_steps, of_end]

    with_helpers(1)(scenario)


def test_helpers_run_where_they_are_told() -> None:
    async def main() -> None:
        core = min(os.sched_getaffinity(0))
        offload = Offload(asyncio.get_running_loop(), 1, frozenset([core]))
        seen: list[set[int]] = []

        def look() -> Iterator[None]:
            seen.append(os.sched_getaffinity(0))
            yield

        before = os.sched_getaffinity(0)
        offload.run(look(), lambda _: None)
        await offload.close()
        assert seen == [{core}]
        assert os.sched_getaffinity(0) == before

    asyncio.run(main())


def test_from_which_size_on_it_pays() -> None:
    assert worth_bytes(ChecksumType.XXH3) == worth_bytes(ChecksumType.CRC32) == 4 << 20
    assert worth_bytes(ChecksumType.SHA256) == worth_bytes(ChecksumType.ADLER32) == 128 << 10

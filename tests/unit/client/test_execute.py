"""Running a batch on the loop: bounds, errors inside starts, cancelling."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest

from daos.base.errors import CanceledError, DaosError, NoSpaceError
from daos.client.execute import execute
from daos.client.task import Batch, Report, Start, TaskState


class Operations:
    """Operations that end when told to; counts those under way."""

    def __init__(self) -> None:
        self.reports: dict[int, Report] = {}
        self.canceled: list[int] = []

    def start(self, number: int, refuse: DaosError | None = None) -> Start:
        def begin(report: Report) -> Callable[[], None]:
            if refuse is not None:
                raise refuse
            self.reports[number] = report

            def cancel() -> None:
                self.canceled.append(number)
                self.end(number, CanceledError())

            return cancel

        return begin

    def end(self, number: int, error: DaosError | None = None) -> None:
        report = self.reports.pop(number, None)
        if report is not None:
            asyncio.get_running_loop().call_soon(report, number, error)


def test_all_run_and_the_bound_is_kept() -> None:
    async def run() -> None:
        operations, batch = Operations(), Batch(running_max=3)
        for number in range(10):
            batch.add(operations.start(number))
        done = asyncio.ensure_future(execute(batch))
        for _ in range(10):
            await asyncio.sleep(0)
            assert len(operations.reports) <= 3
            operations.end(min(operations.reports))
            await asyncio.sleep(0)
        await done
        assert [task.result for task in batch.tasks] == list(range(10))

    asyncio.run(run())


def test_an_empty_batch_is_done() -> None:
    asyncio.run(execute(Batch()))


def test_the_first_error_cancels_what_runs_and_waits_for_it() -> None:
    async def run() -> None:
        operations, batch = Operations(), Batch(running_max=3)
        for number in range(5):
            batch.add(operations.start(number))
        done = asyncio.ensure_future(execute(batch))
        await asyncio.sleep(0)
        operations.end(1, NoSpaceError("full"))
        with pytest.raises(NoSpaceError, match="full"):
            await done
        assert sorted(operations.canceled) == [0, 2]
        assert operations.reports == {}
        assert batch.tasks[4].state is TaskState.CANCELED

    asyncio.run(run())


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_an_operation_that_refuses_to_start(refused: int) -> None:
    async def run() -> None:
        operations, batch = Operations(), Batch(running_max=3)
        for number in range(3):
            error = NoSpaceError("full") if number == refused else None
            batch.add(operations.start(number, error))
        with pytest.raises(NoSpaceError):
            await execute(batch)
        assert operations.reports == {}
        assert all(task.state is not TaskState.RUNNING for task in batch.tasks)

    asyncio.run(run())


def test_cancelling_waits_until_nothing_runs() -> None:
    async def run() -> None:
        operations, batch = Operations(), Batch(running_max=2)
        for number in range(4):
            batch.add(operations.start(number))
        done = asyncio.ensure_future(execute(batch))
        await asyncio.sleep(0)
        done.cancel()
        with pytest.raises(asyncio.CancelledError):
            await done
        assert operations.canceled == [0, 1]
        assert operations.reports == {}

    asyncio.run(run())


def test_cancelled_twice_it_still_waits() -> None:
    async def run() -> None:
        reports: list[Report] = []

        def begin(report: Report) -> Callable[[], None]:
            reports.append(report)
            return lambda: None

        batch = Batch(running_max=2)
        batch.add(begin)
        batch.add(begin)
        done = asyncio.ensure_future(execute(batch))
        await asyncio.sleep(0)
        for report in reports:
            for _ in range(3):
                done.cancel()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert not done.done()
            report(None, CanceledError())
        with pytest.raises(asyncio.CancelledError):
            await done

    asyncio.run(run())


def test_what_an_operation_held_goes_with_its_end() -> None:
    class Held:
        pass

    async def run() -> None:
        held = Held()
        gone = weakref.ref(held)

        def begin(report: Report, held: Held = held) -> Callable[[], None]:
            asyncio.get_running_loop().call_soon(report, None, None)

            def cancel() -> None:
                report(held, CanceledError())

            return cancel

        batch = Batch()
        batch.add(begin)
        del held, begin
        gc.disable()
        await execute(batch)
        del batch
        assert gone() is None
        gc.enable()

    asyncio.run(run())

"""The task engine: order, bounds, first error, cancellation; random graphs against the rules."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daos.base.errors import CanceledError, DaosError, InvalidError, NoSpaceError
from daos.client.task import Batch, Report, Task, TaskState


def idle(_report: Report) -> Callable[[], None] | None:
    return None


def test_a_task_without_predecessors_is_ready_at_once() -> None:
    batch = Batch()
    task = batch.add(idle)
    assert batch.ready() == [task]
    assert task.state is TaskState.RUNNING
    assert batch.ready() == []
    batch.complete(task, 7)
    assert (task.state, task.result, batch.done) == (TaskState.DONE, 7, True)


def test_a_follower_waits_for_every_predecessor() -> None:
    batch = Batch()
    first, second = batch.add(idle), batch.add(idle)
    last = batch.add(idle, after=(first, second))
    assert batch.ready() == [first, second]
    batch.complete(second)
    assert batch.ready() == []
    batch.complete(first)
    assert batch.ready() == [last]


def test_a_predecessor_that_is_done_does_not_block() -> None:
    batch = Batch()
    first = batch.add(idle)
    batch.ready()
    batch.complete(first)
    assert batch.ready() == []
    last = batch.add(idle, after=(first,))
    assert batch.ready() == [last]


def test_no_more_than_running_max_run() -> None:
    batch = Batch(running_max=2)
    tasks = [batch.add(idle) for _ in range(5)]
    assert batch.ready() == tasks[:2]
    batch.complete(tasks[0])
    assert batch.ready() == [tasks[2]]


def test_the_first_error_wins_and_cancels_the_rest() -> None:
    batch = Batch(running_max=2)
    first, second, third = batch.add(idle), batch.add(idle), batch.add(idle)
    follower = batch.add(idle, after=(first,))
    batch.ready()
    batch.complete(first, error=NoSpaceError("full"))
    assert (third.state, follower.state) == (TaskState.CANCELED, TaskState.CANCELED)
    assert not batch.done  # the second still runs
    batch.complete(second, error=DaosError("later"))
    assert batch.done
    assert isinstance(batch.error, NoSpaceError)
    assert batch.ready() == []


def test_what_is_added_after_an_error_is_canceled() -> None:
    batch = Batch()
    batch.cancel()
    assert batch.add(idle).state is TaskState.CANCELED
    assert isinstance(batch.error, CanceledError)
    assert batch.done


def test_cancel_names_what_still_runs() -> None:
    batch = Batch(running_max=1)
    first, second = batch.add(idle), batch.add(idle)
    batch.ready()
    assert batch.cancel() == [first]
    assert second.state is TaskState.CANCELED
    batch.complete(first, error=CanceledError("told to"))
    assert batch.done


def test_preparation_runs_before_the_start_and_may_refuse() -> None:
    batch = Batch()
    order: list[str] = []
    task, refused, after = batch.add(idle), batch.add(idle), batch.add(idle)
    task.on_prepare(lambda _: order.append("one"))
    task.on_prepare(lambda _: order.append("two"))

    def refuse(_: Task) -> None:
        raise InvalidError("not today")

    refused.on_prepare(refuse)
    assert batch.ready() == [task]
    assert order == ["one", "two"]
    assert (refused.state, after.state) == (TaskState.FAILED, TaskState.CANCELED)
    assert isinstance(batch.error, InvalidError)


def test_completion_call_backs_run_once_latest_first_whatever_the_end() -> None:
    batch = Batch()
    order: list[tuple[str, TaskState]] = []
    done, failed, canceled = batch.add(idle), batch.add(idle), batch.add(idle)
    follower = batch.add(idle, after=(canceled,))
    done.on_complete(lambda task: order.append(("first", task.state)))
    done.on_complete(lambda task: order.append(("second", task.state)))
    failed.on_complete(lambda task: order.append(("failed", task.state)))
    follower.on_complete(lambda task: order.append(("follower", task.state)))
    batch.ready()
    batch.complete(done)
    batch.complete(failed, error=DaosError("no"))
    assert order == [
        ("second", TaskState.DONE),
        ("first", TaskState.DONE),
        ("failed", TaskState.FAILED),
        ("follower", TaskState.CANCELED),
    ]
    with pytest.raises(InvalidError, match="done"):
        done.on_complete(lambda _: None)
    with pytest.raises(InvalidError, match="running"):
        canceled.on_prepare(lambda _: None)


def test_a_completion_call_back_may_add_tasks() -> None:
    batch = Batch()
    first = batch.add(idle)
    first.on_complete(lambda _: batch.add(idle) and None)
    batch.ready()
    batch.complete(first)
    assert not batch.done
    assert batch.ready() == [batch.tasks[1]]


def test_waiting_for_a_failed_task_is_refused() -> None:
    batch = Batch()
    task = batch.add(idle)
    batch.ready()
    batch.complete(task, error=DaosError("no"))
    with pytest.raises(InvalidError, match="failed"):
        batch.add(idle, after=(task,))
    with pytest.raises(InvalidError, match="running_max"):
        Batch(running_max=0)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_graphs_keep_the_rules(seed: int) -> None:
    """The oracle is the graph as drawn: who waits for whom, and which task is to fail."""
    rng = random.Random(seed)
    count, running_max = rng.randint(1, 25), rng.randint(1, 6)
    edges = [rng.sample(range(i), rng.randint(0, min(i, 3))) for i in range(count)]
    fails = {i for i in range(count) if rng.random() < rng.choice((0.0, 0.1))}
    batch = Batch(running_max=running_max)
    tasks: list[Task] = []
    for before in edges:
        tasks.append(batch.add(idle, after=[tasks[i] for i in before]))
    running: list[int] = []
    finished: list[int] = []
    failed: list[int] = []
    while not batch.done:
        running += [tasks.index(task) for task in batch.ready()]
        batch.check()
        assert 0 < len(running) <= running_max, "stuck, or too many at once"
        i = running.pop(rng.randrange(len(running)))
        assert set(edges[i]) <= set(finished), "started before a predecessor was done"
        if i in fails:
            batch.complete(tasks[i], error=DaosError(str(i)))
            failed.append(i)
        else:
            batch.complete(tasks[i], i)
            finished.append(i)
        batch.check()
    if failed:
        assert batch.error is not None
        assert batch.error.message == str(failed[0])
    else:
        assert sorted(finished) == list(range(count))

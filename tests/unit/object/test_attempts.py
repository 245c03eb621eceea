"""When an object request is sent again, and what its caller hears in the end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from daos.base.errors import (
    DER,
    AgainError,
    CanceledError,
    DaosError,
    DeadlineError,
    ExistsError,
    HlcSyncError,
    InProgressError,
    OverloadError,
    ProtocolError,
    StaleMapError,
    TxUncertainError,
    error_for,
)
from daos.object.attempts import (
    PAUSE_MAX_S,
    PAUSE_S,
    RECONNECT_MAX_S,
    Attempts,
    Before,
    Cancel,
    Done,
    Pacing,
)

DEADLINE_S = 10.0


def unanswered(error: DaosError) -> DaosError:
    error.unanswered = True
    return error


def lost(*, left: bool) -> DaosError:
    error = DaosError("no connection", code=DER.UNREACH)
    return unanswered(error) if left else error


class World:
    """Time that moves to the next timer, and a peer that answers what the test says."""

    def __init__(self, *, modifies: bool = True, stale: Callable[[], None] | None = None) -> None:
        self.now_s = 0.0
        self.timers: list[tuple[float, Callable[..., object], tuple[object, ...]]] = []
        self.copies: list[int] = []  # of each one sent, how many were unanswered before it
        self.ended: list[tuple[str | None, DaosError | None]] = []
        self.canceled = 0
        self.place = 0  # in the queue, of the last copy
        self.answer: Done[str]
        loop = asyncio.new_event_loop()
        vars(loop).update(call_later=self.call_later, call_soon=self.call_soon)
        self.loop = loop
        self.attempts: Attempts[str] = Attempts(
            Pacing(loop, self, random.Random(1)),
            self.send,
            lambda reply, _nbytes, error: self.ended.append((reply, error)),
            deadline_ns=int(DEADLINE_S * 1e9),
            modifies=modifies,
            stale=stale,
        )

    def now_ns(self) -> int:
        return int(self.now_s * 1e9)

    def monotonic_ns(self) -> int:
        return self.now_ns()

    def call_later(self, delay: float, call: Callable[..., object], *args: object) -> Timer:
        self.timers.append((self.now_s + delay, call, args))
        return Timer(self)

    def call_soon(self, call: Callable[..., object], *args: object) -> None:
        self.timers.append((self.now_s, call, args))

    def send(self, before: Before, done: Done[str]) -> Cancel:
        self.copies.append(before.unanswered)
        self.place = before.enqueue_id
        self.answer = done
        return self.cancel

    def cancel(self) -> None:
        self.canceled += 1

    def step(self) -> float:
        """Run the only timer; how long it took."""
        ((at, call, args),) = self.timers
        self.timers.clear()
        took, self.now_s = at - self.now_s, max(at, self.now_s)
        call(*args)
        return took

    @property
    def error(self) -> DaosError:
        ((reply, error),) = self.ended
        assert reply is None
        assert error is not None
        return error


class Timer:
    def __init__(self, world: World) -> None:
        self.world = world

    def cancel(self) -> None:
        self.world.timers.clear()


@pytest.fixture
def world() -> World:
    world = World()
    world.loop.close()
    return world


def test_an_answer_ends_it(world: World) -> None:
    world.answer("yes", 0, None)
    assert (world.ended, world.copies, world.timers) == ([("yes", None)], [0], [])


def test_a_verdict_ends_it(world: World) -> None:
    world.answer(None, 0, ExistsError("there"))
    assert isinstance(world.error, ExistsError)


@pytest.mark.parametrize("error", [AgainError("busy"), InProgressError("undecided")])
def test_not_now_is_tried_again_as_the_first(world: World, error: DaosError) -> None:
    pauses = []
    for _ in range(12):
        world.answer(None, 0, error)
        pauses.append(world.step())
    assert world.copies == [0] * 13
    for index, pause in enumerate(pauses):
        most = min(0.001 * 2**index, PAUSE_MAX_S)
        assert most / 2 <= pause <= most
    world.answer("yes", 0, None)
    assert world.ended == [("yes", None)]


def test_a_lost_connection_is_tried_again_as_a_copy(world: World) -> None:
    world.answer(None, 0, lost(left=False))
    world.step()
    world.answer(None, 0, lost(left=True))
    world.step()
    world.answer(None, 0, AgainError("busy"))
    world.step()
    world.answer(None, 0, lost(left=True))
    world.step()
    world.answer("yes", 0, None)
    assert world.copies == [0, 0, 1, 1, 2]
    assert world.ended == [("yes", None)]


def test_pauses_between_connections_are_bounded(world: World) -> None:
    for _ in range(14):
        world.answer(None, 0, lost(left=False))
        longest = world.step()
    assert RECONNECT_MAX_S / 2 <= longest <= RECONNECT_MAX_S


@pytest.mark.parametrize("left", [False, True])
def test_the_deadline_says_what_is_known(world: World, left: bool) -> None:
    while not world.ended:
        world.answer(None, 0, lost(left=left))
        if world.timers:
            world.step()
    assert world.now_s == pytest.approx(DEADLINE_S)
    assert type(world.error) is (TxUncertainError if left else DeadlineError)
    assert "no connection" in str(world.error)
    assert world.error.code is (DER.TX_UNCERTAIN if left else DER.TIMEDOUT)


@pytest.mark.parametrize("left", [False, True])
def test_no_answer_before_the_deadline(world: World, left: bool) -> None:
    late = DeadlineError("no answer")
    world.answer(None, 0, unanswered(late) if left else late)
    assert type(world.error) is (TxUncertainError if left else DeadlineError)


def test_a_target_that_refuses_for_the_deadline_has_not_executed(world: World) -> None:
    world.answer(None, 0, AgainError("busy"))
    world.step()
    world.answer(None, 0, DeadlineError("came too late"))
    assert type(world.error) is DeadlineError


def test_reads_have_nothing_to_be_uncertain_of() -> None:
    world = World(modifies=False)
    world.loop.close()
    world.answer(None, 0, lost(left=True))
    world.step()
    world.answer(None, 0, unanswered(DeadlineError("no answer")))
    assert type(world.error) is DeadlineError


# The other answers, of the table in docs/design/retries.md, decide nothing about an earlier copy.
VERDICTS = {
    *(DER.EXIST, DER.NONEXIST, DER.NOSPACE, DER.OVERFLOW, DER.NOMEM, DER.CSUM, DER.NO_PERM),
    *(DER.INVAL, DER.IO_INVAL, DER.KEY2BIG, DER.REC2BIG, DER.REC_SIZE, DER.VOS_PARTIAL_UPDATE),
    *(DER.NOTSUPPORTED, DER.OP_CANCELED, DER.TX_UNCERTAIN, DER.CANCELED),
}
SENT_AGAIN = {DER.AGAIN, DER.OVERLOAD_RETRY, DER.INPROGRESS, DER.UNREACH}


@pytest.mark.parametrize("code", sorted(set(DER) - SENT_AGAIN))
def test_which_answers_decide_about_earlier_copies(world: World, code: DER) -> None:
    error = error_for(code, "what was said")
    world.answer(None, 0, lost(left=True))
    world.step()
    world.answer(None, 0, error)
    if code in VERDICTS:
        assert world.error is error
    else:
        assert type(world.error) is TxUncertainError
        assert error.message in str(world.error)
        assert world.error.__cause__ is error


@pytest.mark.parametrize("code", sorted(set(DER) - SENT_AGAIN - {DER.EP_OLD}))
def test_the_first_answer_is_the_end(world: World, code: DER) -> None:
    error = error_for(code, "what was said")
    world.answer(None, 0, error)
    assert world.error is error


@pytest.mark.parametrize("error", [HlcSyncError("ahead"), ProtocolError("unreadable")])
def test_a_reply_that_cannot_be_read_is_none(world: World, error: DaosError) -> None:
    world.answer(None, 0, unanswered(error))
    assert type(world.error) is TxUncertainError
    assert world.error.__cause__ is error


def test_an_id_that_is_too_old_is_drawn_anew_while_nothing_was_executed(world: World) -> None:
    world.answer(None, 0, DaosError("too old", code=DER.EP_OLD))
    world.step()
    assert world.copies == [0, 0]


def test_a_read_of_an_epoch_that_is_gone() -> None:
    world = World(modifies=False)
    world.loop.close()
    world.answer(None, 0, DaosError("aggregated", code=DER.EP_OLD))
    assert world.error.code is DER.EP_OLD


def test_canceling_what_is_on_its_way(world: World) -> None:
    world.attempts.cancel()
    assert world.canceled == 1
    world.answer(None, 0, CanceledError("given up"))
    assert type(world.error) is CanceledError


@pytest.mark.parametrize("error", [AgainError("busy"), lost(left=True)])
def test_canceling_during_a_pause(world: World, error: DaosError) -> None:
    world.answer(None, 0, error)
    world.attempts.cancel()
    world.attempts.cancel()  # the end is on its way already
    assert (world.canceled, world.ended) == (0, [])
    world.step()
    assert type(world.error) is CanceledError
    assert world.copies == [0]


def test_a_pause_that_took_too_long(world: World) -> None:
    world.answer(None, 0, AgainError("busy"))
    world.now_s = 2 * DEADLINE_S
    world.step()
    assert type(world.error) is DeadlineError
    assert world.copies == [0]


def test_an_old_pool_map_is_renewed_and_the_request_sent_again() -> None:
    told: list[int] = []
    world = World(stale=lambda: told.append(len(world.copies)))
    for _ in range(3):
        world.answer(None, 0, StaleMapError("the pool map has version 2"))
        assert world.step() <= PAUSE_MAX_S
    world.answer("reply", 0, None)
    assert (told, world.copies) == ([1, 2, 3], [0, 0, 0, 0])
    assert world.ended == [("reply", None)]
    world.loop.close()


def test_an_old_pool_map_says_nothing_of_earlier_copies() -> None:
    world = World(stale=lambda: None)
    world.answer(None, 0, lost(left=True))
    while not world.ended:
        world.step()
        if not world.ended:
            world.answer(None, 0, StaleMapError("the pool map has version 2"))
    assert isinstance(world.error, TxUncertainError)
    world.loop.close()


def test_who_has_no_pool_map_hears_that_it_is_old(world: World) -> None:
    world.answer(None, 0, StaleMapError("the pool map has version 2"))
    assert isinstance(world.error, StaleMapError)


def test_an_overloaded_target_says_when_to_come_again_and_keeps_the_place(world: World) -> None:
    for retry_ms in (40, 500):
        world.answer(None, 0, OverloadError("full", retry_ms=retry_ms, enqueue_id=7))
        assert retry_ms / 1e3 <= world.step() <= retry_ms / 1e3 * 1.5
        assert world.place == 7
    world.answer(None, 0, AgainError("no memory"))
    assert PAUSE_S / 2 <= world.step() <= PAUSE_S, "its own pauses have not grown"
    world.answer("stored", 0, None)
    assert world.ended == [("stored", None)]
    assert world.copies == [0, 0, 0, 0]


def test_an_overload_until_the_deadline_was_not_executed(world: World) -> None:
    world.answer(None, 0, OverloadError("full", retry_ms=60_000, enqueue_id=7))
    assert world.step() == DEADLINE_S
    assert type(world.error) is DeadlineError
    assert "full" in str(world.error)

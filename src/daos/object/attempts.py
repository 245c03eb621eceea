"""One request, sent as often as it takes: the one retry of objects, and of the services' clients.

    SENT --reply, verdict--> done
      |--AGAIN, INPROGRESS: not executed--------------> pause -> SENT
      |--OVERLOAD_RETRY: not executed-----------------> the pause that it names -> SENT,
    |                                                          with the place that it had
      |--STALE: the pool map is newer, not executed---> pause -> SENT, placed by the map of then
    |--EP_OLD: the target can't judge the id--------> pause -> SENT, with a new id; if nothing
    |                                                          can have been executed, else done
      |--no answer, connection lost: perhaps executed-> pause -> SENT again, as a copy of the first
      `--deadline, or nothing more to learn-----------> done(error)

A pause doubles from attempt to attempt and is drawn between half of it and all of it; one that the
target names, between all and one and a half. All attempts carry the request's one deadline, which
ends them.

What a modification tells its caller when it ends without a reply:

    DeadlineError      it was certainly not executed: no copy left, or each was answered with "not
                       now", and the deadline has passed
    TxUncertainError   a copy left, nothing says what became of it: it may have been executed, or
                       may be until the deadline passes at the target, never twice
    CanceledError      given up by its caller, or its client was closed: as uncertain

An answer of the target to a later copy decides about the earlier ones, too: it knows the id, and
lets none of them in any more. Some answers say nothing: the target had not looked yet. Whatever is
not known to be such a verdict counts as none.

A reply that came and can't be read counts as no answer; a target that has executed a request, and
can't make it durable, says itself that the outcome is uncertain.

Source: DAOS src/object/cli_obj.c obj_retry_error, src/dtx/dtx_resync.c; which errors tell nothing
of earlier copies: ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

from daos.base.clock import Clock, Rng
from daos.base.errors import (
    DER,
    CanceledError,
    DaosError,
    DeadlineError,
    OverloadError,
    TxUncertainError,
)

Cancel = Callable[[], None]
ReplyT = TypeVar("ReplyT")
Done = Callable[[ReplyT | None, int, DaosError | None], None]


class Before(NamedTuple):
    """What came of the copies before."""

    unanswered: int = 0  # so many left and were not answered
    enqueue_id: int = 0  # the place in the queue that the last refusal told; 0: none


# Sends a copy, and knows whom to tell of the end.
Send = Callable[[Before, Done[ReplyT]], Cancel]

# A target out of payload memory frees some within a flush or two; one that went away needs longer.
PAUSE_S: Final = 0.001
PAUSE_MAX_S: Final = 0.064
RECONNECT_MAX_S: Final = 0.5

_UNREACH: Final = DER.UNREACH
_EP_OLD: Final = DER.EP_OLD
_STALE: Final = DER.STALE
_NOT_NOW: Final = frozenset({DER.AGAIN, DER.INPROGRESS})
# What a target answers only once it has looked for the id, or would have answered to the first copy
# as well: these decide about earlier copies. Every other answer may have come before that look.
_VERDICTS: Final = frozenset(
    {
        DER.EXIST,
        DER.NONEXIST,
        DER.NOSPACE,
        DER.OVERFLOW,
        DER.NOMEM,
        DER.CSUM,
        DER.NO_PERM,
        DER.INVAL,
        DER.IO_INVAL,
        DER.KEY2BIG,
        DER.REC2BIG,
        DER.REC_SIZE,
        DER.VOS_PARTIAL_UPDATE,
        DER.NOTSUPPORTED,
        DER.OP_CANCELED,
        DER.TX_UNCERTAIN,  # says itself what it is, and so does
        DER.CANCELED,
    }
)


_NONE: Final = Before()


class Pacing(NamedTuple):
    """What attempts are timed by."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    rng: Rng


class Attempts(Generic[ReplyT]):
    """A request until its `done`, which is called once."""

    __slots__ = (
        "_cancel",
        "_deadline_ns",
        "_done",
        "_enqueue_id",
        "_modifies",
        "_pacing",
        "_pause_s",
        "_send",
        "_stale",
        "_unanswered",
    )

    def __init__(
        self,
        pacing: Pacing,
        send: Send[ReplyT],
        done: Done[ReplyT],
        *,
        deadline_ns: int,
        modifies: bool,
        stale: Callable[[], None] | None = None,
    ) -> None:
        """`stale`: learns the newer pool map that the target has told of, in the background."""
        self._pacing = pacing
        self._send = send
        self._done = done
        self._deadline_ns = deadline_ns
        self._modifies = modifies
        self._stale = stale
        self._pause_s = PAUSE_S
        self._unanswered = 0  # copies that left and were not answered
        self._enqueue_id = 0
        self._cancel: Cancel = send(_NONE, self._answered)

    def cancel(self) -> None:
        """Give up; `done` hears of it, or of the end that came first."""
        self._cancel()

    def _answered(self, reply: ReplyT | None, nbytes: int, error: DaosError | None) -> None:
        if error is None:
            self._end(reply, nbytes, None)
            return
        if error.unanswered:
            self._unanswered += 1
        too_old = error.code is _EP_OLD and self._modifies and not self._unanswered
        if too_old or error.code in _NOT_NOW:
            self._retry_later(PAUSE_MAX_S, error)
        elif isinstance(error, OverloadError):
            self._enqueue_id = error.enqueue_id
            pause_s = max(PAUSE_S, error.retry_ms / 1e3)
            self._retry_in(pause_s * (1 + self._pacing.rng.random() / 2), error)
        elif error.code is _STALE and self._stale is not None:
            self._stale()
            self._retry_later(PAUSE_MAX_S, error)
        elif error.code is _UNREACH:
            self._retry_later(RECONNECT_MAX_S, error)
        else:
            self._fail(error)

    def _retry_later(self, pause_max_s: float, error: DaosError) -> None:
        pause_s = min(self._pause_s, pause_max_s)
        self._pause_s = 2 * pause_s
        self._retry_in(pause_s * (0.5 + self._pacing.rng.random() / 2), error)

    def _retry_in(self, pause_s: float, error: DaosError) -> None:
        loop, clock, _ = self._pacing
        left_s = (self._deadline_ns - clock.now_ns()) / 1e9
        if left_s <= 0:
            self._fail(_too_late(error))
            return
        timer = loop.call_later(min(pause_s, left_s), self._again, error)

        def cancel() -> None:
            timer.cancel()
            self._cancel = _nothing
            loop.call_soon(self._fail, CanceledError("given up by its caller"))

        self._cancel = cancel

    def _again(self, error: DaosError) -> None:
        if self._pacing.clock.now_ns() >= self._deadline_ns:
            self._fail(_too_late(error))
            return
        before = Before(self._unanswered, self._enqueue_id)
        self._cancel = self._send(before, self._answered)

    @property
    def _perhaps(self) -> bool:
        """Whether a change may have been made that nobody told us of."""
        return self._modifies and self._unanswered > 0

    def _fail(self, error: DaosError) -> None:
        if self._perhaps and error.code not in _VERDICTS:
            uncertain = TxUncertainError(
                f"whether the change was made is not known, read it back: {error.message}"
            )
            uncertain.__cause__ = error
            error = uncertain
        self._end(None, 0, error)

    def _end(self, reply: ReplyT | None, nbytes: int, error: DaosError | None) -> None:
        # They refer to their owner, who refers to us: nothing waits for the garbage collector.
        done = self._done
        del self._send, self._done, self._stale
        self._cancel = _nothing
        done(reply, nbytes, error)


async def ask(
    pacing: Pacing,
    send: Send[ReplyT],
    *,
    deadline_ns: int,
    stale: Callable[[], None] | None = None,
) -> ReplyT:
    """The reply to a request that may be executed any number of times. Cancelling gives it up.

    Raises: what the peer answers; DeadlineError, also where nobody could be reached until then
    """
    future: asyncio.Future[ReplyT] = pacing.loop.create_future()

    def done(reply: ReplyT | None, payload_nbytes: int, error: DaosError | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            assert reply is not None
            future.set_result(reply)

    attempts = Attempts(pacing, send, done, deadline_ns=deadline_ns, modifies=False, stale=stale)
    try:
        return await future
    except asyncio.CancelledError:
        attempts.cancel()
        raise


def _too_late(error: DaosError) -> DeadlineError:
    late = DeadlineError(f"not answered before the deadline; at last: {error.message}")
    late.__cause__ = error
    return late


def _nothing() -> None:
    """The end is on its way already."""

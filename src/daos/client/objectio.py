"""Between the call-backs of `object.client` and what awaits them: one request, or a batch of them.

A *start* (`client.task.Start`) sends one request and reports its end. `settle` awaits one;
`execute` runs many of them, bounded. Each start asks the session first whether the client is being
closed, so that an operation of many requests stops there with CanceledError.

Source: ours; DAOS makes a task for every request (src/client/api/task.c), also for a single one
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from daos.base.errors import DaosError, NotFoundError
from daos.base.ids import Epoch, GroupIndex, ObjectId
from daos.base.iod import Iod, QueryFlag
from daos.client.asking import handed
from daos.client.landing import Landing
from daos.client.session import Call, Handle, Session
from daos.client.task import Batch, Report, Start
from daos.object.client import Found, ObjectClient
from daos.object.link import ContainerLink
from daos.object.wire import FetchReply
from daos.placement.layout import Layout

if TYPE_CHECKING:
    from daos.object.attempts import Cancel

# Requests of one operation that are on their way at once.
RUNNING_MAX: Final = 64


class ObjectIo:
    """Starts requests to one object."""

    def __init__(
        self, session: Session, link: ContainerLink, oid: ObjectId, layout: Layout
    ) -> None:
        """Raises: InvalidError, NotSupportedError (the id's class)."""
        self._session = session
        self.link = link
        self.client = ObjectClient(link, oid, layout)
        self.oid = oid

    @property
    def layout(self) -> Layout:
        """By the pool map that was last heard of."""
        return self.client.layout

    def update(
        self,
        dkey: bytes,
        iods: Sequence[Iod],
        values: Sequence[memoryview],
        *,
        cond: int = 0,
        call: Call,
    ) -> Start:
        """Write below one dkey; reports the epoch."""

        def start(report: Report) -> Cancel:
            self._session.check_running()
            return self.client.update(dkey, iods, values, cond=cond, call=call, done=report)

        return start

    def fetch(
        self,
        dkey: bytes,
        iods: Sequence[Iod],
        landing: Landing | None,
        *,
        cond: int = 0,
        call: Call,
    ) -> Start:
        """Read below one dkey; reports the FetchReply. Without a landing: sizes only."""
        into = None if landing is None else landing.into
        room = None if landing is None else landing.room

        def start(report: Report) -> Cancel:
            self._session.check_running()
            return self.client.fetch(dkey, iods, into, room=room, cond=cond, call=call, done=report)

        return start

    def punch(
        self,
        dkey: bytes,
        akeys: Sequence[bytes] = (),
        *,
        cond: int = 0,
        unchanged_since: int = 0,
        call: Call,
    ) -> Start:
        """Hide a dkey, or akeys below it; reports the epoch.

        `unchanged_since`: ExistsError if something of the dkey was written after this epoch.
        """
        conditions = {"cond": cond, "unchanged_since": unchanged_since}

        def start(report: Report) -> Cancel:
            self._session.check_running()
            return self.client.punch(dkey, akeys, **conditions, call=call, done=report)

        return start

    def punch_all(self, *, cond: int = 0, call: Call) -> Batch:
        """Hide the whole object, one request for each redundancy group."""
        batch = Batch(running_max=RUNNING_MAX)
        for group in range(len(self.layout.groups)):
            batch.add(self._punch_shard(GroupIndex(group), cond=cond, call=call))
        return batch

    def _punch_shard(self, group: GroupIndex, *, cond: int, call: Call) -> Start:
        def start(report: Report) -> Cancel:
            self._session.check_running()
            return self.client.punch_shard(group, cond=cond, call=call, done=report)

        return start

    async def query(
        self, flags: QueryFlag, *, dkey: bytes = b"", akey: bytes = b"", call: Call
    ) -> Found | None:
        """The largest or smallest key or record."""
        self._session.check_running()
        return await self.client.query_key(flags, dkey=dkey, akey=akey, call=call)

    async def query_changed(
        self, flags: QueryFlag, *, akey: bytes, call: Call
    ) -> tuple[Found | None, Epoch]:
        """The largest or smallest dkey and what lies below it; when the object was changed last."""
        self._session.check_running()
        return await self.client.query_changed(flags, akey=akey, call=call)

    async def newest_epoch(self, *, call: Call) -> Epoch:
        """When the object was changed last."""
        self._session.check_running()
        return await self.client.newest_epoch(call=call)


class ObjectHandle(Handle):
    """A handle on one object; no service knows of it."""

    def __init__(self, parent: Handle, io: ObjectIo, *, writable: bool) -> None:
        super().__init__(parent._session, parent, writable=writable)
        self.oid = io.oid
        self._io = io

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.oid}>"


def or_missing(start: Start) -> Start:
    """A request for which "there is no such thing" is an answer: None, and no error."""

    def start_tolerantly(report: Report) -> Callable[[], None] | None:
        def told(result: object, error: DaosError | None) -> None:
            if isinstance(error, NotFoundError):
                report(None, None)
            else:
                report(result, error)

        return start(told)

    return start_tolerantly


async def settle(start: Start) -> object:
    """Send one request and await its end. Cancelling gives it up, and awaits that."""
    loop = asyncio.get_running_loop()
    if asyncio.current_task(loop) is None:
        return await handed(start)
    future: asyncio.Future[object] = loop.create_future()
    ended = False  # also between a cancellation and the turn in which this coroutine hears of it
    given_up: asyncio.Future[None] | None = None

    def report(result: object, error: DaosError | None) -> None:
        nonlocal ended
        ended = True
        if future.done():
            if given_up is not None and not given_up.done():
                given_up.set_result(None)
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    cancel = start(report)
    try:
        return await future
    except asyncio.CancelledError:
        if cancel is not None and not ended:
            given_up = loop.create_future()
            cancel()
            await _outlast(given_up)
        raise


async def _outlast(ended: asyncio.Future[None]) -> None:
    """Wait for it, however often we are cancelled: its memory is in use until then."""
    while not ended.done():
        try:
            await asyncio.wait([ended])
        except asyncio.CancelledError:
            continue  # once more: we are ending already


def settle_epoch(start: Start) -> Coroutine[Any, Any, Epoch]:
    """`settle` for requests that report the epoch they were stamped with."""
    return cast("Coroutine[Any, Any, Epoch]", settle(start))  # what update and punch report


def settle_fetch(start: Start) -> Coroutine[Any, Any, FetchReply]:
    """`settle` for fetches."""
    return cast("Coroutine[Any, Any, FetchReply]", settle(start))  # what fetch reports


def first_error(errors: BaseExceptionGroup[DaosError]) -> DaosError:
    """The DaosError that ended a group of tasks."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, DaosError)
    return error

"""Operations, deadlines, and how handles close."""

from __future__ import annotations

import asyncio
import random
from typing import cast

import pytest

from daos.base.errors import (
    AccessError,
    BusyError,
    CanceledError,
    DaosError,
    DeadlineError,
    InvalidError,
    NotFoundError,
    NvmeIoError,
    ShutdownError,
    StaleHandleError,
)
from daos.base.ids import U64_MAX, Rank, Tag
from daos.cart.context import Context, Endpoint
from daos.client.session import Handle, Opening, Session


class FixedClock:
    """Second 1000 of real time."""

    def now_ns(self) -> int:
        return 1000 * 10**9

    def monotonic_ns(self) -> int:
        return 0


def new_session(timeout: float = 60.0) -> Session:
    return Session(
        context=cast("Context", None),  # nothing is sent here
        clock=FixedClock(),
        rng=random.Random(1),
        service=Endpoint(Rank(0), Tag(0)),
        default_timeout=timeout,
    )


class Named(Handle):
    """A handle that tells when a service would hear of its end."""

    def __init__(
        self,
        name: str,
        story: list[str],
        parent: Handle | None = None,
        *,
        writable: bool = True,
        error: DaosError | None = None,
    ) -> None:
        session = parent._session if parent is not None else new_session()
        super().__init__(session, parent, writable=writable)
        self.name, self.story, self.error = name, story, error

    async def _release(self) -> None:
        self.story.append(self.name)
        if self.error is not None:
            raise self.error

    def __repr__(self) -> str:
        return f"<{self.name}>"


class TestDeadlines:
    def test_absolute_and_once(self) -> None:
        session = new_session(timeout=2.5)
        with session.operation(None) as default, session.operation(0.5) as short:
            assert default.deadline_ns == 1002_500_000_000
            assert short.deadline_ns == 1000_500_000_000
            assert default.trace_id != short.trace_id
            assert session.running == 2
        assert session.running == 0

    @pytest.mark.parametrize("timeout", [1e30, float("inf"), 10**30])
    def test_without_an_end(self, timeout: float) -> None:
        with new_session().operation(timeout) as call:
            assert 1 << 62 < call.deadline_ns <= U64_MAX

    @pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("-inf"), "5", None])
    def test_refused(self, timeout: float) -> None:
        with pytest.raises(InvalidError, match="timeout"):
            new_session(timeout=timeout)
        if timeout is not None:
            with pytest.raises(InvalidError, match="timeout"):
                new_session().operation(timeout)

    def test_short_while_closing(self) -> None:
        session = new_session()
        assert session.closing_call().deadline_ns == 1060 * 10**9
        session.closing = True
        assert session.closing_call().deadline_ns < 1001 * 10**9


class TestDrain:
    def test_it_waits_for_operations_and_refuses_new_ones(self) -> None:
        async def run() -> list[str]:
            session, story = new_session(), list[str]()

            async def work(go: asyncio.Event) -> None:
                with session.operation(None):
                    await go.wait()
                    with pytest.raises(CanceledError):
                        session.check_running()
                    story.append("worked")

            go = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for _ in range(2):
                    group.create_task(work(go))
                await asyncio.sleep(0)
                drain = group.create_task(session.drain())
                await asyncio.sleep(0)
                with pytest.raises(ShutdownError):
                    session.operation(None)
                go.set()
                await drain
                story.append("drained")
            return story

        assert asyncio.run(run()) == ["worked", "worked", "drained"]

    def test_but_not_for_ever(self) -> None:
        async def run() -> None:
            session = new_session()
            with session.operation(None):
                async with asyncio.timeout(5):
                    await session.drain()
            await session.drain()

        asyncio.run(run())


class TestHandles:
    def test_closing_goes_from_the_leaves_up(self) -> None:
        async def run() -> None:
            story: list[str] = []
            root = Named("root", story)
            first, second = Named("first", story, root), Named("second", story, root)
            below = Named("below", story, second)
            for child, parent in ((first, root), (second, root), (below, second)):
                await parent._opening(child, asyncio.sleep(0))
            await first.close()
            assert story == ["first"]
            assert not root.closed
            await root.close()
            await root.close()
            assert story == ["first", "below", "second", "root"]
            assert below.closed

        asyncio.run(run())

    def test_use_after_close_names_the_handle(self) -> None:
        root = Named("root", [])
        leaf = Named("leaf", [], root)
        root.mark_closed()
        assert leaf.closed
        with pytest.raises(StaleHandleError, match="<root> is closed"):
            leaf._operation(None)
        other = Named("other", [], Named("root", []))
        other.mark_closed()
        with pytest.raises(StaleHandleError, match="<other> is closed"):
            other._operation(None)

    def test_read_only_is_told_before_anything_is_sent(self) -> None:
        reader = Named("reader", [], writable=False)
        reader._operation(None)
        with pytest.raises(AccessError, match="<reader> is open read-only"):
            reader._operation(None, write=True)

    @pytest.mark.parametrize("error", [StaleHandleError(), ShutdownError(), NotFoundError()])
    def test_gone_already_is_fine(self, error: DaosError) -> None:
        asyncio.run(Named("handle", [], error=error).close())

    def test_an_error_does_not_keep_the_others_open(self) -> None:
        async def run() -> None:
            story: list[str] = []
            root = Named("root", story)
            for name in ("one", "two"):
                child = Named(name, story, root, error=NvmeIoError(name))
                await root._opening(child, asyncio.sleep(0))
            with pytest.raises(NvmeIoError, match="two"):
                await root.close()
            assert story == ["two", "one", "root"]

        asyncio.run(run())

    @pytest.mark.parametrize(
        ("error", "known"), [(BusyError(), False), (DeadlineError(), True), (CanceledError(), True)]
    )
    def test_what_may_have_been_opened_is_closed(self, error: DaosError, known: bool) -> None:
        async def refuse() -> None:
            raise error

        async def run() -> list[str]:
            story: list[str] = []
            root = Named("root", story)
            with pytest.raises(type(error)):
                await root._opening(Named("child", story, root), refuse())
            await root.close()
            return story

        assert asyncio.run(run()) == (["child", "root"] if known else ["root"])

    def test_opening_opens_when_it_is_awaited(self) -> None:
        async def run() -> None:
            story: list[str] = []

            async def open_it() -> Named:
                story.append("open")
                return Named("handle", story)

            opening = Opening(open_it)
            assert story == []
            assert isinstance(await opening, Named)
            async with Opening(open_it) as handle:
                assert not handle.closed
            assert handle.closed
            assert story == ["open", "open", "handle"]

        asyncio.run(run())

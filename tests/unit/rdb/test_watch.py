"""Watches by themselves: what is kept, what is lost, who is woken. The rest is in the kit."""

from __future__ import annotations

import asyncio

import pytest

from daos.base.errors import AgainError, InvalidError, ShutdownError
from daos.rdb import watch as watch_module
from daos.rdb.interface import UNBOUNDED, Event, EventKind, KeyValuePair
from daos.rdb.watch import EventLog, LocalWatch


def event(revision: int, key: bytes = b"k", value: bytes = b"") -> Event:
    return Event(EventKind.PUT, KeyValuePair(key, value, revision, revision))


def everything(log: EventLog, after: int, events_max: int = 100) -> LocalWatch:
    return log.open(b"", UNBOUNDED, after_revision=after, events_max=events_max)


async def drain(watch: LocalWatch) -> list[int]:
    """Revisions of what waits."""
    watch.end(StopAsyncIteration())
    return [each.pair.mod_revision async for each in watch]


def test_history_is_bounded_by_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "HISTORY_EVENTS_MAX", 3)

    async def main() -> None:
        log = EventLog(0)
        for revision in range(2, 8):
            log.publish([event(revision)])
        assert await drain(everything(log, 4)) == [5, 6, 7]
        with pytest.raises(AgainError, match="up to revision 4 are not kept"):
            await anext(everything(log, 3))

    asyncio.run(main())


def test_history_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "HISTORY_BYTES_MAX", 100)

    async def main() -> None:
        log = EventLog(0)
        log.publish([event(2, b"k", bytes(60))])
        log.publish([event(3, b"k", bytes(60))])
        assert await drain(everything(log, 2)) == [3]
        log.publish([event(4, b"k", bytes(200))])
        assert await drain(everything(log, 4)) == []
        with pytest.raises(AgainError):
            await anext(everything(log, 3))

    asyncio.run(main())


def test_half_of_a_revision_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction of three events of which one was dropped: the whole revision counts as gone."""
    monkeypatch.setattr(watch_module, "HISTORY_EVENTS_MAX", 2)

    async def main() -> None:
        log = EventLog(0)
        log.publish([event(2, b"a"), event(2, b"b"), event(2, b"c")])
        with pytest.raises(AgainError):
            await anext(everything(log, 1))
        assert await drain(everything(log, 2)) == []

    asyncio.run(main())


def test_a_revision_may_come_in_pieces() -> None:
    """As the end of a lease with very many keys does."""

    async def main() -> None:
        log = EventLog(0)
        watch = everything(log, 0)
        for key in (b"a", b"b"):
            log.publish([event(2, key)])
            assert (await anext(watch)).pair.key == key

    asyncio.run(main())


def test_a_lost_watch_costs_nothing_more() -> None:
    async def main() -> None:
        log = EventLog(0)
        slow = everything(log, 0, events_max=1)
        log.publish([event(2), event(3)])
        assert log.watches == 0
        assert (await anext(slow)).pair.mod_revision == 2
        with pytest.raises(AgainError, match="1 events wait"):
            await anext(slow)
        slow.close()
        with pytest.raises(AgainError):
            await anext(slow)

    asyncio.run(main())


def test_the_end_of_the_store_wakes_the_consumer() -> None:
    async def main() -> None:
        log = EventLog(0)
        watch = everything(log, 0)

        async def consume() -> None:
            with pytest.raises(ShutdownError):
                await anext(watch)

        async def end() -> None:
            log.end(ShutdownError("over"))

        await asyncio.gather(consume(), end())
        assert log.watches == 0

    asyncio.run(main())


def test_a_cancelled_consumer_may_come_again() -> None:
    async def main() -> None:
        log = EventLog(0)
        watch = everything(log, 0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(watch), 0)
        log.publish([event(2)])
        assert (await anext(watch)).pair.mod_revision == 2

    asyncio.run(main())


def test_refusals() -> None:
    with pytest.raises(InvalidError, match="events_max"):
        EventLog(0).open(b"a", None, after_revision=0, events_max=0)
    with pytest.raises(InvalidError, match="empty"):
        EventLog(0).open(b"", None, after_revision=0, events_max=1)

"""The part of the Rdb kit about watches: rule 5 of `daos.rdb.interface`, order, bounds, endings."""

from __future__ import annotations

import asyncio

import pytest

from daos.base.errors import AgainError, BusyError, InvalidError
from daos.rdb.interface import (
    UNBOUNDED,
    Delete,
    Event,
    EventKind,
    KeyValuePair,
    Put,
    prefix_end,
)
from daos.testing.kits.rdb_store import SECOND_NS, RdbKitBase, Store, put, take


class RdbWatchKit(RdbKitBase):
    """Part of `RdbKit`."""

    def test_a_watch_tells_every_change_in_order(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            start = await put(rdb, b"w0", b"before")
            watch = rdb.watch(b"w", prefix_end(b"w"), after_revision=start, events_max=10)
            one = await put(rdb, b"w1", b"1")
            await put(rdb, b"other")
            two = (await rdb.txn((), (Put(b"w2", b"2"), Delete(b"w1")))).revision
            assert await take(watch, 3) == [
                Event(EventKind.PUT, KeyValuePair(b"w1", b"1", one, one)),
                Event(EventKind.PUT, KeyValuePair(b"w2", b"2", two, two)),
                Event(EventKind.DELETE, KeyValuePair(b"w1", b"", 0, two)),
            ]
            watch.close()

        self.run(test)

    def test_a_watch_may_begin_in_the_past_or_the_future(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            start = (await rdb.range(b"a")).revision
            for number in range(5):
                await put(rdb, b"a", b"%d" % number)
            past = rdb.watch(b"a", after_revision=start + 2, events_max=9)
            future = rdb.watch(b"a", after_revision=start + 6, events_max=9)
            whole = rdb.watch(b"", UNBOUNDED, after_revision=start, events_max=9)
            await put(rdb, b"a", b"5")
            await put(rdb, b"a", b"6")
            assert [event.pair.value for event in await take(past, 5)] == [
                b"2", b"3", b"4", b"5", b"6",
            ]  # fmt: skip
            assert (await anext(future)).pair.value == b"6"
            assert len(await take(whole, 7)) == 7
            for watch in (past, future, whole):
                watch.close()

        self.run(test)

    def test_a_waiting_consumer_is_woken(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            revision = (await rdb.range(b"a")).revision
            watch = rdb.watch(b"a", after_revision=revision, events_max=1)
            event, _ = await asyncio.gather(anext(watch), put(rdb, b"a", b"1"))
            assert event.pair.value == b"1"
            watch.close()

        self.run(test)

    def test_a_slow_watcher_hears_of_it(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            revision = (await rdb.range(b"a")).revision
            slow = rdb.watch(b"a", after_revision=revision, events_max=3)
            other = rdb.watch(b"a", after_revision=revision, events_max=9)
            for number in range(6):
                await put(rdb, b"a", b"%d" % number)
            assert [event.pair.value for event in await take(slow, 3)] == [b"0", b"1", b"2"]
            for _ in range(2):
                with pytest.raises(AgainError, match="watch lost"):
                    await anext(slow)
            assert len(await take(other, 6)) == 6
            other.close()

        self.run(test)

    def test_events_of_before_a_restart_are_not_skipped_silently(self) -> None:
        async def test(store: Store) -> None:
            revision = await put(store.rdb, b"a", b"1")
            now = await put(store.rdb, b"a", b"2")
            await store.reopen()
            old = store.rdb.watch(b"a", after_revision=revision, events_max=9)
            try:
                assert (await anext(old)).pair.value == b"2"  # a store may keep them
            except AgainError:
                pass
            finally:
                old.close()
            fresh = store.rdb.watch(b"a", after_revision=now, events_max=9)
            await put(store.rdb, b"a", b"3")
            assert (await anext(fresh)).pair.value == b"3"
            fresh.close()

        self.run(test)

    def test_the_end_of_a_lease_is_an_event(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            lease = await rdb.grant(SECOND_NS)
            revision = await put(rdb, b"a", b"", lease)
            watch = rdb.watch(b"a", after_revision=revision, events_max=9)
            await store.advance(2 * SECOND_NS)
            await rdb.range(b"a")
            event = await anext(watch)
            assert (event.kind, event.pair.key) == (EventKind.DELETE, b"a")
            assert event.pair.mod_revision == revision + 1
            watch.close()

        self.run(test)

    def test_closing_a_watch_ends_it(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            revision = (await rdb.range(b"a")).revision
            watch = rdb.watch(b"a", after_revision=revision, events_max=9)
            await put(rdb, b"a")
            watch.close()
            watch.close()
            await put(rdb, b"a")
            assert [event async for event in watch] == []

        self.run(test)

    def test_a_watch_has_one_consumer(self) -> None:
        async def test(store: Store) -> None:
            revision = (await store.rdb.range(b"a")).revision
            watch = store.rdb.watch(b"a", after_revision=revision, events_max=9)

            async def second() -> None:
                with pytest.raises(BusyError):
                    await anext(watch)
                watch.close()

            async def first() -> None:
                with pytest.raises(StopAsyncIteration):
                    await anext(watch)

            await asyncio.gather(first(), second())

        self.run(test)

    def test_impossible_watches(self) -> None:
        async def test(store: Store) -> None:
            with pytest.raises(InvalidError, match="events_max"):
                store.rdb.watch(b"a", after_revision=0, events_max=0)
            with pytest.raises(InvalidError, match="empty"):
                store.rdb.watch(b"", after_revision=0, events_max=1)

        self.run(test)

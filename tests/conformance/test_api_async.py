"""The asynchronous face over an embedded system: what differs in form from the synchronous one."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

import daos
from daos import aio


@asynccontextmanager
async def client() -> AsyncIterator[aio.Client]:
    async with aio.local(targets=4) as system:
        await system.admin.pool_create("tank", "128MiB")
        client = await system.connect()
        yield client
        await client.close()


@asynccontextmanager
async def container() -> AsyncIterator[aio.Container]:
    async with client() as connected, connected.pool("tank") as pool:
        async with pool.create_container("c1") as cont:
            yield cont
        assert cont.closed


def test_handles_are_awaited_or_entered() -> None:
    async def run() -> None:
        async with container() as cont:
            kv = await cont.kv()
            await kv.put("a", b"1")
            async with kv:
                assert await kv.get("a") == b"1"
            assert kv.closed
            async with cont.kv(kv.oid) as again, cont.object(await cont.new_oid()) as obj:
                assert await again.get("a") == b"1"
                await obj.update(b"d", b"a", b"v")
                assert await obj.fetch(b"d", b"a") == b"v"
            with pytest.raises(daos.StaleHandleError):
                await obj.fetch(b"d", b"a")
            array = await cont.array()
            assert await array.write(3, b"abc") == 3
            assert await array.size == 6
            epoch = await cont.snapshot("one")
            await again_put(cont, kv.oid)
            async with cont.at("one") as view:
                assert view.epoch == epoch
                assert await (await view.kv(kv.oid)).get("a") == b"1"

    async def again_put(cont: aio.Container, oid: daos.ObjectId) -> None:
        await (await cont.kv(oid)).put("a", b"2")

    asyncio.run(run())


def test_mappings_are_calls() -> None:
    async def run() -> None:
        async with container() as cont:
            await cont.attrs.set("a", b"1")
            await cont.attrs.update({"b": b"2"}, delete=["a"])
            assert await cont.attrs.items() == {"b": b"2"}
            assert await cont.attrs.get("b") == b"2"
            await cont.attrs.delete("b")
            with pytest.raises(KeyError):
                await cont.attrs.get("b")
            assert await cont.props.get("label") == "c1"
            await cont.props.set("label", "c2")
            assert (await cont.props.items())["label"] == "c2"

    asyncio.run(run())


def test_enumerations_are_async_iterators() -> None:
    async def run() -> None:
        async with container() as cont:
            kv = await cont.kv(text=True)
            await kv.put_many({f"{n:03}": b"%d" % n for n in range(300)})
            keys = [key async for key in kv.scan()]
            assert keys == [f"{n:03}" for n in range(300)]
            assert [key async for key in kv] == keys
            assert [pair async for pair in kv.items("29")] == [
                (f"{n}", b"%d" % n) for n in range(290, 300)
            ]
            assert await kv.count() == 300
            assert await kv.contains("007")
            await kv.remove("007")
            assert not await kv.contains("007")
            assert [oid async for oid in cont.objects()] == [kv.oid]
            await kv.clear()
            assert await kv.count() == 0

    asyncio.run(run())


def test_a_hundred_tasks_at_once() -> None:
    async def run() -> None:
        async with container() as cont:
            kv = await cont.kv()

            async def work(number: int) -> None:
                for index in range(10):
                    await kv.put(f"{number}-{index}", b"v")

            async with asyncio.TaskGroup() as group:
                for number in range(100):
                    group.create_task(work(number))
            assert await kv.count() == 1000

    asyncio.run(run())


def test_cancelled_and_late_calls() -> None:
    async def run() -> None:
        async with container() as cont:
            kv, array = await cont.kv(), await cont.array(chunk_size=1 << 16)
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: kv.put("k", b"v"),
                lambda: kv.put_many({f"k{n}": b"v" for n in range(500)}),
                lambda: array.write(0, bytes(8 << 20)),
                lambda: cont.snapshot(),
            ]
            for call in calls:
                task = asyncio.ensure_future(call())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            # It may have left already, and then nobody can tell.
            with pytest.raises((daos.DeadlineError, daos.TxUncertainError)):
                await array.write(0, bytes(8 << 20), timeout=1e-6)
            await kv.put("k", b"after")
            assert await kv.get("k") == b"after"

    asyncio.run(run())


def test_closing_a_client_ends_its_calls() -> None:
    async def run() -> None:
        async with client() as connected:
            pool = await connected.pool("tank")
            kv = await (await pool.create_container("c1")).kv()
            writer = asyncio.ensure_future(
                kv.put_many({f"k{n}": b"v" * 5000 for n in range(20_000)})
            )
            await asyncio.sleep(0)
            await kv.put("k", b"v")
            async with asyncio.timeout(2):
                await connected.close()
                with pytest.raises(daos.CanceledError):
                    await writer
            assert kv.closed
            with pytest.raises(daos.StaleHandleError):
                await kv.get("k")

    asyncio.run(run())


def test_calls_leave_no_cycles_behind() -> None:
    """What a call allocates goes when it ends, not when the garbage collector comes."""

    async def run() -> None:
        async with container() as cont:
            kv, array = await cont.kv(), await cont.array(chunk_size=100)
            values = {f"k{n}": b"v" for n in range(100)}
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: kv.put("k", b"v"),
                lambda: kv.get("k"),
                lambda: kv.put_many(values),
                lambda: kv.get_many(values),
                lambda: array.write(0, bytes(5000)),
                lambda: array.read(0, 5000),
            ]
            for call in calls:
                await call()
                gc.collect()
                gc.disable()
                for _ in range(10):
                    await call()
                assert gc.collect() < 100
                gc.enable()

    asyncio.run(run())


def test_no_thread_is_started() -> None:
    before = set(threading.enumerate())

    async def run() -> list[str]:
        async with container():
            return [thread.name for thread in threading.enumerate() if thread not in before]

    assert not any("loop" in name or "local" in name for name in asyncio.run(run()))

"""Bulk in shared memory: borrowed, copied once, returned; and what happens in between."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import Awaitable, Callable

import pytest

from daos.base.clock import SystemClock
from daos.base.errors import DER, AccessError, InvalidError, NotFoundError
from daos.cart.bulk import Mode, Region, Segments
from daos.cart.context import Context
from daos.cart.transport.sm import SmTransport
from daos.client.memory import Buffer
from daos.testing.kits.bulk import BulkBench
from daos.testing.kits.transport_peers import ECHO, OTHER, SERVER, Ask, pattern

MiB = 1 << 20


def on_sm(body: Callable[[BulkBench], Awaitable[None]]) -> Callable[[], None]:
    """A test over a directory of Unix sockets."""

    def test() -> None:
        async def main(directory: str) -> None:
            loop = asyncio.get_running_loop()
            transport = SmTransport(loop, lambda to: f"{directory}/{to.rank}.{to.tag}")
            bench = BulkBench(transport, loop, SystemClock())
            async with asyncio.timeout(20):
                await body(bench)
                for context in bench.contexts:
                    await context.close()
            assert not bench.bugs

        with tempfile.TemporaryDirectory(prefix="daos-") as directory:
            asyncio.run(main(directory))

    return test


def copied(context: Context) -> int:
    return context.statistics().bulk_bytes_copied


def payload(context: Context) -> int:
    statistics = context.statistics()
    return statistics.payload_bytes_in + statistics.payload_bytes_out


def buffer(context: Context, data: bytes | bytearray) -> Buffer:
    made = Buffer(len(data), context.shared)
    made[:] = bytes(data)
    return made


@on_sm
async def test_no_byte_goes_over_the_socket(bench: BulkBench) -> None:
    server, client = bench.taker(), bench.context(None)
    memory = buffer(client, pattern(3 * MiB))
    views = [memory.view[4096 : 2 * MiB], memory.view[2 * MiB + 512 :]]
    data = b"".join(views)
    bulk = client.bulk.create(views, Mode.READ_WRITE)
    assert bulk.handle.shared
    rpc = await bench.hand(client, bulk.handle)
    into = bytearray(len(data))
    cut = 100_000
    pieces = [memoryview(into)[:cut], memoryview(into)[cut:]]
    await bench.move(server, bulk.handle, pieces, via=rpc).whole()
    assert into == data
    assert copied(server) == len(data)
    fresh = pattern(5000, 9)
    ranges = [(2 * MiB - 4096 - 1000, 2000), (0, 3000)]
    await bench.move(
        server, bulk.handle, [memoryview(fresh)], put=True, ranges=ranges, via=rpc
    ).whole()
    assert memory[2 * MiB - 1000 : 2 * MiB] == fresh[:1000]
    assert memory[2 * MiB + 512 : 2 * MiB + 1512] == fresh[1000:2000]
    assert memory[4096:7096] == fresh[2000:]
    assert bulk.nbytes_put == 5000
    assert (payload(server), payload(client)) == (0, 0)
    assert not bulk.free
    bulk.release()
    assert bulk.free


@on_sm
async def test_whatever_wraps_a_buffer_is_the_buffer(bench: BulkBench) -> None:
    numpy = pytest.importorskip("numpy")
    client = bench.context(None)
    memory = Buffer(8192, client.shared)
    array = numpy.frombuffer(memory, "f4")
    for views, shared in (
        ([memoryview(array)], True),
        ([memoryview(array[100:200])], True),
        ([memoryview(array).toreadonly()], True),
        ([memoryview(bytearray(100))], False),
        ([memory.view, memoryview(bytearray(100))], False),
    ):
        bulk = client.bulk.create(views, Mode.READ)
        assert bulk.handle.shared is shared
        bulk.release()


@on_sm
async def test_memory_that_is_not_shared_goes_over_the_socket(bench: BulkBench) -> None:
    server, client = bench.taker(), bench.context(None)
    Buffer(8192, client.shared)
    data, into = pattern(MiB), bytearray(MiB)
    bulk = client.bulk.create([memoryview(data)], Mode.READ)
    rpc = await bench.hand(client, bulk.handle)
    await bench.move(server, bulk.handle, [memoryview(into)], via=rpc).whole()
    assert into == data
    assert (copied(server), payload(server)) == (0, MiB)
    bulk.release()


@on_sm
async def test_an_offer_that_is_refused_falls_back_to_the_socket(bench: BulkBench) -> None:
    server, client = bench.taker(), bench.context(None)
    memory = buffer(client, pattern(MiB))
    bulk = client.bulk.create([memory.view], Mode.READ_WRITE)
    rpc = await bench.hand(client, bulk.handle)
    rpc.bulk._carrier.link.memory = lambda _region_id: None  # type: ignore[method-assign]
    into = bytearray(MiB)
    await bench.move(server, bulk.handle, [memoryview(into)], via=rpc).whole()
    assert into == memory[:]
    fresh = pattern(MiB, 4)
    await bench.move(server, bulk.handle, [memoryview(fresh)], put=True, via=rpc).whole()
    assert memory[:] == fresh
    assert (copied(server), payload(server)) == (0, 2 * MiB)
    await client.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())
    bulk.release()
    assert bulk.free


@on_sm
async def test_given_up_before_it_was_lent(bench: BulkBench) -> None:
    server, client = bench.taker(), bench.context(None)
    memory = buffer(client, bytes(MiB))
    bulk = client.bulk.create([memory.view], Mode.WRITE)
    rpc = await bench.hand(client, bulk.handle)
    data = memoryview(pattern(MiB))
    move = bench.move(server, bulk.handle, [data], put=True, via=rpc)
    move.call.abort()
    error = await move.error()
    assert error is not None
    assert error.code is DER.CANCELED
    for _ in range(3):
        await client.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())
    bulk.release()
    assert bulk.free
    assert memory[:] == bytes(MiB)


@on_sm
async def test_a_third_party_maps_it_as_well(bench: BulkBench) -> None:
    leader, third, owner = bench.taker(), bench.taker(OTHER), bench.context(None)
    await owner.call(OTHER, ECHO, Ask(1), deadline_ns=bench.soon())
    memory = buffer(owner, pattern(MiB))
    bulk = owner.bulk.create([memory.view], Mode.READ, bind=True)
    first = await bench.hand(owner, bulk.handle)
    passed = await bench.hand(leader, first.request.handle, OTHER)
    into = bytearray(MiB)
    await bench.move(third, passed.request.handle, [memoryview(into)], via=passed).whole()
    assert into == memory[:]
    assert (copied(third), payload(third)) == (MiB, 0)
    bulk.release()


@on_sm
async def test_what_a_handle_does_not_allow_is_refused(bench: BulkBench) -> None:
    server, client = bench.taker(), bench.context(None)
    memory = buffer(client, bytes(8192))
    bulk = client.bulk.create([memory.view[:4096]], Mode.READ)
    rpc = await bench.hand(client, bulk.handle)
    data = memoryview(pattern(4096))
    into = memoryview(bytearray(4096))
    for put, ranges, refusal in (
        (True, [(0, 4096)], AccessError),
        (False, [(1, 4096)], InvalidError),
        (False, [(4096, 1)], InvalidError),
    ):
        views = [data if put else into[: sum(size for _, size in ranges)]]
        move = bench.move(server, bulk.handle, views, put=put, ranges=ranges, via=rpc)
        assert type(await move.error()) is refusal
    bulk.release()
    assert type(await bench.move(server, bulk.handle, [into], via=rpc).error()) is NotFoundError
    assert memory[:] == bytes(8192)
    assert copied(server) == 0


async def borrowed(bench: BulkBench, server: Context) -> None:
    """Wait until the first bytes have been copied."""
    for _ in range(10_000):
        if copied(server):
            return
        await asyncio.sleep(0)
    raise AssertionError("nothing was copied")


@on_sm
async def test_released_while_somebody_reads(bench: BulkBench) -> None:
    """The reader hears so in the end, whatever it has read."""
    server, client = bench.taker(), bench.context(None)
    memory = buffer(client, pattern(16 * MiB))
    bulk = client.bulk.create([memory.view], Mode.READ)
    rpc = await bench.hand(client, bulk.handle)
    move = bench.move(server, bulk.handle, [memoryview(bytearray(16 * MiB))], via=rpc)
    await borrowed(bench, server)
    bulk.release()
    assert bulk.free
    assert type(await move.error()) is NotFoundError


@pytest.mark.parametrize("how", ["release", "abort", "die", "cut"])
def test_memory_is_free_when_its_writer_has_returned_it_or_is_gone(how: str) -> None:
    @on_sm
    async def test(bench: BulkBench) -> None:
        server, client = bench.taker(), bench.context(None)
        memory = buffer(client, bytes(16 * MiB))
        bulk = client.bulk.create([memory.view], Mode.WRITE)
        rpc = await bench.hand(client, bulk.handle)
        data = memoryview(pattern(16 * MiB))
        move = bench.move(server, bulk.handle, [data], put=True, via=rpc)
        await borrowed(bench, server)
        bulk.release()
        assert not bulk.free
        freed: asyncio.Future[bytes] = bench.loop.create_future()
        bulk.when_free(lambda: freed.set_result(memory[:]))
        if how == "abort":
            move.call.abort()
        elif how == "die":
            await server.close()
        elif how == "cut":
            bulk.cut()
        seen = await freed
        assert bulk.free
        error = await move.error()
        expected = {
            "release": DER.NONEXIST,
            "abort": DER.CANCELED,
            "die": DER.CANCELED,
            "cut": DER.UNREACH,
        }
        assert error is not None
        assert error.code is expected[how]
        for _ in range(20):
            await asyncio.sleep(0)
        if how != "cut":
            assert memory[:] == seen

    test()


@on_sm
async def test_a_buffer_that_is_gone_is_taken_back_everywhere(bench: BulkBench) -> None:
    server, client = bench.taker(), bench.context(None)
    memory = buffer(client, pattern(MiB))
    bulk = client.bulk.create([memory.view], Mode.READ)
    rpc = await bench.hand(client, bulk.handle)
    into = bytearray(MiB)
    await bench.move(server, bulk.handle, [memoryview(into)], via=rpc).whole()
    link = rpc.bulk._carrier.link
    (region_id,) = client.shared._areas
    assert link.memory(region_id) is not None
    bulk.release()
    del bulk, memory
    gc.collect()
    assert client.shared._areas == {}
    await client.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())
    for _ in range(100):
        if link.memory(region_id) is None:
            break
        await asyncio.sleep(0)
    assert link.memory(region_id) is None


def test_released_memory_is_told_at_once_where_nobody_writes() -> None:
    region = Region(b"k" * 16, Segments([memoryview(b"x")], writable=False), Mode.READ)
    told: list[str] = []
    region.when_free(lambda: told.append("later"))
    assert told == []
    region.released = True
    region.when_free(lambda: told.append("now"))
    assert told == ["now"]

"""Bulk in shared memory: borrowed, copied once, returned; and what happens in between."""

from __future__ import annotations

import asyncio
import gc
import random
import tempfile
from collections.abc import Awaitable, Callable

import pytest

from daos.base.clock import SystemClock
from daos.base.errors import DER, AccessError, DaosError, InvalidError, NotFoundError
from daos.cart.bulk import Mode, Region, Segments
from daos.cart.context import Context
from daos.cart.shared import _renew
from daos.cart.transport.sm import SmTransport
from daos.client.memory import Buffer
from daos.testing.kits.bulk import BulkBench
from daos.testing.kits.transport_peers import ECHO, OTHER, SERVER, Ask, pattern

MiB = 1 << 20
PAGE = 4096


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
    views = [memory.view[4096 : 2 * MiB], memory.view[2 * MiB + 8192 :]]
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
    assert memory[2 * MiB + 8192 : 2 * MiB + 9192] == fresh[1000:2000]
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


def whole_pages(lo: int, hi: int, size: int) -> set[int]:
    """Bytes of [lo, hi) of a buffer whose pages lie in there; behind its end there is nothing."""
    return {
        byte
        for byte in range(lo, hi)
        if byte // PAGE * PAGE >= lo and min(byte // PAGE * PAGE + PAGE, size) <= hi
    }


@pytest.mark.parametrize("seed", range(12))
def test_pages_that_are_not_all_lent_are_written_over_the_socket(seed: int) -> None:
    @on_sm
    async def test(bench: BulkBench) -> None:
        rng = random.Random(seed)
        server, client = bench.taker(), bench.context(None)
        size = rng.choice([7, 16]) * PAGE - rng.choice([0, 1, 1000])
        memory = buffer(client, rng.randbytes(size))
        expected, at = bytearray(memory[:]), 0
        segments, shared = [], set[int]()
        while at < size and len(segments) < 3:
            lo = min(at + rng.choice([0, 1, 500, PAGE]), size - 1)
            hi = min(lo + rng.choice([1, 100, PAGE, 3 * PAGE, 5 * PAGE + 7, size]), size)
            segments.append((lo, hi))
            shared |= whole_pages(lo, hi, size)
            at = hi
        bytes_of_region = [byte for lo, hi in segments for byte in range(lo, hi)]
        bulk = client.bulk.create([memory.view[lo:hi] for lo, hi in segments], Mode.WRITE)
        rpc = await bench.hand(client, bulk.handle)
        by_frames = sent = 0
        for _ in range(4):
            first = rng.randrange(len(bytes_of_region))
            ranges = [(first, rng.randint(1, len(bytes_of_region) - first))]
            if first:
                ranges.append((rng.randrange(first), 1))
            wanted = [bytes_of_region[at + n] for at, count in ranges for n in range(count)]
            data = rng.randbytes(len(wanted))
            for byte, value in zip(wanted, data, strict=True):
                expected[byte] = value
            by_frames += sum(byte not in shared for byte in wanted)
            sent += len(data)
            cut = rng.randint(0, len(data))
            views = [memoryview(data)[:cut], memoryview(data)[cut:]]
            move = bench.move(server, bulk.handle, views, put=True, ranges=ranges, via=rpc)
            await move.whole()
            assert memory[:] == expected
        assert (payload(server), copied(server)) == (by_frames, sent - by_frames)
        assert bulk.nbytes_put == sent
        bulk.release()
        assert bulk.free

    test()


class Lent:
    """A buffer, some of which is lent to a server that got stuck after the first MiB."""

    SIZE = 6 * MiB
    FIRST, LAST = MiB + 100, 4 * MiB + 100

    def __init__(self, bench: BulkBench) -> None:
        self.bench = bench
        self.server, self.client = bench.taker(), bench.context(None)
        self.memory = buffer(self.client, pattern(self.SIZE))
        lent = self.memory.view[self.FIRST : self.LAST]
        self.bulk = self.client.bulk.create([lent], Mode.WRITE)

    async def begin(self) -> None:
        rpc = await self.bench.hand(self.client, self.bulk.handle)
        data = memoryview(b"!" * (self.LAST - self.FIRST))
        self.move = self.bench.move(self.server, self.bulk.handle, [data], put=True, via=rpc)
        self.end = rpc.bulk
        await borrowed(self.bench, self.server)
        (region_id,) = self.client.shared._areas
        mapped = self.end.memory(region_id)
        assert mapped is not None
        self.mapped = mapped  # as the server sees the buffer

    async def freed(self) -> None:
        free = self.bench.loop.create_future()
        self.bulk.when_free(lambda: free.set_result(None))
        await free

    def check_out_of_reach(self) -> None:
        """The server writes wherever it can; the client has its memory for itself."""
        before = self.memory[:]
        beside = pattern(self.SIZE)
        assert before[: self.FIRST] == beside[: self.FIRST]
        assert before[self.LAST :] == beside[self.LAST :]
        inside = slice(self.FIRST + PAGE, self.LAST - PAGE)
        self.mapped[inside] = b"?" * len(self.mapped[inside])
        assert self.memory[:] == before
        self.memory[:] = before[::-1]
        assert self.memory[:] == before[::-1]


@pytest.mark.parametrize("how", ["cut", "close", "quiet", "not released"])
def test_a_writer_that_does_not_return_memory_can_not_reach_it_any_more(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    @on_sm
    async def test(bench: BulkBench) -> None:
        lent = Lent(bench)
        await lent.begin()
        if how != "not released":
            lent.bulk.release()
        if how == "close":
            await lent.client.close()
        elif how == "quiet":
            (caller,) = lent.client._callers
            caller.link.close(DaosError("the peer does not answer", code=DER.UNREACH))
        else:
            lent.bulk.cut()
        if how == "not released":
            assert await lent.move.error() is not None
            lent.bulk.release()
        await lent.freed()
        lent.check_out_of_reach()
        # What is stored next from this memory is what is in it.
        again = bench.context(None)
        other = again.bulk.create([lent.memory.view], Mode.READ)
        into = bytearray(lent.SIZE)
        rpc = await bench.hand(again, other.handle)
        assert not other.handle.shared
        await bench.move(lent.server, other.handle, [memoryview(into)], via=rpc).whole()
        assert into == lent.memory[:]
        other.release()
        assert lent.client.shared.locate([lent.memory.view]) is None

    test()
    assert not caplog.records


@on_sm
async def test_a_writer_that_has_left_costs_nothing(bench: BulkBench) -> None:
    lent = Lent(bench)
    await lent.begin()
    await lent.server.close()
    await lent.move.error()
    lent.bulk.release()
    await lent.freed()
    assert lent.client.shared.locate([lent.memory.view]) is not None


@on_sm
async def test_nothing_is_copied_once_the_connection_has_ended_here(bench: BulkBench) -> None:
    """Between the end of the socket and the turn in which the channel hears of it."""
    lent = Lent(bench)
    await lent.begin()
    before = bytes(lent.mapped)
    lent.end.cut()
    lent.end._tell()
    assert lent.mapped == before
    assert await lent.move.error() is not None
    assert lent.mapped == before
    lent.bulk.release()
    await lent.freed()


def test_memory_that_can_not_be_taken_back_stays_lent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_room(address: int, nbytes: int) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("daos.cart.shared._renew", no_room)

    @on_sm
    async def test(bench: BulkBench) -> None:
        lent = Lent(bench)
        await lent.begin()
        lent.bulk.release()
        lent.bulk.cut()
        assert await lent.move.error() is not None
        await bench.until(lambda: "Cannot allocate" in caplog.text)
        assert not lent.bulk.free

    test()


def test_there_is_no_room_for_more_mappings() -> None:
    """The kernel's own word for it: an address that can't be mapped."""
    with pytest.raises(OSError, match="Invalid argument"):
        _renew(PAGE + 1, PAGE)


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

"""What bulk transfers have to do over every `Transport`.

As `daos.testing.kits.transport`: derive, say how to `make` a transport. The owner of the memory is
a client without an address unless a test says otherwise; `HAND` gives its handle to a server, whose
test moves the bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import pytest

from daos.base.clock import Clock
from daos.base.errors import (
    DER,
    AccessError,
    CanceledError,
    DaosError,
    DeadlineError,
    InvalidError,
    NotFoundError,
)
from daos.base.ids import Rank, Tag
from daos.cart.bulk import GET, PUT, BulkHandle, Mode, Range, encode
from daos.cart.bulk_service import BulkCall
from daos.cart.context import Context, Endpoint, Limits, Rpc
from daos.cart.protocol import Procedure, opcode
from daos.cart.transport import Transport
from daos.cart.wire import REPLY, Header, checksum
from daos.testing.kits.transport import LoopKit, Run
from daos.testing.kits.transport_peers import (
    ECHO,
    OTHER,
    SERVER,
    Answer,
    Ask,
    Bench,
    KiB,
    MiB,
    pattern,
)

ADDRESSED = Endpoint(Rank(0), Tag(3))


class Hand(msgspec.Struct, array_like=True):
    """Somebody's memory."""

    handle: BulkHandle


HAND: Procedure[Hand, Answer] = Procedure("kit_hand", opcode(0xFD, 1, 5), Hand, Answer)


class Moved:
    """A transfer, and how it ended."""

    def __init__(self) -> None:
        self.future: asyncio.Future[DaosError | None] = asyncio.get_running_loop().create_future()
        self.ends = 0
        self.call: BulkCall

    def done(self, error: DaosError | None) -> None:
        self.ends += 1
        self.future.set_result(error)

    async def error(self) -> DaosError | None:
        return await self.future

    async def whole(self) -> None:
        if (error := await self.future) is not None:
            raise error


class BulkBench(Bench):
    """Servers that keep the handles they are given."""

    def __init__(self, transport: Transport, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        super().__init__(transport, loop, clock)
        self.taken: list[Rpc[Hand, Answer]] = []

    def taker(self, endpoint: Endpoint = SERVER, limits: Limits | None = None) -> Context:
        """A server of handles."""
        context = self.server(endpoint, limits)
        context.serve(HAND, self.take)
        return context

    def take(self, rpc: Rpc[Hand, Answer]) -> None:
        self.taken.append(rpc)
        self.arrival.set()

    async def hand(
        self, owner: Context, handle: BulkHandle, to: Endpoint = SERVER
    ) -> Rpc[Hand, Answer]:
        """Give a handle to a server; the request is the server's then, unanswered."""
        before = len(self.taken)
        owner.send(to, HAND, Hand(handle), deadline_ns=self.soon(), done=_ignore)
        await self.until(lambda: len(self.taken) > before)
        return self.taken[-1]

    def move(
        self,
        context: Context,
        handle: BulkHandle,
        views: Sequence[memoryview],
        *,
        put: bool = False,
        ranges: Sequence[Range] | None = None,
        via: Rpc | None = None,
        seconds: float = 20.0,
    ) -> Moved:
        """Begin a transfer."""
        moved = Moved()
        start = context.bulk.put if put else context.bulk.get
        moved.call = start(
            handle,
            views,
            ranges=ranges,
            via=via,
            deadline_ns=self.soon(seconds),
            done=moved.done,
        )
        return moved


class BulkKit(LoopKit):
    """Derive, say how to `make` one, and let pytest collect the class."""

    BENCH = BulkBench

    @pytest.mark.parametrize("nbytes", [1, 4097, 3 * MiB + 7])
    def test_a_server_reads_memory_of_its_client(self, run: Run, nbytes: int) -> None:
        async def scenario(bench: BulkBench) -> None:
            server, client = bench.taker(), bench.context(None)
            data = pattern(nbytes)
            cut = nbytes // 3
            pieces = [memoryview(data)[:cut], memoryview(data)[cut:]]
            bulk = client.bulk.create(pieces, Mode.READ)
            rpc = await bench.hand(client, bulk.handle)
            into = bytearray(nbytes)
            views = [memoryview(into)[: nbytes // 2], memoryview(into)[nbytes // 2 :]]
            await bench.move(server, rpc.request.handle, views, via=rpc).whole()
            assert into == data
            bulk.release()

        run(scenario)

    @pytest.mark.parametrize("nbytes", [1, 4097, 3 * MiB + 7])
    def test_a_server_writes_memory_of_its_client(self, run: Run, nbytes: int) -> None:
        async def scenario(bench: BulkBench) -> None:
            server, client = bench.taker(), bench.context(None)
            room = bytearray(nbytes)
            cut = nbytes // 3
            pieces = [memoryview(room)[:cut], memoryview(room)[cut:]]
            bulk = client.bulk.create(pieces, Mode.WRITE)
            rpc = await bench.hand(client, bulk.handle)
            data = pattern(nbytes)
            await bench.move(server, bulk.handle, [memoryview(data)], put=True, via=rpc).whole()
            assert room == data
            bulk.release()

        run(scenario)

    def test_ranges_of_a_region_in_any_order(self, run: Run) -> None:
        async def scenario(bench: BulkBench) -> None:
            server, client = bench.taker(), bench.context(None)
            data = pattern(2 * MiB)
            pieces = [memoryview(data)[at : at + 5000] for at in range(0, len(data), 5000)]
            bulk = client.bulk.create(pieces, Mode.READ_WRITE)
            rpc = await bench.hand(client, bulk.handle)
            ranges = [(MiB + 1, MiB - 1), (0, 1), (4999, 10002)]
            ranges += [(20_000 + 2 * at, 1) for at in range(600)]
            into = bytearray(sum(size for _, size in ranges))
            await bench.move(
                server, bulk.handle, [memoryview(into)], ranges=ranges, via=rpc
            ).whole()
            assert into == b"".join(data[at : at + size] for at, size in ranges)
            fresh = pattern(len(into), 9)
            expected = bytearray(data)
            at = 0
            for offset, size in ranges:
                expected[offset : offset + size] = fresh[at : at + size]
                at += size
            await bench.move(
                server, bulk.handle, [memoryview(fresh)], put=True, ranges=ranges, via=rpc
            ).whole()
            assert data == expected
            bulk.release()

        run(scenario)

    def test_a_client_reads_and_writes_memory_of_a_server(self, run: Run) -> None:
        async def scenario(bench: BulkBench) -> None:
            server, client = bench.taker(), bench.context(None)
            room = bytearray(100_000)
            bulk = server.bulk.create([memoryview(room)], Mode.READ_WRITE, bind=True)
            data, back = pattern(len(room)), bytearray(len(room))
            await bench.move(client, bulk.handle, [memoryview(data)], put=True).whole()
            await bench.move(client, bulk.handle, [memoryview(back)]).whole()
            assert room == back == data
            bulk.release()

        run(scenario)

    # --- three parties ----------------------------------------------------------------------------

    def test_a_third_party_pulls_over_the_connection_that_the_owner_has_to_it(
        self, run: Run
    ) -> None:
        async def scenario(bench: BulkBench) -> None:
            leader, third = bench.taker(), bench.taker(OTHER)
            owner, stranger = bench.context(None), bench.context(None)
            for context in (owner, stranger):
                await context.call(OTHER, ECHO, Ask(1), deadline_ns=bench.soon())
            data = pattern(MiB)
            bulk = owner.bulk.create([memoryview(data)], Mode.READ, bind=True)
            first = await bench.hand(owner, bulk.handle)
            mine, its = bytearray(MiB), bytearray(MiB)
            passed = await bench.hand(leader, first.request.handle, OTHER)
            assert passed.source == SERVER
            moves = [
                bench.move(leader, first.request.handle, [memoryview(mine)], via=first),
                bench.move(third, passed.request.handle, [memoryview(its)], via=passed),
            ]
            for move in moves:
                await move.whole()
            assert mine == its == data
            bulk.release()

        run(scenario)

    def test_a_third_party_connects_to_an_owner_that_has_an_address(self, run: Run) -> None:
        async def scenario(bench: BulkBench) -> None:
            leader, third, owner = bench.taker(), bench.taker(OTHER), bench.taker(ADDRESSED)
            data, its = pattern(MiB), bytearray(MiB)
            bulk = owner.bulk.create([memoryview(data)], Mode.READ_WRITE, bind=True)
            first = await bench.hand(owner, bulk.handle)
            passed = await bench.hand(leader, first.request.handle, OTHER)
            await bench.move(third, passed.request.handle, [memoryview(its)], via=passed).whole()
            assert its == data
            fresh = pattern(1000, 5)
            await bench.move(
                third, bulk.handle, [memoryview(fresh)], put=True, ranges=[(7, 1000)]
            ).whole()
            assert data[7:1007] == fresh
            bulk.release()

        run(scenario)

    def test_an_owner_that_nobody_reaches(self, run: Run) -> None:
        async def scenario(bench: BulkBench) -> None:
            leader, third, owner = bench.taker(), bench.taker(OTHER), bench.context(None)
            into = [memoryview(bytearray(10))]
            bulk = owner.bulk.create([memoryview(bytes(10))], Mode.READ, bind=True)
            first = await bench.hand(owner, bulk.handle)
            passed = await bench.hand(leader, first.request.handle, OTHER)
            error = await bench.move(third, passed.request.handle, into, via=passed).error()
            assert _code(error) is DER.UNREACH
            unbound = owner.bulk.create([memoryview(bytes(10))], Mode.READ)
            error = await bench.move(third, unbound.handle, into).error()
            assert isinstance(error, InvalidError)
            nobody = BulkHandle(bytes(16), 10, 1, (0, 99))
            error = await bench.move(third, nobody, into).error()
            assert _code(error) is DER.UNREACH
            bulk.release()
            unbound.release()

        run(scenario)

    # --- refusals ---------------------------------------------------------------------------------

    def test_what_a_handle_does_not_allow_is_refused_and_nothing_moves(self, run: Run) -> None:
        async def scenario(bench: BulkBench) -> None:
            server, client = bench.taker(), bench.context(None)
            room = bytearray(100)
            closed = bytearray(200)  # beside it, of nobody's business
            only_read = client.bulk.create([memoryview(room)], Mode.READ)
            only_write = client.bulk.create([memoryview(closed)[50:150]], Mode.WRITE)
            rpc = await bench.hand(client, only_read.handle)
            data = memoryview(pattern(100))
            into = bytearray(100)

            async def refusal(handle: BulkHandle, *ranges: Range, put: bool) -> type[DaosError]:
                size = sum(size for _, size in ranges)
                views = [data[:size] if put else memoryview(into)[:size]]
                error = await bench.move(
                    server, handle, views, put=put, ranges=ranges, via=rpc
                ).error()
                return type(error) if error else DaosError

            assert await refusal(only_read.handle, (0, 100), put=True) is AccessError
            assert await refusal(only_write.handle, (0, 100), put=False) is AccessError
            for ranges in (((1, 100),), ((100, 1),), ((0, 10), (99, 2)), ((1 << 61, 4),)):
                assert await refusal(only_read.handle, *ranges, put=False) is InvalidError
                assert await refusal(only_write.handle, *ranges, put=True) is InvalidError
            unknown = BulkHandle(b"?" * 16, 100, 3, None)
            assert await refusal(unknown, (0, 4), put=False) is NotFoundError
            only_read.release()
            only_read.release()
            only_write.release()
            assert await refusal(only_read.handle, (0, 4), put=False) is NotFoundError
            assert await refusal(only_write.handle, (0, 4), put=True) is NotFoundError
            error = await bench.move(server, unknown, [data[:4]], via=rpc).error()
            assert isinstance(error, InvalidError)  # sizes that differ
            assert room == bytes(100)
            assert closed == bytes(200)
            assert into == bytes(100)
            await client.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())

        run(scenario)

    # --- ends before the end ----------------------------------------------------------------------

    @pytest.mark.parametrize("put", [False, True], ids=["get", "put"])
    def test_released_in_mid_transfer(self, run: Run, put: bool) -> None:
        async def scenario(bench: BulkBench) -> None:
            slow = Limits(bulk_chunk_size=4 * KiB, bulk_inflight_max=2)
            server, client = bench.taker(limits=slow), bench.context(None, slow)
            room, data = bytearray(4 * MiB), pattern(4 * MiB)
            owned, local = (room, data) if put else (data, room)
            bulk = client.bulk.create([memoryview(owned)], Mode.READ_WRITE)
            rpc = await bench.hand(client, bulk.handle)
            move = bench.move(server, bulk.handle, [memoryview(local)], put=put, via=rpc)
            await _some_of(room)
            bulk.release()
            seen = bytes(room) if put else b""
            error = await move.error()
            assert isinstance(error, NotFoundError)
            await client.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())
            if put:
                assert room == seen
            assert not room.endswith(data[-KiB:])
            assert move.ends == 1

        run(scenario)

    @pytest.mark.parametrize("put", [False, True], ids=["get", "put"])
    def test_aborted_in_mid_transfer(self, run: Run, put: bool) -> None:
        async def scenario(bench: BulkBench) -> None:
            slow = Limits(bulk_chunk_size=4 * KiB, bulk_inflight_max=2)
            server, client = bench.taker(limits=slow), bench.context(None, slow)
            room, data = bytearray(4 * MiB), pattern(4 * MiB)
            owned, local = (room, data) if put else (data, room)
            bulk = client.bulk.create([memoryview(owned)], Mode.READ_WRITE)
            rpc = await bench.hand(client, bulk.handle)
            move = bench.move(server, bulk.handle, [memoryview(local)], put=put, via=rpc)
            await _some_of(room)
            move.call.abort()
            move.call.abort()
            seen = b"" if put else bytes(room)
            assert isinstance(await move.error(), CanceledError)
            await client.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())
            if not put:
                assert room == seen
            assert not room.endswith(data[-KiB:])
            again = bench.move(
                server, bulk.handle, [memoryview(local)[:KiB]], put=put, ranges=[(0, KiB)], via=rpc
            )
            await again.whole()
            assert room[:KiB] == data[:KiB]
            bulk.release()

        run(scenario)

    @pytest.mark.parametrize("put", [False, True], ids=["get", "put"])
    def test_a_deadline_in_mid_transfer(self, run: Run, put: bool) -> None:
        async def scenario(bench: BulkBench) -> None:
            server, client = bench.taker(), bench.context(None)
            room, data = bytearray(1 << 26), pattern(1 << 26)
            owned, local = (room, data) if put else (data, room)
            bulk = client.bulk.create([memoryview(owned)], Mode.READ_WRITE)
            rpc = await bench.hand(client, bulk.handle)
            move = bench.move(
                server, bulk.handle, [memoryview(local)], put=put, via=rpc, seconds=0.002
            )
            assert isinstance(await move.error(), DeadlineError)
            seen = b"" if put else bytes(room)
            await client.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())
            if not put:
                assert room == seen
            bulk.release()

        run(scenario)

    @pytest.mark.parametrize("put", [False, True], ids=["get", "put"])
    @pytest.mark.parametrize("dies", ["owner", "accessor"])
    def test_a_peer_that_dies_in_mid_transfer(self, run: Run, put: bool, dies: str) -> None:
        async def scenario(bench: BulkBench) -> None:
            slow = Limits(bulk_chunk_size=4 * KiB, bulk_inflight_max=2)
            server, client = bench.taker(limits=slow), bench.context(None, slow)
            room, data = bytearray(4 * MiB), pattern(4 * MiB)
            owned, local = (room, data) if put else (data, room)
            bulk = client.bulk.create([memoryview(owned)], Mode.READ_WRITE)
            rpc = await bench.hand(client, bulk.handle)
            move = bench.move(server, bulk.handle, [memoryview(local)], put=put, via=rpc)
            await _some_of(room)
            await (client if dies == "owner" else server).close()
            error = await move.error()
            assert _code(error) is (DER.UNREACH if dies == "owner" else DER.CANCELED)
            assert move.ends == 1
            assert not room.endswith(data[-KiB:])
            seen = bytes(room)
            if dies == "owner":
                other = bench.context(None)
                await other.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())
            assert room == seen
            late = bench.move(server, bulk.handle, [memoryview(bytearray(4 * MiB))], via=rpc)
            assert _code(await late.error()) is DER.UNREACH
            bulk.release()

        run(scenario)

    # --- many -------------------------------------------------------------------------------------

    def test_calls_go_on_beside_a_large_transfer(self, run: Run) -> None:
        async def scenario(bench: BulkBench) -> None:
            server, client = bench.taker(), bench.context(None)
            data, into = pattern(32 * MiB), bytearray(32 * MiB)
            bulk = client.bulk.create([memoryview(data)], Mode.READ)
            rpc = await bench.hand(client, bulk.handle)
            move = bench.move(server, bulk.handle, [memoryview(into)], via=rpc)
            echoes = 0
            while not move.future.done():
                await client.call(SERVER, ECHO, Ask(echoes), deadline_ns=bench.soon())
                echoes += 1
            assert echoes >= 4
            assert into == data
            bulk.release()

        run(scenario)

    def test_many_transfers_both_ways_at_once(self, run: Run) -> None:
        async def scenario(bench: BulkBench) -> None:
            limits = Limits(bulk_chunk_size=16 * KiB, bulk_inflight_max=3)
            server, client = bench.taker(limits=limits), bench.context(None, limits)
            own = [pattern(100_001, seed) for seed in range(40)]
            room = [bytearray(100_001) for _ in range(40)]
            bulks = [client.bulk.create([memoryview(data)], Mode.READ) for data in own]
            sinks = [client.bulk.create([memoryview(each)], Mode.WRITE) for each in room]
            rpc = await bench.hand(client, bulks[0].handle)
            got = [bytearray(100_001) for _ in own]
            moves = []
            for bulk, sink, data, into in zip(bulks, sinks, own, got, strict=True):
                moves.append(bench.move(server, bulk.handle, [memoryview(into)], via=rpc))
                moves.append(bench.move(server, sink.handle, [memoryview(data)], put=True, via=rpc))
            assert server.statistics().bulk_transfers == 80
            for move in moves:
                await move.whole()
            assert got == own
            assert room == own
            for bulk in (*bulks, *sinks):
                bulk.release()
            assert client.statistics().bulk_regions == 0

        run(scenario)

    # --- peers that lie ---------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "lie",
        [
            lambda key: _raw(GET, [key, [[0, 5]]], flags=REPLY),
            lambda key: _raw(PUT, [key, [[0, 5]]], b"12345", flags=REPLY),
            lambda key: _raw(GET, [key[:5], [[0, 5]]]),
            lambda key: _raw(GET, [key, []]),
            lambda key: _raw(GET, [key, [[0, 5]]] * 2),
            lambda key: _raw(GET, [key, [[0, 5]]], rpc_id=5),
            lambda key: _raw(GET + 7, [key, [[0, 5]]]),
            lambda key: _raw(GET, [key, [[0, 5]]], b"12345"),
            lambda key: _raw(PUT, [key, [[0, 5]]], b"123"),
            lambda key: _raw(GET, [key, [[0, 1]]]) * 2,
            lambda key: _raw(GET, [key, [[0, 2 * MiB]]]),
        ],
    )
    def test_garbage_costs_its_sender_the_connection(
        self, run: Run, lie: Callable[[bytes], bytes]
    ) -> None:
        async def scenario(bench: BulkBench) -> None:
            server, client = bench.taker(), bench.context(None)
            room = bytearray(3 * MiB)
            bulk = server.bulk.create([memoryview(room)], Mode.READ_WRITE)
            peer = bench.raw()
            peer.say(lie(bulk.handle.key))
            await peer.until(lambda: bool(peer.lost))
            await client.call(SERVER, ECHO, Ask(1), deadline_ns=bench.soon())
            assert room == bytes(3 * MiB)
            bulk.release()

        run(scenario)

    def test_a_peer_that_asks_and_never_reads_is_cut_off(self, run: Run) -> None:
        async def scenario(bench: BulkBench) -> None:
            server = bench.taker(limits=Limits(inflight_max=8, serving_max=8))
            bulk = server.bulk.create([memoryview(bytes(256 * KiB))], Mode.READ)
            peer = bench.raw()
            peer.link.pause_reading()
            rpc_id = 1 << 63
            for _ in range(2000):
                peer.say(_raw(GET, [bulk.handle.key, [[0, 256 * KiB]]], rpc_id=rpc_id))
                rpc_id += 1
                await asyncio.sleep(0)
                if peer.lost:
                    break
            else:
                assert server.statistics().frames_in < 2000  # it does not read any more
            peer.link.close(CanceledError("enough"))
            bulk.release()

        run(scenario)


def _raw(
    number: int, access: object, payload: bytes = b"", *, flags: int = 0, rpc_id: int = 1 << 63
) -> bytes:
    body = encode(access)
    header = Header(
        flags=flags,
        opcode=number,
        status=0,
        rpc_id=rpc_id,
        rank=SERVER.rank,
        tag=SERVER.tag,
        source_rank=7,
        source_tag=0,
        deadline_ns=0,
        trace_id=0,
        payload_size=len(payload),
        body_size=len(body),
        body_sum=checksum(body),
        epoch=0,
    )
    return header.emit() + body + payload


async def _some_of(room: bytearray) -> None:
    """Wait until the first bytes have come."""
    for _ in range(100_000):
        if any(room[: 4 * KiB]):
            return
        await asyncio.sleep(1e-5)  # not 0: simulated time would stand still
    raise AssertionError("nothing came")


def _code(error: DaosError | None) -> DER | None:
    return None if error is None else error.code


def _ignore(*_: object) -> None:
    """The answer does not matter."""

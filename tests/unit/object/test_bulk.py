"""Values too large for a frame: through memory that the client names, whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from daos.base.errors import DaosError
from daos.base.ids import DtxId, Epoch, Rank, dtx_id
from daos.base.iod import Iod
from daos.cart.bulk import Mode
from daos.cart.context import Context, Rpc
from daos.client.landing import ManyLanding, RecordsLanding, Slot, ValueLanding
from daos.object import wire
from daos.object.attempts import Pacing
from daos.object.client import ObjectClient
from daos.object.fetching import Into
from daos.object.link import Call, ContainerLink
from daos.object.maps import PoolMaps
from daos.object.memory import Room
from daos.object.push import STEP_BYTES
from daos.placement.jump import JumpMap
from daos.placement.layout import Layout
from daos.placement.pool_map import PoolMap
from tests.unit.embedded.cluster import (
    Cluster,
    ContainerHandle,
    array,
    code_of,
    endpoint,
    oid_of,
    on_cluster,
    single,
)
from tests.unit.object.test_server import held

OID = oid_of()
MiB = 1 << 20


def pattern(nbytes: int, seed: int = 1) -> bytes:
    return bytes((seed + at // 7) % 251 for at in range(1 << 16)) * (nbytes // (1 << 16)) + bytes(
        range(256)
    ) * ((nbytes % (1 << 16)) // 256)


BIG = pattern(MiB + 512)


class Client:
    """An object through a client of its own."""

    def __init__(self, container: ContainerHandle, context: Context | None = None) -> None:
        self.cluster = container.cluster
        self.context = context or self.cluster.client_context()
        self._number = 0
        self.started: list[Callable[[], None]] = []
        self.object = ObjectClient(
            ContainerLink(
                context=self.context,
                pacing=Pacing(asyncio.get_running_loop(), self.cluster.clock, self.cluster.rng),
                new_dtx=self._new_dtx,
                pool=container.pool.pool,
                handle=container.handle,
                writable=True,
                checksum_type=container.checksum_type,
                maps=PoolMaps(PoolMap.initial([("host", [(Rank(0), 1)])])),
                epoch=Epoch(0),
            ),
            OID,
            _layout(),
        )

    def _new_dtx(self) -> DtxId:
        self._number += 1
        return dtx_id(b"client of bulk 1", self._number)

    def call(self, seconds: float = 60) -> Call:
        return Call(self.cluster.clock.now_ns() + int(seconds * 10**9), 3)

    async def update(
        self, iods: Sequence[Iod], values: Sequence[bytes | memoryview], *, seconds: float = 60
    ) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        views = [memoryview(value) for value in values]
        cancel = self.object.update(
            b"d", iods, views, call=self.call(seconds), done=_settles(future)
        )
        self.started.append(cancel)
        await future

    async def fetch(
        self, iods: Sequence[Iod], into: Into, room: Room | None, *, seconds: float = 60
    ) -> wire.FetchReply:
        future: asyncio.Future[wire.FetchReply] = asyncio.get_running_loop().create_future()
        cancel = self.object.fetch(
            b"d", iods, into, room=room, call=self.call(seconds), done=_settles(future)
        )
        self.started.append(cancel)
        return await future


def _settles(future: asyncio.Future) -> Callable[[object, DaosError | None], None]:
    def done(result: object, error: DaosError | None) -> None:
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    return done


def _layout() -> Layout:
    return JumpMap(PoolMap.initial([("localhost", [(Rank(0), 1)])])).place(OID)


async def quiet(client: Client) -> None:
    """Nothing of a call is left at its client."""
    for _ in range(3):
        await asyncio.sleep(0)
    statistics = client.context.statistics()
    assert (statistics.bulk_regions, statistics.bulk_transfers, statistics.calls) == (0, 0, 0)
    await client.context.close()


@on_cluster
async def test_a_large_value_is_read_by_the_target_and_a_small_one_comes_along(
    cluster: Cluster,
) -> None:
    container = await (await cluster.pool()).container()
    client = Client(container)
    for size, frames in ((wire.INLINE_MAX, 1), (wire.INLINE_MAX + 1, 3)):
        before = client.context.statistics().frames_out
        await client.update([single(b"a", size)], [BIG[:size]])
        assert client.context.statistics().frames_out - before == frames
        assert await container.get(OID, b"d", b"a") == BIG[:size]
    await quiet(client)


@on_cluster
async def test_several_values_and_ranges_in_one_request(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    client = Client(container)
    iods = [single(b"s", len(BIG)), array(b"r", 4, (0, 50_000), (100_000, 100_000))]
    values = [BIG, pattern(200_000 // 256 * 256, 5) + bytes(64), pattern(400_000, 6)]
    values[2] = values[2].ljust(400_000, b"!")
    await client.update(iods, values)
    many = ManyLanding([Slot(0, 0, 0), Slot(1, 0, 200_000)])
    ask = [single(b"s"), array(b"r", 0, (0, 200_000))]
    reply = await client.fetch(ask, many.into, many.room)
    assert many.finish() == [BIG, values[1] + bytes(200_000) + values[2]]
    assert [piece[1:] for piece in map(tuple_of, reply.pieces)] == [
        (0, 0, 1),
        (0, 0, 50_000),
        (0, 100_000, 100_000),
    ]
    await quiet(client)


def tuple_of(piece: wire.Piece) -> tuple[int, int, int, int]:
    return piece.iod, piece.recx, piece.index, piece.count


@on_cluster
async def test_a_value_whose_size_only_the_target_knows(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container(props={"cksum": "crc64"})
    client = Client(container)
    await client.update([single(b"a", len(BIG))], [BIG])
    before = held(container)
    landing = ValueLanding()
    await client.fetch([single(b"a")], landing.into, landing.room)
    assert landing.value == BIG
    room = bytearray(2 * MiB)
    landing = ValueLanding(memoryview(room))
    await client.fetch([single(b"a")], landing.into, landing.room)
    assert (landing.nbytes, room[: len(BIG)]) == (len(BIG), BIG)
    assert room[len(BIG) :] == bytes(2 * MiB - len(BIG))
    for small in (1000, MiB):
        room = bytearray(small)
        landing = ValueLanding(memoryview(room))
        call = client.fetch([single(b"a")], landing.into, landing.room)
        assert await code_of(call) == "REC2BIG"
        assert room == bytes(small)
    assert held(container) == before
    await quiet(client)


@pytest.mark.parametrize("cksum", ["off", "crc32"])
@on_cluster
async def test_a_result_larger_than_a_frame(cluster: Cluster, cksum: str) -> None:
    """68 MiB in one fetch, in steps: the target never takes memory for more than one."""
    pool = await cluster.connect((await cluster.create_pool(size=256 << 20)).uuid)
    container = await pool.container(props={"cksum": cksum})
    client = Client(container)
    parts = [pattern(17 * MiB, seed) for seed in range(4)]
    for at, part in enumerate(parts):
        iod = array(b"a", 1, (at * len(part) + (at == 3), len(part)))
        await client.update([iod], [part])
    before = held(container)
    target = cluster.shard(container.pool.pool)
    total = 4 * 17 * MiB + 1
    room = bytearray(b"?") * total
    landing = RecordsLanding(memoryview(room), 1)
    await client.fetch([array(b"a", 1, (0, total))], landing.into, landing.room)
    landing.fill(total)
    assert room[: 51 * MiB] == b"".join(parts[:3])
    assert room[51 * MiB :] == b"\0" + parts[3]
    assert held(container) == before
    assert target.meta.memory.statistics().bytes_in_use_peak <= 17 * MiB + MiB + STEP_BYTES
    without = client.fetch([array(b"a", 1, (0, total))], landing.into, None)
    assert await code_of(without) == "REC2BIG"
    await quiet(client)


@on_cluster
async def test_memory_that_changes_under_way_is_found_and_nothing_is_written(
    cluster: Cluster,
) -> None:
    container = await (await cluster.pool()).container(props={"cksum": "crc32"})
    client = Client(container)
    await client.update([single(b"a", 5)], [b"first"])
    before = held(container)
    data = bytearray(BIG)
    task = asyncio.ensure_future(client.update([single(b"a", len(BIG))], [memoryview(data)]))
    await asyncio.sleep(0)
    data[len(BIG) // 2] ^= 1
    assert await code_of(wait_for(task)) == "CSUM"
    assert await container.get(OID, b"d", b"a") == b"first"
    assert held(container) == before
    await quiet(client)


async def wait_for(task: asyncio.Future) -> object:
    return await task


async def underway(cluster: Cluster, container: ContainerHandle) -> None:
    """Wait until the target has taken memory for a request."""
    memory = cluster.shard(container.pool.pool).meta.memory
    for _ in range(1000):
        if memory.statistics().bytes_in_use:
            return
        await asyncio.sleep(0)
    raise AssertionError("nothing is under way")


@pytest.mark.parametrize("how", ["cancel", "close", "deadline", "handle"])
@on_cluster
async def test_an_update_that_ends_in_mid_transfer_leaves_nothing(
    cluster: Cluster, how: str
) -> None:
    pool = await cluster.connect((await cluster.create_pool(size=128 << 20)).uuid)
    container = await pool.container()
    client = Client(container)
    data = pattern(32 * MiB)
    before = held(container)
    task = asyncio.ensure_future(client.update([single(b"a", len(data))], [data], seconds=5))
    await underway(cluster, container)
    expected = {"cancel": "CANCELED", "close": "CANCELED", "deadline": "TIMEDOUT"}
    if how == "cancel":
        client.started[0]()
    elif how == "close":
        await client.context.close()
    elif how == "deadline":
        cluster.clock.advance(5)
        client.context._expire()
    else:
        await container.close()
    code = await code_of(wait_for(task))
    assert code in (expected.get(how, "NO_HDL"), "TX_UNCERTAIN", "TIMEDOUT"), code
    if how == "handle":
        container = await container.pool.open("c1")
    assert await container.get(OID, b"d", b"a") is None
    for _ in range(20):
        await asyncio.sleep(0)
    assert held(container) == before
    await quiet(client)


@pytest.mark.parametrize("how", ["cancel", "close", "deadline"])
@on_cluster
async def test_a_fetch_that_ends_in_mid_transfer_touches_its_memory_no_more(
    cluster: Cluster, how: str
) -> None:
    pool = await cluster.connect((await cluster.create_pool(size=128 << 20)).uuid)
    container = await pool.container()
    client = Client(container)
    data = pattern(32 * MiB)
    await client.update([array(b"a", 1, (0, len(data)))], [data])
    before = held(container)
    room = bytearray(len(data))
    landing = RecordsLanding(memoryview(room), 1)
    iods = [array(b"a", 1, (0, len(data)))]
    task = asyncio.ensure_future(client.fetch(iods, landing.into, landing.room, seconds=5))
    for _ in range(100_000):
        if any(room[:4096]):
            break
        await asyncio.sleep(0)
    if how == "cancel":
        client.started[-1]()
    elif how == "close":
        await client.context.close()
    else:
        cluster.clock.advance(5)
        client.context._expire()
    seen = bytes(room)
    assert await code_of(wait_for(task)) in ("CANCELED", "TIMEDOUT")
    await container.get(OID, b"d", b"x")
    for _ in range(200):
        await asyncio.sleep(0)
    assert room == seen
    assert not any(room[-4096:])
    assert held(container) == before
    await quiet(client)


@on_cluster
async def test_what_a_request_says_of_its_memory_must_be_right(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    await container.put(OID, b"d", {b"a": BIG})
    client = Client(container)
    before = held(container)
    bulk = client.context.bulk.create([memoryview(bytearray(len(BIG)))], Mode.WRITE)

    async def fetch(room: tuple[int, ...], *iods: Iod) -> str:
        request = wire.FetchRequest(container.address(OID), b"d", iods, bulk=bulk.handle, room=room)
        return await code_of(
            cluster.call(wire.FETCH, request, to=endpoint(1), context=client.context)
        )

    assert await fetch((len(BIG) - 1,), single(b"a")) == "INVAL"
    assert await fetch((), single(b"a")) == "INVAL"
    assert await fetch((len(BIG), 0), single(b"a")) == "INVAL"
    assert await fetch((-1, len(BIG) + 1), single(b"a"), single(b"b")) == "INVAL"
    assert await fetch((1, len(BIG) - 1), single(b"a"), single(b"b")) == "REC2BIG"
    assert await fetch((len(BIG),), single(b"a")) == "SUCCESS"
    update = wire.UpdateRequest(container.address(OID), b"d", (single(b"a", 5),), bulk=bulk.handle)
    call = cluster.call(wire.UPDATE, update, to=endpoint(1), context=client.context)
    assert await code_of(call) == "IO_INVAL"
    update = wire.UpdateRequest(
        container.address(OID), b"d", (single(b"a", len(BIG)),), bulk=bulk.handle
    )
    call = cluster.call(wire.UPDATE, update, to=endpoint(1), context=client.context)
    assert await code_of(call) == "NO_PERM"  # it may only be written to
    bulk.release()
    call = cluster.call(wire.UPDATE, update, to=endpoint(1), context=client.context)
    assert await code_of(call) == "NONEXIST"
    assert await container.get(OID, b"d", b"a") == BIG
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert held(container) == before
    await quiet(client)


@pytest.mark.parametrize("lie", ["nothing", "large", "sizes"])
@on_cluster
async def test_a_target_that_tells_of_bytes_it_did_not_write(cluster: Cluster, lie: str) -> None:
    container = await (await cluster.pool()).container()
    where = endpoint(1)
    liar = cluster.client_context(endpoint(77))
    answers = 0

    def fetch(rpc: Rpc) -> None:
        nonlocal answers
        answers += 1
        pieces = (wire.Piece(0, 0, 0, 1),)
        if lie == "large" or answers == 1:
            rpc.reply(wire.FetchReply(5, (MiB,), large=True))
        elif lie == "nothing":
            rpc.reply(wire.FetchReply(5, (MiB,), pieces))
        else:
            rpc.reply(wire.FetchReply(5, (0,), pieces))

    liar.serve(wire.FETCH, fetch)
    liar.listen()
    client = Client(container)
    object.__setattr__(client.object, "_link", _Elsewhere(client.object._link, endpoint(77)))
    landing = ValueLanding()
    assert await code_of(client.fetch([single(b"a")], landing.into, landing.room)) == "PROTO"
    assert where != endpoint(77)
    await quiet(client)
    await liar.close()


class _Elsewhere:
    """A link whose shards are all at one place."""

    def __init__(self, link: ContainerLink, place: object) -> None:
        self._link = link
        self._place = place

    def __getattr__(self, name: str) -> object:
        return getattr(self._link, name)

    def endpoint(self, _shard: object) -> object:
        return self._place

"""The object service of a target: what it answers, what it refuses, what it gives back."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from daos.base.checksum import ChecksumType, compute
from daos.base.errors import DER, CanceledError, DaosError
from daos.base.ids import ObjectId, ObjectType
from daos.base.iod import Cond, Iod
from daos.cart.context import Limits
from daos.cart.protocol import Procedure
from daos.cart.session import CallerSession
from daos.cart.wire import ANONYMOUS
from daos.object import wire
from daos.object.large import FRAME_BYTES_MAX
from tests.unit.embedded.cluster import (
    Cluster,
    ContainerHandle,
    FullLog,
    array,
    code_of,
    endpoint,
    new_id,
    oid_of,
    on_cluster,
    single,
)

OID = oid_of()
BIG = bytes(range(256)) * 64  # 16 KiB: in blocks, not in the record


class Held(NamedTuple):
    """All that an operation takes for a while."""

    blocks_free: int
    blocks_reserved: int
    blocks_held: int
    pins: int
    tree_pages: int
    memory: int


def held(container: ContainerHandle) -> Held:
    meta = container.cluster.shard(container.pool.pool, container.target).meta
    space, memory = meta.space.statistics(), meta.memory.statistics().bytes_in_use
    blocks = space.blocks_free, space.blocks_reserved, space.blocks_held
    return Held(*blocks, space.pins, meta._room.pages_held, memory)


async def raw_update(
    container: ContainerHandle,
    request: wire.UpdateRequest,
    payload: bytes,
    *,
    seconds: float = 60,
) -> wire.UpdateReply:
    views = [memoryview(payload)] if payload else []
    return await container.object(wire.UPDATE, request, payload=views, seconds=seconds)


def update_of(
    container: ContainerHandle,
    *iods: Iod,
    oid: ObjectId = OID,
    dkey: bytes = b"d",
    epoch: int = 0,
    cond: int = 0,
    checksums: tuple[bytes, ...] = (),
) -> wire.UpdateRequest:
    return wire.UpdateRequest(container.address(oid, epoch), dkey, iods, cond, checksums)


def _pairs(
    *calls: tuple[Procedure[Any, Any], object],
) -> tuple[tuple[Procedure[Any, Any], object], ...]:
    return calls


def _triples(
    *calls: tuple[Procedure[Any, Any], object, list[memoryview]],
) -> tuple[tuple[Procedure[Any, Any], object, list[memoryview]], ...]:
    return calls


@on_cluster
async def test_values_of_all_kinds(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    iods = [single(b"small", 5), single(b"large", len(BIG)), array(b"array", 4, (0, 2), (10, 1))]
    epoch = await container.update(OID, b"d", iods, [b"small", BIG, b"aaaabbbb", b"cccc"])
    reply, data = await container.fetch(
        OID,
        b"d",
        [single(b"large"), single(b"none"), array(b"array", 4, (0, 12)), single(b"small")],
    )
    assert reply.sizes == (len(BIG), 0, 4, 5)
    assert reply.pieces == (
        wire.Piece(0, 0, 0, 1),
        wire.Piece(2, 0, 0, 2),  # a hole of 8 records follows, and costs nothing
        wire.Piece(2, 0, 10, 1),
        wire.Piece(3, 0, 0, 1),
    )
    assert data == BIG + b"aaaabbbb" + b"cccc" + b"small"
    assert reply.epoch > epoch
    landed = (BIG, b"aaaabbbb", b"cccc", b"small")
    assert reply.checksums == container.checksums([memoryview(value) for value in landed])


@on_cluster
async def test_an_update_without_payload_punches_values_and_ranges(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    await container.update(
        OID, b"d", [single(b"s", 1), array(b"a", 1, (0, 9))], [b"x", b"012345678"]
    )
    await container.update(OID, b"d", [single(b"s", 0), array(b"a", 0, (3, 3))], [])
    reply, data = await container.fetch(OID, b"d", [single(b"s"), array(b"a", 1, (0, 9))])
    assert reply.sizes == (0, 1)
    assert data == b"012678"
    assert [(piece.index, piece.count) for piece in reply.pieces] == [(0, 3), (6, 3)]


@on_cluster
async def test_sizes_only(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    await container.update(
        OID, b"d", [single(b"s", len(BIG)), array(b"a", 8, (5, 1))], [BIG, bytes(8)]
    )
    before = held(container)
    iods = [single(b"s"), array(b"a", 0, (0, 100)), single(b"none")]
    reply, data = await container.fetch(OID, b"d", iods, size_only=True)
    assert (reply.sizes, reply.pieces, data) == ((len(BIG), 8, 0), (), b"")
    assert held(container) == before


@on_cluster
async def test_conditions(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    put = container.put
    assert await code_of(put(OID, b"d", {b"a": b"1"}, cond=Cond.DKEY_UPDATE)) == "NONEXIST"
    await put(OID, b"d", {b"a": b"1"}, cond=Cond.DKEY_INSERT)
    assert await code_of(put(OID, b"d", {b"a": b"2"}, cond=Cond.DKEY_INSERT)) == "EXIST"
    assert await code_of(put(OID, b"d", {b"a": b"2"}, cond=Cond.AKEY_INSERT)) == "EXIST"
    per_akey = [single(b"a", 1, Cond.AKEY_UPDATE), single(b"b", 1, Cond.AKEY_UPDATE)]
    call = container.update(OID, b"d", per_akey, [b"3", b"3"], cond=Cond.PER_AKEY)
    assert await code_of(call) == "NONEXIST"
    assert await container.get(OID, b"d", b"a") == b"1"  # all or nothing
    missing = container.fetch(OID, b"d", [single(b"b")], cond=Cond.AKEY_FETCH)
    assert await code_of(missing) == "NONEXIST"
    assert await code_of(container.punch(OID, b"none", cond=Cond.PUNCH)) == "NONEXIST"
    assert await code_of(container.punch(OID, b"none")) == "SUCCESS"


@on_cluster
async def test_punches_hide_keys_and_objects(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    for dkey in (b"d1", b"d2"):
        await container.put(OID, dkey, {b"a": b"1", b"b": b"2"})
    await container.punch(OID, b"d1", b"a")
    assert await container.get(OID, b"d1", b"a") is None
    assert await container.get(OID, b"d1", b"b") == b"2"
    await container.punch(OID, b"d1")
    assert await container.get(OID, b"d1", b"b") is None
    epoch = await container.punch(OID)
    assert await container.get(OID, b"d2", b"a") is None
    assert await container.get(OID, b"d2", b"a", epoch=epoch - 1) == b"1"
    await container.put(OID, b"d2", {b"a": b"again"})
    assert await container.get(OID, b"d2", b"a") == b"again"


Make = Callable[[ContainerHandle], tuple[Procedure[Any, Any], object, bytes]]


def bad_update(
    payload: bytes = b"x",
    iod: Iod | None = None,
    *,
    oid: ObjectId = OID,
    dkey: bytes = b"d",
    epoch: int = 0,
    cond: int = 0,
    checksums: tuple[bytes, ...] = (),
) -> Make:
    def make(container: ContainerHandle) -> tuple[Procedure[Any, Any], object, bytes]:
        request = wire.UpdateRequest(
            container.address(oid, epoch), dkey, (iod or single(b"a", 1),), cond, checksums
        )
        return wire.UPDATE, request, payload

    return make


def bad_handle(container: ContainerHandle) -> tuple[Procedure[Any, Any], object, bytes]:
    address = wire.ShardAddress(new_id(404), OID.hi, OID.lo, 0, 1, 0, container.pool.pool)
    return wire.UPDATE, wire.UpdateRequest(address, b"d", (single(b"a", 1),)), b"x"


def address(container: ContainerHandle, **fields: int) -> wire.ShardAddress:
    values = {"oid_hi": OID.hi, "oid_lo": OID.lo, "shard": 0, "map_version": 1, "epoch": 0} | fields
    return wire.ShardAddress(container.handle, **values, pool=container.pool.pool)


def bad_address(**fields: int) -> Make:
    def make(container: ContainerHandle) -> tuple[Procedure[Any, Any], object, bytes]:
        return (
            wire.FETCH,
            wire.FetchRequest(address(container, **fields), b"d", (single(b"a"),)),
            b"",
        )

    return make


UNKNOWN_TYPE = 200 << 56 | 1 << 48 | 1 << 32


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (bad_update(b"xy"), "IO_INVAL"),  # longer than the descriptors say
        (bad_update(b"x", single(b"a", 2)), "IO_INVAL"),
        (bad_update(b"", single(b"a", 2)), "IO_INVAL"),  # and none at all
        (bad_update(b"x", single(b"a", 0)), "IO_INVAL"),
        (bad_update(b"x", single(b"a", 1 << 40)), "REC2BIG"),
        (bad_update(dkey=b""), "INVAL"),
        (bad_update(epoch=5), "INVAL"),
        (bad_update(cond=1 << 20), "INVAL"),
        (bad_update(), "INVAL"),  # no checksum
        (bad_update(checksums=(b"12345678",) * 2), "INVAL"),  # one too many
        (bad_update(checksums=(b"1234",)), "CSUM"),
        (bad_update(oid=oid_of(redundancy=9)), "NOTSUPPORTED"),
        (bad_update(oid=oid_of(redundancy=0)), "NOTSUPPORTED"),
        (bad_update(oid=ObjectId(UNKNOWN_TYPE, 1)), "INVAL"),
        (bad_update(oid=oid_of(otype=ObjectType.KV_UINT64)), "INVAL"),  # the key has 1 byte
        (bad_handle, "NO_HDL"),
        (bad_address(oid_hi=-1), "INVAL"),
        (bad_address(oid_lo=-1), "INVAL"),
        (bad_address(oid_hi=UNKNOWN_TYPE), "INVAL"),
        (bad_address(shard=-1), "INVAL"),
        (bad_address(shard=1 << 32), "INVAL"),
        (bad_address(epoch=-1), "INVAL"),
    ],
)
@on_cluster
async def test_bad_requests_take_nothing(cluster: Cluster, make: Make, code: str) -> None:
    container = await (await cluster.pool()).container()
    before = held(container)
    procedure, request, payload = make(container)
    views = [memoryview(payload)] if payload else []
    assert await code_of(container.object(procedure, request, payload=views)) == code
    assert held(container) == before
    assert await container.get(OID, b"d", b"a") is None
    assert cluster.targets[0].xstream.context.statistics().bugs == 0


@on_cluster
async def test_reading_needs_no_class_that_is_stored(cluster: Cluster) -> None:
    """A fetch of an object nobody could have written finds nothing."""
    container = await (await cluster.pool()).container()
    assert await container.get(oid_of(redundancy=9), b"d", b"a") is None


@on_cluster
async def test_a_read_only_handle_writes_nothing(cluster: Cluster) -> None:
    pool = await cluster.pool()
    writing = await pool.container("c1")
    await writing.put(OID, b"d", {b"a": b"1"})
    reading = await pool.open("c1", "r")
    assert await code_of(reading.put(OID, b"d", {b"a": b"2"})) == "NO_PERM"
    assert await code_of(reading.punch(OID)) == "NO_PERM"
    assert await reading.get(OID, b"d", b"a") == b"1"


@on_cluster
async def test_a_closed_handle_does_nothing(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    await container.close()
    for call in (
        container.put(OID, b"d", {b"a": b"1"}),
        container.get(OID, b"d", b"a"),
        container.punch(OID),
    ):
        assert await code_of(call) == "NO_HDL"


@pytest.mark.parametrize(
    "kind", ["off", "crc16", "crc32", "crc64", "sha1", "sha256", "sha512", "adler32"]
)
@on_cluster
async def test_checksums_are_demanded_compared_and_given(cluster: Cluster, kind: str) -> None:
    container = await (await cluster.pool()).container(props={"cksum": kind})
    way = "xxh3" if kind == "off" else kind  # values never travel without
    assert container.checksum_type is ChecksumType[way.upper()]
    before = held(container)
    iods = (single(b"a", len(BIG)), single(b"b", 1))
    good = tuple(compute(container.checksum_type, memoryview(v)) for v in (BIG, b"x"))
    for checksums, code in (
        ((), "INVAL"),
        (good[:1], "INVAL"),
        ((good[1], good[0]), "CSUM"),
        ((good[0], b""), "CSUM"),
    ):
        request = update_of(container, *iods, checksums=checksums)
        assert await code_of(raw_update(container, request, BIG + b"x")) == code
    damaged = update_of(container, *iods, checksums=good)
    assert await code_of(raw_update(container, damaged, b"?" + BIG[1:] + b"x")) == "CSUM"
    assert held(container) == before
    assert await container.get(OID, b"d", b"a") is None
    await raw_update(container, damaged, BIG + b"x")
    reply, data = await container.fetch(OID, b"d", [single(b"b"), single(b"a")])
    assert (data, reply.checksums) == (b"x" + BIG, (good[1], good[0]))
    await container.update(OID, b"d", [single(b"b", 0)], [])  # a punch has no checksum
    assert await container.get(OID, b"d", b"b") is None


@on_cluster
async def test_a_deadline_that_passes_before_execution_changes_nothing(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    shard = cluster.shard(container.pool.pool)
    before = held(container)
    # The log is full: requests wait, their deadline passes, room comes.
    log = FullLog(shard)
    calls = [
        asyncio.ensure_future(code_of(container.object(procedure, request, payload=payload)))
        for procedure, request, payload in _triples(
            (wire.UPDATE, update_of(container, single(b"a", len(BIG))), [memoryview(BIG)]),
            (wire.PUNCH, wire.PunchRequest(container.address(OID)), []),
        )
    ]
    await log.waiters(2)
    cluster.clock.advance(61)
    log.make_room()
    assert [await call for call in calls] == ["TIMEDOUT", "TIMEDOUT"]
    assert held(container) == before
    assert await container.get(OID, b"d", b"a") is None


@on_cluster
async def test_a_handle_closed_while_its_update_waits(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    shard = cluster.shard(container.pool.pool)
    before = held(container)
    log = FullLog(shard)
    update = asyncio.ensure_future(code_of(container.put(OID, b"d", {b"a": BIG})))
    await log.waiters(1)
    await container.close()
    log.make_room()
    assert await update == "NO_HDL"
    assert held(container) == before


class Cut:
    """A peer whose bytes end early."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.sent = asyncio.Event()

    def data_to_send(self, nbytes_max: int, /) -> list[bytes]:
        pieces, self.pieces = self.pieces, []
        return pieces

    def data_sent(self) -> None:
        self.sent.set()

    def get_buffer(self, size_hint: int, /) -> memoryview:
        return memoryview(bytearray(4096))

    def buffer_updated(self, nbytes: int, /) -> None:
        raise AssertionError("nothing was to be answered")

    def connection_lost(self, error: DaosError | None, /) -> None:
        pass


@on_cluster
async def test_a_connection_lost_between_header_and_payload_gives_everything_back(
    cluster: Cluster,
) -> None:
    container = await (await cluster.pool()).container()
    before = held(container)
    to = endpoint(1)
    session: CallerSession[None] = CallerSession(
        Limits(), peer=to, source=ANONYMOUS, rpc_id_first=1
    )
    request = wire.UPDATE.encode(update_of(container, single(b"a", len(BIG)), single(b"b", 9)))
    payload = [memoryview(BIG + bytes(9))]
    deadline_ns = cluster.clock.now_ns() + 10**10
    session.request(None, wire.UPDATE.opcode, request, payload, deadline_ns=deadline_ns)
    frame = b"".join(session.data_to_send(1 << 20, 1))
    channel = Cut([frame[: -len(BIG) // 2]])
    link = cluster.system.network.connect(to, channel)
    link.kick()
    await channel.sent.wait()
    during = held(container)
    assert during.blocks_held > before.blocks_held
    assert during.memory > before.memory
    link.close(CanceledError("the client died"))
    await container.get(OID, b"d", b"a")  # by now the target has heard of it
    assert held(container) == before
    assert await container.get(OID, b"d", b"a") is None


@on_cluster
async def test_a_fetch_is_given_back_whatever_becomes_of_it(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    await container.put(OID, b"d", {b"a": BIG, b"b": BIG})
    name = f"pool-{UUID(bytes=container.pool.pool)}-0"
    cluster.directory._open[name].cached = False
    before = held(container)
    await container.get(OID, b"d", b"a")
    image = cluster.directory.images[name]
    for block, content in image.blocks.items():
        if content == BIG[:4096]:
            image.blocks[block] = bytes(4096)
    assert await code_of(container.get(OID, b"d", b"a")) == "CSUM"
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert held(container) == before


@on_cluster
async def test_more_than_a_frame_carries(cluster: Cluster) -> None:
    pool = await cluster.connect((await cluster.create_pool(size=256 << 20)).uuid)
    container = await pool.container()
    part = bytes(4 << 20)
    for at in range(17):
        iod = array(b"a", 1 << 20, (at * 4, 4))
        await container.update(OID, b"d", [iod], [part])
    before = held(container)
    everything = container.fetch(OID, b"d", [array(b"a", 0, (0, 1 << 40))])
    assert 17 * len(part) > FRAME_BYTES_MAX
    assert await code_of(everything) == "REC2BIG"
    assert held(container) == before
    reply, data = await container.fetch(OID, b"d", [array(b"a", 0, (64, 1 << 40))])
    assert (len(data), reply.pieces) == (len(part), (wire.Piece(0, 0, 0, 4),))


@on_cluster
async def test_listing_in_pages(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    oid = oid_of(otype=ObjectType.MULTI_LEXICAL)
    for i in range(25):
        await container.put(oid, b"d%02d" % i, {b"a": b"1"})
    await container.put(oid, b"x", {b"a%02d" % i: b"1" for i in range(25)})

    async def pages(
        procedure: Procedure[wire.KeyListRequest, wire.KeyListReply],
        dkey: bytes = b"",
        prefix: bytes = b"",
    ) -> list[list[bytes]]:
        found, anchor, eof = [], b"", False
        while not eof:
            request = wire.KeyListRequest(container.address(oid), anchor, 10, dkey, prefix)
            reply = await container.object(procedure, request)
            found.append(list(reply.keys))
            anchor, eof = reply.anchor, reply.eof
        return found

    dkeys = await pages(wire.DKEY_LIST, prefix=b"d")
    assert [len(page) for page in dkeys] == [10, 10, 5]
    assert [*chain(*dkeys)] == [b"d%02d" % i for i in range(25)]
    akeys = await pages(wire.AKEY_LIST, dkey=b"x")
    assert [*chain(*akeys)] == [b"a%02d" % i for i in range(25)]


@on_cluster
async def test_listing_extents_and_objects(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    epochs = [
        await container.update(OID, b"d", [array(b"a", 2, (lo, 3))], [b"abcdef"])
        for lo in (0, 10, 2)
    ]
    request = wire.RecxListRequest(container.address(OID), b"d", b"a", b"", 10)
    reply = await container.object(wire.RECX_LIST, request)
    assert (reply.record_size, reply.eof) == (2, True)
    assert [(recx.index, recx.count) for recx in reply.recxs] == [(0, 2), (2, 3), (10, 3)]
    assert reply.epochs == (epochs[0], epochs[2], epochs[1])
    nothing = wire.RecxListRequest(container.address(OID), b"d", b"none", b"", 10)
    assert (await container.object(wire.RECX_LIST, nothing)).recxs == ()

    others = [oid_of(lo) for lo in range(2, 8)]
    for oid in others:
        await container.put(oid, b"d", {b"a": b"1"})
    found, anchor, eof = [], b"", False
    while not eof:
        objects = wire.ObjectListRequest(container.address(OID), anchor, 3)
        page = await container.object(wire.OBJECT_LIST, objects)
        found += [ObjectId(hi, lo) for hi, lo, _ in page.objects]
        anchor, eof = page.anchor, page.eof
    assert sorted(found) == sorted([OID, *others])


@pytest.mark.parametrize("anchor", [b"?", bytes(9), bytes(200), bytes(2000)])
@pytest.mark.parametrize("limit", [1, 0, -1])
@on_cluster
async def test_bad_anchors_and_limits(cluster: Cluster, anchor: bytes, limit: int) -> None:
    container = await (await cluster.pool()).container()
    at = container.address(OID)
    for procedure, request in _pairs(
        (wire.DKEY_LIST, wire.KeyListRequest(at, anchor, limit)),
        (wire.AKEY_LIST, wire.KeyListRequest(at, anchor, limit, b"d")),
        (wire.RECX_LIST, wire.RecxListRequest(at, b"d", b"a", anchor, limit)),
        (wire.OBJECT_LIST, wire.ObjectListRequest(at, anchor, limit)),
    ):
        assert await code_of(container.object(procedure, request)) == "INVAL", procedure


@on_cluster
async def test_requests_for_another_target_are_refused(cluster: Cluster) -> None:
    """Handles are known on every target; tags keep requests apart."""
    container = await (await cluster.pool()).container()
    call = cluster.call(wire.UPDATE, update_of(container, single(b"a", 1)), to=endpoint(0))
    assert await code_of(call) == "UNREG"
    assert await code_of(cluster.call(wire.UPDATE, None, to=endpoint(9))) != "SUCCESS"


def plant_bug(cluster: Cluster, container: ContainerHandle) -> None:
    vos = cluster.targets[0].handle(container.handle, container.pool.pool, write=False).container
    vars(vos)["fetch_begin"] = None


@pytest.mark.expects_warning("bug procedure=obj_fetch")
@pytest.mark.expects_warning("target stopped target=0")
@on_cluster
async def test_a_bug_stops_its_target_at_once_and_no_other(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    await container.put(OID, b"d", {b"a": b"acknowledged"})
    other = dataclasses.replace(container, target=1)
    await other.put(OID, b"d", {b"a": b"elsewhere"})
    plant_bug(cluster, container)
    with pytest.raises(DaosError, match="internal error, TypeError") as caught:
        await container.get(OID, b"d", b"a")
    assert caught.value.code is DER.MISC
    for call in (
        container.get(OID, b"d", b"a"),
        container.put(OID, b"d", {b"a": b"2"}),
        container.punch(OID),
    ):
        with pytest.raises(DaosError, match="target 0 has stopped after an internal error") as gone:
            await call
        assert gone.value.code is DER.SHUTDOWN
    assert await code_of(container.pool.query()) == "SHUTDOWN"
    assert await other.get(OID, b"d", b"a") == b"elsewhere"
    assert await code_of(container.close()) == "SUCCESS"
    await cluster.restart()
    container = await (await cluster.connect(container.pool.pool)).open("c1")
    assert await container.get(OID, b"d", b"a") == b"acknowledged"


@pytest.mark.expects_warning("bug procedure=obj_fetch")
@pytest.mark.expects_warning("target stopped target=0")
@on_cluster
async def test_what_waits_when_its_target_stops_does_not_go_on(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    shard = cluster.shard(container.pool.pool)
    log = FullLog(shard)
    update = asyncio.ensure_future(code_of(container.put(OID, b"d", {b"a": b"2"})))
    await log.waiters(1)
    plant_bug(cluster, container)
    assert await code_of(container.get(OID, b"d", b"a")) == "MISC"
    log.make_room()
    assert await update == "SHUTDOWN"

"""A modification is executed once, however many copies of it arrive; the store's epochs count."""

from __future__ import annotations

import asyncio

import pytest

from daos.base.ids import dtx_id
from daos.base.iod import Cond, Iod
from daos.object import wire
from daos.vos import dtx_table
from tests.unit.embedded.cluster import (
    Cluster,
    ContainerHandle,
    FullLog,
    code_of,
    oid_of,
    on_cluster,
    single,
)
from tests.unit.object.test_durability import GatedDevice, Waiting, gated, settle
from tests.unit.object.test_server import BIG, held

OID = oid_of()
CLIENT = bytes(range(16))
ID = dtx_id(CLIENT, 1)


def update(
    container: ContainerHandle,
    value: bytes,
    *,
    resend: int = 0,
    dtx: bytes = ID,
    cond: int = 0,
    akey: bytes = b"a",
) -> wire.UpdateRequest:
    iod: Iod = single(akey, len(value))
    sums = container.checksums([memoryview(value)] if value else [])
    return wire.UpdateRequest(container.address(OID), b"d", (iod,), cond, sums, dtx, resend)


def punch(
    container: ContainerHandle, *, resend: int = 0, dtx: bytes = ID, cond: int = 0
) -> wire.PunchRequest:
    return wire.PunchRequest(container.address(OID), b"d", (), cond, dtx, resend)


async def send(
    container: ContainerHandle, request: wire.UpdateRequest | wire.PunchRequest, value: bytes = b""
) -> int:
    if isinstance(request, wire.PunchRequest):
        return (await container.object(wire.PUNCH, request)).epoch
    payload = [memoryview(value)] if value else []
    return (await container.object(wire.UPDATE, request, payload=payload)).epoch


def epochs_of(container: ContainerHandle) -> list[int]:
    """At which epochs values were written, and nodes created or punched: read from the tree."""
    meta = container.cluster.shard(container.pool.pool, container.target).meta
    found = set()
    for key, value in meta.cursor():
        if len(key) == 18:  # akey u64, ~epoch u64, ~minor u16
            found.add((1 << 64) - 1 - int.from_bytes(key[8:16], "big"))
        elif key[8] in (3, 4, 5):
            log = value[56 : 56 + int.from_bytes(value[48:50], "little")]
            for at in range(8, len(log), 16):
                found.add(int.from_bytes(log[at : at + 8], "little"))
    return sorted(found)


@pytest.mark.parametrize("value", [b"small", BIG])
@pytest.mark.parametrize("resend", [0, 1])
@on_cluster
async def test_a_copy_gets_the_first_answer(cluster: Cluster, value: bytes, resend: int) -> None:
    container = await (await cluster.pool()).container()
    first = await send(container, update(container, value), value)
    other = await send(container, update(container, b"other", dtx=dtx_id(CLIENT, 2)), b"other")
    before = held(container)
    assert await send(container, update(container, value, resend=resend), value) == first
    assert held(container) == before
    assert await container.get(OID, b"d", b"a") == b"other"
    assert epochs_of(container) == [first, other]


@on_cluster
async def test_a_punch_is_executed_once(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    written = await container.put(OID, b"d", {b"a": b"x"})
    first = await send(container, punch(container))
    again = await container.put(OID, b"d", {b"a": b"new"})
    for resend in (0, 1, 2):
        assert await send(container, punch(container, resend=resend)) == first
    assert await container.get(OID, b"d", b"a") == b"new"
    assert epochs_of(container) == [written, first, again]


@pytest.mark.parametrize("checkpoint", [False, True])
@on_cluster
async def test_a_copy_after_a_restart(cluster: Cluster, checkpoint: bool) -> None:
    container = await (await cluster.pool()).container()
    first = await send(container, update(container, b"x"), b"x")
    removed = await send(container, punch(container, dtx=dtx_id(CLIENT, 2)))
    await cluster.restart(checkpoint=checkpoint)
    pool = await cluster.connect(container.pool.pool)
    container = await pool.open("c1")
    assert await send(container, update(container, b"x", resend=1), b"x") == first
    assert await send(container, punch(container, resend=1, dtx=dtx_id(CLIENT, 2))) == removed
    assert epochs_of(container) == [first, removed]


@on_cluster
async def test_an_insert_that_succeeded_does_not_exist_for_its_copy(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    cond = Cond.DKEY_INSERT
    first = await send(container, update(container, b"x", cond=cond), b"x")
    assert await send(container, update(container, b"x", cond=cond, resend=1), b"x") == first
    mine = update(container, b"y", cond=cond, resend=1, dtx=dtx_id(CLIENT, 2))
    assert await code_of(send(container, mine, b"y")) == "EXIST"


@on_cluster
async def test_a_conditional_punch_that_succeeded_has_a_copy(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    await container.put(OID, b"d", {b"a": b"x"})
    first = await send(container, punch(container, cond=Cond.PUNCH))
    assert await send(container, punch(container, cond=Cond.PUNCH, resend=1)) == first
    other = punch(container, cond=Cond.PUNCH, dtx=dtx_id(CLIENT, 2))
    assert await code_of(send(container, other)) == "NONEXIST"


@on_cluster
async def test_a_failed_one_is_executed_again(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    cond = Cond.DKEY_UPDATE
    first = update(container, b"x", cond=cond)
    assert await code_of(send(container, first, b"x")) == "NONEXIST"
    made = await container.put(OID, b"d", {b"a": b"old"})
    second = await send(container, update(container, b"x", cond=cond, resend=1), b"x")
    assert second > made
    assert await container.get(OID, b"d", b"a") == b"x"


@pytest.mark.parametrize("kind", ["update", "punch"])
@on_cluster
async def test_a_copy_that_comes_behind_a_failed_one_is_not_executed(
    cluster: Cluster, kind: str
) -> None:
    """Its client has been told that nothing was done; a connection given up delivers late."""
    container = await (await cluster.pool()).container()

    def copy(resend: int) -> wire.UpdateRequest | wire.PunchRequest:
        if kind == "update":
            return update(container, b"x", cond=Cond.DKEY_UPDATE, resend=resend)
        return punch(container, cond=Cond.PUNCH, resend=resend)

    assert await code_of(send(container, copy(1), b"x")) == "NONEXIST"
    made = await container.put(OID, b"d", {b"a": b"old"})
    assert await code_of(send(container, copy(0), b"x")) == "OP_CANCELED"
    assert await container.get(OID, b"d", b"a") == b"old"
    assert epochs_of(container) == [made]


@on_cluster
async def test_a_copy_refused_for_space_is_the_end_of_earlier_ones(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    cluster.shard(container.pool.pool).aggregation.set_reclaim("disabled")  # it will not be less
    huge = b"x" * (12 << 20)
    assert await code_of(send(container, update(container, huge, resend=1), huge)) == "NOSPACE"
    assert await code_of(send(container, update(container, b"x"), b"x")) == "OP_CANCELED"
    assert epochs_of(container) == []


@on_cluster
async def test_copies_that_wait_for_room_in_the_log_together(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    before = held(container)
    log = FullLog(cluster.shard(container.pool.pool))
    copies = [
        asyncio.ensure_future(send(container, update(container, BIG, resend=resend), BIG))
        for resend in (0, 1, 2)
    ]
    other = dtx_id(CLIENT, 2)
    punches = [
        asyncio.ensure_future(send(container, punch(container, resend=resend, dtx=other)))
        for resend in (0, 1)
    ]
    await log.waiters(5)
    log.make_room()
    epochs = {await copy for copy in copies}
    assert len(epochs) == 1
    removed = {await copy for copy in punches}
    assert epochs_of(container) == sorted(epochs | removed)
    assert held(container)[1:] == before[1:]


@on_cluster
async def test_a_damaged_copy_of_an_executed_one_has_not_failed(cluster: Cluster) -> None:
    """Its client would take the change for not made, and the first answer may be lost."""
    container = await (await cluster.pool()).container()
    log = FullLog(cluster.shard(container.pool.pool))
    first = asyncio.ensure_future(send(container, update(container, b"x"), b"x"))
    copy = asyncio.ensure_future(send(container, update(container, b"x", resend=1), b"?"))
    await log.waiters(2)
    log.make_room()
    assert await copy == await first
    assert await container.get(OID, b"d", b"a") == b"x"
    alone = update(container, b"x", dtx=dtx_id(CLIENT, 2))
    assert await code_of(send(container, alone, b"?")) == "CSUM"


@gated
async def test_a_copy_waits_for_the_first_ones_flush(
    container: ContainerHandle, device: GatedDevice
) -> None:
    device.shut = True
    first = Waiting(send(container, update(container, b"x"), b"x"))
    await settle(container)
    copies = Waiting(
        send(container, update(container, b"x"), b"x"),
        send(container, update(container, b"x", resend=1), b"x"),
    )
    await settle(container)
    first.check()
    copies.check()
    device.release()
    (epoch,) = await first.answers()
    assert await copies.answers() == [epoch, epoch]


@on_cluster
async def test_ids_that_are_none(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    for dtx in (b"short", bytes(25)):
        assert await code_of(send(container, update(container, b"x", dtx=dtx), b"x")) == "INVAL"
        assert await code_of(send(container, punch(container, dtx=dtx))) == "INVAL"
        request = update(container, b"x", dtx=dtx, resend=1)
        assert await code_of(send(container, request, b"x")) == "INVAL"
    assert await code_of(send(container, update(container, b"x", dtx=b"", resend=1))) == "INVAL"
    assert epochs_of(container) == []
    # Without an id nothing is remembered.
    first = await send(container, update(container, b"x", dtx=b""), b"x")
    assert await send(container, update(container, b"x", dtx=b""), b"x") > first


@on_cluster
async def test_outcomes_that_are_forgotten(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dtx_table, "COUNT_LOW", 4)
    monkeypatch.setattr(dtx_table, "_EVERY", 4)
    container = await (await cluster.pool()).container()
    table = (
        cluster.targets[0].handle(container.handle, container.pool.pool, write=True).container.dtxs
    )
    stamps = []
    for number in range(8):
        cluster.clock.advance(1000)
        stamps.append(cluster.targets[0].xstream.hlc.now())
        dtx = dtx_id(CLIENT, stamps[-1])
        request = update(container, b"x", dtx=dtx, akey=b"%d" % number)
        await send(container, request, b"x")
    await container.get(OID, b"d", b"a")  # a turn of the loop later
    assert len(table) == 4
    for number, stamp in enumerate(stamps):
        request = update(container, b"x", dtx=dtx_id(CLIENT, stamp), akey=b"%d" % number, resend=1)
        expected = "EP_OLD" if number < 4 else "SUCCESS"
        assert await code_of(send(container, request, b"x")) == expected
    assert len(epochs_of(container)) == 8


@on_cluster
async def test_two_clients_with_the_same_stamp(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    ids = [dtx_id(bytes([number]) * 16, 7) for number in range(2)]
    epochs = [
        await send(container, update(container, b"x", dtx=dtx, akey=dtx[:1]), b"x") for dtx in ids
    ]
    assert len(set(epochs)) == 2
    again = [
        await send(container, update(container, b"x", dtx=dtx, akey=dtx[:1], resend=1), b"x")
        for dtx in ids
    ]
    assert again == epochs
    assert epochs_of(container) == epochs

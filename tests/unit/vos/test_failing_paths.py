"""Every way an operation can fail gives back what it held, and changes nothing.

What is compared: blocks by state, holds of blocks and of tree pages, pins, payload memory, the
tree's entries, the next node id, and what a reader sees.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from daos.base.errors import (
    DER,
    AgainError,
    ChecksumError,
    DaosError,
    NoSpaceError,
    NvmeIoError,
    TxRestartError,
)
from daos.base.hlc import Hlc
from daos.base.ids import Epoch
from daos.base.iod import Cond, Iod, IodType, Recx
from daos.bio.meta import MetaContext
from daos.testing.devices import FaultPlan, FaultyDevice, MemoryDevice
from daos.testing.shard import (
    CONTAINER,
    POOL,
    MemoryShard,
    StoppedClock,
    on_shard,
    unit,
)
from daos.vos import keys
from daos.vos.container import VosContainer
from daos.vos.keys import AKEY, DKEY
from daos.vos.pool import VosPool
from daos.vos.records import NODE_MAGIC

OID = unit(1)
OTHER = unit(2)
SINGLE, ARRAY = IodType.SINGLE, IodType.ARRAY
BIG = 9000


def held(meta: MetaContext) -> dict[str, object]:
    """What belongs to operations under way: nothing, when none is."""
    space = meta.space.statistics()
    return {
        "blocks_reserved": space.blocks_reserved,
        "blocks_held": space.blocks_held,
        "pins": space.pins,
        "pages_held": meta._room.pages_held,
        "buffers": meta.memory.statistics().buffers_in_use,
        "waiting": meta.memory.statistics().waiting,
    }


NOTHING: dict[str, object] = {
    "blocks_reserved": 0,
    "blocks_held": 0,
    "pins": 0,
    "pages_held": 0,
    "buffers": 0,
    "waiting": 0,
}


def kept(shard: MemoryShard) -> tuple[object, ...]:
    """What a failed operation leaves as it was, beside what is held."""
    space = shard.meta.space.statistics()
    return (
        shard.meta._tree.entries(),
        space.blocks_allocated,
        space.blocks_free + space.blocks_reserved + space.blocks_kept,
        space.blocks_aging,
        shard.pool.root.next_id,
        shard.meta.lsn_last,
    )


def update(
    c: VosContainer,
    iods: list[Iod],
    *,
    epoch: int = 50,
    dkey: bytes = b"d",
    cond: int = 0,
    minor: int = 1,
) -> None:
    given = c.update_begin(OID, dkey, iods, cond=cond)
    try:
        c.update_end(given, Epoch(epoch), minor=minor)
    except TxRestartError:
        c.update_cancel(given)  # all other errors do
        raise


ONE = [Iod(b"s", SINGLE, BIG), Iod(b"i", SINGLE, 10)]
RANGES = (Recx(0, 8192), Recx(9000, 10))

Doing = Callable[[VosContainer], object]

# The shard has, under dkey "d" at epoch 20: single value "s", array "a" of bytes at [0, 8192).
FAILING: dict[str, tuple[DER, Doing]] = {
    "no akey": (DER.INVAL, lambda c: update(c, [])),
    "akey twice": (DER.NO_PERM, lambda c: update(c, [ONE[0], ONE[0]])),
    "long key": (DER.KEY2BIG, lambda c: update(c, ONE, dkey=bytes(1 << 21))),
    "large value": (DER.REC2BIG, lambda c: update(c, [Iod(b"s", SINGLE, 1 << 32)])),
    "condition bits": (DER.INVAL, lambda c: update(c, ONE, cond=1 << 20)),
    "device full": (DER.NOSPACE, lambda c: update(c, [Iod(b"s", SINGLE, 100 << 20)])),
    "epoch 0": (DER.INVAL, lambda c: update(c, ONE, epoch=0)),
    "minor 0": (DER.INVAL, lambda c: update(c, ONE, minor=0)),
    "below the bound": (DER.TX_RESTART, lambda c: update(c, ONE, epoch=1)),
    "dkey exists": (DER.EXIST, lambda c: update(c, ONE, cond=Cond.DKEY_INSERT)),
    "akey exists": (DER.EXIST, lambda c: update(c, ONE, cond=Cond.AKEY_INSERT)),
    "no such dkey": (DER.NONEXIST, lambda c: update(c, ONE, dkey=b"x", cond=Cond.DKEY_UPDATE)),
    "no such akey": (DER.NONEXIST, lambda c: update(c, ONE, cond=Cond.AKEY_UPDATE)),
    "second akey fails": (
        DER.NO_PERM,
        lambda c: update(c, [ONE[1], Iod(b"new", SINGLE, BIG), Iod(b"a", SINGLE, BIG)]),
    ),
    "array into single": (DER.NO_PERM, lambda c: update(c, [Iod(b"s", ARRAY, 1, RANGES)])),
    "record size": (DER.INVAL, lambda c: update(c, [Iod(b"a", ARRAY, 2, RANGES)])),
    "written already": (DER.NO_PERM, lambda c: update(c, [Iod(b"s", SINGLE, BIG)], epoch=20)),
    "overlap at one epoch": (
        DER.VOS_PARTIAL_UPDATE,
        lambda c: update(c, [Iod(b"a", ARRAY, 1, (Recx(5, 8192),))], epoch=20, minor=16383),
    ),
    "punch below the bound": (DER.TX_RESTART, lambda c: c.punch(OID, Epoch(1))),
    "punch under a write": (DER.TX_RESTART, lambda c: c.punch(OID, Epoch(15), dkey=b"d")),
    "punch of nothing": (
        DER.NONEXIST,
        lambda c: c.punch(OID, Epoch(50), dkey=b"d", akeys=[b"s", b"?"], cond=Cond.PUNCH),
    ),
    "punch of no dkey": (
        DER.NONEXIST,
        lambda c: c.punch(OID, Epoch(50), dkey=b"?", akeys=[b"s"], cond=Cond.PUNCH),
    ),
    "punch of no object": (DER.NONEXIST, lambda c: c.punch(OTHER, Epoch(50), cond=Cond.PUNCH)),
    "punch of a long key": (DER.KEY2BIG, lambda c: c.punch(OID, Epoch(50), dkey=bytes(1 << 21))),
    "fetch of no dkey": (
        DER.NONEXIST,
        lambda c: c.fetch_begin(OID, b"?", ONE, Epoch(50), cond=Cond.DKEY_FETCH),
    ),
    "fetch of no akey": (
        DER.NONEXIST,
        lambda c: c.fetch_begin(
            OID, b"d", [Iod(b"s", SINGLE, 0), Iod(b"?", SINGLE, 0)], Epoch(50), cond=Cond.AKEY_FETCH
        ),
    ),
    "fetch of other records": (
        DER.INVAL,
        lambda c: c.fetch_begin(
            OID, b"d", [Iod(b"s", SINGLE, 0), Iod(b"a", ARRAY, 7, RANGES)], Epoch(50)
        ),
    ),
}


async def prepared(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"s": bytes(BIG)}, epoch=20)
    await shard.write(c, OID, (b"d", b"a"), {0: bytes(8192)}, epoch=20)


async def fails(shard: MemoryShard, c: VosContainer, code: DER, doing: Doing) -> DaosError:
    before = kept(shard)
    with pytest.raises(DaosError) as caught:
        doing(c)
    assert caught.value.code == code, caught.value
    assert held(shard.meta) == NOTHING
    assert kept(shard) == before
    shard.meta.space.check()
    shard.meta.memory.check()
    return caught.value


@pytest.mark.parametrize("name", FAILING)
@on_shard
async def test_what_fails_keeps_nothing(shard: MemoryShard, c: VosContainer, name: str) -> None:
    await prepared(shard, c)
    code, doing = FAILING[name]
    await fails(shard, c, code, doing)
    await fails(shard, c, code, doing)
    assert await shard.get(c, OID, b"d", b"s", epoch=99) == bytes(BIG)


@on_shard
async def test_hash_collisions_made_on_purpose(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepared(shard, c)
    monkeypatch.setattr(keys, "TIES_MAX", 0)
    await fails(shard, c, DER.DOS, lambda c: update(c, [Iod(b"new", SINGLE, BIG)]))
    await fails(shard, c, DER.DOS, lambda c: c.punch(OID, Epoch(50), dkey=b"new"))


@on_shard
async def test_no_payload_memory(shard: MemoryShard, c: VosContainer) -> None:
    """Nothing is kept for those who come again."""
    await prepared(shard, c)
    pool = shard.meta.memory
    buffers = [pool.acquire(16 << 20) for _ in range(4)]
    for iods in ([Iod(b"s", SINGLE, BIG)], ONE, [Iod(b"a", ARRAY, 1, RANGES)]):
        before = kept(shard)
        with pytest.raises(DaosError) as caught:
            update(c, iods)
        assert caught.value.code == DER.AGAIN
        assert held(shard.meta) == NOTHING | {"buffers": 4}
        assert kept(shard) == before
    for buffer in buffers:
        assert buffer is not None
        buffer.release()


@on_shard
async def test_a_container_destroyed_under_an_update(shard: MemoryShard, c: VosContainer) -> None:
    given = c.update_begin(OID, b"d", ONE)
    shard.pool.destroy_container(CONTAINER)
    await fails(shard, c, DER.NO_HDL, lambda c: c.update_end(given, Epoch(50)))
    c.update_cancel(given)
    assert held(shard.meta) == NOTHING


@on_shard
async def test_the_log_is_full(shard: MemoryShard, c: VosContainer) -> None:
    """Those who did not ask for room are refused, and come again."""
    await prepared(shard, c)
    dkey = bytes(1 << 20)
    with pytest.raises(AgainError):  # noqa: PT012
        for count in range(100):
            given = c.update_begin(OID, b"%d" % count + dkey[10:], [Iod(b"s", SINGLE, 10)])
            c.update_end(given, Epoch(50 + count))
    assert held(shard.meta) == NOTHING
    await fails(shard, c, DER.AGAIN, lambda c: c.punch(OID, Epoch(999), dkey=b"?" + dkey[1:]))
    room: asyncio.Future[DaosError | None] = asyncio.get_running_loop().create_future()
    shard.meta.when_room(room.set_result)
    assert await room is None
    update(c, ONE, epoch=1000)
    await shard.meta.durable(shard.meta.lsn_last)
    assert held(shard.meta) == NOTHING


@on_shard
async def test_a_transaction_larger_than_the_log_takes(shard: MemoryShard, c: VosContainer) -> None:
    iods = [Iod(b"%d" % i + bytes((1 << 20) - 10), SINGLE, 10) for i in range(3)]
    await fails(shard, c, DER.REC2BIG, lambda c: update(c, iods))


@on_shard
async def test_the_live_tree_refuses(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepared(shard, c)

    def full(pairs: object, nbytes: int) -> None:
        raise NoSpaceError("live tree: full")

    monkeypatch.setattr(shard.meta._tree, "put_all", full)
    await fails(shard, c, DER.NOSPACE, lambda c: update(c, [*ONE, Iod(b"a", ARRAY, 1, RANGES)]))
    await fails(shard, c, DER.NOSPACE, lambda c: c.punch(OID, Epoch(50)))
    # The same extent at the same epoch: frees the old blocks in the same transaction.
    same = [Iod(b"a", ARRAY, 1, (Recx(0, 8192),))]
    await fails(shard, c, DER.NOSPACE, lambda c: update(c, same, epoch=20, minor=16383))


async def on_faulty(
    body: Callable[[MemoryShard, VosContainer, FaultyDevice], Coroutine[object, object, None]],
) -> None:
    """A prepared shard on a device that can be made to fail."""
    with tempfile.TemporaryDirectory() as live_path:
        inner = MemoryDevice(64 << 20)
        device = FaultyDevice(inner, random.Random(1))
        shard = MemoryShard(inner, Path(live_path), 4096)
        await MetaContext.format(device, uuid=POOL, config=shard.config)
        shard.meta = await MetaContext.open(device, config=shard.config, live_path=Path(live_path))
        shard.pool = VosPool(shard.meta, hlc=Hlc(StoppedClock()))
        c = shard.container()
        await prepared(shard, c)
        await body(shard, c, device)
        await shard.meta.close(checkpoint=False)


def test_the_device_fails_under_an_update() -> None:
    """In flight, waiting behind it, and begun: each is told, each gives its memory back."""

    async def story(shard: MemoryShard, c: VosContainer, device: FaultyDevice) -> None:
        device.plan = FaultPlan(fail_flush=device.flushes_seen + 1)
        begun = c.update_begin(OID, b"d", ONE)
        lsns = []
        for epoch in (50, 60):
            given = c.update_begin(OID, b"d", ONE)
            lsns.append(c.update_end(given, Epoch(epoch)))
            shard.meta._wal.seal()
        for lsn in lsns:
            with pytest.raises(NvmeIoError):
                await shard.meta.durable(lsn)
        with pytest.raises(NvmeIoError):
            c.update_end(begun, Epoch(70))
        assert held(shard.meta) == NOTHING
        with pytest.raises(NvmeIoError):
            update(c, ONE, epoch=80)
        with pytest.raises(NvmeIoError):
            c.punch(OID, Epoch(80))
        assert held(shard.meta) == NOTHING

    asyncio.run(on_faulty(story))


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("fault", ["error", "damage"])
def test_a_read_that_fails(cached: bool, fault: str) -> None:
    async def story(shard: MemoryShard, c: VosContainer, device: FaultyDevice) -> None:
        shard.device.cached = cached
        number = frozenset({device.reads_seen + 1, device.reads_seen + 2})
        if fault == "error":
            device.plan = FaultPlan(fail_reads=number)
        else:
            device.plan = FaultPlan(flip_reads=number)
        iods = [Iod(b"s", SINGLE, 0), Iod(b"a", ARRAY, 0, RANGES)]
        with pytest.raises(NvmeIoError if fault == "error" else ChecksumError):
            await shard.fetch(c, OID, b"d", iods, epoch=99)
        assert held(shard.meta) == NOTHING

    asyncio.run(on_faulty(story))


@on_shard
async def test_a_fetch_that_ends_while_it_reads_or_waits(
    shard: MemoryShard, c: VosContainer
) -> None:
    await prepared(shard, c)
    shard.device.cached = False
    iods = [Iod(b"s", SINGLE, 0)]
    for busy in (False, True):
        buffers = [shard.meta.memory.acquire(16 << 20) for _ in range(4 * busy)]
        fetch = c.fetch_begin(OID, b"d", iods, Epoch(99))
        c.fetch_read(fetch, lambda error: pytest.fail("told after the end"))
        c.fetch_end(fetch)
        c.fetch_end(fetch)
        assert shard.meta.space.statistics().pins == 0
        for buffer in buffers:
            assert buffer is not None
            buffer.release()
        for _ in range(5):
            await asyncio.sleep(0)
        assert held(shard.meta) == NOTHING


@on_shard
async def test_damage_in_the_tree(shard: MemoryShard, c: VosContainer) -> None:
    """Any record of the path: an error, nothing held, and never "not found"."""
    await prepared(shard, c)
    await shard.put(c, OID, b"d", {b"i": b"inline"}, epoch=30)
    iods = [Iod(b"s", SINGLE, 0), Iod(b"i", SINGLE, 0), Iod(b"a", ARRAY, 0, RANGES)]
    records = list(shard.meta.cursor())[2:]  # behind root and container
    assert len(records) == 8
    for key, value in records:
        tx = shard.meta.begin()
        tx.put(key, value[:-1] + bytes([value[-1] ^ 1]))
        await shard.meta.durable(tx.commit())
        c.nodes.cache.clear()
        attempts: list[Doing] = [lambda c: c.fetch_begin(OID, b"d", iods, Epoch(99))]
        if value[0] == NODE_MAGIC:
            attempts += [
                lambda c: update(c, [Iod(iod.akey, iod.type, 1, iod.recxs) for iod in iods]),
                lambda c: c.punch(OID, Epoch(99), dkey=b"d", akeys=[b"s", b"i", b"a"]),
                lambda c: c.list_dkeys(OID, Epoch(99), limit=9),
                lambda c: c.list_akeys(OID, b"d", Epoch(99), limit=9),
            ]
        for attempt in attempts[: 3 if value[4] == AKEY else 4 if value[4] == DKEY else 5]:
            await fails(shard, c, DER.CSUM, attempt)
        tx = shard.meta.begin()
        tx.put(key, value)
        await shard.meta.durable(tx.commit())
        c.nodes.cache.clear()
    assert await shard.get(c, OID, b"d", b"s", epoch=99) == bytes(BIG)

"""The short ways of the store beside its long ones: the same stories, the same trees."""

from __future__ import annotations

import asyncio
import random

import pytest

from daos.base.errors import DaosError
from daos.base.ids import Epoch, ObjectType, dtx_id
from daos.base.iod import Cond, Iod, IodType, Recx
from daos.testing.shard import MemoryShard, memory_shard, unit
from daos.vos import known, update
from daos.vos.container import VosContainer

SINGLE, ARRAY = IodType.SINGLE, IodType.ARRAY
SIZES = (0, 1, 100, 4095, 4096, 5000, 40_000)
CONDS = (0, 0, 0, 0, 0, 0, int(Cond.DKEY_INSERT), int(Cond.AKEY_UPDATE), int(Cond.AKEY_INSERT))

Outcome = tuple[object, ...]


def iods_of(rng: random.Random) -> list[Iod]:
    """One single value, nearly always; a range, or two values."""
    size = rng.choice(SIZES)
    if rng.random() < 0.15:
        lo = rng.choice((0, 100, 4096))
        return [Iod(b"array", ARRAY, rng.choice((0, 1, 1)), (Recx(lo, max(size, 1)),))]
    names = rng.sample((b"a", b"b", b"array"), 2 if rng.random() < 0.1 else 1)
    return [Iod(name, SINGLE, size) for name in names]


def dkey_of(rng: random.Random) -> bytes:
    """One of a few, or one that may be new; some too long for the tree, or the cache."""
    if rng.random() < 0.7:
        return rng.choice((b"d", b"e", b"g", b"h", b"f" * 300))
    return b"%d" % rng.randint(0, 99) * rng.choice((1, 1, 100, 300))


async def story(shard: MemoryShard, c: VosContainer, seed: int, otype: ObjectType) -> list[Outcome]:
    """What happened, and what is left."""
    rng, epoch, outcomes = random.Random(seed), 10, list[Outcome]()
    for number in range(250):
        oid, dkey = unit(rng.randint(1, 2), otype), dkey_of(rng)
        epoch += rng.choice((1, 1, 1, 1, 1, 5, 0, -3))
        what = rng.random()
        try:
            if what < 0.02:
                akeys = rng.choice(((), (b"a",)))
                lsn = c.punch(unit(2, otype), Epoch(epoch), dkey=dkey, akeys=akeys, cond=0)
                outcomes.append(("punch", lsn))
            elif what < 0.25:
                iod = Iod(rng.choice((b"a", b"b")), SINGLE, 0)
                fetch, views = await shard.fetch(c, oid, dkey, [iod], epoch=epoch)
                outcomes.append((fetch.sizes, fetch.pieces, fetch.lsn, views))
            else:
                iods, cond = iods_of(rng), rng.choice(CONDS)
                begun = c.update_begin(oid, dkey, iods, cond=cond)
                for destination in begun.destinations:
                    destination[:] = rng.randbytes(len(destination))
                id_ = dtx_id(b"client of 16 B..", number + 1) if rng.random() < 0.5 else b""
                lsn = c.update_end(begun, Epoch(epoch), dtx=id_)
                outcomes.append(("update", lsn, shard.meta.epoch_highest))
            if rng.random() < 0.3:
                await shard.meta.durable(shard.meta.lsn_last)
        except DaosError as error:
            outcomes.append((error.code, error.lsn))
            if what >= 0.25:
                c.update_cancel(begun)
    await shard.meta.durable(shard.meta.lsn_last)
    space, memory = shard.meta.space.statistics(), shard.meta.memory.statistics()
    outcomes.append((space.blocks_allocated, space.blocks_held, space.blocks_reserved))
    outcomes.append((memory.bytes_in_use, shard.pool.root.next_id, shard.meta._room.pages_held))
    left = tree_of(shard)
    await shard.reopen()
    assert tree_of(shard) == left, "what the log says"
    return outcomes + left


def tree_of(shard: MemoryShard) -> list[Outcome]:
    cursor = shard.meta.cursor()
    assert cursor.first()
    return list(cursor)


def played(seed: int) -> list[Outcome]:
    otype = (ObjectType.MULTI_HASHED, ObjectType.MULTI_LEXICAL)[seed % 2]

    async def main() -> list[Outcome]:
        async with memory_shard() as shard:
            return await story(shard, shard.container(), seed, otype)

    return asyncio.run(main())


def test_the_short_ways_leave_what_the_long_ones_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = fresh = 0
    end_known, make_fresh = known.end_known, known._fresh

    def counted(*args: object) -> object:
        nonlocal taken
        lsn = end_known(*args)  # type: ignore[arg-type]  # handed through
        taken += lsn is not None
        return lsn

    def counted_fresh(*args: object) -> object:
        nonlocal fresh
        edit = make_fresh(*args)  # type: ignore[arg-type]  # handed through
        fresh += edit is not None
        return edit

    monkeypatch.setattr(update, "end_known", counted)
    monkeypatch.setattr(known, "_fresh", counted_fresh)
    short = [played(seed) for seed in range(10)]
    assert fresh > 60, "the stories have something to tell"
    assert taken - fresh > 60, "of both ways"
    monkeypatch.setattr(update, "end_known", lambda *_: None)
    monkeypatch.setattr(update, "plan_plain", lambda *_, **__: None)
    monkeypatch.setattr("daos.vos.fetch.read_now", lambda *_: None)
    monkeypatch.setattr("daos.vos.fetch.is_plain", lambda *_: False)
    monkeypatch.setattr("daos.vos.nodes.Nodes.take_free", lambda *_: None)
    for seed, story_told in enumerate(short):
        assert played(seed) == story_told, seed

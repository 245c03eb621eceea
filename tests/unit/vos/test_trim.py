from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from daos.base.errors import NoSpaceError
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos import merge
from daos.vos.container import VosContainer
from daos.vos.reserve import Taken
from daos.vos.trim import _Chunks, _few

OID, DKEY, AKEY = unit(1), b"dkey", b"akey"
CHUNK = 32 << 10


@contextmanager
def full() -> Iterator[None]:
    """Nothing that was merged finds a place."""

    def take(*_: object) -> Taken:
        raise NoSpaceError("full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "take", take)
        yield


def allocated(shard: MemoryShard) -> int:
    return shard.meta.space.statistics().blocks_allocated


async def content(shard: MemoryShard, c: VosContainer, hi: int, epoch: int) -> bytes:
    return await shard.read(c, OID, (DKEY, AKEY), (0, hi), epoch=epoch)


@on_shard
async def test_what_is_hidden_goes_by_chunks(shard: MemoryShard, c: VosContainer) -> None:
    """Of ten chunks one and a bit are hidden in the middle, and then the end."""
    old = random.Random(1).randbytes(10 * CHUNK + 5)
    await shard.write(c, OID, (DKEY, AKEY), {0: old}, epoch=10)
    await shard.write(c, OID, (DKEY, AKEY), {3 * CHUNK - 1: bytes(2 * CHUNK)}, epoch=11)
    await shard.write(c, OID, (DKEY, AKEY), {8 * CHUNK: bytes(2 * CHUNK + 5)}, epoch=12)
    seen = await content(shard, c, len(old), 20)
    before = allocated(shard)
    with full():
        work = c.aggregate(0, 15)
        await shard.finish(work)
    assert work.statistics.no_space
    assert work.statistics.trimmed_recs == 1
    assert before - allocated(shard) == (1 + 2) * CHUNK // 4096 + 1
    assert await content(shard, c, len(old), 20) == seen
    shard.meta.space.check()
    await shard.reopen()
    assert await content(shard, shard.container(), len(old), 20) == seen
    await shard.finish(shard.container().aggregate(0, 15))
    assert await content(shard, shard.container(), len(old), 20) == seen
    assert allocated(shard) == -(-len(old) // 4096)


@on_shard
async def test_shared_blocks_and_odd_records_are_left_alone(
    shard: MemoryShard, c: VosContainer
) -> None:
    for lo, byte in ((0, b"a"), (1000, b"b")):
        await shard.write(
            c, OID, (DKEY, AKEY), {lo: byte * 12 * 9000}, epoch=10 + lo, record_size=12
        )
    with full():
        work = c.aggregate(0, 2000)
        await shard.finish(work)
    assert work.statistics.no_space
    assert not work.statistics.trimmed_recs


@pytest.mark.parametrize("seed", range(8))
@on_shard
async def test_every_reader_sees_what_he_saw(
    shard: MemoryShard, c: VosContainer, seed: int
) -> None:
    rng = random.Random(seed)
    hi = 40 * CHUNK
    epochs = range(10, 40)
    for epoch in epochs:
        lo = rng.randrange(hi)
        if rng.random() < 0.3:
            lo -= lo % CHUNK
        data = rng.randbytes(rng.randrange(1, min(hi - lo, 12 * CHUNK) + 1))
        await shard.write(c, OID, (DKEY, AKEY), {lo: data}, epoch=epoch)
    lo, top = sorted(rng.sample(range(9, 42), 2))
    readers = [epoch for epoch in (*epochs, 99) if epoch < lo or epoch >= top]
    seen = {epoch: await content(shard, c, hi, epoch) for epoch in readers}
    before = allocated(shard)
    with full():
        await shard.finish(c.aggregate(lo, top))
    assert allocated(shard) <= before
    shard.meta.space.check()
    for epoch in readers:
        assert await content(shard, c, hi, epoch) == seen[epoch]
    await shard.reopen()
    await shard.finish(shard.container().aggregate(lo, top))
    for epoch in readers:
        assert await content(shard, shard.container(), hi, epoch) == seen[epoch]


def test_many_parts_become_few() -> None:
    parts = [_Chunks(first, first + 1) for first in [n * n for n in range(100)]]
    few = _few(parts)
    assert len(few) == 32
    assert (few[0], few[-1]) == (_Chunks(0, 68 * 68 + 1), _Chunks(99 * 99, 99 * 99 + 1))
    assert _few(parts[:32]) == parts[:32]

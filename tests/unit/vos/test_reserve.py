from __future__ import annotations

import random
from itertools import pairwise

import pytest

from daos.base.errors import AgainError, DaosError, NoSpaceError
from daos.base.ids import Epoch
from daos.bio.device import BLOCK
from daos.bio.memory import AlignedPool
from daos.bio.space import Hint, Space
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.container import VosContainer
from daos.vos.reserve import Taken, Value, give_back, take

MIB = 1 << 20


def value(nbytes: int, record_size: int = 0, *, inline: bool = False) -> Value:
    return Value(nbytes, record_size, 0 if inline else -(-nbytes // BLOCK))


def fragmented(runs: list[int]) -> Space:
    """Free runs of these many blocks, an allocated one behind each."""
    space = Space(10, sum(runs) + len(runs))
    space.hold(sum(runs) + len(runs))
    taken = [(space.reserve(count), space.reserve(1)) for count in runs]
    for free, kept in taken:
        space.publish(kept)
        space.cancel(free)
    space.unhold(sum(runs) + len(runs))
    return space


def state(space: Space) -> tuple[int, int, int]:
    statistics = space.statistics()
    return statistics.blocks_free, statistics.blocks_reserved, statistics.fragments_free


def check(taken: Taken, values: list[Value]) -> None:
    assert [len(destination) for destination in taken.destinations] == [v.nbytes for v in values]
    for number, (one, spans) in enumerate(zip(values, taken.spans, strict=True)):
        data = random.Random(number).randbytes(one.nbytes)
        taken.destinations[number][:] = data
        assert b"".join(span.memory for span in spans) == data, "spans are the destination"
        for span in spans[:-1]:
            assert span.nbytes % BLOCK == 0
            assert not one.record_size or span.nbytes % one.record_size == 0
        if one.blocks:
            assert [span.run.count for span in spans if span.run] == [
                -(-span.nbytes // BLOCK) for span in spans
            ]
        else:
            assert [span.run for span in spans] == [None]


@pytest.mark.parametrize(
    "values",
    [
        [],
        [value(10, inline=True)],
        [value(4096)],
        [value(4097)],
        [value(5000), value(9, inline=True), value(8192, 4), value(70000, 7)],
    ],
)
def test_take_and_give_back(values: list[Value]) -> None:
    space, pool, hint = Space(10, 1000), AlignedPool(), Hint()
    before = state(space)
    blocks = sum(one.blocks for one in values)
    space.hold(blocks)
    taken = take(space, pool, values, hint)
    check(taken, values)
    assert len(taken.runs) == sum(1 for one in values if one.blocks)
    # One contiguous run for all of them.
    for one, another in pairwise(taken.runs):
        assert another.block == one.block + one.count
    taken.destinations.clear()
    taken.spans.clear()
    give_back(space, taken, hint)
    space.unhold(blocks)
    space.check()
    assert state(space) == before
    assert pool.statistics().buffers_in_use == 0


@pytest.mark.parametrize(
    ("runs", "values"),
    [
        ([4, 4, 4], [value(12 * BLOCK - 5)]),
        ([2, 3, 5], [value(10 * BLOCK, 1)]),
        ([4, 4, 4], [value(6 * BLOCK), value(5 * BLOCK, 512)]),
        ([1] * 20, [value(20 * BLOCK)]),
        ([9, 9], [value(7, inline=True), value(17 * BLOCK), value(3, inline=True)]),
    ],
)
def test_fragmented_space_takes_them_all_the_same(runs: list[int], values: list[Value]) -> None:
    space, pool, hint = fragmented(runs), AlignedPool(), Hint()
    before = state(space)
    blocks = sum(one.blocks for one in values)
    space.hold(blocks)
    taken = take(space, pool, values, hint)
    check(taken, values)
    assert len(taken.runs) > sum(1 for one in values if one.blocks)
    taken.destinations.clear()
    taken.spans.clear()
    give_back(space, taken, hint)
    space.unhold(blocks)
    space.check()
    assert state(space) == before


@pytest.mark.parametrize(
    "values", [[value(6 * BLOCK, 6 * BLOCK)], [value(BLOCK), value(6 * BLOCK, 6 * BLOCK)]]
)
def test_a_record_is_not_cut(values: list[Value]) -> None:
    space, pool = fragmented([4, 4, 4]), AlignedPool()
    before = state(space)
    blocks = sum(one.blocks for one in values)
    space.hold(blocks)
    with pytest.raises(NoSpaceError):
        take(space, pool, values, Hint())
    space.unhold(blocks)
    assert state(space) == before


@pytest.mark.parametrize("runs", [[1000], [300] * 3, [100] * 8])
@pytest.mark.parametrize("count", [1, 2])
def test_no_memory(runs: list[int], count: int) -> None:
    space, pool = fragmented(runs), AlignedPool(MIB)
    kept = pool.acquire(MIB)
    assert kept is not None
    before = state(space)
    values = [value(MIB // count)] * count
    space.hold(256)
    with pytest.raises(AgainError):
        take(space, pool, values, Hint())
    assert state(space) == before
    kept.release()
    with pytest.raises(DaosError):
        take(space, pool, [value(MIB + 1)], Hint())
    assert state(space) == before


@on_shard
async def test_a_fragmented_value_is_read_as_one(shard: MemoryShard, c: VosContainer) -> None:
    space = shard.meta.space
    taken = []
    space.hold(space.blocks_free)
    while space.statistics().blocks_free > 200:
        taken.append(space.reserve(10))
    while space.statistics().blocks_free:
        taken.append(space.reserve(1))
    for run in taken[::2]:
        space.cancel(run)
    space.unhold(space.statistics().blocks_held)
    single, array = (random.Random(n).randbytes(200_001) for n in range(2))
    oid, names = unit(2), (b"d", b"a")
    await shard.put(c, oid, b"d", {b"s": single}, epoch=20)
    await shard.write(c, oid, names, {5: array}, epoch=20)
    space.check()
    for _ in range(2):
        assert await shard.get(c, oid, b"d", b"s", epoch=1 << 40) == single
        got = await shard.read(c, oid, names, (0, 200_010), epoch=1 << 40)
        assert got == b"....." + array + b"...."
        entries = c.list_extents(oid, *names, Epoch(30), limit=99).entries
        assert len(entries) > 1
        assert (entries[0].lo, entries[-1].hi) == (5, 200_006)
        assert all(a.hi == b.lo for a, b in pairwise(entries))
        await shard.reopen()
        c = shard.container()

"""How much one turn of the loop does at most, counted in calls of the tree and not in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from daos.base.iod import Iod, IodType, Recx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.container import VosContainer
from daos.vos.work import Want, Work
from tests.unit.vos.tree_calls import Counts

OID: Final = unit(1)


async def longest_step(shard: MemoryShard, work: Work, counts: Counts) -> int:
    """The calls of the longest step, until the work is done."""
    longest, step = 0, work.step

    def counted() -> Want:
        nonlocal longest
        counts.take()
        want = step()
        longest = max(longest, counts.take())
        return want

    vars(work)["step"] = counted
    await shard.finish(work)
    return longest


async def dkeys(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(400):
        await shard.put(c, OID, b"%d" % number, {b"a": b"x"}, epoch=10 + number)


async def versions(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(600):
        await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10 + number)


async def extents(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(600):
        iods = [Iod(b"a", IodType.ARRAY, 1, (Recx(4096 * number, 4096),))]
        await shard.update(c, OID, b"d", iods, bytes(4096), epoch=10 + number)


# Calls of the tree in one step: 1 ms or so, with what is around them.
@pytest.mark.parametrize(
    ("write", "calls_max"),
    [(dkeys, 400), (versions, 500), (extents, 1000)],
    ids=["dkeys", "versions", "extents"],
)
@on_shard
async def test_a_step_of_an_aggregation_is_bounded(
    shard: MemoryShard,
    c: VosContainer,
    write: Callable[[MemoryShard, VosContainer], Awaitable[None]],
    calls_max: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await write(shard, c)
    work = c.aggregate(0, 1000)
    assert await longest_step(shard, work, Counts(shard, monkeypatch)) <= calls_max
    assert work.clean

"""How much one turn of the loop does at most, counted in calls of the tree and not in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import lmdb
import pytest

from daos.base.iod import Iod, IodType, Recx
from daos.bio.tx import Tx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.container import VosContainer
from daos.vos.work import Want, Work

OID: Final = unit(1)


class CountingCursor:
    """A cursor whose every move and look counts."""

    def __init__(self, inner: lmdb.Cursor[bytes], counts: Counts) -> None:
        self._inner = inner
        self._counts = counts

    def __getattr__(self, name: str) -> object:
        self._counts.calls += 1
        return getattr(self._inner, name)


class Counts:
    """Calls of one shard's tree since the last look."""

    def __init__(self, shard: MemoryShard, patch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        cursor, get = shard.meta.cursor, shard.meta.get
        put, delete = Tx.put, Tx.delete

        def counted_get(key: bytes) -> bytes | None:
            self.calls += 1
            return get(key)

        def counted_put(tx: Tx, key: bytes, value: bytes) -> None:
            self.calls += 1
            put(tx, key, value)

        def counted_delete(tx: Tx, key: bytes) -> None:
            self.calls += 1
            delete(tx, key)

        patch.setattr(shard.meta, "cursor", lambda: CountingCursor(cursor(), self))
        patch.setattr(shard.meta, "get", counted_get)
        patch.setattr(Tx, "put", counted_put)
        patch.setattr(Tx, "delete", counted_delete)

    def take(self) -> int:
        calls, self.calls = self.calls, 0
        return calls


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

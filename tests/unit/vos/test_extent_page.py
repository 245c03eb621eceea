"""Pages of visible extents, however much is hidden; against a list of who wrote each record."""

from __future__ import annotations

import random
import struct

import pytest

from daos.base.errors import InvalidError
from daos.base.ids import Epoch
from daos.base.iod import Iod, IodType, Recx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos import anchor as anchors
from daos.vos import extent_page
from daos.vos.container import VosContainer
from tests.unit.vos.tree_calls import Counts

OID = unit(1)
NAMES = (b"d", b"a")
SIZE = 400

Entry = tuple[int, int, int]  # lo, hi, epoch


def listed(c: VosContainer, epoch: int, limit: int, *, reverse: bool) -> tuple[list[Entry], int]:
    """All entries, and in how many pages."""
    found, anchor, eof, pages = list[Entry](), b"", False, 0
    while not eof:
        page = c.list_extents(
            OID, *NAMES, Epoch(epoch), anchor=anchor, limit=limit, reverse=reverse
        )
        assert len(page.entries) <= limit
        found += [(each.lo, each.hi, each.epoch) for each in page.entries]
        anchor, eof, pages = page.anchor, page.eof, pages + 1
        assert pages < 10_000
    return found, pages


@pytest.mark.parametrize("seed", range(20))
@on_shard
async def test_any_array(
    shard: MemoryShard, c: VosContainer, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(extent_page, "_WINDOWS", rng.choice((1, 2)))
    monkeypatch.setattr(extent_page, "_STACKS", rng.choice((1, 2, 5)))
    wrote: list[int] = [0] * SIZE  # the epoch; negative: a hole
    for epoch in range(10, 10 + rng.choice((1, 10, 40))):
        width = rng.choice((1, 1, 3, 20, 150, SIZE))
        lo = rng.randrange(SIZE - width + 1)
        if rng.random() < 0.2:
            iods = [Iod(b"a", IodType.ARRAY, 0, (Recx(lo, width),))]
            await shard.update(c, OID, b"d", iods, b"", epoch=epoch)
            wrote[lo : lo + width] = [-epoch] * width
        else:
            await shard.write(c, OID, NAMES, {lo: b"x" * width}, epoch=epoch)
            wrote[lo : lo + width] = [epoch] * width
    expected = list[Entry]()
    for at, epoch in enumerate(wrote):
        if epoch > 0 and expected and expected[-1][1:] == (at, epoch):
            expected[-1] = (expected[-1][0], at + 1, epoch)
        elif epoch > 0:
            expected.append((at, at + 1, epoch))
    for limit in (1, 2, 7, 1000):
        assert listed(c, 100, limit, reverse=False)[0] == expected
        assert listed(c, 100, limit, reverse=True)[0] == expected[::-1]


@pytest.mark.parametrize("reverse", [False, True])
@on_shard
async def test_a_page_is_bounded(
    shard: MemoryShard, c: VosContainer, reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3,000 extents below one that hides them all, which is told once."""
    for number in range(3000):
        await shard.write(c, OID, NAMES, {2 * number: b"x"}, epoch=10 + number)
    await shard.write(c, OID, NAMES, {0: bytes(6000)}, epoch=5000)
    counts = Counts(shard, monkeypatch)
    longest, listing = 0, c.list_extents

    def counted(*arguments: object, **options: object) -> object:
        nonlocal longest
        counts.take()
        page = listing(*arguments, **options)
        longest = max(longest, counts.take())
        return page

    monkeypatch.setattr(c, "list_extents", counted)
    assert listed(c, 6000, 256, reverse=reverse) == ([(0, 6000, 5000)], 3000 // 512 + 1)
    assert longest < 6000


@on_shard
async def test_anchors_that_somebody_made(shard: MemoryShard, c: VosContainer) -> None:
    await shard.write(c, OID, NAMES, {0: b"12", 5: b"34"}, epoch=10)

    def go_on(position: bytes, *, reverse: bool) -> list[tuple[int, int]]:
        page = c.list_extents(OID, *NAMES, Epoch(20), limit=1, reverse=reverse)
        _, context = struct.unpack_from(">BQ", page.anchor)
        anchor = anchors.emit(context, position)
        page = c.list_extents(OID, *NAMES, Epoch(20), anchor=anchor, limit=9, reverse=reverse)
        return [(entry.lo, entry.hi) for entry in page.entries]

    assert go_on(struct.pack(">Q", 1), reverse=False) == [(1, 2), (5, 7)]
    assert go_on(struct.pack(">QQ", 1, 0), reverse=False) == [(0, 2), (5, 7)]
    assert go_on(struct.pack(">QQ", 6, 6), reverse=True) == [(5, 7), (0, 2)]
    for position, reverse in ((">QQ", False), (">QQ", True)):
        edges = (1, 1) if not reverse else (6, 5)
        with pytest.raises(InvalidError, match="goes on at"):
            go_on(struct.pack(position, *edges), reverse=reverse)
    for nbytes in (1, 12, 24):
        with pytest.raises(InvalidError, match="none among extents"):
            go_on(bytes(nbytes), reverse=False)

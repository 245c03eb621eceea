"""Holds: the bound that saves the arithmetic never allows what the arithmetic would refuse."""

from __future__ import annotations

import random

import pytest

from daos.base.errors import InvalidError, NoSpaceError
from daos.bio.room import RECOUNT_PAGES, Hold, Room
from daos.bio.space import Space


class Shard:
    """What a room asks of its shard; pages of the tree grow as the test says."""

    def __init__(self, blocks: int) -> None:
        self.space = Space(10, blocks)
        self.pages = 3
        self.counted = self.wanted = 0
        self.coming = 0
        self.standing = 0
        self.room = Room(
            self.space,
            count_pages=self._count,
            blocks_coming=lambda: self.coming,
            blocks_standing=lambda: self.standing,
            reclaim=lambda: self.space.reclaim(durable_lsn=1 << 60),
            want_blocks=self._want,
        )
        self.room.settle()

    def _count(self) -> int:
        self.counted += 1
        return self.pages

    def _want(self) -> None:
        self.wanted += 1


@pytest.mark.parametrize("seed", range(20))
def test_what_lies_within_the_bound_fits_by_the_long_way(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    blocks = rng.choice((400, 4_000, 40_000))
    shard = Shard(blocks)
    room, held = shard.room, list[Hold]()
    long_ways = short_ways = refused = 0
    find = Room._find

    def counted(self: Room, tree_bytes: int, pages: int, data_blocks: int, spare: int) -> None:
        nonlocal long_ways
        long_ways += 1
        find(self, tree_bytes, pages, data_blocks, spare)

    monkeypatch.setattr(Room, "_find", counted)
    for _ in range(2_000):
        if held and rng.random() < 0.45:
            room.release(held.pop(rng.randrange(len(held))))
            shard.pages += rng.choice((0, 0, 1, 5)) if shard.pages < blocks // 3 else 0
        elif rng.random() < 0.02:
            room.settle()
        elif rng.random() < 0.02:
            room.recount()
        else:
            tree_bytes, count = rng.choice((0, 500, 30_000)), rng.choice((0, 1, 16, blocks // 50))
            before = long_ways
            pages = 8 + tree_bytes // 1024 if tree_bytes else 0
            fits = room._fits(pages + room._spare, count)
            try:
                held.append(room.hold(tree_bytes=tree_bytes, data_blocks=count))
            except NoSpaceError:
                refused += 1
            if long_ways == before:
                short_ways += 1
                assert fits
    assert short_ways > 100 or blocks <= 4_000
    assert refused or blocks > 4_000
    assert sum(hold.tree_pages for hold in held) == room.pages_held


def test_the_tree_is_counted_once_for_many_holds() -> None:
    shard = Shard(1 << 20)
    before = shard.counted
    for _ in range(RECOUNT_PAGES * 2):
        shard.room.release(shard.room.hold(tree_bytes=4096, data_blocks=1))
    assert 0 < shard.counted - before < 12 * 2 + 3


def test_a_refusal_names_what_is_left_and_asks_for_more() -> None:
    shard = Shard(400)
    with pytest.raises(NoSpaceError, match=r"500 blocks and 8 tree pages wanted, .* blocks left"):
        shard.room.hold(tree_bytes=1, data_blocks=500)
    assert shard.wanted == 1
    assert shard.room.pages_held == 0


def test_the_last_pages_are_for_what_gives_space_back() -> None:
    shard = Shard(8_000)
    room = shard.room
    with pytest.raises(NoSpaceError, match="the shard is full: 0 blocks and 12 tree pages"):  # noqa: PT012
        while True:
            room.hold(tree_bytes=4_200, data_blocks=0)
    for _ in range(4):
        room.hold(tree_bytes=2_200, data_blocks=0, last=True)
    with pytest.raises(NoSpaceError):
        room.hold(tree_bytes=1 << 20, data_blocks=0, last=True)
    with pytest.raises(NoSpaceError):
        room.hold(tree_bytes=1, data_blocks=0)
    assert room.blocks_left() < 0


@pytest.mark.parametrize(("tree_bytes", "blocks"), [(-1, 0), (0, -1)])
def test_negative_wishes_are_refused(tree_bytes: int, blocks: int) -> None:
    shard = Shard(4_000)
    shard.room.release(shard.room.hold(tree_bytes=1, data_blocks=1))
    with pytest.raises(InvalidError, match="hold of"):
        shard.room.hold(tree_bytes=tree_bytes, data_blocks=blocks)


def test_a_hold_is_given_back_once() -> None:
    shard = Shard(4_000)
    hold = shard.room.hold(tree_bytes=5_000, data_blocks=7)
    shard.room.release(hold)
    shard.room.release(hold)
    assert shard.room.pages_held == 0
    assert shard.space.statistics().blocks_held == 0

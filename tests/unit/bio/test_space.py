"""Space: the behaviours of DAOS's vea_ut.c that carry over, then ageing, pins and holds."""

from __future__ import annotations

import random

import pytest

from daos.base.errors import CorruptError, InvalidError, NoSpaceError
from daos.bio.space import Extent, Hint, Space
from daos.bio.space_map import PAGE_BLOCKS, SpaceMap, total

FIRST = 10


def space_of(count: int) -> Space:
    return Space(FIRST, count)


def test_a_new_space_is_one_free_extent() -> None:
    space = space_of(1000)
    space.check()
    statistics = space.statistics()
    assert statistics.blocks_free == statistics.blocks_total == 1000
    assert (statistics.fragments_free, statistics.blocks_allocated) == (1, 0)
    assert space.snapshot() == []


@pytest.mark.parametrize("count", [0, -1])
def test_an_empty_space_is_refused(count: int) -> None:
    with pytest.raises(InvalidError, match="at least one"):
        space_of(count)


def test_two_streams_stay_contiguous_each() -> None:
    """DAOS src/vea/tests/vea_ut.c ut_reserve: A10, B256, A1, B4."""
    space = space_of(1 << 20)
    hints = {"a": Hint(), "b": Hint()}
    ends: dict[str, int] = {}
    for stream, count in (("a", 10), ("b", 256), ("a", 1), ("b", 4), ("a", 5000), ("b", 7)):
        extent = space.reserve(count, hints[stream])
        assert ends.get(stream, extent.block) == extent.block
        assert extent.count == count
        ends[stream] = hints[stream].block = extent.block + count
    statistics = space.statistics()
    assert (statistics.reserved_at_hint, statistics.reserved_large) == (4, 2)
    space.check()


def test_without_a_hint_the_smallest_fit_is_taken() -> None:
    space = space_of(100)
    extents = [space.reserve(count) for count in (5, 1, 3, 1, 8, 1)]
    for extent in extents[::2]:
        space.cancel(extent)
    assert space.reserve(3) == extents[2]
    assert space.reserve(4) == Extent(extents[0].block, 4)
    assert space.reserve(9).block == extents[5].block + 1
    assert space.statistics().reserved_small >= 2
    space.check()


def test_the_end_of_a_stream_falls_back() -> None:
    space = space_of(20)
    hint = Hint()
    first = space.reserve(15, hint)
    assert space.reserve(4, hint) == Extent(FIRST + 15, 4)
    space.cancel(first)
    # The second half of the largest: another stream may be growing at its start.
    assert space.reserve(6, hint) == Extent(FIRST + 7, 6)
    space.check()


def test_cancel_moves_the_hint_back_unless_it_moved_on() -> None:
    space, hint = space_of(100), Hint(FIRST)
    first = space.reserve(5, hint)
    second = space.reserve(5, hint)
    space.cancel(first, hint)
    assert hint.block == FIRST + 10
    space.cancel(second, hint)
    assert hint.block == FIRST + 5
    assert space.blocks_free == 100


def test_too_much_is_refused_and_changes_nothing() -> None:
    space = space_of(100)
    space.reserve(40)
    hint = Hint(7)
    with pytest.raises(NoSpaceError, match="no 61 blocks in a row are free, the longest run is 60"):
        space.reserve(61, hint)
    assert hint.block == 7
    space.reserve(60)
    with pytest.raises(NoSpaceError, match="longest run is 0"):
        space.reserve(1)
    assert space.blocks_longest == 0
    with pytest.raises(InvalidError):
        space.reserve(0)
    space.check()


def test_published_blocks_are_in_the_snapshot_and_reservations_are_not() -> None:
    space = space_of(5000)
    a, b, _ = space.reserve(2000), space.reserve(3), space.reserve(4)
    space.publish(a)
    space.publish(b)
    assert space.snapshot() == [Extent(FIRST, 2003)]
    again = space_of(5000)
    again.load(space.snapshot())
    again.check()
    assert again.snapshot() == space.snapshot()
    assert again.blocks_free == 5000 - 2003


def test_parts_of_reservations_and_of_published_extents() -> None:
    space = space_of(100)
    extent = space.reserve(10)
    space.publish(Extent(extent.block + 2, 3))
    space.cancel(Extent(extent.block + 8, 2))
    space.publish(Extent(extent.block, 2))
    space.publish(Extent(extent.block + 5, 3))
    assert space.snapshot() == [Extent(extent.block, 8)]
    space.free(Extent(extent.block + 1, 5), lsn=1)
    assert space.snapshot() == [Extent(extent.block, 1), Extent(extent.block + 6, 2)]
    space.check()


def test_unpublish_lets_a_reservation_grow_together_again() -> None:
    space = space_of(100)
    extent = space.reserve(9)
    parts = [Extent(extent.block + lo, 3) for lo in (0, 3, 6)]
    for part in parts:
        space.publish(part)
    for part in (parts[1], parts[0], parts[2]):
        space.unpublish(part)
    space.cancel(extent)
    assert space.blocks_free == 100
    space.check()


@pytest.mark.parametrize("extent", [Extent(FIRST, 5), Extent(FIRST + 1, 4), Extent(50, 1)])
def test_what_is_not_reserved_cannot_be_used(extent: Extent) -> None:
    space = space_of(100)
    space.reserve(4)
    for call in (space.cancel, space.publish, space.keep):
        with pytest.raises(InvalidError, match="not reserved"):
            call(extent)
    with pytest.raises(InvalidError, match="not reserved"):
        space.publish(Extent(FIRST, 0))
    with pytest.raises(InvalidError, match="not kept"):
        space.drop(extent)
    space.check()


@pytest.mark.parametrize(
    "extent",
    [
        Extent(FIRST - 1, 2),
        Extent(FIRST + 99, 2),
        Extent(FIRST, 0),
        Extent(FIRST, -1),
        Extent(FIRST + 3, 1),
        Extent(FIRST, 4),
    ],
)
def test_a_free_of_what_is_not_allocated_is_refused(extent: Extent) -> None:
    space = space_of(100)
    published = space.reserve(3)
    space.publish(published)
    with pytest.raises(InvalidError):
        space.free(extent, lsn=1)
    space.check()
    space.free(published, lsn=1)
    with pytest.raises(InvalidError, match="not allocated"):
        space.free(published, lsn=2)


def test_freed_blocks_come_back_behind_a_later_group_only() -> None:
    space = space_of(10)
    extent = space.reserve(10)
    space.publish(extent)
    space.free(extent, lsn=5)
    assert (space.blocks_free, space.blocks_aging, space.lsn_freed) == (0, 10, 5)
    for durable_lsn in (4, 5):
        assert space.reclaim(durable_lsn=durable_lsn) == 0
    with pytest.raises(NoSpaceError):
        space.reserve(1)
    assert space.reclaim(durable_lsn=6) == 10
    assert (space.blocks_free, space.blocks_aging, space.lsn_freed) == (10, 0, 0)
    extent = space.reserve(2)
    space.publish(extent)
    space.free(Extent(extent.block, 1), lsn=9)
    with pytest.raises(InvalidError, match="after one by group 9"):
        space.free(Extent(extent.block + 1, 1), lsn=8)


def test_unfree_makes_blocks_allocated_again() -> None:
    space = space_of(10)
    extent = space.reserve(4)
    space.publish(extent)
    space.free(extent, lsn=5)
    space.unfree(extent)
    assert space.snapshot() == [extent]
    space.check()


def test_reclaim_is_bounded_and_reserve_finishes_the_rest() -> None:
    space = space_of(10)
    extents = [space.reserve(1) for _ in range(10)]
    for extent in extents:
        space.publish(extent)
        space.free(extent, lsn=1)
    assert space.reclaim(durable_lsn=2, extents_max=3) == 3
    assert space.blocks_aging == 7
    assert space.reserve(10).count == 10


def test_a_pin_keeps_what_was_allocated_when_it_was_taken() -> None:
    space = space_of(10)
    a, b = space.reserve(4), space.reserve(4)
    space.publish(a)
    space.publish(b)
    first, second = space.pin(), space.pin()
    space.free(a, lsn=1)
    third = space.pin()
    space.free(b, lsn=2)
    assert space.statistics().pins == 3
    space.reclaim(durable_lsn=9)
    assert space.blocks_free == 2
    space.unpin(first)
    assert space.blocks_free == 2
    space.unpin(second)
    assert space.blocks_free == 6
    space.unpin(third)
    assert space.blocks_free == 10
    for pin in (first, third):
        with pytest.raises(InvalidError, match="not taken"):
            space.unpin(pin)
    space.unpin(space.pin())


def test_holds_promise_blocks() -> None:
    space = space_of(10)
    space.hold(6)
    with pytest.raises(NoSpaceError, match="5 blocks wanted, 4 left"):
        space.hold(5)
    extent = space.reserve(6)  # covered by the hold
    assert space.blocks_available == 4
    space.publish(extent)
    space.unhold(6)
    assert space.blocks_available == 4
    space.check()
    for count in (-1, 1):
        with pytest.raises(InvalidError):
            space.unhold(count)
    with pytest.raises(InvalidError):
        space.hold(-1)


def test_kept_blocks_are_neither_free_nor_in_the_snapshot() -> None:
    space = space_of(10)
    extent = space.reserve(4)
    space.keep(extent)
    assert (space.blocks_free, space.snapshot()) == (6, [])
    assert space.statistics().blocks_kept == 4
    space.check()
    again = space_of(10)
    again.load_map(space.snapshot_map(), kept=[extent])
    assert again.blocks_free == 6
    again.drop(extent)
    assert again.blocks_free == 10
    again.check()
    with pytest.raises(InvalidError, match="allocated already"):
        again.load_map(SpaceMap(FIRST, 10), kept=[extent, extent])


def test_fragmentation_until_full_and_back() -> None:
    """DAOS src/vea/tests/vea_ut.c ut_fragmentation, smaller."""
    rng = random.Random(1)
    space = space_of(1 << 14)
    extents: list[Extent] = []

    def fill() -> None:
        hint = Hint()
        while True:
            try:
                extents.append(space.reserve(rng.randint(1, 64), hint))
            except NoSpaceError:
                return

    fill()
    rng.shuffle(extents)
    for _ in range(len(extents) // 2):
        space.cancel(extents.pop())
    space.check()
    fill()
    for extent in extents:
        space.publish(extent)
    space.check()
    for extent in extents:
        space.free(extent, lsn=3)
    assert space.blocks_free + space.blocks_aging == 1 << 14
    space.reclaim(durable_lsn=4, extents_max=1 << 20)
    space.check()


# The map


def gaps_of(space_map: SpaceMap) -> list[Extent]:
    return [gap for part in space_map.gaps() for gap in part]


def test_runs_and_gaps_across_pages() -> None:
    count = 5 * PAGE_BLOCKS + 100
    space_map = SpaceMap(FIRST, count)
    extents = [
        Extent(FIRST, 1),
        Extent(FIRST + 1000, 2 * PAGE_BLOCKS + 100),
        Extent(FIRST + 4 * PAGE_BLOCKS - 1, 1),
        Extent(FIRST + count - 3, 3),
    ]
    for extent in extents:
        space_map.add(extent)
    assert space_map.extents() == extents
    assert space_map.blocks() == total(extents)
    gaps = gaps_of(space_map)
    assert total(gaps) + total(extents) == count
    stored = b"".join(space_map.emit(pages_per_part=2))
    assert len(stored) <= space_map.size_max()
    again = SpaceMap.parse(stored, first_block=FIRST, block_count=count)
    assert again.extents() == extents
    for extent in extents:
        again.remove(extent)
    assert again.extents() == []
    assert gaps_of(again) == [Extent(FIRST, count)]
    assert list(again.emit()) == []


def test_it_is_loaded_in_parts_of_bounded_work() -> None:
    """A million free extents took 1.4 s in one turn of the loop, at the opening of a shard."""
    pages = 5000
    space_map = SpaceMap(FIRST, pages * PAGE_BLOCKS)
    for index in range(3000):  # in the last pages
        space_map.add(Extent(FIRST + (pages - 7) * PAGE_BLOCKS + 2 * index, 1))
    parts = [len(part) for part in space_map.gaps()]
    # Every 1,024 pages, and every 512 gaps.
    assert (sum(parts), max(parts)) == (3001, 512)
    assert len(parts) == 4 + 3000 // 512 + 1
    space = Space(FIRST, pages * PAGE_BLOCKS)
    assert len(list(space.loading(space_map))) == len(parts)
    space.check()
    assert space.statistics().fragments_free == 3001
    stored = b"".join(space_map.emit())
    full = SpaceMap(FIRST, pages * PAGE_BLOCKS)
    for page in range(0, pages, 2):  # an entry each
        full.add(Extent(FIRST + page * PAGE_BLOCKS, PAGE_BLOCKS))
    for each, entries in ((stored, 6), (b"".join(full.emit()), pages // 2)):
        steps = SpaceMap.parsing(each, first_block=FIRST, block_count=pages * PAGE_BLOCKS)
        assert len(list(steps)) == entries // 1024


def test_whole_pages_at_the_end() -> None:
    space_map = SpaceMap(0, 2 * PAGE_BLOCKS)
    space_map.add(Extent(1, 2 * PAGE_BLOCKS - 1))
    assert space_map.extents() == [Extent(1, 2 * PAGE_BLOCKS - 1)]
    assert gaps_of(space_map) == [Extent(0, 1)]
    stored = b"".join(space_map.emit())
    again = SpaceMap.parse(stored, first_block=0, block_count=2 * PAGE_BLOCKS)
    assert again.extents() == space_map.extents()


@pytest.mark.parametrize("extent", [Extent(FIRST + 900, 300), Extent(FIRST + 1500, 2000)])
def test_overlaps_across_pages_are_refused_and_change_nothing(extent: Extent) -> None:
    space_map = SpaceMap(FIRST, 4096)
    taken = Extent(FIRST + 1100, 500)
    space_map.add(taken)
    with pytest.raises(InvalidError, match="allocated already"):
        space_map.add(extent)
    with pytest.raises(InvalidError, match="not allocated"):
        space_map.remove(extent)
    assert space_map.extents() == [taken]
    with pytest.raises(InvalidError, match="outside"):
        space_map.add(Extent(FIRST + 4000, 97))


@pytest.mark.parametrize(
    ("stored", "what"),
    [
        (b"\0\0\0", "entry"),
        (bytes.fromhex("02000000 01000000"), "page"),
        (bytes.fromhex("00000000 03000000"), "page"),
        (bytes.fromhex("00000000 01000000") * 2, "page"),
        (bytes.fromhex("00000000 00000000") + b"\1" * 127, "bits"),
        (bytes.fromhex("00000000 00000000") + bytes(128), "bits"),
        (bytes.fromhex("00000000 00000000") + b"\xff" * 128, "bits"),
        (bytes.fromhex("01000000 01000000"), "tail"),
    ],
)
def test_damaged_maps(stored: bytes, what: str) -> None:
    with pytest.raises(CorruptError, match=f"space map {what}"):
        SpaceMap.parse(stored, first_block=FIRST, block_count=PAGE_BLOCKS + 1)

"""Where the next bytes go: a versioned extent allocator over the data space of one device.

Life of a block:

    FREE --reserve--> RESERVED --publish--> ALLOCATED --free(lsn)--> AGING --reclaim--> FREE
      ^                  |  |                                                            |
      +-----cancel-------+  +--keep--> KEPT --drop--> FREE      <------------------------+

RESERVED and KEPT exist in memory only: after a restart such blocks are free, whoever held them.
ALLOCATED is what the log and the checkpoint's space map say. KEPT blocks belong to checkpoints.

Invariants:
    I1  every block is in exactly one state; free extents are maximal (neighbours are merged)
    I2  a block freed by log group `lsn` is handed out again only when a later group is durable
        (lsn < durable_lsn): recovery may verify the data of the last group, so that data must lie
        untouched until the group is no longer the last
    I3  ... and when every pin that was taken before the free is gone: a read may be in flight
    I4  `hold` leaves  held <= free + reserved:  whoever holds n blocks will get n blocks, if need
        be in several extents. A reservation is covered by its owner's hold until it is published
        or cancelled; the hold is given back after that, in the same turn.

Choice of place, in this order: at the hint (so that one stream stays contiguous and one log group
is one write); the smallest free extent that is large enough, newest first; if only a large one is
left, its start, or for a stream that lost its place the start of its second half, so that two
streams do not grow into each other.

Structures: free extents by start and by end (merging is two lookups), starts by size, the sorted
list of distinct sizes (bisect). With 100,000 fragments a reserve and its publish take 2 us. The
free extent that a stream is eating from the front, the *near* one, stands in none of them but has
two numbers of its own, and goes back as soon as anybody else looks: 0.4 us instead of 1.6.

Source: DAOS src/vea/vea_alloc.c reserve_hint/reserve_small/reserve_single, vea_free.c; bitmap
chunks are left out (our map is a bitmap already), ageing ends by LSN and pins and not by 10 s.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NewType

from daos.base.errors import InvalidError, NoSpaceError
from daos.bio.space_map import Extent, SpaceMap

__all__ = ["Extent", "Hint", "Pin", "Space", "SpaceStatistics"]

# Free extents above this many blocks (64 MiB), or above an eighth of a smaller device, are large.
LARGE_BLOCKS: Final = 16_384
# Extents that one `reclaim` moves at most, so that one turn of the loop stays short.
RECLAIM_BATCH: Final = 512

Pin = NewType("Pin", int)


class Hint:
    """Where a stream of reservations went last. One per stream; `block` moves with it."""

    __slots__ = ("block",)

    def __init__(self, block: int = 0) -> None:
        self.block = block


@dataclass(frozen=True, slots=True)
class SpaceStatistics:
    """Blocks by state, and how reservations found their place."""

    blocks_total: int
    blocks_free: int
    blocks_reserved: int
    blocks_allocated: int
    blocks_aging: int
    blocks_kept: int
    blocks_held: int
    fragments_free: int
    fragments_aging: int
    pins: int
    reserved_at_hint: int
    reserved_small: int
    reserved_large: int


class Space:
    """All blocks [first_block, first_block + block_count), free at first.

    Atomicity:  a call that raises has changed nothing
    Cost:       O(log f) each unless said otherwise, f free extents
    """

    def __init__(self, first_block: int, block_count: int) -> None:
        if block_count < 1:
            raise InvalidError(f"a data space of {block_count} blocks: at least one expected")
        self.first_block = first_block
        self.block_count = block_count
        self._large = min(LARGE_BLOCKS, max(1, block_count // 8))
        self._map = SpaceMap(first_block, block_count)
        self._count_at: dict[int, int] = {}  # free: start -> count
        self._start_of: dict[int, int] = {}  # free: end -> start
        self._starts: dict[int, dict[int, None]] = {}  # free: count -> starts, newest last
        self._counts: list[int] = []  # keys of _starts, sorted
        self._near_lo = self._near_hi = -1  # the near extent; equal: there is none
        self._reserved: dict[int, int] = {}
        self._kept: dict[int, int] = {}
        self._aging: deque[tuple[int, int, Extent]] = deque()  # lsn, number of the free, extent
        self._frees = Pin(0)
        self._pins: dict[int, int] = {}  # frees at the time of the pin -> pins; ascending
        self._durable_lsn = 0
        self._blocks_free = 0
        self._blocks_reserved = 0
        self._blocks_aging = 0
        self._blocks_kept = 0
        self._blocks_held = 0
        self._at_hint = 0
        self._small = 0
        self._from_large = 0
        self._add(first_block, block_count)

    @property
    def near(self) -> tuple[int, int]:
        """Free blocks [lo, hi) which the stream that was served last eats from the front."""
        return self._near_lo, self._near_hi

    @property
    def blocks_free(self) -> int:
        """Blocks that `reserve` can hand out now."""
        return self._blocks_free

    @property
    def blocks_available(self) -> int:
        """Blocks that `hold` can still promise."""
        return self._blocks_free + self._blocks_reserved - self._blocks_held

    @property
    def blocks_aging(self) -> int:
        """Blocks that were freed and wait for a later group or a pin."""
        return self._blocks_aging

    @property
    def blocks_allocated(self) -> int:
        """Blocks of published data."""
        other = self._blocks_free + self._blocks_reserved + self._blocks_aging + self._blocks_kept
        return self.block_count - other

    @property
    def blocks_longest(self) -> int:
        """The largest count that `reserve` can give now."""
        self._settle()
        return self._counts[-1] if self._counts else 0

    @property
    def map_bytes_max(self) -> int:
        """A bound on the stored form of `snapshot_map`, whatever happens to it."""
        return self._map.size_max()

    @property
    def lsn_freed(self) -> int:
        """The last group whose freed blocks have not come back yet; 0: none."""
        return self._aging[-1][0] if self._aging else 0

    def hold(self, count: int) -> None:
        """Promise `count` blocks to the caller. Raises: NoSpaceError."""
        if count < 0:
            raise InvalidError(f"hold of {count} blocks")
        if count > self.blocks_available:
            raise NoSpaceError(f"{count} blocks wanted, {max(0, self.blocks_available)} left")
        self._blocks_held += count

    def hold_leaving(self, count: int, least: int) -> bool:
        """`hold` if `least` blocks are left beside; False: nothing was done."""
        held = self._blocks_held + count
        if count < 0 or self._blocks_free + self._blocks_reserved - held < least:
            return False
        self._blocks_held = held
        return True

    def unhold(self, count: int) -> None:
        """Give a promise back, used or not. Raises: InvalidError if so much is not held."""
        if not 0 <= count <= self._blocks_held:
            raise InvalidError(f"unhold of {count} blocks, {self._blocks_held} are held")
        self._blocks_held -= count

    def reserve(self, count: int, hint: Hint | None = None) -> Extent:
        """One contiguous extent, under the caller's hold; `hint` moves to its end.

        Raises:     InvalidError   count < 1
                    NoSpaceError   no free extent is so large; two smaller ones may do
        Source:     DAOS src/vea/vea_api.c vea_reserve
        """
        if count < 1:
            raise InvalidError(f"reservation of {count} blocks")
        block = self._near_lo
        if hint is not None and hint.block == block and count <= self._near_hi - block:
            self._near_lo = hint.block = block + count
            self._at_hint += 1
            self._blocks_free -= count
            self._reserved[block] = count
            self._blocks_reserved += count
            return Extent(block, count)
        self._settle()
        extent = self._find(count, hint)
        while extent is None and self.reclaim(durable_lsn=self._durable_lsn):
            extent = self._find(count, hint)
        if extent is None:
            longest = self._counts[-1] if self._counts else 0
            raise NoSpaceError(f"no {count} blocks in a row are free, the longest run is {longest}")
        block = extent.block
        if hint is not None:
            hint.block = block + count
        self._reserved[block] = count
        self._blocks_reserved += count
        return extent

    def _find(self, count: int, hint: Hint | None) -> Extent | None:
        if hint is not None:
            block = hint.block
            if (found := self._count_at.get(block, 0)) >= count:
                self._at_hint += 1
                self._forget(block, found)
                del self._count_at[block], self._start_of[block + found]
                self._near_lo, self._near_hi = block + count, block + found
                self._blocks_free -= count
                return Extent(block, count)
        index = bisect_left(self._counts, count)
        if index == len(self._counts):
            return None
        found = self._counts[index]
        skip = 0
        if found <= self._large:
            self._small += 1
        else:
            self._from_large += 1
            found = self._counts[-1]
            if hint is not None and found > 2 * max(count, self._large):
                skip = found // 2
        starts = self._starts[found]
        block, _ = starts.popitem()
        if not starts:
            del self._starts[found]
            del self._counts[bisect_left(self._counts, found)]
        self._carve(block, found, skip, count)
        return Extent(block + skip, count)

    def cancel(self, extent: Extent, hint: Hint | None = None) -> None:
        """Give a reservation, or a part of one, back unused.

        `hint` moves back if it still points behind `extent`, that is if nothing came after it.

        Raises:     InvalidError   not reserved
        """
        self._unreserve(extent)
        self._add(extent.block, extent.count)
        if hint is not None and hint.block == extent.block + extent.count:
            hint.block = extent.block

    def publish(self, extent: Extent) -> None:
        """A transaction refers to this reservation, or to a part of one.

        Raises:     InvalidError   not reserved
        """
        block, count = extent
        if self._reserved.get(block) == count:
            del self._reserved[block]
            self._blocks_reserved -= count
        else:
            self._unreserve(extent)
        self._map.add(extent)

    def unpublish(self, extent: Extent) -> None:
        """Undo `publish`: the transaction failed. Parts of a reservation grow together again."""
        self._map.remove(extent)
        block, count = extent
        self._blocks_reserved += count
        count += self._reserved.pop(block + count, 0)
        for start, length in self._reserved.items():
            if start + length == block:
                self._reserved[start] = length + count
                return
        self._reserved[block] = count

    def free(self, extent: Extent, *, lsn: int) -> None:
        """Log group `lsn` frees allocated blocks; they may be any part of what was published.

        Raises:     InvalidError   a block is not allocated (double free), or lsn goes backwards
        """
        if self._aging and lsn < self._aging[-1][0]:
            raise InvalidError(f"free by group {lsn} after one by group {self._aging[-1][0]}")
        self._map.remove(extent)
        self._aging.append((lsn, self._frees, extent))
        self._frees = Pin(self._frees + 1)
        self._blocks_aging += extent.count

    def unfree(self, extent: Extent) -> None:
        """Undo the latest `free`: the transaction failed."""
        assert self._aging[-1][2] == extent
        self._aging.pop()
        self._blocks_aging -= extent.count
        self._map.add(extent)

    def keep(self, extent: Extent) -> None:
        """A checkpoint owns this reservation from now on. Raises: InvalidError: not reserved."""
        self._unreserve(extent)
        self._kept[extent.block] = extent.count
        self._blocks_kept += extent.count

    def drop(self, extent: Extent) -> None:
        """A checkpoint is gone: free at once. Raises: InvalidError: not kept."""
        if self._kept.get(extent.block) != extent.count:
            raise InvalidError(f"extent {extent.block}+{extent.count} is not kept")
        del self._kept[extent.block]
        self._blocks_kept -= extent.count
        self._add(extent.block, extent.count)

    def pin(self) -> Pin:
        """From now on no block that is allocated at this moment is handed out again."""
        frees = self._frees
        self._pins[frees] = self._pins.get(frees, 0) + 1
        return frees

    def unpin(self, pin: Pin) -> None:
        """Raises: InvalidError if `pin` is not taken."""
        taken = self._pins.get(pin, 0)
        if taken > 1:
            self._pins[pin] = taken - 1
        elif taken:
            del self._pins[pin]
            if self._aging:
                self.reclaim(durable_lsn=self._durable_lsn)
        else:
            raise InvalidError(f"pin {pin} is not taken")

    def reclaim(self, *, durable_lsn: int, extents_max: int = RECLAIM_BATCH) -> int:
        """Move what I2 and I3 allow from AGING to FREE, oldest first; returns blocks moved.

        Cost:       O(extents moved)
        """
        self._durable_lsn = max(self._durable_lsn, durable_lsn)
        pinned = next(iter(self._pins), self._frees)
        blocks = 0
        while self._aging and extents_max:
            lsn, number, (block, count) = self._aging[0]
            if lsn >= self._durable_lsn or number >= pinned:
                break
            self._aging.popleft()
            self._add(block, count)
            blocks += count
            extents_max -= 1
        self._blocks_aging -= blocks
        return blocks

    def snapshot(self) -> list[Extent]:
        """The allocated extents, ascending, neighbours merged. Cost: O(pages + extents)."""
        return self._map.extents()

    def snapshot_map(self) -> SpaceMap:
        """A copy of the map of allocated blocks. Cost: 8 bytes per 1024 blocks."""
        return self._map.copy()

    def load(self, extents: Iterable[Extent]) -> None:
        """Start over with exactly these extents allocated. Raises: InvalidError: they overlap."""
        space_map = SpaceMap(self.first_block, self.block_count)
        for extent in extents:
            space_map.add(extent)
        self.load_map(space_map)

    def load_map(self, space_map: SpaceMap, *, kept: Iterable[Extent] = ()) -> None:
        """Start over with this map (taken over, not copied) and these checkpoint extents.

        Raises:     InvalidError   an extent of `kept` overlaps another or the map
        Cost:       O(pages + extents)
        """
        for _ in self.loading(space_map, kept=kept):
            pass

    def loading(self, space_map: SpaceMap, *, kept: Iterable[Extent] = ()) -> Iterator[None]:
        """`load_map`, with a yield between parts of bounded work; nobody else until the end."""
        taken = space_map.copy()
        kept = list(kept)
        for extent in kept:
            taken.add(extent)
        self.__init__(self.first_block, self.block_count)  # type: ignore[misc]
        self._map = space_map
        self._forget(self.first_block, self.block_count)
        self._carve(self.first_block, self.block_count, 0, self.block_count)
        for gaps in taken.gaps():
            for block, count in gaps:
                self._add(block, count)
            yield
        self._kept = dict(kept)
        self._blocks_kept = sum(self._kept.values())

    def statistics(self) -> SpaceStatistics:
        return SpaceStatistics(
            blocks_total=self.block_count,
            blocks_free=self._blocks_free,
            blocks_reserved=self._blocks_reserved,
            blocks_allocated=self.blocks_allocated,
            blocks_aging=self._blocks_aging,
            blocks_kept=self._blocks_kept,
            blocks_held=self._blocks_held,
            fragments_free=len(self._count_at) + (self._near_lo < self._near_hi),
            fragments_aging=len(self._aging),
            pins=sum(self._pins.values()),
            reserved_at_hint=self._at_hint,
            reserved_small=self._small,
            reserved_large=self._from_large,
        )

    def check(self) -> None:
        """Assert I1 and I4. Cost: O(everything); for tests."""
        taken = self._map.copy()
        near = self._near_hi - self._near_lo
        if near:
            taken.add(Extent(self._near_lo, near))
        for state in (self._reserved, self._kept, self._count_at):
            for extent in state.items():
                taken.add(Extent(*extent))
        for _, _, extent in self._aging:
            taken.add(Extent(*extent))
        assert taken.blocks() == self.block_count, "I1: a block is in no state"
        assert self._map.blocks() == self.blocks_allocated, "I1: the sums differ"
        assert self._blocks_free == sum(self._count_at.values()) + near
        assert self._start_of == {s + n: s for s, n in self._count_at.items()}
        assert not self._start_of.keys() & self._count_at.keys(), "I1: neighbours not merged"
        assert not near or self._near_lo not in self._start_of, "I1: neighbours not merged"
        assert not near or self._near_hi not in self._count_at, "I1: neighbours not merged"
        by_count: dict[int, set[int]] = {}
        for start, count in self._count_at.items():
            by_count.setdefault(count, set()).add(start)
        assert {count: set(starts) for count, starts in self._starts.items()} == by_count
        assert self._counts == sorted(by_count)
        assert self._blocks_held <= self._blocks_free + self._blocks_reserved, "I4"

    def _unreserve(self, extent: Extent) -> None:
        block, count = extent
        if self._reserved.get(block) == count:
            del self._reserved[block]
        else:
            self._split(block, count)
        self._blocks_reserved -= count

    def _split(self, block: int, count: int) -> None:
        """Take a part out of a reservation. Cost: O(reservations), which are those in flight."""
        for start, length in self._reserved.items():
            if count > 0 and start <= block and block + count <= start + length:
                break
        else:
            raise InvalidError(f"extent {block}+{count} is not reserved")
        del self._reserved[start]
        if start < block:
            self._reserved[start] = block - start
        if block + count < start + length:
            self._reserved[block + count] = start + length - block - count

    def _settle(self) -> None:
        """The near extent becomes one of the others."""
        lo, hi = self._near_lo, self._near_hi
        if lo < hi:
            self._insert(lo, hi)
        self._near_lo = self._near_hi = -1

    def _add(self, block: int, count: int) -> None:
        """Make blocks free, merging with the free extents before and behind."""
        if block == self._near_hi or block + count == self._near_lo:
            self._settle()
        self._blocks_free += count
        end = block + count
        before = self._start_of.pop(block, None)
        if before is not None:
            self._forget(before, block - before)
            del self._count_at[before]
            block = before
        behind = self._count_at.pop(end, None)
        if behind is not None:
            self._forget(end, behind)
            end += behind
        self._insert(block, end)

    def _carve(self, block: int, found: int, skip: int, count: int) -> None:
        """Take `count` blocks, `skip` blocks into the free extent [block, block + found).

        The extent was taken out of `_starts` before.
        """
        self._blocks_free -= count
        del self._count_at[block]
        end = block + found
        if skip:
            self._insert(block, block + skip)
            block += skip
        block += count
        if block == end:
            del self._start_of[end]
        else:
            self._insert(block, end)

    def _insert(self, start: int, end: int) -> None:
        count = end - start
        self._count_at[start] = count
        self._start_of[end] = start
        starts = self._starts.get(count)
        if starts is not None:
            starts[start] = None
        else:
            self._starts[count] = {start: None}
            insort(self._counts, count)

    def _forget(self, start: int, count: int) -> None:
        starts = self._starts[count]
        if len(starts) > 1:
            del starts[start]
        else:
            del self._starts[count]
            del self._counts[bisect_left(self._counts, count)]

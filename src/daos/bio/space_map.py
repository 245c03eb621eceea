"""Which blocks hold data that a transaction published: one bit per block, and its stored form.

A page is 1024 blocks, kept as one Python int; bit i is block `first_block + 1024 * page + i`. Ints
are immutable, so a consistent copy of the whole map is a copy of a list: 8 bytes per 4 MiB of
device, done between two requests, and turned into bytes at leisure afterwards.

Stored form (part of a checkpoint): entries in ascending order of page, pages of zeros left out,

    u32 page, u32 n >= 1                 n pages from `page` on are full
    u32 page, u32 0, 128 bytes           one page, bit i of byte j = block 8 * j + i

The last page may be short; it counts as full only if all of its 1024 bits are set, which never
happens then. At most 1/30000 of the device, whatever the fragmentation.

Invariant: bits outside the device are never set.

Source: ours. DAOS keeps free extents in a tree inside the pool (src/vea/vea_internal.h); our tree
holds no allocator state, because recovery replays allocations from the log anyway.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from daos.base.errors import CorruptError, InvalidError


class Extent(NamedTuple):
    """`count` blocks from `block` on."""

    block: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here


PAGE_BLOCKS: Final = 1024
_SHIFT: Final = 10
_OFFSET_MASK: Final = PAGE_BLOCKS - 1
_FULL: Final = (1 << PAGE_BLOCKS) - 1
_BITS_SIZE: Final = PAGE_BLOCKS // 8
_ENTRY: Final = struct.Struct("<II")
# What a turn of the loop does at most, 1 ms or so: gaps are what `Space` makes free extents of.
_PART_GAPS: Final = 512
_PART_PAGES: Final = 1024
assert 1 << _SHIFT == PAGE_BLOCKS

ResultT = TypeVar("ResultT")


class SpaceMap:
    """The published blocks of a data space.

    Units:      blocks are device block numbers, first_block <= block < first_block + block_count
    """

    __slots__ = ("_hi", "_lo", "_pages")

    def __init__(self, first_block: int, block_count: int) -> None:
        self._lo = first_block
        self._hi = first_block + block_count
        self._pages = [0] * -(-block_count // PAGE_BLOCKS)

    def copy(self) -> SpaceMap:
        """Cost: 8 bytes per page."""
        other = SpaceMap.__new__(SpaceMap)
        other._lo, other._hi, other._pages = self._lo, self._hi, self._pages.copy()
        return other

    def add(self, extent: Extent) -> None:
        """Set the bits of `extent`.

        Raises:     InvalidError   outside the space, empty, or a bit is set already
        Cost:       O(pages touched)
        """
        block, count = extent
        offset = block - self._lo
        page, offset = offset >> _SHIFT, offset & _OFFSET_MASK
        if count < 1 or block < self._lo or block + count > self._hi:
            raise InvalidError(f"extent {block}+{count} outside [{self._lo}, {self._hi})")
        pages = self._pages
        if offset + count <= PAGE_BLOCKS:
            mask = ((1 << count) - 1) << offset
            if pages[page] & mask:
                raise InvalidError(f"extent {block}+{count} is allocated already")
            pages[page] |= mask
            return
        masks = list(_masks(page, offset, count))
        if any(pages[page] & mask for page, mask in masks):
            raise InvalidError(f"extent {block}+{count} is allocated already")
        for page, mask in masks:
            pages[page] |= mask

    def remove(self, extent: Extent) -> None:
        """Clear the bits of `extent`.

        Raises:     InvalidError   outside the space, empty, or a bit is not set (a double free)
        Cost:       O(pages touched)
        """
        block, count = extent
        offset = block - self._lo
        page, offset = offset >> _SHIFT, offset & _OFFSET_MASK
        if count < 1 or block < self._lo or block + count > self._hi:
            raise InvalidError(f"extent {block}+{count} outside [{self._lo}, {self._hi})")
        pages = self._pages
        if offset + count <= PAGE_BLOCKS:
            mask = ((1 << count) - 1) << offset
            if pages[page] & mask != mask:
                raise InvalidError(f"extent {block}+{count} is not allocated")
            pages[page] ^= mask
            return
        masks = list(_masks(page, offset, count))
        if any(pages[page] & mask != mask for page, mask in masks):
            raise InvalidError(f"extent {block}+{count} is not allocated")
        for page, mask in masks:
            pages[page] ^= mask

    def blocks(self) -> int:
        """How many bits are set. Cost: O(pages)."""
        return sum(page.bit_count() for page in self._pages)

    def extents(self) -> list[Extent]:
        """Maximal runs of set bits, ascending. Cost: O(pages + runs)."""
        return [Extent(run[0], run[1] - run[0]) for run in self._runs() if run is not None]

    def gaps(self) -> Iterator[list[Extent]]:
        """Maximal runs of clear bits, ascending, in parts of bounded work; some may be empty."""
        gaps: list[Extent] = []
        at = self._lo
        for run in self._runs():
            if run is not None:
                lo, hi = run
                if at < lo:
                    gaps.append(Extent(at, lo - at))
                at = hi
                if len(gaps) < _PART_GAPS:
                    continue
            yield gaps
            gaps = []
        if at < self._hi:
            gaps.append(Extent(at, self._hi - at))
        yield gaps

    def _runs(self) -> Iterator[tuple[int, int] | None]:
        """Maximal runs of set bits, and None between so many pages."""
        start = -1  # of the run that reaches the end of the previous page; -1: none
        for index, page in enumerate(self._pages):
            if index and not index % _PART_PAGES:
                yield None
            base = self._lo + index * PAGE_BLOCKS
            if page == _FULL:
                start = base if start < 0 else start
                continue
            at = 0
            while True:
                if start < 0:
                    if not page >> at:
                        break
                    at += _zeros(page >> at)
                    start = base + at
                at += _zeros(~(page >> at))
                if at == PAGE_BLOCKS:
                    break
                yield start, base + at
                start = -1
        if start >= 0:
            yield start, self._hi

    def emit(self, *, pages_per_part: int = 2048) -> Iterator[bytes]:
        """The stored form in parts of bounded work; empty parts are left out."""
        pages = self._pages
        for lo in range(0, len(pages), pages_per_part):
            parts: list[bytes] = []
            index, hi = lo, min(lo + pages_per_part, len(pages))
            while index < hi:
                page = pages[index]
                if page == _FULL:
                    first = index
                    while index < hi and pages[index] == _FULL:
                        index += 1
                    parts.append(_ENTRY.pack(first, index - first))
                    continue
                if page:
                    parts.append(_ENTRY.pack(index, 0))
                    parts.append(page.to_bytes(_BITS_SIZE, "little"))
                index += 1
            if parts:
                yield b"".join(parts)

    def size_max(self) -> int:
        """A bound in bytes on what `emit` gives, whatever happens to the map meanwhile."""
        return len(self._pages) * (_ENTRY.size + _BITS_SIZE)

    @classmethod
    def parse(cls, buffer: bytes | memoryview, *, first_block: int, block_count: int) -> SpaceMap:
        """Raises: CorruptError unless `buffer` is a whole stored map of this space."""
        return ended(cls.parsing(buffer, first_block=first_block, block_count=block_count))

    @classmethod
    def parsing(
        cls, buffer: bytes | memoryview, *, first_block: int, block_count: int
    ) -> Generator[None, None, SpaceMap]:
        """`parse`, with a yield between parts of bounded work."""
        space_map = cls(first_block, block_count)
        pages = space_map._pages
        at, next_page, entries = 0, 0, 0
        while at < len(buffer):
            entries += 1
            if not entries % _PART_PAGES:
                yield
            if len(buffer) - at < _ENTRY.size:
                raise CorruptError("space map entry", offset=at, want=8, got=len(buffer) - at)
            page, full = _ENTRY.unpack_from(buffer, at)
            if not next_page <= page < len(pages) or full > len(pages) - page:
                raise CorruptError("space map page", offset=at, want=next_page, got=page)
            at += _ENTRY.size
            if full:
                pages[page : page + full] = [_FULL] * full
                next_page = page + full
                continue
            bits = bytes(buffer[at : at + _BITS_SIZE])
            value = int.from_bytes(bits, "little")
            if len(bits) != _BITS_SIZE or value in (0, _FULL):
                raise CorruptError("space map bits", offset=at, want=_BITS_SIZE, got=len(bits))
            pages[page] = value
            at += _BITS_SIZE
            next_page = page + 1
        tail = block_count & _OFFSET_MASK
        if tail and pages[-1] >> tail:
            raise CorruptError("space map tail", offset=at, want=0, got=pages[-1] >> tail)
        return space_map


def ended(steps: Generator[None, None, ResultT]) -> ResultT:
    """All steps at once; what they return."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: ResultT = end.value
            return result


def total(extents: Sequence[Extent]) -> int:
    """Blocks of all of them."""
    return sum(extent.count for extent in extents)


def _masks(page: int, offset: int, count: int) -> Iterator[tuple[int, int]]:
    while count:
        taken = min(count, PAGE_BLOCKS - offset)
        yield page, (_FULL if taken == PAGE_BLOCKS else ((1 << taken) - 1) << offset)
        page, offset, count = page + 1, 0, count - taken


def _zeros(bits: int) -> int:
    """Trailing zero bits; 0 has none. Negative ints count as infinitely many ones on top."""
    return (bits & -bits).bit_length() - 1 if bits else 0

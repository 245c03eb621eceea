"""Recovery of the log: which groups count, and where the log ends.

    superblock: replay_block, checkpoint_lsn
         |
         v      expected: group n + 1 right behind group n, or at block 0 if it did not fit there
    [ n ok ] [ n+1 ok ] [ n+2 ok ] [ ? ]
                            |        |
                            |        +-- header or payload bad: a later group anywhere ahead, or
                            |            n+3 known durable? --yes--> CorruptError
                            |                                 no --> the log ends here
                            +-- the last one, not known durable: does its data check?
                                yes --> it counts.  no --> the log ends before it

Known durable is what the superblock or a later header says. A group is written only after the one
before it is durable, so only the last one can be torn, and a later group proves that a bad one was
damaged and not torn.

The group that did not count is debris, and must not come to life later: data that failed today may
be there tomorrow, written again by the next group with this number. `ReplayEnd.debris` names the
blocks where such a group may begin; open() overwrites them with zeros, together with the
superblock that says how far the log goes, before anybody is served.

Sizes read from the device are bounded before they are used: a group by `group_blocks_max`.

Source: DAOS src/bio/bio_wal.c bio_wal_replay, verify_tx; the search ahead is ours.
"""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import xxhash

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError, InvalidError
from daos.bio.device import BLOCK, BlockDevice, read
from daos.bio.layout import (
    GROUP_HEADER_SIZE,
    GROUP_MAGIC,
    GroupHeader,
    Record,
    Superblock,
    parse_records,
)
from daos.bio.space_map import SpaceMap
from daos.bio.tree import Tree
from daos.bio.wal import Ring, group_blocks_max

_WINDOW_BLOCKS: Final = 256
# Transactions that one turn of the loop applies.
_SLICE_RECORDS: Final = 256

Apply = Callable[[list[Record]], None]


@dataclass(frozen=True, slots=True)
class ReplayEnd:
    """What recovery knows of the log when it is through."""

    lsn: int  # last group that counts
    ring: Ring
    epoch: int
    debris: tuple[int, ...]  # blocks of the ring where a group that does not count may begin


class Applier:
    """Replays records into a fresh tree and the space map of its checkpoint."""

    def __init__(self, tree: Tree, space_map: SpaceMap) -> None:
        self._tree = tree
        self._space_map = space_map

    def apply(self, records: list[Record]) -> None:
        try:
            for pairs, writes, frees in records:
                for extent in frees:
                    self._space_map.remove(extent)
                for extent, _ in writes:
                    self._space_map.add(extent)
                nbytes = sum(len(value) for _, value in pairs if value)
                self._tree.put_all(dict(pairs), nbytes)
        except InvalidError as error:
            what = "log record against the space map"
            raise CorruptError(what, offset=0, want="consistent", got=error.message) from error


async def replay(device: BlockDevice, superblock: Superblock, apply: Apply) -> ReplayEnd:
    """Hand the records of every group behind the checkpoint to `apply`, in order, in slices.

    Raises:     CorruptError   damage; `apply` may have been called for earlier groups
                NvmeIoError    the device failed a read
    """
    log = _Log(device, superblock)
    lsn, epoch = superblock.checkpoint_lsn, superblock.epoch
    head = superblock.replay_block
    last: tuple[GroupHeader, list[Record]] | None = None  # read, not applied yet
    last_start = head
    known = superblock.durable_lsn
    while (found := await log.group_at(head, lsn + 1)) is not None:
        start, header, records = found
        known = max(known, header.durable_lsn)
        if last is not None:
            await _apply(apply, last[1])
        last, last_start = (header, records), head
        lsn, epoch, head = header.lsn, max(epoch, header.epoch), start + header.blocks
    if known > lsn or await log.any_later(head, lsn + 1):
        block = head % superblock.wal_count
        raise CorruptError(f"log group {lsn + 1}", offset=block * BLOCK, want="intact", got="bad")
    if last is not None:
        if lsn > known and not await log.data_intact(last[1]):
            lsn, head = lsn - 1, last_start
        else:
            await _apply(apply, last[1])
    ring = Ring(superblock.wal_count, tail=superblock.replay_block, head=head)
    return ReplayEnd(lsn=lsn, ring=ring, epoch=epoch, debris=tuple(_starts(ring)))


async def _apply(apply: Apply, records: list[Record]) -> None:
    """A group in slices: other shards are served while this one recovers."""
    for lo in range(0, len(records), _SLICE_RECORDS):
        apply(records[lo : lo + _SLICE_RECORDS])
        await asyncio.sleep(0)


async def prove_newest(device: BlockDevice, superblock: Superblock) -> None:
    """The other slot is unreadable: prove that it was not newer than this one, or not in use yet.

    Every group carries the generation of the newest superblock, so one with a greater generation
    than ours shows that the unreadable slot was newer and complete. Without such a group this
    slot's log is whole, and its checkpoint, if it was given up, fails its checksums.

    Raises:     CorruptError
    Cost:       reads the whole ring
    """
    log = _Log(device, superblock)
    for block in range(superblock.wal_count):
        if await log.header_at(block) is not None and log.generation_seen > superblock.generation:
            raise CorruptError(
                f"superblock slot {1 - superblock.slot}",
                offset=(1 - superblock.slot) * BLOCK,
                want=log.generation_seen,
                got="unreadable",
            )


def _starts(ring: Ring) -> Iterator[int]:
    """The blocks where the next group may begin."""
    if ring.head - ring.tail < ring.count:
        yield ring.head % ring.count
    wrapped = ring.head + -ring.head % ring.count
    if wrapped != ring.head and wrapped - ring.tail < ring.count:
        yield 0


class _Log:
    """Reads the ring through one window."""

    def __init__(self, device: BlockDevice, superblock: Superblock) -> None:
        self._device = device
        self._superblock = superblock
        self._count = superblock.wal_count
        self._tail = superblock.replay_block
        self._blocks_max = group_blocks_max(self._count)
        self._window = memoryview(b"")
        self._lo = 0
        self.generation_seen = 0

    async def group_at(self, head: int, lsn: int) -> tuple[int, GroupHeader, list[Record]] | None:
        """Group `lsn`, if it is intact where the one before it ends, or at the ring's start."""
        rest = self._count - head % self._count
        for start, contiguous in ((head, rest), (head + rest, self._count)):
            header = await self.header_at(start % self._count)
            if (
                header is None
                or header.lsn != lsn
                or header.blocks > min(self._blocks_max, contiguous)
                or start + header.blocks - self._tail > self._count
                or (start != head and header.blocks <= rest)
            ):
                continue
            if header.generation > self._superblock.generation:
                raise CorruptError(
                    "superblock is older than the log",
                    offset=self._superblock.slot * BLOCK,
                    want=header.generation,
                    got=self._superblock.generation,
                )
            run = await self._read(start % self._count, header.blocks)
            payload = run[GROUP_HEADER_SIZE : GROUP_HEADER_SIZE + header.payload_size]
            if xxh3(payload) == header.payload_sum:
                return start, header, parse_records(payload, header.record_count)
        return None

    async def header_at(self, block: int) -> GroupHeader | None:
        """The header of any group of this log that begins at `block`."""
        first = await self._read(block, 1)
        if bytes(first[: len(GROUP_MAGIC)]) != GROUP_MAGIC:
            return None
        try:
            header = GroupHeader.parse(first)
        except CorruptError:
            return None  # torn, or damaged: the caller tells which
        superblock = self._superblock
        if (
            header.uuid != superblock.uuid
            or header.generation < superblock.birth
            or header.block != block
        ):
            return None
        self.generation_seen = max(self.generation_seen, header.generation)
        return header

    async def any_later(self, head: int, lsn: int) -> bool:
        """Does a group after `lsn` begin anywhere a group after `lsn` could begin?

        Group `lsn` would stand at `head`, or at the ring's start if it did not fit there; the next
        one begins at most one largest group behind that, or at the ring's start.
        """
        if self._superblock.clean:
            return False  # nothing was written after the superblock
        ahead = self._blocks_max + 1
        rest = self._count - head % self._count
        starts = [*range(head, head + min(ahead, rest))]
        starts += range(head + rest, head + rest + (ahead if ahead > rest else 1))
        for start in starts:
            if start - self._tail >= self._count:
                break
            header = await self.header_at(start % self._count)
            if header is not None and header.lsn > lsn:
                return True
        return False

    async def data_intact(self, records: list[Record]) -> bool:
        """Do the data written beside a group match its checksums?"""
        lo, hi = self._superblock.data_first, self._superblock.size_bytes // BLOCK
        buffer = memoryview(mmap.mmap(-1, _WINDOW_BLOCKS * BLOCK))
        for record in records:
            for (block, count), want in record.writes:
                if not lo <= block < block + count <= hi:
                    raise CorruptError("log data extent", offset=block, want=hi, got=count)
                state = xxhash.xxh3_64()
                for at in range(block, block + count, _WINDOW_BLOCKS):
                    into = buffer[: min(_WINDOW_BLOCKS, block + count - at) * BLOCK]
                    await read(self._device, at * BLOCK, into)
                    state.update(into)
                if state.intdigest() != want:
                    return False
        return True

    async def _read(self, block: int, count: int) -> memoryview:
        """Blocks [block, block + count) of the ring, which do not straddle its end."""
        at = (block - self._lo) * BLOCK
        if at < 0 or at + count * BLOCK > len(self._window):
            blocks = min(max(count, _WINDOW_BLOCKS), self._count - block)
            window = memoryview(mmap.mmap(-1, blocks * BLOCK))
            await read(self._device, (self._superblock.wal_first + block) * BLOCK, window)
            self._window, self._lo, at = window, block, 0
            await asyncio.sleep(0)  # other shards are served while this one recovers
        return self._window[at : at + count * BLOCK]

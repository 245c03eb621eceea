"""The write-ahead log of one shard: group commit into a ring of blocks beside the data.

Transactions join the open group; when no group is in flight the open one is sealed and sent, with
the data its transactions wrote, as one submission with one flush:

    OPEN --commit, end of turn--> SEALED --nothing in flight--> IN FLIGHT --flush done--> DURABLE
      |                             |                               |
      +-----------------------------+--------- device error --------+--> FAILED, and all followers

A group takes whole blocks and never straddles the end of the ring: if it does not fit there it
starts over at block 0. Positions are counted without wrapping (`head`, `tail`; the block in the
ring is position % count), so used = head - tail.

Invariants:
    I1  one group is in flight at a time, so the group before it is durable, its header says so,
        and at most one group (the last) can be torn by a power cut
    I2  LSN = number of the group, +1 each; call-backs of `when_durable` run in order of LSN
    I3  a sealed group has its place in the ring: nothing that was accepted waits for a checkpoint.
        `append` refuses (AgainError) what would not fit
    I4  blocks behind `tail` are needed by nobody: a durable superblock says that replay starts at
        or after `tail`
    I5  after a failed write or flush nothing is written any more
    I6  a call-back that raises delays the others by a turn of the loop, and no more
    I7  who waits for the group in flight is told when the device is through with its buffers, not
        earlier, whatever failed

Concurrency: everything runs in the loop of the shard's owner; nothing awaits except `drained`.

Crash table (G = group in flight; earlier groups are durable):
    cut before the flush of G   any subset of G's blocks, data and log, is on the medium. Recovery
                                accepts G only if header, payload and every byte of its data check;
                                then G counts, though nobody was told
    cut after the flush of G    G is replayed; its data is verified if G is the last group

Source: DAOS src/bio/bio_wal.c bio_wal_reserve, bio_wal_commit; one group in flight instead of many
transactions, because one flush per group is what costs.
"""

from __future__ import annotations

import asyncio
import mmap
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from daos.base.checksum import xxh3
from daos.base.errors import (
    AgainError,
    DaosError,
    InvalidError,
    NvmeIoError,
    RecordTooBigError,
    ShutdownError,
)
from daos.base.ids import Lsn
from daos.bio.device import BLOCK, BlockDevice, Done, Write
from daos.bio.layout import GROUP_HEADER_SIZE, GroupHeader, group_blocks

# Largest group, and so largest transaction, whatever the ring: recovery reads it at once and, after
# the end of the log, searches twice as far for a group that must not be there.
GROUP_BLOCKS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class WalStatistics:
    """Since the log was opened, except for the blocks."""

    groups: int
    records: int
    data_bytes: int
    blocks_used: int
    blocks_total: int
    groups_waiting: int


def group_blocks_max(ring_count: int) -> int:
    """Blocks of the largest group in a ring of this size.

    A third, so that an empty ring takes one wherever its head stands.
    """
    return min(GROUP_BLOCKS_MAX, ring_count // 3)


class Ring:
    """Places in a ring of `count` blocks. Pure.

    Invariant:  0 <= head - tail <= count
    """

    __slots__ = ("count", "head", "tail")

    def __init__(self, count: int, *, tail: int, head: int) -> None:
        assert 0 <= head - tail <= count
        self.count = count
        self.tail = tail
        self.head = head

    def start_of(self, blocks: int) -> int:
        """Where the next group of that size begins."""
        rest = self.count - self.head % self.count
        return self.head if blocks <= rest else self.head + rest

    def used_with(self, blocks: int) -> int:
        """Blocks in use after a group of that size was placed; may exceed `count`."""
        return self.start_of(blocks) + blocks - self.tail

    def place(self, blocks: int) -> int:
        """Take the blocks; returns the position of the first."""
        start = self.start_of(blocks)
        self.head = start + blocks
        assert self.head - self.tail <= self.count
        return start


class _Group:
    __slots__ = (
        "blocks",
        "data_bytes",
        "lsn",
        "payload_size",
        "records",
        "room",
        "roomy",
        "start",
        "waiters",
        "writes",
    )

    def __init__(self, lsn: Lsn) -> None:
        self.lsn = lsn
        self.records: list[bytes] = []
        self.payload_size = 0
        # Payload that has been admitted, to the end of a block: while the group is open the head of
        # the ring does not move, so what fitted once will fit.
        self.room = 0
        # Payload up to which the ring has room for updates to begin, likewise; -1: not looked yet.
        self.roomy = -1
        self.writes: list[Write] = []
        self.data_bytes = 0
        self.waiters: list[Done] = []
        self.start = 0  # position in the ring, from the moment it is sealed
        self.blocks = 0


class Wal:
    """The log while the shard is open. Recovery is in `replay.py`.

    `group_bytes` and `data_bytes` end a group: a transaction that would take the open group beyond
    them opens the next one.
    """

    def __init__(
        self,
        device: BlockDevice,
        ring: Ring,
        *,
        uuid: UUID,
        first_block: int,
        generation: int,
        lsn: int,
        epoch: int,
        group_bytes: int,
        data_bytes: int,
        on_durable: Callable[[int, int], None],
    ) -> None:
        self._device = device
        self._ring = ring
        self._uuid = uuid
        self._first_block = first_block
        self._group_bytes = group_bytes
        self._data_bytes = data_bytes
        self._on_durable = on_durable
        self._loop = asyncio.get_running_loop()
        self._open = _Group(Lsn(lsn + 1))
        self._sealed: deque[_Group] = deque()
        self._in_flight: _Group | None = None
        self._drained: list[asyncio.Future[None]] = []
        self._kick_due = False
        self._buffer = memoryview(mmap.mmap(-1, 16 * BLOCK))
        self._room_waiters: list[Done] = []
        self._refused = False  # something was too large for the room there was; until `trim`
        self._failure: DaosError | None = None
        self._groups = 0
        self._records = 0
        self._data_total = 0
        self.generation = generation
        self.durable_lsn = Lsn(lsn)
        self.epoch = epoch
        self.record_size_max = group_blocks_max(ring.count) * BLOCK - GROUP_HEADER_SIZE

    @property
    def lsn_next(self) -> Lsn:
        """Number of the open group: what the next transaction gets unless it opens a new group."""
        return self._open.lsn

    @property
    def lsn_last(self) -> Lsn:
        """Number of the last group that has a transaction."""
        return self._open.lsn if self._open.records else Lsn(self._open.lsn - 1)

    @property
    def head(self) -> int:
        """Position behind the last sealed group."""
        return self._ring.head

    @property
    def failure(self) -> DaosError | None:
        return self._failure

    @property
    def idle(self) -> bool:
        """Nothing is in flight and nothing waits."""
        return self._in_flight is None and not self._sealed and not self._open.records

    @property
    def blocks_used(self) -> int:
        """Blocks in use once the open group has its place."""
        group = self._open
        return self._ring.used_with(group_blocks(group.payload_size) if group.records else 0)

    @property
    def has_room(self) -> bool:
        """A quarter of the ring is left for what has begun already, and nothing was refused."""
        if self._failure is not None or self._refused:
            return False
        group = self._open
        if group.payload_size <= group.roomy:
            return True
        if self.blocks_used * 4 > self._ring.count * 3:
            return False
        group.roomy = group_blocks(group.payload_size) * BLOCK - GROUP_HEADER_SIZE
        return True

    def append(self, record: bytes, writes: Sequence[Write], data_bytes: int) -> Lsn:
        """Join the open group; it goes out at the end of this turn or behind the one in flight.

        Units:      data_bytes counts what `writes` has, and what of the record's data was submitted
                    to the device before

        Raises:     RecordTooBigError   over `record_size_max`
                    AgainError          the ring is full: wait for `when_room`
                    NvmeIoError         an earlier group failed
        """
        group = self._open
        size = len(record)
        if group.records and (
            group.payload_size + size > self._group_bytes
            or group.data_bytes + data_bytes > self._data_bytes
        ):
            # With the open group placed, would a group of this record alone fit behind it?
            self._admit(size, behind=group)
            self.seal()
            group = self._open
        elif group.payload_size + size > group.room or self._failure is not None:
            self._admit(group.payload_size + size, behind=None)
            blocks = group_blocks(group.payload_size + size)
            group.room = blocks * BLOCK - GROUP_HEADER_SIZE
        group.records.append(record)
        group.payload_size += size
        if data_bytes:
            group.writes += writes
            group.data_bytes += data_bytes
        self._records += 1
        if not self._kick_due and self._in_flight is None:
            self._kick_due = True
            self._loop.call_soon(self._kick)
        return group.lsn

    def retract(self, record: bytes, writes: Sequence[Write], data_bytes: int) -> None:
        """Undo the `append` just done, in the same turn: the tree refused the transaction."""
        group = self._open
        assert group.records[-1] is record
        group.records.pop()
        group.payload_size -= len(record)
        del group.writes[len(group.writes) - len(writes) :]
        group.data_bytes -= data_bytes
        self._records -= 1

    def _admit(self, payload_size: int, *, behind: _Group | None) -> None:
        if self._failure is not None:
            raise self._failure
        if payload_size > self.record_size_max:
            limit = self.record_size_max
            raise RecordTooBigError(f"log record of {payload_size} bytes, the limit is {limit}")
        ring = self._ring
        if behind is not None:
            ring = Ring(ring.count, tail=ring.tail, head=ring.head)
            ring.place(group_blocks(behind.payload_size))
        if ring.used_with(group_blocks(payload_size)) > ring.count:
            self._refused = True
            raise AgainError(f"log full: {ring.head - ring.tail} of {ring.count} blocks are in use")

    def seal(self, *, empty: bool = False) -> None:
        """End the open group, so that the next transaction opens another.

        A group without transactions is sealed only if `empty`, and only if it has room: it makes
        the one before it a group that is not the last.
        """
        group = self._open
        blocks = group_blocks(group.payload_size)
        if not group.records and (not empty or self._ring.used_with(blocks) > self._ring.count):
            return
        group.blocks = blocks
        group.start = self._ring.place(blocks)
        self._sealed.append(group)
        self._open = _Group(Lsn(group.lsn + 1))
        if not self._kick_due and self._in_flight is None:
            self._kick_due = True
            self._loop.call_soon(self._kick)

    def when_durable(self, lsn: int, done: Done) -> None:
        """Call `done` once group `lsn` is durable, or with the error that prevents it.

        Called inline when the outcome is known already.

        Raises:     InvalidError   no transaction has this LSN yet
        """
        group = self._open
        if lsn == group.lsn and group.records and self._failure is None:
            group.waiters.append(done)
            return
        if lsn <= self.durable_lsn:
            done(None)
            return
        if lsn > self.lsn_last:
            raise InvalidError(f"group {lsn} has no transaction, the last is {self.lsn_last}")
        if self._in_flight is not None and lsn == self._in_flight.lsn:
            self._in_flight.waiters.append(done)
        elif self._failure is not None and self._in_flight is None:
            done(self._failure)
        elif lsn == self._open.lsn:
            self._open.waiters.append(done)
        else:
            self._sealed[lsn - self._sealed[0].lsn].waiters.append(done)

    def when_room(self, done: Done) -> None:
        """Call `done` once `has_room`, inline if it has; with the error if it never will."""
        if self._failure is not None:
            done(self._failure)
        elif self.has_room:
            done(None)
        else:
            self._room_waiters.append(done)

    def refuse_room(self, error: DaosError) -> None:
        """Room cannot be made for now: everyone who waits for it gets `error`."""
        waiters, self._room_waiters = self._room_waiters, []
        self._tell(deque(waiters), error)

    def trim(self, tail: int) -> None:
        """A durable superblock says that replay starts at position `tail`."""
        assert self._ring.tail <= tail <= self._ring.head
        self._ring.tail = tail
        self._refused = False
        if self.has_room:
            waiters, self._room_waiters = self._room_waiters, []
            self._tell(deque(waiters), None)

    def fail(self, error: DaosError) -> None:
        """Nothing more becomes durable: everyone who waits gets `error`, in order of LSN.

        But for the group in flight, whose outcome is told when it is known; then the others are.
        """
        if self._failure is not None:
            return
        self._failure = error
        if self._in_flight is None:
            self._tell_failure(deque())

    async def drained(self) -> None:
        """Wait until nothing is in flight. A cancelled caller changes nothing."""
        if self._in_flight is not None:
            future: asyncio.Future[None] = self._loop.create_future()
            self._drained.append(future)
            await future

    def _tell_failure(self, waiters: deque[Done]) -> None:
        """Tell `waiters`, then all groups that will not be sent, then who waits for room."""
        for group in (*self._sealed, self._open):
            waiters += group.waiters
            group.waiters = []
        waiters += self._room_waiters
        self._room_waiters = []
        self._tell(waiters, self._failure)

    def _tell(self, waiters: deque[Done], error: DaosError | None) -> None:
        """Call everyone; behind one who raises, the others in the next turn (I6)."""
        try:
            while waiters:
                waiters.popleft()(error)
        finally:
            if waiters:
                self._loop.call_soon(self._tell, waiters, error)

    def statistics(self) -> WalStatistics:
        return WalStatistics(
            groups=self._groups,
            records=self._records,
            data_bytes=self._data_total,
            blocks_used=self.blocks_used,
            blocks_total=self._ring.count,
            groups_waiting=len(self._sealed),
        )

    def _kick(self) -> None:
        """Send the next group, if nothing is in flight."""
        self._kick_due = True  # so that `seal` does not ask for another turn
        if self._in_flight is None and self._failure is None and not self._sealed:
            self.seal()
        self._kick_due = False
        if self._in_flight is not None or self._failure is not None or not self._sealed:
            return
        group = self._sealed.popleft()
        writes = [*group.writes, self._assemble(group)]
        self._in_flight = group
        try:
            self._device.submit_write(writes, flush=True, done=partial(self._complete, group))
        except DaosError as error:  # the writes make no sense: a bug, but nobody waits for ever
            self._complete(group, error)

    def _assemble(self, group: _Group) -> Write:
        """The group as one run. One buffer serves all, since one group is in flight (I1)."""
        payload = b"".join(group.records)
        header = GroupHeader(
            uuid=self._uuid,
            generation=self.generation,
            lsn=group.lsn,
            durable_lsn=self.durable_lsn,
            epoch=self.epoch,
            block=group.start % self._ring.count,
            payload_size=len(payload),
            record_count=len(group.records),
            payload_sum=xxh3(payload),
        )
        nbytes = group.blocks * BLOCK
        if len(self._buffer) < nbytes:
            self._buffer = memoryview(mmap.mmap(-1, 1 << (nbytes - 1).bit_length()))
        run = self._buffer[:nbytes]
        end = GROUP_HEADER_SIZE + len(payload)
        run[:GROUP_HEADER_SIZE] = header.emit()
        run[GROUP_HEADER_SIZE:end] = payload
        run[end:] = bytes(nbytes - end)
        return Write((self._first_block + header.block) * BLOCK, [run])

    def _complete(self, group: _Group, error: DaosError | None) -> None:
        assert self._in_flight is group
        assert group.lsn == self.durable_lsn + 1
        self._in_flight = None
        for future in self._drained:
            if not future.done():
                future.set_result(None)
        self._drained = []
        waiters = deque(group.waiters)
        if error is not None:
            self._failure = self._failure or _device_failure(error)
            self._tell_failure(waiters)
            return
        self.durable_lsn = group.lsn
        self._groups += 1
        self._data_total += group.data_bytes
        try:
            if self._failure is None:
                self._on_durable(group.lsn, group.data_bytes)
                self._kick()  # before the call-backs: the device works while they run
        finally:
            try:
                self._tell(waiters, None)
            finally:
                if self._failure is not None and self._in_flight is None:
                    self._tell_failure(deque())


def _device_failure(error: DaosError) -> DaosError:
    """What became of a group is not known: never NoSpaceError, which says that nothing changed."""
    if isinstance(error, NvmeIoError | ShutdownError):
        return error
    return NvmeIoError(f"log group not written: {error}")

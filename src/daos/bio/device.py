"""The block device seam: what the layers above may ask of storage, and what they get in return.

A device is an array of 4 KiB blocks with a volatile cache in front of it. Life of a submission:

    submit_write --> QUEUED --> WRITING --> [FLUSHING] --> done(None)
                        |          |             |
                        +----------+-------------+-------> done(error), the device is POISONED

    submit_read  --> QUEUED --> READING -----------------> done(None) or done(error)

Invariants, which `daos.testing.kits.block_device` checks over every implementation:
    I1  submissions of writes are performed, and complete, in the order of submission
    I2  the bytes of a write are durable once a flush submitted with or after it has completed;
        before that a power cut may keep any of its sectors
    I3  after a failed write or flush no later write touches the device: each gets NvmeIoError
        until the device is reopened. Nothing retries a failed flush.
    I4  `done` is called exactly once, by the loop, never from inside the submitting call
    I5  the caller leaves the buffers of a write alone until its `done`, and does not look at
        the buffer of a read before its `done`
    I6  a refused submission (bad bounds, bad alignment) raises and changes nothing

Offsets and lengths on the device are whole blocks. A buffer inside a write may have any length and
address as long as their sum is whole blocks; an implementation that must align them does so
itself and counts the copy.

Source: DAOS src/bio/bio_xstream.c (the SPDK blob behind it); the seam is ours, because a
simulated disk must be able to take the place of a real one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, runtime_checkable

from daos.base.errors import DaosError, InvalidError

BLOCK: Final = 4096
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")

Done = Callable[[DaosError | None], None]


class Write(NamedTuple):
    """The bytes of `buffers`, back to back, at `offset`: one or more whole blocks in all."""

    offset: int
    buffers: Sequence[memoryview]


@dataclass(frozen=True, slots=True)
class DeviceStatistics:
    """Calls made on the device since it was opened: coalesced writes count once."""

    reads: int = 0
    writes: int = 0
    flushes: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    # Reads that `read_nowait` satisfied; they are among `reads`.
    reads_nowait: int = 0
    # Bytes that went through an aligned bounce buffer because the caller's was not aligned.
    copies: int = 0
    bytes_copied: int = 0
    # Zeros written by `submit_prepare`, which is not among `writes`.
    bytes_prepared: int = 0
    # Whether writes pass the page cache by (O_DIRECT).
    direct: bool = False
    poisoned: bool = False


class BlockDevice(Protocol):
    """One device, one owner. All methods are called from the owner's event loop only."""

    @property
    def name(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...

    def submit_write(self, writes: Sequence[Write], *, flush: bool, done: Done) -> None:
        """Perform all `writes`, in any order among themselves, then one flush if asked for.

        `writes` may be empty: then it is a flush, or a marker of what was submitted before.

        Atomicity:  none; a power cut before the flush keeps any subset of the sectors
        Raises:     InvalidError   out of bounds, not whole blocks, or two writes overlap
        Done:       NoSpaceError, NvmeIoError (also: poisoned earlier), ShutdownError (closed)
        """
        ...

    def submit_read(self, offset: int, into: memoryview, done: Done) -> None:
        """Fill `into` with the bytes from `offset` on.

        Raises:     InvalidError   out of bounds, not whole blocks, or `into` is read-only
        Done:       NvmeIoError, ShutdownError (closed)
        """
        ...

    def read_nowait(self, offset: int, into: memoryview) -> bool:
        """Like `submit_read`, but only if the bytes are at hand without waiting for the medium.

        False: nothing is promised about the content of `into`; use `submit_read`.
        """
        ...

    def statistics(self) -> DeviceStatistics: ...

    async def close(self) -> None:
        """Waits for everything submitted; idempotent. Does not flush."""
        ...


@runtime_checkable
class Preparing(BlockDevice, Protocol):
    """A device that may be told where later writes will go."""

    @property
    def prepares(self) -> bool:
        """Whether it makes a difference: blocks that were never written cost more."""
        ...

    def submit_prepare(self, offset: int, nbytes: int, done: Done) -> None:
        """Make the first write of these blocks as cheap as a later one; their content is lost.

        In order with writes (I1). A failure is told, and poisons nothing: nobody relies on it.

        Raises:     InvalidError   out of bounds, not whole blocks
        Done:       NvmeIoError, ShutdownError (closed)
        """
        ...


class DeviceDirectory(Protocol):
    """The named devices of one owner."""

    async def create(self, name: str, size_bytes: int, *, zero: int = 0) -> BlockDevice:
        """A device of zeros whose space is allocated, durable (with its name) on return.

        `zero` bytes at the start are really written: the first flush over blocks that are merely
        allocated costs about twice as much (173 against 92 us on ext4), which matters to a log.

        Atomicity:  all or nothing, also across a power cut
        Raises:     ExistsError, NoSpaceError, InvalidError (name or sizes)
        """
        ...

    async def open(self, name: str) -> BlockDevice:
        """Raises: NotFoundError, BusyError (open already)."""
        ...

    async def destroy(self, name: str) -> None:
        """Durable on return. Raises: NotFoundError, BusyError (open)."""
        ...

    def names(self) -> list[str]:
        """Sorted."""
        ...

    async def close(self) -> None:
        """Closes every device that is still open; idempotent."""
        ...


def round_up(nbytes: int) -> int:
    """To whole blocks."""
    return -(-nbytes // BLOCK) * BLOCK


def check_range(size_bytes: int, offset: int, nbytes: int) -> None:
    """Raises: InvalidError unless [offset, offset + nbytes) is one or more blocks of the device."""
    if offset % BLOCK or nbytes % BLOCK:
        raise InvalidError(f"[{offset}, +{nbytes}) is not made of whole {BLOCK}-byte blocks")
    if nbytes <= 0:
        raise InvalidError(f"a transfer of {nbytes} bytes at {offset}: at least one block expected")
    if offset < 0 or offset + nbytes > size_bytes:
        raise InvalidError(f"[{offset}, +{nbytes}) lies outside the device of {size_bytes} bytes")


def check_name(name: str) -> None:
    """Raises: InvalidError unless `name` can name a device: also as a file, on any system."""
    if not _NAME.fullmatch(name):
        raise InvalidError(f"{name!r} cannot name a device: {_NAME.pattern} expected")


def check_sizes(size_bytes: int, zero: int) -> None:
    """Raises: InvalidError unless a device of `size_bytes`, `zero` of them written, can be."""
    if size_bytes <= 0 or size_bytes % BLOCK:
        raise InvalidError(f"a device of {size_bytes} bytes, not of whole {BLOCK}-byte blocks")
    if not 0 <= zero <= size_bytes:
        raise InvalidError(f"{zero} of {size_bytes} bytes to be written with zeros")


def check_writable(into: memoryview) -> None:
    """Raises: InvalidError unless bytes can be read into the view."""
    if into.readonly or not into.c_contiguous:
        raise InvalidError("a read needs a writable buffer in one piece")


def coalesce(size_bytes: int, writes: Iterable[Write]) -> list[Write]:
    """The same bytes in as few runs as possible: sorted by offset, neighbours merged.

    Raises:     InvalidError   a write fails `check_range`, or two writes overlap
    Cost:       O(n log n)
    """
    runs: list[Write] = []
    run: list[memoryview] = []
    end = -1
    for offset, buffers in sorted(writes, key=_offset_of):
        nbytes = 0
        for buffer in buffers:
            nbytes += buffer.nbytes
            if not buffer.c_contiguous:
                raise InvalidError(f"the write at {offset} has a buffer that is not in one piece")
        if (
            offset % BLOCK
            or nbytes % BLOCK
            or nbytes <= 0
            or not 0 <= offset <= size_bytes - nbytes
        ):
            check_range(size_bytes, offset, nbytes)
        if offset != end:
            if offset < end:
                raise InvalidError(f"two writes of one submission overlap at {offset}")
            run = []
            runs.append(Write(offset, run))
        run += [buffer for buffer in buffers if buffer.nbytes] if len(buffers) > 1 else buffers
        end = offset + nbytes
    return runs


def _offset_of(write: Write) -> int:
    return write.offset


async def write(device: BlockDevice, writes: Sequence[Write], *, flush: bool) -> None:
    """Submit and wait. A cancelled caller does not learn the outcome; the write goes on.

    Raises:     what `BlockDevice.submit_write` raises or passes to `done`
    """
    future, done = _waiter()
    device.submit_write(writes, flush=flush, done=done)
    await future


async def read(device: BlockDevice, offset: int, into: memoryview) -> None:
    """Read now if possible, else submit and wait.

    A cancelled caller must keep `into` until the device is closed: the read may still land in it.
    """
    if device.read_nowait(offset, into):
        return
    future, done = _waiter()
    device.submit_read(offset, into, done)
    await future


def _waiter() -> tuple[asyncio.Future[None], Done]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(error: DaosError | None) -> None:
        if future.done():
            return  # the waiting task was cancelled
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    return future, done

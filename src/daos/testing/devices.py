"""Block devices for tests: in memory, with faults, and recorded for power cuts.

    MemoryDevice      an `Image` behind the BlockDevice seam, completions by the event loop
    MemoryDirectory   named MemoryDevices; reopens from images
    FaultyDevice      wraps any device; fails, tears or flips what a `FaultPlan` names

`daos.testing.recording` builds what a power cut may leave behind.

All of them keep the contract of `daos.bio.device` (the conformance kit runs over them), use neither
threads nor clocks, and take randomness as an argument, so a seed repeats a run exactly. Order of
completion does not depend on the order in which the loop runs its ready callbacks, which a
simulated loop shuffles.

Source: ours; the fault list follows TigerBeetle's simulated storage.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Final, Self

from daos.base.errors import (
    BusyError,
    DaosError,
    ExistsError,
    InvalidError,
    NoSpaceError,
    NotFoundError,
    NvmeIoError,
    ShutdownError,
)
from daos.bio.device import (
    BLOCK,
    BlockDevice,
    DeviceStatistics,
    Done,
    Write,
    check_name,
    check_range,
    check_sizes,
    check_writable,
    coalesce,
)

_ZEROS: Final = bytes(BLOCK)


class Image:
    """The content of a device: only blocks that were written are stored, the others read as zeros.

    A stored block is an immutable `bytes`, so copies of an image share all blocks.

    Cost: `copy` O(blocks ever written), reads and writes O(blocks touched)
    """

    __slots__ = ("blocks", "size_bytes")

    def __init__(self, size_bytes: int) -> None:
        if size_bytes <= 0 or size_bytes % BLOCK:
            raise InvalidError(
                f"a device of {size_bytes} bytes: whole {BLOCK}-byte blocks expected"
            )
        self.size_bytes = size_bytes
        self.blocks: dict[int, bytes] = {}

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview) -> Self:
        image = cls(len(data))
        image.write(0, data)
        return image

    def copy(self) -> Image:
        other = Image(self.size_bytes)
        other.blocks = self.blocks.copy()
        return other

    def read(self, offset: int, nbytes: int) -> bytes:
        """Any alignment."""
        self._check(offset, nbytes)
        first, last = offset // BLOCK, -(-(offset + nbytes) // BLOCK)
        get = self.blocks.get
        data = b"".join([get(block, _ZEROS) for block in range(first, last)])
        start = offset - first * BLOCK
        return data if start == 0 and len(data) == nbytes else data[start : start + nbytes]

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Any alignment; this is also how a test damages a device."""
        nbytes = len(data)
        self._check(offset, nbytes)
        first, start = divmod(offset, BLOCK)
        if start or nbytes % BLOCK:
            whole = -(-(start + nbytes) // BLOCK) * BLOCK
            padded = bytearray(self.read(first * BLOCK, whole))
            padded[start : start + nbytes] = data
            data = padded
        view = memoryview(data)
        for block, lo in enumerate(range(0, len(view), BLOCK), first):
            self.blocks[block] = bytes(view[lo : lo + BLOCK])

    def flip(self, offset: int, bit: int = 0) -> None:
        """Invert one bit of the byte at `offset`."""
        self.write(offset, bytes([self.read(offset, 1)[0] ^ 1 << bit]))

    def __bytes__(self) -> bytes:
        return self.read(0, self.size_bytes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Image):
            return NotImplemented
        blocks = self.blocks.keys() | other.blocks.keys()
        return self.size_bytes == other.size_bytes and all(
            self.blocks.get(block, _ZEROS) == other.blocks.get(block, _ZEROS) for block in blocks
        )

    __hash__ = None  # type: ignore[assignment]  # mutable

    def _check(self, offset: int, nbytes: int) -> None:
        if offset < 0 or nbytes < 0 or offset + nbytes > self.size_bytes:
            raise InvalidError(f"[{offset}, +{nbytes}) outside an image of {self.size_bytes} bytes")


class MemoryDevice:
    """A device in memory. Buffers are read and filled at completion, not at submission, so that a
    caller who touches them too early (invariant I5) sees wrong bytes.

    `cached`: whether `read_nowait` finds the bytes; may be changed at any time.
    """

    def __init__(
        self, size_bytes: int, *, name: str = "memory", image: Image | None = None
    ) -> None:
        self.image = Image(size_bytes) if image is None else image
        if self.image.size_bytes != size_bytes:
            raise InvalidError(f"an image of {self.image.size_bytes} bytes, not {size_bytes}")
        self.name = name
        self.size_bytes = size_bytes
        self.cached = True
        self._reads = self._writes = self._flushes = self._reads_nowait = 0
        self._bytes_read = self._bytes_written = 0
        self._queue: deque[Callable[[], None]] = deque()
        self._closed = False
        self._on_close: Callable[[], None] | None = None

    def submit_write(self, writes: Sequence[Write], *, flush: bool, done: Done) -> None:
        runs = coalesce(self.size_bytes, writes)
        self._submit(partial(self._perform, runs, flush=flush), done)

    def submit_read(self, offset: int, into: memoryview, done: Done) -> None:
        check_range(self.size_bytes, offset, into.nbytes)
        check_writable(into)
        self._submit(partial(self._read, offset, into), done)

    def read_nowait(self, offset: int, into: memoryview) -> bool:
        check_range(self.size_bytes, offset, into.nbytes)
        check_writable(into)
        if self._closed:
            raise ShutdownError(f"device {self.name} is closed")
        if not self.cached:
            return False
        self._read(offset, into)
        self._reads_nowait += 1
        return True

    def statistics(self) -> DeviceStatistics:
        return DeviceStatistics(
            reads=self._reads,
            writes=self._writes,
            flushes=self._flushes,
            bytes_read=self._bytes_read,
            bytes_written=self._bytes_written,
            reads_nowait=self._reads_nowait,
        )

    async def close(self) -> None:
        self._closed = True
        if self._queue:
            drained = asyncio.get_running_loop().create_future()
            self._enqueue(partial(drained.set_result, None))
            await drained
        if self._on_close is not None:
            self._on_close()
            self._on_close = None

    def _submit(self, operation: Callable[[], None], done: Done) -> None:
        if self._closed:
            error = ShutdownError(f"device {self.name} is closed")
            asyncio.get_running_loop().call_soon(done, error)
            return

        def perform() -> None:
            operation()
            done(None)

        self._enqueue(perform)

    def _enqueue(self, step: Callable[[], None]) -> None:
        self._queue.append(step)
        asyncio.get_running_loop().call_soon(self._step)

    def _step(self) -> None:
        # Each callback takes the oldest step, not "its" step: a simulated loop shuffles callbacks.
        self._queue.popleft()()

    def _perform(self, runs: Sequence[Write], *, flush: bool) -> None:
        for offset, buffers in runs:
            data = b"".join(buffers)
            self._land(offset, data)
            self._writes += 1
            self._bytes_written += len(data)
        if flush:
            self._flush()
            self._flushes += 1

    def _land(self, offset: int, data: bytes) -> None:
        self.image.write(offset, data)

    def _flush(self) -> None:
        """Memory has no cache in front of it."""

    def _read(self, offset: int, into: memoryview) -> None:
        into.cast("B")[:] = self.image.read(offset, into.nbytes)
        self._reads += 1
        self._bytes_read += into.nbytes


class MemoryDirectory:
    """Named MemoryDevices. `images` is the content on power-up, and stays the truth throughout:
    the directory, all its devices and a later directory over the same mapping share it."""

    def __init__(self, images: dict[str, Image] | None = None) -> None:
        self.images: dict[str, Image] = {} if images is None else images
        self._open: dict[str, MemoryDevice] = {}

    async def create(self, name: str, size_bytes: int, *, zero: int = 0) -> MemoryDevice:
        check_name(name)
        check_sizes(size_bytes, zero)
        if name in self.images:
            raise ExistsError(f"device {name!r} exists")
        image = Image(size_bytes)
        self.images[name] = image
        self._created(name, size_bytes)
        return await self.open(name)

    async def open(self, name: str) -> MemoryDevice:
        check_name(name)
        if name not in self.images:
            raise NotFoundError(f"no device {name!r}")
        if name in self._open:
            raise BusyError(f"device {name!r} is open")
        device = self._make(name, self.images[name])
        device._on_close = partial(self._forget, name)
        self._open[name] = device
        return device

    async def destroy(self, name: str) -> None:
        check_name(name)
        if name not in self.images:
            raise NotFoundError(f"no device {name!r}")
        if name in self._open:
            raise BusyError(f"device {name!r} is open")
        del self.images[name]
        self._destroyed(name)

    def names(self) -> list[str]:
        return sorted(self.images)

    async def close(self) -> None:
        for device in list(self._open.values()):
            await device.close()

    def _forget(self, name: str) -> None:
        del self._open[name]

    def _make(self, name: str, image: Image) -> MemoryDevice:
        return MemoryDevice(image.size_bytes, name=name, image=image)

    def _created(self, name: str, size_bytes: int) -> None:
        """For a directory that keeps a journal."""

    def _destroyed(self, name: str) -> None:
        """For a directory that keeps a journal."""


class Left(Enum):
    """What a failing write leaves on the medium."""

    NOTHING = "nothing"
    SHORT = "short"  # a prefix of its blocks
    TORN = "torn"  # any subset of its blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """Which calls go wrong. Numbers count from 1, per kind, in the order of submission."""

    fail_write: int | None = None  # of submissions with writes: NvmeIoError
    full_write: int | None = None  # of submissions with writes: NoSpaceError
    left: Left = Left.NOTHING  # by the failing or full write
    fail_flush: int | None = None  # of submissions with a flush; the writes before it landed
    fail_reads: frozenset[int] = frozenset()
    flip_reads: frozenset[int] = frozenset()  # one bit of the answer is wrong


class FaultyDevice:
    """Any device, with the faults of a plan. Without a plan it is the device inside."""

    def __init__(
        self, inner: BlockDevice, rng: random.Random, plan: FaultPlan | None = None
    ) -> None:
        self.inner = inner
        self.plan = FaultPlan() if plan is None else plan
        self.writes_seen = 0
        self.flushes_seen = 0
        self.reads_seen = 0
        self._rng = rng
        self._poison: str | None = None

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def size_bytes(self) -> int:
        return self.inner.size_bytes

    def submit_write(self, writes: Sequence[Write], *, flush: bool, done: Done) -> None:
        runs = coalesce(self.size_bytes, writes)
        if self._poison is not None:
            error = NvmeIoError(f"device {self.name} is poisoned: {self._poison}")
            self._fail([], error, done)
            return
        self.writes_seen += bool(runs)
        self.flushes_seen += flush
        if runs and self.writes_seen == self.plan.fail_write:
            self._fail(self._rest(runs), NvmeIoError(f"device {self.name}: write failed"), done)
        elif runs and self.writes_seen == self.plan.full_write:
            self._fail(self._rest(runs), NoSpaceError(f"device {self.name} is full"), done)
        elif flush and self.flushes_seen == self.plan.fail_flush:
            self._fail(runs, NvmeIoError(f"device {self.name}: flush failed"), done)
        else:
            self.inner.submit_write(runs, flush=flush, done=done)

    def submit_read(self, offset: int, into: memoryview, done: Done) -> None:
        number = self.reads_seen + 1

        def finish(error: DaosError | None) -> None:
            if error is None and number in self.plan.fail_reads:
                error = NvmeIoError(f"device {self.name}: read of {offset} failed")
            elif error is None and number in self.plan.flip_reads:
                self._flip(into)
            done(error)

        self.inner.submit_read(offset, into, finish)
        self.reads_seen = number

    def read_nowait(self, offset: int, into: memoryview) -> bool:
        number = self.reads_seen + 1
        if not self.inner.read_nowait(offset, into) or number in self.plan.fail_reads:
            return False  # a failure is told to `submit_read` only
        self.reads_seen = number
        if number in self.plan.flip_reads:
            self._flip(into)
        return True

    def statistics(self) -> DeviceStatistics:
        statistics = self.inner.statistics()
        return replace(statistics, poisoned=statistics.poisoned or self._poison is not None)

    async def close(self) -> None:
        await self.inner.close()

    def _fail(self, runs: Sequence[Write], error: DaosError, done: Done) -> None:
        if self._poison is None:
            self._poison = error.message
        # Through the device inside, even if nothing is written: completions keep their order.
        self.inner.submit_write(runs, flush=False, done=lambda inner: done(inner or error))

    def _rest(self, runs: Sequence[Write]) -> list[Write]:
        blocks = [
            Write(offset + lo, (memoryview(data)[lo : lo + BLOCK],))
            for offset, data in ((run.offset, b"".join(run.buffers)) for run in runs)
            for lo in range(0, len(data), BLOCK)
        ]
        match self.plan.left:
            case Left.NOTHING:
                return []
            case Left.SHORT:
                return blocks[: self._rng.randrange(len(blocks))]
            case Left.TORN:
                return [block for block in blocks if self._rng.random() < 0.5]

    def _flip(self, into: memoryview) -> None:
        view = into.cast("B")
        view[self._rng.randrange(view.nbytes)] ^= 1 << self._rng.randrange(8)


def images_of(contents: Mapping[str, bytes]) -> dict[str, Image]:
    """Images for a MemoryDirectory out of plain bytes."""
    return {name: Image.of(data) for name, data in contents.items()}

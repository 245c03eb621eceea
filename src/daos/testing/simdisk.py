"""The disk of a simulated host: slow, full, failing, and gone dark in the middle of a write.

    submit_write --delay--> in the device's cache --delay--> flushed, done
                                 |                              |
                                 doubtful: a power cut keeps    durable
                                 any sectors of it

A `SimDisk` outlives the boots of its host. Each boot opens a `directory()` over it; `power_off`
kills that directory's devices and leaves on the disk what a power cut may leave: each block written
since the last flush is old, new or torn, as the generator decides. What dead devices get fails
without effect, so that what is left of a dead system can do no harm.

Faults are fields, changed at any time: see `Wear`. `rot` damages what is durable, for good. No
device lies about a flush.

Source: ours; the fault list follows TigerBeetle's src/testing/storage.zig.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from daos.base.errors import DaosError, NoSpaceError, NvmeIoError, ShutdownError
from daos.bio.device import (
    BLOCK,
    DeviceStatistics,
    Done,
    Write,
    check_range,
    check_writable,
    coalesce,
)
from daos.testing.devices import Image, MemoryDevice, MemoryDirectory
from daos.testing.recording import keep_some


@dataclass(slots=True, kw_only=True)
class Wear:
    """How a disk behaves now. Seconds, and shares of submissions."""

    delay_s: float = 0.000_05
    spread_s: float = 0.000_05
    fail_rate: float = 0.0  # of writes: NvmeIoError, some of it landed, poisoned until reopened
    fail_flush_rate: float = 0.0  # of flushes: NvmeIoError, nothing became durable; poisoned
    flip_rate: float = 0.0  # of reads: one bit of the answer is wrong
    bytes_max: int = 1 << 40  # of all devices together; more is NoSpaceError at creation


class SimDisk:
    """See the module."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.wear = Wear()
        self.images: dict[str, Image] = {}  # what a power cut right now surely leaves
        self.writes_failed = 0
        self.reads_flipped = 0
        self.blocks_in_doubt = 0  # at all power cuts
        self._directory: SimDirectory | None = None

    def directory(self) -> SimDirectory:
        """The devices, for one boot of the host."""
        assert self._directory is None or self._directory.dead, "one boot at a time"
        self._directory = SimDirectory(self)
        return self._directory

    def power_off(self) -> None:
        """Cut the power: the boot's devices are dead, and what was in doubt is decided."""
        directory, self._directory = self._directory, None
        if directory is not None:
            directory.power_off()

    def rot(self, name: str, offset: int, bit: int) -> None:
        """Invert a bit of what is durable, for good; who has the device open reads it so, too."""
        self.images[name].flip(offset, bit)
        if self._directory is not None:
            self._directory.rot(name, offset, bit)

    @property
    def bytes_used(self) -> int:
        return sum(image.size_bytes for image in self.images.values())


class SimDirectory(MemoryDirectory):
    """The devices of one boot."""

    def __init__(self, disk: SimDisk) -> None:
        super().__init__(disk.images)
        self.dead = False
        self._disk = disk
        # By device: blocks written since its last flush, oldest content first.
        self.doubtful: dict[str, dict[int, list[bytes]]] = {}

    async def create(self, name: str, size_bytes: int, *, zero: int = 0) -> MemoryDevice:
        self._check_power()
        if self._disk.bytes_used + size_bytes > self._disk.wear.bytes_max:
            raise NoSpaceError(f"the disk has no {size_bytes} bytes for {name!r}")
        return await super().create(name, size_bytes, zero=zero)

    async def open(self, name: str) -> MemoryDevice:
        self._check_power()
        return await super().open(name)

    async def destroy(self, name: str) -> None:
        self._check_power()
        await super().destroy(name)
        self.doubtful.pop(name, None)

    def power_off(self) -> None:
        self.dead = True
        for name in sorted(self.doubtful):
            doubtful = self.doubtful[name]
            if doubtful:
                self._disk.blocks_in_doubt += len(doubtful)
                keep_some(self.images[name], doubtful, self._disk.rng, torn=True)
        # Who is still at work on the old boot must not see the next one's disk.
        self.images = dict(self.images)

    def rot(self, name: str, offset: int, bit: int) -> None:
        device = self._open.get(name)
        if isinstance(device, SimDevice):
            device.rot(offset, bit)

    def _make(self, name: str, image: Image) -> MemoryDevice:
        return SimDevice(self, self._disk, name, image)

    def _check_power(self) -> None:
        if self.dead:
            raise NvmeIoError("the disk has no power")


class SimDevice(MemoryDevice):
    """A device of a SimDisk. `image` is what is durable; reads see what was written."""

    def __init__(self, directory: SimDirectory, disk: SimDisk, name: str, image: Image) -> None:
        super().__init__(image.size_bytes, name=name, image=image)
        self.cached = False
        self._directory = directory
        self._disk = disk
        self._written = image.copy()
        self._doubtful = directory.doubtful.setdefault(name, {})
        for block, versions in self._doubtful.items():  # since an earlier opening of this boot
            self._written.blocks[block] = versions[-1]
        self._poison: NvmeIoError | None = None
        self._steps: deque[Callable[[], None]] = deque()
        self._free_at = 0.0
        self._running = 0
        self._idle: asyncio.Future[None] | None = None

    def submit_write(self, writes: Sequence[Write], *, flush: bool, done: Done) -> None:
        runs = coalesce(self.size_bytes, writes)
        disk = self._disk
        error = self._refusal()
        if error is None and runs and disk.rng.random() < disk.wear.fail_rate:
            disk.writes_failed += 1
            error = self._poison = NvmeIoError(f"device {self.name}: write failed")
            self._in_turn(partial(self._land_some, runs))
        elif error is None and runs:
            self._in_turn(partial(self._land_all, runs))
        if error is None and flush:
            if disk.rng.random() < disk.wear.fail_flush_rate:
                disk.writes_failed += 1
                error = self._poison = NvmeIoError(f"device {self.name}: flush failed")
            else:
                self._in_turn(self._flush)
        self._in_turn(partial(done, error), delay=False)

    def submit_read(self, offset: int, into: memoryview, done: Done) -> None:
        check_range(self.size_bytes, offset, into.nbytes)
        check_writable(into)
        self._running += 1
        closed = ShutdownError(f"device {self.name} is closed") if self._closed else None

        def perform() -> None:
            error = closed or self._refusal(reading=True)
            if error is None:
                self._read(offset, into)
            self._ended()
            done(error)

        asyncio.get_running_loop().call_later(self._delay(), perform)

    def read_nowait(self, offset: int, into: memoryview) -> bool:
        if self._directory.dead:
            check_range(self.size_bytes, offset, into.nbytes)
            return False
        return super().read_nowait(offset, into)

    def statistics(self) -> DeviceStatistics:
        return replace(super().statistics(), poisoned=self._poison is not None)

    async def close(self) -> None:
        self._closed = True
        if self._running:
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)
        if self._on_close is not None:
            self._on_close()
            self._on_close = None

    def rot(self, offset: int, bit: int) -> None:
        """What was written since is not touched: it is on its way over the damage."""
        if offset // BLOCK not in self._doubtful:
            self._written.flip(offset, bit)

    def _in_turn(self, step: Callable[[], None], *, delay: bool = True) -> None:
        """Perform steps one after the other, whatever order the loop runs call-backs in."""
        loop = asyncio.get_running_loop()
        self._free_at = max(self._free_at, loop.time()) + (self._delay() if delay else 0.0)
        self._steps.append(step)
        self._running += 1
        loop.call_at(self._free_at, self._step)

    def _step(self) -> None:
        step = self._steps.popleft()
        self._ended()
        step()

    def _ended(self) -> None:
        self._running -= 1
        if not self._running and self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    def _delay(self) -> float:
        wear = self._disk.wear
        return wear.delay_s + wear.spread_s * self._disk.rng.random()

    def _refusal(self, *, reading: bool = False) -> DaosError | None:
        if self._directory.dead:
            return NvmeIoError(f"device {self.name} has no power")
        if self._closed and not reading:
            return ShutdownError(f"device {self.name} is closed")
        if self._poison is not None and not reading:
            return NvmeIoError(f"device {self.name} is poisoned: {self._poison.message}")
        return None

    def _land_all(self, runs: Sequence[Write]) -> None:
        for offset, buffers in runs:
            data = b"".join(buffers)
            self._put(offset, data)
            self._writes += 1
            self._bytes_written += len(data)

    def _land_some(self, runs: Sequence[Write]) -> None:
        for offset, buffers in runs:
            data = b"".join(buffers)
            for lo in range(0, len(data), BLOCK):
                if self._disk.rng.random() < 0.5:
                    self._put(offset + lo, data[lo : lo + BLOCK])

    def _put(self, offset: int, data: bytes) -> None:
        if self._directory.dead:
            return
        self._written.write(offset, data)
        blocks = self._written.blocks
        for block in range(offset // BLOCK, (offset + len(data)) // BLOCK):
            self._doubtful.setdefault(block, []).append(blocks[block])

    def _flush(self) -> None:
        if self._directory.dead:
            return
        for block, versions in self._doubtful.items():
            self.image.blocks[block] = versions[-1]
        self._doubtful.clear()
        self._flushes += 1

    def _read(self, offset: int, into: memoryview) -> None:
        view = into.cast("B")
        view[:] = self._written.read(offset, into.nbytes)
        self._reads += 1
        self._bytes_read += into.nbytes
        rng = self._disk.rng
        if self._disk.wear.flip_rate and rng.random() < self._disk.wear.flip_rate:
            self._disk.reads_flipped += 1
            view[rng.randrange(view.nbytes)] ^= 1 << rng.randrange(8)

"""Conformance kits of the BlockDevice and DeviceDirectory seams.

A test module subclasses a kit and says how to open the implementation at hand:

    class TestMemory(BlockDeviceKit):
        def setup_method(self) -> None:
            self.image = Image(self.size_bytes)

        async def open_device(self) -> BlockDevice:
            return MemoryDevice(self.size_bytes, image=self.image)

Each test then runs against it; the invariants I1 to I6 are those of `daos.bio.device`. Whatever is
fit to stand in for a device, ours or not, passes.

Source: ours; the form follows trio's `check_one_way_stream`.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import ClassVar

import pytest

from daos.base.errors import (
    BusyError,
    DaosError,
    ExistsError,
    InvalidError,
    NotFoundError,
    NvmeIoError,
    ShutdownError,
)
from daos.bio.device import (
    BLOCK,
    BlockDevice,
    DeviceDirectory,
    Done,
    Preparing,
    Write,
    read,
    write,
)

MIB = 1 << 20
# Longest wait for a callback: a broken device fails its test instead of hanging it.
PATIENCE_S = 30


class Outcomes:
    """Callbacks that note who was told what, in which order."""

    def __init__(self) -> None:
        self.told: list[tuple[object, DaosError | None]] = []
        self._wanted = 0
        self._all: asyncio.Future[None] | None = None

    def done(self, label: object) -> Done:
        return partial(self._tell, label)

    async def wait(self, count: int) -> None:
        """Until `count` callbacks in all have come."""
        self._wanted = count
        if len(self.told) < count:
            self._all = asyncio.get_running_loop().create_future()
            async with asyncio.timeout(PATIENCE_S):
                await self._all

    @property
    def labels(self) -> list[object]:
        return [label for label, _ in self.told]

    @property
    def errors(self) -> list[DaosError]:
        return [error for _, error in self.told if error is not None]

    def _tell(self, label: object, error: DaosError | None) -> None:
        self.told.append((label, error))
        if self._all is not None and len(self.told) >= self._wanted and not self._all.done():
            self._all.set_result(None)


def pattern(seed: int, nbytes: int = BLOCK) -> bytes:
    return random.Random(seed).randbytes(nbytes)


def blocks(*contents: bytes) -> list[memoryview]:
    return [memoryview(content) for content in contents]


async def content(device: BlockDevice, offset: int, nbytes: int = BLOCK) -> bytes:
    into = memoryview(bytearray(b"\xee" * nbytes))
    await read(device, offset, into)
    return bytes(into)


class BlockDeviceKit(ABC):
    """Every implementation passes all of these."""

    size_bytes: ClassVar[int] = 4 * MIB

    @abstractmethod
    async def open_device(self) -> BlockDevice:
        """The device under test, of `size_bytes`: zeros at first, then what the last one left."""

    @asynccontextmanager
    async def device(self) -> AsyncIterator[BlockDevice]:
        device = await self.open_device()
        try:
            yield device
        finally:
            await device.close()

    def test_starts_with_zeros_and_its_size(self) -> None:
        async def main() -> None:
            async with self.device() as device:
                assert device.size_bytes == self.size_bytes
                assert device.name
                for offset in (0, self.size_bytes // 2, self.size_bytes - BLOCK):
                    assert await content(device, offset) == bytes(BLOCK)

        asyncio.run(main())

    def test_what_was_flushed_is_there_after_reopening(self) -> None:
        data = pattern(1, 3 * BLOCK)

        async def main() -> None:
            async with self.device() as device:
                await write(device, [Write(BLOCK, blocks(data))], flush=True)
                assert await content(device, BLOCK, len(data)) == data
            async with self.device() as device:
                assert await content(device, BLOCK, len(data)) == data
                assert await content(device, 0) == bytes(BLOCK)
                assert await content(device, 4 * BLOCK) == bytes(BLOCK)

        asyncio.run(main())

    def test_first_and_last_block(self) -> None:
        last = self.size_bytes - BLOCK

        async def main() -> None:
            async with self.device() as device:
                writes = [Write(last, blocks(pattern(1))), Write(0, blocks(pattern(2)))]
                await write(device, writes, flush=True)
                assert await content(device, last) == pattern(1)
                assert await content(device, 0) == pattern(2)

        asyncio.run(main())

    def test_large_transfers(self) -> None:
        data = pattern(3, 2 * MIB)

        async def main() -> None:
            async with self.device() as device:
                await write(device, [Write(MIB, blocks(data))], flush=False)
                assert await content(device, MIB, len(data)) == data
                assert await content(device, 2 * MIB, MIB) == data[MIB:]

        asyncio.run(main())

    def test_adjacent_writes_become_one(self) -> None:
        async def main() -> None:
            async with self.device() as device:
                writes = [Write(BLOCK * n, blocks(pattern(n))) for n in (3, 1, 2, 0)]
                await write(device, [*writes, Write(9 * BLOCK, blocks(pattern(9)))], flush=True)
                for n in (0, 1, 2, 3, 9):
                    assert await content(device, n * BLOCK) == pattern(n)
                statistics = device.statistics()
                assert statistics.writes == 2
                assert statistics.flushes == 1
                assert statistics.bytes_written == 5 * BLOCK

        asyncio.run(main())

    def test_a_write_of_very_many_buffers(self) -> None:
        count = 2500  # more than one pwritev takes

        async def main() -> None:
            data = pattern(4, count * 512 // BLOCK * BLOCK + BLOCK)
            pieces = [memoryview(data)[lo : lo + 512] for lo in range(0, len(data), 512)]
            assert len(pieces) > 2048
            async with self.device() as device:
                await write(device, [Write(0, pieces)], flush=False)
                assert await content(device, 0, len(data)) == data

        asyncio.run(main())

    def test_buffers_of_any_length_and_address(self) -> None:
        data = pattern(5, 4 * BLOCK)
        memory = memoryview(bytearray(b"x" + data))[1:]
        cuts = [0, 1, 1, 700, 4096, 4097, 8192, 9000, 4 * BLOCK]
        pieces = [memory[lo:hi] for lo, hi in pairwise(cuts)]
        into = memoryview(bytearray(4 * BLOCK + 3))[3:]

        async def main() -> None:
            async with self.device() as device:
                await write(device, [Write(BLOCK, pieces)], flush=True)
                await read(device, BLOCK, into)
                assert bytes(into) == data

        asyncio.run(main())

    def test_submissions_complete_in_order_and_the_later_one_wins(self) -> None:
        async def main() -> None:
            outcomes = Outcomes()
            async with self.device() as device:
                for n in range(60):
                    writes = [Write(0, blocks(pattern(n)))] if n % 7 else []
                    device.submit_write(writes, flush=n % 3 == 0, done=outcomes.done(n))
                await outcomes.wait(60)
                assert outcomes.labels == list(range(60))
                assert not outcomes.errors
                assert await content(device, 0) == pattern(59)
                assert device.statistics().flushes == 20

        asyncio.run(main())

    def test_done_is_never_called_inside_submit(self) -> None:
        async def main() -> None:
            outcomes = Outcomes()
            into = memoryview(bytearray(BLOCK))
            async with self.device() as device:
                device.submit_write(
                    [Write(0, blocks(pattern(1)))], flush=True, done=outcomes.done(1)
                )
                device.submit_write([], flush=True, done=outcomes.done(2))
                device.submit_write([], flush=False, done=outcomes.done(3))
                assert outcomes.told == []
                await outcomes.wait(3)
                device.submit_read(0, into, outcomes.done(4))
                assert len(outcomes.told) == 3
                await outcomes.wait(4)
                assert outcomes.told == [(n, None) for n in (1, 2, 3, 4)]
                assert bytes(into) == pattern(1)
                statistics = device.statistics()
                assert (statistics.writes, statistics.flushes) == (1, 2)

        asyncio.run(main())

    @pytest.mark.parametrize(
        ("offset", "nbytes"),
        [
            (0, 0),
            (1, BLOCK),
            (512, BLOCK),
            (0, BLOCK - 1),
            (0, 512),
            (-BLOCK, BLOCK),
            (4 * MIB, BLOCK),
            (4 * MIB - BLOCK, 2 * BLOCK),
            (1 << 62, BLOCK),
        ],
    )
    def test_bad_ranges_are_refused_and_change_nothing(self, offset: int, nbytes: int) -> None:
        async def main() -> None:
            outcomes = Outcomes()
            good = Write(0, blocks(pattern(1)))
            into = memoryview(bytearray(nbytes))
            async with self.device() as device:
                bad = Write(offset, [into])
                with pytest.raises(InvalidError):
                    device.submit_write([good, bad], flush=True, done=outcomes.done("write"))
                with pytest.raises(InvalidError):
                    device.submit_read(offset, into, outcomes.done("read"))
                with pytest.raises(InvalidError):
                    device.read_nowait(offset, into)
                await write(device, [], flush=False)
                assert outcomes.told == []
                assert await content(device, 0) == bytes(BLOCK)
                assert (device.statistics().writes, device.statistics().flushes) == (0, 0)

        asyncio.run(main())

    def test_overlapping_and_scattered_buffers_are_refused(self) -> None:
        async def main() -> None:
            outcomes = Outcomes()
            two = Write(0, blocks(pattern(1, 2 * BLOCK)))
            scattered = memoryview(bytearray(2 * BLOCK))[::2]
            refused = [
                [two, Write(BLOCK, blocks(pattern(2)))],
                [two, two],
                [Write(0, [scattered])],
            ]
            async with self.device() as device:
                for writes in refused:
                    with pytest.raises(InvalidError):
                        device.submit_write(writes, flush=False, done=outcomes.done("write"))
                for into in (scattered, memoryview(bytes(BLOCK))):
                    with pytest.raises(InvalidError):
                        device.submit_read(0, into, outcomes.done("read"))
                    with pytest.raises(InvalidError):
                        device.read_nowait(0, into)
                await write(device, [], flush=True)
                assert outcomes.told == []
                assert await content(device, 0, 2 * BLOCK) == bytes(2 * BLOCK)

        asyncio.run(main())

    def test_read_nowait_tells_the_truth_or_declines(self) -> None:
        async def main() -> None:
            async with self.device() as device:
                for n in range(20):
                    await write(device, [Write(n * BLOCK, blocks(pattern(n)))], flush=False)
                    await write(device, [Write(n * BLOCK, blocks(pattern(-n)))], flush=n % 2 == 0)
                    for _ in range(2):
                        into = memoryview(bytearray(BLOCK))
                        if device.read_nowait(n * BLOCK, into):
                            assert bytes(into) == pattern(-n)
                        assert await content(device, n * BLOCK) == pattern(-n)

        asyncio.run(main())

    def test_many_reads_at_once(self) -> None:
        order = random.Random(6).choices(range(64), k=300)

        async def main() -> None:
            outcomes = Outcomes()
            async with self.device() as device:
                data = [pattern(n) for n in range(64)]
                await write(device, [Write(0, blocks(*data))], flush=True)
                buffers = [memoryview(bytearray(BLOCK)) for _ in order]
                for n, into in zip(order, buffers, strict=True):
                    device.submit_read(n * BLOCK, into, outcomes.done(n))
                await outcomes.wait(len(order))
                assert not outcomes.errors
                assert [bytes(into) for into in buffers] == [data[n] for n in order]
                statistics = device.statistics()
                assert statistics.reads == len(order)
                assert statistics.bytes_read == len(order) * BLOCK
                assert statistics.reads_nowait == 0

        asyncio.run(main())

    def test_reads_beside_writes(self) -> None:
        async def main() -> None:
            outcomes = Outcomes()
            async with self.device() as device:
                await write(device, [Write(0, blocks(pattern(1)))], flush=True)
                into = memoryview(bytearray(BLOCK))
                for n in range(30):
                    writes = [Write((1 + n) * BLOCK, blocks(pattern(n)))]
                    device.submit_write(writes, flush=True, done=outcomes.done("write"))
                    device.submit_read(0, into, outcomes.done("read"))
                await outcomes.wait(60)
                assert not outcomes.errors
                assert bytes(into) == pattern(1)

        asyncio.run(main())

    def test_preparing_is_in_order_and_loses_no_other_content(self) -> None:
        async def main() -> None:
            outcomes = Outcomes()
            async with self.device() as device:
                if not isinstance(device, Preparing):
                    pytest.skip("this device makes nothing of what will be written")
                await write(device, [Write(0, blocks(*[pattern(1)] * 8))], flush=True)
                device.submit_prepare(2 * BLOCK, 4 * BLOCK, outcomes.done("prepared"))
                later = [Write(3 * BLOCK, blocks(pattern(2)))]
                device.submit_write(later, flush=True, done=outcomes.done("written"))
                assert outcomes.told == []
                await outcomes.wait(2)
                assert outcomes.labels == ["prepared", "written"]
                assert not outcomes.errors
                for lo, nbytes in ((1, BLOCK), (0, 0), (0, -BLOCK), (self.size_bytes, BLOCK)):
                    with pytest.raises(InvalidError):
                        device.submit_prepare(lo, nbytes, outcomes.done("bad"))
            device.submit_prepare(0, BLOCK, outcomes.done("closed"))
            await outcomes.wait(3)
            assert [type(error) for error in outcomes.errors] == [ShutdownError]
            async with self.device() as again:
                assert await content(again, 3 * BLOCK) == pattern(2)
                for block in (0, 1, 6, 7):
                    assert await content(again, block * BLOCK) == pattern(1)

        asyncio.run(main())

    def test_close_waits_for_what_is_queued(self) -> None:
        async def main() -> None:
            outcomes = Outcomes()
            device = await self.open_device()
            into = [memoryview(bytearray(BLOCK)) for _ in range(20)]
            await write(device, [Write(0, blocks(pattern(0)))], flush=True)
            for n in range(20):
                writes = [Write((1 + n) * BLOCK, blocks(pattern(n)))]
                device.submit_write(writes, flush=n % 2 == 0, done=outcomes.done("write"))
                device.submit_read(0, into[n], outcomes.done("read"))
            await asyncio.gather(device.close(), device.close())
            assert len(outcomes.told) == 40
            assert not outcomes.errors
            assert all(bytes(view) == pattern(0) for view in into)
            await device.close()
            async with self.device() as again:
                for n in range(20):
                    assert await content(again, (1 + n) * BLOCK) == pattern(n)

        asyncio.run(main())

    def test_closed_means_closed(self) -> None:
        async def main() -> None:
            outcomes = Outcomes()
            device = await self.open_device()
            await device.close()
            into = memoryview(bytearray(BLOCK))
            device.submit_write([Write(0, blocks(pattern(1)))], flush=True, done=outcomes.done(1))
            device.submit_read(0, into, outcomes.done(2))
            assert outcomes.told == []
            await outcomes.wait(2)
            assert [type(error) for error in outcomes.errors] == [ShutdownError] * 2
            with pytest.raises(ShutdownError):
                device.read_nowait(0, into)
            async with self.device() as again:
                assert await content(again, 0) == bytes(BLOCK)

        asyncio.run(main())


class FailingDeviceKit(BlockDeviceKit):
    """For implementations whose flush and write can be made to fail."""

    @abstractmethod
    def failing(self, device: BlockDevice, kind: str) -> AbstractContextManager[None]:
        """While entered, the next `kind` ("write" or "flush") of the device fails."""

    @pytest.mark.parametrize("kind", ["write", "flush"])
    def test_a_failure_poisons_until_reopened(self, kind: str) -> None:
        async def main() -> None:
            outcomes = Outcomes()
            async with self.device() as device:
                await write(device, [Write(0, blocks(pattern(1)))], flush=True)
                with self.failing(device, kind):
                    for n in range(4):
                        writes = [Write(BLOCK * (1 + n), blocks(pattern(n)))]
                        device.submit_write(writes, flush=True, done=outcomes.done(n))
                    await outcomes.wait(4)
                assert outcomes.labels == [0, 1, 2, 3]
                assert [type(error) for error in outcomes.errors] == [NvmeIoError] * 4
                before = device.statistics()
                assert before.poisoned
                with pytest.raises(NvmeIoError, match="poisoned"):
                    await write(device, [], flush=True)
                with pytest.raises(NvmeIoError, match="poisoned"):
                    await write(device, [Write(0, blocks(pattern(2)))], flush=False)
                after = device.statistics()
                assert (after.writes, after.flushes) == (before.writes, before.flushes)
                assert await content(device, 0) == pattern(1)
            async with self.device() as device:
                assert not device.statistics().poisoned
                for n in (1, 2, 3):  # submitted behind the failure: never reached the device
                    assert await content(device, BLOCK * (1 + n)) == bytes(BLOCK)
                await write(device, [Write(0, blocks(pattern(2)))], flush=True)
                assert await content(device, 0) == pattern(2)

        asyncio.run(main())


class DeviceDirectoryKit(ABC):
    """Every directory of devices passes all of these."""

    @abstractmethod
    async def open_directory(self) -> DeviceDirectory:
        """The directory under test: empty at first, then what the last one left."""

    @asynccontextmanager
    async def directory(self) -> AsyncIterator[DeviceDirectory]:
        directory = await self.open_directory()
        try:
            yield directory
        finally:
            await directory.close()

    def test_devices_come_and_go(self) -> None:
        async def main() -> None:
            async with self.directory() as directory:
                assert directory.names() == []
                for name in ("wal-2", "pool-1"):
                    device = await directory.create(name, MIB, zero=512 << 10)
                    assert (device.name, device.size_bytes) == (name, MIB)
                    assert await content(device, 0, MIB) == bytes(MIB)
                    await write(device, [Write(0, blocks(name.encode().ljust(BLOCK)))], flush=True)
                assert directory.names() == ["pool-1", "wal-2"]
            async with self.directory() as directory:
                assert directory.names() == ["pool-1", "wal-2"]
                device = await directory.open("wal-2")
                assert await content(device, 0) == b"wal-2".ljust(BLOCK)
                await directory.destroy("pool-1")
                assert directory.names() == ["wal-2"]
                again = await directory.create("pool-1", 2 * MIB)
                assert await content(again, 0) == bytes(BLOCK)
            async with self.directory() as directory:
                assert (await directory.open("pool-1")).size_bytes == 2 * MIB

        asyncio.run(main())

    def test_one_opener_at_a_time(self) -> None:
        async def main() -> None:
            async with self.directory() as directory:
                device = await directory.create("one", MIB)
                with pytest.raises(BusyError):
                    await directory.open("one")
                with pytest.raises(BusyError):
                    await directory.destroy("one")
                await device.close()
                device = await directory.open("one")
                await device.close()
                await directory.destroy("one")
                assert directory.names() == []

        asyncio.run(main())

    def test_close_closes_the_devices(self) -> None:
        async def main() -> None:
            async with self.directory() as directory:
                device = await directory.create("one", MIB)
                await directory.close()
                with pytest.raises(ShutdownError):
                    await write(device, [], flush=True)

        asyncio.run(main())

    def test_clear_errors(self) -> None:
        async def main() -> None:
            async with self.directory() as directory:
                await (await directory.create("one", MIB)).close()
                with pytest.raises(ExistsError, match="one"):
                    await directory.create("one", MIB)
                with pytest.raises(NotFoundError, match="two"):
                    await directory.open("two")
                with pytest.raises(NotFoundError, match="two"):
                    await directory.destroy("two")
                assert directory.names() == ["one"]

        asyncio.run(main())

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a.creating", "-a", "a b", "x" * 300])
    def test_bad_names(self, name: str) -> None:
        async def main() -> None:
            async with self.directory() as directory:
                with pytest.raises(InvalidError):
                    await directory.create(name, MIB)
                with pytest.raises(InvalidError):
                    await directory.open(name)
                with pytest.raises(InvalidError):
                    await directory.destroy(name)
                assert directory.names() == []

        asyncio.run(main())

    @pytest.mark.parametrize(
        ("size_bytes", "zero"), [(0, 0), (-BLOCK, 0), (BLOCK + 1, 0), (BLOCK, -1), (BLOCK, MIB)]
    )
    def test_bad_sizes(self, size_bytes: int, zero: int) -> None:
        async def main() -> None:
            async with self.directory() as directory:
                with pytest.raises(InvalidError):
                    await directory.create("one", size_bytes, zero=zero)
                assert directory.names() == []

        asyncio.run(main())

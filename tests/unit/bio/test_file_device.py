"""What is special about devices on files: O_DIRECT, threads, and the system's errors."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from daos.base.errors import (
    AccessError,
    DaosError,
    InvalidError,
    NoSpaceError,
    NotFoundError,
    NvmeIoError,
)
from daos.bio.device import BLOCK, Write, read, write
from daos.bio.file_device import CACHED_READ_MAX, IOV_MAX, FileDevice
from daos.bio.memory import AlignedPool
from daos.testing.kits.block_device import Outcomes, blocks, content, pattern

MIB = 1 << 20
SIZE = 4 * MIB


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "device"
    path.write_bytes(bytes(SIZE))
    return path


@contextmanager
def patched(name: str, value: object) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, name, value)
        yield


def on_disk(path: Path) -> bytes:
    """By the page cache, so also: what makes it cached."""
    return path.read_bytes()


def failing(number: int) -> object:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


def never_cached() -> object:
    """`preadv` that finds nothing in the page cache."""
    real = os.preadv

    def preadv(descriptor: int, views: Sequence[memoryview], offset: int, flags: int = 0) -> int:
        if flags:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return real(descriptor, views, offset)

    return preadv


def open_direct(path: Path) -> FileDevice:
    device = FileDevice.open(path)
    if not device.statistics().direct:
        os.close(device._descriptors.main)
        os.close(device._descriptors.cached)
        pytest.skip("the file system of the temporary directory has no O_DIRECT")
    return device


def test_aligned_memory_goes_to_the_device_without_a_copy(path: Path) -> None:
    async def main() -> None:
        pool = AlignedPool(2 * MIB)
        buffer = pool.acquire(MIB)
        assert buffer is not None
        buffer.view[:] = pattern(1, MIB)
        device = open_direct(path)
        await write(device, [Write(0, [buffer.view[:512], buffer.view[512:]])], flush=True)
        statistics = device.statistics()
        assert (statistics.writes, statistics.copies, statistics.bytes_copied) == (1, 0, 0)
        assert on_disk(path)[:MIB] == pattern(1, MIB)
        buffer.release()
        await device.close()

    asyncio.run(main())


def test_only_what_is_not_aligned_is_copied(path: Path) -> None:
    """Of odd pieces around an aligned one, in one run and one call to the system."""

    async def main() -> None:
        pool = AlignedPool(2 * MIB)
        buffer = pool.acquire(64 << 10)
        assert buffer is not None
        buffer.view[:] = pattern(1, 64 << 10)
        head, tail = pattern(2, BLOCK), pattern(3, 2 * BLOCK)
        odd = [memoryview(head)[:100], memoryview(head)[100:]]
        rest = [memoryview(tail)[:5000], memoryview(tail)[5000:8000], memoryview(tail)[8000:]]
        device = open_direct(path)
        await write(device, [Write(BLOCK, [*odd, buffer.view, *rest])], flush=True)
        statistics = device.statistics()
        assert (statistics.writes, statistics.copies) == (1, 5)
        assert statistics.bytes_copied == 3 * BLOCK
        data = on_disk(path)[BLOCK:]
        assert data.startswith(head + pattern(1, 64 << 10) + tail)
        buffer.release()
        await device.close()

    asyncio.run(main())


def test_bounce_memory_is_not_kept_beyond_its_bound(path: Path) -> None:
    async def main() -> None:
        device = open_direct(path)
        await write(device, [Write(0, blocks(pattern(1, 3 * MIB)))], flush=True)
        assert on_disk(path)[: 3 * MIB] == pattern(1, 3 * MIB)
        assert device._bounce.nbytes == 0
        await write(device, [Write(0, blocks(pattern(2)))], flush=True)
        assert device._bounce.nbytes == MIB
        await device.close()

    asyncio.run(main())


@pytest.mark.parametrize("step", [512, 4096, 5120, 1 << 20])
def test_short_writes_are_continued(path: Path, step: int) -> None:
    real = os.pwritev
    data = pattern(4, 5 * BLOCK)

    def short(descriptor: int, views: Sequence[memoryview], offset: int) -> int:
        kept, room = [], step
        for view in views:
            kept.append(view[:room])
            room -= len(kept[-1])
            if room == 0:
                break
        return real(descriptor, kept, offset)

    async def main() -> None:
        device = FileDevice.open(path)
        view = memoryview(data)
        pieces = [view[:BLOCK], view[BLOCK : 2 * BLOCK], view[2 * BLOCK :]]
        with patched("pwritev", short):
            await write(device, [Write(0, pieces)], flush=True)
        assert on_disk(path)[: len(data)] == data
        assert device.statistics().writes == -(-len(data) // step)
        assert device.statistics().bytes_written == len(data)
        await device.close()

    asyncio.run(main())


def test_a_device_that_takes_nothing_is_an_error_not_a_loop(path: Path) -> None:
    async def main() -> None:
        device = FileDevice.open(path)
        with patched("pwritev", lambda *_: 0), pytest.raises(NvmeIoError, match="no more bytes"):
            await write(device, [Write(0, blocks(pattern(1)))], flush=True)
        await device.close()

    asyncio.run(main())


def test_calls_for_very_many_buffers(path: Path) -> None:
    async def main() -> None:
        device = FileDevice.open(path)
        views = [memoryview(pattern(1))[lo : lo + 4] for lo in range(0, BLOCK, 4)] * 4
        await write(device, [Write(0, views)], flush=False)
        # Under O_DIRECT the pieces were joined in bounce memory first.
        expected = 1 if device.statistics().direct else -(-len(views) // IOV_MAX)
        assert device.statistics().writes == expected
        assert await content(device, 0, 4 * BLOCK) == pattern(1) * 4
        await device.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, NoSpaceError), (errno.EDQUOT, NoSpaceError), (errno.EIO, NvmeIoError)],
)
def test_errors_of_a_write(path: Path, number: int, kind: type[DaosError]) -> None:
    async def main() -> None:
        device = FileDevice.open(path, name="wal")
        text = rf"device wal: write at 8192: .*errno {number}\)"
        with patched("pwritev", failing(number)), pytest.raises(kind, match=text):
            await write(device, [Write(8192, blocks(pattern(1)))], flush=True)
        assert device.statistics().flushes == 0, "no flush after a failed write"
        with pytest.raises(NvmeIoError, match="poisoned: device wal: write at 8192"):
            await write(device, [Write(0, blocks(pattern(1)))], flush=True)
        await device.close()
        assert on_disk(path) == bytes(SIZE)

    asyncio.run(main())


def test_errors_of_a_flush(path: Path) -> None:
    async def main() -> None:
        device = FileDevice.open(path)
        text = "flush: Input/output error"
        with patched("fdatasync", failing(errno.EIO)), pytest.raises(NvmeIoError, match=text):
            await write(device, [Write(0, blocks(pattern(1)))], flush=True)
        with pytest.raises(NvmeIoError, match="poisoned"):
            await write(device, [], flush=True)
        assert device.statistics().flushes == 0
        await device.close()

    asyncio.run(main())


def test_errors_of_a_read_poison_nothing(path: Path) -> None:
    async def main() -> None:
        device = FileDevice.open(path)
        into = memoryview(bytearray(BLOCK))
        with patched("preadv", failing(errno.EIO)):
            assert not device.read_nowait(BLOCK, into)
            with pytest.raises(NvmeIoError, match="read at 4096: Input/output error"):
                await read(device, BLOCK, into)
        assert device.statistics().reads == 0
        await write(device, [Write(0, blocks(pattern(1)))], flush=True)
        assert await content(device, 0) == pattern(1)
        os.truncate(path, BLOCK)
        with pytest.raises(NvmeIoError, match="read at 4096: the file ends here"):
            await content(device, BLOCK)
        await device.close()

    asyncio.run(main())


@pytest.mark.parametrize("nbytes", [BLOCK, 2 * CACHED_READ_MAX])
def test_short_reads_are_continued(path: Path, nbytes: int) -> None:
    real = os.preadv

    def short(descriptor: int, views: Sequence[memoryview], offset: int, *flags: int) -> int:
        return real(descriptor, [views[0][:512]], offset, *flags)

    async def main() -> None:
        device = FileDevice.open(path)
        await write(device, [Write(0, blocks(pattern(1, nbytes)))], flush=True)
        into = memoryview(bytearray(nbytes))
        with patched("preadv", short):
            assert not device.read_nowait(0, into)
            await read(device, 0, into)
        assert bytes(into) == pattern(1, nbytes)
        await device.close()

    asyncio.run(main())


def test_read_nowait_by_the_page_cache(path: Path) -> None:
    async def main() -> None:
        device = FileDevice.open(path)
        into = memoryview(bytearray(BLOCK))
        with patched("preadv", failing(errno.EAGAIN)):
            assert not device.read_nowait(0, into)
        on_disk(path)  # now it is cached
        if not device.read_nowait(0, into):
            pytest.skip("the file system of the temporary directory has no RWF_NOWAIT")
        assert device.statistics().reads_nowait == device.statistics().reads == 1
        large = memoryview(bytearray(CACHED_READ_MAX + BLOCK))
        assert not device.read_nowait(0, large), "a long copy would hold up the loop"
        # A write behind the cache's back, and the cache knows.
        await write(device, [Write(0, blocks(pattern(1)))], flush=False)
        if device.read_nowait(0, into):
            assert bytes(into) == pattern(1)
        with patched("preadv", failing(errno.EOPNOTSUPP)):
            assert not device.read_nowait(0, into)
        on_disk(path)
        assert not device.read_nowait(0, into), "asked once, not for every read"
        await device.close()

    asyncio.run(main())


def test_large_reads_pass_the_page_cache_by(path: Path) -> None:
    async def main() -> None:
        used: list[int] = []
        real = os.preadv

        def noting(descriptor: int, views: Sequence[memoryview], offset: int, *flags: int) -> int:
            used.append(descriptor)
            return real(descriptor, views, offset, *flags)

        device = open_direct(path)
        pool = AlignedPool(MIB)
        buffer = pool.acquire(MIB)
        assert buffer is not None
        cached, main = device._descriptors.cached, device._descriptors.main
        with patched("preadv", noting):
            await read(device, 0, buffer.view)
            await read(device, 0, memoryview(bytearray(MIB + 1))[1:])
            outcomes = Outcomes()
            device.submit_read(0, buffer.view[:BLOCK], outcomes.done(1))
            await outcomes.wait(1)
        assert used == [main, cached, cached]
        buffer.release()
        await device.close()

    asyncio.run(main())


def test_threads_start_late_and_end_with_the_device(path: Path) -> None:
    def threads() -> list[str]:
        mine = [thread.name for thread in threading.enumerate()]
        return sorted(name for name in mine if name.startswith("wal-"))

    async def main() -> None:
        device = FileDevice.open(path, name="wal", readers_max=3)
        assert threads() == []
        await write(device, [], flush=True)
        assert threads() == ["wal-writer"]
        outcomes = Outcomes()
        with patched("preadv", never_cached()):
            for n in range(40):
                into = memoryview(bytearray(BLOCK))
                device.submit_read(n * BLOCK, into, outcomes.done(n))
            assert threads() == ["wal-writer"], "those of a turn go together"
            await asyncio.sleep(0)
            assert threads() == ["wal-reader-0", "wal-reader-1", "wal-reader-2", "wal-writer"]
            await outcomes.wait(40)
        await device.close()
        assert threads() == []

    asyncio.run(main())


def test_a_callback_that_raises_does_not_silence_the_others(path: Path) -> None:
    async def main() -> None:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(context.get("exception"))
        )

        def broken(_: DaosError | None) -> None:
            raise RuntimeError("a bug of the caller")

        outcomes = Outcomes()
        device = FileDevice.open(path)
        for n in range(9):
            done = broken if n % 3 == 0 else outcomes.done(n)
            device.submit_write([Write(0, blocks(pattern(n)))], flush=True, done=done)
        await outcomes.wait(6)
        assert outcomes.labels == [1, 2, 4, 5, 7, 8]
        assert len(complaints) == 3
        # The same, with all completions in one batch.
        device._completed.extend([(broken, None), (outcomes.done(9), None)])
        with pytest.raises(RuntimeError):
            device._deliver()
        await outcomes.wait(7)
        await device.close()

    asyncio.run(main())


def test_a_buffer_released_too_early_is_reported(path: Path) -> None:
    async def main() -> None:
        outcomes = Outcomes()
        device = FileDevice.open(path)
        hold = threading.Event()
        real = os.fdatasync

        def slow(descriptor: int) -> None:
            hold.wait()
            real(descriptor)

        view, into = memoryview(bytearray(BLOCK)), memoryview(bytearray(BLOCK))
        with patched("fdatasync", slow):
            device.submit_write([], flush=True, done=outcomes.done(1))
            device.submit_write([Write(0, [view])], flush=False, done=outcomes.done(2))
            view.release()
            hold.set()
            await outcomes.wait(2)
        assert outcomes.told[0] == (1, None)
        assert isinstance(outcomes.told[1][1], InvalidError)

        slow_read = threading.Event()
        with patched("preadv", lambda *_: slow_read.wait() and BLOCK):
            blocker = FileDevice.open(path, direct=False, readers_max=1)
            blocker.submit_read(0, memoryview(bytearray(BLOCK)), outcomes.done(3))
            blocker.submit_read(0, into, outcomes.done(4))
            into.release()
            slow_read.set()
            await outcomes.wait(4)
        assert isinstance(outcomes.told[3][1], InvalidError)
        await blocker.close()
        await device.close()

    asyncio.run(main())


def test_close_goes_on_without_its_caller(path: Path) -> None:
    async def main() -> None:
        outcomes = Outcomes()
        device = FileDevice.open(path)
        hold = threading.Event()
        with patched("fdatasync", lambda _: hold.wait()):
            device.submit_write([], flush=True, done=outcomes.done(1))
            closing = asyncio.ensure_future(device.close())
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            assert not device.closed
            hold.set()
            await device.close()
        assert device.closed
        assert outcomes.told == [(1, None)]
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(device._descriptors.main)

    asyncio.run(main())


def test_a_cancelled_waiter_leaves_the_device_working(path: Path) -> None:
    async def main() -> None:
        device = FileDevice.open(path)
        hold = threading.Event()
        with patched("fdatasync", lambda _: hold.wait()):
            waiting = asyncio.ensure_future(write(device, [], flush=True))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            hold.set()
            await write(device, [Write(0, blocks(pattern(1)))], flush=True)
        assert await content(device, 0) == pattern(1)
        await device.close()

    asyncio.run(main())


def test_a_loop_that_ends_before_its_device(path: Path) -> None:
    """A bug of the owner; the threads neither hang nor complain, and the bytes are written."""
    hold = threading.Event()
    devices: list[FileDevice] = []

    async def main() -> None:
        devices.append(FileDevice.open(path))
        devices[0].submit_write([Write(0, blocks(pattern(1)))], flush=True, done=lambda _: None)

    with patched("fdatasync", lambda _: hold.wait()):
        asyncio.run(main())
        hold.set()
        device = devices[0]
        device._submissions.put(None)
        assert device._writer is not None
        device._writer.join()
    device._descriptors.close()
    assert on_disk(path)[:BLOCK] == pattern(1)


def test_a_file_system_without_direct_io(path: Path) -> None:
    real = os.open

    def refuse(path: Path, flags: int, *rest: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, *rest)

    async def main() -> None:
        with patched("open", refuse):
            device = FileDevice.open(path)
        await write(device, [Write(0, blocks(pattern(1)))], flush=True)
        assert on_disk(path)[:BLOCK] == pattern(1)
        statistics = device.statistics()
        assert (statistics.direct, statistics.copies) == (False, 0)
        await device.close()

    asyncio.run(main())


@pytest.mark.parametrize(("accepted", "alignment"), [(BLOCK, BLOCK), (0, 1)])
def test_the_alignment_is_found_by_trying(path: Path, accepted: int, alignment: int) -> None:
    real = os.preadv

    def picky(descriptor: int, views: Sequence[memoryview], offset: int, *flags: int) -> int:
        if not accepted or any(len(view) % accepted for view in views):
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(descriptor, views, offset, *flags)

    async def main() -> None:
        open_direct(path)._descriptors.close()
        with patched("preadv", picky):
            device = FileDevice.open(path)
        assert device._descriptors.alignment == alignment
        assert device.statistics().direct == (alignment > 1)
        await write(device, [Write(0, blocks(pattern(1)))], flush=True)
        assert on_disk(path)[:BLOCK] == pattern(1)
        await device.close()

    asyncio.run(main())


def test_what_cannot_be_opened(tmp_path: Path, path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(NotFoundError, match="missing"):
        FileDevice.open(tmp_path / "missing")
    with pytest.raises(InvalidError, match="neither a file nor a block device"):
        FileDevice.open(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InvalidError, match="neither a file nor a block device"):
        FileDevice.open(tmp_path / "fifo")
    (tmp_path / "small").write_bytes(bytes(BLOCK - 1))
    with pytest.raises(InvalidError, match="smaller than a block"):
        FileDevice.open(tmp_path / "small")
    with patched("open", failing(errno.EACCES)), pytest.raises(AccessError):
        FileDevice.open(path)
    with patched("preadv", failing(errno.EIO)), pytest.raises(NvmeIoError):
        FileDevice.open(path)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_the_size_is_whole_blocks(path: Path) -> None:
    os.truncate(path, 3 * BLOCK + 5)

    async def main() -> None:
        device = FileDevice.open(path)
        assert device.size_bytes == 3 * BLOCK
        assert device.name == "device"
        await device.close()

    asyncio.run(main())


def test_descriptors_are_not_inherited(path: Path) -> None:
    async def main() -> None:
        device = FileDevice.open(path)
        for descriptor in (device._descriptors.main, device._descriptors.cached):
            assert not os.get_inheritable(descriptor)
            assert stat.S_ISREG(os.fstat(descriptor).st_mode)
        await device.close()

    asyncio.run(main())

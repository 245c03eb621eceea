"""A file or block device behind the BlockDevice seam, and a directory of such files.

    loop ----submissions----> writer thread    pwritev ... fdatasync     descriptor 1, O_DIRECT
      |------large reads----> reader threads   preadv, device to memory  descriptor 1, O_DIRECT
      |------small reads----> reader threads   preadv, by the page cache descriptor 2, read-only
      |------read_nowait----  (in the loop)    preadv RWF_NOWAIT         descriptor 2, read-only
      <--completions in batches, one call_soon_threadsafe each--

Everything that changes the medium goes through descriptor 1 and one thread, so the order of
submission is the order on the device, and one flush covers log and data alike. Reads have a
second, read-only descriptor because RWF_NOWAIT does not keep its word under O_DIRECT: it sleeps
until the device answers (60 us a 4 KiB block, in the loop). By the page cache it takes 3 us if
the block is there, else it starts the read and returns (10 us). The kernel drops cached pages
under an O_DIRECT write before that write returns, so both descriptors show the same bytes.

Large reads bypass the cache: a cold 1 MiB costs 0.43 ms direct and 2.2 ms by the cache.

Where the file system knows no O_DIRECT, descriptor 1 is buffered, a flush is fdatasync all the
same, and `statistics().direct` says so. Under O_DIRECT a buffer whose address or length is not
aligned is copied through aligned memory, which is counted.

Threads start at the first submission, so a process may fork between opening and using a device;
after use it may not. Submissions queued are bounded by the memory of their buffers, which the
submitters own.

Not its business: locking out a second opener; retrying anything.

Source: ours; DAOS submits to SPDK queues (src/bio/bio_buffer.c). Numbers: ext4 on virtio, 2 cores.
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple, Self, TypeVarTuple

from daos.base.errors import (
    AccessError,
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
    DeviceStatistics,
    Done,
    Write,
    check_name,
    check_range,
    check_sizes,
    check_writable,
    coalesce,
)
from daos.bio.memory import MIB, address_of

# Buffers of one pwritev; the system's limit (UIO_MAXIOV).
IOV_MAX: Final = os.sysconf("SC_IOV_MAX")
# Longest read that goes by the page cache. Up to here it is as fast as a direct one, and copying
# it (40 us) does not hold up the loop.
CACHED_READ_MAX: Final = 256 << 10
# One thread reads 13,000 random 4 KiB/s, sixteen read 42,000.
READERS_MAX: Final = 16
# What O_DIRECT may ask of addresses and lengths: a sector of the disk. The first that works wins.
ALIGNMENTS: Final = (512, BLOCK)
# A dot is not allowed in names of devices, so none can end like this.
_TEMPORARY: Final = ".creating"


Arguments = TypeVarTuple("Arguments")


class _Submission(NamedTuple):
    runs: list[Write]
    flush: bool
    done: Done


class _Read(NamedTuple):
    offset: int
    into: memoryview
    done: Done


class FileDevice:
    """See the module. Made by `FileDevice.open`."""

    def __init__(self, name: str, descriptors: _Descriptors, *, readers_max: int) -> None:
        self.name = name
        self.size_bytes = descriptors.size_bytes
        self._descriptors = descriptors
        self._readers_max = readers_max
        self._nowait = True
        self._submissions: SimpleQueue[_Submission | None] = SimpleQueue()
        self._reads: SimpleQueue[_Read | None] = SimpleQueue()
        self._reads_in_flight = 0
        self._writer: threading.Thread | None = None
        self._readers: list[threading.Thread] = []
        self._closed: asyncio.Future[None] | None = None
        self._threads_left = 0
        # Written by the device's threads, drained by the loop. Appending to a deque and testing a
        # flag need no lock: a thread appends before it tests, the loop clears before it drains, so
        # at worst the loop is woken once too often.
        self._completed: deque[tuple[Done, DaosError | None]] = deque()
        self._woken = False
        # Owned by the writer thread.
        self._poison: str | None = None
        self._writes = self._flushes = self._bytes_written = 0
        self._copies = self._bytes_copied = 0
        self._bounce = memoryview(b"")
        # Owned by the loop.
        self._reads_done = self._reads_nowait = self._bytes_read = 0

    @property
    def closed(self) -> bool:
        return self._closed is not None and self._closed.done()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        name: str | None = None,
        direct: bool = True,
        readers_max: int = READERS_MAX,
    ) -> Self:
        """Blocks for a few system calls. `direct=False` leaves the page cache in the way of writes.

        Raises:     NotFoundError, AccessError, NvmeIoError
                    InvalidError   neither a file nor a block device, or smaller than a block
        """
        descriptors = _open_descriptors(path, direct=direct)
        return cls(path.name if name is None else name, descriptors, readers_max=readers_max)

    def submit_write(self, writes: Sequence[Write], *, flush: bool, done: Done) -> None:
        runs = coalesce(self.size_bytes, writes)
        if self._refuse_closed(done):
            return
        if self._writer is None:
            self._writer = self._start(self._write_loop, "writer")
        self._submissions.put(_Submission(runs, flush, done))

    def submit_read(self, offset: int, into: memoryview, done: Done) -> None:
        check_range(self.size_bytes, offset, into.nbytes)
        check_writable(into)
        if self._refuse_closed(done):
            return
        if len(self._readers) < min(self._reads_in_flight + 1, self._readers_max):
            self._readers.append(self._start(self._read_loop, f"reader-{len(self._readers)}"))
        self._reads_in_flight += 1
        self._reads.put(_Read(offset, into, partial(self._read_returned, done, into.nbytes)))

    def read_nowait(self, offset: int, into: memoryview) -> bool:
        nbytes = into.nbytes
        check_range(self.size_bytes, offset, nbytes)
        check_writable(into)
        if self._closed is not None:
            raise ShutdownError(f"device {self.name} is closed")
        if nbytes > CACHED_READ_MAX or not self._nowait:
            return False
        try:
            got = os.preadv(self._descriptors.cached, (into,), offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError as err:
            # tmpfs knows no RWF_NOWAIT. An error of the medium is for `submit_read` to tell.
            self._nowait = err.errno not in (errno.EOPNOTSUPP, errno.EINVAL)
            return False
        if got != nbytes:
            return False
        self._reads_done += 1
        self._reads_nowait += 1
        self._bytes_read += nbytes
        return True

    def statistics(self) -> DeviceStatistics:
        return DeviceStatistics(
            reads=self._reads_done,
            writes=self._writes,
            flushes=self._flushes,
            bytes_read=self._bytes_read,
            bytes_written=self._bytes_written,
            reads_nowait=self._reads_nowait,
            copies=self._copies,
            bytes_copied=self._bytes_copied,
            direct=self._descriptors.alignment > 1,
            poisoned=self._poison is not None,
        )

    async def close(self) -> None:
        """Goes on to its end even if the waiting caller is cancelled."""
        if self._closed is None:
            self._closed = asyncio.get_running_loop().create_future()
            self._threads_left = len(self._readers) + (self._writer is not None)
            if self._writer is not None:
                self._submissions.put(None)
            for _ in self._readers:
                self._reads.put(None)
            if self._threads_left == 0:
                self._finish_close()
        await asyncio.shield(self._closed)

    def _refuse_closed(self, done: Done) -> bool:
        if self._closed is None:
            return False
        error = ShutdownError(f"device {self.name} is closed")
        asyncio.get_running_loop().call_soon(done, error)
        return True

    def _read_returned(self, done: Done, nbytes: int, error: DaosError | None) -> None:
        self._reads_in_flight -= 1
        if error is None:
            self._reads_done += 1
            self._bytes_read += nbytes
        done(error)

    def _thread_left(self, error: DaosError | None) -> None:
        assert error is None
        self._threads_left -= 1
        if self._threads_left == 0:
            self._finish_close()

    def _finish_close(self) -> None:
        assert self._closed is not None
        for thread in (self._writer, *self._readers):
            if thread is not None:
                thread.join()  # it has posted its last completion
        self._descriptors.close()
        self._closed.set_result(None)

    def _deliver(self) -> None:
        self._woken = False
        try:
            while self._completed:
                done, error = self._completed.popleft()
                done(error)
        finally:
            if self._completed:  # `done` raised; the others are told all the same
                asyncio.get_running_loop().call_soon(self._deliver)

    # What follows runs on the device's own threads.

    def _start(
        self, target: Callable[[asyncio.AbstractEventLoop], None], role: str
    ) -> threading.Thread:
        loop = asyncio.get_running_loop()
        thread = threading.Thread(
            target=target, args=(loop,), name=f"{self.name}-{role}", daemon=True
        )
        thread.start()
        return thread

    def _post(self, loop: asyncio.AbstractEventLoop, done: Done, error: DaosError | None) -> None:
        self._completed.append((done, error))
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop was closed before the device: nobody to tell
                loop.call_soon_threadsafe(self._deliver)

    def _write_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        while (submission := self._submissions.get()) is not None:
            self._post(loop, submission.done, self._perform(submission))
        self._post(loop, self._thread_left, None)

    def _perform(self, submission: _Submission) -> DaosError | None:
        if self._poison is not None:
            return NvmeIoError(f"device {self.name} is poisoned: {self._poison}")
        what = "flush"
        try:
            for run in submission.runs:
                what = f"write at {run.offset}"
                self._write_run(run)
            if submission.flush:
                what = "flush"
                os.fdatasync(self._descriptors.main)
                self._flushes += 1
        except OSError as err:
            return self._poison_by(error_from_os(err, f"device {self.name}: {what}"))
        except ValueError as err:  # the view was released: a bug of the caller, but not a hang
            return self._poison_by(InvalidError(f"device {self.name}: {what}: {err}"))
        return None

    def _poison_by(self, error: DaosError) -> DaosError:
        self._poison = error.message
        return error

    def _write_run(self, run: Write) -> None:
        """Write all buffers of the run, in as few calls as the system allows."""
        views = self._aligned(run.buffers)
        offset, first = run.offset, 0
        while first < len(views):
            written = os.pwritev(self._descriptors.main, views[first : first + IOV_MAX], offset)
            if written == 0:
                raise OSError(errno.EIO, "the device takes no more bytes")
            self._writes += 1
            self._bytes_written += written
            offset += written
            while first < len(views) and written >= views[first].nbytes:
                written -= views[first].nbytes
                first += 1
            if written:  # a short write: go on inside this buffer
                views[first] = views[first].cast("B")[written:]
        if self._bounce.nbytes > MIB:
            self._bounce = memoryview(b"")

    def _aligned(self, buffers: Sequence[memoryview]) -> list[memoryview]:
        """The same bytes in buffers that O_DIRECT takes: those that are not aligned are copied."""
        align = self._descriptors.alignment
        views: list[memoryview] = []
        copied = 0  # bytes of the bounce memory in use
        position = 0
        for buffer in buffers:
            nbytes = buffer.nbytes
            if position % align == 0 and is_aligned(buffer, align):
                views.append(buffer)
                position += nbytes
                continue
            if copied == 0:
                self._reserve_bounce(sum(other.nbytes for other in buffers))
            place = self._bounce[copied : copied + nbytes]
            place[:] = buffer.cast("B")
            if position % align:
                # Lies right behind the previous piece: the two are one buffer for the device.
                behind = views.pop().nbytes
                place = self._bounce[copied - behind : copied + nbytes]
            views.append(place)
            copied += nbytes
            position += nbytes
            self._copies += 1
            self._bytes_copied += nbytes
        return views

    def _reserve_bounce(self, nbytes: int) -> None:
        if self._bounce.nbytes < nbytes:
            self._bounce = memoryview(mmap.mmap(-1, max(nbytes, MIB)))

    def _read_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        while (read := self._reads.get()) is not None:
            self._post(loop, read.done, self._read(read.offset, read.into))
        self._post(loop, self._thread_left, None)

    def _read(self, offset: int, into: memoryview) -> DaosError | None:
        descriptors = self._descriptors
        at = offset
        try:
            view = into.cast("B")
            large = view.nbytes > CACHED_READ_MAX and is_aligned(view, descriptors.alignment)
            descriptor = descriptors.main if large else descriptors.cached
            while view:
                got = os.preadv(descriptor, (view,), at)
                if got == 0:
                    return NvmeIoError(f"device {self.name}: read at {at}: the file ends here")
                view, at = view[got:], at + got
        except OSError as err:
            return error_from_os(err, f"device {self.name}: read at {at}")
        except ValueError as err:  # the view was released: a bug of the caller, but not a hang
            return InvalidError(f"device {self.name}: read at {at}: {err}")
        return None


class _Descriptors(NamedTuple):
    main: int  # O_DIRECT where possible; the only one that writes
    cached: int
    size_bytes: int
    alignment: int  # of memory and lengths; 1: `main` is buffered

    def close(self) -> None:
        os.close(self.main)
        os.close(self.cached)


def _open_descriptors(path: Path, *, direct: bool) -> _Descriptors:
    try:
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise InvalidError(f"{path} is neither a file nor a block device")
        main, alignment = _open_main(path, direct=direct)
        try:
            size_bytes = os.lseek(main, 0, os.SEEK_END) // BLOCK * BLOCK
            if size_bytes == 0:
                raise InvalidError(f"{path} is smaller than a block of {BLOCK} bytes")
            cached = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            os.close(main)
            raise
    except InvalidError:
        raise
    except OSError as err:
        raise error_from_os(err, f"open {path}") from err
    # Values lie where they were written, not in the order they are read: no read-ahead.
    os.posix_fadvise(cached, 0, 0, os.POSIX_FADV_RANDOM)
    return _Descriptors(main, cached, size_bytes, alignment)


def _open_main(path: Path, *, direct: bool) -> tuple[int, int]:
    if direct:
        try:
            main = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
        except OSError as err:
            if err.errno != errno.EINVAL:  # EINVAL: this file system knows no O_DIRECT
                raise
        else:
            alignment = _probe_alignment(main)
            if alignment is not None:
                return main, alignment
            os.close(main)
    return os.open(path, os.O_RDWR | os.O_CLOEXEC), 1


def _probe_alignment(descriptor: int) -> int | None:
    """The least of ALIGNMENTS that a direct read accepts, for addresses and lengths alike.

    Source: ours; statx(STATX_DIOALIGN) would tell, but Python does not pass it on.
    """
    memory = memoryview(mmap.mmap(-1, 4 * BLOCK))
    for align in ALIGNMENTS:
        views = [memory[align : 2 * align], memory[3 * align : 2 * align + BLOCK]]
        try:
            os.preadv(descriptor, [view for view in views if view], 0)
        except OSError as err:
            if err.errno != errno.EINVAL:
                os.close(descriptor)
                raise
        else:
            return align
    return None


class FileDirectory:
    """The files of one directory as devices. Nobody else puts anything there.

    A device is made under another name (suffix `.creating`) and renamed when it is durable, so
    whatever has a device's name is whole. What a crash left half made is removed by the next
    `create`.

    Crash points: 1 file flushed under the temporary name; 2 directory flushed after the rename;
    3 directory flushed after an unlink.
    """

    def __init__(self, path: Path, *, direct: bool = True, readers_max: int = READERS_MAX) -> None:
        self.path = path
        self._direct = direct
        self._readers_max = readers_max
        self._open: dict[str, FileDevice] = {}
        self._busy: set[str] = set()  # names with a create or destroy under way

    async def create(self, name: str, size_bytes: int, *, zero: int = 0) -> FileDevice:
        """A cancelled call may still create the device; it is then left closed."""
        check_sizes(size_bytes, zero)
        await self._in_thread(name, self._create_file, name, size_bytes, zero)
        return await self.open(name)

    async def open(self, name: str) -> FileDevice:
        self._check_free(name)
        device = FileDevice.open(
            self.path / name, direct=self._direct, readers_max=self._readers_max
        )
        self._open[name] = device
        return device

    async def destroy(self, name: str) -> None:
        """A cancelled call may still destroy the device."""
        await self._in_thread(name, self._destroy_file, name)

    def names(self) -> list[str]:
        try:
            found = os.listdir(self.path)
        except OSError as err:
            raise error_from_os(err, f"list {self.path}") from err
        return sorted(name for name in found if not name.endswith(_TEMPORARY))

    async def close(self) -> None:
        for device in list(self._open.values()):
            await device.close()
        self._open.clear()

    def _check_free(self, name: str) -> None:
        check_name(name)
        device = self._open.get(name)
        if name in self._busy or (device is not None and not device.closed):
            raise BusyError(f"device {name!r} is open")

    async def _in_thread(
        self, name: str, work: Callable[[*Arguments], None], *args: *Arguments
    ) -> None:
        """The name stays busy until the thread is through, even if the waiting task is gone."""
        self._check_free(name)
        self._busy.add(name)
        future = asyncio.get_running_loop().run_in_executor(None, work, *args)
        future.add_done_callback(lambda _: self._busy.discard(name))
        await asyncio.shield(future)

    # What follows blocks, and runs in a thread.

    def _create_file(self, name: str, size_bytes: int, zero: int) -> None:
        path, temporary = self.path / name, self.path / (name + _TEMPORARY)
        try:
            self._remove_leftovers(temporary.name)
            if path.exists():
                raise ExistsError(f"device {name!r} exists")
            try:
                _write_zeros(temporary, size_bytes, zero)
                os.rename(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _flush_directory(self.path)
        except DaosError:
            raise
        except OSError as err:
            raise error_from_os(err, f"create device {name!r} of {size_bytes} bytes") from err

    def _destroy_file(self, name: str) -> None:
        try:
            os.unlink(self.path / name)
            _flush_directory(self.path)
        except OSError as err:
            raise error_from_os(err, f"destroy device {name!r}") from err

    def _remove_leftovers(self, mine: str) -> None:
        found_before = os.listdir(self.path)
        making = {name + _TEMPORARY for name in tuple(self._busy)} - {mine}
        for found in found_before:
            if found.endswith(_TEMPORARY) and found not in making:
                (self.path / found).unlink(missing_ok=True)


def _write_zeros(path: Path, size_bytes: int, zero: int) -> None:
    """A new file of `size_bytes` allocated bytes, the first `zero` of them written, flushed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
        zeros = memoryview(bytes(MIB))
        at = 0
        while at < zero:
            at += os.pwrite(descriptor, zeros[: min(MIB, zero - at)], at)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_aligned(view: memoryview, align: int) -> bool:
    """Whether the device takes this buffer as it is."""
    if align == 1:
        return True
    # The address of a read-only buffer cannot be had; such a one is never page memory anyway.
    return view.nbytes % align == 0 and not view.readonly and address_of(view) % align == 0


def error_from_os(err: OSError, what: str) -> DaosError:
    """The exception of our tree for an error of the system."""
    text = f"{what}: {err.strerror} (errno {err.errno})"
    match err.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return NoSpaceError(text)
        case errno.ENOENT:
            return NotFoundError(text)
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return AccessError(text)
        case _:
            return NvmeIoError(text)

"""A file or block device behind the BlockDevice seam.

    loop ----submissions----> writer thread    pwritev ... fdatasync     descriptor 1, O_DIRECT
      |------large reads----> reader threads   preadv, device to memory  descriptor 1, O_DIRECT
      |------small reads----> reader threads   preadv, by the page cache descriptor 2, read-only
      |------read_nowait----  (in the loop)    preadv RWF_NOWAIT         descriptor 2, read-only
      <--completions in batches, one call_soon_threadsafe each--

Everything that changes the medium goes through descriptor 1 and one thread, so the order of
submission is the order on the device, and one flush covers log and data alike. Reads have a
second, read-only descriptor because RWF_NOWAIT does not keep its word under O_DIRECT: it sleeps
until the device answers (60 us a 4 KiB block, in the loop). By the page cache it takes 3 us if
the block is there, else it starts the read and returns (10 us). So small reads wait for the end of
the turn: most are there by then, since all of them were under way together. Of the others a thread
waits for the last one only, then the loop looks again; what is still not there (there was little
memory, or the one behind it was faster) a thread reads. To wake a thread and to hand it the
interpreter costs 50 us. The kernel drops cached pages under an O_DIRECT write before that write
returns, so both descriptors show the same bytes.

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
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NamedTuple, Self

from daos.base.errors import (
    DaosError,
    InvalidError,
    NvmeIoError,
    ShutdownError,
)
from daos.bio.device import (
    BLOCK,
    DeviceStatistics,
    Done,
    Write,
    check_range,
    check_writable,
    coalesce,
)
from daos.bio.direct_io import Descriptors, error_from_os, is_aligned, open_descriptors
from daos.bio.memory import MIB

# Buffers of one pwritev; the system's limit (UIO_MAXIOV).
IOV_MAX: Final = os.sysconf("SC_IOV_MAX")
# Longest read that goes by the page cache. Up to here it is as fast as a direct one, and copying
# it (40 us) does not hold up the loop.
CACHED_READ_MAX: Final = 256 << 10
# One thread reads 13,000 random 4 KiB/s, sixteen read 42,000.
READERS_MAX: Final = 16
# Small reads of one turn that one thread waits for.
READS_TOGETHER: Final = 16


# What is written with zeros at once, by one call, out of one piece of memory.
_ZEROS: Final = memoryview(mmap.mmap(-1, 64 << 10))


class _Submission(NamedTuple):
    runs: list[Write]
    flush: bool
    done: Done


class _Preparation(NamedTuple):
    offset: int
    nbytes: int
    done: Done


class _Read(NamedTuple):
    offset: int
    into: memoryview
    done: Done


class _Batch(NamedTuple):
    """Reads of which a thread does the last; `others` have been begun, and may be done by then."""

    last: list[_Read]
    others: list[_Read]


class FileDevice:
    """See the module. Made by `FileDevice.open`."""

    def __init__(self, name: str, descriptors: Descriptors, *, readers_max: int) -> None:
        self.name = name
        self.size_bytes = descriptors.size_bytes
        self._descriptors = descriptors
        self._readers_max = readers_max
        self._nowait = True
        self._submissions: SimpleQueue[_Submission | _Preparation | None] = SimpleQueue()
        self._reads: SimpleQueue[_Batch | None] = SimpleQueue()
        self._reads_gathered: list[_Read] = []  # of this turn of the loop
        self._batches_in_flight = 0
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
        self._copies = self._bytes_copied = self._bytes_prepared = 0
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
        descriptors = open_descriptors(path, direct=direct)
        return cls(path.name if name is None else name, descriptors, readers_max=readers_max)

    def submit_write(self, writes: Sequence[Write], *, flush: bool, done: Done) -> None:
        runs = coalesce(self.size_bytes, writes)
        if self._refuse_closed(done):
            return
        if self._writer is None:
            self._writer = self._start(self._write_loop, "writer")
        self._submissions.put(_Submission(runs, flush, done))

    @property
    def prepares(self) -> bool:
        """It is a file with blocks that were allocated, and never written."""
        return self._descriptors.unwritten

    def submit_prepare(self, offset: int, nbytes: int, done: Done) -> None:
        check_range(self.size_bytes, offset, nbytes)
        if self._refuse_closed(done):
            return
        if self._writer is None:
            self._writer = self._start(self._write_loop, "writer")
        self._submissions.put(_Preparation(offset, nbytes, done))

    def submit_read(self, offset: int, into: memoryview, done: Done) -> None:
        check_range(self.size_bytes, offset, into.nbytes)
        check_writable(into)
        if self._refuse_closed(done):
            return
        read = _Read(offset, into, partial(self._read_returned, done, into.nbytes))
        if into.nbytes > CACHED_READ_MAX or not self._nowait:
            self._send_reads([read], [])
            return
        if not self._reads_gathered:
            asyncio.get_running_loop().call_soon(self._send_gathered)
        self._reads_gathered.append(read)

    def _send_gathered(self) -> None:
        """The small reads of a turn: whoever tried `read_nowait` has started them in the kernel."""
        reads, self._reads_gathered = self._reads_gathered, []
        reads = self._finish_cached(reads)
        for first in range(0, len(reads), READS_TOGETHER):
            some = reads[first : first + READS_TOGETHER]
            if self._nowait:
                self._send_reads(some[-1:], some[:-1])
            else:
                self._send_reads(some, [])
        self._deliver()

    def _send_reads(self, last: list[_Read], others: list[_Read]) -> None:
        self._batches_in_flight += 1
        if len(self._readers) < min(self._batches_in_flight, self._readers_max):
            self._readers.append(self._start(self._read_loop, f"reader-{len(self._readers)}"))
        self._reads.put(_Batch(last, others))

    def read_nowait(self, offset: int, into: memoryview) -> bool:
        nbytes = into.nbytes
        if (
            offset % BLOCK
            or nbytes % BLOCK
            or nbytes <= 0
            or not 0 <= offset <= self.size_bytes - nbytes
            or into.readonly
            or not into.c_contiguous
        ):
            check_range(self.size_bytes, offset, nbytes)  # which of it, they say
            check_writable(into)
        if self._closed is not None:
            raise ShutdownError(f"device {self.name} is closed")
        if nbytes > CACHED_READ_MAX or not self._nowait or not self._read_cached(offset, into):
            return False
        self._reads_done += 1
        self._reads_nowait += 1
        self._bytes_read += nbytes
        return True

    def _read_cached(self, offset: int, into: memoryview) -> bool:
        """Out of the page cache, if all of it is there."""
        try:
            got = os.preadv(self._descriptors.cached, (into,), offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError as err:
            # tmpfs knows no RWF_NOWAIT. An error of the medium is for `submit_read` to tell.
            self._nowait = err.errno not in (errno.EOPNOTSUPP, errno.EINVAL)
            return False
        return got == into.nbytes

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
            bytes_prepared=self._bytes_prepared,
            direct=self._descriptors.alignment > 1,
            poisoned=self._poison is not None,
        )

    async def close(self) -> None:
        """Goes on to its end even if the waiting caller is cancelled."""
        if self._closed is None:
            if self._reads_gathered:
                reads, self._reads_gathered = self._reads_gathered, []
                self._send_reads(reads, [])
            self._closed = asyncio.get_running_loop().create_future()
            self._threads_left = len(self._readers) + (self._writer is not None)
            if self._writer is not None:
                self._submissions.put(None)
            if not self._batches_in_flight:
                self._dismiss_readers()
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
        if error is None:
            self._reads_done += 1
            self._bytes_read += nbytes
        done(error)

    def _batch_returned(self, others: list[_Read], error: DaosError | None) -> None:
        assert error is None
        self._batches_in_flight -= 1
        if left := self._finish_cached(others):
            self._send_reads(left, [])
        elif self._closed is not None and not self._batches_in_flight:
            self._dismiss_readers()

    def _dismiss_readers(self) -> None:
        """Closing: nothing more comes for them."""
        for _ in self._readers:
            self._reads.put(None)

    def _finish_cached(self, reads: list[_Read]) -> list[_Read]:
        """Those whose blocks are in the page cache now have ended; returns the others."""
        left: list[_Read] = []
        for read in reads:
            try:
                there = self._read_cached(read.offset, read.into)
            except ValueError:  # the view was released: a thread says so
                there = False
            if there:
                self._completed.append((read.done, None))
            else:
                left.append(read)
        return left

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
            if isinstance(submission, _Preparation):
                self._post(loop, submission.done, self._prepare(submission))
                continue
            error = self._perform(submission)
            if error is None and not submission.flush and not self._submissions.empty():
                # Nobody waits for such a write alone: it is told with the next one.
                self._completed.append((submission.done, None))
            else:
                self._post(loop, submission.done, error)
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

    def _prepare(self, preparation: _Preparation) -> DaosError | None:
        """Write zeros where there is a hole, or allocated blocks that read as one."""
        if self._poison is not None:
            return NvmeIoError(f"device {self.name} is poisoned: {self._poison}")
        main, at, end = self._descriptors.main, preparation.offset, sum(preparation[:2])
        try:
            while at < end and (at := os.lseek(main, at, os.SEEK_HOLE)) < end:
                nbytes = min(end - at, IOV_MAX * len(_ZEROS))
                try:
                    nbytes = min(nbytes, os.lseek(main, at, os.SEEK_DATA) - at)
                except OSError as err:
                    if err.errno != errno.ENXIO:  # ENXIO: no data behind
                        raise
                whole, rest = divmod(nbytes, len(_ZEROS))
                written = os.pwritev(main, [_ZEROS] * whole or [_ZEROS[:rest]], at)
                if not written:
                    break  # nothing more can be had here; nobody relies on it
                self._bytes_prepared += written
                at += written
        except OSError as err:
            return error_from_os(err, f"device {self.name}: zeros at {at}")
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
        while (batch := self._reads.get()) is not None:
            for read in batch.last:
                self._post(loop, read.done, self._read(read.offset, read.into))
            self._post(loop, partial(self._batch_returned, batch.others), None)
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

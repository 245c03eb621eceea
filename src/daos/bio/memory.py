"""Bounded, page-aligned memory for the bytes between network and device.

O_DIRECT takes a buffer only at an aligned address, and memory for payloads must have an upper
bound that the traffic cannot push. One pool serves one event loop: everything here is called
from it, nothing locks.

    acquire ----------> Buffer --release--> kept for the next of its class
    when_available ---> waiting --(FIFO)--> Buffer

Sizes are rounded to a class: a power of two from 4 KiB to 1 MiB, above that whole MiB. Each
buffer is a mapping of its own, so its address is page-aligned and its pages go back to the system
when the pool has to make room for another class.

Invariants:
    I1  bytes in use <= bytes mapped <= bytes_max; bytes are counted as their class
    I2  nobody overtakes: while somebody waits, `acquire` refuses, however small the request
    I3  a request above the limit fails at once (DER_OVERFLOW) instead of waiting for ever
    I4  a buffer's content is what its last owner left; whoever sends padding clears it

A caller takes everything it needs in one buffer. Two half-served callers, each waiting for what
the other holds, would wait for ever.

Source: DAOS src/bio/bio_buffer.c (per-target DMA pool, FIFO wait, DER_OVERFLOW). DAOS packs small
requests into 8 MiB chunks of huge pages; classes are ours, because releases come in any order.
"""

from __future__ import annotations

import asyncio
import ctypes
import mmap
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from daos.base.errors import DER, AgainError, DaosError, InvalidError
from daos.bio.device import BLOCK

MIB: Final = 1 << 20
CLASS_MAX: Final = MIB
assert BLOCK % mmap.PAGESIZE == 0 or mmap.PAGESIZE % BLOCK == 0


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """Bytes are bytes of the classes, not of the requests."""

    bytes_max: int
    bytes_mapped: int
    bytes_in_use: int
    bytes_in_use_peak: int
    buffers_in_use: int
    waiting: int
    acquired_total: int
    waited_total: int


class Buffer(msgspec.Struct, eq=False, gc=False):
    """`nbytes` of aligned memory, owned by whoever acquired it until `release`."""

    view: memoryview
    address: int
    _pool: AlignedPool
    _arena: _Arena | None

    @property
    def nbytes(self) -> int:
        return len(self.view)

    def release(self, error: DaosError | None = None) -> None:
        """Give it back. Views cut from it must not be used any more; `view` itself is closed.

        `error` makes it fit to be a `Done`, and does not matter here.
        """
        arena = self._arena
        assert arena is not None, "a buffer is released once"
        self._arena = None
        self.view.release()
        self._pool._take_back(arena)


class Waiting:
    """A place in the queue of `when_available`."""

    __slots__ = ("_pool", "canceled", "done", "nbytes")

    def __init__(self, pool: AlignedPool, nbytes: int, done: Callable[[Buffer], None]) -> None:
        self._pool = pool
        self.nbytes = nbytes
        self.done = done
        self.canceled = False

    def cancel(self) -> None:
        """`done` will not be called; memory already on its way returns to the pool."""
        self.canceled = True
        self._pool._leave(self)


class _Arena:
    __slots__ = ("address", "memory", "nbytes")

    def __init__(self, nbytes: int) -> None:
        try:
            self.memory = mmap.mmap(-1, nbytes)
        except OSError as err:
            raise DaosError(f"no memory for a buffer of {nbytes} bytes", code=DER.NOMEM) from err
        self.address = address_of(memoryview(self.memory))
        self.nbytes = nbytes


class AlignedPool:
    """See the module. `waiters_max` bounds the queue; who comes beyond it is sent away."""

    def __init__(self, bytes_max: int = 64 * MIB, *, waiters_max: int = 4096) -> None:
        if bytes_max <= 0 or class_of(bytes_max) != bytes_max:
            raise InvalidError(
                f"a pool of {bytes_max} bytes: whole MiB or a power of two from {BLOCK} up expected"
            )
        self._bytes_max = bytes_max
        self._waiters_max = waiters_max
        self._free: dict[int, list[_Arena]] = {}
        self._waiters: deque[Waiting] = deque()
        self._granted: deque[tuple[Waiting, Buffer]] = deque()
        self._bytes_mapped = 0
        self._bytes_in_use = 0
        self._bytes_in_use_peak = 0
        self._buffers_in_use = 0
        self._acquired_total = 0
        self._waited_total = 0

    @property
    def bytes_max(self) -> int:
        return self._bytes_max

    def acquire(self, nbytes: int) -> Buffer | None:
        """Aligned memory of `nbytes`, or None if it takes waiting.

        Raises:     InvalidError   nbytes < 1
                    DaosError      DER_OVERFLOW: the pool could never serve it; DER_NOMEM
        Cost:       O(1); 1 us from the free list, a mapping and its page faults otherwise
        """
        # A block is a class of every pool.
        size = BLOCK if nbytes == BLOCK else self._class_checked(nbytes)
        return None if self._waiters else self._take(nbytes, size)

    def when_available(self, nbytes: int, done: Callable[[Buffer], None]) -> Waiting:
        """Call `done` with the buffer, later in the loop, in the order of the requests.

        Raises:     as `acquire`, and AgainError if the queue is full
        """
        size = self._class_checked(nbytes)
        if len(self._waiters) >= self._waiters_max:
            raise AgainError(f"{self._waiters_max} callers wait for buffers already")
        waiting = Waiting(self, nbytes, done)
        buffer = None if self._waiters else self._take(nbytes, size)
        if buffer is None:
            self._waiters.append(waiting)
            self._waited_total += 1
        else:
            self._grant(waiting, buffer)
        return waiting

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(
            bytes_max=self._bytes_max,
            bytes_mapped=self._bytes_mapped,
            bytes_in_use=self._bytes_in_use,
            bytes_in_use_peak=self._bytes_in_use_peak,
            buffers_in_use=self._buffers_in_use,
            waiting=len(self._waiters),
            acquired_total=self._acquired_total,
            waited_total=self._waited_total,
        )

    def check(self) -> None:
        """Assert the invariants."""
        free = sum(size * len(arenas) for size, arenas in self._free.items())
        assert 0 <= self._bytes_in_use <= self._bytes_mapped <= self._bytes_max, "I1"
        assert free == self._bytes_mapped - self._bytes_in_use, "I1"

    def _class_checked(self, nbytes: int) -> int:
        if nbytes < 1:
            raise InvalidError(f"a buffer of {nbytes} bytes")
        size = class_of(nbytes)
        if size > self._bytes_max:
            raise DaosError(
                f"a buffer of {nbytes} bytes from a pool of {self._bytes_max}", code=DER.OVERFLOW
            )
        return size

    def _take(self, nbytes: int, size: int) -> Buffer | None:
        free = self._free.get(size)
        if free:
            arena = free.pop()
        elif self._bytes_in_use + size > self._bytes_max:
            return None
        else:
            self._make_room(size)
            arena = _Arena(size)
            self._bytes_mapped += size
        in_use = self._bytes_in_use = self._bytes_in_use + size
        if in_use > self._bytes_in_use_peak:
            self._bytes_in_use_peak = in_use
        self._buffers_in_use += 1
        self._acquired_total += 1
        view = memoryview(arena.memory)
        return Buffer(view if nbytes == size else view[:nbytes], arena.address, self, arena)

    def _make_room(self, size: int) -> None:
        """Unmap free buffers of other classes, the largest first, until `size` fits."""
        for other in sorted(self._free, reverse=True):
            free = self._free[other]
            while free and self._bytes_mapped + size > self._bytes_max:
                free.pop()  # the mapping goes when the last view of it does
                self._bytes_mapped -= other

    def _take_back(self, arena: _Arena) -> None:
        size = arena.nbytes
        free = self._free.get(size)
        if free is None:
            self._free[size] = [arena]
        else:
            free.append(arena)
        self._bytes_in_use -= size
        self._buffers_in_use -= 1
        if self._waiters:
            self._serve()

    def _leave(self, waiting: Waiting) -> None:
        if waiting in self._waiters:
            self._waiters.remove(waiting)
            self._serve()  # it may have been the large one at the head

    def _serve(self) -> None:
        while self._waiters:
            waiting = self._waiters[0]
            buffer = self._take(waiting.nbytes, class_of(waiting.nbytes))
            if buffer is None:
                return
            self._waiters.popleft()
            self._grant(waiting, buffer)

    def _grant(self, waiting: Waiting, buffer: Buffer) -> None:
        self._granted.append((waiting, buffer))
        asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        waiting, buffer = self._granted.popleft()
        if waiting.canceled:
            buffer.release()
        else:
            waiting.done(buffer)


def class_of(nbytes: int) -> int:
    """The bytes that a request of `nbytes` really takes."""
    if nbytes > CLASS_MAX:
        return -(-nbytes // CLASS_MAX) * CLASS_MAX
    return max(BLOCK, 1 << (nbytes - 1).bit_length())


def address_of(view: memoryview) -> int:
    """Where the bytes of a writable, contiguous, non-empty view are."""
    return ctypes.addressof(ctypes.c_char.from_buffer(view))

"""Memory that the two ends of a local connection share: offers sent, offers taken.

    share --> packet with a memfd --> the peer's `memory` --> checked, mapped once

A packet lies in the peer's socket as soon as it has been sent, so `memory` finds what was shared
before the frame that names it, by looking there once more when it does not know an id (T7).

    M1  only a memfd of plain pages that can't shrink is mapped (F_SEAL_SHRINK), and not beyond its
        size: nothing a peer does to it makes our access fail
    M2  a peer's mappings are bounded in number and bytes; an offer beyond that is refused
    M3  a mapping is dropped when the peer takes it back or the connection ends; views that are
        still in use keep it until they go
    M4  what is no offer ends the sharing of that peer, and nothing else

Source: ours; DAOS has Mercury's na_sm, which reads the memory of the other process
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import mmap
import os
import socket
from collections import deque
from dataclasses import dataclass
from typing import Final

from daos.base.errors import CorruptError, InvalidError
from daos.cart.transport.poller import READ, WRITE, Poller
from daos.cart.transport.wire import OFFER_SIZE, SHARE, UNSHARE, Offer

log = logging.getLogger(__name__)

MiB: Final = 1 << 20
# Offers that wait because the peer does not read; one more is not made.
_PENDING_MAX: Final = 1024
# Offers taken at once; a queue in the kernel has fewer, one that is filled all the time never ends.
_TAKEN_MAX: Final = 1024
# The peer has the other end of the pair, and could make ours wait: each call says that it may not.
_RECEIVE: Final = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingConfig:
    """What one peer may have mapped here."""

    regions_max: int = 256
    bytes_max: int = 1024 * MiB

    def __post_init__(self) -> None:
        if self.regions_max < 0 or self.bytes_max < 0:
            raise InvalidError(f"bounds of shared memory can't be negative: {self}")


class Regions:
    """Both directions of one connection's sharing, over one end of a pair of sockets."""

    def __init__(self, poller: Poller, sock: socket.socket, config: SharingConfig) -> None:
        self.refused = 0
        self._poller = poller
        self._config = config
        self._socket: socket.socket | None = sock
        self._offered: set[int] = set()
        self._pending: deque[tuple[Offer, int]] = deque()  # with a descriptor of ours, or -1
        self._mapped: dict[int, mmap.mmap] = {}
        self._bytes = 0
        sock.setblocking(False)
        poller.watch(sock.fileno(), READ, self._ready)

    @property
    def bytes_mapped(self) -> int:
        """Of the peer's memory."""
        return self._bytes

    def _ready(self, events: int) -> None:
        if events & ~WRITE:
            self._take_all()
        if events & WRITE:
            self._flush()

    # Offers of ours

    def share(self, region_id: int, fd: int, nbytes: int) -> None:
        """As `Link.share`."""
        if self._socket is None or len(self._pending) >= _PENDING_MAX:
            return
        self._offered.add(region_id)
        self._offer(Offer(SHARE, region_id, nbytes), fd)

    def unshare(self, region_id: int) -> None:
        """As `Link.unshare`."""
        if self._socket is not None and region_id in self._offered:
            self._offered.remove(region_id)
            self._offer(Offer(UNSHARE, region_id, 0), -1)

    def _offer(self, offer: Offer, fd: int) -> None:
        if self._pending or not self._sent(offer, fd):
            if not self._pending and self._socket is not None:
                self._poller.watch(self._socket.fileno(), READ | WRITE, self._ready)
            try:
                self._pending.append((offer, os.dup(fd) if fd >= 0 else -1))
            except OSError as error:  # the peer will not find it, and ask for the bytes
                log.info("memory is not offered to a peer: %s", error.strerror)

    def _sent(self, offer: Offer, fd: int) -> bool:
        """False: the peer's queue is full. What can't be sent at all is forgotten."""
        assert self._socket is not None
        raw = offer.emit()
        try:
            if fd >= 0:
                socket.send_fds(self._socket, [raw], [fd], socket.MSG_DONTWAIT)
            else:
                self._socket.send(raw, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:  # the peer has closed its end: it wants no memory
            self._end_pending()
        return True

    def _flush(self) -> None:
        while self._pending:
            offer, fd = self._pending[0]
            if not self._sent(offer, fd):
                return
            if self._pending:
                self._pending.popleft()
                if fd >= 0:
                    os.close(fd)
        if self._socket is not None:
            self._poller.watch(self._socket.fileno(), READ, self._ready)

    def _end_pending(self) -> None:
        pending, self._pending = self._pending, deque()
        for _, fd in pending:
            if fd >= 0:
                os.close(fd)

    # Offers of the peer's

    def memory(self, region_id: int) -> memoryview | None:
        """As `Link.memory`."""
        mapped = self._mapped.get(region_id)
        if mapped is None:
            self._take_all()
            mapped = self._mapped.get(region_id)
        return None if mapped is None else memoryview(mapped)

    def _take_all(self) -> None:
        for _ in range(_TAKEN_MAX):
            if self._socket is None:
                return
            try:
                raw, fd = receive(self._socket, OFFER_SIZE + 1)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            try:
                if not raw:
                    self.close()
                    return
                self._take(Offer.parse(raw), fd)
            except CorruptError as error:
                log.info("sharing of memory ended: the peer sent no offer: %s", error)
                self.close()
            finally:
                if fd >= 0:
                    os.close(fd)

    def _take(self, offer: Offer, fd: int) -> None:
        region_id, nbytes = offer.region_id, offer.nbytes
        if offer.kind == UNSHARE:
            gone = self._mapped.pop(region_id, None)
            if gone is not None:
                self._bytes -= len(gone)
            return
        try:
            reason = self._why_not(region_id, fd, nbytes)
            if not reason:
                self._mapped[region_id] = mmap.mmap(fd, nbytes)
                self._bytes += nbytes
        except OSError as error:  # no memfd, sealed against writing, out of memory
            reason = error.strerror or str(error)
        if reason:
            self.refused += 1
            log.info("offer refused region=%d nbytes=%d: %s", region_id, nbytes, reason)

    def _why_not(self, region_id: int, fd: int, nbytes: int) -> str:
        """Raises: OSError"""
        if fd < 0:
            return "no descriptor came with it"
        if region_id in self._mapped:
            return "the id is in use"
        if len(self._mapped) >= self._config.regions_max:
            return f"there are {len(self._mapped)} already"
        if self._bytes + nbytes > self._config.bytes_max:
            return f"{self._bytes} bytes are mapped, the limit is {self._config.bytes_max}"
        if not fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
            return "it may shrink: seal it with F_SEAL_SHRINK"
        if (size := os.fstat(fd).st_size) < nbytes:
            return f"it has {size} bytes"
        # Huge pages come from a pool that runs out: touching one that is not there kills us.
        if (page := os.fstatvfs(fd).f_bsize) != mmap.PAGESIZE:
            return f"its pages have {page} bytes, not {mmap.PAGESIZE}"
        return ""

    def close(self) -> None:
        """Forget everything. Idempotent."""
        sock, self._socket = self._socket, None
        if sock is None:
            return
        self._poller.watch(sock.fileno(), 0, self._ready)
        sock.close()
        self._end_pending()
        self._mapped.clear()
        self._bytes = 0


def receive(sock: socket.socket, nbytes: int) -> tuple[bytes, int]:
    """Up to `nbytes`, and the descriptor that came with them, or -1; it is the caller's.

    Raises:     OSError, BlockingIOError
    """
    raw, fds, _, _ = socket.recv_fds(sock, nbytes, 1, _RECEIVE)
    for extra in fds[1:]:
        with contextlib.suppress(OSError):
            os.close(extra)
    return raw, fds[0] if fds else -1

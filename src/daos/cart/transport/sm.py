"""Connections within one host: a Unix socket for frames, and memory that both ends have mapped.

    client                                         server
      connect, greeting + one end of a pair  --->    accept; takes greeting and the end
      frames                                <-->     frames
      offers of memfds, over the pair       <-->     maps them, once each (regions.py)

Each endpoint has a path below one directory. A socket that its owner left behind is removed by the
next who wants to listen there, after it has found nobody at home; one at a time does that in a
directory, and nobody is found away between the making of a socket and its first listening. The user
that listens may connect, and root; others are told that they may not.

Source: ours; DAOS has provider sm of Mercury. asyncio's transports drop ancillary data, hence a
pair of our own
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterator
from typing import Final

from daos.base.errors import DER, CorruptError, DaosError, ExistsError, InvalidError
from daos.base.peers import SOCKET_PATH_MAX, Door, Peer, peer_of
from daos.cart.transport.regions import Regions, SharingConfig, receive
from daos.cart.transport.sockets import (
    BACKLOG,
    Addresses,
    SocketAddress,
    SocketConfig,
    SocketTransport,
)
from daos.cart.transport.stream import StreamLink
from daos.cart.transport.wire import GREETING_SIZE, emit_greeting, parse_greeting

log = logging.getLogger(__name__)


# What the kernel holds for a peer that does not read yet. It counts more than the bytes, and
# doubles what is asked for; with its own 208 KiB a frame of 1 MiB wakes either process six times.
_SEND_BUFFER: Final = 1 << 20
_MODE: Final = stat.S_IRUSR | stat.S_IWUSR
_File = tuple[int, int]
"""Which file lies at a path: its device and inode."""


class SmTransport(SocketTransport):
    """A `Transport` to paths of Unix sockets."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        addresses: Addresses,
        config: SocketConfig | None = None,
        *,
        sharing: SharingConfig | None = None,
    ) -> None:
        super().__init__(loop, addresses, config)
        self._sharing = sharing or SharingConfig()
        self._files: dict[str, _File] = {}  # of listeners, by path
        self._door = Door(_MODE)

    def _new_socket(self, address: SocketAddress) -> socket.socket:
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    def _new_link(self, on_over: Callable[[StreamLink], None], *, taken: bool) -> StreamLink:
        return SmLink(self, on_over, taken=taken, sharing=self._sharing)

    def _refusal(self, sock: socket.socket) -> DaosError | None:
        return self._door.refusal(peer_of(sock), sock.getsockname())

    def _bind(self, sock: socket.socket, address: SocketAddress) -> None:
        path = str(address)
        if len(os.fsencode(path)) > SOCKET_PATH_MAX:
            text = f"the path of a Unix socket has at most {SOCKET_PATH_MAX} bytes: {path}"
            raise InvalidError(text)
        with _alone(os.path.dirname(path)):
            try:
                sock.bind(path)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                _remove_if_stale(path)
                sock.bind(path)
            os.chmod(path, _MODE)
            sock.listen(BACKLOG)  # before anybody else may find it stale
            self._files[path] = _file_at(path)

    def _unbound(self, address: SocketAddress) -> None:
        path = str(address)
        ours = self._files.pop(path)
        with contextlib.suppress(FileNotFoundError), _alone(os.path.dirname(path)):
            if _file_at(path) == ours:  # not what somebody has put there since
                os.unlink(path)


class SmLink(StreamLink):
    """A link with shared memory."""

    shares = True

    def __init__(
        self,
        transport: SmTransport,
        on_over: Callable[[StreamLink], None],
        *,
        taken: bool,
        sharing: SharingConfig,
    ) -> None:
        super().__init__(transport.loop, transport.poller, transport.counts, on_over)
        self.peer: Peer | None = None
        self._sharing = sharing
        self._regions: Regions | None = None
        self._taken = taken
        # Offered before there was a connection: with a descriptor of ours.
        self._early: dict[int, tuple[int, int]] = {}
        if taken:
            self._on_readable = self._greeting

    def join(self, sock: socket.socket) -> None:
        self.peer = peer_of(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if not self._taken and not self._greet(sock):
            return
        super().join(sock)

    def share(self, region_id: int, fd: int, nbytes: int) -> None:
        if self._regions is not None:
            self._regions.share(region_id, fd, nbytes)
        elif not self.over and region_id not in self._early:
            with contextlib.suppress(OSError):  # out of descriptors: then it is not shared
                self._early[region_id] = (os.dup(fd), nbytes)

    def unshare(self, region_id: int) -> None:
        if self._regions is not None:
            self._regions.unshare(region_id)
        elif region_id in self._early:
            os.close(self._early.pop(region_id)[0])

    def memory(self, region_id: int) -> memoryview | None:
        return None if self._regions is None else self._regions.memory(region_id)

    def _greet(self, sock: socket.socket) -> bool:
        """We have connected. False: it is over."""
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with there:
                socket.send_fds(sock, [emit_greeting()], [there.fileno()])
        except OSError as error:
            here.close()
            sock.close()
            self.lost(DaosError(f"the peer took no greeting: {error.strerror}", code=DER.UNREACH))
            return False
        self._begin_sharing(here)
        return True

    def _greeting(self) -> None:
        """We were connected to: the first bytes are there."""
        sock = self._socket
        assert sock is not None
        try:
            raw, fd = receive(sock, GREETING_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(error)
            return
        if not raw and fd < 0:
            self._finish(None)
            return
        try:
            self._begin_sharing(_pair_of(raw, fd))
        except OSError as error:
            self._broken(error)
            return
        except CorruptError as error:
            log.info("connection ended, no greeting from %s: %s", self.peer, error)
            self._finish(DaosError(f"no greeting: {error.message}", code=DER.UNREACH))
            return
        self._on_readable = self._readable
        self._readable()

    def _begin_sharing(self, sock: socket.socket) -> None:
        """`sock` is ours. Raises: OSError (it can't be watched)"""
        try:
            regions = self._regions = Regions(self._poller, sock, self._sharing)
        except OSError:
            sock.close()
            raise
        early, self._early = self._early, {}
        for region_id, (fd, nbytes) in early.items():
            regions.share(region_id, fd, nbytes)
            os.close(fd)

    def _finish(self, error: DaosError | None) -> None:
        if not self.over:
            if self._regions is not None:
                self._regions.close()
            for fd, _ in self._early.values():
                os.close(fd)
            self._early.clear()
        super()._finish(error)


def _pair_of(greeting: bytes, fd: int) -> socket.socket:
    """Our end of the pair, from what came first. Raises: CorruptError if it is something else"""
    if fd < 0:
        raise CorruptError("sm greeting descriptors", offset=0, want=1, got=0)
    try:
        parse_greeting(greeting)
        sock = socket.socket(fileno=fd)
    except CorruptError:
        os.close(fd)
        raise
    except OSError:
        os.close(fd)
        raise CorruptError("sm greeting descriptor", offset=0, want="socket", got="none") from None
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_SEQPACKET:
        got = f"{sock.family!r} {sock.type!r}"
        sock.close()
        raise CorruptError("sm greeting descriptor", offset=0, want="SOCK_SEQPACKET", got=got)
    return sock


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Nobody else looks for stale sockets, or makes some, in this directory meanwhile.

    Waits for whoever does; that takes some system calls.
    """
    fd = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _file_at(path: str) -> _File:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _remove_if_stale(path: str) -> None:
    """Make room for a listener at `path`; `_alone` in its directory.

    Raises:     ExistsError   somebody listens there, or something else is there
    """
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise ExistsError(f"{path} is there and no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        status = probe.connect_ex(path)
    if status != errno.ECONNREFUSED:
        raise ExistsError(f"somebody listens at {path} already")
    os.unlink(path)

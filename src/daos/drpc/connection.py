"""One end of a dRPC connection: whole messages over a socket that keeps the borders of packets.

    listen ... accept ─┐
    connect ───────────┴─> MessageSocket --receive--> message, or None at the peer's end
                                          <--send---  message

A peer that has begun with a message, or that something is sent to, has MOVE_S seconds for each
packet: one that stands still is taken for gone.

Source: DAOS src/common/drpc.c; the bound of a packet's time is ours
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from pathlib import Path
from typing import Final, Self

from daos.base.errors import (
    DER,
    AccessError,
    DaosError,
    ExistsError,
    InvalidError,
    NotFoundError,
    errno_to_der,
    error_for,
)
from daos.base.peers import SOCKET_PATH_MAX, Peer, peer_of
from daos.drpc.layout import PACKET_MAX, MessageReader, packets

# Seconds for a packet that is due.
MOVE_S: Final = 10.0
_BACKLOG: Final = socket.SOMAXCONN


class MessageSocket:
    """A connected socket. One task may send while another one receives."""

    def __init__(self, connected: socket.socket, path: Path) -> None:
        self._socket = connected
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._reader = MessageReader()
        self._sending = asyncio.Lock()

    @classmethod
    async def connect(cls, path: Path) -> Self:
        """Reach who listens at `path`.

        Raises: NotFoundError  nobody has made the socket
                AccessError    its mode forbids it
                DaosError      UNREACH: nobody listens any more
        """
        _check_length(path)
        endpoint = _new_socket()
        try:
            await asyncio.get_running_loop().sock_connect(endpoint, str(path))
        except OSError as error:
            endpoint.close()
            raise _unreachable(path, error) from error
        except BaseException:
            endpoint.close()
            raise
        return cls(endpoint, path)

    def peer(self) -> Peer:
        """Who is at the other end, as the kernel noted it when the connection was made."""
        return peer_of(self._socket)

    async def receive(self, first_s: float | None = None) -> bytes | None:
        """The next message; None when the peer has closed between two.

        Units:  first_s: how long to wait for its first packet; without end where it is None
        Raises: DaosError  as `MessageReader.receive`; TIMEDOUT: it stands still; UNREACH: reset
        """
        packet = await self._packet(first_s)
        if not packet:
            return None
        while (message := self._reader.receive(packet)) is None:
            packet = await self._packet(MOVE_S)
            if not packet:
                text = f"{self._path}: the peer left in the middle of a message"
                raise DaosError(text, code=DER.UNREACH)
        return message

    async def _packet(self, wait_s: float | None) -> bytes:
        try:
            async with asyncio.timeout(wait_s):
                # One byte more: a packet that is too large shows by it.
                return await self._loop.sock_recv(self._socket, PACKET_MAX + 1)
        except TimeoutError:
            text = f"{self._path}: no packet came within {wait_s} s"
            raise DaosError(text, code=DER.TIMEDOUT) from None
        except OSError as error:
            raise _unreachable(self._path, error) from error

    async def send(self, message: bytes) -> None:
        """Send a message; the packets of two do not mix.

        Raises: DaosError  REC2BIG: it is too large; UNREACH: the peer has gone; TIMEDOUT: it does
                           not read
        """
        async with self._sending:
            for packet in packets(message):
                try:
                    async with asyncio.timeout(MOVE_S):
                        await self._loop.sock_sendall(self._socket, packet)
                except TimeoutError:
                    text = f"{self._path}: the peer took no packet within {MOVE_S} s"
                    raise DaosError(text, code=DER.TIMEDOUT) from None
                except OSError as error:
                    raise _unreachable(self._path, error) from error

    def end(self) -> None:
        """Have both ends hear that it is over; whoever has it closes it."""
        with contextlib.suppress(OSError):  # the peer has gone already
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Idempotent; nobody may be waiting in `receive` or `send`."""
        self._socket.close()


def listen(path: Path, mode: int) -> socket.socket:
    """A listening socket at `path`, which only those that `mode` names may connect to.

    A socket file whose listener has died is removed.

    Raises: ExistsError (somebody listens there), AccessError, NotFoundError (no such directory),
            InvalidError (too long, or something else has the name)
    """
    _check_length(path)
    _remove_stale(path)
    endpoint = _new_socket()
    try:
        # No moment with a wider mode: the file is born with what the mask leaves.
        mask = os.umask(0o777 & ~mode)
        try:
            endpoint.bind(str(path))
        finally:
            os.umask(mask)
        path.chmod(mode)
        endpoint.listen(_BACKLOG)
    except OSError as error:
        endpoint.close()
        raise _refused(path, error) from error
    return endpoint


def _remove_stale(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_socket():
        raise InvalidError(f"{path} is in the way: it is no socket")
    with _new_socket() as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            pass
        except FileNotFoundError:
            return
        except OSError as error:
            raise _refused(path, error) from error
        else:
            raise ExistsError(f"another process listens at {path}")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _refused(path, error) from error


def _new_socket() -> socket.socket:
    endpoint = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    endpoint.setblocking(False)
    return endpoint


def _check_length(path: Path) -> None:
    if len(os.fsencode(path)) > SOCKET_PATH_MAX:
        raise InvalidError(f"{path}: the path of a socket has at most {SOCKET_PATH_MAX} bytes")


def _refused(path: Path, error: OSError) -> DaosError:
    if error.errno in (errno.EADDRINUSE, errno.EAGAIN):
        return ExistsError(f"another process listens at {path}")
    return _named(path, error)


def _unreachable(path: Path, error: OSError) -> DaosError:
    if error.errno in (errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
        return DaosError(f"nobody listens at {path} any more", code=DER.UNREACH)
    return _named(path, error)


def _named(path: Path, error: OSError) -> DaosError:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessError(f"{path}: {error.strerror}")
    if error.errno == errno.ENOENT:
        return NotFoundError(f"{path} does not exist")
    code = errno_to_der(error.errno or errno.EIO)
    return error_for(code, f"{path}: {error.strerror}")

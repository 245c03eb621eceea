"""`Gate`: who may connect to `control.sock`; gRPC, which can't tell, is behind it.

    administrator --control.sock--> Gate: SO_PEERCRED --> a socket without a name --> gRPC
                                      └ a stranger: closed, logged

gRPC's own socket has a name only until it is opened here: afterwards no path leads to it.

Source: ours; DAOS has certificates alone, which come later
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from pathlib import Path
from typing import Final, Self

from daos.base.directory import told_by
from daos.base.peers import Door, peer_of
from daos.control import files

log = logging.getLogger(__name__)

MODE: Final = 0o600
CONNECTIONS_MAX: Final = 256
_CHUNK: Final = 64 << 10
_BACKLOG: Final = 128


class Gate:
    """Listens at `path` once it is opened. `close` it."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.inner: Final = path.with_name(path.name + ".g")  # for gRPC to listen at, before `open`
        self._door = Door(MODE)
        self._fd = -1
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()
        files.remove_sockets(path.parent, path.name)
        files.remove_sockets(path.parent, self.inner.name)

    async def open(self) -> Self:
        """gRPC listens: let others come. Raises: AccessError, InvalidError"""
        with told_by(self.path):
            self._fd = os.open(self.inner, os.O_PATH | os.O_CLOEXEC)
            self.inner.unlink()
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                mask = os.umask(0o777 & ~MODE)  # nobody else's, from its birth on
                try:
                    listening.bind(os.fspath(self.path))
                finally:
                    os.umask(mask)
                listening.listen(_BACKLOG)
                self._server = await asyncio.start_unix_server(self._connected, sock=listening)
            except BaseException:
                listening.close()
                raise
        return self

    async def close(self) -> None:
        """Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            files.remove_sockets(self.path.parent, self.path.name)
        files.remove_sockets(self.path.parent, self.inner.name)
        for task in self._passing:
            task.cancel()
        if self._passing:
            await asyncio.wait(self._passing)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_of(writer.get_extra_info("socket"))
        if self._door.refusal(peer, str(self.path)) or len(self._passing) >= CONNECTIONS_MAX:
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._pass(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                inside, out = await asyncio.open_unix_connection(f"/proc/self/fd/{self._fd}")
            except OSError as error:
                log.warning("gRPC takes no connection: %s", error.strerror)
                return
            with contextlib.closing(out):
                ways = [
                    asyncio.create_task(_copy(*way)) for way in ((reader, out), (inside, writer))
                ]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.wait(ways)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # one of the two has gone: so does the other
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()

"""Telling whoever started a process that it is ready: the protocol of systemd.

    starter                        started
    Notice.open --NOTIFY_SOCKET--> environment
    wait        <--"READY=1"------ tell

So a unit may say `Type=notify`, and a server waits for its agent in the same way.

Source: sd_notify(3)
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from daos.base.directory import told_by

VARIABLE: Final = "NOTIFY_SOCKET"
_READY: Final = b"READY=1"


def tell(environ: Mapping[str, str], *, status: str = "") -> None:
    """Say that we are ready; nobody may be listening."""
    address = environ.get(VARIABLE, "")
    if not address.startswith(("/", "@")):
        return
    text = _READY + (f"\nSTATUS={status}".encode() if status else b"")
    where = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as endpoint:
        try:
            endpoint.sendto(text, where)
        except OSError:
            return  # whoever asked has gone


class Notice:
    """Where one process is to say so. `close` it."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        with told_by(path):
            path.unlink(missing_ok=True)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._socket.bind(os.fspath(path))
            path.chmod(0o600)

    async def wait(self) -> None:
        """Until it has said so."""
        loop = asyncio.get_running_loop()
        while _READY not in (await loop.sock_recv(self._socket, 4096)).split(b"\n"):
            continue

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()
        self.path.unlink(missing_ok=True)

"""Who is at the other end of a Unix socket, by the kernel's word, and who is let in.

    mode 0600     the user that made the socket, and root
    mode 0666     every user of the host

The mode keeps strangers out as well, while nobody changes it; what the kernel noted of a peer as it
connected can't be changed.

Source: unix(7) SO_PEERCRED; DAOS has modes of files, and its agent asks for the peer
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from typing import Final, NamedTuple

from daos.base.errors import AccessError

log = logging.getLogger(__name__)

ROOT: Final = 0
# sun_path has 108 bytes, the last one is 0.
SOCKET_PATH_MAX: Final = 107
_ANYBODY: Final = 0o002
_UCRED: Final = struct.Struct("=iII")
_TOLD_MAX: Final = 64


class Peer(NamedTuple):
    """The process at the other end, as it was when it connected."""

    pid: int
    uid: int
    gid: int


def peer_of(sock: socket.socket) -> Peer:
    """Who is there. Raises: OSError"""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return Peer(*_UCRED.unpack(raw))


class Door:
    """Who may come in at a socket of ours that has `mode`."""

    def __init__(self, mode: int) -> None:
        self._own = os.geteuid()
        self._open = bool(mode & _ANYBODY)
        self._told: set[int] = set()

    def refusal(self, peer: Peer, where: str) -> AccessError | None:
        """Why `peer` may not come in at `where`; None: it may. Each uid is logged once."""
        if self._open or peer.uid in (ROOT, self._own):
            return None
        if peer.uid not in self._told and len(self._told) < _TOLD_MAX:
            self._told.add(peer.uid)
            log.warning("refused uid=%d pid=%d socket=%s", peer.uid, peer.pid, where)
        return _stranger(where, peer.uid, self._own)


def barred(path: str) -> AccessError | None:
    """Why this process may not use the stream socket at `path`; None: something else hinders it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except PermissionError:
            return AccessError(f"{path}: uid {os.geteuid()} may not use it; its owner and root may")
        except OSError:
            return None
        owner, us = peer_of(probe).uid, os.geteuid()
    return None if us in (ROOT, owner) else _stranger(path, us, owner)


def _stranger(where: str, uid: int, owner: int) -> AccessError:
    who = "root" if owner == ROOT else f"uid {owner} and root"
    return AccessError(f"{where} is for {who} alone, not for uid {uid}")

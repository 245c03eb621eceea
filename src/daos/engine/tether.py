"""What ties a target's process to its rank's: a socket pair, and a death notice at each end of it.

    parent                        child
      <---------------- Ready       it has a loop
      Begin, Group ---->            this is your rank, there are the others
      <- Listening, Failed          its target can be reached, or why not
      Joined ---------->            it was told all there is
      Levels ---------->            log this from now on
      Stop ------------>            drain, write checkpoints
      <-------------- Stopped       done; it ends

A message is a packet. The end of the file says that the process at the other end has gone, whatever
it died of: nobody else has a descriptor of that end.

Source: ours; in DAOS xstreams are threads, which die together
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

import msgspec

# Of one packet; the places of some thousand ranks.
_PACKET_MAX: Final = 1 << 17


class Ready(msgspec.Struct, tag=True, frozen=True):
    """Of a child: it waits for its rank."""


class Group(msgspec.Struct, tag=True, frozen=True):
    """Of the parent: where the ranks are."""

    version: int
    uris: dict[int, str]


class Begin(msgspec.Struct, tag=True, frozen=True):
    """Of the parent: be a target of this rank, and listen where its URI says."""

    rank: int
    uri: str
    key: bytes  # of the system
    floor: int = 0  # every epoch is above it


class Listening(msgspec.Struct, tag=True, frozen=True):
    """Of a child, after `Begin`."""


class Failed(msgspec.Struct, tag=True, frozen=True):
    """Of a child: `Begin` could not be done."""

    code: int  # DER
    text: str


class Joined(msgspec.Struct, tag=True, frozen=True):
    """Of the parent: the services have told this target all that it has to know."""


class Levels(msgspec.Struct, tag=True, frozen=True):
    """Of the parent: what is logged from now on, by logger."""

    levels: dict[str, int]


class Stop(msgspec.Struct, tag=True, frozen=True):
    """Of the parent: end in order."""


class Stopped(msgspec.Struct, tag=True, frozen=True):
    """Of a child: it has ended; `problem` says what was not done, or nothing."""

    problem: str = ""
    epoch: int = 0  # none above it was given out


Message = Ready | Group | Begin | Listening | Failed | Joined | Levels | Stop | Stopped
_decoder: Final = msgspec.msgpack.Decoder(Message)
_encode: Final = msgspec.msgpack.Encoder().encode


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends of a tether, before there is a child."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


class Tether:
    """One end, in a loop."""

    def __init__(
        self,
        end: socket.socket,
        loop: asyncio.AbstractEventLoop,
        *,
        received: Callable[[Message], None],
        cut: Callable[[], None],
    ) -> None:
        """`received` hears of each message; `cut`, once, that the other end has gone."""
        self._end = end
        self._loop = loop
        self._received = received
        self._cut = cut
        loop.add_reader(end, self._readable)

    def send(self, message: Message) -> None:
        """Say it. To nobody, once the other end has gone: `cut` tells."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._end.send(_encode(message))

    def close(self) -> None:
        """Idempotent. The other end hears of it."""
        if self._end.fileno() >= 0:
            self._loop.remove_reader(self._end)
            self._end.close()

    def _readable(self) -> None:
        try:
            packet = self._end.recv(_PACKET_MAX)
        except BlockingIOError:
            return
        except ConnectionResetError:
            packet = b""
        if packet:
            self._received(_decoder.decode(packet))
        else:
            self.close()
            self._cut()

"""A transport without a peer: requests are frames made beforehand, replies are thrown away.

What a target spends on a request, from the first byte of its frame to the last of the reply, can
then be timed without a client's work in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from daos.base.errors import DaosError, InvalidError
from daos.cart.transport import Acceptor, Channel
from daos.cart.wire import Endpoint

_TURN_BYTES: Final = 1 << 20
Frames = Sequence[bytes | memoryview]


class Tape:
    """A `Transport`; `play` is the only peer there is."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._acceptor: Acceptor | None = None
        self._end: _End | None = None

    def listen(self, endpoint: Endpoint, acceptor: Acceptor) -> Tape:
        """As `Transport`."""
        del endpoint
        self._acceptor = acceptor
        return self

    def connect(self, endpoint: Endpoint, channel: Channel) -> _End:
        """As `Transport`. Raises: InvalidError."""
        raise InvalidError(f"{endpoint} cannot be called over a tape by {channel}")

    def close(self) -> None:
        """As `Listener`."""

    def play(self, frames: Frames) -> None:
        """Let the target read these frames."""
        end = self._end
        if end is None:
            assert self._acceptor is not None
            end = self._end = _End(self.loop, self._acceptor)
        channel = end.channel
        for frame in frames:
            source = memoryview(frame)
            while source:
                into = channel.get_buffer(len(source))
                nbytes = min(len(source), len(into))
                into[:nbytes] = source[:nbytes]
                channel.buffer_updated(nbytes)
                source = source[nbytes:]


class _End:
    """The link of the one connection."""

    shares = False

    def __init__(self, loop: asyncio.AbstractEventLoop, acceptor: Acceptor) -> None:
        self._loop = loop
        self._kicked = self._closed = False
        self.channel: Channel = acceptor(self)

    def kick(self) -> None:
        """As `Link`: the replies of a turn leave together."""
        if not self._kicked:
            self._kicked = True
            self._loop.call_soon(self._pull)

    def pause_reading(self) -> None:
        """As `Link`; a tape plays less at once than would make a target pause."""

    def resume_reading(self) -> None:
        """As `Link`."""

    def close(self, error: DaosError | None = None) -> None:
        """As `Link`."""
        if not self._closed:
            self._closed = True
            self._loop.call_soon(self.channel.connection_lost, error)

    def let_go(self) -> None:
        """Nothing is held."""

    def share(self, region_id: int, fd: int, nbytes: int) -> None:
        """As `Link`; a tape has no memory to share."""

    def unshare(self, region_id: int) -> None:
        """As `Link`."""

    def memory(self, region_id: int) -> memoryview | None:
        """As `Link`."""
        return None

    def _pull(self) -> None:
        self._kicked = False
        while self.channel.data_to_send(_TURN_BYTES):
            self.channel.data_sent()

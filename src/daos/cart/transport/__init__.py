"""The seam between CaRT and whatever carries its bytes.

A `Transport` connects endpoints, a `Link` is one end of a connection, a `Channel` is what the link
carries bytes for: it is implemented by `cart.context`, once for every transport.

Bytes in: the link asks the channel for a buffer, fills it, and says how much.
Bytes out are pulled: the channel says `kick`, the link later asks `data_to_send`.

    T1  a link calls its channel only from callbacks of the loop, never from inside a call that the
        channel made on it: no surprise on the stack
    T2  all that a channel queues in one turn of the loop leaves in one `data_to_send`
    T3  a link takes no more than it can pass on; what it took is copied or sent when it says
        `data_sent`, or `let_go` returns, and until then it only reads that memory
    T4  bytes arrive in order, each once, or the connection is lost
    T5  `connection_lost` comes exactly once, and nothing after it. A channel that has called
        `close` hears nothing from its peer any more; what it had queued still leaves
    T6  between `pause_reading` and `resume_reading` little more arrives: what was under way
    T7  memory that one side has shared before it sent a frame is there for the other when that
        frame arrives. A transport without shared memory never has any

Addresses, sockets, name services are a transport's own business. A new one passes
`daos.testing.kits.transport`.

Source: ours, after asyncio.BufferedProtocol; DAOS reaches Mercury through src/cart/crt_hg.c
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from daos.base.errors import DaosError
from daos.cart.wire import Endpoint

__all__ = ["Acceptor", "Channel", "Link", "Listener", "Transport"]


class Channel(Protocol):
    """What a link carries bytes for."""

    def get_buffer(self, size_hint: int, /) -> memoryview:
        """Where the next bytes of the peer go; never empty."""
        ...

    def buffer_updated(self, nbytes: int, /) -> None:
        """The first `nbytes` of that buffer were filled, 1 or more."""
        ...

    def data_to_send(self, nbytes_max: int, /) -> Sequence[bytes | memoryview]:
        """What is queued, in order, whole messages until `nbytes_max` is reached; or nothing.

        If more is left then, the channel kicks again by itself.
        """
        ...

    def data_sent(self) -> None:
        """What `data_to_send` gave is read by nobody any more."""
        ...

    def connection_lost(self, error: DaosError | None, /) -> None:
        """The end. `error` says why; None: one of the two closed in order."""
        ...


class Link(Protocol):
    """One end of a connection, which may still be on its way up."""

    def kick(self) -> None:
        """There is something to send."""
        ...

    def pause_reading(self) -> None:
        """Let the peer wait. Idempotent."""
        ...

    def resume_reading(self) -> None:
        """The opposite. Idempotent."""
        ...

    def let_go(self) -> None:
        """Memory that was taken is the channel's again: the link goes on with a copy of it.

        For the rare case that its owner can't wait for a peer that doesn't read. `data_sent` comes
        soon. Idempotent.
        """
        ...

    def close(self, error: DaosError | None = None) -> None:
        """Send what is queued, then end; with an error, end at once. Idempotent."""
        ...

    @property
    def over(self) -> bool:
        """Nothing moves any more, whoever ended it."""
        ...

    @property
    def left(self) -> bool:
        """The peer has closed its end, or has died: it does nothing more over this connection."""
        ...

    @property
    def refusal(self) -> DaosError | None:
        """Why the peer may ask for nothing here; None: it may. Known before the first bytes."""
        ...

    @property
    def vouched(self) -> bool:
        """Whether no stranger can be the peer: it is who it says it is."""
        ...

    @property
    def shares(self) -> bool:
        """Whether memory may be shared with the peer: offers are of use."""
        ...

    def share(self, region_id: int, fd: int, nbytes: int) -> None:
        """Offer the peer the first `nbytes` of a memfd, sealed with F_SEAL_SHRINK.

        An offer only: a transport without shared memory does nothing, and a peer that has mapped
        enough already refuses. `fd` stays the caller's, who may close it at once.
        """
        ...

    def unshare(self, region_id: int) -> None:
        """Take the offer back: the peer forgets the mapping, and the id is free again."""
        ...

    def memory(self, region_id: int) -> memoryview | None:
        """What the peer has shared under this id, mapped here; None: there is no such thing.

        The peer sees what is written to it and may change it at any time: copy or checksum a
        payload once, decide nothing by reading twice. A view stays valid when the link has ended.
        """
        ...


Acceptor = Callable[[Link], Channel]
"""Asked for the channel of a connection that a peer has opened."""


class Listener(Protocol):
    """What `listen` gives."""

    def close(self) -> None:
        """Take no new connections; those that are there stay. Idempotent."""
        ...


class Transport(Protocol):
    """A way to other endpoints."""

    def listen(self, endpoint: Endpoint, acceptor: Acceptor) -> Listener:
        """Take connections to `endpoint`.

        Raises:     ExistsError    somebody listens there
        """
        ...

    def connect(self, endpoint: Endpoint, channel: Channel) -> Link:
        """Begin a connection; its failure is a `connection_lost` with DER_UNREACH, later."""
        ...

"""The transport kit over every transport there is."""

from __future__ import annotations

import asyncio

from daos.cart.transport import Transport
from daos.cart.transport.inproc import InprocNetwork
from daos.testing.kits.transport import TransportKit


class TestInproc(TransportKit):
    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return InprocNetwork(loop)


class TestInprocInSegments(TransportKit):
    """The same, cut as a network would."""

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return InprocNetwork(loop, segment_size_max=1447)

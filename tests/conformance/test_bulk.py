"""The bulk kit over every transport there is."""

from __future__ import annotations

import asyncio

from daos.cart.transport import Transport
from daos.cart.transport.inproc import InprocNetwork
from daos.testing.kits.bulk import BulkKit


class TestInproc(BulkKit):
    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return InprocNetwork(loop)


class TestInprocInSegments(BulkKit):
    """The same, cut as a network would."""

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return InprocNetwork(loop, segment_size_max=1447)

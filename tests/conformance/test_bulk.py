"""The bulk kit over every transport there is."""

from __future__ import annotations

import asyncio
import random

from daos.cart.transport import Transport
from daos.cart.transport.inproc import InprocNetwork
from daos.testing.kits.bulk import BulkKit
from daos.testing.simnet import SimNetwork


class TestInproc(BulkKit):
    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return InprocNetwork(loop)


class TestInprocInSegments(BulkKit):
    """The same, cut as a network would."""

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return InprocNetwork(loop, segment_size_max=1447)


class TestSimulated(BulkKit):
    LOOPS = ("sim",)

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return SimNetwork(loop, random.Random(1)).host("one")

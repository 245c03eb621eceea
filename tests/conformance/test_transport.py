"""The transport kit over every transport there is."""

from __future__ import annotations

import asyncio
import random

from daos.cart.transport import Transport
from daos.cart.transport.inproc import InprocNetwork
from daos.testing.kits.transport import TransportKit
from daos.testing.simnet import SimNetwork


class TestInproc(TransportKit):
    LOOPS = ("asyncio", "uvloop", "sim")

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return InprocNetwork(loop)


class TestInprocInSegments(TransportKit):
    """The same, cut as a network would."""

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return InprocNetwork(loop, segment_size_max=1447)


class TestSimulated(TransportKit):
    LOOPS = ("sim",)

    def make(self, loop: asyncio.AbstractEventLoop) -> Transport:
        return SimNetwork(loop, random.Random(1)).host("one")

"""Bulk memory under faults: an owner on one host, and a borrower on another who asks for too much.

The owner's region lies in the middle of a larger piece of its memory. What lies inside is given as
it is; what reaches over an end is refused and changes nothing, neither inside nor beside it.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

from daos.base.errors import DER, DaosError
from daos.base.hlc import Hlc
from daos.base.ids import Rank, Tag
from daos.cart.bulk import BulkHandle, Mode
from daos.cart.context import Context, Endpoint
from daos.testing.history import History
from daos.testing.sim.users import Violation
from daos.testing.simloop import SimClock
from daos.testing.simnet import SimNetwork

_OWNER: Final = Endpoint(Rank(77), Tag(1))
_GUARD: Final = 64  # bytes beside the region
_SIZE: Final = 512
_CALLS: Final = 6
_TIMEOUT_NS: Final = 1_000_000_000
_NO_ANSWER: Final = frozenset({DER.UNREACH, DER.TIMEDOUT, DER.AGAIN, DER.CANCELED, DER.HLC_SYNC})


class Borrowing:
    """One owner and one borrower."""

    def __init__(
        self, network: SimNetwork, history: History, rng: random.Random, *, calm: bool
    ) -> None:
        """`calm`: no connection breaks, so there is an answer to everything."""
        self._history = history
        self._rng = rng
        self._calm = calm
        self._clock = SimClock(network.loop)
        self._owner, self._borrower = (
            Context(
                network.host(name),
                endpoint,
                clock=self._clock,
                hlc=Hlc(self._clock),
                rng=rng,
                loop=network.loop,
            )
            for name, endpoint in (("owner", _OWNER), ("borrower", None))
        )
        self._memory = bytearray(rng.randbytes(_SIZE + 2 * _GUARD))
        self._before = bytes(self._memory)

    async def work(self) -> None:
        """A few accesses, good ones and bad ones."""
        self._owner.listen()
        view = memoryview(self._memory)[_GUARD : _GUARD + _SIZE]
        bulk = self._owner.bulk.create([view], Mode.READ | Mode.WRITE, bind=True)
        try:
            for _ in range(_CALLS):
                offset = self._rng.randrange(_SIZE)
                size = self._rng.randint(1, _SIZE)
                writes = offset + size > _SIZE and self._rng.random() < 0.5
                data = bytearray(size)
                code = await self._access(bulk.handle, offset, data, writes=writes)
                what = f"{'writes' if writes else 'reads'} [{offset}, +{size}) of {_SIZE}"
                self._history.note("borrower", f"{what}: {code.name if code else 'done'}")
                self._judge(code, offset, data, what)
        finally:
            bulk.release()
            await self._borrower.close()
            await self._owner.close()

    async def _access(
        self, handle: BulkHandle, offset: int, data: bytearray, *, writes: bool
    ) -> DER | None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[DaosError | None] = loop.create_future()
        access = self._borrower.bulk.put if writes else self._borrower.bulk.get
        access(
            handle,
            [memoryview(data)],
            ranges=[(offset, len(data))],
            deadline_ns=self._clock.now_ns() + _TIMEOUT_NS,
            done=ended.set_result,
        )
        error = await ended
        return None if error is None else error.code

    def _judge(self, code: DER | None, offset: int, data: bytearray, what: str) -> None:
        inside = offset + len(data) <= _SIZE
        expected = None if inside else DER.INVAL
        if code is not expected and (self._calm or code not in _NO_ANSWER):
            raise Violation(f"a borrower {what}, and hears {code.name if code else 'success'}")
        if bytes(self._memory) != self._before:
            raise Violation(f"a borrower {what}: the owner's memory has changed")
        at = _GUARD + offset
        if code is None and data != self._before[at : at + len(data)]:
            raise Violation(f"a borrower {what}: these are not the owner's bytes")

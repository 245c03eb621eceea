"""Compares what has landed with what is stored, so that an update may share blocks (vos/dedup.py).

    wait until what is stored is durable -> read run by run, pinned -> equal? the span says so
    -> done

A turn of the loop compares 1 MiB: bytes that are copied first, since memoryviews are compared one
item at a time, 4 ns each.

Whatever can't be read or finds no memory counts as different: then the update stores its own copy.
One run at a time: a large update takes memory for its largest run once more.
Source: DAOS src/vos/vos_io.c vos_dedup_verify.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from daos.base.errors import DaosError
from daos.bio.device import BLOCK
from daos.bio.memory import Buffer
from daos.bio.meta import MetaContext
from daos.vos.dedup import Match

_TURN_BYTES: Final = 1 << 20


class Comparison:
    """Of one update; `done` is called once, perhaps inline."""

    __slots__ = ("_done", "_left", "_loop", "_matches", "_meta", "_pin")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        meta: MetaContext,
        matches: list[Match],
        done: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._left = _TURN_BYTES  # to be compared in this turn
        self._meta = meta
        self._matches = matches
        self._done = done
        self._pin = meta.space.pin()
        meta.when_durable(meta.lsn_last, self._durable)

    def _durable(self, error: DaosError | None) -> None:
        if error is not None:
            self._matches.clear()  # the update will hear of it, too
        self._go_on()

    def _go_on(self) -> None:
        """The next one: read it, and come back here when it is compared."""
        while self._matches:
            match = self._matches.pop()
            try:
                if not self._read(match):
                    return
            except DaosError:
                continue  # damaged, too large, or the device is broken: not equal
        self._meta.space.unpin(self._pin)
        self._done()

    def _read(self, match: Match) -> bool:
        """True: that was it; False: later, and then we go on from there."""
        meta, run = self._meta, match.run
        buffer = meta.memory.acquire(run.count * BLOCK)
        if buffer is None:
            return True
        try:
            if meta.device.read_nowait(run.block * BLOCK, buffer.view):
                return self._compare(match, buffer, 0)

            def read(error: DaosError | None) -> None:
                if error is not None:
                    buffer.release()
                    self._go_on()
                elif self._compare(match, buffer, 0):
                    self._go_on()

            meta.device.submit_read(run.block * BLOCK, buffer.view, read)
        except DaosError:
            buffer.release()
            raise
        return False

    def _compare(self, match: Match, buffer: Buffer, at: int) -> bool:
        """Compare from byte `at` on; False: the rest in a later turn."""
        memory = match.span.memory
        while at < memory.nbytes:
            if self._left <= 0:
                self._left = _TURN_BYTES
                self._loop.call_soon(self._compare_on, match, buffer, at)
                return False
            end = min(memory.nbytes, at + _TURN_BYTES)
            self._left -= end - at
            if bytes(buffer.view[at:end]) != bytes(memory[at:end]):
                break
            at = end
        else:
            match.span.equal = match.run
        buffer.release()
        return True

    def _compare_on(self, match: Match, buffer: Buffer, at: int) -> None:
        if self._compare(match, buffer, at):
            self._go_on()

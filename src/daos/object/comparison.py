"""Compares what has landed with what is stored, so that an update may share blocks (vos/dedup.py).

    wait until what is stored is durable -> read run by run, pinned -> equal? the span says so
    -> done

Whatever can't be read or finds no memory counts as different: then the update stores its own copy.
One run at a time: a large update takes memory for its largest run once more.
Source: DAOS src/vos/vos_io.c vos_dedup_verify.
"""

from __future__ import annotations

from collections.abc import Callable

from daos.base.errors import DaosError
from daos.bio.device import BLOCK
from daos.bio.memory import Buffer
from daos.bio.meta import MetaContext
from daos.vos.dedup import Match


class Comparison:
    """Of one update; `done` is called once, perhaps inline."""

    __slots__ = ("_done", "_matches", "_meta", "_pin")

    def __init__(self, meta: MetaContext, matches: list[Match], done: Callable[[], None]) -> None:
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
        """Read what is at hand; come back here when something is not."""
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
        """Compare now; False: later, and then we go on from there."""
        meta, run = self._meta, match.run
        buffer = meta.memory.acquire(run.count * BLOCK)
        if buffer is None:
            return True
        try:
            if meta.device.read_nowait(run.block * BLOCK, buffer.view):
                _compare(match, buffer)
                buffer.release()
                return True

            def read(error: DaosError | None) -> None:
                if error is None:
                    _compare(match, buffer)
                buffer.release()
                self._go_on()

            meta.device.submit_read(run.block * BLOCK, buffer.view, read)
        except DaosError:
            buffer.release()
            raise
        return False


def _compare(match: Match, buffer: Buffer) -> None:
    memory = match.span.memory
    if buffer.view[: memory.nbytes] == memory:
        match.span.equal = match.run

"""Helpers of a target: threads that compute checksums of large values while the loop goes on.

    run(steps, done) --queue--> a helper takes all steps --> done(error), in the loop

The algorithms let go of the interpreter's lock, so that the loop keeps 76 to 90 % of its speed
beside one (two cores; XXH3, CRC-32C, SHA-256, Adler-32). What a job costs the loop, to hand it over
and to hear of its end, is 15 to 25 µs, and its caller 30 µs more; computed in the loop, in µs:

            64 KiB   256 KiB   1 MiB   4 MiB
    XXH3         1         4      17      70
    CRC          6        11      38     150
    Adler-32    19        75     290    1160
    SHA-256     56       260     600    5100

Hence `worth_bytes`. Jobs begin in the order in which they came, and are told as they end: with
several helpers a small one does not wait for the large one before it.

Nothing but the job may touch what its steps work on, from `run` to `done`. A bug, of steps or of
`done`, is told to `on_bug`; what it was to answer stays unanswered.

Source: DAOS src/engine/ult.c dss_offload_exec; threads instead of xstreams: ours
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Final

from daos.base.checksum import SLOW, ChecksumType
from daos.base.errors import DaosError, ShutdownError

log = logging.getLogger(__name__)

Steps = Iterator[None]
Done = Callable[[DaosError | None], None]

_WORTH: Final = 4 << 20
_WORTH_SLOW: Final = 128 << 10


def worth_bytes(kind: ChecksumType) -> int:
    """Above this a helper is asked."""
    return _WORTH_SLOW if kind in SLOW else _WORTH


class Offload:
    """The helpers of one target. All methods belong to its loop; `close` it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, count: int, cores: frozenset[int] | None
    ) -> None:
        """`cores`: where the helpers run; None: where they like."""
        self._loop = loop
        self._queue: SimpleQueue[tuple[Steps, Done] | None] = SimpleQueue()
        self._closed = False
        self.on_bug: Callable[[Exception], None] | None = None  # None: the loop is told
        self._living = count
        self._ended: asyncio.Future[None] = loop.create_future()
        self.count: Final = count
        self.jobs = 0  # that were given and have not ended
        for number in range(count):
            name = f"daos_off_{number}"
            threading.Thread(target=self._work, args=(cores,), name=name, daemon=True).start()

    def run(self, steps: Steps, done: Done) -> None:
        """Take all `steps` elsewhere; a DaosError of theirs is told. Raises: ShutdownError"""
        if self._closed:
            raise ShutdownError("the helpers of this target have ended")
        self.jobs += 1
        self._queue.put((steps, done))

    async def close(self) -> None:
        """Return when all that was given has been done. Idempotent."""
        if not self._closed:
            self._closed = True
            for _ in range(self.count):
                self._queue.put(None)
        await self._ended

    # In a helper

    def _work(self, cores: frozenset[int] | None) -> None:
        if cores is not None:
            os.sched_setaffinity(0, cores)  # of this thread
        while (job := self._queue.get()) is not None:
            steps, done = job
            error: Exception | None = None
            try:
                for _ in steps:
                    pass
            except Exception as failure:  # raised again in the loop
                error = failure
            self._loop.call_soon_threadsafe(self._tell, done, error)
        self._loop.call_soon_threadsafe(self._end)

    # In the loop

    def _tell(self, done: Done, error: Exception | None) -> None:
        self.jobs -= 1
        try:
            if error is not None and not isinstance(error, DaosError):
                raise error
            done(error)
        except Exception as bug:  # the supervisor's place: on_bug decides whether to go on
            if self.on_bug is None:
                raise
            log.error("bug in a job of a helper", exc_info=bug)
            self.on_bug(bug)

    def _end(self) -> None:
        self._living -= 1
        if not self._living:
            self._ended.set_result(None)

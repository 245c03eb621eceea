"""That something goes on, where it takes long: a line on a terminal, which is gone when it is done.

    Creating pool 'tank' [      ====      ] 12 s

How far it is nobody tells, so that the bar only moves. It comes when the first second is over, on
standard error, and only where that is a terminal: nothing into pipes or files, nothing with --json.

Source: ours
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TextIO

from daos.base.clock import Clock

_AFTER_S: Final = 1.0
_EVERY_S: Final = 0.2
_BAR: Final = 20
_PART: Final = "===="
_STEPS_PER_S: Final = 5
_CLEAR: Final = "\r\x1b[K"
_NS: Final = 1_000_000_000


def line(what: str, elapsed_s: float, width: int) -> str:
    """What stands there after so long, in at most `width` characters."""
    span = _BAR - len(_PART)
    at = int(elapsed_s * _STEPS_PER_S) % (2 * span)
    at = at if at <= span else 2 * span - at
    bar = f" [{' ' * at}{_PART}{' ' * (span - at)}]"
    seconds = f" {int(elapsed_s)} s"
    for text in (what + bar + seconds, what + seconds):
        if len(text) <= width:
            return text
    return seconds.strip()[:width]


@asynccontextmanager
async def shown(
    what: str,
    *,
    on: TextIO,
    quiet: bool,
    clock: Clock,
    after_s: float = _AFTER_S,
    every_s: float = _EVERY_S,
) -> AsyncIterator[None]:
    """Show that `what` goes on, for as long as the block takes."""
    if quiet or not on.isatty():
        yield
        return
    task = asyncio.get_running_loop().create_task(_draw(what, on, clock, after_s, every_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _draw(what: str, on: TextIO, clock: Clock, after_s: float, every_s: float) -> None:
    began_ns = clock.monotonic_ns()
    await asyncio.sleep(after_s)
    try:
        while True:
            # One less: in the last column some terminals go to the next line.
            width = os.get_terminal_size(on.fileno()).columns - 1
            elapsed_s = (clock.monotonic_ns() - began_ns) / _NS
            on.write(_CLEAR + line(what, elapsed_s, width))
            on.flush()
            await asyncio.sleep(every_s)
    finally:
        on.write(_CLEAR)
        on.flush()

"""What a process of an engine is at, in a file for whoever looks into why it hangs.

    SIGUSR1     user-level threads, requests that wait, handlers that run
    SIGUSR2     the same, and where in its code each task is

Source: DAOS src/engine/init.c dump_func; into the directory of the engine's sockets, not /tmp: ours
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from daos.base.clock import Clock
from daos.engine.sched import stack_of
from daos.engine.xstream import Xstream

# No more than this, whatever there is.
_LINES_MAX: Final = 10_000


def write(directory: Path, clock: Clock, xstreams: Iterable[Xstream], *, stacks: bool) -> Path:
    """Returns the file. Raises: OSError"""
    moment = time.strftime("%Y%m%d_%H_%M_%S", time.localtime(clock.now_ns() // 1_000_000_000))
    path = directory / f"daos_dump_{os.getpid()}_{moment}.txt"
    lines = [line for xstream in xstreams for line in _lines(xstream, stacks=stacks)]
    if len(lines) > _LINES_MAX:
        lines[_LINES_MAX:] = [f"… and {len(lines) - _LINES_MAX} lines more"]
    path.write_text("\n".join([f"process {os.getpid()}, {moment}", *lines, ""]), encoding="utf-8")
    return path


def _lines(xstream: Xstream, *, stacks: bool) -> Iterator[str]:
    statistics = xstream.context.statistics()
    yield ""
    yield (
        f"{xstream.context.endpoint}: {statistics.connections} connections, "
        f"{statistics.serving} requests unanswered, {statistics.calls} calls of its own"
    )
    if xstream.offload is not None:
        yield f"{xstream.offload.count} helpers, {xstream.offload.jobs} jobs with them"
    yield from xstream.sched.dump(stacks=stacks)
    for task in xstream.context.tasks:
        yield f"GENERIC   running                 handler of {task.get_name()}"
        if stacks:
            yield from stack_of(task)

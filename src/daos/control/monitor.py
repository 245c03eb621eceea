"""Pool handles of the processes of this host, so that none outlives its process.

    NotifyPoolConnect --> (pid, start time): {handle: pool} --NotifyPoolDisconnect--> forgotten
                              └ process gone, or NotifyExit --> evicted

A process is known by its pid and the time it was started at: a pid that is used again is another
one. What could not be evicted is tried again at the next look.

Source: DAOS src/control/cmd/daos_agent/procmon.go
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from daos.base.errors import DaosError

log = logging.getLogger(__name__)

# When a process was started, in a unit of its own; None when there is none.
Born = Callable[[int], int | None]
# Evict handles of a pool.
Evict = Callable[[str, list[str]], Awaitable[None]]


class _Process(NamedTuple):
    pid: int
    born: int


class Monitor:
    """Of one agent."""

    def __init__(self, *, born: Born, evict: Evict) -> None:
        self._born = born
        self._evict = evict
        self._open: dict[_Process, dict[str, str]] = {}

    @property
    def processes(self) -> int:
        """How many are watched."""
        return len(self._open)

    def connected(self, pid: int, pool: str, handle: str) -> None:
        """A process has opened a handle; one that has gone already is seen at the next look."""
        self._open.setdefault(_Process(pid, self._born(pid) or 0), {})[handle] = pool

    def disconnected(self, pid: int, handle: str) -> None:
        """It has closed the handle itself."""
        for process in [each for each in self._open if each.pid == pid]:
            handles = self._open[process]
            handles.pop(handle, None)
            if not handles:
                del self._open[process]

    async def look(self) -> None:
        """Evict what belongs to processes that have gone."""
        gone = [each for each in self._open if self._born(each.pid) != each.born]
        await self._end(gone)

    async def left(self, pid: int) -> None:
        """A process says that it ends."""
        await self._end([each for each in self._open if each.pid == pid])

    async def flush(self) -> None:
        """Evict everything."""
        await self._end(list(self._open))

    async def _end(self, processes: Iterable[_Process]) -> None:
        for process in processes:
            handles = self._open.get(process, {})
            for pool in sorted(set(handles.values())):
                chosen = sorted(handle for handle, where in handles.items() if where == pool)
                try:
                    await self._evict(pool, chosen)
                except DaosError as error:
                    log.warning("handles of process %d stay open: %s", process.pid, error)
                    continue
                log.info("evicted pid=%d pool=%s handles=%d", process.pid, pool, len(chosen))
                for handle in chosen:
                    handles.pop(handle, None)
            if not handles:
                self._open.pop(process, None)


def born(pid: int) -> int | None:
    """When process `pid` was started, by /proc; None when it has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    # state is field 3 of proc(5), and the first one here; a zombie has gone.
    if len(fields) < 20 or fields[0] in "ZX":
        return None
    return int(fields[19])

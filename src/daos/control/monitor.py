"""Pool handles of the processes of this host, so that none outlives its process.

    NotifyPoolConnect --> handle: pid, start time, pool --NotifyPoolDisconnect--> forgotten
                              └ process gone, or NotifyExit --> evicted

A process is known by its pid and the time it was started at: a pid that is used again is another
one. What could not be evicted is tried again at the next look. Each change is kept in a file, from
which the next agent goes on, whatever this one dies of.

Source: DAOS src/control/cmd/daos_agent/procmon.go; the file is ours
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final
from uuid import UUID

from daos.base.errors import DER, DaosError
from daos.control.layout import OpenHandle

log = logging.getLogger(__name__)

# When a process was started, in a unit of its own; None when there is none.
Born = Callable[[int], int | None]
# Evict handles of a pool.
Evict = Callable[[str, list[str]], Awaitable[None]]
# Keep what is open.
Keep = Callable[[Mapping[str, OpenHandle]], None]
# Of a process that had gone before it was looked for.
GONE: Final = -1
# A process has a handle or two; who opens that many for nothing is not given our memory.
OF_PROCESS_MAX: Final = 1024
HANDLES_MAX: Final = 16384


class Monitor:
    """Of one agent; `handles`: what an agent before it knew."""

    def __init__(
        self, *, born: Born, evict: Evict, keep: Keep, handles: Mapping[str, OpenHandle]
    ) -> None:
        self._born = born
        self._evict = evict
        self._keep = keep
        self._open = dict(handles)

    @property
    def processes(self) -> int:
        """How many are watched."""
        return len({(each.pid, each.born) for each in self._open.values()})

    def connected(self, pid: int, pool: UUID, handle: UUID) -> None:
        """A process has opened a handle; one that has gone already is seen at the next look.

        Raises: DaosError  NOMEM: it, or all of them, have too many
        """
        own = sum(each.pid == pid for each in self._open.values())
        if own >= OF_PROCESS_MAX or len(self._open) >= HANDLES_MAX:
            text = f"process {pid} has {own} handles, all have {len(self._open)}: no more are kept"
            raise DaosError(text, code=DER.NOMEM)
        born = self._born(pid)
        self._open[str(handle)] = OpenHandle(pid, GONE if born is None else born, str(pool))
        self._keep(self._open)

    def disconnected(self, pid: int, handle: UUID) -> None:
        """It has closed the handle itself."""
        found = self._open.get(str(handle))
        if found is not None and found.pid == pid:
            del self._open[str(handle)]
            self._keep(self._open)

    async def look(self) -> None:
        """Evict what belongs to processes that have gone."""
        await self._end(
            handle for handle, each in self._open.items() if self._born(each.pid) != each.born
        )

    async def left(self, pid: int) -> None:
        """A process says that it ends."""
        await self._end(handle for handle, each in self._open.items() if each.pid == pid)

    async def flush(self) -> None:
        """Evict everything."""
        await self._end(self._open)

    async def _end(self, handles: Iterable[str]) -> None:
        by_pool = dict[str, list[str]]()
        for handle in sorted(handles):
            by_pool.setdefault(self._open[handle].pool, []).append(handle)
        for pool, chosen in sorted(by_pool.items()):
            pids = sorted({self._open[handle].pid for handle in chosen})
            try:
                await self._evict(pool, chosen)
            except DaosError as error:
                log.warning("handles of processes %s stay open: %s", pids, error)
                continue
            log.info("evicted pids=%s pool=%s handles=%d", pids, pool, len(chosen))
            for handle in chosen:
                self._open.pop(handle, None)
            self._keep(self._open)


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

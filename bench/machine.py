"""The machine a run takes place on: what it is, which CPU is used, where data may lie.

Timing is by the processor's own counter (`perf_counter`); what is compared is pinned alike.
"""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from daos.base.errors import InvalidError
from daos.embedded.serve import GC_THRESHOLDS

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})


def describe(loop: str, directory: Path) -> dict[str, str]:
    """What a reader must know to judge the figures."""
    return {
        "python": f"{platform.python_version()} {sys.implementation.name}",
        "loop": loop,
        "cpus": f"{os.cpu_count()} ({platform.machine()}), load {os.getloadavg()[0]:.2f}",
        "kernel": platform.release(),
        "file system": file_system(directory),
        "pinning": "one CPU for both sides, unless a row says otherwise",
    }


def loop_factory(name: str) -> LoopFactory:
    """Raises: InvalidError if there is no such loop here."""
    if name == "asyncio":
        return asyncio.new_event_loop
    if name == "uvloop":
        try:
            import uvloop
        except ImportError as error:
            raise InvalidError("uvloop is not installed: pip install 'daos-py[fast]'") from error
        return uvloop.new_event_loop
    raise InvalidError(f"loop {name!r}: expected asyncio or uvloop")


@contextmanager
def one_cpu() -> Iterator[int]:
    """Keep this process, and those it starts meanwhile, on one CPU.

    A round trip between two CPUs of a virtual machine costs a wake-up by the hypervisor, which says
    nothing of the code. Threads that exist already stay where they are.
    """
    before = os.sched_getaffinity(0)
    cpu = max(before)
    os.sched_setaffinity(0, {cpu})
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, before)


def keep_bytecode(directory: Path) -> None:
    """Have the processes that are started from now on share compiled modules, as installed ones do.

    Otherwise a start would compile a tree that nobody installed, for as long as all the rest takes.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(directory)


def bind(pids: Iterable[int], cpus: Collection[int]) -> None:
    """Have running processes, with all of their threads, use these CPUs only."""
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setaffinity(int(thread), cpus)


def pss_bytes(pid: int) -> int:
    """Proportional set size: pages that n processes share count 1/n each."""
    with Path(f"/proc/{pid}/smaps_rollup").open(encoding="ascii") as rollup:
        return 1024 * next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


@contextmanager
def collector_as_served() -> Iterator[None]:
    """The garbage collector as `daos.embedded.serve` sets it in a process of its own."""
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def file_system(directory: Path) -> str:
    """Type of the file system below `directory`; "unknown" without /proc."""
    best, kind = "", "unknown"
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return kind
    where = str(directory.resolve())
    for mount in mounts:
        _, at, name, *_ = mount.split(" ")
        if (where == at or where.startswith(at.rstrip("/") + "/")) and len(at) >= len(best):
            best, kind = at, name
    return kind


@contextmanager
def scratch(chosen: Path | None) -> Iterator[Path]:
    """A temporary directory on a real disk: below `chosen`, or the first place that is no tmpfs.

    Raises:     InvalidError   everything tried lies in memory: name a place with --dir
    """
    places = [chosen] if chosen else [Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()]
    for place in places:
        if chosen or (place.is_dir() and file_system(place) not in _IN_MEMORY):
            with tempfile.TemporaryDirectory(prefix="daos-bench-", dir=place) as path:
                yield Path(path)
            return
    raise InvalidError("no directory on a disk found; flushes to memory say nothing: use --dir")

"""Processes that are not ours to wait for: found by a lock, known by their arguments, ended.

    lock --holder--> pid --arguments fit--> SIGTERM --grace--> SIGKILL --> gone

A pidfd tells of the end of a process without asking, and cannot mean another one that got its pid.

Source: ours; DAOS refuses to start where another one runs
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from daos.base.directory import read_holder, told_by
from daos.base.errors import BusyError

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)


def holder(lock: Path) -> int | None:
    """The process that holds it, or None. Raises: AccessError"""
    with told_by(lock):
        try:
            fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = read_holder(fd)
        return int(text) if text.isdigit() else None
    else:
        return None
    finally:
        os.close(fd)


async def gone(pidfd: int, within_s: float | None) -> bool:
    """Wait until the process has ended, at most `within_s` seconds."""
    import asyncio  # who calls has it; a command that asks for a holder does without

    loop = asyncio.get_running_loop()
    end = loop.create_future()
    loop.add_reader(pidfd, _tell, end)
    try:
        async with asyncio.timeout(within_s):
            await end
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(pidfd)
    return True


async def ended(lock: Path, arguments: Sequence[str], *, grace_s: float | None) -> int | None:
    """End the process that holds `lock`, if one does and was started with `arguments`; its pid.

    `grace_s` None: at once.

    Raises: BusyError  another one holds it; AccessError
    """
    pid = holder(lock)
    if pid is None:
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        if not _has(arguments_of(pid), arguments):
            raise BusyError(f"{lock.parent} is in use by process {pid}, which is none of ours")
        log.warning("process %d was left behind by a server that died; it is ended", pid)
        stopped = False
        if grace_s is not None:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            stopped = await gone(pidfd, grace_s)
            if not stopped:
                log.warning("process %d does not stop; it is killed", pid)
        if not stopped:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            await gone(pidfd, None)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)
    return pid


def arguments_of(pid: int) -> list[str]:
    """Its command line; nothing when it has gone."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(part) for part in raw.split(b"\0")[:-1]]


def _has(found: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether each pair of option and value stands in a command line."""
    pairs = set(pairwise(found))
    return all(pair in pairs for pair in zip(wanted[::2], wanted[1::2], strict=True))


def _tell(end: asyncio.Future[None]) -> None:
    if not end.done():
        end.set_result(None)

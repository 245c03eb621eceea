"""What tests of servers share: a short directory of their own, with nothing left running in it."""

from __future__ import annotations

import os
import select
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_SOON_MS = 2000  # what has been killed ends within


@pytest.fixture
def base() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir="/tmp", prefix="dc"))
    yield path
    there = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_of(pid, path)]
    left = [pid for pid in there if not _ends(pid)]
    shutil.rmtree(path)
    assert left == []


def _is_of(pid: int, path: Path) -> bool:
    try:
        return str(path).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _ends(pid: int) -> bool:
    """Whether the process is about to end by itself; else it is ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if poll.poll(_SOON_MS):
            return True
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    return False

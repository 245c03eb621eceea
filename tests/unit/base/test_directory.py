"""The right to use a directory."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from daos.base.directory import Lock, told_by
from daos.base.errors import AccessError, BusyError, DaosError, InvalidError, NoSpaceError


def child(work: object) -> tuple[int, int]:
    """A forked process that waits to be killed: its pid, and where it said that it is there."""
    here, there = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(there, b"x")
        signal.pause()
        os._exit(0)
    os.close(there)
    os.read(here, 1)
    return pid, here


def end(pid: int, fd: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(fd)


def test_one_at_a_time(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    with pytest.raises(BusyError, match=f"in use by process {os.getpid()}"):
        Lock(tmp_path / "lock")
    lock.release()
    lock.release()
    Lock(tmp_path / "lock").release()


@pytest.mark.parametrize("for_children", [False, True])
def test_forked_children_hold_it_if_they_shall(for_children: bool, tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock", for_children=for_children)
    pid, fd = child(lock)
    lock.release()
    try:
        if for_children:
            with pytest.raises(BusyError):
                Lock(tmp_path / "lock")
            with pytest.raises(BusyError):
                Lock(tmp_path / "lock", wait_s=0.01)
        else:
            Lock(tmp_path / "lock").release()
    finally:
        end(pid, fd)
    Lock(tmp_path / "lock", wait_s=10.0).release()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, NoSpaceError),
        (errno.EDQUOT, NoSpaceError),
        (errno.EROFS, AccessError),
        (errno.EACCES, AccessError),
        (errno.ENAMETOOLONG, InvalidError),
    ],
)
def test_what_the_file_system_refuses(number: int, kind: type[DaosError], tmp_path: Path) -> None:
    with pytest.raises(kind, match=f"can't use {tmp_path}"), told_by(tmp_path):
        raise OSError(number, os.strerror(number))

"""A process that goes on when the command that started it returns.

    command --fork--> child, a session of its own --lines of JSON, a pipe--> command
                      say ... say ... ready | failed                         prints, returns

The child closes everything that it got but the pipe: whoever reads the command's output sees its
end when the command ends.

Source: daemon(7)
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from daos.base.directory import told_by
from daos.control import files

_FDS_MAX: Final = 65536


def keep_standard_descriptors() -> None:
    """Closed ones become /dev/null: a file opened at 1 or 2 would get whatever anybody prints."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


class Outcome(NamedTuple):
    """What became of the child's start: `ready`, or what it said last, if anything."""

    ready: dict[str, Any] | None
    error: bytes


class Pipe:
    """The child's end: what it tells who started it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def say(self, text: str) -> None:
        """A line for people."""
        self._write({"say": text})

    def ready(self, told: dict[str, Any]) -> None:
        """The last word: from now on the child is on its own."""
        self._write({"ready": told})
        self.close()

    def failed(self, told: str) -> None:
        """The last word: it will not be ready. Says nothing if it was."""
        self._write({"error": told})
        self.close()

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, told: dict[str, Any]) -> None:
        if self._fd < 0:
            return
        try:
            os.write(self._fd, json.dumps(told).encode() + b"\n")
        except BrokenPipeError:  # the command was killed; we go on
            self.close()


def start(run: Callable[[Pipe], int], *, log: Path, say: Callable[[str], None]) -> Outcome:
    """Run `run` in a child whose output goes to `log`; returns when it is ready, or is not.

    Called before there are threads or a loop.

    Raises: AccessError, InvalidError  the log can't be written
    """
    files.make_private(log.parent)
    with told_by(log):
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    inlet, outlet = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            _detach(output, keep=outlet)
            status = run(Pipe(outlet))
        except BaseException:
            traceback.print_exc()  # to the log
            raise
        finally:
            os._exit(status)
    os.close(output)
    os.close(outlet)
    outcome = _follow(inlet, say)
    if outcome.ready is None:
        os.waitpid(pid, 0)
    return outcome


def _detach(output: int, *, keep: int) -> None:
    os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDONLY)
    for fd, ours in ((0, nothing), (1, output), (2, output)):
        os.dup2(ours, fd)
    os.closerange(3, keep)
    os.closerange(keep + 1, _FDS_MAX)


def _follow(inlet: int, say: Callable[[str], None]) -> Outcome:
    with os.fdopen(inlet, "rb") as lines:
        for line in lines:
            told = json.loads(line)
            if "say" in told:
                say(told["say"])
            elif "ready" in told:
                return Outcome(told["ready"], b"")
            else:
                return Outcome(None, told["error"].encode())
    return Outcome(None, b"")

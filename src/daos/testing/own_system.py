"""A system of one's own: real server, engines and agent, in a directory of its own.

    with OwnSystem() as system:
        system.start()
        system.run("dmg", "pool", "list")        # any of our commands, in its environment

Leaving the block ends every process that was started below the directory, whatever became of it,
and removes the directory. `left()` tells what an orderly stop should not have left behind.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from daos.control.places import AGENT_DIR, SOCKET_DIR
from daos.control.processes import arguments_of

RUN_S: Final = 120.0
_MODULES: Final = {"daos_server": "daos.cli.server", "daos_agent": "daos.cli.agent"}


class OwnSystem:
    """`base`: the directory; short, since the paths of sockets are."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.base = Path(tempfile.mkdtemp(dir="/tmp", prefix="ds"))
        self.sockets = self.base / "run"
        where = {SOCKET_DIR: str(self.sockets), AGENT_DIR: str(self.sockets)}
        self.environ = {**environ, "HOME": str(self.base), **where}

    def run(
        self, program: str, *arguments: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run one of our commands to its end. Raises: CalledProcessError  unless `check` is off"""
        module = _MODULES.get(program, f"daos.cli.{program}")
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=self.environ,
            timeout=RUN_S,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{program} {arguments}: {done.returncode}\n{done.stderr}")
        return done

    def start(self, *arguments: str) -> str:
        """Start it as it is without a configuration; what was said."""
        storage = ("-s", str(self.base / "storage"))
        return self.run("daos_server", "start", *storage, *arguments).stdout

    def stop(self) -> str:
        """Stop it in order; what was said."""
        return self.run("daos_server", "stop").stdout

    def pids(self, part: str = "") -> list[int]:
        """Processes of this system that have `part` in their arguments."""
        found = list[int]()
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            line = " ".join(arguments_of(pid))
            if str(self.base) in line and part in line and pid != os.getpid():
                found.append(pid)
        return found

    def left(self) -> list[str]:
        """Processes and sockets that there are."""
        sockets = [path for path in self.base.rglob("*") if path.is_socket()]
        return [*map(str, self.pids()), *map(str, sockets)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while pids := self.pids():
            for pid in pids:
                _kill(pid)
        shutil.rmtree(self.base, ignore_errors=True)


def _kill(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return
    os.close(pidfd)

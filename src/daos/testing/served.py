"""A served system as a process of its own, for tests, benchmarks and examples that need a real one.

    with Served(directory) as served, connect(served.address) as system: ...

It dies with the process that started it, whatever happens to that one (`--until-eof`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from daos.base.errors import DaosError

_STOP_S: Final = 60.0


class Served:
    """A running process; `stop` or `kill` it, or leave the `with` block."""

    def __init__(self, directory: Path, *options: str, tcp: str | None = None) -> None:
        """The system is kept in `directory`/system; without `tcp` it is served by sm."""
        self.directory = directory
        self.process: subprocess.Popen[str] | None = None
        # Its standard error; a file, since nobody reads a pipe while the server writes.
        self._errors: IO[str] | None = None
        self.addresses: Sequence[str] = ()
        where = ["--sm", str(directory / "s")] if tcp is None else ["--tcp", tcp]
        self._command = [
            *(sys.executable, "-m", "daos.embedded.serve", "--until-eof"),
            *("--path", str(directory / "system"), *where, *options),
        ]

    @property
    def address(self) -> str:
        """The first of its addresses, for `daos.embedded.remote.connect`."""
        return self.addresses[0]

    def start(self) -> None:
        """Start it, and wait until it can be reached. Raises: DaosError (it could not start)"""
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `stop` closes it
        process = self.process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if words[:1] != ["ready"]:
            status, text = self.stop()
            raise DaosError(f"the served system ended with status {status}: {text}")
        self.addresses = words[1:]

    def let_go(self) -> None:
        """What the end of this process does to it. It stops by itself."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None

    def stop(self) -> tuple[int, str]:
        """Stop it in order; returns its exit status and what it wrote to standard error."""
        process, self.process = self.process, None
        assert process is not None
        process.communicate(timeout=_STOP_S)
        assert self._errors is not None
        with self._errors as errors:
            errors.seek(0)
            return process.returncode, errors.read()

    def kill(self) -> None:
        """As a power cut would, but for what the kernel has."""
        assert self.process is not None
        self.process.kill()
        self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process is not None:
            status, text = self.stop()
            if error is None and (status or text):
                raise DaosError(f"the served system ended with status {status}: {text}")

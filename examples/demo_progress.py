"""A progress bar on a terminal, a line at every quarter elsewhere; for demo.py."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


def megabytes(nbytes: float) -> str:
    return f"{nbytes / 1e6:,.1f} MB"


class Progress:
    """`with Progress("storing", nbytes) as p: p.advance(n)`; then `p.seconds`, `p.speed`."""

    def __init__(self, title: str, nbytes: int) -> None:
        self._title = title
        self._nbytes = max(1, nbytes)
        self._done = 0
        self._quarter = 0
        self._bar = _bar(title, self._nbytes) if sys.stdout.isatty() else None
        self._start = self.seconds = 0.0

    @property
    def speed(self) -> str:
        return f"{self._done / 1e6 / self.seconds:,.1f} MB/s"

    def advance(self, nbytes: int) -> None:
        self._done += nbytes
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done)
        elif (quarter := 4 * self._done // self._nbytes) > self._quarter:
            self._quarter = quarter
            print(f"   {self._title} {25 * quarter} %", flush=True)

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds = max(time.monotonic() - self._start, 1e-9)
        if self._bar is not None:
            self._bar.stop()


def _bar(title: str, nbytes: int) -> Bar | None:
    try:
        from rich import progress
    except ImportError:
        return None
    bar = progress.Progress(
        progress.TextColumn(f"   {title}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        transient=True,
    )
    bar.add_task(title, total=nbytes)
    return bar

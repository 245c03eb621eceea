"""One run of the benchmarks: its options, its report, and how a suite gets at both."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from bench.limits import DeviceLimits
from bench.machine import loop_factory, one_cpu
from bench.report import Budget, Report, Row

P = ParamSpec("P")
ResultT = TypeVar("ResultT")

Suite = Callable[["Run"], None]


@dataclass(slots=True)
class Run:
    """What every suite is handed."""

    directory: Path  # scratch space on a disk, gone afterwards
    report: Report
    loop: str = "asyncio"
    quick: bool = False
    whole: bool = False  # also what takes a quarter of an hour: the suite was asked for by name
    suite: str = ""
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _places: list[Path] = field(default_factory=list)
    _device: DeviceLimits | None = None
    _fresh: DeviceLimits | None = None

    @property
    def rounds(self) -> int:
        """How often a time is taken; the best counts: the rest is what neighbours cost."""
        return 1 if self.quick else 3

    def scaled(self, count: int) -> int:
        """Operations of a round."""
        return max(64, count // 8) if self.quick else count

    def new_directory(self) -> Path:
        """An empty place of its own for each store, until `clear`."""
        path = self.directory / f"{next(self._numbers)}"
        path.mkdir()
        self._places.append(path)
        return path

    def clear(self) -> None:
        """Remove the stores made so far: devices are allocated whole, disks are not endless."""
        while self._places:
            shutil.rmtree(self._places.pop())

    def device(self) -> DeviceLimits:
        """Limits of the disk, on a file that is made at first use."""
        if self._device is None:
            self._device = DeviceLimits(self.directory / "limits", self.rounds)
        return self._device

    def fresh_writes(self, depth: int) -> float:
        """1 MiB a second, each flushed, to blocks that were never written."""
        if self._fresh is None:
            self._fresh = DeviceLimits(self.directory / "fresh", self.rounds)
        return self._fresh.stream(write=True, depth=depth, fresh=True)

    def in_loop(
        self, work: Callable[P, Coroutine[Any, Any, ResultT]], *args: P.args, **kwargs: P.kwargs
    ) -> ResultT:
        """Run `work(...)` in a new loop of the chosen kind, on one CPU."""
        with one_cpu(), asyncio.Runner(loop_factory=loop_factory(self.loop)) as runner:
            return runner.run(work(*args, **kwargs))

    def row(
        self,
        what: str,
        value: float,
        unit: str,
        *,
        limit: tuple[float, str] | None = None,
        beside: Sequence[tuple[float, str]] = (),
        budget: Budget | None = None,
    ) -> None:
        """Report a measurement of the current suite."""
        amount, name = limit if limit is not None else (None, "")
        self.report.add(
            Row(
                suite=self.suite,
                what=what,
                value=value,
                unit=unit,
                limit=amount,
                limit_what=name,
                beside=tuple(beside),
                budget=budget,
            )
        )

"""What a run found: rows of measurements, and how they are printed.

A row is judged by its budget, if it has one: `measured` against `bound`, where `measured` is the
ratio of value and limit, or the value itself where no limit of the machine is involved.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final, Literal, TextIO

# A unit with a prefix is easier to compare than digits to count.
_SCALES: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_PRECISE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a row must reach. `counted`: no measurement but a count; missing it fails the run."""

    sign: Literal["≥", "≤", "="]
    bound: float
    of_ratio: bool = True
    counted: bool = False

    def holds(self, value: float, ratio: float | None) -> bool:
        """Whether the row keeps it. A ratio without a limit keeps nothing."""
        measured = ratio if self.of_ratio else value
        if measured is None:
            return False
        match self.sign:
            case "≥":
                return measured >= self.bound
            case "≤":
                return measured <= self.bound
            case "=":
                return measured == self.bound

    def __str__(self) -> str:
        if not self.of_ratio:
            bound = f"{self.bound:g}"
        elif self.bound > 1:
            bound = f"{self.bound:g} ×"
        else:
            bound = f"{self.bound:.0%}"
        return f"{self.sign} {bound}"


def at_least(ratio: float) -> Budget:
    """A rate that reaches this part of its limit."""
    return Budget(sign="≥", bound=ratio)


def at_most(value: float) -> Budget:
    """A cost or a growth that stays below an absolute bound."""
    return Budget(sign="≤", bound=value, of_ratio=False)


def exactly(value: float) -> Budget:
    """A count. The run fails if it is another."""
    return Budget(sign="=", bound=value, of_ratio=False, counted=True)


def no_more_than(value: float) -> Budget:
    """A count that may be lower. The run fails if it is higher."""
    return Budget(sign="≤", bound=value, of_ratio=False, counted=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement. `limit`, and what stands `beside`, are of the same unit and run."""

    suite: str
    what: str
    value: float
    unit: str
    limit: float | None = None
    limit_what: str = ""
    beside: tuple[tuple[float, str], ...] = ()
    budget: Budget | None = None

    @property
    def ratio(self) -> float | None:
        """Value over limit."""
        return None if self.limit is None else self.value / self.limit

    @property
    def ok(self) -> bool | None:
        """Whether the budget holds; None without one."""
        return None if self.budget is None else self.budget.holds(self.value, self.ratio)


@dataclass(slots=True)
class Report:
    """Rows in the order they came; `heard` is told of each at once."""

    machine: dict[str, str]
    heard: Callable[[Row], None] | None = None
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Take a row in."""
        self.rows.append(row)
        if self.heard is not None:
            self.heard(row)

    @property
    def failed(self) -> list[Row]:
        """Rows whose count is wrong."""
        return [row for row in self.rows if row.budget and row.budget.counted and not row.ok]

    def emit_json(self) -> str:
        """One object: `machine`, and `rows` with ratio and verdict."""
        rows = []
        for row in self.rows:
            fields = asdict(row)
            fields["budget"] = None if row.budget is None else str(row.budget)
            rows.append({**fields, "ratio": row.ratio, "ok": row.ok})
        return json.dumps({"machine": self.machine, "rows": rows}, indent=1)


def number(value: float, unit: str) -> str:
    """A measured value for people: three digits, or all of a small count."""
    if unit.endswith("/s"):
        for scale, prefix in _SCALES:
            if value >= scale:
                # "k/s", "kMiB/s"; "1/s" alone would read as "k1/s".
                return f"{value / scale:.3g} {prefix}{unit.removeprefix('1')}"
    if value == int(value):
        return f"{value:.0f} {unit}".rstrip()
    return f"{value:.3g} {unit}".rstrip() if value < _PRECISE else f"{value:.0f} {unit}".rstrip()


HEADINGS: Final = ("what", "value", "limit in this run", "ratio", "budget", "")


def cells(row: Row) -> tuple[str, ...]:
    """The row as text, under HEADINGS."""
    limits = [] if row.limit is None else [(row.limit, row.limit_what)]
    limits += row.beside
    limit = "; ".join(f"{number(amount, row.unit)} {name}" for amount, name in limits)
    ratio = "; ".join(f"{row.value / amount:.2f}" for amount, _ in limits)
    verdict = {None: "", True: "ok", False: "MISS"}[row.ok]
    budget = "" if row.budget is None else str(row.budget)
    return (row.what, number(row.value, row.unit), limit, ratio, budget, verdict)


def grouped(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The rows as text; counts of one operation ("operation: count") share a line."""
    lines: list[tuple[str, ...]] = []
    for operation, several in itertools.groupby(rows, _operation):
        if not operation:
            lines += map(cells, several)
            continue
        counts = list(several)
        names = [row.what.removeprefix(f"{operation}: ") for row in counts]
        found = ", ".join(f"{row.value:g} {name}" for row, name in zip(counts, names, strict=True))
        wrong = [
            f"{name} {row.budget}"
            for row, name in zip(counts, names, strict=True)
            if row.ok is False
        ]
        lines.append((operation, found, "", "", ", ".join(wrong), "MISS" if wrong else "ok"))
    return lines


def _operation(row: Row) -> str:
    """What a count is of; "" for other rows."""
    return row.what.partition(": ")[0] if row.budget is not None and row.budget.counted else ""


def print_report(report: Report, out: TextIO = sys.stdout) -> None:
    """A table a suite; by rich where it is installed."""
    for name, value in report.machine.items():
        out.write(f"{name}: {value}\n")
    for suite in dict.fromkeys(row.suite for row in report.rows):
        rows = grouped([row for row in report.rows if row.suite == suite])
        if not _print_rich(suite, rows, out):
            _print_plain(suite, rows, out)


def _print_rich(suite: str, rows: list[tuple[str, ...]], out: TextIO) -> bool:
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return False
    table = Table(title=suite, title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for row in rows:
        style = {"MISS": "bold red", "ok": "green"}.get(row[-1], "")
        table.add_row(*row[:-1], f"[{style}]{row[-1]}[/]" if style else "")
    Console(file=out, width=None if out.isatty() else 140).print(table)
    return True


def _print_plain(suite: str, rows: list[tuple[str, ...]], out: TextIO) -> None:
    widths = [max(len(row[i]) for row in [HEADINGS, *rows]) for i in range(len(HEADINGS))]
    out.write(f"\n{suite}\n")
    for row in [HEADINGS, *rows]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        out.write(line.rstrip() + "\n")

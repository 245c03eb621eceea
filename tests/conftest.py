"""Manners of every test run: skips say why, and no `daos` logger warns unannounced.

- A skip without a reason is a failure; the others are counted by reason at the end of the run.
- A test during which a `daos` logger emits a WARNING or worse fails, unless it declares the warning
  (`@pytest.mark.expects_warning("part of its text")`, which fails if it does not come) or takes
  `caplog`, and so looks for itself. See STYLE.md for what deserves a WARNING.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

pytest_plugins = ["pytester"]

# No deadline per example: machines are shared, and time is not what these tests measure.
hypothesis.settings.register_profile("daos", deadline=None, print_blob=True)
hypothesis.settings.load_profile("daos")

NO_REASON = {"", "unconditional skip"}  # the second is what pytest puts for a bare marker


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, "wasxfail"):
        _demand_reason(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _demand_reason(report)
    return report


def _demand_reason(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and _reason(report) in NO_REASON:
        report.outcome = "failed"
        report.longrepr = "skipped without a reason; say what is missing on this machine"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return text.removeprefix("Skipped").removeprefix(": ").strip()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if skipped:
        terminalreporter.section("skipped, by reason")
        for reason, count in sorted(skipped.items()):
            terminalreporter.write_line(f"{count:5}  {reason}")


class _Warnings(logging.Handler):
    """Keeps what `daos` loggers say at WARNING and above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")


@pytest.fixture(autouse=True)
def _no_undeclared_warning(request: pytest.FixtureRequest) -> Generator[None]:
    log = logging.getLogger("daos")
    handler = _Warnings()
    log.addHandler(handler)
    yield
    log.removeHandler(handler)
    marks = request.node.iter_markers("expects_warning")
    if "caplog" not in request.fixturenames and (complaint := _complaint(marks, handler.lines)):
        pytest.fail(complaint, pytrace=False)


def _complaint(marks: Iterable[pytest.Mark], lines: list[str]) -> str:
    texts = [str(text) for mark in marks for text in mark.args]
    for text in texts:
        if not any(text in line for line in lines):
            return f"declared with expects_warning, but not logged: {text!r}"
    surprises = [line for line in lines if not any(text in line for text in texts)]
    return (
        "\n".join(["logged, but not declared with expects_warning:", *surprises])
        if surprises
        else ""
    )

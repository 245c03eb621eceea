"""Rows, budgets, and how they are shown."""

from __future__ import annotations

import io
import json

import pytest

from bench.report import (
    Budget,
    Report,
    Row,
    at_least,
    at_most,
    cells,
    exactly,
    grouped,
    no_more_than,
    number,
    print_report,
)


def row(value: float, budget: Budget | None = None, *, limit: float | None = None) -> Row:
    return Row(suite="s", what="w", value=value, unit="1/s", limit=limit, budget=budget)


@pytest.mark.parametrize(
    ("one", "ok"),
    [
        (row(50, at_least(0.4), limit=100), True),
        (row(39, at_least(0.4), limit=100), False),
        (row(39, at_least(0.4)), False),
        (row(25, at_most(25)), True),
        (row(25.1, at_most(25)), False),
        (row(1, exactly(1)), True),
        (row(0, exactly(1)), False),
        (row(1, no_more_than(2)), True),
        (row(3, no_more_than(2)), False),
        (row(3), None),
    ],
)
def test_a_row_is_judged_by_its_budget(one: Row, ok: bool | None) -> None:
    assert one.ok is ok


def test_only_wrong_counts_fail_a_run() -> None:
    heard: list[Row] = []
    report = Report({}, heard=heard.append)
    missed, wrong = row(1, at_most(0)), row(1, exactly(2))
    report.add(missed)
    report.add(wrong)
    assert report.failed == [wrong]
    assert heard == [missed, wrong]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (123_456, "1/s", "123 k/s"),
        (2_500_000, "1/s", "2.5 M/s"),
        (12, "1/s", "12 1/s"),
        (25.04, "µs", "25 µs"),
        (1234.5, "µs", "1234 µs"),
        (3, "", "3"),
    ],
)
def test_numbers_are_short(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_cells() -> None:
    one = Row(
        suite="s",
        what="w",
        value=50,
        unit="1/s",
        limit=100,
        limit_what="disk",
        budget=at_least(0.7),
    )
    assert cells(one) == ("w", "50 1/s", "100 1/s disk", "0.50", "≥ 70%", "MISS")


def test_cells_of_a_row_beside_several() -> None:
    beside = Row(
        suite="s",
        what="w",
        value=50,
        unit="ms",
        limit=100,
        limit_what="bare",
        beside=((25, "embedded"), (50, "1 target")),
        budget=Budget(sign="≤", bound=8),
    )
    limits = "100 ms bare; 25 ms embedded; 50 ms 1 target"
    assert cells(beside) == ("w", "50 ms", limits, "0.50; 2.00; 1.00", "≤ 8 ×", "ok")


def test_counts_of_one_operation_share_a_line() -> None:
    def count(what: str, value: float) -> Row:
        return Row(suite="s", what=what, value=value, unit="", budget=exactly(1))

    lines = grouped([count("put: a", 1), count("put: b", 2), count("get: a", 1), row(3)])
    assert lines == [
        ("put", "1 a, 2 b", "", "", "b = 1", "MISS"),
        ("get", "1 a", "", "", "", "ok"),
        ("w", "3 1/s", "", "", "", ""),
    ]


@pytest.mark.parametrize("with_rich", [True, False])
def test_a_report_is_printed(monkeypatch: pytest.MonkeyPatch, with_rich: bool) -> None:
    if not with_rich:
        monkeypatch.setitem(__import__("sys").modules, "rich.console", None)
    report = Report({"python": "3.11"}, rows=[row(50, at_least(0.7), limit=100)])
    out = io.StringIO()
    print_report(report, out)
    text = out.getvalue()
    assert "python: 3.11" in text
    assert "MISS" in text


def test_json_carries_ratio_and_verdict() -> None:
    report = Report({"loop": "asyncio"}, rows=[row(50, at_least(0.7), limit=100), row(1)])
    found = json.loads(report.emit_json())
    assert found["machine"] == {"loop": "asyncio"}
    assert [(each["ratio"], each["budget"], each["ok"]) for each in found["rows"]] == [
        (0.5, "≥ 70%", False),
        (None, None, None),
    ]

"""The rules for the tables of scenarios bite."""

from __future__ import annotations

import pytest

from tests.tidy import scenarios

TEST = "tests/conformance/reference/test_a.py"
TABLE = scenarios.DIRECTORY + "9.4.tsv"
SOURCE = (
    "class TestA:\n    def test_in(self): ...\nasync def test_free(): ...\ntest_made = A.TestCase\n"
)


def wrong(table: str) -> list[str]:
    return list(scenarios.wrong_rows({TABLE: table, TEST: SOURCE}))


def test_good_rows() -> None:
    where = f"{TEST}::TestA::test_in {TEST}::test_free[4-x] {TEST}::test_made"
    assert not wrong(f"VOS1\tcovered\t{where}\nVOS2\tn/a\treplication is not built yet\n")


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (f"V\tcovered\t{TEST}::test_in", "there is no test"),
        ("V\tcovered\ttests/gone.py::test_in", "there is no test"),
        ("V\tcovered\t", "with its tests"),
        ("V\tdone\tyes, all of it", "with its tests"),
        ("V\tn/a\tno", "say in a sentence why"),
        ("V", "with its tests"),
        ("\tn/a\treplication is not built yet", "an id of its own"),
        ("V\tn/a\tnot built yet, really\nV\tn/a\tnot built yet, really", "an id of its own"),
    ],
)
def test_wrong_rows(table: str, text: str) -> None:
    (finding,) = wrong(table)
    assert text in finding


def test_counts_are_held_against_the_page() -> None:
    tables = {
        TABLE: f"A\tcovered\t{TEST}::test_free\nB\tn/a\tnot built yet\n",
        scenarios.DIRECTORY + "9.10.tsv": "C\tn/a\tnot built yet\n",
    }
    assert scenarios.counts(tables) == ["| 9.4 | 1 | 1 |", "| 9.10 | 0 | 1 |", "| all | 1 | 2 |"]
    named = {**tables, scenarios.DIRECTORY + "array.tsv": "A1\tn/a\tnot built yet\n"}
    assert scenarios.counts(named)[2:] == ["| array | 0 | 1 |", "| all | 1 | 3 |"]
    page = "| 9.4 | 1 | 1 |\n| 9.10 | 1 | 1 |\n| all | 1 | 2 |\n"
    (finding,) = scenarios.stale_counts({**tables, scenarios.PAGE: page})
    assert "| 9.10 | 0 | 1 |" in finding

"""Sets of ranks, read and written."""

from __future__ import annotations

import pytest

from daos.base.errors import InvalidError
from daos.base.ranges import format_bracketed, format_ranges, parse_ranges


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", ()),
        ("7", (7,)),
        ("0,2-4,[7-9]", (0, 2, 3, 4, 7, 8, 9)),
        ("[0-3,7]", (0, 1, 2, 3, 7)),
        (" 3 , 1-1, 3", (1, 3)),
        ("4294967295", (4294967295,)),
    ],
)
def test_read(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_ranges(text, "ranks") == numbers


@pytest.mark.parametrize(
    "text",
    [
        "-1",
        "1-",
        "3-1",
        "a",
        "1,,2",
        ",",
        "[1",
        "1]",
        "[[1]]",
        "]1[",
        "1.5",
        "4294967296",
        "1-99999999",
        "٣",
        "0-70000",
        "1" * 5000,
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="ranks"):
        parse_ranges(text, "ranks")


@pytest.mark.parametrize(
    ("numbers", "text", "bracketed"),
    [
        ((), "", ""),
        ((7,), "7", "7"),
        ((3, 2, 1, 0, 7, 7), "0-3,7", "[0-3,7]"),
        ((1, 2), "1-2", "[1-2]"),
        ((1, 3), "1,3", "[1,3]"),
    ],
)
def test_written(numbers: tuple[int, ...], text: str, bracketed: str) -> None:
    assert format_ranges(numbers) == text
    assert format_bracketed(numbers) == bracketed
    assert parse_ranges(bracketed, "ranks") == tuple(sorted(set(numbers)))

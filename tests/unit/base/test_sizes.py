"""Sizes and percentages as people write them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import InvalidError
from daos.base.sizes import (
    format_percent,
    format_size,
    format_size_binary,
    parse_percent,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096 B", 4096),
        ("4g", 4 * 10**9),
        ("4 GB", 4 * 10**9),
        ("100G", 100 * 10**9),
        ("512MB", 512 * 10**6),
        ("1k", 1000),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("1kib", 1024),
        ("1Ki", 1024),
        ("1.5TiB", 3 << 39),
        ("1.5T", 15 * 10**11),
        ("2P", 2 * 10**15),
        ("1EiB", 1 << 60),
        ("15.9E", 159 * 10**17),
        ("  1 MiB  ", 1 << 20),
        ("1,024", 1024),
        ("1.", 1),
        ("3.0 B", 3),
        ("1.1TiB", 1209462790553),  # 1209462790553.6 rounded down
        ("0.001K", 1),
        (17, 17),
        (2**64 - 1, 2**64 - 1),
        (str(2**64 - 1), 2**64 - 1),
    ],
)
def test_good_sizes(text: int | str, nbytes: int) -> None:
    assert parse_size(text) == nbytes


def test_binary_by_choice_of_the_caller() -> None:
    assert parse_size("1m", binary=True) == parse_size("1MB", binary=True) == 1 << 20
    assert parse_size("1MiB", binary=True) == 1 << 20
    assert parse_size("5", binary=True) == 5


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected a number"),
        ("   ", "expected a number"),
        ("K", "expected a number"),
        ("-1", "negative"),
        (" -1G", "negative"),
        (-1, "negative"),
        ("nan", "expected a number"),
        ("inf", "expected a number"),
        ("1e9", "expected a number"),
        ("0x10", "expected a number"),
        ("1 2", "expected a number"),
        ("1GB free", "expected a number"),
        ("+1", "expected a number"),
        (".5K", "expected a number"),
        (",1", "expected a number"),
        ("1_000", "expected a number"),
        ("١", "expected a number"),
        ("1" * 65, "expected a number"),
        ("1Z", "unknown unit 'z'"),
        ("1bytes", "unknown unit"),
        ("1bi", "unknown unit"),
        ("1kibb", "unknown unit"),
        ("0.5", "whole"),
        ("1.5 B", "whole"),
        ("0.0001K", "whole"),
        ("16EiB", "below 2"),
        (2**64, "below 2"),
        (1.5, "expected an int"),
        (True, "expected an int"),
        (None, "expected an int"),
    ],
)
def test_bad_sizes(text: int | str, why: str) -> None:
    with pytest.raises(InvalidError, match=why):
        parse_size(text)


@given(st.integers(0, 10**6), st.integers(0, 999), st.sampled_from("KMGTP"), st.booleans())
def test_scaled_sizes_are_exact(whole: int, thousandths: int, unit: str, binary: bool) -> None:
    scale = (1024 if binary else 1000) ** ("KMGTP".index(unit) + 1)
    exact = (whole + Fraction(thousandths, 1000)) * scale
    text = f"{whole}.{thousandths:03d}{unit}{'iB' if binary else ''}"
    if exact < 2**64:
        assert parse_size(text) == int(exact)
    else:
        with pytest.raises(InvalidError):
            parse_size(text)


@pytest.mark.parametrize(
    ("nbytes", "decimal", "binary"),
    [
        (0, "0 B", "0 B"),
        (999, "999 B", "999 B"),
        (1000, "1.0 kB", "1000 B"),
        (1024, "1.0 kB", "1.0 KiB"),
        (1_600_000_000, "1.6 GB", "1.5 GiB"),
        (50 * 10**9, "50 GB", "47 GiB"),
        (82_854_982, "83 MB", "79 MiB"),
        (9_949, "9.9 kB", "9.7 KiB"),
        (9_950, "10 kB", "9.7 KiB"),
        (999_999, "1000 kB", "977 KiB"),
        (2**64 - 1, "18 EB", "16 EiB"),
        (10**21, "1000 EB", "867 EiB"),
    ],
)
def test_formats(nbytes: int, decimal: str, binary: str) -> None:
    assert format_size(nbytes) == decimal
    assert format_size_binary(nbytes) == binary


@given(st.integers(0, 2**63))
def test_what_is_printed_can_be_typed(nbytes: int) -> None:
    assert abs(parse_size(format_size(nbytes)) - nbytes) <= nbytes / 19
    assert abs(parse_size(format_size_binary(nbytes)) - nbytes) <= nbytes / 19


def test_negative_sizes_are_not_printed() -> None:
    with pytest.raises(InvalidError, match="negative"):
        format_size(-1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5%", 5.0),
        ("5", 5.0),
        (" 12.5 % ", 12.5),
        ("100%", 100.0),
        ("0", 0.0),
        (7, 7.0),
        (0.5, 0.5),
    ],
)
def test_percentages(text: float | str, value: float) -> None:
    assert parse_percent(text) == value


@pytest.mark.parametrize(
    "text",
    ["%", "-1%", "101%", "1000%", "nan", "5%%", "five", "1e1", "+5", "5_0", "٥"],
)
def test_bad_percentages(text: str) -> None:
    with pytest.raises(InvalidError, match="percentage"):
        parse_percent(text)


@pytest.mark.parametrize("value", ["", "5 5", "1" * 99, float("nan"), -0.1, 100.5, True, None])
def test_other_bad_percentages(value: float | str) -> None:
    with pytest.raises(InvalidError, match="percentage"):
        parse_percent(value)


def test_format_percent() -> None:
    assert [format_percent(value) for value in (0, 5, 12.5, 33.333, 100)] == [
        "0%",
        "5%",
        "12.5%",
        "33.33%",
        "100%",
    ]

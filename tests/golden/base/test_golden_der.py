"""The table of error numbers, against the reference's own."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from daos.base.der import DER, der_to_errno

LINES = (Path(__file__).parent / "der.tsv").read_text().splitlines()[1:]
ROWS = [tuple(line.split("\t")) for line in LINES]


@pytest.mark.parametrize(("number", "name", "posix"), ROWS, ids=[row[1] for row in ROWS])
def test_number_and_errno(number: str, name: str, posix: str) -> None:
    member = DER[name]
    assert member == int(number)
    assert der_to_errno(member) == (0 if posix == "0" else getattr(errno, posix))


def test_table_is_complete() -> None:
    assert {name for _, name, _ in ROWS} == {member.name for member in DER}
    assert len(DER) == 1 + 46 + 52 + 1

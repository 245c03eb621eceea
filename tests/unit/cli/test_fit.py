"""Tables on narrow terminals: pure, and on terminals for real."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.cli.fit import fit
from daos.cli.text import indented, table

UUID = "c1d2a5f6-62a1-4866-8d4a-3ad8c0ad8b4b"
TITLES = ("Rank", "UUID", "Control Address", "Fault Domain", "State", "Reason")
MEMBERS: Sequence[Mapping[str, str]] = [
    dict(zip(TITLES, (str(rank), UUID, "10.0.0.1:10001", "/host1", "Joined", ""), strict=True))
    for rank in (0, 1)
]


def test_what_fits_stays() -> None:
    text = table(("A", "B"), [{"A": "1", "B": "2"}])
    assert fit(text, 3) == text
    assert fit("a line that is longer than that\n", 10) == "a line that is longer than that\n"


def test_columns_give_way() -> None:
    text = "Members:\n" + indented(table(TITLES, MEMBERS)) + "\nUnknown rank(s): 7-8\n"
    assert (
        fit(text, 73)
        == """\
Members:
  Rank UUID                    Control Address Fault Domain State  Reason
  ---- ----                    --------------- ------------ -----  ------
  0    c1d2a5f6-62a1-4866-     10.0.0.1:10001  /host1       Joined
       8d4a-3ad8c0ad8b4b
  1    c1d2a5f6-62a1-4866-     10.0.0.1:10001  /host1       Joined
       8d4a-3ad8c0ad8b4b

Unknown rank(s): 7-8
"""
    )


def test_or_become_blocks() -> None:
    assert (
        fit(table(TITLES, MEMBERS), 40)
        == """\
Rank           : 0
UUID           : c1d2a5f6-62a1-4866-
                 8d4a-3ad8c0ad8b4b
Control Address: 10.0.0.1:10001
Fault Domain   : /host1
State          : Joined
Reason         :

Rank           : 1
UUID           : c1d2a5f6-62a1-4866-
                 8d4a-3ad8c0ad8b4b
Control Address: 10.0.0.1:10001
Fault Domain   : /host1
State          : Joined
Reason         :
"""
    )


def test_what_follows_a_table_is_no_row() -> None:
    rows = [{"Rank": "0", "State": "x" * 60}]
    text = table(("Rank", "State"), rows) + "Unknown host(s): host9\n"
    assert fit(text, 40).endswith(f"0    {'x' * 35}\n     {'x' * 25}\nUnknown host(s): host9\n")


WORDS = st.text("abc-/,0", min_size=1, max_size=30)


@given(
    st.integers(1, 5).flatmap(
        lambda columns: st.tuples(
            st.lists(WORDS, min_size=columns, max_size=columns, unique=True).map(
                lambda titles: [
                    f"T{title.replace('-', '_')}"[:12] + str(n) for n, title in enumerate(titles)
                ]
            ),
            st.lists(st.lists(WORDS, min_size=columns, max_size=columns), min_size=1, max_size=3),
        )
    ),
    st.integers(30, 100),
)
def test_nothing_is_lost_and_nothing_is_too_wide(
    made: tuple[list[str], list[list[str]]], width: int
) -> None:
    titles, cells = made
    text = table(titles, [dict(zip(titles, row, strict=True)) for row in cells])
    fitted = fit(text, width)
    if len(titles) > 1:
        assert all(len(line) <= width for line in fitted.splitlines())
    for row in cells:
        for letter in set("".join(row)) - {"-"}:
            assert fitted.count(letter) >= sum(cell.count(letter) for cell in row)


PROGRAM = """\
import click
from daos.cli.frame import Answer, Command, Tool, main
from daos.cli.text import table
tool = Tool("tool", help="A tool.")
@tool.command("list", cls=Command)
def list_():
    titles = {titles!r}
    return Answer(table(titles, {rows!r}), {{"rows": 2}})
main(tool, ["list", *{more!r}])
"""


def shown(columns: int | None, *more: str) -> str:
    """What a terminal of so many columns gets; None: a pipe."""
    program = PROGRAM.format(titles=TITLES, rows=MEMBERS, more=more)
    command = [sys.executable, "-c", program]
    if columns is None:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env={"COLUMNS": "40"}
        ).stdout
    mine, its = pty.openpty()
    try:
        subprocess.run(["stty", "cols", str(columns)], stdin=its, check=True)
        subprocess.run(command, stdout=its, check=True, env={"TERM": "dumb"})
        os.close(its)
        text = b""
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
            while part := os.read(mine, 1 << 16):
                text += part
        return text.decode().replace("\r\n", "\n")
    finally:
        os.close(mine)


@pytest.mark.parametrize("columns", [80, 60, 40])
def test_a_terminal_is_not_overrun(columns: int) -> None:
    text = shown(columns)
    assert max(map(len, text.splitlines())) <= columns
    assert re.sub(r"\s", "", text).count("10.0.0.1:10001") == 2


def test_wide_terminals_and_pipes_get_lines_as_they_are() -> None:
    whole = table(TITLES, MEMBERS)
    assert shown(200) == shown(None) == whole
    assert shown(40, "--json").startswith('{\n  "response": {\n    "rows": 2')

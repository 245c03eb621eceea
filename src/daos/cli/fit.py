"""Tables that fit a terminal: wider ones get narrower columns, or become blocks. Pure.

    Rank UUID            State        Rank : 0
    ---- ----            -----        UUID : c1d2a5f6-62a1-4866-8d4a-3ad8c0ad8b4b
    0    c1d2a5f6-62a1-  Joined       State: Joined
         4866-8d4a-…

Nothing is left out: cells go on in the next line. Only what people look at is fitted; what goes
into a pipe or a file stays one line a row, however long it is. Tables are found by their titles,
and the dashes below: `text.table` makes them so.

Source: ours
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_DASHES: Final = re.compile(r" *-+(?: +-+)+\Z")
_GROUP: Final = re.compile(r"-+")
# Narrower ones would be read letter by letter.
_CELL_WIDTH_MIN: Final = 8
_VALUE_WIDTH_MIN: Final = 12


def fit(text: str, width: int) -> str:
    """`text`, with its tables laid out for lines of `width` characters."""
    lines = text.splitlines()
    if all(len(line) <= width for line in lines):
        return text
    out: list[str] = []
    at = 0
    while at < len(lines):
        starts = _columns(lines, at)
        if not starts:
            out.append(lines[at])
            at += 1
            continue
        end = at + 2
        while end < len(lines) and _is_row(lines[end], starts):
            end += 1
        if any(len(line) > width for line in lines[at:end]):
            rows = [_cells(lines[line], starts) for line in (at, *range(at + 2, end))]
            out += _laid_out(rows, starts[0], width)
        else:
            out += lines[at:end]
        at = end
    return "\n".join(out) + ("\n" if text.endswith("\n") else "")


def _columns(lines: Sequence[str], at: int) -> list[int]:
    """Where the columns of a table begin whose titles are line `at`; none if it is no table."""
    if at + 1 >= len(lines) or not _DASHES.match(lines[at + 1]):
        return []
    starts = [group.start() for group in _GROUP.finditer(lines[at + 1])]
    titles = _cells(lines[at], starts)
    dashes = [len(group[0]) for group in _GROUP.finditer(lines[at + 1])]
    return starts if [len(title) for title in titles] == dashes else []


def _is_row(line: str, starts: Sequence[int]) -> bool:
    inside = line[: starts[0]].isspace() or not starts[0]
    return bool(line.strip()) and inside and all(line[s - 1 : s] in (" ", "") for s in starts[1:])


def _cells(line: str, starts: Sequence[int]) -> list[str]:
    ends = [*starts[1:], len(line)]
    return [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def _laid_out(rows: Sequence[Sequence[str]], indent: int, width: int) -> list[str]:
    """The first row has the titles."""
    widths = _widths(rows, width - indent)
    if not widths:
        return _blocks(rows, indent, width)
    titles, *others = rows
    found = [_line(titles, widths, indent)]
    found.append(_line(["-" * len(title) for title in titles], widths, indent))
    for row in others:
        parts = [_wrapped(cell, wide) for cell, wide in zip(row, widths, strict=True)]
        for number in range(max(len(part) for part in parts)):
            cells = [part[number] if number < len(part) else "" for part in parts]
            found.append(_line(cells, widths, indent))
    return found


def _line(cells: Sequence[str], widths: Sequence[int], indent: int) -> str:
    text = " ".join(cell.ljust(wide) for cell, wide in zip(cells, widths, strict=True))
    return (" " * indent + text).rstrip()


def _widths(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Of the columns: the widest ones give way; none if they would become too narrow."""
    natural = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    least = [
        max(len(title), min(wide, _CELL_WIDTH_MIN))
        for title, wide in zip(rows[0], natural, strict=True)
    ]
    room = width - (len(natural) - 1)
    if sum(least) > room:
        return []
    widths = natural
    while sum(widths) > room:
        widest = max(
            (column for column in range(len(widths)) if widths[column] > least[column]),
            key=lambda column: widths[column],
        )
        widths[widest] -= 1
    return widths


def _blocks(rows: Sequence[Sequence[str]], indent: int, width: int) -> list[str]:
    """Each row as named values, with an empty line between two rows."""
    titles, *others = rows
    pad = max(map(len, titles))
    room = max(_VALUE_WIDTH_MIN, width - indent - pad - 2)
    found: list[str] = []
    for row in others:
        if found:
            found.append("")
        for title, cell in zip(titles, row, strict=True):
            first, *more = _wrapped(cell, room)
            found.append(f"{' ' * indent}{title.ljust(pad)}: {first}".rstrip())
            found += [" " * (indent + pad + 2) + each for each in more]
    return found


def _wrapped(cell: str, width: int) -> list[str]:
    """The lines of a cell, broken at spaces, hyphens and commas where there are some."""
    lines = []
    while len(cell) > width:
        cut = max(cell.rfind(mark, 0, width) for mark in " -,/") + 1
        cut = cut if cut > 1 else width
        lines.append(cell[:cut].rstrip())
        cell = cell[cut:].lstrip()
    return [*lines, cell]

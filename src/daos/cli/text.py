"""Text as the command lines print it: tables, blocks of named values. Pure.

    Pool Size   State          Container UUID : 5f3a…
    ---- ----   -----          Container Label: sxb
    tank 1.5 TB Ready

Source: DAOS src/control/lib/txtfmt (TableFormatter, EntityFormatter); features "Conventions"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MISSING = "None"


def table(titles: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    """Columns of `titles`, padded by a space, over rows by title; a missing cell is `None`."""
    cells = [list(titles), ["-" * len(title) for title in titles]]
    cells += [[row.get(title, MISSING) for title in titles] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(titles))]
    return "".join(
        " ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in cells
    )


def entity(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Named values in a block, keys padded to one width; first the underlined `title`, if any."""
    head = f"{title}\n{'-' * len(title)}\n" if title else ""
    width = max((len(key) for key, _ in rows), default=0)
    return head + "".join(f"  {key.ljust(width)}: {value}".rstrip() + "\n" for key, value in rows)


def rule(title: str) -> str:
    """A title between two lines, as of a host."""
    line = "-" * len(title)
    return f"{line}\n{title}\n{line}\n"


def indented(text: str, by: str = "  ") -> str:
    """Each line that is not empty, moved to the right."""
    return "".join(f"{by}{line}" if line.strip() else line for line in text.splitlines(True))

"""The tables of the reference's scenarios: which have a test here, and why the others have none.

`tests/conformance/scenarios/<section>.tsv` has a line for each scenario of a section of the
reference's own tests:

    id <tab> covered <tab> tests/…/test_a.py::test_one tests/…/test_b.py::Class::test_two
    id <tab> n/a     <tab> why not

Source: ours. A count that nobody checks grows by itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Final, NamedTuple

DIRECTORY: Final = "tests/conformance/scenarios/"
PAGE: Final = "docs/conformance.md"
COVERED: Final = "covered"
NOT_APPLICABLE: Final = "n/a"
_REASON_SIZE_MIN: Final = 12  # a word is no reason


class Row(NamedTuple):
    """One line of a table."""

    place: str
    id: str
    status: str
    where: str


def rows(texts: Mapping[str, str]) -> Iterator[Row]:
    """Every line of every table, as it stands; missing columns are empty."""
    for path in sorted(texts):
        if path.startswith(DIRECTORY) and path.endswith(".tsv"):
            for number, line in enumerate(texts[path].splitlines(), start=1):
                columns = [*line.split("\t"), "", ""]
                yield Row(f"{path}:{number}", *columns[:3])


def wrong_rows(texts: Mapping[str, str]) -> Iterator[str]:
    """A status that there is not, an id that stands twice, a test that is not there, no reason."""
    seen = set[tuple[str, str]]()
    defined: dict[str, set[str]] = {}
    for row in rows(texts):
        key = (row.place.partition(":")[0], row.id)
        if not row.id or key in seen:
            yield f"{row.place}: an id of its own is expected, not {row.id!r}"
        seen.add(key)
        if row.status == NOT_APPLICABLE:
            if len(row.where) < _REASON_SIZE_MIN:
                yield f"{row.place}: {row.id} has no test; say in a sentence why"
        elif row.status != COVERED or not row.where:
            yield f"{row.place}: {row.id}: `covered` with its tests, or `n/a` with the reason"
        else:
            for name in row.where.split():
                path, _, inside = name.partition("::")
                if path not in defined:
                    defined[path] = _tests(texts.get(path, ""))
                if inside.partition("[")[0] not in defined[path]:
                    yield f"{row.place}: {row.id}: there is no test {name}"


def _tests(source: str) -> set[str]:
    """`test_x` and `TestY::test_x` of a module."""
    found = set[str]()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{name}" for name in _functions(node.body)}
    return found | set(_functions(ast.parse(source).body))


def _functions(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):  # test_x = StateMachine.TestCase
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def counts(texts: Mapping[str, str]) -> list[str]:
    """The lines of the page's table: section, covered, not applicable."""
    found: dict[str, dict[str, int]] = {}
    for row in rows(texts):
        section = PurePath(row.place.partition(":")[0]).stem
        of = found.setdefault(section, {COVERED: 0, NOT_APPLICABLE: 0})
        of[row.status] = of.get(row.status, 0) + 1
    ordered = sorted(found, key=_place)
    lines = [
        f"| {name} | {found[name][COVERED]} | {found[name][NOT_APPLICABLE]} |" for name in ordered
    ]
    total = [sum(found[name][status] for name in found) for status in (COVERED, NOT_APPLICABLE)]
    return [*lines, f"| all | {total[0]} | {total[1]} |"]


def _place(section: str) -> tuple[bool, list[int], str]:
    """Numbered sections in their order, suites with a name behind them."""
    parts = section.split(".")
    named = not all(part.isdigit() for part in parts)
    return named, [] if named else [int(part) for part in parts], section


def stale_counts(texts: Mapping[str, str]) -> Iterator[str]:
    """Lines that the page with the counts lacks."""
    page = texts.get(PAGE, "").splitlines()
    for line in counts(texts):
        if line not in page:
            yield f"{PAGE}: expected the line {line}"

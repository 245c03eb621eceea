"""Draws what the suite `scale` found: `python -m bench.plot scale.json out.svg`.

scale.json is what `./dev bench scale --json` prints. A panel for each thing that grows (dkeys,
extents, versions), a line for each operation: microseconds over a logarithmic axis of how many
there are. SVG by hand: three panels need no library.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

_ROW: Final = re.compile(r"(?P<what>.+) (?:among|in) (?P<size>[\d,]+) (?P<thing>\w+)(?P<more>.*)")
_COLOURS: Final = ("#1b6ca8", "#c8553d", "#2e7d4f", "#7a4fa3", "#8a6d1d", "#3b7f8c")
_WIDTH, _HEIGHT, _LEFT, _TOP, _PLOT = 380, 360, 44, 34, 190


class Line(NamedTuple):
    """One operation of a panel: its name, and (how many, µs), ascending."""

    name: str
    points: list[tuple[int, float]]


def panels(rows: Sequence[dict[str, object]]) -> dict[str, list[Line]]:
    """What grows, and the lines of its panel, from the rows of a run."""
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in rows:
        match = _ROW.fullmatch(str(row["what"]))
        if match is not None and row["suite"] == "scale" and row["unit"] == "µs":
            name = match["what"] + match["more"]
            points = found.setdefault(match["thing"], {}).setdefault(name, [])
            points.append((int(match["size"].replace(",", "")), float(str(row["value"]))))
    return {
        thing: [Line(name, sorted(points)) for name, points in lines.items() if len(points) > 1]
        for thing, lines in found.items()
    }


def draw(found: dict[str, list[Line]]) -> str:
    """The picture."""
    parts = [_panel(i * _WIDTH, thing, found[thing]) for i, thing in enumerate(found)]
    width = _WIDTH * max(1, len(found))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" '
        f'width="{width}" height="{_HEIGHT}" font-family="sans-serif" font-size="11">'
        f'<rect width="{width}" height="{_HEIGHT}" fill="white"/>'
    )
    return head + "".join(parts) + "</svg>\n"


def _panel(at: int, thing: str, lines: list[Line]) -> str:
    points = [point for line in lines for point in line.points]
    lo, hi = (math.log10(edge) for edge in (min(points)[0], max(points)[0]))
    top = max(value for _, value in points) * 1.1
    right, bottom = _WIDTH - 16, _TOP + _PLOT

    def x(size: int) -> float:
        return at + _LEFT + (math.log10(size) - lo) / (hi - lo or 1) * (right - _LEFT)

    def y(value: float) -> float:
        return bottom - value / top * _PLOT

    out = [f'<text x="{at + _LEFT}" y="18" font-weight="bold">µs an operation, by {thing}</text>']
    for power in range(round(lo), round(hi) + 1):
        label = f'10<tspan dy="-4" font-size="8">{power}</tspan>'
        out.append(_text(x(10**power), bottom + 16, label, "middle"))
        out.append(_rule(x(10**power), _TOP, x(10**power), bottom))
    for step in range(5):
        value = top * step / 4
        out.append(_text(at + _LEFT - 4, y(value) + 4, f"{value:.0f}", "end"))
        out.append(_rule(at + _LEFT, y(value), at + right, y(value)))
    for index, line in enumerate(lines):
        colour = _COLOURS[index % len(_COLOURS)]
        dashes = ' stroke-dasharray="4 3"' if index >= len(_COLOURS) else ""
        path = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in line.points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}"{dashes}/>')
        legend = bottom + 34 + 13 * (index // 2), at + _LEFT + (index % 2) * 165
        out.append(
            f'<rect x="{legend[1]}" y="{legend[0] - 8}" width="8" height="8" fill="{colour}"/>'
        )
        name = f"{line.name} (dashed)" if dashes else line.name
        out.append(_text(legend[1] + 12, legend[0], escape(name), "start"))
    return "".join(out)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def main(arguments: Sequence[str]) -> int:
    """Status 2 for wrong usage."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m bench.plot scale.json out.svg\n")
        return 2
    found = panels(json.loads(Path(arguments[0]).read_text("utf-8"))["rows"])
    if not found:
        sys.stderr.write(f"bench: {arguments[0]} has no rows of the suite `scale`\n")
        return 2
    Path(arguments[1]).write_text(draw(found), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

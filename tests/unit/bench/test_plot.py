"""The picture of the scale suite: rows become lines, lines become a well-formed picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from bench import plot

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def row(what: str, value: float, suite: str = "scale", unit: str = "µs") -> dict[str, object]:
    return {"suite": suite, "what": what, "value": value, "unit": unit}


ROWS = [
    row("fetch among 100,000 dkeys", 30.0),
    row("fetch among 10,000 dkeys", 20.0),
    row("read in 10,000 extents, blocks", 5.0),
    row("read in 100,000 extents, blocks", 6.5),
    row("open from a log", 3.0, unit="s/GiB"),
    row("fetch among 10,000 dkeys", 1.0, suite="cpu"),
    row("update among 10,000 dkeys", 9.0),
]


def test_rows_become_lines() -> None:
    assert plot.panels(ROWS) == {
        "dkeys": [plot.Line("fetch", [(10_000, 20.0), (100_000, 30.0)])],
        "extents": [plot.Line("read, blocks", [(10_000, 5.0), (100_000, 6.5)])],
    }


def test_the_picture(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(json.dumps({"rows": ROWS}), "utf-8")
    assert plot.main([str(tmp_path / "in.json"), str(tmp_path / "out.svg")]) == 0
    root = ET.parse(tmp_path / "out.svg").getroot()
    lines = [each.attrib["points"] for each in root if each.tag.endswith("polyline")]
    assert len(lines) == 2
    ((x0, y0), (x1, y1)) = [map(float, point.split(",")) for point in lines[0].split()]
    assert x0 < x1
    assert y0 > y1, "more microseconds are higher up"


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plot.main([]) == 2
    (tmp_path / "in.json").write_text('{"rows": []}', "utf-8")
    assert plot.main([str(tmp_path / "in.json"), "x"]) == 2
    assert "no rows of the suite" in capsys.readouterr().err

"""The counts that the benchmarks assert hold for every run of the tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench.counts import EXPECTED, check_counts
from bench.report import Report
from bench.stand import open_stand
from daos.testing.devices import MemoryDirectory


def test_each_operation_costs_what_it_should(tmp_path: Path) -> None:
    async def run() -> Report:
        report = Report({})
        async with open_stand(MemoryDirectory(), tmp_path) as stand:
            await check_counts(stand, report, operations=64)
        return report

    report = asyncio.run(run())
    assert [f"{row.what} {row.value:g}, not {row.budget}" for row in report.failed] == []
    assert len(report.rows) == 8 * len(EXPECTED) + 6 * 4

"""The counts that the benchmarks assert hold for every run of the tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench.counts import EXPECTED, check_copies, check_counts
from bench.report import Report
from bench.stand import MiB, open_stand
from daos.cart.transport import Transport
from daos.cart.transport.sm import SmTransport
from daos.cart.transport.tcp import TcpTransport
from daos.client.memory import Buffer
from daos.testing.devices import MemoryDirectory
from daos.testing.kits.transport_peers import loopback_hosts


def test_each_operation_costs_what_it_should(tmp_path: Path) -> None:
    async def run() -> Report:
        report = Report({})
        async with open_stand(MemoryDirectory(), tmp_path) as stand:
            await check_counts(stand, report, operations=64)
        return report

    report = asyncio.run(run())
    assert [f"{row.what} {row.value:g}, not {row.budget}" for row in report.failed] == []
    assert len(report.rows) == 8 * len(EXPECTED) + 6 * 4


@pytest.mark.parametrize("way", ["tcp", "sm", "sm, client.buffer"])
def test_how_a_large_payload_gets_from_one_end_to_the_other(tmp_path: Path, way: str) -> None:
    async def run() -> Report:
        report = Report({})
        loop, host = asyncio.get_running_loop(), next(loopback_hosts())
        transport: Transport = SmTransport(loop, lambda to: f"{tmp_path}/{to.rank}.{to.tag}")
        if way == "tcp":
            transport = TcpTransport(loop, lambda to: (host, 31_916 + to.tag))
        async with open_stand(MemoryDirectory(), tmp_path, transport=transport) as stand:
            memory = memoryview(bytearray(MiB))
            if way == "sm, client.buffer":
                memory = Buffer(MiB, stand.client.shared).view
            memory[:] = b"x" * MiB
            await check_copies(stand, report, way, memory)
        return report

    report = asyncio.run(run())
    assert [f"{row.what} {row.value:g}, not {row.budget}" for row in report.failed] == []
    assert len(report.rows) == 4

"""Counts per operation, on the disk; `tests/unit/bench` holds them on a device in memory."""

from __future__ import annotations

import asyncio

from bench.counts import check_copies, check_counts
from bench.run import Run
from bench.stand import MiB, open_stand
from daos.bio.file_directory import FileDirectory
from daos.cart.transport.sm import SmTransport
from daos.cart.transport.tcp import TcpTransport
from daos.client.memory import Buffer

_PORT = 31_816


def run(run: Run) -> None:
    """Exact, or the whole run fails."""

    async def work() -> None:
        place = run.new_directory()
        (place / "devices").mkdir()
        async with open_stand(FileDirectory(place / "devices"), place / "live") as stand:
            await check_counts(stand, run.report)

        await copies(run)

    run.in_loop(work)


async def copies(run: Run) -> None:
    """Of 1 MiB, over the transports that connect processes."""
    loop = asyncio.get_running_loop()
    place = run.new_directory()
    for way in ("tcp", "sm", "sm, client.buffer"):
        if way == "tcp":
            transport: TcpTransport | SmTransport
            transport = TcpTransport(loop, lambda to: ("127.0.0.1", _PORT + to.tag))
        else:
            transport = SmTransport(loop, lambda to: f"{place}/{to.rank}.{to.tag}")
        directory = run.new_directory()
        (directory / "devices").mkdir()
        async with open_stand(
            FileDirectory(directory / "devices"), directory / "live", transport=transport
        ) as stand:
            memory = memoryview(bytearray(MiB))
            if way == "sm, client.buffer":
                memory = Buffer(MiB, stand.client.shared).view
            memory[:] = b"x" * MiB
            await check_copies(stand, run.report, way, memory)

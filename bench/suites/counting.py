"""Counts per operation, on the disk; `tests/unit/bench` holds them on a device in memory."""

from __future__ import annotations

from bench.counts import check_counts
from bench.run import Run
from bench.stand import open_stand
from daos.bio.file_directory import FileDirectory


def run(run: Run) -> None:
    """Exact, or the whole run fails."""

    async def work() -> None:
        place = run.new_directory()
        (place / "devices").mkdir()
        async with open_stand(FileDirectory(place / "devices"), place / "live") as stand:
            await check_counts(stand, run.report)

    run.in_loop(work)

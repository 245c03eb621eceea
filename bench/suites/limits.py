"""The limits alone: what the disk and a bare loop do."""

from __future__ import annotations

from bench.limits import KiB, echoes, fio
from bench.run import Run


def run(run: Run) -> None:
    """Nothing here is judged."""
    device = run.device()
    for nbytes in (256 * KiB, 4 * KiB):
        seconds = device.write_flush_s(nbytes)
        run.row(f"device: write {nbytes // KiB} KiB + flush", seconds * 1e6, "µs")
    run.row("device: 1 MiB writes, each flushed", device.stream(write=True), "MiB/s")
    what = "device: 1 MiB writes to blocks never written, each flushed"
    run.row(what, run.fresh_writes(1), "MiB/s")
    run.row("device: 1 MiB reads", device.stream(write=False), "MiB/s")
    for depth in (1, 16, 64):
        run.row(f"device: random 4 KiB reads, {depth} threads", device.random_reads(depth), "1/s")
    for name, write in (("writes, each flushed", True), ("reads", False)):
        rate = fio(device.path, write=write)
        if rate is not None:
            run.row(f"fio: 1 MiB {name}", rate, "MiB/s")
    if not device.direct:
        run.row("device: no O_DIRECT on this file system, reads come from memory", 0, "")
    for depth in (1, 16, 64):
        rate = max(run.in_loop(echoes, depth, run.scaled(20_000)) for _ in range(run.rounds))
        run.row(f"asyncio + msgspec echo over a Unix socket, {depth} in flight", rate, "1/s")

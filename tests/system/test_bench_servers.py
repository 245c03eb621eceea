"""What the suite `servers` of the benchmarks starts: a real system, and clients that work there."""

from __future__ import annotations

import os
from pathlib import Path

from bench.client import TRANSPORTS, WORKS
from bench.serving import open_served


def test_every_work_by_every_transport(tmp_path: Path) -> None:
    cpus = os.sched_getaffinity(0)
    with open_served(tmp_path, targets=2, clients=1, blocks=2, loop="asyncio") as served:
        for work in WORKS:
            for transport in TRANSPORTS:
                assert served.rate(work, transport, 1, seconds=0.01, cpus=cpus) > 0

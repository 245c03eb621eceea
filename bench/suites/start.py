"""Start and memory of an embedded system, each in a process of its own.

import    `import daos` beside an interpreter that does nothing
start     `daos.local` on an empty directory, and on one that was closed in order, up to the first
          answer to a client; four targets
memory    proportional set size of that process, idle; the budget allows for 35 MiB a target
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench.report import at_most
from bench.run import Run

_TARGETS: Final = 4
_PSS_MIB: Final = 35
_START_S: Final = 1

_PROGRAM: Final = """
import time
began = time.perf_counter()
import json, sys
import daos
with daos.local(sys.argv[1], targets=4) as system, system.connect() as client:
    pools = [pool.label for pool in system.admin.pool_list()]
    if not pools:
        system.admin.pool_create("bench", size="1GiB")
    with client.pool("bench") as pool:
        pool.containers()
        started = time.perf_counter() - began
    with open("/proc/self/smaps_rollup", encoding="ascii") as rollup:
        pss = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
print(json.dumps({"seconds": started, "pss": pss * 1024}))
"""


def run(run: Run) -> None:
    """Budgets of the design: 1 s to the first answer, 35 MiB a target."""
    bare = min(_seconds("pass") for _ in range(3 * run.rounds))
    ours = min(_seconds("import daos") for _ in range(3 * run.rounds))
    run.row("import daos", ours * 1e3, "ms", limit=(bare * 1e3, "python -c pass"))
    fresh, again = [], []
    for _ in range(run.rounds):
        place = run.new_directory()
        fresh.append(_start(place))
        again.append(_start(place))
    seconds = min(found["seconds"] for found in fresh)
    run.row("start, new system with a 1 GiB pool", seconds, "s")
    seconds = min(found["seconds"] for found in again)
    run.row("start, closed in order", seconds, "s", budget=at_most(_START_S))
    pss = min(found["pss"] for found in again) / (1 << 20)
    run.row("memory, idle, whole process", pss, "MiB", budget=at_most(_PSS_MIB * _TARGETS))


def _seconds(program: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - began


def _start(place: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(place)], check=True, capture_output=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found

"""Many seeds, on several processors; and the same seeds under two hash seeds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from daos.testing.sim.run import Result, run_seed

# The volatile files of thousands of runs belong in memory.
_MEMORY: Final = Path("/dev/shm")
HASH_SEEDS: Final = ("1", "2")


def run_one(seed: int) -> Result:
    """One seed, in a directory of its own that goes with it."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    live_path = Path(tempfile.mkdtemp(prefix="daos-sim-", dir=place))
    try:
        return run_seed(seed, live_path)
    finally:
        shutil.rmtree(live_path, ignore_errors=True)


def run_many(seeds: Iterable[int], *, jobs: int) -> Iterator[Result]:
    """The results in the order of the seeds."""
    if jobs < 2:
        yield from map(run_one, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(run_one, seeds, chunksize=8)


def digests(seeds: Sequence[int], hash_seed: str) -> list[str]:
    """`seed digest` of each, from a process of its own under that PYTHONHASHSEED."""
    command = [sys.executable, "-m", "daos.testing.sim", "--digests", "--jobs", "1"]
    command += ["--seeds", f"{seeds[0]}..{seeds[-1]}"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    return done.stdout.splitlines()

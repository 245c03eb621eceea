"""Where the processor's time goes: a suite under cProfile, its most expensive functions.

cProfile makes every call dearer, so that small functions look worse than they are: the shares are
a guide, the figures of the suite itself are void meanwhile. `py-spy record -- python -m bench NAME`
samples from outside instead, where it may trace processes.
"""

from __future__ import annotations

import cProfile
import pstats
from typing import Final, TextIO

from bench.run import Run, Suite

_SHOWN: Final = 40


def profiled(suite: Suite, run: Run, *, out: TextIO) -> None:
    """Run `suite`, then print its functions by own time."""
    profile = cProfile.Profile()
    profile.enable()
    try:
        suite(run)
    finally:
        profile.disable()
    pstats.Stats(profile, stream=out).strip_dirs().sort_stats("tottime").print_stats(_SHOWN)

"""Time and randomness as arguments.

Nothing below a composition root reads a clock or draws a random number by itself: it is handed a
`Clock` and an `Rng`, so that a simulation can replay a run from a seed.

    now_ns()        real time, Unix nanoseconds; may step, also backwards. Deadlines on the wire
                    and the physical part of epochs are made of it.
    monotonic_ns()  never goes back, has no meaning outside this process. Durations.

Source: ours; DAOS reads CLOCK_REALTIME and CLOCK_MONOTONIC where it needs them, and so cannot be
run under virtual time.
"""

from __future__ import annotations

import random
import time
import uuid
from typing import Protocol

Rng = random.Random


class Clock(Protocol):
    """The seam: real in a process, virtual in a simulation."""

    def now_ns(self) -> int:
        """Real time, nanoseconds since 1970-01-01T00:00:00Z."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since some point in the past, never decreasing."""
        ...


class SystemClock:
    """The clocks of this host."""

    __slots__ = ()

    # The functions themselves: a call of ours around them would double what they cost.
    now_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)


def uuid_from(rng: Rng) -> uuid.UUID:
    """A random (version 4) UUID drawn from `rng`: the same seed gives the same UUIDs."""
    return uuid.UUID(int=rng.getrandbits(128), version=4)

"""An execution stream: one loop, one CaRT context, and the clocks that its owner was given.

Tag 0 is the system xstream (management, pool and container services); tag i + 1 is target i.
An xstream shares nothing with its neighbours but the rank's hybrid logical clock.
Source: DAOS src/engine/srv.c (xstreams), src/engine/README.md; ours: which tags there are.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from daos.base.clock import Clock, Rng
from daos.base.hlc import Hlc
from daos.base.ids import Rank, Tag
from daos.cart.context import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Xstream:
    """What a module needs to know of where it runs. Built by the composition root."""

    rank: Rank
    tag: Tag
    context: Context
    clock: Clock
    hlc: Hlc
    rng: Rng
    loop: asyncio.AbstractEventLoop

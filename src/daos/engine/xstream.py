"""An execution stream: one loop, one CaRT context, and the clocks that its owner was given.

Tag 0 is the system xstream (management, pool and container services); tag i + 1 is target i.
An xstream shares nothing with its neighbours but the rank's hybrid logical clock, and that only
where they share a loop.
Source: DAOS src/engine/srv.c (xstreams), src/engine/README.md; ours: which tags there are.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from daos.base.clock import Clock, Rng
from daos.base.hlc import Hlc
from daos.base.ids import SYSTEM_TAG, Rank, Tag
from daos.cart.context import Context
from daos.engine.metrics import Metrics
from daos.engine.offload import Offload
from daos.engine.sched import Scheduler
from daos.engine.storage import Storage
from daos.engine.tls import T, Tls, TlsKey, XstreamKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Xstream:
    """What a module needs to know of where it runs. Built by the composition root."""

    rank: Rank
    tag: Tag
    context: Context
    storage: Storage
    clock: Clock
    hlc: Hlc
    rng: Rng
    loop: asyncio.AbstractEventLoop
    sched: Scheduler
    offload: Offload | None = None  # helpers, where there are any
    tls: Tls = field(default_factory=Tls)
    metrics: Metrics = field(default_factory=Metrics)

    @property
    def kind(self) -> XstreamKind:
        """What it runs."""
        return XstreamKind.SYSTEM if self.tag == SYSTEM_TAG else XstreamKind.TARGET

    def value(self, key: TlsKey[T]) -> T:
        """What the module with this key keeps here. Raises: InvalidError, as `Tls.get`"""
        return self.tls.get(key, self)

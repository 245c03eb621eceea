"""Numbers that modules keep for whoever looks: counters and gauges, one each an xstream.

    metric = xstream.metrics.add("counter/steps")
    metric.value += 1

Source: DAOS src/include/daos_srv/daos_engine.h struct daos_module_metrics; ours: without memory
that other processes map
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Metric:
    """A number with an owner, who changes it."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Reading(NamedTuple):
    """What `read` gives."""

    path: str  # module/name
    value: int


class Metrics:
    """The metrics of one xstream."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def add(self, path: str) -> Metric:
        """The metric of this path; there is one, however often it is asked for."""
        return self._metrics.setdefault(path, Metric())

    def read(self) -> Iterator[Reading]:
        """All of them, by path."""
        for path in sorted(self._metrics):
            yield Reading(path, self._metrics[path].value)

"""Which cores a rank's processes run on, where there are enough of them.

    first core --> system xstream, target 0 (+ its helpers), target 1 …

A helper is a core more for a target: for its threads, which write, read and copy, and the only
place of those that compute checksums (offload.py).

Source: DAOS src/engine/init.c dss_topo_init, srv.c; ours: processes, helpers are their cores
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from daos.base.errors import InvalidError

_NODES: Final = Path("/sys/devices/system/node")


class Plan(NamedTuple):
    """Cores of each; none at all where there are too few."""

    system: frozenset[int] | None = None
    targets: tuple[frozenset[int], ...] = ()
    helpers: tuple[frozenset[int], ...] = ()  # of each target's cores
    why_not: str = ""

    def of_target(self, index: int) -> frozenset[int] | None:
        """Of one target."""
        return self.targets[index] if self.targets else None

    def of_helpers(self, index: int) -> frozenset[int] | None:
        """Of the helpers of one target."""
        return self.helpers[index] if self.helpers else None


def plan(
    cores: Sequence[int], *, first: int | None, instance: int = 0, targets: int, helpers: int
) -> Plan:
    """Divide `cores`, from number `first` of them on.

    Without `first`, engines of one host that are alike take the cores behind each other.

    Raises: InvalidError  there is no such core
    """
    need = 1 + targets + helpers
    if first and first >= len(cores):
        raise InvalidError(f"first core {first}: there are {len(cores)} cores, from 0 on")
    begin = instance * need if first is None else first
    free = list(cores[begin:])
    if len(free) < need:
        return Plan(
            why_not=f"{targets} targets with {helpers} helpers need {need} cores of their own, "
            f"from number {begin} there are {len(free)}: none is bound"
        )
    system, rest = free[0], free[1:need]
    found, beside = [], []
    for index in range(targets):
        size = 1 + helpers_of(index, targets=targets, helpers=helpers)
        found.append(frozenset(rest[:size]))
        beside.append(frozenset(rest[1:size]))
        rest = rest[size:]
    return Plan(frozenset([system]), tuple(found), tuple(beside))


def helpers_of(index: int, *, targets: int, helpers: int) -> int:
    """How many of all helpers one target has."""
    each, more = divmod(helpers, targets)
    return each + (index < more)


def of_node(node: int, cores: Sequence[int], nodes: Path = _NODES) -> list[int]:
    """Those of `cores` that a NUMA node has. Raises: InvalidError  no such node, or none of them"""
    try:
        text = (nodes / f"node{node}" / "cpulist").read_text(encoding="ascii")
    except OSError:
        raise InvalidError(f"this host has no NUMA node {node}") from None
    here = parse_list(text)
    found = [core for core in cores if core in here]
    if not found:
        raise InvalidError(f"NUMA node {node} has no core that this process may use")
    return found


def parse_list(text: str) -> set[int]:
    """Numbers as the kernel lists them: `0-3,8`."""
    found = set[int]()
    for part in text.strip().split(","):
        if part:
            lo, _, hi = part.partition("-")
            found.update(range(int(lo), int(hi or lo) + 1))
    return found

"""The suites by name, in the order in which a full run takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench.run import Suite
from bench.suites import (
    aggregation,
    arrays,
    checkpoint,
    counting,
    cpu,
    files,
    kv,
    limits,
    objects,
    rivals,
    rpc,
    scale,
    servers,
    start,
)

SUITES: Final[Mapping[str, Suite]] = {
    "counts": counting.run,
    "limits": limits.run,
    "rpc": rpc.run,
    "cpu": cpu.run,
    "objects": objects.run,
    "arrays": arrays.run,
    "kv": kv.run,
    "files": files.run,
    "rivals": rivals.run,
    "scale": scale.run,
    "checkpoint": checkpoint.run,
    "aggregation": aggregation.run,
    "start": start.run,
    "servers": servers.run,
}

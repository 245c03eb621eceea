"""What the storage of an engine holds, as its directory says.

Source: DAOS src/bio/smd (which pool has which blobs of which device); ours: a directory says so
"""

from __future__ import annotations

import os
import re
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from daos.base.directory import told_by
from daos.engine.config import EngineConfig
from daos.engine.control import Device, Stored

_SHARD: Final = re.compile(r"pool-([0-9a-f-]{36})-\d+\Z")


def device(config: EngineConfig) -> Device:
    """What all devices of the engine are files of. Its UUID is that of the place.

    Raises: InvalidError, AccessError
    """
    with told_by(config.storage):
        found = os.statvfs(config.storage)
    return Device(
        uuid5(NAMESPACE_URL, f"file://{config.storage}"),
        tuple(range(config.targets)),
        found.f_blocks * found.f_frsize,
        found.f_bavail * found.f_frsize,
        found.f_frsize,
    )


def stored(config: EngineConfig) -> list[Stored]:
    """Every pool that a target has a shard of, by UUID. Raises: InvalidError, AccessError"""
    found: dict[UUID, dict[int, int]] = {}
    for target in range(config.targets):
        path = config.devices(target)
        if not path.exists():
            continue
        with told_by(path), os.scandir(path) as entries:
            for entry in entries:
                if match := _SHARD.match(entry.name):
                    found.setdefault(UUID(match[1]), {})[target] = entry.inode()
    return [Stored(pool, tuple(of), tuple(of.values())) for pool, of in sorted(found.items())]

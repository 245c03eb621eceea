"""Who knows a container handle, and what is left of pools on a rank: read from memory, not asked.

Source: ours
"""

from __future__ import annotations

from collections.abc import Iterable

from daos.base.errors import StaleHandleError
from daos.container.module import CONTAINER_KEY
from daos.engine.iv import IV_KEY
from daos.engine.iv_core import IvClass
from daos.engine.rank import Engine


def who_knows(engines: Iterable[Engine], handle: bytes) -> list[str]:
    """Targets that serve this handle, and ranks that would tell of it."""
    found = list[str]()
    for engine in engines:
        for target in engine.targets:
            if handle in target._handles:
                found.append(f"target {target.index} of rank {engine.rank}")
        spaces = engine.xstream.value(IV_KEY)._known._spaces
        if any((IvClass.CONT_CAPA, handle) in space.entries for space in spaces.values()):
            found.append(f"rank {engine.rank}")
    return found


async def is_recorded(service: Engine, pool: bytes, handle: bytes) -> bool:
    """Whether the services of a pool would tell whoever asks that the handle is open."""
    try:
        await service.xstream.value(CONTAINER_KEY).capability(pool, handle)
    except StaleHandleError:
        return False
    return True


def left_behind(engine: Engine) -> list[str]:
    """What a rank has of pools that nobody is connected to: nothing is right."""
    iv = engine.xstream.value(IV_KEY)
    found = [f"rank {engine.rank}: {len(iv)} traces of name spaces"] if len(iv) else []
    for target in engine.targets:
        counts = len(target._handles), len(target._opening), len(target._questions)
        if any(counts):
            found.append(
                f"target {target.index} of rank {engine.rank}: "
                "{} handles, {} being opened, {} asked for".format(*counts)
            )
    return found

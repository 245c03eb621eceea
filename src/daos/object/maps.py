"""The pool map that a client places by: the one of its connect, or a newer one that a target knows.

    request --DER_STALE--> the target that said so is asked for its map --> taken
            `--pause, and again, placed by the map of then (attempts.py)

Source: DAOS src/pool/cli.c dc_pool_map_update, TGT_QUERY_MAP; ours: who knows better is asked
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from daos.base.errors import CorruptError, DaosError
from daos.object import wire
from daos.placement.jump import JumpMap
from daos.placement.pool_map import PoolMap

if TYPE_CHECKING:
    from daos.base.clock import Clock
    from daos.cart.context import Context, Endpoint
    from daos.placement.pool_map import Level

log = logging.getLogger(__name__)

_ASK_NS: Final = 5 * 1_000_000_000


class PoolMaps:
    """The map of one pool, shared by all that is open in it."""

    __slots__ = ("_asking", "_jumps", "pool_map", "version")

    def __init__(self, pool_map: PoolMap) -> None:
        self.pool_map = pool_map
        self.version = pool_map.version
        self._jumps: dict[Level, JumpMap] = {}
        self._asking = False

    def jump(self, level: Level) -> JumpMap:
        """Placement by the map of now."""
        found = self._jumps.get(level)
        if found is None:
            found = self._jumps[level] = JumpMap(self.pool_map, level=level)
        return found

    def take(self, pool_map: PoolMap) -> None:
        """Place by this one from now on, unless it is older."""
        if pool_map.version > self.version:
            self.pool_map, self.version = pool_map, pool_map.version
            self._jumps.clear()

    def refresh(
        self, context: Context, clock: Clock, endpoint: Endpoint, address: wire.ShardAddress
    ) -> None:
        """Ask a target for its map; one question at a time. Without an answer: nothing changes.

        `address`: of a container that is open
        """
        if self._asking:
            return
        self._asking = True
        context.send(
            endpoint,
            wire.POOL_MAP,
            wire.PoolMapRequest(address),
            deadline_ns=clock.now_ns() + _ASK_NS,
            done=self._answered,
        )

    def _answered(
        self, reply: wire.PoolMapReply | None, payload_nbytes: int, error: DaosError | None
    ) -> None:
        self._asking = False
        if reply is None or not reply.pool_map:
            return
        try:
            self.take(PoolMap.parse(reply.pool_map))
        except CorruptError as damage:
            log.warning("a target's pool map can't be read: %s", damage)

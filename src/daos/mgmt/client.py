"""Management calls of administrators and clients; thin.

Source: DAOS src/control/lib/control/pool.go, src/mgmt/cli_mgmt.c
"""

from __future__ import annotations

from daos.mgmt import wire
from daos.object.link import Call
from daos.pool.client import ServiceClient


class ManagementClient(ServiceClient):
    """The management service."""

    __slots__ = ()

    async def pool_create(self, request: wire.PoolCreateRequest, call: Call) -> wire.PoolRecord:
        """Create a pool; durable on return. Raises: ExistsError, NoSpaceError, InvalidError."""
        return await self._call(wire.POOL_CREATE, request, call)

    async def pool_destroy(self, name: str, call: Call, *, force: bool) -> None:
        """Destroy a pool by label or UUID. Raises: NotFoundError, BusyError."""
        await self._call(wire.POOL_DESTROY, wire.PoolDestroyRequest(name, force), call)

    async def pool_list(self, call: Call) -> tuple[wire.PoolRecord, ...]:
        """Every pool, by label."""
        pools = list[wire.PoolRecord]()
        after = b""
        while True:
            reply = await self._call(wire.POOL_LIST, wire.PoolListRequest(after), call)
            pools += reply.pools
            after = reply.after
            if not after:
                return tuple(sorted(pools, key=lambda record: record.label))

    async def pool_find(self, name: str, call: Call) -> wire.PoolRecord:
        """The pool of this label or UUID. Raises: NotFoundError."""
        return await self._call(wire.POOL_FIND, wire.PoolFindRequest(name), call)

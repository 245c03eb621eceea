"""Management calls of administrators and clients; thin.

Source: DAOS src/control/lib/control/pool.go, src/mgmt/cli_mgmt.c
"""

from __future__ import annotations

from daos.cart.context import Context, Endpoint
from daos.mgmt import wire
from daos.object.client import Call


class ManagementClient:
    """The management service at `endpoint`."""

    def __init__(self, context: Context, endpoint: Endpoint) -> None:
        self._context = context
        self._endpoint = endpoint

    async def pool_create(self, request: wire.PoolCreateRequest, call: Call) -> wire.PoolRecord:
        """Create a pool; durable on return. Raises: ExistsError, NoSpaceError, InvalidError."""
        return await self._context.call(
            self._endpoint,
            wire.POOL_CREATE,
            request,
            deadline_ns=call.deadline_ns,
            trace_id=call.trace_id,
        )

    async def pool_destroy(self, name: str, call: Call, *, force: bool) -> None:
        """Destroy a pool by label or UUID. Raises: NotFoundError, BusyError."""
        await self._context.call(
            self._endpoint,
            wire.POOL_DESTROY,
            wire.PoolDestroyRequest(name, force),
            deadline_ns=call.deadline_ns,
            trace_id=call.trace_id,
        )

    async def pool_list(self, call: Call) -> tuple[wire.PoolRecord, ...]:
        """Every pool, by label."""
        reply = await self._context.call(
            self._endpoint,
            wire.POOL_LIST,
            wire.PoolListRequest(),
            deadline_ns=call.deadline_ns,
            trace_id=call.trace_id,
        )
        return reply.pools

    async def pool_find(self, name: str, call: Call) -> wire.PoolRecord:
        """The pool of this label or UUID. Raises: NotFoundError."""
        return await self._context.call(
            self._endpoint,
            wire.POOL_FIND,
            wire.PoolFindRequest(name),
            deadline_ns=call.deadline_ns,
            trace_id=call.trace_id,
        )

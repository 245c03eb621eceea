"""Engines in processes behind the synchronous face: what `daos.local` gives, over real ranks.

    with engine_system(storage, ranks=2, targets=2) as system:
        system.admin.pool_create("tank", "1GiB")
        with system.connect() as client: ...

Administrators come to the engine by dRPC, as through a server.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from daos.base.clock import Rng, SystemClock
from daos.base.errors import error_for
from daos.cart.context import Context
from daos.client.admin import Admin as AsyncAdmin
from daos.client.client import Client as AsyncClient
from daos.client.portal import Portal
from daos.client.sync import Admin, Client
from daos.drpc.modules import MgmtMethod
from daos.mgmt import properties, wire
from daos.mgmt.client import ManagementClient
from daos.object.link import Call
from daos.pool.core import PROPERTIES
from daos.proto import mgmt_pb2 as pb
from daos.testing.engines import EngineSystem


@dataclass(frozen=True, slots=True, kw_only=True)
class _ByDrpc(ManagementClient):
    """The management service, asked by its server's way where clients may not."""

    system: EngineSystem

    async def pool_create(self, request: wire.PoolCreateRequest, call: Call) -> wire.PoolRecord:
        props = {PROPERTIES.find(name).name: text for name, text in request.props.items()}
        create = pb.PoolCreateReq(
            uuid=str(UUID(bytes=request.uuid)),
            user=request.owner,
            user_group=request.group,
            total_bytes=request.size_bytes,
            properties=properties.write({**props, "label": request.label}),
        )
        engine = self.system.engines[0]
        reply = await engine.ask(MgmtMethod.POOL_CREATE, create, pb.PoolCreateResp)
        if reply.status:
            raise error_for(reply.status, reply.problem)
        return await self.pool_find(request.label, call)

    async def pool_destroy(self, name: str, call: Call, *, force: bool) -> None:
        destroy = pb.PoolDestroyReq(id=name, force=force)
        engine = self.system.engines[0]
        reply = await engine.ask(MgmtMethod.POOL_DESTROY, destroy, pb.PoolDestroyResp)
        if reply.status:
            raise error_for(reply.status, reply.problem)


class _Admin(AsyncAdmin):
    def __init__(self, context: Context, rng: Rng, system: EngineSystem) -> None:
        super().__init__(context, clock=SystemClock(), rng=rng, owner="me@", group="us@")
        endpoint = self._service.endpoint
        self._service = _ByDrpc(context=context, endpoint=endpoint, system=system)


class ManyEngines:
    """What `engine_system` gives."""

    def __init__(self, portal: Portal, system: EngineSystem) -> None:
        self._portal = portal
        self._system = system
        self.admin = Admin(portal.call(self._new_admin), portal)

    def connect(self) -> Client:
        """A new client."""
        return Client(self._portal.call(self._new_client), self._portal)

    async def _new_admin(self) -> AsyncAdmin:
        context, _ = self._system.context()
        return _Admin(context, random.Random(), self._system)

    async def _new_client(self) -> AsyncClient:
        return self._system.client()


@contextmanager
def engine_system(storage: Path, *, ranks: int, targets: int) -> Iterator[ManyEngines]:
    """Running engines, for as long as the block runs."""
    portal = Portal(name="daos-engines")
    try:
        system = EngineSystem(storage, ranks=ranks, targets=targets)
        portal.call(system.__aenter__)
        try:
            yield ManyEngines(portal, system)
        finally:
            portal.call(system.close)
    finally:
        portal.close()

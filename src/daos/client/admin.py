"""What administrators do: make, remove and list pools.

Source: DAOS src/control/cmd/dmg/pool.go; features §2.1.1
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from daos.base.clock import Clock, Rng
from daos.base.ids import SYSTEM_TAG, Rank
from daos.base.names import check_label
from daos.base.sizes import parse_size
from daos.cart.context import Context, Endpoint
from daos.client.attributes import texts
from daos.client.session import Handle, Session
from daos.client.values import PoolListing
from daos.mgmt import wire
from daos.mgmt.client import ManagementClient

SERVICE: Final = Endpoint(Rank(0), SYSTEM_TAG)  # rank 0, system xstream


class Admin(Handle):
    """Administrator's calls. Owns its CaRT context."""

    def __init__(
        self,
        context: Context,
        *,
        clock: Clock,
        rng: Rng,
        service: Endpoint = SERVICE,
        timeout: float = 60.0,
        owner: str = "",
        group: str = "",
    ) -> None:
        """Units: timeout in seconds, for calls that name none; owner and group of new pools."""
        session = Session(
            context=context, clock=clock, rng=rng, service=service, default_timeout=timeout
        )
        super().__init__(session, None, writable=True)
        self.context = context
        self._owner = owner
        self._group = group
        self._service = ManagementClient(context=context, endpoint=service)

    async def pool_create(
        self,
        label: str,
        size: int | str,
        *,
        props: Mapping[str, object] | None = None,
        timeout: float | None = None,
    ) -> UUID:
        """Create a pool over all targets; durable on return. Gives its UUID.

        Units:   size in bytes or as text ("1GiB"), all targets together
        Raises:  InvalidError (label, size, property), ExistsError (label), NoSpaceError
        """
        check_label(label, "pool")
        size_bytes = parse_size(size)
        with self._operation(timeout) as call:
            request = wire.PoolCreateRequest(
                self._session.new_id(), label, size_bytes, texts(props), self._owner, self._group
            )
            return UUID(bytes=(await self._service.pool_create(request, call)).uuid)

    async def pool_destroy(
        self, label: str | UUID, force: bool = False, *, timeout: float | None = None
    ) -> None:
        """Destroy a pool, by label or UUID; durable on return. Its space is free again.

        Raises: NotFoundError, BusyError (connected, and not `force`)
        """
        with self._operation(timeout) as call:
            await self._service.pool_destroy(str(label), call, force=force)

    async def pool_list(self, *, timeout: float | None = None) -> list[PoolListing]:
        """Every pool of the system, by label."""
        with self._operation(timeout) as call:
            return [listing_of(record) for record in await self._service.pool_list(call)]

    async def close(self) -> None:
        """End the calls that run, close the context. Idempotent."""
        if not self._closed:
            self._closed = True
            await self._session.drain()
        await self.context.close()

    def __repr__(self) -> str:
        return "<Admin>"


def listing_of(record: wire.PoolRecord) -> PoolListing:
    """A pool as its users see it."""
    return PoolListing(
        uuid=UUID(bytes=record.uuid),
        label=record.label,
        state=record.state,
        size=record.size_bytes,
        targets=record.targets,
        service_ranks=record.service_ranks,
    )

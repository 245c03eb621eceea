"""A client: from a label to an open pool; the root of every handle.

    Client --pool(label)--> Pool --container(label)--> Container --> Object, KeyValue, Array

Closing it ends every call within a second: what runs finishes, or hears CanceledError; then every
handle is given back to its service.

Source: DAOS src/client/api/init.c, pool.c
"""

from __future__ import annotations

from uuid import UUID

from daos.base.clock import Clock, Rng
from daos.base.errors import DaosError
from daos.base.ids import SYSTEM_TAG, Rank
from daos.cart.context import Context, Endpoint
from daos.client.admin import SERVICE, listing_of
from daos.client.memory import Buffer
from daos.client.pool import Monitor, Pool
from daos.client.session import NO_ANSWER, RANGES_MAX, Handle, Opening, Session
from daos.client.values import PoolListing
from daos.mgmt.client import ManagementClient
from daos.pool.client import PoolClient
from daos.pool.core import check_flags


class Client(Handle):
    """A connection to one system. Owns its CaRT context; made by a composition root."""

    def __init__(
        self,
        context: Context,
        *,
        clock: Clock,
        rng: Rng,
        service: Endpoint = SERVICE,
        timeout: float = 60.0,
        monitor: Monitor | None = None,
        machine: str = "",
        ranges_max: int = RANGES_MAX,
    ) -> None:
        """Units: timeout in seconds, for calls that name none. `machine`: this host's name.

        `ranges_max`: short ranges that one call of an array may have; 0: any number.
        """
        session = Session(
            context=context,
            clock=clock,
            rng=rng,
            service=service,
            default_timeout=timeout,
            ranges_max=ranges_max,
        )
        super().__init__(session, None, writable=True)
        self.context = context
        self._monitor = monitor
        self._machine = machine
        self._management = ManagementClient(context=context, endpoint=service)

    def pool(
        self, label_or_uuid: str | UUID, flags: str = "rw", *, timeout: float | None = None
    ) -> Opening[Pool]:
        """Connect to a pool. flags: "r", "rw", or "ex" (nobody else may be connected).

        Raises: NotFoundError, BusyError (somebody else holds it, or is there), InvalidError
        """
        return Opening(lambda: self._connect(str(label_or_uuid), check_flags(flags), timeout))

    async def pools(self, *, timeout: float | None = None) -> list[PoolListing]:
        """Every pool of the system, by label."""
        with self._operation(timeout) as call:
            return [listing_of(record) for record in await self._management.pool_list(call)]

    def buffer(self, nbytes: int) -> Buffer:
        """Page-aligned memory that a target on this host reads and writes in place.

        Raises: InvalidError (less than one byte), MemoryError
        """
        return Buffer(nbytes, self.context.shared)

    async def close(self) -> None:
        """Close every pool, end every call. Idempotent.

        Calls in flight finish, or raise CanceledError; either within a second.
        """
        if not self._closed:
            await self._session.drain()
        try:
            await super().close()
        except DaosError as error:
            if error.code not in NO_ANSWER:
                raise
            # A service that does not answer forgets us by itself, when it evicts our handles.
        finally:
            await self.context.close()

    async def _connect(self, name: str, flags: str, timeout: float | None) -> Pool:
        with self._operation(timeout) as call:
            record = await self._management.pool_find(name, call)
            link = PoolClient(
                pacing=self._session.pacing,
                context=self.context,
                endpoint=Endpoint(Rank(record.service_ranks[0]), SYSTEM_TAG),
                pool=record.uuid,
                handle=self._session.new_id(),
            )
            pool = Pool(self._session, self, link, writable=flags != "r", monitor=self._monitor)
            connected = link.connect(self._session.client, flags, call, machine=self._machine)
            pool._attach(await self._opening(pool, connected))
        if self._monitor is not None:
            await self._monitor.pool_connected(pool.uuid, UUID(bytes=link.handle))
        return pool

    def __repr__(self) -> str:
        return f"<Client at {id(self):#x}>"  # it has no name of its own

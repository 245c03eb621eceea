"""`connect(address)`: a served system, seen from another process. `serve.py` is its other side.

    with connect("sm:/run/daos") as system:
        system.admin.pool_create("tank", "10GiB")
        with system.connect() as client: ...

What it gives is what `daos.local` gives, so that the same program runs over either. Nothing is sent
before the first call; one that finds nobody fails with DER_UNREACH. Closing it ends the clients
that came from it, and leaves the system alone.

Source: ours; DAOS finds its servers by an agent on the client's host
"""

from __future__ import annotations

import asyncio
import os
import random
from types import TracebackType
from typing import Self

from daos.base.clock import SystemClock
from daos.base.errors import ShutdownError
from daos.base.hlc import Hlc
from daos.cart.context import Context
from daos.cart.transport import Transport
from daos.client.admin import Admin as AsyncAdmin
from daos.client.client import Client as AsyncClient
from daos.client.owner import group_principal, user_principal
from daos.client.portal import Portal
from daos.client.ranges import ranges_limit
from daos.client.sync import Admin, Client
from daos.embedded.addresses import Address, parse_address, transport_to


class AsyncRemoteSystem:
    """Made by `async_connect`; `async with` opens it in the running loop."""

    def __init__(self, address: Address, timeout: float) -> None:
        self.address = address
        self._timeout = timeout
        self._ranges_max = ranges_limit(os.environ)
        self._clock = SystemClock()
        self._hlc = Hlc(self._clock)
        self._rng = random.SystemRandom()
        self._transport: Transport | None = None
        self._admin: AsyncAdmin | None = None
        self._clients: list[AsyncClient] = []

    @property
    def admin(self) -> AsyncAdmin:
        """The administrator's calls: making and removing pools."""
        if self._admin is None or self._admin.closed:
            self._admin = AsyncAdmin(
                self._context(),
                clock=self._clock,
                rng=self._rng,
                timeout=self._timeout,
                owner=user_principal(),
                group=group_principal(),
            )
        return self._admin

    async def connect(self) -> AsyncClient:
        """A new client, with connections of its own."""
        client = AsyncClient(
            self._context(),
            clock=self._clock,
            rng=self._rng,
            timeout=self._timeout,
            ranges_max=self._ranges_max,
        )
        self._clients = [each for each in self._clients if not each.closed]
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """Close the clients that came from here. Idempotent."""
        self._transport = None
        clients, self._clients = self._clients, []
        admin, self._admin = self._admin, None
        for each in (*clients, *([admin] if admin is not None else [])):
            await each.close()

    async def __aenter__(self) -> Self:
        self._transport = await transport_to(self.address, asyncio.get_running_loop())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _context(self) -> Context:
        if self._transport is None:
            raise ShutdownError(f"the connection to {self.address} is closed")
        return Context(
            self._transport,
            None,
            clock=self._clock,
            hlc=self._hlc,
            rng=self._rng,
            loop=asyncio.get_running_loop(),
        )


class RemoteSystem:
    """Made by `connect`: the synchronous face."""

    def __init__(self, core: AsyncRemoteSystem) -> None:
        self._core = core
        self._portal = Portal(name="daos-client")
        self._admin: Admin | None = None
        try:
            self._portal.call(core.__aenter__)
        except BaseException:
            self._portal.close()
            raise

    @property
    def admin(self) -> Admin:
        """The administrator's calls: making and removing pools."""
        if self._admin is None or self._admin.closed:
            self._admin = Admin(self._portal.call(_admin_of, self._core), self._portal)
        return self._admin

    def connect(self) -> Client:
        """A new client; close it, or let `close` do so."""
        return Client(self._portal.call(self._core.connect), self._portal)

    def close(self) -> None:
        """Close the clients that came from here, end the thread. Idempotent."""
        if self._portal.closed:
            return
        try:
            if not self._portal.forked:
                self._portal.call(self._core.close)
        finally:
            self._portal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._portal.closed else "open"
        return f"<system at {self._core.address}, {state}>"


def connect(address: str, *, timeout: float = 60.0) -> RemoteSystem:
    """Reach the system served at `address`: "sm:DIRECTORY" or "tcp:HOST:PORT".

    Units:      timeout in seconds, for calls that name none
    Raises:     InvalidError   this is no address
                DaosError      DER_UNREACH: the host's name is not known
    """
    return RemoteSystem(AsyncRemoteSystem(parse_address(address), timeout))


def async_connect(address: str, *, timeout: float = 60.0) -> AsyncRemoteSystem:
    """As `connect`, for `async with`: everything runs in the caller's loop."""
    return AsyncRemoteSystem(parse_address(address), timeout)


async def _admin_of(core: AsyncRemoteSystem) -> AsyncAdmin:
    return core.admin

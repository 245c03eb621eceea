"""The pool service seen from a client; thin.

    ServiceClient      a service and where it listens
        HandleClient   one handle at it, with its properties and attributes: a pool's, a container's
            PoolClient

Source: DAOS src/pool/cli.c; ours: what the two kinds of handles have in common is written once
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from daos.base.errors import DER, DaosError
from daos.cart.context import Context, Endpoint
from daos.cart.protocol import Procedure, ReplyT, RequestT
from daos.object.attempts import Before, Cancel, Done, Pacing, ask
from daos.object.link import Call
from daos.pool import wire


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceClient:
    """A service and where it listens."""

    context: Context
    endpoint: Endpoint
    # None: a service that can't be reached is an error at once.
    pacing: Pacing | None = None

    async def _call(
        self, procedure: Procedure[RequestT, ReplyT], request: RequestT, call: Call
    ) -> ReplyT:
        return await self.context.call(
            self.endpoint,
            procedure,
            request,
            deadline_ns=call.deadline_ns,
            trace_id=call.trace_id,
        )

    async def _end(
        self, procedure: Procedure[RequestT, ReplyT], request: RequestT, call: Call
    ) -> ReplyT:
        """A request that ends something: sent once more when the connection was lost. Nobody waits
        for a service that is not there: it forgets who has gone."""
        try:
            return await self._call(procedure, request, call)
        except DaosError as error:
            if error.code is not DER.UNREACH:
                raise
        return await self._call(procedure, request, call)

    async def _ask(
        self, procedure: Procedure[RequestT, ReplyT], request: RequestT, call: Call
    ) -> ReplyT:
        """A request that may be executed twice: sent again when the connection was lost."""
        if self.pacing is None:
            return await self._call(procedure, request, call)

        def send(before: Before, done: Done[ReplyT]) -> Cancel:
            del before
            return self.context.send(
                self.endpoint,
                procedure,
                request,
                deadline_ns=call.deadline_ns,
                trace_id=call.trace_id,
                done=done,
            ).cancel

        return await ask(self.pacing, send, deadline_ns=call.deadline_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleClient(ServiceClient):
    """One handle; a subclass names the procedures of its service."""

    pool: bytes  # 16 bytes
    handle: bytes  # 16 bytes, drawn by the client: a repeated connect or open finds it

    _PROPS: ClassVar[Procedure[wire.HandleRequest, wire.PropsReply]]
    _SET_PROPS: ClassVar[Procedure[wire.SetPropsRequest, wire.Empty]]
    _ATTRS: ClassVar[Procedure[wire.AttrsRequest, wire.AttrsReply]]
    _SET_ATTRS: ClassVar[Procedure[wire.SetAttrsRequest, wire.Empty]]

    async def props(self, call: Call) -> dict[str, str]:
        """Every property."""
        return (await self._ask(self._PROPS, self._named(), call)).props

    async def set_props(self, props: Mapping[str, str], call: Call) -> None:
        """Change properties, all or nothing. Raises: InvalidError, AccessError."""
        request = wire.SetPropsRequest(self.pool, self.handle, dict(props))
        await self._ask(self._SET_PROPS, request, call)

    async def attrs(self, names: tuple[str, ...], call: Call) -> dict[str, bytes]:
        """Attributes; no names: all. Raises: NotFoundError."""
        request = wire.AttrsRequest(self.pool, self.handle, names)
        return (await self._ask(self._ATTRS, request, call)).attrs

    async def set_attrs(
        self, put: Mapping[str, bytes], delete: tuple[str, ...], call: Call
    ) -> None:
        """Set and delete, all or nothing. Raises: InvalidError, NotFoundError."""
        request = wire.SetAttrsRequest(self.pool, self.handle, dict(put), delete)
        await self._call(self._SET_ATTRS, request, call)

    def _named(self) -> wire.HandleRequest:
        return wire.HandleRequest(self.pool, self.handle)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolClient(HandleClient):
    """One pool handle. `handle` names it from `connect` to `disconnect`."""

    _PROPS = wire.PROPS
    _SET_PROPS = wire.SET_PROPS
    _ATTRS = wire.ATTRS
    _SET_ATTRS = wire.SET_ATTRS

    async def connect(
        self, client: bytes, flags: str, call: Call, *, machine: str = ""
    ) -> wire.ConnectReply:
        """Open the handle. Raises: BusyError, NotFoundError, InvalidError."""
        request = wire.ConnectRequest(self.pool, self.handle, client, flags, machine)
        return await self._ask(wire.CONNECT, request, call)

    async def disconnect(self, call: Call) -> None:
        """Close the handle; an unknown one is no error."""
        await self._end(wire.DISCONNECT, self._named(), call)

    async def query(self, call: Call) -> wire.QueryReply:
        """Numbers and space of the pool."""
        return await self._ask(wire.QUERY, self._named(), call)

    async def query_targets(
        self, rank: int, targets: tuple[int, ...], call: Call
    ) -> tuple[wire.TargetInfo, ...]:
        """State and space of targets of a rank; no targets: all. Raises: NotFoundError"""
        request = wire.QueryTargetsRequest(self.pool, self.handle, rank, targets)
        return (await self._ask(wire.QUERY_TARGETS, request, call)).targets

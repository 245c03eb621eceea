"""Calls of the control plane: what `dmg`, the agent and other administrators' tools ask servers.

    async with ControlClient(hosts, component=Component.ADMIN, …) as control:
        reply = await control.ask("PoolQuery", PoolQueryReq(id="tank"), PoolQueryResp)
        for host, answer in (await control.ask_hosts("StorageScan", request, reply)).items(): …

`ask` is for the management service, which one of the hosts has: they are tried in order, and the
first answer counts. `ask_hosts` is for the service of each host. A host is `name`, `name:port`, a
set of such (`h[1-4]:10001,other`), or `unix:/path`; `places.control_hosts` finds them.

Errors arrive as they were raised at the server (`faults`). A pool's own verdict stands in the field
`status` of its reply: `checked` raises it.

Retries, for `ask` alone: an engine that is not ready yet, and a connection that broke before it
was made while another host is left. What may have been executed is not repeated.

Source: DAOS src/control/lib/control/rpc.go
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from daos.base.clock import Clock, Rng
from daos.base.errors import DER, AccessError, DaosError, InvalidError, error_for
from daos.base.peers import barred
from daos.base.sets import parse_hosts
from daos.base.version import VERSION
from daos.control import access, faults
from daos.control.access import Component
from daos.control.places import PORT, SYSTEM
from daos.control.service import OPTIONS, target
from daos.proto import ctl_pb2, mgmt_pb2

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

TIMEOUT_S: Final = 300.0
_TIMEOUTS_S: Final = {"PoolCreate": 600.0}
_MANAGEMENT: Final = mgmt_pb2.DESCRIPTOR.services_by_name["MgmtSvc"]
_HOST: Final = ctl_pb2.DESCRIPTOR.services_by_name["CtlSvc"]
# Before the second try, the third, and so on; the last one for all that follow.
_PAUSES_S: Final = (0.25, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_NOT_STARTED: Final = faults.data_plane_not_started().number
_NS: Final = 1_000_000_000


class HasStatus(Protocol):
    """A reply with the verdict of an engine."""

    status: int
    problem: str  # why it is not 0


S = TypeVar("S", bound=HasStatus)


def checked(reply: S, what: str) -> S:
    """`reply`, if its status is 0. Raises: the error of its number, or about `what`"""
    if reply.status:
        if reply.problem:
            raise error_for(reply.status, reply.problem)
        why = error_for(reply.status, what).code.description
        raise error_for(reply.status, f"{what}: {why[:1].lower()}{why[1:]}")
    return reply


def pause_s(retry: int, rng: Rng) -> float:
    """Seconds before retry `retry`, from 0 on: those of the table, and up to a half more."""
    least = _PAUSES_S[min(retry, len(_PAUSES_S) - 1)]
    return least * (1 + rng.random() / 2)


class ControlClient:
    """Connections to `hosts`, made when they are needed. Raises: InvalidError (no hosts)"""

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        component: Component,
        clock: Clock,
        rng: Rng,
        system: str = SYSTEM,
        allow_proxy: bool = False,
    ) -> None:
        """`allow_proxy`: what the environment says of HTTP proxies holds for these, too."""
        if not hosts:
            raise InvalidError("no host to ask; name one with -l, or in a configuration file")
        named = (each for host in hosts for each in _expanded(host))
        self.hosts: Final = tuple(dict.fromkeys(named))
        self._system = f"{system}-{VERSION}"
        self._clock = clock
        self._rng = rng
        self._metadata = ((access.COMPONENT, str(component)), (access.VERSION, VERSION))
        self._options = (*_OPTIONS, ("grpc.enable_http_proxy", int(allow_proxy)))
        self._channels: dict[str, grpc.aio.Channel] = {}
        self.retries = 0

    async def ask(
        self, method: str, request: Message, reply: type[M], *, timeout_s: float | None = None
    ) -> M:
        """Call a method of the management service; `sys` of the request is filled in.

        Raises: whatever the server raised; FaultError  no host answers, or not in time
        """
        described = _MANAGEMENT.methods_by_name[method]
        if "sys" in request.DESCRIPTOR.fields_by_name and not getattr(request, "sys"):  # noqa: B009
            setattr(request, "sys", self._system)  # noqa: B010
        within_s = _TIMEOUTS_S.get(method, TIMEOUT_S) if timeout_s is None else timeout_s
        deadline_ns = self._clock.monotonic_ns() + int(within_s * _NS)
        for retry in range(1 << 30):
            left_s = (deadline_ns - self._clock.monotonic_ns()) / _NS
            try:
                return await self._first(described, request, reply, left_s)
            except faults.FaultError as fault:
                wait_s = pause_s(retry, self._rng)
                if fault.number != _NOT_STARTED or wait_s >= left_s:
                    raise
            self.retries += 1
            await asyncio.sleep(wait_s)
        raise AssertionError("unreachable")

    async def _first(
        self, method: MethodDescriptor, request: Message, reply: type[M], left_s: float
    ) -> M:
        refused: DaosError | None = None
        for host in self.hosts:
            try:
                return await self._call(host, method, request, reply, left_s)
            except DaosError as error:
                if error.code is not DER.UNREACH or error.unanswered:
                    raise
                refused = refused or error
        assert refused is not None
        raise refused

    async def ask_hosts(
        self, method: str, request: Message, reply: type[M], *, timeout_s: float = TIMEOUT_S
    ) -> dict[str, M | DaosError]:
        """Call a method of the service of every host; each answer, or what went wrong there."""
        described = _HOST.methods_by_name[method]

        async def one(host: str) -> M | DaosError:
            try:
                return await self._call(host, described, request, reply, timeout_s)
            except DaosError as error:
                return error

        answers = await asyncio.gather(*map(one, self.hosts))
        return dict(zip(self.hosts, answers, strict=True))

    async def _call(
        self, host: str, method: MethodDescriptor, request: Message, reply: type[M], left_s: float
    ) -> M:
        channel = self._channels.get(host)
        if channel is None:
            channel = self._channels[host] = grpc.aio.insecure_channel(
                target(host), options=self._options
            )
        assert method.containing_service is not None
        call: Any = channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=_serialize,
            response_deserializer=reply.FromString,
        )
        log.debug("%s is asked: %s", host, method.full_name)
        try:
            answer: M = await call(request, timeout=max(left_s, 0.0), metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE and host.startswith("unix:"):
                stranger = barred(host.removeprefix("unix:"))
                if stranger is not None:
                    raise stranger from None
            failure = _translated(error, host, method.name, left_s)
            log.debug("%s says: %s", host, failure)
            raise failure from None
        log.debug("%s has answered", host)
        return answer

    async def close(self) -> None:
        """End the connections. Idempotent."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


_OPTIONS: Final = (
    *OPTIONS,
    # A server that was away for long is looked for each second, not each two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


# How versions of gRPC say that there is no such host.
_UNRESOLVED: Final = re.compile("(errors resolving|DNS resolution failed)", re.IGNORECASE)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _translated(error: grpc.aio.AioRpcError, host: str, method: str, left_s: float) -> DaosError:
    for name, value in error.trailing_metadata() or ():
        if name == faults.TRAILER:
            raw = value if isinstance(value, bytes) else value.encode()
            return faults.parse(raw, f"{host}: {error.details()}")
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            if _UNRESOLVED.match(error.details() or ""):
                return faults.bad_host(host)
            refused = faults.connection_refused(host)
            # Sent and broken, or never connected: the text is all that tells.
            refused.unanswered = "connect" not in (error.details() or "").lower()
            return refused
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return faults.timed_out(method, left_s)
        case grpc.StatusCode.PERMISSION_DENIED | grpc.StatusCode.UNAUTHENTICATED:
            return AccessError(f"{host}: {error.details()}")
        case grpc.StatusCode.UNIMPLEMENTED:
            text = f"{host}: {method}: this server does not know the method"
            return DaosError(text, code=DER.NOTSUPPORTED)
    return DaosError(f"{host}: {method}: {error.details()}")


def _expanded(host: str) -> list[str]:
    """A host, or a set of them, each with its port."""
    if host.startswith("unix:") and "," not in host:  # a path may have brackets
        return [host]
    return [each if ":" in each else f"{each}:{PORT}" for each in parse_hosts(host)]

"""Calls of a dRPC listener: `Connection` for many, `call` for one.

    async with await Connection.open(path) as agent:
        reply = await agent.call(ModuleId.MGMT, 206, request, GetAttachInfoResp, timeout_s=10)

What a method decides about a request stands in its reply's own status field; what hinders it from
being decided at all is raised here.

Source: DAOS src/common/drpc.c drpc_call; src/control/drpc/drpc_client.go
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from google.protobuf.message import DecodeError, Message

from daos.base.errors import DER, DaosError, DeadlineError, ProtocolError, error_for
from daos.drpc.connection import MessageSocket
from daos.proto.drpc_pb2 import Call, Response, Status

M = TypeVar("M", bound=Message)

_CODES: Final = {
    Status.UNKNOWN_MODULE: DER.NOTSUPPORTED,
    Status.UNKNOWN_METHOD: DER.NOTSUPPORTED,
    Status.FAILED_UNMARSHAL_CALL: DER.PROTO,
    Status.FAILED_UNMARSHAL_PAYLOAD: DER.PROTO,
}


class Connection:
    """A connection whose calls go one after another. Made by `open`."""

    def __init__(self, session: MessageSocket, path: Path) -> None:
        self._session = session
        self._path = path
        self._sequence = 0
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Connect. Raises: as `MessageSocket.connect`"""
        return cls(await MessageSocket.connect(path), path)

    async def call(
        self, module: int, method: int, request: Message, reply: type[M], *, timeout_s: float
    ) -> M:
        """Ask, and wait for the answer.

        Raises: DeadlineError       no answer in time; the connection is of no use any more
                DaosError           UNREACH: the other end has gone; NOTSUPPORTED: no such module or
                                    method; MISC: it failed
                ProtocolError       an answer that cannot be read
        """
        async with self._turn:
            try:
                async with asyncio.timeout(timeout_s):
                    response = await self._exchange(module, method, request.SerializeToString())
            except TimeoutError:
                self.close()
                text = f"{self._path}: no answer to dRPC {module}/{method} within {timeout_s} s"
                raise DeadlineError(text) from None
            except BaseException:
                self.close()  # whose answer comes next is not known
                raise
        if response.problem:
            raise error_for(response.code, f"{self._path}: {response.problem}")
        if response.status != Status.SUCCESS:
            text = f"{self._path}: dRPC {module}/{method}: {Status.Name(response.status)}"
            raise DaosError(text, code=_CODES.get(response.status, DER.MISC))
        try:
            return reply.FromString(response.body)
        except DecodeError:
            text = f"{self._path}: the answer to dRPC {module}/{method} is no {reply.__name__}"
            raise ProtocolError(text) from None

    async def _exchange(self, module: int, method: int, body: bytes) -> Response:
        self._sequence += 1
        call = Call(module=module, method=method, sequence=self._sequence, body=body)
        await self._session.send(call.SerializeToString())
        message = await self._session.receive()
        if message is None:
            text = f"{self._path}: the other end left without an answer to {module}/{method}"
            raise DaosError(text, code=DER.UNREACH)
        try:
            response = Response.FromString(message)
        except DecodeError:
            raise ProtocolError(f"{self._path}: what came is no dRPC response") from None
        if response.sequence not in (self._sequence, -1):
            text = f"{self._path}: call {self._sequence} got the answer to {response.sequence}"
            raise ProtocolError(text)
        return response

    def close(self) -> None:
        """Idempotent."""
        self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


async def call(
    path: Path, module: int, method: int, request: Message, reply: type[M], *, timeout_s: float
) -> M:
    """One call over a connection of its own. Raises: as `Connection.open` and `Connection.call`"""
    async with await Connection.open(path) as connection:
        return await connection.call(module, method, request, reply, timeout_s=timeout_s)

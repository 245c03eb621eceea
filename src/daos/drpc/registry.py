"""Which module answers which calls of a listener.

    bytes --parse_call--> Call --Registry.respond--> Response

A module is a `Handler`, usually a `Methods`: a table from method to message and function. What
goes wrong has its place: the envelope in `Response.status`, what a method decides in the status
field of its own answer.

Source: DAOS src/engine/drpc_handler.c, src/control/drpc/modules.go
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from daos.base.errors import DaosError, ExistsError, InvalidError
from daos.base.peers import Peer
from daos.drpc.modules import MODULES
from daos.proto.drpc_pb2 import Call, Response, Status

log = logging.getLogger(__name__)

# The sequence of an answer to what could not be read.
NO_SEQUENCE: Final = -1


Handler = Callable[[Call, Peer], Awaitable[bytes]]
"""Answers the calls of one module: the body of the response. Raises: RefusedError"""


class RefusedError(Exception):
    """A module cannot answer a call; `status` says why."""

    def __init__(self, status: Status) -> None:
        super().__init__(Status.Name(status))
        self.status: Final = status


M = TypeVar("M", bound=Message)


class Method(NamedTuple):
    """One row of `Methods`."""

    request: type[Message]
    answer: Callable[[Message, Peer], Awaitable[Message | None]]


class Methods:
    """A `Handler` for a module whose methods each take one message and give one."""

    def __init__(self) -> None:
        self._methods: dict[int, Method] = {}

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of all methods, for the table of who may call what."""
        return tuple(self._methods)

    def add(
        self, number: int, request: type[M], answer: Callable[[M, Peer], Awaitable[Message | None]]
    ) -> None:
        """Answer method `number` with `answer`, which is given a `request`; None is an empty body.

        Raises: ExistsError
        """
        if number in self._methods:
            raise ExistsError(f"dRPC method {number} has its answer already")
        self._methods[number] = Method(request, answer)  # type: ignore[arg-type]  # M is request

    async def __call__(self, call: Call, peer: Peer) -> bytes:
        method = self._methods.get(call.method)
        if method is None:
            raise RefusedError(Status.UNKNOWN_METHOD)
        try:
            request = method.request.FromString(call.body)
        except DecodeError:
            raise RefusedError(Status.FAILED_UNMARSHAL_PAYLOAD) from None
        answer = await method.answer(request, peer)
        return answer.SerializeToString() if answer is not None else b""


class Registry:
    """The modules of a listener, by id."""

    def __init__(self) -> None:
        self._handlers: dict[int, Handler] = {}

    def register(self, module: int, handler: Handler) -> None:
        """Have `handler` answer the calls of `module`.

        Raises: InvalidError (no such id), ExistsError (the first one stays)
        """
        _check(module)
        if module in self._handlers:
            raise ExistsError(f"dRPC module {module} is registered already")
        self._handlers[module] = handler

    def register_all(self, handlers: Iterable[tuple[int, Handler]]) -> None:
        """Register as many as possible. Raises: the last error there was, when all are tried."""
        last: DaosError | None = None
        for module, handler in handlers:
            try:
                self.register(module, handler)
            except DaosError as error:
                last = error
        if last is not None:
            raise last

    def unregister(self, module: int) -> None:
        """Forget a module; one that is not registered is no error. Raises: InvalidError"""
        _check(module)
        self._handlers.pop(module, None)

    def get(self, module: int) -> Handler | None:
        """Who answers for `module`."""
        return self._handlers.get(module)

    @property
    def modules(self) -> Mapping[int, Handler]:
        """All of them, for the table of who may call what."""
        return dict(self._handlers)

    async def respond(self, message: bytes, peer: Peer) -> Response:
        """Answer what came. A bug in a handler is raised: its listener ends the session."""
        try:
            call = Call.FromString(message)
        except DecodeError:
            return Response(sequence=NO_SEQUENCE, status=Status.FAILED_UNMARSHAL_CALL)
        handler = self._handlers.get(call.module)
        if handler is None:
            return Response(sequence=call.sequence, status=Status.UNKNOWN_MODULE)
        try:
            body = await handler(call, peer)
        except RefusedError as refusal:
            return Response(sequence=call.sequence, status=refusal.status)
        except DaosError as error:
            log.warning("drpc failed module=%d method=%d %s", call.module, call.method, error)
            return failure(call.sequence, error)
        return Response(sequence=call.sequence, status=Status.SUCCESS, body=body)


def sequence_of(message: bytes) -> int:
    """Of the call that came, if it can be read."""
    try:
        return Call.FromString(message).sequence
    except DecodeError:
        return NO_SEQUENCE


def failure(sequence: int, error: DaosError) -> Response:
    """The answer to a call that is refused, or can't be answered at all."""
    return Response(
        sequence=sequence, status=Status.FAILURE, problem=error.message, code=int(error.code)
    )


def _check(module: int) -> None:
    if not 0 <= module < MODULES:
        raise InvalidError(f"dRPC modules are 0 to {MODULES - 1}, not {module}")

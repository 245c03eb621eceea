"""gRPC at the server: the methods of a service's descriptor, each answered by a function.

    call --component, version, table--> PERMISSION_DENIED, or
         --------------------------> answer(request) --> reply, or an error in the trailer

    G1  every method of the descriptor has an answer, or the server does not start
    G2  a call that `access.GRPC` does not allow is refused before its answer is called
    G3  a DaosError arrives at the caller as it was raised (`faults.emit`)

Source: DAOS src/control/server/interceptors.go
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from daos.base.errors import DaosError, InvalidError
from daos.control import access, faults
from daos.control.access import Answer, Component

log = logging.getLogger(__name__)

# What a message may have: lists of pools and members by far fit in.
MESSAGE_MAX: Final = 16 << 20
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_MAX),
    ("grpc.max_send_message_length", MESSAGE_MAX),
    ("grpc.so_reuseport", 0),  # a port that somebody has is an error
)


class Service(grpc.GenericRpcHandler):
    """The handlers of one service. Raises: InvalidError  G1"""

    def __init__(
        self, service: ServiceDescriptor, answers: Mapping[str, Answer], *, version: str
    ) -> None:
        named = {method.name for method in service.methods}
        if wrong := named ^ answers.keys():
            raise InvalidError(f"{service.full_name}: no method, or no answer, for {sorted(wrong)}")
        self._version = version
        self._handlers = {
            f"/{name}": self._handler(name, method, answers[method.name])
            for method in service.methods
            for name in [f"{service.full_name}/{method.name}"]
        }

    @property
    def methods(self) -> frozenset[str]:
        """Names of all of them, as in `access.GRPC`."""
        return frozenset(name[1:] for name in self._handlers)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Look up a method by its path."""
        return self._handlers.get(details.method)

    def _handler(
        self, name: str, method: MethodDescriptor, answer: Answer
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def respond(request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            headers = dict(context.invocation_metadata() or ())
            component = str(headers.get(access.COMPONENT, ""))
            if not access.may_call(name, component):
                log.warning("grpc denied method=%s component=%s", name, component[:16] or "none")
                text = f"{component[:16] or 'a caller without a component'} may not call {name}"
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, text)
            try:
                self._check_version(component, str(headers.get(access.VERSION, "")))
                return await answer(request)
            except DaosError as error:
                log.info("grpc failed method=%s %s", name, error)
                trailer = ((faults.TRAILER, faults.emit(error)),)
                await context.abort(grpc.StatusCode.UNKNOWN, str(error), trailer)

        return grpc.unary_unary_rpc_method_handler(
            respond,
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=_serialize,
        )

    def _check_version(self, component: str, version: str) -> None:
        ours = (str(Component.SERVER), self._version)
        if not access.compatible(ours, (component, version)):
            theirs = f"{component} {version[:32] or 'without a version'}"
            raise faults.incompatible_components(" ".join(ours), theirs)


def target(host: str) -> str:
    """A host as gRPC wants it: the path of a socket is a URI's."""
    scheme, colon, path = host.partition("unix:")
    return host if scheme or not colon else f"unix:{quote(path)}"


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()

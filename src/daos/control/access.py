"""Who may call what: one table for gRPC and for dRPC, and nobody may call what it does not name.

    GRPC   "mgmt.MgmtSvc/PoolCreate" -> components that may
    DRPC   (who listens, module, method) -> who may

A component is what a peer says it is, in the header `COMPONENT` of its call. While certificates do
not vouch for it, this holds mistakes and not malice: what keeps strangers out until then is the
mode of the directory that a socket stands in. For dRPC the kernel says which process calls.

Source: DAOS src/control/security/grpc_authorization.go, src/control/build/interop.go
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from daos.drpc.modules import MgmtMethod, ModuleId, SrvMethod

# Answers one method: the types of its messages are in the service's descriptor.
Answer = Callable[[Any], Awaitable[Message]]

COMPONENT: Final = "x-daos-component"
VERSION: Final = "x-daos-version"


class Component(StrEnum):
    """A part of the system; the first three are names of certificates, too."""

    ADMIN = "admin"
    AGENT = "agent"
    SERVER = "server"
    ENGINE = "engine"
    CLIENT = "client"


_A, _G, _S = Component.ADMIN, Component.AGENT, Component.SERVER

GRPC: Final[dict[str, frozenset[Component]]] = {
    method: frozenset(allowed)
    for method, allowed in {
        "ctl.CtlSvc/StorageScan": {_A},
        "ctl.CtlSvc/StorageFormat": {_A},
        "ctl.CtlSvc/SmdQuery": {_A},
        "ctl.CtlSvc/NetworkScan": {_A},
        "ctl.CtlSvc/SetEngineLogMasks": {_A},
        "ctl.CtlSvc/PrepShutdownRanks": {_S},
        "ctl.CtlSvc/StopRanks": {_S},
        "ctl.CtlSvc/StartRanks": {_S},
        "mgmt.MgmtSvc/LeaderQuery": {_A},
        "mgmt.MgmtSvc/GetAttachInfo": {_A, _G},
        "mgmt.MgmtSvc/SystemQuery": {_A},
        "mgmt.MgmtSvc/SystemStop": {_A},
        "mgmt.MgmtSvc/SystemStart": {_A},
        "mgmt.MgmtSvc/SystemErase": {_A},
        "mgmt.MgmtSvc/SystemSetAttr": {_A},
        "mgmt.MgmtSvc/SystemGetAttr": {_A},
        "mgmt.MgmtSvc/SystemSetProp": {_A},
        "mgmt.MgmtSvc/SystemGetProp": {_A, _S},
        "mgmt.MgmtSvc/SystemCleanup": {_A, _G},
        "mgmt.MgmtSvc/PoolCreate": {_A},
        "mgmt.MgmtSvc/PoolDestroy": {_A},
        "mgmt.MgmtSvc/PoolEvict": {_A, _G},
        "mgmt.MgmtSvc/PoolQuery": {_A},
        "mgmt.MgmtSvc/PoolQueryTarget": {_A},
        "mgmt.MgmtSvc/PoolSetProp": {_A},
        "mgmt.MgmtSvc/PoolGetProp": {_A},
        "mgmt.MgmtSvc/ListPools": {_A},
        "mgmt.MgmtSvc/ListContainers": {_A},
    }.items()
}


class Method(NamedTuple):
    """A dRPC method where it is answered."""

    listener: Component
    module: int
    number: int


_AT_AGENT: Final = frozenset(
    {
        MgmtMethod.GET_ATTACH_INFO,
        MgmtMethod.NOTIFY_EXIT,
        MgmtMethod.NOTIFY_POOL_CONNECT,
        MgmtMethod.NOTIFY_POOL_DISCONNECT,
    }
)

DRPC: Final[dict[Method, Component]] = {
    Method(Component.SERVER, ModuleId.SRV, SrvMethod.NOTIFY_READY): Component.ENGINE,
    **{
        Method(Component.AGENT, ModuleId.MGMT, number): Component.CLIENT
        for number in sorted(_AT_AGENT)
    },
    **{
        Method(Component.ENGINE, ModuleId.MGMT, number): Component.SERVER
        for number in MgmtMethod
        if number not in _AT_AGENT
    },
}


def may_call(method: str, component: str) -> bool:
    """Whether a peer that says it is `component` may call the gRPC method `service/Method`."""
    return component in GRPC.get(method, frozenset())


_VERSION: Final = re.compile(r"(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?")
_PAIR: Final = frozenset({Component.SERVER, Component.AGENT})
_MINORS: Final = 2


def compatible(ours: tuple[str, str], theirs: tuple[str, str]) -> bool:
    """Whether two (component, version) may talk to each other. A version that is none may not.

    Server and agent may be two minor versions apart, all others differ in their patch only.
    """
    mine, other = _VERSION.match(ours[1]), _VERSION.match(theirs[1])
    if mine is None or other is None or mine[1] != other[1]:
        return False
    apart = abs(int(mine[2]) - int(other[2]))
    return apart <= (_MINORS if {ours[0], theirs[0]} == _PAIR else 0)


def system_name(asked: str) -> str:
    """The name in the field `sys` of a request, which may carry a version: `name-2.4.0`."""
    name, dash, tail = asked.rpartition("-")
    return name if dash and _VERSION.fullmatch(tail) else asked

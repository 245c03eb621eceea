"""What a module is: everything that a rank can be asked for, in pieces that are loaded by name.

    init ── serve_system, serve_target, answer_drpc ── setup ─ … ─ cleanup ── fini
    process  what it answers, on each xstream          the rank           process

A module derives from `Module` and overrides what it has something for. Its object belongs to one
rank: where targets are processes, each has a copy, made when the process was.

Source: DAOS src/include/daos_srv/daos_engine.h "struct dss_module"
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Flag
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from daos.engine.access import Access

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from daos.base.peers import Peer
    from daos.cart.protocol import Procedure
    from daos.drpc.registry import M
    from daos.engine.control import Control
    from daos.engine.rank import Engine
    from daos.engine.sched import Attributes
    from daos.engine.target import Target
    from daos.engine.tls import TlsKey
    from daos.engine.xstream import Xstream


class Facility(Flag):
    """What a module wants from its engine. Source: DAOS DSS_FAC_LOAD_CLI"""

    NONE = 0
    LOAD_CLIENT = 1  # it calls other ranks as a client does


class DrpcTable(Protocol):
    """Where a module's dRPC methods are told."""

    def add(
        self,
        module: int,
        method: int,
        request: type[M],
        answer: Callable[[M, Peer], Awaitable[Message | None]],
    ) -> None:
        """Answer `method` of dRPC module `module`. Raises: ExistsError, InvalidError"""


class Module:
    """See the module."""

    name: ClassVar[str]  # as it is loaded by; at most 32 characters
    id: ClassVar[int]  # of its procedures' opcodes
    version: ClassVar[int]
    facilities: ClassVar[Facility] = Facility.NONE
    access: ClassVar[Access] = {}  # who may call its procedures
    # Requests to a target that wait for their turn where there are too many; all others never do.
    # Each names a handle, `address.handle`, and has an `enqueue_id`.
    scheduled: ClassVar[Mapping[Procedure, Attributes]] = {}
    key: ClassVar[TlsKey[Any] | None] = None
    metrics: ClassVar[tuple[str, ...]] = ()  # each xstream has them, as <name>/<metric>

    def init(self) -> None:
        """Once a process, before it has a loop, a thread or a child."""

    def fini(self) -> None:
        """The opposite of `init`."""

    def serve_system(self, xstream: Xstream) -> None:
        """Register what is answered at tag 0 of the rank."""

    def serve_target(self, target: Target) -> None:
        """Register what is answered at a target's tag; called once a target."""

    def answer_drpc(self, table: DrpcTable, control: Control) -> None:
        """Register what the server of this host may ask of the engine."""

    async def setup(self, engine: Engine) -> None:
        """The rank is in the system, its targets can be reached. An error ends its start."""

    async def cleanup(self, engine: Engine) -> None:
        """The opposite of `setup`, also where that failed: nobody can be answered any more."""

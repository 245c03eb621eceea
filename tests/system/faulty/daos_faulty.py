"""A module with a bug: a request that names no key of its table ends in a KeyError."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from daos.cart.context import Rpc
from daos.cart.protocol import Procedure, opcode
from daos.engine.access import Access, Caller
from daos.engine.module import Module
from daos.engine.service import answering
from daos.engine.target import Target

MODULE_ID: Final = 61


class Ask(msgspec.Struct, array_like=True, frozen=True):
    key: int


ASK: Final = Procedure("faulty_ask", opcode(MODULE_ID, 1, 0), Ask, Ask)


class FaultyModule(Module):
    """Answers 1 with 2, and has not thought of anything else."""

    name = "faulty"
    id = MODULE_ID
    version = 1
    access: ClassVar[Access] = {ASK: Caller.CLIENT}

    def serve_target(self, target: Target) -> None:
        async def ask(rpc: Rpc[Ask, Ask]) -> Ask:
            return Ask({1: 2}[rpc.request.key])

        target.xstream.context.serve(ASK, answering(ask))

"""A module of one's own: named counters on every target, by RPC; their sum, by dRPC.

pip install ./examples/counter, then say `-m mgmt,pool,cont,obj,counter` to daos_engine.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import Int64Value

from daos.base.ids import TargetIndex, tag_of
from daos.base.peers import Peer
from daos.cart.context import Endpoint, Rpc
from daos.cart.protocol import Procedure, opcode
from daos.drpc.modules import ModuleId
from daos.engine.access import Access, Caller
from daos.engine.collective import ask_targets
from daos.engine.control import Control
from daos.engine.module import DrpcTable, Module
from daos.engine.service import answering
from daos.engine.target import Target
from daos.engine.tls import TlsKey, XstreamKind

MODULE_ID: Final = 60  # those of DAOS are below 14, the largest is 63
VERSION: Final = 1
TOTAL, TOTAL_S = 1, 10  # dRPC method, of the module that is kept for others; its time


class Add(msgspec.Struct, array_like=True, frozen=True):
    """Add `by`, 0 to look, to the counter `name`, "" for all counters together."""

    name: str
    by: int = 0


class Value(msgspec.Struct, array_like=True, frozen=True):
    value: int


ADD: Final = Procedure("counter_add", opcode(MODULE_ID, VERSION, 0), Add, Value)
COUNTERS: Final = TlsKey[dict[str, int]]("counter", XstreamKind.TARGET, lambda xstream: {})


class CounterModule(Module):
    """Counters live in memory: those of a target are gone with it."""

    name = "counter"
    id = MODULE_ID
    version = VERSION
    access: ClassVar[Access] = {ADD: Caller.CLIENT}
    key = COUNTERS
    metrics = ("added",)

    def serve_target(self, target: Target) -> None:
        counters = target.xstream.value(COUNTERS)
        added = target.xstream.metrics.add("counter/added")

        async def add(rpc: Rpc[Add, Value]) -> Value:
            if not (name := rpc.request.name):
                return Value(sum(counters.values()))
            added.value += 1
            counters[name] = counters.get(name, 0) + rpc.request.by
            return Value(counters[name])

        target.xstream.context.serve(ADD, answering(add))

    def answer_drpc(self, table: DrpcTable, control: Control) -> None:
        async def total(request: Empty, peer: Peer) -> Int64Value:
            engine, xstream = control.engine, control.engine.xstream
            count = next(each.targets for each in engine.members if each.rank == engine.rank)
            targets = [Endpoint(engine.rank, tag_of(TargetIndex(n))) for n in range(count)]
            late = engine.clock.now_ns() + TOTAL_S * 10**9
            values = await ask_targets(xstream, targets, ADD, Add(""), deadline_ns=late, trace_id=0)
            return Int64Value(value=sum(each.value for each in values))

        table.add(ModuleId.TEST, TOTAL, Empty, total)

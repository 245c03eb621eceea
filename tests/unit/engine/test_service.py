"""What services share."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import UUID

import pytest

from daos.base.errors import BusyError, InvalidError, NvmeIoError
from daos.base.ids import Rank
from daos.cart.context import Endpoint
from daos.engine.service import ask_targets, parse_id, target_endpoints
from daos.engine.xstream import Xstream
from daos.mgmt import wire
from daos.placement.pool_map import PoolMap

TARGETS = target_endpoints(PoolMap.initial([("host", [(Rank(0), 4)])]))


class Answers:
    """Stands where an xstream's context does: answers, refuses, counts."""

    def __init__(self, refusals: dict[int, Exception]) -> None:
        self.context = self
        self.refusals = refusals
        self.answered: list[int] = []
        self.running = 0

    async def call(self, endpoint: Endpoint, *_: object, **__: object) -> wire.Empty:
        self.running += 1
        for _turn in range(endpoint.tag):  # each takes longer than the one before it
            await asyncio.sleep(0)
        self.running -= 1
        self.answered.append(endpoint.tag)
        if endpoint.tag in self.refusals:
            raise self.refusals[endpoint.tag]
        return wire.Empty()

    async def ask(self) -> list[wire.Empty]:
        request = wire.TargetOpenRequest(bytes(16))
        xstream = cast("Xstream", self)
        return await ask_targets(
            xstream, TARGETS, wire.TGT_OPEN, request, deadline_ns=1, trace_id=0
        )


def test_every_target_in_the_order_of_the_map() -> None:
    assert [Endpoint(Rank(0), cast("Any", tag)) for tag in (1, 2, 3, 4)] == TARGETS


def test_all_answer() -> None:
    answers = Answers({})
    assert len(asyncio.run(answers.ask())) == 4


def test_a_failure_is_told_when_all_have_answered() -> None:
    answers = Answers({2: BusyError("first"), 3: NvmeIoError("second")})

    async def run() -> None:
        with pytest.raises(BusyError, match="first"):
            await answers.ask()
        assert answers.answered == [1, 2, 3, 4]
        assert answers.running == 0

    asyncio.run(run())


def test_a_cancelled_caller_leaves_no_call_behind() -> None:
    answers = Answers({})

    async def run() -> None:
        task = asyncio.ensure_future(answers.ask())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert answers.answered == []

    asyncio.run(run())


def test_ids_have_16_bytes() -> None:
    assert parse_id(bytes(16), "pool") == UUID(int=0)
    for raw in (b"", bytes(15), bytes(17)):
        with pytest.raises(InvalidError, match="pool id"):
            parse_id(raw, "pool")

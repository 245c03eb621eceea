"""One question to many targets. The rules are typed from the reference, §2.5."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from daos.base.errors import BusyError, CanceledError, InvalidError, NvmeIoError
from daos.base.ids import Rank
from daos.cart.context import Endpoint
from daos.engine.collective import ask_targets, bitmap_without, reduce_targets
from daos.engine.service import target_endpoints
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

    async def ask(self, bitmap: int | None = None, count: int = 4) -> list[wire.Empty]:
        request = wire.TargetOpenRequest(bytes(16))
        return await ask_targets(
            cast("Xstream", self),
            TARGETS[:count],
            wire.TGT_OPEN,
            request,
            bitmap=bitmap,
            deadline_ns=1,
            trace_id=0,
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


@pytest.mark.parametrize(
    ("excluded", "bitmap", "asked"),
    [
        ([], 0b1111, [1, 2, 3, 4]),
        ([0, 2], 0b1010, [2, 4]),
        ([1, 2, 3, 9], 0b0001, [1]),
    ],
)
def test_who_is_excluded_is_passed_over(excluded: list[int], bitmap: int, asked: list[int]) -> None:
    answers = Answers({target: BusyError("not asked") for target in {1, 2, 3, 4} - {*asked}})
    assert bitmap_without(4, excluded) == bitmap
    assert len(asyncio.run(answers.ask(bitmap))) == len(asked)
    assert answers.answered == asked


def test_nobody_to_ask() -> None:
    for bitmap, count in ((0, 4), (None, 0), (0, 0)):
        with pytest.raises(CanceledError, match="none of"):
            asyncio.run(Answers({}).ask(bitmap, count))


def test_bits_for_targets_that_are_not_there() -> None:
    for bitmap in (0b10000, -1):
        with pytest.raises(InvalidError, match="beyond 4 targets"):
            asyncio.run(Answers({}).ask(bitmap))
    with pytest.raises(InvalidError, match="-1 is no number"):
        bitmap_without(4, [-1])


def test_replies_become_one_in_the_order_of_the_targets() -> None:
    class Numbers(Answers):
        async def call(self, endpoint: Endpoint, *_: object, **__: object) -> Any:  # noqa: ANN401 not what is asked for
            for _turn in range(5 - endpoint.tag):  # the last is the first to answer
                await asyncio.sleep(0)
            return endpoint.tag

    found = reduce_targets(
        cast("Xstream", Numbers({})),
        TARGETS,
        wire.TGT_OPEN,
        wire.TargetOpenRequest(bytes(16)),
        add=lambda text, reply: f"{text}{reply}",
        start="",
        bitmap=0b1011,
        deadline_ns=1,
        trace_id=0,
    )
    assert asyncio.run(found) == "124"

"""One question to many targets, all at once, and one answer.

    targets   0   1   2   3   …      asked where the bitmap has a bit; the others are passed over,
    bitmap    1   0   1   1   …      as if they had answered well
              └────┬──┴───┘
                 reduce               replies in the order of the targets, whoever was first

Every answer is awaited, also after a failure: a caller who goes on to undo what was done meets no
target that is still at it, unless the deadline passed.

    an error of a target      the first one's, in the order of the targets
    no target to be asked     CanceledError

Source: DAOS src/engine/ult.c dss_collective_reduce, dss_build_coll_bitmap; targets are processes,
and asked by RPC: ours
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any, TypeVar

import msgspec

from daos.base.errors import CanceledError, InvalidError
from daos.cart.context import Endpoint
from daos.cart.protocol import Procedure
from daos.engine.xstream import Xstream

_ReplyT = TypeVar("_ReplyT", bound=msgspec.Struct)
_SumT = TypeVar("_SumT")


def bitmap_without(count: int, excluded: Iterable[int]) -> int:
    """A bit for each of `count` targets but these, which need not be there. Raises: InvalidError"""
    bitmap = (1 << count) - 1
    for number in excluded:
        if number < 0:
            raise InvalidError(f"{number} is no number of a target")
        bitmap &= ~(1 << number)
    return bitmap


async def ask_targets(
    xstream: Xstream,
    targets: Sequence[Endpoint],
    procedure: Procedure[Any, _ReplyT],
    request: msgspec.Struct,
    *,
    bitmap: int | None = None,
    deadline_ns: int,
    trace_id: int,
) -> list[_ReplyT]:
    """The replies of those that were asked, in their order; without `bitmap` all are.

    Raises: CanceledError  there is none to ask
            InvalidError   the bitmap has a bit for a target that is not there
            the first target's error
    """
    asked = _chosen(targets, bitmap)
    if not asked:
        raise CanceledError(f"{procedure.name}: none of {len(targets)} targets is to be asked")
    answers = await asyncio.gather(
        *(
            xstream.context.call(
                endpoint, procedure, request, deadline_ns=deadline_ns, trace_id=trace_id
            )
            for endpoint in asked
        ),
        return_exceptions=True,
    )
    replies: list[_ReplyT] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        replies.append(answer)
    return replies


async def reduce_targets(
    xstream: Xstream,
    targets: Sequence[Endpoint],
    procedure: Procedure[Any, _ReplyT],
    request: msgspec.Struct,
    *,
    add: Callable[[_SumT, _ReplyT], _SumT],
    start: _SumT,
    bitmap: int | None = None,
    deadline_ns: int,
    trace_id: int,
) -> _SumT:
    """`ask_targets`, and what `add` makes of `start` and the replies."""
    replies = await ask_targets(
        xstream,
        targets,
        procedure,
        request,
        bitmap=bitmap,
        deadline_ns=deadline_ns,
        trace_id=trace_id,
    )
    return reduce(add, replies, start)


def _chosen(targets: Sequence[Endpoint], bitmap: int | None) -> list[Endpoint]:
    if bitmap is None:
        return list(targets)
    if bitmap < 0 or bitmap >> len(targets):
        raise InvalidError(f"bitmap {bitmap:#x} has bits beyond {len(targets)} targets")
    return [endpoint for number, endpoint in enumerate(targets) if bitmap >> number & 1]

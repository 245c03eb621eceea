"""Where a writer's records go behind the last one of an array, when others append as well.

Two writers that ask for the size hear the same number, and would write over each other. A *claim*
parts them: a key that is the offset, whose value says how many records somebody puts there. It is
inserted on the condition that it is not there, so one writer has an offset. Claims are keys of an
object of their own, whose id is the array's but for the type, KV_UINT64.

    size E ──▶ claim E ──ours──▶ size still ≤ E ──▶ write [E, E + n) ──▶ drop the claim
                  │                   └─ no: another was there before us; drop, from the new size
                  └─ taken for m: claim E + m

Invariants:
    W1  a claim is dropped only after its records are written, or certainly won't be; the last of
        them is written before all others, so that no size is ever within a claim
    W2  who has claimed an offset asks for the size again: whoever had the offset before has dropped
        its claim, so its records show in the size
    W3  nobody waits for anybody: a writer that died leaves its range empty, zeros that are read
        where others wrote behind it

Claims know nothing of `write` and `resize`: who cuts an array while others append may lose what
they append.

Source: ours; the reference has no append
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from daos.base.errors import ExistsError, NotFoundError
from daos.base.ids import ObjectId, ObjectType
from daos.base.iod import Cond, Iod, IodType
from daos.client.chunks import AKEY, CLAIM_SIZE, claim_key, emit_claim, parse_claim
from daos.client.landing import ValueLanding
from daos.client.objectio import ObjectIo, settle_epoch, settle_fetch
from daos.client.session import Call

_NEW: Final = int(Cond.KEY_INSERT)
_THERE: Final = int(Cond.KEY_GET)


def claims_of(oid: ObjectId) -> ObjectId:
    """The object that holds the claims on an array."""
    return ObjectId.encode(
        user_hi=oid.user_hi,
        lo=oid.lo,
        type=ObjectType.KV_UINT64,
        redundancy=oid.redundancy,
        groups=oid.groups,
    )


def array_of(claims: ObjectId) -> ObjectId | None:
    """The byte array that an object would hold the claims on; None: it is of another type."""
    return (
        ObjectId.encode(
            user_hi=claims.user_hi,
            lo=claims.lo,
            type=ObjectType.ARRAY_BYTE,
            redundancy=claims.redundancy,
            groups=claims.groups,
        )
        if claims.hi >> 56 == ObjectType.KV_UINT64
        else None
    )


async def claim(
    io: ObjectIo, size: Callable[[Call], Awaitable[int]], count: int, call: Call
) -> int:
    """An offset at or behind the end where nobody else appends `count` records now.

    `io` reaches the claims, `size` asks for the array's.

    Raises: DeadlineError  others were always faster
    """
    offset = await size(call)
    while True:
        if await _insert(io, offset, count, call):
            end = await size(call)
            if end <= offset:
                return offset
            await drop(io, offset, call)
            offset = end
        elif taken := await _taken(io, offset, call):
            offset += taken
        else:  # dropped since
            offset = max(offset, await size(call))


async def drop(io: ObjectIo, offset: int, call: Call) -> None:
    """Let go of a claim."""
    await settle_epoch(io.punch(claim_key(offset), call=call))


async def _insert(io: ObjectIo, offset: int, count: int, call: Call) -> bool:
    value = memoryview(emit_claim(count))
    iod = Iod(AKEY, IodType.SINGLE, CLAIM_SIZE)
    try:
        await settle_epoch(io.update(claim_key(offset), (iod,), [value], cond=_NEW, call=call))
    except ExistsError:
        return False
    return True


async def _taken(io: ObjectIo, offset: int, call: Call) -> int:
    """For how many records; 0: the claim is not there any more."""
    landing = ValueLanding()
    iod = Iod(AKEY, IodType.SINGLE, 0)
    try:
        await settle_fetch(io.fetch(claim_key(offset), (iod,), landing, cond=_THERE, call=call))
    except NotFoundError:
        return 0
    return parse_claim(landing.value)

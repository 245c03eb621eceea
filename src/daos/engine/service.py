"""What every service does alike: answer, and read ids that came by wire.

A handler is a coroutine function that returns its reply; `answering` makes an RPC handler of it.
`engines_only` refuses clients: procedures between engines act on storage without any handle.
Source: DAOS src/engine/rpc.c, src/common/rsvc.c; who may call what: ours, denied by default.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from daos.base.errors import DER, AccessError, InvalidError
from daos.base.ids import PoolUuid, tag_of
from daos.cart.context import NO_RANK, Endpoint, Rpc
from daos.placement.pool_map import PoolMap

ID_SIZE: Final = 16  # bytes of a UUID on the wire

# What a target says, or does not say, whose engine is down, has just started, or lives in another
# time: it joins later.
NOT_THERE: Final = frozenset({DER.TIMEDOUT, DER.CANCELED, DER.UNREACH, DER.AGAIN, DER.HLC_SYNC})

_ReplyT = TypeVar("_ReplyT", bound=msgspec.Struct)

Handle = Callable[[Rpc], Coroutine[Any, Any, msgspec.Struct]]


def answering(handle: Handle) -> Callable[[Rpc], Coroutine[Any, Any, None]]:
    """A handler that replies with what `handle` returns."""

    async def handler(rpc: Rpc) -> None:
        rpc.reply(await handle(rpc))

    return handler


def engines_only(handle: Handle) -> Callable[[Rpc], Coroutine[Any, Any, None]]:
    """As `answering`, for procedures that clients may not call. Raises: AccessError."""

    async def handler(rpc: Rpc) -> None:
        if rpc.source.rank == NO_RANK:
            raise AccessError(f"{rpc.procedure.name} is between engines; clients may not call it")
        rpc.reply(await handle(rpc))

    return handler


def target_endpoints(pool_map: PoolMap) -> list[Endpoint]:
    """Every target of a pool, in the order of their ids."""
    return [Endpoint(target.rank, tag_of(target.index)) for target in pool_map.targets]


def parse_id(raw: bytes, what: str) -> UUID:
    """An id off the wire. Raises: InvalidError unless it has 16 bytes."""
    if len(raw) != ID_SIZE:
        raise InvalidError(f"{what} id has {len(raw)} bytes; expected {ID_SIZE}")
    return UUID(bytes=raw)


def parse_pool_id(raw: bytes) -> PoolUuid:
    """A pool's id off the wire. Raises: InvalidError."""
    return PoolUuid(parse_id(raw, "pool"))

"""What all ranks of a pool know of it while somebody is connected: its map, and properties.

    connect, the first one --> name space made, spread
    change of map, of properties --> committed --> spread to all ranks, then answered
    disconnect, the last one --> name space ended

On a rank, targets are told what its entries say (`register`). A change while nobody is connected
has a name space of its own, for as long as it is spread.

Source: DAOS src/pool/srv_iv.c; ours: from the first connect to the last disconnect
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from daos.base.errors import InvalidError
from daos.cart.context import Endpoint
from daos.engine.collective import ask_targets
from daos.engine.copies import Turns
from daos.engine.iv import IV_KEY
from daos.engine.iv_class import EntryClass
from daos.engine.iv_core import Entry, IvClass, NameSpace
from daos.engine.xstream import Xstream
from daos.placement.pool_map import PoolMap
from daos.pool import wire

_PROPS: Final = msgspec.msgpack.Decoder(dict[str, str])
# Properties that targets act on.
_TOLD: Final = ("reclaim",)


class State(NamedTuple):
    """A pool, as its service knows it."""

    pool_map: PoolMap
    props: dict[str, str]
    handles: int


class Spreading:
    """The name space of one pool, at its service."""

    def __init__(self, xstream: Xstream, pool: bytes, read: Callable[[], Awaitable[State]]) -> None:
        """`read`: the pool as it is now."""
        self._iv = xstream.value(IV_KEY)
        self._pool = pool
        self._read = read
        self._turns = Turns()
        self._changing = 0
        self._revision = 0  # of the properties
        self._closed = False

    async def settle(self) -> None:
        """Make the name space, or end it: there is one while somebody needs it."""
        async with self._turns.turn(self._pool):
            state = await self._read()
            self._settle(state)

    async def renew(self) -> None:
        """The service has started: ranks may have something of a name space from before."""
        async with self._turns.turn(self._pool):
            state = await self._read()
            self._start(state)
            self._settle(state)

    async def invalidate(self, number: IvClass, keys: Sequence[bytes], *, deadline_ns: int) -> None:
        """Entries that are gone; nobody has one on return.

        Raises: what the first rank says that could not be told; it hears of it later
        """
        await self._iv.invalidate(self._pool, number, keys, deadline_ns=deadline_ns)

    async def await_told(self) -> None:
        """Until all know what they have missed. Raises: what the first rank says that does not"""
        await self._iv.settle(self._pool)

    def close(self) -> None:
        """The pool is destroyed."""
        self._closed = True
        self._iv.stop(self._pool)

    def _settle(self, state: State) -> None:
        needed = (state.handles > 0 or self._changing > 0) and not self._closed
        if needed == self._iv.masters(self._pool):
            return
        if not needed:
            self._iv.stop(self._pool)
        else:
            self._start(state)

    def _start(self, state: State) -> None:
        members = [(rank.rank, len(rank.targets)) for rank in state.pool_map.ranks()]
        entries: dict[int, Entry] = {
            IvClass.POOL_MAP: _map_entry(state),
            IvClass.POOL_PROP: self._props(state),
        }
        self._iv.start(self._pool, members, entries)

    async def changed(self, number: IvClass, *, deadline_ns: int) -> None:
        """Let all ranks know what has been committed.

        Raises: what the first rank says that could not be told; it hears of it later
        """
        self._changing += 1
        try:
            async with self._turns.turn(self._pool):
                state = await self._read()
                self._settle(state)
                is_map = number is IvClass.POOL_MAP
                entry = _map_entry(state) if is_map else self._props(state)
            if not self._closed:
                await self._iv.update(self._pool, number, entry, deadline_ns=deadline_ns)
        finally:
            self._changing -= 1
            await self.settle()

    def _props(self, state: State) -> Entry:
        self._revision += 1
        told = {name: state.props[name] for name in _TOLD}
        return Entry(self._revision, msgspec.msgpack.encode(told))


def _map_entry(state: State) -> Entry:
    return Entry(state.pool_map.version, state.pool_map.emit())


class MapClass(EntryClass):
    """The pool map; the version of an entry is the map's."""

    number = IvClass.POOL_MAP
    spread = True

    def __init__(self, xstream: Xstream) -> None:
        self._xstream = xstream

    async def refresh(
        self, space: NameSpace, entry: Entry, targets: Sequence[Endpoint], deadline_ns: int
    ) -> None:
        PoolMap.parse(entry.value)
        await ask_targets(
            self._xstream,
            targets,
            wire.TGT_MAP,
            wire.TargetMapRequest(space.head.pool, *entry),
            deadline_ns=deadline_ns,
            trace_id=0,
        )


class PropertiesClass(EntryClass):
    """Properties that targets act on."""

    number = IvClass.POOL_PROP
    spread = True

    def __init__(self, xstream: Xstream) -> None:
        self._xstream = xstream

    async def refresh(
        self, space: NameSpace, entry: Entry, targets: Sequence[Endpoint], deadline_ns: int
    ) -> None:
        await ask_targets(
            self._xstream,
            targets,
            wire.TGT_RECLAIM,
            wire.TargetReclaimRequest(space.head.pool, _parse(entry.value)["reclaim"]),
            deadline_ns=deadline_ns,
            trace_id=0,
        )


def register(xstream: Xstream) -> None:
    """Have the targets of this rank told what its entries of pools say."""
    iv = xstream.value(IV_KEY)
    iv.register(MapClass(xstream))
    iv.register(PropertiesClass(xstream))


def _parse(value: bytes) -> dict[str, str]:
    """Raises: InvalidError"""
    try:
        props = _PROPS.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError(f"properties of a pool: {error}") from error
    if missing := set(_TOLD) - set(props):
        raise InvalidError(f"properties of a pool without {sorted(missing)}")
    return props

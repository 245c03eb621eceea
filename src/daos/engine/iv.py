"""Incast variables of a rank, on its system xstream: entries spread from the master, or fetched.

    master   start --put, eager or lazy--> … --stop-->      each spreads: SYNC, down the tree
    rank     SYNC --> own targets told --> entry held       and at the same time those below
             FETCH from a target --> held? else up the tree, to the master at last

A rank that can't be told is passed over: who is above it tells those below it. The master owes it
to the rank until it is told, or joins (`tell`). Whoever is told of the end forgets all of it.

Invariants: those of iv_core, and
    V4  an entry is held once all targets of the rank have been told
    V5  when every rank has been told of the end, nothing of a name space is left anywhere

Source: DAOS src/engine/server_iv.c, src/cart/crt_iv.c; ours: whom nobody can reach is told later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from daos.base.errors import DER, DaosError, InvalidError, NotFoundError, error_for
from daos.base.ids import SYSTEM_TAG, U32_MAX, U64_MAX, Rank
from daos.cart.context import Endpoint, Rpc
from daos.engine import iv_wire as wire
from daos.engine.copies import Turns
from daos.engine.iv_core import (
    Entry,
    Head,
    IvClass,
    Known,
    Mastered,
    NameSpace,
    check_order,
    children,
    stale,
    tree_order,
)
from daos.engine.later import Later
from daos.engine.service import engines_only, parse_pool_id
from daos.engine.tls import TlsKey, XstreamKind
from daos.engine.xstream import Xstream

log = logging.getLogger(__name__)

# One round along the tree, where no client waits for it.
SPREAD_NS: Final = 8 * 1_000_000_000
TARGETS_MAX: Final = 1 << 12  # of a rank

# Tells the targets of this rank what an entry says, until a deadline.
Apply = Callable[[NameSpace, Entry, int], Awaitable[None]]
# Ranks that were not told, each with a DER code.
Missed = list[tuple[int, int]]


class Iv:
    """See the module."""

    def __init__(self, xstream: Xstream) -> None:
        self._xstream = xstream
        self._classes: dict[int, Apply] = {}
        self._known = Known()
        self._mastered: dict[bytes, Mastered] = {}
        self._owed = Later(xstream)
        self._turns = Turns()

    def __len__(self) -> int:
        """Of what there is to be told or remembered: 0 where no name space has a trace."""
        return len(self._known) + len(self._mastered) + len(self._owed)

    def serve(self) -> None:
        """Answer other ranks, and the targets of this one."""
        self._xstream.context.serve(wire.FETCH, engines_only(self._fetch))
        self._xstream.context.serve(wire.SYNC, engines_only(self._sync))

    def register(self, number: IvClass, apply: Apply) -> None:
        """Entries of this class are told to targets by `apply`."""
        self._classes[number] = apply

    def close(self) -> None:
        """Give up what is owed."""
        self._owed.close()

    # The master

    def masters(self, pool: bytes) -> bool:
        """Whether the name space of a pool is kept here."""
        mastered = self._mastered.get(pool)
        return mastered is not None and not mastered.over

    def start(
        self,
        pool: bytes,
        members: Sequence[tuple[Rank, int]],
        entries: Mapping[int, Entry],
    ) -> None:
        """Make a name space; all ranks hear of it soon."""
        head = Head(pool, self._xstream.rank, self._xstream.hlc.now(), tuple(members))
        self._mastered[pool] = Mastered(head, dict(entries))
        self._spread_soon(pool)

    def stop(self, pool: bytes) -> None:
        """End a name space, if there is one; all ranks hear of it soon."""
        if self.masters(pool):
            self._mastered[pool].end()
            self._spread_soon(pool)

    async def update(self, pool: bytes, number: IvClass, entry: Entry, *, deadline_ns: int) -> None:
        """Change an entry; every rank has been told on return. Whoever has not is told later.

        Raises: NotFoundError; what the first rank says that could not be told
        """
        if not self.masters(pool):
            raise NotFoundError(f"rank {self._xstream.rank} keeps no name space of {pool.hex()}")
        mastered = self._mastered[pool]
        mastered.put(number, entry)
        await self._send(mastered, [rank for rank, _ in mastered.head.members], deadline_ns)

    async def tell(self, pool: bytes, rank: Rank) -> None:
        """Tell a rank that has started. Raises: what it says"""
        if self.masters(pool):
            await self._send(self._mastered[pool], [rank], self._own_deadline_ns())

    def _spread_soon(self, pool: bytes) -> None:
        async def spread() -> None:
            seen: object = None
            while (mastered := self._mastered.get(pool)) is not None and mastered.untold:
                if seen == (mastered, mastered.changes):
                    return  # what is left is owed
                seen = mastered, mastered.changes
                try:
                    await self._spread(pool)
                except DaosError as error:
                    log.info("pool %s is told later: %s", pool.hex(), error)

        self._owed.add(pool + b"now", spread, at_once=True)

    async def _spread(self, pool: bytes) -> None:
        """Tell whoever has not been told, until there is none. Raises: what the first one says"""
        while (mastered := self._mastered.get(pool)) is not None and mastered.untold:
            await self._send(mastered, sorted(mastered.untold), self._own_deadline_ns())

    async def _send(self, mastered: Mastered, ranks: Sequence[Rank], deadline_ns: int) -> None:
        """One round: these ranks hear of all there is. What is missed is owed.

        Raises: what the first one missed says
        """
        head = mastered.head
        entries = [wire.WireEntry(number, *each) for number, each in mastered.entries.items()]
        request = wire.SyncRequest(
            *head, tuple(tree_order(head.master, ranks)), tuple(entries), mastered.over
        )
        mastered.untold.difference_update(ranks)
        mastered.rounds += 1
        try:
            missed = await self._pass_on(request, 0, deadline_ns)
        finally:
            mastered.rounds -= 1
        mastered.untold.update(Rank(rank) for rank, _ in missed)
        if mastered.finished and self._mastered.get(head.pool) is mastered:
            del self._mastered[head.pool]
        if missed:
            self._owed.add(head.pool, lambda: self._spread(head.pool))
            rank, code = missed[0]
            raise error_for(code, f"rank {rank} was not told of pool {head.pool.hex()}")

    # Every rank

    async def _sync(self, rpc: Rpc[wire.SyncRequest]) -> wire.SyncReply:
        request = rpc.request
        own = self._xstream.rank
        if not check_order([Rank(each) for each in request.ranks], _head(request)):
            raise InvalidError("ranks of a name space: the master, then others, each once")
        if own not in request.ranks:
            raise InvalidError(f"rank {own} is not in the tree")
        missed = await self._pass_on(request, request.ranks.index(own), rpc.deadline_ns)
        return wire.SyncReply(tuple(missed))

    async def _pass_on(self, request: wire.SyncRequest, position: int, deadline_ns: int) -> Missed:
        """Take it, and tell those below `position`, where this rank is; who was not told."""
        below = children(position, len(request.ranks))
        found = await asyncio.gather(
            self._take_or_miss(request, deadline_ns),
            *(self._tell(request, each, deadline_ns) for each in below),
        )
        return [each for some in found for each in some]

    async def _tell(self, request: wire.SyncRequest, position: int, deadline_ns: int) -> Missed:
        """Have who is at `position` take it and pass it on; else those below it are told here."""
        rank = Rank(request.ranks[position])
        now_ns = self._xstream.clock.now_ns()
        try:
            reply = await self._xstream.context.call(
                Endpoint(rank, SYSTEM_TAG),
                wire.SYNC,
                request,
                deadline_ns=(now_ns + deadline_ns) // 2,  # some is left for those below
            )
        except DaosError as error:
            missed: Missed = [(rank, int(error.code))]
            for each in children(position, len(request.ranks)):
                missed += await self._tell(request, each, deadline_ns)
            return missed
        return list(reply.missed)

    async def _take_or_miss(self, request: wire.SyncRequest, deadline_ns: int) -> Missed:
        try:
            await self._take(request, deadline_ns)
        except DaosError as error:
            return [(self._xstream.rank, int(error.code))]
        return []

    async def _take(self, request: wire.SyncRequest, deadline_ns: int) -> None:
        if request.end:
            self._known.end(request.pool, request.term)
            return
        space = self._known.take(_head(request))
        for each in request.entries:
            async with self._turns.turn((request.pool, each.number)):
                await self._hold(space, each.number, Entry(each.version, each.value), deadline_ns)

    async def _hold(self, space: NameSpace, number: int, entry: Entry, deadline_ns: int) -> None:
        """Tell our targets, then keep it. In the entry's turn. Raises: InvalidError (class)"""
        apply = self._classes.get(number)
        if apply is None:
            raise InvalidError(f"entries of class {number} are unknown")
        if not space.is_old(number, entry):
            await apply(space, entry, deadline_ns)  # once more: a target may have opened a shard
            space.entries[number] = entry

    async def _fetch(self, rpc: Rpc[wire.FetchRequest]) -> wire.FetchReply:
        """The entry as it is here, if it is new enough; else as it is above."""
        request = rpc.request
        parse_pool_id(request.pool)
        space = self._known.find(request.pool)
        if request.term not in (0, space.head.term):
            raise stale(request.pool, request.term)
        async with self._turns.turn((request.pool, request.number)):
            entry = space.find(request.number, request.at_least)
            if entry is None and space.head.master == self._xstream.rank:
                entry = space.find(request.number, 0)
            elif entry is None:
                entry = await self._ask_above(space, request, rpc.deadline_ns)
                await self._hold(space, request.number, entry, rpc.deadline_ns)
        if entry is None:
            raise NotFoundError(f"entries of class {request.number} are not set")
        return wire.FetchReply(*entry)

    async def _ask_above(
        self, space: NameSpace, request: wire.FetchRequest, deadline_ns: int
    ) -> Entry:
        """Raises: what the master says, or DaosError UNREACH, TIMEDOUT"""
        request = wire.FetchRequest(request.pool, space.head.term, request.number, request.at_least)
        failure = DaosError("nobody is above", code=DER.UNREACH)
        for rank in space.above(self._xstream.rank):
            now_ns = self._xstream.clock.now_ns()
            try:
                reply = await self._xstream.context.call(
                    Endpoint(rank, SYSTEM_TAG),
                    wire.FETCH,
                    request,
                    deadline_ns=(now_ns + deadline_ns) // 2,
                )
            except DaosError as error:
                failure = error
            else:
                return Entry(reply.version, reply.value)
        raise failure

    def _own_deadline_ns(self) -> int:
        return self._xstream.clock.now_ns() + SPREAD_NS


IV_KEY: Final = TlsKey("iv", XstreamKind.SYSTEM, Iv, Iv.close)


def _head(request: wire.SyncRequest) -> Head:
    """Raises: InvalidError"""
    parse_pool_id(request.pool)
    members = tuple((Rank(rank), targets) for rank, targets in request.members)
    if not all(0 <= rank < U32_MAX and 0 < targets <= TARGETS_MAX for rank, targets in members):
        raise InvalidError("members of a name space are ranks with targets")
    if not 0 < request.term <= U64_MAX or not all(
        0 <= entry.version <= U64_MAX for entry in request.entries
    ):
        raise InvalidError("terms and versions are u64")
    return Head(request.pool, Rank(request.master), request.term, members)

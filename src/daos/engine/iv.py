"""Incast variables of a rank, on its system xstream: entries spread from the master, or fetched.

    master   start --put, eager or lazy; invalidate, eager--> … --stop-->  each: SYNC, down the tree
    rank     SYNC --> own targets told --> entry held, or forgotten        and those below meanwhile
             FETCH from a target --> held? else up the tree, to the master at last

A rank that can't be told is passed over: who is above it tells those below it. The master owes it
to the rank until it is told, or joins (`tell`). Whoever is told of the end forgets all of it. A
rank that has not been told of a name space yet, and is asked, finds it (FIND) where services run.

Invariants: those of iv_core, and
    V4  a spread entry is held once all targets of the rank have been told
    V5  when every rank has been told of the end, nothing of a name space is left anywhere
    V7  when an invalidation is answered, no rank and no target has the entry, or will get it: the
        master answers nothing else by then, a rank forgets before it tells those below, and who
        is given an entry is written down before
    V8  where one was not told, all forget everything that they had asked for, until one such round
        has reached all: who was not told may have told others meanwhile

Source: DAOS src/engine/server_iv.c, src/cart/crt_iv.c; ours: whom nobody can reach is told later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from daos.base.errors import (
    DER,
    AgainError,
    DaosError,
    ExistsError,
    InvalidError,
    NotFoundError,
    error_for,
)
from daos.base.ids import SYSTEM_TAG, U32_MAX, U64_MAX, PoolUuid, Rank, Tag
from daos.cart.context import Endpoint, Rpc
from daos.engine import iv_wire as wire
from daos.engine.copies import Turns
from daos.engine.iv_class import EntryClass
from daos.engine.iv_core import (
    EVERYTHING,
    Entry,
    Head,
    Held,
    Holders,
    Id,
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
# How long a target waits for what it asks its rank for.
ASK_NS: Final = 5 * 1_000_000_000
TARGETS_MAX: Final = 1 << 12  # of a rank
KEY_SIZE_MAX: Final = 48  # bytes, as in the reference
INVALID_MAX: Final = 1 << 12  # of one message; of more, all are forgotten

# Ranks that were not told, each with a DER code.
Missed = list[tuple[int, int]]


class Iv:
    """See the module."""

    def __init__(self, xstream: Xstream) -> None:
        self._xstream = xstream
        self._classes: dict[int, EntryClass] = {}
        self._known = Known()
        self._holders = Holders()
        self._mastered: dict[bytes, Mastered] = {}
        self._owed = Later(xstream)
        self._turns = Turns()
        self._services = Rank(0)  # who knows of pools that are unknown here
        self._joined = False

    def __len__(self) -> int:
        """Of what there is to be told or remembered: 0 where no name space has a trace."""
        return len(self._known) + len(self._mastered) + len(self._owed) + len(self._holders)

    def serve(self, services: Rank) -> None:
        """Answer other ranks, and the targets of this one. `services`: where those of pools run."""
        self._services = services
        self._xstream.context.serve(wire.FETCH, engines_only(self._fetch))
        self._xstream.context.serve(wire.SYNC, engines_only(self._sync))
        self._xstream.context.serve(wire.FIND, engines_only(self._answer_find))

    def joined(self) -> None:
        """What has no name space here from now on has none: the services have opened all pools."""
        self._joined = True

    def register(self, kind: EntryClass) -> None:
        """There are entries of this class. Raises: ExistsError, InvalidError (its number)"""
        if not 0 < kind.number <= U32_MAX:
            raise InvalidError(f"class {kind.number} of incast variables: a u32 above 0 expected")
        if kind.number in self._classes:
            raise ExistsError(f"class {kind.number} of incast variables is registered already")
        self._classes[kind.number] = kind

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
        """Make a name space with these spread entries; all ranks hear of it soon."""
        head = Head(pool, self._xstream.rank, self._xstream.hlc.now(), tuple(members))
        spread = {Id(number): entry for number, entry in entries.items()}
        self._mastered[pool] = Mastered(head, spread)
        self._known.take(head)
        self._spread_soon(pool)

    def stop(self, pool: bytes) -> None:
        """End a name space, if there is one; all ranks hear of it soon."""
        if self.masters(pool):
            self._mastered[pool].end()
            self._spread_soon(pool)

    async def update(self, pool: bytes, number: int, entry: Entry, *, deadline_ns: int) -> None:
        """Change a spread entry; every rank has been told on return. Whoever has not is told later.

        Raises: NotFoundError; what the first rank says that could not be told
        """
        if not self.masters(pool):
            raise NotFoundError(f"rank {self._xstream.rank} keeps no name space of {pool.hex()}")
        mastered = self._mastered[pool]
        mastered.put(Id(number), entry)
        await self._send(mastered, mastered.ranks, deadline_ns)

    async def invalidate(
        self, pool: bytes, number: int, keys: Sequence[bytes], *, deadline_ns: int
    ) -> None:
        """Entries that are gone; nobody has one on return. The class answers nothing else by now.

        Raises: what the first rank says that could not be told; it is, later
        """
        mastered = self._mastered.get(pool)
        if mastered is None or not keys:
            return  # all ranks know that it is over
        invalid = [Id(number, key) for key in keys]
        if len(invalid) > INVALID_MAX:
            invalid = [EVERYTHING]
        await self._send(mastered, mastered.ranks, deadline_ns, invalid=invalid, entries=False)

    async def settle(self, pool: bytes) -> None:
        """Have all ranks know what is owed them: nobody has what was invalid before.

        Raises: what the first rank says that could not be told
        """
        await self._spread(pool)

    async def tell(self, pool: bytes, rank: Rank) -> None:
        """Tell a rank that has started. Raises: what it says"""
        if self.masters(pool):
            await self._send(self._mastered[pool], [rank], self._own_deadline_ns())

    def _spread_soon(self, pool: bytes) -> None:
        async def spread() -> None:
            seen: object = None
            while (mastered := self._mastered.get(pool)) is not None and mastered.owes:
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
        while (mastered := self._mastered.get(pool)) is not None and mastered.owes:
            ranks, invalid = sorted(mastered.untold), list[Id]()
            if mastered.purging:
                mastered.purging = False
                ranks, invalid = mastered.ranks, [EVERYTHING]
            await self._send(mastered, ranks, self._own_deadline_ns(), invalid=invalid)

    async def _send(
        self,
        mastered: Mastered,
        ranks: Sequence[Rank],
        deadline_ns: int,
        *,
        invalid: Sequence[Id] = (),
        entries: bool = True,
    ) -> None:
        """One round: these ranks hear what is invalid, and of all there is. What is missed is owed.

        Raises: what the first one missed says
        """
        head = mastered.head
        told = [wire.WireEntry(*which, *entry) for which, entry in mastered.entries.items()]
        order = tuple(tree_order(head.master, ranks))
        request = wire.SyncRequest(
            *head, order, tuple(told if entries else ()), mastered.over, tuple(invalid)
        )
        if entries or mastered.over:
            mastered.untold.difference_update(ranks)
        mastered.rounds += 1
        try:
            missed = await self._pass_on(request, 0, deadline_ns)
        except asyncio.CancelledError:
            self._owe(mastered, ranks, invalid)
            raise
        finally:
            mastered.rounds -= 1
        if missed:
            self._owe(mastered, [Rank(rank) for rank, _ in missed], invalid)
        if any(code == DER.GRPVER for _, code in missed):
            self._renew(mastered)
        if mastered.finished and self._mastered.get(head.pool) is mastered:
            del self._mastered[head.pool]
        if missed:
            rank, code = missed[0]
            raise error_for(code, f"rank {rank} was not told of pool {head.pool.hex()}")

    def _owe(self, mastered: Mastered, ranks: Sequence[Rank], invalid: Sequence[Id]) -> None:
        mastered.untold.update(ranks)
        if invalid:
            mastered.purge()
        pool = mastered.head.pool
        self._owed.add(pool, lambda: self._spread(pool))

    def _renew(self, mastered: Mastered) -> None:
        """A rank knows a newer term, of before our last restart; its answer moved our clock on."""
        head = mastered.head._replace(term=self._xstream.hlc.now())
        if self._mastered.get(head.pool) is mastered:
            newer = self._mastered[head.pool] = Mastered(head, mastered.entries)
            if mastered.over:
                newer.end()
            else:
                self._known.take(head)
            self._spread_soon(head.pool)

    async def _answer_find(self, rpc: Rpc[wire.FindRequest]) -> wire.FindReply:
        parse_pool_id(rpc.request.pool)
        return wire.FindReply(*self._own_head(rpc.request.pool)[1:])

    def _own_head(self, pool: bytes) -> Head:
        """Raises: NotFoundError; AgainError (the pool may not have been opened yet)"""
        if self.masters(pool):
            return self._mastered[pool].head
        if not self._joined:
            raise AgainError("the services have just started; ask again in a moment")
        raise NotFoundError(f"nobody is connected to pool {pool.hex()}")

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
        try:
            space = self._forget(request)  # before anybody below can ask us (V7)
        except DaosError as error:
            taking = _missed(self._xstream.rank, error)
        else:
            taking = self._take_or_miss(request, space, deadline_ns)
        below = children(position, len(request.ranks))
        found = await asyncio.gather(
            taking, *(self._tell(request, each, deadline_ns) for each in below)
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

    def _forget(self, request: wire.SyncRequest) -> NameSpace | None:
        """What a message says is invalid, or over; the name space that it is of, None at its end.

        Raises: DaosError GRPVER
        """
        if request.end:
            self._known.end(request.pool, request.term)
            return None
        space = self._known.take(_head(request))
        spread = [number for number, kind in self._classes.items() if kind.spread]
        space.drop([Id(*each) for each in request.invalid], spread)
        return space

    async def _take_or_miss(
        self, request: wire.SyncRequest, space: NameSpace | None, deadline_ns: int
    ) -> Missed:
        try:
            await self._tell_holders(request, deadline_ns)
            if space is not None:
                for each in request.entries:
                    which, entry = Id(each.number, each.key), Entry(each.version, each.value)
                    async with self._turns.turn((request.pool, which)):
                        await self._hold(space, which, entry, deadline_ns)
        except DaosError as error:
            return await _missed(self._xstream.rank, error)
        return []

    async def _tell_holders(self, request: wire.SyncRequest, deadline_ns: int) -> None:
        """Have our targets forget what is invalid now, or of an earlier term."""
        invalid = [EVERYTHING] if request.end else [Id(*each) for each in request.invalid]
        before = request.term + 1 if request.end else request.term
        given = self._holders.of(request.pool, invalid, before=before)
        await asyncio.gather(
            *(
                self._tell_holder(request.pool, tag, number, held, deadline_ns)
                for (tag, number), held in given.items()
            )
        )

    async def _tell_holder(
        self, pool: bytes, tag: Tag, number: int, held: Sequence[Held], deadline_ns: int
    ) -> None:
        target = Endpoint(self._xstream.rank, tag)
        keys = [each.key for each in held]
        await self._classes[number].invalidate(pool, keys, target, deadline_ns)
        self._holders.told(pool, tag, number, held)

    async def _hold(self, space: NameSpace, which: Id, entry: Entry, deadline_ns: int) -> None:
        """Tell our targets, then keep it. In the entry's turn. Raises: InvalidError (class)"""
        kind = self._class(which.number)
        if not kind.spread:
            raise InvalidError(f"entries of class {which.number} are asked for, not told")
        if not space.is_old(which, entry):
            # Once more, where it is known: a target may have opened a shard.
            targets = space.targets(self._xstream.rank)
            await kind.refresh(space, entry, targets, deadline_ns)
            space.entries[which] = entry

    def _class(self, number: int) -> EntryClass:
        kind = self._classes.get(number)
        if kind is None:
            raise InvalidError(f"entries of class {number} are unknown")
        return kind

    async def _fetch(self, rpc: Rpc[wire.FetchRequest]) -> wire.FetchReply:
        """The entry as it is here, if it is new enough; else as it is above."""
        request = rpc.request
        parse_pool_id(request.pool)
        kind = self._class(request.number)
        if len(request.key) > KEY_SIZE_MAX:
            raise InvalidError(f"a key of {len(request.key)} bytes; at most {KEY_SIZE_MAX}")
        which = Id(request.number, request.key)
        async with self._turns.turn((request.pool, which)):
            while True:
                space = self._known.get(request.pool)
                if space is None:
                    space = await self._find(request.pool, rpc.deadline_ns)
                if request.term not in (0, space.head.term):
                    raise stale(request.pool, request.term)
                entry = await self._entry(kind, space, which, request.at_least, rpc.deadline_ns)
                if entry is not None:
                    break
            tag = rpc.source.tag
            if kind.cached and not kind.spread and rpc.source.rank == self._xstream.rank:
                self._holders.add(space, which, tag)
        return wire.FetchReply(*entry)

    async def _entry(
        self, kind: EntryClass, space: NameSpace, which: Id, at_least: int, deadline_ns: int
    ) -> Entry | None:
        """In the entry's turn. None: the answer was overtaken, so ask again (V6).

        Raises: what the class says, or who is above
        """
        entry = space.find(which, at_least)
        if entry is not None:
            return entry
        pool = space.head.pool
        space.asking.add(which)
        try:
            if space.head.master == self._xstream.rank:
                entry = await self._make(kind, pool, which)
            else:
                entry = await self._ask_above(space, which, at_least, deadline_ns)
            if which not in space.asking or self._known.get(pool) is not space:
                return None
        except DaosError as error:
            newer = error.code is DER.GRPVER and await self._find(pool, deadline_ns)
            if not newer or newer.head.term == space.head.term:
                raise
            return None
        finally:
            space.asking.discard(which)
        if kind.spread:
            await self._hold(space, which, entry, deadline_ns)
        elif kind.cached:
            space.entries[which] = entry
        return entry

    async def _make(self, kind: EntryClass, pool: bytes, which: Id) -> Entry:
        """The entry, here where the master is. Raises: NotFoundError, and what the class says"""
        if kind.spread and pool in self._mastered:
            entry = self._mastered[pool].entries.get(which)
            if entry is not None:
                return entry
        return await kind.fetch(pool, which.key)

    async def _find(self, pool: bytes, deadline_ns: int) -> NameSpace:
        """The present name space of a pool, which this rank has not been told of.

        Raises: NotFoundError (there is none); AgainError (not yet); DaosError UNREACH, TIMEDOUT
        """
        if self._services == self._xstream.rank:
            return self._known.take(self._own_head(pool))
        reply = await self._xstream.context.call(
            Endpoint(self._services, SYSTEM_TAG),
            wire.FIND,
            wire.FindRequest(pool),
            deadline_ns=deadline_ns,
        )
        members = tuple((Rank(rank), targets) for rank, targets in reply.members)
        return self._known.take(Head(pool, Rank(reply.master), reply.term, members))

    async def _ask_above(
        self, space: NameSpace, which: Id, at_least: int, deadline_ns: int
    ) -> Entry:
        """Raises: what the master says, or DaosError UNREACH, TIMEDOUT"""
        head = space.head
        request = wire.FetchRequest(head.pool, head.term, which.number, at_least, which.key)
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


async def fetch(xstream: Xstream, pool: PoolUuid, number: int, key: bytes) -> Entry:
    """An entry, asked by a target of its rank. Raises: what the rank says, or who is above it"""
    reply = await xstream.context.call(
        Endpoint(xstream.rank, SYSTEM_TAG),
        wire.FETCH,
        wire.FetchRequest(pool.bytes, 0, number, 0, key),
        deadline_ns=xstream.clock.now_ns() + ASK_NS,
    )
    return Entry(reply.version, reply.value)


async def _missed(rank: Rank, error: DaosError) -> Missed:
    return [(rank, int(error.code))]


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

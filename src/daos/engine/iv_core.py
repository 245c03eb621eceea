"""Incast variables, decided: small values of a pool that ranks have copies of; pure.

The master of a pool's name space says what its entries are. Those of some classes spread to all,
along a tree over the ranks; all others stay where they are until a rank asks for them, up the tree.

    position in the tree   0 ──> 1, 2, 3, 4·1, 4·2, 4·3, 16·1 …     the master is first
                           p ──> p + d·4^e, d = 1, 2, 3, each 4^e above p

Invariants:
    V1  a rank takes a name space of a newer term than any it has known of this pool, and no older
    V2  an entry is replaced by one with a higher version, within a term
    V3  behind the end of a term nothing makes it anew
    V6  an answer that an invalidation has overtaken is not kept, and not given

A term is an epoch that the master draws, newer than each before. Where its clock has gone back in a
restart, a rank that knows a newer one says so, which moves the clock; then it draws another.

Source: DAOS src/cart/crt_iv.c, crt_tree_knomial.c, src/engine/server_iv.c. Ours: a term names one
life of a name space, so that what comes late is known to.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from daos.base.errors import DER, DaosError
from daos.base.ids import Rank, Tag, TargetIndex, tag_of
from daos.cart.context import Endpoint

RATIO: Final = 4
# Of pools whose name space has ended. A message under way is seconds old at most.
ENDED_MAX: Final = 1 << 12


class IvClass(IntEnum):
    """What an entry is; numbers as in the reference. Modules of others take numbers beyond."""

    POOL_MAP = 1
    POOL_PROP = 2
    CONT_SNAP = 6
    CONT_CAPA = 7


class Id(NamedTuple):
    """Which entry of a name space."""

    number: int  # of its class
    key: bytes = b""


# In the place of an entry that has become invalid: all that are not spread.
EVERYTHING: Final = Id(0)


class Entry(NamedTuple):
    """One value; `version` grows with each change."""

    version: int
    value: bytes


class Head(NamedTuple):
    """Which name space: of which pool, in which life, over which ranks."""

    pool: bytes
    master: Rank
    term: int
    members: tuple[tuple[Rank, int], ...]  # (rank, number of its targets)


def children(position: int, count: int) -> Iterator[int]:
    """The positions below one, of a tree of `count`."""
    power = 1
    while power <= position:
        power *= RATIO
    while position + power < count:
        for digit in range(1, RATIO):
            if position + digit * power < count:
                yield position + digit * power
        power *= RATIO


def parent(position: int) -> int:
    """The position above one that is not the first."""
    power = 1
    while power * RATIO <= position:
        power *= RATIO
    return position % power


@dataclass(slots=True, eq=False)
class NameSpace:
    """What a rank has of a pool."""

    head: Head
    entries: dict[Id, Entry] = field(default_factory=dict)
    asking: set[Id] = field(default_factory=set)  # for what an answer is waited for

    def find(self, which: Id, at_least: int) -> Entry | None:
        """The entry, if it is here, and no older than that version."""
        entry = self.entries.get(which)
        return entry if entry is not None and entry.version >= at_least else None

    def is_old(self, which: Id, entry: Entry) -> bool:
        """Whether what is here is newer."""
        return self.find(which, entry.version + 1) is not None

    def drop(self, invalid: Collection[Id], spread: Container[int]) -> None:
        """These are invalid, and so is what is being told of them (V6).

        `spread`: classes that no invalidation concerns
        """
        if EVERYTHING in invalid:
            self.entries = {
                each: kept for each, kept in self.entries.items() if each.number in spread
            }
            self.asking = {each for each in self.asking if each.number in spread}
        for each in invalid:
            self.entries.pop(each, None)
            self.asking.discard(each)

    def above(self, rank: Rank) -> list[Rank]:
        """Whom `rank` asks for what it misses: who is above it, then the master."""
        order = tree_order(self.head.master, [member for member, _ in self.head.members])
        up = order[parent(order.index(rank))]
        return [up] if up == self.head.master else [up, self.head.master]

    def targets(self, rank: Rank) -> list[Endpoint]:
        """The targets of a rank."""
        count = dict(self.head.members).get(rank, 0)
        return [Endpoint(rank, tag_of(TargetIndex(index))) for index in range(count)]


class Held(NamedTuple):
    """An entry that a target was given, and since when."""

    key: bytes
    turn: int


class Holders:
    """Which targets of a rank were given which entries, and have to hear when these are invalid."""

    def __init__(self) -> None:
        self._given: dict[bytes, dict[tuple[Id, Tag], tuple[int, int]]] = {}  # (term, turn)
        self._turn = 0

    def __len__(self) -> int:
        return sum(map(len, self._given.values()))

    def add(self, space: NameSpace, which: Id, tag: Tag) -> None:
        """A target is about to be given an entry."""
        self._turn += 1
        given = self._given.setdefault(space.head.pool, {})
        given[which, tag] = space.head.term, self._turn

    def of(
        self, pool: bytes, invalid: Collection[Id], *, before: int
    ) -> dict[tuple[Tag, int], list[Held]]:
        """What is invalid, or of a term before that one: by target and class."""
        found: dict[tuple[Tag, int], list[Held]] = {}
        for (which, tag), (term, turn) in self._given.get(pool, {}).items():
            if which in invalid or EVERYTHING in invalid or term < before:
                found.setdefault((tag, which.number), []).append(Held(which.key, turn))
        return found

    def told(self, pool: bytes, tag: Tag, number: int, held: Iterable[Held]) -> None:
        """A target has forgotten these, unless it was given them once more."""
        given = self._given.get(pool, {})
        for key, turn in held:
            if given.get((Id(number, key), tag), (0, 0))[1] == turn:
                del given[Id(number, key), tag]
        if not given:
            self._given.pop(pool, None)


class Known:
    """The name spaces of a rank, and which have ended."""

    def __init__(self) -> None:
        self._spaces: dict[bytes, NameSpace] = {}
        self._ended: dict[bytes, int] = {}  # pool to term, oldest first

    def __len__(self) -> int:
        return len(self._spaces)

    def get(self, pool: bytes) -> NameSpace | None:
        """The name space of a pool, if there is one here."""
        return self._spaces.get(pool)

    def take(self, head: Head) -> NameSpace:
        """The name space of this term, a new one if it is news.

        Raises: DaosError GRPVER  there was a newer one, or it has ended
        """
        space = self._spaces.get(head.pool)
        newest = self._ended.get(head.pool, 0) + 1
        if space is not None:
            newest = max(newest, space.head.term)
        if head.term < newest:
            raise stale(head.pool, head.term)
        if space is None or space.head.term != head.term:
            space = self._spaces[head.pool] = NameSpace(head)
        return space

    def end(self, pool: bytes, term: int) -> None:
        """It is over, and whatever came before it. Raises: DaosError GRPVER (there is a newer)"""
        space = self._spaces.get(pool)
        if space is not None:
            if space.head.term > term:
                raise stale(pool, term)
            del self._spaces[pool]
        self._ended[pool] = max(term, self._ended.pop(pool, 0))
        if len(self._ended) > ENDED_MAX:
            del self._ended[next(iter(self._ended))]


@dataclass(slots=True, eq=False)
class Mastered:
    """A name space where its master is: what all ranks shall have, and who has not got it yet."""

    head: Head
    entries: dict[Id, Entry]  # that are spread
    over: bool = False
    untold: set[Rank] = field(default_factory=set)
    purging: bool = False  # somebody missed an invalidation: all forget what is not spread
    rounds: int = 0  # under way
    changes: int = 0

    def __post_init__(self) -> None:
        self.tell_all()

    @property
    def ranks(self) -> list[Rank]:
        """All of them."""
        return [rank for rank, _ in self.head.members]

    @property
    def owes(self) -> bool:
        """Whether somebody has to be told."""
        return bool(self.untold) or self.purging

    @property
    def finished(self) -> bool:
        """Whether it is over, and all ranks know."""
        return self.over and not self.owes and not self.rounds

    def tell_all(self) -> None:
        """There is news for every rank."""
        self.untold = set(self.ranks)
        self.changes += 1

    def put(self, which: Id, entry: Entry) -> None:
        """An entry has changed. Older than the one there: nothing is changed."""
        if which not in self.entries or self.entries[which].version < entry.version:
            self.entries[which] = entry
            self.tell_all()

    def purge(self) -> None:
        """Somebody has missed an invalidation, and may have told others what it has."""
        self.purging = not self.over  # its end purges, too
        self.untold = set(self.ranks)  # no news: a round that has just failed is not made again

    def end(self) -> None:
        """Nobody needs it any more."""
        self.over = True
        self.purging = False
        self.entries.clear()
        self.tell_all()


def tree_order(master: Rank, ranks: Iterable[Rank]) -> list[Rank]:
    """Ranks by their positions in the tree."""
    return [master, *sorted(rank for rank in ranks if rank != master)]


def check_order(ranks: Sequence[Rank], head: Head) -> bool:
    """Whether these may be ranks of a tree: the master first, each a member, none twice."""
    members = {rank for rank, _ in head.members}
    return (
        len(members) == len(head.members)
        and bool(ranks)
        and ranks[0] == head.master
        and len(set(ranks)) == len(ranks)
        and members.issuperset(ranks)
    )


def stale(pool: bytes, term: int) -> DaosError:
    """Raised where a name space has another term."""
    return DaosError(f"term {term} of pool {pool.hex()} is not the present one", code=DER.GRPVER)

"""Classes of incast variables that a module brings: asked for through caches, and invalidated.

The scenarios C-I1 to C-I5 of the reference's own IV tests (§7.1), five ranks, keys (rank, index).
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from daos.base.errors import DER, DaosError, ExistsError, InvalidError, NotFoundError
from daos.base.ids import SYSTEM_TAG, PoolUuid, Rank
from daos.cart.context import Endpoint
from daos.engine import iv_wire as wire
from daos.engine.iv import ASK_NS, IV_KEY, KEY_SIZE_MAX, Iv, fetch
from daos.engine.iv_class import EntryClass
from daos.engine.iv_core import EVERYTHING, Entry, Head, Holders, Id, NameSpace
from daos.engine.rank import Engine
from daos.testing.simcluster import SimCluster
from daos.testing.simloop import simulate
from daos.testing.simnet import SimNetwork
from tests.unit.engine.test_iv import POOL

OWN = 1000  # numbers below are the product's


class Words(EntryClass):
    """Asked for: words that the master has."""

    number = OWN
    spread = False

    def __init__(self) -> None:
        self.store: dict[bytes, bytes] = {}
        self.made = 0
        self.told: list[bytes] = []
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def fetch(self, pool: bytes, key: bytes) -> Entry:
        self.made += 1
        self.asked.set()
        word = self.store.get(key)
        if self.gate is not None:
            await self.gate.wait()
        return Entry(1, word) if word is not None else await super().fetch(pool, key)

    async def invalidate(
        self, pool: bytes, keys: Sequence[bytes], target: Endpoint, deadline_ns: int
    ) -> None:
        self.told += keys


class Told(Words):
    """Spread: each rank's targets are told."""

    number = OWN + 1
    spread = True

    async def refresh(
        self, space: NameSpace, entry: Entry, targets: Sequence[Endpoint], deadline_ns: int
    ) -> None:
        self.told += [entry.value for _ in targets]


class Bench:
    """Ranks of a system, the first the master of a name space; with an object of each class."""

    def __init__(self, cluster: SimCluster) -> None:
        self.cluster = cluster
        engines = [host.engine for host in cluster.hosts]
        self.engines: list[Engine] = [engine for engine in engines if engine is not None]
        self.words = [Words() for _ in self.engines]
        self.told = [Told() for _ in self.engines]
        for iv, words, told in zip(self.ivs, self.words, self.told, strict=True):
            iv.register(words)
            iv.register(told)
        self.start()

    def start(self) -> None:
        members = [(engine.rank, 1) for engine in self.engines]
        self.ivs[0].start(POOL, members, {Told.number: Entry(1, b"first")})

    @property
    def ivs(self) -> list[Iv]:
        return [engine.xstream.value(IV_KEY) for engine in self.engines]

    async def ask(self, rank: int, key: bytes, number: int = OWN) -> bytes:
        """As a target of that rank does."""
        xstream = self.engines[rank].targets[0].xstream
        return (await fetch(xstream, PoolUuid(UUID(bytes=POOL)), number, key)).value

    async def code(self, rank: int, key: bytes) -> str:
        try:
            return (await self.ask(rank, key)).decode()
        except DaosError as error:
            return error.code.name

    async def codes(self, key: bytes) -> list[str]:
        return [await self.code(rank, key) for rank in range(len(self.engines))]

    async def invalidate(self, key: bytes) -> None:
        deadline_ns = self.engines[0].clock.now_ns() + ASK_NS
        await self.ivs[0].invalidate(POOL, OWN, [key], deadline_ns=deadline_ns)


def key_of(rank: int, index: int) -> bytes:
    return struct.pack("<II", rank, index)


def on_ranks(count: int) -> Callable[[Callable[[Bench], Coroutine[Any, Any, None]]], Any]:
    def decorate(body: Callable[[Bench], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
        def test(tmp_path: Path) -> None:
            async def run() -> None:
                network = SimNetwork(asyncio.get_running_loop(), random.Random(1))
                cluster = SimCluster(
                    tmp_path, random.Random(1), network=network, servers=count, targets=1
                )
                await cluster.start()
                for host in cluster.hosts:
                    assert await host.joined()
                await body(Bench(cluster))
                await cluster.close()
                assert cluster.bugs == []

            simulate(run(), 1)

        return test

    return decorate


@on_ranks(5)
async def test_what_is_not_set_is_set_asked_for_and_invalidated(bench: Bench) -> None:
    """C-I1."""
    key = key_of(0, 42)
    assert await bench.codes(key) == ["NONEXIST"] * 5
    bench.words[0].store[key] = b"potato"
    assert await bench.codes(key) == ["potato"] * 5
    assert [words.made for words in bench.words] == [bench.words[0].made, 0, 0, 0, 0]
    made = bench.words[0].made
    assert await bench.codes(key) == ["potato"] * 5
    assert bench.words[0].made == made  # copies answered
    del bench.words[0].store[key]
    await bench.invalidate(key)
    assert [words.told for words in bench.words] == [[key]] * 5
    assert await bench.codes(key) == ["NONEXIST"] * 5


@on_ranks(5)
async def test_another_term_is_refused_until_it_is_the_same_again(bench: Bench) -> None:
    """C-I2."""
    key = key_of(1, 42)
    bench.words[0].store[key] = b"potato"
    assert await bench.code(1, key) == "potato"
    await bench.invalidate(key)
    known = bench.ivs[1]._known._spaces
    good = known[POOL]
    known[POOL] = NameSpace(good.head._replace(term=good.head.term + 0xDEADC0DE))
    assert await bench.code(1, key) == "GRPVER"
    assert await bench.code(0, key) == "potato"
    known[POOL] = good
    assert await bench.code(1, key) == "potato"


@on_ranks(5)
async def test_a_term_that_changes_under_way_gives_the_same_word_or_is_told(bench: Bench) -> None:
    """C-I3."""
    key = key_of(0, 42)
    words = bench.words[0]
    words.store[key], words.gate = b"beans", asyncio.Event()
    asking = [asyncio.ensure_future(bench.code(rank, key)) for rank in range(5)]
    await words.asked.wait()
    bench.start()
    await asyncio.sleep(0.1)
    words.gate.set()
    assert set(await asyncio.gather(*asking)) <= {"beans", "GRPVER"}
    assert await bench.codes(key) == ["beans"] * 5


@on_ranks(2)
async def test_what_is_spread_is_known_without_asking(bench: Bench) -> None:
    """C-I5: eager, two ranks."""
    deadline_ns = bench.engines[0].clock.now_ns() + ASK_NS
    await bench.ivs[0].update(POOL, Told.number, Entry(2, b"second"), deadline_ns=deadline_ns)
    assert [told.told[-1] for told in bench.told] == [b"second"] * 2
    assert [await bench.ask(rank, b"", Told.number) for rank in range(2)] == [b"second"] * 2
    with pytest.raises(NotFoundError, match="keeps no name space"):
        await bench.ivs[1].update(POOL, Told.number, Entry(3, b""), deadline_ns=deadline_ns)
    assert [told.made for told in bench.told] == [0, 0]


@on_ranks(5)
async def test_copies_at_once_ask_once(bench: Bench) -> None:
    key = key_of(0, 1)
    bench.words[0].store[key] = b"potato"
    found = await asyncio.gather(*(bench.code(4, key) for _ in range(10)))
    assert found == ["potato"] * 10
    assert bench.words[0].made == 1


@on_ranks(5)
async def test_an_answer_that_is_overtaken_is_made_again(bench: Bench) -> None:
    """V6, V7: made before the invalidation, under way behind it."""
    key = key_of(0, 2)
    words = bench.words[0]
    words.store[key], words.gate = b"old", asyncio.Event()
    asking = [asyncio.ensure_future(bench.code(rank, key)) for rank in (0, 4)]
    await words.asked.wait()
    del words.store[key]
    await bench.invalidate(key)
    words.gate.set()
    assert await asyncio.gather(*asking) == ["NONEXIST", "NONEXIST"]


@on_ranks(2)
async def test_who_has_not_been_told_of_a_name_space_finds_it(bench: Bench) -> None:
    key = key_of(0, 3)
    bench.words[0].store[key] = b"potato"
    await asyncio.sleep(1)
    bench.ivs[1]._known._spaces.clear()
    assert await bench.code(1, key) == "potato"
    bench.ivs[0].stop(POOL)
    await asyncio.sleep(1)
    assert await bench.codes(key) == ["NONEXIST", "NONEXIST"]
    assert [len(iv) for iv in bench.ivs] == [0, 0]
    bench.ivs[0]._joined = False  # the services are starting: there may be one in a moment
    assert await bench.codes(key) == ["AGAIN", "AGAIN"]


@on_ranks(2)
async def test_a_master_whose_clock_went_back_draws_a_newer_term(bench: Bench) -> None:
    """Rank 1 knows a term of before the restart that is ahead of the master's clock."""
    key = key_of(0, 4)
    bench.words[0].store[key] = b"potato"
    await asyncio.sleep(1)
    ahead = bench.engines[1].xstream.hlc.now() + (1 << 20)
    bench.engines[1].xstream.hlc.raise_to(ahead)
    known = bench.ivs[1]._known._spaces
    known[POOL] = NameSpace(known[POOL].head._replace(term=ahead))
    bench.start()
    await asyncio.sleep(1)
    assert await bench.codes(key) == ["potato"] * 2
    bench.ivs[0].stop(POOL)
    await asyncio.sleep(1)
    assert [len(iv) for iv in bench.ivs] == [0, 0]


@on_ranks(2)
async def test_what_is_no_class_and_no_key_is_refused(bench: Bench) -> None:
    iv = bench.ivs[0]
    with pytest.raises(ExistsError, match="class 1000"):
        iv.register(Words())

    class Zero(Words):
        number = 0

    with pytest.raises(InvalidError, match="class 0"):
        iv.register(Zero())
    assert await bench.code(0, bytes(KEY_SIZE_MAX + 1)) == "INVAL"
    with pytest.raises(InvalidError, match="class 999"):
        await bench.ask(0, b"", 999)
    context = bench.engines[1].xstream.context
    asked_for = wire.WireEntry(OWN, b"", 1, b"x")
    head = bench.ivs[0]._mastered[POOL].head
    request = wire.SyncRequest(*head, (0, 1), (asked_for,))
    deadline_ns = bench.engines[0].clock.now_ns() + ASK_NS
    to = Endpoint(Rank(0), SYSTEM_TAG)
    reply = await context.call(to, wire.SYNC, request, deadline_ns=deadline_ns)
    assert dict(reply.missed) == {0: DER.INVAL, 1: DER.INVAL}


def test_what_is_invalid_is_dropped_with_its_questions() -> None:
    space = NameSpace(Head(POOL, Rank(0), 1, ((Rank(0), 1),)))
    spread, word, other = Id(1), Id(OWN, b"word"), Id(OWN, b"other")
    space.entries = {each: Entry(1, b"") for each in (spread, word, other)}
    space.asking = {spread, word, other}
    space.drop([word], spread=[1])
    assert set(space.entries) == space.asking == {spread, other}
    space.drop([EVERYTHING], spread=[1])
    assert set(space.entries) == space.asking == {spread}


def test_holders_are_told_once_and_once_more_if_given_meanwhile() -> None:
    old = NameSpace(Head(POOL, Rank(0), 1, ()))
    new = NameSpace(Head(POOL, Rank(0), 2, ()))
    holders, word, other = Holders(), Id(OWN, b"word"), Id(OWN, b"other")
    holders.add(old, word, SYSTEM_TAG)
    holders.add(new, other, SYSTEM_TAG)
    assert holders.of(POOL, [], before=1) == {}
    ((where, held),) = holders.of(POOL, [], before=2).items()
    assert (where, [each.key for each in held]) == ((SYSTEM_TAG, OWN), [b"word"])
    ((_, everything),) = holders.of(POOL, [EVERYTHING], before=0).items()
    assert sorted(each.key for each in everything) == [b"other", b"word"]
    holders.add(new, word, SYSTEM_TAG)  # while it is being told
    holders.told(POOL, SYSTEM_TAG, OWN, held)
    assert len(holders) == 2
    ((_, held),) = holders.of(POOL, [word, other], before=0).items()
    holders.told(POOL, SYSTEM_TAG, OWN, held)
    holders.told(POOL, SYSTEM_TAG, OWN, held)
    assert len(holders) == 0

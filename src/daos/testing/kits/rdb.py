"""Conformance kit of the Rdb seam.

A test module subclasses the kit and says how to open the store at hand:

    class TestLocal(RdbKit):
        @asynccontextmanager
        async def opened(self) -> AsyncIterator[Store]:
            ...
            yield store

Each test then runs against a fresh store. The rules tested are those of `daos.rdb.interface`; what
a power cut leaves is tested beside each implementation, which knows its disk.

Source: ours; the semantics are etcd's, see the package.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from daos.base.errors import (
    DaosError,
    InvalidError,
    KeyTooBigError,
    NotFoundError,
    RecordTooBigError,
)
from daos.rdb.interface import (
    KEY_SIZE_MAX,
    OPERATIONS_MAX,
    TXN_SIZE_MAX,
    UNBOUNDED,
    VALUE_SIZE_MAX,
    Compare,
    CompareTarget,
    Delete,
    DeleteResult,
    KeyValuePair,
    Operation,
    Put,
    PutResult,
    Range,
    RangeResult,
    Relation,
    absent,
    exists,
    prefix_end,
    unchanged,
    value_is,
)
from daos.testing.kits.rdb_store import SECOND_NS, Store, keys, put
from daos.testing.kits.rdb_watches import RdbWatchKit


class RdbKit(RdbWatchKit):
    """See the module."""

    # Pairs and revisions

    def test_a_pair_knows_when_it_was_created_and_changed(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            start = (await rdb.range(b"a")).revision
            first = await put(rdb, b"a", b"1")
            second = await put(rdb, b"a", b"2")
            assert start < first < second
            found = await rdb.range(b"a")
            assert found == RangeResult(second, [KeyValuePair(b"a", b"2", first, second)])
            await rdb.txn((), (Delete(b"a"),))
            again = await put(rdb, b"a", b"3")
            assert (await rdb.range(b"a")).pairs == [KeyValuePair(b"a", b"3", again, again)]

        self.run(test)

    def test_one_revision_a_transaction_and_none_without_a_change(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            revision = await put(rdb, b"x")
            result = await rdb.txn((), (Put(b"a", b""), Put(b"b", b""), Delete(b"x")))
            assert result.revision == revision + 1
            for operations in ((), (Range(b"a"),), (Delete(b"nothing"),)):
                same = await rdb.txn((), operations)
                assert same.revision == revision + 1
            pairs = (await rdb.range(b"", UNBOUNDED)).pairs
            assert {pair.mod_revision for pair in pairs} == {revision + 1}

        self.run(test)

    def test_ranges_are_half_open_ordered_and_limited(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            names = [
                b"a",
                b"a\x00",
                b"aa",
                b"b",
                b"b\xff",
                b"b\xff\xff",
                b"c",
                b"\xff",
                b"\xff\xff",
            ]
            for name in reversed(names):
                await put(rdb, name)
            assert await keys(rdb) == names
            assert await keys(rdb, b"a", b"b") == names[:3]
            assert await keys(rdb, b"aa", b"c") == names[2:6]
            assert await keys(rdb, b"b", prefix_end(b"b")) == names[3:6]
            assert await keys(rdb, b"\xff", prefix_end(b"\xff")) == names[7:]
            assert await keys(rdb, b"c", b"a") == []
            assert await keys(rdb, b"a", None) == [b"a"]
            assert await keys(rdb, b"ab", None) == []
            page = await rdb.range(b"", UNBOUNDED, limit=4)
            assert ([pair.key for pair in page.pairs], page.more) == (names[:4], True)
            page = await rdb.range(names[5], UNBOUNDED, limit=4)
            assert ([pair.key for pair in page.pairs], page.more) == (names[5:], False)

        self.run(test)

    def test_long_keys_keep_their_order(self) -> None:
        """Keys up to the limit that differ late, around every length at which a store may cut."""

        async def test(store: Store) -> None:
            rdb = store.rdb
            stem = b"k" * (KEY_SIZE_MAX - 2)
            names = sorted(
                {stem[:size] for size in (1, 255, 256, 399, 400, 401, 402, 416, 511, 512, 900)}
                | {stem + bytes([a, b]) for a in (0, 107, 255) for b in (0, 255)}
                | {stem[:400] + bytes([last]) for last in (0, 106, 107, 108, 255)}
            )
            for name in names[::2] + names[1::2]:
                await put(rdb, name, name[-9:])
            found = (await rdb.range(b"", UNBOUNDED)).pairs
            assert [pair.key for pair in found] == names
            assert all(pair.value == pair.key[-9:] for pair in found)
            for position, name in enumerate(names):
                assert await keys(rdb, name, UNBOUNDED) == names[position:]
                assert await keys(rdb, b"", name) == names[:position]
            assert (await rdb.txn((), (Delete(names[3], names[-3]),))).results == [
                DeleteResult(len(names) - 6)
            ]
            assert await keys(rdb) == names[:3] + names[-3:]

        self.run(test)

    def test_limits_are_reached_exactly(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            long_key, large = b"k" * KEY_SIZE_MAX, bytes(VALUE_SIZE_MAX)
            await put(rdb, long_key, large)
            assert (await rdb.range(long_key)).pairs[0].value == large
            many = tuple(Put(b"%03d" % n, b"") for n in range(OPERATIONS_MAX))
            compares = tuple(absent(operation.key) for operation in many)
            assert (await rdb.txn(compares, many, many)).succeeded
            assert len(await keys(rdb, b"0", b"2")) == OPERATIONS_MAX

        self.run(test)

    def test_what_is_over_a_limit_is_refused_and_changes_nothing(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            revision = await put(rdb, b"a", b"1")
            over = b"k" * (KEY_SIZE_MAX + 1)
            many = (Put(b"b", b""),) * (OPERATIONS_MAX + 1)
            half = bytes(TXN_SIZE_MAX // 2)
            mistyped = (
                Compare(b"a", CompareTarget.VALUE, Relation.EQUAL, 1),
                Compare(b"a", CompareTarget.MOD_REVISION, Relation.EQUAL, b"1"),
            )
            cases: list[tuple[type[DaosError], Sequence[Compare], Sequence[Operation]]] = [
                (InvalidError, (), (Put(b"", b"x"),)),
                (InvalidError, (), (Delete(b""),)),
                (InvalidError, (), (Range(b""),)),
                (InvalidError, (), (Range(b"a", None, -1),)),
                (InvalidError, (), many),
                (InvalidError, (absent(b"a"),) * (OPERATIONS_MAX + 1), ()),
                (InvalidError, (), (Put(b"b", b"1"), Put(b"b", b"2"))),
                (InvalidError, (), (Put(b"b", b"1"), Delete(b"a", b"c"))),
                (InvalidError, (absent(b""),), ()),
                (InvalidError, mistyped[:1], ()),
                (InvalidError, mistyped[1:], ()),
                (KeyTooBigError, (), (Put(over, b""),)),
                (KeyTooBigError, (), (Delete(b"", over),)),
                (KeyTooBigError, (exists(over),), ()),
                (RecordTooBigError, (), (Put(b"b", bytes(VALUE_SIZE_MAX + 1)),)),
                (RecordTooBigError, (), (Put(b"b", half), Put(b"c", half + b"1"))),
                (NotFoundError, (), (Put(b"b", b"", lease=12345),)),
            ]
            for error, compares, operations in cases:
                with pytest.raises(error):
                    await rdb.txn(compares, (Put(b"z", b""), *operations))
                if error is not NotFoundError:  # of a list that does not run, leases are not asked
                    with pytest.raises(error):
                        await rdb.txn(compares, (), operations)
            with pytest.raises(KeyTooBigError):
                await rdb.range(over)
            with pytest.raises(InvalidError):
                await rdb.range(b"")
            assert await rdb.range(b"", UNBOUNDED) == RangeResult(
                revision, [KeyValuePair(b"a", b"1", revision, revision)]
            )

        self.run(test)

    # Transactions

    def test_compares(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            created = await put(rdb, b"a", b"m")
            changed = await put(rdb, b"a", b"m")
            stored: dict[CompareTarget, tuple[bytes | int, ...]] = {
                CompareTarget.VALUE: (b"l", b"m", b"n"),
                CompareTarget.CREATE_REVISION: (created - 1, created, created + 1),
                CompareTarget.MOD_REVISION: (changed - 1, changed, changed + 1),
            }
            truth = {  # for an operand below, at, above what is stored
                Relation.EQUAL: (False, True, False),
                Relation.NOT_EQUAL: (True, False, True),
                Relation.GREATER: (True, False, False),
                Relation.LESS: (False, False, True),
            }
            for target, operands in stored.items():
                for relation, wanted in truth.items():
                    for operand, true in zip(operands, wanted, strict=True):
                        compare = Compare(b"a", target, relation, operand)
                        assert (await rdb.txn((compare,), ())).succeeded is true, compare
            for relation in Relation:
                missing = Compare(b"b", CompareTarget.VALUE, relation, b"")
                assert not (await rdb.txn((missing,), ())).succeeded
            for compare, true in (
                (absent(b"b"), True),
                (exists(b"b"), False),
                (absent(b"a"), False),
                (exists(b"a"), True),
                (value_is(b"a", b"m"), True),
                (unchanged(KeyValuePair(b"a", b"m", created, changed)), True),
                (unchanged(KeyValuePair(b"a", b"m", created, created)), False),
                (Compare(b"b", CompareTarget.MOD_REVISION, Relation.EQUAL, 0), True),
                (Compare(b"b", CompareTarget.MOD_REVISION, Relation.LESS, 1), True),
            ):
                assert (await rdb.txn((compare,), ())).succeeded is true, compare

        self.run(test)

    def test_all_compares_must_hold_and_one_list_runs(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            await put(rdb, b"a", b"1")
            both = (exists(b"a"), absent(b"b"))
            assert (await rdb.txn(both, (Put(b"s", b""),), (Put(b"f", b""),))).succeeded
            mixed = (exists(b"a"), absent(b"a"))
            assert not (await rdb.txn(mixed, (Put(b"t", b""),), (Put(b"f", b""),))).succeeded
            assert await keys(rdb) == [b"a", b"f", b"s"]

        self.run(test)

    def test_results_and_reading_own_writes(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            one = await put(rdb, b"b", b"old")
            await put(rdb, b"d", b"d")
            result = await rdb.txn(
                (),
                (
                    Range(b"a", b"z", 1),
                    Put(b"b", b"new"),
                    Put(b"c", b"c"),
                    Delete(b"d", b"e"),
                    Range(b"a", b"z"),
                    Range(b"d"),
                    Delete(b"x"),
                    Put(b"a", b"a"),
                    Range(b"a", b"z", 2),
                ),
            )
            now = result.revision
            old = KeyValuePair(b"b", b"old", one, one)
            new = KeyValuePair(b"b", b"new", one, now)
            c = KeyValuePair(b"c", b"c", now, now)
            a = KeyValuePair(b"a", b"a", now, now)
            assert result.results[1:4] == [PutResult(old), PutResult(None), DeleteResult(1)]
            assert result.results[6:8] == [DeleteResult(0), PutResult(None)]
            read = [each for each in result.results if isinstance(each, RangeResult)]
            assert [(each.pairs, each.more) for each in read] == [
                ([old], True),
                ([new, c], False),
                ([], False),
                ([a, new], True),
            ]
            assert (await rdb.range(b"", UNBOUNDED)).pairs == [a, new, c]

        self.run(test)

    def test_of_many_that_compare_and_swap_one_wins_each_round(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            await put(rdb, b"n", b"0")

            async def add() -> int:
                tries = 0
                while True:
                    tries += 1
                    (pair,) = (await rdb.range(b"n")).pairs
                    more = b"%d" % (int(pair.value) + 1)
                    if (await rdb.txn((unchanged(pair),), (Put(b"n", more),))).succeeded:
                        return tries

            tries = await asyncio.gather(*(add() for _ in range(20)))
            assert (await rdb.range(b"n")).pairs[0].value == b"20"
            assert sum(tries) > 20

        self.run(test)

    def test_everything_survives_a_restart(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            await put(rdb, b"a", b"1")
            await put(rdb, b"k" * KEY_SIZE_MAX, b"long")
            await put(rdb, b"gone")
            await rdb.txn((), (Delete(b"gone"),))
            await put(rdb, b"a", b"2")
            before = await rdb.range(b"", UNBOUNDED)
            await store.reopen()
            assert await store.rdb.range(b"", UNBOUNDED) == before
            assert await put(store.rdb, b"b") == before.revision + 1

        self.run(test)

    # Leases

    def test_keys_vanish_with_their_lease(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            short, long = await rdb.grant(SECOND_NS), await rdb.grant(3 * SECOND_NS)
            assert short != long
            await rdb.txn(
                (), (Put(b"s1", b"", short), Put(b"s2", b"", short), Put(b"l", b"", long))
            )
            revision = await put(rdb, b"free")
            await store.advance(SECOND_NS * 9 // 10)
            assert await keys(rdb) == [b"free", b"l", b"s1", b"s2"]
            assert (await rdb.range(b"s1")).pairs[0].lease == short
            await store.advance(SECOND_NS)
            found = await rdb.range(b"", UNBOUNDED)
            assert [pair.key for pair in found.pairs] == [b"free", b"l"]
            assert found.revision == revision + 1
            assert (await rdb.txn((absent(b"s1"),), ())).succeeded
            for call in (rdb.keepalive(short), rdb.revoke(short), put(rdb, b"x", b"", short)):
                with pytest.raises(NotFoundError, match=f"lease {short}"):
                    await call

        self.run(test)

    def test_keepalive_starts_the_time_anew(self) -> None:
        async def test(store: Store) -> None:
            lease = await store.rdb.grant(SECOND_NS)
            await put(store.rdb, b"a", b"", lease)
            for _ in range(4):
                await store.advance(SECOND_NS * 7 // 10)
                await store.rdb.keepalive(lease)
            assert await keys(store.rdb) == [b"a"]
            await store.advance(2 * SECOND_NS)
            assert await keys(store.rdb) == []

        self.run(test)

    def test_revoke_deletes_at_once_and_many(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            lease = await rdb.grant(SECOND_NS)
            for batch in range(3):
                names = [b"%d-%03d" % (batch, n) for n in range(OPERATIONS_MAX)]
                await rdb.txn((), tuple(Put(name, b"", lease) for name in names))
            revision = await put(rdb, b"free")
            await rdb.revoke(lease)
            found = await rdb.range(b"", UNBOUNDED)
            assert [pair.key for pair in found.pairs] == [b"free"]
            assert found.revision == revision + 1
            empty = await rdb.grant(SECOND_NS)
            await rdb.revoke(empty)
            assert (await rdb.range(b"free")).revision == revision + 1

        self.run(test)

    def test_a_put_moves_a_key_from_lease_to_lease(self) -> None:
        async def test(store: Store) -> None:
            rdb = store.rdb
            first, second = await rdb.grant(SECOND_NS), await rdb.grant(100 * SECOND_NS)
            for key in (b"freed", b"moved", b"stays", b"dropped"):
                await put(rdb, key, b"", first)
            await put(rdb, b"freed")
            await put(rdb, b"moved", b"", second)
            await put(rdb, b"stays", b"again", first)
            await rdb.txn((), (Delete(b"dropped"),))
            await put(rdb, b"dropped")
            await store.advance(2 * SECOND_NS)
            assert await keys(rdb) == [b"dropped", b"freed", b"moved"]
            await rdb.revoke(second)
            assert await keys(rdb) == [b"dropped", b"freed"]

        self.run(test)

    def test_leases_survive_a_restart_with_their_full_time(self) -> None:
        async def test(store: Store) -> None:
            lease = await store.rdb.grant(2 * SECOND_NS)
            await put(store.rdb, b"a", b"", lease)
            await store.advance(SECOND_NS)
            await store.reopen()
            await store.advance(SECOND_NS * 3 // 2)
            assert await keys(store.rdb) == [b"a"]
            await store.rdb.keepalive(lease)
            assert await store.rdb.grant(SECOND_NS) != lease
            await store.advance(3 * SECOND_NS)
            assert await keys(store.rdb) == []

        self.run(test)

    def test_impossible_leases(self) -> None:
        async def test(store: Store) -> None:
            for ttl_ns in (0, -1, 1 << 62):
                with pytest.raises(InvalidError):
                    await store.rdb.grant(ttl_ns)
            with pytest.raises(NotFoundError):
                await store.rdb.keepalive(1)

        self.run(test)

"""The API over any system: objects with two levels of keys.

Source: DAOS src/tests/suite/daos_obj.c (IO), daos_obj_array.c (ARRAY); internals §9.14, §9.15
"""

from __future__ import annotations

import random
from itertools import islice
from typing import TYPE_CHECKING

import pytest

import daos
from daos import Cond, Extents, Range

if TYPE_CHECKING:
    from collections.abc import Callable

MiB = 1 << 20
SMALL, LARGE = 64, 5 << 10  # below and above what goes to the data device


def noise(nbytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(nbytes)


class TestSingleValues:
    @pytest.mark.parametrize("nbytes", [1, SMALL, 4095, 4096, LARGE, 131071, 1 << 20, 5 << 20])
    def test_update_fetch_punch(self, obj: daos.Object, nbytes: int) -> None:
        """IO1-4."""
        value = noise(nbytes)
        obj.update(b"d", b"a", value)
        assert obj.fetch(b"d", b"a") == value
        assert obj.size(b"d", b"a") == nbytes
        obj.punch_dkeys([b"d"])
        assert obj.fetch(b"d", b"a") is None
        assert obj.size(b"d", b"a") == 0

    def test_overwritten_by_larger_and_smaller(self, obj: daos.Object) -> None:
        """IO8."""
        for number, nbytes in enumerate((10, LARGE, 3, 1 << 20, 0, 7)):
            value = noise(nbytes, number)
            obj.update(b"d", b"a", value)
            assert obj.fetch(b"d", b"a") == value

    @pytest.mark.parametrize("nbytes", [1, 400, 401, 4096, 1 << 16, 1 << 20])
    def test_long_keys(self, obj: daos.Object, nbytes: int) -> None:
        """IO5, IO6."""
        key, near = noise(nbytes), noise(nbytes)[:-1] + b"\0"
        obj.update(key, key, b"1")
        obj.update(near, near, b"2")
        assert obj.fetch(key, key) == b"1"
        assert set(obj.dkeys()) == {key, near}
        assert list(obj.akeys(near)) == [near]

    def test_an_empty_value_is_a_value(self, obj: daos.Object) -> None:
        obj.update(b"d", b"a", b"")
        assert obj.fetch(b"d", b"a") == b""
        assert obj.fetch(b"d", b"b") is None
        assert obj.fetch(b"e", b"a") is None
        assert list(obj.akeys(b"d")) == [b"a"]

    def test_many_akeys_in_one_request(self, obj: daos.Object) -> None:
        """IO11, IO12, IO20."""
        values = {b"%d" % number: noise(131071 * (number + 1), number) for number in range(5)}
        obj.update_many(b"d", values)
        assert obj.fetch_many(b"d", list(values)) == list(values.values())
        assert [obj.size(b"d", akey) for akey in values] == [len(v) for v in values.values()]

    def test_missing_keys_among_others(self, obj: daos.Object) -> None:
        """IO37."""
        assert obj.fetch_many(b"d", [b"a", Range(b"b", 0, 4)]) == [None, None]
        obj.update(b"d", b"a", b"1")
        assert obj.fetch_many(b"d", [b"x", b"a", b"y"]) == [None, b"1", None]

    def test_into_memory_of_the_caller(self, client: daos.Client, obj: daos.Object) -> None:
        """IO39, ARRAY0: what is too small is told, what is larger keeps its rest."""
        obj.update(b"d", b"a", b"hello")
        into = bytearray(b"........")
        assert obj.fetch(b"d", b"a", into=into) == 5
        assert into == b"hello..."
        with pytest.raises(daos.RecordTooBigError, match="5 bytes"):
            obj.fetch(b"d", b"a", into=bytearray(4))
        assert obj.fetch(b"d", b"none", into=into) is None
        with pytest.raises(daos.InvalidError, match="writable"):
            obj.fetch(b"d", b"a", into=b"12345")
        value = noise(3 << 20)
        obj.update(b"d", b"b", value)
        buffer = client.buffer(len(value) + 5)
        assert obj.fetch(b"d", b"b", into=buffer) == len(value)
        assert buffer[: len(value)] == value
        obj.update(b"d", b"c", buffer.view[:100])
        assert obj.fetch(b"d", b"c") == value[:100]

    @pytest.mark.parametrize("nbytes", [256 << 10, (256 << 10) + 1, 3 * MiB + 5])
    def test_large_values_in_memory_of_any_kind(
        self, client: daos.Client, obj: daos.Object, nbytes: int
    ) -> None:
        value = (bytes(range(251)) * (nbytes // 251 + 1))[:nbytes]
        registered = client.buffer(nbytes)
        registered[:] = value
        wrapped = memoryview(registered)[:]
        for akey, data in ((b"plain", value), (b"registered", registered), (b"view", wrapped)):
            obj.update(b"d", akey, data)
            assert obj.fetch(b"d", akey) == value
            into, plain = client.buffer(nbytes + 7), bytearray(nbytes)
            assert obj.fetch(b"d", akey, into=into) == nbytes
            assert into[:] == value + bytes(7)
            assert obj.fetch(b"d", akey, into=plain) == nbytes
            assert plain == value
        assert obj.fetch_many(b"d", [b"plain", b"none", b"view"]) == [value, None, value]
        with pytest.raises(daos.RecordTooBigError):
            obj.fetch(b"d", b"plain", into=client.buffer(nbytes - 1))

    def test_a_read_larger_than_a_frame(self, client: daos.Client, obj: daos.Object) -> None:
        part = bytes(range(256)) * (MiB >> 8)
        for at in range(0, 66, 3):
            obj.write(b"d", b"a", at * MiB + 1, part * 3)
        whole = obj.read(b"d", b"a", 0, 66 * MiB + 2)
        assert whole[1:-1] == part * 66
        assert whole[0] == whole[-1] == 0
        into = client.buffer(66 * MiB + 2)
        assert obj.read(b"d", b"a", 0, len(into), into=into) == len(into)
        assert into[:] == whole

    def test_over_a_megabyte_of_values_at_once(self, obj: daos.Object) -> None:
        with pytest.raises(daos.RecordTooBigError):
            obj.update(b"d", b"a", bytes((64 << 20) + 1))

    def test_integer_keys(self, cont: daos.Container) -> None:
        """IO44 and ints as keys."""
        obj = cont.object(cont.new_oid("MULTI_UINT64"))
        for dkey, akey in ((0, 0), (10, 5), (2**64 - 1, 255), (10, 2**63)):
            obj.update(dkey, akey, b"%d/%d" % (dkey, akey))
        assert list(obj.dkeys()) == [0, 10, 2**64 - 1]
        assert list(obj.akeys(10)) == [5, 2**63]
        assert obj.fetch((10).to_bytes(8, "little"), 5) == b"10/5"
        for bad in (b"abc", b"x" * 128, b"", -1, 2**64, True, "text", None, 1.5):
            for call in (
                lambda key: obj.update(key, 1, b"v"),
                lambda key: obj.update(1, key, b"v"),
                lambda key: obj.fetch(key, 1),
                lambda key: obj.punch_dkeys([key]),
                lambda key: obj.punch_akeys(1, [key]),
            ):
                with pytest.raises(daos.InvalidError):
                    call(bad)

    @pytest.mark.parametrize("bad", [b"", 7, "text", None])
    def test_bad_keys(self, obj: daos.Object, bad: bytes) -> None:
        for call in (
            lambda: obj.update(bad, b"a", b"v"),
            lambda: obj.update(b"d", bad, b"v"),
            lambda: obj.fetch(bad, b"a"),
            lambda: list(obj.akeys(bad)),
        ):
            with pytest.raises(daos.InvalidError):
                call()
        assert list(obj.dkeys()) == []

    def test_a_key_over_a_megabyte(self, obj: daos.Object) -> None:
        with pytest.raises(daos.KeyTooBigError):
            obj.update(bytes((1 << 20) + 1), b"a", b"v")

    @pytest.mark.parametrize("bad", ["text", 5, None, [1, 2]])
    def test_values_are_buffers(self, obj: daos.Object, bad: bytes) -> None:
        with pytest.raises(daos.InvalidError, match="buffer"):
            obj.update(b"d", b"a", bad)

    def test_read_only_objects(self, cont: daos.Container) -> None:
        obj = cont.object(cont.new_oid(), mode="r")
        assert obj.fetch(b"d", b"a") is None
        with pytest.raises(daos.AccessError):
            obj.update(b"d", b"a", b"v")
        with pytest.raises(daos.InvalidError, match="mode"):
            cont.object(obj.oid, mode="w")


class TestConditions:
    def test_matrix_of_dkey_and_akey_conditions(self, obj: daos.Object) -> None:
        """ARRAY18, in its order."""

        def update(cond: int, first: int = 0, second: int = 0) -> None:
            conds = {b"a1": first, b"a2": second} if first else None
            obj.update_many(b"d", {b"a1": b"1", b"a2": b"2"}, cond=cond, akey_conds=conds)

        insert, change = Cond.AKEY_INSERT, Cond.AKEY_UPDATE
        with pytest.raises(daos.NotFoundError):
            update(Cond.DKEY_UPDATE | insert)
        with pytest.raises(daos.NotFoundError):
            update(Cond.DKEY_INSERT | change)
        with pytest.raises(daos.NotFoundError):
            update(Cond.DKEY_INSERT, insert, change)
        assert list(obj.dkeys()) == []  # nothing half there
        update(Cond.DKEY_INSERT, insert, insert)
        with pytest.raises(daos.ExistsError):
            update(Cond.DKEY_UPDATE, insert, change)
        with pytest.raises(daos.ExistsError):
            obj.update(b"d", b"a1", b"x", cond=Cond.DKEY_UPDATE | insert)
        with pytest.raises(daos.NotFoundError):
            obj.update(b"d", b"a3", b"x", cond=Cond.DKEY_UPDATE | change)
        assert obj.fetch_many(b"d", [b"a1", b"a2", b"a3"]) == [b"1", b"2", None]

    def test_fetch_and_punch(self, obj: daos.Object) -> None:
        with pytest.raises(daos.NotFoundError):
            obj.fetch(b"d", b"a", cond=Cond.DKEY_FETCH)
        with pytest.raises(daos.NotFoundError):
            obj.punch_dkeys([b"d"], cond=Cond.PUNCH)
        obj.punch_dkeys([b"d"])
        obj.update(b"d", b"a", b"v")
        with pytest.raises(daos.NotFoundError):
            obj.fetch(b"d", b"b", cond=Cond.AKEY_FETCH)
        assert obj.fetch(b"d", b"a", cond=Cond.AKEY_FETCH) == b"v"
        obj.punch_akeys(b"d", [b"a"], cond=Cond.PUNCH)

    def test_conditions_of_single_akeys_and_of_records(self, obj: daos.Object) -> None:
        """VOS863 through the public face; records as well as values."""
        insert, change, there = Cond.AKEY_INSERT, Cond.AKEY_UPDATE, Cond.AKEY_FETCH
        both = {b"a1": b"1", b"a2": b"2"}
        with pytest.raises(daos.NotFoundError):
            obj.update_many(b"d", both, akey_conds={b"a2": change})
        assert obj.fetch_many(b"d", [b"a1", b"a2"]) == [None, None]
        obj.update_many(b"d", both, akey_conds={b"a2": insert})
        wanted = [b"a1", b"a2", daos.Range(b"r", 0, 4)]
        assert obj.fetch_many(b"d", wanted, akey_conds={b"a1": there}) == [b"1", b"2", None]
        with pytest.raises(daos.NotFoundError):
            obj.fetch_many(b"d", wanted, akey_conds={b"a1": there, b"r": there})
        with pytest.raises(daos.NotFoundError):
            obj.fetch_many(b"d", wanted, cond=there)
        with pytest.raises(daos.NotFoundError):
            obj.fetch_many(b"e", wanted, cond=Cond.DKEY_FETCH)
        with pytest.raises(daos.NotFoundError):
            obj.read(b"d", b"r", 0, 4, cond=there)
        with pytest.raises(daos.NotFoundError):
            obj.write(b"d", b"r", 0, b"rrrr", cond=change)
        with pytest.raises(daos.NotFoundError):
            obj.punch_range(b"d", b"r", 1, 1, cond=change)
        obj.write(b"d", b"r", 0, b"rrrr", cond=insert)
        with pytest.raises(daos.ExistsError):
            obj.punch_range(b"d", b"r", 1, 1, cond=insert)
        assert obj.read(b"d", b"r", 0, 4, cond=there) == b"rrrr"
        assert obj.fetch_many(b"d", wanted, cond=there) == [b"1", b"2", b"rrrr"]
        obj.punch_akeys(b"d", [b"a2"], cond=Cond.PUNCH)
        with pytest.raises(daos.NotFoundError):
            obj.punch_akeys(b"d", [b"a1", b"a2"], cond=Cond.PUNCH)
        with pytest.raises(daos.NotFoundError):
            obj.fetch_many(b"d", wanted, akey_conds={b"a1": there, b"a2": there})
        with pytest.raises(daos.InvalidError):
            obj.fetch_many(b"d", wanted, akey_conds={b"other": there})
        with pytest.raises(daos.InvalidError):
            obj.fetch_many(b"d", wanted, akey_conds={b"a1": insert})

    def test_conditions_of_other_calls_are_refused(self, obj: daos.Object) -> None:
        for cond in (Cond.DKEY_FETCH, Cond.PUNCH, 1 << 20):
            with pytest.raises(daos.InvalidError):
                obj.update(b"d", b"a", b"v", cond=cond)
        with pytest.raises(daos.InvalidError):
            obj.update_many(b"d", {b"a": b"v"}, akey_conds={b"b": Cond.AKEY_INSERT})


class TestRecords:
    @pytest.mark.parametrize(
        ("record_size", "count"),
        [(1, 131071), (2, 512), (4, 256), (8, 128), (131071, 8), (1 << 20, 10)],
    )
    def test_record_sizes(self, obj: daos.Object, record_size: int, count: int) -> None:
        """ARRAY2-7."""
        data, offset = noise(record_size * count), 12345
        obj.write(b"d", b"a", offset, data, record_size=record_size)
        assert obj.size(b"d", b"a") == record_size
        assert obj.read(b"d", b"a", offset, count, record_size=record_size) == data
        with pytest.raises(daos.InvalidError, match=str(record_size)):
            obj.read(b"d", b"a", offset, 1, record_size=record_size + 1)
        with pytest.raises(daos.InvalidError):
            obj.write(b"d", b"a", 0, bytes(2 * record_size + 2), record_size=record_size + 1)
        with pytest.raises(daos.InvalidError, match="whole number"):
            obj.write(b"d", b"a", 0, bytes(record_size + 1), record_size=record_size + 2)

    def test_offsets_up_to_the_last(self, obj: daos.Object) -> None:
        """IO7."""
        offset = (1 << 63) - 1
        offsets = [offset >> shift for shift in range(0, 63, 8)]
        for number, at in enumerate(offsets):
            obj.write(b"d", b"a", at, bytes([number + 1]))
        for number, at in enumerate(offsets):
            assert obj.read(b"d", b"a", at, 1) == bytes([number + 1])
        with pytest.raises(daos.InvalidError):
            obj.write(b"d", b"a", 1 << 63, b"x")

    def test_holes_are_zero(self, client: daos.Client, obj: daos.Object) -> None:
        """IO25, IO26, ARRAY9, ARRAY10, ARRAY14."""
        assert obj.read(b"d", b"a", 0, 1000) == bytes(1000)
        for offset in (27136, 30208, 28672):
            obj.write(b"d", b"a", offset, noise(192, offset))
        model = bytearray(4608)
        for offset in (27136, 30208, 28672):
            model[offset - 27136 : offset - 27136 + 192] = noise(192, offset)
        assert obj.read(b"d", b"a", 27136, 4608) == model
        into = client.buffer(5000)
        into[:] = b"x" * 5000
        assert obj.read(b"d", b"a", 27136, 4608, into=into) == 4608
        assert into[:] == bytes(model) + b"x" * 392
        with pytest.raises(daos.RecordTooBigError):
            obj.read(b"d", b"a", 0, 5001, into=into)

    def test_overlapping_writes_show_the_newest(self, obj: daos.Object) -> None:
        rng, model = random.Random(7), bytearray(20_000)
        for _ in range(60):
            lo = rng.randrange(19_000)
            data = rng.randbytes(rng.choice((1, 10, 500, 5000)))[: 20_000 - lo]
            if rng.random() < 0.2:
                obj.punch_range(b"d", b"a", lo, len(data))
                model[lo : lo + len(data)] = bytes(len(data))
            else:
                obj.write(b"d", b"a", lo, data)
                model[lo : lo + len(data)] = data
            lo, hi = sorted((rng.randrange(20_000), rng.randrange(20_000)))
            assert obj.read(b"d", b"a", lo, hi - lo) == model[lo:hi]
        assert obj.read(b"d", b"a", 0, 20_000) == model

    def test_several_ranges_of_several_akeys(self, obj: daos.Object) -> None:
        """IO13, ARRAY8: values and records in one update, read in one request."""
        pieces = [(0, noise(24)), (100, noise(6000, 2)), (10_000, b"end")]
        obj.update_many(
            b"d", {b"a": Extents(1, pieces), b"s": b"single", b"w": Extents(4, [(5, b"abcd")])}
        )
        ranges = [Range(b"a", offset, len(data)) for offset, data in pieces]
        found = obj.fetch_many(b"d", [*ranges, b"s", Range(b"w", 4, 3), Range(b"none", 0, 9)])
        assert found == [
            *(data for _, data in pieces),
            b"single",
            bytes(4) + b"abcd" + bytes(4),
            None,
        ]

    def test_overlaps_within_one_update_are_refused(self, obj: daos.Object) -> None:
        """IO32."""
        for pieces in ([(0, b"abc"), (2, b"xy")], [(5, b"a"), (5, b"a")]):
            with pytest.raises(daos.InvalidError, match="overlap"):
                obj.update_many(b"d", {b"a": Extents(1, pieces)})
        assert list(obj.dkeys()) == []

    def test_punched_ranges(self, obj: daos.Object) -> None:
        """IO34, IO40, ARRAY13."""
        obj.write(b"d", b"a", 0, noise(100))
        obj.punch_range(b"d", b"a", 50, 10)
        data = noise(100)
        assert obj.read(b"d", b"a", 0, 100) == data[:50] + bytes(10) + data[60:]
        extents = list(obj.extents(b"d", b"a"))
        assert [(extent.offset, extent.count) for extent in extents] == [(0, 50), (60, 40)]
        assert {extent.record_size for extent in extents} == {1}
        obj.punch_range(b"d", b"a", 0, 1 << 20)
        assert list(obj.extents(b"d", b"a")) == []

    def test_numbers_are_checked(self, obj: daos.Object) -> None:
        for bad in (-1, 1 << 64, 1.5, None, True):
            with pytest.raises(daos.InvalidError):
                obj.read(b"d", b"a", bad, 1)  # type: ignore[arg-type]  # that is the point
            with pytest.raises(daos.InvalidError):
                obj.write(b"d", b"a", bad, b"x")  # type: ignore[arg-type]  # as above
        for bad in (0, -1):
            with pytest.raises(daos.InvalidError):
                obj.write(b"d", b"a", 0, b"x", record_size=bad)
        with pytest.raises(daos.RecordTooBigError):
            obj.read(b"d", b"a", 0, 1 << 40)

    def test_nothing_is_nothing(self, obj: daos.Object) -> None:
        obj.write(b"d", b"a", 0, b"")
        assert obj.read(b"d", b"a", 0, 0) == b""
        assert list(obj.dkeys()) == []

    def test_one_akey_keeps_its_kind(self, obj: daos.Object) -> None:
        obj.update(b"d", b"a", b"single")
        with pytest.raises(daos.DaosError):
            obj.write(b"d", b"a", 0, b"records")
        assert obj.fetch(b"d", b"a") == b"single"


class TestPunchAndEnumeration:
    def test_levels_of_punch(self, obj: daos.Object) -> None:
        """IO10."""
        for dkey in (b"1", b"2", b"3"):
            obj.update_many(dkey, {b"a": b"v", b"b": Extents(1, [(0, b"records")])})
        obj.punch_akeys(b"1", [b"a"])
        assert list(obj.akeys(b"1")) == [b"b"]
        obj.punch_akeys(b"1", [b"b", b"never"])
        assert list(obj.akeys(b"1")) == []
        obj.punch_dkeys([b"2", b"never"])
        assert b"2" not in set(obj.dkeys())
        assert obj.fetch(b"3", b"a") == b"v"
        obj.update(b"2", b"a", b"again")
        assert list(obj.akeys(b"2")) == [b"a"]
        obj.punch()
        assert list(obj.dkeys()) == []
        obj.update(b"1", b"a", b"after")
        assert list(obj.dkeys()) == [b"1"]
        assert obj.fetch(b"3", b"a") is None

    @pytest.mark.parametrize("oclass", ["S1", "SX"])
    def test_many_dkeys(self, client: daos.Client, cont: daos.Container, oclass: str) -> None:
        """IO9, ARRAY11: every one once, at any page, resumed anywhere."""
        obj = cont.object(cont.new_oid("DKEY_LEXICAL", oclass))
        keys = {b"key-%04d" % number for number in range(1500)} | {b"long" * (128 << 10)}
        with daos.EventQueue(client) as queue:
            for key in keys:
                queue.launch(obj.update, key, b"a", b"v")
        assert list(obj.dkeys()) == sorted(keys)
        assert list(obj.dkeys(prefix=b"key-00")) == [b"key-%04d" % number for number in range(100)]
        listing, found = obj.dkeys(), list[bytes | int]()
        for stop in (1, 7, 1024, 10_000):
            found += islice(listing, stop)
            listing = obj.dkeys(anchor=listing.anchor)
        assert found == sorted(keys)
        gone = [b"key-%04d" % number for number in range(100)]
        obj.punch_dkeys([*gone, *(b"never-%d" % number for number in range(10))])
        assert set(obj.dkeys()) == keys - set(gone)

    @pytest.mark.parametrize("oclass", ["S1", "SX"])
    def test_hashed_keys_resumed(
        self, client: daos.Client, cont: daos.Container, oclass: str
    ) -> None:
        obj = cont.object(cont.new_oid("MULTI_HASHED", oclass))
        keys = {b"%d" % number for number in range(300)}
        with daos.EventQueue(client) as queue:
            for key in keys:
                queue.launch(obj.update, key, key, b"v")
        found, anchor = [], b""
        while True:
            listing = obj.dkeys(anchor=anchor)
            part = list(islice(listing, 37))
            if not part:
                break
            found += part
            anchor = listing.anchor
        assert sorted(found) == sorted(keys)

    def test_anchors_of_something_else(self, cont: daos.Container, obj: daos.Object) -> None:
        wide = cont.object(cont.new_oid(oclass="SX"))
        for bad in (b"x", b"\xc1", bytes(100), wide.dkeys().anchor):
            with pytest.raises(daos.InvalidError):
                list(obj.dkeys(anchor=bad))

    def test_many_extents(self, obj: daos.Object) -> None:
        for first in range(0, 1200, 100):
            pieces = [(n * 7, b"xxxxx"[: 2 + 3 * (n % 2)]) for n in range(first, first + 100)]
            obj.update_many(b"d", {b"a": Extents(1, pieces)})
        extents = obj.extents(b"d", b"a")
        head = [next(extents) for _ in range(5)]
        rest = list(obj.extents(b"d", b"a", anchor=extents.anchor))
        assert [extent.offset for extent in head + rest] == [n * 7 for n in range(1200)]
        assert [extent.epoch for extent in rest] == sorted(extent.epoch for extent in rest)

    @pytest.mark.parametrize("otype", ["MULTI_LEXICAL", "MULTI_UINT64", "MULTI_HASHED"])
    def test_backwards_is_the_exact_opposite(self, cont: daos.Container, otype: str) -> None:
        obj = cont.object(cont.new_oid(otype, oclass="SX"))
        names = [number.to_bytes(8, "little") for number in range(0, 1200, 7)]
        for name in names:
            obj.update(name, name, b"v")
            obj.update(names[0], name, b"v")
        for listing in (obj.dkeys, lambda **way: obj.akeys(names[0], **way)):
            there = list(listing())
            back = list(listing(reverse=True))
            assert len(there) == len(names)
            assert sorted(back) == sorted(there)
            if otype != "MULTI_HASHED":
                assert back == there[::-1]
                middle = there[len(there) // 2]
                assert list(listing(start=middle)) == there[len(there) // 2 :]
                assert list(listing(start=middle, reverse=True)) == back[len(there) // 2 - 1 :]
                first = listing(reverse=True)
                head = list(islice(first, 50))
                assert head + list(listing(reverse=True, anchor=first.anchor)) == back
            else:
                with pytest.raises(daos.InvalidError, match="no order"):
                    list(listing(start=there[0]))
        with pytest.raises(daos.InvalidError):
            obj.dkeys(start=-1)

    def test_extents_backwards(self, obj: daos.Object) -> None:
        pieces = [(number, b"xy") for number in range(0, 6000, 3)]
        obj.update_many(b"d", {b"a": Extents(1, pieces)})
        there = list(obj.extents(b"d", b"a"))
        assert len(there) == 2000
        backwards = obj.extents(b"d", b"a", reverse=True)
        assert list(islice(backwards, 2000)) == there[::-1]
        assert not list(backwards)
        some = obj.extents(b"d", b"a", reverse=True)
        head = list(islice(some, 300))
        assert head + list(obj.extents(b"d", b"a", reverse=True, anchor=some.anchor)) == there[::-1]

    def test_versions_of_a_single_value(self, cont: daos.Container, obj: daos.Object) -> None:
        assert list(obj.versions(b"d", b"a")) == []
        sizes = [5, LARGE, 1, 70]
        for size in sizes:
            obj.update(b"d", b"a", noise(size))
        snap = cont.snapshot()
        obj.punch_akeys(b"d", [b"a"])
        obj.update(b"d", b"a", b"again")
        found = list(obj.versions(b"d", b"a"))
        assert [each.size for each in found] == [*sizes, 5]
        assert [each.covered for each in found] == [True] * 4 + [False]
        assert found == sorted(found)
        assert list(obj.versions(b"d", b"a", reverse=True)) == found[::-1]
        lo, hi = found[1].epoch, found[2].epoch
        assert list(obj.versions(b"d", b"a", lo=lo, hi=hi)) == [
            daos.Version(v.epoch, 0, 1, v.size, False) for v in found[1:3]
        ]
        assert list(obj.versions(b"d", b"a", lo=hi, hi=lo)) == []
        old = list(cont.at(snap).object(obj.oid).versions(b"d", b"a"))
        assert [each.size for each in old] == sizes
        assert not any(each.covered for each in old)
        for bad in (-1, 1 << 64, "now", None):
            with pytest.raises(daos.InvalidError):
                obj.versions(b"d", b"a", lo=bad)

    def test_versions_of_records(self, obj: daos.Object) -> None:
        obj.write(b"d", b"a", 0, bytes(64), record_size=8)
        obj.write(b"d", b"a", 4, bytes(8), record_size=8)
        obj.write(b"d", b"a", 0, bytes(8), record_size=8)
        obj.punch_range(b"d", b"a", 6, 100)
        found = [(v.offset, v.count, v.size) for v in obj.versions(b"d", b"a")]
        assert found == [(0, 1, 8), (0, 8, 8), (4, 1, 8), (6, 100, 0)]
        back = [(v.offset, v.count, v.size) for v in obj.versions(b"d", b"a", reverse=True)]
        assert back == found[::-1]
        assert [v.offset for v in obj.extents(b"d", b"a")] == [0, 1, 4, 5]

    def test_versions_in_pages(self, client: daos.Client, obj: daos.Object) -> None:
        with daos.EventQueue(client, depth=1500) as queue:
            for number in range(1500):
                queue.launch(obj.update, b"d", b"a", b"%d" % number)
            while queue.running:
                queue.poll(timeout=30)
        listing = obj.versions(b"d", b"a", reverse=True)
        head = list(islice(listing, 1100))
        rest = list(obj.versions(b"d", b"a", reverse=True, anchor=listing.anchor))
        assert len({v.epoch for v in head + rest}) == 1500
        assert head + rest == sorted(head + rest, reverse=True)

    def test_query_of_keys_and_records(self, cont: daos.Container) -> None:
        """IO29, IO53."""
        obj = cont.object(cont.new_oid("MULTI_UINT64", "SX"))
        queries: list[Callable[[], int | None]] = [
            obj.max_dkey,
            obj.min_dkey,
            lambda: obj.max_akey(10),
            lambda: obj.max_record(10, 10),
        ]
        assert [query() for query in queries] == [None] * 4
        obj.write(5, 10, 5, b"x")
        obj.write(10, 10, 5, b"x")
        obj.write(10, 10, 50, b"x")
        obj.write(10, 7, 1, b"x")
        assert [query() for query in queries] == [10, 5, 10, 50]
        assert obj.min_akey(10) == 7
        assert obj.min_record(10, 10) == 5
        obj.punch_range(10, 10, 50, 1)
        assert obj.max_record(10, 10) == 5
        obj.punch_dkeys([10])
        assert obj.max_dkey() == 5

    def test_queries_need_integer_keys(self, obj: daos.Object) -> None:
        for query in (obj.max_dkey, obj.min_dkey, lambda: obj.max_akey(b"d")):
            with pytest.raises(daos.InvalidError, match="integer"):
                query()

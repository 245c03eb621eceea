"""The API over any system: every type of object, and requests as large as they may be.

Source: internals §5.1, §1.1 "Flat dkey"
"""

from __future__ import annotations

import random

import pytest

import daos
from daos import Extents, Range


def noise(nbytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(nbytes)


FLAT = [otype.name for otype in daos.ObjectType if otype.is_kv or otype.is_array]
DEEP = [otype.name for otype in daos.ObjectType if otype.name not in (*FLAT, "OIT", "OIT_V2")]


class TestTypes:
    """Every type of the table can be made and used, or is refused by name."""

    @pytest.mark.parametrize("otype", DEEP)
    def test_two_levels_of_keys(self, cont: daos.Container, otype: str) -> None:
        obj = cont.object(cont.new_oid(otype))
        names = [number.to_bytes(8, "little") for number in (3, 1, 2)]
        for name in names:
            obj.update_many(name, {names[0]: b"single", names[1]: Extents(1, [(5, b"array")])})
        kinds = daos.ObjectType[otype].dkey_kind.name, daos.ObjectType[otype].akey_kind.name
        dkeys, akeys = list(obj.dkeys()), list(obj.akeys(names[2]))
        for keys, kind in zip((dkeys, akeys), kinds, strict=True):
            assert all(isinstance(key, int) is (kind == "UINT64") for key in keys)
            assert kind == "HASHED" or keys == sorted(keys)
        assert len(dkeys) == 3
        assert len(akeys) == 2
        assert obj.fetch_many(names[2], [names[0], Range(names[1], 5, 5)]) == [b"single", b"array"]
        obj.punch_akeys(names[2], names[:1])
        assert len(list(obj.akeys(names[2]))) == 1

    @pytest.mark.parametrize("otype", FLAT)
    def test_one_value_a_dkey(self, cont: daos.Container, otype: str) -> None:
        obj = cont.object(cont.new_oid(otype))
        names = [number.to_bytes(8, "little") for number in (3, 1, 2)]
        for name in names:
            obj.update(name, b"whatever", name)
        assert len(list(obj.dkeys())) == 3
        assert list(obj.akeys(names[0])) == [b"0"]
        assert obj.fetch(names[0], b"something else") == names[0]
        obj.write(b"array:::", b"0", 3, b"records")
        assert obj.read(b"array:::", b"any", 3, 7) == b"records"
        assert [each.count for each in obj.extents(b"array:::", b"x")] == [7]
        with pytest.raises(daos.AccessError, match="one value a dkey"):
            obj.update_many(names[0], {b"a": b"1", b"b": b"2"})
        with pytest.raises(daos.InvalidError, match="no akeys to punch"):
            obj.punch_akeys(names[0], [b"0"])
        with pytest.raises(daos.InvalidError):
            obj.update(names[0], b"", b"v")
        obj.punch_dkeys(names[:1])
        assert obj.fetch(names[0], b"0") is None
        assert obj.fetch(names[1], b"0") == names[1]

    @pytest.mark.parametrize("otype", ["OIT", "OIT_V2"])
    def test_tables_of_object_ids_are_refused(self, cont: daos.Container, otype: str) -> None:
        with pytest.raises(daos.NotSupportedError, match=rf"{otype}: .*objects\(\)"):
            cont.new_oid(otype)
        made = cont.new_oid()
        oid = daos.ObjectId(int(daos.ObjectType[otype]) << 56 | made.hi & (1 << 56) - 1, made.lo)
        with pytest.raises(daos.NotSupportedError, match=otype):
            cont.object(oid)


class TestListIo:
    def test_thousands_of_ranges_of_several_akeys(self, obj: daos.Object) -> None:
        """In one update and one fetch, in any order, overlapping too."""
        rng = random.Random(3)
        want = {akey: bytearray(30_000) for akey in (b"a", b"b", b"c")}
        pieces: dict[bytes, Extents] = {}
        for akey, content in want.items():
            starts = rng.sample(range(0, 30_000, 6), 3000)
            data = [(start, noise(rng.randint(1, 6), start)) for start in starts]
            for start, piece in data:
                content[start : start + len(piece)] = piece
            pieces[akey] = Extents(1, data)
        obj.update_many(b"d", pieces)
        ranges = [
            Range(rng.choice(sorted(want)), rng.randrange(29_000), rng.randint(1, 40))
            for _ in range(5000)
        ]
        got = obj.fetch_many(b"d", ranges)
        for each, found in zip(ranges, got, strict=True):
            assert isinstance(each.akey, bytes)
            expected = want[each.akey][each.offset : each.offset + each.count]
            assert (found or bytes(each.count)) == expected

    def test_more_than_a_request_takes_is_told_before(self, obj: daos.Object) -> None:
        too_many = [(2 * number, b"x") for number in range(16_385)]
        with pytest.raises(daos.InvalidError, match="16384"):
            obj.update_many(b"d", {b"a": Extents(1, too_many)})
        with pytest.raises(daos.InvalidError, match="1024"):
            obj.update_many(b"d", {b"%d" % number: b"v" for number in range(1025)})
        with pytest.raises(daos.InvalidError, match="the limit is 4194304"):
            obj.update_many(b"d", {bytes([number]) * (1 << 20): b"v" for number in range(4)})
        value = bytes((64 << 20) + 1)
        for call in (
            lambda: obj.update(b"d", b"a", value),
            lambda: obj.write(b"d", b"a", 0, value),
            lambda: obj.read(b"d", b"a", 0, (1 << 30) + 1),
        ):
            with pytest.raises(daos.RecordTooBigError, match=r"67108864|1073741824"):
                call()
        assert list(obj.dkeys()) == []

    def test_the_largest_value(self, obj: daos.Object) -> None:
        value = noise(1 << 20) * 64
        obj.update(b"d", b"a", value)
        assert obj.fetch(b"d", b"a") == value
        obj.update(b"d", b"b", b"one byte more")
        assert obj.fetch_many(b"d", [b"a", b"b"]) == [value, b"one byte more"]

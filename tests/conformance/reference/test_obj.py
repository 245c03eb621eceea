"""Scenarios IO of the reference's object tests, over the public API.

Source: DAOS src/tests/suite/daos_obj.c; internals §9.14
"""

from __future__ import annotations

import random
from itertools import islice

import pytest

import daos
from daos import Cond, Extents, Range
from tests.conformance.conftest import System

SCM, NVME = 64, 5 << 10
KEY_SIZES = [1, 4, 16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20]


def noise(nbytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(nbytes)


@pytest.fixture(params=["S1", "SX"])
def spread(request: pytest.FixtureRequest, cont: daos.Container) -> daos.Object:
    """An object in one group, and one over all targets."""
    return cont.object(cont.new_oid(oclass=request.param))


@pytest.mark.parametrize("nbytes", [SCM, NVME])
def test_io1_arrays(obj: daos.Object, nbytes: int) -> None:
    value = noise(nbytes)
    obj.write(b"d", b"a", 0, value, record_size=nbytes)
    assert obj.size(b"d", b"a") == nbytes
    assert obj.read(b"d", b"a", 0, 1, record_size=nbytes) == value
    obj.punch_dkeys([b"d"])
    assert obj.size(b"d", b"a") == 0


@pytest.mark.parametrize("nbytes", [SCM, NVME])
def test_io2_single_values(obj: daos.Object, nbytes: int) -> None:
    value = noise(nbytes)
    obj.update(b"d", b"a", value)
    assert obj.size(b"d", b"a") == nbytes
    assert obj.fetch(b"d", b"a") == value
    obj.punch_dkeys([b"d"])
    assert obj.size(b"d", b"a") == 0


@pytest.mark.parametrize("size", [1, 3, 31, 4095, 4097, 65537, 262145, 1 << 20])
def test_io3_io4_record_sizes(obj: daos.Object, size: int) -> None:
    value = noise(size)
    obj.write(b"d", b"array", 7, value, record_size=size)
    obj.update(b"d", b"single", value)
    assert obj.read(b"d", b"array", 7, 1, record_size=size) == value
    assert obj.fetch(b"d", b"single") == value


@pytest.mark.parametrize("otype", ["MULTI_HASHED", "MULTI_LEXICAL"])
def test_io5_io6_key_sizes(cont: daos.Container, otype: str) -> None:
    obj = cont.object(cont.new_oid(otype))
    for size in KEY_SIZES:
        obj.update(b"k" * size, b"a", b"dkey %d" % size)
        obj.update(b"d", b"k" * size, b"akey %d" % size)
    for size in KEY_SIZES:
        assert obj.fetch(b"k" * size, b"a") == b"dkey %d" % size
        assert obj.fetch(b"d", b"k" * size) == b"akey %d" % size
    assert sorted(map(len, obj.akeys(b"d"))) == KEY_SIZES
    assert sorted(map(len, obj.dkeys(b"k"))) == KEY_SIZES


def test_io7_indexes(obj: daos.Object) -> None:
    index = (1 << 63) - 1
    while index > 0:
        obj.write(b"d", b"a", index, b"%08x" % (index % 10**8), record_size=8)
        assert obj.read(b"d", b"a", index, 1, record_size=8) == b"%08x" % (index % 10**8)
        index >>= 8


def test_io8_overwrites(obj: daos.Object) -> None:
    want = bytearray(noise(SCM))
    obj.write(b"d", b"a", 0, want)
    for at in range(SCM):
        want[at] ^= 0xFF
        obj.write(b"d", b"a", at, want[at : at + 1])
        assert obj.read(b"d", b"a", 0, SCM) == want
    large = noise(NVME, 2)
    obj.write(b"d", b"a", 0, large)
    assert obj.read(b"d", b"a", 0, NVME) == large


def test_io9_enumeration(client: daos.Client, cont: daos.Container) -> None:
    """Huge keys come like others: a page holds at least one, and nobody has to ask again."""
    obj = cont.object(cont.new_oid(oclass="SX"))
    names = {b"%d" % number for number in range(999)} | {b"h" * ((512 << 10) - 1)}
    with daos.EventQueue(client) as queue:
        for name in names:
            queue.launch(obj.update, name, b"a", b"v")
            while queue.running > 500:
                queue.poll(timeout=30)
        while queue.running:
            queue.poll(timeout=30)
    obj.update_many(b"0", dict.fromkeys(names, b"v"))
    for listing in (obj.dkeys, lambda **at: obj.akeys(b"0", **at)):
        found: list[bytes] = []
        pages = listing()
        while part := list(islice(pages, 5)):
            found += part
            if len(found) % 100 == 0:
                pages = listing(anchor=pages.anchor)
        assert len(found) >= 1000
        assert set(found) >= names
    pieces = [(number * 6, bytes(1024 * (2 if number % 2 else 5))) for number in range(1000)]
    obj.update_many(b"r", {b"a": Extents(1024, pieces)})
    up = list(obj.extents(b"r", b"a"))
    down = list(obj.extents(b"r", b"a", reverse=True))
    assert len(up) == 1000
    assert {each.record_size for each in up} == {1024}
    assert [each.offset for each in up] == sorted({each.offset for each in up})
    assert down == up[::-1]


def test_io10_punch(spread: daos.Object) -> None:
    dkeys, akeys = [b"d%d" % n for n in range(10)], [b"a%d" % n for n in range(10)]

    def fill() -> None:
        for dkey in dkeys:
            spread.update_many(dkey, {akey: Extents(1, [(0, b"x" * 64)]) for akey in akeys})

    fill()
    for dkey in dkeys:
        for akey in akeys[:2]:
            spread.punch_range(dkey, akey, 0, 64)
            spread.punch_range(dkey, akey, 1 << 20, 1 << 20)
            assert spread.fetch_many(dkey, [Range(akey, 0, 64)]) == [None]
            assert list(spread.extents(dkey, akey)) == []
        assert all(len(list(spread.extents(dkey, akey))) == 1 for akey in akeys[2:])
    for dkey in dkeys:
        for akey in akeys:
            spread.punch_akeys(dkey, [akey])
        assert list(spread.akeys(dkey)) == []
    assert list(spread.dkeys()) == []
    fill()
    for dkey in dkeys:
        spread.punch_dkeys([dkey])
    assert list(spread.dkeys()) == []
    fill()
    assert len(list(spread.dkeys())) == 10
    spread.punch()
    assert list(spread.dkeys()) == []


def test_io11_io12_five_akeys_in_one_call(obj: daos.Object) -> None:
    values: dict[bytes, bytes | Extents] = {
        b"s1": noise(SCM),
        b"s2": noise(NVME, 2),
        b"a1": Extents(1, [(0, noise(NVME, 3))]),
        b"a2": Extents(SCM, [(5, noise(10 * SCM, 4)), (20, noise(SCM, 5))]),
        b"s3": noise(1 << 20, 6),
    }
    obj.update_many(b"d", values)
    wanted = [b"s1", b"s2", Range(b"a1", 0, NVME), Range(b"a2", 5, 16), b"s3"]
    expected = noise(10 * SCM, 4) + bytes(5 * SCM) + noise(SCM, 5)
    got = obj.fetch_many(b"d", wanted)
    assert got == [noise(SCM), noise(NVME, 2), noise(NVME, 3), expected, noise(1 << 20, 6)]


@pytest.mark.parametrize("unit", [24, 128 << 10])
def test_io13_byte_array(obj: daos.Object, unit: int) -> None:
    """Pieces with gaps in one update, an empty one among them; tails and what was never written."""
    data = noise(3 * unit)
    pieces = [(0, data[:unit]), (unit, b""), (2 * unit, data[unit : 2 * unit])]
    pieces += [(4 * unit, data[2 * unit :])]
    obj.update_many(b"d", {b"a": Extents(1, pieces)})
    assert obj.size(b"d", b"a") == 1
    ranges = [Range(b"a", 2 * number * unit, unit) for number in range(3)]
    assert obj.fetch_many(b"d", ranges) == [data[:unit], data[unit : 2 * unit], data[2 * unit :]]
    with pytest.raises(daos.RecordTooBigError):
        obj.read(b"d", b"a", 0, unit, into=bytearray(unit - 1))
    assert obj.fetch_many(b"d", [Range(b"a", 100 * unit, unit)]) == [None]
    assert obj.read(b"d", b"a", 4 * unit, unit + 44) == data[2 * unit :] + bytes(44)


def test_io19_a_full_pool(system: System) -> None:
    """Only NoSpaceError, for large values and small ones, and what is there stays readable."""
    system.admin.pool_create("io19", "64MiB")
    with system.connect() as client, client.pool("io19") as pool:
        cont = pool.create_container("c")
        obj = cont.object(cont.new_oid(oclass="SX"))
        kept = dict[bytes, int]()

        def fill(nbytes: int) -> None:
            for number in range(100_000):
                dkey = b"%d/%d" % (nbytes, number)
                obj.update(dkey, b"a", noise(nbytes, number))
                kept[dkey] = number

        for nbytes in (1 << 20, NVME, 3000):
            with pytest.raises(daos.NoSpaceError):
                fill(nbytes)
        for dkey, number in islice(kept.items(), 0, None, 50):
            assert obj.fetch(dkey, b"a") == noise(int(dkey.partition(b"/")[0]), number)
    system.admin.pool_destroy("io19", force=True)


def test_io20_sizes(obj: daos.Object) -> None:
    values = {b"%d" % number: noise(131071 * (number + 1), number) for number in range(5)}
    obj.update_many(b"d", values)
    for akey, value in values.items():
        assert obj.size(b"d", akey) == len(value)
        with pytest.raises(daos.RecordTooBigError, match=str(len(value))):
            obj.fetch(b"d", akey, into=bytearray(len(value) - 1))
        into = bytearray(len(value))
        assert obj.fetch(b"d", akey, into=into) == len(value)
        assert into == value


@pytest.mark.parametrize("nbytes", [SCM, NVME])
def test_io25_io26_holes_around_four_bytes(obj: daos.Object, nbytes: int) -> None:
    obj.write(b"d", b"a", nbytes // 2, b"four")
    want = bytearray(nbytes)
    want[nbytes // 2 : nbytes // 2 + 4] = b"four"
    assert obj.read(b"d", b"a", 0, nbytes) == want


def test_io27_same_write_twice(obj: daos.Object) -> None:
    for _ in range(2):
        obj.write(b"d", b"a", 0, noise(NVME))
        obj.update(b"d", b"s", noise(SCM))
        assert obj.read(b"d", b"a", 0, NVME) == noise(NVME)
        assert obj.fetch(b"d", b"s") == noise(SCM)


@pytest.mark.parametrize("oclass", ["S1", "SX"])
def test_io29_io53_query_keys(cont: daos.Container, oclass: str) -> None:
    obj = cont.object(cont.new_oid("MULTI_UINT64", oclass=oclass))
    assert obj.max_dkey() is None
    assert obj.max_akey(5) is None
    assert obj.max_record(5, 5) is None
    obj.write(5, 10, 5, b"x")
    obj.write(10, 10, 5, b"x")
    obj.write(10, 10, 50, b"x")
    assert (obj.max_dkey(), obj.max_akey(10), obj.max_record(10, 10)) == (10, 10, 50)
    assert (obj.min_dkey(), obj.min_akey(10), obj.min_record(10, 10)) == (5, 10, 5)
    assert obj.max_akey(7) is None
    hashed = cont.object(cont.new_oid("MULTI_HASHED"))
    for query in (hashed.max_dkey, hashed.min_dkey, lambda: hashed.max_akey(b"d")):
        with pytest.raises(daos.InvalidError):
            query()


@pytest.mark.parametrize("ranges", [[(0, 3), (4, 1), (3, 2)], [(0, 3), (0, 3)]])
def test_io32_overlapping_ranges(obj: daos.Object, ranges: list[tuple[int, int]]) -> None:
    pieces = [(offset, b"x" * count) for offset, count in ranges]
    with pytest.raises(daos.InvalidError, match="overlap"):
        obj.update_many(b"d", {b"a": Extents(1, pieces)})
    assert list(obj.dkeys()) == []


def test_io34_one_of_ten_is_punched(obj: daos.Object) -> None:
    obj.update_many(b"d", {b"a": Extents(8, [(n, b"%08d" % n) for n in range(10)])})
    obj.punch_range(b"d", b"a", 2, 1)
    got = obj.fetch_many(b"d", [Range(b"a", number, 1) for number in range(10)])
    assert got == [None if n == 2 else b"%08d" % n for n in range(10)]


def test_io35_wrong_record_size_is_told(obj: daos.Object) -> None:
    obj.write(b"d", b"a", 0, noise(256), record_size=256)
    with pytest.raises(daos.InvalidError, match="256 bytes"):
        obj.read(b"d", b"a", 0, 1, record_size=128)
    assert obj.size(b"d", b"a") == 256


def test_io37_missing_things(cont: daos.Container, obj: daos.Object) -> None:
    into = bytearray(b"before")
    never = cont.object(cont.new_oid())
    assert never.fetch(b"d", b"a", into=into) is None
    obj.update(b"d", b"a", b"there")
    assert obj.fetch(b"e", b"a", into=into) is None
    assert obj.fetch(b"d", b"b", into=into) is None
    assert into == b"before"
    assert obj.fetch_many(b"d", [b"b", b"a", b"c"]) == [None, b"there", None]


def test_io39_buffers_too_small_and_too_large(obj: daos.Object) -> None:
    obj.write(b"d", b"a", 0, noise(32))
    with pytest.raises(daos.RecordTooBigError):
        obj.read(b"d", b"a", 0, 32, into=bytearray(12))
    into = bytearray(b"\xee" * 64)
    assert obj.read(b"d", b"a", 0, 32, into=into) == 32
    assert into == noise(32) + b"\xee" * 32


def test_io40_a_hole_makes_two_extents(obj: daos.Object) -> None:
    obj.write(b"d", b"a", 0, noise(100))
    obj.punch_range(b"d", b"a", 50, 10)
    assert obj.read(b"d", b"a", 0, 100) == noise(100)[:50] + bytes(10) + noise(100)[60:]
    assert [(each.offset, each.count) for each in obj.extents(b"d", b"a")] == [(0, 50), (60, 40)]


def test_io44_integer_keys_have_eight_bytes(cont: daos.Container) -> None:
    obj = cont.object(cont.new_oid("MULTI_UINT64"))
    for bad in (b"k" * 128, b"abc"):
        for call in (
            lambda key: obj.update(key, 1, b"v"),
            lambda key: obj.update(1, key, b"v"),
            lambda key: obj.fetch(key, 1),
            lambda key: obj.fetch(1, key),
            lambda key: obj.punch_dkeys([key]),
            lambda key: obj.punch_akeys(1, [key]),
        ):
            with pytest.raises(daos.InvalidError):
                call(bad)


def test_io47_many_opens(cont: daos.Container, obj: daos.Object) -> None:
    obj.update(b"d", b"a", b"v")
    for _ in range(10_000):
        cont.object(obj.oid).close()
    assert cont.object(obj.oid).fetch(b"d", b"a") == b"v"


def test_io48_io49_objects_as_of_a_snapshot(cont: daos.Container) -> None:
    """What the reference's object id table lists; marks on ids there are none."""
    oids = [cont.new_oid(oclass="S1" if number % 2 else "SX") for number in range(128)]
    for oid in oids:
        cont.object(oid).update(b"d", b"a", b"v")
    snapshot = cont.snapshot()
    for oid in oids[:64]:
        cont.object(oid).punch()
    late = cont.new_oid()
    cont.object(late).update(b"d", b"a", b"v")
    assert list(cont.at(snapshot).objects()) == sorted(oids)
    assert list(cont.at(snapshot).objects(reverse=True)) == sorted(oids, reverse=True)
    assert list(cont.objects()) == sorted([*oids[64:], late])
    cont.destroy_snapshot(snapshot)
    with pytest.raises(daos.NotFoundError):
        cont.at(snapshot)


def test_io50_punched_objects(cont: daos.Container) -> None:
    obj = cont.object(cont.new_oid(oclass="SX"))
    names = [b"%d" % number for number in range(50)]
    for name in names:
        obj.update(name, b"a", b"v")
    obj.punch()
    for name in names:
        with pytest.raises(daos.NotFoundError):
            obj.fetch(name, b"a", cond=Cond.DKEY_FETCH)

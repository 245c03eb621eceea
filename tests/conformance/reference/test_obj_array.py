"""Scenarios ARRAY of the reference's tests of array values, over the public API.

Source: DAOS src/tests/suite/daos_obj_array.c; internals §9.15
"""

from __future__ import annotations

import random
import threading
from itertools import accumulate

import pytest

import daos
from daos import Cond, Extents, Range


def noise(nbytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(nbytes)


@pytest.fixture
def obj(cont: daos.Container) -> daos.Object:
    return cont.object(cont.new_oid(oclass="SX"))


def test_array0_memory_that_is_too_small(obj: daos.Object) -> None:
    obj.update_many(b"d", {b"a": b"1234", b"b": b"12345678", b"c": b"1234"})
    into = [bytearray(4), bytearray(2), bytearray(10)]
    assert obj.fetch(b"d", b"a", into=into[0]) == 4
    with pytest.raises(daos.RecordTooBigError):
        obj.fetch(b"d", b"b", into=into[1])
    assert obj.fetch(b"d", b"c", into=into[2]) == 4


def test_array1_bytes(obj: daos.Object) -> None:
    obj.write(b"d", b"a", 0, noise(24))
    assert obj.size(b"d", b"a") == 1
    assert obj.read(b"d", b"a", 0, 24) == noise(24)


@pytest.mark.parametrize(
    ("size", "count"),
    [(1, 131071), (2, 512), (4, 256), (8, 128), (131071, 8), (1 << 20, 10)],
)
def test_array2_to_array7_record_sizes(obj: daos.Object, size: int, count: int) -> None:
    start = random.Random(size).randrange(1 << 40)
    obj.write(b"d", b"a", start, noise(size * count), record_size=size)
    assert obj.size(b"d", b"a") == size
    assert obj.read(b"d", b"a", start, count, record_size=size) == noise(size * count)


def test_array8_strided_ranges(obj: daos.Object) -> None:
    data = noise(24 * 4)
    obj.write(b"d", b"a", 0, data, record_size=4)
    got = obj.fetch_many(b"d", [Range(b"a", 6 * number, 3) for number in range(4)])
    assert got == [data[24 * number : 24 * number + 12] for number in range(4)]


def test_array9_holes(obj: daos.Object) -> None:
    want = bytearray(4608)
    for offset in (27136, 30208, 28672):
        obj.write(b"d", b"a", offset, noise(192, offset))
        want[offset - 27136 : offset - 27136 + 192] = noise(192, offset)
    assert obj.read(b"d", b"a", 27136, 4608) == want


def test_array10_an_empty_object(obj: daos.Object) -> None:
    assert obj.read(b"d", b"a", 0, 4 << 20) == bytes(4 << 20)


@pytest.mark.parametrize("level", ["dkeys", "akeys"])
def test_array11_array12_punched_keys(obj: daos.Object, level: str) -> None:
    names = [b"key %d" % number for number in range(100)]
    gone = [*names[-10:], *(b"none %d" % number for number in range(10))]
    if level == "dkeys":
        for name in names:
            obj.write(name, b"a", 0, b"x")
        obj.punch_dkeys(gone)
        assert set(obj.dkeys()) == set(names[:-10])
        assert [obj.size(name, b"a") for name in names] == [1] * 90 + [0] * 10
    else:
        obj.update_many(b"d", {name: Extents(1, [(0, b"x")]) for name in names})
        for name in gone:
            obj.punch_akeys(b"d", [name])
        assert set(obj.akeys(b"d")) == set(names[:-10])
        assert [obj.size(b"d", name) for name in names] == [1] * 90 + [0] * 10


def test_array13_adjacent_extents(obj: daos.Object) -> None:
    for number in range(100):
        obj.write(b"d", b"a", 10 * number, b"x" * 10)
    assert len(list(obj.extents(b"d", b"a"))) == 100
    for number in range(90, 100):
        obj.punch_range(b"d", b"a", 10 * number, 10)
    assert len(list(obj.extents(b"d", b"a"))) == 90


def test_array14_one_record_of_ten(obj: daos.Object) -> None:
    obj.write(b"d", b"a", 2, b"data", record_size=4)
    assert obj.read(b"d", b"a", 0, 10, record_size=4) == bytes(8) + b"data" + bytes(28)
    got = obj.fetch_many(b"d", [Range(b"a", number, 1) for number in range(0, 10, 2)])
    assert got == [None, b"data", None, None, None]


def test_array18_conditions(obj: daos.Object) -> None:
    def update(cond: int, *conds: int) -> None:
        per_akey = dict(zip((b"a1", b"a2"), conds, strict=True)) if conds else None
        obj.update_many(b"d", {b"a1": b"1", b"a2": b"2"}, cond=cond, akey_conds=per_akey)

    insert, change = Cond.AKEY_INSERT, Cond.AKEY_UPDATE
    for cond in ((Cond.DKEY_UPDATE | insert,), (Cond.DKEY_INSERT | change,)):
        with pytest.raises(daos.NotFoundError):
            update(*cond)
    with pytest.raises(daos.NotFoundError):
        update(Cond.DKEY_INSERT, insert, change)
    update(Cond.DKEY_INSERT, insert, insert)
    with pytest.raises(daos.ExistsError):
        update(Cond.DKEY_UPDATE, insert, change)
    with pytest.raises(daos.ExistsError):
        obj.update(b"d", b"a1", b"x", cond=Cond.DKEY_UPDATE | insert)
    with pytest.raises(daos.NotFoundError):
        obj.update(b"d", b"a3", b"x", cond=Cond.DKEY_UPDATE | change)


def test_array19_threads_with_queues(client: daos.Client, obj: daos.Object) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with daos.EventQueue(client) as queue:
                for index in range(256):
                    dkey = b"%d/%d" % (number, index)
                    queue.launch(obj.write, dkey, b"a", index, b"x%d" % index)
                done = 0
                while done < 256:
                    done += len(queue.poll(timeout=30))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(list(obj.dkeys())) == 8 * 256


def pieces_of_a_megabyte() -> list[tuple[int, bytes]]:
    """64 of 4 KiB, 1024 of 4 bytes, two empty ones, and the rest."""
    data = noise(1 << 20)
    sizes = [4096] * 64 + [4] * 1024 + [0, 0]
    sizes.append((1 << 20) - sum(sizes))
    ends = list(accumulate(sizes))
    return [(end - size, data[end - size : end]) for end, size in zip(ends, sizes, strict=True)]


def test_array20_read_in_1091_pieces(obj: daos.Object) -> None:
    obj.write(b"d", b"a", 0, noise(1 << 20))
    pieces = [(offset, data) for offset, data in pieces_of_a_megabyte() if data]
    ranges = [Range(b"a", offset, len(data)) for offset, data in pieces]
    assert obj.fetch_many(b"d", ranges) == [data for _, data in pieces]


def test_array21_write_in_1091_pieces(obj: daos.Object) -> None:
    obj.update_many(b"d", {b"a": Extents(1, pieces_of_a_megabyte())})
    assert obj.read(b"d", b"a", 0, 1 << 20) == noise(1 << 20)


def test_array22_short_read(cont: daos.Container) -> None:
    array = cont.array()
    array.write(0, noise((1 << 20) - 4))
    into = bytearray(b"\xee" * (2 << 20))
    assert array.read(0, 2 << 20, into=into) == (1 << 20) - 4
    assert into[: (1 << 20) - 4] == noise((1 << 20) - 4)
    assert into[(1 << 20) - 4 :] == b"\xee" * ((1 << 20) + 4)


def test_the_record_size_behind_many_holes(obj: daos.Object) -> None:
    """More than a page of a listing passes."""
    many = [(4 * number, b"x") for number in range(600)]
    obj.update_many(b"d", {b"a": Extents(1, [*many, (4000, b"xy")])})
    for lo, _ in many:
        obj.punch_range(b"d", b"a", lo, 1)
    assert obj.size(b"d", b"a") == 1
    assert [each.offset for each in obj.extents(b"d", b"a")] == [4000]

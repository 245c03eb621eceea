"""Scenarios of the reference's arrays that do I/O on lists of ranges, with lists of buffers.

The reference runs a process for each rank; here one client has all slices, half of the tests
through event queues.

Source: DAOS src/tests/suite/daos_array.c, dfs_par_test.c (P3, P5, without the files over it)
"""

from __future__ import annotations

import array as arrays
import random
from collections.abc import Callable
from typing import Any

import pytest

import daos

KIB = 1 << 10
MIB = 1 << 20
RANKS = 4
ELEMENTS = 64


def noise(nbytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(nbytes)


def byte_array(cont: daos.Container, chunk_size: int = MIB) -> daos.Array:
    return cont.array(cont.new_oid("ARRAY_BYTE"), chunk_size=chunk_size)


Do = Callable[..., Any]


@pytest.fixture(params=["blocking", "events"])
def do(request: pytest.FixtureRequest, client: daos.Client) -> Do:
    """Makes a call, or launches it and waits for its event."""

    def blocking(call: Do, *args: object) -> object:
        return call(*args)

    def events(call: Do, *args: object) -> object:
        with daos.EventQueue(client) as queue:
            return queue.launch(call, *args).result(timeout=30)

    return blocking if request.param == "blocking" else events


def segments(memory: bytearray, size: int, gap: int, count: int) -> list[memoryview]:
    """`count` parts of memory, with gaps between them."""
    view = memoryview(memory)
    return [view[at : at + size] for at in range(0, count * (size + gap), size + gap)]


@pytest.mark.parametrize("cell", [1, 4])
@pytest.mark.parametrize("count", [1, 4], ids=["contiguous memory", "strided memory"])
def test_array_contiguous(cont: daos.Container, do: Do, cell: int, count: int) -> None:
    """A8, A9: each rank's elements in one range; the second half through a second handle."""
    array = cont.array(cell_size=cell, chunk_size=16)
    handles = [array, cont.array(array.oid)] * (RANKS // 2)
    size, gap = ELEMENTS * cell // count, 4 if count > 1 else 0
    for rank, handle in enumerate(handles):
        memory = bytearray(noise(count * (size + gap), rank))
        ranges = [(rank * ELEMENTS, ELEMENTS)]
        assert do(handle.write_many, ranges, segments(memory, size, gap, count)) == ELEMENTS
        back = bytearray(b"\xee" * len(memory))
        found = do(handle.read_many, ranges, segments(back, size, gap, count))
        assert found == (ELEMENTS, 0)
        for at in range(0, len(memory), size + gap):
            assert back[at : at + size] == memory[at : at + size]
            assert back[at + size : at + size + gap] == b"\xee" * gap
    assert array.size == handles[1].size == RANKS * ELEMENTS
    array.punch_many([(0, ELEMENTS), (ELEMENTS + 5, 20)])
    assert array.size == RANKS * ELEMENTS


@pytest.mark.parametrize("cell", [1, 4])
@pytest.mark.parametrize("count", [1, 4], ids=["contiguous memory", "strided memory"])
def test_array_strided(cont: daos.Container, do: Do, cell: int, count: int) -> None:
    """A9: 64 ranges of one element, interleaved by rank."""
    array = cont.array(cell_size=cell, chunk_size=16)
    size, gap = ELEMENTS * cell // count, 3 if count > 1 else 0
    for rank in range(RANKS):
        ranges = [(rank + n * RANKS, 1) for n in range(ELEMENTS)]
        memory = bytearray(noise(count * (size + gap), rank))
        assert do(array.write_many, ranges, segments(memory, size, gap, count)) == ELEMENTS
    assert array.size == RANKS * ELEMENTS
    for rank in range(RANKS):
        ranges = [(rank + n * RANKS, 1) for n in range(ELEMENTS)]
        memory = bytearray(noise(count * (size + gap), rank))
        back = bytearray(b"\xee" * len(memory))
        found = do(array.read_many, ranges, segments(back, size, gap, count))
        assert found == (ELEMENTS, 0)
        for at in range(0, len(memory), size + gap):
            assert back[at : at + size] == memory[at : at + size]
            assert back[at + size : at + size + gap] == b"\xee" * gap


def test_array_of_bytes_destroyed_under_its_handle(cont: daos.Container) -> None:
    """A4, A5."""
    array = byte_array(cont)
    array.resize(265)
    array.destroy()
    assert array.size == 0
    assert array.write_many([(3, 4)], b"anew") == 4
    assert array.stat().size == 7
    array.close()


def test_array_small_io_tells_what_was_short(cont: daos.Container, do: Do) -> None:
    """A6."""
    array, into = byte_array(cont), bytearray(80)
    do(array.write_many, [(0, 80)], noise(80))
    assert array.size == 80
    assert do(array.read_many, [(0, 80)], into) == (80, 0)
    assert into == noise(80)


@pytest.mark.parametrize("border", [1, MIB + 1])
def test_array_over_a_border_of_chunks(cont: daos.Container, border: int) -> None:
    """A7."""
    array = cont.array(cell_size=1, chunk_size=MIB)
    array.write(border - 1, noise(80))
    assert array.size == border - 1 + 80
    array.resize(border)
    assert array.size == border
    array.close()
    again = cont.array(array.oid)
    assert again.size == border
    assert again.read(border - 1, 80) == noise(80)[:1]


def test_array_of_bytes_before_any_write(cont: daos.Container, do: Do) -> None:
    """A11."""
    array, into = byte_array(cont), bytearray(b"\xff" * 256)
    assert do(array.read_many, [(0, 200), (1000, 56)], into) == (0, 256)
    assert into == b"\xff" * 256


def test_array_of_bytes_with_sparse_writes(cont: daos.Container, do: Do) -> None:
    """A12."""
    array = byte_array(cont, 64)
    array.write_many([(10, 20), (100, 50), (500, 10)], noise(80))
    want = bytearray(510)
    for offset, count, at in ((10, 20, 0), (100, 50, 20), (500, 10, 70)):
        want[offset : offset + count] = noise(80)[at : at + count]
    ranges = [(0, 130), (490, 20), (200, 7)]
    into = bytearray(b"\xff" * 157)
    assert do(array.read_many, ranges, [memoryview(into)[:40], memoryview(into)[40:]]) == (157, 0)
    assert into == want[:130] + want[490:510] + want[200:207]


def test_array_with_one_record_behind_what_is_read(cont: daos.Container) -> None:
    array, into = byte_array(cont, 16), bytearray(b"\xff" * 10)
    array.write(0, noise(9))
    assert array.read_many([(0, 10)], into) == (9, 1)
    assert into == noise(9) + b"\xff"
    array.write(20, b"x")
    assert array.read_many([(0, 10)], into) == (10, 0)
    assert into == noise(9) + b"\0"


def test_array_five_thousand_strides(cont: daos.Container) -> None:
    """A13: in memory every second integer, in the array every third one."""
    array = cont.array(cell_size=4, chunk_size=MIB)
    numbers = arrays.array("i", range(10_000))
    ranges = [(3 * n, 1) for n in range(5000)]
    every_second = [memoryview(numbers)[n : n + 1] for n in range(0, 10_000, 2)]
    assert array.write_many(ranges, every_second) == 5000
    back = arrays.array("i", [-1]) * 10_000
    into = [memoryview(back)[n : n + 1] for n in range(0, 10_000, 2)]
    assert array.read_many(ranges, into) == (5000, 0)
    assert back[::2] == numbers[::2]
    assert set(back[1::2]) == {-1}
    assert array.size == 3 * 4999 + 1


def test_array_stat_after_each_change(cont: daos.Container) -> None:
    """A14."""
    array = byte_array(cont)
    assert array.stat() == (0, 0)
    found = []
    for change in (
        lambda: array.resize(MIB),
        lambda: array.resize(0),
        lambda: array.write(0, b"sixsix"),
        lambda: array.resize(6),
        lambda: array.resize(0),
        lambda: array.resize(0),
    ):
        change()
        found.append(array.stat())
    assert [stat.size for stat in found] == [MIB, 0, 6, 6, 0, 0]
    epochs = [stat.newest for stat in found]
    assert epochs == sorted(set(epochs))
    assert array.newest_epoch() == array.stat().newest == epochs[-1]
    assert list(cont.object(array.oid).dkeys()) == [1]  # §1.6: the first one is never punched
    empty = byte_array(cont)
    empty.resize(0)
    assert empty.stat() == (0, 0)


def test_array_punches_that_find_nothing(cont: daos.Container) -> None:
    """A16."""
    array = byte_array(cont, 16)
    array.punch(5, 0)
    array.punch(0, 0)
    array.punch_many([])
    array.punch_many([(3, 0), (16, 0)])
    assert array.stat() == (0, 0)
    array.write(0, noise(40))
    array.punch(40, 100)
    array.punch(1 << 50, 1 << 50)
    array.punch_many([(40, 1), (50, 0), (1 << 40, 1 << 40), (4000, 3)])
    array.write_many([(90, 0)], b"")
    assert array.size == 40
    assert array.read(0, 50) == noise(40)


def test_array_lists_that_are_refused(cont: daos.Container) -> None:
    """§1.4: a closed handle, then too many short ranges, then sizes; nothing is changed."""
    array = byte_array(cont)
    many = [(n, 1) for n in range(16_385)]
    with pytest.raises(daos.NotSupportedError, match="DAOS_ARRAY_LIST_IO_LIMIT"):
        array.write_many(many, b"")
    with pytest.raises(daos.NotSupportedError):
        array.read_many(many, bytearray(16_385))
    with pytest.raises(daos.NotSupportedError):
        array.punch_many(many)
    for buffers in (b"xx", b"xxxx", [b"x", b"x"], []):
        with pytest.raises(daos.InvalidError, match="3 cells"):
            array.write_many([(0, 1), (7, 2)], buffers)
    with pytest.raises(daos.InvalidError, match="writable"):
        array.read_many([(0, 3)], b"xxx")
    assert array.stat() == (0, 0)
    assert array.write_many([(n, 17) for n in range(0, 340_000, 20)], bytes(17 * 17_000)) == 289_000
    array.close()
    with pytest.raises(daos.StaleHandleError):
        array.write_many(many, b"")


def test_array_against_a_bytearray(cont: daos.Container) -> None:
    """Many ranges in any order, over many buffers, also such as overlap or come twice."""
    rng, array, model = random.Random(7), byte_array(cont, 50), bytearray()
    for _ in range(30):
        ranges = [(rng.randrange(400), rng.randrange(40)) for _ in range(rng.randrange(9))]
        total = sum(count for _, count in ranges)
        cuts = sorted(rng.randrange(total + 1) for _ in range(3))
        match rng.randrange(4):
            case 0:
                spots = rng.sample(range(0, 400, 40), len(ranges))
                apart = [(spot, count) for spot, (_, count) in zip(spots, ranges, strict=True)]
                data = rng.randbytes(total)
                parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, total], strict=True)]
                assert array.write_many(apart, parts) == total
                at = 0
                for offset, count in apart:
                    if count:
                        model += bytes(max(0, offset + count - len(model)))
                    model[offset : offset + count] = data[at : at + count]
                    at += count
            case 1:
                inside = [(o, n) for o, n in ranges if o + n < len(model)]
                array.punch_many(inside)
                for offset, count in inside:
                    model[offset : offset + count] = bytes(count)
            case 2:
                size = rng.randrange(400)
                array.resize(size)
                model = model[:size] + bytes(max(0, size - len(model)))
            case _:
                into, want, read = bytearray(b"\xaa" * total), bytearray(), 0
                for offset, count in ranges:
                    found = model[offset : offset + count]
                    read += len(found)
                    want += found + b"\xaa" * (count - len(found))
                view = memoryview(into)
                parts_in = [view[a:b] for a, b in zip([0, *cuts], [*cuts, total], strict=True)]
                assert array.read_many(ranges, parts_in) == (read, total - read)
                assert into == want
        assert array.stat().size == len(model)


def test_array_in_chunks_of_another_size(cont: daos.Container) -> None:
    """daos_array_update_chunk_size: through this handle only, and nothing is stored."""
    array = byte_array(cont, 10)
    array.write(0, noise(30))
    array.update_chunk_size(20)
    assert array.chunk_size == 20
    assert array.size == 50  # dkey 3 is the third chunk still
    assert array.read(20, 10) == noise(30)[10:20]
    with pytest.raises(daos.InvalidError, match="chunk_size"):
        array.update_chunk_size(0)
    assert byte_array(cont, 10).chunk_size == 10
    array.update_chunk_size(10)
    assert array.read(0, 30) == noise(30)


def test_short_reads_of_a_file(cont: daos.Container) -> None:
    """P3, of the array below a file: chunks of 2000, buffers of 1 KiB."""
    array, into = byte_array(cont, 2000), bytearray(10 * KIB)

    def read(count: int, offset: int = 0) -> int:
        return array.read_many([(offset, count)], memoryview(into)[:count]).read

    assert read(KIB) == 0
    array.write(0, noise(KIB))
    assert read(KIB + 100) == KIB
    parts = [memoryview(into)[n * KIB : (n + 1) * KIB] for n in range(10)]
    assert array.read_many([(0, 10 * KIB)], parts) == (KIB, 9 * KIB)
    array.write(2 * KIB, noise(KIB))
    assert read(10 * KIB) == 3 * KIB
    array.write(5 * KIB, noise(KIB))
    assert read(10 * KIB) == 6 * KIB
    array.resize(2 * MIB)
    assert read(10 * KIB) == 10 * KIB
    array.resize(0)
    assert read(10 * KIB) == 0
    array.write_many([(0, KIB), (3 * MIB, KIB)], noise(2 * KIB))
    assert read(10 * KIB, MIB) == 10 * KIB
    assert into == bytes(10 * KIB)


def test_holes_of_a_file(cont: daos.Container) -> None:
    """P5, of the array below a file."""
    array, dashes = byte_array(cont, 2000), b"-" * KIB

    def read(offset: int, count: int) -> tuple[int, bytes]:
        into = bytearray(b"-" * count)
        return array.read_many([(offset, count)], into).read, bytes(into)

    assert read(0, KIB) == (0, dashes)
    array.write(10 * MIB, b"x")
    assert array.size == 10_485_761
    assert read(0, KIB) == (KIB, bytes(KIB))
    array.resize(0)
    assert array.size == 0
    assert read(0, KIB) == (0, dashes)
    blocks = [(2 * n * KIB, KIB) for n in range(5)]
    array.write_many(blocks, [b"a" * KIB for _ in blocks])
    assert read(0, 9 * KIB) == (9 * KIB, (b"a" * KIB + bytes(KIB)) * 4 + b"a" * KIB)
    assert read(7 * KIB, 4 * KIB) == (2 * KIB, bytes(KIB) + b"a" * KIB + dashes * 2)
    array.resize(0)
    array.write_many([(128 * n, 64) for n in range(16)], b"b" * KIB)
    strides = (b"b" * 64 + bytes(64)) * 16
    assert read(0, 2 * KIB) == (2 * KIB - 64, strides[:-64] + b"-" * 64)

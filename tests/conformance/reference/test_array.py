"""Scenarios of the reference's byte and record arrays, over the public API.

Source: DAOS src/tests/suite/daos_array.c; internals §9.16
"""

from __future__ import annotations

import random

import pytest

import daos

MIB = 1 << 20
RANKS = 4  # the reference runs one process each; here one client writes all slices


def noise(nbytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(nbytes)


def test_array_create_open(cont: daos.Container) -> None:
    for otype in ("MULTI_HASHED", "DKEY_LEXICAL", "KV_LEXICAL"):
        with pytest.raises(daos.InvalidError, match="no array type"):
            cont.array(cont.new_oid(otype), create=True)
    oid = cont.new_oid("ARRAY")
    with pytest.raises(daos.NotFoundError):
        cont.array(oid)
    cont.array(oid, cell_size=4, chunk_size=16, create=True).close()
    with pytest.raises(daos.ExistsError):
        cont.array(oid, cell_size=4, chunk_size=16, create=True)
    with cont.array(oid) as array:
        assert (array.cell_size, array.chunk_size) == (4, 16)
        for size in (265, 112, 0, MIB):
            array.resize(size)
            assert array.size == size
        array.destroy()
    with pytest.raises(daos.NotFoundError):
        cont.array(oid)


def test_array_open_with_attributes(cont: daos.Container) -> None:
    """Sizes said at an opening must be those stored, and are all there is for other types."""
    stored = cont.array(cell_size=4, chunk_size=16)
    with pytest.raises(daos.InvalidError, match="cell_size 4"):
        cont.array(stored.oid, cell_size=8)
    oid = cont.new_oid("ARRAY_ATTR")
    with cont.array(oid, cell_size=4, chunk_size=16) as array:
        array.resize(265)
        assert array.size == 265
        array.destroy()
        assert array.size == 0
    with pytest.raises(daos.InvalidError):
        cont.array(oid, cell_size=0)
    with pytest.raises(daos.InvalidError):
        cont.array(cont.new_oid("ARRAY_BYTE"), cell_size=4)


def test_array_stat_with_the_newest_epoch(cont: daos.Container) -> None:
    """It grows with set_size(1 MiB), set_size(0), and a write of 6 bytes."""
    with cont.array(cell_size=1, chunk_size=MIB) as array:
        epochs = [array.newest_epoch()]
        array.resize(MIB)
        assert array.size == MIB
        epochs.append(array.newest_epoch())
        array.resize(0)
        assert array.size == 0
        epochs.append(array.newest_epoch())
        array.write(0, b"sixsix")
        assert array.size == 6
        epochs.append(array.newest_epoch())
        assert epochs == sorted(set(epochs))
        assert array.newest_epoch() == epochs[-1]


def test_array_small_io(cont: daos.Container) -> None:
    array = cont.array(cont.new_oid("ARRAY_BYTE"), chunk_size=16)
    assert array.write(0, noise(80)) == 80
    assert array.size == 80
    assert array.read(0, 80) == noise(80)


@pytest.mark.parametrize("cell", [1, 4])
@pytest.mark.parametrize("stride", [1, 3], ids=["contiguous", "strided"])
@pytest.mark.parametrize("apart", [False, True], ids=["memory", "memory with gaps"])
@pytest.mark.parametrize("queued", [False, True], ids=["blocking", "events"])
def test_array_contiguous_and_strided(
    client: daos.Client, cont: daos.Container, cell: int, stride: int, *, apart: bool, queued: bool
) -> None:
    """Slices of every rank, in one piece or element by element; gaps in memory stay as they are."""
    elements = 24
    array = cont.array(cell_size=cell, chunk_size=64)
    step = 2 * cell if apart else cell
    for rank in range(RANKS):
        data = noise(elements * cell, rank)
        base = rank * elements * stride
        if stride == 1 and not apart:
            writes = [(base, data)]
        else:
            writes = [(base + n * stride, data[n * cell : (n + 1) * cell]) for n in range(elements)]
        if queued:
            with daos.EventQueue(client) as queue:
                for event in [queue.launch(array.write, *write) for write in writes]:
                    event.result(timeout=30)
        else:
            for write in writes:
                array.write(*write)
    assert array.size == RANKS * elements * stride - (stride - 1)
    for rank in range(RANKS):
        data = noise(elements * cell, rank)
        memory = bytearray(b"\xee" * (elements * step))
        for n in range(elements):
            into = memoryview(memory)[n * step : n * step + cell]
            assert array.read((rank * elements + n) * stride, 1, into=into) == 1
        for n in range(elements):
            assert memory[n * step : n * step + cell] == data[n * cell : (n + 1) * cell]
            assert memory[n * step + cell : (n + 1) * step] == b"\xee" * (step - cell)


def test_array_punch_keeps_the_size(cont: daos.Container) -> None:
    array = cont.array(cell_size=4, chunk_size=16)
    array.write(0, noise(400))
    for offset in range(0, 45, 7):
        array.punch(offset, 5)
        assert array.size == 100
    assert array.read(50, 50) == noise(400)[200:]
    assert array.read(0, 5) == bytes(20)


def test_array_sizes_set_in_turn(cont: daos.Container) -> None:
    array = cont.array(cell_size=1, chunk_size=97)
    array.write(0, noise(500))
    for size in (1000, 250, *(n for i in range(20) for n in (265 + i, 0))):
        array.resize(size)
        assert array.size == size


def test_array_read_of_an_empty_one(cont: daos.Container) -> None:
    array = cont.array()
    into = bytearray(b"before")
    assert array.read(0, 6, into=into) == 0
    assert into == b"before"
    assert array.read(0, 100) == b""


def test_array_read_across_holes(cont: daos.Container) -> None:
    array = cont.array(cont.new_oid("ARRAY_BYTE"), chunk_size=32)
    want = bytearray(1000)
    for offset in range(0, 1000, 90):
        array.write(offset, noise(10, offset))
        want[offset : offset + 10] = noise(10, offset)
    into = bytearray(b"\xee" * 1000)
    assert array.read(0, 1000, into=into) == 1000
    assert into == want


def test_array_five_thousand_integers_with_gaps(cont: daos.Container) -> None:
    """Every second element of memory is written and read; what stands between stays as it is."""
    array = cont.array(cell_size=4, chunk_size=256)
    numbers = memoryview(noise(5000 * 8)).cast("B")
    for n in range(5000):
        if n % 1000 == 0:
            batch = b"".join(numbers[8 * m : 8 * m + 4] for m in range(n, n + 1000))
            array.write(n, batch)
    memory = bytearray(b"\xee" * (5000 * 8))
    for n in range(0, 5000, 250):
        found = array.read(n, 250)
        for m in range(250):
            memory[8 * (n + m) : 8 * (n + m) + 4] = found[4 * m : 4 * m + 4]
    for n in range(5000):
        assert memory[8 * n : 8 * n + 4] == numbers[8 * n : 8 * n + 4]
        assert memory[8 * n + 4 : 8 * n + 8] == b"\xee" * 4
    assert array.size == 5000


def test_array_shrink_to_the_first_record(cont: daos.Container) -> None:
    chunk = 64
    array = cont.array(cell_size=4, chunk_size=chunk)
    array.write(0, noise(4 * (chunk + 10)))
    array.resize(1)
    assert array.size == 1
    array.resize(chunk + 1)
    assert array.size == chunk + 1
    array.close()
    again = cont.array(array.oid)
    assert again.size == chunk + 1
    assert again.read(0, chunk + 1) == noise(4) + bytes(4 * chunk)


def test_array_far_indexes(cont: daos.Container) -> None:
    """To the last record that a size can tell of."""
    array = cont.array(cell_size=8, chunk_size=1 << 20)
    last = (1 << 63) - 2
    array.write(last, b"the last")
    assert array.size == last + 1
    assert array.read(last - 1, 5) == bytes(8) + b"the last"
    array.resize(10)
    assert array.size == 10

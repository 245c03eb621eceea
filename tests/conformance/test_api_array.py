"""The API over any system: arrays and files over them.

Source: DAOS src/tests/suite/daos_array.c; internals §9.16
"""

from __future__ import annotations

import array as arrays
import io
import random
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

import daos
from daos.client.append import claims_of


def noise(nbytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(nbytes)


class TestAppend:
    def test_the_end_moves(self, cont: daos.Container) -> None:
        array = cont.array(cell_size=2, chunk_size=3)
        assert array.append(b"") == 0
        assert array.append(b"aabbccdd") == 0  # over two chunks
        assert array.append(b"ee") == 4
        array.resize(9)
        assert array.append(b"ff") == 9
        assert array.read(0, 10) == b"aabbccddee" + bytes(8) + b"ff"
        with pytest.raises(daos.InvalidError, match="whole number"):
            array.append(b"x")
        with pytest.raises(daos.AccessError):
            cont.at(cont.snapshot("s")).array(array.oid).append(b"xx")

    def test_several_writers_lose_nothing(self, cont: daos.Container) -> None:
        oid = cont.array(chunk_size=50).oid

        def write(who: int) -> list[int]:
            array = cont.array(oid)
            return [array.append(b"%03d,%03d;" % (who, line)) for line in range(15)]

        with ThreadPoolExecutor(4) as threads:
            offsets = [at for found in threads.map(write, range(4)) for at in found]
        content = cont.array(oid).read(0, 1000)
        lines = content.decode().removesuffix(";").split(";")
        assert sorted(lines) == [f"{who:03},{line:03}" for who in range(4) for line in range(15)]
        assert sorted(offsets) == [8 * line for line in range(60)]
        for who in range(4):  # each writer's lines stand in its order
            own = [line for line in lines if line.startswith(f"{who:03}")]
            assert own == sorted(own)
        assert not list(cont.kv(claims_of(oid)))  # no claim stays

    def test_files_append_for_themselves(self, cont: daos.Container) -> None:
        array = cont.array()
        with array.open("ab") as one, array.open("ab", buffering=0) as other:
            one.write(b"1")
            other.write(b"2")
            one.flush()
            other.write(b"3")
        assert array.read(0, 9) == b"213"


class TestLife:
    def test_create_open_destroy(self, cont: daos.Container) -> None:
        oid = cont.new_oid("ARRAY")
        with pytest.raises(daos.NotFoundError):
            cont.array(oid)
        made = cont.array(oid, cell_size=4, chunk_size=1000, create=True)
        with pytest.raises(daos.ExistsError):
            cont.array(oid, create=True)
        again = cont.array(oid)
        assert (again.cell_size, again.chunk_size) == (4, 1000)
        assert (made.oid, again.size) == (oid, 0)
        for size in (265, 112, 0, 1 << 20, 999, 1000, 1001, 1):
            made.resize(size)
            assert made.size == again.size == size
        made.destroy()
        with pytest.raises(daos.NotFoundError):
            cont.array(oid)
        with pytest.raises(daos.InvalidError, match="cell_size"):
            cont.array(cont.array(cell_size=4).oid, cell_size=8)

    def test_only_array_types(self, cont: daos.Container) -> None:
        for otype in ("MULTI_HASHED", "DKEY_LEXICAL", "KV_UINT64", "DKEY_UINT64"):
            with pytest.raises(daos.InvalidError, match=otype):
                cont.array(cont.new_oid(otype), create=True)

    @pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (-1, 1), (1, 1.5), (True, 1), ("4", 1)])
    def test_sizes_are_checked(self, cont: daos.Container, sizes: tuple[int, int]) -> None:
        with pytest.raises(daos.InvalidError):
            cont.array(None, *sizes)

    def test_types_without_metadata(self, cont: daos.Container) -> None:
        attr = cont.array(cont.new_oid("ARRAY_ATTR"), cell_size=4, chunk_size=16)
        attr.resize(265)
        assert attr.size == 265
        attr.destroy()
        assert attr.size == 0  # only data is gone, there is no metadata
        byte = cont.array(cont.new_oid("ARRAY_BYTE"))
        assert byte.write(0, b"bytes") == 5
        assert byte.read(0, 5) == b"bytes"
        with pytest.raises(daos.InvalidError, match="1 byte"):
            cont.array(byte.oid, cell_size=4)

    def test_an_object_that_holds_something_else(self, cont: daos.Container) -> None:
        obj = cont.object(cont.new_oid("ARRAY"))
        obj.update(0, b"0", b"x" * 24)
        with pytest.raises(daos.AccessError, match="metadata"):
            cont.array(obj.oid)

    def test_the_layout_is_the_reference_s(self, cont: daos.Container) -> None:
        made = cont.array(cell_size=2, chunk_size=3)
        made.write(1, b"aabbccdd")
        obj = cont.object(made.oid)
        assert list(obj.dkeys()) == [0, 1, 2]
        metadata = obj.fetch(0, b"0")
        assert isinstance(metadata, bytes)
        assert arrays.array("Q", metadata).tolist() == [0xDACA55A9DACA55A9, 2, 3]
        assert obj.read(1, b"0", 0, 3, record_size=2) == b"\0\0aabb"
        assert obj.read(2, b"0", 0, 2, record_size=2) == b"ccdd"


class TestReadAndWrite:
    def test_small(self, cont: daos.Container) -> None:
        made = cont.array()
        assert made.write(0, noise(80)) == 80
        assert made.size == 80
        assert made.read(0, 80) == noise(80)

    def test_empty(self, cont: daos.Container) -> None:
        made, into = cont.array(), bytearray(b"content")
        assert made.read(0, 100) == b""
        assert made.read(1 << 40, 1 << 40) == b""
        assert made.read(0, 7, into) == 0
        assert into == b"content"
        assert made.write(5, b"") == 0
        assert made.size == 0

    @pytest.mark.parametrize(("cell", "chunk"), [(1, 1 << 20), (1, 7), (4, 100), (3, 1), (64, 50)])
    def test_against_a_bytearray(self, cont: daos.Container, cell: int, chunk: int) -> None:
        rng, model, made = random.Random(cell * chunk), bytearray(), cont.array(None, cell, chunk)
        for _ in range(40):
            offset, count = rng.randrange(300), rng.randrange(1, 150)
            match rng.randrange(6):
                case 0 | 1 | 2:
                    data = rng.randbytes(count * cell)
                    assert made.write(offset, data) == count
                    model += bytes(max(0, offset * cell - len(model)))
                    model[offset * cell : (offset + count) * cell] = data
                case 3:
                    made.resize(offset)
                    model = model[: offset * cell] + bytes(max(0, offset * cell - len(model)))
                case 4 if (offset + count) * cell < len(model):  # not at the end: it stays
                    made.punch(offset, count)
                    model[offset * cell : (offset + count) * cell] = bytes(count * cell)
                case _:
                    expected = model[offset * cell : (offset + count) * cell]
                    assert made.read(offset, count) == expected
                    into = bytearray(b"\xaa" * (count * cell))
                    assert made.read(offset, count, into) == len(expected) // cell
                    assert into == expected + b"\xaa" * (count * cell - len(expected))
            assert made.size == len(model) // cell
        assert made.read(0, made.size + 10) == model

    def test_large_and_unaligned(self, client: daos.Client, cont: daos.Container) -> None:
        made, data = cont.array(), noise(9 << 20)
        made.write(12345, data)
        assert made.size == 12345 + len(data)
        assert made.read(12345, len(data)) == data
        assert made.read(0, 1 << 50) == bytes(12345) + data
        into = client.buffer(len(data) + 100)
        assert made.read(12345, len(data) + 100, into) == len(data)
        assert into[: len(data)] == data
        assert cont.array(made.oid).read(5 << 20, 10) == (bytes(12345) + data)[5 << 20 :][:10]

    def test_cells_over_a_megabyte(self, cont: daos.Container) -> None:
        made, data = cont.array(cell_size=5 << 20, chunk_size=2), noise(15 << 20)
        made.write(1, data)
        assert made.size == 4
        assert made.read(0, 9) == bytes(5 << 20) + data

    def test_holes_and_the_end(self, cont: daos.Container) -> None:
        made = cont.array(chunk_size=100)
        for offset in (50, 250, 990):
            made.write(offset, b"x" * 10)
        model = bytearray(1000)
        for offset in (50, 250, 990):
            model[offset : offset + 10] = b"x" * 10
        assert made.read(0, 2000) == model
        assert made.read(60, 190) == bytes(190)
        assert made.read(300, 1000) == model[300:]
        made.punch(0, 500)
        assert made.size == 1000
        assert made.read(0, 1000) == bytes(990) + b"x" * 10

    def test_far_ends(self, cont: daos.Container) -> None:
        made = cont.array()
        far = (1 << 63) + 5
        made.write(far, b"far")
        made.write(0, b"near")
        assert made.size == far + 3
        made.punch(1, far + 1)
        assert made.read(far - 3, 100) == bytes(5) + b"r"
        assert made.read(0, 2) == b"n\0"
        made.resize(4)
        assert (made.size, made.read(0, 10)) == (4, b"n\0\0\0")
        for offset, count in ((1 << 64, 1), ((1 << 64) - 1, 2), (-1, 1), (0, -1)):
            with pytest.raises(daos.InvalidError):
                made.read(offset, count)

    def test_resize_over_a_chunk_border(self, cont: daos.Container) -> None:
        made = cont.array(chunk_size=100)
        made.write(0, noise(250))
        made.resize(1)
        assert (made.size, made.read(0, 9)) == (1, noise(250)[:1])
        made.resize(101)
        assert made.read(0, 200) == noise(250)[:1] + bytes(100)
        for size in (500, 250, *(value for i in range(4) for value in (265 + i, 0))):
            made.resize(size)
            assert cont.array(made.oid).size == size

    def test_buffers_of_every_kind(self, cont: daos.Container) -> None:
        made = cont.array(cell_size=4)
        numbers = arrays.array("i", range(5000))
        made.write(0, numbers)
        back = arrays.array("i", bytes(20_000))
        assert made.read(0, 5000, back) == 5000
        assert back == numbers
        made.write(5, memoryview(b"abcdefgh")[::1])
        assert made.read(5, 2) == b"abcdefgh"
        with pytest.raises(daos.InvalidError, match="contiguous"):
            made.write(0, memoryview(b"abcdefgh")[::2])
        with pytest.raises(daos.InvalidError, match="whole number"):
            made.write(0, b"abcde")
        with pytest.raises(daos.InvalidError, match="writable"):
            made.read(0, 1, b"abcd")
        with pytest.raises(daos.RecordTooBigError, match="fit"):
            made.read(0, 2, bytearray(7))

    def test_numpy(self, client: daos.Client, cont: daos.Container) -> None:
        np = pytest.importorskip("numpy", reason="numpy is not installed")
        made, rows = cont.array(cell_size=8), np.arange(600.0).reshape(20, 30)
        made.write(0, rows)
        back = np.zeros_like(rows)
        assert made.read(0, 600, back) == 600
        assert (back == rows).all()
        for kind in (">i8", "f8", [("a", "i4"), ("b", "f4")], "S8", "?"):
            made.write(0, np.zeros(16, kind))
        with pytest.raises(daos.InvalidError, match="contiguous"):
            made.write(0, rows.T)
        made.write(0, np.zeros((0, 8)))
        buffer = client.buffer(4800)
        made.write(0, rows)
        assert made.read(0, 600, buffer) == 600
        assert (np.frombuffer(buffer).reshape(20, 30) == rows).all()

    def test_a_snapshot_of_it(self, cont: daos.Container) -> None:
        made = cont.array(chunk_size=10)
        made.write(0, b"a" * 95)
        epoch = cont.snapshot()
        made.write(5, b"b" * 100)
        made.resize(50)
        with cont.at(epoch) as view:
            old = view.array(made.oid)
            assert (old.size, old.read(0, 200)) == (95, b"a" * 95)
        assert made.read(0, 200) == b"a" * 5 + b"b" * 45


class TestFiles:
    def test_write_and_read(self, cont: daos.Container) -> None:
        made, data = cont.array(), noise(3_000_000)
        with made.open("wb") as file:
            shutil.copyfileobj(io.BytesIO(data), file, 10_000)
        assert made.size == len(data)
        with made.open() as file:
            assert file.read(10) == data[:10]
            assert file.seek(-5, io.SEEK_END) == len(data) - 5
            assert file.read() == data[-5:]
            assert file.seek(1_000_000) == 1_000_000
            assert file.read(2_500_000) == data[1_000_000:]
            assert not file.writable()
            with pytest.raises(io.UnsupportedOperation):
                file.write(b"x")

    def test_lines(self, cont: daos.Container) -> None:
        made = cont.array()
        with io.TextIOWrapper(made.open("wb"), encoding="utf-8") as text:
            text.writelines(f"line {number}\n" for number in range(1000))
        with made.open() as file:
            assert [int(line.split()[1]) for line in file] == list(range(1000))

    def test_in_place(self, cont: daos.Container) -> None:
        made = cont.array()
        made.write(0, b"0123456789")
        with made.open("r+b") as file:
            file.seek(3)
            file.write(b"abc")
            file.seek(0)
            assert file.read() == b"012abc6789"
            file.truncate(4)
        with made.open("ab") as file:
            file.write(b"end")
        with made.open("rb", buffering=0) as raw:
            assert raw.read(100) == b"012aend"
            assert raw.read(100) == b""
            with pytest.raises(daos.InvalidError):
                raw.seek(-1)
        assert made.open("w+b").read() == b""

    def test_refusals(self, cont: daos.Container) -> None:
        with pytest.raises(daos.InvalidError, match="mode"):
            cont.array().open("r")
        with pytest.raises(daos.InvalidError, match="cells of 4"):
            cont.array(cell_size=4).open()
        file = cont.array().open("wb")
        file.close()
        with pytest.raises(ValueError, match="closed"):
            file.write(b"x")

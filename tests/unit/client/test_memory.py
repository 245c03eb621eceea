"""Views of foreign memory, and bytes that are filled in place."""

from __future__ import annotations

import array
import ctypes
import gc
import mmap
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import InvalidError, RecordTooBigError
from daos.base.isal import address_of
from daos.cart.shared import SharedMemory
from daos.client.memory import Buffer, check_fits, new_bytes, readable, writable, zero


@given(st.binary(max_size=5000))
def test_new_bytes_become_what_is_written(data: bytes) -> None:
    made, view = new_bytes(len(data))
    view[:] = data
    assert made == data
    assert hash(made) == hash(data)
    assert type(made) is bytes


def test_new_bytes_are_nobody_else_s() -> None:
    first, view = new_bytes(1)
    second, other = new_bytes(1)
    view[0], other[0] = 7, 8
    assert (first, second) == (b"\x07", b"\x08")
    assert bytes([7]) == b"\x07"


def test_new_bytes_outlive_a_collection() -> None:
    made, view = new_bytes(1 << 20)
    gc.collect()
    view[:] = b"x" * (1 << 20)
    del view
    assert made == b"x" * (1 << 20)


@pytest.mark.parametrize(
    "data",
    [
        b"\1\2\3\4",
        bytearray(b"\1\2\3\4"),
        memoryview(b"\1\2\3\4"),
        memoryview(b"\0\1\2\3\4\5")[1:5],
        array.array("i", [0x04030201]),
        memoryview(bytearray(b"\1\2\3\4")).cast("B", (2, 2)),
        (ctypes.c_uint16 * 2)(0x0201, 0x0403),
    ],
)
def test_readable_is_the_same_memory_flat(data: bytes) -> None:
    view = readable(data)
    assert bytes(view) == b"\1\2\3\4"
    assert (view.ndim, view.format, view.itemsize) == (1, "B", 1)


def test_readable_copies_nothing() -> None:
    data = array.array("q", [1, 2, 3])
    readable(data)[0] = 9
    assert data[0] == 9


def test_formats_without_a_name() -> None:
    class Pair(ctypes.Structure):
        _fields_ = (("a", ctypes.c_uint8), ("b", ctypes.c_uint16))

    pairs = (Pair * 2)(Pair(1, 2), Pair(3, 4))
    view = readable(pairs)
    assert view.nbytes == ctypes.sizeof(pairs)
    view[0] = 9
    assert pairs[0].a == 9
    assert readable(memoryview(pairs).toreadonly()).readonly


def test_empty_buffers() -> None:
    for data in (b"", array.array("d"), memoryview(b"")):
        assert readable(data).nbytes == 0
        assert writable(data).nbytes == 0


@pytest.mark.parametrize("bad", ["text", 5, None, [1], object()])
def test_what_is_no_buffer(bad: bytes) -> None:
    with pytest.raises(InvalidError, match=type(bad).__name__):
        readable(bad)


def test_strided_and_read_only() -> None:
    with pytest.raises(InvalidError, match="contiguous"):
        readable(memoryview(b"abcdef")[::2])
    with pytest.raises(InvalidError, match="contiguous"):
        readable(memoryview(b"abcdef")[::-1])
    with pytest.raises(InvalidError, match="writable"):
        writable(b"abc")
    assert writable(bytearray(3)).nbytes == 3


@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_zero(lo: int, hi: int) -> None:
    memory = bytearray(b"x" * 200_000)
    zero(memoryview(memory), lo, hi)
    assert memory == b"x" * min(lo, 200_000) + bytes(max(0, hi - lo)) + b"x" * (
        200_000 - max(lo, hi)
    )


def test_check_fits() -> None:
    check_fits(3, memoryview(b"abc"), "it")
    with pytest.raises(RecordTooBigError, match=r"it has 4 bytes; the buffer takes 3"):
        check_fits(4, memoryview(b"abc"), "it")


class TestBuffer:
    def test_memory(self) -> None:
        buffer = Buffer(5000)
        assert (buffer.nbytes, len(buffer), buffer[:5]) == (5000, 5000, bytes(5))
        assert ctypes.addressof(ctypes.c_char.from_buffer(buffer)) % mmap.PAGESIZE == 0
        buffer.view[10:15] = b"hello"
        assert buffer[10:15] == b"hello"
        assert "5000" in repr(buffer)

    def test_it_is_a_buffer_for_others(self) -> None:
        buffer = Buffer(80)
        memoryview(buffer).cast("d")[0] = 1.5
        assert readable(buffer).nbytes == 80
        np = pytest.importorskip("numpy", reason="numpy is not installed")
        assert np.frombuffer(buffer)[0] == 1.5

    @pytest.mark.parametrize("bad", [0, -1])
    def test_sizes(self, bad: int) -> None:
        with pytest.raises(InvalidError):
            Buffer(bad)

    def test_too_much(self) -> None:
        with pytest.raises(MemoryError):
            Buffer(1 << 62)

    def test_closed(self) -> None:
        buffer = Buffer(10)
        buffer.close()
        assert "closed" in repr(buffer)

    def test_what_is_mapped_where_a_closed_one_was_is_not_shared(self) -> None:
        shared = SharedMemory(lambda area: os.close(area.fd))
        buffer = Buffer(1 << 20, shared)
        (place,) = shared.locate([buffer.view[5:]]) or ()
        assert place.offset == 5
        address = address_of(buffer.view)
        with pytest.raises(BufferError), memoryview(buffer):
            buffer.close()
        assert shared.locate([buffer.view]) is not None
        with buffer:
            pass
        assert buffer.closed
        assert shared.area(place.region_id) is None
        there = (ctypes.c_char * 100).from_address(address)  # its bytes are not looked at
        assert shared.locate([memoryview(there)]) is None

    def test_one_that_goes_while_another_comes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A finalizer runs wherever the interpreter likes, inside of `add` as well."""
        shared = SharedMemory(lambda area: os.close(area.fd))
        buffers = [Buffer(4096, shared)]
        dup = os.dup

        def dup_and_collect(fd: int) -> int:
            buffers.clear()
            return dup(fd)

        monkeypatch.setattr(os, "dup", dup_and_collect)
        thread = threading.Thread(target=lambda: buffers.append(Buffer(4096, shared)), daemon=True)
        thread.start()
        thread.join(timeout=10)
        assert not thread.is_alive()
        (buffer,) = buffers
        assert shared.locate([buffer.view]) is not None

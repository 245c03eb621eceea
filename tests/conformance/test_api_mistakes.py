"""The API over any system: what people write by mistake is told in words, and changes nothing."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, cast

import pytest

import daos


class Whole:
    """A number of another library's."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


class Name(bytes):
    """A key of another library's."""


# What no type checker would let pass.
MISTAKES: list[tuple[str, Callable[[Any, Any], object]]] = [
    ("ObjectId.parse reads text", lambda cont, kv: cont.object(str(kv.oid))),
    ("ObjectId.parse reads text", lambda cont, kv: cont.kv(str(kv.oid))),
    ("an epoch is a number", lambda cont, _: cont.aggregate("monday")),
    ("an epoch is a number", lambda cont, _: cont.aggregate(1.0)),
    ("name is text", lambda cont, _: cont.snapshot(5)),
    ("members of Cond", lambda _, kv: kv.put(b"k", b"v", cond="KEY_INSERT")),
    (
        "members of Cond",
        lambda cont, _: cont.object(cont.new_oid()).update_many(
            b"d", {b"a": b""}, akey_conds={b"a": "AKEY_INSERT"}
        ),
    ),
]


@pytest.mark.parametrize(("words", "mistake"), MISTAKES)
def test_values_of_the_wrong_type(
    cont: daos.Container, words: str, mistake: Callable[[Any, Any], object]
) -> None:
    kv = cont.kv()
    with pytest.raises(daos.InvalidError, match=words):
        mistake(cont, kv)
    assert not list(kv)
    assert not cont.snapshots()


def test_python_objects_are_not_stored_as_addresses(cont: daos.Container) -> None:
    kv, objects = cont.kv(), (ctypes.py_object * 2)()
    assert "O" in memoryview(objects).format
    with pytest.raises(daos.InvalidError, match="array of Python objects"):
        kv.put(b"k", objects)
    kv.put(b"k", bytes(ctypes.sizeof(objects)))
    with pytest.raises(daos.InvalidError, match="array of Python objects"):
        kv.get_into(b"k", objects)

    class Record(ctypes.Structure):
        _fields_ = (("O", ctypes.c_int32), ("PO", ctypes.c_double))

    kv.put(b"k", Record(1, 2.0))  # names of fields are no objects


def test_numbers_and_keys_of_other_libraries(cont: daos.Container) -> None:
    array = cont.array(cell_size=1, chunk_size=4)
    array.write(cast("int", Whole(3)), b"abcdef")
    assert array.read(cast("int", Whole(4)), cast("int", Whole(3))) == b"bcd"
    array.punch(cast("int", Whole(8)), cast("int", Whole(1)))
    assert array.size == 8
    with pytest.raises(daos.RecordTooBigError, match="do not fit into 2 bytes"):
        array.read(0, 3, bytearray(2))
    kv, obj = cont.kv(), cont.object(cont.new_oid())
    kv[Name(b"k")] = b"v"
    obj.update(Name(b"d"), Name(b"a"), b"v")
    assert (kv[b"k"], obj.fetch(b"d", b"a")) == (b"v", b"v")


def test_a_buffer_that_was_closed(cont: daos.Container, client: daos.Client) -> None:
    kv, buffer = cont.kv(), client.buffer(100)
    buffer.close()
    with pytest.raises(daos.InvalidError, match="the buffer is closed"):
        kv[b"k"] = buffer
    for size in (0, 1.5, "1MiB", None):
        with pytest.raises(daos.InvalidError, match="whole number of bytes"):
            client.buffer(cast("int", size))

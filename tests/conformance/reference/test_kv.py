"""Scenarios of the reference's key-value objects, over the public API.

Source: DAOS src/tests/suite/daos_kv.c; internals §9.17
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

import daos
from daos import Cond

KEYS = 1000
ResultT = TypeVar("ResultT")


@pytest.fixture(params=["KV_LEXICAL", "KV_HASHED"])
def kv(request: pytest.FixtureRequest, cont: daos.Container) -> daos.KeyValue:
    return cont.kv(cont.new_oid(request.param))


def test_kv_bad_keys(kv: daos.KeyValue) -> None:
    for bad in (None, "", b""):
        for call in (
            lambda key: kv.put(key, b"v"),
            lambda key: kv.get(key),
            lambda key: kv.remove(key),
            lambda key: kv.size(key),
        ):
            with pytest.raises(daos.InvalidError):
                call(bad)
    assert list(kv) == []


def test_kv_put_list_remove(kv: daos.KeyValue) -> None:
    """K2, K6: the reference lists ten keys a call."""
    kv.put_many({f"key {number}": b"%04d" % number * 256 for number in range(KEYS)})
    kv[f"key {KEYS - 1}"] = (7).to_bytes(4, "little")
    assert kv.get(f"key {KEYS - 1}") == (7).to_bytes(4, "little")
    found, pages = list[bytes](), kv.scan(limit=10)
    while part := list(pages):
        assert len(part) <= 10
        found += part
        pages = kv.scan(limit=10, anchor=pages.anchor)
    assert sorted(found) == sorted(b"key %d" % number for number in range(KEYS))
    for number in range(10):
        kv.remove(f"key {number}")
    assert len(list(kv)) == KEYS - 10


def test_kv_listed_in_parts_of_any_size(kv: daos.KeyValue) -> None:
    kv.put_many({b"%d" % number: b"" for number in range(50)})
    found, anchor = list[bytes](), b""
    for limit in (1, 7, 30, 100, 5):
        pages = kv.scan(limit=limit, anchor=anchor)
        part = pages.page() if limit == 7 else list(pages)
        assert len(part) <= limit
        found += part
        anchor = pages.anchor
    assert sorted(found) == sorted(b"%d" % number for number in range(50))
    for wrong in (0, -1, 1.5, True):
        with pytest.raises(daos.InvalidError, match="limit"):
            kv.scan(limit=wrong)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("queued", [False, True], ids=["blocking", "events"])
def test_kv_values_through_buffers(client: daos.Client, kv: daos.KeyValue, *, queued: bool) -> None:
    """K3, K4, K5: the size alone, a buffer that is too small, one that fits."""

    def call(method: Callable[..., ResultT], *args: object) -> ResultT:
        if not queued:
            return method(*args)
        with daos.EventQueue(client) as queue:
            return queue.launch(method, *args).result(timeout=30)

    value = bytes(range(256)) * 4
    call(kv.put, "long", value)
    call(kv.put, "short", (1000).to_bytes(4, "little"))
    assert (call(kv.size, "long"), call(kv.size, "short")) == (1024, 4)
    into = bytearray(b"\xee" * 16)
    with pytest.raises(daos.RecordTooBigError, match="1024 bytes"):
        call(kv.get_into, "long", into)
    assert into == b"\xee" * 16
    assert call(kv.get_into, "short", into) == 4
    assert into == (1000).to_bytes(4, "little") + b"\xee" * 12
    exact = bytearray(1024)
    assert call(kv.get_into, "long", exact) == 1024
    assert exact == call(kv.get, "long") == value


def test_kv_sizes_and_buffers(kv: daos.KeyValue) -> None:
    kv["key"] = b"v" * 1024
    assert kv.size("key") == 1024
    with pytest.raises(daos.RecordTooBigError, match="1024"):
        kv.get_into("key", bytearray(1023))
    into = bytearray(1024)
    assert kv.get_into("key", into) == 1024
    assert into == b"v" * 1024
    assert kv.size("none") == 0
    assert kv.get("none") is None


def test_kv_destroyed_is_empty(kv: daos.KeyValue) -> None:
    kv.put_many({f"{number}": b"v" for number in range(KEYS)})
    kv.clear()
    assert list(kv) == []


def test_kv_conditions(kv: daos.KeyValue) -> None:
    """In the reference's order, on one key."""
    with pytest.raises(daos.KeyNotFoundError):
        kv.get("key", cond=Cond.KEY_GET)
    with pytest.raises(daos.NotFoundError):
        kv.put("key", b"v", cond=Cond.KEY_UPDATE)
    kv.put("key", b"value", cond=Cond.KEY_INSERT)
    with pytest.raises(daos.ExistsError):
        kv.put("key", b"other", cond=Cond.KEY_INSERT)
    assert kv.get("key", cond=Cond.KEY_GET) == b"value"
    with pytest.raises(daos.KeyNotFoundError):
        kv.remove("none", cond=Cond.KEY_REMOVE)
    kv.remove("key", cond=Cond.KEY_REMOVE)
    assert "key" not in kv


def test_kv_empty_values(kv: daos.KeyValue) -> None:
    kv.put("key", b"", cond=Cond.KEY_INSERT)
    assert "key" in kv
    with pytest.raises(daos.ExistsError):
        kv.put("key", b"", cond=Cond.KEY_INSERT)
    assert kv.get("key", cond=Cond.KEY_GET) == b""
    assert kv.size("key") == 0
    kv.put("key", b"")
    kv.remove("key", cond=Cond.KEY_REMOVE)
    assert "key" not in kv


def test_kv_as_an_object(cont: daos.Container, kv: daos.KeyValue) -> None:
    """The same object with two levels of keys; a key-value handle wants a key-value object."""
    kv["key"] = b"value"
    for _ in range(3):
        with cont.object(kv.oid) as obj:
            assert obj.fetch(b"key", b"0") == b"value"
            assert list(obj.dkeys()) == [b"key"]
    with pytest.raises(daos.InvalidError):
        cont.kv(cont.new_oid("MULTI_HASHED"))

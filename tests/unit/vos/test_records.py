from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import CorruptError
from daos.vos import keys
from daos.vos.records import GarbageRecord, NodeRecord, RootRecord, seal, unseal

U64 = st.integers(0, 2**64 - 1)
NODES = st.builds(
    NodeRecord,
    kind=st.sampled_from([keys.CONTAINER, keys.OBJECT, keys.DKEY, keys.AKEY]),
    node_id=st.integers(1, 2**64 - 1),
    ilog=st.binary(max_size=100),
    key=st.binary(max_size=100),
    value_type=st.integers(0, 2),
    record_size=U64,
    class_mask=U64,
    csum_type=st.integers(0, 255),
    csum_chunk=st.integers(0, 2**32 - 1),
)


@given(NODES)
def test_node_records_come_back(record: NodeRecord) -> None:
    assert NodeRecord.parse(record.emit()) == record


@given(st.binary(min_size=16, max_size=16), U64)
def test_root_records_come_back(pool: bytes, limit: int) -> None:
    record = RootRecord(pool, limit)
    assert RootRecord.parse(record.emit()) == record


@pytest.mark.parametrize("kind", [keys.CONTAINER, keys.OBJECT, keys.DKEY, keys.AKEY])
def test_garbage_records_come_back(kind: int) -> None:
    assert GarbageRecord.parse(GarbageRecord(kind).emit()) == GarbageRecord(kind)


ROOT = RootRecord(bytes(range(16)), 9).emit()
NODE = NodeRecord(keys.AKEY, 7, b"ilog", b"key").emit()
BARE = NodeRecord(keys.AKEY, 7).emit()
GARBAGE = GarbageRecord(keys.CONTAINER).emit()
PARSE: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "root": (ROOT, RootRecord.parse),
    "node": (NODE, NodeRecord.parse),
    "bare": (BARE, NodeRecord.parse),
    "garbage": (GARBAGE, GarbageRecord.parse),
}


@pytest.mark.parametrize("name", PARSE)
def test_every_bit_counts(name: str) -> None:
    record, parse = PARSE[name]
    for bit in range(len(record) * 8):
        damaged = bytearray(record)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptError):
            parse(bytes(damaged))


@pytest.mark.parametrize("name", PARSE)
def test_every_size_counts(name: str) -> None:
    record, parse = PARSE[name]
    for size in range(len(record)):
        with pytest.raises(CorruptError):
            parse(record[:size])
    with pytest.raises(CorruptError):
        parse(record + b"\0")


@pytest.mark.parametrize(
    ("name", "offset", "value", "what"),
    [
        ("root", 0, b"XXXX", "magic"),
        ("root", 4, b"\2\0", "version"),
        ("root", 6, b"\1\0", "flags"),
        ("node", 0, b"\0", "magic"),
        ("node", 1, b"\2", "version"),
        ("node", 2, b"\3\0", "flags"),
        ("node", 2, b"\0\0", "flags"),
        ("bare", 2, b"\1\0", "flags"),
        ("node", 4, b"\2", "kind"),
        ("node", 4, b"\7", "kind"),
        ("node", 5, b"\3", "value type"),
        ("node", 7, b"\1", "reserved"),
        ("node", 8, bytes(8), "id"),
        ("node", 36, b"\1", "map version"),
        ("node", 40, b"\1", "dtx"),
        ("node", 48, b"\5", "size"),
        ("node", 50, b"\1", "reserved"),
        ("node", 52, b"\xff\xff\xff\xff", "size"),
        ("garbage", 0, b"\0", "magic"),
        ("garbage", 1, b"\2", "version"),
        ("garbage", 2, b"\0", "kind"),
        ("garbage", 3, b"\1", "reserved"),
        ("garbage", 7, b"\1", "reserved"),
    ],
)
def test_well_sealed_but_unknown(name: str, offset: int, value: bytes, what: str) -> None:
    """Bits of a later version are refused, not skipped."""
    record, parse = PARSE[name]
    body = bytearray(record[:-8])
    body[offset : offset + len(value)] = value
    with pytest.raises(CorruptError, match=what):
        parse(seal(bytes(body)))


def test_seal() -> None:
    assert unseal(seal(b"body"), "it") == b"body"
    assert len(seal(b"")) == struct.calcsize("<Q")

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.checksum import ChecksumType, compute
from daos.base.errors import DER, ChecksumError, CorruptError, DaosError
from daos.bio.space import Extent
from daos.testing.shard import MemoryShard, on_shard
from daos.vos import keys
from daos.vos.container import VosContainer
from daos.vos.records import seal
from daos.vos.single import SingleRecord, check_not_written, emit_one, newest, xxh3_bytes

KINDS = st.sampled_from([kind for kind in ChecksumType if kind])


def inline(value: bytes, kind: ChecksumType = ChecksumType.XXH3) -> SingleRecord:
    return SingleRecord(len(value), int(kind), compute(kind, value), (), value)


def stored(size: int, *counts: int) -> SingleRecord:
    runs = tuple(Extent(100 + i, count) for i, count in enumerate(counts))
    return SingleRecord(size, ChecksumType.XXH3, b"checksum" * len(counts), runs)


@given(st.binary(min_size=1, max_size=200), KINDS)
def test_inline_records_come_back(value: bytes, kind: ChecksumType) -> None:
    record = SingleRecord.parse(inline(value, kind).emit())
    assert record == inline(value, kind)
    record.verify()
    assert not record.is_punch


@pytest.mark.parametrize(
    "record", [stored(4096, 1), stored(4097, 2), stored(12289, 1, 1, 2), SingleRecord(0)]
)
def test_other_records_come_back(record: SingleRecord) -> None:
    assert SingleRecord.parse(record.emit()) == record
    assert record.is_punch == (record.size == 0)


@given(st.binary(min_size=1, max_size=5000), st.booleans())
def test_one_value_is_emitted_as_its_record_would_be(value: bytes, blocks: bool) -> None:
    csum = compute(ChecksumType.XXH3, value)
    run = Extent(1 << 40, -(-len(value) // 4096)) if blocks else None
    record = SingleRecord(
        len(value), ChecksumType.XXH3, csum, (run,) if run else (), b"" if run else value
    )
    raw = emit_one(int.from_bytes(csum, "little"), run, memoryview(value))
    assert raw == record.emit()
    assert SingleRecord.parse(raw) == record


def test_xxh3_bytes_is_the_checksum() -> None:
    assert xxh3_bytes(b"abc") == compute(ChecksumType.XXH3, b"abc")


@pytest.mark.parametrize("kind", [ChecksumType.XXH3, ChecksumType.CRC32])
def test_damaged_payload(kind: ChecksumType) -> None:
    raw = bytearray(inline(b"value", kind).emit())
    raw[-1] ^= 1
    with pytest.raises(ChecksumError):
        SingleRecord.parse(bytes(raw)).verify()


@pytest.mark.parametrize("record", [inline(b"value"), stored(8192, 1, 1), SingleRecord(0)])
def test_every_bit_of_the_header_counts(record: SingleRecord) -> None:
    raw = record.emit()
    for bit in range((len(raw) - len(record.payload)) * 8):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptError):
            SingleRecord.parse(bytes(damaged))
    for size in range(len(raw)):
        with pytest.raises(CorruptError):
            SingleRecord.parse(raw[:size])
    with pytest.raises(CorruptError):
        SingleRecord.parse(raw + b"\0")


@pytest.mark.parametrize(
    ("record", "offset", "value", "what"),
    [
        (stored(4096, 1), 0, b"\0", "version"),
        (stored(4096, 1), 1, b"\2", "version"),
        (stored(4096, 1), 2, b"\4", "flags"),
        (stored(4096, 1), 2, b"\3", "flags"),
        (stored(4096, 1), 4, b"\2", "csum size"),
        (stored(4096, 1), 4, b"\xff", "csum size"),
        (stored(4096, 1), 2, b"\2", "punch"),
        (stored(4096, 1), 16, b"\1", "reserved"),
        (stored(4096, 1), 24, b"\1", "reserved"),
        (stored(4096, 1), 32, b"\1", "reserved"),
        (stored(4096, 1), 36, b"\1", "reserved"),
        (stored(4096, 1), 56, b"\0", "run"),
        (stored(4096, 1), 56, b"\2", "runs"),
        (SingleRecord(0), 2, b"\1", "punch"),
    ],
)
def test_well_sealed_but_unknown(
    record: SingleRecord, offset: int, value: bytes, what: str
) -> None:
    body = bytearray(record.emit()[:-8])
    body[offset : offset + len(value)] = value
    with pytest.raises(CorruptError, match=what):
        SingleRecord.parse(seal(bytes(body)))


def test_stored_without_runs() -> None:
    body = bytearray(SingleRecord(9, ChecksumType.XXH3, b"checksum", (), b"").emit()[:-8])
    body[2] = 1
    with pytest.raises(CorruptError, match="runs"):
        SingleRecord.parse(seal(bytes(body)))


@on_shard
async def test_newest(shard: MemoryShard, c: VosContainer) -> None:
    tx = shard.meta.begin()
    for epoch in (10, 20):
        tx.put(keys.single_key(50, epoch, 16383), inline(b"%d" % epoch).emit())
    tx.put(keys.node_prefix(60, keys.AKEY) + b"x", b"a node is no version")
    tx.commit()

    def epoch_at(akey_id: int, epoch: int, floor: tuple[int, int] = (0, 0)) -> int:
        version = newest(shard.meta, akey_id, epoch, floor)
        return 0 if version is None else version.epoch

    assert [epoch_at(50, epoch) for epoch in (9, 10, 19, 20, 2**64 - 1)] == [0, 10, 10, 20, 20]
    assert epoch_at(50, 25, (20, 16383)) == 0
    assert epoch_at(50, 25, (20, 16382)) == 20
    assert epoch_at(50, 15, (10, 16383)) == 0
    assert epoch_at(49, 100) == 0
    assert epoch_at(51, 100) == 0
    assert epoch_at(61, 100) == 0
    check_not_written(shard.meta, 50, 15)
    check_not_written(shard.meta, 50, 5)
    with pytest.raises(DaosError) as caught:
        check_not_written(shard.meta, 50, 10)
    assert caught.value.code is DER.NO_PERM

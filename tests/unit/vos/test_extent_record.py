"""Extent records and keys: bytes of format v1, damage, and the numbers beside them."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from daos.base.checksum import ChecksumType, compute, xxh3
from daos.base.errors import (
    ChecksumError,
    CorruptError,
)
from daos.bio.space import Extent
from daos.vos import extents
from daos.vos.extents import (
    DATA_WIDTH_MAX,
    RECORDS_MAX,
    ExtentRecord,
    Piece,
    class_of,
    hole,
)
from tests.unit.vos.extent_array import data


class TestRecord:
    RECORDS = (
        hole(1),
        hole(1 << 64),
        data(5, "hello"),
        ExtentRecord(3, 2, ChecksumType.CRC32, 4, b"aaaabbbb", None, b"6bytes"),
        ExtentRecord(3, reach=1 << 64),
        ExtentRecord(4097, 1, ChecksumType.SHA256, 8192, b"s" * 32, Extent(77, 2)),
        ExtentRecord(4097, 1, ChecksumType.XXH3, 8192, b"s" * 8, Extent(77, 2)),
        ExtentRecord(512, 8, ChecksumType.XXH3, 8192, b"s" * 8, Extent(77, 1), b"", 513),
        ExtentRecord(4097, 1, ChecksumType.XXH3, 4096, b"s" * 16, Extent(77, 2)),
    )

    @pytest.mark.parametrize("record", RECORDS)
    def test_round_trip(self, record: ExtentRecord) -> None:
        raw = record.emit()
        assert ExtentRecord.parse(raw) == record
        assert ExtentRecord.parse(raw).emit() == raw

    def test_bytes(self) -> None:
        record = ExtentRecord(3, 2, ChecksumType.CRC32, 4, b"aaaabbbb", None, b"6bytes", 9)
        raw = record.emit()
        assert raw[:40].hex(" ", -8) == (
            "da01000002040000 0200000000000000 0200000000000000 0400000000000000 0000000000000000"
        )
        assert raw[40:48] == (8).to_bytes(8, "little")
        assert raw[48:56] == b"aaaabbbb"
        assert raw[56:64] == xxh3(raw[:56]).to_bytes(8, "little")
        assert raw[64:] == b"6bytes"

    @pytest.mark.parametrize("record", RECORDS)
    def test_damage(self, record: ExtentRecord) -> None:
        raw = record.emit()
        head = len(raw) - len(record.payload)
        for bit in range(8 * head):
            broken = bytearray(raw)
            broken[bit // 8] ^= 1 << bit % 8
            with pytest.raises(CorruptError):
                ExtentRecord.parse(bytes(broken))
        for size in range(len(raw)):
            with pytest.raises(CorruptError):
                ExtentRecord.parse(raw[:size])
        with pytest.raises(CorruptError):
            ExtentRecord.parse(raw + b"\0")

    def test_payload_damage(self) -> None:
        good = ExtentRecord(
            5,
            1,
            ChecksumType.CRC32,
            2,
            b"".join(compute(ChecksumType.CRC32, chunk) for chunk in (b"he", b"ll", b"o")),
            None,
            b"hello",
        )
        good.verify()
        hole(7).verify()
        raw = bytearray(good.emit())
        raw[-1] ^= 1
        with pytest.raises(ChecksumError):
            ExtentRecord.parse(bytes(raw)).verify()

    @pytest.mark.parametrize(
        ("at", "value"),
        [
            (0, b"\xdb"),
            (1, b"\x02"),
            (2, b"\x04\x00"),
            (2, b"\x03\x00"),
            (2, b"\x00\x80"),
            (4, b"\x63"),
            (4, b"\x00"),
            (5, b"\x04"),
            (6, b"\x01"),
            (28, b"\x01"),
            (32, b"\x01"),
            (36, b"\x01"),
        ],
    )
    def test_unknown_bits_are_refused(self, at: int, value: bytes) -> None:
        """A right checksum over what this version does not write."""
        for record in self.RECORDS:
            raw = bytearray(record.emit())
            payload = len(record.payload)
            body = raw[: len(raw) - payload - 8]
            if body[at : at + len(value)] == value:
                continue
            body[at : at + len(value)] = value
            sealed = bytes(body) + xxh3(bytes(body)).to_bytes(8, "little")
            with pytest.raises(CorruptError):
                ExtentRecord.parse(sealed + bytes(record.payload))

    def test_wrong_reach(self) -> None:
        body = bytearray(hole(5).emit()[:-8])
        body[40] = 4
        with pytest.raises(CorruptError):
            ExtentRecord.parse(bytes(body) + xxh3(bytes(body)).to_bytes(8, "little"))
        body[40] = 5
        sealed = bytes(body) + xxh3(bytes(body)).to_bytes(8, "little")
        assert ExtentRecord.parse(sealed) == ExtentRecord(5, reach=6)

    def test_wrong_run(self) -> None:
        record = ExtentRecord(4097, 1, ChecksumType.CRC32, 8192, b"c" * 4, Extent(77, 2))
        body = bytearray(record.emit()[:-8])
        body[-4] = 3
        sealed = bytes(body) + xxh3(bytes(body)).to_bytes(8, "little")
        with pytest.raises(CorruptError):
            ExtentRecord.parse(sealed)

    def test_any_bytes(self) -> None:
        rng = random.Random(2)
        for _ in range(3000):
            raw = bytearray(rng.choice(self.RECORDS).emit())
            for _ in range(rng.randint(1, 5)):
                raw[rng.randrange(40)] = rng.randrange(256)
            try:
                record = ExtentRecord.parse(bytes(raw))
            except CorruptError:
                continue
            assert record.emit() == raw

    def test_builders_mistakes(self) -> None:
        for record in (
            ExtentRecord(0),
            ExtentRecord(5, reach=5),
            ExtentRecord(5, reach=RECORDS_MAX + 1),
            ExtentRecord(RECORDS_MAX + 1),
            ExtentRecord(1, 1),
            ExtentRecord(1, 1, 2, 4, b"csum"),
            ExtentRecord(1, 1, 2, 4, b"csum", Extent(1, 2)),
            ExtentRecord(1, 1, 2, 4, b"csums", None, b"x"),
            ExtentRecord(1, 1, 2, 0, b"csum", None, b"x"),
        ):
            with pytest.raises(AssertionError):
                record.emit()


def examples(page: str) -> list[bytes]:
    """The bytes of a page's worked examples."""
    text = (Path(__file__).parents[3] / "docs" / "format" / page).read_text()
    return [bytes.fromhex(block) for block in re.findall(r"```hex\n(.*?)```", text, re.S)]


def test_worked_examples() -> None:
    key, inline, in_blocks, punched = examples("extent_record.md")
    assert key == extents.extent_key(7, 16, 5, epoch=0x100, minor=16383)
    hello = compute(ChecksumType.XXH3, b"hello")
    record = ExtentRecord(5, 1, ChecksumType.XXH3, 1 << 15, hello, None, b"hello")
    assert ExtentRecord.parse(inline) == record
    record.verify()
    assert ExtentRecord.parse(in_blocks) == ExtentRecord(
        4097, 1, ChecksumType.CRC32, 1 << 15, b"\1\2\3\4", Extent(77, 2)
    )
    assert ExtentRecord.parse(punched) == ExtentRecord(3, reach=5)
    for raw in (inline, in_blocks, punched):
        assert ExtentRecord.parse(raw).emit() == raw


def test_classes() -> None:
    assert [class_of(width) for width in (1, 2, 3, 4, 5, 8, 9)] == [0, 1, 2, 2, 3, 3, 4]
    assert class_of(DATA_WIDTH_MAX) == 48
    assert [class_of((1 << 62) + 1), class_of(1 << 63), class_of((1 << 63) + 1)] == [63, 63, 63]
    assert class_of(RECORDS_MAX) == 63


def test_key() -> None:
    key = extents.extent_key(0x0102, 0x1000, 4096, epoch=2, minor=1)
    assert key.hex(" ") == (
        "00 00 00 00 00 00 01 02 0c 00 00 00 00 00 00 10 00 ff ff ff ff ff ff ff fd ff fe"
    )
    newer = extents.extent_key(0x0102, 0x1000, 4096, epoch=2, minor=2)
    assert newer < key < extents.extent_key(0x0102, 0x1000, 4096, epoch=1, minor=9)


def test_offset() -> None:
    record = ExtentRecord(4, 100, 2, 400, b"csum", Extent(0, 1))
    piece = Piece(12, 14, record, 10, 1, 1)
    assert (piece.offset, piece.nbytes) == (200, 200)
    assert (Piece(3, 5).offset, Piece(3, 5).nbytes, Piece(3, 5).is_data) == (0, 0, False)

"""Records of executed modifications, format v1, byte for byte."""

from __future__ import annotations

from pathlib import Path

from daos.vos import dtx_record
from tests.golden.vos.test_golden_tree import parse_golden

GOLDEN = parse_golden(Path(__file__).parent / "dtx_v1.hex")
DTX = bytes(range(16)) + (9).to_bytes(8, "big")


def test_every_record_is_there() -> None:
    assert GOLDEN.keys() == {"executed", "floor"}


def test_executed() -> None:
    key, value = GOLDEN["executed"]
    assert dtx_record.parse_dtx(key, value) == (10, DTX)
    assert dtx_record.dtx_key(2, 10, dtx_record.DtxId(DTX)) == key
    assert dtx_record.emit_dtx(key) == value
    assert dtx_record.emit_pair(2, 10, DTX) == (key, value)


def test_floor() -> None:
    key, value = GOLDEN["floor"]
    assert dtx_record.floor_key(2) == key
    assert dtx_record.parse_floor(key, value) == 10
    assert dtx_record.emit_floor(key, 10) == value

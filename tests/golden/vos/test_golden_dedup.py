"""Records of shared blocks, format v1, byte for byte."""

from __future__ import annotations

from pathlib import Path

from daos.bio.space import Extent
from daos.vos import dedup_record
from daos.vos.dedup_record import DedupMode, DedupSetting, Place
from tests.golden.vos.test_golden_tree import parse_golden

GOLDEN = parse_golden(Path(__file__).parent / "dedup_v1.hex")
RUN, DIGEST = Extent(9219, 2), bytes(range(32))


def test_every_record_is_there() -> None:
    assert GOLDEN.keys() == {"content", "place", "setting"}


def test_content() -> None:
    key, value = GOLDEN["content"]
    assert dedup_record.content_key(DIGEST, 5000) == key
    assert dedup_record.parse_content(key, value) == RUN
    assert dedup_record.emit_content(key, RUN) == value


def test_place() -> None:
    key, value = GOLDEN["place"]
    assert dedup_record.place_key(RUN) == key
    assert Place.parse(key, value) == Place(3, 5000, DIGEST)
    assert Place(3, 5000, DIGEST).emit(key) == value


def test_setting() -> None:
    key, value = GOLDEN["setting"]
    assert dedup_record.setting_key(2) == key
    assert DedupSetting.parse(key, value) == DedupSetting(DedupMode.HASH, 4096)
    assert DedupSetting(DedupMode.HASH, 4096).emit(key) == value

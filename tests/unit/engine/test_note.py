"""The note of an orderly stop is taken once, and is never trusted when it is not whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from daos.base.ids import Epoch
from daos.engine import note


def test_what_was_left_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "stopped"
    assert note.take(path) is None
    note.leave(path, Epoch(77))
    note.leave(path, Epoch(78))
    assert note.take(path) == 78
    assert note.take(path) is None
    assert not path.exists()


@pytest.mark.parametrize("raw", [b"", b"DAOSSTOP", bytes(32)])
def test_what_is_no_note_is_removed_and_told(
    tmp_path: Path, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "stopped"
    path.write_bytes(raw)
    assert note.take(path) is None
    assert "is of no use" in caplog.text
    assert not path.exists()

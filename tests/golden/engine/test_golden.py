"""The note of an orderly stop, version 1: today's code writes and reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from daos.base.errors import CorruptError
from daos.base.ids import Epoch
from daos.engine.layout import StopNote

GOLDEN = bytes.fromhex((Path(__file__).parent / "stop_note_v1.hex").read_text())
NOTE = StopNote(Epoch(0x192AEE4B42C80000))


def test_the_bytes_are_those_of_the_format() -> None:
    assert NOTE.emit() == GOLDEN
    assert StopNote.parse(GOLDEN) == NOTE


@pytest.mark.parametrize("at", range(len(GOLDEN)))
def test_a_damaged_byte_is_refused(at: int) -> None:
    damaged = bytearray(GOLDEN)
    damaged[at] ^= 1
    with pytest.raises(CorruptError, match="stop note"):
        StopNote.parse(bytes(damaged))

"""Any bytes in the place of an engine's note: a note that re-emits, or CorruptError."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError
from daos.engine.layout import MAGIC, StopNote


@given(st.binary(max_size=40))
def test_noise(raw: bytes) -> None:
    with suppress(CorruptError):
        assert StopNote.parse(raw).emit() == raw


@given(st.binary(min_size=16, max_size=16))
def test_with_a_sum_that_is_right(middle: bytes) -> None:
    head = MAGIC + middle
    raw = head + xxh3(head).to_bytes(8, "little")
    with suppress(CorruptError):
        assert StopNote.parse(raw).emit() == raw

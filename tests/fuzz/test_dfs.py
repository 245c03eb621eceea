"""Any bytes: what the file system keeps re-emits, or is CorruptError."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import CorruptError, InvalidError
from daos.base.ids import ObjectId
from daos.dfs.layout import (
    INODE_SIZE,
    SB_AKEYS,
    Entry,
    Mark,
    Superblock,
    emit_roots,
    guess,
    parse_roots,
)

GOOD = Entry(mode=stat.S_IFREG | 0o600, oid=ObjectId(13 << 56 | 1 << 48 | 1 << 32, 7)).emit()


@given(st.binary(min_size=INODE_SIZE, max_size=INODE_SIZE))
def test_entries(raw: bytes) -> None:
    try:
        assert Entry.parse(raw).emit() == raw
    except CorruptError:
        return


@given(st.integers(0, INODE_SIZE - 1), st.integers(0, 255))
def test_an_entry_with_one_byte_changed(offset: int, byte: int) -> None:
    raw = GOOD[:offset] + bytes([byte]) + GOOD[offset + 1 :]
    found = guess(raw)
    assert (found is None) == (offset == 12 + 7 and byte not in (0, 13))
    try:
        parsed = Entry.parse(raw)
    except CorruptError:
        return
    assert parsed.emit() == raw
    assert found is not None
    assert (found.kind, found.oid) == (parsed.kind, parsed.oid)


@given(st.binary(max_size=200).filter(lambda raw: len(raw) != INODE_SIZE))
def test_entries_of_another_size(raw: bytes) -> None:
    with pytest.raises(CorruptError):
        Entry.parse(raw)


@given(st.binary(max_size=400) | st.binary(min_size=41).map(lambda b: b"\1\2" + bytes(6) + b))
def test_marks(raw: bytes) -> None:
    try:
        assert Mark.parse(raw).emit() == raw
    except CorruptError:
        return


@given(st.dictionaries(st.sampled_from(SB_AKEYS), st.none() | st.binary(max_size=9)))
def test_superblocks(changed: dict[bytes, bytes | None]) -> None:
    values = {**Superblock(hints="file:max").emit(), **changed}
    try:
        found = Superblock.parse(values)
    except (CorruptError, InvalidError):  # the latter: of another version
        return
    assert found.chunk_size > 0
    assert Superblock.parse({**found.emit()}) == found


@given(st.text(max_size=100) | st.lists(st.integers(0, 9), max_size=8).map(str))
def test_roots(text: str) -> None:
    try:
        assert emit_roots(*parse_roots(text)) == text
    except CorruptError:
        return

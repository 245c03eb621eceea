"""Checksums by name. (Values: tests/golden/base; ISA-L: test_isal.)"""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base import checksum
from daos.base.checksum import (
    ChecksumType,
    checksum_type,
    compute,
    compute_chunks,
    compute_chunks_slowly,
    compute_slowly,
    xxh3,
)
from daos.base.errors import InvalidError

KINDS = list(ChecksumType)


def test_names_of_the_property() -> None:
    names = ["off", "crc16", "crc32", "crc64", "sha1", "sha256", "sha512", "adler32"]
    assert [checksum_type(name) for name in names] == list(range(8))
    assert checksum_type("CRC32") is ChecksumType.CRC32


@pytest.mark.parametrize("name", ["", "crc", "crc32c", "xxh3", "md5", "crc32 ", "x" * 1000])
def test_other_names(name: str) -> None:
    with pytest.raises(InvalidError, match="expected one of off, crc16") as caught:
        checksum_type(name)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_fixed(kind: ChecksumType) -> None:
    for data in (b"", b"a", bytes(100_000)):
        assert len(compute(kind, data)) == kind.size


@pytest.mark.parametrize("kind", KINDS[1:])
@given(st.binary(min_size=1, max_size=200), st.data())
def test_every_bit_counts(kind: ChecksumType, data: bytes, draw: st.DataObject) -> None:
    bit = draw.draw(st.integers(0, len(data) * 8 - 1))
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    assert compute(kind, damaged) != compute(kind, data)


@pytest.mark.parametrize("kind", KINDS)
@given(st.binary(max_size=300), st.integers(1, 100))
def test_chunks_are_what_each_would_be(kind: ChecksumType, data: bytes, nbytes: int) -> None:
    parts = [data[lo : lo + nbytes] for lo in range(0, len(data), nbytes)]
    want = b"".join(compute(kind, part) for part in parts)
    assert compute_chunks(kind, memoryview(data), chunk_nbytes=nbytes) == want


def test_chunks_of_wide_items_count_bytes() -> None:
    wide = memoryview(bytes(range(64))).cast("Q")
    want = compute_chunks(ChecksumType.CRC32, wide.cast("B"), chunk_nbytes=5)
    assert compute_chunks(ChecksumType.CRC32, wide, chunk_nbytes=5) == want
    assert len(want) == 13 * 4


@pytest.mark.parametrize("kind", KINDS[1:])
def test_what_is_no_flat_buffer(kind: ChecksumType) -> None:
    for wrong in (memoryview(b"abcdef")[::2], "text", None):
        with pytest.raises(InvalidError, match="checksum"):
            compute(kind, wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidError, match="checksum"):
            compute_chunks(kind, wrong, chunk_nbytes=2)  # type: ignore[arg-type]


def test_chunks_of_nothing_wide() -> None:
    with pytest.raises(InvalidError, match="chunk_nbytes"):
        compute_chunks(ChecksumType.CRC32, b"a", chunk_nbytes=0)


def test_xxh3_of_views() -> None:
    # Known value of the empty input: xxHash's own test vectors.
    assert xxh3(b"") == 0x2D06800538D394C2
    assert xxh3(memoryview(b"xabcx")[1:4]) == xxh3(bytearray(b"abc")) == xxh3(b"abc")
    with pytest.raises(InvalidError, match="flat buffer"):
        xxh3(memoryview(b"abcdef")[::2])
    with pytest.raises(InvalidError, match="flat buffer"):
        xxh3(7)  # type: ignore[arg-type]


def taken(steps: Generator[None, None, bytes]) -> tuple[bytes, int]:
    """What the steps made, and how often they paused."""
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, pauses
        pauses += 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nbytes", [0, 1, 63, 64, 65, 128, 1000])
def test_slowly_is_the_same(
    kind: ChecksumType, nbytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksum, "_SLICE", 64)
    monkeypatch.setattr(checksum, "_SLICE_SLOW", 64)
    data = bytes(7 * at % 251 for at in range(nbytes))
    pauses = max(0, -(-nbytes // 64) - 1)
    assert taken(compute_slowly(kind, data)) == (compute(kind, data), pauses)
    for chunk, slices in ((16, pauses), (64, pauses), (100, None), (2000, pauses)):
        want = compute_chunks(kind, data, chunk_nbytes=chunk)
        got, paused = taken(compute_chunks_slowly(kind, data, chunk_nbytes=chunk))
        assert got == want
        assert slices is None or paused == slices


def test_slices_take_as_long_whatever_the_algorithm() -> None:
    assert checksum.slice_bytes(ChecksumType.XXH3) == 8 * checksum.slice_bytes(ChecksumType.SHA256)


def test_many_small_buffers_make_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksum, "_SLICE", 64)
    turn = checksum.Turn(ChecksumType.XXH3)
    assert [len(list(turn.did(20))) for _ in range(8)] == [0, 0, 0, 1, 0, 0, 0, 1]

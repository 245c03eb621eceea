"""Hashes against published values and slow, separate implementations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.placement import hashing

U64 = st.integers(0, (1 << 64) - 1)
MASK = (1 << 64) - 1


def slow_murmur64a(key: bytes, seed: int) -> int:
    """Byte by byte, from the description of MurmurHash64A."""
    prime = 0xC6A4A7935BD1E995
    digest = seed ^ (len(key) * prime % (1 << 64))
    blocks, tail = key[: len(key) // 8 * 8], key[len(key) // 8 * 8 :]
    for at in range(0, len(blocks), 8):
        word = sum(blocks[at + i] << (8 * i) for i in range(8))
        word = word * prime % (1 << 64)
        word ^= word >> 47
        word = word * prime % (1 << 64)
        digest = (digest ^ word) * prime % (1 << 64)
    if tail:
        for i, byte in enumerate(tail):
            digest ^= byte << (8 * i)
        digest = digest * prime % (1 << 64)
    digest ^= digest >> 47
    digest = digest * prime % (1 << 64)
    return digest ^ digest >> 47


def slow_crc64(buf: bytes, start: int = 0) -> int:
    """Bit by bit."""
    state = start ^ MASK
    for byte in buf:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0xC96C5795D7870F42 if state & 1 else 0)
    return state ^ MASK


@given(st.binary(max_size=100), st.integers(0, (1 << 32) - 1))
def test_murmur_is_the_slow_one(key: bytes, seed: int) -> None:
    assert hashing.murmur64a(key, seed) == slow_murmur64a(key, seed)


def test_crc64_has_the_catalogued_check_value() -> None:
    assert hashing.crc64(b"123456789") == 0x995DC9BBDF1939FA


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_crc64_is_the_slow_one_and_continues(head: bytes, tail: bytes) -> None:
    assert hashing.crc64(head) == slow_crc64(head)
    assert hashing.crc64(tail, hashing.crc64(head)) == hashing.crc64(head + tail)


@given(U64, U64, U64)
def test_mix_is_a_crc_of_24_bytes(first: int, second: int, third: int) -> None:
    words = b"".join(word.to_bytes(8, "little") for word in (first, second, third))
    assert hashing.mix(first, second, third) == slow_crc64(words, 0xBABECAFE)


@pytest.mark.parametrize(
    ("key", "buckets", "bucket"),
    [(1, 1, 0), (42, 57, 43), (0xDEAD10CC, 1, 0), (0xDEAD10CC, 666, 361), (256, 1024, 520)],
)
def test_jump_consistent_has_the_published_values(key: int, buckets: int, bucket: int) -> None:
    assert hashing.jump_consistent(key, buckets) == bucket


@given(U64, st.integers(1, 5000))
def test_one_more_bucket_moves_a_key_there_or_not_at_all(key: int, buckets: int) -> None:
    before = hashing.jump_consistent(key, buckets)
    after = hashing.jump_consistent(key, buckets + 1)
    assert 0 <= before < buckets
    assert after in (before, buckets)

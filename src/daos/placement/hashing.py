"""The hash functions that placement is built from: pure, and equal on every node for ever.

`murmur64a`        MurmurHash64A (A. Appleby): dkeys to 64 bits.
`crc64`            CRC-64/XZ: polynomial ECMA-182, bits reflected, start and end inverted.
`mix`              `crc64` of three 64-bit words; the draw of one placement decision.
`jump_consistent`  64 bits to a bucket in [0, n), such that growing n moves 1/n of the keys.

A changed result here moves every object of every pool, so the values are pinned by golden files.
`mix` is split in two (`mix_start`, `mix_rest`) because placement draws often with the same
first word. The CRC takes eight bytes a step from eight tables (slicing-by-8).
"""

from __future__ import annotations

import struct
from typing import Final

MASK64: Final = (1 << 64) - 1

_MURMUR_PRIME: Final = 0xC6A4A7935BD1E995
_MURMUR_SHIFT: Final = 47
_WORDS: Final = tuple(struct.Struct(f"<{count}Q") for count in range(9))

_CRC64_POLYNOMIAL_REFLECTED: Final = 0xC96C5795D7870F42
_MIX_SEED: Final = 0xBABECAFE

_JUMP_MULTIPLIER: Final = 2862933555777941757
_TWO_TO_31: Final = float(1 << 31)


def murmur64a(key: bytes, seed: int) -> int:
    """MurmurHash64A of `key`.

    Cost:       1.5 us for 20 bytes, 0.4 us for each further 8
    Source:     DAOS src/gurt/hash.c d_hash_murmur64, which is MurmurHash64A of SMHasher
    """
    size = len(key)
    count = size >> 3
    if count < len(_WORDS):
        words = _WORDS[count].unpack_from(key)
    else:
        words = struct.unpack_from(f"<{count}Q", key)
    digest = seed ^ (size * _MURMUR_PRIME & MASK64)
    for word in words:
        word = word * _MURMUR_PRIME & MASK64
        word ^= word >> _MURMUR_SHIFT
        digest = (digest ^ (word * _MURMUR_PRIME & MASK64)) * _MURMUR_PRIME & MASK64
    if size & 7:
        tail = int.from_bytes(key[count << 3 :], "little")
        digest = (digest ^ tail) * _MURMUR_PRIME & MASK64
    digest ^= digest >> _MURMUR_SHIFT
    digest = digest * _MURMUR_PRIME & MASK64
    return digest ^ (digest >> _MURMUR_SHIFT)


def _crc_tables() -> tuple[tuple[int, ...], ...]:
    first = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_CRC64_POLYNOMIAL_REFLECTED if value & 1 else 0)
        first.append(value)
    tables = [tuple(first)]
    for _ in range(7):
        tables.append(tuple(first[value & 255] ^ (value >> 8) for value in tables[-1]))
    return tuple(tables)


_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7 = _crc_tables()


def absorb(state: int, word: int) -> int:
    """Feed the eight little-endian bytes of `word` (u64) to the running CRC `state`."""
    word ^= state
    return (
        _T7[word & 255]
        ^ _T6[word >> 8 & 255]
        ^ _T5[word >> 16 & 255]
        ^ _T4[word >> 24 & 255]
        ^ _T3[word >> 32 & 255]
        ^ _T2[word >> 40 & 255]
        ^ _T1[word >> 48 & 255]
        ^ _T0[word >> 56]
    )


def crc64(buf: bytes, start: int = 0) -> int:
    """CRC-64/XZ of `buf`, continuing from the CRC `start` of what came before.

    Source:     ISA-L crc64_ecma_refl(start, buf, len), which inverts at both ends
    """
    state = start ^ MASK64
    whole = len(buf) & ~7
    for (word,) in struct.iter_unpack("<Q", buf[:whole]):
        state = absorb(state, word)
    for byte in buf[whole:]:
        state = _T0[(state ^ byte) & 255] ^ (state >> 8)
    return state ^ MASK64


def mix_start(first: int) -> int:
    """The CRC state of `mix` after its first word; `mix_rest` takes it on."""
    return absorb(_MIX_SEED ^ MASK64, first)


def mix_rest(state: int, second: int, third: int) -> int:
    """Finish a `mix` begun with `mix_start`."""
    return absorb(absorb(state, second), third) ^ MASK64


def mix(first: int, second: int, third: int) -> int:
    """`crc64` of three u64 in little-endian order, seeded with 0xbabecafe.

    Source:     DAOS src/placement/jump_map.c jm_crc (layout version 2)
    """
    return mix_rest(mix_start(first), second, third)


def jump_consistent(key: int, buckets: int) -> int:
    """The bucket of the 64-bit `key` among `buckets` >= 1 of them.

    From n to n + 1 buckets a key either stays or moves to bucket n, the latter with chance
    1 / (n + 1).

    Cost:       O(ln buckets), 0.3 us a step
    Source:     Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014
    """
    bucket, following = 0, 0.0
    while following < buckets:  # of its whole part, which is below them exactly where it is
        bucket = int(following)
        key = (key * _JUMP_MULTIPLIER + 1) & MASK64
        following = (bucket + 1) * (_TWO_TO_31 / ((key >> 33) + 1))
    return bucket

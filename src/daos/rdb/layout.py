"""Records of the local metadata store, as they stand in the tree of a metadata context; pure.

    tree key                          value
    "R" 00                            root     magic, format version, revision, next lease id
    "R" 01  order(key)                pair     revisions, lease, (long key), value
    "R" 02  lease u64 big-endian      lease    time to live
    "R" 03  lease u64 BE  order(key)  attachment: the key itself

`order(key)` is the key up to 400 bytes, else its first 400 bytes and a 128-bit BLAKE2b of all of
it: tree keys end at 511 bytes, ours at 1024. Long keys that share 400 bytes stand together, right
after the key that is exactly those 400 bytes, in no useful order: a scan sorts each such run.

Values, integers little-endian:

    root    0 u32 magic "DRDB"   4 u16 version   6 u16 reserved 0
            8 u64 revision       16 u64 lease_next
    pair    0 u64 create_revision   8 u64 mod_revision  16 u64 lease  24 u16 key_size  26 6 x 0
           32 key (key_size bytes: all of it if it is long, else none)
           .. value
    lease   0 u64 ttl_ns   8 u64 reserved 0

Checksums stand around all of this: log records and checkpoint blocks of the tree carry them, and
are verified before a byte reaches this module. What does not parse all the same is refused.

Worked example: docs/format/rdb_records.md.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from daos.base.errors import CorruptError
from daos.rdb.interface import KEY_SIZE_MAX, TTL_NS_MAX, KeyValuePair

MAGIC: Final = int.from_bytes(b"DRDB", "little")
VERSION: Final = 1
ORDER_PREFIX_SIZE: Final = 400
ORDER_HASH_SIZE: Final = 16

ROOT_KEY: Final = b"R\x00"
PAIR_PREFIX: Final = b"R\x01"
LEASE_PREFIX: Final = b"R\x02"
ATTACHMENT_PREFIX: Final = b"R\x03"

_ROOT: Final = struct.Struct("<IHHQQ")
_PAIR: Final = struct.Struct("<QQQH6s")
_LEASE: Final = struct.Struct("<QQ")
_LEASE_ID: Final = struct.Struct(">Q")
ROOT_SIZE: Final = 24
PAIR_HEADER_SIZE: Final = 32
LEASE_SIZE: Final = 16
assert _ROOT.size == ROOT_SIZE
assert _PAIR.size == PAIR_HEADER_SIZE
assert _LEASE.size == LEASE_SIZE

_PAIR_RESERVED: Final = bytes(6)


def order(key: bytes) -> bytes:
    """What stands for `key` in the tree."""
    if len(key) <= ORDER_PREFIX_SIZE:
        return key
    digest = hashlib.blake2b(key, digest_size=ORDER_HASH_SIZE).digest()
    return key[:ORDER_PREFIX_SIZE] + digest


def pair_key(key: bytes) -> bytes:
    return PAIR_PREFIX + order(key)


def lease_key(lease: int) -> bytes:
    return LEASE_PREFIX + _LEASE_ID.pack(lease)


def parse_lease_key(tree_key: bytes) -> int:
    """Raises: CorruptError"""
    size = len(LEASE_PREFIX) + _LEASE_ID.size
    if len(tree_key) != size:
        raise CorruptError("rdb lease key size", offset=0, want=size, got=len(tree_key))
    (lease,) = _LEASE_ID.unpack_from(tree_key, len(LEASE_PREFIX))
    return int(lease)


def attachments_prefix(lease: int) -> bytes:
    return ATTACHMENT_PREFIX + _LEASE_ID.pack(lease)


def attachment_key(lease: int, key: bytes) -> bytes:
    return attachments_prefix(lease) + order(key)


@dataclass(frozen=True, slots=True)
class Root:
    """The counters of the store."""

    revision: int
    lease_next: int

    def emit(self) -> bytes:
        return _ROOT.pack(MAGIC, VERSION, 0, self.revision, self.lease_next)

    @classmethod
    def parse(cls, buf: bytes) -> Root:
        """Raises: CorruptError"""
        if len(buf) != ROOT_SIZE:
            raise CorruptError("rdb root size", offset=0, want=ROOT_SIZE, got=len(buf))
        magic, version, reserved, revision, lease_next = _ROOT.unpack(buf)
        for what, offset, want, got in (
            ("magic", 0, MAGIC, magic),
            ("format version", 4, VERSION, version),
            ("reserved field", 6, 0, reserved),
        ):
            if got != want:
                raise CorruptError(f"rdb root {what}", offset=offset, want=want, got=got)
        if not revision or not lease_next:
            raise CorruptError("rdb root counters", offset=8, want="over 0", got=0)
        return cls(revision, lease_next)


def emit_pair(pair: KeyValuePair) -> bytes:
    """The record of `pair`, to stand under `pair_key(pair.key)`."""
    inside = pair.key if len(pair.key) > ORDER_PREFIX_SIZE else b""
    header = _PAIR.pack(
        pair.create_revision, pair.mod_revision, pair.lease, len(inside), _PAIR_RESERVED
    )
    return b"".join((header, inside, pair.value))


def parse_pair(tree_key: bytes, buf: bytes) -> KeyValuePair:
    """The pair that stands under `tree_key`. Raises: CorruptError"""
    if len(buf) < PAIR_HEADER_SIZE:
        raise CorruptError("rdb pair size", offset=0, want=PAIR_HEADER_SIZE, got=len(buf))
    created, modified, lease, key_size, reserved = _PAIR.unpack_from(buf)
    if not 0 < created <= modified:
        raise CorruptError("rdb pair revisions", offset=0, want=f"1..{modified}", got=created)
    if reserved != _PAIR_RESERVED:
        raise CorruptError("rdb pair reserved field", offset=26, want=_PAIR_RESERVED, got=reserved)
    key = tree_key[len(PAIR_PREFIX) :]
    if key_size:
        if not ORDER_PREFIX_SIZE < key_size <= min(KEY_SIZE_MAX, len(buf) - PAIR_HEADER_SIZE):
            raise CorruptError("rdb pair key size", offset=24, want=KEY_SIZE_MAX, got=key_size)
        key = buf[PAIR_HEADER_SIZE : PAIR_HEADER_SIZE + key_size]
    if not key or pair_key(key) != tree_key:
        raise CorruptError("rdb pair key", offset=PAIR_HEADER_SIZE, want=tree_key, got=key)
    return KeyValuePair(key, buf[PAIR_HEADER_SIZE + key_size :], created, modified, lease)


def emit_lease(ttl_ns: int) -> bytes:
    return _LEASE.pack(ttl_ns, 0)


def parse_lease(buf: bytes) -> int:
    """The time to live. Raises: CorruptError"""
    if len(buf) != LEASE_SIZE:
        raise CorruptError("rdb lease size", offset=0, want=LEASE_SIZE, got=len(buf))
    ttl_ns, reserved = _LEASE.unpack(buf)
    if reserved or not 0 < ttl_ns <= TTL_NS_MAX:
        raise CorruptError("rdb lease time to live", offset=0, want=TTL_NS_MAX, got=ttl_ns)
    return int(ttl_ns)

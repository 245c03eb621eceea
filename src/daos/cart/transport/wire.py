"""What is said between two ends on one host besides frames: one greeting, then offers of memory.

All integers little-endian, no padding. A greeting is the first thing on the connection, sent with
one end of a pair of SOCK_SEQPACKET sockets as ancillary data; frames follow:

     0  4s   magic    "DSHM"
     4  u16  version
     6  u16  flags    0

An offer travels over that pair, one a packet; SHARE brings the memfd as ancillary data:

     0  4s   magic      "DMEM"
     4  u16  version
     6  u16  kind       1 SHARE, 2 UNSHARE
     8  u64  region_id  chosen by the sender, used once in the life of a connection
    16  u64  nbytes     of the memory, from its start; UNSHARE: 0

There are no checksums: these bytes cross a kernel, not a wire.

Worked example: docs/format/shared_memory.md. A change bumps VERSION and adds a golden file.

Source: ours
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from daos.base.errors import CorruptError

VERSION: Final = 1
GREETING_MAGIC: Final = b"DSHM"
OFFER_MAGIC: Final = b"DMEM"
SHARE: Final = 1
UNSHARE: Final = 2

_GREETING: Final = struct.Struct("<4sHH")
_OFFER: Final = struct.Struct("<4sHHQQ")
GREETING_SIZE: Final = 8
OFFER_SIZE: Final = 24
assert _GREETING.size == GREETING_SIZE
assert _OFFER.size == OFFER_SIZE


def emit_greeting() -> bytes:
    """The bytes before the first frame."""
    return _GREETING.pack(GREETING_MAGIC, VERSION, 0)


def parse_greeting(raw: bytes) -> None:
    """Raises: CorruptError   this is no greeting of this version"""
    if len(raw) != GREETING_SIZE:
        raise CorruptError("sm greeting size", offset=0, want=GREETING_SIZE, got=len(raw))
    magic, version, flags = _GREETING.unpack(raw)
    if magic != GREETING_MAGIC:
        raise CorruptError("sm greeting magic", offset=0, want=GREETING_MAGIC, got=magic)
    if version != VERSION:
        raise CorruptError("sm greeting version", offset=4, want=VERSION, got=version)
    if flags:
        raise CorruptError("sm greeting flags", offset=6, want=0, got=flags)


class Offer(NamedTuple):
    """What `parse` accepts, `emit` gives back bit for bit."""

    kind: int
    region_id: int
    nbytes: int

    @classmethod
    def parse(cls, raw: bytes) -> Offer:
        """Raises: CorruptError   this is no offer of this version"""
        if len(raw) != OFFER_SIZE:
            raise CorruptError("sm offer size", offset=0, want=OFFER_SIZE, got=len(raw))
        magic, version, kind, region_id, nbytes = _OFFER.unpack(raw)
        if magic != OFFER_MAGIC:
            raise CorruptError("sm offer magic", offset=0, want=OFFER_MAGIC, got=magic)
        if version != VERSION:
            raise CorruptError("sm offer version", offset=4, want=VERSION, got=version)
        if kind not in (SHARE, UNSHARE):
            raise CorruptError("sm offer kind", offset=6, want=SHARE, got=kind)
        if (kind == SHARE) != (nbytes > 0):
            raise CorruptError("sm offer nbytes", offset=16, want=kind, got=nbytes)
        return cls(kind, region_id, nbytes)

    def emit(self) -> bytes:
        return _OFFER.pack(OFFER_MAGIC, VERSION, self.kind, self.region_id, self.nbytes)

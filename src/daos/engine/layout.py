"""What an engine that stopped in order leaves for its next start; pure.

     0  8s   magic      "DAOSSTOP"
     8  u32  version    1
    12  u32  reserved   0
    16  u64  epoch      none above it was given out
    24  u64  sum        XXH3-64 of bytes 0..24

Format: docs/format/stop_note.md. Source: ours
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Self

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError
from daos.base.ids import EPOCH_MAX, Epoch

MAGIC: Final = b"DAOSSTOP"
VERSION: Final = 1
SIZE: Final = 32
_HEAD: Final = struct.Struct("<8sIIQ")
_SUM: Final = struct.Struct("<Q")
assert _HEAD.size + _SUM.size == SIZE


@dataclass(frozen=True, slots=True)
class StopNote:
    """The last epoch of a rank's life."""

    epoch: Epoch

    def emit(self) -> bytes:
        head = _HEAD.pack(MAGIC, VERSION, 0, self.epoch)
        return head + _SUM.pack(xxh3(head))

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises: CorruptError"""
        if len(raw) != SIZE:
            raise CorruptError("stop note size", offset=0, want=SIZE, got=len(raw))
        magic, version, reserved, epoch = _HEAD.unpack_from(raw)
        (told,) = _SUM.unpack_from(raw, _HEAD.size)
        for what, offset, want, got in (
            ("magic", 0, MAGIC, magic),
            ("sum", _HEAD.size, xxh3(raw[: _HEAD.size]), told),
            ("version", 8, VERSION, version),
            ("reserved", 12, 0, reserved),
        ):
            if want != got:
                raise CorruptError(f"stop note {what}", offset=offset, want=want, got=got)
        if epoch >= EPOCH_MAX:
            raise CorruptError("stop note epoch", offset=16, want=f"< {EPOCH_MAX:#x}", got=epoch)
        return cls(Epoch(epoch))

"""dRPC packets: a message travels in chunks, each with a header of 24 bytes in front.

The integers have the byte order of the machine: both ends are on one host.

     0  u64  total_size    bytes of the message
     8  u64  chunk_size    bytes of it in this packet
    16  u32  chunk_index   from 0; chunks leave, and arrive, in order
    20  u32  chunk_count   at least 1: an empty message is one empty chunk
    24       data

A packet is at most PACKET_MAX bytes; its borders are kept by the socket (SOCK_SEQPACKET).

    MessageReader:  EMPTY --first chunk--> PARTIAL --last chunk--> the message, EMPTY

Worked example: docs/format/drpc.md.

Source: DAOS src/common/drpc.c, src/control/drpc/drpc_conn.go; the bound of a message is ours
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from daos.base.errors import DER, DaosError, ProtocolError

_HEADER: Final = struct.Struct("=QQII")
HEADER_SIZE: Final = 24
assert _HEADER.size == HEADER_SIZE
PACKET_MAX: Final = 1 << 17
CHUNK_MAX: Final = PACKET_MAX - HEADER_SIZE
# Lists of pools and members fit in by far; a peer cannot make us keep more than this.
MESSAGE_MAX: Final = 16 << 20


def packets(message: bytes) -> Iterator[bytes]:
    """The packets that carry `message`, in order.

    Raises: DaosError REC2BIG  more than MESSAGE_MAX bytes
    """
    size = len(message)
    if size > MESSAGE_MAX:
        text = f"a dRPC message has at most {MESSAGE_MAX} bytes, this one has {size}"
        raise DaosError(text, code=DER.REC2BIG)
    count = max(1, -(-size // CHUNK_MAX))
    for index in range(count):
        chunk = message[index * CHUNK_MAX : (index + 1) * CHUNK_MAX]
        yield _HEADER.pack(size, len(chunk), index, count) + chunk


class MessageReader:
    """Puts the messages of one direction of a connection together. After an error it is dead."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._total = 0
        self._count = 0
        self._missing = 0  # bytes

    def receive(self, packet: bytes) -> bytes | None:
        """Take the next packet; the message, where this was its last one.

        Raises: DaosError TRUNC      cut short, or its sizes do not fit together
                ProtocolError        no chunks, too many, or totals that change
                DaosError MISMATCH   a chunk is missing
        """
        index, data = self._parse(packet)
        if index != len(self._chunks):
            text = f"lost chunk: {index} of {self._count} came, {len(self._chunks)} was next"
            raise DaosError(text, code=DER.MISMATCH)
        self._missing -= len(data)
        if self._missing < 0:
            raise _truncated(f"data overflow: more than the {self._total} bytes announced")
        self._chunks.append(data)
        if len(self._chunks) < self._count:
            return None
        if self._missing:
            raise _truncated(f"expected message of size {self._total}, {self._missing} bytes less")
        message = b"".join(self._chunks)
        self._chunks.clear()
        return message

    def _parse(self, packet: bytes) -> tuple[int, bytes]:
        if len(packet) < HEADER_SIZE:
            raise _truncated(f"smaller than minimum header size: {len(packet)} bytes")
        total, size, index, count = _HEADER.unpack_from(packet)
        data = packet[HEADER_SIZE:]
        if size != len(data):
            raise _truncated(f"a chunk of {size} bytes came with {len(data)}")
        if not self._chunks:
            self._begin(total, count)
        if count != self._count:
            raise ProtocolError(f"inconsistent total chunks: {self._count}, then {count}")
        if total != self._total:
            raise ProtocolError(f"inconsistent data size: {self._total}, then {total}")
        if index >= count:
            raise ProtocolError(f"chunk {index} of {count}")
        return index, data

    def _begin(self, total: int, count: int) -> None:
        if total > MESSAGE_MAX:
            raise _truncated(f"a message of {total} bytes; at most {MESSAGE_MAX} are taken")
        if not 1 <= count <= max(1, total):
            raise ProtocolError(f"a message of {total} bytes in {count} chunks")
        self._total = self._missing = total
        self._count = count


def _truncated(text: str) -> DaosError:
    return DaosError(text, code=DER.TRUNC)

"""Bytes of key queries; those of before they told the newest epoch are read still."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from daos.base.iod import Recx
from daos.object.wire import QueryKeyReply, QueryKeyRequest, ShardAddress

ADDRESS = ShardAddress(bytes(15) + b"\1", 1, 2, 3, 4, 5, bytes(15) + b"\2")
MESSAGES: dict[str, QueryKeyRequest | QueryKeyReply] = {
    "query": QueryKeyRequest(ADDRESS, 0x15, akey=b"0"),
    "query with newest": QueryKeyRequest(ADDRESS, 0x15, akey=b"0", newest=True),
    "found": QueryKeyReply(True, b"\2" + bytes(7), b"", Recx(5, 1), 1, 6, 7),
    "nothing": QueryKeyReply(False, epoch=6),
}


def rows() -> dict[str, bytes]:
    lines = Path(__file__).with_name("query.tsv").read_text().splitlines()
    pairs = [line.split("\t") for line in lines if not line.startswith("#")]
    return {name: bytes.fromhex(data) for name, data in pairs}


@pytest.mark.parametrize("name", list(MESSAGES))
def test_messages(name: str) -> None:
    message, encoded = MESSAGES[name], rows()[name]
    assert msgspec.msgpack.encode(message) == encoded
    assert msgspec.msgpack.decode(encoded, type=type(message)) == message


def test_messages_without_the_newest_epoch() -> None:
    request, reply = rows()["query"], rows()["nothing"]
    old_request = b"\x94" + request[1:-1]
    assert msgspec.msgpack.decode(old_request, type=QueryKeyRequest) == MESSAGES["query"]
    old_reply = b"\x96" + reply[1:-1]
    assert msgspec.msgpack.decode(old_reply, type=QueryKeyReply) == MESSAGES["nothing"]

"""Bytes of bulk handles and frames of version 1: today's code writes them, and reads them."""

from __future__ import annotations

from pathlib import Path

from daos.base.ids import Rank, Tag
from daos.cart.bulk import (
    Access,
    Borrow,
    BulkHandle,
    Mode,
    Return,
    Segments,
    Table,
    decode_access,
    decode_borrow,
    decode_places,
    decode_return,
    encode,
)
from daos.cart.bulk_port import Port
from daos.cart.bulk_transfer import Transfer
from daos.cart.framing import Limits
from daos.cart.session import CallerSession, ServerSession
from daos.cart.wire import NO_RANK, Endpoint, Header

LINES = (Path(__file__).parent / "bulk_v1.hex").read_text().splitlines()
BYTES = {line.split(":")[0]: bytes.fromhex(line.split(":")[1]) for line in LINES}

CLIENT = Endpoint(NO_RANK, Tag(7))
SERVER = Endpoint(Rank(0), Tag(3))
KEY = bytes(range(16))
DATA = b"0123456789"


class KeyOnly:
    """Randomness that is KEY."""

    def getrandbits(self, _count: int) -> int:
        return int.from_bytes(KEY, "little")

    def random(self) -> float:
        return 0.0


def written() -> dict[str, bytes]:
    """A target reads bytes [2, 7) of a client's memory, and writes them back to [0, 5)."""
    client: CallerSession[str] = CallerSession(Limits(), peer=SERVER, source=CLIENT)
    server = ServerSession(Limits())
    room, got = bytearray(DATA), bytearray(5)
    table = Table(Limits(), KeyOnly())
    Port(client, table, source=CLIENT, peer=SERVER, wake=lambda: None)
    port = Port(server, Table(Limits(), KeyOnly()), source=SERVER, peer=CLIENT, wake=lambda: None)
    region = table.add([memoryview(room)], Mode.READ_WRITE)
    frames = {
        "handle": region.handle().emit(),
        "bound handle": BulkHandle(KEY, 4096, int(Mode.READ), CLIENT).emit(),
        "access": encode(Access(KEY, ((512, 1024),))),
        "borrow": encode(Borrow(KEY, ((512, 1024), (0, 1)), int(Mode.WRITE))),
        "return": encode(Return((1 << 63) + 5)),
        "places": encode([(7, 4608, 1024), (8, 0, 1)]),
    }
    for get, name in ((True, "get"), (False, "put")):
        local = Segments([memoryview(got)], writable=get)
        port.start(
            Transfer(
                region.key,
                [(2 if get else 0, 5)],
                local,
                get=get,
                deadline_ns=1_800_000_000_000_000_000,
                trace_id=42,
                done=lambda error: None,
            )
        )
        frames[name] = _carried(server, client)
        frames[f"{name} reply"] = _carried(client, server)
    assert room == b"2345656789"
    table.remove(region)
    port.start(
        Transfer(
            region.key,
            [(0, 5)],
            Segments([memoryview(got)], writable=True),
            get=True,
            deadline_ns=1,
            trace_id=43,
            done=lambda error: None,
        )
    )
    _carried(server, client)
    frames["get refused"] = _carried(client, server)
    return frames


def _carried(
    sender: CallerSession[str] | ServerSession, receiver: CallerSession[str] | ServerSession
) -> bytes:
    data = b"".join(sender.data_to_send(1 << 20, 0x1234_5678_9ABC_DEF0))
    for hook in sender.data_sent():
        hook()
    rest = data
    while rest:
        buffer = receiver.get_buffer()
        step = min(len(buffer), len(rest))
        buffer[:step] = rest[:step]
        assert receiver.buffer_updated(step, 0) == []
        rest = rest[step:]
    return data


def test_the_bytes_written_are_those_of_the_format() -> None:
    assert written() == BYTES


def test_the_bytes_are_read() -> None:
    handle = BulkHandle.parse(BYTES["bound handle"])
    assert handle == BulkHandle(KEY, 4096, 1, (NO_RANK, 7))
    assert handle.endpoint == CLIENT
    assert BulkHandle.parse(BYTES["handle"]) == BulkHandle(KEY, 10, 3, None)
    assert decode_access(BYTES["access"]) == Access(KEY, ((512, 1024),))
    assert decode_borrow(BYTES["borrow"]) == Borrow(KEY, ((512, 1024), (0, 1)), 2)
    assert decode_return(BYTES["return"]) == Return((1 << 63) + 5)
    assert decode_places(BYTES["places"]) == ((7, 4608, 1024), (8, 0, 1))
    for name in ("get", "get reply", "put", "put reply", "get refused"):
        header = Header.parse(BYTES[name])
        assert header.rpc_id >= 1 << 63
        assert header.emit() == BYTES[name][:96]

"""Records of version 1, read by today's code: one line each, tree key and value in hex."""

from __future__ import annotations

from pathlib import Path

from daos.rdb import layout
from daos.rdb.interface import KeyValuePair

HERE = Path(__file__).parent

LONG = bytes(range(33, 123)) * 5
PAIRS = (
    KeyValuePair(b"pool/tank", b"ready", 2, 2, 0),
    KeyValuePair(b"handle/7", b"", 3, 4, 1),
    KeyValuePair(LONG, b"long", 5, 300, 0),
)


def records() -> list[tuple[bytes, bytes]]:
    """A store at revision 300 with one lease of 30 s that "handle/7" is attached to."""
    return [
        (layout.ROOT_KEY, layout.Root(300, 2).emit()),
        *((layout.pair_key(pair.key), layout.emit_pair(pair)) for pair in PAIRS),
        (layout.lease_key(1), layout.emit_lease(30 * 10**9)),
        (layout.attachment_key(1, b"handle/7"), b"handle/7"),
    ]


def golden() -> list[tuple[bytes, bytes]]:
    lines = (HERE / "records_v1.hex").read_text().splitlines()
    found = [line.split(" ") for line in lines]
    return [(bytes.fromhex(key), bytes.fromhex(value)) for key, value in found]


def test_emitted_records_are_those_of_version_1() -> None:
    assert records() == golden()


def test_records_of_version_1_parse() -> None:
    root, *pairs, lease, _attachment = golden()
    assert layout.Root.parse(root[1]) == layout.Root(300, 2)
    assert tuple(layout.parse_pair(key, value) for key, value in pairs) == PAIRS
    assert layout.parse_lease_key(lease[0]) == 1
    assert layout.parse_lease(lease[1]) == 30 * 10**9

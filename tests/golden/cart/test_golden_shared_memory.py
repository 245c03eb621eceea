"""Bytes of shared memory's messages, version 1: today's code writes them, and reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from daos.base.errors import CorruptError
from daos.cart.transport.wire import SHARE, UNSHARE, Offer, emit_greeting, parse_greeting

LINES = (Path(__file__).parent / "shared_memory_v1.hex").read_text().splitlines()
GOLDEN = {line.split(":")[0]: bytes.fromhex(line.split(":")[1]) for line in LINES}
OFFERS = {"share": Offer(SHARE, 7, 1 << 20), "unshare": Offer(UNSHARE, 7, 0)}


def test_the_bytes_written_are_those_of_the_format() -> None:
    assert emit_greeting() == GOLDEN["greeting"]
    assert {name: offer.emit() for name, offer in OFFERS.items()} == {
        name: GOLDEN[name] for name in OFFERS
    }


def test_the_bytes_are_read() -> None:
    parse_greeting(GOLDEN["greeting"])
    assert {name: Offer.parse(GOLDEN[name]) for name in OFFERS} == OFFERS


@pytest.mark.parametrize(
    ("at", "value", "what"),
    [(0, 0x45, "magic"), (4, 2, "version"), (6, 1, "flags"), (None, 0, "size")],
)
def test_what_is_no_greeting_is_refused(at: int | None, value: int, what: str) -> None:
    with pytest.raises(CorruptError, match=f"sm greeting {what}"):
        parse_greeting(_damaged(GOLDEN["greeting"], at, value))


@pytest.mark.parametrize(
    ("name", "at", "value", "what"),
    [
        ("share", 0, 0x45, "magic"),
        ("share", 4, 2, "version"),
        ("share", 6, 3, "kind"),
        ("share", 6, 2, "nbytes"),
        ("unshare", 6, 1, "nbytes"),
        ("share", None, 0, "size"),
    ],
)
def test_what_is_no_offer_is_refused(name: str, at: int | None, value: int, what: str) -> None:
    with pytest.raises(CorruptError, match=f"sm offer {what}"):
        Offer.parse(_damaged(GOLDEN[name], at, value))


def _damaged(raw: bytes, at: int | None, value: int) -> bytes:
    if at is None:
        return raw[:-1]
    return raw[:at] + bytes([value]) + raw[at + 1 :]

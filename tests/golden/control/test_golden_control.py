"""Files of a server, typed from docs/format/server.md: today's code reads and writes them."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from daos.base.errors import CorruptError
from daos.control.layout import HandleRecord, OpenHandle, Superblock, SystemRecord

HERE = Path(__file__).parent
ENGINE = UUID("11111111-2222-4333-8444-555555555555")
GOLDEN: dict[str, Superblock | SystemRecord | HandleRecord] = {
    "superblock.yml": Superblock(ENGINE, "daos_server", 4, 0, "sm:///run/daos", "/host1", 7),
    "superblock_new.yml": Superblock(ENGINE, "daos_server", 4, fault_domain="/rack1/host1"),
    "handles.yml": HandleRecord(
        "2be30d17-0f01-48ae-943d-e4755c729f1c",
        {
            "a1111111-2222-4333-8444-555555555555": OpenHandle(
                4711, 12345678, "b1111111-2222-4333-8444-555555555555"
            ),
            "c1111111-2222-4333-8444-555555555555": OpenHandle(
                4712, -1, "b1111111-2222-4333-8444-555555555555"
            ),
        },
    ),
    "system.yml": SystemRecord("daos_server", 12, {"owner": "lab 3", "1": "yes"}),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_read_and_written(name: str) -> None:
    raw, value = (HERE / name).read_bytes(), GOLDEN[name]
    assert type(value).parse(raw) == value
    assert type(value).parse(value.emit()) == value
    if name != "system.yml":  # mappings are written in order of their keys
        assert value.emit() == raw


@pytest.mark.parametrize("name", GOLDEN)
def test_every_flipped_bit_is_seen(name: str) -> None:
    raw = (HERE / name).read_bytes()
    for at in range(len(raw)):
        damaged = bytearray(raw)
        damaged[at] ^= 4
        with pytest.raises(CorruptError):
            type(GOLDEN[name]).parse(bytes(damaged))

"""Bytes of layout version 3, typed from the reference's tables."""

from __future__ import annotations

from pathlib import Path

from daos.base.ids import ObjectId
from daos.dfs.layout import Entry, Mark, Role, Superblock, emit_roots, parse_roots

HERE = Path(__file__).parent

FILE = Entry(
    mode=0o100644,
    oid=ObjectId(0x0D01000483B1A60F, 1),
    mtime_ns=1_796_058_000 * 10**9 + 7,
    ctime_ns=1_796_058_000 * 10**9 + 7,
    chunk_size=1 << 20,
    uid=1000,
    gid=100,
)
# Changed last in 1900, as far as its owner says.
DIRECTORY = Entry(
    mode=0o40755,
    oid=ObjectId(0x0001000100000003, 2),
    mtime_ns=-2_202_724_480 * 10**9,
    ctime_ns=1_796_058_000 * 10**9 + 99,
    chunk_size=4 << 20,
    oclass=0x01000001,
    uid=2**32 - 1,
)
SYMLINK = Entry(
    mode=0o120777,
    oid=ObjectId(0x0001000100000004, 3),
    uid=2**32 - 1,
    gid=2**32 - 1,
    value_len=4,
    obj_hlc=0xEFBEADDEF1,
)
SUPERBLOCK = {
    b"DFS_MAGIC": "50df05da50df05da",
    b"DFS_SB_VERSION": "0200",
    b"DFS_LAYOUT_VERSION": "0300",
    b"DFS_CHUNK_SIZE": "0000100000000000",
    b"DFS_OBJ_CLASS": "00000000",
    b"DFS_DIR_OBJ_CLASS": "01000001",
    b"DFS_FILE_OBJ_CLASS": "ffff0001",
    b"DFS_MODE": "00000000",
    b"DFS_HINTS": "66696c653a6d617800",
}


def golden() -> list[bytes]:
    return [bytes.fromhex(line) for line in (HERE / "entries_v3.hex").read_text().splitlines()]


def test_entries() -> None:
    entries = [FILE, DIRECTORY, SYMLINK]
    assert [Entry.parse(raw) for raw in golden()] == entries
    assert [entry.emit() for entry in entries] == golden()


# Of a move to the name "to" in directory 281479271677953.0, until 2026-11-30T17:00:00Z.
MARK = (
    "0101000000000000" + "000102030405060708090a0b0c0d0e0f" + "00a0ff2d3ce1ec18"
    "0000000000000000" + "0100000001000100" + "746f"
)


def test_mark() -> None:
    mark = Mark(
        role=Role.SOURCE,
        token=bytes(range(16)),
        until_ns=1_796_058_000 * 10**9,
        directory=ObjectId(0x0001000100000001, 0),
        name=b"to",
    )
    assert mark.emit().hex() == MARK
    assert Mark.parse(bytes.fromhex(MARK)) == mark


def test_superblock() -> None:
    values = {akey: bytes.fromhex(value) for akey, value in SUPERBLOCK.items()}
    superblock = Superblock(dir_oclass=0x01000001, file_oclass=0x0100FFFF, hints="file:max")
    assert superblock.emit() == values
    assert Superblock.parse({**values}) == superblock
    del values[b"DFS_HINTS"]
    assert Superblock.parse({**values}).hints == ""


def test_roots() -> None:
    roots = ObjectId(0x0001000100000000, 0), ObjectId(0x0001000100000001, 0)
    text = "281479271677952.0 281479271677953.0 0.0 0.0"
    assert emit_roots(*roots) == text
    assert parse_roots(text) == roots

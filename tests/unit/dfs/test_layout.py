"""Names, fields and what no entry may say."""

from __future__ import annotations

import errno
import pickle
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import DER, CorruptError, InvalidError
from daos.base.ids import ObjectId
from daos.base.iod import Recx
from daos.dfs.errors import IsDirectoryError, NameTooLongError, NotEmptyError
from daos.dfs.layout import (
    Entry,
    Superblock,
    check_name,
    decode_name,
    parse_roots,
    pieces_of,
)

FILE = Entry(mode=stat.S_IFREG | 0o600, oid=ObjectId(13 << 56 | 1 << 48 | 1 << 32 | 5, 7))

entries = st.builds(
    Entry,
    mode=st.integers(0, 0o7777).map(lambda mode: stat.S_IFREG | mode),
    oid=st.just(FILE.oid),
    mtime_ns=st.integers(-(2**63) * 10**9, 2**63 * 10**9 - 1),
    ctime_ns=st.integers(-(2**63) * 10**9, 2**63 * 10**9 - 1),
    chunk_size=st.integers(0, 1 << 63),
    oclass=st.integers(0, 2**32 - 1),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
    obj_hlc=st.integers(0, 2**64 - 1),
)


@given(entries)
def test_every_entry_comes_back(entry: Entry) -> None:
    assert Entry.parse(entry.emit()) == entry


@given(entries, st.sets(st.sampled_from(["mode", "mtime_ns", "ctime_ns", "uid", "obj_hlc"])))
def test_pieces_of_fields_are_those_of_the_whole(entry: Entry, names: set[str]) -> None:
    raw = bytearray(FILE.emit())
    for recx, data in pieces_of(entry, names):
        raw[recx.index : recx.end] = data
    changed = Entry.parse(bytes(raw))
    for name in ("mode", "mtime_ns", "ctime_ns", "uid", "gid", "obj_hlc"):
        assert getattr(changed, name) == getattr(entry if name in names else FILE, name)


def test_pieces_ascend() -> None:
    assert [recx for recx, _ in pieces_of(FILE, {"obj_hlc", "ctime_ns", "mode"})] == [
        Recx(0, 4),
        Recx(28, 8),
        Recx(56, 8),
        Recx(80, 8),
    ]


@pytest.mark.parametrize(
    ("offset", "data"),
    [
        (0, "0000"),  # no type
        (0, "b0a1"),  # a socket
        (2, "0100"),  # more than 16 bits
        (19, "00"),  # a file whose object is no array
        (48, "00ca9a3b"),  # 10**9 ns
        (72, "01"),  # a file with a target
        (43, "81"),  # a chunk over 2**63
    ],
)
def test_what_no_entry_says(offset: int, data: str) -> None:
    raw = bytearray(FILE.emit())
    changed = bytes.fromhex(data)
    raw[offset : offset + len(changed)] = changed
    with pytest.raises(CorruptError):
        Entry.parse(bytes(raw))
    with pytest.raises(CorruptError):
        Entry.parse(FILE.emit()[:-1])


@pytest.mark.parametrize("name", ["", "a/b", "/", ".", "..", "nul\0", "\ud800", 7, None])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InvalidError):
        check_name(name)


def test_names() -> None:
    assert check_name("größe") == "größe".encode()
    assert check_name("x" * 255) == b"x" * 255
    with pytest.raises(NameTooLongError) as caught:
        check_name("ä" * 128)
    assert caught.value.errno == errno.ENAMETOOLONG
    assert check_name(decode_name(b"\xff\xfe")) == b"\xff\xfe"


def test_errors_have_the_numbers_of_posix() -> None:
    for error, number in (
        (NotEmptyError("x"), errno.ENOTEMPTY),
        (IsDirectoryError(), errno.EISDIR),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (error.errno, again.errno, again.code) == (number, number, DER.MISC)
    assert isinstance(IsDirectoryError(), IsADirectoryError)


@pytest.mark.parametrize(
    ("akey", "value", "error"),
    [
        (b"DFS_MAGIC", b"12345678", InvalidError),
        (b"DFS_MAGIC", b"1234", CorruptError),
        (b"DFS_SB_VERSION", b"\3\0", InvalidError),
        (b"DFS_LAYOUT_VERSION", b"\2\0", InvalidError),
        (b"DFS_MODE", None, CorruptError),
        (b"DFS_HINTS", b"file:max", CorruptError),
        (b"DFS_CHUNK_SIZE", b"\xff" * 8, CorruptError),
    ],
)
def test_superblocks_that_are_none(
    akey: bytes, value: bytes | None, error: type[Exception]
) -> None:
    values: dict[bytes, bytes | None] = {**Superblock().emit(), akey: value}
    with pytest.raises(error):
        Superblock.parse(values)


@pytest.mark.parametrize("text", ["", "1.1", "1.1 2.2 3.3 0.0", "1.1 0.0 0.0 0.0", "a b c d"])
def test_roots_that_are_none(text: str) -> None:
    with pytest.raises(CorruptError):
        parse_roots(text)

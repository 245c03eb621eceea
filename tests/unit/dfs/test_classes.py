"""Which class and chunk new files get; classes by hints as the reference's table has them."""

from __future__ import annotations

import pytest

from daos.base.errors import InvalidError
from daos.base.ids import ObjectId
from daos.dfs.classes import (
    chunk_default,
    chunk_of,
    class_of,
    parse_hints,
    suggest,
)
from daos.dfs.layout import Entry, Kind, Superblock
from daos.placement.oclass import id_to_name, name_to_id
from daos.placement.oid import Topology

OID = ObjectId(1 << 48 | 1 << 32, 9)
S1, S2, S4, EC = (name_to_id(name) for name in ("S1", "S2", "S4", "EC_4P1G1"))


def directory(**fields: int) -> Entry:
    return Entry(mode=0o40755, oid=OID, **fields)


@pytest.mark.parametrize(
    "text",
    [
        "file:max;dir:max",
        "file:max:dir:max",
        "hello:world",
        "dir:large",
        "file:singlee",
        "invalid",
        "file:max,",
        "file:" + "x" * 200,
    ],
)
def test_bad_hints(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_hints(text)


def test_hints_in_any_case() -> None:
    assert set(parse_hints("File:single,Dir:max")) == {Kind.FILE, Kind.DIRECTORY}
    assert parse_hints("directory:max") == parse_hints("DIR:MAX")
    assert parse_hints("") == {}


@pytest.mark.parametrize(
    ("rf", "domains", "hint", "name"),
    [
        (0, 1, "file:single", "S1"),
        (0, 24, "file:max", "SX"),
        (0, 24, "dir:max", "SX"),
        (1, 4, "file:single", "RP_2G1"),
        (1, 4, "dir:max", "RP_2GX"),
        (1, 4, "file:max", "EC_2P1GX"),
        (1, 6, "file:max", "EC_4P1GX"),
        (1, 10, "file:max", "EC_8P1GX"),
        (1, 18, "file:max", "EC_16P1GX"),
        (2, 8, "dir:single", "RP_3G1"),
        (2, 7, "file:max", "EC_2P2GX"),
        (2, 12, "file:max", "EC_8P2GX"),
        (2, 20, "file:max", "EC_16P2GX"),
        (3, 9, "file:max", "RP_4GX"),
        (3, 10, "file:max", "EC_4P3GX"),
        (3, 22, "file:max", "EC_16P3GX"),
    ],
)
def test_suggestions(rf: int, domains: int, hint: str, name: str) -> None:
    topology = Topology(domains, 4 * domains)
    assert id_to_name(suggest(hint, topology=topology, rf=rf)) == name


def test_one_hint_is_suggested_for() -> None:
    for text in ("", "file:max,dir:max"):
        with pytest.raises(InvalidError):
            suggest(text, topology=Topology(1, 1), rf=0)


def test_inheritance_of_classes() -> None:
    all_of_them = Superblock(oclass=S1, dir_oclass=S2, file_oclass=S4)
    assert class_of(Kind.FILE, S2, directory(oclass=S1), all_of_them) == S2
    assert class_of(Kind.FILE, 0, directory(oclass=S1), all_of_them) == S1
    assert class_of(Kind.FILE, 0, directory(), all_of_them) == S4
    assert class_of(Kind.FILE, 0, directory(), Superblock(oclass=S1)) == S1
    assert class_of(Kind.DIRECTORY, 0, directory(oclass=S1), all_of_them) == S1
    assert class_of(Kind.DIRECTORY, 0, directory(), all_of_them) == S2
    assert class_of(Kind.DIRECTORY, 0, directory(oclass=EC), all_of_them) == S2
    assert class_of(Kind.DIRECTORY, 0, directory(), Superblock(oclass=EC)) == 0
    assert class_of(Kind.SYMLINK, 0, directory(), all_of_them) == S1


def test_inheritance_of_chunks() -> None:
    defaults = Superblock(chunk_size=4096)
    assert chunk_of(0, directory(), defaults) == 4096
    assert chunk_of(0, directory(chunk_size=512), defaults) == 512
    assert chunk_of(64, directory(chunk_size=512), defaults) == 64


@pytest.mark.parametrize(
    ("name", "cell", "chunk"),
    [
        ("SX", 64 << 10, 1 << 20),
        ("RP_3G1", 64 << 10, 1 << 20),
        ("EC_2P1GX", 64 << 10, 1 << 20),  # 128 KiB, eight times
        ("EC_16P2G1", 64 << 10, 2 << 20),
        ("EC_8P1G1", 192 << 10, 3 << 20),
    ],
)
def test_chunks_of_erasure_codes_are_whole_stripes(name: str, cell: int, chunk: int) -> None:
    assert chunk_default(name_to_id(name), cell) == chunk

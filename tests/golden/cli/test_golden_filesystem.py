"""Text and JSON of `daos filesystem`, typed from the reference's pages (features §2.2.3)."""

from __future__ import annotations

from daos.cli.filesystem_text import EntryInfo, attributes_json, attributes_text

DIRECTORY = EntryInfo(
    oid="937030214649643008.5",
    oclass="RP_2G1",
    chunk_size=1048576,
    dir_oclass="UNKNOWN",
    file_oclass="SX",
)
FILE = EntryInfo(oid="937030214649643009.6", oclass="SX", chunk_size=4096)


def test_attributes_of_a_directory() -> None:
    assert attributes_text(DIRECTORY) == (
        "OID = 937030214649643008.5\n"
        "Object Class = RP_2G1\n"
        "Directory Creation Object Class = UNKNOWN\n"
        "File Creation Object Class = SX\n"
        "File Creation Chunk Size = 1048576\n"
    )
    assert attributes_json(DIRECTORY) == {
        "object": {"oid": "937030214649643008.5", "oclass": "RP_2G1"},
        "directory": {"dir_oclass": "UNKNOWN", "file_oclass": "SX", "chunk_size": 1048576},
    }


def test_attributes_of_a_file() -> None:
    assert attributes_text(FILE) == (
        "OID = 937030214649643009.6\nObject Class = SX\nObject Chunk Size = 4096\n"
    )
    assert attributes_json(FILE) == {
        "oid": "937030214649643009.6",
        "oclass": "SX",
        "chunk_size": 4096,
    }

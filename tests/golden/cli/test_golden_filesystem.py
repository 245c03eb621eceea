"""Text and JSON of `daos filesystem`, typed from the reference's pages (features §2.2.3)."""

from __future__ import annotations

from daos.cli.filesystem_text import (
    CheckInfo,
    CopyInfo,
    EntryInfo,
    ScanInfo,
    attributes_json,
    attributes_text,
    check_json,
    check_text,
    copy_json,
    copy_text,
    scan_json,
    scan_text,
    verify_text,
)

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


def test_copied_to_posix() -> None:
    info = CopyInfo(
        src_pool="tank", src_cont="c1", dst="/tmp/out", directories=3, files=12, links=1
    )
    assert copy_text(info) == (
        "Successfully copied to POSIX: /tmp/out\n"
        "    Directories: 3\n"
        "    Files:       12\n"
        "    Links:       1\n"
    )
    assert copy_json(info) == {
        "copy_stats": {"num_dirs": 3, "num_files": 12, "num_links": 1},
        "src_pool": "tank",
        "src_cont": "c1",
        "dst_pool": "",
        "dst_cont": "",
    }


def test_copied_to_daos() -> None:
    info = CopyInfo(
        dst_pool="tank",
        dst_cont="c1",
        dst="daos://tank/c1/x",
        created="30e5d364-62a1-4866-8d4a-3ad8c0ad8b4b",
        directories=1,
        skipped=7,
        unsupported=["/s/pipe: a fifo can't be copied"],
    )
    assert copy_text(info) == (
        "Successfully created container 30e5d364-62a1-4866-8d4a-3ad8c0ad8b4b\n"
        "Successfully copied to DAOS: daos://tank/c1/x\n"
        "    Directories: 1\n"
        "    Files:       0\n"
        "    Links:       0\n"
        "    Complete before: 7\n"
        "    Left out: /s/pipe: a fifo can't be copied\n"
    )
    assert copy_json(info) == {
        "copy_stats": {"num_dirs": 1, "num_files": 0, "num_links": 0},
        "src_pool": "",
        "src_cont": "",
        "dst_pool": "tank",
        "dst_cont": "c1",
        "skipped": 7,
        "unsupported": ["/s/pipe: a fifo can't be copied"],
    }


def test_verified() -> None:
    assert verify_text(files=2, nbytes=10, differences=[], count=0) == (
        "Verified: 2 files, 10 bytes, all equal\n"
    )
    assert verify_text(files=2, nbytes=10, differences=[("/a", "is missing")], count=3) == (
        "/a: is missing\n… and 2 more\nVerified: 2 files, 10 bytes, 3 differences\n"
    )


def test_scanned() -> None:
    info = ScanInfo(
        began="2024-05-31-10:20:30",
        seconds=2,
        objects=16,
        files=10,
        symlinks=1,
        directories=5,
        depth=3,
        nbytes=4105,
        average_file=410,
        largest_file=4096,
        largest_directory=7,
    )
    assert scan_text(info) == (
        "DFS scanner: Start (2024-05-31-10:20:30)\n"
        "DFS scanner: Scanned 16 files/directories (runtime: 2 sec)\n"
        "DFS scanner: Done! (runtime: 2 sec)\n"
        "DFS scanner: 16 scanned objects\n"
        "DFS scanner: 10 files\n"
        "DFS scanner: 1 symlinks\n"
        "DFS scanner: 5 directories\n"
        "DFS scanner: 3 max tree depth\n"
        "DFS scanner: 4105 bytes of total data\n"
        "DFS scanner: 410 bytes per file on average\n"
        "DFS scanner: 4096 bytes is largest file size\n"
        "DFS scanner: 7 entries in the largest directory\n"
    )
    assert scan_json(info)["largest_dir_entries"] == 7


def test_checked() -> None:
    """Line by line as features §13.2 has them."""
    info = CheckInfo(
        began="2026-11-30-18:00:00",
        marked_seconds=3,
        seconds=4,
        files=10,
        symlinks=1,
        directories=2,
        leaked=["937030214649643008.5", "937030214649643009.6"],
    )
    assert check_text(info) == (
        "DFS checker: Start (2026-11-30-18:00:00)\n"
        "DFS checker: Create OIT table\n"
        "DFS checker: Iterating namespace and marking objects\n"
        "DFS checker: marked 13 files/directories (runtime: 3 sec))\n"
        "DFS checker: Checking unmarked OIDs (Pass 1)\n"
        "oid[0]: 937030214649643008.5\n"
        "oid[1]: 937030214649643009.6\n"
        "DFS checker: Done! (runtime: 4 sec)\n"
        "DFS checker: Number of leaked OIDs in namespace = 2\n"
    )
    assert check_json(info)["leaked"] == ["937030214649643008.5", "937030214649643009.6"]


def test_relinked_with_damage() -> None:
    info = CheckInfo(
        began="2026-11-30-18:00:00",
        marked_seconds=0,
        seconds=0,
        leaked=["937030214649643008.5"],
        printed=False,
        moves=2,
        ended=True,
        damaged=[("/d", "broken")],
        relinked=1,
        relinks=True,
        below="/lost+found/tlf",
        nbytes=12,
    )
    assert check_text(info) == (
        "DFS checker: Start (2026-11-30-18:00:00)\n"
        "DFS checker: Create OIT table\n"
        "DFS checker: Iterating namespace and marking objects\n"
        "DFS checker: marked 0 files/directories (runtime: 0 sec))\n"
        "DFS checker: Leaked OIDs will be inserted in /lost+found/tlf\n"
        "DFS checker: Checking unmarked OIDs (Pass 1)\n"
        "DFS checker: Checking unmarked OIDs (Pass 2)\n"
        "DFS checker: damaged: /d: broken\n"
        "DFS checker: Names marked by moves that died = 2, ended\n"
        "DFS checker: Verified 12 bytes of 0 files\n"
        "DFS checker: Done! (runtime: 0 sec)\n"
        "DFS checker: Number of leaked OIDs in namespace = 1\n"
    )
    assert check_json(info)["damaged"] == [{"path": "/d", "what": "broken"}]

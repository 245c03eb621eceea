"""Text and JSON of containers, typed from the reference's pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta, timezone

from daos.cli.container_text import (
    ContainerInfo,
    as_json,
    attribute_json,
    attributes_text,
    created_text,
    list_text,
    query_text,
    snapshot_created_text,
    snapshot_json,
    snapshots_text,
)
from daos.cli.times import iso, long

POOL = "8a05bf3a-a088-4a77-bb9f-df989fce7cc8"
CONT = "30e5d364-62a1-4866-8d4a-3ad8c0ad8b4b"
# 2024-05-31 10:20:30.123456 UTC: 107,691,630.123456 s after 2021-01-01, in 1/16 ns.
SNAPSHOT = 107_691_630_123_456_000 * 16
OPENED = 107_691_630_500_000_000 * 16
MODIFIED = 107_691_540_100_000_000 * 16
EAST = timezone(timedelta(hours=2), "CEST")

MINE = ContainerInfo(
    pool_uuid=POOL,
    container_uuid=CONT,
    container_label="mycont",
    container_type="POSIX",
    redundancy_factor=1,
    num_handles=1,
    num_snapshots=1,
    latest_snapshot=SNAPSHOT,
    open_time=OPENED,
    close_modify_time=MODIFIED,
    object_class="UNKNOWN",
    dir_object_class="RP_2G1",
    file_object_class="EC_2P1GX",
    chunk_size=1 << 20,
)


def test_json() -> None:
    assert as_json(MINE, UTC) == {
        "pool_uuid": POOL,
        "container_uuid": CONT,
        "container_label": "mycont",
        "latest_snapshot": "2024-05-31 10:20:30.123456 +0000 UTC",
        "redundancy_factor": 1,
        "num_handles": 1,
        "num_snapshots": 1,
        "open_time": "2024-05-31 10:20:30.5 +0000 UTC",
        "close_modify_time": "2024-05-31 10:19:00.1 +0000 UTC",
        "container_type": "POSIX",
        "health": "HEALTHY",
        "chunk_size": 1048576,
        "object_class": "UNKNOWN",
        "dir_object_class": "RP_2G1",
        "file_object_class": "EC_2P1GX",
        "cons_mode": "",
        "hints": "",
    }


def test_json_of_another_layout_has_no_posix_and_no_times_that_are_not() -> None:
    plain = ContainerInfo(pool_uuid=POOL, container_uuid=CONT, container_type="PYTHON")
    assert as_json(plain, UTC) == {
        "pool_uuid": POOL,
        "container_uuid": CONT,
        "container_label": "",
        "redundancy_factor": 0,
        "num_handles": 0,
        "num_snapshots": 0,
        "container_type": "PYTHON",
        "health": "HEALTHY",
    }


def test_query() -> None:
    assert (
        query_text(MINE, UTC)
        == f"""\
  Container UUID             : {CONT}
  Container Label            : mycont
  Container Type             : POSIX
  Pool UUID                  : {POOL}
  Container redundancy factor: 1
  Number of open handles     : 1
  Latest open time           : 2024-05-31T10:20:30.500+00:00 ({OPENED:#x})
  Latest close/modify time   : 2024-05-31T10:19:00.100+00:00 ({MODIFIED:#x})
  Number of snapshots        : 1
  Latest Persistent Snapshot : {SNAPSHOT:#x} (2024-05-31T10:20:30.123+00:00)
  Object Class               : UNKNOWN
  Dir Object Class           : RP_2G1
  File Object Class          : EC_2P1GX
  Chunk Size                 : 1.0 MiB
"""
    )


def test_created() -> None:
    assert (
        created_text(MINE)
        == f"""\
Successfully created container {CONT} type POSIX
  Container UUID : {CONT}
  Container Label: mycont
  Container Type : POSIX
"""
    )
    assert (
        created_text(replace(MINE, container_label="", container_type="unknown"))
        == f"""\
Successfully created container {CONT}
  Container UUID: {CONT}
  Container Type: unknown
"""
    )


def test_list() -> None:
    rows = [
        {"label": "mycont", "uuid": CONT, "layout": "POSIX"},
        {"label": "", "uuid": POOL, "layout": "unknown"},
    ]
    assert (
        list_text("tank", rows)
        == f"""\
Containers in pool tank:
  Label  UUID
  -----  ----
  mycont {CONT}
         {POOL}
"""
    )
    assert (
        list_text("tank", rows[:1], verbose=True)
        == f"""\
Containers in pool tank:
  Label  UUID                                 Layout
  -----  ----                                 ------
  mycont {CONT} POSIX
"""
    )
    assert list_text("tank", []) == "No containers.\n"


def test_snapshots() -> None:
    assert (
        snapshots_text([(SNAPSHOT, "snap1"), (OPENED, "")], UTC)
        == f"""\
Timestamp                     Epoch              Name
---------                     -----              ----
2024-05-31T10:20:30.123+00:00 {SNAPSHOT:#x} snap1
2024-05-31T10:20:30.500+00:00 {OPENED:#x}
"""
    )
    assert snapshots_text([]) == "No snapshots.\n"
    assert snapshot_json(SNAPSHOT, "snap1", UTC) == {
        "epoch": SNAPSHOT,
        "timestamp": "2024-05-31T10:20:30.123+00:00",
        "name": "snap1",
    }
    assert snapshot_created_text(SNAPSHOT, UTC) == (
        f"snapshot/epoch {SNAPSHOT:#x} has been created "
        "(timestamp: 2024-05-31T10:20:30.123+00:00)\n"
    )


def test_times_of_another_zone() -> None:
    assert iso(SNAPSHOT, EAST) == "2024-05-31T12:20:30.123+02:00"
    assert long(SNAPSHOT, EAST) == "2024-05-31 12:20:30.123456 +0200 CEST"
    assert long(SNAPSHOT + 16 * 789, UTC) == "2024-05-31 10:20:30.123456789 +0000 UTC"
    assert long(0, UTC) == "2021-01-01 00:00:00 +0000 UTC"


def test_attributes() -> None:
    assert attributes_text("container", "mycont", []) == (
        "Attributes for container mycont:\n  No attributes found.\n"
    )
    assert (
        attributes_text("pool", "tank", ["owner"])
        == """\
Attributes for pool tank:
  Name
  ----
  owner
"""
    )
    assert (
        attributes_text("pool", "tank", {"owner": b"lab", "raw": b"\xff\x00"})
        == """\
Attributes for pool tank:
  Name  Value
  ----  -----
  owner lab
  raw   \\xff\x00
"""
    )
    assert attribute_json(b"lab") == "bGFi"

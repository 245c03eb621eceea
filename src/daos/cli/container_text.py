"""What `daos` tells of containers: text and JSON of create, query, list, snapshots. Pure.

Source: DAOS src/control/cmd/daos/pretty/container.go, lib/daos/container.go; features §2.2.2
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from daos.base.sizes import format_size_binary
from daos.cli.text import entity, indented, table
from daos.cli.times import iso, long


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerInfo:
    """What a query tells. Epochs are 0 where there is none; the last five are of POSIX ones."""

    pool_uuid: str
    container_uuid: str
    container_label: str = ""
    container_type: str = "unknown"
    redundancy_factor: int = 0
    num_handles: int = 0
    open_time: int = 0
    close_modify_time: int = 0
    num_snapshots: int = 0
    latest_snapshot: int = 0
    health: str = "HEALTHY"
    object_class: str = ""
    dir_object_class: str = ""
    file_object_class: str = ""
    hints: str = ""
    chunk_size: int = 0
    cons_mode: str = ""


def created_text(info: ContainerInfo) -> str:
    """What `container create` prints."""
    head = f"Successfully created container {info.container_uuid}"
    if info.container_type != "unknown":
        head += f" type {info.container_type}"
    rows = [("Container UUID", info.container_uuid)]
    if info.container_label:
        rows.append(("Container Label", info.container_label))
    rows.append(("Container Type", info.container_type))
    return f"{head}\n{entity('', rows)}"


def query_text(info: ContainerInfo, zone: tzinfo | None = None) -> str:
    """What `container query` prints."""
    rows = [("Container UUID", info.container_uuid)]
    if info.container_label:
        rows.append(("Container Label", info.container_label))
    rows += [
        ("Container Type", info.container_type),
        ("Pool UUID", info.pool_uuid),
        ("Container redundancy factor", str(info.redundancy_factor)),
        ("Number of open handles", str(info.num_handles)),
        ("Latest open time", _moment(info.open_time, zone)),
        ("Latest close/modify time", _moment(info.close_modify_time, zone)),
        ("Number of snapshots", str(info.num_snapshots)),
    ]
    if info.latest_snapshot:
        text = f"{info.latest_snapshot:#x} ({iso(info.latest_snapshot, zone)})"
        rows.append(("Latest Persistent Snapshot", text))
    if info.container_type == "POSIX":
        for name, value in (
            ("Object Class", info.object_class),
            ("Dir Object Class", info.dir_object_class),
            ("File Object Class", info.file_object_class),
            ("Hints", info.hints),
        ):
            if value:
                rows.append((name, value))
        if info.chunk_size:
            rows.append(("Chunk Size", format_size_binary(info.chunk_size)))
    return entity("", rows)


def _moment(epoch: int, zone: tzinfo | None) -> str:
    return f"{iso(epoch, zone)} ({epoch:#x})"


def as_json(info: ContainerInfo, zone: tzinfo | None = None) -> dict[str, object]:
    """The ContainerInfo object."""
    found: dict[str, object] = {
        "pool_uuid": info.pool_uuid,
        "container_uuid": info.container_uuid,
        "container_label": info.container_label,
    }
    for name, epoch in (
        ("latest_snapshot", info.latest_snapshot),
        ("open_time", info.open_time),
        ("close_modify_time", info.close_modify_time),
    ):
        if epoch:
            found[name] = long(epoch, zone)
    found |= {
        "redundancy_factor": info.redundancy_factor,
        "num_handles": info.num_handles,
        "num_snapshots": info.num_snapshots,
        "container_type": info.container_type,
        "health": info.health,
    }
    if info.container_type == "POSIX":
        found |= {
            "chunk_size": info.chunk_size,
            "object_class": info.object_class,
            "dir_object_class": info.dir_object_class,
            "file_object_class": info.file_object_class,
            "cons_mode": info.cons_mode,
            "hints": info.hints,
        }
    return found


def list_text(pool: str, rows: Sequence[Mapping[str, str]], *, verbose: bool = False) -> str:
    """What `container list` prints; rows have `label`, `uuid` and, where verbose, `layout`."""
    if not rows:
        return "No containers.\n"
    titles = ("Label", "UUID", "Layout") if verbose else ("Label", "UUID")
    cells = [{title: row.get(title.lower(), "") or "" for title in titles} for row in rows]
    return f"Containers in pool {pool}:\n{indented(table(titles, cells))}"


def snapshots_text(rows: Sequence[tuple[int, str]], zone: tzinfo | None = None) -> str:
    """(epoch, name) of each snapshot, as `container list-snaps` prints them."""
    if not rows:
        return "No snapshots.\n"
    return table(
        ("Timestamp", "Epoch", "Name"),
        [
            {"Timestamp": iso(epoch, zone), "Epoch": f"{epoch:#x}", "Name": name}
            for epoch, name in rows
        ],
    )


def snapshot_json(epoch: int, name: str, zone: tzinfo | None = None) -> dict[str, object]:
    """One snapshot, made or listed."""
    return {"epoch": epoch, "timestamp": iso(epoch, zone), "name": name}


def snapshot_created_text(epoch: int, zone: tzinfo | None = None) -> str:
    """What `container create-snap` prints."""
    return f"snapshot/epoch {epoch:#x} has been created (timestamp: {iso(epoch, zone)})\n"


def attributes_text(what: str, name: str, attributes: Sequence[str] | Mapping[str, bytes]) -> str:
    """Attributes of a pool or container: names, or names and values."""
    head = f"Attributes for {what} {name}:\n"
    if not attributes:
        return f"{head}  No attributes found.\n"
    if isinstance(attributes, Mapping):
        rows = [
            {"Name": key, "Value": value.decode("utf-8", "backslashreplace")}
            for key, value in attributes.items()
        ]
        return head + indented(table(("Name", "Value"), rows))
    return head + indented(table(("Name",), [{"Name": key} for key in attributes]))


def attribute_json(value: bytes) -> str:
    """A value as JSON carries it: bytes in base64."""
    return base64.b64encode(value).decode("ascii")

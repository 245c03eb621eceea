"""What `daos filesystem` tells: attributes of an entry, what was copied, what was scanned. Pure.

Source: DAOS src/control/cmd/daos/filesystem.go, src/client/dfs/cont.c; features §2.2.3
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryInfo:
    """How an entry is stored; of a directory also what is made in it gets."""

    oid: str
    oclass: str
    chunk_size: int = 0
    dir_oclass: str = ""
    file_oclass: str = ""


def attributes_text(info: EntryInfo) -> str:
    """What `get-attr` prints."""
    rows = [("OID", info.oid), ("Object Class", info.oclass)]
    if info.dir_oclass:
        rows += [
            ("Directory Creation Object Class", info.dir_oclass),
            ("File Creation Object Class", info.file_oclass),
            ("File Creation Chunk Size", str(info.chunk_size)),
        ]
    elif info.chunk_size:
        rows.append(("Object Chunk Size", str(info.chunk_size)))
    return "".join(f"{name} = {value}\n" for name, value in rows)


def attributes_json(info: EntryInfo) -> dict[str, object]:
    """What `get-attr --json` prints."""
    of_object: dict[str, object] = {"oid": info.oid, "oclass": info.oclass}
    if info.dir_oclass:
        made = {
            "dir_oclass": info.dir_oclass,
            "file_oclass": info.file_oclass,
            "chunk_size": info.chunk_size,
        }
        return {"object": of_object, "directory": made}
    return of_object | ({"chunk_size": info.chunk_size} if info.chunk_size else {})

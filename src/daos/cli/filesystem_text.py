"""What `daos filesystem` tells: attributes of an entry, what was copied, what was scanned. Pure.

Source: DAOS src/control/cmd/daos/filesystem.go, src/client/dfs/cont.c; features §2.2.3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyInfo:
    """What was copied, and compared. Pools and containers are "" for files of this host."""

    src_pool: str = ""
    src_cont: str = ""
    dst_pool: str = ""
    dst_cont: str = ""
    dst: str  # as it was given
    created: str = ""  # the UUID of the container that was made for it
    directories: int = 0
    files: int = 0
    links: int = 0
    skipped: int = 0
    unsupported: Sequence[str] = field(default=())


def copy_text(info: CopyInfo) -> str:
    """What `copy` prints."""
    created = f"Successfully created container {info.created}\n" if info.created else ""
    skipped = f"    Complete before: {info.skipped}\n" if info.skipped else ""
    return (
        f"{created}Successfully copied to {'DAOS' if info.dst_pool else 'POSIX'}: {info.dst}\n"
        f"    Directories: {info.directories}\n"
        f"    Files:       {info.files}\n"
        f"    Links:       {info.links}\n"
        f"{skipped}"
    ) + "".join(f"    Left out: {each}\n" for each in info.unsupported)


def copy_json(info: CopyInfo) -> dict[str, object]:
    """What `copy --json` prints; ours are `skipped` and `unsupported`, where there are any."""
    ours: dict[str, object] = {}
    if info.skipped:
        ours["skipped"] = info.skipped
    if info.unsupported:
        ours["unsupported"] = list(info.unsupported)
    return {
        "copy_stats": {
            "num_dirs": info.directories,
            "num_files": info.files,
            "num_links": info.links,
        },
        "src_pool": info.src_pool,
        "src_cont": info.src_cont,
        "dst_pool": info.dst_pool,
        "dst_cont": info.dst_cont,
        **ours,
    }


def verify_text(
    *, files: int, nbytes: int, differences: Sequence[tuple[str, str]], count: int
) -> str:
    """What `copy --verify` prints behind what was copied."""
    if not count:
        return f"Verified: {files} files, {nbytes} bytes, all equal\n"
    lines = "".join(f"{path}: {how}\n" for path, how in differences)
    more = f"… and {count - len(differences)} more\n" if count > len(differences) else ""
    return f"{lines}{more}Verified: {files} files, {nbytes} bytes, {count} differences\n"

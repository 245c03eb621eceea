"""What `daos filesystem` tells: attributes of an entry; of copies, scans and checks. Pure.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanInfo:
    """What a scan found. `began`: local time as text; `seconds`: what it took."""

    began: str
    seconds: int
    objects: int
    files: int
    symlinks: int
    directories: int
    depth: int
    nbytes: int
    average_file: int
    largest_file: int
    largest_directory: int


def scan_text(info: ScanInfo) -> str:
    """What `scan` prints."""
    lines = [
        f"Start ({info.began})",
        f"Scanned {info.objects} files/directories (runtime: {info.seconds} sec)",
        f"Done! (runtime: {info.seconds} sec)",
        f"{info.objects} scanned objects",
        f"{info.files} files",
        f"{info.symlinks} symlinks",
        f"{info.directories} directories",
        f"{info.depth} max tree depth",
        f"{info.nbytes} bytes of total data",
        f"{info.average_file} bytes per file on average",
        f"{info.largest_file} bytes is largest file size",
        f"{info.largest_directory} entries in the largest directory",
    ]
    return "".join(f"DFS scanner: {line}\n" for line in lines)


def scan_json(info: ScanInfo) -> dict[str, object]:
    """What `scan --json` prints; ours: the reference has only the text."""
    return {
        "num_objects": info.objects,
        "num_files": info.files,
        "num_symlinks": info.symlinks,
        "num_dirs": info.directories,
        "max_depth": info.depth,
        "total_bytes": info.nbytes,
        "average_file_bytes": info.average_file,
        "largest_file_bytes": info.largest_file,
        "largest_dir_entries": info.largest_directory,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInfo:
    """What a check found and did. `began`: local time as text; seconds: what it took."""

    began: str
    marked_seconds: int
    seconds: int
    files: int = 0
    symlinks: int = 0
    directories: int = 0
    leaked: Sequence[str] = ()
    printed: bool = True  # each of them
    moves: int = 0
    ended: bool = False  # those moves
    damaged: Sequence[tuple[str, str]] = ()
    removed: int = 0
    relinked: int = 0
    relinks: bool = False
    below: str = ""
    nbytes: int | None = None  # that were verified

    @property
    def entries(self) -> int:
        return self.files + self.symlinks + self.directories


def check_text(info: CheckInfo) -> str:
    """What `check` prints."""
    lines = [
        f"DFS checker: Start ({info.began})",
        "DFS checker: Create OIT table",
        "DFS checker: Iterating namespace and marking objects",
        # Two brackets, as in the reference.
        f"DFS checker: marked {info.entries} files/directories "
        f"(runtime: {info.marked_seconds} sec))",
    ]
    if info.below:
        lines.append(f"DFS checker: Leaked OIDs will be inserted in {info.below}")
    if info.relinks:
        lines.append("DFS checker: Checking unmarked OIDs (Pass 1)")
        lines.append("DFS checker: Checking unmarked OIDs (Pass 2)")
    else:
        lines.append("DFS checker: Checking unmarked OIDs (Pass 1)")
    if info.printed:
        lines += [f"oid[{number}]: {oid}" for number, oid in enumerate(info.leaked)]
    lines += [f"DFS checker: damaged: {path}: {how}" for path, how in info.damaged]
    if info.moves:
        what = "ended" if info.ended else "would be ended by remove or relink"
        lines.append(f"DFS checker: Names marked by moves that died = {info.moves}, {what}")
    if info.nbytes is not None:
        lines.append(f"DFS checker: Verified {info.nbytes} bytes of {info.files} files")
    lines.append(f"DFS checker: Done! (runtime: {info.seconds} sec)")
    lines.append(f"DFS checker: Number of leaked OIDs in namespace = {len(info.leaked)}")
    return "".join(f"{line}\n" for line in lines)


def check_json(info: CheckInfo) -> dict[str, object]:
    """What `check --json` prints; ours: the reference has only the text."""
    return {
        "num_files": info.files,
        "num_symlinks": info.symlinks,
        "num_dirs": info.directories,
        "leaked": list(info.leaked),
        "num_removed": info.removed,
        "num_relinked": info.relinked,
        "relinked_below": info.below,
        "num_moves": info.moves,
        "damaged": [{"path": path, "what": how} for path, how in info.damaged],
        "verified_bytes": info.nbytes,
    }

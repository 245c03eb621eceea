"""Container properties; pure.

Source: features "Container properties" (DAOS src/include/daos_prop.h, container_property.go).
"""

from __future__ import annotations

from typing import Final

from daos.base.checksum import checksum_type
from daos.base.errors import InvalidError
from daos.base.ids import U32_MAX, ObjectId
from daos.base.names import check_label
from daos.base.props import Property, Settable, Table, fixed, integer, one_of
from daos.base.sizes import parse_size
from daos.pool.core import parse_ec_cell

LAYOUT_TYPES: Final = (
    "unknown",
    "POSIX",
    "HDF5",
    "PYTHON",
    "SPARK",
    "DATABASE",
    "ROOT",
    "SEISMIC",
    "METEO",
)


def parse_layout_type(text: str) -> str:
    """Which middleware owns the layout; any case. Raises: InvalidError."""
    for name in LAYOUT_TYPES:
        if text.lower() == name.lower():
            return name
    raise InvalidError(f"layout type must be one of {', '.join(LAYOUT_TYPES)}; got {text!r}")


def _parse_checksum(text: str) -> str:
    return checksum_type(text).name.lower()


def _parse_chunk(text: str) -> str:
    size = parse_size(text, binary=True)
    if not 512 <= size <= 1 << 20:
        raise InvalidError(f"cksum_size must be 512 B to 1 MiB; got {text!r}")
    return str(size)


def _parse_dedup_threshold(text: str) -> str:
    size = parse_size(text, binary=True)
    if not 4096 <= size <= U32_MAX:
        raise InvalidError(f"dedup_threshold must be 4 KiB to 4 GiB; got {text!r}")
    return str(size)


def _parse_level(text: str) -> str:
    level = {"1": "1", "rank": "1", "2": "2", "node": "2"}.get(text.lower())
    if level is None:
        raise InvalidError(f"rd_lvl must be 1 (rank) or 2 (node); got {text!r}")
    return level


def parse_roots(text: str) -> str:
    """What a layout's own creator says of where it begins. Raises: InvalidError."""
    parts = text.split(" ") if text else []
    if len(parts) not in (0, 4):
        raise InvalidError(f"root_oids must be four object ids; got {text[:64]!r}")
    return " ".join(str(ObjectId.parse(part)) for part in parts)


def _parse_status(text: str) -> str:
    if text.lower() != "healthy":
        raise InvalidError(f"status can only be set to healthy; got {text!r}")
    return "HEALTHY"


PROPERTIES: Final = Table(
    "container",
    (
        Property(
            name="label",
            description="Label",
            default="",
            parse=lambda text: check_label(text, "container"),
        ),
        Property(
            name="layout_type",
            description="Layout Type",
            default="unknown",
            parse=parse_layout_type,
            settable=Settable.CREATION,
        ),
        fixed("layout_version", "Layout Version", "1"),
        Property(
            name="cksum",
            description="Checksum",
            default="off",
            parse=_parse_checksum,
            settable=Settable.CREATION,
        ),
        # The lower bound is ours: a checksum per few bytes would outweigh what it covers.
        Property(
            name="cksum_size",
            description="Checksum Chunk Size",
            default=str(32 << 10),
            parse=_parse_chunk,
            settable=Settable.CREATION,
        ),
        # Where the container has checksums the server always verifies: "on" and "off" both hold.
        Property(
            name="srv_cksum",
            description="Server Checksumming",
            default="off",
            parse=one_of("srv_cksum", "on", "off"),
            settable=Settable.CREATION,
        ),
        Property(
            name="rd_fac",
            description="Redundancy Factor (0-4)",
            default="0",
            parse=integer("rd_fac", lo=0, hi=4),
            settable=Settable.CREATION,
            aliases=("rf",),
            built=False,
        ),
        Property(
            name="rd_lvl",
            description="Redundancy Level (rank=1, node=2)",
            default="2",
            parse=_parse_level,
            settable=Settable.CREATION,
            aliases=("rf_lvl",),
        ),
        fixed("max_snapshot", "Max Snapshot", "0"),
        Property(
            name="compression",
            description="Compression",
            default="off",
            parse=one_of(
                "compression",
                "off",
                "lz4",
                "deflate",
                *(f"deflate{level}" for level in range(1, 5)),
            ),
            settable=Settable.CREATION,
            built=False,
        ),
        Property(
            name="encryption",
            description="Encryption",
            default="off",
            parse=one_of(
                "encryption",
                "off",
                "aes-xts128",
                "aes-xts256",
                "aes-cbc128",
                "aes-cbc192",
                "aes-cbc256",
                "aes-gcm128",
                "aes-gcm256",
            ),
            settable=Settable.CREATION,
            built=False,
        ),
        fixed("owner", "Owner", ""),
        fixed("group", "Group", ""),
        Property(
            name="dedup",
            description="Deduplication",
            default="off",
            parse=one_of("dedup", "off", "memcmp", "hash"),
            settable=Settable.CREATION,
        ),
        Property(
            name="dedup_threshold",
            description="Dedupe Threshold",
            default="4096",
            parse=_parse_dedup_threshold,
            settable=Settable.CREATION,
        ),
        fixed("root_oids", "Root OIDs", ""),
        Property(name="status", description="Health", default="HEALTHY", parse=_parse_status),
        fixed("alloc_oid", "Highest Allocated OID", "0"),
        Property(
            name="ec_cell_sz",
            description="EC Cell Size",
            default="131072",
            parse=parse_ec_cell,
            settable=Settable.CREATION,
            built=False,
        ),
        fixed("ec_pda", "Performance domain affinity level of EC", "1"),
        fixed("rp_pda", "Performance domain affinity level of RP", str(U32_MAX)),
        fixed("global_version", "Global Version", "4"),
        Property(
            name="scrub_disabled",
            description="Scrubber Disabled",
            default="false",
            parse=one_of("scrub_disabled", "true", "false"),
            settable=Settable.CREATION,
        ),
        fixed("obj_version", "Object Version", "1"),
        fixed("perf_domain", "Performance domain level", "root"),
    ),
)

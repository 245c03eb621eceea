"""The table of container properties against the reference's, typed from features §3.2."""

from __future__ import annotations

import pytest

from daos.base.errors import AccessError, InvalidError, NotSupportedError
from daos.base.props import Settable
from daos.container.core import LAYOUT_TYPES, PROPERTIES, parse_layout_type

C, S, RO = Settable.CREATION, Settable.ANY_TIME, Settable.NEVER

# Ours: owner, group and what is inherited of the pool is never the user's to set here.
REFERENCE = [
    ("label", "Label", "", S),
    ("layout_type", "Layout Type", "unknown", C),
    ("layout_version", "Layout Version", "1", RO),
    ("cksum", "Checksum", "off", C),
    ("cksum_size", "Checksum Chunk Size", "32768", C),
    ("srv_cksum", "Server Checksumming", "off", C),
    ("rd_fac", "Redundancy Factor (0-4)", "0", C),
    ("rd_lvl", "Redundancy Level (rank=1, node=2)", "2", C),
    ("max_snapshot", "Max Snapshot", "0", RO),
    ("compression", "Compression", "off", C),
    ("encryption", "Encryption", "off", C),
    ("owner", "Owner", "", RO),
    ("group", "Group", "", RO),
    ("dedup", "Deduplication", "off", C),
    ("dedup_threshold", "Dedupe Threshold", "4096", C),
    ("root_oids", "Root OIDs", "", RO),
    ("status", "Health", "HEALTHY", S),
    ("alloc_oid", "Highest Allocated OID", "0", RO),
    ("ec_cell_sz", "EC Cell Size", "131072", C),
    ("ec_pda", "Performance domain affinity level of EC", "1", RO),
    ("rp_pda", "Performance domain affinity level of RP", "4294967295", RO),
    ("global_version", "Global Version", "4", RO),
    ("scrub_disabled", "Scrubber Disabled", "false", C),
    ("obj_version", "Object Version", "1", RO),
    ("perf_domain", "Performance domain level", "root", RO),
]


@pytest.mark.parametrize(("name", "description", "default", "settable"), REFERENCE)
def test_each_property_is_the_references(
    name: str, description: str, default: str, settable: Settable
) -> None:
    entry = PROPERTIES.find(name)
    assert (entry.description, entry.default, entry.settable) == (description, default, settable)


def test_there_are_no_others() -> None:
    assert [entry.name for entry in PROPERTIES.properties] == [name for name, *_ in REFERENCE]


def test_layout_types_are_the_references() -> None:
    assert LAYOUT_TYPES == (
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
    assert parse_layout_type("posix") == "POSIX"
    with pytest.raises(InvalidError, match="METEO"):
        parse_layout_type("NTFS")


@pytest.mark.parametrize(
    ("name", "text", "canonical"),
    [
        ("cksum", "CRC32", "crc32"),
        ("cksum", "sha512", "sha512"),
        ("cksum", "adler32", "adler32"),
        ("cksum_size", "4k", "4096"),
        ("srv_cksum", "ON", "on"),
        ("rd_lvl", "rank", "1"),
        ("rf_lvl", "node", "2"),
        ("rf", "0", "0"),
        ("ec_cell_sz", "128KiB", "131072"),
        ("label", "c-1_.:x", "c-1_.:x"),
        ("status", "healthy", "HEALTHY"),
    ],
)
def test_values_become_canonical(name: str, text: str, canonical: str) -> None:
    values = PROPERTIES.at_creation({name: text})
    assert values[PROPERTIES.find(name).name] == canonical


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cksum", "crc31"),
        ("cksum_size", "511"),
        ("cksum_size", "8GiB"),
        ("srv_cksum", "yes"),
        ("rd_fac", "5"),
        ("rd_lvl", "3"),
        ("dedup_threshold", "4095"),
        ("ec_cell_sz", "2MiB"),
        ("status", "UNCLEAN"),
        ("label", "has space"),
        ("label", "11111111-2222-3333-4444-555555555555"),
        ("acl", "A::OWNER@:rw"),
    ],
)
def test_bad_values_are_refused(name: str, text: str) -> None:
    with pytest.raises(InvalidError):
        PROPERTIES.at_creation({name: text})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("compression", "lz4"),
        ("encryption", "aes-gcm256"),
        ("rd_fac", "2"),
        ("ec_cell_sz", "64KiB"),
    ],
)
def test_a_value_that_nothing_acts_on_is_refused_not_stored(name: str, text: str) -> None:
    with pytest.raises(NotSupportedError):
        PROPERTIES.at_creation({name: text})


@pytest.mark.parametrize("name", [name for name, _, _, when in REFERENCE if when is not S])
def test_after_creation_only_label_and_status_are_accepted(name: str) -> None:
    with pytest.raises(AccessError):
        PROPERTIES.changes({name: PROPERTIES.find(name).default or "x"})


def test_a_property_is_given_once() -> None:
    with pytest.raises(InvalidError, match="twice"):
        PROPERTIES.at_creation({"rf": "0", "rd_fac": "0"})

"""The table of pool properties against the reference's, typed from features §3.1."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from daos.base.errors import AccessError, BusyError, InvalidError, NotSupportedError
from daos.base.props import Settable
from daos.placement.pool_map import ComponentState, PoolMap
from daos.pool import wire
from daos.pool.core import (
    FLAGS,
    PROPERTIES,
    add_space,
    check_flags,
    check_share,
    check_writable,
    excluded,
    parse_ec_cell,
)

C, S, RO = Settable.CREATION, Settable.ANY_TIME, Settable.NEVER

# name, description that get-prop prints, default, when it can be set. "ours" marks a difference:
# rd_fac and svc_rf are what one host allows, the label is fixed, the owner comes with the request.
REFERENCE = [
    ("label", "Pool label", "", C),  # ours: the reference changes it later, too
    ("space_rb", "Rebuild space ratio", "5%", S),
    ("self_heal", "Self-healing policy", "exclude;rebuild", S),
    ("reclaim", "Reclaim strategy", "lazy", S),
    ("owner", None, "", RO),
    ("owner_group", None, "", RO),
    ("svc_list", "Pool service replica list", "[0]", RO),
    ("ec_cell_sz", "EC cell size", "131072", S),
    ("data_thresh", "Data bdev threshold size", "4096", C),  # ours: kept from the first write on
    ("rd_fac", "Pool redundancy factor", "0", C),  # ours: 3, lowered to domains - 1
    ("ec_pda", "Performance domain affinity level of EC", "1", C),
    ("rp_pda", "Performance domain affinity level of RP", "4294967295", C),
    ("global_version", "Global Version", "4", RO),
    ("upgrade_status", "Upgrade Status", "not started", RO),
    ("scrub", "Checksum scrubbing mode", "off", S),
    ("scrub_freq", "Checksum scrubbing frequency", "604800", S),
    ("scrub_thresh", "Checksum scrubbing threshold", "0", S),
    ("svc_rf", "Pool service redundancy factor", "0", C),  # ours: 2, one host has one replica
    ("perf_domain", "Pool performance domain", "root", C),
    ("checkpoint", "WAL checkpointing behavior", "timed", S),
    ("checkpoint_freq", "WAL checkpointing frequency, in seconds", "5", S),
    ("checkpoint_thresh", "WAL checkpoint threshold, in percentage", "50", S),
    ("reintegration", "Reintegration mode", "data_sync", S),
    ("svc_ops_enabled", "Metadata duplicate operations detection enabled", "1", S),
    (
        "svc_ops_entry_age",
        "Metadata duplicate operations KVS max entry age, in seconds",
        "300",
        S,
    ),
]


@pytest.mark.parametrize(("name", "description", "default", "settable"), REFERENCE)
def test_each_property_is_the_references(
    name: str, description: str | None, default: str, settable: Settable
) -> None:
    entry = PROPERTIES.find(name)
    assert (entry.default, entry.settable) == (default, settable)
    assert description is None or entry.description == description


def test_there_are_no_others() -> None:
    assert sorted(entry.name for entry in PROPERTIES.properties) == sorted(
        name for name, *_ in REFERENCE
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("space_rb", "101"),
        ("space_rb", "-1"),
        ("self_heal", "none;rebuild"),
        ("self_heal", "rebuild;delay_rebuild"),
        ("self_heal", "exclude;exclude"),
        ("self_heal", ""),
        ("reclaim", "sometimes"),
        ("ec_cell_sz", "1KiB"),
        ("ec_cell_sz", "2MiB"),
        ("ec_cell_sz", "4100"),
        ("data_thresh", "8GiB"),
        ("rd_fac", "5"),
        ("checkpoint_freq", "0"),
        ("checkpoint_freq", "1048577"),
        ("checkpoint_thresh", "9"),
        ("checkpoint_thresh", "76"),
        ("svc_ops_enabled", "2"),
        ("svc_ops_entry_age", "59"),
        ("svc_ops_entry_age", "601"),
        ("perf_domain", "rack"),
        ("reintegration", "both"),
        ("scrub", "on"),
        ("svc_rf", "5"),
        ("ec_pda", "0"),
        ("nonsense", "1"),
    ],
)
def test_bad_values_are_refused(name: str, text: str) -> None:
    with pytest.raises(InvalidError):
        PROPERTIES.at_creation({"label": "tank", name: text})


@pytest.mark.parametrize(
    ("name", "text", "canonical"),
    [
        ("space_rb", "5", "5%"),
        ("self_heal", "rebuild;exclude", "exclude;rebuild"),
        ("reclaim", "LAZY", "lazy"),
        ("ec_cell_sz", "128KiB", "131072"),
        ("data_thresh", "4k", "4096"),
        ("rf", "0", "0"),
        ("checkpoint_thresh", "050", "50"),
    ],
)
def test_values_become_canonical(name: str, text: str, canonical: str) -> None:
    values = PROPERTIES.at_creation({"label": "tank", name: text})
    assert values[PROPERTIES.find(name).name] == canonical


def test_a_value_that_nothing_acts_on_is_refused_not_stored() -> None:
    with pytest.raises(NotSupportedError, match="off"):
        PROPERTIES.changes({"scrub": "timed"})
    with pytest.raises(NotSupportedError):
        PROPERTIES.at_creation({"label": "tank", "rd_fac": "1"})


@pytest.mark.parametrize("name", ["owner", "owner_group", "svc_list", "global_version"])
def test_what_the_system_sets_users_do_not(name: str) -> None:
    with pytest.raises(AccessError):
        PROPERTIES.at_creation({"label": "tank", name: "x"})


@pytest.mark.parametrize("name", [name for name, _, _, when in REFERENCE if when is C])
def test_what_is_fixed_at_creation_is_fixed(name: str) -> None:
    with pytest.raises(AccessError):
        PROPERTIES.changes({name: PROPERTIES.find(name).default or "tank"})


def test_flags() -> None:
    assert FLAGS == ("r", "rw", "ex")
    for flags in ("", "w", "rx", "RW", "rw,ex"):
        with pytest.raises(InvalidError):
            check_flags(flags)


@pytest.mark.parametrize(
    ("flags", "others", "busy"),
    [
        ("r", [], False),
        ("rw", ["r", "rw"], False),
        ("ex", [], False),
        ("ex", ["r"], True),  # POOL5: EX while another is connected
        ("rw", ["ex"], True),  # POOL5: RW while EX is
        ("r", ["ex"], True),
        ("ex", ["ex"], True),
    ],
)
def test_sharing(flags: str, others: list[str], *, busy: bool) -> None:
    if busy:
        with pytest.raises(BusyError):
            check_share(flags, others, "pool")
    else:
        check_share(flags, others, "pool")


def test_writing_needs_a_writable_handle() -> None:
    check_writable("rw", write=True)
    check_writable("ex", write=True)
    check_writable("r", write=False)
    with pytest.raises(AccessError):
        check_writable("r", write=True)


def test_cells_are_multiples_of_32_bytes_from_4_kib_to_1_mib() -> None:
    assert [parse_ec_cell(text) for text in ("4096", "1MiB", "4128")] == ["4096", "1048576", "4128"]


def test_space_of_targets_becomes_that_of_the_pool() -> None:
    replies = [wire.TargetQueryReply(((100, 40), (1000, free))) for free in (500, 100, 900)]
    tiers: tuple[wire.TierSpace, ...] = ()
    for reply in replies:
        tiers = add_space(tiers, reply)
    assert tiers == (wire.TierSpace(300, 120, 40, 40), wire.TierSpace(3000, 1500, 100, 900))


def test_targets_that_are_down_are_not_asked() -> None:
    names = ("NEW", "UP", "UPIN", "DOWN", "DOWNOUT", "DRAIN")
    targets = [SimpleNamespace(state=ComponentState[name]) for name in names]
    assert excluded(cast("PoolMap", SimpleNamespace(targets=targets))) == [3, 4]

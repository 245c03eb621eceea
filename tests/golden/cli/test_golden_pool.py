"""Text and JSON of pools, typed from the reference's pages."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from daos.cli.pool_text import (
    HEALTH_MASK,
    Created,
    PoolInfo,
    Rebuild,
    TargetInfo,
    Tier,
    as_json,
    created_json,
    created_text,
    list_text,
    list_verbose_text,
    query_text,
    rank_results_text,
    targets_json,
    targets_text,
)

UUID = "8a05bf3a-a088-4a77-bb9f-df989fce7cc8"
SCM = Tier(
    media_type="scm",
    total=60000000000,
    free=59000000000,
    min=900000000,
    max=925000000,
    mean=921875000,
)
NVME = Tier(
    media_type="nvme",
    total=940000000000,
    free=939000000000,
    min=14600000000,
    max=14690000000,
    mean=14671875000,
)
TANK = PoolInfo(
    uuid=UUID,
    label="tank",
    state="Ready",
    svc_ldr=2,
    svc_reps=(0, 1, 2, 3, 4),
    total_targets=64,
    active_targets=64,
    disabled_targets=0,
    total_engines=8,
    version=1,
    pool_layout_ver=4,
    upgrade_layout_ver=4,
    tiers=(SCM, NVME),
    rebuild=Rebuild(),
    disabled_ranks=(),
)

QUERY_JSON = """
{
  "query_mask": "disabled_engines,rebuild,space",
  "state": "Ready",
  "uuid": "8a05bf3a-a088-4a77-bb9f-df989fce7cc8",
  "label": "tank",
  "total_targets": 64,
  "active_targets": 64,
  "total_engines": 8,
  "disabled_targets": 0,
  "version": 1,
  "svc_ldr": 2,
  "svc_reps": [0, 1, 2, 3, 4],
  "rebuild": {
    "status": 0, "state": "idle", "derived_state": "idle",
    "objects": 0, "records": 0, "total_objects": 0, "degraded": false
  },
  "tier_stats": [
    {"total": 60000000000, "free": 59000000000, "min": 900000000, "max": 925000000, "mean": 921875000, "media_type": "scm"},
    {"total": 940000000000, "free": 939000000000, "min": 14600000000, "max": 14690000000, "mean": 14671875000, "media_type": "nvme"}
  ],
  "disabled_ranks": [],
  "pool_layout_ver": 4,
  "upgrade_layout_ver": 4,
  "mem_file_bytes": 0,
  "md_on_ssd_active": false,
  "self_heal_policy": "",
  "usage": [
    {"tier_name": "SCM", "size": 60000000000, "free": 59000000000, "imbalance": 2},
    {"tier_name": "NVME", "size": 940000000000, "free": 939000000000, "imbalance": 0}
  ]
}
"""  # noqa: E501  # as the page has it

CREATED = Created(
    uuid=UUID,
    svc_ldr=2,
    svc_reps=(0, 1, 2, 3, 4),
    tgt_ranks=tuple(range(8)),
    tier_bytes=(11280000000, 176720000000),
)
CREATED_TEXT = f"""\
Pool created with 6.00%,94.00% storage tier ratio
-------------------------------------------------
  UUID                 : {UUID}
  Service Leader       : 2
  Service Ranks        : [0-4]
  Storage Ranks        : [0-7]
  Total Size           : 1.5 TB
  Storage tier 0 (SCM) : 90 GB (11 GB / rank)
  Storage tier 1 (NVMe): 1.4 TB (177 GB / rank)
"""

EXCLUDED = replace(
    TANK,
    state="TargetsExcluded",
    disabled_targets=8,
    active_targets=56,
    version=9,
    disabled_ranks=(7,),
    dead_ranks=(7,),
    enabled_ranks=tuple(range(7)),
    rebuild=Rebuild(state="done", derived_state="done", objects=120, records=4500, degraded=True),
)


def test_query_json() -> None:
    assert as_json(TANK) == json.loads(QUERY_JSON)
    told = as_json(replace(TANK, sys_self_heal_policy="exclude"))
    assert told["sys_self_heal_policy"] == "exclude"


def test_created() -> None:
    assert created_text(CREATED) == CREATED_TEXT
    assert created_json(replace(CREATED, tier_bytes=(7500000000, 117500000000))) == {
        "uuid": UUID,
        "svc_ldr": 2,
        "svc_reps": [0, 1, 2, 3, 4],
        "tgt_ranks": [0, 1, 2, 3, 4, 5, 6, 7],
        "tier_bytes": [7500000000, 117500000000],
        "mem_file_bytes": 0,
        "md_on_ssd_active": False,
    }


def test_query_of_a_pool_with_excluded_targets() -> None:
    assert (
        query_text(EXCLUDED)
        == f"""\
Pool {UUID}, ntarget=64, disabled=8, leader=2, version=9, state=TargetsExcluded
Pool health info:
- Enabled ranks: [0-6]
- Disabled ranks: 7
- Dead ranks: 7
- Rebuild done, 120 objs, 4500 recs
- Data redundancy: degraded
Pool space info:
- Target count:56
- Storage tier 0 (SCM):
  Total size: 60 GB
  Free: 59 GB, min:900 MB, max:925 MB, mean:922 MB
- Storage tier 1 (NVME):
  Total size: 940 GB
  Free: 939 GB, min:15 GB, max:15 GB, mean:15 GB
"""
    )


def test_query_of_health_alone() -> None:
    failed = Rebuild(status=-1026, state="idle", derived_state="failed")
    health = replace(TANK, query_mask=HEALTH_MASK, rebuild=failed, tiers=())
    assert (
        query_text(health)
        == f"""\
Pool {UUID}, ntarget=64, disabled=0, leader=2, version=1, state=Ready
Pool health info:
- Rebuild failed (state=idle, status=-1026)
- Data redundancy: normal
"""
    )


def test_query_with_all_that_may_be_wrong() -> None:
    odd = replace(
        TANK,
        pool_layout_ver=3,
        rebuild=None,
        query_mask=HEALTH_MASK,
        self_heal_policy="exclude",
        sys_self_heal_policy="exclude;pool_exclude",
    )
    assert (
        query_text(odd)
        == f"""\
Pool {UUID}, ntarget=64, disabled=0, leader=2, version=1, state=Ready
Pool layout out of date (3 < 4) -- see `dmg pool upgrade` for details.
Pool health info:
- No rebuild status available.
rebuild disabled on pool due to [system] policy
rebuild disabled on pool due to [pool] policy
"""
    )


def test_list() -> None:
    big = replace(NVME, total=1500000000000, free=1455000000000, min=1, max=1)
    assert (
        list_text([replace(TANK, tiers=(SCM, big))])
        == """\
Pool Size   State Used Imbalance Disabled
---- ----   ----- ---- --------- --------
tank 1.5 TB Ready 3%   0%        0/64
"""
    )


def test_list_where_a_layout_is_old() -> None:
    old = replace(TANK, label="older", pool_layout_ver=3)
    assert (
        list_text([TANK, old])
        == """\
Pool  Size   State Used Imbalance Disabled UpgradeNeeded?
----  ----   ----- ---- --------- -------- --------------
tank  940 GB Ready 0%   0%        0/64     None
older 940 GB Ready 0%   0%        0/64     3->4
"""
    )


def test_list_without_a_query() -> None:
    assert (
        list_text([TANK, replace(TANK, label="", state="Creating")], queried=False)
        == """\
Pool     State
----     -----
tank     Ready
8a05bf3a Creating
"""
    )


def test_no_pools() -> None:
    assert list_text([]) == list_verbose_text([]) == "No pools in system\n"


def test_list_of_a_pool_that_was_not_reached() -> None:
    lost = replace(TANK, tiers=(), state="Unknown")
    assert (
        list_text([lost])
        == """\
Pool Size State   Used Imbalance Disabled
---- ---- -----   ---- --------- --------
tank None Unknown None None      None
"""
    )


def test_list_verbose() -> None:
    nameless = replace(TANK, label="", svc_reps=())
    text = list_verbose_text([TANK, nameless])
    titles, dashes, first, second = text.splitlines()
    assert titles.split("  ")[0].split() == ["Label", "UUID"]
    assert " ".join(titles.split()) == (
        "Label UUID State SvcReps SCM Size SCM Used SCM Imbalance NVME Size NVME Used "
        "NVME Imbalance Disabled UpgradeNeeded? Rebuild State"
    )
    assert first.split() == (
        f"tank {UUID} Ready [0-4] 60 GB 1.0 GB 2% 940 GB 1.0 GB 0% 0/64 None idle".split()
    )
    assert second.split()[0] == "-"
    assert second.split()[3] == "N/A"
    assert set(dashes) == {"-", " "}


def test_targets() -> None:
    infos = [
        TargetInfo(
            state="up_in",
            space=(("scm", 1000000000, 900000000), ("nvme", 15000000000, 14600000000)),
        )
    ]
    assert (
        targets_text(infos)
        == """\
Target: state up_in
- Storage tier 0 (SCM):
  Total size: 1.0 GB
  Free: 900 MB
- Storage tier 1 (NVME):
  Total size: 15 GB
  Free: 15 GB
"""
    )
    assert targets_json(infos) == [
        {
            "target_state": "up_in",
            "space": [
                {"total": 1000000000, "free": 900000000, "media_type": "scm"},
                {"total": 15000000000, "free": 14600000000, "media_type": "nvme"},
            ],
            "mem_file_bytes": 0,
            "md_on_ssd_active": False,
        }
    ]


def test_rank_operations() -> None:
    assert (
        rank_results_text([("tank", (3, 4), ""), ("tank", (9,), "rank 9 is not in it")])
        == """\
Pool Ranks Result Reason
---- ----- ------ ------
tank 3-4   OK     -
tank 9     FAIL   rank 9 is not in it
"""
    )
    assert rank_results_text([]) == "No pool ranks processed\n"


@pytest.mark.parametrize(
    ("total", "free", "used"), [(100, 100, 0), (100, 1, 99), (1000, 1, 99), (0, 0, 0), (3, 1, 66)]
)
def test_used_is_rounded_down(total: int, free: int, used: int) -> None:
    assert replace(SCM, total=total, free=free).used == used

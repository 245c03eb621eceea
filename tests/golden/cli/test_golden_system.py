"""Text and JSON of the system and its storage, typed from the reference's pages."""

from __future__ import annotations

from dataclasses import replace

from daos.cli.system_text import (
    Member,
    cleanup_text,
    leader_text,
    member_json,
    members_text,
    results_text,
)

MEMBER = Member(
    rank=0,
    uuid="c1d2a5f6-62a1-4866-8d4a-3ad8c0ad8b4b",
    addr="10.0.0.1:10001",
    fault_domain="/host1",
    state="Joined",
    incarnation=720575940379279,
    fabric_uri="ofi+tcp;ofi_rxm://10.0.0.1:20000",
    fabric_contexts=21,
    last_update="2024-05-31T10:20:30.123456789Z",
)


def test_member_json() -> None:
    assert member_json(MEMBER) == {
        "addr": "10.0.0.1:10001",
        "state": "joined",
        "fault_domain": "/host1",
        "rank": 0,
        "incarnation": 720575940379279,
        "uuid": "c1d2a5f6-62a1-4866-8d4a-3ad8c0ad8b4b",
        "fabric_uri": "ofi+tcp;ofi_rxm://10.0.0.1:20000",
        "secondary_fabric_uris": None,
        "fabric_contexts": 21,
        "secondary_fabric_contexts": None,
        "info": "",
        "last_update": "2024-05-31T10:20:30.123456789Z",
    }


def test_query_groups_ranks_by_state() -> None:
    members = [replace(MEMBER, rank=rank) for rank in (0, 1, 2, 4)]
    members.append(replace(MEMBER, rank=3, state="Stopped"))
    assert (
        members_text(members)
        == """\
Rank    State
----    -----
[0-2,4] Joined
3       Stopped
"""
    )


def test_query_verbose() -> None:
    assert (
        members_text([MEMBER], verbose=True)
        == f"""\
Rank UUID                                 Control Address Fault Domain State  Reason
---- ----                                 --------------- ------------ -----  ------
0    {MEMBER.uuid} 10.0.0.1:10001  /host1       Joined
"""
    )


def test_query_of_what_is_not_there() -> None:
    text = members_text(
        [], unknown_hosts="host9", unknown_ranks="7-8", policy_missing=["exclude", "pool_rebuild"]
    )
    assert (
        text
        == """\
Query matches no ranks in system
Unknown host(s): host9
Unknown rank(s): 7-8
System property self_heal flag(s) disabled: exclude, pool_rebuild
"""
    )


def test_leader() -> None:
    replicas = ["h1:10001", "h2:10001"]
    assert (
        leader_text("h1:10001", replicas)
        == """\
Current Leader: h1:10001
   Replica Set: h1:10001, h2:10001
"""
    )
    assert leader_text("h1:10001", replicas, ["h2:10001"]) == (
        "  Unresponsive Replicas: h2:10001\n"
    )
    assert leader_text("h1:10001", replicas, []) == "  Unresponsive Replicas:\n"


def test_cleanup() -> None:
    assert cleanup_text({}) == "No handles cleaned up\n"
    revoked = {"c1d2a5f6-62a1-4866-8d4a-3ad8c0ad8b4b": 12}
    assert cleanup_text(revoked) == "System Cleanup Success\n"
    assert (
        cleanup_text(revoked, verbose=True)
        == """\
System Cleanup Success
Pool                                 Handles Revoked
----                                 ---------------
c1d2a5f6-62a1-4866-8d4a-3ad8c0ad8b4b 12
"""
    )


def test_stop_and_start() -> None:
    results = [(0, "stop", ""), (1, "stop", ""), (2, "stop", "system stop: rank failed to stop")]
    assert (
        results_text(results)
        == """\
Rank Operation Result
---- --------- ------
0-1  stop      OK
2    stop      system stop: rank failed to stop
"""
    )

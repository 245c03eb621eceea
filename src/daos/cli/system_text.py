"""What `dmg system` tells: text and JSON. Pure.

Source: DAOS src/control/cmd/dmg/pretty/system.go; features §2.1.2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daos.base.ranges import format_bracketed, format_ranges
from daos.cli.text import table


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A rank as the management service knows it; `state` in CamelCase."""

    rank: int
    uuid: str
    addr: str
    fault_domain: str
    state: str
    info: str = ""
    incarnation: int = 0
    fabric_uri: str = ""
    fabric_contexts: int = 0
    last_update: str = ""


def members_text(
    members: Sequence[Member],
    *,
    verbose: bool = False,
    unknown_hosts: str = "",
    unknown_ranks: str = "",
    policy_missing: Sequence[str] = (),
) -> str:
    """What `system query` prints."""
    if not members:
        text = "Query matches no ranks in system\n"
    elif verbose:
        titles = ("Rank", "UUID", "Control Address", "Fault Domain", "State", "Reason")
        text = table(
            titles,
            [
                {
                    "Rank": str(member.rank),
                    "UUID": member.uuid,
                    "Control Address": member.addr,
                    "Fault Domain": member.fault_domain,
                    "State": member.state,
                    "Reason": member.info,
                }
                for member in members
            ],
        )
    else:
        by_state: dict[str, list[int]] = {}
        for member in members:
            by_state.setdefault(member.state, []).append(member.rank)
        text = table(
            ("Rank", "State"),
            [
                {"Rank": format_bracketed(ranks), "State": state}
                for state, ranks in sorted(by_state.items(), key=lambda item: item[1])
            ],
        )
    if unknown_hosts:
        text += f"Unknown host(s): {unknown_hosts}\n"
    if unknown_ranks:
        text += f"Unknown rank(s): {unknown_ranks}\n"
    if policy_missing:
        text += f"System property self_heal flag(s) disabled: {', '.join(policy_missing)}\n"
    return text


def member_json(member: Member) -> dict[str, object]:
    """One of `members` in `system query`."""
    return {
        "addr": member.addr,
        "state": member.state.lower(),
        "fault_domain": member.fault_domain,
        "rank": member.rank,
        "incarnation": member.incarnation,
        "uuid": member.uuid,
        "fabric_uri": member.fabric_uri,
        "secondary_fabric_uris": None,
        "fabric_contexts": member.fabric_contexts,
        "secondary_fabric_contexts": None,
        "info": member.info,
        "last_update": member.last_update,
    }


def leader_text(leader: str, replicas: Sequence[str], down: Sequence[str] | None = None) -> str:
    """What `system leader-query` prints; `down` where it was asked for."""
    if down is not None:
        return f"  Unresponsive Replicas: {', '.join(down)}".rstrip() + "\n"
    return f"Current Leader: {leader}\n   Replica Set: {', '.join(replicas)}\n"


def results_text(results: Sequence[tuple[int, str, str]]) -> str:
    """(rank, operation, message; empty where it went well) of `system stop` and `start`."""
    groups: dict[tuple[str, str], list[int]] = {}
    for rank, operation, message in results:
        groups.setdefault((operation, message or "OK"), []).append(rank)
    return table(
        ("Rank", "Operation", "Result"),
        [
            {"Rank": format_ranges(ranks), "Operation": operation, "Result": result}
            for (operation, result), ranks in groups.items()
        ],
    )


def cleanup_text(revoked: Mapping[str, int], *, verbose: bool = False) -> str:
    """How many handles were revoked of each pool."""
    if not revoked:
        return "No handles cleaned up\n"
    text = "System Cleanup Success\n"
    if verbose:
        rows = [{"Pool": pool, "Handles Revoked": str(count)} for pool, count in revoked.items()]
        text += table(("Pool", "Handles Revoked"), rows)
    return text

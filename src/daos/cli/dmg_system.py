"""`dmg system`: query, stop, start, erase, list-pools, cleanup, attributes, properties.

Source: DAOS src/control/cmd/dmg/system.go; features §2.1.2
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from daos.base.errors import InvalidError
from daos.base.ranges import format_ranges, parse_ranges
from daos.cli.controlled import with_control
from daos.cli.dmg_pool import list_of_pools
from daos.cli.frame import Answer, Command, Group, Options, command, names, pairs
from daos.cli.later import Later
from daos.cli.system_text import (
    Member,
    cleanup_text,
    leader_text,
    member_json,
    members_text,
    results_text,
)
from daos.cli.text import table

if TYPE_CHECKING:
    from daos.control.client import ControlClient
    from daos.proto import mgmt_pb2 as pb
    from daos.proto.shared_pb2 import RankResult
else:
    pb = Later("daos.proto.mgmt_pb2")

group = Group("system", help="Query, stop and start ranks.")

# Source: features §2.1.2
STATES = {
    "Unknown": 0,
    "AwaitFormat": 0x1,
    "Starting": 0x2,
    "Ready": 0x4,
    "Joined": 0x8,
    "Stopping": 0x10,
    "Stopped": 0x20,
    "Excluded": 0x40,
    "Errored": 0x80,
    "Unresponsive": 0x100,
    "AdminExcluded": 0x200,
    "CheckerStarted": 0x400,
}
_ALL = 0xFFFF
_BY_LOWER = {name.lower(): name for name in STATES}
_POLICY = ("exclude", "pool_exclude", "pool_rebuild")
_DESCRIPTIONS = {
    "daos_system": "System Name",
    "daos_version": "Software Version",
    "pool_scrub_mode": "Pool Scrubbing Mode",
    "pool_scrub_thresh": "Pool Scrubbing Threshold",
    "self_heal": "Self-healing Policy",
}


@command(group, "query")
@click.option("-r", "--ranks", help="Some ranks, like 0,2-3.")
@click.option("--rank-hosts", help="Ranks of some hosts.")
@click.option("-v", "--verbose", is_flag=True, help="Tell UUID, address and fault domain.")
@click.option("--not-ok", is_flag=True, help="Only ranks that have not joined.")
@click.option("--with-states", metavar="STATE,…", help="Only ranks in these states.")
@click.pass_obj
def query(
    options: Options, /, verbose: bool, not_ok: bool, with_states: str | None, **which: str | None
) -> Answer:
    """Tell the state of ranks."""
    ranks, hosts = _chosen(**which)
    if not_ok and with_states:
        raise InvalidError("give --not-ok or --with-states, not both")
    mask = _ALL & ~STATES["Joined"] if not_ok else _mask(with_states)
    request = pb.SystemQueryReq(ranks=ranks, hosts=hosts, state_mask=mask)

    async def work(control: ControlClient) -> Answer:
        reply = await control.ask("SystemQuery", request, pb.SystemQueryResp)
        members = [_member(each) for each in reply.members]
        policy = reply.sys_self_heal_policy.split(";")
        text = members_text(
            members,
            verbose=verbose,
            unknown_hosts=reply.absenthosts,
            unknown_ranks=reply.absentranks,
            policy_missing=[flag for flag in _POLICY[::2] if flag not in policy],
        )
        response = {
            "members": [member_json(each) for each in members],
            "providers": list(reply.providers),
            "sys_self_heal_policy": reply.sys_self_heal_policy,
        }
        return Answer(text, response)

    return with_control(options, work)


@command(group, "leader-query")
@click.option("-N", "--down-replicas", is_flag=True, help="Only replicas that do not answer.")
@click.pass_obj
def leader_query(options: Options, down_replicas: bool) -> Answer:
    """Tell which server leads the management service."""

    async def work(control: ControlClient) -> Answer:
        reply = await control.ask("LeaderQuery", pb.LeaderQueryReq(), pb.LeaderQueryResp)
        down = list(reply.DownReplicas) if down_replicas else None
        response = {
            "current_leader": reply.current_leader,
            "replicas": list(reply.replicas),
            "down_replicas": list(reply.DownReplicas),
        }
        return Answer(leader_text(reply.current_leader, reply.replicas, down), response)

    return with_control(options, work)


@command(group, "stop")
@click.option("--force", is_flag=True, help="Kill what does not stop.")
@click.option("-r", "--ranks", help="Some ranks, like 0,2-3.")
@click.option("--rank-hosts", help="Ranks of some hosts.")
@click.pass_obj
def stop(options: Options, /, force: bool, **which: str | None) -> Answer:
    """Stop ranks; all if none are named. Their server goes on."""
    ranks, hosts = _chosen(**which)
    request = pb.SystemStopReq(prep=not force, kill=True, force=force, ranks=ranks, hosts=hosts)

    async def work(control: ControlClient) -> Answer:
        reply = await control.ask("SystemStop", request, pb.SystemStopResp)
        return _results(reply.results, reply.absentranks, reply.absenthosts)

    return with_control(options, work, doing="Stopping ranks")


@command(group, "start")
@click.option("-r", "--ranks", help="Some ranks, like 0,2-3.")
@click.option("--rank-hosts", help="Ranks of some hosts.")
@click.pass_obj
def start(options: Options, /, **which: str | None) -> Answer:
    """Start ranks that were stopped; all if none are named."""
    ranks, hosts = _chosen(**which)
    request = pb.SystemStartReq(ranks=ranks, hosts=hosts)

    async def work(control: ControlClient) -> Answer:
        reply = await control.ask("SystemStart", request, pb.SystemStartResp)
        return _results(reply.results, reply.absentranks, reply.absenthosts)

    return with_control(options, work, doing="Starting ranks")


@command(group, "erase")
@click.pass_obj
def erase(options: Options) -> Answer:
    """Forget the system: ranks, pools and settings. All ranks have to be stopped."""

    async def work(control: ControlClient) -> Answer:
        reply = await control.ask("SystemErase", pb.SystemEraseReq(), pb.SystemEraseResp)
        said = _results(reply.results, "", "")
        return Answer(said.text if said.failed else "", said.response, said.failed)

    return with_control(options, work)


@click.command("server-version", cls=Command)
@click.pass_obj
def server_version(options: Options) -> Answer:
    """Print the version of the servers."""

    async def work(control: ControlClient) -> Answer:
        request = pb.SystemGetPropReq(keys=["daos_version"])
        reply = await control.ask("SystemGetProp", request, pb.SystemGetPropResp)
        version = reply.properties["daos_version"]
        return Answer(
            f"daos_server version {version}\n", {"name": "daos_server", "version": version}
        )

    return with_control(options, work)


@command(group, "list-pools")
@click.option("-v", "--verbose", is_flag=True, help="Tell UUID, service and tiers.")
@click.option("-n", "--no-query", is_flag=True, help="Only names and states.")
@click.option("-r", "--rebuild-only", is_flag=True, help="Only pools that are being rebuilt.")
@click.pass_obj
def list_pools(options: Options, verbose: bool, no_query: bool, rebuild_only: bool) -> Answer:
    """List the pools of the system."""
    return list_of_pools(options, verbose=verbose, no_query=no_query, rebuild_only=rebuild_only)


@command(group, "cleanup")
@click.argument("machine")
@click.option("-v", "--verbose", is_flag=True, help="Tell the handles of each pool.")
@click.pass_obj
def cleanup(options: Options, machine: str, verbose: bool) -> Answer:
    """Give back what clients on MACHINE have left connected."""

    async def work(control: ControlClient) -> Answer:
        request = pb.SystemCleanupReq(machine=machine)
        reply = await control.ask("SystemCleanup", request, pb.SystemCleanupResp)
        revoked = {each.pool_id: each.count for each in reply.results if each.count}
        response = {
            "results": [
                {
                    "status": each.status,
                    "msg": each.msg,
                    "pool_id": each.pool_id,
                    "count": each.count,
                }
                for each in reply.results
            ]
        }
        wrong = [f"{each.pool_id}: {each.msg}" for each in reply.results if each.status]
        return Answer(cleanup_text(revoked, verbose=verbose), response, problems=tuple(wrong))

    return with_control(options, work)


@command(group, "set-attr")
@click.argument("attributes", metavar="KEY:VALUE,…")
@click.pass_obj
def set_attr(options: Options, attributes: str) -> Answer:
    """Set attributes of the system."""
    return _change_attributes(options, pairs(attributes, "attributes"), "set-attr")


@command(group, "del-attr")
@click.argument("keys", metavar="KEY,…")
@click.pass_obj
def del_attr(options: Options, keys: str) -> Answer:
    """Delete attributes of the system."""
    return _change_attributes(options, dict.fromkeys(names(keys), ""), "del-attr")


def _change_attributes(options: Options, values: dict[str, str], what: str) -> Answer:
    if not values:
        raise InvalidError("name at least one attribute")

    async def work(control: ControlClient) -> Answer:
        request = pb.SystemSetAttrReq(attributes=values)
        await control.ask("SystemSetAttr", request, pb.DaosResp)
        return Answer(f"system {what} succeeded\n")

    return with_control(options, work)


@command(group, "get-attr")
@click.argument("keys", required=False, metavar="[KEY,…]")
@click.pass_obj
def get_attr(options: Options, keys: str | None) -> Answer:
    """Tell attributes of the system; all if no KEY is named."""

    async def work(control: ControlClient) -> Answer:
        request = pb.SystemGetAttrReq(keys=names(keys))
        reply = await control.ask("SystemGetAttr", request, pb.SystemGetAttrResp)
        found = dict(sorted(reply.attributes.items()))
        rows = [{"Name": name, "Value": value} for name, value in found.items()]
        text = table(("Name", "Value"), rows) if rows else "No system attributes found.\n"
        return Answer(text, {"attributes": found})

    return with_control(options, work)


@command(group, "set-prop")
@click.argument("properties", metavar="KEY:VALUE,…")
@click.pass_obj
def set_prop(options: Options, properties: str) -> Answer:
    """Change properties of the system."""
    values = pairs(properties, "properties")

    async def work(control: ControlClient) -> Answer:
        await control.ask("SystemSetProp", pb.SystemSetPropReq(properties=values), pb.DaosResp)
        return Answer("system set-prop succeeded\n")

    return with_control(options, work)


@command(group, "get-prop")
@click.argument("keys", required=False, metavar="[KEY,…]")
@click.pass_obj
def get_prop(options: Options, keys: str | None) -> Answer:
    """Tell properties of the system; all if no KEY is named."""

    async def work(control: ControlClient) -> Answer:
        request = pb.SystemGetPropReq(keys=names(keys))
        reply = await control.ask("SystemGetProp", request, pb.SystemGetPropResp)
        found = sorted(reply.properties.items())
        rows = [
            {"Name": f"{_DESCRIPTIONS.get(key, key)} ({key})", "Value": value}
            for key, value in found
        ]
        text = table(("Name", "Value"), rows) if rows else "No system properties found.\n"
        response = [
            {"key": key, "value": value, "description": _DESCRIPTIONS.get(key, key)}
            for key, value in found
        ]
        return Answer(text, response)

    return with_control(options, work)


def _chosen(ranks: str | None, rank_hosts: str | None) -> tuple[str, str]:
    """Ranks and hosts of a request. Raises: InvalidError"""
    if ranks is not None and rank_hosts is not None:
        raise InvalidError("give --ranks or --rank-hosts, not both")
    return format_ranges(parse_ranges(ranks or "", "--ranks")), rank_hosts or ""


def _mask(with_states: str | None) -> int:
    wanted = names(with_states)
    mask = 0
    for name in wanted:
        known = _BY_LOWER.get(name.lower())
        if known is None:
            raise InvalidError(f"there is no state {name!r}; there are {', '.join(STATES)}")
        mask |= STATES[known]
    return mask if wanted else _ALL


def _member(member: pb.SystemMember) -> Member:
    return Member(
        rank=member.rank,
        uuid=member.uuid,
        addr=member.addr,
        fault_domain=member.fault_domain,
        state=_BY_LOWER.get(member.state.lower(), member.state),
        info=member.info,
        incarnation=member.incarnation,
        fabric_uri=member.fabric_uri,
        fabric_contexts=member.fabric_contexts,
        last_update=member.last_update,
    )


def _results(results: Sequence[RankResult], absent_ranks: str, absent_hosts: str) -> Answer:
    rows = [(each.rank, each.action, each.msg if each.errored else "") for each in results]
    text = results_text(rows)
    if absent_hosts:
        text += f"Unknown host(s): {absent_hosts}\n"
    if absent_ranks:
        text += f"Unknown rank(s): {absent_ranks}\n"
    response = {
        "results": [
            {
                "rank": each.rank,
                "action": each.action,
                "errored": each.errored,
                "msg": each.msg,
                "state": each.state,
                "addr": each.addr,
            }
            for each in results
        ]
    }
    failed = any(each.errored for each in results) or bool(absent_ranks or absent_hosts)
    return Answer(text, response, failed=failed)

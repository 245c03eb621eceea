"""`dmg pool`: create, destroy, list, query, properties, evict.

Source: DAOS src/control/cmd/dmg/pool.go; features §2.1.1
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from daos.base.clock import uuid_from
from daos.base.errors import DER, DaosError, InvalidError, NoSpaceError, NotFoundError
from daos.base.names import check_label
from daos.base.ranges import parse_ranges
from daos.base.sizes import format_size, parse_percent, parse_size
from daos.cli import labels, told
from daos.cli.controlled import with_control
from daos.cli.frame import Answer, Group, Options, command, names, pairs
from daos.cli.later import Later
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
    targets_json,
    targets_text,
)
from daos.cli.properties import properties_answer
from daos.client.owner import group_principal, user_principal

if TYPE_CHECKING:
    from daos.control import client
    from daos.control.client import ControlClient
    from daos.mgmt import properties as numbered
    from daos.pool import core
    from daos.proto import mgmt_pb2 as pb
else:
    client = Later("daos.control.client")
    numbered = Later("daos.mgmt.properties")
    core = Later("daos.pool.core")
    pb = Later("daos.proto.mgmt_pb2")

ReplyT = TypeVar("ReplyT", bound="client.HasStatus")

group = Group("pool", help="Make, query and destroy pools.")

# Bits of a query's mask. Source: features §1.7
_BITS: Final = {
    "space": 1,
    "rebuild": 2,
    "enabled_engines": 4,
    "disabled_engines": 8,
    "dead_engines": 16,
}
_DEFAULT: Final = ("disabled_engines", "rebuild", "space")
_RATIO: Final = (6.0, 94.0)


@command(group, "create")
@click.argument("label")
@click.option("-z", "--size", metavar="SIZE|N%", help="Of the whole pool, or of all storage.")
@click.option("-t", "--tier-ratio", metavar="A[,B]", help="Percent of the tiers (6,94).")
@click.option("-k", "--nranks", type=click.IntRange(1), help="How many engines, chosen for you.")
@click.option("-r", "--ranks", help="Which engines, like 0,2-3.")
@click.option("-s", "--scm-size", metavar="SIZE", help="Of tier 0, for each engine.")
@click.option("-n", "--nvme-size", metavar="SIZE", help="Of tier 1, for each engine.")
@click.option("-v", "--nsvc", type=click.IntRange(0), help="Replicas of the pool's service.")
@click.option("-u", "--user", help="Owner (you).")
@click.option("-g", "--group", "owner_group", help="Owner group (your first).")
@click.option("-P", "--properties", metavar="KEY:VALUE,…", help="Properties to begin with.")
@click.pass_obj
def create(options: Options, /, label: str, properties: str | None, **given: Any) -> Answer:  # noqa: ANN401  # as click made them
    """Make a pool named LABEL over all engines, or some."""
    check_label(label, "pool")
    props = pairs(properties, "properties") if properties else {}
    if "label" in props:
        raise InvalidError("the label is given twice; leave it out of --properties")
    wanted = Wanted(**given)
    wanted.check()
    request = pb.PoolCreateReq(
        uuid=str(uuid_from(SystemRandom())),
        user=_principal(wanted.user) if wanted.user else user_principal(),
        user_group=_principal(wanted.owner_group) if wanted.owner_group else group_principal(),
        properties=numbered.write({**_canonical(props), "label": label}),
        num_svc_reps=wanted.nsvc or 0,
        num_ranks=wanted.nranks or 0,
        ranks=parse_ranges(wanted.ranks or "", "--ranks"),
    )

    async def work(control: ControlClient) -> Answer:
        first = await _set_size(request, control, wanted)
        reply = await control.ask("PoolCreate", request, pb.PoolCreateResp)
        if reply.status == -DER.NOSPACE:
            why = f"no room for pool {label!r}" + (f": {reply.problem}" if reply.problem else "")
            raise NoSpaceError(f"{why}; `dmg storage query usage` tells what is free")
        _checked(reply, label)
        made = Created(
            uuid=request.uuid,
            svc_ldr=reply.svc_ldr,
            svc_reps=tuple(reply.svc_reps),
            tgt_ranks=tuple(reply.tgt_ranks),
            tier_bytes=tuple(reply.tier_bytes),
        )
        text = f"{first}\n{created_text(made)}"
        return Answer(text, created_json(made), notices=wanted.notices())

    return with_control(options, work, doing=f"Creating pool {label!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the options of `create` ask for."""

    size: str | None
    tier_ratio: str | None
    nranks: int | None
    ranks: str | None
    scm_size: str | None
    nvme_size: str | None
    nsvc: int | None
    user: str | None
    owner_group: str | None

    def check(self) -> None:
        """Refuse what does not go together. Raises: InvalidError"""
        manual = self.scm_size is not None or self.nvme_size is not None
        chosen = self.nranks is not None or self.tier_ratio is not None
        if (self.size is not None) == manual:
            raise InvalidError(
                "unsupported option combination: give --size, or --scm-size and --nvme-size"
            )
        if manual and self.scm_size is None:
            raise InvalidError("--nvme-size needs --scm-size")
        if manual and chosen:
            raise InvalidError("--nranks and --tier-ratio do not go with sizes of the tiers")
        if self.size is not None and self.size.endswith("%") and chosen:
            raise InvalidError("--nranks and --tier-ratio do not go with a part of all storage")
        if self.nranks is not None and self.ranks is not None:
            raise InvalidError("give --nranks or --ranks, not both")

    def notices(self) -> tuple[str, ...]:
        """What of it nothing acts on, and why."""
        found = []
        if self.tier_ratio is not None:
            why = "tiers are parts of one file system, and a pool divides its storage itself"
            found.append(f"--tier-ratio is not used: {why}")
        if self.nsvc is not None and self.nsvc > 1:
            found.append(f"--nsvc {self.nsvc} is not used: a pool's service has one replica")
        return tuple(found)


async def _set_size(request: pb.PoolCreateReq, control: ControlClient, wanted: Wanted) -> str:
    """Fill in what the pool shall take; what is said of it first."""
    size = wanted.size
    if size is None:
        scm, nvme = parse_size(wanted.scm_size or 0), parse_size(wanted.nvme_size or 0)
        request.tier_bytes.extend([scm, nvme])
        ratio = 100 * scm / nvme if nvme else 100.0
        return (
            "Creating DAOS pool with manual per-engine storage allocation: "
            f"{format_size(scm)} SCM, {format_size(nvme)} NVMe ({ratio:.2f}% storage tier ratio)"
        )
    shares = _shares(wanted.tier_ratio)
    request.tier_ratio.extend(share / 100 for share in shares)
    if size.endswith("%"):
        percent = parse_percent(size)
        if not percent:
            raise InvalidError(f"--size {size!r}: expected 1% to 100%")
        from daos.cli.dmg_storage import free_bytes

        request.total_bytes = int(await free_bytes(control) * percent / 100)
        return f"Creating DAOS pool with {size} of all storage"
    request.total_bytes = parse_size(size)
    ratio = 100 * shares[0] / shares[1] if shares[1] else 100.0
    some = f" with {request.num_ranks} ranks" if request.num_ranks else ""
    return (
        "Creating DAOS pool with automatic storage allocation: "
        f"{format_size(request.total_bytes)} total, {ratio:.2f}% storage tier ratio{some}"
    )


def _shares(text: str | None) -> tuple[float, float]:
    """The tiers' parts, in percent; one value leaves the rest to the other."""
    if text is None:
        return _RATIO
    parts = [parse_percent(part) for part in text.split(",")]
    if len(parts) == 1:
        parts.append(100 - parts[0])
    if len(parts) != 2 or abs(sum(parts) - 100) > 0.01:
        raise InvalidError(
            f"--tier-ratio {text!r}: expected two shares of 100% together, like 6,94"
        )
    return parts[0], parts[1]


def _principal(name: str) -> str:
    return name if name.endswith("@") else f"{name}@"


@command(group, "destroy")
@labels.administrators_pool
@click.option("-r", "--recursive", is_flag=True, help="With the containers that are in it.")
@click.option("-f", "--force", is_flag=True, help="Also while somebody is connected.")
@click.pass_obj
def destroy(options: Options, pool: str, recursive: bool, force: bool) -> Answer:
    """Destroy POOL and all that is in it."""

    async def work(control: ControlClient) -> Answer:
        request = pb.PoolDestroyReq(id=pool, force=force, recursive=recursive)
        _checked(await control.ask("PoolDestroy", request, pb.PoolDestroyResp), pool)
        return Answer("Pool-destroy command succeeded\n")

    return with_control(options, work, doing=f"Destroying pool {pool!r}")


@command(group, "evict")
@labels.administrators_pool
@click.pass_obj
def evict(options: Options, pool: str) -> Answer:
    """End the connections of all clients of POOL."""

    async def work(control: ControlClient) -> Answer:
        reply = await control.ask("PoolEvict", pb.PoolEvictReq(id=pool), pb.PoolEvictResp)
        _checked(reply, pool)
        return Answer("Pool-evict command succeeded\n")

    return with_control(options, work)


@command(group, "list", "ls")
@click.option("-v", "--verbose", is_flag=True, help="Tell UUID, service and tiers.")
@click.option("-n", "--no-query", is_flag=True, help="Only names and states.")
@click.option("-r", "--rebuild-only", is_flag=True, help="Only pools that are being rebuilt.")
@click.pass_obj
def list_(options: Options, verbose: bool, no_query: bool, rebuild_only: bool) -> Answer:
    """List the pools of the system."""
    return list_of_pools(options, verbose=verbose, no_query=no_query, rebuild_only=rebuild_only)


def list_of_pools(
    options: Options, *, verbose: bool, no_query: bool, rebuild_only: bool = False
) -> Answer:
    """What `pool list` and `system list-pools` say."""
    if no_query and rebuild_only:
        raise InvalidError("--rebuild-only asks the pools, --no-query does not: give one of them")

    async def work(control: ControlClient) -> Answer:
        reply = await control.ask("ListPools", pb.ListPoolsReq(), pb.ListPoolsResp)
        client.checked(reply, "list of pools")
        infos, wrong = [], []
        for pool in reply.pools:
            info = _listed(pool)
            # What can't be opened tells why, too.
            if not no_query and pool.state in ("Ready", "Unknown"):
                try:
                    info = await query_of(control, pool.uuid, _DEFAULT)
                except DaosError as error:
                    wrong.append(f"{pool.label or pool.uuid}: {error}")
            if not rebuild_only or (info.rebuild is not None and info.rebuild.state == "busy"):
                infos.append(info)
        text = list_verbose_text(infos) if verbose else list_text(infos, queried=not no_query)
        response = {"status": 0, "pools": [as_json(info) for info in infos]}
        return Answer(text, response, problems=tuple(wrong))

    return with_control(options, work)


@command(group, "query")
@labels.administrators_pool
@click.option("-e", "--show-enabled", is_flag=True, help="Tell the ranks in service, too.")
@click.option("-t", "--health-only", is_flag=True, help="Ask no target for its space.")
@click.option("--no-self-heal-check", is_flag=True, help="Without the policies of self-healing.")
@click.pass_obj
def query(
    options: Options, pool: str, show_enabled: bool, health_only: bool, no_self_heal_check: bool
) -> Answer:
    """Tell state, health and space of POOL."""
    mask = HEALTH_MASK if health_only else _DEFAULT
    wanted = (*mask, "enabled_engines") if show_enabled else mask

    async def work(control: ControlClient) -> Answer:
        info = await query_of(control, pool, wanted)
        if no_self_heal_check:
            info = replace(info, self_heal_policy="", sys_self_heal_policy=None)
        return Answer(query_text(info), {"status": 0, **as_json(info)})

    return with_control(options, work)


@command(group, "query-targets")
@labels.administrators_pool
@click.option("--rank", type=click.IntRange(0), required=True, help="The engine to ask for.")
@click.option("--target-idx", help="Some of its targets, like 0,2-3; all if not given.")
@click.pass_obj
def query_targets(options: Options, pool: str, rank: int, target_idx: str | None) -> Answer:
    """Tell state and space of targets of one engine."""
    request = pb.PoolQueryTargetReq(
        id=pool, rank=rank, targets=parse_ranges(target_idx or "", "--target-idx")
    )

    async def work(control: ControlClient) -> Answer:
        reply = await control.ask("PoolQueryTarget", request, pb.PoolQueryTargetResp)
        _checked(reply, pool)
        infos = [_target(each) for each in reply.infos]
        return Answer(targets_text(infos), {"status": 0, "infos": targets_json(infos)})

    return with_control(options, work)


@command(group, "get-prop")
@labels.administrators_pool
@click.argument("keys", required=False, metavar="[KEY,…]")
@click.pass_obj
def get_prop(options: Options, pool: str, keys: str | None) -> Answer:
    """Tell properties; all if no KEY is named."""
    wanted = [core.PROPERTIES.find(name) for name in names(keys)] or list(
        core.PROPERTIES.properties
    )
    request = pb.PoolGetPropReq(
        id=pool, properties=[pb.PoolProperty(number=numbered.NUMBERS[each.name]) for each in wanted]
    )

    async def work(control: ControlClient) -> Answer:
        reply = await control.ask("PoolGetProp", request, pb.PoolGetPropResp)
        _checked(reply, pool)
        values = numbered.read(reply.properties)
        rows = [(each, values.get(each.name, "")) for each in wanted]
        return properties_answer(f"Pool {pool} properties:", rows, of_pool=True)

    return with_control(options, work)


@command(group, "set-prop")
@labels.administrators_pool
@click.argument("properties", metavar="KEY:VALUE,…")
@click.pass_obj
def set_prop(options: Options, pool: str, properties: str) -> Answer:
    """Change properties, all or none."""
    values = _canonical(pairs(properties, "properties"))
    request = pb.PoolSetPropReq(id=pool, properties=numbered.write(values))

    async def work(control: ControlClient) -> Answer:
        _checked(await control.ask("PoolSetProp", request, pb.PoolSetPropResp), pool)
        return Answer("pool set-prop succeeded\n")

    return with_control(options, work)


def _checked(reply: ReplyT, pool: str) -> ReplyT:
    try:
        return client.checked(reply, f"pool {pool!r}")
    except NotFoundError as error:
        if not error.message.startswith("pool "):
            raise
        hint = "`dmg pool list` lists those that there are"
        raise told.hinted(error, hint) from error


async def query_of(control: ControlClient, pool: str, mask: tuple[str, ...]) -> PoolInfo:
    """Ask for a pool. Raises: as its service does"""
    bits = sum(_BITS[name] for name in mask)
    request = pb.PoolQueryReq(id=pool, query_mask=bits)
    reply = _checked(await control.ask("PoolQuery", request, pb.PoolQueryResp), pool)
    told = {name for name, bit in _BITS.items() if bit & (reply.query_mask or bits)}

    def ranks(name: str, text: str) -> tuple[int, ...] | None:
        return parse_ranges(text, name) if name in told else None

    return PoolInfo(
        uuid=reply.uuid,
        label=reply.label,
        state=pb.PoolServiceState.Name(reply.state),
        svc_ldr=reply.svc_ldr,
        svc_reps=tuple(reply.svc_reps),
        total_targets=reply.total_targets,
        active_targets=reply.active_targets,
        disabled_targets=reply.disabled_targets,
        total_engines=reply.total_engines,
        version=reply.version,
        pool_layout_ver=reply.pool_layout_ver,
        upgrade_layout_ver=reply.upgrade_layout_ver,
        tiers=tuple(_tier(each) for each in reply.tier_stats),
        rebuild=_rebuild(reply.rebuild) if reply.HasField("rebuild") else None,
        enabled_ranks=ranks("enabled_engines", reply.enabled_ranks),
        disabled_ranks=ranks("disabled_engines", reply.disabled_ranks),
        dead_ranks=ranks("dead_engines", reply.dead_ranks),
        query_mask=tuple(told),
        self_heal_policy=reply.self_heal_policy,
        sys_self_heal_policy=reply.sys_self_heal_policy,
    )


def _listed(pool: pb.ListPoolsResp.Pool) -> PoolInfo:
    return PoolInfo(
        uuid=pool.uuid,
        label=pool.label,
        state=pool.state,
        svc_ldr=min(pool.svc_reps, default=0),
        svc_reps=tuple(pool.svc_reps),
        total_targets=0,
        active_targets=0,
        disabled_targets=0,
        total_engines=0,
        version=0,
        pool_layout_ver=0,
        upgrade_layout_ver=0,
        query_mask=(),
    )


def _tier(stats: pb.StorageUsageStats) -> Tier:
    return Tier(
        media_type=pb.StorageMediaType.Name(stats.media_type).lower(),
        total=stats.total,
        free=stats.free,
        min=stats.min,
        max=stats.max,
        mean=stats.mean,
    )


def _rebuild(status: pb.PoolRebuildStatus) -> Rebuild:
    state = pb.PoolRebuildStatus.State
    return Rebuild(
        status=status.status,
        state=state.Name(status.state).lower(),
        derived_state=state.Name(status.derived_state).lower(),
        objects=status.objects,
        records=status.records,
        degraded=status.degraded,
    )


def _target(info: pb.PoolQueryTargetInfo) -> TargetInfo:
    state = pb.PoolQueryTargetInfo.TargetState.Name(info.state)
    return TargetInfo(
        state=state.removeprefix("STATE_").lower(),
        space=tuple(
            (pb.StorageMediaType.Name(each.media_type).lower(), each.total, each.free)
            for each in info.space
        ),
    )


def _canonical(props: Mapping[str, str]) -> dict[str, str]:
    """Properties by their names, values as the service keeps them. Raises: InvalidError"""
    rows = {name: core.PROPERTIES.find(name) for name in props}
    return {row.name: row.parse(props[name]) for name, row in rows.items()}

"""`daos pool`: list, query, containers, attributes.

Source: DAOS src/control/cmd/daos/pool.go; features §2.2.1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from daos.base.errors import DaosError
from daos.base.ranges import parse_ranges
from daos.cli import attributes, labels
from daos.cli.attached import with_client
from daos.cli.container_text import list_text as containers_text
from daos.cli.frame import Answer, Group, Options, command
from daos.cli.pool_text import (
    HEALTH_MASK,
    PoolInfo,
    Rebuild,
    TargetInfo,
    Tier,
    as_json,
    list_text,
    list_verbose_text,
    query_text,
    targets_json,
    targets_text,
)

if TYPE_CHECKING:
    from daos.client.client import Client
    from daos.client.pool import Pool
    from daos.client.values import PoolListing

LAYOUT_VERSION = 4
group = Group("pool", help="Query pools, and attributes of pools.")


@command(group, "list", "ls")
@click.option("-v", "--verbose", is_flag=True, help="Tell UUID, service and tiers.")
@click.option("-n", "--no-query", is_flag=True, help="Only names and states.")
@click.pass_obj
def list_(options: Options, verbose: bool, no_query: bool) -> Answer:
    """List the pools that you may connect to; all there are, with --no-query."""

    async def work(client: Client) -> Answer:
        infos = []
        for listing in await client.pools():
            if no_query or listing.state != "Ready":
                infos.append(_not_asked(listing))
                continue
            try:
                async with client.pool(listing.uuid, flags="r") as pool:
                    infos.append(await pool_info(pool))
            except DaosError:
                infos.append(_not_asked(listing))
        text = (
            list_verbose_text(infos)
            if verbose or options.get("verbose")
            else list_text(infos, queried=not no_query)
        )
        return Answer(text, {"status": 0, "pools": [as_json(info) for info in infos]})

    return with_client(options, work)


@command(group, "query")
@labels.pool
@click.option("-e", "--show-enabled", is_flag=True, help="Tell the ranks in service, too.")
@click.option("-t", "--health-only", is_flag=True, help="Ask no target for its space.")
@click.pass_obj
def query(options: Options, pool: str, show_enabled: bool, health_only: bool) -> Answer:
    """Tell state, health and space of POOL."""

    async def work(client: Client) -> Answer:
        async with client.pool(pool, flags="r") as opened:
            info = await pool_info(opened, enabled=show_enabled, health_only=health_only)
            return Answer(query_text(info), as_json(info))

    return with_client(options, work)


@command(group, "query-targets")
@labels.pool
@click.option("--rank", type=click.IntRange(0), required=True, help="The engine to ask for.")
@click.option("--target-idx", help="Some of its targets, like 0,2-3; all if not given.")
@click.pass_obj
def query_targets(options: Options, pool: str, rank: int, target_idx: str | None) -> Answer:
    """Tell state and space of targets of one engine."""
    targets = parse_ranges(target_idx or "", "--target-idx")

    async def work(client: Client) -> Answer:
        async with client.pool(pool, flags="r") as opened:
            found = await opened.query_targets(rank, targets)
        infos = [
            TargetInfo(
                state=each.state,
                space=tuple((tier.name.lower(), tier.total, tier.free) for tier in each.tiers),
            )
            for each in found
        ]
        return Answer(targets_text(infos), targets_json(infos))

    return with_client(options, work)


@command(group, "list-containers", "list-cont", "ls-cont")
@labels.pool
@click.option("-v", "--verbose", is_flag=True, help="Tell the layout, too.")
@click.pass_obj
def list_containers(options: Options, pool: str, verbose: bool) -> Answer:
    """List the containers of POOL."""
    return list_of_containers(options, pool, verbose=verbose)


def list_of_containers(options: Options, pool: str, *, verbose: bool) -> Answer:
    """What `pool list-containers` and `container list` say."""

    async def work(client: Client) -> Answer:
        async with client.pool(pool, flags="r") as opened:
            rows = []
            for uuid, label in await opened.containers():
                row = {"uuid": str(uuid), "label": label}
                if verbose:
                    async with opened.container(uuid, flags="r") as container:
                        row["layout"] = (await container.props.items())["layout_type"]
                rows.append(row)
            response = [{"uuid": row["uuid"], "label": row["label"]} for row in rows]
            return Answer(containers_text(pool, rows, verbose=verbose), response)

    return with_client(options, work)


@command(group, "autotest")
@labels.pool
@click.option("-S", "--skip-big", is_flag=True, help="Without values of 1 MB.")
@click.option(
    "-D",
    "--deadline-limit",
    type=click.FloatRange(0.1),
    default=10.0,
    metavar="SECONDS",
    help="For each step (10).",
)
@click.pass_obj
def autotest(options: Options, pool: str, skip_big: bool, deadline_limit: float) -> Answer:
    """Test whether POOL works: make a container, write, read back, destroy it."""
    from random import SystemRandom

    from daos.base.clock import SystemClock
    from daos.cli import autotest as steps

    label = f"autotest-{SystemRandom().getrandbits(48):012x}"

    async def work(client: Client) -> Answer:
        return await steps.run(
            client,
            pool,
            label=label,
            skip_big=skip_big,
            steps=steps.Steps(deadline_limit, SystemClock()),
        )

    return with_client(options, work, doing=f"Testing pool {pool!r}")


attributes.add_commands(
    group,
    attributes.Owner(
        what="pool",
        arguments=(labels.pool,),
        names=("pool",),
        open=lambda client, ids, flags: client.pool(ids[0], flags=flags),
    ),
)


async def pool_info(pool: Pool, *, enabled: bool = False, health_only: bool = False) -> PoolInfo:
    """What a connected pool tells, for text and JSON."""
    info = await pool.query()
    replicas = parse_ranges((await pool.props.items())["svc_list"], "svc_list")
    in_service = info.targets - info.targets_disabled
    tiers = (
        ()
        if health_only
        else tuple(
            Tier(
                media_type=tier.name.lower(),
                total=tier.total,
                free=tier.free,
                min=tier.free_min,
                max=tier.free_max,
                mean=tier.free // in_service if in_service else 0,
            )
            for tier in info.space.tiers
        )
    )
    masks = HEALTH_MASK if health_only else ("disabled_engines", "rebuild", "space")
    ranks = tuple(int(node.rank) for node in pool.pool_map.ranks())
    return PoolInfo(
        uuid=str(info.uuid),
        label=info.label,
        state="TargetsExcluded" if info.targets_disabled else "Ready",
        svc_ldr=pool.leader,
        svc_reps=replicas,
        total_targets=info.targets,
        active_targets=in_service,
        disabled_targets=info.targets_disabled,
        total_engines=info.ranks,
        version=info.map_version,
        pool_layout_ver=LAYOUT_VERSION,
        upgrade_layout_ver=LAYOUT_VERSION,
        tiers=tiers,
        rebuild=Rebuild(),
        enabled_ranks=ranks if enabled else None,
        disabled_ranks=(),
        query_mask=(*masks, "enabled_engines") if enabled else masks,
    )


def _not_asked(listing: PoolListing) -> PoolInfo:
    return PoolInfo(
        uuid=str(listing.uuid),
        label=listing.label,
        state=listing.state,
        svc_ldr=min(listing.service_ranks, default=0),
        svc_reps=listing.service_ranks,
        total_targets=0,
        active_targets=0,
        disabled_targets=0,
        total_engines=0,
        version=0,
        pool_layout_ver=LAYOUT_VERSION,
        upgrade_layout_ver=LAYOUT_VERSION,
        query_mask=(),
    )

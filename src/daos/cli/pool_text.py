"""What the tools tell of a pool: text and JSON of query, list, query-targets, create. Pure.

Source: DAOS src/control/cmd/dmg/pretty/pool.go, src/control/lib/daos/pool.go; features §2.1.1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from daos.base.ranges import format_bracketed, format_ranges
from daos.base.sizes import format_size
from daos.cli.text import entity, indented, table

DEFAULT_MASK: Final = ("disabled_engines", "rebuild", "space")
HEALTH_MASK: Final = ("dead_engines", "disabled_engines", "rebuild")
_TIER_NAMES: Final = {"scm": "SCM", "nvme": "NVME"}
# As `dmg pool create` writes them.
_CREATED_NAMES: Final = ("Storage tier 0 (SCM)", "Storage tier 1 (NVMe)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Space of one medium over all targets; bytes."""

    media_type: str  # "scm" or "nvme"
    total: int
    free: int
    min: int  # free, of one target
    max: int
    mean: int

    @property
    def name(self) -> str:
        return _TIER_NAMES[self.media_type]

    def imbalance(self, targets: int) -> int:
        """How far apart the targets are, in percent of a target's size."""
        each = self.total // targets if targets else 0
        return (self.max - self.min) * 100 // each if each else 0

    @property
    def used(self) -> int:
        """Percent, rounded down."""
        return 100 * (self.total - self.free) // self.total if self.total else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """State of a pool's rebuild; `status` is 0 or a DER number."""

    status: int = 0
    state: str = "idle"
    derived_state: str = "idle"
    objects: int = 0
    records: int = 0
    total_objects: int = 0
    degraded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolInfo:
    """What a query tells; `None` is what was not asked for."""

    uuid: str
    label: str
    state: str
    svc_ldr: int
    svc_reps: tuple[int, ...]
    total_targets: int
    active_targets: int
    disabled_targets: int
    total_engines: int
    version: int
    pool_layout_ver: int
    upgrade_layout_ver: int
    tiers: tuple[Tier, ...] = ()
    rebuild: Rebuild | None = None
    enabled_ranks: tuple[int, ...] | None = None
    disabled_ranks: tuple[int, ...] | None = None
    dead_ranks: tuple[int, ...] | None = None
    query_mask: tuple[str, ...] = DEFAULT_MASK
    self_heal_policy: str = ""
    sys_self_heal_policy: str | None = None  # only the administrator's tool is told

    @property
    def last_tier(self) -> Tier | None:
        """The last one that has any size: what lists show."""
        return next((tier for tier in reversed(self.tiers) if tier.total), None)


def as_json(info: PoolInfo) -> dict[str, object]:
    """The PoolInfo object of `pool list`, `pool query` and `health check`."""
    found: dict[str, object] = {
        "query_mask": ",".join(sorted(info.query_mask)),
        "state": info.state,
        "uuid": info.uuid,
        "label": info.label,
        "total_targets": info.total_targets,
        "active_targets": info.active_targets,
        "total_engines": info.total_engines,
        "disabled_targets": info.disabled_targets,
        "version": info.version,
        "svc_ldr": info.svc_ldr,
        "svc_reps": list(info.svc_reps),
        "rebuild": _rebuild_json(info.rebuild),
        "tier_stats": [_tier_json(tier) for tier in info.tiers] if info.tiers else None,
        "pool_layout_ver": info.pool_layout_ver,
        "upgrade_layout_ver": info.upgrade_layout_ver,
        "mem_file_bytes": 0,
        "md_on_ssd_active": False,
        "self_heal_policy": info.self_heal_policy,
    }
    for name in ("enabled_ranks", "disabled_ranks", "dead_ranks"):
        ranks: tuple[int, ...] | None = getattr(info, name)
        if ranks is not None:
            found[name] = list(ranks)
    if info.sys_self_heal_policy is not None:
        found["sys_self_heal_policy"] = info.sys_self_heal_policy
    found["usage"] = [
        {
            "tier_name": tier.name,
            "size": tier.total,
            "free": tier.free,
            "imbalance": tier.imbalance(info.active_targets),
        }
        for tier in info.tiers
    ]
    return found


def _tier_json(tier: Tier) -> dict[str, object]:
    return {
        "total": tier.total,
        "free": tier.free,
        "min": tier.min,
        "max": tier.max,
        "mean": tier.mean,
        "media_type": tier.media_type,
    }


def _rebuild_json(rebuild: Rebuild | None) -> dict[str, object] | None:
    if rebuild is None:
        return None
    return {
        "status": rebuild.status,
        "state": rebuild.state,
        "derived_state": rebuild.derived_state,
        "objects": rebuild.objects,
        "records": rebuild.records,
        "total_objects": rebuild.total_objects,
        "degraded": rebuild.degraded,
    }


def query_text(info: PoolInfo) -> str:
    """What `pool query` prints; its parts follow the mask of the query."""
    lines = [
        f"Pool {info.uuid}, ntarget={info.total_targets}, disabled={info.disabled_targets}, "
        f"leader={info.svc_ldr}, version={info.version}, state={info.state}"
    ]
    if info.pool_layout_ver != info.upgrade_layout_ver:
        lines.append(
            f"Pool layout out of date ({info.pool_layout_ver} < {info.upgrade_layout_ver}) -- see "
            "`dmg pool upgrade` for details."
        )
    lines.append("Pool health info:")
    for title, ranks in (
        ("Enabled", info.enabled_ranks),
        ("Disabled", info.disabled_ranks),
        ("Dead", info.dead_ranks),
    ):
        if ranks:
            lines.append(f"- {title} ranks: {format_bracketed(ranks)}")
    lines += _rebuild_lines(info.rebuild)
    if "space" in info.query_mask:
        lines.append("Pool space info:")
        lines.append(f"- Target count:{info.active_targets}")
        for number, tier in enumerate(info.tiers):
            lines.append(f"- Storage tier {number} ({tier.name}):")
            lines.append(f"  Total size: {format_size(tier.total)}")
            lines.append(
                f"  Free: {format_size(tier.free)}, min:{format_size(tier.min)}, "
                f"max:{format_size(tier.max)}, mean:{format_size(tier.mean)}"
            )
    lines += _policy_lines(info)
    return "\n".join(lines) + "\n"


def _rebuild_lines(rebuild: Rebuild | None) -> list[str]:
    if rebuild is None:
        return ["- No rebuild status available."]
    if rebuild.status == 0:
        first = f"- Rebuild {rebuild.state}, {rebuild.objects} objs, {rebuild.records} recs"
    else:
        first = (
            f"- Rebuild {rebuild.derived_state} (state={rebuild.state}, status={rebuild.status})"
        )
    return [first, f"- Data redundancy: {'degraded' if rebuild.degraded else 'normal'}"]


def _policy_lines(info: PoolInfo) -> list[str]:
    lines = []
    if info.sys_self_heal_policy is not None and "pool_rebuild" not in info.sys_self_heal_policy:
        lines.append("rebuild disabled on pool due to [system] policy")
    if info.self_heal_policy and "rebuild" not in info.self_heal_policy:
        lines.append("rebuild disabled on pool due to [pool] policy")
    return lines


def list_text(infos: Sequence[PoolInfo], *, queried: bool = True) -> str:
    """What `pool list` prints."""
    if not infos:
        return "No pools in system\n"
    if not queried:
        return table(
            ("Pool", "State"), [{"Pool": _name(info), "State": info.state} for info in infos]
        )
    titles = ["Pool", "Size", "State", "Used", "Imbalance", "Disabled"]
    if upgrades := _upgrades(infos):
        titles.append("UpgradeNeeded?")
    rows = []
    for info, upgrade in zip(infos, upgrades or [""] * len(infos), strict=True):
        row = {"Pool": _name(info), "State": info.state, "UpgradeNeeded?": upgrade}
        if (tier := info.last_tier) is not None:
            row["Size"] = format_size(tier.total)
            row["Used"] = f"{tier.used}%"
            row["Imbalance"] = f"{tier.imbalance(info.active_targets)}%"
            row["Disabled"] = f"{info.disabled_targets}/{info.total_targets}"
        rows.append(row)
    return table(titles, rows)


def list_verbose_text(infos: Sequence[PoolInfo]) -> str:
    """What `pool list --verbose` prints."""
    if not infos:
        return "No pools in system\n"
    tiers = [name for name in _TIER_NAMES.values() if any(_tier(info, name) for info in infos)]
    titles = ["Label", "UUID", "State", "SvcReps"]
    for name in tiers:
        titles += [f"{name} Size", f"{name} Used", f"{name} Imbalance"]
    titles += ["Disabled", "UpgradeNeeded?", "Rebuild State"]
    upgrades = _upgrades(infos) or [MISSING_UPGRADE] * len(infos)
    rows = []
    for info, upgrade in zip(infos, upgrades, strict=True):
        row = {
            "Label": info.label or "-",
            "UUID": info.uuid,
            "State": info.state,
            "SvcReps": format_bracketed(info.svc_reps) or "N/A",
            "Disabled": f"{info.disabled_targets}/{info.total_targets}",
            "UpgradeNeeded?": upgrade,
            "Rebuild State": info.rebuild.derived_state if info.rebuild else "None",
        }
        for name in tiers:
            if (tier := _tier(info, name)) is not None:
                row[f"{name} Size"] = format_size(tier.total)
                row[f"{name} Used"] = format_size(tier.total - tier.free)
                row[f"{name} Imbalance"] = f"{tier.imbalance(info.active_targets)}%"
        rows.append(row)
    return table(titles, rows)


MISSING_UPGRADE: Final = "None"


def _upgrades(infos: Sequence[PoolInfo]) -> list[str]:
    """A column, where one pool needs it."""
    if all(info.pool_layout_ver == info.upgrade_layout_ver for info in infos):
        return []
    return [
        MISSING_UPGRADE
        if info.pool_layout_ver == info.upgrade_layout_ver
        else f"{info.pool_layout_ver}->{info.upgrade_layout_ver}"
        for info in infos
    ]


def _tier(info: PoolInfo, name: str) -> Tier | None:
    return next((tier for tier in info.tiers if tier.name == name), None)


def _name(info: PoolInfo) -> str:
    """The label, or the UUID's first part where there is none."""
    return info.label or info.uuid.split("-")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetInfo:
    """One target of a pool."""

    state: str  # "up_in" …
    space: tuple[tuple[str, int, int], ...] = field(default=())  # (media type, total, free)


def targets_text(infos: Sequence[TargetInfo]) -> str:
    """What `pool query-targets` prints."""
    lines = []
    for info in infos:
        lines.append(f"Target: state {info.state}")
        for number, (media, total, free) in enumerate(info.space):
            lines.append(f"- Storage tier {number} ({_TIER_NAMES[media]}):")
            lines.append(f"  Total size: {format_size(total)}")
            lines.append(f"  Free: {format_size(free)}")
    return "\n".join(lines) + "\n" if lines else ""


def targets_json(infos: Sequence[TargetInfo]) -> list[dict[str, object]]:
    """The array of target states."""
    return [
        {
            "target_state": info.state,
            "space": [
                {"total": total, "free": free, "media_type": media}
                for media, total, free in info.space
            ],
            "mem_file_bytes": 0,
            "md_on_ssd_active": False,
        }
        for info in infos
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """The answer to `pool create`; `tier_bytes` of one rank."""

    uuid: str
    svc_ldr: int
    svc_reps: tuple[int, ...]
    tgt_ranks: tuple[int, ...]
    tier_bytes: tuple[int, ...]


def created_text(created: Created) -> str:
    """What `pool create` prints when the pool is there."""
    ranks = len(created.tgt_ranks)
    total = sum(created.tier_bytes)
    shares = [100 * each / total if total else 0.0 for each in created.tier_bytes]
    title = f"Pool created with {','.join(f'{share:.2f}%' for share in shares)} storage tier ratio"
    rows = [
        ("UUID", created.uuid),
        ("Service Leader", str(created.svc_ldr)),
        ("Service Ranks", format_bracketed(created.svc_reps)),
        ("Storage Ranks", format_bracketed(created.tgt_ranks)),
        ("Total Size", format_size(total * ranks)),
    ]
    rows += [
        (name, f"{format_size(each * ranks)} ({format_size(each)} / rank)")
        for name, each in zip(_CREATED_NAMES, created.tier_bytes, strict=False)
    ]
    return entity(title, rows)


def created_json(created: Created) -> dict[str, object]:
    """The response of `pool create`."""
    return {
        "uuid": created.uuid,
        "svc_ldr": created.svc_ldr,
        "svc_reps": list(created.svc_reps),
        "tgt_ranks": list(created.tgt_ranks),
        "tier_bytes": list(created.tier_bytes),
        "mem_file_bytes": 0,
        "md_on_ssd_active": False,
    }


def rank_results_text(rows: Sequence[tuple[str, tuple[int, ...], str]]) -> str:
    """(pool, ranks, message or empty) of exclude, drain and reintegrate."""
    if not rows:
        return "No pool ranks processed\n"
    return table(
        ("Pool", "Ranks", "Result", "Reason"),
        [
            {
                "Pool": pool,
                "Ranks": format_ranges(ranks),
                "Result": "FAIL" if reason else "OK",
                "Reason": reason or "-",
            }
            for pool, ranks, reason in rows
        ],
    )


def properties_text(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Name and value of properties, as `get-prop` prints them."""
    values = [{"Name": name, "Value": value} for name, value in rows]
    return f"{title}\n" + indented(table(("Name", "Value"), values), "")

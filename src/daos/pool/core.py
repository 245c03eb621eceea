"""Pool properties and access modes; pure.

Source: features "Pool properties" (DAOS src/include/daos_prop.h, pool_property.go).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from daos.base.errors import AccessError, BusyError, InvalidError, NotFoundError
from daos.base.ids import U32_MAX, Rank
from daos.base.names import check_label
from daos.base.props import Property, Settable, Table, fixed, integer, one_of
from daos.base.ranges import format_ranges
from daos.base.sizes import format_percent, parse_percent, parse_size
from daos.placement.pool_map import ComponentState
from daos.pool import wire

if TYPE_CHECKING:
    from daos.placement.pool_map import PoolMap, Target

Tiers = tuple[wire.TierSpace, ...]

FLAGS: Final = ("r", "rw", "ex")  # read-only, read-write, exclusive (and read-write)

# Source: DAOS MAXHOSTNAMELEN of a pool handle's record, longer: POSIX _POSIX_HOST_NAME_MAX
MACHINE_SIZE_MAX: Final = 255
_KIB: Final = 1 << 10
_MIB: Final = 1 << 20


def check_flags(flags: str) -> str:
    """`flags` as it stands. Raises: InvalidError."""
    if flags not in FLAGS:
        raise InvalidError(f'flags must be "r", "rw" or "ex", not {flags!r}')
    return flags


def check_share(flags: str, others: list[str], what: str) -> None:
    """Refuse a handle that excludes, or is excluded by, those already there.

    Raises: BusyError
    """
    if flags == "ex" and others:
        raise BusyError(f"{what} has {len(others)} other handles; exclusive access needs none")
    if "ex" in others:
        raise BusyError(f"{what} is held exclusively")


def check_writable(flags: str, *, write: bool) -> None:
    """Raises: AccessError for a change through a read-only handle."""
    if write and flags == "r":
        raise AccessError("the handle is read-only")


def chosen_targets(pool_map: PoolMap, rank: Rank, indices: Collection[int]) -> list[Target]:
    """Targets of a rank, in their order; all if none is named. Raises: NotFoundError"""
    node = next((each for each in pool_map.ranks() if each.rank == rank), None)
    if node is None:
        there = format_ranges(each.rank for each in pool_map.ranks())
        raise NotFoundError(f"the pool has no rank {rank}; it has {there}")
    count, wanted = len(node.targets), frozenset(indices)
    if wrong := sorted(index for index in wanted if not 0 <= index < count):
        raise NotFoundError(f"rank {rank} has targets 0 to {count - 1}, but no {wrong[0]}")
    return [each for each in node.targets if not wanted or each.index in wanted]


def excluded(pool_map: PoolMap) -> list[int]:
    """The targets that nobody asks, by their place among all."""
    gone = (ComponentState.DOWN, ComponentState.DOWNOUT)
    return [number for number, target in enumerate(pool_map.targets) if target.state in gone]


def add_space(tiers: Tiers, target: wire.TargetQueryReply) -> Tiers:
    """The space of one target more."""
    if not tiers:
        return tuple(wire.TierSpace(total, free, free, free) for total, free in target.tiers)
    return tuple(
        wire.TierSpace(
            tier.total + total,
            tier.free + free,
            min(tier.free_min, free),
            max(tier.free_max, free),
        )
        for tier, (total, free) in zip(tiers, target.tiers, strict=True)
    )


def check_machine(name: str) -> None:
    """The name of a client's host. Raises: InvalidError"""
    if len(name) > MACHINE_SIZE_MAX:
        raise InvalidError(
            f"the name of a machine has {len(name)} characters; at most {MACHINE_SIZE_MAX}"
        )


def parse_ec_cell(text: str) -> str:
    """An erasure-coding cell: 4 KiB to 1 MiB, a multiple of 32 bytes. Canonical: bytes."""
    size = parse_size(text, binary=True)
    if not 4 * _KIB <= size <= _MIB or size % 32:
        raise InvalidError(f"ec_cell_sz must be 4 KiB to 1 MiB, a multiple of 32; got {text!r}")
    return str(size)


def _parse_data_thresh(text: str) -> str:
    size = parse_size(text, binary=True)
    if size > U32_MAX:
        raise InvalidError(f"data_thresh must be below 4 GiB; got {text!r}")
    return str(size)


def _parse_space_rb(text: str) -> str:
    return format_percent(parse_percent(text))


def _parse_self_heal(text: str) -> str:
    words = text.lower().split(";")
    allowed = {"none", "exclude", "rebuild", "delay_rebuild"}
    clash = len(words) > 1 and ("none" in words or {"rebuild", "delay_rebuild"} <= set(words))
    if not set(words) <= allowed or len(set(words)) != len(words) or clash:
        raise InvalidError(
            "self_heal must be none, exclude, rebuild, delay_rebuild, exclude;rebuild "
            f"or exclude;delay_rebuild; got {text!r}"
        )
    return ";".join(sorted(words))


def _number(name: str, description: str, default: str, lo: int, hi: int) -> Property:
    return Property(
        name=name,
        description=description,
        default=default,
        parse=integer(name, lo=lo, hi=hi),
        built=False,
    )


def _creation(name: str, description: str, default: str, lo: int, hi: int) -> Property:
    return replace(_number(name, description, default, lo, hi), settable=Settable.CREATION)


def _choice(name: str, description: str, default: str, *choices: str) -> Property:
    return Property(
        name=name,
        description=description,
        default=default,
        parse=one_of(name, *choices),
        built=False,
    )


PROPERTIES: Final = Table(
    "pool",
    (
        Property(
            name="label",
            description="Pool label",
            default="",
            parse=lambda text: check_label(text, "pool"),
            settable=Settable.CREATION,
        ),
        Property(
            name="space_rb",
            description="Rebuild space ratio",
            default="5%",
            parse=_parse_space_rb,
            built=False,
        ),
        Property(
            name="self_heal",
            description="Self-healing policy",
            default="exclude;rebuild",
            parse=_parse_self_heal,
            built=False,
        ),
        replace(
            _choice("reclaim", "Reclaim strategy", "lazy", "disabled", "lazy", "time"), built=True
        ),
        fixed("owner", "Owner", ""),
        fixed("owner_group", "Owner group", ""),
        fixed("svc_list", "Pool service replica list", "[0]"),
        Property(
            name="ec_cell_sz",
            description="EC cell size",
            default="131072",
            parse=parse_ec_cell,
            built=False,
        ),
        Property(
            name="data_thresh",
            description="Data bdev threshold size",
            default="4096",
            parse=_parse_data_thresh,
            built=False,
            settable=Settable.CREATION,
        ),
        # On one host there is one fault domain: the default 3 is lowered to 0.
        Property(
            name="rd_fac",
            description="Pool redundancy factor",
            default="0",
            parse=integer("rd_fac", lo=0, hi=4),
            built=False,
            settable=Settable.CREATION,
            aliases=("rf",),
        ),
        _creation("ec_pda", "Performance domain affinity level of EC", "1", 1, U32_MAX),
        _creation("rp_pda", "Performance domain affinity level of RP", str(U32_MAX), 1, U32_MAX),
        fixed("global_version", "Global Version", "4"),
        fixed("upgrade_status", "Upgrade Status", "not started"),
        _choice("scrub", "Checksum scrubbing mode", "off", "off", "lazy", "timed"),
        _number("scrub_freq", "Checksum scrubbing frequency", "604800", 1, U32_MAX),
        _number("scrub_thresh", "Checksum scrubbing threshold", "0", 0, U32_MAX),
        _creation("svc_rf", "Pool service redundancy factor", "0", 0, 4),
        Property(
            name="perf_domain",
            description="Pool performance domain",
            default="root",
            parse=one_of("perf_domain", "root", "group"),
            built=False,
            settable=Settable.CREATION,
        ),
        _choice("checkpoint", "WAL checkpointing behavior", "timed", "disabled", "timed", "lazy"),
        _number("checkpoint_freq", "WAL checkpointing frequency, in seconds", "5", 1, 1 << 20),
        _number("checkpoint_thresh", "WAL checkpoint threshold, in percentage", "50", 10, 75),
        _choice(
            "reintegration",
            "Reintegration mode",
            "data_sync",
            "data_sync",
            "no_data_sync",
            "incremental",
        ),
        _number("svc_ops_enabled", "Metadata duplicate operations detection enabled", "1", 0, 1),
        _number(
            "svc_ops_entry_age",
            "Metadata duplicate operations KVS max entry age, in seconds",
            "300",
            60,
            600,
        ),
    ),
)

"""Decisions of the management service; pure.

Source: DAOS src/control/server/mgmt_pool.go, mgmt_system.go; features "dmg system"
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from daos.base.errors import InvalidError, NotFoundError
from daos.base.ids import U32_MAX
from daos.base.props import Property, Table, fixed, integer, one_of
from daos.base.sizes import format_size, format_size_binary
from daos.control import faults

# DAOS_PROP_PO_LABEL
LABEL_PROPERTY: Final = 1
SERVICE_REPLICAS_MAX: Final = 9
SCM_BYTES_MIN: Final = 16 << 20  # of a target
ATTRIBUTES_MAX: Final = 1024
ATTRIBUTE_SIZE_MAX: Final = 4096
_RESERVED: Final = ("prop.", "mgmt.")
_SELF_HEAL: Final = "exclude;pool_exclude;pool_rebuild"


def choose_ranks(asked: Collection[int], count: int, available: Collection[int]) -> tuple[int, ...]:
    """Where a new pool goes: the ranks asked for, or so many, or all.

    Raises: FaultError
    """
    if asked:
        if missing := sorted(set(asked) - set(available)):
            raise faults.pool_invalid_ranks(missing)
        return tuple(sorted(set(asked)))
    if count > len(available):
        raise faults.pool_invalid_rank_count(count, len(available))
    ranks = sorted(available)
    return tuple(ranks[:count] if count else ranks)


def check_service_replicas(count: int, ranks: int) -> None:
    """Raises: FaultError  more than there are ranks; 0 leaves the number to the system"""
    most = min(ranks, SERVICE_REPLICAS_MAX)
    if count > most:
        raise faults.pool_invalid_service_replicas(most)


def tier_bytes(total: int, given: Sequence[int], *, ranks: int, targets: int) -> tuple[int, int]:
    """Bytes of each rank in the first tier and in the second: everything is in the first one.

    Raises: FaultError  too small for so many targets; InvalidError
    """
    if given and (len(given) != 2 or given[1]):
        raise InvalidError("engines have one tier of storage: give --scm-size, and no --nvme-size")
    first = given[0] if given else total // ranks
    if first < SCM_BYTES_MIN * targets:
        raise faults.pool_scm_too_small(
            format_size_binary(SCM_BYTES_MIN), format_size(SCM_BYTES_MIN * targets * ranks)
        )
    return first, 0


def changed_attributes(before: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a system after a change; an empty value removes one.

    Raises: InvalidError
    """
    after = dict(before)
    for name, value in given.items():
        if not name or name.startswith(_RESERVED):
            raise InvalidError(f"system attributes can't be called {name[:64]!r}")
        if len(name) > ATTRIBUTE_SIZE_MAX or len(value) > ATTRIBUTE_SIZE_MAX:
            raise InvalidError(f"an attribute has at most {ATTRIBUTE_SIZE_MAX} characters")
        if value:
            after[name] = value
        else:
            after.pop(name, None)
    if len(after) > ATTRIBUTES_MAX:
        raise InvalidError(f"a system has at most {ATTRIBUTES_MAX} attributes")
    return after


def chosen(values: Mapping[str, str], keys: Iterable[str], what: str) -> dict[str, str]:
    """Those that were asked for; all where none are named. Raises: NotFoundError"""
    wanted = list(keys) or list(values)
    if missing := [key for key in wanted if key not in values]:
        raise NotFoundError(f"no system {what} {missing[0][:64]!r}")
    return {key: values[key] for key in wanted}


def _self_heal(text: str) -> str:
    flags = _SELF_HEAL.split(";")
    given = text.lower().split(";")
    if given != ["none"] and (not set(given) <= set(flags) or len(set(given)) != len(given)):
        raise InvalidError(f"self_heal must be none, or some of {_SELF_HEAL}; got {text[:64]!r}")
    return ";".join(flag for flag in flags if flag in given) or "none"


PROPERTIES: Final = Table(
    "system",
    (
        fixed("daos_version", "DAOS version", ""),
        fixed("daos_system", "DAOS system name", ""),
        Property(
            name="pool_scrub_mode",
            description="Pool scrubbing mode",
            default="off",
            parse=one_of("pool_scrub_mode", "off", "lazy", "timed"),
            built=False,
        ),
        Property(
            name="pool_scrub_thresh",
            description="Pool scrubbing threshold",
            default="0",
            parse=integer("pool_scrub_thresh", lo=0, hi=U32_MAX),
            built=False,
        ),
        Property(
            name="self_heal",
            description="Self-healing policy",
            default=_SELF_HEAL,
            parse=_self_heal,
            built=False,
        ),
    ),
)

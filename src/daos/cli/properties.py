"""Properties as `get-prop` tells them: text and JSON. Pure.

Source: DAOS src/control/cmd/daos/property.go, src/control/lib/daos/property.go; features §3
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from daos.base.sizes import format_size_binary
from daos.cli.frame import Answer
from daos.cli.text import table

if TYPE_CHECKING:
    from daos.base.props import Property

# Whose values are numbers in JSON; the others are texts.
NUMBERS = frozenset(
    {
        *("alloc_oid", "ec_cell_sz", "layout_version", "max_snapshot", "cksum_size"),
        *("dedup_threshold", "space_rb", "data_thresh", "ec_pda", "rp_pda", "global_version"),
        *("scrub_freq", "scrub_thresh", "svc_rf", "rd_fac", "checkpoint_freq"),
        *("checkpoint_thresh", "svc_ops_enabled", "svc_ops_entry_age"),
    }
)
# Whose values are bytes.
_SIZES = frozenset({"cksum_size", "dedup_threshold", "ec_cell_sz", "data_thresh"})
# Of containers these are texts all the same.
_TEXTS_OF_CONTAINERS = frozenset({"ec_pda", "rp_pda", "global_version", "rd_fac"})


def properties_answer(
    title: str, rows: Sequence[tuple[Property, str]], *, of_pool: bool = False
) -> Answer:
    """What `get-prop` says of properties and their values."""
    cells = [
        {"Name": f"{each.description} ({each.name})", "Value": _shown(each.name, value)}
        for each, value in rows
    ]
    response = [
        {
            "name": each.name,
            "description": each.description,
            "value": _json_value(each.name, value, of_pool=of_pool),
        }
        for each, value in rows
    ]
    return Answer(f"{title}\n{table(('Name', 'Value'), cells)}", response)


def _shown(name: str, value: str) -> str:
    """A value as people read it."""
    if name in _SIZES and value.isdecimal():
        return format_size_binary(int(value))
    return value


def _json_value(name: str, value: str, *, of_pool: bool) -> object:
    if name == "svc_list":
        return [int(part) for part in value.strip("[]").split(",") if part]
    if name not in NUMBERS or (name in _TEXTS_OF_CONTAINERS and not of_pool):
        return value
    digits = value.removesuffix("%")
    return int(digits) if digits.isdecimal() else value

"""Pool properties as they travel between administrators, servers and engines; pure.

A property is its number and one value: a number where its text is one, its text otherwise. Both are
taken where either would do.

Source: DAOS src/include/daos_prop.h (numbers); enumerations travel by their names: ours
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from daos.base.errors import InvalidError
from daos.proto.mgmt_pb2 import PoolProperty

NUMBERS: Final = {
    "label": 1,
    "space_rb": 3,
    "self_heal": 4,
    "reclaim": 5,
    "owner": 6,
    "owner_group": 7,
    "svc_list": 8,
    "ec_cell_sz": 9,
    "data_thresh": 10,
    "rd_fac": 11,
    "ec_pda": 12,
    "rp_pda": 13,
    "global_version": 14,
    "upgrade_status": 15,
    "scrub": 16,
    "scrub_freq": 17,
    "scrub_thresh": 18,
    "svc_rf": 19,
    "perf_domain": 21,
    "checkpoint": 22,
    "checkpoint_freq": 23,
    "checkpoint_thresh": 24,
    "reintegration": 25,
    "svc_ops_enabled": 26,
    "svc_ops_entry_age": 27,
}
_NAMES: Final = {number: name for name, number in NUMBERS.items()}


def name_of(number: int) -> str:
    """Raises: InvalidError  no property has this number"""
    try:
        return _NAMES[number]
    except KeyError:
        raise InvalidError(f"no pool property has the number {number}") from None


def read(given: Iterable[PoolProperty]) -> dict[str, str]:
    """Names and texts. Raises: InvalidError  an unknown number, one without value, or twice"""
    props: dict[str, str] = {}
    for each in given:
        name = name_of(each.number)
        kind = each.WhichOneof("value")
        if name in props:
            raise InvalidError(f"pool property {name!r} is given twice")
        if kind == "strval":
            props[name] = each.strval
        elif kind == "numval":
            props[name] = str(each.numval)
        else:
            raise InvalidError(f"pool property {name!r} has no value; text or number expected")
    return props


def write(props: Mapping[str, str]) -> list[PoolProperty]:
    """As `read` takes them, in the order of their numbers."""
    told = []
    for name in sorted(props, key=NUMBERS.__getitem__):
        text, number = props[name], NUMBERS[name]
        if text.isascii() and text.isdigit():
            told.append(PoolProperty(number=number, numval=int(text)))
        else:
            told.append(PoolProperty(number=number, strval=text))
    return told

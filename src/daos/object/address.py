"""Whom a request speaks of: the unit of a shard, and the epoch that a reader sees.

Source: DAOS src/object/srv_obj.c obj_ioc_begin, which checks the same fields
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from daos.base.errors import InvalidError
from daos.base.ids import EPOCH_MAX, Epoch, ObjectId, ShardIndex, UnitOid
from daos.object import core

if TYPE_CHECKING:
    from daos.base.hlc import Hlc
    from daos.object import wire


@lru_cache(maxsize=1024)
def storable(hi: int, lo: int, shard: int) -> UnitOid:
    """Raises: NotSupportedError, InvalidError, which are found again each time."""
    unit = _unit(hi, lo, shard)
    core.check_supported(unit.oid)
    return unit


def unit_of(address: wire.ShardAddress) -> UnitOid:
    """The object's part on this shard. Raises: InvalidError."""
    return _unit(address.oid_hi, address.oid_lo, address.shard)


@lru_cache(maxsize=1024)
def _unit(hi: int, lo: int, shard: int) -> UnitOid:
    oid = ObjectId(hi, lo)
    if not 0 <= shard < 1 << 32:
        raise InvalidError(f"shard {shard} is not a u32")
    return UnitOid(oid, ShardIndex(shard))


def read_epoch(address: wire.ShardAddress, hlc: Hlc) -> Epoch:
    """The epoch asked for, or the target's now: what follows is written later.

    Raises: InvalidError
    """
    if not 0 <= address.epoch <= EPOCH_MAX:
        raise InvalidError(f"epoch {address.epoch} is not a u64")
    return Epoch(address.epoch) if address.epoch else hlc.now()


def check_new_epoch(address: wire.ShardAddress) -> None:
    """Raises: InvalidError."""
    if address.epoch:
        raise InvalidError("the target chooses the epoch of an update; the request must say 0")

"""What aggregation and garbage collection have done, in numbers.

Source: features "pool/<uuid>/vos_aggregation", DAOS src/include/daos_srv/vos_types.h vos_gc_stat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from daos.vos import keys


@dataclass(slots=True)
class AggregationStatistics:
    """Of one pass over a container, or of many."""

    obj_scanned: int = 0
    obj_skipped: int = 0
    obj_deleted: int = 0
    dkey_scanned: int = 0
    dkey_skipped: int = 0
    dkey_deleted: int = 0
    akey_scanned: int = 0
    akey_deleted: int = 0
    deleted_sv: int = 0
    deleted_ev: int = 0
    merged_recs: int = 0  # extents that went into merged ones
    merged_size: int = 0  # bytes of data that were copied for it
    trimmed_recs: int = 0  # extents that lost what was hidden of them, without a copy
    csum_errors: int = 0  # windows left as they were: a checksum did not fit
    no_space: int = 0  # windows left as they were: no room for the merged extent
    damaged: int = 0  # records of the tree that could not be read
    uncommitted: int = 0  # logs left alone: an entry was not decided

    def add(self, other: AggregationStatistics) -> None:
        """Sum up."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(slots=True)
class GcStatistics:
    """What was freed because nothing reached it any more."""

    conts: int = 0
    objs: int = 0
    dkeys: int = 0
    akeys: int = 0
    singvs: int = 0
    recxs: int = 0

    def count(self, kind: int) -> None:
        """A node of this kind is gone."""
        name = _NODES[kind]
        setattr(self, name, getattr(self, name) + 1)

    def add(self, other: GcStatistics) -> None:
        """Sum up."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_NODES: Final = {
    keys.CONTAINER: "conts",
    keys.OBJECT: "objs",
    keys.DKEY: "dkeys",
    keys.AKEY: "akeys",
}

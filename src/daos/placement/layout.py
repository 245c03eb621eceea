"""The layout of an object: which target holds which shard, and which shard holds a dkey.

    dkey --hash--> u64 --jump hash--> group --rotation--> leader shard

A layout is a value computed by `jump.py` from an object id and one pool map version. Shards are
numbered through: shard = group * group_size + position in the group.

Source: DAOS src/object/cli_obj.c obj_dkey2grpidx, obj_grp_leader_get;
src/include/daos/object.h obj_dkey2hash
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from xxhash import xxh3_128_digest

from daos.base.errors import DER, DaosError, InvalidError
from daos.base.ids import (
    INTEGER_KEY_SIZE,
    GroupIndex,
    KeyKind,
    MapVersion,
    Rank,
    ShardIndex,
    TargetIndex,
)
from daos.placement.hashing import jump_consistent, murmur64a
from daos.placement.pool_map import ComponentState

if TYPE_CHECKING:
    from collections.abc import Iterator

DKEY_SEED: Final = 5731
LONG_KEY_SIZE: Final = 256

_SERVING: Final = frozenset({ComponentState.UPIN, ComponentState.DRAIN})


class Shard(NamedTuple):
    """One shard of an object and the target it lives on.

    `target` is the target's index on `rank`, `target_id` its number in the pool, `fseq` the map
    version of the target's last failure (1: never).
    """

    shard: ShardIndex
    rank: Rank
    target: TargetIndex
    state: ComponentState
    target_id: int
    fseq: MapVersion

    @property
    def serving(self) -> bool:
        """Whether the target answers reads and writes: in service, or being drained."""
        return self.state in _SERVING


@dataclass(frozen=True, slots=True)
class Layout:
    """All shards of an object, by redundancy group, as of pool map version `version`."""

    version: MapVersion
    groups: tuple[tuple[Shard, ...], ...]

    def shards(self) -> Iterator[Shard]:
        """Every shard, in order of shard number."""
        for group in self.groups:
            yield from group

    def leader(self, group: GroupIndex, key_hash: int) -> Shard:
        """The shard that modifications of a dkey of `group` go to.

        Of the shards in service the one whose target failed longest ago; among equals the first
        from a start that rotates with the hash, so that load spreads over replicas.

        Raises:     DaosError(IO)   no target of the group is in service
        Source:     DAOS src/object/cli_obj.c obj_replica_leader_select. Ours: groups of erasure
                    codes have the same rule until parity leads them.
        """
        members = self.groups[group]
        start = (key_hash + group) % len(members)
        serving = [shard for shard in members[start:] + members[:start] if shard.state in _SERVING]
        if not serving:
            states = ", ".join(
                f"rank {shard.rank} target {shard.target} {shard.state.name}" for shard in members
            )
            raise DaosError(f"no shard of group {group} is in service: {states}", code=DER.IO)
        return min(serving, key=_failure)


def _failure(shard: Shard) -> int:
    return shard.fseq


def dkey_hash(dkey: bytes, kind: KeyKind = KeyKind.HASHED) -> int:
    """The u64 that decides the group of `dkey`: an integer key's value, else MurmurHash64A.

    A key over LONG_KEY_SIZE bytes is first cut to its XXH3-128: MurmurHash64A in Python takes
    0.17 s for 1 MiB, and an event loop may stand still for a few milliseconds.

    Raises:     InvalidError   an integer key is not 8 bytes
    Cost:       2 us for 20 bytes, at most 20 us
    Source:     DAOS src/include/daos/object.h obj_dkey2hash; long keys: ours
    """
    if kind is KeyKind.UINT64:
        if len(dkey) != INTEGER_KEY_SIZE:
            raise InvalidError(f"integer dkey must be {INTEGER_KEY_SIZE} bytes, got {len(dkey)}")
        return int.from_bytes(dkey, "little")
    if len(dkey) > LONG_KEY_SIZE:
        dkey = xxh3_128_digest(dkey)
    return murmur64a(dkey, DKEY_SEED)


def group_of(key_hash: int, groups: int) -> GroupIndex:
    """The group of a dkey with this hash, of `groups` >= 1."""
    return GroupIndex(jump_consistent(key_hash, groups))

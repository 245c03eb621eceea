"""The jump map: an object's shards onto targets, by hash alone.

A pure function of (object id, pool map, version, fault domain level): any node computes any layout
of any time without asking. For each shard, in order of shard number k:

    walk from the root: at each level the child number is
        jump_consistent(mix(key, k, draw), children)      draw = 0, 1, 2, ... until one will do
    and the key of the next level is mix(key, child id, 0); the first key is
        mix(oid.lo, oid.hi, 0xbabeface)
    in the fault domain reached: jump over all its targets, then the next one that is free

A fault domain "will do" while it is a candidate:

    1. not in this group, not full, not used in this round          if there is none:
    2. a new round begins: not in this group, not full              if there is none:
    3. not in this group; its targets begin a second life

Invariants, for a class that fits the pool (`check_fits`):
 1. shards of one group stand in distinct fault domains, always.
 2. with one shard per group, or domains of equal size, shards stand on distinct targets; else a
    target is used twice only where invariant 1 leaves no other, and evenly within its domain.
 3. a round visits every domain that is not full once before any a second time.
 4. the state of a target changes nothing but `Shard.state`, except that one being added takes no
    part: components are appended, so those that came later only lengthen lists, and the jump hash
    moves a draw to a new component or not at all.

Draws are bounded: after `4 * children + 16` misses the next candidate to the right is taken.

Not here yet: spares for failed targets. A shard whose target is DOWN stays there, and says so.

Source: DAOS src/placement/jump_map.c get_object_layout, jump_map_versions.c get_target, with the
hash of layout version 2. Ours: candidates as bit masks; the order of the fall-backs written above;
layouts are not those of the reference, bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from daos.base.errors import InvalidError
from daos.base.ids import ShardIndex
from daos.placement.hashing import jump_consistent, mix, mix_rest, mix_start
from daos.placement.layout import Layout, Shard
from daos.placement.oclass import ObjectClass
from daos.placement.oid import Topology, check_fits
from daos.placement.pool_map import HostNode, Level, has_joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daos.base.ids import MapVersion, ObjectId
    from daos.placement.pool_map import PoolMap, RankNode, Target

_KEY_SALT: Final = 0xBABEFACE


class _Branch:
    """A component above the targets. `mask` has a bit for each fault domain at or below it."""

    __slots__ = ("children", "domain", "id", "mask")

    def __init__(self, id: int, children: Sequence[_Branch], domain: _Domain | None) -> None:
        self.id = id
        self.children = children
        self.domain = domain
        self.mask = 0 if domain is None else domain.bit
        for child in children:
            self.mask |= child.mask


class _Domain:
    """A fault domain: its targets in order of id, `free` with a bit for each that takes part."""

    __slots__ = ("bit", "free", "index", "targets")

    def __init__(self, index: int, targets: Sequence[Target], joined: Sequence[bool]) -> None:
        self.index = index
        last = max((position for position, is_in in enumerate(joined) if is_in), default=-1)
        self.targets = tuple(targets[: last + 1])
        self.free = sum(1 << position for position, is_in in enumerate(joined) if is_in)
        self.bit = 1 << index if self.free else 0


class JumpMap:
    """Placement over one version of a pool map, prepared once and used for many objects.

    Raises:     InvalidError   `version` is newer than the map
    """

    def __init__(
        self,
        pool_map: PoolMap,
        *,
        level: Level = Level.NODE,
        version: MapVersion | None = None,
    ) -> None:
        self.version = pool_map.version if version is None else version
        if not 1 <= self.version <= pool_map.version:
            raise InvalidError(
                f"no layout of version {self.version}: the pool map is of {pool_map.version}"
            )
        self._domains: list[_Domain] = []
        branches = [self._branch(node, level) for node in pool_map.nodes]
        self._root = _Branch(0, _trimmed(branches), None)
        self.topology = Topology(
            sum(1 for domain in self._domains if domain.bit),
            sum(domain.free.bit_count() for domain in self._domains),
        )

    def _branch(self, component: HostNode | RankNode, level: Level) -> _Branch:
        if isinstance(component, HostNode) and level is Level.RANK:
            ranks = [self._branch(rank, level) for rank in component.ranks]
            return _Branch(component.id, _trimmed(ranks), None)
        ranks_within = component.ranks if isinstance(component, HostNode) else (component,)
        targets = sorted(
            (target for rank in ranks_within for target in rank.targets), key=_target_id
        )
        joined = [has_joined(target, self.version) for target in targets]
        domain = _Domain(len(self._domains), targets, joined)
        self._domains.append(domain)
        return _Branch(component.id, (), domain)

    def place(self, oid: ObjectId) -> Layout:
        """The layout of `oid`.

        Raises:     InvalidError   the id names no class, or one that does not fit this map
        Cost:       O(shards * draws); 60 us for SX over 8 targets of a rank
        """
        oclass = ObjectClass.of(oid)
        check_fits(oclass, self.topology)
        return _Placement(self._root, self._domains, oid).run(oclass, self.version)


class _Placement:
    """The bookkeeping of one `place`: masks over fault domains, and of targets in each."""

    __slots__ = ("_all", "_domains", "_free", "_full", "_keys", "_root", "_used")

    def __init__(self, root: _Branch, domains: Sequence[_Domain], oid: ObjectId) -> None:
        self._root = root
        self._domains = domains
        self._all = root.mask
        self._used = 0
        self._full = 0
        self._free: dict[int, int] = {}  # by domain index; absent = untouched
        # CRC state after a branch's key, by the branch: most walks pass the same few.
        self._keys = {id(root): mix_start(mix(oid.lo, oid.hi, _KEY_SALT))}

    def run(self, oclass: ObjectClass, version: MapVersion) -> Layout:
        size = oclass.group_size
        groups = []
        for first in range(0, oclass.groups * size, size):
            within = 0
            group = []
            for number in range(first, first + size):
                branch, state = self._walk(number, self._candidates(within))
                domain = branch.domain
                assert domain is not None
                within |= domain.bit
                target = self._target(domain, number, state)
                group.append(
                    Shard(
                        ShardIndex(number),
                        target.rank,
                        target.index,
                        target.state,
                        target.id,
                        target.fseq,
                    )
                )
            groups.append(tuple(group))
        return Layout(version, tuple(groups))

    def _candidates(self, within: int) -> int:
        candidates = self._all & ~(self._used | within | self._full)
        if not candidates:
            self._used = 0
            candidates = self._all & ~(within | self._full)
        if not candidates:
            candidates = self._all & ~within
        assert candidates, "the class fits: a domain outside of the group is left"
        return candidates

    def _walk(self, number: int, candidates: int) -> tuple[_Branch, int]:
        """The fault domain for shard `number`, and the hash state that its targets draw from."""
        branch = self._root
        state = self._keys[id(branch)]
        while branch.domain is None:
            children = branch.children
            count = len(children)
            child = children[0]
            if count > 1:
                for draw in range(4 * count + 16):
                    position = jump_consistent(mix_rest(state, number, draw), count)
                    child = children[position]
                    if child.mask & candidates:
                        break
                else:
                    while not child.mask & candidates:
                        position = (position + 1) % count
                        child = children[position]
            known = self._keys.get(id(child))
            if known is None:
                known = mix_start(mix_rest(state, child.id, 0))
                self._keys[id(child)] = known
            branch, state = child, known
        return branch, state

    def _target(self, domain: _Domain, number: int, state: int) -> Target:
        free = self._free.get(domain.index, domain.free)
        if not free:  # the domain was full; its targets begin another round
            free = domain.free
            self._full &= ~domain.bit
        targets = domain.targets
        count = len(targets)
        position = jump_consistent(mix_rest(state, number, 0), count)
        while not free >> position & 1:
            position = (position + 1) % count
        free &= ~(1 << position)
        self._free[domain.index] = free
        if not free:
            self._full |= domain.bit
        self._used |= domain.bit
        return targets[position]


def _target_id(target: Target) -> int:
    return target.id


def _trimmed(branches: Sequence[_Branch]) -> Sequence[_Branch]:
    """Without those at the end that take no part: they would change the draws of the others."""
    count = len(branches)
    while count and not branches[count - 1].mask:
        count -= 1
    return branches[:count]

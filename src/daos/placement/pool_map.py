"""The pool map: which targets a pool has, in which fault domains, in which state, since when.

    PoolMap (version) -> nodes -> ranks -> targets

An immutable value: a change makes a new map with a higher version, and holders of the old one keep
computing the layouts of the old one. Serialised (integers of the header little-endian):

     0  u32  magic        "DPMP"
     4  u16  version      of this format, 1
     6  u16  reserved     0
     8  u32  body_size    bytes, <= BODY_SIZE_MAX
    12  u32  reserved     0
    16  u64  body_xxh3    of the body
    24       body         msgpack: [version, [node, ...]]
                          node   [id, name, state, flags, fseq, version, [rank, ...]]
                          rank   [id, rank, state, flags, fseq, version, [target, ...]]
                          target [id, rank, index, state, flags, fseq, version, in_ver, out_ver]

Invariants (`check`, at parse and at every construction):
 1. ids of each kind are 0 .. count - 1, each once, and ascend among siblings.
 2. ranks are unique; a target names its parent's rank; `index` is its position there.
 3. no component, and none of its version stamps, is newer than the map.
 4. states and flags are known ones; no node or rank is empty.

A pool grows by appending: a new component takes the next id and the last place among its
siblings; none is ever taken out. Placement relies on it.

`version` is the map version that added a component; `fseq` the one of its last failure, 1 = never;
`in_ver` the one that last (re)admitted a target, `out_ver` the one that finished excluding it.

Worked example: docs/format/pool_map.md.
Source: DAOS src/include/daos/pool_map.h pool_component_t, pool_buf; `in_ver` and `out_ver` share a
field there. No performance domains and no levels above the node yet.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError, InvalidError, NotFoundError
from daos.base.ids import U32_MAX, MapVersion, Rank, TargetIndex
from daos.placement.oid import Topology

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAGIC: Final = int.from_bytes(b"DPMP", "little")
VERSION: Final = 1
BODY_SIZE_MAX: Final = 64 << 20
NAME_SIZE_MAX: Final = 255

FSEQ_NEVER: Final = MapVersion(1)

_HEADER: Final = struct.Struct("<IHHIIQ")
HEADER_SIZE: Final = 24
assert _HEADER.size == HEADER_SIZE


class ComponentState(IntEnum):
    """State of a target, rank or node; numbers as in the reference."""

    NEW = 1
    UP = 2
    UPIN = 4
    DOWN = 8
    DOWNOUT = 16
    DRAIN = 32


class ComponentFlag(IntFlag):
    """How a component came to its state."""

    NONE = 0
    DOWN2OUT = 1
    DOWN2UP = 2
    CHK_DONE = 4


FLAGS_ALL: Final = int(ComponentFlag.DOWN2OUT | ComponentFlag.DOWN2UP | ComponentFlag.CHK_DONE)


class Level(IntEnum):
    """The level whose components count as fault domains: container property `rd_lvl`."""

    RANK = 1
    NODE = 2


class Target(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One slice of an engine. `id` is unique in the pool, `index` in the rank."""

    id: int
    rank: Rank
    index: TargetIndex
    state: ComponentState = ComponentState.UPIN
    flags: int = 0
    fseq: MapVersion = FSEQ_NEVER
    version: MapVersion = MapVersion(1)
    in_ver: MapVersion = MapVersion(1)
    out_ver: MapVersion = MapVersion(0)


class RankNode(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One engine."""

    id: int
    rank: Rank
    state: ComponentState
    flags: int
    fseq: MapVersion
    version: MapVersion
    targets: tuple[Target, ...]


class HostNode(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One host: engines that fail together. `name` is the end of its fault domain path."""

    id: int
    name: str
    state: ComponentState
    flags: int
    fseq: MapVersion
    version: MapVersion
    ranks: tuple[RankNode, ...]


class _Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    version: MapVersion
    nodes: tuple[HostNode, ...]


_DECODER: Final = msgspec.msgpack.Decoder(_Body)
_ENCODER: Final = msgspec.msgpack.Encoder()


class PoolMap:
    """One version of a pool's map. Equal maps have equal bytes.

    Raises:     InvalidError   the components break an invariant of this module
    """

    def __init__(self, version: MapVersion, nodes: Sequence[HostNode]) -> None:
        self.version = version
        self.nodes = tuple(nodes)
        fault = self._fault()
        if fault:
            raise InvalidError(f"pool map: {fault}")

    @classmethod
    def initial(cls, hosts: Sequence[tuple[str, Sequence[tuple[Rank, int]]]]) -> PoolMap:
        """Version 1: every target of every `(name, [(rank, target count), ...])` in service."""
        nodes = []
        rank_id = target_id = 0
        for node_id, (name, ranks) in enumerate(hosts):
            rank_nodes = []
            for rank, count in ranks:
                targets = tuple(
                    Target(target_id + index, rank, TargetIndex(index)) for index in range(count)
                )
                rank_nodes.append(
                    RankNode(
                        rank_id,
                        rank,
                        ComponentState.UPIN,
                        0,
                        FSEQ_NEVER,
                        MapVersion(1),
                        targets,
                    )
                )
                rank_id += 1
                target_id += count
            nodes.append(
                HostNode(
                    node_id,
                    name,
                    ComponentState.UPIN,
                    0,
                    FSEQ_NEVER,
                    MapVersion(1),
                    tuple(rank_nodes),
                )
            )
        return cls(MapVersion(1), nodes)

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """All targets; position = global target id."""
        return tuple(sorted((t for rank in self.ranks() for t in rank.targets), key=_id))

    def ranks(self) -> Iterator[RankNode]:
        for node in self.nodes:
            yield from node.ranks

    def target(self, target_id: int) -> Target:
        """The target with this pool-wide id. Raises: NotFoundError"""
        if not 0 <= target_id < len(self.targets):
            raise NotFoundError(f"pool map {self.version}: no target with id {target_id}")
        return self.targets[target_id]

    def find(self, rank: Rank, index: TargetIndex) -> Target:
        """Target number `index` of `rank`. Raises: NotFoundError"""
        found = self._by_rank.get(rank)
        if found is None or not 0 <= index < len(found.targets):
            raise NotFoundError(f"pool map {self.version}: no target {index} on rank {rank}")
        return found.targets[index]

    def topology(self, level: Level = Level.NODE) -> Topology:
        """Fault domains and targets that take part in placement at this version."""
        domains: set[int] = set()
        count = 0
        for node in self.nodes:
            for rank in node.ranks:
                joined = sum(has_joined(target, self.version) for target in rank.targets)
                if joined:
                    domains.add(node.id if level is Level.NODE else rank.id)
                    count += joined
        return Topology(len(domains), count)

    def emit(self) -> bytes:
        """Header and body."""
        body = _ENCODER.encode(_Body(self.version, self.nodes))
        return _HEADER.pack(MAGIC, VERSION, 0, len(body), 0, xxh3(body)) + body

    @classmethod
    def parse(cls, buf: bytes) -> PoolMap:
        """Read what `emit` wrote.

        Raises:     CorruptError   not a map of this format version, damaged, or not a valid map
        Cost:       body_size is checked against the buffer before anything is decoded
        """
        if len(buf) < HEADER_SIZE:
            raise CorruptError("pool map size", offset=0, want=HEADER_SIZE, got=len(buf))
        magic, version, reserved, size, reserved_too, digest = _HEADER.unpack_from(buf)
        for what, offset, want, got in (
            ("magic", 0, MAGIC, magic),
            ("format version", 4, VERSION, version),
            ("reserved field", 6, 0, reserved),
            ("body size", 8, len(buf) - HEADER_SIZE, size),
            ("reserved field", 12, 0, reserved_too),
        ):
            if got != want:
                raise CorruptError(f"pool map {what}", offset=offset, want=want, got=got)
        if size > BODY_SIZE_MAX:
            raise CorruptError("pool map body size", offset=8, want=BODY_SIZE_MAX, got=size)
        body = memoryview(buf)[HEADER_SIZE:]
        found = xxh3(body)
        if found != digest:
            raise CorruptError("pool map checksum", offset=16, want=digest, got=found)
        try:
            decoded = _DECODER.decode(body)
            return cls(decoded.version, decoded.nodes)
        except (msgspec.DecodeError, RecursionError, UnicodeError, InvalidError) as error:
            # msgspec tells of bad text by UnicodeDecodeError, of deep nesting by RecursionError.
            text = error.message if isinstance(error, InvalidError) else str(error)
            raise CorruptError(
                f"pool map body ({text})", offset=HEADER_SIZE, want=size, got=size
            ) from error

    @cached_property
    def _by_rank(self) -> dict[Rank, RankNode]:
        return {rank.rank: rank for rank in self.ranks()}

    def _fault(self) -> str:
        """The first broken invariant, in words; empty if there is none."""
        if not 1 <= self.version <= U32_MAX:
            return f"version {self.version} is not in [1, 2**32)"
        ranks = list(self.ranks())
        targets = [target for rank in ranks for target in rank.targets]
        for kind, components in (("node", self.nodes), ("rank", ranks), ("target", targets)):
            if sorted(component.id for component in components) != [*range(len(components))]:
                return f"{kind} ids are not 0 .. {len(components) - 1}, each once"
        if not _ascending(self.nodes):
            return "nodes are out of order"
        if len({rank.rank for rank in ranks}) < len(ranks):
            return "a rank appears twice"
        faults = (self._fault_of_node(node) for node in self.nodes)
        return next(filter(None, faults), "")

    def _fault_of_node(self, node: HostNode) -> str:
        if not node.ranks or not _ascending(node.ranks):
            return f"node {node.id} has no ranks, or out of order"
        # A lone surrogate has no form in UTF-8: it comes back as "?".
        name = node.name.encode(errors="replace")
        if len(name) > NAME_SIZE_MAX or name.decode() != node.name:
            return f"node {node.id} has a name over {NAME_SIZE_MAX} bytes, or no text"
        if not self._stamps_are_valid(node):
            return f"node {node.id} has impossible flags or versions"
        for rank in node.ranks:
            if not 0 <= rank.rank < U32_MAX:
                return f"rank {rank.rank} is not in [0, 2**32 - 1)"
            if not rank.targets or not _ascending(rank.targets):
                return f"rank {rank.rank} has no targets, or out of order"
            if not self._stamps_are_valid(rank):
                return f"rank {rank.rank} has impossible flags or versions"
            for index, target in enumerate(rank.targets):
                if (target.rank, target.index) != (rank.rank, index):
                    return f"target {target.id} says it is elsewhere than on rank {rank.rank}"
                newest = max(target.in_ver, target.out_ver)
                oldest = min(target.in_ver, target.out_ver)
                if not (self._stamps_are_valid(target) and 0 <= oldest <= newest <= self.version):
                    return f"target {target.id} has impossible flags or versions"
        return ""

    def _stamps_are_valid(self, component: HostNode | RankNode | Target) -> bool:
        return (
            0 <= component.flags <= FLAGS_ALL
            and 0 <= component.fseq <= self.version
            and 1 <= component.version <= self.version
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PoolMap):
            return NotImplemented
        return (self.version, self.nodes) == (other.version, other.nodes)

    def __hash__(self) -> int:
        return hash((self.version, len(self.nodes)))

    def __repr__(self) -> str:
        return f"PoolMap(version={self.version}, targets={len(self.targets)})"


def _id(target: Target) -> int:
    return target.id


def _ascending(components: Sequence[HostNode] | Sequence[RankNode] | Sequence[Target]) -> bool:
    ids = [component.id for component in components]
    return ids == sorted(ids)


def has_joined(target: Target, version: MapVersion) -> bool:
    """Whether `target` takes part in layouts of map version `version`.

    One that is still being added (NEW, or UP without ever having failed) does not: extending a
    pool disturbs no layout before it is finished. One that failed does: its shards stay put.

    Source:     DAOS src/placement/jump_map.c get_num_domains. Ours: a target that has joined since
                `version` is left out of older layouts by its own stamps.
    """
    if target.state is ComponentState.NEW:
        return False
    if target.fseq == FSEQ_NEVER:
        return target.state is not ComponentState.UP and target.in_ver <= version
    return target.version <= version

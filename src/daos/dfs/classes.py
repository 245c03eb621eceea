"""Which object class files and directories get, and how large a file's chunks are; pure.

    file        given > parent's oclass > container's file_oclass > container's oclass > by hints
    directory   given > parent's oclass, no EC class > dir_oclass > oclass, no EC class > by hints
    chunk       given > parent's chunk_size > container's

Hints are a text, `file:single|max` and `dir:single|max` (or `directory:`), joined by a comma, in
any case; they choose the class where nobody else does.

    rf 0    single S1      max SX
    rf n    single RP      max of a directory RP, of a file EC with as many data shards as fit
                           (placement/oid.py has the ladder)

Source: DAOS src/client/dfs/common.c, dfs_suggest_oclass, src/object/obj_class.c; features §4.5
"""

from __future__ import annotations

from typing import Final

from daos.base.errors import InvalidError
from daos.base.ids import ObjectType
from daos.dfs.layout import CHUNK_DEFAULT, CHUNK_MAX, HINTS_MAX, Entry, Kind, Superblock
from daos.placement.oclass import GROUPS_X, OC_UNKNOWN, ObjectClass, Resilience, class_id_of
from daos.placement.oid import Hint, Topology, decide

EC_CELL_DEFAULT: Final = 64 << 10

_KINDS: Final = {"file": Kind.FILE, "dir": Kind.DIRECTORY, "directory": Kind.DIRECTORY}
_SHARDING: Final = {"single": Hint.SHARDING_TINY, "max": Hint.SHARDING_MAX}


def parse_hints(text: str) -> dict[Kind, Hint]:
    """How wide files and directories shall be. Raises: InvalidError."""
    if not isinstance(text, str):
        raise InvalidError(f"hints are a text, such as file:max, not {text!r}")
    if len(text) > HINTS_MAX:
        raise InvalidError(f"hints of {len(text)} characters; at most {HINTS_MAX}")
    found: dict[Kind, Hint] = {}
    for part in text.split(",") if text else ():
        what, _, width = part.lower().partition(":")
        if what not in _KINDS or width not in _SHARDING:
            raise InvalidError(
                f"hint {part!r}: expected file:single, file:max, dir:single or dir:max"
            )
        found[_KINDS[what]] = _SHARDING[width]
    return found


def hint_for(kind: Kind, hints: str, rf: int) -> Hint:
    """What the class of a new object is chosen by. Raises: InvalidError."""
    sharding = parse_hints(hints).get(kind, Hint.NONE)
    if not sharding or not rf:
        return sharding
    erasure = kind is Kind.FILE and sharding is Hint.SHARDING_MAX
    return sharding | (Hint.REDUNDANCY_EC if erasure else Hint.REDUNDANCY_RP)


def suggest(hint: str, *, topology: Topology, rf: int) -> int:
    """The class id for one hint, such as "file:max"; X groups stay X. Raises: InvalidError."""
    wanted = parse_hints(hint)
    if len(wanted) != 1:
        raise InvalidError(f"{hint!r} is not one hint, such as file:max")
    (kind,) = wanted
    return by_hints(kind, hint, topology=topology, rf=rf)


def by_hints(kind: Kind, hints: str, *, topology: Topology, rf: int) -> int:
    """The class id where nobody says one; X groups stay X. Raises: InvalidError."""
    chosen = decide(otype_of(kind), topology=topology, rf=rf, hints=hint_for(kind, hints, rf))
    narrow = Hint.NONE if kind is Kind.DIRECTORY else Hint.SHARDING_TINY
    wide = parse_hints(hints).get(kind, Hint.NONE) not in (narrow, Hint.SHARDING_TINY)
    return ObjectClass(chosen.redundancy, GROUPS_X if wide else 1).id


def otype_of(kind: Kind) -> ObjectType:
    """The type of the object behind an entry."""
    return ObjectType.ARRAY_BYTE if kind is Kind.FILE else ObjectType.MULTI_HASHED


def class_of(kind: Kind, given: int, parent: Entry, defaults: Superblock) -> int:
    """The class id for a new object, OC_UNKNOWN: by hints."""
    if given:
        return given
    candidates = {
        Kind.FILE: (parent.oclass, defaults.file_oclass, defaults.oclass),
        Kind.DIRECTORY: (parent.oclass, defaults.dir_oclass, defaults.oclass),
        Kind.SYMLINK: (parent.oclass, defaults.oclass),
    }[kind]
    for each in candidates:
        if each and (kind is Kind.FILE or not is_erasure(each)):
            return each
    return OC_UNKNOWN


def chunk_of(given: int, parent: Entry, defaults: Superblock) -> int:
    """Bytes of a chunk of a new file."""
    return given or parent.chunk_size or defaults.chunk_size


def chunk_default(file_oclass: int, ec_cell: int = EC_CELL_DEFAULT) -> int:
    """Of a container whose creator did not say: whole stripes of an EC class, at least 1 MiB."""
    if not file_oclass or not is_erasure(file_oclass):
        return CHUNK_DEFAULT
    stripe = ObjectClass.from_id(file_oclass).redundancy.data_shards * ec_cell
    if stripe >= CHUNK_DEFAULT:
        return 2 * stripe
    return -(-CHUNK_DEFAULT // stripe) * stripe


def is_erasure(class_id: int) -> bool:
    """Whether it is an erasure-coded class."""
    return ObjectClass.from_id(class_id).resilience is Resilience.ERASURE


def parse_class(oclass: str | int | None) -> int:
    """A class id; None: 0. Raises: InvalidError."""
    class_id = class_id_of(oclass)
    return int(ObjectClass.from_id(class_id).id) if class_id else OC_UNKNOWN


def check_chunk(size: int | None) -> int:
    """A chunk size in bytes; None: 0. Raises: InvalidError."""
    if size is None:
        return 0
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= CHUNK_MAX:
        raise InvalidError(f"a chunk has 1 to 2**63 bytes, not {size!r}")
    return size

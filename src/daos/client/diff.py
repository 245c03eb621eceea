"""What changed in a container between two epochs: `Container.diff`.

Each target tells what differs in its part (vos/diff.py: what counts as a change), page by page, one
target after the other. An anchor goes on where an item was given, also in another process.

Source: ours
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from daos.base.ids import Epoch, KeyKind, ObjectId, tag_of
from daos.cart.context import Endpoint
from daos.client.listing import Fetch, Page
from daos.client.session import Call
from daos.object.link import ContainerLink
from daos.object.wire import CHANGE_LIST, ChangeListRequest
from daos.object.wire import Change as WireChange
from daos.placement.pool_map import Target

ANCHOR: Final = msgspec.msgpack.Decoder(tuple[WireChange | None, list[bytes | None]])
# An entry may name some hundred ranges of an array.
_ENTRIES_MAX: Final = 256

Kind = Literal["created", "changed", "punched"]
_KINDS: Final[dict[int, Kind]] = {1: "created", 2: "changed", 3: "punched"}

# The two epochs, once they are known; 0: now.
Between = Callable[[Call], Awaitable[tuple[Epoch, Epoch]]]


@dataclass(frozen=True, slots=True)
class ChangedRange:
    """Records [lo, hi) of an array: `written`, or else punched."""

    lo: int
    hi: int
    written: bool


@dataclass(frozen=True, slots=True)
class Change:
    """An akey that was created, changed or punched between two epochs.

    `size`: bytes of the single value, or of an array's record, at the later epoch; `ranges`: of an
    array, ascending. A change of very many ranges comes as several items.
    """

    oid: ObjectId
    dkey: bytes | int
    akey: bytes | int
    kind: Kind
    size: int
    ranges: tuple[ChangedRange, ...]


def change_of(entry: WireChange) -> Change:
    """As users see it: integer keys as numbers."""
    oid = ObjectId(entry.oid_hi, entry.oid_lo)
    return Change(
        oid,
        _key(entry.dkey, oid.type.dkey_kind),
        _key(entry.akey, oid.type.akey_kind),
        _KINDS[entry.kind],
        entry.size,
        tuple(ChangedRange(each.lo, each.hi, each.written) for each in entry.ranges),
    )


def changes_of(link: ContainerLink, target: Target, between: Between) -> Fetch[WireChange]:
    """The pages of one target."""
    endpoint = Endpoint(target.rank, tag_of(target.index))

    async def fetch(anchor: bytes, call: Call) -> Page[WireChange]:
        a, b = await between(call)
        request = ChangeListRequest(link.address(b), a, anchor, _ENTRIES_MAX)
        reply = await link.ask(endpoint, CHANGE_LIST, request, call)
        return Page(reply.changes, reply.anchor, reply.eof)

    return fetch


def _key(key: bytes, kind: KeyKind) -> bytes | int:
    return int.from_bytes(key, "little") if kind is KeyKind.UINT64 else key

"""What an operation of a transaction does about others, beside its work: doubt, and its own trace.

doubt     Clocks differ: what was written in (E, B], B the operation's bound, may have been
          acknowledged before the operation began. Where such a write could change the outcome,
          the operation has to come again with a newer epoch (TxRestartError)
trace     What the operation was told, it may rely on: its timestamp is left at what it read, also
          where it found nothing, or what a condition did not want

Which level an operation reads and writes at: internals §3.2 of the reference. What it looks at in
doubt, on its way down to the entities it names:

    a punch in (E, B]                        at every level
    any write in (E, B]                      to or below what was not found, or to what it names
    extents in (E, B]                        of the ranges it names, where that is an array

Operations without a transaction do none of this. Source: DAOS src/vos/vos_ts.h vos_ts_wcheck,
src/vos/vos_io.c, vos_query.c, vos_iterator.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from daos.base.checksum import xxh3
from daos.base.errors import NotFoundError, TxRestartError
from daos.base.ids import Epoch, KeyKind, UnitOid
from daos.base.iod import Iod, Recx
from daos.vos import extents, keys
from daos.vos.arguments import SINGLE
from daos.vos.ilog_view import ROOT
from daos.vos.nodes import Node, view
from daos.vos.state import ContainerState
from daos.vos.timestamps import Operation, Path


class Asked(NamedTuple):
    """The entities an operation names: the container, an object, a dkey, or akeys."""

    order: bytes = b""  # of the object (keys.object_order)
    kinds: tuple[KeyKind, KeyKind] = (KeyKind.HASHED, KeyKind.HASHED)
    dkey: bytes | None = None
    akeys: tuple[bytes, ...] = ()
    # Of each akey the records that matter; none: all of it.
    ranges: tuple[tuple[Recx, ...], ...] = ()

    @property
    def path(self) -> Path:
        """The name in the table of timestamps."""
        if not self.order:
            return ()
        path = (xxh3(self.order),)
        if self.dkey is None:
            return path
        return (*path, xxh3(self.dkey), *[xxh3(akey) for akey in self.akeys])


CONTAINER: Final = Asked()


def asked(oid: UnitOid, dkey: bytes | None = None, akeys: Iterable[bytes] = ()) -> Asked:
    """An object, a dkey, or akeys as wholes."""
    return Asked(keys.object_order(oid), keys.key_kinds(oid), dkey, tuple(akeys))


def asked_of(
    order: bytes, kinds: tuple[KeyKind, KeyKind], dkey: bytes, iods: Iterable[Iod]
) -> Asked:
    """What an update or a fetch names."""
    pairs = [(iod.akey, () if iod.type == SINGLE else iod.recxs) for iod in iods]
    return Asked(order, kinds, dkey, *zip(*pairs, strict=True))


@contextmanager
def reading(
    state: ContainerState, names: Asked, epoch: Epoch, op: Operation, at: Path
) -> Iterator[None]:
    """Around a read of what `names` says, which counts as a read of `at`.

    Raises:     TxRestartError   what was found, or not, is in doubt
    """
    try:
        yield
    except NotFoundError:
        refuse_doubt(state, names, epoch, op, must_know=True)
        state.timestamps.read(at, epoch, op.id)
        raise
    refuse_doubt(state, names, epoch, op, must_know=True)
    state.timestamps.read(at, epoch, op.id)


def refuse_doubt(
    state: ContainerState, names: Asked, epoch: int, op: Operation, *, must_know: bool
) -> None:
    """Refuse an operation whose outcome hangs on what was written in (epoch, op.bound].

    must_know: whether what is there decides, as for readers and conditions.

    Raises:     TxRestartError
    """
    bound = op.bound
    if bound <= epoch or epoch >= state.timestamps.newest_write:
        return
    path = names.path
    nodes: list[Node | None] = []
    if names.order:
        kinds = names.kinds
        node = state.nodes.object(names.order)
        seen = view(node, epoch, ROOT, bound)
        if must_know and not seen.visible:
            path = path[:1]
        if names.dkey is not None:
            if node is not None:
                node = state.nodes.key(node.id, keys.DKEY, names.dkey, kinds[0])
            seen = view(node, epoch, seen, bound)
            if must_know and not seen.visible:
                path = path[:2]
            for akey in names.akeys:
                child = node
                if child is not None:
                    child = state.nodes.key(child.id, keys.AKEY, akey, kinds[1])
                exists = view(child, epoch, seen, bound).visible
                nodes.append(child if exists or not must_know else None)
    if len(path) <= 2:
        _refuse_written(state, path, epoch, bound)
        return
    ranges = names.ranges or ((),) * len(nodes)
    for akey_hash, child, recxs in zip(path[2:], nodes, ranges, strict=True):
        if recxs and child is not None:
            _refuse_extents(state, child, recxs, (epoch, bound))
        else:
            _refuse_written(state, (*path[:2], akey_hash), epoch, bound)


def _refuse_written(state: ContainerState, path: Path, epoch: int, bound: int) -> None:
    if state.timestamps.later_write(path, epoch, bound):
        raise TxRestartError(f"the answer at {epoch} hangs on a write up to {bound}")


def _refuse_extents(
    state: ContainerState, akey: Node, recxs: Sequence[Recx], window: tuple[int, int]
) -> None:
    epoch, bound = window
    for recx in recxs:
        extents.refuse_uncertain(
            state.meta,
            akey.id,
            recx.index,
            recx.end,
            classes=akey.record.class_mask,
            epoch=epoch,
            bound=bound,
        )

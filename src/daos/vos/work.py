"""Long work on a container in short steps: what aggregation and discard have in common.

    step    runs until its credits are used up, or something has to be waited for; each change in it
            is one transaction that leaves the container whole, so that a power cut between two of
            them, or an end of the work after any step, needs no repair
    Want    what has to happen before the next step

The work is a generator that yields a `Want` between steps: where it is in the tree is where it is
in its code. Of the tree it keeps keys and ids over a yield, and what stands at epochs of its range.

Source: DAOS src/vos/vos_iterator.c vos_iterate, src/vos/vos_aggregate.c (credits). Ours: one
transaction for each change instead of one for a slice.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from daos.base.errors import ChecksumError, CorruptError, DataLossError, InvalidError
from daos.base.ids import EPOCH_MAX
from daos.bio.device import Done
from daos.bio.meta import MetaContext
from daos.vos import keys
from daos.vos.edit import Edit
from daos.vos.ilog import EMPTY
from daos.vos.nodes import CacheKey
from daos.vos.records import NodeRecord
from daos.vos.state import ContainerState, Exclusion

# Bytes of log that the deletion of one value may take: key, run, their heads, and what is known of
# the run where others may share it.
_DELETE_BYTES: Final = 256


class Want(Enum):
    """What has to happen before the next step."""

    TURN = "turn"  # others come first, then go on
    ROOM = "room"  # `MetaContext.when_room`
    READ = "read"  # `read` of the work
    NOTHING = "nothing"  # the work is done


# A part of the work; whether everything could be seen to.
Steps = Generator[Want, None, bool]


class EpochRange(NamedTuple):
    """Epochs, both ends included, as they are everywhere."""

    lo: int
    hi: int

    def check(self) -> None:
        """Raises: InvalidError."""
        if not 0 <= self.lo <= self.hi <= EPOCH_MAX:
            raise InvalidError(f"[{self.lo}, {self.hi}] is no range of epochs")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLimits:
    """What one step may do."""

    # Records looked at; 5 to 12 us each, so that a step ends within 1 ms or so: the requests that
    # came meanwhile have the same turn of the loop.
    scan: int = 96
    # Values deleted by one transaction.
    delete: int = 64


# What the tree says when one of its records is damaged. The damage stays; the others are seen to.
DAMAGE: Final = (CorruptError, ChecksumError, DataLossError)


class Where(NamedTuple):
    """A node on the way down: how the cache knows it, and where it stands in the tree."""

    cache_key: CacheKey
    tree_key: bytes


class Work:
    """One piece of work: its range, its generator, and the credits of the step that runs."""

    def __init__(
        self,
        state: ContainerState,
        epochs: EpochRange,
        limits: StepLimits,
        *,
        order: bytes = b"",
        discard: bool,
    ) -> None:
        """Raises: InvalidError, StaleHandleError; BusyError (state.py, C3, C5)."""
        state.check_alive()
        epochs.check()
        self._exclusion = Exclusion(*epochs, order, discard)
        state.exclude(self._exclusion)
        self.state = state
        self.meta: MetaContext = state.meta
        self.epochs = epochs
        self.limits = limits
        self.left = 0
        # Of the log, and so of small devices only: what one transaction may delete.
        self.deletes_max = max(1, min(limits.delete, state.meta.record_size_max // _DELETE_BYTES))
        self._steps: Generator[Want, None, object] | None = None

    def start(self, steps: Generator[Want, None, object]) -> None:
        """`steps` is what there is to do."""
        self._steps = steps

    def step(self) -> Want:
        """Go on for one step.

        Raises:     StaleHandleError   the container was destroyed
                    DaosError          the store has failed; the work is over
        Cost:       O(limits)
        """
        if self._steps is None:
            return Want.NOTHING
        self.left = self.limits.scan
        try:
            self.state.check_alive()
            return next(self._steps)
        except StopIteration:
            self.close()
            return Want.NOTHING
        except BaseException:
            self.close()
            raise

    def read(self, done: Done) -> None:
        """What `Want.READ` asks for; then comes the next step."""
        raise AssertionError("nothing is to be read")

    def close(self) -> None:
        """End the work, done or not. Idempotent."""
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()
            self.state.admit(self._exclusion)

    def turn(self) -> Generator[Want, None, None]:
        """Before each unit of the work: credits for it, and room in the log for its commit."""
        while self.left <= 0 or not self.meta.log_has_room:
            yield Want.TURN if self.meta.log_has_room else Want.ROOM

    def has_key(self, prefix: bytes) -> bool:
        """Whether the tree has anything that begins with `prefix`."""
        cursor = self.meta.cursor()
        return cursor.set_range(prefix) and cursor.key().startswith(prefix)

    def next_key(self, seek: bytes, prefix: bytes) -> tuple[bytes, bytes] | None:
        """The first key from `seek` on that begins with `prefix`, and its value."""
        self.left -= 1
        cursor = self.meta.cursor()
        if not cursor.set_range(seek):
            return None
        key, value = cursor.item()
        return (key, value) if key.startswith(prefix) else None

    def has_children(self, node: NodeRecord) -> bool:
        """Whether anything is left below a node."""
        if node.kind == keys.AKEY:
            return self.has_key(node.node_id.to_bytes(8, "big"))
        level = keys.DKEY if node.kind == keys.OBJECT else keys.AKEY
        return self.has_key(keys.node_prefix(node.node_id, level))


def drop(edit: Edit, meta: MetaContext, where: Where, record: NodeRecord) -> bool:
    """Delete a node that nothing is below; whether it is gone.

    Where keys share a hash their ties have no gaps, and a search ends at the first one: only the
    last of them goes, the others become an empty node in its place.
    """
    if record.key:
        bucket, tie = where.tree_key[: -keys.TIE_SIZE], where.tree_key[-keys.TIE_SIZE :]
        last = int.from_bytes(tie, "big")
        if last + 1 < keys.TIES_MAX and meta.get(keys.with_tie(bucket, last + 1)) is not None:
            empty = NodeRecord(record.kind, record.node_id, EMPTY.emit(), record.key)
            if empty != record:
                edit.put(where.cache_key, where.tree_key, empty)
            return False
    edit.drop(where.cache_key, where.tree_key)
    return True

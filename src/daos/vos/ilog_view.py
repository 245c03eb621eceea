"""What an incarnation log means to one operation: does the entity exist, and since when. Pure.

An operation looks at epoch E, with an uncertainty bound B >= E: a write in (E, B] may have been
acknowledged before the operation began, on a clock that runs ahead. Epochs on one axis:

    prior_punch     create           E            B          next_punch
    ----|--------------|-------------|------------|--------------|----
        newest punch   of this       looked at    uncertain:     first committed
        <= E, own or   incarnation                punch: restart punch above B
        inherited      0 = not seen               create: noted

An entity exists when its create is above every punch that came before it, its own and those of
its parents. A punch of a parent hides the children without touching their logs, which is why a
view takes the view of the parent.

`view` reads; `update` and `punch` decide: they return the log that has to be stored, the very
same object when there is nothing to store, or raise. `floor` is what readers of values need:
whatever is not above it belongs to an earlier incarnation.

A punch must not arrive below a newer write: that write relied on the create that the punch ends,
logged nothing, and would vanish. Logs cannot tell; the caller refuses such a punch.

Invariants:
    V1  prior_any_punch >= prior_punch >= prior_punch of the parent
    V2  create is 0 or (create, create_minor) > prior_punch

Source: DAOS src/vos/vos_ilog.c. Ours: positions are compared with their minors, so that what is
created again after a punch at the same epoch exists.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from daos.base.errors import (
    DER,
    DaosError,
    DataLossError,
    ExistsError,
    InProgressError,
    NotFoundError,
    TxRestartError,
)
from daos.vos.ilog import (
    CORRUPTED,
    ENTRIES_MAX,
    MINOR_MAX,
    NO_PUNCH,
    Ilog,
    IlogEntry,
    Punch,
    Status,
    StatusOf,
    committed_unless_tx,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daos.base.ids import Epoch

# The minor epoch of a punch that is replayed: below that of updates at its epoch, which survive.
MINOR_REPLAY: Final = MINOR_MAX - 1


class Condition(Enum):
    """What an update demands of an entity."""

    NONE = "none"
    INSERT = "insert"  # it must not exist
    UPDATE = "update"  # it must exist


class IlogView(NamedTuple):
    """A log as one operation sees it. The drawing in the module shows the epochs; 0 = none."""

    epoch: int = 0
    bound: int = 0
    create: int = 0
    create_minor: int = 0
    prior_punch: Punch = NO_PUNCH
    prior_any_punch: Punch = NO_PUNCH  # the same, those that are not committed included
    uncommitted: int = 0  # newest undecided entry that could matter
    next_punch: int = 0
    uncertain_create: int = 0  # oldest create in (epoch, bound]
    empty: bool = True  # the log has no entry but removed ones
    full_scan: bool = True  # every entry lies in the range looked at

    @property
    def visible(self) -> bool:
        """Whether a reader at `epoch` finds the entity."""
        return self.create != 0

    @property
    def exists(self) -> bool:
        """Whether a conditional operation finds it; undecided punches count as punches."""
        return (self.create, self.create_minor) > self.prior_any_punch

    @property
    def floor(self) -> Punch:
        """Values at or below it belong to earlier incarnations."""
        return self.prior_punch


ROOT: Final = IlogView()


def view(
    log: Ilog,
    epoch: Epoch | int,
    *,
    bound: Epoch | int = 0,
    lo: int = 0,
    parent: IlogView = ROOT,
    status: StatusOf = committed_unless_tx,
    damaged_ok: bool = False,
) -> IlogView:
    """Look at a log at `epoch`.

    Units:      bound 0, or below epoch: no uncertainty. lo only decides `full_scan`.
    Raises:     TxRestartError    a punch in (epoch, bound]
                InProgressError   an entry that the caller has to wait for
                DataLossError     the log is marked as damaged, unless `damaged_ok` (discard,
                                  mark, kill and check)
    Cost:       O(entries newer than `epoch`, and back to the punch before it)
    Source:     DAOS src/vos/vos_ilog.c vos_parse_ilog, vos_ilog_fetch_
    """
    if log.flags & CORRUPTED and not damaged_ok:
        raise DataLossError("ilog: marked as damaged")
    bound = max(bound, epoch)
    newest_first = _live(log, status)
    entry, next_punch, uncertain_create, empty = _ahead(newest_first, epoch, bound)
    create = create_minor = uncommitted = 0
    prior, prior_any = parent.prior_punch, parent.prior_any_punch
    while entry is not None and not entry[0].punched_by(prior):
        (at, tx, punch_minor, update_minor), state = entry
        if state is Status.IN_PROGRESS:
            raise InProgressError(f"transaction {tx} at {at} is undecided")
        if state is Status.UNCOMMITTED:
            if not create:
                uncommitted = max(uncommitted, at)
            if punch_minor:
                prior_any = max(prior_any, Punch(at, punch_minor))
        else:
            if update_minor > punch_minor:
                create, create_minor = at, update_minor
            if punch_minor:
                prior = max(prior, Punch(at, punch_minor))
                break
        entry = next(newest_first, None)
    entries = log.entries
    full_scan = not entries or (lo <= entries[0].epoch and entries[-1].epoch <= epoch)
    seen = (int(epoch), int(bound), create, create_minor, prior, max(prior, prior_any))
    return IlogView(*seen, uncommitted, next_punch, uncertain_create, empty, full_scan)


_Live = tuple[IlogEntry, Status]


def _live(log: Ilog, status: StatusOf) -> Iterator[_Live]:
    """The entries that count, newest first."""
    for entry in reversed(log.entries):
        state = status(entry)
        if state is not Status.REMOVED:
            yield entry, state


def _ahead(
    newest_first: Iterator[_Live], epoch: int, bound: int
) -> tuple[_Live | None, int, int, bool]:
    """The newest entry up to `epoch`; what newer ones tell; whether there are none at all."""
    next_punch = uncertain_create = 0
    empty = True
    for entry, state in newest_first:
        empty = False
        at = entry.epoch
        if at <= epoch:
            return (entry, state), next_punch, uncertain_create, empty
        if entry.has_punch and at <= bound:
            raise TxRestartError(f"punched at {at}, within the uncertainty of {epoch}")
        if entry.has_punch and state is Status.COMMITTED:
            next_punch = at
        elif not entry.has_punch and at <= bound:
            uncertain_create = at
    return None, next_punch, uncertain_create, empty


def epoch_lo(seen: IlogView, lo: int = 0, *, punched: bool = False, what: str = "entity") -> int:
    """The lowest epoch at which values of what was seen can count, not below `lo`.

    With `punched`, entities that were punched at `lo` or later, and those without a log, count
    as well and narrow nothing.

    Raises:     NotFoundError
    Source:     DAOS src/vos/vos_ilog.c vos_ilog_check_
    """
    if not punched:
        if not seen.visible:
            raise NotFoundError(f"{what} not found at epoch {seen.epoch}")
        return max(lo, seen.create)
    if not seen.empty and not seen.visible and seen.prior_punch.epoch < max(lo, 1):
        raise NotFoundError(f"{what} not found at epoch {seen.epoch}")
    return lo


def update(
    log: Ilog,
    seen: IlogView,
    minor: int = MINOR_MAX,
    *,
    condition: Condition = Condition.NONE,
    tx: int = 0,
    status: StatusOf = committed_unless_tx,
    what: str = "entity",
) -> Ilog:
    """Make sure that the entity exists from `seen.epoch` on, if `condition` lets it.

    Returns `log` itself where nothing has to be stored. `seen` is the view of `log`, taken with
    the view of the parent.

    Raises:     ExistsError       INSERT, and it exists
                NotFoundError     UPDATE, and it does not
                InProgressError   a condition hangs on an undecided transaction
                TxRestartError    a condition hangs on a create within the uncertainty; or another
                                  transaction has this epoch
                AccessError       punched at this very epoch and minor
    Source:     DAOS src/vos/vos_ilog.c vos_ilog_update_
    """
    conditional = condition is not Condition.NONE
    if conditional and seen.uncommitted:
        raise InProgressError(f"{what}: undecided transaction at {seen.uncommitted}")
    if seen.exists:
        if condition is Condition.INSERT:
            raise ExistsError(f"{what} exists since epoch {seen.create}")
        return log
    if conditional and seen.uncertain_create:
        raise TxRestartError(f"{what}: created at {seen.uncertain_create}, in doubt")
    if condition is Condition.UPDATE:
        raise NotFoundError(f"{what} not found at epoch {seen.epoch}")
    return _log(log, seen, minor, punch=False, tx=tx, status=status, what=what)


def punch(
    log: Ilog,
    seen: IlogView,
    minor: int = MINOR_MAX,
    *,
    leaf: bool,
    conditional: bool = False,
    tx: int = 0,
    status: StatusOf = committed_unless_tx,
    what: str = "entity",
) -> Ilog:
    """Punch the entity at `seen.epoch`; above the `leaf` that is punched, only check conditions.

    Returns `log` itself where nothing has to be stored.

    Raises:     NotFoundError     conditional, and it does not exist, at any level
                InProgressError   conditional, and an undecided transaction matters
                TxRestartError    created within the uncertainty; or another transaction has this
                                  epoch
                AccessError       created at this very epoch and minor
    Source:     DAOS src/vos/vos_ilog.c vos_ilog_punch_
    """
    if seen.uncertain_create:
        raise TxRestartError(f"{what}: created at {seen.uncertain_create}, in doubt")
    if conditional and seen.uncommitted:
        raise InProgressError(f"{what}: undecided transaction at {seen.uncommitted}")
    if conditional and not seen.exists:
        raise NotFoundError(f"{what} not found at epoch {seen.epoch}")
    if not leaf:
        return log
    return _log(log, seen, minor, punch=True, tx=tx, status=status, what=what)


def _log(
    log: Ilog, seen: IlogView, minor: int, *, punch: bool, tx: int, status: StatusOf, what: str
) -> Ilog:
    try:
        return log.update(
            seen.epoch,
            minor,
            punch=punch,
            tx=tx,
            # An entry that a punch hides is no create to build on.
            lo_epoch=seen.prior_any_punch.epoch,
            lo_minor=seen.prior_any_punch.minor + 1,
            status=status,
        )
    except DaosError as error:
        if error.code == DER.OVERFLOW:
            raise DaosError(
                f"this {what} was created and punched {ENTRIES_MAX // 2:,} times, and no more of "
                "that can be recorded; it can still be read, and written where it exists",
                code=DER.OVERFLOW,
            ) from error
        if error.code != DER.ALREADY:
            raise
        return log
